"""Drift estimation beside the peers, over specimens and conditions: ``python benchmarks/drift.py [--help]``.

Errors are measured against the known motion: rms of the vector after its mean (all) or its straight line (bent) is
removed, above an 11-slice running mean (fast), of the steps from slice to slice, and the largest of all. All of them
but the fast part and the steps are limited by the structure itself: "bound" is what it leaves open from the first to
the last slice, "end" the error there. "sigma/err" is the stated against the actual deviation from slice 0. Bad slices
count neither in the errors of fibtomo nor of the peers. Peers that are not installed are left out.
"""

import argparse
from collections.abc import Callable
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
from drift_cases import CAP_ROWS, CONDITIONS, ONLY_BASE, SIZES, SPECIMENS, Case, make_case
from scipy.ndimage import uniform_filter1d
from skimage.registration import phase_cross_correlation

from fibtomo.core.drift import Drift
from fibtomo.ops.drift import estimate_drift

Chain = Callable[[np.ndarray], np.ndarray]
COLUMNS = ("all", "bent", "fast", "step", "max", "end")


def by_skimage(stack: np.ndarray) -> np.ndarray:
    steps = [
        phase_cross_correlation(b.astype(np.float32), a.astype(np.float32), upsample_factor=10, normalization=None)[0]
        for a, b in pairwise(stack)
    ]
    return summed(steps)


def by_opencv(stack: np.ndarray) -> np.ndarray:
    import cv2

    window = cv2.createHanningWindow(stack.shape[:0:-1], cv2.CV_32F)
    images = (image.astype(np.float32) for image in stack)
    return summed([cv2.phaseCorrelate(a, b, window)[0][::-1] for a, b in pairwise(images)])


def by_stackreg(stack: np.ndarray) -> np.ndarray:
    from pystackreg import StackReg

    matrices = StackReg(StackReg.TRANSLATION).register_stack(stack.astype(np.float64), reference="previous")
    return matrices[:, 1::-1, 2] - matrices[0, 1::-1, 2]


def by_simpleitk(stack: np.ndarray) -> np.ndarray:
    import SimpleITK

    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    method = SimpleITK.ImageRegistrationMethod()
    method.SetMetricAsMeanSquares()
    method.SetOptimizerAsRegularStepGradientDescent(learningRate=1.0, minStep=0.005, numberOfIterations=60)
    method.SetInterpolator(SimpleITK.sitkLinear)
    method.SetShrinkFactorsPerLevel([4, 2])
    method.SetSmoothingSigmasPerLevel([2.0, 1.0])
    steps = []
    images = (SimpleITK.GetImageFromArray(image.astype(np.float32)) for image in stack)
    for a, b in pairwise(images):
        method.SetInitialTransform(SimpleITK.TranslationTransform(2), inPlace=False)
        steps.append(method.Execute(a, b).GetParameters()[::-1])
    return summed(steps)


def summed(steps: list) -> np.ndarray:
    return np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)])


PEERS: dict[str, tuple[str, Chain]] = {
    "OpenCV": ("cv2", by_opencv),
    "skimage": ("skimage", by_skimage),
    "StackReg": ("pystackreg", by_stackreg),
    "SimpleITK": ("SimpleITK", by_simpleitk),
}


def errors(found: np.ndarray, case: Case) -> dict[str, float]:
    """The columns of the table; bad slices lie on the line between their neighbours."""
    error, at = found - case.shifts_px, np.arange(len(found))
    for axis in (0, 1):
        error[:, axis] = np.interp(at, at[~case.bad], error[~case.bad, axis])
    end = float(np.linalg.norm(error[-1] - error[0]))
    error = error - error.mean(axis=0)
    bent = error - np.polynomial.polynomial.polyval(at, np.polynomial.polynomial.polyfit(at, error, 1)).T
    fast = (bent - uniform_filter1d(bent, 11, axis=0, mode="nearest"))[5:-5]
    parts = {"all": error, "bent": bent, "fast": fast, "step": np.diff(error, axis=0)}
    values = {name: float(np.sqrt((part**2).sum(axis=1).mean())) for name, part in parts.items()}
    return values | {"max": float(np.linalg.norm(error, axis=1).max()), "end": end}


def sigma_and_error(drift: Drift, case: Case) -> tuple[float, float]:
    """Mean squares of the stated and of the actual deviation from slice 0, per axis."""
    error = (drift.shifts_px - case.shifts_px)[~case.bad]
    error = error - error[0]
    return float((drift.sigma_px[~case.bad] ** 2).mean()), float((error**2).mean())


def timed(call: Callable, *arguments: object) -> tuple[object, float, float]:
    wall, cpu = perf_counter(), process_time()
    result = call(*arguments)
    return result, perf_counter() - wall, process_time() - cpu


def peer(name: str, case: Case, stored: Path | None) -> tuple[np.ndarray, float, float]:
    if stored is not None and stored.exists():
        with np.load(stored) as kept:
            return kept["path"], float(kept["wall"]), float(kept["cpu"])
    path, wall, cpu = timed(PEERS[name][1], case.slices)
    if stored is not None:
        np.savez(stored, path=path, wall=wall, cpu=cpu)
    return path, wall, cpu


def fibtomo_drift(case: Case, workers: int | None, capped: bool) -> Drift:
    roi = None
    if capped:
        roi = (12, CAP_ROWS - 14, 40, case.slices.shape[2] - 40)
    return estimate_drift(case.slices, workers=workers, reference_roi=roi)


def report(title: str, method: str, rows: list[dict[str, float]], reference: dict[str, float], extra: str) -> None:
    """Print one line: rms over the seeds, the largest of the largest."""
    mean = {name: float(np.sqrt(np.mean([row[name] ** 2 for row in rows]))) for name in COLUMNS}
    mean["max"] = max(row["max"] for row in rows)
    wall, cpu = (float(np.sum([row[name] for row in rows])) for name in ("wall", "cpu"))
    reference.setdefault("wall", wall)
    reference.setdefault("cpu", cpu)
    numbers = " ".join(f"{mean[name]:7.3f}" for name in COLUMNS)
    print(
        f"{title:32} {method:10} {numbers} {wall:7.2f} {wall / reference['wall']:6.2f} "
        f"{cpu / max(reference['cpu'], 1e-9):6.2f} {extra}",
        flush=True,
    )


def run_cell(specimen: str, condition: str, options: argparse.Namespace, methods: list[str]) -> None:
    title, rows = f"{specimen}, {condition}, {options.size}", {name: [] for name in methods}
    squares, flagged, identifiable, bounds = [], [], [], []
    for seed in range(options.seeds):
        case = make_case(specimen, condition, options.size, seed, options.cache)
        bounds.append(case.bound_px)
        for name in methods:
            if name.startswith("fibtomo"):
                drift, wall, cpu = timed(fibtomo_drift, case, options.workers, name != "fibtomo")
                path = drift.shifts_px
            if name == "fibtomo":
                squares.append(sigma_and_error(drift, case))
                marked = np.isin(np.arange(len(path)), drift.bad_slices)
                flagged.append(((marked & case.bad).sum(), marked.sum(), case.bad.sum()))
                identifiable.append(drift.identifiable)
            elif name in PEERS:
                key = f"{name}-{specimen}-{condition.replace(' ', '_')}-{options.size}-{seed}.npz"
                path, wall, cpu = peer(name, case, options.cache and options.cache / key)
            rows[name].append(errors(path, case) | {"wall": wall, "cpu": cpu})
    hit, marked, bad = np.sum(flagged, axis=0) if flagged else (0, 0, 0)
    reference: dict[str, float] = {}
    for name in methods:
        extra = f"bound {np.mean(bounds):.2f}"
        if name == "fibtomo":
            stated, actual = np.mean(squares, axis=0)
            extra += f", sigma/err {np.sqrt(stated / max(actual, 1e-12)):.2f}, bad {hit} of {bad} found"
            extra += f", {marked - hit} false" + ", identifiable" * any(identifiable)
        report(title, name, rows[name], reference, extra)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="quick")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--specimens", nargs="*", choices=SPECIMENS, default=list(SPECIMENS))
    parser.add_argument("--conditions", nargs="*", choices=CONDITIONS, default=list(CONDITIONS))
    parser.add_argument("--all", action="store_true", help="every condition on every specimen")
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=["OpenCV", "skimage"])
    parser.add_argument("--workers", type=int, help="threads of fibtomo; one per core")
    parser.add_argument("--cache", type=Path, help="folder that keeps stacks and what the peers found")
    options = parser.parse_args()
    peers = [name for name in options.peers if find_spec(PEERS[name][0])]
    print(f"{'':32} {'':10}", *(f"{c:>7}" for c in COLUMNS), f"{'wall s':>7} {'x wall':>6} {'x cpu':>6}")
    for specimen in options.specimens:
        for condition in options.conditions:
            if condition == "base" or options.all or specimen not in ONLY_BASE:
                with_reference = ["fibtomo+ROI"] if specimen == "capped" else []
                run_cell(specimen, condition, options, ["fibtomo", *with_reference, *peers])


if __name__ == "__main__":
    main()
