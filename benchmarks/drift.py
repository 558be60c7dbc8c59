"""Drift estimation against chains of phase correlation on virtual slices: ``python benchmarks/drift.py [--large]``.

Errors are measured against the known motion: rms of the vector after its mean (all) or its straight line (bent) is
removed, above an 11-slice running mean (fast), and of the steps from slice to slice. All of them but the fast part
and the steps are limited by the structure itself. OpenCV is used where it is installed.
"""

import argparse
from collections.abc import Callable
from importlib.util import find_spec
from itertools import pairwise
from time import perf_counter, process_time

import numpy as np
from scipy.ndimage import uniform_filter1d
from skimage.registration import phase_cross_correlation

from fibtomo.ops.drift import estimate_drift
from fibtomo.phantom import acquire

Stack = np.ndarray
Chain = Callable[[Stack], np.ndarray]


def by_fibtomo(stack: Stack) -> np.ndarray:
    return estimate_drift(stack).shifts_px


def by_fibtomo_one_thread(stack: Stack) -> np.ndarray:
    return estimate_drift(stack, workers=1).shifts_px


def by_skimage(normalization: str | None) -> Chain:
    def chain(stack: Stack) -> np.ndarray:
        steps = [
            phase_cross_correlation(
                b.astype(np.float32), a.astype(np.float32), upsample_factor=10, normalization=normalization
            )[0]
            for a, b in pairwise(stack)
        ]
        return np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)])

    return chain


def by_opencv(stack: Stack) -> np.ndarray:
    import cv2

    window = cv2.createHanningWindow(stack.shape[:0:-1], cv2.CV_32F)
    images = [image.astype(np.float32) for image in stack]
    steps = [cv2.phaseCorrelate(a, b, window)[0][::-1] for a, b in pairwise(images)]
    return np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)])


def errors(found: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    error = found - truth
    error -= error.mean(axis=0)
    at = np.arange(len(error))
    bent = error - np.polynomial.polynomial.polyval(at, np.polynomial.polynomial.polyfit(at, error, 1)).T
    fast = (bent - uniform_filter1d(bent, 11, axis=0, mode="nearest"))[5:-5]
    parts = {"all": error, "bent": bent, "fast": fast, "step": np.diff(error, axis=0)}
    return {name: float(np.sqrt((part**2).sum(axis=1).mean())) for name, part in parts.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--large", action="store_true", help="also 128 slices of 1024 x 1024")
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    chains: dict[str, Chain] = {
        "fibtomo": by_fibtomo,
        "fibtomo, 1 thread": by_fibtomo_one_thread,
        "skimage, phase": by_skimage("phase"),
        "skimage, none": by_skimage(None),
    }
    if find_spec("cv2"):
        chains["OpenCV, Hann"] = by_opencv
    base = {"drift": True, "jitter": True, "flicker": True, "noise": True}
    sets = {
        "S no curtains": ((64, 512, 512), True, base),
        "S curtains": ((64, 512, 512), True, base | {"curtains": True}),
        "S jumps": ((64, 512, 512), True, base | {"curtains": True, "jumps": {"per_slice": 0.05}}),
        "S shear": ((64, 512, 512), False, base | {"curtains": True}),
    }
    if options.large:
        sets["M curtains"] = ((128, 1024, 1024), True, base | {"curtains": True})
    heads = ("all", "bent", "fast", "step", "wall s", "cpu s", "x time")
    print(f"{'set':14} {'method':18}", *(f"{head:>6}" for head in heads[:4]), *(f"{head:>7}" for head in heads[4:]))
    for title, (shape, tracked, artefacts) in sets.items():
        for seed in range(options.seeds):
            run = acquire(shape=shape, tracked=tracked, artefacts=artefacts, seed=seed, oversample=1)
            reference = 0.0
            for name, chain in chains.items():
                chain(run.slices[:4])
                wall, cpu = perf_counter(), process_time()
                found = chain(run.slices)
                wall, cpu = perf_counter() - wall, process_time() - cpu
                reference = reference or wall
                e = errors(found, run.truth.shifts_px)
                print(
                    f"{title:14} {name:18} {e['all']:6.2f} {e['bent']:6.2f} {e['fast']:6.3f} {e['step']:6.3f} "
                    f"{wall:7.2f} {cpu:7.2f} {wall / reference:7.2f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
