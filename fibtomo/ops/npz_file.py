"""Arrays under a JSON header in one ``.npz`` file, without pickle."""

import json
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.errors import InputError, OutputError

BROKEN = (OSError, ValueError, EOFError, KeyError, TypeError, NotImplementedError, zipfile.BadZipFile, zlib.error)
"""What NumPy and zipfile raise on damaged and foreign files; the last but two for unknown compression."""


def write_npz(path: Path, header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write a file, whole or not at all.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    text = json.dumps(header, ensure_ascii=False)
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            np.savez_compressed(file, header=np.frombuffer(text.encode(), np.uint8), **arrays)
        part.replace(path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written ({error.strerror}): choose another place") from None


def read_npz(path: Path, what: str) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Read header (empty if there is none) and arrays.

    Raises
    ------
    InputError
        The file is no such file, `what` says of what, or damaged.
    """
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except BROKEN as error:
        raise InputError(f"{path} is no {what} or is damaged ({error}): train it again") from None
    return _header(arrays.pop("header", None)), arrays


def _header(encoded: NDArray[Any] | None) -> dict[str, Any]:
    if encoded is None or encoded.dtype != np.uint8:
        return {}
    try:
        header = json.loads(encoded.tobytes().decode())
    except ValueError:
        return {}
    return header if isinstance(header, dict) else {}
