"""First half of drift estimation: what one slab tells of its pairs of slices and of the slices themselves."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from fibtomo.backend.array import namespace, to_host
from fibtomo.core.volume import Table
from fibtomo.errors import InputError
from fibtomo.ops.correlation import PairShift, pair_shift
from fibtomo.ops.drift_quality import measure_likeness
from fibtomo.ops.itk_registration import Metric, itk_pair_shift
from fibtomo.ops.local_motion import PARTS, thumbnail_steps
from fibtomo.ops.parallax import EVERY, thumbnail_dark_against_bright
from fibtomo.ops.reference import cut_patch
from fibtomo.ops.slice_pixels import thumbnail
from fibtomo.ops.slice_quality import STATISTICS, slice_statistics, tile_means
from fibtomo.ops.spectra import make_band, slice_spectrum

Float = NDArray[np.float64]

Slow = Literal["auto", "keep", "reference", "geometry", "remove"]

_AUTO_OFFSETS = {"correlation": (1, 2), "itk": (1,)}
_BRIDGES = (3, 4)
_JOINED = 0.05  # confidence from which a pair joins its slices


@dataclass(frozen=True)
class DriftOptions:
    """How drift is measured and solved; see `estimate_drift` for the meaning of each."""

    method: Literal["correlation", "itk"] = "correlation"
    itk_metric: Metric = "mutual_information"
    offsets: tuple[int, ...] | Literal["auto"] = "auto"
    max_shift_px: float | None = None
    band_cycles_per_px: tuple[float, float] | None = None
    reference_roi: tuple[int, int, int, int] | None = None
    reference_margin_px: int = 32
    slope_px_per_slice: tuple[float, float] = (0.0, 0.0)
    bad_slices: tuple[int, ...] | Literal["auto"] = "auto"
    slow: Slow = "auto"
    also_bad: tuple[int, ...] = ()
    breaks: tuple[int, ...] = ()
    overrides: tuple[tuple[int, float, float], ...] = ()
    overrides_move: Literal["neighbours", "alone"] = "neighbours"

    def __post_init__(self) -> None:
        if self.method not in _AUTO_OFFSETS:
            raise InputError(f"drift method '{self.method}' does not exist; there are: {', '.join(_AUTO_OFFSETS)}")
        if self.itk_metric not in get_args(Metric):
            raise InputError(f"itk_metric '{self.itk_metric}' does not exist; there are: {', '.join(get_args(Metric))}")
        if self.offsets != "auto" and (not self.offsets or min(self.offsets) < 1 or 1 not in self.offsets):
            raise InputError(f"offsets = {self.offsets} must be positive and contain 1")
        if self.slow not in get_args(Slow):
            raise InputError(f"slow = '{self.slow}' does not exist; there are: {', '.join(get_args(Slow))}")

    @property
    def gaps(self) -> tuple[int, ...]:
        """Slice distances over which pairs are always measured, ascending."""
        return _AUTO_OFFSETS[self.method] if self.offsets == "auto" else tuple(sorted(set(self.offsets)))

    @property
    def bridges(self) -> tuple[int, ...]:
        """Slice distances tried beside them where a slice is joined to none before it (bad slices in a row)."""
        return _BRIDGES if self.offsets == "auto" else ()

    @property
    def halo(self) -> int:
        """Slices before its own that a slab must hold."""
        return max(self.gaps + self.bridges)

    def expected_px(self, n: int) -> Float:
        """(n, 2) motion that the slope predicts."""
        return np.outer(np.arange(n, dtype=np.float64), self.slope_px_per_slice)

    def reach_px(self, first: int, second: int) -> float | None:
        """Largest motion looked for between two slices: over a break as far as the slices allow."""
        return None if any(first < b <= second for b in self.breaks) else self.max_shift_px


def measure_slab(block: Any, z0: int, core: tuple[int, int], options: DriftOptions) -> Table:
    """Measure the pairs that end in the core of a slab, and judge its slices.

    Parameters
    ----------
    block
        (z, y, x) slices, with `DriftOptions.halo` of them before the core where the stack has them.
    z0
        Index in the stack of ``block[0]``.
    core
        Range inside the block that is answered for.
    options
        How to measure.

    Returns
    -------
    Table
        Columns per slice (the names of `STATISTICS`, ``tiles`` from `tile_means`, ``frame_px``: rows and columns,
        ``area_px``, ``local_px`` from `local_steps`, ``dark_px`` from `dark_against_bright` at every few slices,
        ``likeness`` from `measure_likeness`) and per pair
        (``first``, ``second``, ``shift_px``, ``sigma_px``, ``pair_confidence``, ``periodic_confidence``,
        ``rival_px``, ``coherence``, ``wavelength_px``), and ``patches`` of the reference region if there is one.
    """
    band = make_band(block.shape[1:], options.band_cycles_per_px, xp=namespace(block))
    spectra: dict[int, Any] = {}

    def spectrum(j: int) -> Any:
        if j not in spectra:
            spectra[j] = slice_spectrum(block[j], band)
        return spectra[j]

    def pair(j: int, i: int) -> PairShift:
        shift = pair_shift(spectrum(j), spectrum(i), band, options.reach_px(z0 + j, z0 + i))
        if options.method == "correlation":
            return shift
        start = shift.shift_px if shift.confidence > 0 else (0.0, 0.0)
        return itk_pair_shift(block[j], block[i], metric=options.itk_metric, start_px=start)

    slices: dict[str, list[float]] = {name: [] for name in STATISTICS}
    areas: list[float] = []
    tiles: list[Float] = []
    ends: list[tuple[int, int]] = []
    found: list[PairShift] = []
    local: list[Float] = []
    dark: list[Float] = []
    likeness: list[Float] = []
    patches: list[Any] = []
    small: Any = None
    for i in range(*core):
        spectra = {j: kept for j, kept in spectra.items() if j >= i - options.gaps[-1]}
        previous = block[i - 1] if i else None
        if small is None and i:
            small, binning = thumbnail(previous)
        before, (small, binning) = small, thumbnail(block[i])
        for name, value in slice_statistics(block[i], previous).items():
            slices[name].append(value)
        tiles.append(tile_means(small))
        areas.append(float(np.prod([np.count_nonzero(w) * band.binning for w in spectrum(i).windows])))
        local.append(np.full((PARTS**2, 2), np.nan))
        dark.append(np.full(2, np.nan))
        likeness.append(np.full(7, np.nan))
        joined = False
        for gap in options.gaps + options.bridges:
            if gap > i or (joined and gap in options.bridges):
                continue
            ends.append((z0 + i - gap, z0 + i))
            found.append(pair(i - gap, i))
            joined |= max(found[-1].confidence, found[-1].periodic_confidence) >= _JOINED
            if gap == 1:
                likeness[-1] = measure_likeness(spectrum(i - 1), spectrum(i), band, found[-1].shift_px)
            if gap == 1 and found[-1].significance > 0:
                local[-1] = thumbnail_steps(before, small, binning, found[-1].shift_px)
                if (z0 + i) % EVERY == 0:
                    dark[-1] = thumbnail_dark_against_bright(before, small, binning)
        if options.reference_roi is not None:
            offset = whole_offset(z0 + i, options)
            patches.append(to_host(cut_patch(block[i], options.reference_roi, options.reference_margin_px, offset)))
    table: Table = {name: np.array(values) for name, values in slices.items()}
    table |= {
        "tiles": np.array(tiles),
        "frame_px": np.tile(block.shape[1:], (len(areas), 1)),
        "area_px": np.array(areas),
        "local_px": np.array(local).reshape(-1, PARTS**2, 2),
        "dark_px": np.array(dark).reshape(-1, 2),
        "likeness": np.array(likeness).reshape(-1, 7),
        "first": np.array([a for a, _ in ends], dtype=np.int64),
        "second": np.array([b for _, b in ends], dtype=np.int64),
        "shift_px": np.array([p.shift_px for p in found]).reshape(-1, 2),
        "sigma_px": np.array([p.sigma_px for p in found]).reshape(-1, 2),
        "pair_confidence": np.array([p.confidence for p in found]),
        "periodic_confidence": np.array([p.periodic_confidence for p in found]),
        "rival_px": np.array([p.rival_px for p in found]).reshape(-1, 2),
        "coherence": np.array([p.coherence for p in found]),
        "wavelength_px": np.array([p.wavelength_px for p in found]),
    }
    if patches:
        table["patches"] = np.stack(patches)
    return table


def whole_offset(k: int, options: DriftOptions) -> tuple[int, int]:
    """Whole pixels by which the reference is expected to have moved at slice k."""
    return round(k * options.slope_px_per_slice[0]), round(k * options.slope_px_per_slice[1])
