"""Wrong input ends with exit code 2 and one sentence that names the value and the way out."""

import os
import subprocess
import sys

import numpy as np
import pytest
import tifffile

from fibtomo.cli.app import run_cli

VOXEL = ["--voxel-nm", "10", "5", "5"]


@pytest.fixture
def plain(tmp_path):
    """Slices without any calibration."""
    folder = tmp_path / "slices"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for k in range(6):
        tifffile.imwrite(folder / f"slice_{k:03d}.tif", rng.integers(0, 255, (40, 48), dtype=np.uint8))
    return folder


def fails(capsys, *argv, words=()):
    code = run_cli([str(a) for a in argv])
    text = capsys.readouterr().err.strip()
    lines = [line for line in text.splitlines() if line.startswith("fibtomo: ")]
    assert code == 2, text
    assert len(lines) == 1, text
    assert "Traceback" not in text
    for word in words:
        assert word in lines[0], lines[0]


def test_no_calibration_names_the_flag(plain, tmp_path, capsys):
    fails(capsys, "run", plain, "-o", tmp_path / "o", words=["--voxel-nm"])
    assert not (tmp_path / "o" / "run.json").exists()


def test_missing_input(tmp_path, capsys):
    fails(capsys, "run", tmp_path / "nowhere", "-o", tmp_path / "o", *VOXEL, words=["nowhere"])


def test_empty_folder(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    fails(capsys, "run", tmp_path / "empty", "-o", tmp_path / "o", *VOXEL, words=["empty"])


def test_truncated_slice(plain, tmp_path, capsys):
    path = plain / "slice_003.tif"
    path.write_bytes(path.read_bytes()[:700])
    fails(capsys, "run", plain, "-o", tmp_path / "o", *VOXEL, words=["slice_003.tif", "--skip-bad"])


def test_mixed_shapes(plain, tmp_path, capsys):
    tifffile.imwrite(plain / "slice_004.tif", np.zeros((30, 48), np.uint8))
    fails(capsys, "run", plain, "-o", tmp_path / "o", *VOXEL, words=["slice_004.tif"])


def test_not_an_image(tmp_path, capsys):
    (tmp_path / "notes.tif").write_text("no image at all")
    fails(capsys, "run", tmp_path / "notes.tif", "-o", tmp_path / "o", *VOXEL, words=["notes.tif"])


def test_unknown_pipeline(plain, tmp_path, capsys):
    fails(capsys, "run", plain, "-o", tmp_path / "o", "-p", "magic", *VOXEL, words=["magic", "default"])


def test_wrong_parameter(plain, tmp_path, capsys):
    setting = "geometry.resample.metod=linear"
    fails(capsys, "run", plain, "-o", tmp_path / "o", "--set", setting, *VOXEL, words=["metod", "method"])


def test_broken_yaml(plain, tmp_path, capsys):
    path = tmp_path / "own.yaml"
    path.write_text("stages:\n  - use: [drift\n")
    fails(capsys, "run", plain, "-o", tmp_path / "o", "-p", path, *VOXEL, words=["own.yaml", "line"])


def test_no_write_permission(plain, tmp_path, capsys):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    fails(capsys, "run", plain, "-o", blocked / "o", *VOXEL, words=["file", "written"])


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the superuser may write anywhere")
def test_folder_without_permission(plain, tmp_path, capsys):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    fails(capsys, "run", plain, "-o", locked / "o", *VOXEL, words=["locked", "written"])


@pytest.mark.parametrize(
    ("argv", "word"),
    [
        (["--voxel-nm", "10", "5"], "--voxel-nm"),
        (["--voxel-nm", "10", "-5", "5"], "--voxel-nm"),
        (["--voxel-nm", "ten"], "--voxel-nm"),
        ([*VOXEL, "--tilt-corrected", "perhaps"], "--tilt-corrected"),
        ([*VOXEL, "--memory", "lots"], "--memory"),
        ([*VOXEL, "--memory", "1kB"], "--memory"),
        ([*VOXEL, "--device", "cuda:77"], "cuda:77"),
        ([*VOXEL, "--device", "abacus"], "abacus"),
        ([*VOXEL, "--magic"], "--magic"),
    ],
)
def test_wrong_options(plain, tmp_path, capsys, argv, word):
    fails(capsys, "run", plain, "-o", tmp_path / "o", *argv, words=[word])


def test_output_folder_of_others_is_left_alone(plain, tmp_path, capsys):
    out = tmp_path / "o"
    out.mkdir()
    (out / "thesis.docx").write_text("precious")
    fails(capsys, "run", plain, "-o", out, *VOXEL, words=["thesis.docx"])
    assert [p.name for p in out.iterdir()] == ["thesis.docx"]


def test_debug_shows_the_traceback(tmp_path, capsys):
    assert run_cli(["--debug", "info", str(tmp_path / "nowhere")]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_installed_command_gives_the_code():
    done = subprocess.run([sys.executable, "-m", "fibtomo", "info", "/no/such/folder"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "/no/such/folder" in done.stderr


SHIFTS = {
    "none.csv": (None, [], "does not exist"),
    "short.csv": ("slice,dy,dx\n0,0,0\n4,1,1\n", [], "the table has 5 slices, the stack has 6"),
    "twice.csv": ("slice,dy,dx\n0,0,0\n0,1,1\n", [], "slice 0 stands twice"),
    "words.csv": ("slice,dy,dx\n0,0,left\n", [], "'left'"),
    "names.csv": ("slice,up,right\n0,0,0\n", [], "dy_px and dx_px"),
    "gap.csv": ("slice,dy,dx\n1,0,0\n5,1,1\n", ["--shifts-are", "steps"], "the step to slice 2"),
    "good.csv": ("slice,dy,dx\n0,0,0\n5,1,1\n", ["--shifts-are", "upwards"], "'steps' or 'cumulative'"),
    "notes.txt": ("Dear diary", [], "shifts are read from"),
    "file.xml": ("<a/>", [], "is no TrakEM2 project"),
}


@pytest.mark.parametrize("name", SHIFTS)
def test_wrong_shifts_are_refused_before_work(plain, tmp_path, capsys, name):
    text, options, word = SHIFTS[name]
    if text is not None:
        (tmp_path / name).write_text(text)
    given = ["--import-shifts", tmp_path / name, *options, "--tilt-corrected", "yes", "--column-angle-deg", "52"]
    words = [word] if name == "good.csv" else [name, word]
    fails(capsys, "run", plain, "-o", tmp_path / "o", *VOXEL, *given, "--tracked", "yes", words=words)
    assert not (tmp_path / "o").exists()


def test_how_shifts_are_needs_shifts(plain, tmp_path, capsys):
    fails(capsys, "run", plain, "-o", tmp_path / "o", *VOXEL, "--shifts-are", "steps", words=["--import-shifts"])


@pytest.mark.parametrize(
    ("setting", "word"),
    [
        ("drift.estimate.overrides=[[6, 0, 0]]", "overrides: slice 6 must lie between 0 and 5"),
        ("drift.estimate.overrides=pins.csv", "pins.csv"),
        ("drift.estimate.breaks=[9]", "breaks: slice 9"),
        ("drift.estimate.also_bad=[-1]", "also_bad: slice -1"),
        ("drift.estimate.overrides_move=all", "overrides_move"),
    ],
)
def test_wrong_hand_is_refused_before_work(plain, tmp_path, capsys, setting, word):
    facts = ["--tilt-corrected", "yes", "--column-angle-deg", "52", "--tracked", "yes"]
    fails(capsys, "run", plain, "-o", tmp_path / "o", *VOXEL, *facts, "--set", setting, words=[word])
    assert not (tmp_path / "o").exists()


def test_drift_of_what_has_none(tmp_path, capsys):
    fails(capsys, "drift", tmp_path / "nowhere", words=["nowhere", "does not exist"])
    (tmp_path / "run.json").write_text("{}")
    fails(capsys, "drift", tmp_path, words=["holds no drift.csv"])
    (tmp_path / "drift.csv").write_text("slice,dy,dx\n0,0,0\n1,1,1\n")
    fails(capsys, "drift", tmp_path, "-o", tmp_path / "drift.xlsx", words=["drift.xlsx", ".json"])
    (tmp_path / "longer.csv").write_text("slice,dy,dx\n0,0,0\n2,1,1\n")
    fails(capsys, "drift", tmp_path, "--then", tmp_path / "longer.csv", words=["2 slices", "3 slices"])


@pytest.mark.parametrize("command", ["run", "info", "plan", "preview", "pipelines", "stages", "measure", "mesh",
                                     "report", "export", "drift", "sample", "view"])  # fmt: skip
def test_every_command_has_help_with_an_example(command, capsys):
    assert run_cli([command, "--help"]) == 0
    text = capsys.readouterr().out
    assert "Example" in text
    assert f"fibtomo {command}" in text
