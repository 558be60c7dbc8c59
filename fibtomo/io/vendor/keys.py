"""The keys of one vendor block, looked up under normalised names with units, each value with its origin."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fibtomo.core.volume import UNKNOWN, Sourced
from fibtomo.io.vendor.units import convert, parse_quantity

_UNIT_OF_SUFFIX = {
    "kv": "kV",
    "na": "nA",
    "pa": "Pa",
    "mm": "mm",
    "um": "µm",
    "nm": "nm",
    "us": "µs",
    "s": "s",
    "deg": "deg",
}
_TRUE, _FALSE = {"yes", "on", "true", "1"}, {"no", "off", "false", "0"}


@dataclass(frozen=True)
class Field:
    """One normalised name and the vendor's keys for it, best first.

    Parameters
    ----------
    name
        Normalised name; its suffix (``_kv``, ``_mm``, ...) is the unit of the value.
    keys
        Keys of the vendor.
    unit
        Unit of the vendor where the text itself names none; ``None`` for plain text.
    """

    name: str
    keys: tuple[str, ...]
    unit: str | None = None


@dataclass(frozen=True)
class Keys:
    """Keys and texts of one metadata block.

    Parameters
    ----------
    raw
        Key (as a person would look it up) to text.
    where
        Place of the block: "tag 34682", "sidecar image000.txt", ...
    """

    raw: Mapping[str, str]
    where: str

    def text(self, *keys: str) -> Sourced:
        """First text that is not empty."""
        for key in keys:
            if value := self.raw.get(key, "").strip():
                return self._sourced(value, key)
        return UNKNOWN

    def number(self, *keys: str, unit: str = "", to: str = "") -> Sourced:
        """First finite number, read as `unit` unless the text names its own, in the unit `to`."""
        for key in keys:
            if quantity := parse_quantity(self.raw.get(key, ""), unit):
                value = convert(*quantity, to)
                if value is not None:
                    return self._sourced(value, key)
        return UNKNOWN

    def length_nm(self, *keys: str, unit: str) -> Sourced:
        """First positive length in nm."""
        for key in keys:
            length = self.number(key, unit=unit, to="nm")
            if length and length.value > 0:
                return length
        return UNKNOWN

    def count(self, *keys: str) -> int | None:
        """First positive whole number."""
        number = self.number(*keys)
        return int(number.value) if number and number.value >= 1 else None

    def flag(self, *keys: str) -> Sourced:
        """First yes/no, on/off, true/false or 1/0."""
        for key in keys:
            word = self.raw.get(key, "").strip(" =").lower()
            if word in _TRUE | _FALSE:
                return self._sourced(word in _TRUE, key)
        return UNKNOWN

    def collect(self, fields: Iterable[Field]) -> dict[str, Sourced]:
        """Every field that is there."""
        found = {}
        for field in fields:
            if field.unit is None:
                value = self.text(*field.keys)
            else:
                value = self.number(
                    *field.keys, unit=field.unit, to=_UNIT_OF_SUFFIX.get(field.name.rpartition("_")[2], "")
                )
            if value:
                found[field.name] = value
        return found

    def date(self, date_key: str, time_key: str) -> dict[str, Sourced]:
        """``{"date": ...}`` as the instrument wrote it, with the time of day if there is one."""
        day, hour = self.text(date_key), self.text(time_key)
        return {"date": Sourced(f"{day.value} {hour.value or ''}".strip(), day.origin, day.confidence)} if day else {}

    def _sourced(self, value: object, key: str) -> Sourced:
        return Sourced(value, f"{self.where} {key}", "given")


def whole_numbers(text: str) -> list[int]:
    """Unsigned whole numbers of up to 9 digits in a text like "1280 960" or "1280x960"."""
    return [int(number) for number in re.findall(r"(?<!\d)[0-9]{1,9}(?!\d)", text)]


def pixel_pair(rows: Sourced, cols: Sourced) -> Sourced:
    """(dy, dx) in nm; one length stands for both where the other is missing."""
    best = cols or rows
    return Sourced(((rows or cols).value, best.value), best.origin, best.confidence) if best else UNKNOWN


def parse_ini(text: str) -> dict[str, str]:
    """``{"[Section] Key": text}`` of INI text.

    Of repeated sections and keys the first wins (instruments with several gas injectors repeat them); stray lines
    are skipped.
    """
    found: dict[str, str] = {}
    section = ""
    for line in text.splitlines():
        header = re.fullmatch(r"\s*\[([^\]]+)\]\s*", line)
        if header:
            section = f"[{header.group(1).strip()}] "
        elif "=" in line:
            key, _, value = line.partition("=")
            found.setdefault(section + key.strip(), value.strip())
    return found
