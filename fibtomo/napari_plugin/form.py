"""A form made from the `Params` of a stage: nothing about a parameter is written twice."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QFormLayout, QLabel, QVBoxLayout, QWidget

from fibtomo.core.params import Params
from fibtomo.errors import PipelineError
from fibtomo.napari_plugin.editors import (
    AutoEditor,
    BoolEditor,
    ChoiceEditor,
    Editor,
    NumberEditor,
    TextEditor,
    YamlEditor,
)

UNITS = {
    "cycles_per_px": "cycles/px",
    "px_per_slice": "px/slice",
    "slices": "slices",
    "deg": "°",
    "nm": "nm",
    "px": "px",
}


@dataclass
class _Alternatives:
    """What a field may hold: words and None, types, and the range of its number."""

    words: list[Any] = field(default_factory=list)
    types: list[Any] = field(default_factory=list)
    low: float | None = None
    high: float | None = None

    def add(self, annotation: Any) -> None:
        """Take apart an annotation."""
        origin, parts = get_origin(annotation), get_args(annotation)
        if origin is Annotated:
            self.add(parts[0])
            for part in parts[1:]:
                self.bound(part.metadata if isinstance(part, FieldInfo) else [part])
        elif origin in (Union, UnionType):
            for part in parts:
                self.add(part)
        elif origin is Literal:
            self.words += parts
        elif annotation is NoneType:
            self.words.append(None)
        else:
            self.types.append(annotation)

    def bound(self, constraints: list[Any]) -> None:
        """Take the range from constraints such as ``Ge(0)``."""
        for constraint in constraints:
            for name in ("ge", "gt"):
                self.low = getattr(constraint, name, self.low)
            for name in ("le", "lt"):
                self.high = getattr(constraint, name, self.high)


def make_editor(name: str, info: FieldInfo) -> Editor:
    """Editor that fits a field: tick, list, number with range and unit, or a line of text; "auto" as a tick."""
    found = _Alternatives()
    found.add(info.annotation)
    found.bound(info.metadata)
    if not found.types:
        return ChoiceEditor(found.words)
    plain = len(found.types) == 1 and len(found.words) <= 1
    editor = _editor_of(found.types[0], name, found) if plain else YamlEditor(name, listed=False)
    return AutoEditor(editor, found.words[0]) if plain and found.words else editor


def _editor_of(kind: Any, name: str, found: _Alternatives) -> Editor:
    unit = label_and_unit(name)[1]
    if kind is bool:
        return BoolEditor()
    if kind in (int, float):
        return NumberEditor(kind is int, found.low, found.high, unit)
    if kind in (str, Path):
        return TextEditor()
    return YamlEditor(name, listed=get_origin(kind) in (tuple, list), unit=unit)


def label_and_unit(name: str) -> tuple[str, str]:
    """Split a parameter name into words and unit.

    Examples
    --------
    >>> label_and_unit("max_shift_px")
    ('max shift', 'px')
    """
    for suffix, unit in UNITS.items():
        if name.endswith(f"_{suffix}"):
            return name.removesuffix(f"_{suffix}").replace("_", " "), unit
    return name.replace("_", " "), ""


class ParamsForm(QWidget):
    """Editors for every field of a stage's parameters.

    Parameters
    ----------
    stage
        Name of the stage, for messages.
    params
        Their class.
    values
        Values to start with; defaults for those left out.
    """

    changed = Signal()

    def __init__(self, stage: str, params: type[Params], values: Mapping[str, Any]) -> None:
        super().__init__()
        self.stage, self._class = stage, params
        self.editors: dict[str, Editor] = {}
        self.error = QLabel()
        self.error.setObjectName("fibtomo-error")
        self.error.setWordWrap(True)
        rows = QFormLayout()
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        rows.setLabelAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        for name, info in self._class.model_fields.items():
            editor = make_editor(name, info)
            if name in values or not info.is_required():
                editor.set_value(values.get(name, info.get_default(call_default_factory=True)))
            editor.changed.connect(self._check)
            label = QLabel(label_and_unit(name)[0])
            label.setToolTip(info.description or "")
            default = "required" if info.is_required() else f"default {info.get_default()}"
            editor.setToolTip(f"{info.description or ''}\n({name}, {default})")
            rows.addRow(label, editor)
            self.editors[name] = editor
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.addLayout(rows)
        whole.addWidget(self.error)
        whole.addStretch(1)
        self._check()

    def params(self) -> Params:
        """Return what the form says.

        Raises
        ------
        PipelineError
            A value is refused; the message says which and why.
        """
        values = {name: editor.value() for name, editor in self.editors.items()}
        for name, info in self._class.model_fields.items():
            if info.is_required() and values[name] == "":
                del values[name]
        return self._class.parse(values, f"stage '{self.stage}'")

    def _check(self) -> None:
        try:
            self.params()
        except PipelineError as error:
            self.error.setText(str(error))
        else:
            self.error.clear()
        self.error.setVisible(bool(self.error.text()))
        self.changed.emit()
