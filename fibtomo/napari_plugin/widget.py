"""The panel: choose a stack, try stages on the slab in view, run the pipeline beside the window."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, Slot
from qtpy.QtWidgets import (
    QButtonGroup,
    QComboBox,
    QFileDialog,
    QFrame,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from fibtomo import api
from fibtomo.errors import CalibrationError, CancelledError, FibtomoError, InputError
from fibtomo.io.stack import Stack
from fibtomo.napari_plugin.acquisition import AcquisitionBox
from fibtomo.napari_plugin.command import command_line
from fibtomo.napari_plugin.layers import KEY, display_scale, lazy_slices, placed, run_layers, same_place, show
from fibtomo.napari_plugin.pipeline_box import PipelineBox
from fibtomo.napari_plugin.reader import read
from fibtomo.napari_plugin.result_view import show_sections, show_solid
from fibtomo.napari_plugin.run_box import RunBox
from fibtomo.napari_plugin.trial import Trial, trial_layers, trial_sentence, try_last
from fibtomo.napari_plugin.worker import Job, SignalObserver
from fibtomo.report.sections import left_out

if TYPE_CHECKING:
    import napari.layers
    import napari.viewer

_STYLE = """
#fibtomo-error, #fibtomo-status[error="true"] { color: #e5734f; }
#fibtomo-heading { font-weight: bold; }
"""
_SHOWN = ("before", "after", "removed")


class FibtomoWidget(QWidget):
    """Preview of single stages and whole runs, on stacks that were opened with the reader of fibtomo.

    Parameters
    ----------
    napari_viewer
        The viewer the panel stands beside.
    """

    def __init__(self, napari_viewer: "napari.viewer.Viewer") -> None:
        super().__init__()
        self.viewer = napari_viewer
        self.job: Job | None = None
        self.observer: SignalObserver | None = None
        self.stack_choice = QComboBox()
        self.open_button = QPushButton("Open…")
        self.acquisition, self.pipeline, self.runs = AcquisitionBox(), PipelineBox(), RunBox()
        self.slab = QSpinBox()
        self.slab.setRange(1, 99)
        self.slab.setValue(9)
        self.slab.setSuffix(" slices")
        self.slab.setToolTip("Slices around the one in view that the preview takes")
        self.preview_button = QPushButton("Preview")
        self.preview_button.setToolTip("Try the selected stage, after the ticked ones before it, on the slices in view")
        self.shown = {name: QPushButton(name) for name in _SHOWN}
        self.status = QLabel()
        self.status.setObjectName("fibtomo-status")
        self.status.setWordWrap(True)
        self.status.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._stacks: list[napari.layers.Image] = []
        self._tried: list[napari.layers.Layer] = []
        self._lay_out()
        self._connect()
        self._list_stacks()

    def _lay_out(self) -> None:
        self.setStyleSheet(_STYLE)
        inside = QWidget()
        column = QVBoxLayout(inside)
        group = QButtonGroup(self)
        for button in self.shown.values():
            button.setCheckable(True)
            button.setEnabled(False)
            group.addButton(button)
        for heading, *rows in (
            ("Slices", (self.stack_choice, self.open_button), (self.acquisition,)),
            ("Pipeline", (self.pipeline,)),
            ("Preview", (self.preview_button, self.slab), tuple(self.shown.values())),
            ("Run", (self.runs,)),
        ):
            title = QLabel(heading)
            title.setObjectName("fibtomo-heading")
            column.addWidget(title)
            for row in rows:
                line = QHBoxLayout()
                for widget in row:
                    line.addWidget(widget, 0 if widget in (self.open_button, self.slab) else 1)
                column.addLayout(line)
        column.addStretch(1)
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setWidget(inside)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.addWidget(area, 1)
        whole.addWidget(self.status)
        self.status.setContentsMargins(11, 4, 11, 8)
        self.setMinimumWidth(360)

    def _connect(self) -> None:
        self.open_button.clicked.connect(self._open)
        self.stack_choice.currentIndexChanged.connect(self._chosen)
        self.acquisition.changed.connect(self._restate)
        self.acquisition.asked.connect(self.ask_slices)
        self.pipeline.failed.connect(self._report)
        self.preview_button.clicked.connect(self.preview)
        self.runs.run_clicked.connect(self.run)
        self.runs.cancel_clicked.connect(self.cancel)
        self.runs.solid_toggled.connect(self._turn)
        for name, button in self.shown.items():
            button.clicked.connect(partial(self._show_only, name))
        self.viewer.layers.events.inserted.connect(self._list_stacks)
        self.viewer.layers.events.removed.connect(self._list_stacks)
        self.viewer.canvas.overlays.scale_bar.visible = True

    # -- the stack ------------------------------------------------------------------------------------------

    def layer(self) -> "napari.layers.Image | None":
        """Layer of the chosen stack."""
        index = self.stack_choice.currentIndex()
        return self._stacks[index] if index >= 0 else None

    def stack(self) -> Stack:
        """Return the chosen stack with what the user states about it.

        Raises
        ------
        InputError
            No stack is chosen, or what is stated cannot be.
        """
        layer = self.layer()
        if layer is None:
            raise InputError("open a folder of slices first")
        return api.open_input(layer.metadata[KEY], self.pipeline.config().input, self.acquisition.overrides())

    def _list_stacks(self, event: object = None) -> None:  # noqa: ARG002
        stacks = [layer for layer in self.viewer.layers if isinstance(layer.metadata.get(KEY), Stack)]
        if stacks == self._stacks:
            return
        current = self.layer()
        self._stacks = stacks
        self.stack_choice.blockSignals(True)
        self.stack_choice.clear()
        self.stack_choice.addItems([layer.name for layer in stacks])
        if current in stacks:
            self.stack_choice.setCurrentIndex(stacks.index(current))
        self.stack_choice.blockSignals(False)
        if self.layer() is not current:
            self._chosen()

    def _chosen(self) -> None:
        layer = self.layer()
        self.acquisition.clear()
        self.acquisition.show_stack(layer.metadata[KEY] if layer is not None else None)
        if layer is not None:
            path = layer.metadata[KEY].path.absolute()
            self.runs.out.setText(str(path.with_name(f"{path.stem}-result")))

    def _restate(self) -> None:
        """Show the stack at the scale and the way up that follow from what the user states."""
        layer = self.layer()
        if layer is None:
            return
        try:
            stack = self.stack()
            options = placed(*display_scale(stack))
        except FibtomoError as error:
            self._report(error)
            return
        layer.data = lazy_slices(stack)
        layer.units, layer.scale = options["units"], options["scale"]
        self._say("")

    def _open(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Folder of slices, or of a result")
        if not folder:
            return
        try:
            shown = show(self.viewer, read(folder))
        except FibtomoError as error:
            self._report(error)
            return
        if shown[0] in self._stacks:
            self.stack_choice.setCurrentIndex(self._stacks.index(shown[0]))

    def ask_slices(self) -> None:
        """Look beside the window for what the slices say of their acquisition."""
        try:
            stack = self.stack()
        except FibtomoError as error:
            self._report(error)
            return
        self._start(Job(partial(api.look_at, stack)), self._show_seen, "asking the slices …")

    @Slot(object)
    def _show_seen(self, stack: Stack) -> None:
        self.acquisition.show_seen(stack.problems)
        self._say("" if stack.evidence else "the slices were not asked: they are in voxels, or too small")

    # -- preview --------------------------------------------------------------------------------------------

    def preview(self) -> None:
        """Try the selected stage on the slices around the one in view, beside the window."""
        try:
            stack, calls = self.stack(), self.pipeline.calls_to_selected()
        except FibtomoError as error:
            self._report(error)
            return
        work = partial(try_last, stack, calls, self._slice_in_view(), self.slab.value())
        self._start(Job(work), self._show_trial, f"trying {calls[-1].name} …")

    def _slice_in_view(self) -> int:
        layer = self.layer()
        position = 0 if layer is None else round(float(layer.world_to_data(self.viewer.dims.point)[0]))
        return min(max(0, position), layer.data.shape[0] - 1 if layer is not None else 0)

    @Slot(object)
    def _show_trial(self, trial: Trial) -> None:
        layers = trial_layers(trial)
        kept = {options["name"] for _, options, _ in layers}
        with same_place(self.viewer):
            for layer in self._tried:
                if layer in self.viewer.layers and layer.name not in kept:
                    self.viewer.layers.remove(layer)
            self._tried = show(self.viewer, layers)
        for name, button in self.shown.items():
            button.setEnabled(any(layer.name.endswith(f" {name}") for layer in self._tried))
        self.shown["after"].setChecked(True)
        self._show_only("after")
        self._say(trial_sentence(trial))

    def _show_only(self, shown: str) -> None:
        """Show one of before, after and removed; labels made of an image lie over it."""
        kinds = {layer.name.rpartition(" ")[2]: layer._type_string for layer in self._tried}
        overlay = kinds.get("after") == "labels" and kinds.get("before") == "image"
        for layer in self._tried:
            name = layer.name.rpartition(" ")[2]
            layer.visible = name == shown or (overlay and name == "before")

    # -- run ------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Run the pipeline on the whole stack beside the window; an unfinished run in the folder is resumed."""
        try:
            stack, config, out = self.stack(), self.pipeline.config(), self.runs.folder()
            shipped, settings = self.pipeline.shipped_name(), self.pipeline.settings()
            command = command_line(stack, out, shipped, settings, self.acquisition.overrides())
        except FibtomoError as error:
            self._report(error)
            return
        self.observer = SignalObserver(self)
        self.observer.began.connect(self._show_section)
        self.observer.advanced.connect(self.runs.advance)
        self.observer.said.connect(self._say)
        work = partial(
            api.run,
            stack,
            out,
            config,
            overwrite=self.runs.overwrite.isChecked(),
            observer=self.observer,
            command=command,
        )
        self.runs.set_result(None)
        self.runs.set_running(True)
        self._start(Job(work, self.observer.cancel), self._show_run, "preparing …")

    def cancel(self) -> None:
        """Stop the run after the blocks under way."""
        if self.observer is not None:
            self.observer.cancel()
            self._say("stopping after the blocks under way …")

    @Slot(str, int, int)
    def _show_section(self, title: str, total: int, done: int) -> None:
        self.runs.section(total, done)
        self._say(title)

    @Slot(object)
    def _show_run(self, run: api.Run) -> None:
        with same_place(self.viewer):
            show(self.viewer, run_layers(run))
        self.runs.set_result(run)
        show_sections(self.viewer, run)
        record = run.provenance
        left = left_out(record["tables"].get("face"))
        self._say(f"finished in {record['wall_s']:.0f} s: {run.path}{'; left out: ' if left else ''}{'; '.join(left)}")

    def _turn(self, solid: bool) -> None:
        if self.runs.result is not None:
            with same_place(self.viewer):
                (show_solid if solid else show_sections)(self.viewer, self.runs.result)

    # -- jobs and messages ----------------------------------------------------------------------------------

    def _start(self, job: Job, then: Callable[[Any], None], text: str) -> None:
        self.job = job
        job.succeeded.connect(then)
        job.failed.connect(self._report)
        job.finished.connect(self._ended)
        self.destroyed.connect(job.stop)
        self.preview_button.setEnabled(False)
        self.acquisition.ask_slices.setEnabled(False)
        self.runs.start.setEnabled(False)
        self._say(text)
        job.begin()

    @Slot()
    def _ended(self) -> None:
        self.job = self.observer = None
        self.preview_button.setEnabled(True)
        self.acquisition.ask_slices.setEnabled(self.layer() is not None)
        self.runs.set_running(False)

    @Slot(object)
    def _report(self, error: Exception) -> None:
        """Say in one sentence what is wrong; anything unforeseen goes to napari with its traceback."""
        if isinstance(error, CancelledError):
            self._say("stopped; the finished blocks are kept, Run goes on from there")
            return
        self._say(str(error), error=True)
        if isinstance(error, CalibrationError):
            self.acquisition.ask(error)
        if not isinstance(error, FibtomoError):
            raise error

    @Slot(str)
    def _say(self, text: str, error: bool = False) -> None:
        self.status.setProperty("error", error)
        self.status.style().unpolish(self.status)
        self.status.style().polish(self.status)
        self.status.setText(text)
