"""What ``curtain.remove`` found and did, in plain words, curves and a table."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.report.charts import Line, Mark, line_chart
from fibtomo.report.data import ReportData
from fibtomo.report.markup import Content, Html, table, tag
from fibtomo.report.sections import figure, section
from fibtomo.report.text import index_ranges, number, plural

Float = NDArray[np.float64]
Notes = Mapping[str, Any]

MOST_LOSS = 0.01
"""Share of the structure's energy that may go with the curtains."""
MOST_R = 0.05
"""Correlation of what was removed with what is left that may be chance."""
_LEAST_INDEX = 0.1
_LEVELS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50)
_DECADES = (0.1, 1, 10, 100, 1000, 10_000, 100_000)
_STEEP_DEG = 0.05
_ORDINALS = ("", ", second pass", ", third pass", ", fourth pass")


def slice_line(notes: Notes, k: int, name: int | None = None) -> str:
    """Return in one line what was found and done on slice `k` of `notes`; `name` is its number in the stack.

    Examples
    --------
    >>> notes = {"index": [0.3, 4.0], "angle_deg": [np.nan, -4.0], "second_angle_deg": [np.nan, np.nan],
    ...          "removed_rms": [0, 5.2], "damage_rms": [0, 0.4], "structure_loss": [0, 0.0012],
    ...          "structure_r": [0, 0.01]}
    >>> slice_line(notes, 0)
    'no curtains found on slice 0 (stripe index 0.30): left as it is'
    >>> slice_line(notes, 1, 40)
    'curtains on slice 40: stripe index 4, direction −4.0°, 5.2 grey rms removed, damage 0.40 grey rms, structure \
loss 0.12 %, r = 0.010: fine'
    """
    where = f"slice {k if name is None else name}"
    values = {key: float(column[k]) for key, column in _columns(notes).items()}
    index = number(values["index"], 2)
    if values["index"] <= 1:
        return f"no curtains found on {where} (stripe index {index}): left as it is"
    angles = [degrees(v) for v in (values["angle_deg"], values["second_angle_deg"]) if np.isfinite(v)]
    loss, r = values["structure_loss"], values["structure_r"]
    parts = [
        f"stripe index {index}",
        f"direction{'s' if len(angles) > 1 else ''} {' and '.join(angles)}",
        f"{number(values['removed_rms'], 2)} grey rms removed",
        f"damage {number(values['damage_rms'], 2)} grey rms",
        f"structure loss {percent(loss)}",
        f"r = {number(r, 2)}",
    ]
    bad = loss > MOST_LOSS or abs(r) > MOST_R
    return f"curtains on {where}: {', '.join(parts)}: {'look at it' if bad else 'fine'}"


def curtains(data: ReportData) -> Html:
    """What was found on how many slices, what was removed, and whether structure went with it."""
    parts = [_one_pass(notes, _ORDINALS[min(k, 3)], k) for k, notes in enumerate(data.curtains) if len(notes["index"])]
    return Html("".join(parts))


def _one_pass(notes: Notes, which: str, k: int) -> Html:
    columns = _columns(notes)
    found = columns["index"] > 1
    unit = "slice" if notes.get("frame", "slice") == "slice" else "slice of the volume"
    text, fine = verdict(notes)
    key = "curtains" if k == 0 else f"curtains-{k + 1}"
    return section(
        key,
        f"Curtains{which}",
        tag("p", summary(notes)),
        tag("p", text, class_=None if fine else "problem") if text else None,
        _index_chart(columns["index"], unit) if len(found) > 1 else None,
        _rms_chart(columns, unit) if len(found) > 1 and found.any() else None,
        _numbers(columns, found) if found.any() else None,
    )


def summary(notes: Notes) -> str:
    """Return how many slices had curtains, which had none, how they ran and how strong they were."""
    columns = _columns(notes)
    found = columns["index"] > 1
    n, many = len(found), int(found.sum())
    if many == 0:
        highest = number(float(columns["index"].max()), 2)
        return f"No slice showed curtains (stripe index up to {highest}; 1 is the limit): all were left as they were."
    if many == n:
        parts = [f"All {n} slices showed curtains and were corrected."]
    else:
        alone = [int(k) for k in np.flatnonzero(~found)]
        first = f"{plural(many, 'slice')} of {n} showed curtains and {'was' if many == 1 else 'were'} corrected"
        parts = [f"{first}; the others were left as they were: {index_ranges(alone)}."]
    removed = columns["removed_rms"][found]
    strength = f"{number(float(np.median(removed)), 2)} grey rms"
    if many > 1:
        strength += f" in the median, {number(float(removed.max()), 2)} at most"
    return " ".join([*parts, _directions(columns, found), f"What was removed is {strength}."])


def verdict(notes: Notes) -> tuple[str, bool]:
    """Say in words whether structure went with the curtains, and whether that is fine; empty where none were removed.

    The correlation of a single small slice may be large by chance; the median over the slices decides.
    """
    columns = _columns(notes)
    found = columns["index"] > 1
    if not found.any():
        return "", True
    loss, r = columns["structure_loss"], columns["structure_r"]
    middle = float(np.median(r[found]))
    said = (
        f"Of the energy of the structure {percent(float(np.median(loss[found])))} went with them in the median and "
        f"{percent(float(loss[found].max()))} at most; what was removed and what is left correlate with "
        f"r = {number(middle, 2)} in the median"
    )
    lossy = [int(k) for k in np.flatnonzero(found & (loss > MOST_LOSS))]
    troubles = []
    if lossy:
        named = f"slice{'s' if len(lossy) > 1 else ''} {index_ranges(lossy)}"
        troubles.append(f"{named} lost more than {100 * MOST_LOSS:g} %")
    if abs(middle) > MOST_R:
        troubles.append(f"|r| is above {MOST_R:g}")
    if troubles:
        return f"{said}. Look at it: {' and '.join(troubles)}, so structure may have been taken for curtains.", False
    return f"{said}: fine (up to {100 * MOST_LOSS:g} % on any slice and |r| up to {MOST_R:g} are).", True


def strongest(notes: Sequence[Notes], n: int, bad: Sequence[int] = ()) -> int | None:
    """Return the slice of a stack of `n` with the strongest curtains, where they were removed from the slices."""
    for one in notes:
        index = _columns(one)["index"]
        if one.get("frame", "slice") == "slice" and len(index) == n:
            usable = [k for k in range(n) if index[k] > 1 and k not in bad]
            return max(usable, key=lambda k: float(index[k]), default=None)
    return None


def percent(share: float) -> str:
    """Return a share in per cent, two digits of it.

    Examples
    --------
    >>> percent(0.0123), percent(0.00001), percent(0.0)
    ('1.2 %', 'under 0.01 %', '0 %')
    """
    return "under 0.01 %" if 0 < share < 1e-4 else f"{number(100 * share, 2)} %"


def degrees(angle: float) -> str:
    """Return an angle to the vertical of the picture with its sign, positive to the right on the way down.

    Examples
    --------
    >>> degrees(1.23), degrees(-4), degrees(0.001)
    ('+1.2°', '−4.0°', '0.0°')
    """
    return "0.0°" if abs(angle) < _STEEP_DEG else f"{angle:+.1f}°".replace("-", "−")


def _directions(columns: dict[str, Float], found: NDArray[np.bool_]) -> str:
    """Typical directions; of two on a slice the one that leans more to the left first."""
    pairs = np.sort(np.stack([columns["angle_deg"], columns["second_angle_deg"]])[:, found], axis=0)
    two = np.isfinite(pairs).all(axis=0)
    single = pairs[0][~two & np.isfinite(pairs[0])]
    lean = "positive: leaning to the right on the way down"
    parts = []
    if single.size:
        low, high = (float(v) for v in (single.min(), single.max()))
        spread = f", from {degrees(low)} to {degrees(high)}" if degrees(low) != degrees(high) else ""
        parts.append(f"They run at {degrees(float(np.median(single)))} to the columns{spread}")
    if two.any():
        left, right = (degrees(float(v)) for v in np.median(pairs[:, two], axis=1))
        where = f"on {plural(int(two.sum()), 'slice')} " if single.size else ""
        parts.append(f"{where}they run in two directions, {left} and {right}")
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]} ({lean})." if text else ""


def _index_chart(index: Float, unit: str) -> Html:
    """Stripe index by slice on a logarithmic scale."""
    shown, slices = np.log10(np.maximum(index, _LEAST_INDEX)), np.arange(len(index))
    named = _LEVELS if index.max() < _LEVELS[-1] else _DECADES
    levels = [Mark(float(np.log10(v)), f"≤ {v:g}" if v == _LEAST_INDEX else number(v)) for v in named]
    lines = [
        Line("stripe index", slices, shown, 0),
        Line("1: curtains above, left alone below", slices, np.zeros(len(index)), 1, dashed=True),
    ]
    words = "How far the stripes of each slice stand out from what its noise explains."
    return figure(line_chart(lines, unit, "stripe index", levels=levels, height=220), words)


def _rms_chart(columns: dict[str, Float], unit: str) -> Html:
    slices = np.arange(len(columns["index"]))
    lines = [
        Line("removed", slices, columns["removed_rms"], 0),
        Line("damage", slices, columns["damage_rms"], 1),
    ]
    words = (
        "What was subtracted from each slice (rms), and the part of it that does not run along the curtains, which can "
        "only be structure or noise."
    )
    return figure(line_chart(lines, unit, "grey rms", height=220), words)


def _numbers(columns: dict[str, Float], found: NDArray[np.bool_]) -> Html:
    """Median and worst of the corrected slices."""
    quantities = (
        ("index", "stripe index", 1.0, "curtains above 1"),
        ("removed_rms", "removed / grey rms", 1.0, "what was subtracted"),
        ("damage_rms", "damage / grey rms", 1.0, "the part of it that does not run along the curtains (± 10°)"),
        ("structure_loss", "structure loss / %", 100.0, "energy of the damage over that of the slice, same directions"),
        ("structure_r", "correlation r", 1.0, "of what was removed with what is left, averaged over 4 × 4 pixels"),
    )
    slices = np.flatnonzero(found)
    rows: list[list[Content]] = []
    for key, name, factor, meaning in quantities:
        values = factor * columns[key][found]
        worst = int(np.argmax(np.abs(values)))
        rows.append(
            [
                name,
                number(float(np.median(values)), 2),
                number(float(values[worst]), 2),
                str(slices[worst]),
                tag("span", meaning, class_="quiet"),
            ]
        )
    return table(["corrected slices", "median", "worst", "slice", ""], rows, numeric=[1, 2, 3])


def _columns(notes: Notes) -> dict[str, Float]:
    """Return the arrays of the notes; ``null``, as JSON has it, becomes NaN."""
    names = ("index", "angle_deg", "second_angle_deg", "removed_rms", "damage_rms", "structure_loss", "structure_r")
    return {name: np.asarray(notes[name], dtype=np.float64) for name in names}
