"""Loops behind the iterative curtain removers, `fibtomo.ops.curtain_tv` and its like, on the CPU.

`_curtain_device` has the same functions for CuPy. Arrays that a step returns anew may be overwritten by it.

Imported lazily: numba takes a while to load.
"""

from typing import Any

import numpy as np
from numba import njit

Array = Any
_compiled = njit(nogil=True, cache=True, fastmath=True, error_model="numpy")
TILE = 256


@_compiled
def clip_gradients(u0: Array, s: Array, dual: Array, limit: Array, out: Array) -> Array:
    """One dual step of total variation: w = clip(∇(u0 - s) + w); `out` = ∇ᵀ(2 w - w before).

    Returns the new dual (2, y, x), along x and along y.
    """
    ny, nx = u0.shape
    here, below = np.empty(nx, np.float32), np.empty(nx, np.float32)
    zx, zy, zy_above = np.zeros(nx + 1, np.float32), np.zeros(nx, np.float32), np.zeros(nx, np.float32)
    for x in range(nx):
        here[x] = u0[0, x] - s[0, x]
    for y in range(ny):
        last = y == ny - 1
        most = limit[y]
        if not last:
            for x in range(nx):
                below[x] = u0[y + 1, x] - s[y + 1, x]
        else:
            below[:] = here
        dual_x, dual_y = dual[0, y], dual[1, y]
        zx[:] = 0
        zy[:] = 0
        for x in range(nx - 1):
            ax, ay = dual_x[x], dual_y[x]
            vx, vy = here[x + 1] - here[x] + ax, below[x] - here[x] + ay
            scale = min(np.float32(1), most[x] / np.sqrt(vx * vx + vy * vy + np.float32(1e-30)))
            vx *= scale
            vy *= scale
            dual_x[x] = vx
            dual_y[x] = vy
            zx[x + 1] = 2 * vx - ax
            zy[x] = 2 * vy - ay
        if last:
            zy[:] = 0
            dual_y[:] = 0
        target = out[y]
        for x in range(nx):
            target[x] = zx[x] - zx[x + 1] + zy_above[x] - zy[x]
        zy_above[:] = zy
        here, below = below, here
    return dual


@_compiled
def split_step(u0: Array, fields: Array, tv: Array, tau: float, sigma: float, lone: float) -> Array:
    """One primal-dual step of Σ tv |∇(u0 - s)| + Σ |∂s/∂y| + lone Σ |s|.

    Returns the new fields (5, y, x): s, twice s less s before, the duals of the gradient along x and y, that of ∂s/∂y.
    """
    ny, nx = u0.shape
    s, ahead, px, py, q = fields[0], fields[1], fields[2], fields[3], fields[4]
    t, c, soft = np.float32(tau), np.float32(sigma), np.float32(tau * lone)
    one, tiny = np.float32(1), np.float32(1e-30)
    left, none = np.zeros(nx + 1, np.float32), np.zeros(nx, np.float32)
    for y in range(ny):
        below = min(y + 1, ny - 1)
        here_u, here, next_u, after = u0[y], ahead[y], u0[below], ahead[below]
        limit, pxr, pyr, qr = tv[y], px[y], py[y], q[y]
        for x in range(nx - 1):
            rise = after[x] - here[x]
            vx = pxr[x] + c * (here_u[x + 1] - here_u[x] - here[x + 1] + here[x])
            vy = pyr[x] + c * (next_u[x] - here_u[x] - rise)
            scale = min(one, limit[x] / np.sqrt(vx * vx + vy * vy + tiny))
            pxr[x] = vx * scale
            pyr[x] = vy * scale
            qr[x] = min(max(qr[x] + c * rise, -one), one)
            left[x + 1] = pxr[x]
        x = nx - 1
        qr[x] = min(max(qr[x] + c * (after[x] - here[x]), -one), one)
        up_p = py[y - 1] if y else none
        up_q = q[y - 1] if y else none
        row = s[y]
        for x in range(nx):
            pull = left[x] - pxr[x] + up_p[x] - pyr[x] - up_q[x] + qr[x]
            v = row[x] + t * pull
            v = max(v - soft, np.float32(0)) + min(v + soft, np.float32(0))
            here[x] = 2 * v - row[x]
            row[x] = v
    return fields


@_compiled
def into_basis(basis: Array, field: Array) -> Array:
    """Coefficients (k, x) of a field (y, x) in a basis (k, y); no threads of a matrix library that others wait for."""
    rows, (ny, nx) = len(basis), field.shape
    out = np.zeros((rows, nx), np.float32)
    for x0 in range(0, nx, TILE):
        end = min(x0 + TILE, nx)
        for y in range(ny):
            row = field[y, x0:end]
            for k in range(rows):
                weight, target = basis[k, y], out[k, x0:end]
                for x in range(end - x0):
                    target[x] += weight * row[x]
    return out


@_compiled
def from_basis(basis: Array, coefficients: Array, out: Array) -> None:
    """Field (y, x) of coefficients (k, x) in a basis (k, y)."""
    rows, (ny, nx) = len(basis), out.shape
    for x0 in range(0, nx, TILE):
        end = min(x0 + TILE, nx)
        for y in range(ny):
            target = out[y, x0:end]
            target[:] = 0
            for k in range(rows):
                weight, row = basis[k, y], coefficients[k, x0:end]
                for x in range(end - x0):
                    target[x] += weight * row[x]
