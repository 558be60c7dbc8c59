"""What a pixel forest learns from: volumes with scribbles, brought to one form and checked."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fibtomo.errors import InputError
from fibtomo.ops.forest_recipe import PLAIN, Greys, Volume, VoxelNm, measure_greys


@dataclass(frozen=True)
class Lesson:
    """One volume with its scribbles.

    Attributes
    ----------
    volume
        Greys.
    labels
        (z, y, x) of anything that gives slices as whole numbers; 0: not labelled.
    voxel_nm, greys
        Of this volume.
    mask
        (z, y, x) voxels that were seen, or ``None``: all.
    """

    volume: Volume
    labels: Any
    voxel_nm: VoxelNm
    greys: list[Greys]
    mask: Any = None


def edges(voxel_nm: Any) -> VoxelNm | None:
    """(dz, dy, dx) of one edge or three."""
    if voxel_nm is None:
        return None
    z, y, x = (float(v) for v in np.broadcast_to(np.asarray(voxel_nm, dtype=float), 3))
    if min(z, y, x) <= 0:
        raise InputError(f"voxel_nm = {voxel_nm} must be positive")
    return z, y, x


def as_lessons(volume: Any, labels: Any, voxel_nm: Any, mask: Any, normalise: bool) -> tuple[list[Lesson], str]:
    """Pair volumes with their scribbles; returns them and the unit of lengths, "nm" or "voxel"."""
    volumes, drawn = (list(a) if isinstance(a, list | tuple) else [a] for a in (volume, labels))
    masks = list(mask) if isinstance(mask, list | tuple) else [mask] * len(volumes)
    several = isinstance(voxel_nm, list | tuple) and any(v is None or np.ndim(v) for v in voxel_nm)
    voxels = list(voxel_nm) if several else [voxel_nm] * len(volumes)
    if not len(volumes) == len(drawn) == len(masks) == len(voxels):
        raise InputError(f"{len(volumes)} volumes need as many labels ({len(drawn)}), masks and voxel sizes")
    known = [edges(v) or edges(getattr(data, "voxel_nm", None)) for v, data in zip(voxels, volumes, strict=True)]
    if None in known and any(known):
        raise InputError("some volumes have a voxel size and some have none: give voxel_nm for all of them")
    lessons = []
    for data, scribbles, edge, seen in zip(volumes, drawn, known, masks, strict=True):
        found = Volume.of(data)
        greys = measure_greys(found) if normalise else [PLAIN] * found.channels
        lessons.append(Lesson(found, scribbles, edge or (1.0, 1.0, 1.0), greys, seen))
    if len({lesson.volume.channels for lesson in lessons}) > 1:
        raise InputError(f"volumes differ in channels: {[lesson.volume.channels for lesson in lessons]}")
    return lessons, "nm" if all(known) else "voxel"


def channel_names(channels: Sequence[str] | None, lessons: list[Lesson]) -> tuple[str, ...]:
    """Names of the channels: the given ones, or numbers."""
    count = lessons[0].volume.channels
    if channels is not None and (len(channels) != count or len(set(channels)) != count):
        raise InputError(f"{count} channels need as many different names, not {list(channels)}")
    return tuple(channels or ([""] if count == 1 else [f"channel {k}" for k in range(count)]))


def class_names(names: Sequence[str] | None, values: tuple[int, ...]) -> tuple[str, ...]:
    """Names of the phases: the given ones, or numbers."""
    if names is not None and len(names) != len(values):
        raise InputError(f"{len(names)} names were given for {len(values)} classes, whose labels are {list(values)}")
    return tuple(names or (f"phase {k}" for k in range(len(values))))
