"""How Q quantises: grid, strength, swing, ends. Chooses for the roll; the roll does it."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from app.roll import actions
from app.roll.snap import DIVISIONS, Quantising
from app.roll.state import RollState

MOST_SWING = 50  # percent of a step


class QuantiseOptions(QDialog):
    """Opens with what was chosen last; Enter quantises, Esc leaves all as it was."""

    def __init__(self, roll: RollState, parent: QWidget | None = None) -> None:
        super().__init__(parent, Qt.WindowType.Popup)
        self.roll = roll
        self.setObjectName("popover")
        self.setAccessibleName(self.tr("Quantise options"))
        how = roll.quantising
        self.grid = QComboBox()
        self.grid.addItem(self.tr("As notes snap"), "")
        for division in DIVISIONS:
            self.grid.addItem(division, division)
        self.grid.setCurrentIndex(max(self.grid.findData(how.division), 0))
        self.strength = self._percent(100, round(how.strength * 100))
        self.swing = self._percent(MOST_SWING, round(how.swing * 100))
        self.ends = QCheckBox(self.tr("Ends too"))
        self.ends.setChecked(how.ends)
        self.do = QPushButton(self.tr("Quantise"))
        self.do.setProperty("primary", True)
        self.do.setDefault(True)
        self.do.clicked.connect(self.accept)
        self._lay_out()
        self.grid.setFocus()

    @staticmethod
    def _percent(most: int, value: int) -> QSpinBox:
        box = QSpinBox()
        box.setRange(0, most)
        box.setSingleStep(10)
        box.setSuffix(" %")
        box.setValue(value)
        box.lineEdit().setTextMargins(8, 0, 8, 0)
        return box

    def _lay_out(self) -> None:
        heading = QLabel(self.tr("Quantise"))
        heading.setProperty("strong", True)
        form = QFormLayout()
        form.setHorizontalSpacing(16)
        form.setVerticalSpacing(8)
        rows = ((self.tr("Grid"), self.grid), (self.tr("Strength"), self.strength), (self.tr("Swing"), self.swing))
        for words, widget in rows:
            widget.setAccessibleName(words)
            widget.setMinimumWidth(136)
            label = QLabel(words)
            label.setMinimumHeight(32)
            form.addRow(label, widget)
        buttons = QHBoxLayout()
        buttons.addWidget(self.ends)
        buttons.addStretch(1)
        buttons.addWidget(self.do)
        column = QVBoxLayout(self)
        column.setContentsMargins(16, 16, 16, 16)
        column.setSpacing(16)
        for part in (heading, form, buttons):
            column.addWidget(part) if isinstance(part, QWidget) else column.addLayout(part)

    def accept(self) -> None:
        """Remember the choice and quantise."""
        self.roll.quantising = Quantising(
            self.grid.currentData(), self.strength.value() / 100, self.swing.value() / 100, self.ends.isChecked()
        )
        actions.quantise(self.roll)
        super().accept()
