"""Where the results go, the buttons that start and stop a run, and its progress."""

from pathlib import Path

from qtpy.QtCore import QUrl, Signal
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import (
    QCheckBox,
    QFileDialog,
    QHBoxLayout,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from fibtomo.api import Run
from fibtomo.errors import InputError


class RunBox(QWidget):
    """Output folder, Run and Cancel, progress, and what can be done with the result."""

    run_clicked = Signal()
    cancel_clicked = Signal()
    solid_toggled = Signal(bool)

    def __init__(self) -> None:
        super().__init__()
        self.out = QLineEdit()
        self.out.setPlaceholderText("folder for the results")
        browse = QPushButton("Browse…")
        self.overwrite = QCheckBox("replace earlier results there")
        self.overwrite.setToolTip("Otherwise a finished run is kept, and an unfinished one goes on where it was")
        self.start, self.stop = QPushButton("Run"), QPushButton("Cancel")
        self.stop.setToolTip("Stop after the blocks under way; they are kept, and Run goes on from there")
        self.bar = QProgressBar()
        self.bar.setFormat("%v of %m blocks")
        self.report, self.solid = QPushButton("Open report"), QPushButton("Show in 3D")
        self.solid.setCheckable(True)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        for row in ((self.out, browse), (self.overwrite,), (self.start, self.stop), (self.bar,),
                    (self.report, self.solid)):  # fmt: skip
            line = QHBoxLayout()
            for widget in row:
                line.addWidget(widget)
            whole.addLayout(line)
        browse.clicked.connect(self._browse)
        self.start.clicked.connect(self.run_clicked)
        self.stop.clicked.connect(self.cancel_clicked)
        self.report.clicked.connect(self._open_report)
        self.solid.toggled.connect(self.solid_toggled)
        self.result: Run | None = None
        self.set_running(False)
        self.set_result(None)

    def folder(self) -> Path:
        """Return the output folder.

        Raises
        ------
        InputError
            None is named.
        """
        text = self.out.text().strip()
        if not text:
            raise InputError("name the folder for the results first")
        return Path(text).expanduser()

    def set_running(self, running: bool) -> None:
        """Offer what can be done now."""
        self.start.setEnabled(not running)
        self.stop.setEnabled(running)
        self.bar.setVisible(running)
        if running:
            self.bar.setRange(0, 0)

    def set_result(self, run: Run | None) -> None:
        """Offer the report of a finished run, and its view in 3D."""
        self.result = run
        self.solid.setChecked(False)
        self.report.setVisible(run is not None)
        self.solid.setVisible(run is not None)

    def section(self, total: int, done: int) -> None:
        """Show the progress of a section."""
        self.bar.setRange(0, total)
        self.bar.setValue(done)

    def advance(self) -> None:
        """Show one block more."""
        self.bar.setValue(self.bar.value() + 1)

    def _browse(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Folder for the results", self.out.text())
        if folder:
            self.out.setText(folder)

    def _open_report(self) -> None:
        if self.result is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(self.result.report_path.resolve())))
