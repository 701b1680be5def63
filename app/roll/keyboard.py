"""The keys at the left of the roll: which row is which, what sounds now; a press plays the key."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QEvent, QRectF, Qt
from PySide6.QtGui import QColor, QMouseEvent, QPainter, QPaintEvent, QWheelEvent
from PySide6.QtWidgets import QWidget

from app.roll.colours import faded, mixed
from app.roll.gestures.gesture import Pointer
from app.roll.gestures.wheel import Wheel
from app.roll.layers import overlay
from app.roll.layers.grid import BLACK
from app.roll.layers.notes import name_of
from app.roll.state import RollState
from app.theme import current, figures, themes

WIDTH = 56
BLACK_SHARE = 0.62  # of the width, for black keys


class Keyboard(QWidget):
    """Pitch runs upwards, as in the roll."""

    def __init__(self, roll: RollState, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.roll = roll
        self._pressed: int | None = None
        self._lit: frozenset[int] = frozenset()
        self._wheel = Wheel(roll)
        self.setFixedWidth(WIDTH)
        self.setMouseTracking(True)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setAccessibleName(self.tr("Keyboard"))
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)  # the keys of the roll work here too
        for signal in (roll.view_changed, roll.hover_changed, themes.changed):
            signal.connect(self._repaint)
        roll.playhead_moved.connect(self._light)
        roll.notes_changed.connect(self._light)

    def _repaint(self, *_: object) -> None:
        self.update()

    def _light(self, *_: float) -> None:
        lit: frozenset[int] = frozenset()
        if self.roll.playing:
            lit = frozenset(self.roll.index.pitch[self.roll.index.sounding(self.roll.playhead)].tolist())
        if lit != self._lit:
            self._lit = lit
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        roll, theme, view = self.roll, current(), self.roll.view
        painter = QPainter(self)
        white = mixed(theme.panel, theme.text, 0.64) if theme.dark else QColor(theme.panel)
        black = QColor(theme.ground) if theme.dark else mixed(theme.text, theme.panel, 0.12)
        seam = mixed(theme.panel, theme.text, 0.42) if theme.dark else QColor(theme.line_bar)
        painter.fillRect(self.rect(), white)
        hovered = roll.hover[1] if roll.hover else None
        low, high = view.pitches
        for pitch in range(low, high + 1):
            self._paint_key(painter, pitch, bool(BLACK[pitch % 12]), pitch == hovered, black, seam)
        painter.setFont(figures(int(np.clip(view.row - 2, 9, theme.font_small))))
        every = 12 if view.row < 15 else 1
        for pitch in range(low, high + 1):
            if pitch == hovered or pitch in self._lit:
                self._name(painter, pitch, QColor(theme.on_accent))
            elif pitch % every == 0 and not BLACK[pitch % 12]:
                self._name(painter, pitch, faded("#14161c", 0.95 if pitch % 12 == 0 else 0.55))
        painter.fillRect(self.width() - 1, 0, 1, self.height(), QColor(theme.hairline))
        overlay.paint_focus(painter, self)

    def _paint_key(self, painter: QPainter, pitch: int, dark: bool, hovered: bool, black: QColor, seam: QColor) -> None:
        theme, view = current(), self.roll.view
        top, bottom = round(view.y_of(pitch)), round(view.y_of(pitch - 1))
        width = round(WIDTH * BLACK_SHARE) if dark else WIDTH
        lit = QColor(theme.accent) if pitch in self._lit or pitch == self._pressed or hovered else None
        if dark:
            painter.fillRect(QRectF(0, top, width, bottom - top), lit or black)
            if view.row >= 6:
                painter.fillRect(QRectF(width, (top + bottom) // 2, WIDTH - width, 1), seam)
            return
        if lit:
            painter.fillRect(QRectF(0, top, width, bottom - top), lit)
        if pitch % 12 in (0, 5):  # below C and F lies another white key
            painter.fillRect(QRectF(0, bottom - 1, width, 1), seam)

    def _name(self, painter: QPainter, pitch: int, ink: QColor) -> None:
        view = self.roll.view
        height = max(view.row, 12.0)
        middle = view.y_of(pitch) + view.row / 2
        rect = QRectF(0, middle - height / 2, WIDTH - 6, height)
        if BLACK[pitch % 12]:
            rect = QRectF(0, middle - height / 2, WIDTH * BLACK_SHARE - 4, height)
        painter.setPen(ink)
        painter.drawText(rect, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight, name_of(pitch))

    def _press(self, pitch: int | None) -> None:
        if pitch == self._pressed:
            return
        if self._pressed is not None:
            self.roll.auditioned.emit(self._pressed, 0, self.roll.pen_track)
        self._pressed = pitch
        if pitch is not None:
            self.roll.auditioned.emit(pitch, self.roll.pen_velocity, self.roll.pen_track)
        self.update()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self._press(self.roll.view.pitch_of(event.position().y()))

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        pitch = self.roll.view.pitch_of(event.position().y())
        self.roll.set_hover((self.roll.playhead, pitch))
        if self._pressed is not None:
            self._press(pitch)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        self._press(None)

    def leaveEvent(self, event: QEvent) -> None:
        self.roll.set_hover(None)

    def wheelEvent(self, event: QWheelEvent) -> None:
        y, keys = event.position().y(), event.modifiers()
        ctrl = bool(keys & Qt.KeyboardModifier.ControlModifier)
        at = Pointer(0.0, y, 0.0, 0, ctrl=ctrl, shift=ctrl)
        self._wheel.turn(at, 0.0, -event.angleDelta().y() / 120)
        event.accept()
