"""Brightness along the stack (flicker) and across the plane (shading), without mistaking porosity for brightness."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fibtomo.backend.array import as_array, like, namespace, ndimage, to_dtype, to_host
from fibtomo.core.volume import Table
from fibtomo.errors import InputError
from fibtomo.ops.grey_modes import Float, Histograms, affine_to_common
from fibtomo.ops.padding import inside_padding

Array = Any
BINS = 256
CELLS = 8
"""Cells along each side of the plane whose histograms are compared."""
CELL_BINS = 2048
MAP_SIDE = 64
"""Side of the map of mean grey that N4 sees, and of the correction that is stored."""
NEGLIGIBLE = 0.01
"""Share of the contrast between phases below which no slice is touched."""
LOCAL_SLICES = 5
"""Window of the running median when no phases tell brightness from content."""


def correct_intensity(
    array: Array,
    *,
    flicker: bool = True,
    shading: Literal["polynomial", "n4"] | None = "polynomial",
    window_slices: int = 101,
    order: int = 2,
    value_range: tuple[float, float] | None = None,
) -> Array:
    """Even out brightness and contrast along z, and shading across the plane.

    Parameters
    ----------
    array
        (z, y, x) slices, NumPy or CuPy.
    flicker
        Bring the grey of the phases of each slice to their running median along z.
    shading
        "polynomial" fits the gain of the phases over the plane; "n4" is the bias field of N4 (Tustison et al. 2010,
        doi:10.1109/TMI.2010.2046908) on the mean of the stack; ``None`` leaves shading in.
    window_slices
        Window of the running median; slower changes are left in.
    order
        Order of the polynomial in y and x, 1 to 4.
    value_range
        Smallest and largest grey that can occur; by default that of the array.

    Returns
    -------
    Array
        Same shape and dtype.

    Raises
    ------
    InputError
        The array is not (z, y, x), or a parameter is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> phases = np.where(rng.random((9, 64, 64)) < np.linspace(0.3, 0.6, 9)[:, None, None], 80, 160)
    >>> slices = phases + rng.normal(0, 4, phases.shape)
    >>> slices[4] *= 1.1
    >>> even = correct_intensity(slices, shading=None)
    >>> [int(np.rint(v[4][phases[4] == 160].mean())) for v in (slices, even)]
    [176, 160]
    """
    array = as_array(array)
    if array.ndim != 3:
        raise InputError(f"array of shape {array.shape} must be (z, y, x)")
    if not bool(namespace(array).isfinite(array).all()):
        raise InputError("the array holds NaN or infinite greys; fill them first, as with numpy.nan_to_num")
    if shading not in {"polynomial", "n4", None}:
        raise InputError(f"shading = {shading!r} must be 'polynomial', 'n4' or None")
    if window_slices < 3 or not 1 <= order <= 4:
        raise InputError(f"window_slices = {window_slices} must be at least 3 and order = {order} within 1..4")
    xp = namespace(array)
    out = array
    if flicker:
        table = combine_flicker([measure_flicker(array)], window_slices)
        out = apply_flicker(out, table["gain"], table["offset"])
    if shading is not None:
        span = value_range or (float(xp.min(out)), float(xp.max(out)))
        correction = combine_shading([measure_shading(out, span)], span, shading, order)["correction"]
        out = apply_shading(out, correction)
    return to_dtype(out, array.dtype)


def measure_flicker(planes: Array) -> Table:
    """Histogram of each slice between its 0.1 and 99.9 % quantiles: ``counts`` (z, bins), ``low``, ``width`` (z,)."""
    xp = namespace(planes)
    counts, low, width = [], [], []
    for plane in planes:
        first, last = (float(v) for v in xp.quantile(plane[::3, ::3].astype(xp.float32), xp.asarray([0.001, 0.999])))
        step = max((last - first) / BINS, 1e-6 * max(abs(first), abs(last), 1e-30))
        if planes.dtype.kind in "iu":  # bins of whole grey values, so that none counts more of them than its neighbour
            step, first = np.ceil((last - first + 1) / BINS), np.floor(first) - 0.5
        index = xp.floor((plane.astype(xp.float32) - first) / step)
        inside = index[(index >= 0) & (index < BINS)].astype(xp.int64)
        counts.append(to_host(xp.bincount(inside, minlength=BINS)))
        low.append(first)
        width.append(step)
    return {"counts": np.stack(counts), "low": np.array(low), "width": np.array(width)}


def combine_flicker(partials: Sequence[Table], window_slices: int, max_change: float = 0.5) -> Table:
    """``gain`` and ``offset`` (z,) that bring the phases of each slice to their running median.

    Parameters
    ----------
    partials
        Results of `measure_flicker` in z order.
    window_slices
        Window of the running median.
    max_change
        Largest relative change of contrast; slices that would need more are left as they are.
    """
    histograms = Histograms(*(np.concatenate([p[name] for p in partials]) for name in ("counts", "low", "width")))
    lively = (histograms.counts > 0).sum(axis=1) > 3
    n = len(lively)
    gain, offset = np.ones(n), np.zeros(n)
    if lively.sum() > 1:
        dark, bright, window = _anchors(histograms.rows(lively), window_slices)
        target_dark, target_bright = _running_median(dark, window), _running_median(bright, window)
        deviation = np.maximum(np.abs(dark - target_dark), np.abs(bright - target_bright))
        if not np.any(deviation >= NEGLIGIBLE * np.abs(bright - dark)):
            return {"gain": gain, "offset": offset}
        ratio = (target_bright - target_dark) / (bright - dark)
        usable = np.abs(np.log(np.maximum(ratio, 1e-6))) <= np.log1p(max_change)
        gain[lively] = np.where(usable, ratio, 1.0)
        offset[lively] = np.where(usable, target_dark - ratio * dark, 0.0)
    return {"gain": gain, "offset": offset}


def _anchors(histograms: Histograms, window_slices: int) -> tuple[Float, Float, int]:
    """Two grey values per slice that mean the same material throughout, and the window they can be trusted over."""
    scale, shift, peaks = affine_to_common(histograms)
    if peaks.separated:
        return scale * peaks.mean[0] + shift, scale * peaks.mean[-1] + shift, window_slices
    cumulated = np.cumsum(histograms.counts, axis=1) / histograms.counts.sum(axis=1, keepdims=True)
    rows = zip(cumulated, histograms.centres, strict=True)
    quartiles = np.array([np.interp([0.25, 0.5, 0.75], share, centre) for share, centre in rows])
    median, contrast = quartiles[:, 1], float(np.median(quartiles[:, 2] - quartiles[:, 0])) or 1.0
    return median, median + contrast, min(window_slices, LOCAL_SLICES)


def _running_median(values: Float, window: int) -> Float:
    half = window // 2
    return np.array([np.nanmedian(values[max(0, k - half) : k + half + 1]) for k in range(len(values))])


def apply_flicker(planes: Array, gain: Float, offset: Float) -> Array:
    """Return ``gain * slice + offset`` as float32."""
    xp = namespace(planes)
    a, b = (like(planes, np.asarray(v, dtype=np.float32))[:, None, None] for v in (gain, offset))
    return planes.astype(xp.float32) * a + b


def measure_shading(planes: Array, value_range: tuple[float, float]) -> Table:
    """Histogram ``counts`` (cells², bins) of each cell of the plane and grey sums ``total`` (64, 64), over slices."""
    xp = namespace(planes)
    nz, ny, nx = planes.shape
    low, high = value_range
    span = max(high - low, 1e-30)
    row, column = xp.arange(ny) * CELLS // ny, xp.arange(nx) * CELLS // nx
    cell = (row[:, None] * CELLS + column) * CELL_BINS
    y, x = xp.arange(ny) * MAP_SIDE // ny, xp.arange(nx) * MAP_SIDE // nx
    patch = (y[:, None] * MAP_SIDE + x).ravel()
    counts = xp.zeros(CELLS * CELLS * CELL_BINS, xp.int64)
    total = xp.zeros(MAP_SIDE * MAP_SIDE)
    for plane in planes:
        grey = plane.astype(xp.float32)
        bins = xp.clip((grey - low) * (CELL_BINS / span), 0, CELL_BINS - 1).astype(xp.int64)
        counts += xp.bincount((cell + bins).ravel(), minlength=counts.size)
        total += xp.bincount(patch, weights=grey.ravel().astype(xp.float64), minlength=total.size)
    pixels = xp.bincount(patch, minlength=total.size) * nz
    return {
        "counts": to_host(counts).reshape(CELLS * CELLS, CELL_BINS),
        "total": to_host(total).reshape(MAP_SIDE, MAP_SIDE),
        "pixels": to_host(pixels).reshape(MAP_SIDE, MAP_SIDE),
    }


def combine_shading(
    partials: Sequence[Table], value_range: tuple[float, float], method: str = "polynomial", order: int = 2
) -> Table:
    """``correction`` (64, 64): factor over the plane, mean 1; all ones when no shading stands out."""
    if method == "n4":
        pixels = np.maximum(sum(p["pixels"] for p in partials), 1)
        gain = _n4_gain(sum(p["total"] for p in partials) / pixels)
    else:
        gain = _polynomial_gain(sum(p["counts"] for p in partials), value_range, order)
    correction = 1 / gain
    return {"correction": correction / correction.mean()}


def _polynomial_gain(counts: NDArray[np.int64], value_range: tuple[float, float], order: int) -> Float:
    """Gain (64, 64) of the phases as the exponential of a polynomial in y and x through the cells' gains."""
    low, high = value_range
    n = len(counts)
    used = counts[:, 1:-1].sum(axis=1) > 0
    interior = Histograms(
        counts[:, 1:-1], np.full(n, low + (high - low) / CELL_BINS), np.full(n, (high - low) / CELL_BINS)
    )
    gain, _, _ = affine_to_common(interior.occupied().rows(used), offset=False)
    used[used] = np.isfinite(gain)
    gain = gain[np.isfinite(gain)]
    centre = (np.arange(CELLS) + 0.5) / CELLS * 2 - 1
    design = _monomials(centre, order)[used]
    value = np.log(np.maximum(gain, 1e-3))
    if len(value) <= design.shape[1]:
        return np.ones((MAP_SIDE, MAP_SIDE))
    coefficients = np.linalg.lstsq(design, value, rcond=None)[0]
    free, terms = len(value) - design.shape[1], design.shape[1] - 1
    explained = np.sum((design @ coefficients - value.mean()) ** 2) / terms
    if explained < 6 * np.sum((design @ coefficients - value) ** 2) / free:
        return np.ones((MAP_SIDE, MAP_SIDE))
    fine = (np.arange(MAP_SIDE) + 0.5) / MAP_SIDE * 2 - 1
    return np.exp((_monomials(fine, order) @ coefficients).reshape(MAP_SIDE, MAP_SIDE))


def _monomials(t: Float, order: int) -> Float:
    """(n², terms) products y^i x^j with i + j <= order on the grid t × t, y slowest."""
    y, x = np.repeat(t, len(t)), np.tile(t, len(t))
    return np.stack([y**i * x**j for i in range(order + 1) for j in range(order + 1 - i)], axis=1)


def _n4_gain(mean: Float) -> Float:
    """Bias field (64, 64) of N4 on the mean of the stack."""
    import SimpleITK

    floor = 1e-3 * max(float(mean.max()), 1e-30)
    image = SimpleITK.GetImageFromArray(np.maximum(mean, floor).astype(np.float32))
    n4 = SimpleITK.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations([50, 50])
    n4.SetNumberOfControlPoints([4, 4])
    n4.Execute(image, SimpleITK.Image(image.GetSize(), SimpleITK.sitkUInt8) + 1)
    return np.exp(SimpleITK.GetArrayFromImage(n4.GetLogBiasFieldAsImage(image)).astype(np.float64))


def apply_shading(planes: Array, correction: Float) -> Array:
    """Return ``slice * correction`` as float32, the correction interpolated to the plane; padding stays as it is."""
    xp, nd = namespace(planes), ndimage(planes)
    axes = [(xp.arange(n) + 0.5) * (MAP_SIDE / n) - 0.5 for n in planes.shape[1:]]
    grid = xp.stack(xp.meshgrid(*axes, indexing="ij"))
    factor = nd.map_coordinates(like(planes, correction), grid, order=1, mode="nearest").astype(xp.float32)
    out = planes.astype(xp.float32)
    for plane in out:
        inside = inside_padding(plane)
        plane[inside] *= factor[inside]
    return out
