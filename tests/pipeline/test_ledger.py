"""The record on disk: atomic tables, locks, and what is resumed, refused or cleared."""

import subprocess
import sys

import numpy as np
import pytest

from fibtomo.errors import OutputError
from fibtomo.pipeline.ledger import Ledger, locked, read_table, write_table

RECORD = {"input": "abc", "pipeline": {"a": 1}}
IDENTITY = Ledger.identity(RECORD)


def test_tables_come_back_as_they_were(tmp_path):
    table = {"a": np.arange(6.0).reshape(2, 3), "n": 3, "text": "µm", "list": [1, 2.5, None], "empty": np.zeros((0, 4))}
    write_table(tmp_path / "t.npz", table)
    back = read_table(tmp_path / "t.npz")
    assert back.keys() == table.keys()
    np.testing.assert_array_equal(back["a"], table["a"])
    assert (back["n"], back["text"], back["list"]) == (3, "µm", [1, 2.5, None])
    assert back["empty"].shape == (0, 4)
    assert [p.name for p in tmp_path.iterdir()] == ["t.npz"]


def test_objects_are_never_unpickled(tmp_path):
    np.savez(tmp_path / "bad.npz", x=np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="pickle"):
        read_table(tmp_path / "bad.npz")


def test_same_identity_is_resumed(tmp_path):
    assert Ledger(tmp_path).open(IDENTITY, RECORD, resume=True, overwrite=False) is False
    write_table(Ledger(tmp_path).block_path("00", 16), {"x": 1})
    assert Ledger(tmp_path).open(IDENTITY, RECORD, resume=True, overwrite=False) is True
    assert Ledger(tmp_path).finished("00") == {16}


def test_another_pipeline_is_not_resumed(tmp_path):
    Ledger(tmp_path).open(IDENTITY, RECORD, resume=True, overwrite=False)
    other = {**RECORD, "pipeline": {"a": 2}}
    with pytest.raises(OutputError, match="pipeline"):
        Ledger(tmp_path).open(Ledger.identity(other), other, resume=True, overwrite=False)
    assert Ledger(tmp_path).open(Ledger.identity(other), other, resume=True, overwrite=True) is False


def test_a_finished_run_is_kept(tmp_path):
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(OutputError, match="--overwrite"):
        Ledger(tmp_path).open(IDENTITY, RECORD, resume=True, overwrite=False)


def test_strangers_are_never_touched(tmp_path):
    (tmp_path / "thesis.docx").write_text("precious")
    with pytest.raises(OutputError, match=r"thesis\.docx"):
        Ledger(tmp_path).open(IDENTITY, RECORD, resume=True, overwrite=False)
    (tmp_path / "run.json").write_text("{}")
    Ledger(tmp_path).open(IDENTITY, RECORD, resume=True, overwrite=True)
    assert (tmp_path / "thesis.docx").read_text() == "precious"
    assert not (tmp_path / "run.json").exists()


def test_two_runs_never_share_a_folder(tmp_path):
    code = (
        "import sys; from pathlib import Path; from fibtomo.pipeline.ledger import locked\n"
        "from fibtomo.errors import OutputError\n"
        "try:\n    with locked(Path(sys.argv[1])): print('got it')\n"
        "except OutputError as e: print(e)"
    )
    with locked(tmp_path):
        other = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert "another run" in other.stdout
    again = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert "got it" in again.stdout
