"""Exercises of ``kernels/stripes.cu``."""

import functools

import numpy as np

from fibtomo.ops.curtaining import remove_curtaining
from fibtomo.ops.stripe_direction import stripe_slope
from fibtomo.ops.stripe_frame import loops
from fibtomo.ops.stripe_steps import half_gaussian
from fibtomo.ops.stripes import stripe_field

TOLERANCE = {"rtol": 2e-5, "atol": 2e-4}
BAND_ROWS = 8


def cases():
    for ny, nx in ((53, 67), (5, 3), (33, 300)):
        yield f"loops-{ny}x{nx}", functools.partial(run_loops, ny, nx)
    for n in (2, 255, 256, 257, 1100):
        yield f"line-{n}", functools.partial(run_line, n)
    for lean in (0.0, 0.08):
        yield f"field-lean-{lean}", functools.partial(run_field, lean)
    for dtype in ("uint8", "float32"):
        yield f"remove-{dtype}", functools.partial(run_removal, dtype)


def run_loops(ny, nx, put):
    rng = np.random.default_rng(ny)
    bands = -(-ny // BAND_ROWS)
    u, gx, gy = (put(rng.normal(size=(ny, nx)).astype(np.float32)) for _ in range(3))
    stripe = put(0.3 * rng.normal(size=(bands, nx)).astype(np.float32))
    start = rng.integers(0, max(nx // 4, 1), ny)
    spans = put(np.stack([start, nx - start], axis=1))
    smooth, slope = (put(taps) for taps in half_gaussian(1.5))
    low = np.minimum(np.arange(ny) // BAND_ROWS, max(bands - 2, 0))
    over = loops(u)
    found = {
        "run_medians": over.run_medians(u, min(16, ny), min(15, ny - 1 + ny % 2), 1.5),
        "flat_steps": over.flat_steps(u, gx, gy, 3.0),
        "transposed": over.transposed(u, stripe, BAND_ROWS),
        "smoothed": over.smoothed_bands(stripe, smooth),
        "shifted": over.shifted_rows(u, put(low - 4), put(rng.normal(size=(ny, 16)).astype(np.float32)), nx + 6),
    }
    found["gx"], found["gy"] = over.gradients(u, smooth, slope)
    found["weights"], found["steps"] = over.band_steps(u, gx, gy, stripe, spans, 3.0, BAND_ROWS)
    if bands > 1:
        found["rows"] = over.rows_of_bands(stripe, put(low), put(rng.random(ny).astype(np.float32)))
    return found


def run_line(n, put):
    """Weights over ten orders of magnitude and gaps without any: lines that hold together by the screening alone."""
    rng = np.random.default_rng(n)
    weights = 10 ** rng.uniform(-8, 2, (3, n - 1))
    weights[:, n // 3 : n // 2] = 0
    steps = (weights * rng.normal(size=weights.shape)).astype(np.float32)
    weights = put(weights.astype(np.float32))
    return {"line": loops(weights).integrate_steps(weights, put(steps), 1e-3)}


def face(lean: float, shape=(106, 131)) -> np.ndarray:
    """Two phases, noise, and curtains that lean."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float64)
    phase = np.sin(x / 9 + np.sin(y / 7)) + np.sin(y / 11) > 0.3
    stripes = np.interp(x - lean * y + 20, np.arange(-40, shape[1] + 80), rng.normal(0, 5, shape[1] + 120))
    return (100 + 40 * phase + stripes + rng.normal(0, 3, shape)).astype(np.float32)


def run_field(lean, put):
    plane = put(face(lean))
    found = stripe_field(plane, lean)
    numbers = np.array([stripe_slope(plane, significance=4.0), found.index])
    return {"field": found.field, "numbers": put(numbers)}


def run_removal(dtype, put):
    planes = np.stack([face(0.0), face(0.08), 120 + 0 * face(0.0)])
    planes[:, :7] = 3
    if dtype == "float32":
        planes[0, 50, 20:30] = np.nan
    out, removed = remove_curtaining(put(planes.astype(dtype)), return_curtain=True)
    return {"removed": removed, "near": out.astype(np.float32) + removed}
