"""The line on top: position, tempo, meter, play, stop, loop, follow, panic, and room for the status lights.

Shows what it is told and triggers actions it is given; knows no player.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from PySide6.QtCore import QEvent, QSize, Qt
from PySide6.QtGui import QAction, QColor, QEnterEvent, QFont, QKeyEvent, QMouseEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QSizePolicy, QToolButton, QVBoxLayout, QWidget

from app import theme
from engine.score.score import Score
from engine.score.timing import BarGrid, TempoMap

HEIGHT = 56
PRESSES: Final = (Qt.Key.Key_Space, Qt.Key.Key_Return, Qt.Key.Key_Enter)  # what presses a control in focus


class Readout(QWidget):
    """A figure with a small word under it; as wide as its widest text, so that nothing jumps."""

    def __init__(self, word: str, widest: str, size: int | None = None) -> None:
        super().__init__()
        self.value = QLabel("")
        self.word = QLabel(word)
        self.word.setProperty("dim", True)
        self._size, self._widest = size, widest
        self._clicked: Callable[[], object] | None = None
        self.setAccessibleName(word)
        self.value.setFixedHeight(24)
        self.value.setAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignBottom)
        self.word.setFixedHeight(16)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 6, 8, 10)
        layout.setSpacing(0)
        layout.addWidget(self.value)
        layout.addWidget(self.word)
        self.dress()

    def show_text(self, text: str) -> None:
        """Show `text`; nothing is repainted when it is the same."""
        if text != self.value.text():
            self.value.setText(text)
            self.setAccessibleDescription(text)

    def set_clicked(self, clicked: Callable[[], object], tip: str) -> None:
        """Make it a control: the mouse, Space and Enter do something."""
        self._clicked = clicked
        self.setToolTip(tip)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)

    @property
    def is_control(self) -> bool:
        """Whether a click does something."""
        return self._clicked is not None

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if self._clicked is not None and event.button() == Qt.MouseButton.LeftButton:
            self._clicked()

    def event(self, event: QEvent) -> bool:
        """Space and Enter are its own once Tab has led to it."""
        if isinstance(event, QKeyEvent) and self._clicked is not None and event.key() in PRESSES:
            if event.type() == QEvent.Type.KeyPress:
                self._clicked()
            event.accept()
            return True
        return super().event(event)

    def paintEvent(self, event: QPaintEvent) -> None:
        if self._clicked is not None and (self.hasFocus() or self.underMouse()):
            tokens = theme.current()
            painter = QPainter(self)
            painter.setPen(QColor(tokens.accent) if self.hasFocus() else Qt.PenStyle.NoPen)
            painter.setBrush(QColor(tokens.hover) if self.underMouse() else Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(self.rect().adjusted(0, 4, -1, -5), tokens.radius, tokens.radius)

    def enterEvent(self, event: QEnterEvent) -> None:
        self.update()

    def leaveEvent(self, event: QEvent) -> None:
        self.update()

    def dress(self) -> None:
        """Take fonts from the theme."""
        font = theme.figures(self._size or theme.current().font_body + 2, QFont.Weight.Medium)
        self.value.setFont(font)
        self.value.setMinimumWidth(self.value.fontMetrics().horizontalAdvance(self._widest))
        self.word.setFont(theme.figures(theme.current().font_small))


class TransportBar(QFrame):
    """One line of the window, 56 px high."""

    BUTTONS = ("to_start", "play", "stop", "loop", "follow", "panic")

    def __init__(self, actions: Mapping[str, QAction], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("transport")
        self.setFixedHeight(HEIGHT)
        self._actions = actions
        self._playing = False
        self._grid: BarGrid | None = None
        self._tempi: TempoMap | None = None
        self._score: Score | None = None
        self.buttons = {name: self._button(name) for name in self.BUTTONS}
        self.position = Readout(self.tr("bar . beat . tick"), "888 . 8 . 888", theme.current().font_large)
        self.time = Readout(self.tr("time"), "88:88.8", theme.current().font_large)
        self.tempo = Readout(self.tr("tempo"), "888.8")
        self.meter = Readout(self.tr("meter"), "12/16")
        self._tools = QHBoxLayout()
        self._lights = QHBoxLayout()
        self._lights.setSpacing(4)
        self._lay_out()
        theme.themes.changed.connect(self._dress)
        self._dress()

    def _button(self, name: str) -> QToolButton:
        button = QToolButton()
        action = self._actions[name]
        button.setObjectName(f"transport_{name}")
        button.setCheckable(action.isCheckable())
        button.setChecked(action.isChecked())
        button.setAccessibleName(action.text())
        keys = ", ".join(k.toString() for k in action.shortcuts()[:1])
        button.setToolTip(f"{action.text()} ({keys})" if keys else action.text())
        button.setIconSize(QSize(20, 20))
        button.setFixedSize(40, 40) if name == "play" else button.setFixedSize(32, 32)
        button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        button.clicked.connect(action.trigger)
        if action.isCheckable():
            action.toggled.connect(button.setChecked)
        return button

    def _lay_out(self) -> None:
        layout = QHBoxLayout(self)
        layout.setContentsMargins(16, 0, 8, 0)
        layout.setSpacing(8)
        for name in self.BUTTONS[:3]:
            layout.addWidget(self.buttons[name])
        layout.addSpacing(16)
        for readout in (self.position, self.time, self.tempo, self.meter):
            layout.addWidget(readout)
        for name in self.BUTTONS[3:]:
            layout.addWidget(self.buttons[name])
        layout.addLayout(self._tools)
        spacer = QWidget()
        spacer.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        layout.addWidget(spacer)
        layout.addLayout(self._lights)

    def add_tool(self, tool: QWidget) -> None:
        """Put a control after the buttons."""
        self._tools.addWidget(tool)

    def add_light(self, light: QWidget) -> None:
        """Put a status light at the right end."""
        self._lights.addWidget(light)

    def set_score(self, score: Score) -> None:
        """Count positions in the bars and tempi of this score."""
        self._score, self._grid, self._tempi = score, BarGrid.of(score), TempoMap.of(score)

    def show_position(self, tick: float) -> None:
        """Show a place in ticks as bar.beat.tick, time, tempo and meter."""
        if self._grid is None or self._tempi is None or self._score is None:
            return
        bar, beat, rest = bar_beat_tick(self._grid, tick)
        self.position.show_text(f"{bar} . {beat} . {rest:03d}")
        seconds = float(self._tempi.to_seconds(max(tick, 0.0)))
        self.time.show_text(f"{int(seconds // 60)}:{seconds % 60:04.1f}")
        i = int(np.clip(np.searchsorted(self._tempi.ticks, tick, side="right") - 1, 0, None))
        self.tempo.show_text(f"{60 / (self._tempi.per_tick[i] * self._score.ticks_per_quarter):.1f}")
        here = min(bar - 1, len(self._grid) - 1)
        self.meter.show_text(f"{self._grid.numerators[here]}/{self._grid.denominators[here]}")

    def show_playing(self, playing: bool) -> None:
        """The play button pauses while it plays."""
        self._playing = playing
        self._dress()

    def _dress(self) -> None:
        tokens = theme.current()
        for name, button in self.buttons.items():
            shown = {"to_start": "start", "play": "pause" if self._playing else "play"}.get(name, name)
            colour = tokens.accent if name == "play" or button.isChecked() else tokens.text_dim
            button.setIcon(theme.icon(shown, colour))
        for readout in (self.position, self.time, self.tempo, self.meter):
            readout.dress()

    def showEvent(self, event: object) -> None:
        for name in ("loop", "follow"):
            self._actions[name].toggled.connect(self._dress, Qt.ConnectionType.UniqueConnection)
        self._dress()


def bar_beat_tick(grid: BarGrid, tick: float) -> tuple[int, int, int]:
    """Bar and beat counted from 1, ticks into the beat; past the last bar the bars go on in its length."""
    bar = int(grid.bar_of(max(tick, 0.0)))
    into = max(tick, 0.0) - float(grid.starts[bar])
    length = float(grid.starts[bar + 1] - grid.starts[bar])
    beat_ticks = grid.ticks_per_quarter * 4 / float(grid.denominators[bar])
    if bar == len(grid) - 1 and into >= length:
        extra = int(into // length)
        bar, into = bar + extra, into - extra * length
    beat = int(into // beat_ticks)
    return bar + 1, beat + 1, int(into - beat * beat_ticks)
