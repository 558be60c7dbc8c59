"""Tracking of a static region (fiducial, protective layer) against a template that grows with every slice."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.errors import InputError
from fibtomo.ops.correlation import pair_shift, phase_turns
from fibtomo.ops.spectra import Band, SliceSpectrum, make_band, ring_power, slice_spectrum

Float = NDArray[np.float64]
Roi = tuple[int, int, int, int]

_PATCH_PIXELS = 40_000  # larger patches are binned, so that a stack of them stays small
_SEARCH_PX = 6.0
_RING_WIDTH = 1 / 200  # cycles per pixel
_LEAST_SIGNIFICANCE = 4.5  # over so small a search noise alone reaches about 3
_MOST_DISAGREEMENT = 5.0


def check_roi(
    roi: Roi, shape: tuple[int, int], name: str = "reference_roi", least: tuple[int, int] = (24, 24), why: str = ""
) -> None:
    """Refuse a region (y0, y1, x0, x1) that leaves slices of `shape` or has fewer than `least` rows and columns.

    Raises
    ------
    InputError
        The message gives the parameter's `name`, the limits and `why`.
    """
    y0, y1, x0, x1 = roi
    if min(y0, x0) < 0 or y1 > shape[0] or x1 > shape[1] or y1 - y0 < least[0] or x1 - x0 < least[1]:
        raise InputError(
            f"{name} = {tuple(roi)} must be (y0, y1, x0, x1) inside slices of {shape[0]} x {shape[1]} pixels, "
            f"{least[0]} rows or more high and {least[1]} columns or more wide{why}"
        )


def patch_binning(roi: Roi, margin_px: int) -> int:
    """Pixels averaged along either axis so that one stored patch stays small."""
    area = (roi[1] - roi[0] + 2 * margin_px) * (roi[3] - roi[2] + 2 * margin_px)
    most = max(1, min(roi[1] - roi[0], roi[3] - roi[2]) // 24)
    return min(int(np.ceil(np.sqrt(area / _PATCH_PIXELS))), most)


def cut_patch(image: Any, roi: Roi, margin_px: int, offset_px: tuple[int, int] = (0, 0)) -> Any:
    """Copy the region with a margin around it, as float16 of zero mean and unit deviation.

    Parameters
    ----------
    image
        (y, x) slice.
    roi
        (y0, y1, x0, x1) in slice 0.
    margin_px
        How far beyond the region the patch reaches on every side.
    offset_px
        (dy, dx) by which the region is expected to have moved.

    Returns
    -------
    array
        Patch, binned by `patch_binning`; NaN where it leaves the slice.

    Examples
    --------
    >>> cut_patch(np.eye(64), (10, 40, 10, 40), 4).shape
    (38, 38)
    """
    from fibtomo.backend.array import namespace

    xp = namespace(image)
    y0, y1, x0, x1 = roi
    rows = slice(y0 - margin_px + offset_px[0], y1 + margin_px + offset_px[0])
    cols = slice(x0 - margin_px + offset_px[1], x1 + margin_px + offset_px[1])
    patch = xp.full((rows.stop - rows.start, cols.stop - cols.start), xp.nan, dtype=np.float32)
    inner = [slice(max(0, s.start), max(0, min(n, s.stop))) for s, n in zip((rows, cols), image.shape, strict=True)]
    if inner[0].stop > inner[0].start and inner[1].stop > inner[1].start:
        seen = image[inner[0], inner[1]].astype(np.float32)
        seen = (seen - seen.mean()) / xp.maximum(seen.std(), 1e-6)
        patch[
            inner[0].start - rows.start : inner[0].stop - rows.start,
            inner[1].start - cols.start : inner[1].stop - cols.start,
        ] = seen
    b = patch_binning(roi, margin_px)
    height, width = patch.shape[0] // b, patch.shape[1] // b
    return patch[: height * b, : width * b].reshape(height, b, width, b).mean(axis=(1, 3)).astype(np.float16)


def track_reference(
    patches: Any,
    offsets_px: Float,
    predicted_px: Float,
    roi: Roi,
    margin_px: int,
    usable: NDArray[np.bool_],
    alike: float = np.inf,
) -> tuple[Float, Float]:
    """Follow the region through the stack.

    Every slice is compared with the mean of all slices before it, brought to the place of slice 0; errors therefore
    do not add up from slice to slice as they do in a chain.

    Parameters
    ----------
    patches
        (n, rows, columns) from `cut_patch`.
    offsets_px
        (n, 2) whole-pixel offsets that the patches were cut at.
    predicted_px
        (n, 2) motion that the whole images suggest; only its steps are used.
    roi, margin_px
        As given to `cut_patch`.
    usable
        (n,) False for bad slices.
    alike
        Coherence from which a view counts although so few waves are in it that the peak cannot stand out.

    Returns
    -------
    positions_px, sigma_px
        (n, 2) motion relative to slice 0 and (n, 2) standard deviations, infinite where the region was not found.
    """
    n = len(patches)
    b = patch_binning(roi, margin_px)
    size = (roi[1] - roi[0]) // b, (roi[3] - roi[2]) // b
    margin = margin_px // b
    rings = max(_RING_WIDTH, 1.0 / min(size))
    band = make_band(size, (2.0 / max(size), 0.3), skip_scan_lines=False, ring_width=rings)
    positions, sigma = np.zeros((n, 2)), np.full((n, 2), np.inf)
    template: SliceSpectrum | None = None
    first: Any = None
    seen = 0
    here, last = np.zeros(2), 0
    for k in np.flatnonzero(usable):
        expected = here + predicted_px[k] - predicted_px[last] if seen else np.zeros(2)
        whole = np.rint((expected - offsets_px[k]) / b).astype(int)
        if np.abs(whole).max() > margin:
            continue
        top, left = margin + whole[0], margin + whole[1]
        patch = np.asarray(patches[k], dtype=np.float32)[top : top + size[0], left : left + size[1]]
        if patch.shape != size or not np.isfinite(patch).all():
            continue
        spectrum = slice_spectrum(patch, band)
        if template is None:
            positions[k], sigma[k] = offsets_px[k], 1e-3
            template, first, seen, here, last = spectrum, patch, 1, positions[k], int(k)
            continue
        pair = pair_shift(template, spectrum, band, max_shift_px=_SEARCH_PX)
        clear = pair.significance >= _LEAST_SIGNIFICANCE or pair.coherence >= alike
        if not clear or pair.disagreement > _MOST_DISAGREEMENT:
            continue
        residual = np.array(pair.shift_px)
        positions[k] = offsets_px[k] + (whole + residual) * b
        sigma[k] = np.maximum(pair.sigma_px, edge_sigma(first, patch)) * b
        here, last = positions[k], int(k)
        template = _grown(template, spectrum, residual, seen, band)
        seen += 1
    if not seen:
        raise InputError(f"the reference in reference_roi = {tuple(roi)} is not inside any usable slice")
    return positions - positions[np.flatnonzero(np.isfinite(sigma).any(axis=1))[0]], sigma


def edge_sigma(first: Any, second: Any) -> Float:
    """Standard deviations (y, x) of the shift between two patches, as far as their edges tell it, in pixels.

    The gradients that both patches show leave out noise; along a direction without edges nothing is known, whatever
    the margin of the window feigns.

    Examples
    --------
    >>> marks = np.tile(np.arange(40) % 8 < 4, (30, 1)) + 0.1 * np.random.default_rng(0).normal(size=(2, 30, 40))
    >>> bool(edge_sigma(*marks)[0] > 10 * edge_sigma(*marks)[1])
    True
    """
    noise = float(np.var(second - first)) + 1e-12
    slopes = [[np.diff(patch, axis=axis) for patch in (first, second)] for axis in (0, 1)]
    shared = np.array([float((a * b).sum(dtype=np.float64)) for a, b in slopes])
    chance = np.array([float(np.sqrt((a.var() * b.var()) * a.size)) for a, b in slopes])
    return np.sqrt(noise / np.maximum(shared - chance, 1e-6 * noise))


def _grown(template: SliceSpectrum, new: SliceSpectrum, shift: Float, seen: int, band: Band) -> SliceSpectrum:
    """Mean of `seen` slices and a new one, brought back by its shift."""
    y, x = phase_turns(shift, band)
    share = np.float32(1 / (seen + 1))
    values = template.values * (1 - share) + new.values * y[:, None] * x * share
    return replace(template, values=values, power=ring_power(values, band))
