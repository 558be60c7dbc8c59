"""`open_stack`: one way to open slices, whatever they lie in."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from fibtomo.core.volume import UNKNOWN, Calibration, Sourced
from fibtomo.errors import InputError
from fibtomo.io.calibrate import merge, selected, slice_positions
from fibtomo.io.doubts import still_open, turned_scan, unweighed, vendor_warnings, weighed
from fibtomo.io.facts import UserFacts, is_stated
from fibtomo.io.findings import Finding, listed
from fibtomo.io.infobar import info_bar_rows
from fibtomo.io.inputs import RawFacts, open_input
from fibtomo.io.naming import find_gaps
from fibtomo.io.readers.base import Opened, Reader
from fibtomo.io.stack import Stack, evenly, measured_range
from fibtomo.io.stretched import stretched
from fibtomo.io.vendor.info import ProjectInfo, VendorInfo

_PIXEL_TOLERANCE = 1e-3


def open_stack(
    path: Any,
    *,
    voxel_nm: Sequence[float | None] | Literal["unknown"] | None = None,
    column_angle_deg: float | None = None,
    tilt_corrected: bool | None = None,
    tracked: bool | None = None,
    overtilt_deg: float | None = None,
    face_tilt_deg: float | None = None,
    sample_tilt_deg: float | None = None,
    orientation: str | None = None,
    accept_guess: str | Sequence[str] = (),
    channel: str | None = None,
    companions: Sequence[str] = (),
    dataset: str | None = None,
    slices: "slice | Sequence[int] | str | None" = None,
    crop_info_bar: "bool | int | Literal['auto']" = "auto",
    pattern: str | None = None,
    skip_bad: bool = False,
    shape: tuple[int, int, int] | None = None,
    dtype: str | None = None,
    offset: int = 0,
) -> Stack:
    """Open a stack of slices lazily, with all that is known of its scale and where that comes from.

    Parameters
    ----------
    path
        Folder of single images (TIFF, PNG, BMP, JPEG, Janelia .dat) or of one such folder per detector; multi-page
        TIFF; Zarr or OME-Zarr; HDF5; MRC; NRRD, MetaImage, NIfTI; raw voxels with a header; an array
        (z, y, x) or (c, z, y, x); or a `Stack`, whose facts are then overridden.
    voxel_nm
        (dz, dy, dx): slice thickness, pixel height and width in nm; a None entry is taken from the metadata;
        "unknown" runs in voxels. If nothing tells of a tilted face, it is taken as the true spacing.
    column_angle_deg
        Angle between electron and ion column; not the stage tilt.
    tilt_corrected
        Whether the stored rows already have true scale.
    tracked
        Whether the field of view followed the face.
    overtilt_deg
        Milling over-tilt of the face against the ion beam.
    face_tilt_deg
        Angle between electron beam and face normal where it was measured; replaces 90° − column angle − over-tilt.
    sample_tilt_deg
        Inclination of the sample surface (stage tilt minus signed pre-tilt of the holder).
    orientation
        How the stored images lie on the face: "upright" (surface at the top), "rotated-180", "flipped-rows" or
        "flipped-columns"; undone when slices are read.
    accept_guess
        Facts that may stay guesses, such as "slice_nm"; without, a run in nm refuses to rest on a guess.
    channel
        Detector to read by default.
    companions
        Further detectors, or maps of coarser pixels, that a run carries through the same geometry.
    dataset
        Volume inside an HDF5 file or Zarr group.
    slices
        Which slices, counted from 0: a `slice`, (start, stop) or (start, stop, step), or text "start:stop:step".
    crop_info_bar
        "auto" cuts a text bar off the bottom; False keeps all rows; a number cuts that many rows.
    pattern
        Glob that file names must match.
    skip_bad
        Read unreadable or odd-sized slices as zeros and list them in `bad_slices` instead of refusing the stack.
    shape, dtype, offset
        Of raw voxels without a header.

    Returns
    -------
    Stack
        Nothing but headers (and, for the info bar, three slices) has been read yet.

    Raises
    ------
    StackError
        The files cannot be read as one stack; the message names the file and the way out.
    InputError
        A stated value cannot be.
    """
    facts = UserFacts(
        *(voxel_nm, column_angle_deg, tilt_corrected, tracked),
        *(overtilt_deg, face_tilt_deg, sample_tilt_deg, orientation, accept_guess),
    )
    if isinstance(path, Stack):
        stack = _restated(path, facts, channel, slices)
        return stack.carrying(companions) if companions else stack
    place, opened = open_input(path, dataset, pattern, skip_bad, RawFacts(shape, dtype, offset))
    infos = {name: _vendor_infos(images) for name, images in opened.images.items()}
    _name_single_channel(opened, infos)
    name = _channel(place, opened.readers, channel)
    main = infos.get(name, [])
    project = _project(opened)
    calibration, findings = _calibration(opened, project, main, facts)
    reader = opened.readers[name]
    rows, cropped = _kept_rows(reader, main, crop_info_bar, bool(opened.images))
    _step, missing = (find_gaps(opened.numbers) if opened.numbers else None) or (1, [])
    chosen = _chosen(slices, reader.shape[0])
    calibration = selected(calibration, reader.shape[0], chosen)
    numbers = tuple(opened.numbers[k] for k in chosen) if opened.numbers else None
    wanted = {companion.casefold() for companion in companions}
    readers = {n: stretched(r, reader, rows[1], n) if n.casefold() in wanted else r for n, r in opened.readers.items()}
    stack = Stack(
        path=place,
        readers=_same_shape(readers, name, findings),
        channel_name=name,
        chosen=chosen,
        rows=rows,
        calibration=calibration,
        value_range=measured_range(reader, chosen, rows),
        details={n: _details(opened, project, infos.get(n, [])) for n in opened.readers},
        images=opened.images,
        problems=(
            *still_open(opened.findings, facts.calibration()),
            *cropped,
            *findings,
            *_not_finite(reader, chosen, rows),
        ),
        numbers=numbers,
        missing=tuple(n for n in missing if numbers and numbers[0] < n < numbers[-1]) if chosen.step == 1 else (),
    )
    return stack.carrying(companions)


def _vendor_infos(images: Sequence[Path]) -> list[tuple[Path, VendorInfo]]:
    """Facts in the first, middle and last file."""
    from fibtomo.io.vendor import read_vendor

    infos = ((images[k], read_vendor(images[k])) for k in evenly(range(len(images))))
    return [(path, info) for path, info in infos if info is not None]


def _name_single_channel(opened: Opened, infos: dict[str, list[tuple[Path, VendorInfo]]]) -> None:
    """Call the only detector by its name in the metadata."""
    if list(opened.readers) != [""]:
        return
    found = infos.get("", [])
    name = (found[0][1].detector if found else None) or "image"
    opened.readers = {name: opened.readers[""]}
    if opened.images:
        opened.images = {name: opened.images[""]}
        infos[name] = found


def _channel(place: Path, readers: dict[str, Reader], wanted: str | None) -> str:
    if wanted is None:
        return next(iter(readers))
    for name in readers:
        if name.casefold() == wanted.casefold():
            return name
    raise InputError(f"{place} has no channel '{wanted}'; there are: {', '.join(readers)}")


def _project(opened: Opened) -> ProjectInfo | None:
    from fibtomo.io.vendor import read_project

    if opened.folder is None:
        return None
    first = next(iter(opened.images.values()), (opened.folder,))[0]
    return read_project(first.parent)


def _calibration(
    opened: Opened, project: ProjectInfo | None, infos: list[tuple[Path, VendorInfo]], facts: UserFacts
) -> tuple[Calibration, list[Finding]]:
    """Merge all sources; positions of slices come last, because they need the merged thickness."""
    n_slices = next(iter(opened.readers.values())).shape[0]
    sources = [info.calibration for _, info in infos[:1]]
    findings = []
    if project is not None:
        names = [path.name for path in next(iter(opened.images.values()), ())]
        sources.insert(0, replace(project.calibration, slice_z_nm=_project_positions(project, opened, names)))
        findings += [Finding("project", text) for text in project.warnings]
    calibration, more = merge(facts, [*sources, opened.calibration], volume=opened.volume)
    if calibration.slice_z_nm and len(calibration.slice_z_nm.value) != n_slices:
        calibration = replace(calibration, slice_z_nm=UNKNOWN)
    if infos:
        findings += vendor_warnings(infos[0][1], calibration)
    changed = _changed_pixels(infos)
    if changed and not facts.in_voxels and not is_stated(calibration.pixel_nm):
        origin = f"{calibration.pixel_nm.origin}; but {changed[0].message.partition(', or give')[0]}"
        calibration = replace(calibration, pixel_nm=Sourced(calibration.pixel_nm.value, origin, "guess"))
    findings += [*more, *changed, *turned_scan(infos, calibration)]
    if facts.in_voxels:
        return calibration, findings
    step, _ = (find_gaps(opened.numbers) if opened.numbers else None) or (0, [])
    numbers = opened.numbers if step else None
    calibration, more = slice_positions(calibration, n_slices, numbers, step, opened.z_nm)
    return calibration, findings + more


def _project_positions(project: ProjectInfo, opened: Opened, names: list[str]) -> Sourced:
    """Positions the project holds for exactly these files."""
    by_name, by_number = project.slice_z_nm_by_name, project.thickness_nm_by_number
    if names and all(name in by_name for name in names):
        return Sourced(tuple(by_name[name] for name in names), f"project {project.path.name}", "measured")
    if opened.numbers and project.calibration.slice_z_nm and all(n in by_number for n in opened.numbers):
        first = opened.numbers[0]
        z = tuple(sum(t for k, t in by_number.items() if first < k <= n) for n in opened.numbers)
        return Sourced(z, project.calibration.slice_z_nm.origin, "measured")
    return UNKNOWN


def _changed_pixels(infos: list[tuple[Path, VendorInfo]]) -> list[Finding]:
    """Warn when the pixel size is not the same in the first, middle and last slice."""
    known = [(path, info.calibration.pixel_nm.value) for path, info in infos if info.calibration.pixel_nm]
    for path, value in known[1:]:
        first_path, first = known[0]
        if any(abs(a / b - 1) > _PIXEL_TOLERANCE for a, b in zip(value, first, strict=True)):
            text = (
                f"the pixel size changes within the stack: {first[1]:.6g} nm in {first_path.name}, {value[1]:.6g} nm "
                f"in {path.name}; split the stack there, or give --voxel-nm (voxel_nm) to override"
            )
            return [Finding("contradiction", text, files=(first_path.name, path.name), asks="pixel_nm")]
    return []


def _kept_rows(
    reader: Reader, infos: list[tuple[Path, VendorInfo]], crop: "bool | int | str", may_have_bar: bool
) -> tuple[tuple[int, int], list[Finding]]:
    """Image rows without the info bar, and what was cut."""
    rows = reader.shape[1]
    if crop is False or (crop == "auto" and not may_have_bar):
        return (0, rows), []
    if crop is not True and crop != "auto":
        if not isinstance(crop, int) or not 0 <= crop < rows:
            raise InputError(f"crop_info_bar = {crop!r} must be 'auto', False or a number of rows below {rows}")
        return (0, rows - crop), []
    told = infos[0][1].image_rows if infos else None
    if told and told < rows:
        text = f"rows {told} to {rows - 1} hold no image ({infos[0][1].vendor} metadata) and were cut off"
        return (0, told), [Finding("info-bar", text, "note")]
    good = [k for k in range(reader.shape[0]) if k not in reader.bad] or [0]
    bar = info_bar_rows([reader.read(slice(k, k + 1), slice(None))[0] for k in evenly(good)])
    if not bar:
        return (0, rows), []
    text = f"an info bar of {bar} rows was seen at the bottom and cut off (--keep-info-bar, crop_info_bar=False)"
    return (0, rows - bar), [Finding("info-bar", text)]


def _not_finite(reader: Reader, chosen: range, rows: tuple[int, int]) -> list[Finding]:
    """Warn of NaN and infinities in the first, middle and last slice of floats."""
    if np.dtype(reader.dtype).kind != "f":
        return []
    for k in evenly(chosen):
        if not np.isfinite(reader.read(slice(k, k + 1), slice(*rows))).all():
            text = f"slice {k} holds NaN or infinite greys; NaN is read as the lowest grey, blank slices are bridged"
            return [Finding("not-finite", text)]
    return []


def _chosen(slices: Any, n_slices: int) -> range:
    """Indices that `slices` asks for."""
    if slices is None:
        return range(n_slices)
    wanted = slices
    try:
        if isinstance(wanted, str):
            wanted = slice(*(int(part) if part.strip() else None for part in wanted.split(":")))
        elif not isinstance(wanted, slice):
            wanted = slice(*(None if v is None else int(v) for v in wanted))
        chosen = range(n_slices)[wanted]
    except (TypeError, ValueError):
        raise InputError(f"slices = {slices!r} is not understood; give START:STOP or START:STOP:STEP") from None
    if not chosen or chosen.step < 0:
        raise InputError(f"slices = {slices!r} chooses nothing from the {n_slices} slices (counted from 0)")
    return chosen


def _same_shape(readers: dict[str, Reader], main: str, findings: list[Finding]) -> dict[str, Reader]:
    """Leave out detectors whose images have another size."""
    left = [name for name, reader in readers.items() if reader.shape != readers[main].shape]
    if left:
        findings.append(Finding("mixed-shape", f"channels {listed(left)} have another size and were left out"))
    return {name: reader for name, reader in readers.items() if name not in left}


def _details(opened: Opened, project: ProjectInfo | None, infos: list[tuple[Path, VendorInfo]]) -> dict[str, Sourced]:
    """What container, project and vendor say, later sources outranking earlier ones."""
    details = dict(opened.metadata)
    if project is not None:
        details.update(project.metadata)
    for path, info in infos[:1]:
        details["vendor"] = Sourced(info.vendor, path.name, "given")
        details.update(info.metadata)
    return details


def _restated(stack: Stack, facts: UserFacts, channel: str | None, slices: Any) -> Stack:
    """Override the facts of an open stack; what its slices said is weighed anew, as far as it still holds."""
    same = channel is None and slices is None and facts.orientation in (None, stack.calibration.orientation.value)
    evidence = stack.evidence if same else None
    stack = unweighed(stack)
    calibration, findings = merge(facts, [stack.calibration], volume=False)
    chosen = _chosen(slices, len(stack))
    part = stack.chosen[chosen.start : chosen.stop : chosen.step]
    changed = replace(
        stack,
        calibration=selected(calibration, len(stack), chosen),
        chosen=part,
        numbers=tuple(stack.numbers[k] for k in chosen) if stack.numbers else None,
        problems=(*still_open(stack.problems, facts.calibration()), *findings),
    )
    changed = changed.channel(_channel(stack.path, stack.readers, channel)) if channel else changed
    return changed if evidence is None else weighed(changed, evidence)
