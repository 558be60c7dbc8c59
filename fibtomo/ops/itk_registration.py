"""Shift between two slices by SimpleITK: translation, multi-resolution, mutual information or correlation."""

from typing import Any, Literal

import numpy as np

from fibtomo.backend.array import to_host
from fibtomo.ops.correlation import REFUSED, PairShift

Metric = Literal["mutual_information", "correlation", "mean_squares"]

_SIGMA_PX = 0.1
_HIGH_PASS_PX = 32.0
_CORRELATION_LENGTH_PX = 8.0


def itk_pair_shift(
    a: Any,
    b: Any,
    *,
    metric: Metric = "mutual_information",
    start_px: tuple[float, float] = (0.0, 0.0),
    sampling: float = 0.2,
) -> PairShift:
    """Measure where the content of slice `a` went in slice `b` by maximising an image metric.

    Slower than `fibtomo.ops.correlation.pair_shift` by one to two orders; its use is as a second opinion, and where
    contrast changes between slices so that only mutual information still ties them together.

    Parameters
    ----------
    a, b
        (y, x) slices.
    metric
        Mattes mutual information with 32 bins, normalised correlation, or mean squares.
    start_px
        (dy, dx) to begin from; the search reaches some ten pixels beyond it.
    sampling
        Fraction of the pixels that the metric looks at, on a regular grid.

    Returns
    -------
    PairShift
        Its `coherence` is the normalised correlation of the overlap; significance is that in standard deviations of
        an unrelated pair whose grey values are alike over 8 pixels.

    References
    ----------
    Mattes et al. 2003, IEEE Trans. Med. Imaging 22:120; Lowekamp et al. 2013, Front. Neuroinform. 7:45 (SimpleITK).

    Examples
    --------
    >>> from scipy.ndimage import gaussian_filter
    >>> scene = gaussian_filter(np.random.default_rng(0).normal(size=(140, 140)), 3)
    >>> [round(v) for v in itk_pair_shift(scene[5:133, :128], scene[2:130, :128]).shift_px]
    [3, 0]
    """
    import SimpleITK as sitk  # noqa: N813 - the name its own documentation uses

    fixed_array, moving_array = (_flattened(to_host(image)) for image in (a, b))
    fixed, moving = (sitk.GetImageFromArray(image) for image in (fixed_array, moving_array))
    registration = sitk.ImageRegistrationMethod()
    registration.SetNumberOfThreads(1)
    if metric == "mutual_information":
        registration.SetMetricAsMattesMutualInformation(32)
    elif metric == "correlation":
        registration.SetMetricAsCorrelation()
    else:
        registration.SetMetricAsMeanSquares()
    registration.SetMetricSamplingStrategy(registration.REGULAR)
    registration.SetMetricSamplingPercentage(sampling, seed=1)
    registration.SetInterpolator(sitk.sitkLinear)
    registration.SetShrinkFactorsPerLevel([4, 2, 1])
    registration.SetSmoothingSigmasPerLevel([4, 2, 1])
    registration.SetSmoothingSigmasAreSpecifiedInPhysicalUnits(False)
    registration.SetOptimizerAsRegularStepGradientDescent(2.0, 0.01, 100, relaxationFactor=0.6)
    registration.SetInitialTransform(sitk.TranslationTransform(2, start_px[::-1]), inPlace=False)
    try:
        dx, dy = registration.Execute(fixed, moving).GetParameters()
    except RuntimeError:  # ITK's way to say that no overlap is left
        return REFUSED
    likeness = _overlap_correlation(fixed_array, moving_array, round(dy), round(dx))
    return PairShift(
        shift_px=(float(dy), float(dx)),
        sigma_px=(_SIGMA_PX, _SIGMA_PX),
        coherence=max(likeness, 0.0),
        wavelength_px=0.0,
        significance=likeness * fixed_array.size**0.5 / _CORRELATION_LENGTH_PX,
        rival=0.0,
        disagreement=0.0,
    )


def _flattened(image: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Local mean removed, unit deviation."""
    from scipy.ndimage import gaussian_filter

    grey = image.astype(np.float32)
    grey = grey - gaussian_filter(grey, _HIGH_PASS_PX, mode="nearest")
    return grey / max(float(grey.std()), 1e-6)


def _overlap_correlation(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any], dy: int, dx: int) -> float:
    rows, cols = a.shape
    if abs(dy) > rows - 8 or abs(dx) > cols - 8:
        return 0.0
    first = a[max(0, -dy) : rows - max(0, dy), max(0, -dx) : cols - max(0, dx)]
    second = b[max(0, dy) : rows - max(0, -dy), max(0, dx) : cols - max(0, -dx)]
    spread = float(first.std() * second.std())
    return float(((first - first.mean()) * (second - second.mean())).mean()) / spread if spread > 0 else 0.0
