"""Loops behind `fibtomo.ops.features` on the CPU.

Convolutions run row by row along x whatever their axis, so that every step is one for vector units, and make the
smoothed grey and its derivatives in one pass. Tiles go through z, y and x in turn; their rows end as features.
Imported lazily: numba takes a while to load.
"""

from typing import Any

import numpy as np
from numba import njit

from fibtomo.backend.threads import map_ranges
from fibtomo.ops._eigen_kernels import WIDTH, eigenvalues_2, eigenvalues_3

Array = Any
Core = tuple[slice, slice, slice]
Range = tuple[int, int]
compiled = njit(nogil=True, cache=True, fastmath={"contract", "nsz", "reassoc"}, error_model="numpy")
TILE = (8, 64)
"""Slices and rows done at a time."""
ROWS = 10
"""Rows of one tile line: grey, x, xx, y, xy, yy, z, xz, yz, zz, as far as they are made."""
SECOND = np.array([2, 4, 5, 7, 8, 9])
"""Where xx, xy, yy, xz, yz and zz stand among them."""
SMOOTH, DERIVATIVES, PRODUCTS, TENSOR = range(4)


def smooth(grey: Array, kernels: tuple[Array, ...], core: Core) -> Array:
    """Gaussian mean of `grey` (z, y, x) in the window `core` of it, float32."""
    out = np.empty((1, *(window.stop - window.start for window in core)), np.float32)
    _over_tiles(grey[None], kernels, 0, SMOOTH, np.array([0]), out, core)
    return out[0]


def derivative_features(
    grey: Array, kernels: tuple[Array, ...], slots: tuple[int, ...], out: Array, core: Core
) -> None:
    """Fill features of one scale.

    Parameters
    ----------
    grey
        (z, y, x) float32.
    kernels
        Per axis z, y, x (3, 2 r + 1) float32: a Gaussian and its first two derivatives; r a multiple of 3. One tap
        along z: slices stand alone.
    slots
        Where the Gaussian, its gradient's magnitude, its Laplacian and the first eigenvalue of its Hessian matrix go;
        -1: nowhere.
    out
        (features, z, y, x) float32, as large as `core`.
    core
        Window of `grey` whose features are wanted.
    """
    _over_tiles(grey[None], kernels, 2, DERIVATIVES, np.array(slots), out, core)


def tensor_features(
    grey: Array, inner: tuple[Array, ...], outer: tuple[Array, ...], slot: int, out: Array, wide: Core, core: Core
) -> None:
    """Fill the eigenvalues of the structure tensor, from `slot` on; see `derivative_features`.

    `wide` is the window of `grey` whose gradients are averaged, `core` the wanted one within it.
    """
    shape = tuple(window.stop - window.start for window in wide)
    products = np.empty((3 if inner[0].shape[1] == 1 else 6, *shape), np.float32)
    _over_tiles(grey[None], inner, 1, PRODUCTS, np.array([0]), products, wide)
    _over_tiles(products, outer, 0, TENSOR, np.array([slot]), out, core)


def _over_tiles(
    source: Array, kernels: tuple[Array, ...], top: int, ending: int, slots: Array, out: Array, core: Core
) -> None:
    (z0, nz), (y0, ny), columns = ((window.start, window.stop) for window in core)
    deep, high = TILE
    across = -(-(ny - y0) // high)
    origin = (z0, y0)

    def run(start: int, stop: int) -> None:
        for k in range(start, stop):
            z, y = z0 + k // across * deep, y0 + k % across * high
            rows = (y, min(y + high, ny))
            _tile(source, *kernels, top, ending, (z, min(z + deep, nz)), rows, columns, origin, slots, out)

    map_ranges(run, -(-(nz - z0) // deep) * across, 1)


@compiled
def _tile(
    source: Array, along_z: Array, along_y: Array, along_x: Array, top: int, ending: int,
    slices: Range, lines: Range, columns: Range, origin: Range, slots: Array, out: Array,
) -> None:  # fmt: skip
    """Filter a tile of all fields of `source` with derivatives up to order `top` and put its features into `out`."""
    fields, nz, ny, nx = source.shape
    z0, z1 = slices
    y0, y1 = lines
    x0, x1 = columns
    flat, volume = source.reshape(-1), nz * ny * nx
    ry, rx = along_y.shape[1] // 2, along_x.shape[1] // 2
    flatland = along_z.shape[1] == 1
    top_z = 0 if flatland else top
    first, last = max(0, y0 - ry), min(ny, y1 + ry)
    deep, high = z1 - z0, last - first
    stack = np.empty((fields, top_z + 1, deep, high, nx), np.float32)
    starts = np.empty(max(along_z.shape[1], along_y.shape[1], along_x.shape[1]), np.int64)
    work = np.empty(ROWS * WIDTH, np.float32)
    for y in range(first, last):
        for s in range(fields):
            for z in range(z0, z1):
                if flatland:
                    stack[s, 0, z - z0, y - first] = source[s, z, y]
                    continue
                for k in range(along_z.shape[1]):
                    near = min(max(z + k - along_z.shape[1] // 2, 0), nz - 1)
                    starts[k] = s * volume + (near * ny + y) * nx
                _lines(flat, starts, along_z, top_z, work, stack[s, :, z - z0, y - first])
    flat_stack = stack.reshape(-1)
    padded = np.empty((3, nx + 2 * rx), np.float32)
    flat_padded = padded.reshape(-1)
    rows = np.empty((ROWS, x1 - x0), np.float32)
    for z in range(deep):
        for y in range(y0, y1):
            row = 0
            for s in range(fields):
                for i in range(top_z + 1):
                    for k in range(2 * ry + 1):
                        near = min(max(y + k - ry, 0), ny - 1) - first
                        starts[k] = (((s * (top_z + 1) + i) * deep + z) * high + near) * nx
                    _lines(flat_stack, starts, along_y, top - i, work, padded[:, rx : rx + nx])
                    for j in range(top - i + 1):
                        padded[j, :rx] = padded[j, rx]
                        padded[j, rx + nx :] = padded[j, rx + nx - 1]
                        for k in range(2 * rx + 1):
                            starts[k] = j * (nx + 2 * rx) + x0 + k
                        if top == 0 and fields > 1:
                            row = SECOND[s]
                        _lines(flat_padded, starts, along_x, top - i - j, work, rows[row:])
                        row += top - i - j + 1
            _finish(rows, work, flatland, ending, z0 + z - origin[0], y - origin[1], slots, out)


@compiled
def _lines(source: Array, starts: Array, kernel: Array, top: int, work: Array, out: Array) -> None:
    """Derivatives up to order `top` of rows of `source` that begin at `starts`, one row of `out` each."""
    n = out.shape[1]
    for x in range(0, n, WIDTH):
        wide = min(WIDTH, n - x)
        _convolve(source[x:], starts, kernel, top, wide, work)
        for order in range(top + 1):
            out[order, x : x + wide] = work[order * WIDTH : order * WIDTH + wide]


@compiled
def _convolve(source: Array, starts: Array, kernel: Array, top: int, n: int, out: Array) -> None:
    """Convolution of order k at ``out[k * WIDTH:]``; three pairs of taps a step, even and odd parts shared."""
    radius = kernel.shape[1] // 2
    centre = source[starts[radius] :]
    middle, curved = kernel[0, radius], kernel[2, radius]
    for x in range(n):
        out[x] = middle * centre[x]
        out[x + WIDTH] = np.float32(0)
        out[x + 2 * WIDTH] = curved * centre[x]
    for k in range(1, radius + 1, 3):
        i, j = radius + k, radius - k
        a, b = source[starts[i] :], source[starts[j] :]
        c, d = source[starts[i + 1] :], source[starts[j - 1] :]
        e, f = source[starts[i + 2] :], source[starts[j - 2] :]
        p, q, r = kernel[0, i], kernel[0, i + 1], kernel[0, i + 2]
        if top == 0:
            for x in range(n):
                out[x] += p * (a[x] + b[x]) + q * (c[x] + d[x]) + r * (e[x] + f[x])
            continue
        u, v, w = kernel[1, i], kernel[1, i + 1], kernel[1, i + 2]
        if top == 1:
            for x in range(n):
                out[x] += p * (a[x] + b[x]) + q * (c[x] + d[x]) + r * (e[x] + f[x])
                out[x + WIDTH] += u * (a[x] - b[x]) + v * (c[x] - d[x]) + w * (e[x] - f[x])
            continue
        g, h, o = kernel[2, i], kernel[2, i + 1], kernel[2, i + 2]
        for x in range(n):
            even_a, even_c, even_e = a[x] + b[x], c[x] + d[x], e[x] + f[x]
            out[x] += p * even_a + q * even_c + r * even_e
            out[x + WIDTH] += u * (a[x] - b[x]) + v * (c[x] - d[x]) + w * (e[x] - f[x])
            out[x + 2 * WIDTH] += g * even_a + h * even_c + o * even_e


@compiled
def _finish(rows: Array, work: Array, flatland: bool, ending: int, z: int, y: int, slots: Array, out: Array) -> None:
    """Turn the filtered rows of one line into features."""
    nx = rows.shape[1]
    if ending == SMOOTH:
        out[slots[0], z, y] = rows[0]
        return
    for x0 in range(0, nx, WIDTH):
        n = min(WIDTH, nx - x0)
        for row in range(6 if flatland else ROWS):
            work[row * WIDTH : row * WIDTH + n] = rows[row, x0 : x0 + n]
        span = slice(x0, x0 + n)
        if ending == PRODUCTS:
            _products(work, n, flatland)
            for s in range(out.shape[0]):
                row = SECOND[s]
                out[s, z, y, span] = work[row * WIDTH : row * WIDTH + n]
            continue
        matrix = slots[0]
        if ending == DERIVATIVES:
            matrix = slots[3]
            _first_and_trace(work, n, flatland)
            for row in range(3):
                if slots[row] >= 0:
                    at = row * WIDTH if row < 2 else 3 * WIDTH
                    out[slots[row], z, y, span] = work[at : at + n]
        if matrix >= 0:
            if flatland:
                eigenvalues_2(work, n)
            else:
                eigenvalues_3(work, n)
            for row in range(2 if flatland else 3):
                at = SECOND[row] * WIDTH
                out[matrix + row, z, y, span] = work[at : at + n]


@compiled
def _first_and_trace(work: Array, n: int, flatland: bool) -> None:
    """Put the magnitude of the gradient at row 1, the Laplacian at row 3."""
    for x in range(n):
        square = work[x + WIDTH] * work[x + WIDTH] + work[x + 3 * WIDTH] * work[x + 3 * WIDTH]
        trace = work[x + 2 * WIDTH] + work[x + 5 * WIDTH]
        if not flatland:
            square += work[x + 6 * WIDTH] * work[x + 6 * WIDTH]
            trace += work[x + 9 * WIDTH]
        work[x + WIDTH] = np.sqrt(square)
        work[x + 3 * WIDTH] = trace


@compiled
def _products(work: Array, n: int, flatland: bool) -> None:
    """Put the products of the gradient (rows 1, 2 and 3) where second derivatives stand."""
    for x in range(n):
        gx, gy, gz = work[x + WIDTH], work[x + 2 * WIDTH], work[x + 3 * WIDTH]
        work[x + 2 * WIDTH] = gx * gx
        work[x + 4 * WIDTH] = gx * gy
        work[x + 5 * WIDTH] = gy * gy
        if not flatland:
            work[x + 7 * WIDTH] = gx * gz
            work[x + 8 * WIDTH] = gy * gz
            work[x + 9 * WIDTH] = gz * gz
