"""From sections and a memory budget to slabs: pure functions, no pixel is read.

The halos of the stages in a section add up and are trimmed once.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from fibtomo.core.resolve import resolve_geometry
from fibtomo.core.stage import Needs, StageContext
from fibtomo.core.volume import Calibration, Table, VolumeSpec, value_range_of
from fibtomo.errors import InputError
from fibtomo.pipeline.budget import Machine, Memory, slab_thickness
from fibtomo.pipeline.config import Call, PipelineConfig
from fibtomo.pipeline.sections import INPUT, Section, build_sections

WARP_SLICES = 8
"""Source slices around a target slice that a resample is at least thought to need."""
LABEL_DTYPES = {"phases": "uint8", "objects": "uint32"}


@dataclass(frozen=True)
class Halo:
    """Slices a section reads before and after each slab, and how each stage's share is trimmed."""

    local: tuple[int, int]
    measure: tuple[int, int]

    @property
    def total(self) -> tuple[int, int]:
        """Sum of both."""
        return self.local[0] + self.measure[0], self.local[1] + self.measure[1]


def needs_of(call: Call, spec: VolumeSpec) -> Needs:
    """What a stage with these parameters needs on a volume like `spec`."""
    return call.stage.needs(call.params, spec)


def halo_of(section: Section, spec: VolumeSpec) -> Halo:
    """Return the summed halo of the local stages and the widest halo of the measures."""
    local = [needs_of(c, spec).halo for c in section.local]
    measure = [needs_of(c, spec).measure_halo for c in section.measures] or [(0, 0)]
    return Halo(
        (sum(h[0] for h in local), sum(h[1] for h in local)),
        (max(h[0] for h in measure), max(h[1] for h in measure)),
    )


def out_spec_of(section: Section, spec: VolumeSpec, tables: dict[str, Table], calibration: Calibration) -> VolumeSpec:
    """Spec of the section's data at its end, given the spec of its source."""
    for call in (*([section.warp] if section.warp else []), *section.local):
        spec = spec_after(call, StageContext(spec=spec, tables=tables, calibration=calibration))
    return spec


def spec_after(call: Call, ctx: StageContext) -> VolumeSpec:
    """Spec of what a stage makes of ``ctx.spec``."""
    stage, spec = call.stage, ctx.spec
    if stage.out_spec is not None:
        return stage.out_spec(call.params, ctx)
    if stage.makes == spec.kind:
        return spec
    dtype = LABEL_DTYPES.get(stage.makes, spec.dtype)
    return spec.with_(kind=stage.makes, dtype=dtype, value_range=value_range_of(dtype))


def memory_of(section: Section, source: VolumeSpec, out: VolumeSpec, source_slices: int = WARP_SLICES) -> Memory:
    """Model the peak memory of one slab: input, output buffer, and the hungriest of its stages.

    `source_slices` are those that a resample reads for a single target slice.
    """
    voxels = float(out.shape[1] * out.shape[2])
    wanted = halo_of(section, out)
    halo = wanted.total
    changing = (*([section.warp] if section.warp else []), *section.local)
    stages = [_temporaries(needs_of(c, out), sum(halo), voxels) for c in changing]
    for call in section.measures:
        needs = needs_of(call, out)
        stages.append(_temporaries(needs, sum(needs.measure_halo), voxels))
    channels = sum(np.dtype(c.dtype).itemsize for c in out.channels) if section.sees_channels else 0
    floating = section.warp is not None or any(c.stage.consumes == "grey" for c in section.local)
    written = 2.0 * np.dtype(out.dtype).itemsize if section.output else 0.0
    kept = (4.0 * floating + channels) * voxels
    ratio = source.shape[0] / max(1, out.shape[0]) if section.warp else 1.0
    fixed = max(needs_of(c, out).fixed_bytes for c in (*changing, *section.measures))
    fixed += float(source_slices * source.slice_bytes) if section.warp else 0.0
    fixed += written / 2 * voxels * sum(wanted.measure)
    return Memory(kept + 1.5 * ratio * source.slice_bytes, fixed, halo, tuple(stages), written * voxels)


def _temporaries(needs: Needs, halo: int, voxels: float) -> tuple[float, float]:
    """Bytes of a stage per slice, and for all slices of a halo."""
    in_halo = needs.bytes_per_voxel if needs.halo_bytes_per_voxel is None else needs.halo_bytes_per_voxel
    return needs.bytes_per_voxel * voxels, in_halo * voxels * halo


@dataclass(frozen=True)
class PlannedSection:
    """A section with its sizes: `workers` slabs under way take `peak_bytes` together."""

    section: Section
    source: VolumeSpec
    out: VolumeSpec
    slab: int
    halo: tuple[int, int]
    workers: int
    peak_bytes: float

    @property
    def blocks(self) -> int:
        """Number of slabs."""
        return -(-self.out.shape[0] // self.slab)


@dataclass(frozen=True)
class Plan:
    """All sections of a run as far as they are known before it."""

    sections: tuple[PlannedSection, ...]
    machine: Machine

    @property
    def stored_bytes(self) -> float:
        """Bytes of all arrays written, uncompressed."""
        return sum(float(p.out.slice_bytes * p.out.shape[0]) for p in self.sections if p.section.output)


class Resolver:
    """Gives specs and slabs to sections, grid by grid, as tables become known."""

    def __init__(self, sections: list[Section], raw: VolumeSpec, calibration: Calibration, machine: Machine) -> None:
        self.sections = sections
        self.calibration = calibration
        self.machine = machine
        self.specs: dict[str, VolumeSpec] = {INPUT: raw}
        self.slabs: dict[int, int] = {}

    def resolve(self, section: Section, tables: dict[str, Table]) -> PlannedSection:
        """Return `section` with source and output spec and the slab its grid shares."""
        source = self.specs[section.source]
        out = out_spec_of(section, source, tables, self.calibration)
        if section.warp is not None and min(out.shape[1:]) < 2:
            raise InputError(self._too_small(section.warp, source, out))
        if section.output:
            self.specs[section.output] = out
        if section.grid not in self.slabs:
            self.slabs[section.grid] = self._slab(section, out, tables)
        memory = memory_of(section, source, out, self._source_slices(section, source, out, tables))
        slab = self.slabs[section.grid]
        workers = max(1, self.machine.at_once(memory, slab))
        peak = self.machine.peak_bytes(memory, slab, workers)
        return PlannedSection(section, source, out, slab, memory.halo, workers, peak)

    def _slab(self, first: Section, out: VolumeSpec, tables: dict[str, Table]) -> int:
        """All sections of a grid share one slab, so that labels of one pass fit the blocks of the next."""
        specs = dict(self.specs)
        needs = []
        titles = []
        for section in self.sections:
            if section.grid != first.grid:
                continue
            source = specs[section.source]
            spec = out if section is first else out_spec_of(section, source, tables, self.calibration)
            if section.output:
                specs[section.output] = spec
            needs.append(memory_of(section, source, spec, self._source_slices(section, source, spec, tables)))
            titles.append(section.title)
        frame, way_out = "the raw stack", "raise --memory, or leave the stage out with --set STAGE=off"
        if first.warp is not None:
            read = self._source_slices(first, self.specs[first.source], out, tables)
            way_out = self._coarser(first.warp, out) + _less_across(first.warp, read) + way_out
            frame = "the reconstruction"
        hungriest = max(range(len(needs)), key=lambda k: needs[k].bytes_for(1))
        name = f"{frame} ({titles[hungriest]})"
        return slab_thickness(needs, out.shape[0], self.machine, name, way_out)

    def _source_slices(self, section: Section, source: VolumeSpec, out: VolumeSpec, tables: dict[str, Table]) -> int:
        """Most source slices that a resample reads for one target slice, looked at here and there."""
        if section.warp is None or section.warp.stage.source_range is None:
            return WARP_SLICES
        most = WARP_SLICES
        for z in sorted({int(v) for v in np.linspace(0, out.shape[0] - 1, 9)}):
            ctx = StageContext(source, 0, (0, 0), tables, self.calibration, out, (z, z + 1))
            a, b = section.warp.stage.source_range(section.warp.params, ctx)
            most = max(most, b - a)
        return most

    def _finest(self) -> float:
        """Finest true spacing of the slices, in nm or voxels."""
        return min(resolve_geometry(self.calibration, shear_from_images=True).true_voxel_nm)

    def _coarser(self, warp: Call, out: VolumeSpec) -> str:
        """Advice to take coarser voxels, where the target is finer than anything the slices show."""
        finest, voxel = self._finest(), min(out.scale)
        if voxel > 0.99 * finest:
            return ""
        size = out.slice_bytes * out.shape[0] / 2**30
        return (
            f"voxels of {voxel:g} {out.unit} make {' × '.join(map(str, out.shape))} of them ({size:.3g} GiB), but the "
            f"slices hold nothing finer than {finest:.4g} {out.unit}: --set {warp.name}.voxel_nm={finest:.4g}; or "
        )

    def _too_small(self, warp: Call, source: VolumeSpec, out: VolumeSpec) -> str:
        """Say why a target with less than two rows or columns is no volume, and the way out."""
        _, dy, dx = resolve_geometry(self.calibration, shear_from_images=True).true_voxel_nm
        height, width = (source.shape[1] - 1) * dy, (source.shape[2] - 1) * dx
        made = f"{warp.name} would leave {out.shape[1]} × {out.shape[2]} voxels of {out.scale[1]:g} {out.unit}"
        if out.scale[1] <= height and out.scale[2] <= width:
            return f"{made}, because the slices share no more: keep everything with --set {warp.name}.crop=all"
        return (
            f"{made} of slices that show {height:.4g} × {width:.4g} {out.unit}: take a smaller voxel, such as "
            f"--set {warp.name}.voxel_nm={self._finest():.4g}"
        )


def _less_across(warp: Call, read: int) -> str:
    """Advice against target slices that lie across many source slices."""
    if getattr(warp.params, "axes", "specimen") == "specimen":
        return ""
    return f"every slice of it lies across {read} of the stack: --set {warp.name}.axes=specimen; or "


def make_plan(
    config: PipelineConfig,
    raw: VolumeSpec,
    calibration: Calibration,
    machine: Machine,
    given: Collection[str] = (),
    channel: str = "",
) -> Plan:
    """Plan a whole run as if the slices moved only as the geometry says; the run itself uses the same functions.

    For a channel that is carried along, `given` are the roles of the tables that it takes from the main one.
    """
    sections = build_sections(config, given, channel)
    resolver = Resolver(sections, raw, calibration, machine)
    with_drift = "drift" in given or any(c.stage.produces == "drift" for s in sections for c in s.measures)
    tables: dict[str, Table] = {}
    if with_drift:
        geometry = resolve_geometry(calibration, shear_from_images=True)
        tables["drift"] = {"shifts_px": geometry.expected_shifts_px(raw.shape[0]), "bad_slices": []}
    return Plan(tuple(resolver.resolve(s, tables) for s in sections), machine)
