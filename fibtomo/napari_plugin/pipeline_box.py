"""Choosing a pipeline, its stages and their parameters."""

from collections.abc import Sequence
from pathlib import Path

import yaml
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from fibtomo.core.stage import get_stage, stage_names
from fibtomo.errors import FibtomoError, OutputError, PipelineError
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
        for name in stage_names():
            self._offer(f"only {name}", get_stage(name), get_stage(name).summary)
        load, save = QPushButton("Load…"), QPushButton("Save…")
        load.setToolTip("Read a pipeline from a YAML file")
        save.setToolTip("Write the pipeline with these parameters to a YAML file, for fibtomo run -p FILE")
        self.summary = QLabel()
        self.summary.setWordWrap(True)
        self.stages = QListWidget()
        self.forms = QStackedWidget()
        self._base = PipelineConfig("", "", ())
        top = QHBoxLayout()
        top.addWidget(self.choice, 1)
        top.addWidget(load)
        top.addWidget(save)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.addLayout(top)
        for widget in (self.summary, self.stages, self.forms):
            whole.addWidget(widget)
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
        self._base = config
        self.summary.setText(config.summary)
        self.stages.clear()
        while self.forms.count():
            form = self.forms.widget(0)
            self.forms.removeWidget(form)
            form.deleteLater()
        for call in config.calls:
            self.forms.addWidget(ParamsForm(call.name, call.params))
            item = QListWidgetItem(call.name)
            item.setToolTip("\n".join(text for text in (call.stage.summary, call.stage.citation) if text))
            item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
            item.setCheckState(Qt.CheckState.Checked)
            self.stages.addItem(item)
        height = self.stages.sizeHintForRow(0) * len(config.calls) + 2 * self.stages.frameWidth() + 2
        self.stages.setFixedHeight(height)
        self.stages.setCurrentRow(0)

    def _offer(self, text: str, what: object, tip: str) -> None:
        self.choice.addItem(text, what)
        self.choice.setItemData(self.choice.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)

    def _choose(self) -> None:
        what = self.choice.currentData()
        try:
            if isinstance(what, str):
                self.use(load_pipeline(what))
            elif isinstance(what, PipelineConfig):
                self.use(what)
            elif what is not None:
                self.use(PipelineConfig(what.name, what.summary, (Call(what.name, what.params()),)))
        except FibtomoError as error:
            self.failed.emit(error)

    def _select(self, row: int) -> None:
        self.forms.setCurrentIndex(row)
        for index in range(self.forms.count()):
            # only the form in sight sets the height of the panel
            self.forms.widget(index).setVisible(index == row)

    def _call(self, row: int) -> Call:
        form = self.forms.widget(row)
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


def changes(old: Sequence[Call], new: Sequence[Call]) -> list[str]:
    """``stage.param=value`` (or ``stage=off``) texts that make the pipeline `new` out of `old`."""
    kept = {call.name: call for call in new}
    texts = []
    for call in old:
        if call.name not in kept:
            texts.append(f"{call.name}=off")
            continue
        before, after = call.params.model_dump(mode="json"), kept[call.name].params.model_dump(mode="json")
        for name, value in after.items():
            if value != before[name]:
                plain = yaml.safe_dump(value, default_flow_style=True).removesuffix("...\n").strip()
                texts.append(f"{call.name}.{name}={plain}")
    return texts
