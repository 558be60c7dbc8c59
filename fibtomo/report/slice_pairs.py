"""Single slices of a report before and after correction: the one in the middle, the one with the strongest curtains."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.report import pictures
from fibtomo.report.curtains import strongest
from fibtomo.report.data import ReportData
from fibtomo.report.markup import Html, tag
from fibtomo.report.panels import image_of, panel_of
from fibtomo.report.pictures import Picture
from fibtomo.report.sections import bad_slices
from fibtomo.report.text import number
from fibtomo.report.views import MAX_EDGE, Volume, open_volume

FINEST = 0.25
"""A sample is enlarged to at most four by four pixels."""


@dataclass(frozen=True)
class SlicePair:
    """One slice before and after correction, by the stages `stages` where they are known."""

    index: int
    before: NDArray[Any]
    after: NDArray[Any]
    spacing: tuple[float, float]
    unit: str
    stages: tuple[str, ...] = ()


def middle_pair(raw: Volume, data: ReportData) -> SlicePair | None:
    """Return the usable slice nearest to the middle of the stack; None where rows or columns were cut off."""
    corrected = open_volume(data.corrected)
    if corrected.spec.shape[1:] != raw.spec.shape[1:]:
        return None
    bad = {int(k) for k in np.atleast_1d(getattr(data.drift, "bad_slices", ()))}
    count = min(raw.spec.shape[0], corrected.spec.shape[0])
    order = sorted(range(count), key=lambda k: (k in bad, abs(k - count // 2)))
    return _pair(raw, corrected, order[0]) if order else None


def striped_pair(raw: Volume, data: ReportData) -> SlicePair | None:
    """Return the slice with the highest stripe index, bad slices aside; None where no curtains were removed."""
    corrected = open_volume(data.corrected)
    index = strongest(data.curtains, raw.spec.shape[0], bad_slices(data.drift))
    if index is None or corrected.spec.shape != raw.spec.shape:
        return None
    return _pair(raw, corrected, index, tuple(data.curtains[0].get("stages", ())))


def _pair(raw: Volume, corrected: Volume, index: int, stages: tuple[str, ...] = ()) -> SlicePair:
    before, after = raw.slice_at(index), corrected.slice_at(index)
    return SlicePair(index, before, after, raw.spec.scale[1:], raw.spec.unit, stages)


def compared(pair: SlicePair) -> Html:
    """Slice before and after correction with one contrast, and what was taken out of it in colour."""
    limits = pictures.grey_limits(pair.before, pair.after)
    removed = pair.before.astype(np.float32) - pair.after.astype(np.float32)
    reach = pictures.difference_limit(removed)
    per_px = _per_px(pair)

    def finish(picture: Picture) -> Picture:
        return pictures.scale_bar(pictures.true_scale(picture, pair.spacing, per_px), per_px, pair.unit)

    before, after = (
        image_of(finish(pictures.stretch(a, limits)), name)
        for a, name in ((pair.before, "before"), (pair.after, "after"))
    )
    taken = pictures.true_scale(pictures.difference(removed, reach), pair.spacing, per_px)
    return tag(
        "div",
        tag(
            "figure",
            tag("div", panel_of(before, "as stored"), panel_of(after, "corrected", "second"), class_="compare"),
            tag(
                "figcaption",
                f"Slice {pair.index} as stored and after correction, with one contrast.",
            ),
        ),
        tag(
            "figure",
            image_of(taken, "removed component"),
            tag(
                "figcaption",
                f"What was taken out of it: blue darker, red brighter, full colour at ±{number(reach, 3)} grey values.",
            ),
            class_="removed",
        ),
        class_="corrected",
    )


def taken_out(pair: SlicePair) -> Html:
    """The slice with the strongest curtains beside what was taken out of it, in grey about zero."""
    removed = pair.before.astype(np.float32) - pair.after.astype(np.float32)
    several = len(pair.stages) > 1
    level = float(np.median(removed)) if several else 0.0
    reach, per_px = pictures.difference_limit(removed - level), _per_px(pair)
    words = f"before − after of {' + '.join(pair.stages)}" if several else "what was taken out"
    shown = ((pair.before, None, "as stored"), (removed - level, (-reach, reach), words))
    panels = [
        panel_of(image_of(pictures.true_scale(pictures.stretch(a, limits), pair.spacing, per_px), name), name)
        for a, limits, name in shown
    ]
    zero = f"{number(level, 3)}, the median" if level else "zero"
    caption = (
        f"Slice {pair.index}, which shows the strongest curtains, and {words}: middle grey is {zero}, black and white "
        f"are {number(reach, 3)} grey values away from it."
    )
    return tag("figure", tag("div", panels, class_="pair"), tag("figcaption", caption))


def _per_px(pair: SlicePair) -> float:
    per_px = max(n * step for n, step in zip(pair.before.shape, pair.spacing, strict=True)) / MAX_EDGE
    return max(per_px, FINEST * min(pair.spacing))
