"""Text of instruments into numbers: encodings, decimal commas, units written inline."""

import math
import re

_UTF16_BOMS = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}
_NUMBER = re.compile(r"[-+]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][-+]?\d+)?")

# Symbol as instruments write it: (quantity, factor to its SI unit). A micro sign lost to a wrong encoding becomes "?".
_UNITS: dict[str, tuple[str, float]] = {
    **{micro + "m": ("length", 1e-6) for micro in ("µ", "μ", "u", "?", "\ufffd")},
    **{micro + "A": ("current", 1e-6) for micro in ("µ", "μ", "u", "?", "\ufffd")},
    **{micro + "s": ("time", 1e-6) for micro in ("µ", "μ", "u", "?", "\ufffd")},
    "m": ("length", 1.0),
    "mm": ("length", 1e-3),
    "micron": ("length", 1e-6),
    "nm": ("length", 1e-9),
    "pm": ("length", 1e-12),
    "fm": ("length", 1e-15),
    "Å": ("length", 1e-10),
    "inch": ("length", 0.0254),
    "cm": ("length", 1e-2),
    "V": ("voltage", 1.0),
    "Volt": ("voltage", 1.0),
    "Volts": ("voltage", 1.0),
    "kV": ("voltage", 1e3),
    "A": ("current", 1.0),
    "mA": ("current", 1e-3),
    "nA": ("current", 1e-9),
    "pA": ("current", 1e-12),
    "fA": ("current", 1e-15),
    "s": ("time", 1.0),
    "Secs": ("time", 1.0),
    "Mins": ("time", 60.0),
    "ms": ("time", 1e-3),
    "ns": ("time", 1e-9),
    "deg": ("angle", math.pi / 180),
    "°": ("angle", math.pi / 180),
    "rad": ("angle", 1.0),
    "mrad": ("angle", 1e-3),
    "Pa": ("pressure", 1.0),
    "mbar": ("pressure", 100.0),
    "Torr": ("pressure", 133.322368),
    "": ("number", 1.0),
}


def decode(data: bytes) -> str:
    """Text of a metadata block in UTF-8, UTF-16 (with or without mark) or Windows-1252, without null bytes."""
    encoding = _UTF16_BOMS.get(data[:2])
    body = data.rstrip(b"\0")
    if encoding is None and len(body) > 8:
        encoding = "utf-16-le" if _is_null_filled(body[1::2]) else "utf-16-be" if _is_null_filled(body[::2]) else None
    if encoding is not None:
        return data[: len(data) // 2 * 2].decode(encoding, errors="replace").replace("\0", "").lstrip("\ufeff")
    data = data.replace(b"\0", b"")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def _is_null_filled(data: bytes) -> bool:
    return data.count(0) > 0.8 * len(data)


def parse_quantity(text: str, unit: str = "") -> tuple[float, str] | None:
    """Split "= -36.0°" into a finite number and its unit, which is `unit` where none is written.

    ``None`` for text that is no number, and for a dimension in a unit that is not known.
    """
    match = _NUMBER.search(text)
    if match is None or text[: match.start()].strip(" =:\t"):
        return None
    value = float(match.group().replace(",", "."))
    written = text[match.end() :].strip()
    if not math.isfinite(value) or (written and unit and written not in _UNITS):
        return None
    return value, written if written in _UNITS and written else unit


def convert(value: float, unit: str, to: str) -> float | None:
    """`value` in the unit `to` to 12 digits; ``None`` when the units measure different things."""
    (quantity, factor), (wanted, per) = _UNITS[unit], _UNITS[to]
    return float(f"{value * factor / per:.12g}") if quantity == wanted else None
