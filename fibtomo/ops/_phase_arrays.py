"""The functions of `_phase_kernels` as array expressions, for CuPy."""

from typing import Any

from fibtomo.backend.array import like, namespace, ndimage, to_host

Array = Any


def smoothed(u: Array, stripe: Array, band_rows: int, taps: Array) -> Array:
    """(y, x) less its bands (band, x), smoothed with a half kernel from the centre outwards; edges held."""
    xp, correlate = namespace(u), ndimage(u).correlate1d
    kernel = xp.concatenate([taps[:0:-1], taps])
    plain = u - _spread(stripe, len(u), band_rows)
    return correlate(correlate(plain, kernel, axis=0, mode="nearest"), kernel, axis=1, mode="nearest")


def pure_labels(smooth: Array, thresholds: Array, spans: Array, reach: int, outside: int) -> Array:
    """Number of thresholds below each pixel (y, x), `outside` where that differs within ±`reach` rows and columns."""
    xp, nd = namespace(smooth), ndimage(smooth)
    x = xp.arange(smooth.shape[1])
    label = xp.zeros(smooth.shape, xp.uint8)
    for i in range(len(thresholds)):
        label += smooth > thresholds[i]
    label[(x < spans[:, :1]) | (x >= spans[:, 1:])] = outside
    box = (2 * reach + 1, 2 * reach + 1)
    same = nd.minimum_filter(label, box, mode="nearest") == nd.maximum_filter(label, box, mode="nearest")
    return xp.where(same, label, xp.uint8(outside))


def turned_labels(labels: Array) -> Array:
    """Return (x, y) of (y, x)."""
    return namespace(labels).ascontiguousarray(labels.T)


def cell_sums(
    u: Array, labels: Array, stripe: Array, gain: Array, grey: Array, cut: Array, band_rows: int, cell: int
) -> tuple[Array, Array]:
    """Pixels (phase, band, cell) no farther than `cut` off their phase, stripes allowed for, and the sum of that."""
    xp = namespace(u)
    counts, totals = [], []
    for k in range(len(grey)):
        off = u - grey[k] - gain[k] * _spread(stripe, len(u), band_rows)
        near = (labels == k) & (xp.abs(off) < cut[k])
        counts.append(_cells(_band_sums(near.astype(xp.float32), band_rows), cell))
        totals.append(_cells(_band_sums(xp.where(near, off, xp.float32(0)), band_rows), cell))
    return xp.stack(counts), xp.stack(totals)


def class_sums(
    u: Array, labels: Array, stripe: Array, gain: Array, grey: Array, cut: Array, slow: Array, band_rows: int
) -> tuple[Array, Array]:
    """Pixels (phase, band, x) near the local grey of their phase, and the sum of what they are off it, stripes kept."""
    xp = namespace(u)
    counts, totals = [], []
    for k in range(len(grey)):
        off = u - grey[k] - _spread(slow[k], len(u), band_rows)
        near = (labels == k) & (xp.abs(off - gain[k] * _spread(stripe, len(u), band_rows)) < cut[k])
        counts.append(_band_sums(near.astype(xp.float32), band_rows))
        totals.append(_band_sums(xp.where(near, off, xp.float32(0)), band_rows))
    return xp.stack(counts), xp.stack(totals)


def broken_smooth(weight: Array, total: Array, stiffness: float, step: float) -> Array:
    """Solve the tridiagonal systems, which are small, on the host."""
    from fibtomo.ops import _phase_kernels

    return like(weight, _phase_kernels.broken_smooth(to_host(weight), to_host(total), stiffness, step))


def scaled_by_grey(field: Array, smooth: Array, grey: Array, gain: Array) -> Array:
    """Multiply (y, x) by a gain that depends on another's grey: linear between the given greys, held beyond."""
    xp = namespace(field)
    return (field * xp.interp(smooth, grey, gain)).astype(xp.float32)


def _spread(bands: Array, ny: int, band_rows: int) -> Array:
    return namespace(bands).repeat(bands, band_rows, axis=0)[:ny]


def _band_sums(a: Array, band_rows: int) -> Array:
    padded = namespace(a).pad(a, ((0, -len(a) % band_rows), (0, 0)))
    return padded.reshape(-1, band_rows, a.shape[1]).sum(axis=1)


def _cells(bands: Array, cell: int) -> Array:
    padded = namespace(bands).pad(bands, ((0, 0), (0, -bands.shape[1] % cell)))
    return padded.reshape(len(bands), -1, cell).sum(axis=2)
