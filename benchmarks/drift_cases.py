"""Virtual stacks for `benchmarks/drift.py`: specimens, what goes wrong, and the bad slices put in."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter, uniform_filter1d
from scipy.ndimage import shift as shifted

from fibtomo.phantom import Artefacts, Specimen, acquire
from fibtomo.phantom.packing import InclinedColumns, Particles, Polycrystal
from fibtomo.phantom.specimens import Layered, NanoporousMetal, Tpms

PIXEL_NM, SLICE_NM = 5.0, 10.0
SIZES = {"quick": (48, 320, 320), "S": (64, 512, 512), "M": (128, 1024, 1024)}
GREYS = (0.28, 0.72)
BASE: dict[str, Any] = {"drift": True, "jitter": True, "flicker": True, "noise": True}
CAP_ROWS = 64
"""Height of the protective layer of "capped" in slice 0."""


def _porous(wavelength_nm: float) -> NanoporousMetal:
    """With so many waves that no lean is common to all features in view."""
    return NanoporousMetal(greys=GREYS, wavelength_nm=wavelength_nm, waves=600)


# name: specimen and the length (nm) of its structure, for the bound on the slow part
SPECIMENS: dict[str, tuple[Specimen, float]] = {
    "porous90": (_porous(90), 90),
    "porous170": (_porous(170), 170),
    "porous260": (_porous(260), 260),
    "particles": (Particles(greys=GREYS, radius_nm=110), 300),
    "electrode": (
        Particles(
            greys=(0.2, 0.48, 0.8),
            radius_nm=180,
            matrix=NanoporousMetal(greys=(0.2, 0.48), wavelength_nm=250, solid_fraction=0.45, waves=600),
        ),
        400,
    ),
    "inclined": (InclinedColumns(greys=GREYS), 200),
    "polycrystal": (Polycrystal(grain_nm=200), 200),
    "gyroid": (Tpms(greys=GREYS, period_nm=240), 240),
    "layered": (Layered(waviness_nm=15), 190),
    "capped": (_porous(170), 170),
}


@dataclass(frozen=True)
class Condition:
    """What differs from drift, jitter, flicker and noise."""

    artefacts: dict[str, Any]
    frame_curtains: float = 0.0
    bad_share: float = 0.0
    tracked: bool = True


CONDITIONS: dict[str, Condition] = {
    "base": Condition({}),
    "frame curtains": Condition({}, frame_curtains=0.06),
    "curtains": Condition({"curtains": True}),
    "shear": Condition({"curtains": True}, tracked=False),
    "flicker": Condition(
        {"flicker": {"gain": 0.1, "offset": 0.04, "steps_per_slice": 0.1}, "shading": {"bottom": 0.5, "side": 0.3}}
    ),
    "jumps": Condition({"curtains": True, "jumps": {"per_slice": 0.06}}),
    "noise": Condition({"noise": {"electrons": 25, "read": 0.05}}),  # signal to noise about 3
    "defocus": Condition({"defocus": {"best_px": 0.5, "worst_px": 2.5, "refocus_slices": 20}}),
    "charging": Condition({"charging": {"blobs": 3, "strength": 0.3, "tail_px": 150}}),
    "shine": Condition({"shine_through": {"decay_nm": 80.0}, "edge_rim": {"gain": 0.15}}),
    "bad slices": Condition({}, bad_share=0.05),
    "line drift": Condition({"line_drift": True, "thickness": True}),
}

ONLY_BASE = ("porous90", "porous260", "particles", "inclined", "polycrystal", "gyroid", "layered", "capped")
"""Specimens that are shown under the base conditions only, unless all are asked for."""


@dataclass(frozen=True)
class Case:
    """One stack with its truth."""

    slices: np.ndarray
    shifts_px: np.ndarray
    bad: np.ndarray
    bound_px: float
    """What changing structure leaves open between the first and the last slice."""


def make_case(specimen: str, condition: str, size: str, seed: int, cache: Path | None = None) -> Case:
    """Image a specimen; stacks are kept in the folder `cache`."""
    path = None if cache is None else cache / f"{specimen}-{condition.replace(' ', '_')}-{size}-{seed}.npz"
    if path is not None and path.exists():
        with np.load(path) as stored:
            return Case(stored["slices"], stored["shifts"], stored["bad"], float(stored["bound"]))
    body, length_nm = SPECIMENS[specimen]
    how, shape = CONDITIONS[condition], SIZES[size]
    if "shine_through" in how.artefacts and isinstance(body, NanoporousMetal):
        body = replace(body, waves=120)  # every ray sums them all
    run = acquire(
        _reseeded(body, seed),
        shape=shape,
        pixel_nm=PIXEL_NM,
        slice_nm=SLICE_NM,
        tracked=how.tracked,
        artefacts=Artefacts.of(BASE | how.artefacts),
        seed=seed,
        oversample=1,
    )
    rng = np.random.default_rng(7000 + seed)
    slices = run.slices
    if specimen == "capped":
        slices = with_cap(slices, run.truth.shifts_px, rng)
    if how.frame_curtains:
        slices = with_frame_curtains(slices, how.frame_curtains, rng)
    bad = np.zeros(len(slices), dtype=bool)
    if how.bad_share:
        slices, bad = with_bad_slices(slices, how.bad_share, rng)
    features = shape[1] * shape[2] * PIXEL_NM**2 / length_nm**2
    bound = 0.45 * float(np.sqrt(shape[0] * SLICE_NM * length_nm / features)) / PIXEL_NM
    case = Case(slices, run.truth.shifts_px, bad, bound)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, slices=case.slices, shifts=case.shifts_px, bad=bad, bound=bound)
    return case


def _reseeded(body: Specimen, seed: int) -> Specimen:
    return replace(body, seed=seed) if hasattr(body, "seed") else body


def with_cap(slices: np.ndarray, shifts_px: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Cover the upper rows by a grainy layer that moves with the sample and does not change along z."""
    rows, margin = CAP_ROWS, 64
    grains = gaussian_filter(rng.normal(size=(rows + 2 * margin, slices.shape[2] + 2 * margin)), 2.5)
    grains *= 30 / grains.std()
    out = slices.copy()
    for image, move in zip(out, shifts_px, strict=True):
        end = int(np.clip(round(rows + move[0]), 0, rows + margin // 2))
        seen = shifted(grains, move, order=3, mode="nearest")[margin : margin + end, margin:-margin]
        image[:end] = np.clip(np.rint(150 + seen + 12 * rng.normal(size=seen.shape)), 0, 255)
    return out


def with_frame_curtains(slices: np.ndarray, rms: float, rng: np.random.Generator) -> np.ndarray:
    """Add streaks that stay where they are in the frame and fade slowly from slice to slice."""
    n, rows, cols = slices.shape
    stripes = uniform_filter1d(rng.normal(size=(n, cols)), 3, axis=1) * 3**0.5
    for k in range(1, n):
        stripes[k] = 0.9 * stripes[k - 1] + np.sqrt(1 - 0.81) * stripes[k]
    depth = np.linspace(0.3, 1.0, rows)[:, None]
    return np.stack(
        [np.clip(np.rint(image + 255 * rms * depth * s), 0, 255) for image, s in zip(slices, stripes, strict=True)]
    ).astype(np.uint8)


def with_bad_slices(slices: np.ndarray, share: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Spoil every kind of slice in turn, at most one of two neighbours."""
    slices, bad = slices.copy(), np.zeros(len(slices), dtype=bool)
    first = int(rng.integers(len(KINDS)))
    free = list(rng.permutation(np.arange(2, len(slices) - 1)))
    for j in range(max(1, round(share * len(slices)))):
        k = next(int(k) for k in free if not bad[k - 1 : k + 2].any())
        free.remove(k)
        slices[k] = KINDS[(first + j) % len(KINDS)](slices, k, rng)
        bad[k] = True
    return slices, bad


def _truncated(slices: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    image = slices[k].copy()
    image[int(rng.uniform(0.25, 0.9) * len(image)) :] = 0
    return image


def _scaled(slices: np.ndarray, k: int, factor: float) -> np.ndarray:
    return np.clip(factor * slices[k].astype(float), 0, 255).astype(np.uint8)


KINDS: tuple[Callable[[np.ndarray, int, np.random.Generator], np.ndarray], ...] = (
    lambda s, k, _: np.zeros_like(s[k]),
    lambda s, k, _: s[k - 1],
    _truncated,
    lambda s, k, _: gaussian_filter(s[k], 3.0),
    lambda s, k, _: _scaled(s, k, 2.2),
    lambda s, k, _: _scaled(s, k, 0.3),
    lambda s, k, r: r.integers(0, 255, s[k].shape).astype(np.uint8),
    lambda s, k, _: np.roll(s[k][::-1, ::-1], 37, axis=1),
)
