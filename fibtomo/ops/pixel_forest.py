"""`PixelForest`: phases learned from a few scribbled voxels."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.backend.array import namespace, to_host
from fibtomo.core.volume import OUTSIDE
from fibtomo.errors import InputError
from fibtomo.ops import forest_file
from fibtomo.ops.features import Kind
from fibtomo.ops.forest_inference import uncertainty
from fibtomo.ops.forest_lessons import as_lessons, channel_names, class_names, edges
from fibtomo.ops.forest_recipe import (
    DEFAULT_KINDS,
    PLAIN,
    Greys,
    Recipe,
    Volume,
    VoxelNm,
    default_sigmas,
    measure_greys,
)
from fibtomo.ops.forest_tiles import Answer, answers
from fibtomo.ops.forest_training import Learned, Progress, accuracy, choose, grow, look
from fibtomo.ops.histogram import row_spans

Array = Any
Edge = float | Sequence[float] | None
MARGIN = 0.5
"""How far beyond the scribbled voxels' features others may lie, over their range, and be known still."""
SAMPLE = 4
"""One voxel in so many along each axis is looked at when strangers are counted."""
STRANGE = 0.05
"""Share of strange voxels that is told."""
TWICE = 2.0
"""Ratio of voxel sizes that is told."""


@dataclass(frozen=True, eq=False)
class PixelForest:
    """A random forest that tells phases of voxels from their surroundings; made by `train` or `load`.

    Attributes
    ----------
    recipe
        Features that it looks at.
    learned
        Its trees, and what is known of how well they do.
    classes
        Names of the phases, from 0.
    values
        Number in the scribbles of each phase.
    drawn, used
        Scribbled voxels of each phase, and those that it learned from.
    greys
        (volumes, channels, 2): 1 and 99 % of the greys of the volumes that it learned from.
    """

    recipe: Recipe
    learned: Learned
    classes: tuple[str, ...]
    values: tuple[int, ...]
    drawn: tuple[int, ...]
    used: tuple[int, ...]
    greys: NDArray[np.float64]

    @classmethod
    def train(
        cls,
        volume: Any,
        labels: Any,
        *,
        voxel_nm: Edge | Sequence[Edge] = None,
        sigmas_nm: Sequence[float] | None = None,
        kinds: Sequence[Kind] = DEFAULT_KINDS,
        dimensions: int = 3,
        trees: int = 100,
        depth: int = 14,
        leaf: int = 4,
        per_class: int = 10_000,
        balance: bool = True,
        classes: Sequence[str] | None = None,
        channels: Sequence[str] | None = None,
        mask: Any = None,
        normalise: bool = True,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> "PixelForest":
        """Learn from scribbles.

        Features are made around the scribbled voxels only, so that volumes may be lazy and of any size.

        Parameters
        ----------
        volume
            (z, y, x) or (c, z, y, x) greys: NumPy, CuPy, dask, Zarr, HDF5 or a `Stack`; or a list of them.
        labels
            (z, y, x) whole numbers of the same shape, as napari draws them: 0 is not labelled, the other numbers, in
            ascending order, are phases 0, 1, ...; a list where `volume` is one.
        voxel_nm
            (dz, dy, dx) or one edge, nm, a list of them where they differ; ``None``: the `Stack`'s, else one voxel is
            taken as the unit of length.
        sigmas_nm
            Scales of the features, nm, ascending; by default 0.7, 1.4, 2.8 and 5.6 pixels of the first volume.
        kinds, dimensions
            See `feature_bank`; 2 looks at each slice by itself.
        trees, depth, leaf
            Number of trees, deepest leaf, and fewest voxels in one.
        per_class
            Most voxels of each class that are learned from, chosen by chance.
        balance
            Whether all classes weigh the same however much of each is scribbled.
        classes, channels
            Their names.
        mask
            (z, y, x) voxels that were seen, or a list of them.
        normalise
            Whether greys are measured in units of the volume's own 1 and 99 % (of the whole volume, scribbled or
            not), so that the forest knows other volumes of the same material whatever their gain and offset.
        seed
            Of all chance.
        progress
            Called with the tiles done, and all of them.

        Returns
        -------
        PixelForest
            The same for the same input, whatever the number of threads.

        Raises
        ------
        InputError
            Volume, labels or options cannot be used.

        References
        ----------
        L. Breiman, Mach. Learn. 45 (2001) 5, doi:10.1023/A:1010933404324; S. Berg et al., Nat. Methods 16 (2019) 1226,
        doi:10.1038/s41592-019-0582-9 (scribbles and features).

        Examples
        --------
        >>> rng = np.random.default_rng(0)
        >>> truth = np.arange(40)[:, None] // 10 % 2 * np.ones((8, 40, 40), int)
        >>> grey = 100 + 20 * truth + rng.normal(0, 20, truth.shape)
        >>> scribbles = np.where(rng.random(truth.shape) < 0.02, truth + 1, 0)
        >>> forest = PixelForest.train(grey, scribbles, voxel_nm=10, trees=20)
        >>> float(np.mean(forest.predict(grey) == truth)) > 0.95
        True
        """
        if min(trees, depth, leaf, per_class, seed + 1) < 1:
            raise InputError(
                f"trees = {trees}, depth = {depth}, leaf = {leaf} and per_class = {per_class} must be positive, seed = "
                f"{seed} not negative"
            )
        lessons, unit = as_lessons(volume, labels, voxel_nm, mask, normalise)
        recipe = Recipe(
            tuple(float(s) for s in (default_sigmas(lessons[0].voxel_nm) if sigmas_nm is None else sigmas_nm)),
            tuple(kinds),
            dimensions,
            channel_names(channels, lessons),
            lessons[0].voxel_nm,
            unit,
            normalise,
        )
        for lesson in lessons:
            recipe.check(lesson.voxel_nm)
        scribbles = choose(lessons, per_class, seed)
        values = tuple(scribbles.drawn)
        features = look(lessons, scribbles, recipe, progress)
        own = np.searchsorted(values, scribbles.labels)
        learned = grow(features, own, scribbles, seed, trees=trees, depth=depth, leaf=leaf, balance=balance)
        return cls(
            recipe,
            learned,
            class_names(classes, values),
            values,
            tuple(scribbles.drawn.values()),
            tuple(np.bincount(own).tolist()),
            np.array([lesson.greys for lesson in lessons], dtype=np.float64),
        )

    @property
    def importance(self) -> list[tuple[str, float]]:
        """Features with their mean decrease in impurity (sum 1), the most important first."""
        order = np.argsort(-self.learned.importance, kind="stable")
        names = self.recipe.names
        return [(names[k], float(self.learned.importance[k])) for k in order]

    @property
    def accuracies(self) -> list[dict[str, Any]]:
        """Per class: name, scribbled voxels, used ones, and the shares found right, which are optimistic out of bag.

        "out_of_bag" asks trees that did not learn from a voxel but from its neighbours; "apart" asks trees that learned
        from nothing within some 24 voxels: NaN where scribbles are too few to leave some out.
        """
        rows = zip(
            *(self.classes, self.drawn, self.used),
            *(accuracy(self.learned.out_of_bag), accuracy(self.learned.apart)),
            strict=True,
        )
        keys = ("class", "drawn", "used", "out_of_bag", "apart")
        return [dict(zip(keys, (*row[:3], float(row[3]), float(row[4])), strict=True)) for row in rows]

    def predict(self, volume: Any, voxel_nm: Edge = None, **options: Any) -> Array:
        """Phases of all voxels.

        Parameters
        ----------
        volume
            (z, y, x) or (c, z, y, x), NumPy, CuPy or lazy; NaN counts as not seen.
        voxel_nm
            Its (dz, dy, dx) or edge, nm; by default the `Stack`'s, else that of the training.
        options
            ``greys``: (channels, 2) that become 0 and 1, by default the volume's own 1 and 99 %: to be given for a part
            of a volume, see `measure`. ``valid_boxes``: see `segment`. ``out``: array to write to, of any kind.

        Returns
        -------
        Array
            (z, y, x) uint8 on the same device, 255 where nothing was seen.

        Raises
        ------
        InputError
            The volume has other channels, or voxels too coarse or too fine for the scales.
        """
        return self._filled(volume, voxel_nm, (), np.uint8, OUTSIDE, _most_likely, **options)

    def probabilities(self, volume: Any, voxel_nm: Edge = None, **options: Any) -> Array:
        """Class probabilities (classes, z, y, x) float32, 0 where nothing was seen; see `predict`."""
        return self._filled(volume, voxel_nm, (len(self.classes),), np.float32, 0, lambda p: p, **options)

    def uncertainty(self, volume: Any, voxel_nm: Edge = None, **options: Any) -> Array:
        """Entropy of the class probabilities, 0 to 1 (all classes alike), float32; see `predict`."""
        return self._filled(volume, voxel_nm, (), np.float32, 0, uncertainty, **options)

    def outside(self, volume: Any, voxel_nm: Edge = None, **options: Any) -> float:
        """Share of the voxels with a feature far beyond those of the scribbled ones; see `predict`.

        Voxels of one of 64 are looked at. A large share says that the forest guesses: scribble on this volume too.
        """
        found = np.zeros(2)
        for answer in self._answers(volume, voxel_nm, **options):
            found += self.strangers(answer).sum(axis=0)
        return float(found[0] / max(found[1], 1))

    def doubts(self, volume: Any, voxel_nm: Edge = None, **options: Any) -> list[str]:
        """Sentences on what is so different in this volume that the forest may fail; see `outside`."""
        return [
            *self.doubts_on_voxels(self._voxel(volume, voxel_nm)),
            *doubts_on_strangers(self.outside(volume, voxel_nm, **options)),
        ]

    def doubts_on_voxels(self, voxel_nm: VoxelNm) -> list[str]:
        """A sentence where voxels are of quite another size than those that were learned from."""
        ratio = float(np.prod(voxel_nm) / np.prod(self.recipe.voxel_nm)) ** (1 / 3)
        if 1 / TWICE <= ratio <= TWICE:
            return []
        told = f"voxels are {ratio:.2g} times those that the forest learned from: it sees the same nanometres, but "
        return [f"{told}other noise and sharpness; train at this voxel size"]

    def measure(self, volume: Any) -> list[Greys]:
        """Greys of each channel that become 0 and 1: the volume's own 1 and 99 %, or none at all."""
        found = Volume.of(volume)
        return measure_greys(found) if self.recipe.normalised else [PLAIN] * found.channels

    def check(self, channels: int, voxel_nm: VoxelNm, unit: str) -> None:
        """Whether volumes like this can be asked about.

        Raises
        ------
        InputError
            They cannot.
        """
        if channels != len(self.recipe.channels):
            own = ", ".join(name or "grey" for name in self.recipe.channels)
            raise InputError(f"the forest learned from {len(self.recipe.channels)} channels ({own}), not {channels}")
        if unit != self.recipe.unit:
            raise InputError(
                f"the forest learned in {self.recipe.unit} and the volume is in {unit}: give the voxel size "
                f"of both, or of none"
            )
        self.recipe.check(voxel_nm)

    def strangers(self, answer: Answer, z0: int = 0) -> NDArray[np.float64]:
        """(slices, 2): voxels with a feature far beyond those of scribbled ones, and voxels looked at.

        `z0` is the number of the first slice of the block that was asked about.
        """
        z, y, x = answer.window
        every = tuple(slice(-first % SAMPLE, None, SAMPLE) for first in (z.start + z0, y.start, x.start))
        part, xp = answer.features[:, *every], namespace(answer.features)
        low, high = self.learned.low, self.learned.high
        room = np.float32(MARGIN) * (high - low)
        limits = [xp.asarray(limit)[:, None, None, None] for limit in (low - room, high + room)]
        strange = ((part < limits[0]) | (part > limits[1])).any(axis=0)
        asked = xp.ones(strange.shape, bool) if answer.seen is None else answer.seen[every]
        counts = xp.stack([(strange & asked).sum(axis=(1, 2)), asked.sum(axis=(1, 2))], axis=1)
        out = np.zeros((z.stop - z.start, 2))
        out[every[0]] = to_host(counts)
        return out

    def save(self, path: str | Path) -> None:
        """Write one ``.npz`` without pickle, with a JSON header."""
        facts = {key: getattr(self, key) for key in (*forest_file.FACTS, "greys")}
        forest_file.write(Path(path), self.recipe, self.learned, facts)

    @classmethod
    def load(cls, path: str | Path) -> "PixelForest":
        """Read what `save` wrote.

        Raises
        ------
        InputError
            The file is missing, damaged, of something else, or of a later version.
        """
        recipe, learned, facts = forest_file.read(Path(path))
        return cls(recipe, learned, **facts)

    def _voxel(self, volume: Any, voxel_nm: Edge) -> VoxelNm:
        return edges(voxel_nm) or edges(getattr(volume, "voxel_nm", None)) or self.recipe.voxel_nm

    def _answers(
        self, volume: Any, voxel_nm: Edge, *, greys: Sequence[Greys] | None = None, valid_boxes: Any = None
    ) -> Iterator[Answer]:
        voxel, found = self._voxel(volume, voxel_nm), Volume.of(volume)
        self.check(found.channels, voxel, self.recipe.unit if voxel == self.recipe.voxel_nm else "nm")
        spans = None if valid_boxes is None else row_spans(valid_boxes, found.shape)
        return answers(self.learned.forest, self.recipe, found, voxel, greys or self.measure(found.data), spans)

    def _filled(
        self, volume: Any, voxel_nm: Edge, lead: tuple[int, ...], dtype: Any, nothing: int, what: Any,
        *, out: Any = None, **options: Any,
    ) -> Array:  # fmt: skip
        found = Volume.of(volume)
        xp = namespace(found.data)
        whole = xp.full((*lead, *found.shape), nothing, dtype) if out is None else out
        for answer in self._answers(volume, voxel_nm, **options):
            told = what(answer.probabilities)
            if answer.seen is not None:
                told = xp.where(answer.seen, told, told.dtype.type(nothing))
            whole[(..., *answer.window)] = told
        return whole


def doubts_on_strangers(share: float) -> list[str]:
    """A sentence where many voxels are far from all that was scribbled on."""
    if share <= STRANGE:
        return []
    return [f"{share:.0%} of the voxels look like none that the forest learned from: scribble on this volume as well"]


def _most_likely(probabilities: Array) -> Array:
    return probabilities.argmax(axis=0).astype(np.uint8)
