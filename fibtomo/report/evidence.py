"""What the slices say of their own acquisition: each verdict, and the number measured beside those expected."""

from collections.abc import Callable
from typing import Any

from fibtomo.report.charts import Mark, gauge
from fibtomo.report.data import ReportData
from fibtomo.report.markup import Html, tag
from fibtomo.report.sections import NOTHING, figure, section
from fibtomo.report.text import number, with_uncertainty

_LEAD = (
    "Some slices were looked at for signs of how they were taken. All of it supposes that the specimen has no "
    "direction of its own, so that nothing here overrules what you, the project or the images say."
)
_TITLES = {
    "tilt_corrected": "Was the tilt corrected?",
    "tracked": "Did the field of view follow the face?",
    "slice_nm": "How thick are the slices?",
}
_SAME = 0.03


def evidence(data: ReportData) -> Html:
    """Verdicts of the self-test with their charts; empty if the slices were not looked at."""
    if not data.evidence:
        return NOTHING
    return section("evidence", "What the slices say", tag("p", _LEAD), [_item(item) for item in data.evidence])


def _item(item: dict[str, Any]) -> Html:
    title = _TITLES.get(item["fact"], item["fact"])
    sure = "undecided" if item["value"] is None else "decisive" if item["decisive"] else "a hint"
    said = sure if item["value"] is None else f"{_said(item)}, {sure}"
    draw = _CHARTS.get(item["fact"])
    chart = draw(item["numbers"]) if draw else None
    text = item["text"]
    return tag(
        "div",
        tag("h3", title, " ", tag("span", said, class_="badge")),
        tag("p", f"{text[:1].upper()}{text[1:]}."),
        figure(chart) if chart else None,
    )


def _said(item: dict[str, Any]) -> str:
    return f"{item['value']} nm" if item["fact"] == "slice_nm" else str(item["value"])


def _ratio(numbers: dict[str, float]) -> Html | None:
    if "ratio" not in numbers:
        return None
    corrected, raw = numbers["expected_corrected"], numbers["expected_uncorrected"]
    marks = [Mark(corrected, f"tilt corrected: {number(corrected, 3)}"), Mark(raw, f"not corrected: {number(raw, 3)}")]
    if abs(corrected - raw) < _SAME:
        marks = [Mark(corrected, f"either way: {number(corrected, 3)}")]
    label = "length of structures along y / along x, in stored pixels"
    return _gauge(numbers["ratio"], numbers["ratio_sigma"], "", label, marks)


def _motion(numbers: dict[str, float]) -> Html | None:
    if "motion_px" not in numbers:
        return None
    marks = [
        Mark(0.0, "follows the face: 0"),
        Mark(numbers["fixed_px"], f"fixed: {number(numbers['fixed_px'], 3)}"),
    ]
    return _gauge(numbers["motion_px"], numbers["motion_px_sigma"], "", "motion / rows per slice", marks)


def _thickness(numbers: dict[str, float]) -> Html | None:
    if "slice_nm" not in numbers:
        return None
    known = numbers.get("slice_nm_known")
    marks = [Mark(known, f"known: {number(known, 3)} nm")] if known else []
    return _gauge(numbers["slice_nm"], numbers["slice_nm_sigma"], " nm", "slice thickness / nm", marks)


def _gauge(value: float, sigma: float, unit: str, label: str, marks: list[Mark]) -> Html:
    return gauge(value, sigma, f"{with_uncertainty(value, sigma)}{unit}", label, marks)


_CHARTS: dict[str, Callable[[dict[str, float]], Html | None]] = {
    "tilt_corrected": _ratio,
    "tracked": _motion,
    "slice_nm": _thickness,
}
