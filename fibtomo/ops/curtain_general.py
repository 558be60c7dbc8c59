"""General stripe remover of Rottmayer, Redenbach and Fahrbach 2024."""

import numpy as np

from fibtomo.backend.array import namespace
from fibtomo.backend.kernels import twin
from fibtomo.ops.curtain_parts import Float, Spans, flatness, inside_weight, long_and_narrow, noise_level

VARIATION = 2.0
"""Weight μ1 of the total variation of the structure, over that of the variation of stripes along themselves."""
SPARSITY = 0.015
"""Weight μ2 of the stripes' own size, per pixel."""
ROUNDS = (50, 50, 50, 250)
"""Iterations; between them the edges of the structure are looked for anew."""
SMOOTHING = 1.5
"""Smoothing of the stripes along themselves, in units of `length_px`."""
STEP = 10.0
"""Grey step of an iteration for a unit of the dual variables, over the noise and the norm of the gradients."""
SQUARED_NORM = 12.0
"""Of the gradient, 8, and of the difference along the stripes, 4."""


def general_stripes(
    upright: Float, spans: Spans | None = None, *, length_px: float = 20.0, width_px: float = 60.0
) -> Float:
    """Return the long part of the stripes that split off at least variation.

    ``min μ1 ‖w ∇u‖₁ + ‖∂s/∂y‖₁ + μ2 ‖s‖₁`` with u + s = u0, by the primal-dual hybrid gradient method. All three
    terms are norms, so neither brightness nor contrast matters; the noise of the plane sets the step. w is 0 on edges
    of the structure (`curtain_parts.flatness`). u is never used: it is smoothed. What is subtracted is s, itself
    smoothed along the stripes so that no noise goes with it.

    Parameters
    ----------
    upright
        (y, x) float32 grey values with upright stripes, NumPy or CuPy.
    spans
        (y, 2) columns [first, end) of each row that count; all if None.
    length_px
        That smoothing has 1.5 times this for standard deviation.
    width_px
        Stripes much wider than this are left in.

    Returns
    -------
    Array
        (y, x) float32 stripes in grey units.

    References
    ----------
    N. Rottmayer, C. Redenbach, F. O. Fahrbach, arXiv:2401.14220 (2024); A. Chambolle, T. Pock, J. Math. Imaging Vis. 40
    (2011) 120, doi:10.1007/s10851-010-0251-1.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> stripes = np.tile(5 * np.sin(np.arange(128) / 2), (128, 1)).astype(np.float32)
    >>> found = general_stripes(stripes + rng.normal(0, 3, (128, 128)).astype(np.float32))
    >>> bool(np.std(found - stripes) < 0.2 * np.std(stripes))
    True
    """
    xp, loops = namespace(upright), twin(__package__, "curtain", like=upright)
    grey = xp.ascontiguousarray(upright - xp.median(upright), np.float32)
    inside = inside_weight(grey, spans)
    primal = STEP * noise_level(grey, spans) / SQUARED_NORM**0.5
    fields = xp.zeros((5, *grey.shape), np.float32)
    limit = VARIATION * inside
    for k, iterations in enumerate(ROUNDS):
        if k:
            limit = VARIATION * flatness(grey - long_and_narrow(fields[0], SMOOTHING * length_px, width_px), inside)
        for _ in range(iterations):
            fields = loops.split_step(grey, fields, limit, primal, 1 / (primal * SQUARED_NORM), SPARSITY)
    return long_and_narrow(fields[0], SMOOTHING * length_px, width_px)
