"""Walls and open pores where back walls shine through: a forest over what the rays of light say."""

import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from fibtomo.backend.array import as_array, namespace
from fibtomo.core.volume import OUTSIDE, Shape
from fibtomo.errors import InputError
from fibtomo.ops.forest_inference import FlatForest, forest_probabilities
from fibtomo.ops.light_decay import LightFit, fit_light, sample_rays
from fibtomo.ops.npz_file import read_npz, write_npz
from fibtomo.ops.shine_features import Core, Range, shine_feature_names, shine_features, tiles_of
from fibtomo.ops.wall_rays import Light

Array = Any
Seen = Callable[[Core], Array]
Span = tuple[float, float]
MODEL = Path(__file__).parents[1] / "models" / "shine_through.npz"
FORMAT = "fibtomo shine-through forest 1"
MARGIN = 0.1
"""Share of a trained span by which a stack may lie beyond it before that is said."""


@dataclass(frozen=True)
class Trained:
    """Least and largest values of the stacks that a forest was trained on.

    Attributes
    ----------
    decay_slices, noise
        As in `Light`.
    rows_per_slice
        Rows that light runs down in a slice.
    wall_share
        Volume fraction of the walls.
    """

    decay_slices: Span
    noise: Span
    rows_per_slice: Span
    wall_share: Span


@dataclass(frozen=True)
class ShineForest:
    """A forest that tells walls from open pores, and what it was trained on."""

    forest: FlatForest
    trained: Trained

    def save(self, path: str | Path) -> None:
        """Write an ``.npz`` file; nothing in it needs pickle."""
        header = {"format": FORMAT, "features": shine_feature_names(), "trained": asdict(self.trained)}
        arrays = {k: v.astype(np.float16) if k == "probability" else v for k, v in self.forest.to_arrays().items()}
        write_npz(Path(path), header, arrays)

    @classmethod
    def load(cls, path: str | Path = MODEL) -> "ShineForest":
        """Read what `save` wrote.

        Raises
        ------
        InputError
            There is no such file, or it is another version's.
        """
        header, arrays = read_npz(Path(path), "shine-through forest")
        if header.get("format") != FORMAT or header.get("features") != shine_feature_names():
            raise InputError(f"{path} is no {FORMAT!r}, which this version reads: train it again")
        try:
            arrays["probability"] = arrays["probability"].astype(np.float32)
            trained = Trained(**{k: tuple(v) for k, v in header["trained"].items()})
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path} is damaged (it lacks {error}): train it again") from None
        return cls(FlatForest.from_arrays(arrays), trained)

    def doubts(self, fit: LightFit, rows_per_slice: float, wall_share: float | None = None) -> list[str]:
        """Sentences on what lies outside of the training."""
        light, spans = fit.light, self.trained
        if fit.blind:
            too_small = f"the volume is too small to follow light through its pores ({fit.rays} rays)"
            return [f"{too_small}: they were taken for filled ones"]
        found = []
        if fit.upwards:
            found.append(
                "light runs up the face instead of down and was followed upwards: the rows of the volume seem to be "
                "upside down, check the orientation of the slices"
            )
        values = [
            ("decay of light", "slices", light.decay_slices, spans.decay_slices),
            ("noise over contrast", "", light.noise, spans.noise),
            ("way of light", "rows per slice", rows_per_slice, spans.rows_per_slice),
            ("share of walls", "", wall_share, spans.wall_share),
        ]
        for name, unit, value, (low, high) in values:
            slack = MARGIN * (high - low)
            if value is not None and not low - slack <= value <= high + slack:
                span = f"{low:.3g} to {high:.3g}"
                found.append(f"{name} {value:.3g} {unit}".rstrip() + f" lies outside of what was trained on ({span})")
        return found


@cache
def shipped_forest() -> ShineForest:
    """The forest that comes with fibtomo, trained by ``fibtomo/models/train_shine_through.py``."""
    return ShineForest.load()


def wall_probability(
    slab: Array,
    z0: int,
    core: Range,
    shape: Shape,
    light: Light,
    rows_per_slice: float,
    *,
    upwards: bool = False,
    seen: Seen | None = None,
) -> Array:
    """Probability that voxels of a slab are wall.

    Parameters
    ----------
    slab
        (z, y, x) greys, NumPy or CuPy, with `slices_around` its core as far as the volume goes.
    z0
        First slice of the slab in the volume.
    core
        Slices [start, stop) of the slab that are wanted.
    shape
        Of the whole volume.
    light
        Of the whole volume, as from `fit_light`.
    rows_per_slice
        Cotangent of the column angle times dz / dy.
    upwards
        Whether light runs up the rows instead of down.
    seen
        Called with slices, rows and columns of the slab, gives a mask of them that is false where nothing is known.

    Returns
    -------
    probability
        (stop − start, y, x) float32, the same kind of array; the same for any slab that holds those slices.
    """
    xp, trees = namespace(slab), shipped_forest().forest
    out = xp.empty((core[1] - core[0], *slab.shape[1:]), xp.float32)
    first, last = z0 + core[0], z0 + core[1]
    turn = slice(None, None, -1 if upwards else 1)
    for tile in tiles_of(shape, (first, last), rows_per_slice):
        slices, rows, columns = tile.within(z0)
        window = slices, _turned(rows, shape[1]) if upwards else rows, columns
        known = None if seen is None else seen(window)[:, turn]
        features = shine_features(slab[window][:, turn], tile.core, light, rows_per_slice, known)
        walls = forest_probabilities(features, trees)[1][:, turn]
        (a, b), (y0, y1), across = tile.voxels
        kept = slice(max(a, first), min(b, last))
        down = _turned(slice(y0, y1), shape[1]) if upwards else slice(y0, y1)
        out[kept.start - first : kept.stop - first, down, slice(*across)] = walls[kept.start - a : kept.stop - a]
    return out


def _turned(rows: slice, height: int) -> slice:
    return slice(height - rows.stop, height - rows.start)


def segment_shine_through(volume: Array, rows_per_slice: float, *, seen: Array | None = None) -> Array:
    """Label open pores 0 and walls 1 in a volume whose back walls shine through its pores.

    Parameters
    ----------
    volume
        (z, y, x) greys in the frame of the specimen, NumPy or CuPy.
    rows_per_slice
        Cotangent of the column angle times dz / dy.
    seen
        Same shape; false where nothing is known.

    Returns
    -------
    labels
        (z, y, x) uint8, `OUTSIDE` where not seen; the same kind of array.

    Warns
    -----
    UserWarning
        The volume lies outside of what the forest was trained on.

    Raises
    ------
    InputError
        The volume shows one grey only.

    References
    ----------
    M. Salzer et al., Mater. Charact. 69 (2012) 115; C. Fend et al., J. Microsc. 281 (2021) 127 (training on simulated
    structures).
    """
    volume = as_array(volume)
    xp, whole = namespace(volume), (0, len(volume))
    fit = fit_light([sample_rays(volume, 0, whole, volume.shape, rows_per_slice, seen)])
    labels = xp.empty(volume.shape, xp.uint8)
    known = None if seen is None else seen.__getitem__
    walls = wall_probability(volume, 0, whole, volume.shape, fit.light, rows_per_slice, upwards=fit.upwards, seen=known)
    labels[:] = walls > 0.5
    if seen is not None:
        labels[~seen] = OUTSIDE
    share = float((labels == 1).sum()) / max(1, int((labels != OUTSIDE).sum()))
    for doubt in shipped_forest().doubts(fit, rows_per_slice, share):
        warnings.warn(doubt, stacklevel=3)
    return labels
