"""The part of a report on charging tails and faulty lines."""

import numpy as np

from fibtomo.report.charts import Line, line_chart
from fibtomo.report.data import ReportData
from fibtomo.report.markup import Html, tag
from fibtomo.report.sections import NOTHING, figure, section


def charging(data: ReportData) -> Html:
    """What was found and repaired, in a line, and where along the stack; empty where nobody looked."""
    found = data.charging
    if not found:
        return NOTHING
    share = 100 * np.asarray(found["pixels"], dtype=np.float64) / max(float(found["plane_pixels"]), 1.0)
    words = [tag("p", f"{note}.") for note in found["notes"]] or [tag("p", "No charging tails or faulty lines found.")]
    chart = None
    if share.any() and len(share) > 2:
        what = "repaired" if found["mode"] == "repair" else "faulty"
        chart = figure(
            line_chart([Line(what, np.arange(len(share)), share, 0)], "slice", f"{what} pixels / %", height=200),
            "Share of each slice with charging tails, jumping rows or dead lines.",
        )
    return section("charging", "Charging and faulty lines", *words, chart)
