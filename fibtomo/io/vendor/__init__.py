"""Metadata of the microscope vendors: private TIFF tags, sidecar files and acquisition projects."""

from pathlib import Path

from fibtomo.io.vendor.info import ProjectInfo, VendorInfo

__all__ = ["ProjectInfo", "VendorInfo", "read_project", "read_vendor"]


def read_vendor(path: Path) -> VendorInfo | None:
    """Read what the microscope wrote into or beside one image file.

    Private tags come before sidecars, sidecars before ImageJ, OME and resolution tags; a later source only fills what
    the earlier ones leave open. Damaged metadata become warnings.

    Parameters
    ----------
    path
        The image, or a sidecar on its own.

    Returns
    -------
    VendorInfo or None
        ``None`` when nothing is known of the file.
    """
    from fibtomo.io.vendor.atlas import read_atlas
    from fibtomo.io.vendor.info import merge
    from fibtomo.io.vendor.janelia import is_dat, read_dat_info
    from fibtomo.io.vendor.orion import read_orion
    from fibtomo.io.vendor.plain import read_plain
    from fibtomo.io.vendor.sidecars import read_sidecar
    from fibtomo.io.vendor.smartsem import read_smartsem
    from fibtomo.io.vendor.tescan import read_tescan
    from fibtomo.io.vendor.thermo import read_thermo
    from fibtomo.io.vendor.tifftags import read_tiff_tags

    path = Path(path)
    if is_dat(path):
        return read_dat_info(path)
    tags = read_tiff_tags(path)
    found = [reader(tags) for reader in (read_atlas, read_smartsem, read_tescan, read_orion, read_thermo) if tags]
    found.append(read_sidecar(path, (tags.rows, tags.cols) if tags else None))
    known = [info for info in found if info is not None]
    if tags and not any(info.calibration.pixel_nm for info in known):
        known += [info for info in [read_plain(tags)] if info is not None]
    result: VendorInfo | None = None
    for info in known:
        result = info if result is None else merge(result, info)
    return result


def read_project(folder: Path) -> ProjectInfo | None:
    """Read the acquisition project that `folder` of slices belongs to.

    Parameters
    ----------
    folder
        The folder of the slices; projects in its parents count where their layout says so.

    Returns
    -------
    ProjectInfo or None
        ``None`` when there is no project and no measured position in the file names.
    """
    from fibtomo.io.vendor.asv import read_asv_project
    from fibtomo.io.vendor.atlas import read_atlas_project

    folder = Path(folder)
    if not folder.is_dir():
        return None
    try:
        return read_asv_project(folder) or read_atlas_project(folder)
    except OSError:
        return None
