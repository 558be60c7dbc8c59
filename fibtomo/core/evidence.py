"""What the slices themselves say about their acquisition, beside what metadata and users say."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Evidence:
    """One fact of the acquisition as the images show it.

    Attributes
    ----------
    fact
        Name of the field of `fibtomo.core.volume.Calibration` it speaks about.
    value
        What the images say; ``None`` when they cannot decide.
    text
        One sentence with the measured number and its error.
    decisive
        Strong enough to stand alone where nothing else is known, and to call metadata in question.
    numbers
        What was measured, by name with unit.
    """

    fact: str
    value: Any
    text: str
    decisive: bool = False
    numbers: dict[str, float] = field(default_factory=dict)
