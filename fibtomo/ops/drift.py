"""Drift of a whole stack held in memory or read slab by slab; the stage `drift.estimate` shares both halves."""

import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Literal, TypeVar

import numpy as np

from fibtomo.backend.array import as_array
from fibtomo.core.drift import Drift
from fibtomo.core.drift_file import UNCHANGING
from fibtomo.core.geometry import Geometry
from fibtomo.core.resolve import resolve_geometry
from fibtomo.core.volume import Calibration, Sourced, Table
from fibtomo.errors import FibtomoError, InputError
from fibtomo.ops.drift_anchor import anchor_to_face, anchor_to_region, is_open
from fibtomo.ops.drift_combine import combine_slabs
from fibtomo.ops.drift_hand import Move, Override, check_hand
from fibtomo.ops.drift_measure import DriftOptions, Slow, measure_slab
from fibtomo.ops.face import find_face
from fibtomo.ops.face_layer import LEAST_SLICES
from fibtomo.ops.face_measure import measure_faces
from fibtomo.ops.itk_registration import Metric
from fibtomo.ops.reference import check_roi
from fibtomo.ops.slow_motion import ExpectedMotion
from fibtomo.ops.static_region import StaticRegion, find_static_region, measure_static, probed_slices

Result = TypeVar("Result")
Look = tuple[Table, Table | None]

_SLAB_SLICES = 16


def estimate_drift(
    stack: Any,
    *,
    reference_roi: tuple[int, int, int, int] | None = None,
    bad_slices: Sequence[int] | Literal["auto"] = "auto",
    method: Literal["correlation", "itk"] = "correlation",
    itk_metric: Metric = "mutual_information",
    offsets: Sequence[int] | Literal["auto"] = "auto",
    max_shift_px: float | None = None,
    band_cycles_per_px: tuple[float, float] | None = None,
    slope_px_per_slice: tuple[float, float] = (0.0, 0.0),
    slow: Slow = "auto",
    reference_margin_px: int = 32,
    also_bad: Sequence[int] = (),
    breaks: Sequence[int] = (),
    overrides: Sequence[Override] = (),
    overrides_move: Move = "neighbours",
    workers: int | None = None,
) -> Drift:
    """Measure the apparent motion of a stack of slices.

    Slabs are read one after the other and measured in threads; memory holds `workers` + 1 slabs at most, however long
    the stack is.

    Parameters
    ----------
    stack
        (z, y, x) NumPy or CuPy array, or anything with ``read(z0, z1)`` and ``spec`` (a `Stack`).
    reference_roi
        (y0, y1, x0, x1) of a static region in slice 0 (fiducial, protective layer): it decides the slow part.
    bad_slices
        Slices not to use; "auto" finds them.
    method
        "correlation", or "itk" for SimpleITK, which starts from it where it is trusted.
    itk_metric
        "mutual_information", "correlation" or "mean_squares".
    offsets
        Slice distances over which pairs are measured; "auto" is 1 and 2 (1 for itk), and 3 and 4 where nothing nearer
        joins a slice to those before it. More add nothing: what changing structure feigns adds up along z.
    max_shift_px
        Largest motion looked for between two slices; ``None`` is a third of the slice.
    band_cycles_per_px
        Spatial frequencies used; ``None`` lets the coherence of the slices decide.
    slope_px_per_slice
        (dy, dx) motion per slice that geometry predicts; the reference region is looked for along it.
    slow
        Where the slow part (straight line and bends longer than some 30 slices) comes from. "auto": what stands still
        where such is in view, a static region that it finds (see `find_static_region`), else the sample surface and the
        trench walls (see `anchor_to_face`); without, the straight line from the geometry of a `Stack` where exactly one
        motion it allows agrees with the images, and bends as the images show them less what changing structure
        explains. "reference": the same, and an error where nothing static is found. "keep": as the images show it.
        "geometry": `slope_px_per_slice`, or the motion that the geometry of a `Stack` expects. "remove": no slow motion
        at all; jitter and jumps stay.
    reference_margin_px
        How far the reference may stray from its expected place.
    also_bad
        Slices not to use, beside those of `bad_slices`.
    breaks
        First slices of new segments (run restarted, field of view moved): the jump there is looked for as far as the
        slices allow, kept out of the slow part, and flagged where it cannot be measured.
    overrides
        (slice, dy, dx) of slices whose place relative to slice 0 is known, px: the motion passes through them exactly.
    overrides_move
        Whether the "neighbours" of such slices follow (see `fibtomo.ops.drift_hand.pin`) or they move "alone".
    workers
        Threads; ``None`` is one per core.

    Returns
    -------
    Drift
        `identifiable` is False unless a static reference was found: no image tells drift from inclined structure.

    Raises
    ------
    InputError
        The stack is not three-dimensional or too small, an option makes no sense, or `slow` is "reference" and nothing
        static is in view.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.ndimage import gaussian_filter
    >>> scene = gaussian_filter(np.random.default_rng(0).normal(size=(140, 140)), 2)
    >>> stack = np.stack([scene[6 - k : 134 - k, 2 * k : 128 + 2 * k] for k in range(5)])
    >>> drift = estimate_drift(stack)
    >>> drift.shifts_px[-1].round().tolist(), drift.identifiable
    ([4.0, -8.0], False)
    """
    options = DriftOptions(
        method=method,
        itk_metric=itk_metric,
        offsets="auto" if isinstance(offsets, str) else tuple(int(o) for o in offsets),
        max_shift_px=max_shift_px,
        band_cycles_per_px=band_cycles_per_px,
        reference_roi=reference_roi,
        reference_margin_px=reference_margin_px,
        slope_px_per_slice=slope_px_per_slice,
        bad_slices="auto" if isinstance(bad_slices, str) else tuple(int(k) for k in bad_slices),
        slow=slow,
        also_bad=tuple(int(k) for k in also_bad),
        breaks=tuple(int(k) for k in breaks),
        overrides=tuple((int(k), float(dy), float(dx)) for k, dy, dx in overrides),
        overrides_move=overrides_move,
    )
    stack = stack if hasattr(stack, "read") else as_array(stack)
    shape = stack.spec.shape if hasattr(stack, "read") else stack.shape
    if len(shape) != 3 or shape[0] < 2:
        raise InputError(f"a stack of shape {tuple(shape)} has no drift; (slices, rows, columns) with 2 slices or more")
    check_hand(shape[0], options.overrides, options.also_bad, options.breaks)
    if reference_roi is not None:
        check_roi(reference_roi, shape[1:])
    read = stack.read if hasattr(stack, "read") else lambda a, b: stack[a:b]

    n, probes = shape[0], probed_slices(shape[0]) if slow in ("auto", "reference") else []
    faced = probes[:: max(1, len(probes) // (LEAST_SLICES + 2))]  # edges are wide and show on few slices

    def measure(start: int) -> tuple[Table, list[Look]]:
        low, stop = max(0, start - options.halo), min(n, start + _SLAB_SLICES)
        block = read(low, stop)
        looks = [_look(block[k - low : k - low + 1], k in faced) for k in probes if start <= k < stop]
        return measure_slab(block, low, (start - low, stop - low), options), looks

    threads = workers or _cores()
    slabs = _in_threads(measure, range(0, n, _SLAB_SLICES), threads)
    partials = [table for table, _ in slabs]
    by_hand = slow == "geometry" and slope_px_per_slice != (0.0, 0.0)
    allowed = [] if by_hand else motions_allowed(getattr(stack, "calibration", None), n)
    drift = combine_slabs(partials, options, allowed)
    probed = [look for _, looks in slabs for look in looks]
    anchored = _anchored(drift, dict(zip(probes, probed, strict=True)), read, shape, threads)
    if slow == "reference" and reference_roi is None and anchored is drift:
        raise InputError(
            "drift: slow = reference, but nothing static was found in view; give reference_roi = (y0, y1, x0, x1), or "
            "choose auto, keep or geometry"
        )
    return anchored


def _look(one: Any, faced: bool) -> Look:
    """What tells whether anything static is in view: its thumbnail, and perhaps its edges."""
    return measure_static(one), measure_faces(one) if faced else None


def _anchored(
    drift: Drift, probed: dict[int, Look], read: Callable[[int, int], Any], shape: Sequence[int], workers: int
) -> Drift:
    """Motion anchored to what stands still; the slices are read again only if the probed ones show such."""
    n, size = shape[0], (shape[1], shape[2])
    few = [k for k in probed if k not in drift.bad_slices]
    if len(few) < LEAST_SLICES or not is_open(drift):
        return drift
    starts = range(0, n, _SLAB_SLICES)
    thumbnails = _joined([probed[k][0] for k in few])["thumbnails"]
    region = find_static_region(thumbnails, few, drift.shifts_px, size)
    if region is not None:
        cuts = _in_threads(lambda z: _cut(region, read, z, n), starts, workers)
        found = anchor_to_region(drift, region, np.concatenate(cuts))
        if found is not drift:
            return found
    faces = {k: face for k in few if (face := probed[k][1]) is not None}
    if len(faces) < LEAST_SLICES or drift.slow_part == UNCHANGING:
        return drift
    seen = find_face(_joined(list(faces.values())), size, drift.shifts_px[list(faces)])
    if not (np.isfinite(seen["surface_row_px"]).any() or np.isfinite(seen["wall_column_px"]).any()):
        return drift
    slabs = _in_threads(lambda z: measure_faces(read(z, min(n, z + _SLAB_SLICES))), starts, workers)
    return anchor_to_face(drift, find_face(_joined(slabs), size, drift.shifts_px, bad_slices=drift.bad_slices))


def _cut(region: StaticRegion, read: Callable[[int, int], Any], start: int, n: int) -> Any:
    block = read(start, min(n, start + _SLAB_SLICES))
    return np.stack([region.cut(block[k], start + k) for k in range(len(block))])


def _joined(tables: Sequence[Table]) -> Table:
    return {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}


def motions_allowed(calibration: Calibration | None, n: int) -> list[ExpectedMotion]:
    """Motions of n slices that the known geometry allows; none where angle or scale are not known.

    Whether the field of view followed the face need not be known: then both answers are allowed.
    """
    if calibration is None or calibration.column_angle_deg.value is None:
        return []
    names = {True: "a field of view that tracks the face", False: "a field of view fixed to the sample"}
    known = None if calibration.tracked.confidence == "guess" else calibration.tracked.value
    allowed = []
    for tracked in (True, False) if known is None else (bool(known),):
        try:
            geometry = resolve_geometry(replace(calibration, tracked=Sourced(tracked)), shear_from_images=False)
            allowed.append(ExpectedMotion(names[tracked], geometry.expected_shifts_px(n), _flow(geometry)))
        except FibtomoError:
            return []
    return allowed


def _flow(geometry: Geometry) -> float:
    """Rows per slice by which what lies behind the face flows down in a frame that follows the face."""
    return replace(geometry, tracked=False, slice_z_nm=None).shear_px_per_slice


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _in_threads(measure: Callable[[int], Result], starts: range, workers: int) -> list[Result]:
    """Results in order, with no more than `workers` + 1 slabs under way."""
    results: list[Result] = []
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[Result]] = deque()
        for start in starts:
            waiting.append(pool.submit(measure, start))
            if len(waiting) > workers:
                results.append(waiting.popleft().result())
        results.extend(future.result() for future in waiting)
    return results
