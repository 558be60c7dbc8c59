"""Evenness of brightness against known truth: ``python benchmarks/intensity.py [--part shading] [--seeds 1]``.

Every specimen of `fibtomo.phantom` and random structures of two and three phases, whose porosity drifts along z and y,
get shading, flicker, curtains and noise that are known exactly. Shading: standard deviation (%) of true gain times
correction over the specimen, before and after. Flicker: rms (% of contrast) by which the outer phases of sound slices
stray from their mean. Harm: loss of PSNR (dB) on a stack without shading and flicker. Faults: see `faults`.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import scipy.ndimage as ndi

from fibtomo.ops.charging import repair_charging
from fibtomo.ops.flicker import apply_flicker, combine_flicker, measure_flicker
from fibtomo.ops.shading import apply_shading, combine_shading, measure_shading
from fibtomo.phantom import acquire

Array = np.ndarray
SHAPE = (32, 160, 192)
SPECIMENS: dict[str, dict] = {
    "nanoporous_metal": {},
    "particles": {},
    "tpms": {},
    "layered": {},
    "polycrystal": {},
    "inclined_columns": {},
    "capped": {"surface_nm": 150.0},
    "fiducial": {},
    "trench": {"surface_nm": 120.0, "cap_nm": 70.0, "left_nm": 90.0, "right_nm": 860.0, "lean_deg": 4.0},
}


@dataclass(frozen=True)
class Case:
    """Signal (z, y, x), 0 to 1, where it counts, and the greys of its outer phases."""

    name: str
    signal: Array
    counts: Array
    greys: tuple[float, float]


def level_cut(shape: tuple[int, ...], wavelength_px: float, rng: np.random.Generator) -> Array:
    k = np.sqrt(sum(f**2 for f in np.meshgrid(*(np.fft.fftfreq(n) for n in shape), indexing="ij")))
    field = np.fft.ifftn(np.fft.fftn(rng.normal(size=shape)) * np.exp(-(((k * wavelength_px - 1) * 4) ** 2) / 2)).real
    return field / field.std()


def drawn(name: str, seed: int, porosity: float, along_z: float = 0, along_y: float = 0, phases: int = 2) -> Case:
    rng = np.random.default_rng(seed)
    field = level_cut(SHAPE, rng.uniform(20, 45), rng)
    z, y = (np.linspace(-1, 1, n) for n in SHAPE[:2])
    from scipy.special import ndtri

    cut = ndtri(np.clip(porosity + along_z * z[:, None, None] + along_y * y[:, None], 0.03, 0.97))
    dark, bright = rng.uniform(0.1, 0.35), rng.uniform(0.55, 0.75)
    signal = np.where(field > cut, bright, dark)
    if phases == 3:
        signal = np.where(field > cut + rng.uniform(0.5, 1.0), 0.5 * (dark + bright) + 0.3 * bright, signal)
    signal = ndi.gaussian_filter(signal, (0, 0.7, 0.7)).astype(np.float32)
    return Case(name, signal, np.ones(SHAPE, bool), (dark, bright))


@lru_cache(maxsize=4)
def of_phantom(kind: str) -> Case:
    made = acquire({"kind": kind, **SPECIMENS[kind]}, shape=SHAPE, artefacts="none", dtype="float32", tracked=True)
    specimen, phase = made.truth.specimen, made.truth.phase
    below = getattr(specimen, "below", specimen)
    inside = phase < len(below.greys)
    greys = sorted(g for i, g in enumerate(below.greys) if (phase == i).mean() > 0.02)
    return Case(kind, made.slices, inside, (greys[0], greys[-1]))


def cases(seed: int) -> Iterator[Case]:
    for kind in SPECIMENS:
        yield of_phantom(kind)
    rng = np.random.default_rng(100 + seed)
    for k, porosity in enumerate((0.2, 0.35, 0.5, 0.65, 0.8)):
        yield drawn(f"two phases, porosity {porosity}", int(rng.integers(1 << 30)), porosity)
        if k % 2 == 0:
            yield drawn(f"three phases, porosity {porosity}", int(rng.integers(1 << 30)), porosity, phases=3)
    yield drawn("porosity 0.25 to 0.75 along z", int(rng.integers(1 << 30)), 0.5, along_z=0.25)
    yield drawn("porosity 0.25 to 0.75 along y", int(rng.integers(1 << 30)), 0.5, along_y=0.25)
    yield drawn("porosity 0.2 to 0.8 along y and z", int(rng.integers(1 << 30)), 0.5, along_y=0.2, along_z=-0.1)
    yield surrounded(drawn("cap above, walls beside", int(rng.integers(1 << 30)), 0.5))
    yield padded(drawn("padding", int(rng.integers(1 << 30)), 0.4))


def surrounded(case: Case) -> Case:
    y, x = np.mgrid[: SHAPE[1], : SHAPE[2]]
    lean = 0.05 * y
    cap, wall, vacuum = (y >= 15) & (y < 34), (x < 14 + lean) | (x > SHAPE[2] - 18 - lean), y < 15
    noise = 0.02 * ndi.gaussian_filter(np.random.default_rng(0).normal(size=SHAPE), 1.5)
    signal = np.where(vacuum, 0.04, np.where(cap, 0.93, np.where(wall, 0.13, case.signal))) + noise
    return Case(case.name, signal.astype(np.float32), np.broadcast_to(~(vacuum | cap | wall), SHAPE), case.greys)


def padded(case: Case) -> Case:
    keep = np.zeros(SHAPE, bool)
    for k in range(SHAPE[0]):
        keep[k, k // 4 : SHAPE[1] - 5, 4 : SHAPE[2] - (SHAPE[0] - k) // 3] = True
    return Case(case.name, np.where(keep, case.signal, np.nan).astype(np.float32), keep, case.greys)


@dataclass(frozen=True)
class Wrong:
    """True gain over the plane, additive shading, and gain and offset of each slice; `sound` slices are scored."""

    shade: Array
    added: Array
    gain: Array
    offset: Array
    sound: Array


def nothing() -> Wrong:
    n = SHAPE[0]
    return Wrong(np.ones(SHAPE[1:]), np.zeros(SHAPE[1:]), np.ones(n), np.zeros(n), np.ones(n, bool))


def shaded(rng: np.random.Generator, down: float, side: float, side_px: float, tilt: float = 0.0) -> Array:
    _, rows, cols = SHAPE
    y, x = np.linspace(0, 1, rows)[:, None], np.arange(cols)
    wall = np.exp(-x / side_px) + np.exp(-(cols - 1 - x) / side_px)
    return (1 - down * y ** rng.uniform(0.8, 1.6)) * (1 - side * np.minimum(wall, 1)) * (1 + tilt * (x / cols - 0.5))


def flickering(rng: np.random.Generator, gain: float, offset: float, steps: int, bad: int) -> Wrong:
    n = SHAPE[0]
    factor = 1 + gain * rng.normal(size=n)
    for at in rng.integers(n // 5, n, steps):
        factor[at:] *= 1 + 0.1 * rng.choice([-1, 1])
    sound = np.ones(n, bool)
    sound[rng.choice(np.arange(2, n - 1), bad, replace=False)] = False
    none = nothing()
    return Wrong(none.shade, none.added, factor, offset * rng.normal(size=n), sound)


def record(
    case: Case, wrong: Wrong, rng: np.random.Generator, noise: float, dtype: str, curtains: bool = False
) -> Array:
    signal = np.nan_to_num(case.signal) * wrong.shade + wrong.added
    if curtains:
        streaks = ndi.gaussian_filter1d(rng.normal(size=(SHAPE[0], 1, SHAPE[2])), 1.5, axis=2)
        signal = signal * (1 + 0.04 * streaks / streaks.std())
    signal = wrong.gain[:, None, None] * signal + wrong.offset[:, None, None]
    signal[~wrong.sound] = 0.02 * (np.arange((~wrong.sound).sum()) % 2)[:, None, None]
    signal = signal + noise * rng.normal(size=SHAPE)
    signal[np.isnan(case.signal)] = 0
    if dtype == "float32":
        return signal.astype(np.float32)
    white = 250 if dtype == "uint8" else 9000
    return np.clip(np.rint(white * signal + (0 if dtype == "uint8" else 500)), 0, np.iinfo(dtype).max).astype(dtype)


def psnr(a: Array, clean: Array, where: Array) -> float:
    """On the best affine match, so that a mere change of scale costs nothing."""
    x, y = a[where].astype(np.float64), clean[where].astype(np.float64)
    slope, shift = np.polyfit(x, y, 1)
    return -10 * float(np.log10(np.mean((slope * x + shift - y) ** 2)))


SHADINGS = [(0.25, 0.1, 40.0, 0.0), (0.4, 0.25, 20.0, 0.0), (0.1, 0.3, 80.0, 0.0), (0.0, 0.0, 30.0, 0.06)]


def shading(case: Case, rng: np.random.Generator, method: str) -> str:
    texts = []
    for j, (down, side, side_px, added) in enumerate(SHADINGS):
        none = nothing()
        ramp = added * np.linspace(1, -1, SHAPE[1])[:, None] * np.ones(SHAPE[2])
        shade = shaded(rng, down, side, side_px, 0.0 if added else 0.06)
        wrong = Wrong(shade, ramp, none.gain, none.offset, none.sound)
        seen = record(case, wrong, rng, 0.03, "uint8", curtains=j % 2 == 1)
        found = combine_shading([measure_shading(seen, (0.0, 255.0))], method)
        flat = (250 * (shade * case.greys[1] + ramp)).astype(np.float32)
        flat += 1e-3 * np.random.default_rng(0).random(flat.shape, dtype=np.float32)  # else it would be padding
        where = case.counts.mean(axis=0) > 0.5
        before, after = (100 * p[where].std() / p[where].mean() for p in (flat, apply_shading(flat[None], **found)[0]))
        texts.append(f"{before:5.2f} -> {after:5.2f}")
    clean, seen = 250 * record(case, nothing(), rng, 0, "float32"), record(case, nothing(), rng, 0.03, "uint8")
    out = apply_shading(seen, **combine_shading([measure_shading(seen, (0.0, 255.0))], method))
    return "   ".join([*texts, f"harm {psnr(seen, clean, case.counts) - psnr(out, clean, case.counts):5.2f} dB"])


FLICKERS = [(0.02, 0.01, 0, 0, 0.0), (0.1, 0.02, 2, 3, 0.0), (0.05, 0.02, 1, 2, 0.3)]


def flicker(case: Case, rng: np.random.Generator) -> str:
    texts = []
    for gain, offset, steps, bad, down in FLICKERS:
        wrong = flickering(rng, gain, offset, steps, bad)
        wrong = replace(wrong, shade=shaded(rng, down, down / 2, 30.0))
        seen = record(case, wrong, rng, 0.03, "uint8", curtains=bad > 0)
        found = combine_flicker([measure_flicker(seen)], 101)
        stray = []
        for a, b in ((1.0, 0.0), (found["gain"], found["offset"])):
            levels = [a * 250 * (wrong.gain * grey + wrong.offset) + b for grey in case.greys]
            contrast = 250 * (case.greys[1] - case.greys[0])
            stray.append(100 * np.sqrt(np.mean([np.var(v[wrong.sound]) for v in levels])) / contrast)
        texts.append(f"{stray[0]:5.2f} -> {stray[1]:5.2f}")
    clean, seen = 250 * record(case, nothing(), rng, 0, "float32"), record(case, nothing(), rng, 0.03, "uint8")
    out = apply_flicker(seen, **combine_flicker([measure_flicker(seen)], 101))
    return "   ".join([*texts, f"harm {psnr(seen, clean, case.counts) - psnr(out, clean, case.counts):5.2f} dB"])


def faults(kind: str, seed: int) -> str:
    """Tails of the virtual microscope: rms error in them (grey levels) with and without noise, and harm elsewhere."""
    usual = {"noise": True, "jitter": True}
    if seed % 2:
        usual |= {"curtains": True, "shine_through": True, "flicker": True, "edge_rim": True}
    charging = {"blobs": 3, "radius_nm": 60.0}

    def made(dtype: str, **artefacts: object) -> Array:
        specimen = {"kind": kind, **SPECIMENS[kind]}
        chosen = {"shape": (6, 160, 224), "seed": seed, "tracked": True, "dtype": dtype}
        return acquire(specimen, artefacts=artefacts, **chosen).slices

    clean, seen = made("uint8", **usual), made("uint8", **usual, charging=charging)
    silent = {name: True for name in usual if name != "noise"}
    even, uneven = 255 * made("float32", **silent), 255 * made("float32", **silent, charging=charging)
    tail = uneven - even < -2
    _, none = repair_charging(clean)
    out, _ = repair_charging(seen)
    before, after, floor = (float(np.sqrt(np.mean((v - even)[tail] ** 2))) for v in (seen, out, clean))
    fall = 100 * (1 - np.sqrt(max(after**2 - floor**2, 0) / max(before**2 - floor**2, 1e-9)))
    false = 100 * none["pixels"].sum() / clean.size
    outside = float(np.sqrt(np.mean((out.astype(float) - seen)[~tail] ** 2)))
    return (
        f"false repairs {false:6.3f} %   in tails {before:5.1f} -> {after:5.1f}, noise {floor:5.1f}: "
        f"{fall:4.0f} % less without noise   change outside {outside:5.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=["shading", "n4", "flicker", "faults"])
    parser.add_argument("--seeds", type=int, default=1)
    asked = parser.parse_args()
    for part in [asked.part] if asked.part else ["shading", "flicker", "faults"]:
        print(part)
        for seed in range(asked.seeds):
            if part == "faults":
                for kind in SPECIMENS:
                    print(f"{kind:36s}{faults(kind, seed)}", flush=True)
                continue
            for case in cases(seed):
                rng = np.random.default_rng(77 * seed + len(case.name))
                text = (
                    flicker(case, rng)
                    if part == "flicker"
                    else shading(case, rng, "n4" if part == "n4" else "polynomial")
                )
                print(f"{case.name:36s}{text}", flush=True)


if __name__ == "__main__":
    main()
