"""What the names of slice files say: natural order, slice numbers, detectors side by side, gaps."""

import itertools
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fibtomo.io.units import length_nm

_NUMBER = re.compile(r"\d+\.\d+(?=\s*(?:nm|um|µm|μm|mm)(?![a-zA-Z]))|\d+")
_Z = re.compile(r"z\s*=\s*(\d+(?:\.\d+)?)\s*(nm|um|µm|μm|mm)(?![a-zA-Z])", re.IGNORECASE)
_SLICE_WORD = re.compile(r"(slice|section|image|img|frame|layer|cut|z)[\s_\-.#]*$", re.IGNORECASE)
_WORDS = re.compile(r"[^\s_\-.#()\[\]]+")
_MOST_CHANNELS = 8

_DETECTOR_ORDER = (
    *("etd", "se", "se1", "se2", "sed", "hese2", "everhart", "inlens", "tld", "ict", "mirror", "t1", "ice"),
    *("bse", "esb", "cbs", "abs", "vcd", "mdbse"),
)


@dataclass(frozen=True)
class SliceName:
    """One file name taken apart: text template with ``#`` for numbers, and the numbers themselves."""

    path: Path
    template: str
    numbers: tuple[float, ...]
    z_nm: float | None


@dataclass
class Series:
    """Files of one detector in slice order; `numbers` is None where the names hold no running number."""

    files: list[Path]
    numbers: list[int] | None
    z_nm: list[float] | None = None
    duplicates: list[tuple[Path, Path]] = field(default_factory=list)


def natural_key(text: str) -> tuple[tuple[str, float], ...]:
    """Sort key in which numbers compare as numbers: slice_9 before slice_10, z=9.5um before z=10um."""
    parts: list[tuple[str, float]] = []
    start = 0
    for match in _NUMBER.finditer(text):
        parts.append((text[start : match.start()].casefold(), float(match.group())))
        start = match.end()
    parts.append((text[start:].casefold(), -1.0))
    return tuple(parts)


def take_apart(path: Path) -> SliceName:
    """Split the stem of a file name into template and numbers."""
    z = _Z.search(path.stem)
    return SliceName(
        path=path,
        template=_NUMBER.sub("#", path.stem),
        numbers=tuple(float(m) for m in _NUMBER.findall(path.stem)),
        z_nm=length_nm(float(z.group(1)), z.group(2)) if z else None,
    )


def split_series(paths: Sequence[Path]) -> tuple[dict[str, Series], list[Path]]:
    """Sort image files into one series per detector.

    Parameters
    ----------
    paths
        Image files of one folder.

    Returns
    -------
    series, odd
        Series by detector name ("" when there is only one), the default detector first; and files whose names
        fit none of them.
    """
    groups: dict[str, list[SliceName]] = {}
    for path in sorted(paths, key=lambda p: natural_key(p.name)):
        name = take_apart(path)
        groups.setdefault(name.template.casefold(), []).append(name)
    largest = max(groups.values(), key=len)
    if len(largest) < max(2, len(paths) / _MOST_CHANNELS):
        return {"": _in_order([n for group in groups.values() for n in group])}, []
    resolved = {group[0].template: _channels(group) for group in groups.values()}
    main = resolved[largest[0].template]
    partners = {t: c for t, c in resolved.items() if len(c) == len(main) == 1 and alike(c[""], main[""])}
    if len(partners) > 1:
        labels = _labels(list(partners))
        series = {labels[t]: c[""] for t, c in partners.items()}
    else:
        series, partners = main, {largest[0].template: main}
    odd = [n.path for group in groups.values() if group[0].template not in partners for n in group]
    return {name: series[name] for name in sorted(series, key=detector_rank)}, odd


def detector_rank(name: str) -> tuple[int, tuple[tuple[str, float], ...]]:
    """Order of detectors: secondary electrons first, then in-lens, then backscattered, then the rest by name."""
    word = re.sub(r"[^a-z0-9]", "", name.casefold())
    plain = word.rstrip("0123456789")
    rank = next((i for i, known in enumerate(_DETECTOR_ORDER) if word == known or plain == known), 99)
    return rank, natural_key(name)


def alike(one: Series, other: Series) -> bool:
    """Whether two series number (mostly) the same slices; without numbers, whether they are equally long."""
    if one.numbers is None or other.numbers is None:
        return len(one.files) == len(other.files)
    a, b = set(one.numbers), set(other.numbers)
    return len(a & b) > len(a | b) / 2


def find_gaps(numbers: Sequence[int]) -> tuple[int, list[int]] | None:
    """Step of ascending slice numbers and the numbers missing between them.

    Returns None where the numbers do not run regularly (times, identifiers).
    """
    steps = [b - a for a, b in itertools.pairwise(numbers)]
    if not steps:
        return 1, []
    counts = Counter(steps)
    most = max(counts.values())
    step = min(s for s, c in counts.items() if c == most)
    if step <= 0 or most < len(steps) / 2 or any(s % step for s in steps):
        return None
    return step, [n for a, s in zip(numbers, steps, strict=False) for n in range(a + step, a + s, step)]


def _channels(group: list[SliceName]) -> dict[str, Series]:
    """One template group as one series, or as several when a second number tells detectors apart."""
    columns = list(zip(*(name.numbers for name in group), strict=True))
    whole = [i for i, column in enumerate(columns) if all(v.is_integer() for v in column)]
    varying = [i for i in whole if len(set(columns[i])) > 1]
    if any(len(set(columns[i])) == len(group) for i in whole) or not varying:
        return {"": _in_order(group)}
    texts = group[0].template.split("#")
    p = max(varying, key=lambda i: (len(set(columns[i])), bool(_SLICE_WORD.search(texts[i])), -i))
    for q in varying:
        pairs = set(zip(columns[p], columns[q], strict=True))
        if q != p and len(set(columns[q])) <= _MOST_CHANNELS and len(pairs) == len(group):
            prefix = re.split(r"[\s_\-.]+", texts[q])[-1]
            values = sorted(set(columns[q]))
            return {f"{prefix}{v:.0f}": _in_order([n for n in group if n.numbers[q] == v]) for v in values}
    return {"": _in_order(group)}


def _in_order(group: list[SliceName]) -> Series:
    """Order files by slice number; the first file of a number is kept, later ones are reported."""
    ordered = sorted(group, key=lambda n: natural_key(n.path.name))
    position = _number_position(group)
    if position is None:
        return Series([n.path for n in ordered], None, _all_z(ordered))
    ordered.sort(key=lambda n: n.numbers[position])
    kept: dict[int, SliceName] = {}
    duplicates = []
    for name in ordered:
        number = int(name.numbers[position])
        if number in kept:
            duplicates.append((kept[number].path, name.path))
        else:
            kept[number] = name
    return Series([n.path for n in kept.values()], list(kept), _all_z(list(kept.values())), duplicates)


def _all_z(names: list[SliceName]) -> list[float] | None:
    """Positions in the names, if every name has one."""
    z_nm = [name.z_nm for name in names if name.z_nm is not None]
    return z_nm if len(z_nm) == len(names) else None


def _number_position(group: list[SliceName]) -> int | None:
    """Which of the numbers in the names is the slice number: unique, running, best after a word such as "slice"."""
    if len({name.template.casefold() for name in group}) > 1 or not group[0].numbers:
        return None
    texts = group[0].template.split("#")
    best, best_score = None, (0, 0, 0, 0)
    for i, column in enumerate(zip(*(name.numbers for name in group), strict=True)):
        constant = len(group) > 1 and len(set(column)) == 1
        if constant or texts[i].rstrip().endswith("=") or not all(v.is_integer() for v in column):
            continue
        values = sorted(int(v) for v in set(column))
        regular = find_gaps(values) is not None
        score = (int(regular), len(values), int(bool(_SLICE_WORD.search(texts[i]))), i + 1)
        if regular and score > best_score:
            best, best_score = i, score
    return best


def _labels(templates: list[str]) -> dict[str, str]:
    """Short names from the words in which templates differ."""
    words = {t: _WORDS.findall(t) for t in templates}
    shared = set.intersection(*(set(w) for w in words.values()))
    labels = {t: " ".join(w for w in words[t] if w not in shared) or "main" for t in templates}
    if len(set(labels.values())) < len(templates):
        return {t: f"channel {i}" for i, t in enumerate(templates)}
    return labels
