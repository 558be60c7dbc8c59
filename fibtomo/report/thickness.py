"""The thickness part of a report: advance of every slice against nominal, and how far it can be trusted."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fibtomo.report.charts import Line, Mark, line_chart
from fibtomo.report.data import ReportData
from fibtomo.report.markup import Html, tag
from fibtomo.report.sections import NOTHING, figure, section
from fibtomo.report.text import index_ranges, number, plural

Float = NDArray[np.float64]

_MEANING = {
    "images": "The thickness of every slice was estimated from how alike neighbouring slices are.",
    "marks": "The thickness of every slice was measured on ruler marks.",
    "marks and images": "The thickness of every slice was measured on ruler marks, its fast part on the images.",
    "stated": "The thickness of every slice is the one that the instrument logged.",
    "constant": "The slices were taken to be equally thick.",
}


def thickness(data: ReportData) -> Html:
    """Advance of each slice and the position that follows, with missing and doubled slices; empty when unknown."""
    found = data.thickness
    if not found or len(found["slice_z_nm"]) < 3:
        return NOTHING
    z = np.asarray(found["slice_z_nm"], dtype=np.float64)
    sigma, position_sigma = (np.asarray(found[c], dtype=np.float64) for c in ("sigma_nm", "position_sigma_nm"))
    slices, steps = np.arange(len(z)), np.diff(z)
    nominal, unit = (data.slice_nm, "nm") if data.slice_nm else (1.0, "steps")
    doubled, missing = list(found["doubled"]), list(found["missing_before"])
    marks = [Mark(float(k)) for k in sorted({*doubled, *missing})]
    flat = np.full(len(z), float(nominal))
    advance = [
        Line("thickness ± σ", slices[1:], steps, 0, _band(sigma[1:])),
        Line(f"nominal, {number(nominal)} {unit}", slices, flat, 1, dashed=True),
    ]
    away = [Line("position ± σ", slices, z - slices * nominal, 0, _band(position_sigma))]
    measured = found["method"] != "constant" or bool(marks)
    words = "Milling advance from the slice before to each slice."
    return section(
        "thickness",
        "Slice thickness",
        tag("p", _MEANING.get(str(found["method"]), "")),
        [tag("p", note) for note in found["notes"]],
        tag("p", f"{plural(len(missing), 'gap')} of missing slices, before {index_ranges(missing)}.")
        if missing
        else None,
        tag(
            "p",
            f"{plural(len(doubled), 'doubled slice')}, which show what the one before shows: {index_ranges(doubled)}.",
        )
        if doubled
        else None,
        _chart(advance, f"thickness / {unit}", marks, words) if measured else None,
        _chart(away, f"beyond even spacing / {unit}", marks, "Position less what nominal thickness gives.")
        if measured
        else None,
    )


def _band(sigma: Float) -> Float | None:
    return sigma if np.isfinite(sigma).any() else None


def _chart(lines: Sequence[Line], y_label: str, marks: Sequence[Mark], words: str) -> Html:
    return figure(line_chart(lines, "slice", y_label, marks=marks, marks_label="missing or doubled", height=230), words)
