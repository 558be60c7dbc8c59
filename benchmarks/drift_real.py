"""Known motion put on real slices: ``python benchmarks/drift_real.py STACK [STACK ...]``.

Every slice is moved by a known amount with a band-limited interpolator and cropped, so that only real pixels remain.
What is found on the moved stack, less what is found on the same window of the stack as it is, should be what was put
in. Whatever drift the stack had drops out, so that no ground truth is needed. The same is done with the peers that are
installed.

Columns, all vectors in px: rms of the path once its mean is removed (all), of the steps from slice to slice (step), the
largest error of a step (worst); then what fibtomo says of the moved stack: pairs left out, closure of loops, NCC of
neighbours before and after, jumps flagged, bad slices (none is bad).
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from time import process_time

import numpy as np
from drift import PEERS

from fibtomo.core.drift import Drift
from fibtomo.io.open import open_stack
from fibtomo.ops.drift import estimate_drift


@dataclass(frozen=True)
class Motion:
    """What is put on a stack: white jitter, a slow bow, and a jump there and back; jumps at most `share` of a slice."""

    jitter_px: float
    jump_px: float = 0.0
    bow_px: float = 0.0
    share: float = 0.12

    def shifts_px(self, shape: tuple[int, int, int], seed: int) -> tuple[np.ndarray, list[int]]:
        """(n, 2) motion relative to slice 0, and the slices at which it jumps."""
        n, *size = shape
        rng = np.random.default_rng(seed)
        limit = self.share * np.array(size)
        shifts = np.clip(rng.normal(0, self.jitter_px, (n, 2)), -3 * self.jitter_px, 3 * self.jitter_px)
        shifts += np.outer(np.sin(np.pi * np.arange(n) / n), np.minimum((self.bow_px, -self.bow_px / 2), limit / 3))
        at = [n // 3, 2 * n // 3] if self.jump_px else []
        if at:
            shifts[at[0] : at[1]] += np.minimum((0.5 * self.jump_px, self.jump_px), limit) * rng.choice((-1, 1), 2)
        return shifts - shifts[0], at


MOTIONS = {
    "jitter 0.5 px": Motion(0.5),
    "jitter 2 px": Motion(2.0),
    "jitter 1 px, bow, jumps": Motion(1.0, jump_px=40.0, bow_px=8.0),
}
Chain = Callable[[np.ndarray], np.ndarray]
OURS: dict[str, Chain] = {
    "fibtomo": lambda stack: estimate_drift(stack, workers=1).shifts_px,
    "fibtomo, slow=keep": lambda stack: estimate_drift(stack, workers=1, slow="keep").shifts_px,
}


def moved(stack: np.ndarray, shifts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Slices whose content appears at `shifts`, and the same window of those as they are."""
    whole = np.rint(shifts).astype(int)
    margin = np.abs(whole).max(axis=0) + 1
    rows, cols = (np.arange(m, size - m) for m, size in zip(margin, stack.shape[1:], strict=True))
    slices = [
        between(image, part)[np.ix_(rows - dy, cols - dx)]
        for image, part, (dy, dx) in zip(stack, shifts - whole, whole, strict=True)
    ]
    still = stack[:, rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
    return np.stack(slices), still


def between(image: np.ndarray, part: np.ndarray) -> np.ndarray:
    """The slice moved by a part of a pixel: trigonometric interpolation of the mirrored slice, which has no edges."""
    mirrored = np.pad(image.astype(np.float64), [(0, n) for n in image.shape], mode="symmetric")
    fy, fx = (np.fft.fftfreq(n) for n in mirrored.shape)
    turned = np.fft.fft2(mirrored) * np.exp(-2j * np.pi * (fy[:, None] * part[0] + fx * part[1]))
    grey = np.fft.ifft2(turned).real[: image.shape[0], : image.shape[1]]
    if image.dtype.kind == "f":
        return grey.astype(image.dtype)
    info = np.iinfo(image.dtype)
    return np.clip(np.rint(grey), info.min, info.max).astype(image.dtype)


def errors(found: np.ndarray, truth: np.ndarray) -> tuple[float, float, float]:
    """Path, steps and worst step."""
    error = found - truth
    steps = np.diff(error, axis=0)
    path = error - error.mean(axis=0)
    rms = [float(np.sqrt((part**2).sum(axis=1).mean())) for part in (path, steps)]
    return rms[0], rms[1], float(np.linalg.norm(steps, axis=1).max())


def told(drift: Drift, jumps: list[int]) -> str:
    """What fibtomo says of a stack."""
    numbers = drift.quality.summary()
    flagged = [k for k, flag in enumerate(drift.flags) if "jump" in flag]
    hits = len(set(flagged) & set(jumps))
    dy, dx = numbers["left_out_dy_px"], numbers["left_out_dx_px"]
    return (
        f"left out {dy:.3f} {dx:.3f}, closure {numbers['closure_px']:.3f}, "
        f"NCC {numbers['ncc_before']:.3f} -> {numbers['ncc_after']:.3f}, undecided {drift.undecided_px:.1f} px, "
        f"jumps {hits} of {len(jumps)} flagged, {len(flagged) - hits} false, {len(drift.bad_slices)} bad"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stacks", nargs="+", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=["OpenCV", "skimage"])
    options = parser.parse_args()
    chains = OURS | {name: PEERS[name][1] for name in options.peers if find_spec(PEERS[name][0])}
    print(f"{'':24} {'':18} {'all':>7} {'step':>7} {'worst':>7} {'ms/slice':>8}")
    for path in options.stacks:
        stack = open_stack(path)
        slices = stack.read(0, len(stack))
        print(f"\n{path.name}, {' x '.join(map(str, slices.shape))}: {told(estimate_drift(slices, workers=1), [])}")
        for title, motion in MOTIONS.items():
            rows: dict[str, list[tuple[float, float, float, float]]] = {name: [] for name in chains}
            for seed in range(options.seeds):
                truth, jumps = motion.shifts_px(slices.shape, seed)
                shaken, still = moved(slices, truth)
                for name, chain in chains.items():
                    start = process_time()
                    found = chain(shaken)
                    spent = (process_time() - start) / len(slices) * 1e3
                    rows[name].append((*errors(found - chain(still), truth), spent))
            for name, values in rows.items():
                path_px, step_px = np.sqrt(np.mean(np.square([v[:2] for v in values]), axis=0))
                worst, ms = max(v[2] for v in values), np.mean([v[3] for v in values])
                print(f"{title:24} {name:18} {path_px:7.3f} {step_px:7.3f} {worst:7.3f} {ms:8.2f}", flush=True)
            print(f"{'':24} {told(estimate_drift(shaken, workers=1), jumps)}")


if __name__ == "__main__":
    main()
