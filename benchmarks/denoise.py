"""Noise filters against the usual ones on virtual stacks of known truth: ``python benchmarks/denoise.py``.

Specimens: nanoporous silver (2 greys, ligaments of about 17 px), an electrode (3 greys), a polycrystal (a grey per
grain) and tissue of low contrast (membranes, granules, fine texture); 36 × 5 nm deep, 96 × 96 pixels of 5 nm. Counting
noise of 20, 60 and 200 electrons per pixel at signal 1 and 0.02 of amplifier noise. Slices 5, 10 and 15 nm apart
("raw"), and the same after sub-pixel drift and one resample to cubes ("cubes"), where noise is correlated.

PSNR (dB) and SSIM compare with the stack without noise. Dice: mean over the phases that Otsu's thresholds cut out of
the filtered and of the noise-free stack (no phases in polycrystal). Sharpness: slope across the steepest twentieth of
the noise-free stack, over what it is there; 1 is perfect, less is blurred. CPU seconds per million voxels over all
threads. The peers are told the true rms noise; fibtomo measures it. bm3d and bm4d take part if they can be imported.
"""

# ruff: noqa: ARG001, ARG005 - every filter takes (volume, sigma, aspect)
import argparse
import importlib.util
from collections.abc import Callable
from time import process_time

import numpy as np
import scipy.ndimage as ndi
import SimpleITK
from skimage.filters import threshold_multiotsu
from skimage.metrics import structural_similarity
from skimage.restoration import denoise_bilateral, denoise_nl_means, denoise_tv_chambolle, denoise_wavelet

from fibtomo import denoise
from fibtomo.core.drift import Drift
from fibtomo.core.geometry import Geometry
from fibtomo.ops.resample import resample
from fibtomo.phantom import acquire
from fibtomo.phantom.artefacts import Noise
from fibtomo.phantom.effects import detect
from fibtomo.phantom.packing import Particles, Polycrystal
from fibtomo.phantom.specimens import NanoporousMetal

Volume = np.ndarray
DEPTH, SIZE, MARGIN, READ = 36, 96, 3, 0.02
PHASES = {"silver": 2, "electrode": 3, "polycrystal": 0, "tissue": 2}


def specimen(kind: str, seed: int) -> NanoporousMetal | Particles | Polycrystal:
    if kind == "silver":
        return NanoporousMetal(greys=(0.28, 0.72), wavelength_nm=170.0, solid_fraction=0.4, seed=seed)
    if kind == "polycrystal":
        return Polycrystal(grain_nm=260.0, seed=seed)
    binder = NanoporousMetal(greys=(0.2, 0.48), wavelength_nm=200.0, solid_fraction=0.45, seed=seed)
    return Particles(greys=(0.2, 0.48, 0.8), radius_nm=130.0, spread=0.25, fraction=0.32, matrix=binder, seed=seed)


def tissue(shape: tuple[int, int, int], step: int, seed: int) -> Volume:
    rng = np.random.default_rng(seed)
    deep = (shape[0] * step, *shape[1:])

    def field(sigma: float) -> Volume:
        smooth = ndi.gaussian_filter(rng.normal(size=deep), sigma, mode="wrap")
        return smooth / smooth.std()

    cells, granules = field(6), field(2.5)
    grey = 0.55 + 0.02 * field(1.2)
    grey[cells > 0] -= 0.06
    slope = np.sqrt(sum(np.gradient(cells, axis=k) ** 2 for k in range(3)))
    grey[np.abs(cells) < 1.2 * slope] = 0.33
    grey[granules > 2] = 0.38
    return ndi.gaussian_filter(grey, 0.6)[::step]


def clean_stack(kind: str, step: int, seed: int) -> Volume:
    shape = (DEPTH // step, SIZE, SIZE)
    if kind == "tissue":
        return tissue(shape, step, seed)
    run = acquire(
        specimen(kind, seed),
        shape=shape,
        pixel_nm=5.0,
        slice_nm=5.0 * step,
        tilt_corrected=True,
        tracked=True,
        seed=seed,
        artefacts={"defocus": {"best_px": 0.6, "worst_px": 0.8}},
        dtype="float32",
    )
    return run.slices.astype(np.float64)


def cubes(stack: Volume, step: int, seed: int) -> Volume:
    """The stack, each slice somewhere else by part of a pixel, resampled to cubes of a pixel."""
    shifts = np.random.default_rng(seed).uniform(-0.5, 0.5, (len(stack), 2))
    geometry = Geometry(voxel_nm=(5.0 * step, 5.0, 5.0), tilt_corrected=True, tracked=True)
    return np.asarray(resample(stack.astype(np.float32), geometry, drift=Drift(shifts), voxel_nm=5.0))


def slices(function: Callable[[Volume], Volume]) -> Callable[[Volume, float, float], Volume]:
    return lambda v, sigma, aspect: np.stack([function(plane, sigma) for plane in v])


def diffusion(v: Volume, sigma: float, aspect: float) -> Volume:
    image = SimpleITK.GetImageFromArray(v)
    image.SetSpacing((1.0, 1.0, aspect))
    out = SimpleITK.CurvatureAnisotropicDiffusion(image, 0.0625, 3.0, 1, 8)
    return SimpleITK.GetArrayFromImage(out)


def median(v: Volume, sigma: float, aspect: float) -> Volume:
    return SimpleITK.GetArrayFromImage(SimpleITK.Median(SimpleITK.GetImageFromArray(v), (1, 1, 1)))


def ours(method: str, **options: object) -> Callable[[Volume, float, float], Volume]:
    return lambda v, sigma, aspect: denoise(v, method=method, voxel_nm=(aspect, 1.0, 1.0), **options)


def nlm(patch: int, reach: int, strength: float) -> Callable[[Volume, float, float], Volume]:
    return lambda v, s, a: denoise_nl_means(v, patch, reach, h=strength * s, sigma=s, fast_mode=True)


METHODS: dict[str, Callable[[Volume, float, float], Volume]] = {
    "input": lambda v, s, a: v,
    "fibtomo nlm": ours("nlm"),
    "fibtomo nlm, 1 pass": ours("nlm", passes=1),
    "fibtomo nlm, slices": ours("nlm", reach_slices=0),
    "fibtomo tv": ours("tv"),
    "fibtomo tv, residual 1": ours("tv", residual=1.0),
    "fibtomo tv, slices": ours("tv", along_z=0.0),
    "fibtomo bilateral": ours("bilateral"),
    "fibtomo gaussian": ours("gaussian"),
    "skimage nlm 2-D 5 6 0.8": slices(
        lambda p, s: denoise_nl_means(p, 5, 6, h=0.8 * s, sigma=s, fast_mode=True),
    ),
    "skimage nlm 3-D 5 4 0.6": nlm(5, 4, 0.6),
    "skimage nlm 3-D 5 4 0.8": nlm(5, 4, 0.8),
    "skimage tv 3-D 0.6": lambda v, s, a: denoise_tv_chambolle(v, weight=0.6 * s),
    "skimage tv 3-D 0.8": lambda v, s, a: denoise_tv_chambolle(v, weight=0.8 * s),
    "skimage bilateral 2-D": slices(lambda p, s: denoise_bilateral(p, sigma_color=2 * s, sigma_spatial=1.5)),
    "skimage wavelet 3-D": lambda v, s, a: denoise_wavelet(v, sigma=s, wavelet="db2", rescale_sigma=False),
    "SimpleITK median 3³": median,
    "SimpleITK curvature diffusion": diffusion,
    "scipy gaussian 1, 3-D": lambda v, s, a: ndi.gaussian_filter(v, (1 / a, 1, 1)),
}
if importlib.util.find_spec("bm3d"):
    import bm3d

    METHODS["bm3d, slices"] = slices(lambda p, s: bm3d.bm3d(p, s))
if importlib.util.find_spec("bm4d"):
    import bm4d

    METHODS["bm4d"] = lambda v, s, a: bm4d.bm4d(v, s)


def phases(volume: Volume, count: int) -> Volume:
    return np.digitize(volume, threshold_multiotsu(volume, count))


def score(out: Volume, clean: Volume, count: int) -> tuple[float, float, float, float]:
    out = np.asarray(out, dtype=np.float64)
    psnr = -10 * np.log10(np.mean((out - clean) ** 2))
    ssim = structural_similarity(out, clean, data_range=1.0)
    dice = np.nan
    if count:
        a, b = phases(out, count), phases(clean, count)
        dice = np.mean([2 * np.sum((a == k) & (b == k)) / (np.sum(a == k) + np.sum(b == k)) for k in range(count)])
    slope, truth = np.gradient(out), np.gradient(clean)
    steepness = sum(g**2 for g in truth)
    steep = steepness > np.quantile(steepness, 0.95)
    along = sum(a * b for a, b in zip(slope, truth, strict=True))
    return psnr, ssim, dice, float(along[steep].sum() / steepness[steep].sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--electrons", type=float, nargs="+", default=[20, 60, 200])
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--methods", nargs="+", help="names, or parts of them")
    args = parser.parse_args()
    chosen = {n: f for n, f in METHODS.items() if not args.methods or any(m in n for m in args.methods)}
    results: dict[tuple[str, str, str], list[tuple[float, ...]]] = {}
    seconds: dict[str, list[float]] = {}
    warm = np.random.default_rng(0).normal(0.5, 0.1, (8, 24, 24)).astype(np.float32)
    for function in chosen.values():
        function(warm, 0.1, 1.0)
    for kind, count in PHASES.items():
        for seed in range(args.seeds):
            for step in args.steps:
                clean = clean_stack(kind, step, seed)
                for electrons in args.electrons:
                    rng = np.random.default_rng(100 * seed + int(electrons))
                    noisy = detect(clean, Noise(electrons=electrons, read=READ), rng)
                    inside = (slice(None), slice(MARGIN, -MARGIN), slice(MARGIN, -MARGIN))
                    pairs = {
                        "raw": (noisy.astype(np.float32), clean, float(step)),
                        "cubes": (
                            cubes(noisy, step, seed)[inside],
                            cubes(clean, step, seed)[inside].astype(float),
                            1.0,
                        ),
                    }
                    for frame, (seen, truth, aspect) in pairs.items():
                        sigma = float(np.std(seen - truth))
                        for name, function in chosen.items():
                            start = process_time()
                            out = function(seen, sigma, aspect)
                            seconds.setdefault(name, []).append((process_time() - start) / seen.size * 1e6)
                            results.setdefault((frame, name, kind), []).append(
                                (*score(out, truth, count), electrons, step)
                            )
    for frame in ("raw", "cubes"):
        print(f"\n### {frame}: PSNR by specimen; means of all\n")
        print(f"| filter | {' | '.join(PHASES)} | PSNR | SSIM | Dice | sharpness | s/Mvox |")
        print("|" + "---|" * (len(PHASES) + 6))
        for name in chosen:
            each = [np.mean([r[0] for r in results[frame, name, kind]]) for kind in PHASES]
            every = np.array([r for kind in PHASES for r in results[frame, name, kind]])
            cells = [f"{v:.2f}" for v in each]
            cells += [f"{every[:, 0].mean():.2f}", f"{every[:, 1].mean():.4f}", f"{np.nanmean(every[:, 2]):.4f}"]
            cells += [f"{every[:, 3].mean():.3f}", f"{np.mean(seconds[name]):.3f}"]
            print(f"| {name} | {' | '.join(cells)} |")
        print(f"\n### {frame}: PSNR by electrons and distance of slices over pixel size; Dice by electrons\n")
        heads = [f"{e:g} e" for e in args.electrons] + [f"{s} px" for s in args.steps]
        print(f"| filter | {' | '.join(heads + [f'Dice {e:g} e' for e in args.electrons])} |")
        print("|" + "---|" * (1 + 2 * len(args.electrons) + len(args.steps)))
        for name in chosen:
            every = np.array([r for kind in PHASES for r in results[frame, name, kind]])
            cells = [f"{every[every[:, 4] == e, 0].mean():.2f}" for e in args.electrons]
            cells += [f"{every[every[:, 5] == s, 0].mean():.2f}" for s in args.steps]
            cells += [f"{np.nanmean(every[every[:, 4] == e, 2]):.4f}" for e in args.electrons]
            print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
