"""The written parts of a report: verdict, callouts, tables, charts; each empty when there is nothing to say."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fibtomo.ops.face import LEFT_OUT
from fibtomo.report.charts import Mark, bar_chart, histogram
from fibtomo.report.data import ReportData
from fibtomo.report.markup import Content, Html, table, tag
from fibtomo.report.text import duration, extent, length, moment, number, plural, unit_text, with_uncertainty
from fibtomo.report.views import open_volume

NOTHING = Html("")


def section(key: str, title: str, *content: Content) -> Html:
    """Return a headed section; empty without content."""
    inside = [part for part in content if part]
    return tag("section", tag("h2", title), *inside, id=key) if inside else NOTHING


def figure(chart: Html, caption: str = "") -> Html:
    """Return a chart with its caption."""
    return tag("figure", chart, tag("figcaption", caption) if caption else None)


def header(data: ReportData) -> Html:
    """Title, one sentence on the outcome, date and version."""
    origin = " · ".join(
        part for part in (moment(data.created), f"fibtomo {data.version}" if data.version else "") if part
    )
    lead = verdict(data)
    return tag(
        "header",
        tag("p", origin, class_="origin") if origin else None,
        tag("h1", data.title),
        tag("p", lead, class_="verdict") if lead else None,
    )


def verdict(data: ReportData) -> str:
    """One or two plain sentences on what came out."""
    parts = []
    if data.volume is not None:
        spec = open_volume(data.volume).spec
        source = f"{plural(open_volume(data.raw).spec.shape[0], 'slice')} became" if data.raw is not None else "This is"
        sides = " × ".join(number(n) for n in spec.shape[::-1])
        if spec.voxel_nm:
            edge = length(spec.voxel_nm[0])
            if len(set(spec.voxel_nm)) > 1:
                edge = " × ".join(number(v, 3) for v in spec.voxel_nm[::-1]) + " nm"
            parts.append(
                f"{source} a volume of {extent(spec.shape, spec.scale, spec.unit)} ({sides} voxels of {edge})."
            )
        else:
            parts.append(f"{source} a volume of {sides} voxels; no scale was given, so all lengths are in voxels.")
    fractions = [row for row in data.measurements if row.get("quantity") == "volume_fraction"]
    if fractions:
        shares = [f"{_percent(row)} phase {row.get('phase')}" for row in fractions]
        parts.append(f"It holds {', '.join(shares)}.")
    bad = bad_slices(data.drift)
    if bad:
        parts.append(f"{plural(len(bad), 'bad slice')} {'was' if len(bad) == 1 else 'were'} bridged by neighbours.")
    lost = unmeasured(data.drift)
    if lost:
        parts.append(f"The place of {plural(len(lost), 'slice')} was assumed, not measured.")
    left = left_out(data.face)
    if left:
        parts.append(f"Left out of the slices: {'; '.join(left)}.")
    return " ".join(parts)


def left_out(face: dict[str, Any] | None) -> list[str]:
    """Return what the stage ``face.find`` left out, as phrases with place and kind.

    Examples
    --------
    >>> left_out({"notes": ["rows 0–9: protective layer, left out", "rows 60–79: perhaps redeposition, kept (why)"]})
    ['rows 0–9: protective layer']
    """
    notes = [str(note) for note in face["notes"]] if face else []
    return [note.removesuffix(LEFT_OUT) for note in notes if note.endswith(LEFT_OUT)]


def bad_slices(found: Any) -> list[int]:
    """Return the bad slices of a drift, whether it lists or flags them."""
    bad = np.asarray(getattr(found, "bad_slices", ()))
    return [int(k) for k in (np.flatnonzero(bad) if bad.dtype == bool else np.sort(bad))]


def unmeasured(found: Any) -> list[int]:
    """Return the usable slices whose drift has confidence 0: nothing was measured there."""
    confidence = np.asarray(getattr(found, "confidence", ()), dtype=np.float64)
    return sorted(set(np.flatnonzero(confidence <= 0).tolist()) - set(bad_slices(found)))


def callouts(data: ReportData) -> Html:
    """Warnings and assumptions, before anything else."""
    boxes = []
    for style, name, sentences in (
        ("warning", plural(len(data.warnings), "warning"), data.warnings),
        ("assumption", plural(len(data.assumptions), "assumption"), data.assumptions),
    ):
        if sentences:
            inside = tag("ul", [tag("li", s) for s in sentences])
            boxes.append(tag("aside", tag("strong", name.capitalize()), inside, class_=f"callout {style}"))
    return Html("".join(boxes))


def facts(data: ReportData) -> Html:
    """Headline facts."""
    if not data.summary:
        return NOTHING
    return tag("dl", [[tag("dt", name), tag("dd", value)] for name, value in data.summary], class_="facts")


def grey_values(data: ReportData, phases: Sequence[int]) -> Html:
    """Histogram of the volume with its thresholds."""
    if data.histogram is None:
        return NOTHING
    counts, edges = data.histogram
    thresholds = [float(t) for t in (data.thresholds if data.thresholds is not None else [])]
    sigma = np.zeros(len(thresholds))
    if data.threshold_sigma is not None:
        sigma = np.broadcast_to(np.nan_to_num(np.asarray(data.threshold_sigma, dtype=np.float64)), sigma.shape)
    marks = [
        Mark(t, with_uncertainty(t, s) if s > 0 else number(t), float(s))
        for t, s in zip(thresholds, sigma, strict=True)
    ]
    coloured = bool(marks) and list(phases) == list(range(len(marks) + 1))
    caption = "Grey values of the reconstructed volume."
    if data.evened:
        caption = "Grey values of the reconstructed volume, slow changes of brightness taken out as for the thresholds."
    if marks:
        caption += " Dashed: thresholds (shaded: ± standard error)."
    if coloured:
        caption += " Each interval has the colour of its phase."
    return section(
        "histogram",
        "Grey values",
        figure(histogram(counts, edges, "grey value", marks=marks, coloured=coloured), caption),
    )


def measurements(data: ReportData) -> Html:
    """Measured quantities with units, uncertainties and definitions."""
    rows = [
        [
            str(row.get("quantity", "")).replace("_", " "),
            _phase(row.get("phase")),
            [with_uncertainty(row.get("value"), row.get("uncertainty")), _parts(row)],
            unit_text(row.get("unit")),
            tag("span", str(row.get("definition") or ""), class_="quiet"),
        ]
        for row in data.measurements
    ]
    if not rows:
        return NOTHING
    head = ["quantity", "phase", "value ± uncertainty", "unit", "definition"]
    return section("measurements", "Measurements", table(head, rows, numeric=[2], class_="measured"))


def _parts(row: dict[str, Any]) -> Content:
    """What the uncertainty is made of, if it has two parts."""
    sampling, threshold = row.get("sampling"), row.get("threshold")
    if sampling is None or threshold is None:
        return None
    text = f"sampling {number(float(sampling), 2)}, threshold {number(float(threshold), 2)}"
    return tag("span", f" ({text})", class_="quiet")


def objects(data: ReportData) -> Html:
    """Number, size distribution and the largest of the separate objects."""
    columns = {k: np.asarray(v) for k, v in (data.objects or {}).items()}
    size = next(
        (k for stem in ("equivalent_diameter", "volume", "voxels") for k in columns if k.startswith(stem)), None
    )
    if size is None:
        return NOTHING
    values = columns[size].astype(np.float64)
    columns = {k: v for k, v in columns.items() if v.ndim == 1 and len(v) == len(values)}
    if len(values) == 0:
        return section("objects", "Objects", tag("p", "No separate objects were found."))
    largest = np.argsort(-values, kind="stable")[:10]
    shown = [k for k in columns if not k.startswith("bbox")][:10]
    rows = [[number(columns[k][i].item()) for k in shown] for i in largest]
    counts, edges = np.histogram(values, bins=min(60, max(8, round(len(values) ** 0.5))))
    name, unit = column_name(size)
    axis = f"{name} / {unit}" if unit else name
    middle = f"median {name} {number(float(np.median(values)), 3)} {unit}".strip()
    return section(
        "objects",
        "Objects",
        tag("p", f"{plural(len(values), 'object')}, {middle}."),
        figure(histogram(counts, edges, axis, height=220)) if len(values) > 4 else None,
        table([" / ".join(filter(None, column_name(k))) for k in shown], rows, numeric=range(len(shown))),
        tag("p", "The ten largest; all are in objects.csv.", class_="quiet") if len(values) > 10 else None,
    )


def column_name(column: str) -> tuple[str, str]:
    """Split a column name that ends in a unit into words and unit.

    Examples
    --------
    >>> column_name("volume_nm3"), column_name("equivalent_diameter_um"), column_name("touches_border")
    (('volume', 'nm³'), ('equivalent diameter', 'µm'), ('touches border', ''))
    """
    stem, _, last = column.rpartition("_")
    if stem and last.rstrip("0123456789") in {"nm", "um", "px", "deg", "voxel"}:
        return stem.replace("_", " "), unit_text(last)
    return column.replace("_", " "), ""


def metadata(data: ReportData) -> Html:
    """What was read or believed, and from where."""
    rows = [
        [
            name,
            value_text(value),
            tag("span", origin, class_="quiet"),
            tag("span", confidence, class_=f"badge {_word(confidence)}"),
        ]
        for name, value, origin, confidence in data.metadata
    ]
    return (
        section("metadata", "What was known, and from where", table(["fact", "value", "origin", "confidence"], rows))
        if rows
        else NOTHING
    )


def value_text(value: Any) -> str:
    """Return a metadata value as text; long lists are summed up."""
    if isinstance(value, str):
        return value
    values = np.asarray(value).ravel() if isinstance(value, list | tuple | np.ndarray) else None
    if values is None:
        return number(value)
    if len(values) > 6 and values.dtype.kind in "iuf":
        return f"{len(values)} values, {number(float(values.min()))} to {number(float(values.max()))}"
    return ", ".join(number(v) for v in values[:6].tolist()) + (" …" if len(values) > 6 else "")


def timings(data: ReportData) -> Html:
    """Time and rate of each stage."""
    rows = []
    for stage, seconds, rate in data.timings:
        text = duration(float(seconds))
        if rate is not None and np.isfinite(rate) and rate > 0:
            text += f" · {number(float(rate), 3)} Mvoxel/s"
        rows.append((stage, float(seconds), text))
    return section("timings", "Time", figure(bar_chart(rows))) if rows else NOTHING


def repeat(data: ReportData) -> Html:
    """How to do it again: command, pipeline, versions."""
    versions = " · ".join(f"{name} {version}" for name, version in data.versions.items())
    return section(
        "repeat",
        "Do it again",
        tag("pre", tag("code", data.command), class_="command"),
        [tag("h3", "Pipeline"), tag("pre", tag("code", data.pipeline_yaml))] if data.pipeline_yaml.strip() else None,
        [tag("h3", "Versions"), tag("p", versions, class_="quiet")] if versions else None,
    )


def notes(data: ReportData) -> Html:
    """Remarks that belong nowhere else."""
    return section("notes", "Notes", tag("ul", [tag("li", n) for n in data.notes])) if data.notes else NOTHING


def _percent(row: dict[str, Any]) -> str:
    value, doubt = row.get("value"), row.get("uncertainty")
    if not isinstance(value, int | float | np.number):
        return number(value)
    if isinstance(doubt, int | float | np.number) and doubt > 0:
        return f"{with_uncertainty(100 * float(value), 100 * float(doubt))} %"
    return f"{100 * float(value):.1f} %"


def _phase(phase: Any) -> Content:
    """Colour and number of a phase, or of both sides of an interface "0|1"."""
    names = str("" if phase is None else phase)
    colours = [tag("span", class_=f"swatch p{int(n) % 8}") for n in names.split("|") if n.isdecimal()]
    return [colours, names]


def _word(text: str) -> str:
    return "".join(c for c in text.lower() if c.isalpha())
