"""Pixel forests in files: one ``.npz`` of plain arrays and a JSON header, nothing of it pickled."""

import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.errors import InputError, OutputError
from fibtomo.ops.forest_inference import FlatForest
from fibtomo.ops.forest_lessons import edges
from fibtomo.ops.forest_recipe import Recipe
from fibtomo.ops.forest_training import Learned

FORMAT, VERSION = "fibtomo pixel forest", 1
FACTS = ("classes", "values", "drawn", "used")
"""What a forest knows of its phases, one entry each."""
BROKEN = (OSError, ValueError, EOFError, TypeError, KeyError, AttributeError, NotImplementedError, zlib.error)
"""What reading a broken or foreign file raises."""
Arrays = dict[str, NDArray[Any]]
Parts = tuple[Recipe, Learned, dict[str, Any]]


def write(path: Path, recipe: Recipe, learned: Learned, facts: dict[str, Any]) -> None:
    """Write a forest, whole or not at all.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    header = {key: getattr(recipe, key) for key in Recipe.__dataclass_fields__}
    header |= {key: facts[key] for key in FACTS}
    text = json.dumps({"format": FORMAT, "version": VERSION, **header}, ensure_ascii=False)
    known = {key: getattr(learned, key) for key in Learned.__dataclass_fields__ if key != "forest"}
    arrays = {**learned.forest.to_arrays(), **known, "greys": facts["greys"]}
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            np.savez_compressed(file, header=np.frombuffer(text.encode(), np.uint8), **arrays)
        part.replace(path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written ({error.strerror}): choose another place") from None


def read(path: Path) -> Parts:
    """Read back what `write` was given.

    Raises
    ------
    InputError
        There is no such file, it is damaged, of something else, or of a later version.
    """
    header, arrays = _opened(path)
    try:
        return _rebuilt(header, arrays)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is damaged ({' '.join(str(error).split())}): train it again") from None


def _opened(path: Path) -> tuple[dict[str, Any], Arrays]:
    if not path.is_file():
        raise InputError(f"there is no pixel forest {path}: train one with fibtomo train")
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (*BROKEN, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is no pixel forest or is damaged ({error}): train it again") from None
    header = _header(arrays.pop("header", None))
    if header.get("format") != FORMAT:
        raise InputError(f"{path} is no pixel forest of fibtomo: train one with fibtomo train")
    version = header.get("version")
    if not isinstance(version, int) or version > VERSION:
        raise InputError(
            f"{path} is a pixel forest of format {version}, and this fibtomo reads up to {VERSION}: update fibtomo"
        )
    return header, arrays


def _header(encoded: Any) -> dict[str, Any]:
    if encoded is None or encoded.dtype != np.uint8:
        return {}
    try:
        header = json.loads(encoded.tobytes().decode())
    except ValueError:
        return {}
    return header if isinstance(header, dict) else {}


def _rebuilt(header: dict[str, Any], arrays: Arrays) -> Parts:
    kept = {key: header[key] for key in Recipe.__dataclass_fields__}
    recipe = Recipe(**{key: tuple(value) if isinstance(value, list) else value for key, value in kept.items()})
    forest = FlatForest.from_arrays(arrays)
    n, count = len(header["classes"]), len(recipe.names)
    matrices = {key: arrays[key] for key in Learned.__dataclass_fields__ if key != "forest"}
    sizes = {"importance": (count,), "low": (count,), "high": (count,), "out_of_bag": (n, n), "apart": (n, n)}
    wrong = [key for key, shape in sizes.items() if matrices[key].shape != shape]
    if wrong or forest.features != count or forest.classes != n:
        raise InputError(f"its {', '.join(wrong) or 'trees'} do not belong to its {count} features and {n} classes")
    facts = {key: tuple(header[key]) for key in FACTS}
    if recipe.unit not in ("nm", "voxel") or edges(recipe.voxel_nm) is None or {len(f) for f in facts.values()} != {n}:
        raise InputError(f"its header does not say what is known of its {n} classes")
    return recipe, Learned(forest, **matrices), {**facts, "greys": arrays["greys"]}
