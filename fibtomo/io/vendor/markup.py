"""XML blocks as flat keys; damaged XML is a sentence, never a crash."""

import re
from collections.abc import Iterator
from typing import Any

from fibtomo.io.vendor.units import decode


def parse_xml(data: bytes) -> Any | None:
    """Root element of an XML block with any encoding and padding; ``None`` when it is damaged or unsafe."""
    from xml.etree.ElementTree import ParseError

    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import fromstring

    try:
        text = _decode_declared(data).strip()
        return fromstring(re.sub(r"^<\?xml[^>]*\?>", "", text), forbid_dtd=True)
    except (ParseError, DefusedXmlException):
        return None


def _decode_declared(data: bytes) -> str:
    declared = re.match(rb"\s*<\?xml[^>]*encoding=[\"']iso-8859-1[\"']", data, re.IGNORECASE)
    return data.replace(b"\0", b"").decode("cp1252", errors="replace") if declared else decode(data)


def local_name(element: Any) -> str:
    """Tag of an element without its namespace."""
    return str(element.tag).rpartition("}")[2]


def flatten(root: Any) -> dict[str, str]:
    """``{"Scan/FOV_X": "45.7 um"}``: path below `root` to text, with the unit an attribute names.

    The first of equal paths wins. Items that carry a name (``<item name="EHT">``) become ``"BeamInfo/EHT"``.
    """
    found: dict[str, str] = {}
    for path, text in _leaves(root, ""):
        found.setdefault(path, text)
    return found


def _leaves(element: Any, prefix: str) -> Iterator[tuple[str, str]]:
    for child in element:
        path = f"{prefix}{child.get('name') or local_name(child)}"
        unit = child.get("units") or child.get("unit") or ""
        if child.text and child.text.strip():
            yield path, f"{child.text.strip()} {unit}".strip()
        yield from _leaves(child, path + "/")
