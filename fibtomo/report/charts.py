"""Charts as inline SVG, in the colours of the page (style sheet classes ``s0`` … and CSS variables)."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, floor, log10

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fibtomo.report.markup import Html, tag
from fibtomo.report.text import number

Float = NDArray[np.float64]
Range = tuple[float, float]

WIDTH = 1040
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 14, 30, 42
_LETTER_PX = 6.6


@dataclass(frozen=True)
class Line:
    """One curve: values `y` at `x`, optionally ± `sigma`; `style` picks colour s0 … s7."""

    label: str
    x: ArrayLike
    y: ArrayLike
    style: int = 0
    sigma: ArrayLike | None = None
    dashed: bool = False


@dataclass(frozen=True)
class Mark:
    """A vertical line at `x` with an optional label and half-width `spread`."""

    x: float
    label: str = ""
    spread: float = 0.0


@dataclass(frozen=True)
class _Plot:
    """Maps data to the pixels of the drawing."""

    x: Range
    y: Range
    height: int

    def across(self, values: ArrayLike) -> Float:
        span = (self.x[1] - self.x[0]) or 1.0
        return _LEFT + (np.asarray(values, dtype=np.float64) - self.x[0]) / span * (WIDTH - _LEFT - _RIGHT)

    def up(self, values: ArrayLike) -> Float:
        span = (self.y[1] - self.y[0]) or 1.0
        return self.floor - (np.asarray(values, dtype=np.float64) - self.y[0]) / span * (self.floor - _TOP)

    @property
    def floor(self) -> float:
        return float(self.height - _BOTTOM)


def ticks(low: float, high: float, about: int = 6) -> list[float]:
    """Return round values between `low` and `high`, `about` as many as asked.

    Examples
    --------
    >>> ticks(0.0, 10.0), ticks(-0.31, 0.29, 4)
    ([0.0, 2.0, 4.0, 6.0, 8.0, 10.0], [-0.2, 0.0, 0.2])
    """
    if not high > low:
        return [low]
    raw = (high - low) / about
    size = 10.0 ** floor(log10(raw))
    step = next(size * m for m in (1, 2, 5, 10) if size * m >= raw * 0.999)
    decimals = max(0, -floor(log10(step)))
    first, last = ceil(low / step - 1e-9), floor(high / step + 1e-9)
    return [round(k * step, decimals) + 0.0 for k in range(first, last + 1)]


def line_chart(
    lines: Sequence[Line],
    x_label: str,
    y_label: str,
    *,
    marks: Sequence[Mark] = (),
    levels: Sequence[Mark] = (),
    height: int = 280,
    marks_label: str = "bad slice, bridged",
) -> Html:
    """Draw curves with their ±σ bands; `marks` are crossed-out places, `levels` the heights to name on a bent scale."""
    plot = _Plot(_span([np.asarray(line.x) for line in lines], 0.0), _span(_reaches(lines)), height)
    parts = [_frame(plot, x_label, y_label, levels)]
    parts += [tag("line", class_="bad", **_vertical(plot, mark.x)) for mark in marks]
    parts += [_band(plot, line) for line in lines if line.sigma is not None]
    parts += [
        tag("path", class_=f"curve s{line.style}{' dashed' if line.dashed else ''}", d=_path(plot, line.x, line.y))
        for line in lines
    ]
    parts.append(_legend(lines, marks_label if marks else ""))
    return _svg(parts, height, f"{y_label} against {x_label}")


def histogram(
    counts: ArrayLike,
    edges: ArrayLike,
    x_label: str,
    *,
    marks: Sequence[Mark] = (),
    coloured: bool = False,
    height: int = 260,
) -> Html:
    """Draw a histogram; with `coloured` each interval between `marks` has the colour of its phase."""
    counts, edges = _crop(np.asarray(counts, dtype=np.float64), np.asarray(edges, dtype=np.float64))
    share = counts / max(1.0, counts.sum()) * 100
    plot = _Plot((float(edges[0]), float(edges[-1])), (0.0, float(share.max()) * 1.05 or 1.0), height)
    parts = [_frame(plot, x_label, "share of voxels / %" if coloured else "share / %")]
    cuts = [edges[0], *sorted(m.x for m in marks), edges[-1]] if coloured else [edges[0], edges[-1]]
    for phase, (low, high) in enumerate(pairwise(cuts)):
        parts.append(
            tag("path", class_=f"area p{phase % 8}" if coloured else "area", d=_steps(plot, share, edges, low, high))
        )
    for mark in marks:
        if not edges[0] <= mark.x <= edges[-1]:
            continue
        if mark.spread:
            a, b = plot.across([mark.x - mark.spread, mark.x + mark.spread])
            parts.append(_rect("spread", a, _TOP, b - a, plot.floor - _TOP))
        parts.append(tag("line", class_="mark", **_vertical(plot, mark.x)))
        parts.append(_text(mark.label, float(plot.across(mark.x)), _TOP - 8, "middle"))
    return _svg(parts, height, f"Histogram of {x_label}")


def bar_chart(rows: Sequence[tuple[str, float, str]]) -> Html:
    """Draw horizontal bars from (label, value, text beside the bar)."""
    row_px, left = 26, 240
    most = max([value for _, value, _ in rows] + [1e-12])
    parts = []
    for i, (label, value, text) in enumerate(rows):
        top = i * row_px
        size = max(1.5, (WIDTH - left - 190) * value / most)
        parts.append(_text(_shorten(label, left - 16), left - 10, top + 17, "end"))
        parts.append(_rect("bar", left, top + 4, size, row_px - 9))
        parts.append(_text(text, left + size + 8, top + 17, "start", "value"))
    return _svg(parts, len(rows) * row_px + 4, "Time per stage")


def gauge(value: float, sigma: float, text: str, x_label: str, marks: Sequence[Mark]) -> Html:
    """Draw one measured value ± sigma with `text` beside it, between the values that `marks` say are expected."""
    height, middle = 112, (_TOP + 70.0) / 2
    reach = [np.array([value - 2 * sigma, value + 2 * sigma, *(mark.x for mark in marks)])]
    plot = _Plot(_span(reach, 0.18), (0.0, 1.0), height)
    parts = []
    for place in ticks(*plot.x, about=10):
        at = float(plot.across(place))
        parts.append(tag("line", class_="axis", x1=_px(at), x2=_px(at), y1=_px(plot.floor), y2=_px(plot.floor + 4)))
        parts.append(_text(_tick(place), at, plot.floor + 17, "middle"))
    parts.append(tag("line", class_="axis", x1=_LEFT, x2=WIDTH - _RIGHT, y1=_px(plot.floor), y2=_px(plot.floor)))
    parts.append(_text(x_label, (_LEFT + WIDTH - _RIGHT) / 2, plot.floor + 35, "middle", "name"))
    for mark in marks:
        parts.append(tag("line", class_="mark", **_vertical(plot, mark.x)))
        parts.append(_text(mark.label, float(plot.across(mark.x)), _TOP - 8, "middle"))
    low, at, high = (float(v) for v in plot.across([value - sigma, value, value + sigma]))
    parts.append(tag("line", class_="error s0", x1=_px(low), x2=_px(high), y1=_px(middle), y2=_px(middle)))
    parts += [
        tag("line", class_="error s0", x1=_px(end), x2=_px(end), y1=_px(middle - 6), y2=_px(middle + 6))
        for end in (low, high)
    ]
    parts.append(tag("circle", class_="dot", cx=_px(at), cy=_px(middle), r=5))
    fits = high + 12 + _LETTER_PX * len(text) < WIDTH - _RIGHT
    parts.append(_text(text, high + 12 if fits else low - 12, middle + 4, "start" if fits else "end", "value"))
    return _svg(parts, height, f"{text}: {x_label}")


def _svg(parts: Sequence[Html], height: int, title: str) -> Html:
    return tag("svg", tag("title", title), *parts, viewBox=f"0 0 {WIDTH} {height}", role="img", class_="chart")


def _frame(plot: _Plot, x_label: str, y_label: str, levels: Sequence[Mark] = ()) -> Html:
    parts = []
    for mark in levels or [Mark(value, _tick(value)) for value in ticks(*plot.y, about=5)]:
        if not plot.y[0] <= mark.x <= plot.y[1]:
            continue
        level = float(plot.up(mark.x))
        parts.append(tag("line", class_="grid", x1=_LEFT, x2=WIDTH - _RIGHT, y1=_px(level), y2=_px(level)))
        parts.append(_text(mark.label, _LEFT - 8, level + 4, "end"))
    places = [(value, float(plot.across(value))) for value in ticks(*plot.x, about=10)]
    parts += [_text(_tick(value), place, plot.floor + 17, "middle") for value, place in places]
    parts.append(tag("line", class_="axis", x1=_LEFT, x2=WIDTH - _RIGHT, y1=_px(plot.floor), y2=_px(plot.floor)))
    parts.append(_text(x_label, (_LEFT + WIDTH - _RIGHT) / 2, plot.floor + 35, "middle", "name"))
    middle = (plot.floor + _TOP) / 2
    turn = f"rotate(-90 14 {_px(middle)})"
    parts.append(tag("text", y_label, x=14, y=_px(middle), text_anchor="middle", class_="name", transform=turn))
    return tag("g", parts)


def _legend(lines: Sequence[Line], bad: str) -> Html:
    parts, left = [], float(_LEFT)
    for line in lines:
        style = f"curve s{line.style}{' dashed' if line.dashed else ''}"
        parts.append(tag("line", class_=style, x1=_px(left), x2=_px(left + 24), y1=12, y2=12))
        parts.append(_text(line.label, left + 30, 16))
        left += 54 + _LETTER_PX * len(line.label)
    if bad:
        parts.append(tag("line", class_="bad", x1=_px(left + 6), x2=_px(left + 6), y1=4, y2=20))
        parts.append(_text(bad, left + 16, 16))
    return tag("g", parts)


def _band(plot: _Plot, line: Line) -> Html:
    x, y, sigma = (np.asarray(v, dtype=np.float64) for v in (line.x, line.y, line.sigma))
    good = np.isfinite(y) & np.isfinite(sigma)
    if good.sum() < 2:
        return Html("")
    x, y, sigma = x[good], y[good], sigma[good]
    outline = np.concatenate([x, x[::-1]]), np.concatenate([y + sigma, (y - sigma)[::-1]])
    return tag("path", class_=f"band s{line.style}", d=_path(plot, *outline) + "Z")


def _path(plot: _Plot, x: ArrayLike, y: ArrayLike) -> str:
    across, up = plot.across(x), plot.up(y)
    words, pen_up = [], True
    for a, b in zip(across, up, strict=True):
        if not (np.isfinite(a) and np.isfinite(b)):
            pen_up = True
            continue
        words.append(f"{'M' if pen_up else 'L'}{_px(a)} {_px(b)}")
        pen_up = False
    return "".join(words)


def _steps(plot: _Plot, share: Float, edges: Float, low: float, high: float) -> str:
    inside = (edges[1:] > low) & (edges[:-1] < high)
    if not inside.any():
        return ""
    left, right = np.clip(edges[:-1][inside], low, high), np.clip(edges[1:][inside], low, high)
    across = np.repeat(plot.across(np.append(left, right[-1])), 2)
    up = np.concatenate([[plot.floor], np.repeat(plot.up(share[inside]), 2), [plot.floor]])
    return "M" + "L".join(f"{_px(a)} {_px(b)}" for a, b in zip(across, up, strict=True)) + "Z"


def _crop(counts: Float, edges: Float, most: int = 256) -> tuple[Float, Float]:
    """Leave out the empty ends and join bins until at most about `most` are left."""
    total = np.cumsum(counts)
    if total.size == 0 or total[-1] == 0:
        return counts, edges
    tail = 1e-4 * total[-1]
    first, last = int(np.searchsorted(total, tail, side="right")), int(np.searchsorted(total, total[-1] - tail))
    counts, edges = counts[first : last + 1], edges[first : last + 2]
    group = -(-len(counts) // most)
    starts = np.arange(0, len(counts), group)
    return np.add.reduceat(counts, starts), np.append(edges[starts], edges[-1])


def _reaches(lines: Sequence[Line]) -> list[Float]:
    reaches = []
    for line in lines:
        y = np.asarray(line.y, dtype=np.float64)
        sigma = np.zeros_like(y) if line.sigma is None else np.nan_to_num(np.asarray(line.sigma, dtype=np.float64))
        reaches += [y - sigma, y + sigma]
    return reaches


def _span(values: Sequence[NDArray[np.generic]], margin: float = 0.05) -> Range:
    joined = np.concatenate([np.asarray(v, dtype=np.float64).ravel() for v in values] or [np.zeros(1)])
    joined = joined[np.isfinite(joined)]
    if joined.size == 0:
        return 0.0, 1.0
    low, high = float(joined.min()), float(joined.max())
    pad = margin * (high - low) if high > low else 0.5
    return low - pad, high + pad


def _vertical(plot: _Plot, x: float) -> dict[str, str]:
    at = _px(float(plot.across(x)))
    return {"x1": at, "x2": at, "y1": _px(_TOP), "y2": _px(plot.floor)}


def _rect(style: str, x: float, y: float, width: float, height: float) -> Html:
    return tag("rect", class_=style, x=_px(x), y=_px(y), width=_px(max(0.0, width)), height=_px(height))


def _text(text: str, x: float, y: float, anchor: str = "start", style: str | None = None) -> Html:
    return tag("text", text, x=_px(x), y=_px(y), text_anchor=anchor, class_=style)


def _shorten(text: str, room_px: float) -> str:
    most = int(room_px / _LETTER_PX)
    return text if len(text) <= most else text[: most - 1] + "…"


def _tick(value: float) -> str:
    plain = f"{value:.10f}".rstrip("0").rstrip(".").replace("-", "−")
    return plain if 1e-4 <= abs(value) < 1e5 or value == 0 else number(value, 3)


def _px(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
