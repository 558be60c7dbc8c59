"""`write_report`: one self-contained HTML file."""

import os
from pathlib import Path

from fibtomo.errors import OutputError
from fibtomo.report import charging, curtains, evidence, face, gallery, motion, sections, thickness
from fibtomo.report.data import ReportData
from fibtomo.report.markup import Html, tag

_HERE = Path(__file__).parent


def write_report(path: Path, data: ReportData) -> Path:
    """Write the report of a run to `path`, in one step.

    Parameters
    ----------
    path
        HTML file to write; an older one is replaced.
    data
        What to show; parts that are missing are left out.

    Returns
    -------
    path
        The file written.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    path = Path(path)
    page = build(data)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_text(page, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise OutputError(f"report '{path}' cannot be written: {error.strerror}") from error
    return path


def build(data: ReportData) -> str:
    """Return the whole page."""
    found = gallery.gather(data)
    body = [
        sections.header(data),
        sections.callouts(data),
        tag("div", gallery.rendering(found, data.mesh), sections.facts(data), class_="hero"),
        [tag("p", problem, class_="problem") for problem in found.problems],
        gallery.orthogonal(found),
        gallery.corrections(found),
        charging.charging(data),
        curtains.curtains(data),
        motion.drift(data),
        thickness.thickness(data),
        face.face(data),
        sections.grey_values(data, found.phases),
        sections.measurements(data),
        sections.objects(data),
        sections.metadata(data),
        evidence.evidence(data),
        sections.timings(data),
        sections.notes(data),
        sections.repeat(data),
    ]
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", data.title),
        tag("style", Html((_HERE / "report.css").read_text(encoding="utf-8"))),
    )
    script = tag("script", Html((_HERE / "report.js").read_text(encoding="utf-8")))
    return "<!DOCTYPE html>\n" + tag("html", head, tag("body", tag("main", body), script), lang="en") + "\n"
