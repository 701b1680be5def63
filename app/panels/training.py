"""The fine-tuning panel: folder, scan report, one button, live losses, result, "use this style".

Drives a `TrainerThread` and shows what it says; the studio decides what using a style means.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtWidgets import (
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QListWidget,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QSpinBox,
    QStackedLayout,
    QVBoxLayout,
    QWidget,
)

from app.panels.losses import TOTAL, Curve, LossHistory
from app.panels.samples import Samples
from app.panels.slider import MARGIN
from app.settings import Settings
from app.trainer_thread import FileReport, TrainerState, TrainerThread, TrainingStep

if TYPE_CHECKING:
    from app.panels.plots import LossPlots

STEPS = 300
ADAPTER, INSTANT = "adapter", "instant"
KINDS = {ADAPTER: "Adapter", INSTANT: "Instant style"}
WHAT_IT_LEARNS = {
    ADAPTER: "Minutes. Trains small matrices in the model: it learns how your music is written, note by note.",
    INSTANT: "Seconds. Finds where your music lies in what the model knows: new sliders that lead there.",
}
INSTANT_SECONDS = 30.0
COLUMN = 304
HEIGHT = 232
MIN_NOTES = 200  # fewer notes teach nothing that can be measured on pieces held out


class Stage(Enum):
    """What the panel shows.

    ::

        EMPTY --folder--> SCANNING --ok--> REPORT --start--> TRAINING --> RESULT --again--> REPORT
                             +--cancelled, failed--> EMPTY        +--failed--> REPORT
    """

    EMPTY = "empty"
    SCANNING = "scanning"
    REPORT = "report"
    TRAINING = "training"
    RESULT = "result"


class TrainingPanel(QWidget):
    """Left a column that leads through it, right the rejected files or the plots."""

    use_style = Signal(object)  # Path of the adapter's folder
    problem = Signal(str)
    loading = Signal()  # the plots are about to be imported: this thread stands still for most of a second

    def __init__(
        self, trainer: TrainerThread, settings: Settings, styles: Path, model: Callable[[], Path | None] = lambda: None
    ) -> None:
        super().__init__()
        self.setObjectName("training")
        self.setAcceptDrops(False)  # the window takes drops
        self.trainer, self.settings, self.styles, self.model = trainer, settings, styles, model
        self.stage = Stage.EMPTY
        self.folder: Path | None = None
        self.out: Path | None = None
        self.reports: list[FileReport] = []
        self.history = LossHistory()
        self.plots: LossPlots | None = None
        self.title = self._label(strong=True)
        self.words = self._label(dim=True)
        self.steps = QSpinBox()
        self.steps.setRange(10, 20_000)
        self.steps.setSingleStep(50)
        self.steps.setValue(STEPS)
        self.steps.setFixedWidth(104)
        self.steps.setSuffix(self.tr(" steps"))
        self.steps.setToolTip(self.tr("How long to train: type, or use the arrow keys."))
        self.steps.lineEdit().setTextMargins(8, 0, 8, 0)
        self.steps.setAccessibleName(self.tr("Training steps"))
        self.steps.valueChanged.connect(lambda _: self._show())
        self.kind = QComboBox()
        self.kind.setAccessibleName(self.tr("Way of learning"))
        for kind, words in KINDS.items():
            self.kind.addItem(self.tr(words), kind)
        self.kind.currentIndexChanged.connect(lambda _: self._show())
        self.samples = Samples()
        self.progress = QProgressBar()
        self.progress.setTextVisible(False)
        self.main_button = self._button(self.main_action, primary=True)
        self.other_button = self._button(self.other_action)
        self.refused = QListWidget()
        self.refused.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.refused.setWordWrap(True)
        self.refused.setAccessibleName(self.tr("Files left out, with reasons"))
        self._lay_out()
        trainer.report.connect(self._on_report)
        trainer.step.connect(self._on_step)
        trainer.ended.connect(self._on_ended)
        self._show()

    @staticmethod
    def _label(**properties: bool) -> QLabel:
        label = QLabel()
        label.setWordWrap(True)
        label.setTextFormat(Qt.TextFormat.PlainText)
        for name, value in properties.items():
            label.setProperty(name, value)
        return label

    def _button(self, clicked: Callable[[], None], primary: bool = False) -> QPushButton:
        button = QPushButton()
        button.setProperty("primary", primary)
        button.clicked.connect(clicked)
        return button

    def _lay_out(self) -> None:
        column = QVBoxLayout()
        column.setContentsMargins(MARGIN, 16, MARGIN, 16)
        column.setSpacing(8)
        for widget in (self.title, self.words, self.progress):
            column.addWidget(widget)
        column.addStretch(1)
        column.addWidget(self.samples)
        how = QHBoxLayout()
        how.setSpacing(8)
        how.addWidget(self.kind, 1)
        how.addWidget(self.steps)
        column.addLayout(how)
        buttons = QHBoxLayout()
        buttons.setSpacing(8)
        buttons.addWidget(self.main_button)
        buttons.addWidget(self.other_button)
        buttons.addStretch(1)
        column.addLayout(buttons)
        left = QWidget()
        left.setFixedWidth(COLUMN)
        left.setLayout(column)
        self._right = QStackedLayout()
        files = QWidget()
        files_column = QVBoxLayout(files)
        files_column.setContentsMargins(8, 16, 16, 16)
        files_column.addWidget(self.refused)
        self._right.addWidget(files)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(0)
        row.addWidget(left)
        row.addLayout(self._right, 1)
        self.setMinimumHeight(HEIGHT)

    def sizeHint(self) -> QSize:
        return QSize(COLUMN * 2, HEIGHT)

    # What the buttons do

    def main_action(self) -> None:
        """Do the next thing of the present stage."""
        {
            Stage.EMPTY: self.choose,
            Stage.SCANNING: self.trainer.cancel,
            Stage.REPORT: self.choose if self._why_not() else self.start,
            Stage.TRAINING: self.trainer.cancel,
            Stage.RESULT: self._use,
        }[self.stage]()

    def other_action(self) -> None:
        """Take a step aside: another folder, or once more."""
        if self.stage is Stage.RESULT:
            self._go(Stage.REPORT)
        else:
            self.choose()

    def choose(self) -> None:
        """Ask for a folder of music."""
        name = QFileDialog.getExistingDirectory(
            self, self.tr("A folder of your music"), self.settings.get("folder", str)
        )
        if name:
            self.settings.set("folder", name)
            self.scan(Path(name))

    def scan(self, folder: Path) -> None:
        """Look at every file of `folder` and report."""
        if self.trainer.busy:
            self.problem.emit(self.tr("The trainer is at work; cancel it first."))
            return
        self.folder, self.reports = folder, []
        self.refused.clear()
        self.trainer.scan(folder)
        self._go(Stage.SCANNING)

    def start(self) -> None:
        """Fine-tune on the folder that was scanned."""
        if self.folder is None or self.trainer.busy:
            return
        self.out = self.styles / f"{self.folder.name}-{time.strftime('%Y%m%d-%H%M%S')}"
        self.history = LossHistory()
        if self.plots is not None:
            self.plots.set_history(self.history)
        self.samples.clear()
        kind = self.kind.currentData()
        options = {"steps": self.steps.value()} if kind == ADAPTER else {}  # an instant style knows how long it takes
        self.trainer.fine_tune(self.folder, self.out, self.model(), kind=kind, **options)
        self._go(Stage.TRAINING)

    def _use(self) -> None:
        if self.out is not None:
            self.use_style.emit(self.out)

    # What the trainer says

    def _on_report(self, report: FileReport) -> None:
        self.reports.append(report)
        if not report.ok:
            name = Path(report.path).name
            self.refused.addItem(report.reason.replace(name, report.path, 1) or report.path)
        if len(self.reports) % 10 == 1:
            self._show()

    def _on_step(self, step: TrainingStep) -> None:
        self.history.add(step)
        self.samples.add(step.n, step.samples)
        self._show()

    def _on_ended(self, state: TrainerState, words: str) -> None:
        failed = state is TrainerState.FAILED
        if failed:
            self.problem.emit(words)
        if self.stage is Stage.SCANNING:
            self._go(Stage.REPORT if state is TrainerState.FINISHED else Stage.EMPTY)
        elif self.stage is Stage.TRAINING:
            self._remember_pace()
            self._go(Stage.REPORT if failed or not self.history.steps else Stage.RESULT)

    def _remember_pace(self) -> None:
        last = self.history.steps[-1] if self.history.steps else None
        if last is not None and last.n > 0 and self.kind.currentData() == ADAPTER:
            self.settings.set("step_seconds", float(last.seconds / last.n))

    # What is shown

    def _go(self, stage: Stage) -> None:
        self.stage = stage
        if stage in (Stage.TRAINING, Stage.RESULT):
            self._open_plots()
        self._right.setCurrentIndex(1 if stage in (Stage.TRAINING, Stage.RESULT) and self.plots is not None else 0)
        self._show()

    def _open_plots(self) -> None:
        if self.plots is None:
            self.loading.emit()
            from app.panels.plots import LossPlots

            self.plots = LossPlots(self.history)
            self.plots.problem.connect(self.problem)
            self.plots.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Ignored)
            self._right.addWidget(self.plots)

    def plotted(self, term: str = TOTAL, held_out: bool = False) -> Curve:
        """The points on the plot for a loss term: (steps, values)."""
        if self.plots is None:
            return np.zeros(0), np.zeros(0)
        return self.plots.plotted(term, held_out)

    def _show(self) -> None:
        title, words, main, other = getattr(self, f"_say_{self.stage.value}")()
        self.title.setText(title)
        self.words.setText(words)
        self.words.setToolTip(self._what_to_do())
        self.main_button.setText(main)
        self.other_button.setText(other)
        self.other_button.setVisible(bool(other))
        self.refused.setVisible(self.refused.count() > 0)
        choosing = self.stage is Stage.REPORT and not self._why_not()
        self.kind.setVisible(choosing)
        self.kind.setToolTip(self.tr(WHAT_IT_LEARNS[self.kind.currentData()]))
        self.steps.setVisible(choosing and self.kind.currentData() == ADAPTER)
        self.samples.setVisible(self.stage in (Stage.TRAINING, Stage.RESULT) and self.samples.chosen.count() > 0)
        self.progress.setVisible(self.stage in (Stage.SCANNING, Stage.TRAINING))
        training = self.stage is Stage.TRAINING and self.history.steps
        self.progress.setRange(0, self.history.steps[-1].steps if training else 0)
        self.progress.setValue(self.history.steps[-1].n if training else 0)
        refusal = self._why_not() if self.stage is Stage.RESULT else ""
        self.main_button.setEnabled(not refusal)
        self.main_button.setToolTip(refusal)

    def _why_not(self) -> str:
        if self.stage is Stage.RESULT and not (self.history.improvement() or 0) > 0:
            return self.tr("There is no style to use: the loss on held-out music did not fall.")
        if self.stage is not Stage.REPORT:
            return ""
        kept = sum(r.ok for r in self.reports)
        if not self.reports:
            return self.tr("There is no MIDI file in this folder.")
        if not kept:
            return self.tr("No file in this folder can be used; the list says why.")
        if kept < 2:
            return self.tr("It takes two pieces at least: one to learn from and one to check on.")
        if sum(r.notes for r in self.reports) < MIN_NOTES:
            return self.tr("There are too few notes here to learn from.")
        return ""

    def _say_empty(self) -> tuple[str, str, str, str]:
        words = self.tr("Drop a folder of your MIDI files on the window, and the sliders will speak your style.")
        return self.tr("Fine-tune on your music"), words, self.tr("Choose a folder…"), ""

    def _say_scanning(self) -> tuple[str, str, str, str]:
        name = self.folder.name if self.folder else ""
        words = self.tr("{0} files so far, {1} usable").format(len(self.reports), sum(r.ok for r in self.reports))
        return self.tr("Looking at {0}").format(name), words, self.tr("Cancel"), ""

    def _say_report(self) -> tuple[str, str, str, str]:
        name = self.folder.name if self.folder else ""
        kept, refusal = [r for r in self.reports if r.ok], self._why_not()
        if not kept:
            return name, refusal, self.tr("Another folder…"), ""
        left_out = len(self.reports) - len(kept)
        lines = [
            self.tr("{0} of {1} files can be used").format(len(kept), len(self.reports))
            + (self.tr("; {0} left out, see the list.").format(left_out) if left_out else "."),
            self.tr("{0:,} notes in {1}.").format(sum(r.notes for r in kept), duration(sum(r.seconds for r in kept))),
        ]
        if refusal:
            return name, f"{lines[0]}\n{refusal}", self.tr("Another folder…"), ""
        adapter = self.kind.currentData() == ADAPTER
        seconds = self.steps.value() * self.settings.get("step_seconds", float) if adapter else INSTANT_SECONDS
        lines.append(self.tr("About {0} on this computer; you can go on composing.").format(duration(seconds)))
        return name, "\n".join(lines), self.tr("Fine-tune"), self.tr("Another folder…")

    def _say_training(self) -> tuple[str, str, str, str]:
        if not self.history.steps:
            return self.tr("Starting"), self.tr("Reading the music and loading the model."), self.tr("Cancel"), ""
        step = self.history.steps[-1]
        lines = [self.tr("Step {0} of {1}").format(step.n, step.steps)]
        left = self.history.seconds_left()
        if left is not None:
            lines[0] += self.tr(", {0} left").format(duration(left))
        lines.append(self._losses())
        if step.warnings:
            lines += [means for means, _ in step.warnings]
        elif step.message:
            lines.append(step.message)
        name = self.folder.name if self.folder else ""
        return self.tr("Learning {0}").format(name), "\n".join(lines), self.tr("Stop, keep the best"), ""

    def _say_result(self) -> tuple[str, str, str, str]:
        gain = self.history.improvement()
        if gain is None:
            title = self.tr("No result yet")
            words = self.tr("It was stopped before the music held out was measured twice.")
        elif gain > 0:
            title = self.tr("It learned your style")
            words = self.tr("On music it never trained on, the loss is {0:.1%} lower than before.").format(gain)
        else:
            title = self.tr("No improvement")
            words = self.tr("On music it never trained on, the loss did not fall. More or other music may help.")
        return title, words + "\n" + self._losses(), self.tr("Use this style"), self.tr("Once more…")

    def _what_to_do(self) -> str:
        """Advice for the warnings that are on, while there is a run on show."""
        training = self.stage is Stage.TRAINING and self.history.steps
        return "\n".join(do for _, do in self.history.steps[-1].warnings) if training else ""

    def _losses(self) -> str:
        values = []
        for held_out, words in ((False, "{0:.4g}"), (True, self.tr("held out {0:.4g}"))):
            _, y = self.history.curve(TOTAL, held_out)
            if len(y):
                values.append(words.format(y[-1]))
        words = self.tr("Loss per note: {0}") if self.kind.currentData() == ADAPTER else self.tr("Nats per bar: {0}")
        return words.format(", ".join(values)) if values else ""


def duration(seconds: float) -> str:
    """A length of time as one says it."""
    if seconds < 90:
        return f"{max(round(seconds), 1)} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"
