"""Clean-up of phase labels by physical size: islands given to what surrounds them, holes filled.

Connected regions of every phase are those of the whole volume, joined over slabs, so an island is judged by its whole
size wherever the volume was cut. What lies at the border of the volume, or of what was seen, may go on beyond it: such
islands stay unless `keep_border` is off, and such holes are never filled.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import pi
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fibtomo.backend.array import as_array, like, namespace, to_host
from fibtomo.backend.kernels import twin
from fibtomo.core.volume import OUTSIDE, Table, VoxelNm
from fibtomo.errors import InputError
from fibtomo.ops.labels import (
    Components,
    Connectivity,
    apply_lut,
    full_boxes,
    join_components,
    label_slab,
    partial_of_labels,
    unpacked,
)
from fibtomo.ops.morphometry import as_scale
from fibtomo.ops.regions import Regions, counted_pairs, summed_faces

HolePolicy = Literal["none", "enclosed", "slice"]


@dataclass(frozen=True)
class CleanRule:
    """What is cleaned; lengths in nm, or in voxels where the scale is unknown.

    Attributes
    ----------
    min_volume_nm3, min_diameter_nm
        Smaller islands go: one number for all phases, or one for each from phase 0; the diameter is that of a ball of
        the same volume. Empty: none go.
    fill_holes
        "none"; "enclosed": what a phase surrounds in three dimensions; "slice": what it surrounds in a slice.
    fill_phases
        Phases whose holes are filled, in this order.
    max_hole_nm3
        Largest enclosed hole that is filled; ``None``: any.
    connectivity
        6, 18 or 26: voxels of one phase that hang together. What surrounds is told by faces.
    keep_border
        Whether islands at the border stay.
    """

    min_volume_nm3: tuple[float, ...] = ()
    min_diameter_nm: tuple[float, ...] = ()
    fill_holes: HolePolicy = "none"
    fill_phases: tuple[int, ...] = ()
    max_hole_nm3: float | None = None
    connectivity: Connectivity = 6
    keep_border: bool = True

    def least_volumes(self, phases: int) -> NDArray[np.float64]:
        """Least volume of an island of each phase.

        Raises
        ------
        InputError
            There are neither one nor as many numbers as phases.
        """
        least = np.zeros(phases)
        for name in ("min_volume_nm3", "min_diameter_nm"):
            given = np.array(getattr(self, name), dtype=np.float64)
            if len(given) not in {0, 1, phases}:
                raise InputError(f"{name} has {len(given)} numbers for {phases} phases: give one, or one for each")
            if len(given):
                least = np.maximum(least, pi / 6 * given**3 if name == "min_diameter_nm" else given)
        return least


def clean_phases(
    phases: Any,
    voxel_nm: float | VoxelNm | None,
    *,
    min_volume_nm3: float | tuple[float, ...] = (),
    min_diameter_nm: float | tuple[float, ...] = (),
    fill_holes: HolePolicy = "none",
    fill_phases: tuple[int, ...] = (),
    max_hole_nm3: float | None = None,
    connectivity: Connectivity = 6,
    keep_border: bool = True,
) -> Any:
    """Remove islands below a physical size and fill holes.

    Holes come first. Then each island smaller than its phase allows takes the phase with which it shares the largest
    surface, neighbours that are to go themselves not counted; what had no other neighbour follows when these are done.

    Parameters
    ----------
    phases
        (z, y, x) uint8 phase labels, 255 outside; numpy or cupy.
    voxel_nm
        Voxel size, one number or (dz, dy, dx); ``None``: lengths are in voxels.
    min_volume_nm3, min_diameter_nm, fill_holes, fill_phases, max_hole_nm3, connectivity, keep_border
        As in `CleanRule`.

    Returns
    -------
    phases
        (z, y, x) uint8, the same kind of array.

    Raises
    ------
    InputError
        Not three axes, or the sizes do not fit the phases.

    Examples
    --------
    >>> phases = np.zeros((3, 5, 5), np.uint8)
    >>> phases[:, :, 3:] = 1
    >>> phases[1, 2, 1] = 1
    >>> int(clean_phases(phases, 10.0, min_volume_nm3=2000.0)[1, 2, 1])
    0
    """
    phases = as_array(phases)
    if phases.ndim != 3 or 0 in phases.shape:
        raise InputError(f"phases of shape {phases.shape} must have three axes (z, y, x), none of them empty")
    sizes = (np.atleast_1d(min_volume_nm3).tolist(), np.atleast_1d(min_diameter_nm).tolist())
    rule = CleanRule(tuple(sizes[0]), tuple(sizes[1]), fill_holes, fill_phases, max_hole_nm3, connectivity, keep_border)
    scale, _ = as_scale(voxel_nm)
    table = cleaned([slab_regions(phases, rule, 0, len(phases))], rule, scale)
    return apply_clean(phases, rule, np.asarray(table["lut"]))


def slab_regions(phases: Any, rule: CleanRule, z0: int, nz: int) -> Table:
    """Regions of one slab, their contacts and what else joins them to the whole; `z0`, `nz` as in `slab_components`."""
    from fibtomo.ops._contact_kernels import count_contacts

    classes, labels, n = _regions(phases, rule)
    ends, faces = count_contacts(to_host(labels))
    return {
        **partial_of_labels(labels, n, full_boxes(phases.shape), z0, nz, classes),
        "ends": ends - 1,
        "faces": faces,
    }


def _regions(phases: Any, rule: CleanRule) -> tuple[Any, Any, int]:
    """Classes (phase + 1; 255 outside) with slice holes filled, their regions in raster order, and how many."""
    if rule.fill_holes == "slice":
        phases = _filled_slices(phases, rule.fill_phases)
    classes = namespace(phases).where(phases == OUTSIDE, phases, phases + np.uint8(1))
    labels, n = label_slab(classes, rule.connectivity)
    return classes, twin(__package__, "label", like=labels).in_raster_order(labels, n), n


def _filled_slices(phases: Any, fill_phases: Sequence[int]) -> Any:
    """Give each phase what it surrounds within a slice; done on the host."""
    from scipy.ndimage import binary_fill_holes

    filled = to_host(phases).copy()
    for plane in filled:
        for phase in fill_phases:
            own = plane == phase
            plane[binary_fill_holes(own) & ~own & (plane != OUTSIDE)] = phase
    return like(phases, filled)


def cleaned(partials: Sequence[Table], rule: CleanRule, scale: VoxelNm) -> Table:
    """Join the regions of consecutive slabs and decide the new phase of each.

    Returns
    -------
    table
        ``lut``: new phase of every local region, slab after slab; ``slab_starts``, ``offsets`` to find a slab's part;
        ``islands``, ``holes``: how many changed; ``voxels``: how many voxels of them.
    """
    found = join_components(partials, rule.connectivity)
    ends, faces = _contacts(found, partials)
    old = np.where(found.classes == OUTSIDE, OUTSIDE, found.classes - 1).astype(np.uint8)
    border = np.zeros(len(old), dtype=bool)
    for a, b in (ends.T, ends.T[::-1]):
        border[a[old[b] == OUTSIDE]] = True
    border |= found.column("touches") != 0
    regions = Regions(old.copy(), found.column("voxels"), border, ends, faces)
    voxel = float(np.prod(scale))
    holes = 0
    if rule.fill_holes == "enclosed":
        most = np.inf if rule.max_hole_nm3 is None else rule.max_hole_nm3 / voxel
        holes = sum(regions.fill(phase, most) for phase in rule.fill_phases)
    count = int(old[old != OUTSIDE].max(initial=0)) + 1
    least = rule.least_volumes(max(count, len(rule.min_volume_nm3), len(rule.min_diameter_nm))) / voxel
    islands = regions.remove(least, scale, rule.keep_border)
    return {
        "lut": regions.phase[found.lut.astype(np.int64) - 1],
        "slab_starts": found.starts,
        "offsets": found.offsets,
        "islands": islands,
        "holes": holes,
        "voxels": int(regions.voxels[regions.phase != old].sum()),
    }


def apply_clean(phases: Any, rule: CleanRule, lut: NDArray[np.uint8]) -> Any:
    """Give the regions of one slab the phases in `lut`."""
    _, labels, _ = _regions(phases, rule)
    return apply_lut(labels, lut).astype(np.uint8)


def _contacts(found: Components, partials: Sequence[Table]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Contacts (c, 2) of all regions counted from 0, within slabs and between them, and their (c, 3) faces."""
    ends, faces = [], []
    for k, partial in enumerate(partials):
        ends.append(found.lut[partial["ends"] + found.offsets[k]])
        faces.append(partial["faces"])
    for k, (below, above) in enumerate(pairwise(partials)):
        lower = unpacked(below, "upper_plane").ravel() + (found.offsets[k] - 1)
        upper = unpacked(above, "lower_plane").ravel() + (found.offsets[k + 1] - 1)
        pairs = np.stack([found.lut[lower], found.lut[upper]], axis=1).astype(np.int64)
        pairs, counts = counted_pairs(pairs)
        ends.append(pairs)
        faces.append(counts[:, None] * np.array([1, 0, 0]))
    return summed_faces(np.concatenate(ends).astype(np.int64) - 1, np.concatenate(faces))
