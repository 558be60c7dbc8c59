"""Pixel forests in files: one ``.npz`` of plain arrays and a JSON header, nothing of it pickled."""

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from fibtomo.errors import InputError
from fibtomo.ops.forest_inference import FlatForest
from fibtomo.ops.forest_lessons import edges
from fibtomo.ops.forest_recipe import Recipe
from fibtomo.ops.forest_training import Learned
from fibtomo.ops.npz_file import read_npz, write_npz

FORMAT, VERSION = "fibtomo pixel forest", 1
FACTS = ("classes", "values", "drawn", "used")
"""What a forest knows of its phases, one entry each."""
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
    known = {key: getattr(learned, key) for key in Learned.__dataclass_fields__ if key != "forest"}
    arrays = {**learned.forest.to_arrays(), **known, "greys": facts["greys"]}
    write_npz(path, {"format": FORMAT, "version": VERSION, **header}, arrays)


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
    header, arrays = read_npz(path, "pixel forest")
    if header.get("format") != FORMAT:
        raise InputError(f"{path} is no pixel forest of fibtomo: train one with fibtomo train")
    version = header.get("version")
    if not isinstance(version, int) or version > VERSION:
        raise InputError(
            f"{path} is a pixel forest of format {version}, and this fibtomo reads up to {VERSION}: update fibtomo"
        )
    return header, arrays


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
