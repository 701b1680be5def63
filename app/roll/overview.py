"""The whole piece in a strip under the roll, the visible part framed: drag it to go elsewhere."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QColor, QMouseEvent, QPainter, QPaintEvent, QPen, QPixmap, QResizeEvent
from PySide6.QtWidgets import QWidget

from app.roll.colours import faded
from app.roll.coordinates import Coordinates
from app.roll.layers import density, overlay
from app.roll.layers.picture import Picture
from app.roll.state import RollState
from app.theme import current, themes

HEIGHT = 32
PAD = 5


class Overview(QWidget):
    """A press outside the frame brings its middle there; a drag moves it."""

    def __init__(self, roll: RollState, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.roll = roll
        self._picture = Picture()
        self._hold: float | None = None  # ticks from the frame's left edge to the hand
        self.setFixedHeight(HEIGHT)
        self.setCursor(Qt.CursorShape.OpenHandCursor)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setAccessibleName(self.tr("Overview of the piece"))
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)  # the keys of the roll work here too
        roll.view_changed.connect(self.update)
        roll.playhead_moved.connect(self._on_playhead)
        roll.notes_changed.connect(self._repaint)
        themes.changed.connect(self._repaint)

    def sizeHint(self) -> QSize:
        return QSize(400, HEIGHT)

    @property
    def _whole(self) -> Coordinates:
        extent = max(self.roll.view.extent, 1.0)
        return Coordinates(self.width() / extent, 1.0, width=float(self.width()), height=128.0, extent=extent)

    def _repaint(self, *_: object) -> None:
        self._picture.forget()
        self.update()

    def resizeEvent(self, event: QResizeEvent) -> None:
        self._picture.forget()

    def _on_playhead(self, before: float, now: float) -> None:
        if round(self._whole.x_of(before)) != round(self._whole.x_of(now)):
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        theme, roll, whole = current(), self.roll, self._whole
        painter = QPainter(self)
        painter.drawPixmap(0, 0, self._painted())
        start, stop = roll.view.ticks
        a, b = max(whole.x_of(start), 0.0), min(whole.x_of(stop), float(self.width()))
        frame = QRectF(a + 0.5, 1.5, max(b - a, 6.0) - 1, HEIGHT - 3)
        shade = faded(theme.ground, 0.55)
        painter.fillRect(QRectF(0, 1, frame.left(), HEIGHT - 1), shade)
        painter.fillRect(QRectF(frame.right(), 1, self.width() - frame.right(), HEIGHT - 1), shade)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(faded(theme.text_dim, 0.7), 1))
        painter.setBrush(faded(theme.text, 0.05))
        painter.drawRoundedRect(frame, theme.radius, theme.radius)
        painter.fillRect(QRectF(whole.x_of(roll.playhead) - 0.75, 1, 1.5, HEIGHT - 1), QColor(theme.accent))
        overlay.paint_focus(painter, self)

    def _painted(self) -> QPixmap:
        ratio = self.devicePixelRatioF()
        picture, is_old = self._picture.ready(self, ratio)
        if is_old:
            theme, index = current(), self.roll.index
            painter = QPainter(picture)
            painter.fillRect(self.rect(), QColor(theme.ground))
            painter.fillRect(0, 0, self.width(), 1, QColor(theme.hairline))
            if len(index):
                low, high = int(index.pitch.min()), int(index.pitch.max())
                middle, reach = (low + high) / 2, max((high - low) / 2, 12)
                low, high = int(max(middle - reach, 0)), int(min(middle + reach, 127))
                image = density.image(self._whole, index, np.arange(len(index)), theme, ratio, low, high, strength=6.0)
                painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
                painter.drawImage(QRectF(0, PAD, self.width(), HEIGHT - 2 * PAD), image)
            painter.end()
        return picture

    def _go(self, event: QMouseEvent) -> None:
        tick = self._whole.tick_of(event.position().x())
        self.roll.look(self.roll.view.at(left=tick - (self._hold or 0.0)))

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() != Qt.MouseButton.LeftButton:
            return
        start, stop = self.roll.view.ticks
        tick = self._whole.tick_of(event.position().x())
        self._hold = tick - start if start <= tick <= stop else (stop - start) / 2
        self.setCursor(Qt.CursorShape.ClosedHandCursor)
        self._go(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if self._hold is not None:
            self._go(event)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        self._hold = None
        self.setCursor(Qt.CursorShape.OpenHandCursor)
