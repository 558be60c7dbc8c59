"""How good the alignment is: the numbers of `DriftQuality` in plain words, as a line and as a part of the report."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fibtomo.report.charts import Line, Mark, line_chart
from fibtomo.report.markup import Content, Html, table, tag
from fibtomo.report.sections import NOTHING, figure
from fibtomo.report.text import length, number

_ONE_WAY = 0.7  # share of the closure that must be its mean


def quality_line(drift: Any, pixel_nm: Sequence[float] | None = None) -> str:
    """Return the numbers of a `Drift` whose quality was measured, in one line.

    Examples
    --------
    >>> from fibtomo.core.drift import Drift
    >>> from fibtomo.core.drift_quality import DriftQuality
    >>> quality = DriftQuality([0.02, 0.02], [np.nan, 0.5], [np.nan, 0.9])
    >>> quality_line(Drift(np.zeros((2, 2)), [0, 1.5], quality=quality), (8.0, 8.0))
    'NCC of neighbours 0.500 → 0.900; undecided at the end ±1.5 px (±12 nm)'
    """
    found, parts = drift.quality.summary(), []
    if found["checked_pairs"]:
        dy, dx = number(found["left_out_dy_px"], 2), number(found["left_out_dx_px"], 2)
        parts.append(f"pairs left out are met within {dy} px (y), {dx} px (x)")
    if np.isfinite(found["closure_px"]):
        parts.append(f"loops close within {number(found['closure_px'], 2)} px")
    if np.isfinite(found["ncc_after"]):
        parts.append(f"NCC of neighbours {number(found['ncc_before'], 3)} → {number(found['ncc_after'], 3)}")
    return "; ".join([*parts, f"undecided at the end {undecided(drift, pixel_nm)}"])


def undecided(drift: Any, pixel_nm: Sequence[float] | None = None) -> str:
    """Return how far off the far end of the stack may be, in px and, where the pixel size is known, as a length."""
    size = float(drift.undecided_px)
    text = f"±{number(size, 2)} px"
    if pixel_nm is None:
        return text
    lengths = dict.fromkeys(length(size * float(p), digits=2) for p in pixel_nm)
    named = (
        [f"±{v}" for v in lengths] if len(lengths) == 1 else [f"±{v} {a}" for v, a in zip(lengths, "yx", strict=True)]
    )
    return f"{text} ({', '.join(named)})"


def alignment(drift: Any, marks: Sequence[Mark] = (), pixel_nm: Sequence[float] | None = None) -> Html:
    """Return table and chart of what one can know of an alignment without knowing the true motion."""
    quality = getattr(drift, "quality", None)
    if quality is None:
        return NOTHING
    found = quality.summary()
    rows: list[list[Content]] = []
    if found["checked_pairs"]:
        dy, dx = number(found["left_out_dy_px"], 2), number(found["left_out_dx_px"], 2)
        words = "How far a measured shift is from what all others say of it (rms): noise, and structure that disagrees."
        rows.append(["pairs left out", f"{dy} px (y), {dx} px (x)", words])
    if np.isfinite(found["closure_px"]):
        words = "Going from a slice to the next but one directly, or by way of the slice between (rms)." + _one_way(
            found
        )
        rows.append(["loops of three slices", f"{number(found['closure_px'], 2)} px", words])
    if np.isfinite(found["ncc_after"]):
        words = "Likeness of neighbouring slices, 1 if equal, as stored → as aligned (median)."
        rows.append(["NCC of neighbours", f"{number(found['ncc_before'], 3)} → {number(found['ncc_after'], 3)}", words])
    words = (
        "Slow motion that the numbers above cannot see: how far off the far end of the stack may be (one σ per axis)."
    )
    rows.append(["left undecided", undecided(drift, pixel_nm), words])
    curves = [
        Line(name, np.arange(len(quality)), column, style)
        for style, (name, column) in enumerate((("as stored", quality.ncc_before), ("as aligned", quality.ncc_after)))
    ]
    caption = (
        "Likeness of each slice and the one before, over what both show and in the band of the measurement. Where it "
        "stays low after alignment, a slice is odd, some are missing, or the alignment failed."
    )
    seen = np.isfinite(quality.ncc_after).sum() > 1
    chart = figure(line_chart(curves, "slice", "NCC", marks=marks, height=200), caption) if seen else None
    return tag("div", tag("h3", "How good is the alignment?"), table(["", "", "what it means"], rows), chart)


def _one_way(found: dict[str, float]) -> str:
    """Say where the loops miss always the same way, which chance does not explain."""
    mean = np.array([found["closure_mean_dy_px"], found["closure_mean_dx_px"]])
    if np.linalg.norm(mean) < _ONE_WAY * found["closure_px"]:
        return ""
    dy, dx = (number(float(v), 2) for v in mean)
    return (
        f" It is always the same way, ({dy}, {dx}) px along y and x: structures that last for several slices move "
        "otherwise than fine ones, so that the motion from slice to slice is no better known than this."
    )
