"""Every curtain filter of ours beside those of other packages: ``python benchmarks/curtain_peers.py``.

Faces (``curtain_faces.make_face``) of all amplitudes, angles and streak widths: mean gain in PSNR (dB) over the input,
by amplitude, by angle and by width; the worst gain of any face; the largest correlation of what was removed with the
phase; damage, the rms change of streak-free faces in 1/255 of the grey range; CPU seconds per slice.

Stacks (``curtain_faces.make_stack``) against the volume without noise and curtains: PSNR, PSNR after blurring both by
sigma = 2 px, stripe residual (variance of the column profiles of the error over 128 rows, beyond that of noise, in % of
the input's), damage (rms change of the curtain-free stack after that blur, grey).

Set OMP_NUM_THREADS=1 for seconds of one core.
"""

import argparse
from collections.abc import Iterator
from itertools import product
from time import process_time

import numpy as np
import scipy.ndimage as ndi
from curtain_faces import Face, Stack, make_face, make_stack
from curtain_rivals import Filter, best_munch, fixed, ours, rivals
from curtaining import Plane

AMPLITUDES = (0.01, 0.03, 0.05, 0.08, 0.12)
ANGLES = (-8.0, -4.0, 0.0, 4.0, 8.0)
WIDTHS = ((1.0, 3.0), (1.0, 10.0), (5.0, 20.0))
PROFILE_ROWS = 128


def psnr(plane: Plane, truth: Plane, span: float = 1.0) -> float:
    return float(10 * np.log10(span**2 / np.mean((np.asarray(plane, np.float64) - truth) ** 2)))


def face_row(run: Filter, seeds: int, sparse: bool) -> str:
    gains, phase, damage, seconds = {}, 0.0, [], []
    cases = list(product(AMPLITUDES, ANGLES, WIDTHS))
    for seed, (j, case) in product(range(seeds), enumerate(cases)):
        if sparse and not (case[0] in (0.03, 0.08) and case[1] in (0.0, 4.0) and case[2] == WIDTHS[1]):
            continue
        face = make_face(*case, seed=1000 * seed + j)
        before = face.striped * 255
        start = process_time()
        out = run(before)
        seconds.append(process_time() - start)
        gains[(seed, *case)] = psnr(out / 255, face.clean) - psnr(face.striped, face.clean)
        removed = (before - out).ravel()
        if removed.std() > 0:
            phase = max(phase, abs(np.corrcoef(removed, face.phase.ravel())[0, 1]))
    for seed in range(min(seeds, 2) if sparse else 3 * seeds):
        clean = make_face(0, 0, seed=seed).clean * 255
        damage.append(np.std(run(clean) - clean))
    means = [_mean(gains, j, v) for j, values in ((1, AMPLITUDES), (2, ANGLES), (3, WIDTHS)) for v in values]
    cells = "".join("      -" if m is None else f"{m:7.2f}" for m in means)
    return f"{cells} |{min(gains.values()):7.2f}{phase:7.3f}{np.mean(damage):7.2f}{np.median(seconds):8.3f}"


def _mean(gains: dict[tuple[float, ...], float], place: int, value: object) -> float | None:
    found = [g for case, g in gains.items() if case[place] == value]
    return float(np.mean(found)) if found else None


def stack_row(run: Filter, stacks: list[Stack]) -> str:
    rows = []
    for stack in stacks:
        start = process_time()
        out = np.stack([_as_bytes(run(v.astype(np.float32))) for v in stack.striped])
        seconds = (process_time() - start) / len(out)
        untouched = np.stack([_as_bytes(run(v.astype(np.float32))) for v in stack.clean])
        blurred = [ndi.gaussian_filter(v.astype(np.float32), (0, 2, 2)) for v in (out, stack.truth)]
        harm = ndi.gaussian_filter(untouched.astype(np.float32) - stack.clean, (0, 2, 2))
        floor, whole = (column_error(v, stack.truth) for v in (stack.clean, stack.striped))
        left = (column_error(out, stack.truth) - floor) / (whole - floor)
        rows.append((psnr(out, stack.truth, 255), psnr(*blurred, 255), 100 * left, np.sqrt(np.mean(harm**2)), seconds))
    return "{:8.2f}{:8.2f}{:9.1f}{:8.2f}{:9.3f}".format(*np.mean(rows, axis=0))


def _as_bytes(plane: Plane) -> Plane:
    return np.clip(np.rint(plane), 0, 255).astype(np.uint8)


def column_error(stack: Plane, truth: Plane) -> float:
    error = stack.astype(np.float64) - truth
    profiles = error.reshape(len(error), -1, PROFILE_ROWS, error.shape[2]).mean(axis=2)
    return float(profiles.var(axis=-1).mean())


def filters(only: str) -> Iterator[tuple[str, Filter | str, bool]]:
    """Names that contain `only`, filters (or what is in the way), and whether they are too slow for all faces."""
    known: dict[str, Filter | str] = {"input": lambda plane: plane, **ours(), **fixed(), **rivals()}
    yield from ((n, f, n.startswith(("pystripe", "destripe", "pyvsnr"))) for n, f in known.items() if only in n)


def oracle_row(seeds: int) -> str:
    gains: dict[tuple[float, ...], float] = {}
    for seed, rms, angle in product(range(seeds), (0.03, 0.08), (0.0, 4.0)):
        face: Face = make_face(rms, angle, seed=seed)
        best = best_munch(face.striped, lambda v, face=face: -psnr(v, face.clean))
        gains[(seed, rms, angle)] = psnr(best, face.clean) - psnr(face.striped, face.clean)
    return "  ".join(
        f"A={a:.2f} {d:.0f} deg: {np.mean([gains[(s, a, d)] for s in range(seeds)]):.2f} dB"
        for a, d in product((0.03, 0.08), (0.0, 4.0))
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1, help="faces per amplitude, angle and width, and stacks")
    parser.add_argument("--slices", type=int, default=8)
    parser.add_argument("--only", default="", help="only filters with this in their name")
    args = parser.parse_args()
    heads = [f"A={a:g}" for a in AMPLITUDES] + [f"{a:g} deg" for a in ANGLES] + [f"{w:g}-{v:g}px" for w, v in WIDTHS]
    print("Gain over the input, dB")
    print(f"{'':36s}" + "".join(f"{h:>7s}" for h in heads) + " |  worst  phase damage s/slice")
    for name, run, slow in filters(args.only):
        print(f"{name:36s}{run if isinstance(run, str) else face_row(run, args.seeds, slow)}", flush=True)
    if not args.only:
        print(f"wavelet-FFT, best of 60 settings by the truth: {oracle_row(min(args.seeds, 2))}", flush=True)
    stacks = [make_stack(args.slices, seed) for seed in range(args.seeds)]
    print(f"\nStacks\n{'':36s}    PSNR PSNR s2 residual  damage  s/slice")
    for name, run, _ in filters(args.only):
        print(f"{name:36s}{run if isinstance(run, str) else stack_row(run, stacks)}", flush=True)


if __name__ == "__main__":
    main()
