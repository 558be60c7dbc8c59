"""What is known of the chosen stack, and fields for what its files do not say."""

from collections.abc import Sequence
from html import escape
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QFormLayout, QLabel, QLineEdit, QPushButton, QVBoxLayout, QWidget

from fibtomo.core.volume import ORIENTATIONS, Sourced
from fibtomo.errors import CalibrationError, InputError
from fibtomo.io.describe import describe
from fibtomo.io.findings import Finding
from fibtomo.io.stack import Stack

_AS_READ = "as the files say"
_SEEN = ("evidence", "evidence-contradiction", "self-test")
_ANSWERS = {_AS_READ: None, "yes": True, "no": False}


class AcquisitionBox(QWidget):
    """Facts of a stack with their origins; what the user states here outranks them."""

    changed = Signal()
    asked = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.facts, self.seen = QLabel(), QLabel()
        for label in (self.facts, self.seen):
            label.setWordWrap(True)
        self.ask_slices = QPushButton("Ask the slices")
        self.ask_slices.setToolTip("Look in some slices for signs of tilt correction, slice thickness and tracking")
        self.ask_slices.clicked.connect(self.asked)
        self.voxel, self.angle, self.accepted = QLineEdit(), QLineEdit(), QLineEdit()
        self.overtilt, self.face, self.sample = QLineEdit(), QLineEdit(), QLineEdit()
        self.tilt, self.tracked, self.orientation = QComboBox(), QComboBox(), QComboBox()
        form = QFormLayout()
        form.setContentsMargins(0, 0, 0, 0)
        self._fields: dict[str, QWidget] = {}
        for label, option, widget, help_text in (
            ("voxel size", "--voxel-nm", self.voxel, "Slice thickness, pixel height and width in nm, or: unknown"),
            ("column angle", "--column-angle-deg", self.angle, "Angle between electron and ion column in degrees"),
            ("tilt corrected", "--tilt-corrected", self.tilt, "Whether the scan already gave rows their true scale"),
            ("tracked", "--tracked", self.tracked, "Whether the field of view followed the face"),
            ("over-tilt", "--over-tilt-deg", self.overtilt, "Over-tilt of the face against the ion beam in degrees"),
            ("face tilt", "--face-tilt-deg", self.face, "Measured angle between electron beam and face normal"),
            ("sample tilt", "--sample-tilt-deg", self.sample, "Tilt of the sample surface: stage tilt minus pre-tilt"),
            ("orientation", "--orientation", self.orientation, "How the stored images lie on the face"),
            ("accepted guesses", "--accept-guess", self.accepted, "Facts that may stay guesses, as slice_nm"),
        ):
            widget.setToolTip(f"{help_text} ({option})")
            form.addRow(label, widget)
            self._fields[option] = widget
            if isinstance(widget, QComboBox):
                widget.addItems([_AS_READ, *ORIENTATIONS] if widget is self.orientation else list(_ANSWERS))
                widget.currentIndexChanged.connect(self.changed)
            elif isinstance(widget, QLineEdit):
                widget.editingFinished.connect(self.changed)
        fields = QWidget()
        fields.setLayout(form)
        fields.hide()
        self.more = QPushButton("Correct or complete the acquisition …")
        self.more.setCheckable(True)
        self.more.toggled.connect(fields.setVisible)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.addWidget(self.facts)
        whole.addWidget(self.seen)
        whole.addWidget(self.ask_slices)
        whole.addWidget(self.more)
        whole.addWidget(fields)
        self.show_stack(None)

    def show_stack(self, stack: Stack | None) -> None:
        """Show what is known of `stack`."""
        self.show_seen(())
        self.ask_slices.setEnabled(stack is not None)
        if stack is None:
            self.facts.setText("Open a folder of slices, or take a sample from File ▸ Open Sample.")
            self.facts.setToolTip("")
            return
        c = stack.calibration
        n, rows, columns = stack.shape
        voxel = " × ".join(f"{v:.4g}" for v in stack.voxel_nm) + " nm" if stack.voxel_nm else "voxel size unknown"
        self.facts.setText(f"{n} slices of {rows} × {columns}, {stack.dtype.name}; {voxel}")
        cells = ("".join(f"<td>{escape(cell)}&nbsp;</td>" for cell in row[:3]) for row in describe(stack))
        self.facts.setToolTip(f"<table>{''.join(f'<tr>{row}</tr>' for row in cells)}</table>")
        self.voxel.setPlaceholderText("DZ DY DX" if stack.voxel_nm is None else voxel)
        self.angle.setPlaceholderText(_said(c.column_angle_deg, "unknown", "°"))
        for box, fact in ((self.tilt, c.tilt_corrected), (self.tracked, c.tracked)):
            box.setItemText(0, f"as the files say ({_said(fact, 'unknown')})")

    def show_seen(self, findings: Sequence[Finding]) -> None:
        """Show what the slices say, contradictions and warnings first."""
        said = sorted((f for f in findings if f.kind in _SEEN), key=lambda f: f.severity == "note")
        self.seen.setText("\n".join(f.message if f.severity == "note" else f"⚠ {f.message}" for f in said))
        self.seen.setVisible(bool(said))

    def clear(self) -> None:
        """Forget what the user stated."""
        self.blockSignals(True)
        for widget in self._fields.values():
            if isinstance(widget, QComboBox):
                widget.setCurrentIndex(0)
            elif isinstance(widget, QLineEdit):
                widget.clear()
        self.blockSignals(False)

    def overrides(self) -> dict[str, Any]:
        """Keyword arguments of `open_stack` that the user states.

        Raises
        ------
        InputError
            An angle is no number.
        """
        stated: dict[str, Any] = {}
        voxel = self.voxel.text().strip()
        if voxel:
            stated["voxel_nm"] = voxel if voxel == "unknown" else tuple(voxel.replace(",", " ").split())
        for name, what, edit in (
            ("column_angle_deg", "column angle", self.angle),
            ("overtilt_deg", "over-tilt", self.overtilt),
            ("face_tilt_deg", "face tilt", self.face),
            ("sample_tilt_deg", "sample tilt", self.sample),
        ):
            angle = edit.text().strip().rstrip("°")
            if angle:
                stated[name] = _number(what, angle)
        for name, box in (("tilt_corrected", self.tilt), ("tracked", self.tracked)):
            answer = list(_ANSWERS.values())[box.currentIndex()]
            if answer is not None:
                stated[name] = answer
        if self.orientation.currentIndex():
            stated["orientation"] = self.orientation.currentText()
        accepted = self.accepted.text().replace(",", " ").split()
        if accepted:
            stated["accept_guess"] = tuple(accepted)
        return stated

    def ask(self, question: CalibrationError) -> None:
        """Open the fields and go to the one that answers `question`."""
        self.more.setChecked(True)
        places = {option: str(question).find(option) for option in self._fields}
        named = [option for option in sorted(places, key=places.__getitem__) if places[option] >= 0]
        if named:
            self._fields[named[0]].setFocus()


def _said(fact: Sourced, otherwise: str, unit: str = "") -> str:
    if not fact:
        return otherwise
    return {True: "yes", False: "no"}[fact.value] if isinstance(fact.value, bool) else f"{fact.value:g}{unit}"


def _number(what: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(f"the {what} '{text}' must be a number of degrees, such as 52") from None
