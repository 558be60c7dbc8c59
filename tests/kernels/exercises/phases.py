"""Exercises of ``kernels/phases.cu``."""

import functools

import numpy as np

from exercises.stripes import face
from fibtomo.backend.kernels import twin
from fibtomo.ops.curtaining import remove_and_judge
from fibtomo.ops.stripe_frame import upright
from fibtomo.ops.stripe_phases import phase_profiles
from fibtomo.ops.stripe_steps import half_gaussian

TOLERANCE = {"rtol": 2e-5, "atol": 2e-4}
BAND_ROWS = 8


def cases():
    for ny, nx in ((53, 67), (5, 3), (33, 300)):
        yield f"loops-{ny}x{nx}", functools.partial(run_loops, ny, nx)
    yield "profiles", run_profiles
    yield "judged", run_judged


def run_loops(ny, nx, put):
    rng = np.random.default_rng(ny)
    bands = -(-ny // BAND_ROWS)
    labels = rng.integers(0, 3, (ny, nx)).astype(np.uint8)
    labels[rng.random((ny, nx)) < 0.2] = 255
    start = rng.integers(0, max(nx // 4, 1), ny)
    u, smooth = (put(rng.normal(size=(ny, nx)).astype(np.float32)) for _ in range(2))
    blocks = put(np.kron(rng.normal(size=(ny, -(-nx // 9))), np.ones((1, 9)))[:, :nx].astype(np.float32))
    stripe, total = (put(0.3 * rng.normal(size=(bands, nx)).astype(np.float32)) for _ in range(2))
    slow = put(0.1 * rng.normal(size=(3, bands, nx)).astype(np.float32))
    weight = put(rng.random((bands, nx)).astype(np.float32) + np.float32(0.01))
    spans, labels = put(np.stack([start, nx - start], axis=1)), put(labels)
    grey, gain, cut = (put(np.array(v, np.float32)) for v in ([-1.0, 0.1, 0.9], [0.5, 1.0, 1.5], [0.7, 1.0, 2.0]))
    over = twin("fibtomo.ops", "phase", like=u)
    found = {
        "turned": over.turned_labels(labels),
        "broken": over.broken_smooth(weight, total, 6.0, 0.1),
        "scaled": over.scaled_by_grey(u, smooth, grey, gain),
        "means": over.cell_means(stripe, 10),
    }
    for sigma in (1.0, 2.0):
        found[f"smoothed {sigma}"] = over.smoothed(u, stripe, BAND_ROWS, put(half_gaussian(sigma)[0]))
    for reach in (1, 3):
        found[f"labels {reach}"] = over.pure_labels(blocks, grey, spans, reach, 255)
    for cell in (10, 45):
        sums = over.cell_sums(u, labels, stripe, gain, grey, cut, BAND_ROWS, cell)
        found |= {f"cell count {cell}": sums[0], f"cell total {cell}": sums[1]}
    found["count"], found["total"] = over.class_sums(u, labels, stripe, gain, grey, cut, slow, BAND_ROWS)
    return found


def run_profiles(put):
    u, spans = upright(put(face(0.0)), 0.0)
    bands = 0 * u[::BAND_ROWS]
    found = phase_profiles(u, spans, bands, 20.0, 60.0)
    names = ("bands", "null", "best", "best_null")
    numbers = {"numbers": put(np.concatenate([found.grey, found.gain]))}
    return {name: getattr(found.profiles, name) for name in names} | {"scaled": found.scaled(u)} | numbers


def run_judged(put):
    planes = np.stack([face(0.0), face(0.08)])
    out, table = remove_and_judge(put(planes), "auto", "auto", 1.0, 20.0, 60.0)
    return {"out": out} | {name: put(np.nan_to_num(column)) for name, column in table.items()}
