"""A piano roll in a window, and a hand: presses, moves, wheels and keys as Qt delivers them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from PySide6.QtCore import QEvent, QPoint, QPointF, Qt
from PySide6.QtGui import QMouseEvent, QWheelEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QWidget
from pytestqt.qtbot import QtBot

from app.document import Document
from app.roll.view import RollView
from engine.score.score import Score, Track, make_notes

LEFT, RIGHT, MIDDLE = Qt.MouseButton.LeftButton, Qt.MouseButton.RightButton, Qt.MouseButton.MiddleButton
PLAIN = Qt.KeyboardModifier.NoModifier
SHIFT, CTRL, ALT = (
    Qt.KeyboardModifier.ShiftModifier,
    Qt.KeyboardModifier.ControlModifier,
    Qt.KeyboardModifier.AltModifier,
)
QUARTER = 96


class Hand:
    """Does to a roll what a musician does; places are (tick, pitch)."""

    def __init__(self, view: RollView) -> None:
        self.view, self.canvas, self.document = view, view.canvas, view.document

    def at(self, tick: float, pitch: float) -> QPoint:
        """The pixel of a place, in the middle of the pitch's row."""
        look = self.view.state.view
        return QPoint(round(look.x_of(tick)), round(look.y_of(pitch) + look.row / 2))

    def drag(
        self, a: QPoint, b: QPoint, button: Qt.MouseButton = LEFT, keys: Qt.KeyboardModifier = PLAIN,
        on: QWidget | None = None, steps: int = 6, release: bool = True,
    ) -> None:  # fmt: skip
        """Press at a, move in steps to b, release."""
        widget = on or self.canvas
        QTest.mousePress(widget, button, keys, a)
        for share in np.linspace(0, 1, steps + 1)[1:]:
            self.move(QPointF(a) + (QPointF(b) - QPointF(a)) * float(share), button, keys, widget)
        if release:
            QTest.mouseRelease(widget, button, keys, b)

    def move(
        self, to: QPointF, button: Qt.MouseButton = Qt.MouseButton.NoButton, keys: Qt.KeyboardModifier = PLAIN,
        on: QWidget | None = None,
    ) -> None:  # fmt: skip
        """Move the pointer with buttons and keys held, which QTest cannot."""
        widget = on or self.canvas
        place = widget.mapToGlobal(to)
        none = Qt.MouseButton.NoButton
        QApplication.sendEvent(widget, QMouseEvent(QEvent.Type.MouseMove, to, place, none, button, keys))

    def click(self, a: QPoint, button: Qt.MouseButton = LEFT, keys: Qt.KeyboardModifier = PLAIN) -> None:
        """Press and release."""
        QTest.mouseClick(self.canvas, button, keys, a)

    def wheel(self, a: QPoint, down: float, keys: Qt.KeyboardModifier = PLAIN, on: QWidget | None = None) -> None:
        """Turn the wheel by notches towards oneself."""
        widget, place, none = on or self.canvas, QPointF(a), Qt.MouseButton.NoButton
        turn = QPoint(0, round(-120 * down))
        phase = Qt.ScrollPhase.NoScrollPhase
        event = QWheelEvent(place, widget.mapToGlobal(place), QPoint(), turn, none, keys, phase, False)
        QApplication.sendEvent(widget, event)

    def key(self, key: Qt.Key, keys: Qt.KeyboardModifier = PLAIN) -> None:
        """Press a key where the focus is."""
        QTest.keyClick(self.canvas, key, keys)

    @property
    def notes(self) -> list[tuple[int, int, int, int, int]]:
        """The song: (tick, duration, pitch, velocity, track) rows."""
        return self.document.score.notes.tolist()

    @property
    def steps(self) -> int:
        """How many steps can be undone."""
        return self.document.undo_stack.count()

    @property
    def chosen(self) -> list[int]:
        """Selected rows."""
        return self.view.selection.tolist()


@pytest.fixture
def song() -> Score:
    """Four quarters going up from C4, on a piano of two tracks; the last on the second."""
    rows = [(i * QUARTER, QUARTER, 60 + 2 * i, 64 + 8 * i, int(i == 3)) for i in range(4)]
    return Score(QUARTER, (Track("right"), Track("left")), make_notes(rows))


@pytest.fixture
def hand(qtbot: QtBot, song: Score) -> Iterator[Hand]:
    view = RollView(Document(song))
    qtbot.addWidget(view)
    view.resize(1000, 600)
    view.show()
    qtbot.waitExposed(view)
    view.activateWindow()
    view.canvas.setFocus()
    view.state.look(view.state.view.at(px_per_tick=0.5, left=0.0, row=16.0).centred(63))
    yield Hand(view)
    view.hide()
