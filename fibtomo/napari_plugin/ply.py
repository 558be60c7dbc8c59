"""Reading the binary PLY surfaces that runs leave."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.errors import InputError

_FACE = np.dtype([("count", "u1"), ("corners", "<i4", 3)])


def read_ply(path: Path) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Return vertices (n, 3) as (x, y, z) and triangles (m, 3) of a surface written by `Mesh.save`.

    Raises
    ------
    InputError
        The file is no such surface, or its end is missing.
    """
    content = path.read_bytes()
    head, mark, body = content.partition(b"end_header\n")
    counts = _counts(head)
    vertex_bytes, face_bytes = 12 * counts.get("vertex", 0), _FACE.itemsize * counts.get("face", 0)
    if not mark or b"binary_little_endian" not in head or len(body) != vertex_bytes + face_bytes:
        raise InputError(f"{path} is not a whole surface of fibtomo (binary PLY with x, y, z and triangles)")
    vertices: NDArray[Any] = np.frombuffer(body, "<f4", count=vertex_bytes // 4).reshape(-1, 3)
    faces = np.frombuffer(body, _FACE, offset=vertex_bytes)["corners"]
    return vertices.astype(np.float32), faces.astype(np.int32)


def _counts(head: bytes) -> dict[str, int]:
    words = [line.split() for line in head.decode("ascii", errors="replace").splitlines()]
    return {w[1]: int(w[2]) for w in words if len(w) == 3 and w[0] == "element" and w[2].isdigit()}
