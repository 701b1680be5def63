"""What a training run has made so far, to be heard: a list of its samples, and a button that plays the chosen one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QToolButton, QWidget

from app import theme


class Samples(QWidget):
    """The newest is chosen until somebody chooses another."""

    play = Signal(object)  # Path of a .mid
    stop = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.chosen = QComboBox()
        self.chosen.setAccessibleName(self.tr("Sample"))
        self.chosen.setToolTip(self.tr("The same latents, decoded by the weights of each step"))
        self.chosen.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.chosen.setMinimumContentsLength(14)
        self.button = QToolButton()
        self.button.setFixedSize(32, 32)
        self.button.clicked.connect(self._press)
        self._follows = True
        self._playing = False
        self.chosen.activated.connect(lambda i: setattr(self, "_follows", i == self.chosen.count() - 1))
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(8)
        row.addWidget(self.chosen, 1)
        row.addWidget(self.button)
        theme.themes.changed.connect(self._dress)
        self._dress()

    def clear(self) -> None:
        """Another run."""
        self.chosen.clear()
        self._follows = True

    def add(self, step: int, paths: Iterable[str]) -> None:
        """Files that the weights of a step made."""
        for name in paths:
            path = Path(name)
            what = re.sub(r"[-_]+", " ", path.stem)
            self.chosen.addItem(self.tr("Step {0}: {1}").format(step, what), path)
        if self._follows and self.chosen.count():
            self.chosen.setCurrentIndex(self.chosen.count() - 1)

    def show_playing(self, playing: bool) -> None:
        """The button stops what it plays."""
        self._playing = playing
        self._dress()

    def _press(self) -> None:
        if self._playing:
            self.stop.emit()
        elif self.chosen.currentData() is not None:
            self.play.emit(self.chosen.currentData())

    def _dress(self, *_: object) -> None:
        words = self.tr("Stop the sample") if self._playing else self.tr("Play the sample")
        self.button.setAccessibleName(words)
        self.button.setToolTip(words)
        self.button.setIcon(theme.icon("stop" if self._playing else "play", theme.current().accent))
