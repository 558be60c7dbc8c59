"""Choosing a pipeline, its stages and their parameters."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from fibtomo.core.stage import StageDef, get_stage, stage_names
from fibtomo.errors import FibtomoError, OutputError, PipelineError
from fibtomo.napari_plugin.command import changes
from fibtomo.napari_plugin.form import ParamsForm
from fibtomo.pipeline.config import Call, PipelineConfig, load_pipeline, pipelines

_START = "default"


class PipelineBox(QWidget):
    """A pipeline as a list of stages to tick, with the parameters of the selected one below."""

    failed = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.choice = QComboBox()
        for name, summary in pipelines().items():
            self._offer(name, name, summary)
        self.choice.insertSeparator(self.choice.count())
        for stage in map(get_stage, stage_names()):
            self._offer(f"only {stage.name}", stage, stage.summary)
        load, save = QPushButton("Load…"), QPushButton("Save…")
        load.setToolTip("Read a pipeline from a YAML file")
        save.setToolTip("Write the pipeline with these parameters to a YAML file, for fibtomo run -p FILE")
        self.summary = QLabel()
        self.summary.setWordWrap(True)
        self.stages = QListWidget()
        self.forms: list[ParamsForm] = []
        self._place = QVBoxLayout()
        self._base = PipelineConfig("", "", ())
        top = QHBoxLayout()
        top.addWidget(self.choice, 1)
        top.addWidget(load)
        top.addWidget(save)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.addLayout(top)
        whole.addWidget(self.summary)
        whole.addWidget(self.stages)
        whole.addLayout(self._place)
        self.choice.currentIndexChanged.connect(self._choose)
        self.stages.currentRowChanged.connect(self._select)
        load.clicked.connect(self._load)
        save.clicked.connect(self._save)
        self.choice.setCurrentText(_START)
        self._choose()

    def config(self) -> PipelineConfig:
        """The pipeline of the ticked stages.

        Raises
        ------
        PipelineError
            A parameter is refused, or no stage is ticked.
        """
        calls = tuple(self._call(row) for row in range(self.stages.count()) if self._ticked(row))
        if not calls:
            raise PipelineError("no stage is ticked; tick at least one")
        return PipelineConfig(self._base.name, self._base.summary, calls, self._base.input, self._base.output)

    def calls_to_selected(self) -> list[Call]:
        """The selected stage after the ticked ones before it.

        Raises
        ------
        PipelineError
            A parameter is refused.
        """
        last = max(0, self.stages.currentRow())
        return [self._call(row) for row in range(last + 1) if self._ticked(row) or row == last]

    def shipped_name(self) -> str | None:
        """Name by which ``fibtomo run -p`` knows the pipeline, before any change."""
        return self._base.name if self._base.name in pipelines() else None

    def settings(self) -> list[str]:
        """Changes against the pipeline as it was chosen, as ``--set`` takes them."""
        return changes(self._base.calls, self.config().calls)

    def use(self, config: PipelineConfig) -> None:
        """Show another pipeline."""
        self._show(config, [(call.stage, call.params.model_dump()) for call in config.calls])

    def _show(self, base: PipelineConfig, stages: Sequence[tuple[StageDef, dict[str, Any]]]) -> None:
        """Show stages with the values of their parameters (defaults for those left out)."""
        self._base = base
        self.summary.setText(base.summary)
        self.stages.clear()
        for form in self.forms:
            form.hide()
            form.deleteLater()
        self.forms = [ParamsForm(stage.name, stage.params, values) for stage, values in stages]
        row = QSize(0, self.fontMetrics().height() + 8)
        for (stage, _), form in zip(stages, self.forms, strict=True):
            form.hide()
            self._place.addWidget(form)
            item = QListWidgetItem(stage.name)
            item.setToolTip("\n".join(text for text in (stage.summary, stage.citation) if text))
            item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
            item.setCheckState(Qt.CheckState.Checked)
            item.setSizeHint(row)
            self.stages.addItem(item)
        self.stages.setFixedHeight(row.height() * len(stages) + 2 * self.stages.frameWidth() + 2)
        self.stages.setCurrentRow(0)

    def _offer(self, text: str, what: object, tip: str) -> None:
        self.choice.addItem(text, what)
        self.choice.setItemData(self.choice.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)

    def _choose(self) -> None:
        what = self.choice.currentData()
        try:
            if isinstance(what, str):
                what = load_pipeline(what)
            if isinstance(what, PipelineConfig):
                self.use(what)
            elif isinstance(what, StageDef):
                self._show(PipelineConfig(what.name, what.summary, ()), [(what, {})])
        except FibtomoError as error:
            self.failed.emit(error)

    def _select(self, row: int) -> None:
        for index, form in enumerate(self.forms):
            form.setVisible(index == row)

    def _call(self, row: int) -> Call:
        form = self.forms[row]
        return Call(form.stage, form.params())

    def _ticked(self, row: int) -> bool:
        return self.stages.item(row).checkState() == Qt.CheckState.Checked

    def _load(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Pipeline", "", "YAML (*.yaml *.yml)")
        if not path:
            return
        try:
            config = load_pipeline(Path(path))
        except FibtomoError as error:
            self.failed.emit(error)
            return
        self.choice.insertItem(0, Path(path).name, config)
        self.choice.setCurrentIndex(0)

    def _save(self) -> None:
        path, _ = QFileDialog.getSaveFileName(self, "Save pipeline", "pipeline.yaml", "YAML (*.yaml)")
        if not path:
            return
        try:
            Path(path).write_text(self.config().to_yaml(), encoding="utf-8")
        except FibtomoError as error:
            self.failed.emit(error)
        except OSError as error:
            self.failed.emit(OutputError(f"{path} cannot be written: {error.strerror}"))
