"""What the microscope logged slice by slice (focus, beam shift, stage), from the headers of some slices."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MOST_HEADERS = 32
"""Headers read per log; enough for a slope, and a bounded number of files to open."""

_NM_PER = {"mm": 1e6, "um": 1e3}
_LOGGED = {
    "working_distance_nm": ("working_distance_mm",),
    "beam_shift_y_nm": ("beam_shift_y_um", "sem_correction_y_um"),
    "beam_shift_x_nm": ("beam_shift_x_um", "sem_correction_x_um"),
    "stage_x_nm": ("stage_x_mm",),
    "stage_y_nm": ("stage_y_mm",),
    "stage_z_nm": ("stage_z_mm",),
    "stage_tilt_deg": ("stage_tilt_deg",),
}


@dataclass(frozen=True)
class SliceLog:
    """One quantity over the slices that say it.

    Attributes
    ----------
    index
        Indices of the slices, ascending.
    value
        What the instrument wrote for each of them; signs are the instrument's.
    unit
        "nm" or "deg".
    origin
        Place in the header of the first of them.
    """

    index: tuple[int, ...]
    value: tuple[float, ...]
    unit: str
    origin: str


def read_logs(files: Sequence[Path], most: int = MOST_HEADERS) -> dict[str, SliceLog]:
    """Read the headers of up to `most` evenly spread slices.

    Parameters
    ----------
    files
        One image per slice.
    most
        Headers to read.

    Returns
    -------
    dict
        ``working_distance_nm``, ``beam_shift_y_nm``, ``beam_shift_x_nm``, ``stage_x_nm``, ``stage_y_nm``,
        ``stage_z_nm`` and ``stage_tilt_deg``, as far as at least two slices tell. A beam shift in percent is no
        length and is left out.
    """
    from fibtomo.io.vendor import read_vendor

    last = len(files) - 1
    wanted = range(last + 1) if last < most else sorted({round(i * last / (most - 1)) for i in range(most)})
    infos = {k: info for k in wanted if (info := read_vendor(files[k])) is not None}
    logs = {}
    for name, keys in _LOGGED.items():
        for key in keys:
            said = {k: info.metadata[key] for k, info in infos.items() if key in info.metadata}
            if len(said) > 1:
                factor = _NM_PER.get(key.rpartition("_")[2], 1.0)
                values = tuple(float(s.value) * factor for s in said.values())
                origin = next(iter(said.values())).origin
                logs[name] = SliceLog(tuple(said), values, name.rpartition("_")[2], origin)
                break
    return logs
