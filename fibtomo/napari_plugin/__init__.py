"""Layer 8: the napari plugin; the only place that names napari and Qt."""

from pathlib import Path
from typing import Any


def view(path: str | Path, *, block: bool = True) -> Any:
    """Open slices or the folder of a run in napari, with the fibtomo panel beside it.

    Parameters
    ----------
    path
        What `open_stack` opens, or the output folder of a run.
    block
        Whether to return only when the window is closed.

    Returns
    -------
    napari.Viewer
        The viewer.

    Raises
    ------
    BackendUnavailableError
        napari is not installed.
    FibtomoError
        The path cannot be opened.
    """
    from fibtomo.errors import BackendUnavailableError

    try:
        import napari
    except ImportError:
        raise BackendUnavailableError("napari is not installed: pip install 'fibtomo[napari]'") from None
    from fibtomo.napari_plugin.layers import show
    from fibtomo.napari_plugin.reader import read
    from fibtomo.napari_plugin.widget import FibtomoWidget

    found = read(path)
    viewer = napari.Viewer(title="fibtomo")
    show(viewer, found)
    viewer.window.add_dock_widget(FibtomoWidget(viewer), name="fibtomo", area="right")
    if block:
        napari.run()
    return viewer
