"""Fixtures every test may use."""

import os
import sys
from pathlib import Path

import pytest

VERDICT = pytest.StashKey[int]()
REPO = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def repo() -> Path:
    return REPO


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real slices and vendor files lying beside the project; tests skip without it."""
    folder = REPO.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"real data folder {folder.name} is not beside the project")
    return folder


def pytest_sessionfinish(session, exitstatus):
    """Keep the verdict for `pytest_unconfigure`."""
    session.config.stash[VERDICT] = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config):
    """Leave at once after window tests: Qt and software OpenGL may crash while the interpreter takes them down."""
    if "PySide6.QtWidgets" in sys.modules and VERDICT in config.stash:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(config.stash[VERDICT])


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tests of a card skip where there is none, and say why."""
    if item.get_closest_marker("gpu"):
        from fibtomo.backend.device import gpu_status

        usable, reason = gpu_status()
        if not usable:
            pytest.skip(reason)
