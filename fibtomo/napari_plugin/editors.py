"""Editors of single parameters, chosen by type: each has `value`, `set_value` and a signal `changed`."""

from collections.abc import Sequence
from typing import Any

import yaml
from qtpy.QtCore import QEvent, QObject, Qt, Signal
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QHBoxLayout,
    QLineEdit,
    QSizePolicy,
    QSpinBox,
    QWidget,
)

from fibtomo.errors import PipelineError
from fibtomo.napari_plugin.command import plain_yaml

_DECIMALS = 12
_FARTHEST = 1e9


class _WheelGuard(QObject):
    """Lets the wheel scroll the panel instead of changing the value under the pointer."""

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802 - Qt's name
        if event.type() == QEvent.Type.Wheel and isinstance(watched, QWidget) and not watched.hasFocus():
            event.ignore()
            return True
        return False


class Editor(QWidget):
    """Base: a row that holds one value."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._row = QHBoxLayout(self)
        self._row.setContentsMargins(0, 0, 0, 0)

    def value(self) -> Any:
        """Return the value as plain Python."""
        raise NotImplementedError

    def set_value(self, value: Any) -> None:
        """Show `value`."""
        raise NotImplementedError

    def _hold(self, widget: QWidget) -> None:
        widget.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        widget.installEventFilter(_WheelGuard(widget))
        widget.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._row.addWidget(widget)


class BoolEditor(Editor):
    """Yes or no."""

    def __init__(self) -> None:
        super().__init__()
        self.box = QCheckBox()
        self._hold(self.box)
        self.box.toggled.connect(self.changed)

    def value(self) -> bool:
        """Return whether the box is ticked."""
        return self.box.isChecked()

    def set_value(self, value: Any) -> None:
        """Tick the box or not."""
        self.box.setChecked(bool(value))


class ChoiceEditor(Editor):
    """One of some words or numbers."""

    def __init__(self, choices: Sequence[Any]) -> None:
        super().__init__()
        self.box = QComboBox()
        self._choices = list(choices)
        self.box.addItems([str(choice) for choice in self._choices])
        self._hold(self.box)
        self.box.currentIndexChanged.connect(self.changed)

    def value(self) -> Any:
        """Return the choice."""
        return self._choices[self.box.currentIndex()]

    def set_value(self, value: Any) -> None:
        """Choose `value`."""
        self.box.setCurrentIndex(self._choices.index(value))


class _FloatBox(QDoubleSpinBox):
    """Shows as few digits as the value has."""

    def textFromValue(self, value: float) -> str:  # noqa: N802 - Qt's name
        return f"{value:.10g}"


class NumberEditor(Editor):
    """A number with its range and unit; a value nobody edits comes back exactly as it was set."""

    def __init__(self, whole: bool, low: float | None, high: float | None, unit: str) -> None:
        super().__init__()
        self.box: QSpinBox | QDoubleSpinBox = QSpinBox() if whole else _FloatBox()
        if isinstance(self.box, QDoubleSpinBox):
            self.box.setDecimals(_DECIMALS)
        number = int if whole else float
        self.box.setRange(number(-_FARTHEST if low is None else low), number(_FARTHEST if high is None else high))
        self.box.setStepType(QAbstractSpinBox.StepType.AdaptiveDecimalStepType)
        self.box.setKeyboardTracking(False)
        self.box.setSuffix(f" {unit}" if unit else "")
        self._hold(self.box)
        self._value: float = self.box.value()
        self.box.valueChanged.connect(self._edited)

    def _edited(self, value: float) -> None:
        self._value = value
        self.changed.emit()

    def value(self) -> float:
        """Return the number."""
        return self._value

    def set_value(self, value: Any) -> None:
        """Show a number."""
        self.box.blockSignals(True)
        self.box.setValue(value)
        self.box.blockSignals(False)
        self._value = value
        self.changed.emit()


class TextEditor(Editor):
    """Text as it is."""

    def __init__(self) -> None:
        super().__init__()
        self.line = QLineEdit()
        self._hold(self.line)
        self.line.editingFinished.connect(self.changed)

    def value(self) -> Any:
        """Return the text."""
        return self.line.text().strip()

    def set_value(self, value: Any) -> None:
        """Show a text."""
        self.line.setText(str(value))
        self.changed.emit()


class YamlEditor(TextEditor):
    """Anything else as a line of YAML; a list needs no brackets."""

    def __init__(self, name: str, listed: bool, unit: str = "") -> None:
        super().__init__()
        self._name, self._listed = name, listed
        self.line.setPlaceholderText(f"numbers with commas{f', {unit}' if unit else ''}" if listed else unit)

    def value(self) -> Any:
        """Return what the line says; text that is no YAML raises `PipelineError`."""
        text = super().value()
        try:
            return yaml.safe_load(f"[{text}]" if self._listed and not text.startswith("[") else text)
        except yaml.YAMLError:
            wanted = "numbers with commas between them" if self._listed else "a number, a word or a [list]"
            raise PipelineError(f"parameter '{self._name}' = '{text}' is refused: write {wanted}") from None

    def set_value(self, value: Any) -> None:
        """Show `value`."""
        super().set_value(", ".join(str(v) for v in value) if self._listed else plain_yaml(value))


class AutoEditor(Editor):
    """Another editor that a tick replaces by "auto" or by nothing."""

    def __init__(self, inner: Editor, otherwise: str | None) -> None:
        super().__init__()
        self.inner, self._otherwise = inner, otherwise
        self.tick = QCheckBox(otherwise or "auto")
        self._row.addWidget(self.tick)
        self._row.addWidget(inner, 1)
        self.tick.toggled.connect(inner.setHidden)
        self.tick.toggled.connect(self.changed)
        inner.changed.connect(self.changed)

    def value(self) -> Any:
        """Return the inner value, or what stands for automatic."""
        return self._otherwise if self.tick.isChecked() else self.inner.value()

    def set_value(self, value: Any) -> None:
        """Tick automatic, or show a value."""
        self.tick.setChecked(value == self._otherwise)
        if value != self._otherwise:
            self.inner.set_value(value)
