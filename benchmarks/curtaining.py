"""Curtain removal beside other filters: ``python benchmarks/curtaining.py [baseline] [wide] [stack] [real]``.

baseline: a face of two greys (0.30 and 0.65, wavelength 40 px) with noise 0.03, one pixel of blur, and 220 streaks, 1
to 10 px wide, that start anywhere and fade over 150 to 800 rows. PSNR (dB) and SSIM compare with the same noisy face
without streaks; Dice is that of the bright phase after Otsu's threshold; damage is the rms change of the streak-free
face, in 1/255 of the grey range.

wide: gain in PSNR (dB) while one thing at a time is varied on that face; then the mean and the worst gain, the largest
correlation of what was removed with the phase, and the damage.

stack: `curtain_faces.make_stack` against the volume without noise and curtains. PSNR; PSNR after blurring both by 2 px
(standard deviation); residual, the variance of the column profiles of the error over 128 rows beyond that of noise, in
% of the input's; damage, the rms change of the curtain-free stack after that blur, grey.

real: known curtains on real images (`curtain_real`), with ``--data FOLDER``; gain in dB, and what is changed on the
image as it is.

Packages that are not installed are named and left out; slow filters run on the first seed only, and on no real image.
Seconds are those of the CPU; set OMP_NUM_THREADS=1 for one core.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from time import process_time

import numpy as np
import scipy.ndimage as ndi
from curtain_faces import Case, Plane, Stack, make_face, make_stack
from curtain_real import real_table
from curtain_rivals import SLOW, Filter, filters, oracle
from skimage.filters import threshold_otsu
from skimage.metrics import structural_similarity

BEST = "wavelet-FFT, oracle of 60"
BASELINE = [Case(a, d) for d in (0.0, 4.0) for a in (0.03, 0.08)]
PROFILE_ROWS = 128
WIDE: dict[str, Case] = {
    **{f"A = {a:g}": Case(a) for a in (0.01, 0.02, 0.03, 0.05, 0.08, 0.12)},
    **{f"{d:g} deg": Case(angle_deg=d) for d in (-8.0, -4.0, 4.0, 8.0)},
    **{f"widths {w[0]}-{w[1]} px": Case(widths_px=w) for w in ((1, 3), (5, 20))},
    "begin at boundaries": Case(onset="boundary"),
    **{f"multiplicative {s:g}": Case(share=s) for s in (0.5, 1.0)},
    "rocking +-2 deg": Case(rocking_deg=2.0),
    **{f"wavelength {v:g} px": Case(wavelength_px=v) for v in (15.0, 120.0)},
    **{f"noise {n:g}": Case(noise=n) for n in (0.005, 0.01, 0.1)},
    "three phases": Case(phases=3),
}
HARMLESS = [Case(0), Case(0, wavelength_px=15), Case(0, wavelength_px=120), Case(0, noise=0.005), Case(0, phases=3)]


def psnr(plane: Plane, truth: Plane, span: float = 1.0) -> float:
    return float(10 * np.log10(span**2 / np.mean((np.asarray(plane, np.float64) - truth) ** 2)))


def apply(run: Callable[..., Plane], plane: Plane, truth: Plane) -> tuple[Plane, float]:
    """Filtered plane (grey values 0 to 1) and CPU seconds."""
    start = process_time()
    out = run(plane * 255, truth * 255) if run is oracle else run(plane * 255)
    return (np.asarray(out, np.float32) / 255), process_time() - start


def score(plane: Plane, clean: Plane, phase: Plane) -> tuple[float, float, float]:
    bright = plane > threshold_otsu(plane)
    dice = 2 * np.sum(bright & phase) / (bright.sum() + phase.sum())
    return psnr(plane, clean), structural_similarity(plane, clean, data_range=1.0), float(dice)


def baseline_row(run: Callable[..., Plane], seeds: range) -> str:
    rows, damage, seconds = np.zeros((len(BASELINE), 3)), [], []
    for seed in seeds:
        for j, case in enumerate(BASELINE):
            face = make_face(case, seed)
            out, taken = apply(run, face.striped, face.clean)
            rows[j] += np.array(score(out, face.clean, face.phase)) / len(seeds)
            seconds.append(taken)
        clean = make_face(BASELINE[0], seed).clean
        damage.append(255 * np.std(apply(run, clean, clean)[0] - clean))
    cells = "".join(f"{p:9.2f} {s:.3f} {d:.4f} " for p, s, d in rows)
    return f"{cells}{np.mean(damage):8.2f}{np.median(seconds):9.3f}"


def baseline_table(known: dict[str, Filter], seeds: int) -> None:
    heads = "".join(f"{f'A={c.rms:.2f}, {c.angle_deg:g} deg':>24s}" for c in BASELINE)
    print(f"{'PSNR SSIM Dice':30s}{heads}  damage  s/slice")
    print(f"{'input':30s}{baseline_row(lambda plane: plane, range(seeds))}")
    for name, run in known.items():
        print(f"{name:30s}{baseline_row(run, few(name, seeds))}", flush=True)
    print()


def few(name: str, seeds: int) -> range:
    return range(1 if name.startswith(SLOW) else seeds)


def wide_table(known: dict[str, Filter], seeds: int) -> None:
    for j, name in enumerate(known):
        print(f"({j + 1}) {name}")
    print(f"{'gain over the input, dB':24s}{'input':>7s}" + "".join(f"{f'({j + 1})':>7s}" for j in range(len(known))))
    gains = {name: [] for name in known}
    phase = dict.fromkeys(known, 0.0)
    for title, case in WIDE.items():
        cells = []
        for name, run in known.items():
            found = [gain_of(run, case, seed) for seed in few(name, seeds)]
            gains[name].append(float(np.mean([g for g, _ in found])))
            phase[name] = max(phase[name], *(r for _, r in found))
            cells.append(f"{gains[name][-1]:7.2f}")
        face = make_face(case)
        print(f"{title:24s}{psnr(face.striped, face.clean):7.2f}{''.join(cells)}", flush=True)
    for title, pick in (("mean", np.mean), ("worst", np.min)):
        print(f"{title:31s}" + "".join(f"{pick(g):7.2f}" for g in gains.values()))
    print(f"{'correlation with phase':31s}" + "".join(f"{r:7.3f}" for r in phase.values()))
    harm = [np.mean([damage(run, c, s) for c in HARMLESS for s in few(n, seeds)]) for n, run in known.items()]
    print(f"{'damage, 1/255':31s}" + "".join(f"{h:7.2f}" for h in harm) + "\n", flush=True)


def gain_of(run: Callable[..., Plane], case: Case, seed: int) -> tuple[float, float]:
    """Gain, dB, and how far what was removed correlates with the phase."""
    face = make_face(case, seed)
    out, _ = apply(run, face.striped, face.clean)
    removed = (face.striped - out).ravel()
    r = abs(np.corrcoef(removed, face.phase.ravel())[0, 1]) if removed.std() > 0 else 0.0
    return psnr(out, face.clean) - psnr(face.striped, face.clean), float(r)


def damage(run: Callable[..., Plane], case: Case, seed: int) -> float:
    clean = make_face(case, seed).clean
    return float(255 * np.std(apply(run, clean, clean)[0] - clean))


def as_bytes(plane: Plane) -> Plane:
    return np.clip(np.rint(plane), 0, 255).astype(np.uint8)


def column_error(stack: Plane, truth: Plane) -> float:
    error = stack.astype(np.float64) - truth
    return float(error.reshape(len(error), -1, PROFILE_ROWS, error.shape[2]).mean(axis=2).var(axis=-1).mean())


def stack_row(run: Filter, stack: Stack) -> str:
    start = process_time()
    out = np.stack([as_bytes(run(v.astype(np.float32))) for v in stack.striped])
    seconds = (process_time() - start) / len(out)
    untouched = np.stack([as_bytes(run(v.astype(np.float32))) for v in stack.clean])
    blurred = [ndi.gaussian_filter(v.astype(np.float32), (0, 2, 2)) for v in (out, stack.truth)]
    harm = np.sqrt(np.mean(ndi.gaussian_filter(untouched.astype(np.float32) - stack.clean, (0, 2, 2)) ** 2))
    floor, whole = (column_error(v, stack.truth) for v in (stack.clean, stack.striped))
    left = 100 * (column_error(out, stack.truth) - floor) / (whole - floor)
    return f"{psnr(out, stack.truth, 255):8.2f}{psnr(*blurred, 255):9.2f}{left:9.1f}{harm:8.2f}{seconds:9.3f}"


def stack_table(known: dict[str, Filter], slices: int) -> None:
    stack = make_stack(slices)
    print(f"{'':30s}    PSNR  blurred residual  damage  s/slice")
    for name, run in {"input": lambda plane: plane, **known}.items():
        print(f"{name:30s}{stack_row(run, stack)}", flush=True)
    print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=["baseline"], help="baseline (default), wide, stack, real")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--slices", type=int, default=8, help="of the stack")
    parser.add_argument("--only", default="", help="only filters with this in their name")
    parser.add_argument("--data", type=Path, help="folder of real images")
    args = parser.parse_args()
    known, missing = filters(args.only)
    if missing:
        print(f"not installed: {', '.join(missing)}\n")
    by_truth = {**known, BEST: oracle} if args.only in BEST else known
    for part in args.parts:
        if part == "baseline":
            baseline_table(by_truth, args.seeds)
        elif part == "wide":
            wide_table(by_truth, args.seeds)
        elif part == "stack":
            stack_table(known, args.slices)
        elif part == "real":
            real_table({n: f for n, f in known.items() if not n.startswith(SLOW)}, args.data)
        else:
            parser.error(f"no part '{part}'")


if __name__ == "__main__":
    main()
