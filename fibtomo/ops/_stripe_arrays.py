"""The functions of `_stripe_kernels` as array expressions, for CuPy."""

from typing import Any

from fibtomo.backend.array import like, namespace, ndimage, to_host

Array = Any


def gradients(u: Array, smooth: Array, slope: Array) -> tuple[Array, Array]:
    """Derivatives of (y, x) along x and along y; half kernels from the centre outwards, mirrored at the rim."""
    correlate, xp = ndimage(u).correlate1d, namespace(u)
    even, odd = _whole_kernel(smooth), xp.concatenate([-slope[:0:-1], slope])
    return correlate(correlate(u, even, axis=0), odd, axis=1), correlate(correlate(u, odd, axis=0), even, axis=1)


def _whole_kernel(half: Array) -> Array:
    return namespace(half).concatenate([half[:0:-1], half])


def run_medians(a: Array, rows: int, use: int, limit: float) -> Array:
    """Median (run, x) of the first `use`, an odd number, of each run of rows, clipped at ±limit."""
    xp = namespace(a)
    runs = a.shape[0] // rows
    return xp.clip(xp.median(a[: runs * rows].reshape(runs, rows, -1)[:, :use], axis=1), -limit, limit)


def band_steps(
    u: Array, gx: Array, gy: Array, stripe: Array, spans: Array, limit: float, band_rows: int
) -> tuple[Array, Array]:
    """Sums (band, x) over runs of rows of the weights of horizontal steps, and of the weighted steps."""
    xp = namespace(u)
    x = xp.arange(u.shape[1])
    inside = (x >= spans[:, :1]) & (x < spans[:, 1:])
    weights = _weights(gx - _spread(stripe, len(u), band_rows), gy, limit, inside)
    return _band_sums(weights, band_rows), _band_sums(weights * xp.diff(u, axis=1), band_rows)


def flat_steps(u: Array, gx: Array, gy: Array, limit: float) -> Array:
    """Horizontal steps (y, x) times their weights."""
    return _weights(gx, gy, limit, 1) * namespace(u).diff(u, axis=1)


def _weights(gx: Array, gy: Array, limit: float, inside: Array | int) -> Array:
    """Tukey's biweight of the gradient, the lower of the two ends of each horizontal step."""
    xp = namespace(gx)
    flat = xp.clip(1 - (gx**2 + gy**2) / limit, 0, 1) ** 2 * inside
    return xp.minimum(flat[:, 1:], flat[:, :-1])


def _band_sums(a: Array, band_rows: int) -> Array:
    missing = -len(a) % band_rows
    padded = namespace(a).pad(a, ((0, missing), (0, 0)))
    return padded.reshape(-1, band_rows, a.shape[1]).sum(axis=1)


def _spread(bands: Array, ny: int, band_rows: int) -> Array:
    return namespace(bands).repeat(bands, band_rows, axis=0)[:ny]


def transposed(a: Array, stripe: Array, band_rows: int) -> Array:
    """Return (x, y) of (y, x) less what its bands (band, x) hold."""
    return namespace(a).ascontiguousarray((a - _spread(stripe, len(a), band_rows)).T)


def smoothed_bands(bands: Array, smooth: Array) -> Array:
    """Convolve (band, x) along the bands with a half kernel from the centre outwards, edges held."""
    return ndimage(bands).correlate1d(bands, _whole_kernel(smooth), axis=0, mode="nearest")


def shifted_rows(a: Array, first: Array, taps: Array, width: int) -> Array:
    """Rows (y, width) of (y, x) from x = first[y] on, each through its own taps (y, tap), edges held."""
    xp = namespace(a)
    columns = first[:, None] + xp.arange(width)
    out = xp.zeros((len(a), width), xp.float32)
    for t in range(taps.shape[1]):
        out += taps[:, t : t + 1] * xp.take_along_axis(a, xp.clip(columns + t, 0, a.shape[1] - 1), axis=1)
    return out


def rows_of_bands(bands: Array, low: Array, part: Array) -> Array:
    """Mix band low[y] and the next by part[y]."""
    near = bands[low]
    return near + part[:, None] * (bands[low + 1] - near)


def integrate_steps(weights: Array, steps: Array, screening: float) -> Array:
    """Solve the tridiagonal systems, which are small, on the host."""
    from fibtomo.ops import _stripe_kernels

    return like(weights, _stripe_kernels.integrate_steps(to_host(weights), to_host(steps), screening))
