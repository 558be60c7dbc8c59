"""What can go wrong in an acquisition: one small declaration for each artefact; what is not named is off."""

from typing import Any, Self

from pydantic import Field, model_validator

from fibtomo.core.params import Params
from fibtomo.errors import PipelineError


class Drift(Params):
    """Slow drift: a random walk whose velocity persists."""

    rate_px: float = Field(0.2, ge=0, le=20, description="Velocity, pixels per slice, rms.")
    memory_slices: float = Field(30.0, gt=0, le=1e6, description="Slices over which the velocity persists.")


class Jitter(Params):
    """Independent displacement of every slice."""

    rms_px: float = Field(0.3, ge=0, le=50, description="Displacement along y and along x, pixels, rms.")


class Jumps(Params):
    """Lasting steps after refocusing or a pause, mostly along y."""

    per_slice: float = Field(1 / 150, ge=0, le=1, description="Probability of a jump at each slice.")
    least_px: float = Field(2.0, gt=0, le=1000, description="Smallest jump, pixels.")
    largest_px: float = Field(40.0, gt=0, le=1000, description="Largest jump, pixels.")


class LineDrift(Params):
    """Drift while a frame is scanned: stretches y and leans x."""

    rms_px: float = Field(0.3, ge=0, le=50, description="Displacement between first and last row, pixels, rms.")


class Thickness(Params):
    """Irregular milling advance."""

    white: float = Field(0.15, ge=0, le=0.6, description="Independent relative deviation of each slice.")
    slow: float = Field(0.05, ge=0, le=0.5, description="Relative deviation that persists over tens of slices.")


class BadSlices(Params):
    """Slices that carry no or wrong information; slice 0 is always good."""

    dead: float = Field(0.005, ge=0, le=1, description="Probability of a black slice.")
    duplicate: float = Field(0.003, ge=0, le=1, description="Probability of a repeated image.")
    missing: float = Field(0.003, ge=0, le=1, description="Probability that a slice was milled but not stored.")
    truncated: float = Field(0.001, ge=0, le=1, description="Probability of a frame cut off below.")


class ShineThrough(Params):
    """Back walls seen through unfilled pores, fading with depth."""

    decay_nm: float = Field(
        60.0, gt=0, le=1e5, description="Depth at which a wall has lost 63 % of its brightness, nm."
    )
    step_nm: float = Field(10.0, gt=0, le=1e4, description="Step of the ray along z, nm; crossings are interpolated.")


class EdgeRim(Params):
    """Bright rims of the solid at pores (secondary electrons)."""

    gain: float = Field(0.2, ge=0, le=2, description="Relative brightening at the edge.")
    width_nm: float = Field(12.0, gt=0, le=1e4, description="Width of the rim, nm.")


class Shading(Params):
    """Loss of signal towards the bottom and the side walls of the trench."""

    bottom: float = Field(0.25, ge=0, le=0.95, description="Relative loss from the first to the last row.")
    side: float = Field(0.1, ge=0, le=0.95, description="Relative loss at the left and right edge.")
    side_px: float = Field(40.0, gt=0, le=1e5, description="Decay length of the side shadow, pixels.")


class Curtains(Params):
    """Streaks along the ion beam that start at the surface, at pores or at hard phases."""

    rms: float = Field(0.04, ge=0, le=0.5, description="Standard deviation relative to the brightest phase.")
    width_px: float = Field(2.0, gt=0, le=100, description="Median width (lognormal, 1 to 10 pixels), pixels.")
    decay_px: float = Field(300.0, gt=0, le=1e6, description="Decay length along the streak, pixels.")
    angle_deg: float = Field(0.0, ge=-45, le=45, description="Mean angle against the image columns.")
    rocking_deg: float = Field(
        0.0, ge=0, le=20, description="Half the angle between the two directions of a rocking mill."
    )
    at_pores: float = Field(
        0.6, ge=0, le=1, description="Share of streaks that start inside the specimen, not at its surface."
    )
    slice_correlation: float = Field(
        0.7, ge=0, lt=1, description="Correlation of a streak between neighbouring slices."
    )
    multiplicative: float = Field(0.6, ge=0, le=1, description="Share that scales with the signal; the rest is added.")
    per_column: float = Field(0.5, gt=0, le=10, description="Streaks per image column.")


class Charging(Params):
    """Insulating inclusions with dark tails along the scan direction."""

    blobs: int = Field(2, ge=0, le=100, description="Number of inclusions.")
    radius_nm: float = Field(80.0, gt=0, le=1e5, description="Their radius, nm.")
    strength: float = Field(0.2, ge=0, le=1, description="Depth of a tail at its start, in signal.")
    tail_px: float = Field(80.0, gt=0, le=1e4, description="Decay length of a tail, pixels.")


class Defocus(Params):
    """Gaussian beam whose focus worsens until the next refocus."""

    best_px: float = Field(0.5, ge=0, le=20, description="Standard deviation just after refocusing, pixels.")
    worst_px: float = Field(1.0, ge=0, le=20, description="Standard deviation just before refocusing, pixels.")
    refocus_slices: int = Field(50, ge=1, le=100000, description="Slices between two refocusings.")


class Flicker(Params):
    """Brightness and contrast that change from slice to slice."""

    gain: float = Field(0.02, ge=0, le=0.5, description="Relative change of gain, rms.")
    offset: float = Field(0.01, ge=0, le=0.5, description="Change of offset, in signal, rms.")
    steps_per_slice: float = Field(0.0, ge=0, le=1, description="Probability of a lasting step of the gain.")
    step: float = Field(0.1, ge=0, le=0.5, description="Relative size of such a step.")


class Noise(Params):
    """Counting noise of the electrons and noise of the amplifier."""

    electrons: float = Field(200.0, gt=0, le=1e9, description="Electrons per pixel at signal 1.")
    read: float = Field(0.01, ge=0, le=1, description="Gaussian noise, in signal, rms.")


class Artefacts(Params):
    """All artefacts of an acquisition; ``None`` (the default of each) is off.

    In place of an artefact, ``True`` takes its usual values and a dictionary changes some of them.

    Examples
    --------
    >>> Artefacts(jitter=True).jitter.rms_px, Artefacts(jitter={"rms_px": 1}).jitter.rms_px
    (0.3, 1.0)
    >>> Artefacts.of("typical").change(noise=None).noise is None
    True
    """

    drift: Drift | None = Field(None, description="Slow drift.")
    jitter: Jitter | None = Field(None, description="Slice-to-slice jitter.")
    jumps: Jumps | None = Field(None, description="Lasting jumps.")
    line_drift: LineDrift | None = Field(None, description="Drift within a frame.")
    thickness: Thickness | None = Field(None, description="Irregular slice thickness.")
    bad_slices: BadSlices | None = Field(None, description="Dead, repeated, missing, truncated slices.")
    shine_through: ShineThrough | None = Field(None, description="Unfilled pores.")
    edge_rim: EdgeRim | None = Field(None, description="Bright edges.")
    shading: Shading | None = Field(None, description="Uneven brightness.")
    curtains: Curtains | None = Field(None, description="Curtaining.")
    charging: Charging | None = Field(None, description="Charging tails.")
    defocus: Defocus | None = Field(None, description="Blur of the beam.")
    flicker: Flicker | None = Field(None, description="Brightness flicker.")
    noise: Noise | None = Field(None, description="Noise.")

    @model_validator(mode="before")
    @classmethod
    def _switches(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        return {k: {} if v is True else None if v is False else v for k, v in values.items()}

    @classmethod
    def of(cls, choice: "Artefacts | dict[str, Any] | str | None") -> Self:
        """Turn "none", "typical", "all", a dictionary or `Artefacts` into `Artefacts`.

        Raises
        ------
        PipelineError
            A name or value is not known.
        """
        if isinstance(choice, cls):
            return choice
        typical = ("drift", "jitter", "curtains", "defocus", "flicker", "noise")
        presets = {"none": (), "typical": typical, "all": tuple(cls.model_fields)}
        if choice is None or isinstance(choice, str):
            name = choice or "none"
            if name not in presets:
                raise PipelineError(f"artefacts = {name!r} must be one of {', '.join(presets)}, or name each artefact")
            return cls.parse(dict.fromkeys(presets[name], True), "artefacts")
        return cls.parse(dict(choice), "artefacts")

    def change(self, **changes: Any) -> Self:
        """Return a copy with some artefacts switched or changed."""
        return self.parse({**self.model_dump(), **changes}, "artefacts")
