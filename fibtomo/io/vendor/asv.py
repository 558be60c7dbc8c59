"""Thermo Fisher Auto Slice & View projects: `ProjectData.dat` with measured thickness, and version 4 `*.emxml`."""

import re
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from statistics import median
from typing import Any

from fibtomo.core.volume import UNKNOWN, Calibration, Sourced
from fibtomo.io.vendor.info import ProjectInfo
from fibtomo.io.vendor.keys import Field, Keys, whole_numbers
from fibtomo.io.vendor.markup import flatten, local_name, parse_xml
from fibtomo.io.vendor.thermo import COLUMN_ANGLE_DEG, VENDOR
from fibtomo.io.vendor.tilt import default_column_angle
from fibtomo.io.vendor.units import convert, parse_quantity

_NUMBER_IN_NAME = re.compile(r"(\d+)(?=\.[^.]+$)")
_FIELDS = (
    Field("application", ("ApplicationName",)),
    Field("software", ("ApplicationVersion",)),
    Field("project", ("ProjectName",)),
    Field("viewer_rotation_deg", ("ViewerRotation",), "deg"),
    Field("slices", ("Datasets/Dataset/NumberOfCuts",), ""),
    Field("box_x_um", ("Datasets/Dataset/BoxSize/SizeX",), "m"),
    Field("box_y_um", ("Datasets/Dataset/BoxSize/SizeY",), "m"),
    Field("box_z_um", ("Datasets/Dataset/BoxSize/SizeZ",), "m"),
)


def read_asv_project(folder: Path) -> ProjectInfo | None:
    """Facts of the Auto Slice & View project in `folder`, its parent or, where it names `folder`, further above."""
    for place in (folder, folder.parent):
        path = place / "ProjectData.dat"
        if path.is_file():
            return _read_results(path, folder)
    for place in (folder, *folder.parents[:2]):
        projects = sorted(place.glob("*.emxml"))
        if projects:
            info = _read_emxml(projects)
            if place == folder or folder.name in info.metadata.get("datasets", Sourced(())).value:
                return info
    return None


def _read_results(path: Path, folder: Path) -> ProjectInfo:
    root = parse_xml(path.read_bytes())
    column_angle = default_column_angle(COLUMN_ANGLE_DEG, VENDOR)
    if root is None:
        calibration = Calibration(column_angle_deg=column_angle)
        return ProjectInfo(VENDOR, path, calibration, warnings=[f"{path.name}: the XML is damaged and was left out"])
    rows = list(_slices(root))
    where = f"project {path.name} Results/Slice"
    measured_nm = {number: measured for number, _, measured in rows if measured is not None}
    target_nm = {number: target for number, target, _ in rows if target is not None}
    if not (measured_nm or target_nm):
        return ProjectInfo(VENDOR, path, Calibration(column_angle_deg=column_angle))
    nominal = median((target_nm or measured_nm).values())
    thickness_nm = {number: measured_nm.get(number, target_nm.get(number, nominal)) for number, _, _ in rows}
    slice_z_nm, z_by_number, warnings = UNKNOWN, {}, []
    if measured_nm:
        z_by_number = _positions(thickness_nm)
        slice_z_nm = Sourced(tuple(z_by_number.values()), f"{where}@MeasuredThickness", "measured")
        missing = [number for number in z_by_number if number not in measured_nm]
        if missing:
            warnings.append(
                f"{path.name}: {len(missing)} of {len(rows)} slices have no measured thickness "
                f"(first: slice {missing[0]}); their target thickness was taken"
            )
    return ProjectInfo(
        VENDOR,
        path,
        Calibration(
            slice_nm=Sourced(nominal, f"{where}@{'Target' if target_nm else 'Measured'}Thickness", "given"),
            slice_z_nm=slice_z_nm,
            column_angle_deg=column_angle,
        ),
        _by_name(folder, z_by_number),
        thickness_nm,
        Keys(flatten(root), f"project {path.name}").collect(_FIELDS),
        warnings,
    )


def _slices(root: Any) -> Iterator[tuple[int, float | None, float | None]]:
    """(number, target nm, measured nm) of every slice; thicknesses are in m, "NaN" where not measured."""
    results = [item for item in root.iter() if local_name(item) == "Results"] or [root]
    for k, item in enumerate((s for result in results for s in result if local_name(s) == "Slice"), 1):
        said = whole_numbers(item.get("Number") or item.get("SliceNumber") or "")
        yield said[0] if said else k, _nm(item.get("TargetThickness")), _nm(item.get("MeasuredThickness"))


def _nm(metres: str | None) -> float | None:
    quantity = parse_quantity(metres or "", "m")
    length = convert(*quantity, "nm") if quantity else None
    return length if length and length > 0 else None


def _positions(thickness_nm: dict[int, float]) -> dict[int, float]:
    """Positions of the slices in order, from the thickness removed before each; the first slice lies at 0."""
    numbers = sorted(thickness_nm)
    steps = [0.0, *(thickness_nm[number] for number in numbers[1:])]
    return dict(zip(numbers, accumulate(steps), strict=True))


def _by_name(folder: Path, z_nm: dict[int, float]) -> dict[str, float]:
    if not z_nm:
        return {}
    found = {}
    for path in sorted(folder.iterdir()):
        match = _NUMBER_IN_NAME.search(path.name)
        if match and int(match.group(1)) in z_nm and path.is_file():
            found[path.name] = z_nm[int(match.group(1))]
    return found


def _read_emxml(projects: list[Path]) -> ProjectInfo:
    path = projects[0]
    warnings = [] if len(projects) == 1 else [f"{len(projects)} project files lie here; {path.name} was read"]
    root = parse_xml(path.read_bytes())
    calibration = Calibration(column_angle_deg=default_column_angle(COLUMN_ANGLE_DEG, VENDOR))
    if root is None:
        return ProjectInfo(
            VENDOR, path, calibration, warnings=[*warnings, f"{path.name}: the XML is damaged and was left out"]
        )
    keys = Keys(flatten(root), f"project {path.name}")
    metadata = keys.collect(_FIELDS)
    names = [item.text.strip() for item in root.iter() if local_name(item) == "Name" and item.text]
    metadata["datasets"] = Sourced(tuple(names), f"{keys.where} Datasets/Dataset/Name", "given")
    slice_nm = keys.length_nm("ZCutSpacing", unit="m")
    calibration = Calibration(slice_nm=slice_nm, column_angle_deg=calibration.column_angle_deg)
    return ProjectInfo(VENDOR, path, calibration, metadata=metadata, warnings=warnings)
