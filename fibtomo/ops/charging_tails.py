"""Tails of charging inclusions: found where neighbouring rows differ by something that decays along the scan.

The charge of an inclusion differs from row to row, and so does the tail beside it along x, the fast scan direction. A
row less the mean of its neighbours, filtered with ``exp(-distance / length)``, stands out in nearly every row of a
tail; a phase boundary does so in a row or two. What is found is fitted (`fibtomo.ops.tail_fit`) and counts only if
near and far parts of the tail agree row by row, nothing alike is seen on the other side of its start (a layer, a row
that jumps), its rows are all darker (or all brighter) and it explains much.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.ops.grey_modes import Float
from fibtomo.ops.phase_tails import phase_tails
from fibtomo.ops.tail_edges import tail_starts
from fibtomo.ops.tail_fit import GAP_PX, Scene, Tail, block_px, fit_tail, gain_of, row_bends, strongest, windows
from fibtomo.ops.tail_search import SEARCHED_PX, Search, clipped_pixels

_SEED = 12.0  # squared standard scores
_GROW = (4.0, 0.1)  # of these rows, least score, also as a share of the seed's
_MARGIN = 5  # rows beyond those that stand out
_NEAR_PX = 12  # columns within which no second start is sought
_TRIES = 6
_LEAST_ROWS = 5
_LEAST_GAIN = 4.0
_LEAST_SCORE = 2.2
_ONE_SIGN = 0.8
_AGREE = 0.4
_OTHER_SIDE = 0.6
_INDEPENDENT = 0.7
_BORDER_PX = 6
_FAR_PX = 60
_DEEPEST = 0.6  # of the span of greys
_BRIGHTEST = 0.3  # the same of bright tails, which a bright layer is taken for
_ENDS = 0.5  # of the depth: beyond, the tail does not end above or below
_DEEP = 0.3
_ROUGH = 0.05  # least change from row to row, against the depth


@dataclass(frozen=True, eq=False)
class _Verdict:
    tail: Tail
    core: slice
    accepted: bool


def find_tails(plane: NDArray[Any]) -> list[tuple[float, ...]]:
    """Tails of a slice, row by row.

    Returns
    -------
    list
        Row, row + 1, first and stop column, depth in grey levels, signed length in px, dark grey.

    A positive depth is darkness; a negative length is that of a tail to the left. The last is what a pixel must not
    exceed whose grey the tail has cut off.
    """
    if min(plane.shape) < 32:
        return []
    grey = np.asarray(plane, dtype=np.float64)
    noise = 1.4826 * float(np.median(np.abs(row_bends(grey)[1:-1])))
    if not noise > 0:
        return []
    scene = Scene(grey, clipped_pixels(plane), noise)
    found = [(side, one) for side in (1, -1) for one in _tails_to_the_right(_turned(scene, side))]
    low, high = np.quantile(grey[::3, ::3], [0.02, 0.98])
    dark = grey[(grey < 0.5 * (low + high)) & ~scene.clipped]
    floor = float(np.median(dark)) if len(dark) else float(low)
    lines = [line for side, tail in _one_side(found) for line in _lines(tail, side, grey.shape[1])]
    told = phase_tails(plane)  # also sees tails too even from row to row for differences
    rows = {line[0] for line in told}
    return [(*line, floor) for line in told + [line for line in lines if line[0] not in rows]]


def _turned(scene: Scene, side: int) -> Scene:
    if side > 0:
        return scene
    return replace(
        scene, grey=np.ascontiguousarray(scene.grey[:, ::-1]), clipped=np.ascontiguousarray(scene.clipped[:, ::-1])
    )


def _one_side(found: list[tuple[int, _Verdict]]) -> list[tuple[int, Tail]]:
    """The tails, but for those in rows where one to the other side, a tail or not, explains more."""
    kept = []
    for side, one in found:
        rivals = [
            o for s, o in found if s != side and np.intersect1d(o.tail.rows[o.core], one.tail.rows[one.core]).size
        ]
        if one.accepted and all(_worth(one) > _worth(rival) for rival in rivals):
            kept.append((side, one.tail))
    return kept


def _worth(one: _Verdict) -> float:
    return one.tail.gain * len(one.tail.rows)


def _lines(tail: Tail, side: int, columns: int) -> list[tuple[float, ...]]:
    """One entry for each row, as far as the tail is worth a repair."""
    out = []
    for row, start, depth in zip(tail.rows, tail.start, tail.depth, strict=True):
        first = int(start) + 1
        stop = min(columns, first + int(np.ceil(5 * tail.length_px)))
        if stop > first:
            amount = float(depth * np.exp(-(first - start) / tail.length_px))
            a, b = (first, stop) if side > 0 else (columns - stop, columns - first)
            out.append((int(row), int(row) + 1, a, b, amount, side * tail.length_px))
    return out


def _tails_to_the_right(scene: Scene) -> list[_Verdict]:
    """Tails, and what was taken for one at first."""
    work, search = scene.grey.copy(), Search(scene)
    barred = np.zeros(work.shape, dtype=bool)
    found: list[_Verdict] = []
    refused: list[_Verdict] = []
    missed = 0
    while missed < _TRIES:
        open_ = np.where(barred, 0, search.alike.max(axis=0))
        row, column = (int(v) for v in np.unravel_index(np.argmax(open_), open_.shape))
        if open_[row, column] < _SEED:
            break
        verdict = _judged(replace(scene, grey=work), search, row, column, found)
        missed += 1
        if verdict.accepted:
            missed = 0
            found.append(verdict)
            found = _refitted(scene, found)
            work = _without(scene.grey, found)
            search.see(work, int(verdict.tail.rows[0]), int(verdict.tail.rows[-1]) + 1)
            barred[:] = False
            for one in found:
                _bar(barred, int(one.tail.rows[0]), int(one.tail.rows[-1]), int(np.median(one.tail.start)))
        else:
            refused.append(verdict)
            rows = verdict.tail.rows[verdict.core]
            _bar(barred, int(rows[0]), int(rows[-1]), int(np.median(verdict.tail.start)))
        _bar(barred, row, row, column)
    return [*found, *refused]


def _bar(barred: NDArray[np.bool_], first: int, last: int, column: int) -> None:
    barred[max(0, first - 3) : last + 4, max(0, column - _NEAR_PX) : column + _NEAR_PX + 1] = True


def _without(grey: Float, found: list[_Verdict]) -> Float:
    out = grey.copy()
    for one in found:
        out[one.tail.rows] += one.tail.shape(grey.shape[1])
    return out


def _refitted(scene: Scene, found: list[_Verdict]) -> list[_Verdict]:
    """Tails that share rows fitted again: from the left up to where the next one starts, then with all others off."""
    newest = found[-1]
    group = [one for one in found if np.intersect1d(one.tail.rows, newest.tail.rows).size]
    if len(group) < 2:
        return found
    rest = [one for one in found if one not in group]
    group.sort(key=lambda one: float(np.median(one.tail.start)))
    length = max(group, key=lambda one: one.tail.gain).tail.length_px
    for k, one in enumerate(group):
        stop = int(group[k + 1].tail.start.min()) - GAP_PX if k + 1 < len(group) else scene.grey.shape[1]
        seen = replace(scene, grey=_without(scene.grey, rest + group[:k]))
        group[k] = replace(one, tail=fit_tail(seen, one.tail.rows, one.tail.start, stop, length))
    for _ in range(2):
        for k, one in enumerate(group):
            seen = replace(scene, grey=_without(scene.grey, rest + group[:k] + group[k + 1 :]))
            group[k] = replace(one, tail=fit_tail(seen, one.tail.rows, one.tail.start, scene.grey.shape[1]))
    return rest + group


def _judged(scene: Scene, search: Search, row: int, column: int, found: list[_Verdict]) -> _Verdict:
    """The tail that starts near a pixel, grown until it ends above and below, and whether it is one."""
    ny, nx = scene.grey.shape
    j = int(np.argmax(search.alike[:, row, column]))
    near = search.alike[j][:, max(0, column - 3) : column + 4].max(axis=1)
    out = near > max(_GROW[0], _GROW[1] * float(near[row]))
    first, last = row, row
    while first > 0 and out[first - 1]:
        first -= 1
    while last < ny - 1 and out[last + 1]:
        last += 1
    tail, stop = None, nx
    for _ in range(3):
        about = np.minimum(search.score[j][first : last + 1], 200).sum(axis=0)
        about[np.abs(np.arange(nx) - column) > 2 * _NEAR_PX] = 0
        rows = np.arange(max(0, first - _MARGIN), min(ny, last + 1 + _MARGIN))
        start = tail_starts(scene, rows, int(np.argmax(about)), search.score[j])
        stop = nx
        for other in found:
            begin = int(other.tail.start.min())
            if begin > start.max() and np.intersect1d(other.tail.rows, rows).size:
                stop = min(stop, begin - GAP_PX)
        core = slice(first - int(rows[0]), last + 1 - int(rows[0]))
        rough = Tail(rows, start, np.zeros(len(rows)), SEARCHED_PX[j], 0.0)
        if not _stands_out(scene, rough, core, stop, 0.7):
            return _Verdict(rough, core, False)
        tail = fit_tail(scene, rows, start, stop)
        middle = abs(float(np.median(tail.depth[first - rows[0] : last + 1 - rows[0]])))
        deep = np.abs(tail.depth) > 0.3 * middle
        up = 4 if deep[:2].any() and rows[0] > 0 else 0
        down = 4 if deep[-2:].any() and rows[-1] < ny - 1 else 0
        grown = (first - up, last + down)
        if grown == (first, last):
            break
        first, last = max(0, grown[0]), min(ny - 1, grown[1])
    core = _deep_rows(tail, slice(first - int(rows[0]), last + 1 - int(rows[0])))
    return _Verdict(tail, core, _is_tail(scene, tail, core, stop))


def _deep_rows(tail: Tail, core: slice) -> slice:
    """Of the rows of a tail those from the first that is deep to the last."""
    depth = np.abs(tail.depth[core])
    deep = np.flatnonzero(depth > _DEEP * np.quantile(depth, 0.8)) if len(depth) else depth
    return slice(core.start + int(deep[0]), core.start + int(deep[-1]) + 1) if len(deep) else core


def _is_tail(scene: Scene, tail: Tail, core: slice, stop: int) -> bool:
    depth = tail.depth[core]
    scene = replace(scene, noise=max(scene.noise, _noise_left(scene, tail, core, stop)))
    if len(depth) < _LEAST_ROWS or gain_of(scene, tail, stop) < _LEAST_GAIN:
        return False
    middle = float(np.median(depth))
    if np.mean(depth * np.sign(middle) > 0.15 * abs(middle)) < _ONE_SIGN:
        return False
    span = float(np.subtract(*np.quantile(scene.grey[::3, ::3], [0.98, 0.02])))
    ends = [tail.depth[:2]] if tail.rows[0] > 0 else []
    ends += [tail.depth[-2:]] if tail.rows[-1] < len(scene.grey) - 1 else []
    if abs(middle) > (_DEEPEST if middle > 0 else _BRIGHTEST) * span or any(
        np.abs(end).max() > _ENDS * abs(middle) for end in ends
    ):
        return False
    rough = float(np.median(np.abs(row_bends(depth[:, None])))) > _ROUGH * abs(middle)
    return rough and _stands_out(scene, tail, core, stop)


def _stands_out(scene: Scene, tail: Tail, core: slice, stop: int, ease: float = 1.0) -> bool:
    """Whether rows bend from their neighbours beyond the start, far away as they do nearby, and not before it."""
    reach = int(np.clip(tail.length_px, _NEAR_PX, _FAR_PX))
    start = tail.start[core].astype(np.int64)
    if len(start) < _LEAST_ROWS - 2 * (ease < 1):
        return False
    near, error = _bends(scene, tail, core, start + GAP_PX, np.minimum(start + GAP_PX + reach, stop))
    far, _ = _bends(scene, tail, core, start + GAP_PX + reach, np.minimum(start + GAP_PX + 4 * reach, stop))
    left, other_error = _bends(scene, tail, core, np.maximum(start - 3 - 3 * reach, 0), start - 3)
    if np.isfinite(near).mean() < 0.5 or np.isfinite(left).mean() < 0.5:
        return False
    score = float(np.nanmedian(np.abs(near / error)))
    beside = float(np.nanmedian(np.abs(left / other_error)))
    alike = _correlation(near, far)
    quiet = beside < _OTHER_SIDE * score / ease or abs(_correlation(near, left)) < _INDEPENDENT / ease
    agree = np.isnan(alike) or alike > _AGREE or ease < 1
    return bool(score > ease * _LEAST_SCORE and agree and quiet)


def _noise_left(scene: Scene, tail: Tail, core: slice, stop: int) -> float:
    """Noise of the rows of a tail, which lie in something brighter than most of the slice perhaps."""
    first = max(0, int(tail.rows[0]) - 1)
    part = scene.grey[first : int(tail.rows[-1]) + 2].copy()
    part[tail.rows - first] += tail.shape(part.shape[1])
    begin = int(np.median(tail.start)) + GAP_PX
    rows = tail.rows[core] - first
    bends, clipped = row_bends(part)[rows, begin:stop], scene.clipped[tail.rows[core], begin:stop]
    return 1.4826 * float(np.median(np.abs(bends[~clipped]))) if np.any(~clipped) else np.inf


def _bends(scene: Scene, tail: Tail, core: slice, first: Any, stop: Any) -> tuple[Float, Float]:
    """How far each row bends from its neighbours between two columns, in the shape of the tail, and the error."""
    rows = tail.rows[core]
    width = max(int(np.max(stop - first)), 1)
    y, x, known = windows(rows, first, stop, width)
    x = np.clip(x, 0, scene.grey.shape[1] - 1)
    known = known & ~scene.clipped[y, x]
    shape = np.exp(-np.abs(x - tail.start[core, None]) / tail.length_px)
    low, high = int(rows[0]) - 1, int(rows[-1]) + 2
    part = row_bends(scene.grey[max(0, low) : high])
    found, error = strongest(part[y - max(0, low), x], known, shape, scene.noise, block_px(tail.length_px))
    return np.where(known.sum(axis=1) >= _BORDER_PX, found, np.nan), error


def _correlation(a: Float, b: Float) -> float:
    both = np.isfinite(a) & np.isfinite(b)
    if both.sum() < _LEAST_ROWS:
        return float("nan")
    a, b = a[both], b[both]
    return float(np.sum(a * b) / np.sqrt(np.sum(a * a) * np.sum(b * b) + 1e-30))
