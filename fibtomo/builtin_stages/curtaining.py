"""Stages that remove curtaining."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from fibtomo.core.params import Params
from fibtomo.core.stage import Kind, Needs, StageContext, StageDef, register
from fibtomo.core.volume import VolumeSpec
from fibtomo.ops.curtaining import MAX_ANGLE_DEG, remove_and_judge

Lean = Annotated[float, Field(ge=-45, le=45)]


class CurtainParams(Params):
    """Removal of curtains, slice by slice; slices without curtains are not changed."""

    method: Literal["auto", "gradient", "vsnr", "general", "wedge", "wavelet_fft"] = Field(
        "auto",
        description="gradient: robust grey steps; vsnr: Fehrenbach 2012; general: Rottmayer 2024; "
        "wedge: Schwartz 2019; wavelet_fft: Münch 2009; auto: what measures best.",
    )
    angle_deg: Lean | tuple[Lean, Lean] | Literal["auto"] = Field(
        "auto",
        description="Lean of the curtains to the right on their way down, ±45°, or two of them (rocking stage); auto: "
        "one or two on each slice.",
    )
    strength: float = Field(1.0, ge=0, le=1, description="Share of the curtains that is subtracted, 0 to 1.")
    length_px: float = Field(20.0, ge=2, le=1000, description="Smoothing along the curtains, rows, 2 to 1000.")
    width_px: float = Field(60.0, ge=2, le=1000, description="Curtains much wider are left in, columns, 2 to 1000.")

    @field_validator("angle_deg", mode="before")
    @classmethod
    def _one_or_two(cls, value: Any) -> Any:
        angles = value if isinstance(value, list | tuple) else [value]
        lean = all(isinstance(a, int | float) and abs(a) <= MAX_ANGLE_DEG for a in angles) and len(angles) in (1, 2)
        if value != "auto" and not lean:
            raise ValueError(f"it must be auto, one angle or two of them, within ±{MAX_ANGLE_DEG:g}°")
        return value


def apply(block: Any, params: CurtainParams, ctx: StageContext) -> Any:
    """Subtract the curtains of every slice."""
    p = params
    out, notes = remove_and_judge(block, p.method, p.angle_deg, p.strength, p.length_px, p.width_px)
    ctx.notes.update(notes)
    return out


def needs(params: CurtainParams, spec: VolumeSpec) -> Needs:
    """The slab and what is taken from it; one slice at a time is worked on, which takes some 110 bytes per pixel."""
    return Needs(bytes_per_voxel=8.0, fixed_bytes=110.0 * spec.shape[1] * spec.shape[2])


register(
    StageDef(
        name="curtain.remove",
        kind=Kind.SLICE,
        params=CurtainParams,
        needs=needs,
        apply=apply,
        notes="curtains",
        citation="Münch et al., Opt. Express 17 (2009) 8567, doi:10.1364/OE.17.008567",
    )
)
