"""A real window (Xvfb will do), one small acquisition, and one finished run of it."""

import os
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
THIRD_PARTY = (
    "ignore:.*is a deprecated attribute since 0.9.0:DeprecationWarning:napari",
    "ignore::DeprecationWarning:vispy",
)


def pytest_collection_modifyitems(items):
    for item in items:
        if HERE in Path(item.path).parents:
            item.add_marker(pytest.mark.gui)
            for text in THIRD_PARTY:
                item.add_marker(pytest.mark.filterwarnings(text))


def pytest_runtest_setup(item):
    """Qt aborts the process without a display, so this comes before any fixture."""
    if HERE not in Path(item.path).parents or not sys.platform.startswith("linux"):
        return
    if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        return
    reason = "no display; run under xvfb-run"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def slices(tmp_path_factory):
    """Folder of 16 slices of 96 × 128, 10 × 5 × 5 nm, 52 degrees, not tilt-corrected."""
    from fibtomo import phantom

    folder = tmp_path_factory.mktemp("acquisition") / "silver"
    phantom.write_sample("nanoporous-silver", folder, size="tiny")
    return folder


@pytest.fixture(scope="session")
def plain_slices(tmp_path_factory):
    """Folder of 12 slices that say nothing about scale or tilt."""
    from fibtomo import phantom

    folder = tmp_path_factory.mktemp("acquisition") / "plain"
    phantom.write_slices(phantom.acquire_sample("gyroid", size=(12, 64, 72)), folder, vendor="plain", info_bar=False)
    return folder


@pytest.fixture(scope="session")
def quick_run(slices, tmp_path_factory):
    """The quick-look pipeline, run without a window."""
    from fibtomo import run

    return run(slices, tmp_path_factory.mktemp("runs") / "quick", "quick-look")


@pytest.fixture(scope="session")
def full_run(slices, tmp_path_factory):
    """A run that leaves everything a run may leave, with a pyramid of two levels."""
    from fibtomo import run
    from fibtomo.pipeline.config import parse_pipeline

    text = """
    stages:
      - drift.estimate
      - {use: geometry.resample, with: {method: linear}}
      - segment.otsu
      - mesh.surface
      - label.components
    output: {pyramid_levels: 2}
    """
    return run(slices, tmp_path_factory.mktemp("runs") / "full", parse_pipeline(text, "everything"))


@pytest.fixture
def make_panel(qtbot, tmp_path):
    """Function that opens the panel beside slices; results go to a folder of the test."""

    def make(viewer, folder):
        from fibtomo.napari_plugin.layers import show
        from fibtomo.napari_plugin.reader import read
        from fibtomo.napari_plugin.widget import FibtomoWidget

        show(viewer, read(folder))
        widget = FibtomoWidget(viewer)
        if hasattr(viewer, "window"):
            viewer.window.add_dock_widget(widget, name="fibtomo")
        else:
            qtbot.addWidget(widget)
        widget.pipeline.choice.setCurrentText("quick-look")
        widget.runs.out.setText(str(tmp_path / "result"))
        return widget

    return make


@pytest.fixture
def window(make_panel, make_napari_viewer, slices):
    """The panel beside a whole viewer that shows the slices, with the quick-look pipeline chosen."""
    return make_panel(make_napari_viewer(), slices)


@pytest.fixture
def panel(make_panel, slices):
    """The panel beside the model of a viewer, which draws nothing and is therefore quick."""
    from napari.components import ViewerModel

    return make_panel(ViewerModel(), slices)


@pytest.fixture
def finish(qtbot):
    """Wait until the panel's job has ended."""

    def wait(widget):
        qtbot.waitUntil(lambda: widget.job is None, timeout=60_000)

    return wait
