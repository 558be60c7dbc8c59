"""How many spoilt slices are found, by kind and specimen: ``python benchmarks/bad_slices.py [--help]``.

Every stack is imaged without noise; slices are spoilt, then noise is added, so that a blurred slice is as noisy as the
others. "recall" counts slices of one kind that were flagged, "sound" the flags on slices that nothing was done to.
Where slices were never imaged, the slice after the gap should be flagged, and no other.
"""

import argparse
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from drift_cases import BASE, CONDITIONS, PIXEL_NM, SLICE_NM, SPECIMENS, with_cap
from scipy.ndimage import gaussian_filter, uniform_filter1d
from scipy.ndimage import shift as shifted

from fibtomo.ops.drift import estimate_drift
from fibtomo.phantom import Artefacts, acquire

SLICES, SIDE = 48, 320
SPARE = 8
"""Faces imaged beyond `SLICES`, for gaps."""
Images = np.ndarray
Spoil = Callable[[Images, int, np.random.Generator], Images]

CASES: dict[str, tuple[str, str]] = {
    "porous": ("porous170", "base"),
    "fine, noisy": ("porous90", "noise"),
    "coarse, flicker and shading": ("porous260", "flicker"),
    "particles": ("particles", "base"),
    "electrode, curtains": ("electrode", "curtains"),
    "inclined": ("inclined", "base"),
    "polycrystal": ("polycrystal", "base"),
    "gyroid": ("gyroid", "base"),
    "layered": ("layered", "base"),
    "capped": ("capped", "base"),
    "jumps": ("porous170", "jumps"),
    "defocus": ("porous170", "defocus"),
    "charging": ("porous170", "charging"),
    "shine-through": ("porous170", "shine"),
    "uneven thickness": ("porous170", "line drift"),
    "layers across z": ("across z", "base"),
    "coarser with depth": ("coarser", "base"),
    "one large pore": ("large pore", "flicker"),
}


@dataclass(frozen=True)
class Faces:
    """Noise-free slices, their motion and how noisy the detector is."""

    signal: Images
    shifts_px: Images
    noise: dict[str, float]

    def detected(self, signal: Images, rng: np.random.Generator) -> Images:
        electrons, read = self.noise.get("electrons", 200.0), self.noise.get("read", 0.01)
        counted = rng.poisson(np.maximum(signal, 0) * electrons) / electrons + read * rng.normal(size=signal.shape)
        return np.clip(np.rint(255 * counted), 0, 255).astype(np.uint8)


def image_faces(case: str, seed: int, cache: Path | None) -> Faces:
    """Image the specimen of a case, without noise."""
    specimen, condition = CASES[case]
    noise = CONDITIONS[condition].artefacts.get("noise", {})
    path = None if cache is None else cache / f"faces-{case.replace(' ', '_')}-{seed}.npz"
    if path is not None and path.exists():
        with np.load(path) as stored:
            return Faces(stored["signal"].astype(np.float32), stored["shifts"], noise)
    if specimen == "across z":
        fine, coarse = (_acquired(name, condition, seed) for name in ("porous90", "particles"))
        other = _thick_layers(len(fine[0]), seed)
        signal, shifts = np.where(other[:, None, None], 0.25 + 0.5 * coarse[0], fine[0]), fine[1]
    elif specimen == "coarser":
        fine, coarse = (_acquired(name, condition, seed) for name in ("porous90", "porous260"))
        share = np.linspace(0, 1, len(fine[0]))[:, None, None]
        signal, shifts = (1 - share) * fine[0] + share * coarse[0], fine[1]
    elif specimen == "large pore":
        signal, shifts = _acquired("porous170", condition, seed)
        y, x = np.mgrid[:SIDE, :SIDE] - SIDE / 2
        z = np.arange(len(signal))[:, None, None] - len(signal) / 2
        pore = (z / 14) ** 2 + (np.hypot(y, x) / (0.75 * SIDE)) ** 2 < 1
        signal = np.where(pore, 0.12 * signal + 0.1, signal)
    else:
        signal, shifts = _acquired(specimen, condition, seed)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, signal=signal.astype(np.float16), shifts=shifts)
    return Faces(signal.astype(np.float32), shifts, noise)


def _acquired(specimen: str, condition: str, seed: int) -> tuple[Images, Images]:
    body, how = SPECIMENS[specimen][0], CONDITIONS[condition]
    body = replace(body, seed=seed) if hasattr(body, "seed") else body
    if "shine_through" in how.artefacts:
        body = replace(body, waves=120)  # every ray sums them all
    run = acquire(
        body,
        shape=(SLICES + SPARE, SIDE, SIDE),
        pixel_nm=PIXEL_NM,
        slice_nm=SLICE_NM,
        tracked=how.tracked,
        artefacts=Artefacts.of(BASE | how.artefacts).change(noise=None),
        seed=seed,
        dtype="float32",
        oversample=1,
    )
    if specimen != "capped":
        return run.slices, run.truth.shifts_px
    grey = with_cap(255 * run.slices, run.truth.shifts_px, np.random.default_rng(seed))
    return grey / 255, run.truth.shifts_px


def _thick_layers(n: int, seed: int) -> Images:
    """Which slices belong to the second material of layers 5 to 9 slices thick."""
    rng = np.random.default_rng(seed)
    bounds = np.cumsum(rng.integers(5, 10, n))
    return np.searchsorted(bounds, np.arange(n), side="right") % 2 == 1


def _truncated(at: float, fill: str) -> Spoil:
    def spoil(s: Images, k: int, _: np.random.Generator) -> Images:
        image, row = s[k].copy(), int(SIDE * at)
        rows = slice(row, None) if row > 0 else slice(0, -row)
        image[rows] = s[k - 1][rows] if fill == "copied" else 0
        return image

    return spoil


def _band(s: Images, k: int, rng: np.random.Generator) -> Images:
    image, row = s[k].copy(), int(rng.integers(40, SIDE - 100))
    image[row : row + 60] += 0.6
    return image


def _saturated(s: Images, k: int, rng: np.random.Generator) -> Images:
    y, x = np.mgrid[:SIDE, :SIDE] - rng.integers(80, SIDE - 80, 2)[:, None, None]
    return s[k] + 1.5 * np.exp(-((y / 70) ** 2 + (x / 110) ** 2))


def _streaks(s: Images, k: int, rng: np.random.Generator) -> Images:
    return s[k] + uniform_filter1d(0.5 * rng.normal(size=(SIDE, 1)), 3, axis=0)


def _rescanned(s: Images, k: int, rng: np.random.Generator) -> Images:
    return shifted(s[k - 1], 0.3 * rng.normal(size=2), order=3, mode="nearest")


def _motion(s: Images, k: int, _: np.random.Generator) -> Images:
    return uniform_filter1d(s[k], 9, axis=1)


def _blur(sigma_px: float | tuple[float, float]) -> Spoil:
    return lambda s, k, _: gaussian_filter(s[k], sigma_px)


KINDS: dict[str, Spoil] = {
    "blank": lambda s, k, _: np.zeros_like(s[k]),
    "dark noise": lambda s, k, _: 0.02 * s[k] + 0.02,
    "blur 1.5 px": _blur(1.5),
    "blur 2.5 px": _blur(2.5),
    "blur 4 px": _blur(4.0),
    "astigmatic 3 px": _blur((3.0, 0.5)),
    "motion 9 px": _motion,
    "copy": lambda s, k, _: s[k - 1],
    "re-scanned": _rescanned,
    "lower rows blank": _truncated(0.6, "blank"),
    "upper rows blank": _truncated(-0.3, "blank"),
    "lower rows copied": _truncated(0.55, "copied"),
    "bright band": _band,
    "local saturation": _saturated,
    "streaks": _streaks,
    "inverted": lambda s, k, _: 1 - s[k],
    "low contrast": lambda s, k, _: 0.5 + 0.3 * (s[k] - 0.5),
    "bright": lambda s, k, _: 1.3 * s[k] + 0.25,
    "elsewhere": lambda s, k, _: np.roll(s[k][::-1, ::-1], 37, axis=1),
}
EXACT = ("copy", "lower rows copied")
"""Kinds whose copied pixels carry the noise of the slice before."""
SETS: dict[str, tuple[tuple[str, ...], ...]] = {
    "a": (("blank",), ("blur 2.5 px",), ("copy",), ("bright band",), ("lower rows blank",), ("elsewhere",)),
    "b": (("dark noise",), ("astigmatic 3 px",), ("re-scanned",), ("streaks",), ("inverted",)),
    "c": (("blur 1.5 px",), ("lower rows copied",), ("local saturation",), ("low contrast",), ("upper rows blank",)),
    "d": (("blur 4 px",), ("motion 9 px",), ("bright",), ("blank", "blank"), ("blur 2.5 px", "blur 2.5 px")),
    "e": (("lower rows blank", "blur 2.5 px", "blank"), ("blur 2.5 px",) * 3, ("elsewhere", "dark noise")),
}


@dataclass(frozen=True)
class Stack:
    """Slices, what was done to which of them, slices before which others are missing, and the true motion."""

    slices: Images
    kinds: dict[int, str]
    gaps: dict[int, int]
    shifts_px: Images


def make_stack(faces: Faces, which: str, seed: int) -> Stack:
    """Spoil the slices of a set ("a" to "e"), leave some out ("gaps"), or do nothing ("sound")."""
    rng = np.random.default_rng([seed, *which.encode(), int(faces.signal[0].sum())])
    chosen, gaps = np.arange(SLICES), {}
    if which == "gaps":
        lost = {11: 1, 22: 2, 35: 1}
        gone = [k + j for k, count in lost.items() for j in range(count)]
        chosen = np.setdiff1d(np.arange(SLICES + len(gone)), gone)
        gaps = {int(np.searchsorted(chosen, k)): count for k, count in lost.items()}
    signal, kinds = faces.signal[chosen].copy(), {}
    runs = SETS.get(which, ())
    order = rng.permutation(len(runs)).tolist()
    if which == "e":
        signal[0], signal[-1] = KINDS["blur 2.5 px"](signal, 0, rng), KINDS["lower rows blank"](signal, -1, rng)
        kinds = {0: "first, blurred", SLICES - 1: "last, truncated"}
    room = (SLICES - 6) / max(len(runs), 1)
    source, sound = signal.copy(), signal.copy()
    for place, j in enumerate(order):
        first = int(3 + room * place + rng.integers(0, max(1, int(room) - 3 - len(runs[j]))))
        for i, kind in enumerate(runs[j]):
            k = first + i
            signal[k] = KINDS[kind](source, k, rng)
            kinds[k] = kind if len(runs[j]) == 1 else f"{len(runs[j])} in a row"
            sound[k] = np.nan
    slices = faces.detected(signal, rng)
    for k, kind in kinds.items():
        if kind == "copy":
            slices[k] = slices[k - 1]
        elif kind == "lower rows copied":
            slices[k, int(SIDE * 0.55) :] = slices[k - 1, int(SIDE * 0.55) :]
        elif kind in ("lower rows blank", "last, truncated"):
            slices[k, int(SIDE * 0.6) :] = 0
        elif kind == "upper rows blank":
            slices[k, : int(SIDE * 0.3)] = 0
        elif kind == "blank":
            slices[k] = 0
    return Stack(slices, kinds, gaps, faces.shifts_px[chosen])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--cases", nargs="*", default=list(CASES), choices=list(CASES))
    parser.add_argument("--sets", nargs="*", default=[*SETS, "gaps", "sound"])
    parser.add_argument("--cache", type=Path, help="folder that keeps the imaged faces")
    parser.add_argument("--details", action="store_true", help="print every miss and false alarm")
    options = parser.parse_args()
    found: dict[str, list[bool]] = defaultdict(list)
    false: dict[str, int] = defaultdict(int)
    counts: dict[str, int] = defaultdict(int)
    false_gaps: dict[str, int] = defaultdict(int)
    for case in options.cases:
        for seed in range(options.seeds):
            faces = image_faces(case, seed, options.cache)
            for which in options.sets:
                stack = make_stack(faces, which, seed)
                drift = estimate_drift(stack.slices)
                flagged, gaps = set(drift.bad_slices), {k for k, f in enumerate(drift.flags) if "missing" in f}
                for k, kind in stack.kinds.items():
                    found[kind].append(k in flagged)
                    if options.details and k not in flagged:
                        print(f"{case} {seed}{which}: {kind} at {k} missed")
                for k, count in stack.gaps.items():
                    found[f"missing {count}"].append(k in gaps)
                    if options.details and k not in gaps:
                        print(f"{case} {seed}{which}: {count} missing before {k} not seen")
                wrong = sorted(flagged - set(stack.kinds))
                false[case] += len(wrong)
                false_gaps[case] += len(gaps - set(stack.gaps))
                counts[case] += SLICES - len(stack.kinds)
                if options.details and (wrong or gaps - set(stack.gaps)):
                    told = [f"{k} {drift.flags[k]}" for k in sorted(set(wrong) | (gaps - set(stack.gaps)))]
                    print(f"{case} {seed}{which}: false alarm {told}")
    print(f"{'kind':<20}{'recall':>8}{'slices':>8}")
    for kind, hits in found.items():
        print(f"{kind:<20}{np.mean(hits):>8.2f}{len(hits):>8}")
    print(f"\n{'specimen':<30}{'sound':>8}{'flagged':>9}{'gaps':>6}")
    for case, count in counts.items():
        print(f"{case:<30}{count:>8}{false[case]:>9}{false_gaps[case]:>6}")
    hits = [hit for kind, some in found.items() if not kind.startswith("missing") for hit in some]
    wrong = sum(false.values())
    print(f"\nrecall {np.mean(hits):.3f}, precision {sum(hits) / max(sum(hits) + wrong, 1):.3f}")


if __name__ == "__main__":
    main()
