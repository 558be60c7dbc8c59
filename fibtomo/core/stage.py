"""What a stage is, what it needs, and the registry that knows them all.

A stage is one or two plain functions and a declaration; it never reads files, never schedules, never changes
its input. The planner gets everything it needs from `Needs` and `VolumeSpec`, never from pixels.
"""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from importlib.metadata import entry_points
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.core.params import Params
from fibtomo.core.volume import Calibration, Shape, Table, VolumeSpec
from fibtomo.errors import PipelineError


class Kind(StrEnum):
    """How a stage may be cut into blocks."""

    SLICE = "slice"
    """Slices are independent: any slab may be processed alone."""
    SLAB = "slab"
    """Needs neighbours along z (its halo), which are trimmed afterwards."""
    REDUCE = "reduce"
    """Each slab leaves a small partial; `combine` makes one table of them, in z order. An `apply` beside it gets
    exactly the slabs that were measured, each with the halo that it needs, and returns its own slices only."""
    WARP = "warp"
    """Makes a new grid: asks which source slices an output slab needs."""


@dataclass(frozen=True)
class Needs:
    """What the planner must know of one stage with given parameters.

    Parameters
    ----------
    halo
        Neighbouring slices (before, after) that `apply` needs.
    measure_halo
        Neighbouring slices (before, after) that `measure` needs.
    bytes_per_voxel
        Peak bytes of temporaries and output per voxel of the block, its input not counted.
    fixed_bytes
        Peak bytes of temporaries that do not grow with the block.
    halo_bytes_per_voxel
        Bytes per voxel of the halo, where it takes less than the block's own slices; ``None``: as much.
    """

    halo: tuple[int, int] = (0, 0)
    measure_halo: tuple[int, int] = (0, 0)
    bytes_per_voxel: float = 8.0
    fixed_bytes: float = 0.0
    halo_bytes_per_voxel: float | None = None


@dataclass(frozen=True)
class StageContext:
    """What a stage function is told besides its block and parameters.

    Attributes
    ----------
    spec
        The whole volume the block was cut from (for WARP: the source volume).
    z0
        Index in that volume of the block's first slice.
    core
        Range inside the block (start, stop) that this task answers for; the rest is halo.
    tables
        Tables of earlier stages by role ("drift", "threshold", ...); a stage's own `combine` result stands
        under its role too.
    calibration
        Scale and angles of the acquisition, with origins.
    out_spec, out_z
        For WARP: the target grid, and the range of its slices (start, stop) to make.
    notes
        What `apply` found on each slice of the block, arrays (slices,) by name; see `StageDef.notes`.
    channels
        The other channels of the block by name, arrays of its shape, for stages with `StageDef.sees_channels`.
    """

    spec: VolumeSpec
    z0: int = 0
    core: tuple[int, int] = (0, 0)
    tables: dict[str, Table] = field(default_factory=dict)
    calibration: Calibration = field(default_factory=Calibration)
    out_spec: VolumeSpec | None = None
    out_z: tuple[int, int] = (0, 0)
    notes: Table = field(default_factory=dict)
    channels: dict[str, Any] = field(default_factory=dict)

    @property
    def core_slices(self) -> slice:
        """`core` as a slice to cut the block with."""
        return slice(*self.core)

    def shown(self, slices: int) -> NDArray[np.integer[Any]] | None:
        """What the block's slices show, as boxes or row by row, or ``None`` if every voxel was seen."""
        valid = self.tables.get("valid")
        return None if valid is None else np.asarray(valid.get("spans", valid["boxes"]))[self.z0 : self.z0 + slices]


Apply = Callable[[Any, Any, StageContext], Any]
Measure = Callable[[Any, Any, StageContext], Table]
Combine = Callable[[Sequence[Table], Any, StageContext], Table]
OutSpec = Callable[[Any, StageContext], VolumeSpec]
SideTables = Callable[[Any, StageContext], dict[str, Table]]
SourceRange = Callable[[Any, StageContext], tuple[int, int]]
Check = Callable[[Any, VolumeSpec], None]
Files = Callable[[Any], tuple[str, ...]]


@dataclass(frozen=True)
class StageDef:
    """Declaration of one stage.

    Parameters
    ----------
    name
        "family.method", as written in YAML.
    kind, params, needs
        How it may be cut, its `Params` class, and ``needs(params, spec) -> Needs``.
    apply
        ``apply(block, params, ctx) -> block``: the same kind of array, never the same memory.
    measure, combine
        ``measure(block, params, ctx) -> partial`` per slab and ``combine(partials, params, ctx) -> table`` on the
        host; a stage with `apply` as well runs as two passes over the same slabs, and finds its table under
        ``ctx.tables[produces]``.
    out_spec
        ``out_spec(params, ctx)``: spec of what `apply` returns; by default the input's, with kind `makes`.
    source_range
        WARP only: source slices [a, b) that ``ctx.out_z`` needs.
    side_tables
        WARP only: tables by role that follow from the target grid (``"valid"``, ``"grid"``).
    check
        ``check(params, spec)`` raises what can be known to be wrong before any work, beside what `needs` finds.
    files
        ``files(params)``: paths of files beside the stack on which the result depends; what they hold belongs to the
        identity of a run.
    consumes, makes
        Kind of volume read and made: "grey", "phases" or "objects".
    produces
        Role of the table that `combine` returns.
    notes
        Role of the table of ``ctx.notes``, over all slices, of a SLICE or SLAB stage; the second stage of a pipeline
        that notes the same has the role with "_2" added.
    requires, optional
        Roles of earlier tables that must, or may, be there.
    late
        Roles of earlier tables that `combine` alone may read: the stage measures in the same pass as those that
        make them.
    sees_channels
        Whether it looks at all channels at once: its functions find the others in ``ctx.channels``, and what they are
        in ``spec.channels``.
    refines
        Whether `combine` replaces the table that an earlier stage of the same pass made, and reads it first.
    apart
        Whether it works in passes of its own over what earlier stages wrote, because its halo is wide and they would
        compute it over and over, or it would for those that measure its result.
    citation, version
        Paper of the method; number that changes when its results change.
    """

    name: str
    kind: Kind
    params: type[Params]
    needs: Callable[[Any, VolumeSpec], Needs]
    apply: Apply | None = None
    measure: Measure | None = None
    combine: Combine | None = None
    out_spec: OutSpec | None = None
    source_range: SourceRange | None = None
    side_tables: SideTables | None = None
    check: Check | None = None
    files: Files | None = None
    consumes: str = "grey"
    makes: str = "grey"
    produces: str | None = None
    notes: str | None = None
    requires: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    late: tuple[str, ...] = ()
    sees_channels: bool = False
    refines: bool = False
    apart: bool = False
    citation: str = ""
    version: int = 1

    @property
    def summary(self) -> str:
        """First line of the parameters' docstring."""
        return (self.params.__doc__ or "").strip().splitlines()[0]


_REGISTRY: dict[str, StageDef] = {}
_BUILTIN = "fibtomo.builtin_stages"


def register(definition: StageDef) -> StageDef:
    """Add a stage; a second stage of the same name is an error.

    Raises
    ------
    PipelineError
        The name is taken or the declaration contradicts its kind.
    """
    d = definition
    if d.name in _REGISTRY:
        raise PipelineError(f"stage '{d.name}' is registered twice")
    if (d.measure is None) != (d.combine is None) or (d.apply is None and d.measure is None):
        raise PipelineError(f"stage '{d.name}' needs apply, or measure together with combine")
    if d.measure is not None and d.produces is None:
        raise PipelineError(f"stage '{d.name}' measures but names no table it produces")
    if d.kind is Kind.WARP and (d.out_spec is None or d.source_range is None):
        raise PipelineError(f"stage '{d.name}' is a WARP without out_spec and source_range")
    if d.notes is not None and (d.apply is None or d.kind is Kind.WARP):
        raise PipelineError(f"stage '{d.name}' takes notes of slices but is no SLICE or SLAB stage with apply")
    _REGISTRY[d.name] = d
    return d


@cache
def load_stages() -> None:
    """Import the built-in stages and those other packages offer (entry points ``fibtomo.stages``)."""
    importlib.import_module(_BUILTIN)
    for point in entry_points(group="fibtomo.stages"):
        point.load()


def stage_names() -> list[str]:
    """Names of all registered stages, sorted."""
    load_stages()
    return sorted(_REGISTRY)


def get_stage(name: str) -> StageDef:
    """Return the declaration of stage `name`.

    Raises
    ------
    PipelineError
        There is no such stage; the message lists the nearest names.
    """
    load_stages()
    try:
        return _REGISTRY[name]
    except KeyError:
        from difflib import get_close_matches

        near = get_close_matches(name, _REGISTRY, n=3, cutoff=0.4) or sorted(_REGISTRY)
        raise PipelineError(f"there is no stage '{name}'; did you mean {', '.join(near)}?") from None


def peak_bytes(needs: Needs, shape: Shape) -> float:
    """Peak bytes a stage adds for a block of `shape`."""
    return needs.bytes_per_voxel * shape[0] * shape[1] * shape[2]
