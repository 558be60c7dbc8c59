"""The drift part of a report: curves, jitter, and how far they can be trusted."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.report.alignment import alignment
from fibtomo.report.charts import Line, Mark, line_chart
from fibtomo.report.data import ReportData
from fibtomo.report.markup import Content, Html, table, tag
from fibtomo.report.sections import NOTHING, bad_slices, figure, section, unmeasured
from fibtomo.report.text import index_ranges, number, plural

Float = NDArray[np.float64]

JITTER_WINDOW = 15
"""Slices over which the slow part of the drift is averaged away in the jitter chart."""
MOST_BAD = 12
"""Bad slices listed with file and reason."""


def drift(data: ReportData) -> Html:
    """Motion of the slices: curves, departure from the geometry, jitter, and how far they can be trusted."""
    found = data.drift
    if found is None:
        return NOTHING
    shifts = np.asarray(found.shifts_px, dtype=np.float64)
    sigma = _both_axes(getattr(found, "sigma_px", None), shifts.shape)
    bad = bad_slices(found)
    marks = [Mark(float(k)) for k in bad]
    expected = np.asarray([] if data.expected_shifts_px is None else data.expected_shifts_px, dtype=np.float64)
    known = expected.shape == shifts.shape and bool(np.any(expected))
    curves = [_curve("dy ± σ", shifts, sigma, 0), _curve("dx ± σ", shifts, sigma, 1)]
    if known:
        curves += [_curve(f"d{'yx'[i]} from geometry", expected, None, i) for i in range(2) if np.any(expected[:, i])]
    words = "Where the content of each slice appears relative to slice 0."
    parts = [_figure(curves, "apparent motion / px", marks, 270, words)]
    if known:
        rest = [_curve("dy ± σ", shifts - expected, sigma, 0), _curve("dx ± σ", shifts - expected, sigma, 1)]
        words = "The same less what the geometry predicts."
        parts.append(_figure(rest, "beyond geometry / px", marks, 230, words))
    fast = jitter(shifts)
    lines = [_curve(f"d{'yx'[i]}, rms {number(_rms(fast[:, i]), 2)} px", fast, None, i) for i in range(2)]
    words = f"The same without its slow part (straight line and running mean over {JITTER_WINDOW} slices)."
    parts.append(_figure(lines, "jitter / px", marks, 200, words))
    lost = unmeasured(found)
    assumed = f"No motion could be measured for slices {index_ranges(lost)}; their place was assumed." if lost else ""
    notes = getattr(found, "notes", ())
    return section(
        "drift",
        "Drift",
        tag("p", trust(found)),
        tag("p", assumed, class_="problem") if assumed else None,
        [tag("p", note) for note in ([notes] if isinstance(notes, str) else notes or ())],
        parts,
        alignment(found, marks, data.pixel_nm),
        refinement(data.refinement),
        _numbers(shifts, sigma, found),
        _bad_table(bad, found, data.slice_files or []),
    )


def refinement(found: dict[str, Any] | None) -> Html | None:
    """What was added to the motion of single slices, and which of them are flagged."""
    if found is None:
        return None
    flagged = [f"slice {k}: {flag}" for k, flag in enumerate(found["flags"]) if flag]
    more = f" and {len(flagged) - MOST_BAD} more" if len(flagged) > MOST_BAD else ""
    listed = f"Flagged: {'; '.join(flagged[:MOST_BAD])}{more}." if flagged else "No slice is flagged."
    words = (
        f"Refined against the neighbouring slices, by {number(found['largest_px'], 2)} px at most, beside the curves."
    )
    return tag("div", tag("p", words), [tag("p", note) for note in found["notes"]], tag("p", listed))


def trust(found: Any) -> str:
    """Say in plain words which part of the drift the data determine."""
    if bool(getattr(found, "identifiable", False)):
        return (
            "Both the slice-to-slice jitter and the slow part of the drift are determined: "
            "something that does not depend on the structure of the specimen speaks for the slow part."
        )
    return (
        "The slice-to-slice jitter comes from the images. The slow part of the drift is not determined by them alone: "
        "a slow lean or bow of the stack looks the same as a specimen whose structures lean. Shapes and directions "
        "over long distances in z depend on the assumption made for it; a static reference in view would settle it."
    )


def jitter(shifts: Float) -> Float:
    """Return (n, 2) shifts without straight line and running mean."""
    from scipy.ndimage import uniform_filter1d

    n = len(shifts)
    if n < 3:
        return np.zeros_like(shifts)
    t = np.linspace(-1, 1, n)
    rest = shifts - np.polynomial.polynomial.polyval(t, np.polynomial.polynomial.polyfit(t, shifts, 1)).T
    slow: Float = uniform_filter1d(rest, min(JITTER_WINDOW, n), axis=0, mode="nearest")
    return rest - slow


def _curve(label: str, shifts: Float, sigma: Float | None, axis: int) -> Line:
    band = None if sigma is None or not np.isfinite(sigma).any() else sigma[:, axis]
    label = label if band is not None else label.removesuffix(" ± σ")
    return Line(label, np.arange(len(shifts)), shifts[:, axis], axis, band, dashed="geometry" in label)


def _figure(lines: Sequence[Line], y_label: str, marks: Sequence[Mark], height: int, words: str) -> Html:
    return figure(line_chart(lines, "slice", y_label, marks=marks, height=height), words)


def _numbers(shifts: Float, sigma: Float, found: Any) -> Html:
    steps = np.abs(np.diff(shifts, axis=0)) if len(shifts) > 1 else np.zeros((1, 2))
    rows: list[list[Content]] = [
        ["motion from first to last slice", *(f"{number(float(v), 3)} px" for v in shifts[-1] - shifts[0])],
        ["largest step between neighbours", *(f"{number(float(v), 3)} px" for v in steps.max(axis=0))],
    ]
    if np.isfinite(sigma).any():
        rows.append(["median standard error", *(f"{number(float(v), 2)} px" for v in np.nanmedian(sigma, axis=0))])
    method = getattr(found, "method", "")
    return tag(
        "div",
        tag("p", f"Method: {method}.") if method else None,
        table(["", "dy", "dx"], rows, numeric=[1, 2], class_="narrow"),
    )


def _bad_table(bad: Sequence[int], found: Any, files: Sequence[str]) -> Html:
    if not bad:
        return NOTHING
    flags = getattr(found, "flags", ())
    rows = [
        [str(k), files[k] if k < len(files) else "", str(flags[k]).removeprefix("bad: ") if k < len(flags) else ""]
        for k in bad
    ]
    words = f"{plural(len(bad), 'bad slice')}, bridged by neighbours: {index_ranges(list(bad))}."
    shown = table(["slice", "file", "reason"], rows[:MOST_BAD], numeric=[0], class_="narrow")
    more = tag("p", "The others are in drift.csv.", class_="quiet") if len(rows) > MOST_BAD else None
    return tag("div", tag("p", words), shown, more)


def _both_axes(sigma: Any, shape: tuple[int, ...]) -> Float:
    """Return sigma as (n, 2), NaN where nothing is known of it."""
    if sigma is None or not np.any(sigma):
        return np.full(shape, np.nan)
    values = np.asarray(sigma, dtype=np.float64)
    return np.broadcast_to(values[:, None] if values.ndim == 1 else values, shape)


def _rms(values: Float) -> float:
    return float(np.sqrt(np.mean(values**2)))
