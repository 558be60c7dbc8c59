"""Alignments of Fiji: MultiStackReg, Linear Stack Alignment with SIFT, Register Virtual Stack Slices, TrakEM2.

Points are (x, y) in pixels from the upper left corner, x to the right and y down, as in our slices.
"""

import re
from math import cos, sin
from pathlib import Path
from typing import Any

import numpy as np

from fibtomo.core.drift_file import read_text
from fibtomo.errors import InputError
from fibtomo.io.transforms import IDENTITY, Float, Transforms, accumulated, affine, chained, inverted

STACKREG = "MultiStackReg Transformation File"
SIFT = "Transformation Matrix: AffineTransform[["
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_KINDS = ("TRANSLATION", "RIGID_BODY", "SCALED_ROTATION", "AFFINE")
_MODELS = ("TranslationModel2D", "RigidModel2D", "SimilarityModel2D", "AffineModel2D")
_PAIR = re.compile(r"Source img:\s*(\d+)\s+Target img:\s*(\d+)")
_MODEL = re.compile(r'<i?i?ct_transform\s+class="([\w.]+)"\s+data="([^"]*)"')


def read_stackreg(path: Path, *, steps: bool | None = None) -> Transforms:
    """Read the transformation file of MultiStackReg (StackReg with a file).

    Each block holds three points of a source slice, then the three of the target on which they come to lie: the
    aligned image reads the source at ``p + source - target``, so that the sign is ours. Blocks of one stack are steps
    from the neighbour that is nearer to the anchor (named as the target in every block); the third line says 1 where
    the slices were aligned to those of another stack, each on its own.

    Parameters
    ----------
    path
        The file.
    steps
        Whether the blocks are steps; ``None`` believes the file.

    Raises
    ------
    InputError
        A block is damaged, or a slice has none.
    """
    lines = [line.strip() for line in read_text(path).splitlines()]
    flag, blocks = (lines[2] if len(lines) > 2 else ""), [line for line in lines[3:] if line]
    found: dict[int, Float] = {}
    targets: set[int] = set()
    for start in range(0, len(blocks), 8):
        kind, *rest = blocks[start : start + 8]
        pair = _PAIR.match(rest[0]) if rest else None
        points = [_point(line) for line in rest[1:]]
        if kind not in _KINDS or pair is None or len(points) != 6 or None in points:
            raise InputError(
                f"{path}: block {start // 8 + 1} is not a transform as MultiStackReg writes it; save it again"
            )
        source, target = int(pair[1]), int(pair[2])
        if source in found:
            raise InputError(f"{path}: slice {source} stands twice as the source; keep one block for each slice")
        found[source] = _from_points(kind, np.array(points[:3], dtype=complex), np.array(points[3:], dtype=complex))
        targets.add(target)
    if not found:
        raise InputError(f"{path} holds no transforms; let MultiStackReg save them again")
    every = set(range(1, max(*found, *targets) + 1))
    missing = sorted(every - set(found))
    chain = flag != "1" if steps is None else steps
    if len(missing) > 1 or (chain and not missing):
        what = f"slice {missing[1]} has no transform" if missing else "no slice is the reference"
        raise InputError(f"{path}: {what}; align the whole stack to one slice and save again")
    n = len(every)
    anchor = missing[0] if missing else 1
    pulls = {**found, **dict.fromkeys(missing, IDENTITY)}
    if chain:
        for order in (range(anchor - 1, 0, -1), range(anchor + 1, n + 1)):
            for k in order:
                pulls[k] = chained(pulls[k - order.step], found[k])
    return Transforms(np.stack([pulls[k] for k in range(1, n + 1)]), "MultiStackReg")


def _point(line: str) -> complex | None:
    try:
        x, y = (float(word) for word in line.split())
    except ValueError:
        return None
    return complex(x, y)


def _from_points(kind: str, source: Any, target: Any) -> Float:
    """Map that leads from the target points to the source points."""
    if kind == "TRANSLATION":
        moved = source[0] - target[0]
        return affine(1, 0, 0, 1, moved.real, moved.imag)
    if kind == "AFFINE":
        system = np.stack([target.real, target.imag, np.ones(3)], axis=1)
        solved: Float = np.linalg.lstsq(system, np.stack([source.real, source.imag], axis=1), rcond=None)[0].T
        return solved
    a, b = (1, 2) if kind == "RIGID_BODY" else (0, 1)
    turn = (source[b] - source[a]) / (target[b] - target[a])
    if kind == "RIGID_BODY":
        turn /= abs(turn)
    moved = source[0] - turn * target[0]
    return affine(turn.real, turn.imag, -turn.imag, turn.real, moved.real, moved.imag)


def write_stackreg(path: Path, shifts_px: Float, frame: tuple[int, int] | None) -> None:
    """Write shifts (n, 2) as a transformation file that MultiStackReg loads: translations, anchored at slice 1."""
    rows, cols = frame or (0, 0)
    blocks = [STACKREG, "File Version 1.0", "0"]
    for k, (dy, dx) in enumerate(np.diff(shifts_px, axis=0).tolist(), start=2):
        rest = ["0.0\t0.0", "0.0\t0.0", ""]
        blocks += ["TRANSLATION", f"Source img: {k} Target img: 1"]
        blocks += [f"{cols / 2 + dx!r}\t{rows / 2 + dy!r}", *rest, f"{cols / 2!r}\t{rows / 2!r}", *rest]
    try:
        path.write_text("\n".join(blocks) + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}") from None


def read_sift_log(path: Path, *, steps: bool = True) -> Transforms:
    """Read the log of Linear Stack Alignment with SIFT, run with "show transformation matrix" and saved as text.

    A line for each slice but the first: the map from that slice onto the one before, so that the sign is the
    opposite of ours. Slices that could not be aligned leave no line.

    Raises
    ------
    InputError
        A line is damaged.
    """
    found = []
    for line in read_text(path).splitlines():
        _, mark, rest = line.partition(SIFT)
        if mark:
            numbers = [float(v) for v in re.findall(_NUMBER, rest)]
            if len(numbers) != 6:
                raise InputError(f"{path}: '{line.strip()}' is not a matrix of two rows of three numbers")
            found.append(inverted(np.array(numbers).reshape(2, 3), path, len(found) + 1))
    pulls = accumulated(found) if steps else np.stack([IDENTITY, *found])
    return Transforms(pulls, "Linear Stack Alignment with SIFT")


def read_virtual_stack(folder: Path) -> Transforms:
    """Read the folder of transforms that Register Virtual Stack Slices saves, one XML file per slice, sorted by name.

    Each holds the map from the slice onto the aligned image, so that the sign is the opposite of ours.

    Raises
    ------
    InputError
        A file holds no transform, or one that is not affine.
    """
    pulls = []
    for path in sorted(folder.glob("*.xml")):
        models = _MODEL.findall(read_text(path))
        if not models:
            raise InputError(f"{path} holds no transform of Register Virtual Stack Slices (<iict_transform>)")
        push = IDENTITY
        for name, data in models:
            push = chained(push, _model(name, data, path))
        pulls.append(inverted(push, path, len(pulls)))
    return Transforms(np.stack(pulls), "Register Virtual Stack Slices")


def _model(name: str, data: str, path: Path) -> Float:
    """Matrix of one of mpicbg's models, from the numbers in the order in which it writes them."""
    kind = name.rpartition(".")[2]
    if kind not in _MODELS:
        raise InputError(
            f"{path}: a {kind} bends the slice, which a drift cannot hold: register with the model Translation"
        )
    try:
        v = [float(word) for word in data.split()]
        if kind == "TranslationModel2D":
            x, y = v
            return affine(1, 0, 0, 1, x, y)
        if kind == "RigidModel2D":
            angle, x, y = v
            return affine(cos(angle), sin(angle), -sin(angle), cos(angle), x, y)
        if kind == "SimilarityModel2D":
            c, s, x, y = v
            return affine(c, s, -s, c, x, y)
        return affine(*v)
    except (TypeError, ValueError):
        raise InputError(f"{path}: '{data}' are not the numbers of a {kind}") from None


def read_trakem2(path: Path) -> Transforms:
    """Read a TrakEM2 project: one image (patch) in each layer, layers in the order of their z.

    ``transform="matrix(a,b,c,d,e,f)"`` is the map from the image onto the canvas, so that the sign is the opposite of
    ours.

    Raises
    ------
    InputError
        The project is damaged, a layer holds several images, or an image is bent.
    """
    layers = []
    for layer in _root(path).iter("t2_layer"):
        patches = list(layer.iter("t2_patch"))
        z = layer.get("z", "0")
        if len(patches) > 1:
            raise InputError(
                f"{path}: the layer at z = {z} holds {len(patches)} images; a drift needs one image in each layer"
            )
        layers += [(float(z), patch) for patch in patches]
    if not layers:
        raise InputError(f"{path} holds no layers with images (t2_layer, t2_patch)")
    layers.sort(key=lambda item: item[0])
    pulls, frame = [], None
    for k, (z, patch) in enumerate(layers):
        if patch.find(".//ict_transform") is not None or patch.find(".//iict_transform") is not None:
            raise InputError(
                f"{path}: the image at z = {z:g} has a coordinate transform of its own, which a drift cannot hold: "
                f"align with the model Translation"
            )
        numbers = [float(v) for v in re.findall(_NUMBER, patch.get("transform", ""))]
        if len(numbers) != 6:
            raise InputError(f'{path}: the image at z = {z:g} has no transform="matrix(a,b,c,d,e,f)"')
        pulls.append(inverted(affine(*numbers), path, k))
        frame = frame or (round(float(patch.get("height", 0))), round(float(patch.get("width", 0))))
    return Transforms(np.stack(pulls), "TrakEM2", frame if frame and min(frame) > 0 else None)


def _root(path: Path) -> Any:
    from xml.etree.ElementTree import ParseError

    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import fromstring

    try:
        return fromstring(path.read_bytes())
    except (OSError, ParseError, DefusedXmlException) as error:
        raise InputError(f"{path} cannot be read as XML: {error}") from None
