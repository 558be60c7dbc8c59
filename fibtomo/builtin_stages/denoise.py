"""Stages that filter noise."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from pydantic import Field, field_validator

from fibtomo.core.params import Params
from fibtomo.core.stage import Kind, Needs, StageContext, StageDef, register
from fibtomo.core.volume import Table, VolumeSpec
from fibtomo.errors import InputError
from fibtomo.ops import bilateral as bilateral_ops
from fibtomo.ops import denoise as ops
from fibtomo.ops import nlm as nlm_ops
from fibtomo.ops import total_variation as tv_ops
from fibtomo.ops._tiles import largest_share
from fibtomo.ops.noise import NoiseModel, count_blocks, fit_counts
from fibtomo.ops.padding import seen_voxels

PROBE_EVERY = 32
"""Slices between those on which weights are tried."""
RESULT_BYTES = 7.0
"""Per voxel: the result, and what was seen; all else is needed for one tile of the plane at a time."""


def _odd(value: int) -> int:
    if value % 2 == 0:
        raise ValueError("the size must be odd")
    return value


class MedianParams(Params):
    """Median over neighbouring pixels and slices."""

    size_px: int = Field(3, ge=1, le=31, description="Side of the box in the plane, pixels; odd, 1 to 31.")
    size_slices: int = Field(1, ge=1, le=31, description="Length of the box along z, slices; odd, 1 to 31.")

    _odd = field_validator("size_px", "size_slices")(_odd)


class GaussianParams(Params):
    """Gaussian smoothing in the plane and along z."""

    sigma_px: float = Field(1.0, ge=0, le=50, description="Standard deviation in the plane, pixels, 0 to 50.")
    sigma_slices: float = Field(0.0, ge=0, le=50, description="Standard deviation along z, slices, 0 to 50.")


class NlmParams(Params):
    """Non-local means in 3D: averages voxels whose surroundings look alike."""

    strength: float = Field(0.8, gt=0, le=10, description="Tolerated difference, in units of the noise, up to 10.")
    patch_px: int = Field(3, ge=3, le=15, description="Side of the compared surroundings, pixels; odd, 3 to 15.")
    reach_px: int = Field(4, ge=1, le=30, description="How far alike voxels are looked for, pixels, 1 to 30.")
    reach_slices: int | None = Field(
        None, ge=0, le=30, description="The same along z, slices; empty: as far as in the plane; 0: slice by slice."
    )
    passes: int = Field(2, ge=1, le=2, description="2 compares a second time, on what the first pass gave.")

    _odd = field_validator("patch_px")(_odd)


class TvParams(Params):
    """Total variation in 3D: flattens grains of noise and keeps edges."""

    strength: float = Field(0.7, gt=0, le=10, description="Weight of the smoothing, in units of the noise, up to 10.")
    iterations: int = Field(40, ge=1, le=400, description="Fixed number of iterations, 1 to 400.")
    along_z: float | None = Field(
        None,
        ge=0,
        le=10,
        description="Weight of differences along z; empty: from the voxel size; 0: slice by slice.",
    )
    residual: float | None = Field(
        None,
        gt=0,
        le=3,
        description="Chooses the strength so that this much is removed, rms in units of the noise; try 0.9 (1, the "
        "discrepancy principle, smooths too much).",
    )


class BilateralParams(Params):
    """Bilateral filter in 3D: a Gaussian that leaves out voxels of another grey."""

    strength: float = Field(3.0, gt=0, le=20, description="Tolerated grey difference, in units of the noise, up to 20.")
    sigma_px: float = Field(1.5, gt=0, le=10, description="Standard deviation in the plane, pixels, up to 10.")
    sigma_slices: float | None = Field(
        None, ge=0, le=10, description="The same along z, slices; empty: as far as in the plane; 0: slice by slice."
    )


def aspect(spec: VolumeSpec) -> float:
    """Distance of slices over pixel size."""
    return spec.scale[0] / spec.scale[1]


def seen_in(block: Any, ctx: StageContext) -> Any:
    """Voxels that show the specimen: inside what the resampled slices show, or inside the padding of raw ones."""
    valid = ctx.tables.get("valid")
    if valid is None:
        return seen_voxels(block)
    return seen_voxels(block, np.asarray(valid.get("spans", valid["boxes"]))[ctx.z0 : ctx.z0 + len(block)])


def measure(block: Any, params: Params, ctx: StageContext) -> Table:
    """Count small blocks by grey and variance."""
    seen, core = seen_in(block, ctx), ctx.core_slices
    counts, missed = count_blocks(block[core], ctx.spec.value_range, None if seen is None else seen[core])
    table: Table = {"blocks": counts, "missed": missed}
    if isinstance(params, TvParams) and params.residual is not None:
        table["removed"] = _removed(block, params, ctx, seen)
    return table


def _removed(block: Any, params: TvParams, ctx: StageContext, seen: Any) -> Any:
    """Sums of `fibtomo.ops.total_variation.probe` over those of the slab's slices on which weights are tried."""
    reach = tv_ops.reach_slices(params.iterations, params.along_z)
    factor = 1 / aspect(ctx.spec) if params.along_z is None else params.along_z
    first, stop = ctx.z0 + ctx.core[0], ctx.z0 + ctx.core[1]
    chosen = set(range(PROBE_EVERY // 2, ctx.spec.shape[0], PROBE_EVERY)) or {ctx.spec.shape[0] // 2}
    sums = np.zeros(len(tv_ops.WEIGHTS) + 1)
    for z in sorted(chosen & set(range(first, stop))):
        half = min(reach, z, ctx.spec.shape[0] - 1 - z)
        part = slice(z - half - ctx.z0, z + half + 1 - ctx.z0)
        sums += tv_ops.probe(block[part], factor, params.iterations, None if seen is None else seen[part])
    return sums


def combine(partials: Sequence[Table], params: Params, ctx: StageContext) -> Table:
    """Noise model of the whole volume."""
    counts, missed = sum(t["blocks"] for t in partials), sum(t["missed"] for t in partials)
    if missed > 0.05 * (missed + counts.sum()):
        raise InputError(
            f"the noise cannot be measured: greys of {missed} blocks lie outside the value range "
            f"{ctx.spec.value_range}: state the true range of grey values"
        )
    table = fit_counts(counts, ctx.spec.value_range).to_table()
    if isinstance(params, TvParams) and params.residual is not None:
        table["strength"] = tv_ops.weight_for([t["removed"] for t in partials], params.residual)
    return table


def median(block: Any, params: MedianParams, ctx: StageContext) -> Any:
    """Median of the block."""
    seen = seen_in(block, ctx)
    return ops.kept(block, ops.median(block, params.size_px, params.size_slices, mask=seen), seen)


def gaussian(block: Any, params: GaussianParams, ctx: StageContext) -> Any:
    """Gaussian of the block."""
    seen = seen_in(block, ctx)
    return ops.kept(block, ops.gaussian(block, params.sigma_px, params.sigma_slices, mask=seen), seen)


def measured(role: str, function: Callable[..., Any], extra: dict[str, Any]) -> Callable[[Any, Any, StageContext], Any]:
    """Return the `apply` of a filter that knows the noise of the whole volume from the table `role`."""

    def apply(block: Any, params: Params, ctx: StageContext) -> Any:
        table, options = ctx.tables[role], params.model_dump()
        if options.pop("residual", None) is not None:
            options["strength"] = table["strength"]
        if isinstance(params, NlmParams):
            options["core"] = wanted(block, nlm_needs(params, ctx.spec), ctx)
        seen = seen_in(block, ctx)
        noise = NoiseModel.from_table(table)
        return function(block, **options, aspect=aspect(ctx.spec), noise=noise, mask=seen, **extra)

    return apply


def wanted(block: Any, needs: Needs, ctx: StageContext) -> tuple[int, int]:
    """Slices of the block that someone will look at: its halo was read for their sake, except at the volume's ends."""
    n, end = len(block), ctx.z0 + len(block) == ctx.spec.shape[0]
    start, stop = 0 if ctx.z0 == 0 else needs.halo[0], n if end else n - needs.halo[1]
    return (start, stop) if start <= ctx.core[0] < ctx.core[1] <= stop else (0, n)


def median_needs(params: MedianParams, spec: VolumeSpec) -> Needs:
    """Half the box along z, and as much again to fill empty slices."""
    reach = 2 * (params.size_slices // 2)
    return Needs(halo=(reach, reach), bytes_per_voxel=22.0)


def gaussian_needs(params: GaussianParams, spec: VolumeSpec) -> Needs:
    """The reach of the Gaussian along z."""
    reach = ops.gaussian_reach(params.sigma_slices)
    return Needs(halo=(reach, reach), bytes_per_voxel=20.0)


def nlm_needs(params: NlmParams, spec: VolumeSpec) -> Needs:
    """How far both passes look along z."""
    reach = nlm_ops.reach_of(params.reach_px, params.reach_slices, aspect(spec))
    halo = nlm_ops.halo_slices(params.patch_px, reach, aspect(spec), params.passes)
    share = largest_share(spec.shape, nlm_ops.plane_reach(params.patch_px, params.reach_px, params.passes))
    return Needs(halo=(halo, halo), bytes_per_voxel=RESULT_BYTES + 25.0 * share)


def tv_needs(params: TvParams, spec: VolumeSpec) -> Needs:
    """As far as the iterations carry a change of grey that matters."""
    reach = tv_ops.reach_slices(params.iterations, params.along_z)
    share = largest_share(spec.shape, tv_ops.reach_of(params.iterations))
    probed = reach if params.residual is not None else 0
    return Needs(halo=(reach, reach), measure_halo=(probed, probed), bytes_per_voxel=RESULT_BYTES + 34.0 * share)


def bilateral_needs(params: BilateralParams, spec: VolumeSpec) -> Needs:
    """The reach of the Gaussian along z."""
    share = largest_share(spec.shape, round(bilateral_ops.CUT_OFF * params.sigma_px))
    reach = bilateral_ops.reach_slices(bilateral_ops.sigma_along(params.sigma_px, params.sigma_slices, aspect(spec)))
    return Needs(halo=(reach, reach), bytes_per_voxel=RESULT_BYTES + 19.0 * share)


def _register(
    method: str, params: type[Params], needs: Any, function: Callable[..., Any], citation: str, **extra: Any
) -> None:
    role = f"noise_{method}"
    register(
        StageDef(
            name=f"denoise.{method}",
            kind=Kind.SLAB,
            params=params,
            needs=needs,
            apply=measured(role, function, extra),
            measure=measure,
            combine=combine,
            produces=role,
            optional=("valid",),
            citation=citation,
            version=2,
        )
    )


for name, params, needs, apply in (
    ("denoise.median", MedianParams, median_needs, median),
    ("denoise.gaussian", GaussianParams, gaussian_needs, gaussian),
):
    register(
        StageDef(name=name, kind=Kind.SLAB, params=params, needs=needs, apply=apply, optional=("valid",), version=2)
    )
_register(
    "nlm",
    NlmParams,
    nlm_needs,
    nlm_ops.non_local_means,
    "Buades, Coll and Morel, Image Process. On Line 1 (2011) 208, doi:10.5201/ipol.2011.bcm_nlm",
    workers=1,
)
_register(
    "tv",
    TvParams,
    tv_needs,
    tv_ops.total_variation,
    "Chambolle and Pock, J. Math. Imaging Vis. 40 (2011) 120, doi:10.1007/s10851-010-0251-1",
)
_register(
    "bilateral",
    BilateralParams,
    bilateral_needs,
    bilateral_ops.bilateral,
    "Tomasi and Manduchi, Proc. ICCV (1998) 839, doi:10.1109/ICCV.1998.710815",
    workers=1,
)
