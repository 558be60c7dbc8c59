"""Specimens by name, and back to plain dictionaries."""

from dataclasses import fields
from typing import Any

from fibtomo.errors import InputError
from fibtomo.phantom.capped import Capped
from fibtomo.phantom.fiducial import Fiducial
from fibtomo.phantom.packing import BooleanBalls, InclinedColumns, Particles, Polycrystal
from fibtomo.phantom.specimens import Layered, NanoporousMetal, Specimen, Tpms
from fibtomo.phantom.trench import Trench

KINDS: dict[str, type[Specimen]] = {
    cls.kind: cls
    for cls in (
        NanoporousMetal,
        Particles,
        BooleanBalls,
        Tpms,
        Layered,
        Polycrystal,
        InclinedColumns,
        Capped,
        Trench,
        Fiducial,
    )
}


def make_specimen(kind: str, **parameters: Any) -> Specimen:
    """Build a specimen by name; nested specimens may be given as ``{"kind": ..., ...}``.

    Raises
    ------
    InputError
        The kind or a parameter is not known.

    Examples
    --------
    >>> make_specimen("tpms", surface="P", period_nm=120).surface
    'P'
    """
    if kind not in KINDS:
        raise InputError(f"specimen {kind!r} does not exist (there are: {', '.join(KINDS)})")
    known = [f.name for f in fields(KINDS[kind])]
    for name in parameters:
        if name not in known:
            raise InputError(f"{kind}: parameter {name!r} does not exist (there are: {', '.join(known)})")
    nested = {k: make_specimen(**v) if isinstance(v, dict) else v for k, v in parameters.items()}
    return KINDS[kind](**nested)


def describe(specimen: Specimen) -> dict[str, Any]:
    """Plain dictionary from which ``make_specimen(**description)`` builds the same specimen.

    Examples
    --------
    >>> make_specimen(**describe(Layered(azimuth_deg=3))) == Layered(azimuth_deg=3)
    True
    """
    values: dict[str, Any] = {"kind": specimen.kind}
    for item in fields(specimen):
        value = getattr(specimen, item.name)
        if isinstance(value, Specimen):
            value = describe(value)
        values[item.name] = list(value) if isinstance(value, tuple) else value
    return values
