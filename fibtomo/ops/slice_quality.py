"""Which slices must not be used: blank, truncated, repeated, out of focus or of odd grey.

A slice is judged against its neighbours: what differs from the running median by more than five robust standard
deviations, and by an amount that matters, is bad. Flicker of the brightness by some ten per cent is not.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.backend.array import namespace
from fibtomo.ops.slice_pixels import repeated_share, varying_lines
from fibtomo.ops.spectra import Band, SliceSpectrum

Float = NDArray[np.float64]

STATISTICS = ("mean", "deviation", "blank_rows", "repeated", "sharpness")
_ROBUST_LIMIT = 5.0
_WINDOW = 21  # slices in the running median
_SUDDEN = 5  # slices in that of blank rows, which an empty region of the specimen may cause for a while
_FLOOR = {"mean": 1.0, "deviation": float(np.log(1.6)), "sharpness": float(np.log(2.0))}


def slice_statistics(image: Any, previous: Any | None, spectrum: SliceSpectrum, band: Band) -> dict[str, float]:
    """Numbers by which a slice is judged.

    Parameters
    ----------
    image, previous
        (y, x) slice, and the one before it if there is one.
    spectrum, band
        Of the slice.

    Returns
    -------
    dict
        ``mean`` and ``deviation`` of the grey values; ``blank_rows``, fraction of rows at the lower and upper edge
        that hold one constant value; ``repeated``, fraction of varying pixels equal to those of the slice before;
        ``sharpness``, logarithm of the power in the upper half of the band over that in the lower.

    Examples
    --------
    >>> from fibtomo.ops.spectra import make_band, slice_spectrum
    >>> image = np.random.default_rng(0).normal(size=(64, 64))
    >>> image[48:] = 0
    >>> band = make_band((64, 64))
    >>> slice_statistics(image, image, slice_spectrum(image, band), band)["blank_rows"]
    0.25
    """
    blank = ~varying_lines(image)[0]
    shown = image[namespace(image).asarray(np.flatnonzero(~blank))] if blank.any() and not blank.all() else image
    step = max(1, min(shown.shape) // 512)
    thin = shown[::step, ::step].astype(np.float32)
    middle = band.rings // 2
    low, high = spectrum.power[:middle].sum(), spectrum.power[middle:].sum()
    repeated = 0.0
    if previous is not None and not blank.all():
        repeated = repeated_share(image, previous)
    return {
        "mean": float(thin.mean()),
        "deviation": float(thin.std()),
        "blank_rows": _edge_fraction(blank),
        "repeated": repeated,
        "sharpness": float(np.log(max(high, 1e-30) / max(low, 1e-30))),
    }


def _edge_fraction(blank: NDArray[np.bool_]) -> float:
    """Fraction of rows in the blank stretches at both edges."""
    rows = np.flatnonzero(~blank)
    return 1.0 if not len(rows) else float(rows[0] + len(blank) - 1 - rows[-1]) / len(blank)


def find_bad_slices(statistics: Mapping[str, Any]) -> dict[int, str]:
    """Bad slices and why, from the columns that `slice_statistics` leaves for a stack.

    Parameters
    ----------
    statistics
        (n,) columns under the names in `STATISTICS`, in z order.

    Examples
    --------
    >>> n = 30
    >>> columns = {"mean": np.full(n, 90.0), "deviation": np.full(n, 20.0), "blank_rows": np.zeros(n)}
    >>> columns |= {"repeated": np.full(n, 0.02), "sharpness": np.zeros(n)}
    >>> columns["blank_rows"][7] = 1.0
    >>> find_bad_slices(columns)
    {7: 'blank'}
    """
    from scipy.ndimage import median_filter

    column = {name: np.asarray(statistics[name], dtype=np.float64) for name in STATISTICS}
    n = len(column["mean"])
    typical = float(np.median(column["deviation"]))
    usual_blank = median_filter(column["blank_rows"], size=_SUDDEN, mode="nearest")
    usual_repeat = float(np.median(column["repeated"]))
    reasons: dict[int, str] = {}
    for k in range(n):
        rows = column["blank_rows"][k]
        if rows > 0.98 or column["deviation"][k] <= 0.02 * typical:
            reasons[k] = "blank"
        elif rows > usual_blank[k] + 0.03:
            reasons[k] = f"truncated ({100 * (rows - usual_blank[k]):.0f} % of the rows are blank)"
        elif column["repeated"][k] > 0.98 and usual_repeat < 0.9:
            reasons[k] = "repeats the slice before"
    sound = np.array([k not in reasons for k in range(n)])
    if sound.sum() < 5:
        return reasons
    measures = {
        "mean": (column["mean"] / max(typical, 1e-30), "odd brightness"),
        "deviation": (np.log(np.maximum(column["deviation"], 1e-3 * typical + 1e-30)), "odd contrast"),
        "sharpness": (column["sharpness"], "blurred"),
    }
    for name, (values, reason) in measures.items():
        for k in _outliers(values, sound, _FLOOR[name]):
            if name == "sharpness" and values[k] > np.median(values[sound]):
                continue
            reasons.setdefault(int(k), reason)
    return dict(sorted(reasons.items()))


def _outliers(values: Float, sound: NDArray[np.bool_], floor: float) -> NDArray[np.int64]:
    """Indices among the sound slices that stand out from the running median of their neighbours."""
    from scipy.ndimage import median_filter

    at = np.flatnonzero(sound)
    window = min(_WINDOW, len(at) // 2 * 2 + 1)
    away = values[at] - median_filter(values[at], size=window, mode="nearest")
    spread = 1.4826 * float(np.median(np.abs(away)))
    return at[np.abs(away) > max(_ROBUST_LIMIT * spread, floor)]
