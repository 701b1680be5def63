"""The small dialog that asks for a new piece: how many bars, in which meter, for whom."""

from __future__ import annotations

from PySide6.QtWidgets import QComboBox, QDialog, QDialogButtonBox, QFormLayout, QLabel, QSpinBox, QVBoxLayout, QWidget

METERS = ((4, 4), (3, 4), (2, 4), (6, 8), (9, 8), (12, 8), (5, 4), (7, 8))
PLAYERS: tuple[tuple[str, tuple[int, ...]], ...] = (  # programs of General MIDI; none: two hands at a piano
    ("Piano, two hands", ()),
    ("Piano, one hand", (0,)),
    ("Violin and cello", (40, 42)),
    ("String trio", (40, 41, 42)),
    ("String quartet", (40, 40, 41, 42)),
    ("Flute, clarinet, bassoon", (73, 71, 70)),
)


class NewPiece(QDialog):
    """Three choices; Enter makes it."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(self.tr("New piece"))
        self.bars = QSpinBox()
        self.bars.setRange(1, 256)
        self.bars.setValue(16)
        self.meter = QComboBox()
        for upper, lower in METERS:
            self.meter.addItem(f"{upper}/{lower}", (upper, lower))
        self.players = QComboBox()
        for name, programs in PLAYERS:
            self.players.addItem(self.tr(name), programs)
        form = QFormLayout()
        form.setHorizontalSpacing(16)
        form.setVerticalSpacing(8)
        for word, widget in (
            (self.tr("Bars"), self.bars),
            (self.tr("Meter"), self.meter),
            (self.tr("For"), self.players),
        ):
            widget.setAccessibleName(word)
            widget.setMinimumWidth(200)
            form.addRow(word, widget)
        note = QLabel(self.tr("It comes as a proposal over the present song; nothing is lost before you accept it."))
        note.setProperty("dim", True)
        note.setWordWrap(True)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
        make = buttons.addButton(self.tr("Make it"), QDialogButtonBox.ButtonRole.AcceptRole)
        make.setProperty("primary", True)
        make.setDefault(True)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(24, 24, 24, 16)
        layout.setSpacing(16)
        layout.addLayout(form)
        layout.addWidget(note)
        layout.addWidget(buttons)

    def wish(self) -> tuple[int, tuple[int, int], tuple[int, ...]]:
        """Bars, meter and programs."""
        upper, lower = self.meter.currentData()
        return self.bars.value(), (int(upper), int(lower)), tuple(self.players.currentData())
