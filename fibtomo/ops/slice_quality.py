"""Which slices must not be used: blank, truncated, repeated, out of focus, charged or of odd grey.

What is wrong with a slice sets it apart from those before *and* after it, which are alike. A layer, a pore or a new
focus begins and stays. So a number of a slice counts as odd where up to three slices in a row lie above or below both
sides, by more than five robust standard deviations and by an amount that matters. Flicker of the brightness by some ten
per cent is not odd, and what befalls a good part of the slices belongs to the specimen.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.backend.array import namespace, to_host
from fibtomo.ops.slice_pixels import repeated_rows, repeated_share, varying_lines

Float = NDArray[np.float64]

STATISTICS = (
    *("mean", "contrast", "noise", "blank_rows", "repeated", "repeated_rows"),
    *("detail_y", "detail_x", "streaks"),
)
TILES = 8
"""Tiles along either axis whose brightness is compared."""
LONGEST_RUN = 3
"""Most slices in a row that are told from a layer of the specimen."""
_ROBUST_LIMIT = 5.0
_ONE_SIDED = 1.5  # times as much, at the ends of the stack
_WINDOW = 21  # slices over which the spread is taken
_LAG_PX = 3  # distance over which fine detail shows; about the beam diameter of a well sampled slice
_PIXELS = 2**17  # about as many are looked at, in whole rows
_COMMON = 0.2  # share of slices from which on an oddity is a trait of the specimen
_COPIED_ROWS = 0.06  # share of rows with the noise of the slice before
_BLANK_ROWS = 0.03
_NO_CONTRAST = 0.1
_SHOWN = 0.15  # contrast, of that of the richest slices, below which blur cannot be told
_TILE_SHARE = 88  # percentile of the tiles: charging touches at least an eighth of them
_TILE_FLOOR = 0.7  # change of the brightness of tiles, in typical standard deviations of the grey values
_FLOOR = {
    "mean": 1.0,
    "contrast": float(np.log(1.6)),
    "detail_y": float(np.log(1.4)),
    "detail_x": float(np.log(1.4)),
    "streaks": 0.1,
}


def slice_statistics(image: Any, previous: Any | None) -> dict[str, float]:
    """Numbers by which a slice is judged.

    Parameters
    ----------
    image, previous
        (y, x) slice, and the one before it if there is one.

    Returns
    -------
    dict
        ``mean`` of the grey values, ``noise``: standard deviation of white noise, ``contrast``: that of the rest;
        ``blank_rows``, fraction of rows at the lower and upper edge that hold one constant value; ``repeated``,
        fraction of varying pixels equal to those of the slice before; ``repeated_rows``, of rows with the same noise;
        ``detail_y`` and ``detail_x``, logarithm of the variance of differences over 3 px along an axis, noise taken
        off, relative to twice the contrast squared; ``streaks``, brightness that changes from row to row (root mean
        square second difference of the row means).

    Examples
    --------
    >>> image = np.random.default_rng(0).normal(size=(64, 64))
    >>> image[48:] = 0
    >>> found = slice_statistics(image, image)
    >>> found["blank_rows"], round(found["noise"])
    (0.25, 1)
    """
    xp = namespace(image)
    blank = ~varying_lines(image)[0]
    kept = np.flatnonzero(~blank)
    shown = image[int(kept[0]) : int(kept[-1]) + 1] if len(kept) >= 8 else image
    step = max(1, shown.shape[0] * shown.shape[1] // _PIXELS)
    thin = shown[::step].astype(xp.float32)
    noise = _noise(xp, shown, step)
    mean = float(to_host(thin.mean(dtype=xp.float64)))
    variance = _mean_square(thin - np.float32(mean))
    signal = max(variance - noise**2, 1e-4 * variance, 1e-30)
    along_x = _mean_square(thin[:, _LAG_PX:] - thin[:, :-_LAG_PX]) - 2 * noise**2
    along_y = _mean_square(shown[_LAG_PX::step].astype(xp.float32) - shown[:-_LAG_PX:step]) - 2 * noise**2
    rows = to_host(shown.mean(axis=1, dtype=xp.float64))
    repeated = repeated_share(image, previous) if previous is not None and len(kept) else 0.0
    return {
        "mean": mean,
        "contrast": float(np.sqrt(signal)),
        "noise": noise,
        "blank_rows": _edge_fraction(blank),
        "repeated": repeated,
        "repeated_rows": repeated_rows(image, previous, step) if previous is not None and len(kept) else 0.0,
        "detail_y": float(np.log(max(along_y, 1e-3 * signal) / (2 * signal))),
        "detail_x": float(np.log(max(along_x, 1e-3 * signal) / (2 * signal))),
        "streaks": float(np.sqrt(np.mean(np.diff(rows, 2) ** 2))) if len(rows) > 2 else 0.0,
    }


def _mean_square(values: Any) -> float:
    return float(to_host((values * values).mean(dtype=np.float64)))


def _noise(xp: Any, image: Any, step: int) -> float:
    """Noise as `fibtomo.ops.noise.estimate_noise` finds it, on every other of the rows `step` apart."""
    if min(image.shape) < 3:
        return 0.0
    above, here, below = (image[a : image.shape[0] - 2 + a : 2 * step].astype(xp.float32, copy=False) for a in range(3))
    bend = above - 2 * here + below
    bend = (bend[:, 2:] - 2 * bend[:, 1:-1] + bend[:, :-2])[:, ::2]
    return float(to_host(xp.median(xp.abs(bend)))) / (6 * 0.67449)


def _edge_fraction(blank: NDArray[np.bool_]) -> float:
    """Fraction of rows in the blank stretches at both edges."""
    rows = np.flatnonzero(~blank)
    return 1.0 if not len(rows) else float(rows[0] + len(blank) - 1 - rows[-1]) / len(blank)


def tile_means(small: Any) -> Float:
    """(`TILES` ** 2,) mean grey of the tiles of a (binned) slice, on the host.

    Examples
    --------
    >>> tile_means(np.arange(16.0).repeat(16).reshape(16, 16))[::8].tolist()
    [0.5, 2.5, 4.5, 6.5, 8.5, 10.5, 12.5, 14.5]
    """
    height, width = small.shape[0] // TILES, small.shape[1] // TILES
    if min(height, width) < 1:
        return np.full(TILES**2, np.nan)
    cut = small[: TILES * height, : TILES * width].reshape(TILES, height, TILES, width)
    return np.asarray(to_host(cut.mean(axis=(1, 3))), dtype=np.float64).ravel()


def find_bad_slices(statistics: Mapping[str, Any]) -> dict[int, str]:
    """Bad slices and why, from the columns that `slice_statistics` leaves for a stack.

    Parameters
    ----------
    statistics
        (n,) columns under the names in `STATISTICS`, in z order, and perhaps ``tiles`` (n, `TILES` ** 2), the
        `tile_means` of the slices.

    Examples
    --------
    >>> n = 30
    >>> columns = {name: np.zeros(n) for name in STATISTICS} | {"mean": np.full(n, 90.0), "contrast": np.full(n, 20.0)}
    >>> columns["blank_rows"][7] = 1.0
    >>> find_bad_slices(columns)
    {7: 'blank'}
    """
    column = {name: np.asarray(statistics[name], dtype=np.float64) for name in STATISTICS}
    n = len(column["mean"])
    typical = max(float(np.median(column["contrast"])), 1e-30)
    grey = np.sqrt(column["contrast"] ** 2 + column["noise"] ** 2)
    copied = max(_COPIED_ROWS, _ROBUST_LIMIT * _spread(column["repeated_rows"]))
    usual = {
        "blank": _without_peaks(column["blank_rows"]),
        "rows": _without_peaks(column["repeated_rows"]),
        "repeat": np.full(n, np.median(column["repeated"])),
    }
    reasons: dict[int, str] = {}
    for k in range(n):
        rows = column["blank_rows"][k]
        if rows > 0.98 or grey[k] <= 0.02 * typical:
            reasons[k] = "blank"
        elif rows > usual["blank"][k] + _BLANK_ROWS:
            reasons[k] = f"truncated ({100 * (rows - usual['blank'][k]):.0f} % of the rows are blank)"
        elif column["repeated"][k] > 0.98 and usual["repeat"][k] < 0.9:
            reasons[k] = "repeats the slice before"
        elif column["repeated_rows"][k] > usual["rows"][k] + copied:
            share = column["repeated_rows"][k] - usual["rows"][k]
            part = f"truncated ({100 * share:.0f} % of the rows repeat the slice before)"
            reasons[k] = "repeats the slice before" if column["repeated_rows"][k] > 0.98 else part
    dark = column["contrast"] < -_NO_CONTRAST * _without_peaks(-column["contrast"])
    for k in map(int, np.flatnonzero(dark)):
        empty = grey[k] < 0.5 * np.median(grey)
        reasons.setdefault(k, "blank but for noise" if empty else "unlike its neighbours (nothing but noise)")
    sound = np.array([k not in reasons for k in range(n)])
    if sound.sum() < 5:
        return dict(sorted(reasons.items()))
    measures = (
        ("mean", column["mean"] / typical, "odd brightness", (1, -1)),
        ("contrast", np.log(np.maximum(column["contrast"], 1e-3 * typical)), "odd contrast", (1, -1)),
        ("streaks", column["streaks"] / typical, "streaks along the rows (charging?)", (1,)),
        ("tiles", column["mean"], "odd brightness in part of the slice (charging?)", ()),
        ("detail_y", column["detail_y"], "blurred", (-1,)),
        ("detail_x", column["detail_x"], "blurred", (-1,)),
    )
    for name, values, reason, signs in measures:
        if name == "detail_y":  # streaks and the like add detail, beside which sound slices would look blurred
            sound[list(reasons)] = False
            sound &= column["contrast"] > _SHOWN * np.percentile(column["contrast"], 90)
        odd = {k for sign in signs for k in _peaks(sign * values, sound, _FLOOR[name])}
        if name == "tiles" and name in statistics:
            odd = _odd_tiles(np.asarray(statistics[name], dtype=np.float64), sound, typical)
        for k in sorted(odd) if len(odd) <= max(_COMMON * n, 3) else ():
            reasons.setdefault(k, reason)
    return dict(sorted(reasons.items()))


def _spread(values: Float) -> float:
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


def _without_peaks(values: Float) -> Float:
    """`values` with every peak of up to `LONGEST_RUN` slices, one at the ends, cut down to the higher of its sides."""
    size = LONGEST_RUN + 1
    padded = np.pad(values, size // 2, mode="edge")
    low = np.lib.stride_tricks.sliding_window_view(padded, size).min(axis=1)
    return np.asarray(np.max([np.pad(low, size, mode="edge")[j : j + len(values)] for j in _starts(size)], axis=0))


def _starts(size: int) -> range:
    """Where, in the padded minima of `_without_peaks`, the windows begin that hold a slice."""
    return range(size - size // 2 + 1, 2 * size - size // 2 + 1)


def _peaks(values: Float, sound: NDArray[np.bool_], floor: float) -> list[int]:
    """Indices of the sound slices in runs of up to `LONGEST_RUN` that stand out from both neighbours of the run."""
    from scipy.ndimage import median_filter

    at = np.flatnonzero(sound)
    away = np.abs(values[at] - median_filter(values[at], footprint=[1, 1, 0, 1, 1], mode="reflect"))
    spread = 1.4826 * np.maximum(np.median(away), median_filter(away, size=_WINDOW, mode="reflect"))
    limit = np.full(len(values), np.inf)
    limit[at] = np.maximum(_ROBUST_LIMIT * spread, floor)
    odd: list[int] = []
    for length in range(1, LONGEST_RUN + 1):  # short runs first, so that they are no sides to longer ones
        runs = [at[i : i + length] for i in range(len(at) - length + 1) if _stands_out(values, limit, at, i, length)]
        found = np.unique(np.concatenate(runs)) if runs else np.empty(0, dtype=np.int64)
        odd += found.tolist()
        at = np.setdiff1d(at, found)
    return sorted(odd)


def _stands_out(values: Float, limit: Float, at: NDArray[np.int64], i: int, length: int) -> bool:
    """Whether the run of `length` from the i-th slice in `at` lies above both its neighbours there."""
    end = i + length
    sides = [at[m] for m in (i - 1, end) if 0 <= m < len(at)]
    if len(sides) == 2:
        whole, times = sides[1] - sides[0] - 1 <= LONGEST_RUN, 1.0
    else:
        whole, times = length == 1 and len(sides) == 1, _ONE_SIDED
    run = at[i:end]
    return bool(whole and values[sides].max() < values[run].min() - times * limit[run].max())


def _odd_tiles(tiles: Float, sound: NDArray[np.bool_], typical: float) -> set[int]:
    """Sound slices an eighth of whose tiles differ from those before and after more than these from each other."""
    at = np.flatnonzero(sound & np.isfinite(tiles).all(axis=1))
    n, reach = len(at), LONGEST_RUN + 1
    apart = np.full((n, reach + 1), np.nan)  # [k, j]: between slices k and k + j
    for j in range(1, min(reach, n - 1) + 1):
        change = tiles[at[j:]] - tiles[at[:-j]]
        change = np.abs(change - np.median(change, axis=1, keepdims=True))
        apart[: n - j, j] = np.percentile(change, _TILE_SHARE, axis=1) / typical
    usual = 1.4826 * float(np.nanmedian(apart[:, 1])) if n > 1 else 0.0
    limit = max(_TILE_FLOOR, _ROBUST_LIMIT / 2 * usual)
    odd = set()
    for k in range(1, n - 1):
        for before in range(1, reach):
            for after in range(1, reach + 1 - before):
                if k - before < 0 or k + after >= n:
                    continue
                sides = apart[k - before, before + after]
                if min(apart[k - before, before], apart[k, after]) - sides > limit:
                    odd.add(int(at[k]))
    return odd
