"""Imports go one way: each layer may use the ones below it, and only named places may touch heavy libraries."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

LAYERS = {
    "errors": 0,
    "_resources": 0,
    "core": 1,
    "backend": 2,
    "io": 2,
    "ops": 3,
    "phantom": 3,
    "builtin_stages": 4,
    "models": 4,
    "report": 5,
    "pipeline": 6,
    "api": 7,
    "napari_plugin": 8,
    "cli": 9,
}
FORBIDDEN = {  # library -> the only layers that may name it
    "cupy": {"backend"},
    "cupyx": {"backend"},
    "cupy_backends": {"backend"},
    "onnxruntime": {"backend"},
    "napari": {"napari_plugin"},
    "qtpy": {"napari_plugin"},
    "magicgui": {"napari_plugin"},
    "typer": {"cli"},
    "zarr": {"io", "pipeline"},
    "dask": {"io", "pipeline", "api", "napari_plugin"},
    "pydantic": {"core", "phantom", "builtin_stages", "pipeline", "napari_plugin"},
}
SIBLINGS = [{"io", "ops"}, {"io", "backend"}, {"ops", "phantom"}]


def _modules(repo):
    for path in sorted((repo / "fibtomo").rglob("*.py")):
        parts = path.relative_to(repo / "fibtomo").with_suffix("").parts
        if parts[0] not in {"__init__", "__main__"}:
            yield path, parts[0]


def _imports(path: Path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module, node.lineno
            if node.module == "fibtomo":
                for alias in node.names:
                    yield f"fibtomo.{alias.name}", node.lineno


def test_every_module_has_a_layer(repo):
    assert {layer for _, layer in _modules(repo)} <= set(LAYERS)


def test_imports_point_downwards(repo):
    wrong = []
    for path, layer in _modules(repo):
        for name, line in _imports(path):
            parts = name.split(".")
            if parts[0] != "fibtomo" or len(parts) < 2 or parts[1] not in LAYERS:
                continue
            other = parts[1]
            if other == layer:
                continue
            if LAYERS[other] >= LAYERS[layer] or {other, layer} in SIBLINGS:
                wrong.append(f"{path.relative_to(repo)}:{line} ({layer}) imports {name}")
    assert not wrong, "\n".join(wrong)


def test_libraries_stay_in_their_places(repo):
    wrong = []
    for path, layer in _modules(repo):
        for name, line in _imports(path):
            allowed = FORBIDDEN.get(name.split(".")[0])
            if allowed is not None and layer not in allowed:
                wrong.append(f"{path.relative_to(repo)}:{line} ({layer}) imports {name}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("module", ["fibtomo", "fibtomo.cli", "fibtomo.core.stage"])
def test_import_pulls_in_nothing_heavy(module):
    code = (
        f"import sys, {module}\n"
        "heavy = {'napari', 'cupy', 'dask', 'numba', 'scipy', 'skimage', 'SimpleITK', 'zarr', 'pandas', "
        "'onnxruntime'}\n"
        "print(','.join(sorted(heavy & set(sys.modules))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_import_is_quick():
    code = "import time; t = time.perf_counter(); import fibtomo; print(time.perf_counter() - t)"
    seconds = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
        for _ in range(3)
    ]
    assert min(seconds) < 0.3


def test_source_has_no_assert(repo):
    found = [
        f"{path.relative_to(repo)}:{node.lineno}"
        for path, _ in _modules(repo)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Assert)
    ]
    assert not found
