"""The strip of what may sound: key, range, voices, chords. "No preference" is where each begins.

Holds a `Limits`; says when a hand changed it, and in words why a text means nothing.
"""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtGui import QValidator
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFrame,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from app.limits import Limits
from app.roll.layers.notes import name_of
from engine.score.harmony import SCALES
from engine.score.scale import NAMES

LOWEST, HIGHEST = 21, 108  # the piano's keys
ANY = 20  # below the lowest: no preference
MOST_VOICES = 12
USUAL = ("major", "minor")


class PitchBox(QSpinBox):
    """A pitch by its name; below the lowest there is no preference."""

    def __init__(self, any_word: str) -> None:
        super().__init__()
        self.setRange(ANY, HIGHEST)
        self.setValue(ANY)
        self.setSpecialValueText(any_word)
        self.setFixedWidth(72)

    def textFromValue(self, value: int) -> str:
        return name_of(value)

    def valueFromText(self, text: str) -> int:
        known = {name_of(pitch).lower().replace("♯", "#"): pitch for pitch in range(LOWEST, HIGHEST + 1)}
        return known.get(text.strip().lower().replace("♯", "#"), self.value())

    def validate(self, text: str, position: int) -> tuple[QValidator.State, str, int]:
        return QValidator.State.Acceptable, text, position


class LimitsStrip(QFrame):
    """Two rows under the roll."""

    changed = Signal(object)  # Limits, be they right or wrong

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("limits_strip")
        nothing = self.tr("No preference")
        self.scale = QComboBox()
        self.scale.setEditable(True)
        self.scale.setFixedWidth(152)
        self.scale.addItem(nothing)
        for mode in USUAL:
            self.scale.addItems([f"{tonic} {mode}" for tonic in NAMES])
        self.scale.addItems([f"C {mode}" for mode in SCALES if mode not in USUAL])
        self.low, self.high = PitchBox(self.tr("any")), PitchBox(self.tr("any"))
        self.loose = QCheckBox(self.tr("Loose"))
        self.loose.setToolTip(self.tr("Lean towards the range instead of keeping to it"))
        self.voices = QSpinBox()
        self.voices.setRange(0, MOST_VOICES)
        self.voices.setSpecialValueText(self.tr("any"))
        self.voices.setFixedWidth(56)
        self.chords = QLineEdit()
        self.chords.setPlaceholderText(self.tr("No preference; or C | Am F | G7"))
        self.chords.setMinimumWidth(120)
        self.clear = QPushButton(self.tr("Clear"))
        self.trouble = QLabel()
        self.trouble.setProperty("danger", True)
        self.trouble.hide()
        self._telling = True
        self._lay_out()
        self._listen()
        self.show_limits(Limits())

    def _lay_out(self) -> None:
        rows = QVBoxLayout(self)
        rows.setContentsMargins(16, 8, 8, 8)
        rows.setSpacing(8)
        reach = (self.low, self.high, self.loose)
        upper = ((self.tr("Key"), (self.scale,)), (self.tr("Range"), reach), (self.tr("Voices"), (self.voices,)))
        for words in (upper, ((self.tr("Chords"), (self.chords, self.trouble)),)):
            row = QHBoxLayout()
            row.setSpacing(8)
            for word, widgets in words:
                label = QLabel(word)
                label.setProperty("dim", True)
                label.setMinimumWidth(48)
                row.addWidget(label)
                for widget in widgets:
                    row.addWidget(widget, 1 if widget is self.chords else 0)
            rows.addLayout(row)
            if words is upper:
                row.addStretch(1)
                row.addWidget(self.clear)
        named: tuple[tuple[QWidget, str], ...] = (
            (self.scale, self.tr("Key or scale")),
            (self.low, self.tr("Lowest note")),
            (self.high, self.tr("Highest note")),
            (self.loose, self.tr("Loose range")),
            (self.voices, self.tr("Voices at once, at most")),
            (self.chords, self.tr("Chords by bar")),
            (self.clear, self.tr("No preference anywhere")),
        )
        for field, name in named:
            field.setAccessibleName(name)

    def _listen(self) -> None:
        self.scale.currentTextChanged.connect(self._tell)
        self.chords.textChanged.connect(self._tell)
        self.loose.toggled.connect(self._tell)
        for box in (self.low, self.high, self.voices):
            box.valueChanged.connect(self._tell)
        self.clear.clicked.connect(lambda: self.show_limits(Limits(), tell=True))

    def limits(self) -> Limits:
        """What is written here."""
        scale = self.scale.currentText().strip()
        low, high = (None if box.value() == ANY else box.value() for box in (self.low, self.high))
        return Limits(
            "" if scale == self.scale.itemText(0) else scale, low, high, self.loose.isChecked(),
            self.chords.text().strip(), self.voices.value() or None,
        )  # fmt: skip

    def show_limits(self, limits: Limits, tell: bool = False) -> None:
        """Write these here."""
        self._telling = False
        self.scale.setCurrentText(limits.scale or self.scale.itemText(0))
        self.low.setValue(ANY if limits.low is None else limits.low)
        self.high.setValue(ANY if limits.high is None else limits.high)
        self.loose.setChecked(limits.loose)
        self.voices.setValue(limits.voices or 0)
        self.chords.setText(limits.chords)
        self._telling = True
        self._judge()
        if tell:
            self.changed.emit(self.limits())

    def _judge(self) -> None:
        found = self.limits()
        trouble = found.trouble()
        self.trouble.setText(trouble)
        self.trouble.setToolTip(trouble)
        self.trouble.setVisible(bool(trouble))
        reach = found.low is not None or found.high is not None
        self.loose.setEnabled(reach)
        self.loose.setToolTip(
            self.tr("Lean towards the range instead of keeping to it") if reach else self.tr("Choose a range first.")
        )
        self.clear.setEnabled(bool(found))
        self.clear.setToolTip(
            self.tr("No preference anywhere") if found else self.tr("There is no preference to clear.")
        )

    def _tell(self) -> None:
        if self._telling:
            self._judge()
            self.changed.emit(self.limits())
