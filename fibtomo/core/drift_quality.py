"""How good an alignment is where nobody knows the true motion."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fibtomo.core.volume import Table
from fibtomo.errors import InputError

Float = NDArray[np.float64]

COLUMNS = ("left_out_px", "ncc_before", "ncc_after")
"""What is known slice by slice, as columns of a drift file."""


@dataclass(frozen=True, eq=False)
class DriftQuality:
    """Numbers on the alignment of n slices that need no ground truth; NaN where nothing is known.

    All of them judge the motion from slice to slice. The slow part, which inclined structure imitates, they cannot
    see: `Drift.undecided_px` says how large it may be.

    Parameters
    ----------
    left_out_px
        (n,) rms per axis by which the pairs of a slice miss what all other pairs say of them.
    ncc_before, ncc_after
        (n,) normalised cross-correlation with the slice before, as stored and as aligned, over what both show and in
        the band of spatial frequencies that the drift was measured in.
    left_out_rms_px
        (dy, dx) rms over the pairs of the stack.
    closure_px
        rms of |m_ik − m_ij − m_jk| over the triples of slices whose three pairs were all accepted.
    closure_mean_px
        (dy, dx) mean of m_ik − m_ij − m_jk over the same: what the loops miss always the same way, which means that
        fine structure, alike over one slice only, moves otherwise than coarse structure.
    checked_pairs
        Pairs that others check; a pair without such tells nothing.

    Raises
    ------
    InputError
        The columns differ in length.

    Examples
    --------
    >>> quality = DriftQuality([0.02, 0.04], [np.nan, 0.5], [np.nan, 0.75], (0.03, 0.02), 0.05)
    >>> quality.summary()["ncc_after"]
    0.75
    """

    left_out_px: Float
    ncc_before: Float
    ncc_after: Float
    left_out_rms_px: tuple[float, float] = (np.nan, np.nan)
    closure_px: float = np.nan
    closure_mean_px: tuple[float, float] = (np.nan, np.nan)
    checked_pairs: int = 0

    def __post_init__(self) -> None:
        for name in COLUMNS:
            object.__setattr__(self, name, np.array(getattr(self, name), dtype=np.float64))
        if len({getattr(self, name).shape for name in COLUMNS}) > 1:
            raise InputError(f"the columns {', '.join(COLUMNS)} of the quality must have one length")
        for name in ("left_out_rms_px", "closure_mean_px"):
            dy, dx = getattr(self, name)
            object.__setattr__(self, name, (_number(dy), _number(dx)))
        object.__setattr__(self, "closure_px", _number(self.closure_px))

    def __len__(self) -> int:
        """Number of slices."""
        return len(self.left_out_px)

    def then(self, finer: "DriftQuality") -> "DriftQuality":
        """Quality of two drifts in a row: the stack before the first, and all else as the second left it."""
        return replace(finer, ncc_before=self.ncc_before)

    def summary(self) -> dict[str, float]:
        """Return the numbers of the whole stack by name, medians of those that every slice has."""
        before, after = (_median(column) for column in (self.ncc_before, self.ncc_after))
        return {
            "left_out_dy_px": self.left_out_rms_px[0],
            "left_out_dx_px": self.left_out_rms_px[1],
            "checked_pairs": self.checked_pairs,
            "closure_px": self.closure_px,
            "closure_mean_dy_px": self.closure_mean_px[0],
            "closure_mean_dx_px": self.closure_mean_px[1],
            "ncc_before": before,
            "ncc_after": after,
        }

    def head(self) -> Table:
        """Return what is known of the stack as a whole, ready for JSON."""
        return {
            "left_out_rms_px": [_known(v) for v in self.left_out_rms_px],
            "closure_px": _known(self.closure_px),
            "closure_mean_px": [_known(v) for v in self.closure_mean_px],
            "checked_pairs": self.checked_pairs,
        }

    def to_table(self) -> Table:
        """Return plain columns and numbers."""
        return {name: getattr(self, name) for name in COLUMNS} | self.head()

    @classmethod
    def from_table(cls, table: Table) -> "DriftQuality":
        """Rebuild from `to_table`; ``None`` stands for what is not known."""
        left_out, before, after = (np.array(table[name], dtype=np.float64) for name in COLUMNS)
        return cls(
            left_out,
            before,
            after,
            left_out_rms_px=table.get("left_out_rms_px", (None, None)),
            closure_px=_number(table.get("closure_px")),
            closure_mean_px=table.get("closure_mean_px", (None, None)),
            checked_pairs=int(table.get("checked_pairs", 0)),
        )


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _median(column: Float) -> float:
    known = column[np.isfinite(column)]
    return float(np.median(known)) if len(known) else float("nan")
