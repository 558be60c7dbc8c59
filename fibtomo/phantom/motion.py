"""Per-slice sequences of an acquisition: positions, displacement, focus, gain and bad slices.

Every sequence has its own random generator, so that switching one artefact off leaves the others as they were.
"""

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fibtomo.phantom.artefacts import (
    Artefacts,
    BadSlices,
    Defocus,
    Drift,
    Flicker,
    Jitter,
    Jumps,
    LineDrift,
    Thickness,
)

Float = NDArray[np.float64]


def generator(seed: int, name: str, *index: int) -> np.random.Generator:
    """Independent random generator of one artefact (and slice) of one acquisition.

    Examples
    --------
    >>> bool(generator(0, "noise", 3).random() == generator(0, "noise", 3).random())
    True
    """
    return np.random.default_rng([seed, zlib.crc32(name.encode()), *index])


@dataclass(frozen=True)
class Sequences:
    """What the microscope did at each of n slices.

    Attributes
    ----------
    slice_numbers
        (n,) counted from 0 as milled; a gap is a missing slice.
    slice_z_nm
        (n,) true positions, first at 0.
    slow_px, jitter_px, jumps_px
        (n, 2) as (dy, dx): parts of the drift, slice 0 at rest.
    line_px
        (n, 2) displacement of the last row against the first.
    defocus_px
        (n,) standard deviation of the beam.
    gain, offset
        (n,) multiplies and adds to the signal.
    bad_slices
        Index to reason: "dead", "duplicate" or "truncated".
    """

    slice_numbers: NDArray[np.int64]
    slice_z_nm: Float
    slow_px: Float
    jitter_px: Float
    jumps_px: Float
    line_px: Float
    defocus_px: Float
    gain: Float
    offset: Float
    bad_slices: dict[int, str]


def draw_sequences(n: int, slice_nm: float, artefacts: Artefacts, seed: int) -> Sequences:
    """Draw all sequences of an acquisition of `n` stored slices of nominal thickness `slice_nm`."""
    a = artefacts
    lost, bad = _bad_slices(n, a.bad_slices, generator(seed, "bad_slices"))
    kept = np.arange(n) + np.cumsum(lost)
    milled = int(kept[-1]) + 1
    gain, offset = _flicker(milled, a.flicker, generator(seed, "flicker"))
    return Sequences(
        slice_numbers=kept,
        slice_z_nm=_positions(milled, slice_nm, a.thickness, generator(seed, "thickness"))[kept],
        slow_px=_slow_drift(milled, a.drift, generator(seed, "drift"))[kept],
        jitter_px=_jitter(milled, a.jitter, generator(seed, "jitter"))[kept],
        jumps_px=_jumps(milled, a.jumps, generator(seed, "jumps"))[kept],
        line_px=_line_drift(milled, a.line_drift, generator(seed, "line_drift"))[kept],
        defocus_px=_defocus(milled, a.defocus)[kept],
        gain=gain[kept],
        offset=offset[kept],
        bad_slices=bad,
    )


def autoregressive(innovations: Float, memory: float) -> Float:
    """First-order autoregression along axis 0 with correlation `memory`, variance kept.

    Examples
    --------
    >>> autoregressive(np.array([1.0, 0.0, 0.0]), 0.5)
    array([1.  , 0.5 , 0.25])
    """
    out = np.array(innovations, dtype=np.float64)
    scale = np.sqrt(1 - memory**2)
    for k in range(1, len(out)):
        out[k] = memory * out[k - 1] + scale * innovations[k]
    return out


def _positions(n: int, slice_nm: float, thickness: Thickness | None, rng: np.random.Generator) -> Float:
    if thickness is None:
        return np.arange(n) * slice_nm
    white, slow = rng.standard_normal((n, 2)).T
    relative = 1 + thickness.white * white + thickness.slow * autoregressive(slow, 0.95)
    steps = slice_nm * np.maximum(relative, 0.1)
    return np.concatenate([[0.0], np.cumsum(steps[1:])])


def _slow_drift(n: int, drift: Drift | None, rng: np.random.Generator) -> Float:
    if drift is None:
        return np.zeros((n, 2))
    velocity = drift.rate_px * autoregressive(rng.standard_normal((n, 2)), np.exp(-1 / drift.memory_slices))
    velocity[0] = 0
    return np.cumsum(velocity, axis=0)


def _jitter(n: int, jitter: Jitter | None, rng: np.random.Generator) -> Float:
    if jitter is None:
        return np.zeros((n, 2))
    shifts = jitter.rms_px * rng.standard_normal((n, 2))
    shifts[0] = 0
    return shifts


def _jumps(n: int, jumps: Jumps | None, rng: np.random.Generator) -> Float:
    steps = np.zeros((n, 2))
    if jumps is not None:
        happens, size, sign_y, sign_x, along_x = rng.random((n, 5)).T
        low, high = np.log(sorted((jumps.least_px, jumps.largest_px)))
        length = np.where(happens < jumps.per_slice, np.exp(low + size * (high - low)), 0.0)
        steps[:, 0] = length * np.where(sign_y < 0.5, -1, 1)
        steps[:, 1] = length * np.where(sign_x < 0.5, -1, 1) * 0.3 * along_x
        steps[0] = 0
    return np.cumsum(steps, axis=0)


def _line_drift(n: int, line_drift: LineDrift | None, rng: np.random.Generator) -> Float:
    return np.zeros((n, 2)) if line_drift is None else line_drift.rms_px * rng.standard_normal((n, 2))


def _defocus(n: int, defocus: Defocus | None) -> Float:
    if defocus is None:
        return np.zeros(n)
    ramp = np.arange(n) % defocus.refocus_slices / defocus.refocus_slices
    return defocus.best_px + (defocus.worst_px - defocus.best_px) * ramp


def _flicker(n: int, flicker: Flicker | None, rng: np.random.Generator) -> tuple[Float, Float]:
    if flicker is None:
        return np.ones(n), np.zeros(n)
    gain, offset, size = rng.standard_normal((n, 3)).T
    steps = np.where(rng.random(n) < flicker.steps_per_slice, flicker.step * size, 0.0)
    return np.maximum(1 + flicker.gain * gain + np.cumsum(steps), 0.2), flicker.offset * offset


def _bad_slices(n: int, rates: BadSlices | None, rng: np.random.Generator) -> tuple[NDArray[np.int64], dict[int, str]]:
    """Missing slices before each stored one, and the reason why stored slices are bad."""
    if rates is None:
        return np.zeros(n, dtype=np.int64), {}
    draws = rng.random((n, 2))
    draws[0] = 1
    limits = np.cumsum([rates.dead, rates.duplicate, rates.truncated])
    reasons = ("dead", "duplicate", "truncated")
    which = np.searchsorted(limits, draws[:, 0], side="right")
    bad = {int(k): reasons[which[k]] for k in np.flatnonzero(which < len(reasons))}
    return (draws[:, 1] < rates.missing).astype(np.int64), bad
