"""`Mesh`: a triangle surface in nm and its writers (PLY, STL, OBJ, legacy VTK)."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from fibtomo.core.volume import Table
from fibtomo.errors import InputError, OutputError


@dataclass(frozen=True)
class Mesh:
    """A triangle surface.

    Attributes
    ----------
    vertices
        (n, 3) float32 as (x, y, z) in `unit`; the origin is the centre of voxel (0, 0, 0).
    faces
        (m, 3) int32 vertex numbers, counter-clockwise seen from outside.
    unit
        "nm", or "voxel" if the volume was not calibrated.

    Examples
    --------
    >>> corner = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    >>> m = Mesh(corner, np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]]))
    >>> round(m.area_nm2, 3), round(m.volume_nm3, 3)
    (2.366, 0.167)
    """

    vertices: NDArray[np.float32]
    faces: NDArray[np.int32]
    unit: str = "nm"

    def __post_init__(self) -> None:
        object.__setattr__(self, "vertices", np.ascontiguousarray(self.vertices, dtype=np.float32).reshape(-1, 3))
        object.__setattr__(self, "faces", np.ascontiguousarray(self.faces, dtype=np.int32).reshape(-1, 3))

    @classmethod
    def from_table(cls, table: Table) -> "Mesh":
        """Build from the table of the stage `mesh.surface`."""
        return cls(table["vertices"], table["faces"], table.get("unit", "nm"))

    @property
    def _corners(self) -> NDArray[np.float64]:
        return self.vertices.astype(np.float64)[self.faces]

    @property
    def area_nm2(self) -> float:
        """Area of all triangles, cut faces at the border of the volume included, in `unit`²."""
        a, b, c = np.moveaxis(self._corners, 1, 0)
        return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2)

    @property
    def volume_nm3(self) -> float:
        """Enclosed volume (divergence theorem), in `unit`³."""
        a, b, c = np.moveaxis(self._corners, 1, 0)
        return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)

    def save(self, path: str | Path) -> None:
        """Write .ply, .stl or .vtk (binary) or .obj (text), chosen by the suffix; never leaves half a file.

        Raises
        ------
        InputError
            Another suffix.
        OutputError
            The file cannot be written.
        """
        path = Path(path)
        writer = _WRITERS.get(path.suffix.lower())
        if writer is None:
            raise InputError(f"{path.name}: a surface is saved as {', '.join(_WRITERS)}, not '{path.suffix}'")
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            with temporary.open("wb") as file:
                writer(self, file)
            temporary.replace(path)
        except OSError as error:
            raise OutputError(f"{path} cannot be written: {error.strerror}") from error


def _write_ply(mesh: Mesh, file: BinaryIO) -> None:
    file.write(
        f"ply\nformat binary_little_endian 1.0\ncomment fibtomo, coordinates x y z in {mesh.unit}\n"
        f"element vertex {len(mesh.vertices)}\nproperty float x\nproperty float y\nproperty float z\n"
        f"element face {len(mesh.faces)}\nproperty list uchar int vertex_indices\nend_header\n".encode()
    )
    file.write(mesh.vertices.astype("<f4").tobytes())
    faces = np.empty(len(mesh.faces), dtype=[("n", "u1"), ("v", "<i4", 3)])
    faces["n"], faces["v"] = 3, mesh.faces
    file.write(faces.tobytes())


def _write_stl(mesh: Mesh, file: BinaryIO) -> None:
    corners = mesh.vertices[mesh.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    triangles = np.zeros(len(corners), dtype=[("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("extra", "<u2")])
    triangles["normal"] = np.divide(normals, length, out=np.zeros_like(normals), where=length > 0)
    triangles["corners"] = corners
    file.write(f"fibtomo, coordinates in {mesh.unit}".encode().ljust(80))
    file.write(np.uint32(len(corners)).astype("<u4").tobytes())
    file.write(triangles.tobytes())


def _write_obj(mesh: Mesh, file: BinaryIO) -> None:
    file.write(f"# fibtomo, coordinates x y z in {mesh.unit}\n".encode())
    np.savetxt(file, mesh.vertices, fmt="v %.7g %.7g %.7g")
    np.savetxt(file, mesh.faces + 1, fmt="f %d %d %d")


def _write_vtk(mesh: Mesh, file: BinaryIO) -> None:
    n, m = len(mesh.vertices), len(mesh.faces)
    header = f"# vtk DataFile Version 3.0\nfibtomo, coordinates x y z in {mesh.unit}\nBINARY\nDATASET POLYDATA\n"
    file.write(f"{header}POINTS {n} float\n".encode())
    file.write(mesh.vertices.astype(">f4").tobytes())
    file.write(f"\nPOLYGONS {m} {4 * m}\n".encode())
    file.write(np.column_stack([np.full(m, 3), mesh.faces]).astype(">i4").tobytes())
    file.write(b"\n")


_WRITERS: dict[str, Callable[[Mesh, BinaryIO], None]] = {
    ".ply": _write_ply,
    ".stl": _write_stl,
    ".obj": _write_obj,
    ".vtk": _write_vtk,
}
