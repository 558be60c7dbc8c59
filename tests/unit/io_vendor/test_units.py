import math

import pytest

from fibtomo.io.vendor.units import convert, decode, parse_quantity


@pytest.mark.parametrize(
    "data",
    [
        "Größe 5 µm".encode(),
        "Größe 5 µm".encode("cp1252"),
        b"\xef\xbb\xbf" + "Größe 5 µm".encode(),
        "Größe 5 µm".encode("utf-16"),
        "Größe 5 µm".encode("utf-16-le"),
        "Größe 5 µm".encode("utf-16-be"),
        "Grö\0ße 5 µm\0\0\0".encode(),
    ],
)
def test_decode_every_encoding(data: bytes) -> None:
    assert decode(data) == "Größe 5 µm"


def test_decode_padding_is_not_utf16() -> None:
    assert decode(b"[User]\r\nDate=1\r\n" + b"\0" * 4000) == "[User]\r\nDate=1\r\n"


@pytest.mark.parametrize(
    ("text", "unit", "expected"),
    [
        ("= -36.0°", "", (-36.0, "°")),
        ("1.5e-009", "m", (1.5e-9, "m")),
        ("8100 um", "mm", (8100.0, "um")),
        ("3,25", "nm", (3.25, "nm")),
        ("=  248.4 ?A", "A", (248.4, "?A")),
        ("1024 * 768", "", (1024.0, "")),
        ("", "m", None),
        ("NaN", "m", None),
        ("1e999", "m", None),
        ("Signal 2", "", None),
        ("5 furlong", "m", None),
    ],
)
def test_parse_quantity(text: str, unit: str, expected: tuple[float, str] | None) -> None:
    assert parse_quantity(text, unit) == expected


def test_convert() -> None:
    assert convert(385.417e-9, "m", "nm") == 385.417
    assert convert(-math.radians(38), "rad", "deg") == pytest.approx(-38, abs=1e-9)
    assert convert(248.4, "?A", "nA") == 248400
    assert convert(5, "pA", "Pa") is None
