"""Length units as they are spelled in file headers."""

_NM = {
    "nm": 1.0,
    "nanometer": 1.0,
    "nanometers": 1.0,
    "nanometre": 1.0,
    "a": 0.1,
    "å": 0.1,
    "angstrom": 0.1,
    "pm": 1e-3,
    "picometer": 1e-3,
    "um": 1e3,
    "µm": 1e3,
    "\\u00b5m": 1e3,
    "micron": 1e3,
    "microns": 1e3,
    "micrometer": 1e3,
    "micrometers": 1e3,
    "micrometre": 1e3,
    "mm": 1e6,
    "millimeter": 1e6,
    "millimetre": 1e6,
    "cm": 1e7,
    "centimeter": 1e7,
    "m": 1e9,
    "meter": 1e9,
    "metre": 1e9,
    "inch": 2.54e7,
}


def length_nm(value: float, unit: str | None) -> float | None:
    """Length in nm, or None when the unit is no length.

    Examples
    --------
    >>> length_nm(2.5, "um")
    2500.0
    >>> length_nm(3.0, "pixel") is None
    True
    """
    factor = _NM.get((unit or "").strip().strip('"').casefold().replace("μ", "µ"))
    return None if factor is None else value * factor
