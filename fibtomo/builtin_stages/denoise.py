"""Stages that filter noise."""

from typing import Any

from pydantic import Field, field_validator

from fibtomo.core.params import Params
from fibtomo.core.stage import Kind, Needs, StageContext, StageDef, register
from fibtomo.core.volume import VolumeSpec
from fibtomo.ops import denoise as ops


class MedianParams(Params):
    """Median over neighbouring pixels and slices."""

    size_px: int = Field(3, ge=1, le=31, description="Side of the box in the plane, pixels; odd, 1 to 31.")
    size_slices: int = Field(1, ge=1, le=31, description="Length of the box along z, slices; odd, 1 to 31.")

    @field_validator("size_px", "size_slices")
    @classmethod
    def _odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError("the size must be odd")
        return value


class GaussianParams(Params):
    """Gaussian smoothing in the plane and along z."""

    sigma_px: float = Field(1.0, ge=0, le=50, description="Standard deviation in the plane, pixels, 0 to 50.")
    sigma_slices: float = Field(0.0, ge=0, le=50, description="Standard deviation along z, slices, 0 to 50.")


class NlmParams(Params):
    """Non-local means in the plane: averages pixels whose surroundings look alike."""

    strength: float = Field(0.8, gt=0, le=10, description="Tolerated difference, in units of the noise, up to 10.")
    patch_px: int = Field(5, ge=3, le=15, description="Side of the compared surroundings, pixels, 3 to 15.")
    reach_px: int = Field(6, ge=1, le=30, description="How far alike pixels are looked for, pixels, 1 to 30.")


class TvParams(Params):
    """Total variation in the plane: flattens grains of noise and keeps edges."""

    strength: float = Field(1.0, gt=0, le=10, description="Weight of the smoothing, in units of the noise, up to 10.")
    iterations: int = Field(60, ge=1, le=1000, description="Fixed number of iterations, 1 to 1000.")


class BilateralParams(Params):
    """Bilateral filter in the plane: a Gaussian that leaves out pixels of another grey."""

    strength: float = Field(3.0, gt=0, le=20, description="Tolerated grey difference, in units of the noise, up to 20.")
    sigma_px: float = Field(1.5, gt=0, le=10, description="Standard deviation in the plane, pixels, up to 10.")


def median(block: Any, params: MedianParams, ctx: StageContext) -> Any:
    """Median of the block."""
    return ops.median(block, params.size_px, params.size_slices)


def gaussian(block: Any, params: GaussianParams, ctx: StageContext) -> Any:
    """Gaussian of the block."""
    return ops.gaussian(block, params.sigma_px, params.sigma_slices)


def nlm(block: Any, params: NlmParams, ctx: StageContext) -> Any:
    """Non-local means of each slice."""
    return ops.non_local_means(block, params.strength, params.patch_px, params.reach_px)


def tv(block: Any, params: TvParams, ctx: StageContext) -> Any:
    """Total variation of each slice."""
    return ops.total_variation(block, params.strength, params.iterations)


def bilateral(block: Any, params: BilateralParams, ctx: StageContext) -> Any:
    """Bilateral filter of each slice."""
    return ops.bilateral(block, params.strength, params.sigma_px)


def median_needs(params: MedianParams, spec: VolumeSpec) -> Needs:
    """Half the box along z."""
    half = params.size_slices // 2
    return Needs(halo=(half, half), bytes_per_voxel=12.0)


def gaussian_needs(params: GaussianParams, spec: VolumeSpec) -> Needs:
    """The reach of the Gaussian along z."""
    reach = ops.gaussian_reach(params.sigma_slices)
    return Needs(halo=(reach, reach), bytes_per_voxel=12.0)


def slice_needs(params: Params, spec: VolumeSpec) -> Needs:
    """A float32 copy; the temporaries of one slice are shared by the whole slab."""
    return Needs(bytes_per_voxel=16.0)


register(StageDef(name="denoise.median", kind=Kind.SLAB, params=MedianParams, needs=median_needs, apply=median))
register(StageDef(name="denoise.gaussian", kind=Kind.SLAB, params=GaussianParams, needs=gaussian_needs, apply=gaussian))
register(
    StageDef(
        name="denoise.nlm",
        kind=Kind.SLICE,
        params=NlmParams,
        needs=slice_needs,
        apply=nlm,
        citation="Buades, Coll and Morel, Image Process. On Line 1 (2011) 208, doi:10.5201/ipol.2011.bcm_nlm",
    )
)
register(
    StageDef(
        name="denoise.tv",
        kind=Kind.SLICE,
        params=TvParams,
        needs=slice_needs,
        apply=tv,
        citation="Chambolle, J. Math. Imaging Vis. 20 (2004) 89, doi:10.1023/B:JMIV.0000011325.36760.1e",
    )
)
register(
    StageDef(
        name="denoise.bilateral",
        kind=Kind.SLICE,
        params=BilateralParams,
        needs=slice_needs,
        apply=bilateral,
        citation="Tomasi and Manduchi, Proc. ICCV (1998) 839, doi:10.1109/ICCV.1998.710815",
    )
)
