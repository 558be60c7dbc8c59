"""Numbers and lengths as people read them: sensible digits, units that fit."""

from datetime import datetime
from math import floor, isfinite, isnan, log10
from numbers import Real
from typing import Any

_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_UNITS = {"1": "", "um": "µm", "px": "px", "voxel": "voxels"}
THIN = "\u202f"
TIMES = f"{THIN}×{THIN}"


def number(value: Any, digits: int = 4) -> str:
    r"""Return `value` with `digits` significant digits, thin spaces between thousands, powers of ten as such.

    Examples
    --------
    >>> number(0.34127), number(3), number(1.25e-7), number(True), number(float("nan"))
    ('0.3413', '3', '1.25\u202f×\u202f10⁻⁷', 'yes', '–')
    """
    if isinstance(value, bool) or type(value).__name__ in {"bool", "bool_"}:
        return "yes" if value else "no"
    if not isinstance(value, Real):
        return "–" if value is None else str(value)
    size = float(value)
    if not isfinite(size):
        return "–" if isnan(size) else ("∞" if size > 0 else "−∞")
    if size == 0:
        return "0"
    if size.is_integer() and abs(size) < 1e9:
        return _grouped(f"{size:.0f}")
    exponent = floor(log10(abs(size)))
    if not -4 <= exponent < 9:
        mantissa = _plain(size / 10.0**exponent, digits - 1).rstrip("0").rstrip(".")
        return f"{mantissa}{TIMES}10{str(exponent).translate(_RAISED)}"
    return _plain(size, max(0, digits - 1 - exponent))


def with_uncertainty(value: Any, uncertainty: Any, digits: int = 4) -> str:
    """Return ``value ± uncertainty``, rounded to two digits of the uncertainty; without one, as `number`.

    Examples
    --------
    >>> with_uncertainty(0.341273, 0.00213)
    '0.3413 ± 0.0021'
    """
    if not isinstance(value, Real) or not isinstance(uncertainty, Real):
        return number(value, digits)
    size, doubt = float(value), float(uncertainty)
    if not isfinite(size) or not isfinite(doubt) or doubt <= 0:
        return number(value, digits)
    exponent = floor(log10(max(abs(size), doubt)))
    if not -4 <= exponent < 7:
        scale = 10.0**exponent
        inner = with_uncertainty(size / scale, doubt / scale, digits)
        return f"({inner}){TIMES}10{str(exponent).translate(_RAISED)}"
    decimals = min(9, max(0, 1 - floor(log10(doubt))))
    return f"{_plain(size, decimals)} ± {_plain(doubt, decimals)}"


def unit_text(unit: Any) -> str:
    """Return a unit with raised exponents: ``um^2`` is µm², ``1/nm`` is nm⁻¹.

    Examples
    --------
    >>> unit_text("um^2"), unit_text("1/nm"), unit_text("1/um3"), unit_text("nm^-1"), unit_text("1")
    ('µm²', 'nm⁻¹', 'µm⁻³', 'nm⁻¹', '')
    """
    text = "" if unit is None else str(unit).strip()
    if text in _UNITS:
        return _UNITS[text]
    inverse = text.startswith("1/")
    text = text.removeprefix("1/").replace("^", "")
    base = text.rstrip("-0123456789")
    power = text[len(base) :]
    base = _UNITS.get(base, base)
    if inverse:
        power = f"-{power or 1}"
    return base + power.translate(_RAISED)


def length(nm: float, unit: str = "nm", digits: int = 3) -> str:
    """Return a length in nm, µm or mm as fits; other units ("voxel") are kept.

    Examples
    --------
    >>> length(5), length(2560.4), length(12, "voxel")
    ('5 nm', '2.56 µm', '12 voxels')
    """
    if unit != "nm":
        return f"{number(nm, digits)} {_UNITS.get(unit, unit)}"
    for size, name in ((1e6, "mm"), (1e3, "µm"), (1.0, "nm")):
        if abs(nm) >= size:
            return f"{number(nm / size, digits)} {name}"
    return f"{number(nm, digits)} nm"


def extent(shape: tuple[int, ...], spacing: tuple[float, ...], unit: str, digits: int = 3) -> str:
    """Return the edges of a box (x, y, z order) with one unit: ``1.28 × 1.28 × 0.64 µm``.

    Examples
    --------
    >>> extent((64, 128, 128), (10.0, 10.0, 10.0), "nm")
    '1.28 × 1.28 × 0.64 µm'
    """
    edges = [n * d for n, d in zip(shape[::-1], spacing[::-1], strict=True)]
    scale, name = (1e3, "µm") if unit == "nm" and max(edges) >= 1e3 else (1.0, _UNITS.get(unit, unit))
    whole = all(float(e / scale).is_integer() for e in edges)
    decimals = 0 if whole else max(0, digits - 1 - floor(log10(max(edges) / scale)))
    return " × ".join(_plain(e / scale, decimals) for e in edges) + f" {name}"


def duration(seconds: float) -> str:
    """Return a time span: ``0.42 s``, ``3 min 12 s``, ``2 h 05 min``.

    Examples
    --------
    >>> duration(0.42), duration(192.2), duration(7500)
    ('0.42 s', '3 min 12 s', '2 h 05 min')
    """
    if seconds < 60:
        return f"{number(seconds, 2 if seconds < 10 else 3)} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def moment(stamp: str) -> str:
    """Return an ISO time stamp without its machine look; any other text as it is.

    Examples
    --------
    >>> moment("2026-11-22T21:07:23+00:00"), moment("yesterday")
    ('2026-11-22 21:07 UTC', 'yesterday')
    """
    try:
        return datetime.fromisoformat(stamp).strftime("%Y-%m-%d %H:%M %Z").strip()
    except ValueError:
        return stamp


def plural(count: int, noun: str) -> str:
    """Return ``1 slice`` or ``2 slices``.

    Examples
    --------
    >>> plural(1, "slice"), plural(0, "warning")
    ('1 slice', '0 warnings')
    """
    return f"{number(count)} {noun}" if count == 1 else f"{number(count)} {noun}s"


def index_ranges(indices: list[int], most: int = 12) -> str:
    """Return ascending indices with runs joined: ``3, 7–9``; a very long list is cut.

    Examples
    --------
    >>> index_ranges([3, 7, 8, 9, 14])
    '3, 7–9, 14'
    """
    runs: list[list[int]] = []
    for k in indices:
        if runs and k == runs[-1][1] + 1:
            runs[-1][1] = k
        else:
            runs.append([k, k])
    words = [str(a) if a == b else f"{a}–{b}" for a, b in runs[:most]]
    return ", ".join(words) + (" …" if len(runs) > most else "")


def _plain(value: float, decimals: int) -> str:
    return _grouped(f"{value:.{decimals}f}".replace("-", "−"))


def _grouped(text: str) -> str:
    whole, dot, fraction = text.partition(".")
    sign = "−" if whole[:1] in "-−" else ""
    digits = whole.lstrip("-−")
    if len(digits) > 4:
        digits = f"{int(digits):,}".replace(",", THIN)
    return sign + digits + dot + fraction
