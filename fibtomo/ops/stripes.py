"""Stripe field of a milled face: what is coherent along the ion beam and not part of the structure.

Curtains are weak steps in grey that run on for tens to hundreds of rows; phase boundaries are strong and wander. Two
estimates rest on that. One averages horizontal grey steps along the beam with strong gradients left out, and integrates
them across it (`fibtomo.ops.stripe_steps`); it needs nothing but flat places. Where the greys fall into phases, the
other averages how far the pixels inside the phases lie off them (`fibtomo.ops.stripe_phases`), which is several times
surer on fine structures and broad stripes.

What structure and noise alone would leave in either is measured on the same image across the beam, and subtracted from
the power in each octave (spectral subtraction, Lim and Oppenheim 1979, doi:10.1109/PROC.1979.11540). An octave that
shows nothing beyond that, or nothing that runs straight on, is left alone (`fibtomo.ops.stripe_gate`); so is a slice
without any such octave.
"""

from dataclasses import dataclass
from typing import Any

from fibtomo.backend.array import namespace
from fibtomo.ops.stripe_frame import leant, rows_of_bands, snapped, upright
from fibtomo.ops.stripe_gate import keep_stripes
from fibtomo.ops.stripe_phases import first_profiles, follows_phases, phase_profiles
from fibtomo.ops.stripe_steps import MIN_SIDE_PX, step_profiles

Array = Any


@dataclass(frozen=True)
class StripeField:
    """Stripes found in a plane.

    Attributes
    ----------
    field
        (y, x) float32 stripe component in grey units, zero where nothing was found.
    index
        Power in the most conspicuous octave over the most that a stripe-free plane should show there, 0 if it does not
        run straight on; there are stripes above 1.
    plain_index
        The same from the grey steps alone, which shows what filters without phases can see.
    """

    field: Array
    index: float
    plain_index: float = 0.0


def stripe_field(plane: Array, slope: float = 0.0, length_px: float = 20.0, width_px: float = 60.0) -> StripeField:
    """Estimate the stripe component of a plane.

    Parameters
    ----------
    plane
        (y, x) grey values, NumPy or CuPy.
    slope
        Columns per row by which stripes lean to the right on their way down.
    length_px
        Length along the stripes over which they are averaged (standard deviation).
    width_px
        Stripes much wider than this are left alone.
    """
    xp = namespace(plane)
    ny, nx = plane.shape
    if min(ny, nx) < MIN_SIDE_PX:
        return StripeField(xp.zeros((ny, nx), xp.float32), 0.0)
    slope = snapped(slope, ny)
    u, spans = upright(plane, slope)
    steps = step_profiles(u, spans, length_px, width_px)
    bands, index = keep_stripes(steps, None, length_px)
    witness = first_profiles(u, spans, xp.zeros_like(bands), length_px, width_px) if index > 1 else None
    if witness is not None:
        bands, index = keep_stripes(steps, None, length_px, witness[0])
    plain_index = index
    phases = phase_profiles(u, spans, bands, length_px, width_px)
    if phases is not None:
        bands, index = keep_stripes(steps, phases.profiles, length_px)
    if index > 1 and witness is not None and follows_phases(bands, witness[1]):
        index = plain_index = 0.0
    if index <= 1:
        return StripeField(xp.zeros((ny, nx), xp.float32), index, plain_index)
    field = rows_of_bands(bands, ny)
    if phases is not None:
        field = phases.scaled(field)
    return StripeField(leant(field, slope, nx), index, plain_index)
