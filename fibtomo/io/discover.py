"""A folder of slice images: which files belong to it, in which order, and what is wrong with them."""

from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from fibtomo.errors import StackError
from fibtomo.io.findings import Finding, listed
from fibtomo.io.naming import Series, alike, detector_rank, find_gaps, natural_key, split_series, take_apart
from fibtomo.io.readers.base import COLOURS, Opened, Reader
from fibtomo.io.readers.decode import decode
from fibtomo.io.readers.heads import IMAGES, Head, HeadError, read_head
from fibtomo.io.readers.image_files import FileSlices, colour_samples

_NOT_DETECTORS = ("ground_truth", "truth", "label", "mask", "thumb", "preview", "segment", "log", "report")
_SYSTEM_FILES = ("thumbs.db", "desktop.ini")
_PREFERRED = {suffix: i for i, suffix in enumerate((".tif", ".tiff", ".png", ".bmp", ".dat", ".jpg", ".jpeg"))}
_SECOND_SERIES = 0.2
_THREADS = 8


def open_folder(folder: Path, *, pattern: str | None = None, skip_bad: bool = False) -> Opened:
    """Open a folder of single images, or of one such folder per detector.

    Parameters
    ----------
    folder
        Holds the images, or subfolders with equally numbered images.
    pattern
        Glob that file names must match, such as ``"*_SE.tif"``.
    skip_bad
        Read unreadable or odd-sized slices as zeros instead of refusing them.

    Raises
    ------
    StackError
        There are no images, or some cannot be slices of one stack; the message names them.
    """
    images, others = _listed_files(folder, pattern)
    if images:
        images, findings = _one_format(images)
        series, odd = split_series(images)
        findings += _odd_names(folder, series, odd)
        home = folder
    else:
        series, home, findings = _detector_folders(folder, pattern)
        others = []
    findings += _foreign(others, [p for s in series.values() for p in s.files])
    series = _common_slices(series, findings)
    readers, images_of = {}, {}
    for name, one in series.items():
        _duplicates(one, skip_bad, findings)
        for label, reader in _readers(one, skip_bad, findings).items():
            channel = " ".join(part for part in (name, label) if part)
            readers[channel], images_of[channel] = reader, tuple(one.files)
    first = next(iter(series.values()))
    return Opened(
        readers=readers,
        images=images_of,
        numbers=tuple(first.numbers) if first.numbers else None,
        z_nm=tuple(first.z_nm) if first.z_nm else None,
        findings=findings,
        volume=False,
        folder=home,
    )


def _odd_names(folder: Path, series: dict[str, Series], odd: list[Path]) -> list[Finding]:
    """Name the few images that are called differently; a second series of slices is a question to the user."""
    if not odd:
        return []
    main = next(iter(series.values())).files
    template, count = Counter(take_apart(p).template for p in odd).most_common(1)[0]
    if count >= max(3, len(main) * _SECOND_SERIES):
        raise StackError(
            f"{folder} holds two series, '{take_apart(main[0]).template}' ({len(main)} images) and '{template}' "
            f"({count}); choose one with --pattern, such as '{template.replace('#', '*')}{odd[0].suffix}'"
        )
    names = tuple(p.name for p in odd)
    return [
        Finding(
            "foreign-file", f"{len(odd)} images are named differently and were left out: {listed(names)}", files=names
        )
    ]


def open_files(files: Sequence[Path], *, skip_bad: bool = False) -> Opened:
    """Open image files, already in order, as the slices of one detector; no project is looked for.

    Raises
    ------
    StackError
        A file cannot be a slice.
    """
    findings: list[Finding] = []
    readers = _readers(Series(list(files), None), skip_bad, findings)
    return Opened(readers, dict.fromkeys(readers, tuple(files)), findings=findings, volume=False)


def _listed_files(folder: Path, pattern: str | None) -> tuple[list[Path], list[Path]]:
    """Image files of a folder, and everything else in it."""
    entries = sorted(folder.iterdir(), key=lambda p: natural_key(p.name))
    entries = [p for p in entries if not p.name.startswith(".") and p.name.casefold() not in _SYSTEM_FILES]
    broken = [p for p in entries if p.suffix.casefold() in IMAGES and p.is_symlink() and not p.exists()]
    if broken:
        raise StackError(f"{broken[0]} is a link to a file that is not there; restore it or remove the link")
    images = [p for p in entries if p.suffix.casefold() in IMAGES and p.is_file() and _may_be_image(p)]
    others = [p for p in entries if p not in set(images)]
    if pattern is None:
        return images, others
    chosen = [p for p in images if p.match(pattern)]
    if images and not chosen:
        raise StackError(f"{folder}: none of {len(images)} images matches the pattern '{pattern}'")
    return chosen, others


def _may_be_image(path: Path) -> bool:
    """Whether a .dat file is a Janelia image (projects of other vendors end in .dat too)."""
    from fibtomo.io.vendor.janelia import is_dat

    return path.suffix.casefold() != ".dat" or is_dat(path)


def _one_format(images: list[Path]) -> tuple[list[Path], list[Finding]]:
    """Keep the most frequent file type; exported copies of another type are left out and named."""
    counts = Counter(p.suffix.casefold() for p in images)
    best = min(counts, key=lambda suffix: (-counts[suffix], _PREFERRED[suffix]))
    family = {".tif", ".tiff"} if best in (".tif", ".tiff") else {".jpg", ".jpeg"} if best.startswith(".j") else {best}
    left = [p for p in images if p.suffix.casefold() not in family]
    findings = []
    if left:
        text = f"{len(left)} images of another type than {best} were left out: {listed([p.name for p in left])}"
        findings.append(Finding("foreign-file", text, files=tuple(p.name for p in left)))
    if best.startswith(".j"):
        text = "JPEG files have lost detail and carry block edges; use the original images if they exist"
        findings.append(Finding("lossy", text))
    return [p for p in images if p.suffix.casefold() in family], findings


def _detector_folders(folder: Path, pattern: str | None) -> tuple[dict[str, Series], Path, list[Finding]]:
    """Series of a folder without images of its own: one per subfolder."""
    found: dict[str, Series] = {}
    folders: dict[str, Path] = {}
    findings: list[Finding] = []
    for sub in sorted((p for p in folder.iterdir() if p.is_dir()), key=lambda p: natural_key(p.name)):
        if any(word in sub.name.casefold() for word in _NOT_DETECTORS) or sub.name.startswith("."):
            continue
        images, _ = _listed_files(sub, pattern)
        if images:
            images, more = _one_format(images)
            findings += more
            series, _ = split_series(images)
            for label, one in series.items():
                found[f"{sub.name} {label}".strip()] = one
            folders[sub.name] = sub
    if not found:
        raise StackError(
            f"{folder} holds no slice images ({', '.join(_PREFERRED)}), neither itself nor one folder down"
        )
    if len(found) == 1:
        (name,) = folders
        return {"": next(iter(found.values()))}, folders[name], findings
    largest = max(found.values(), key=lambda s: len(s.files))
    detectors = {name: s for name, s in found.items() if alike(s, largest)}
    if len(detectors) == 1:
        raise StackError(f"{folder} holds several different image folders; choose one: {listed(list(folders), 8)}")
    if len(detectors) < len(found):
        left = [name for name in found if name not in detectors]
        text = f"folders with other slice numbers were left out: {listed(left)}"
        findings.append(Finding("foreign-file", text, files=tuple(left)))
    return {name: detectors[name] for name in sorted(detectors, key=detector_rank)}, folder, findings


def _foreign(others: Sequence[Path], images: Iterable[Path]) -> list[Finding]:
    """Note what lies in the folder besides slices and the text files that belong to them."""
    stems = {p.stem.casefold() for p in images}
    left = [p for p in others if not {p.stem.casefold(), p.stem.casefold().rpartition("-")[0]} & stems]
    if not left:
        return []
    names = tuple(p.name + ("/" if p.is_dir() else "") for p in left)
    return [Finding("foreign-file", f"not slices, and not read as such: {listed(names)}", "note", names)]


def _common_slices(series: dict[str, Series], findings: list[Finding]) -> dict[str, Series]:
    """Keep the slices that every detector has; note gaps in the numbers."""
    if len(series) > 1:
        if any(s.numbers is None for s in series.values()):
            lengths = {name: len(s.files) for name, s in series.items()}
            if len(set(lengths.values())) > 1:
                raise StackError(
                    f"the detectors have different numbers of slices ({lengths}); choose one with --pattern"
                )
        else:
            common = set.intersection(*(set(s.numbers or ()) for s in series.values()))
            every = set.union(*(set(s.numbers or ()) for s in series.values()))
            if not common:
                raise StackError(f"the folders {', '.join(series)} share no slice number; open one of them")
            if common != every:
                text = f"slices {listed(sorted(every - common))} are not there for every detector and were left out"
                findings.append(Finding("missing-number", text))
            series = {name: _only(s, common) for name, s in series.items()}
    first = next(iter(series.values()))
    gaps = find_gaps(first.numbers) if first.numbers else None
    if gaps and gaps[1]:
        text = (
            f"slice {listed(gaps[1])} is missing between {first.files[0].name} and {first.files[-1].name}; the gap is "
            f"kept in the slice positions"
        )
        findings.append(Finding("missing-number", text, files=tuple(str(n) for n in gaps[1])))
    return series


def _only(series: Series, numbers: set[int]) -> Series:
    kept = [i for i, n in enumerate(series.numbers or ()) if n in numbers]
    return replace(
        series,
        files=[series.files[i] for i in kept],
        numbers=[series.numbers[i] for i in kept] if series.numbers else None,
        z_nm=[series.z_nm[i] for i in kept] if series.z_nm else None,
    )


def _duplicates(series: Series, skip_bad: bool, findings: list[Finding]) -> None:
    if not series.duplicates:
        return
    pairs = listed([f"{a.name} and {b.name}" for a, b in series.duplicates])
    text = f"the same slice number stands on two files ({pairs})"
    if not skip_bad:
        raise StackError(f"{text}; remove one of each, choose with --pattern, or pass --skip-bad to keep the first")
    files = tuple(b.name for _, b in series.duplicates)
    findings.append(Finding("duplicate-number", f"{text}; the first of each is used", files=files))


def _readers(series: Series, skip_bad: bool, findings: list[Finding]) -> dict[str, Reader]:
    """Readers of one series: the usual size and type is the stack's; files that differ are refused or marked bad."""
    files = tuple(series.files)
    with ThreadPoolExecutor(_THREADS) as pool:
        heads = list(pool.map(_head, files))
    kinds = Counter((h.rows, h.columns, h.dtype, h.samples) for h in heads if isinstance(h, Head))
    wrong: dict[int, Finding] = {}
    for i, head in enumerate(heads):
        if isinstance(head, HeadError):
            wrong[i] = Finding(head.kind, f"{files[i].name} {head}", "error", (files[i].name,))
    if not kinds:
        raise StackError(f"{files[0].parent}: {wrong[0].message}, and no other file can be read as an image")
    usual = kinds.most_common(1)[0][0]
    for i, head in enumerate(heads):
        if isinstance(head, Head) and (head.rows, head.columns, head.dtype, head.samples) != usual:
            wrong[i] = _odd_one(files[i], head, usual, kinds.total() - 1)
    if skip_bad:
        _try_decoding(files, heads, wrong)
    if wrong and not skip_bad:
        texts = "; ".join(f.message for f in list(wrong.values())[:3])
        more = f" (and {len(wrong) - 3} more)" if len(wrong) > 3 else ""
        raise StackError(
            f"{files[0].parent}: {texts}{more}; remove or replace, or pass --skip-bad to bridge such slices"
        )
    for finding in wrong.values():
        text = f"{finding.message}; read as blank and to be bridged by its neighbours"
        findings.append(replace(finding, message=text, severity="warning"))
    good = next(h for i, h in enumerate(heads) if i not in wrong and isinstance(h, Head))
    if good.pages > 1:
        raise StackError(
            f"{files[0].parent} holds files of {good.pages} images each ({files[0].name}); open one file, or save one "
            f"image per file"
        )
    return _by_sample(files, heads, good, frozenset(wrong), findings)


def _try_decoding(files: tuple[Path, ...], heads: list[Head | HeadError], wrong: dict[int, Finding]) -> None:
    """Find files whose pixels cannot be decoded though the header is sound; only who skips bad slices pays for it."""

    def attempt(i: int) -> None:
        try:
            decode(files[i])
        except StackError as error:
            wrong[i] = Finding("undecodable", str(error), "error", (files[i].name,))

    packed = [i for i, h in enumerate(heads) if i not in wrong and isinstance(h, Head) and h.offset is None]
    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(attempt, packed))


def _by_sample(
    files: tuple[Path, ...], heads: list[Head | HeadError], good: Head, bad: frozenset[int], findings: list[Finding]
) -> dict[str, Reader]:
    offsets = tuple(h.offset if isinstance(h, Head) else None for h in heads)
    common = FileSlices(files, good.rows, good.columns, good.dtype, offsets, 0, good.inverted, bad)
    if good.detectors:
        return {name: replace(common, sample=i) for i, name in enumerate(good.detectors)}
    if good.samples < len(COLOURS) - 1:
        return {"": common}
    readers, finding = colour_samples(
        {COLOURS[i]: replace(common, sample=i) for i in range(good.samples)}, files[0].name
    )
    findings.append(finding)
    return readers


def _odd_one(path: Path, head: Head, usual: tuple[int, int, str, int], others: int) -> Finding:
    rows, columns, dtype, samples = usual
    if (head.rows, head.columns) != (rows, columns):
        what = f"is {head.columns} × {head.rows} pixels where the other {others} are {columns} × {rows}"
        return Finding("mixed-shape", f"{path.name} {what}", "error", (path.name,))
    mine, theirs = (
        f"{t} with {s} value{'s' * (s > 1)} per pixel" for t, s in ((head.dtype, head.samples), (dtype, samples))
    )
    return Finding("mixed-dtype", f"{path.name} is {mine} where the others are {theirs}", "error", (path.name,))


def _head(path: Path) -> Head | HeadError:
    try:
        return read_head(path)
    except HeadError as error:
        return error
    except OSError as error:
        return HeadError(f"cannot be opened ({error.strerror})")
