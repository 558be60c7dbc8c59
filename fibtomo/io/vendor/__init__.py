"""Metadata of the microscope vendors: private TIFF tags, sidecar files and acquisition projects."""

from pathlib import Path

from fibtomo.io.vendor.info import ProjectInfo, VendorInfo

__all__ = ["ProjectInfo", "VendorInfo", "read_project", "read_vendor"]


def read_vendor(path: Path) -> VendorInfo | None:
    """Read what the microscope wrote into or beside one image file; ``None`` when it wrote nothing known."""
    return None


def read_project(folder: Path) -> ProjectInfo | None:
    """Read the acquisition project in `folder`; ``None`` when there is none."""
    return None
