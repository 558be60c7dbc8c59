"""`fibtomo bench` times every step, on the CPU and on the stand-in for a card."""

import csv

import pytest
import strict_cupy

from fibtomo.cli.app import run_cli


@pytest.mark.parametrize("device", ["cpu", "cuda:0"])
def test_every_step_is_timed(device, tmp_path, capsys):
    command = ["bench", "--size", "128", "--slices", "8", "--repeats", "1", "-p", "quick-look", "--device", device]
    with strict_cupy.installed():
        assert run_cli([*command, "--csv", str(tmp_path / "bench.csv")]) == 0
    with (tmp_path / "bench.csv").open() as file:
        rows = list(csv.DictReader(file))
    steps = [(r["stage"], r["step"]) for r in rows]
    moves = [("block", "upload")], [("block", "download")]
    assert (steps[:1], steps[-2:-1]) == moves if device != "cpu" else moves[0][0] not in steps
    assert {("drift.estimate", "measure"), ("geometry.resample", "apply"), ("segment.otsu", "apply")} <= set(steps)
    assert all(float(r["seconds"]) > 0 and float(r["share_of_copy"]) > 0 for r in rows)
    assert "a plain copy moves" in capsys.readouterr().out


def test_an_absent_card_is_named(capsys):
    with strict_cupy.installed(devices=0):
        assert run_cli(["bench", "--device", "cuda:0"]) == 2
    assert "no NVIDIA driver or no CUDA device" in capsys.readouterr().err
