"""`Finding`: one thing noticed about an input, named so that a person can act on it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Finding:
    """One observation about the files of a stack.

    Parameters
    ----------
    kind
        "missing-number", "duplicate-number", "mixed-shape", "mixed-dtype", "truncated", "undecodable",
        "foreign-file", "no-scale", "contradiction", "evidence", "info-bar", ...
    message
        One sentence that names the file or value and the way out.
    severity
        "error" (a slice cannot be used), "warning" (the user should know) or "note" (nothing was lost).
    files
        Names of the files concerned.
    asks
        Fact of `Calibration` that would settle it; the finding goes once the user states that fact.
    """

    kind: str
    message: str
    severity: Severity = "warning"
    files: tuple[str, ...] = ()
    asks: str = ""


def listed(names: Sequence[object], most: int = 4) -> str:
    """Join names for a sentence, cutting long lists: "a, b, c, d and 17 more"."""
    shown = ", ".join(str(name) for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
