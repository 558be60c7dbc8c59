"""The built wheel holds everything and works from another folder, without the checkout."""

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def wheel(repo, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(repo)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(out.glob("*.whl"))


def test_wheel_holds_every_module_kernel_and_pipeline(repo, wheel):
    inside = set(zipfile.ZipFile(wheel).namelist())
    wanted = {p.relative_to(repo).as_posix() for p in (repo / "fibtomo").rglob("*.py")}
    wanted |= {"fibtomo/py.typed", "fibtomo/napari.yaml"}
    for folder, patterns in {"kernels": ("*.cu", "*.cuh"), "pipelines": ("*.yaml",)}.items():
        wanted |= {f"fibtomo/{folder}/{p.name}" for pattern in patterns for p in (repo / folder).glob(pattern)}
    assert wanted <= inside
    assert not [n for n in inside if n.startswith(("tests/", "benchmarks/", "sample_data/"))]


def _python(folder: Path) -> str:
    return str(folder / ("Scripts" if os.name == "nt" else "bin") / "python")


def _use(python: str, cwd: Path) -> None:
    """Run the command line of an installation from a foreign folder."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}

    def fibtomo(*argv: str) -> str:
        done = subprocess.run([python, "-m", "fibtomo", *argv], cwd=cwd, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = subprocess.run(
        [python, "-c", "import fibtomo; print(fibtomo.__file__)"], cwd=cwd, env=env, capture_output=True, text=True
    )
    assert str(cwd.parent) in where.stdout, where.stdout + where.stderr
    assert "drift-only" in fibtomo("pipelines")
    assert "geometry.resample" in fibtomo("stages")
    fibtomo("sample", "gyroid", "slices", "--size", "tiny")
    fibtomo("run", "slices", "-o", "result", "-p", "quick-look", "-q")
    assert (cwd / "result" / "report.html").is_file()


def test_wheel_works_in_a_new_environment(wheel, tmp_path):
    """Dependencies come from this environment through a path file; fibtomo itself only from the wheel."""
    folder = tmp_path / "venv"
    venv.create(folder, with_pip=True)
    python = _python(folder)
    subprocess.run([python, "-m", "pip", "install", "-q", "--no-deps", str(wheel)], check=True, capture_output=True)
    paths = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True,
        capture_output=True,
        text=True,
    )
    (Path(paths.stdout.strip()) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    cwd = tmp_path / "elsewhere"
    cwd.mkdir()
    _use(python, cwd)


@pytest.mark.slow
def test_wheel_with_its_own_dependencies(repo, wheel, tmp_path):
    folder = tmp_path / "venv"
    venv.create(folder, with_pip=True)
    python = _python(folder)
    constraints = str(repo / "constraints.txt")
    subprocess.run(
        [python, "-m", "pip", "install", "-q", "-c", constraints, str(wheel)], check=True, capture_output=True
    )
    cwd = tmp_path / "elsewhere"
    cwd.mkdir()
    _use(python, cwd)
