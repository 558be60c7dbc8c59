"""Thickness of every slice: from the decay of likeness between slices, from ruler marks, or from both."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fibtomo.backend.array import as_array
from fibtomo.core.drift import Drift
from fibtomo.core.volume import Table
from fibtomo.errors import InputError
from fibtomo.ops._thickness_images import ImageSteps, steps_from_images
from fibtomo.ops._thickness_pairs import compare_slab
from fibtomo.ops.marks import Roi, check_marks_roi, mark_profile, track_marks

Float = NDArray[np.float64]
Method = Literal["auto", "images", "marks", "off"]

_SLAB_SLICES = 16
_LEAST_STEP = 0.02  # of a doubled slice, nominal steps: positions must ascend
_SPREAD_LIMITS = 0.02, 0.5
_FEWEST_MARKS = 4
_FEWEST_PAIRS = 10


@dataclass(frozen=True, eq=False)
class Thickness:
    """Positions of n slices along the milling direction.

    Parameters
    ----------
    slice_z_nm
        (n,) ascending from 0.
    sigma_nm
        (n,) standard deviation of the advance from the slice before; 0 for slice 0, NaN where nothing was measured.
    position_sigma_nm
        (n,) standard deviation of the position, if the first and the mean advance are right.
    doubled
        Slices that show what the one before shows.
    missing_before
        Slices before which at least one was milled but not stored.
    method
        "images", "marks", "marks and images", "stated" or "constant".
    notes
        Sentences for the report.
    """

    slice_z_nm: Float
    sigma_nm: Float
    position_sigma_nm: Float
    doubled: tuple[int, ...] = ()
    missing_before: tuple[int, ...] = ()
    method: str = "constant"
    notes: tuple[str, ...] = ()

    @property
    def step_nm(self) -> Float:
        """(n - 1,) advance from each slice to the next."""
        return np.diff(self.slice_z_nm)

    def to_table(self) -> Table:
        """Return the flat table that stages pass on under the role "thickness"."""
        return {
            "slice_z_nm": self.slice_z_nm,
            "sigma_nm": self.sigma_nm,
            "position_sigma_nm": self.position_sigma_nm,
            "doubled": list(self.doubled),
            "missing_before": list(self.missing_before),
            "method": self.method,
            "notes": list(self.notes),
        }

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> "Thickness":
        """Rebuild from `to_table`."""
        arrays = (np.asarray(table[c], dtype=np.float64) for c in ("slice_z_nm", "sigma_nm", "position_sigma_nm"))
        indices = (tuple(int(k) for k in table[c]) for c in ("doubled", "missing_before"))
        return cls(*arrays, *indices, str(table["method"]), tuple(str(note) for note in table["notes"]))


def estimate_thickness(
    stack: Any,
    drift: Drift,
    *,
    nominal_nm: float = 1.0,
    method: Method = "auto",
    marks_roi: Roi | None = None,
    marks_slope: float | None = None,
    pixel_nm: float = 1.0,
    largest_gap: int = 3,
) -> Thickness:
    """Estimate where every slice lies along the milling direction.

    *Images*: neighbouring slices grow unlike with their distance. One monotone curve for the whole stack, one quality
    per slice and the steps between slices are solved together. Parts of the slices are compared separately; only what
    they have in common counts, in the measure in which they agree, and of that only what errs from slice to slice as
    milling does: change that persists over several slices may be feigned by the structure. Images cannot know the mean
    advance, which stays nominal. *Marks*: the distance between two notches that converge is a ruler.

    Parameters
    ----------
    stack
        (z, y, x) array, or anything with ``read(z0, z1)`` and ``spec`` (a `Stack`).
    drift
        Of the same slices, as from `estimate_drift`.
    nominal_nm
        Nominal advance per slice.
    method
        "images", "marks" (with images for the fast part), "off", or "auto": marks where a region is given, else images.
    marks_roi
        (y0, y1, x0, x1) in slice 0 that holds both marks on every slice.
    marks_slope
        Change of the marks' distance per advance (2 tan α for a chevron of half-angle α); ``None`` scales the ruler to
        the nominal mean.
    pixel_nm
        Width of a pixel, for the marks.
    largest_gap
        Distance in slices over which slices are compared at most.

    Returns
    -------
    Thickness
        Constant where nothing better than constant could be measured.

    Raises
    ------
    InputError
        The drift is of another stack, slices are too small, or the marks are missing.

    References
    ----------
    Hanslovsky, Bogovic & Saalfeld 2017, Bioinformatics 33:1379 (one decay of likeness and all positions,
    solved together).

    Examples
    --------
    >>> from scipy.ndimage import gaussian_filter
    >>> block = gaussian_filter(np.random.default_rng(0).normal(size=(120, 128, 128)), 3, mode="wrap")
    >>> at = np.cumsum(np.random.default_rng(1).choice([1, 2, 3], 50))
    >>> found = estimate_thickness(block[at], Drift(np.zeros((50, 2))), nominal_nm=np.diff(at).mean())
    >>> bool(np.corrcoef(found.step_nm, np.diff(at))[0, 1] > 0.9)
    True
    """
    stack = stack if hasattr(stack, "read") else as_array(stack)
    shape = tuple(stack.spec.shape if hasattr(stack, "read") else stack.shape)
    if len(shape) != 3 or len(drift) != shape[0]:
        raise InputError(f"a drift of {len(drift)} slices does not belong to a stack of shape {shape}")
    if method == "marks" and marks_roi is None:
        raise InputError(
            "method = marks needs marks_roi = (y0, y1, x0, x1), a region of slice 0 that holds both marks on every "
            "slice"
        )
    if marks_roi is not None:
        check_marks_roi(marks_roi, shape[1:])
    read = stack.read if hasattr(stack, "read") else lambda a, b: stack[a:b]
    partials = []
    for start in range(0, shape[0], _SLAB_SLICES):
        low, stop = max(0, start - largest_gap), min(shape[0], start + _SLAB_SLICES)
        core = start - low, stop - low
        partials.append(measure_slab(read(low, stop), low, core, drift.shifts_px, method, marks_roi, largest_gap))
    ruler = None if marks_slope is None else marks_slope / pixel_nm
    return combine_slabs(partials, drift, nominal_nm, method, ruler_px_per_nm=ruler)


def measure_slab(
    block: Any,
    z0: int,
    core: tuple[int, int],
    shifts_px: Float,
    method: Method = "auto",
    marks_roi: Roi | None = None,
    largest_gap: int = 3,
) -> Table:
    """First half: what one slab tells; `block` has `largest_gap` slices before its core where the stack has them."""
    if method == "off":
        return {}
    table = compare_slab(block, z0, core, shifts_px, largest_gap)
    if marks_roi is not None and method != "images":
        table["profiles"] = np.stack([mark_profile(block[i], marks_roi, shifts_px[z0 + i]) for i in range(*core)])
    return table


def combine_slabs(
    partials: Sequence[Table],
    drift: Drift,
    nominal_nm: float,
    method: Method = "auto",
    *,
    ruler_px_per_nm: float | None = None,
    stated_z_nm: Float | None = None,
) -> Thickness:
    """Second half: positions from what `measure_slab` left, in z order.

    Parameters
    ----------
    partials, drift, nominal_nm, method
        As measured.
    ruler_px_per_nm
        Pixels by which the marks' distance changes per nm of advance, if known.
    stated_z_nm
        (n,) positions that the instrument logged; "auto" keeps them and only compares.
    """
    n = len(drift)
    if method == "off" or n < 2:
        return _constant(n, nominal_nm)
    images = steps_from_images(partials, drift)
    if stated_z_nm is not None and method == "auto":
        return _stated(np.asarray(stated_z_nm, dtype=np.float64), images)
    if "profiles" not in partials[0]:
        return _from_images(images, nominal_nm)
    usable = np.ones(n, dtype=bool)
    usable[list(drift.bad_slices)] = False
    distance, sigma = track_marks(np.concatenate([p["profiles"] for p in partials]), usable)
    return _from_marks(distance, sigma, images, nominal_nm, ruler_px_per_nm)


def _constant(n: int, nominal_nm: float) -> Thickness:
    unknown = np.full(n, np.nan)
    unknown[:1] = 0.0
    return Thickness(np.arange(n) * nominal_nm, unknown, unknown)


def _from_images(images: ImageSteps, nominal_nm: float) -> Thickness:
    steps = np.maximum(images.steps, _LEAST_STEP)
    flagged = bool(images.doubled or images.missing_before)
    return Thickness(
        slice_z_nm=np.concatenate([[0.0], np.cumsum(steps)]) * nominal_nm,
        sigma_nm=np.concatenate([[0.0], images.sigma]) * nominal_nm,
        position_sigma_nm=images.position_sigma * nominal_nm,
        doubled=images.doubled,
        missing_before=images.missing_before,
        method="images" if images.spread > 0 or flagged else "constant",
        notes=images.notes,
    )


def _stated(z_nm: Float, images: ImageSteps) -> Thickness:
    """Positions as logged, with a remark on how well the images agree."""
    z_nm = z_nm - z_nm[0]
    steps = np.diff(z_nm)
    notes = ["The slice positions are those the instrument logged."]
    if images.spread > 0 and steps.std() > 1e-3 * steps.mean():
        agreement = float(np.corrcoef(steps, images.steps)[0, 1])
        notes.append(f"The steps that the images show correlate with the logged ones by {agreement:.2f}.")
    elif images.spread > 0:
        notes.append(
            f"They advance evenly, while the images show steps that scatter by {100 * images.spread:.0f} %: with "
            f"thickness.estimate.method=images those are used."
        )
    unknown = _constant(len(z_nm), 1.0).sigma_nm
    return Thickness(z_nm, unknown, unknown, images.doubled, (), "stated", tuple(notes))


def _from_marks(
    distance_px: Float, sigma_px: Float, images: ImageSteps, nominal_nm: float, ruler_px_per_nm: float | None
) -> Thickness:
    """Join ruler and images: each position by the marks, each step by the images, both by inverse variance."""
    known = np.isfinite(sigma_px)
    found = int(known.sum())
    if found < _FEWEST_MARKS:
        note = f"The marks were found on {found} slices only and were left out."
        return replace(_from_images(images, nominal_nm), notes=(note, *images.notes))
    steps = np.maximum(images.steps, _LEAST_STEP)
    guess = np.concatenate([[0.0], np.cumsum(steps)])
    weight = np.where(known, 1 / np.where(known, sigma_px, 1.0), 0.0)
    slope = float(np.polynomial.polynomial.polyfit(guess, np.where(known, distance_px, 0.0), 1, w=weight)[1])
    per_step = abs(slope) if ruler_px_per_nm is None else abs(ruler_px_per_nm) * nominal_nm
    position = np.where(known, np.sign(slope) * distance_px / per_step, 0.0)
    scale = abs(slope) / per_step
    noise = sigma_px / per_step
    factor, irregular = _ruler_noise(position[known], noise[known], np.flatnonzero(known))
    noise, spread = noise * factor, float(np.clip(irregular / scale, *_SPREAD_LIMITS))
    informed = np.isfinite(images.sigma) & (images.spread > 0)
    believed = np.where(informed, np.fmin(images.sigma, spread), spread)
    odd = np.abs(steps - 1) > 0.5
    expected = np.where(informed | odd, steps, 1.0) * scale
    joined, sigma, step_sigma = _join(position, noise, expected, believed * scale)
    z = np.concatenate([[0.0], np.cumsum(np.maximum(np.diff(joined), _LEAST_STEP))]) * nominal_nm
    mean = scale * nominal_nm
    blur_px, blur_nm = factor * float(np.median(sigma_px[known])), nominal_nm * float(np.median(sigma))
    precision = f"{blur_px:.2f} px, a position within {blur_nm:.2g} nm"
    notes = [
        f"The marks were found on {found} of {len(known)} slices; their distance is known within {precision}.",
        "The scale of the ruler was not given: the mean advance is the nominal one."
        if ruler_px_per_nm is None
        else f"The mean advance by the marks is {mean:.4g} nm (nominal {nominal_nm:.4g} nm).",
    ]
    return Thickness(
        slice_z_nm=z,
        sigma_nm=np.concatenate([[0.0], step_sigma]) * nominal_nm,
        position_sigma_nm=np.concatenate([[0.0], np.hypot(sigma[1:], sigma[0])]) * nominal_nm,
        doubled=images.doubled,
        missing_before=images.missing_before,
        method="marks and images" if informed.any() else "marks",
        notes=(*notes, *images.notes),
    )


def _ruler_noise(position: Float, sigma: Float, at: NDArray[np.int64]) -> tuple[float, float]:
    """Factor by which the noise of the ruler exceeds `sigma`, and the irregularity of the steps beyond it.

    Noise of a position adds to two steps with opposite sign; this tells it from irregularity, which does not.
    """
    neighbours = np.diff(at) == 1
    steps = np.diff(position)
    if np.count_nonzero(neighbours) < _FEWEST_PAIRS:
        return 1.0, _SPREAD_LIMITS[1]
    steps = steps - np.median(steps[neighbours])
    spread = 1.4826 * float(np.median(np.abs(steps[neighbours])))
    steps[np.abs(steps) > 4 * spread] = 0.0
    both = neighbours[1:] & neighbours[:-1]
    variance = max(-float((steps[1:] * steps[:-1])[both].mean()), float((sigma**2).mean()))
    irregular = float((steps[neighbours] ** 2).mean()) - 2 * variance
    factor = np.sqrt(variance / float((sigma**2).mean()))
    return float(factor), float(np.sqrt(max(irregular, 0.0)))


def _join(position: Float, sigma: Float, steps: Float, step_sigma: Float) -> tuple[Float, Float, Float]:
    """Likeliest positions (n,), their standard deviations, and those (n - 1,) of the steps."""
    from scipy.linalg import solveh_banded

    seen = np.where(np.isfinite(sigma), 1 / np.where(np.isfinite(sigma), sigma, 1.0) ** 2, 0.0)
    tie = 1 / step_sigma**2
    normal = np.zeros((2, len(position)))
    normal[0] = seen
    normal[0, :-1] += tie
    normal[0, 1:] += tie
    normal[1, :-1] = -tie
    right = seen * np.where(seen > 0, position, 0.0)
    right[1:] += tie * steps
    right[:-1] -= tie * steps
    joined = solveh_banded(normal, right, lower=True)
    # backward recursion of a tridiagonal inverse
    pivot = normal[0].copy()
    for k in range(1, len(pivot)):
        pivot[k] -= normal[1, k - 1] ** 2 / pivot[k - 1]
    variance, step_variance = 1 / pivot, np.zeros(len(steps))
    for k in range(len(steps) - 1, -1, -1):
        ratio = -normal[1, k] / pivot[k]
        variance[k] += ratio**2 * variance[k + 1]
        step_variance[k] = variance[k] + variance[k + 1] * (1 - 2 * ratio)
    return joined, np.sqrt(variance), np.sqrt(step_variance)
