"""Labels of a slab by a forest, with what the probabilities say of them, slice by slice."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.backend.array import namespace, to_host
from fibtomo.core.volume import OUTSIDE
from fibtomo.ops.forest_inference import uncertainty
from fibtomo.ops.forest_recipe import Greys, Volume, VoxelNm
from fibtomo.ops.forest_tiles import answers
from fibtomo.ops.pixel_forest import PixelForest, doubts_on_strangers

Array = Any
Sums = dict[str, NDArray[np.float64]]


def labelled(
    forest: PixelForest,
    block: Array,
    voxel_nm: VoxelNm,
    greys: Sequence[Greys],
    spans: NDArray[np.int64] | None,
    slices: tuple[int, int],
    z0: int = 0,
) -> tuple[Array, Sums]:
    """Phases of some slices of a block and, for each of its slices, sums over the voxels seen.

    Parameters
    ----------
    forest
        The forest.
    block
        (z, y, x) greys in memory.
    voxel_nm, greys, spans
        See `answers`.
    slices
        Those asked about; the others are left 255, their sums 0.
    z0
        Number of the block's first slice in its volume; decides which voxels are sampled for "strange".

    Returns
    -------
    labels
        (z, y, x) uint8, 255 where nothing was seen.
    sums
        Arrays (z, classes): "labels" voxels of each phase, "misassigned" those expected to be in it wrongly plus those
        expected to be in another one wrongly; (z,): "uncertainty", sum of the entropy, 0 to 1; (z, 2): "strange" voxels
        far from all that was scribbled on, and those looked at.
    """
    volume, xp = Volume(block), namespace(block)
    labels = xp.full(block.shape, OUTSIDE, np.uint8)
    classes = len(forest.classes)
    sums = {
        "labels": np.zeros((len(block), classes)),
        "misassigned": np.zeros((len(block), classes)),
        "uncertainty": np.zeros(len(block)),
        "strange": np.zeros((len(block), 2)),
    }
    for answer in answers(forest.learned.forest, forest.recipe, volume, voxel_nm, greys, spans, slices):
        here, found = answer.window[0], answer.probabilities.argmax(axis=0).astype(np.uint8)
        if answer.seen is not None:
            found = xp.where(answer.seen, found, np.uint8(OUTSIDE))
        labels[answer.window] = found
        for name, values in sums_of(answer.probabilities, found, answer.seen).items():
            sums[name][here] += values
        sums["strange"][here] += forest.strangers(answer, z0)
    return labels, sums


def sums_of(probabilities: Array, found: Array, seen: Array | None) -> Sums:
    """Sums of `labelled`, but for "strange", of one block.

    Parameters
    ----------
    probabilities
        (classes, z, y, x).
    found
        (z, y, x) phases, 255 where not seen.
    seen
        (z, y, x), or ``None`` where every voxel is.
    """
    xp, plane = namespace(found), (1, 2)
    p, doubt = probabilities, uncertainty(probabilities)
    if seen is not None:
        p, doubt = p * seen, doubt * seen
    counts, wrong = [], []
    for k in range(len(p)):
        mine = found == k
        inside = mine.sum(axis=plane)
        counts.append(inside)
        wrong.append(
            inside + p[k].sum(axis=plane, dtype=np.float64) - 2 * (p[k] * mine).sum(axis=plane, dtype=np.float64)
        )
    return {
        "labels": to_host(xp.stack(counts, axis=1)),
        "misassigned": to_host(xp.stack(wrong, axis=1)),
        "uncertainty": to_host(doubt.sum(axis=plane, dtype=np.float64)),
    }


def fraction_sigma(sums: Sums) -> list[float]:
    """Uncertainty of each phase's volume fraction: half the share of voxels expected to be misassigned.

    Of the voxels that are expected to be in a phase wrongly, and in another one wrongly though of this phase, the
    fraction is off by at most the larger number and by nothing if both are equal; half their sum lies between.

    Examples
    --------
    >>> fraction_sigma({"labels": np.array([[6, 4]]), "misassigned": np.array([[1.0, 1.0]])})
    [0.05, 0.05]
    """
    total = np.asarray(sums["labels"]).sum()
    return (np.asarray(sums["misassigned"]).sum(axis=0) / (2 * max(total, 1))).tolist()


def summary(sums: Sums) -> dict[str, Any]:
    """Mean uncertainty (0 to 1), uncertainty of the fractions, share of strange voxels, and what to think of them."""
    total = max(float(np.asarray(sums["labels"]).sum()), 1.0)
    strange, asked = np.asarray(sums.get("strange", np.zeros((1, 2)))).sum(axis=0)
    share = float(strange / max(asked, 1))
    return {
        "mean_uncertainty": float(np.asarray(sums["uncertainty"]).sum() / total),
        "fraction_sigma": fraction_sigma(sums),
        "strange": share,
        "notes": doubts_on_strangers(share),
    }
