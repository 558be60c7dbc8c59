"""Face: which rows and columns show specimen, and where its surface lies."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field

from fibtomo.core.drift import Float
from fibtomo.core.params import Params
from fibtomo.core.resolve import resolve_geometry
from fibtomo.core.stage import Kind, Needs, StageContext, StageDef, register
from fibtomo.core.volume import Table
from fibtomo.errors import CalibrationError
from fibtomo.ops.face import find_face
from fibtomo.ops.face_measure import measure_faces


class FindParams(Params):
    """Find padding, protective layer, trench walls and redeposition, and leave out what surely is no specimen."""

    crop: Literal["auto", "off"] = Field(
        "auto", description="auto: leave out what all signs say is no specimen; off: only report what is found."
    )
    margin_nm: float = Field(20.0, ge=0, le=1e5, description="Distance kept from a layer, nm; at least margin_px.")
    margin_px: float = Field(3.0, ge=0, le=1000, description="Least distance kept from a layer, px.")


def _measure(block: Any, _params: FindParams, ctx: StageContext) -> Table:
    return measure_faces(block[ctx.core_slices])


def _combine(partials: Sequence[Table], params: FindParams, ctx: StageContext) -> Table:
    measured = {name: np.concatenate([p[name] for p in partials]) for name in partials[0]}
    scale = ctx.spec.voxel_nm[1:] if ctx.spec.voxel_nm else (np.inf, np.inf)
    margin = [max(params.margin_px, params.margin_nm / step) for step in scale]
    wanted = params.crop == "auto"
    return find_face(measured, ctx.spec.shape[1:], _motion(ctx), (margin[0], margin[1]), _bad_slices(ctx), wanted)


def _motion(ctx: StageContext) -> Float | None:
    """Motion of the slices as measured, else as the geometry has it, else unknown."""
    if "drift" in ctx.tables:
        return np.asarray(ctx.tables["drift"]["shifts_px"], dtype=np.float64)
    try:
        return resolve_geometry(ctx.calibration, shear_from_images=False).expected_shifts_px(ctx.spec.shape[0])
    except CalibrationError:
        return None


def _bad_slices(ctx: StageContext) -> list[int]:
    return [int(k) for role in ("input", "drift") for k in ctx.tables.get(role, {}).get("bad_slices", [])]


register(
    StageDef(
        name="face.find",
        kind=Kind.REDUCE,
        params=FindParams,
        needs=lambda _p, _s: Needs(bytes_per_voxel=24.0),
        measure=_measure,
        combine=_combine,
        produces="face",
        late=("drift",),
        citation="Viterbi 1967, IEEE Trans. Inf. Theory 13:260",
    )
)
