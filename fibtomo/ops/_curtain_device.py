"""Launches of ``kernels/primal_dual.cu``: the functions of `_curtain_kernels` for CuPy arrays.

Products with a basis are the matrix library's.
"""

from typing import Any

import numpy as np

from fibtomo.backend.array import namespace
from fibtomo.backend.kernels import launch, load_kernel

Array = Any


def clip_gradients(u0: Array, s: Array, dual: Array, limit: Array, out: Array) -> Array:
    """One dual step of total variation: w = clip(∇(u0 - s) + w); `out` = ∇ᵀ(2 w - w before).

    Returns the new dual (2, y, x), along x and along y.
    """
    new = namespace(u0).empty_like(dual)
    launch(load_kernel("primal_dual"), "clip_gradients", u0.shape, (u0, s, dual, limit, new, out, *u0.shape))
    return new


def split_step(u0: Array, fields: Array, tv: Array, tau: float, sigma: float, lone: float) -> Array:
    """One primal-dual step of Σ tv |∇(u0 - s)| + Σ |∂s/∂y| + lone Σ |s|.

    Returns the new fields (5, y, x): s, twice s less s before, the duals of the gradient along x and y, that of ∂s/∂y.
    """
    new = namespace(u0).empty_like(fields)
    args = (u0, fields, tv, new, float(tau), float(sigma), float(tau * lone), *u0.shape)
    launch(load_kernel("primal_dual"), "split_step", u0.shape, args)
    return new


def into_basis(basis: Array, field: Array) -> Array:
    """Coefficients (k, x) of a field (y, x) in a basis (k, y)."""
    return basis @ field


def from_basis(basis: Array, coefficients: Array, out: Array) -> None:
    """Field (y, x) of coefficients (k, x) in a basis (k, y)."""
    namespace(basis).matmul(basis.T, coefficients.astype(np.float32, copy=False), out=out)
