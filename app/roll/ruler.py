"""The ruler over the roll: bar numbers from 1, meter changes, the loop, marked bars, the playhead's mark."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QEvent, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QMouseEvent, QPainter, QPaintEvent, QWheelEvent
from PySide6.QtWidgets import QWidget

from app.roll.colours import faded
from app.roll.gestures.bars import Bars
from app.roll.gestures.gesture import Pointer
from app.roll.gestures.wheel import Wheel
from app.roll.layers import overlay
from app.roll.layers.grid import lines
from app.roll.layers.picture import Picture
from app.roll.layers.rects import fill, table
from app.roll.state import RollState
from app.theme import current, figures, themes

HEIGHT = 32
NUMBER_PX, BEAT_NUMBER_PX = 44.0, 56.0  # room a number wants


class Ruler(QWidget):
    """Drag marks bars, click moves the playhead, right click lets the bars go."""

    def __init__(self, roll: RollState, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.roll = roll
        self.gesture: Bars | None = None
        self._wheel = Wheel(roll)
        self._picture = Picture()
        self.setFixedHeight(HEIGHT)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setAccessibleName(self.tr("Ruler"))
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)  # the keys of the roll work here too
        self.setToolTip(self.tr("Click to move the playhead, drag to mark bars"))
        for signal in (roll.view_changed, roll.options_changed, roll.notes_changed, themes.changed):
            signal.connect(self._repaint)
        roll.playhead_moved.connect(self._on_playhead)

    def sizeHint(self) -> QSize:
        return QSize(400, HEIGHT)

    def paintEvent(self, event: QPaintEvent) -> None:
        picture, is_old = self._picture.ready(self, self.devicePixelRatioF())
        if is_old:
            inner = QPainter(picture)
            self._paint_ground(inner)
            inner.end()
        painter = QPainter(self)
        painter.drawPixmap(0, 0, picture)
        x = self.roll.view.x_of(self.roll.playhead)
        if -overlay.PLAYHEAD_PX <= x <= self.width() + overlay.PLAYHEAD_PX:
            overlay.paint_playhead(painter, x, HEIGHT, current(), mark=True)
        overlay.paint_focus(painter, self)

    def _paint_ground(self, painter: QPainter) -> None:
        roll, theme, view = self.roll, current(), self.roll.view
        painter.fillRect(self.rect(), QColor(theme.ground))
        if roll.bars is not None:
            a, b = (view.x_of(float(roll.grid.starts[bar])) for bar in (roll.bars.start, roll.bars.stop))
            painter.fillRect(QRectF(a, 0, b - a, HEIGHT), faded(theme.accent, 0.16))
        if roll.loop is not None:
            a, b = (view.x_of(tick) for tick in roll.loop)
            painter.fillRect(QRectF(a, 0, b - a, 3), QColor(theme.accent))
        self._paint_lines(painter)
        painter.fillRect(0, HEIGHT - 1, self.width(), 1, QColor(theme.hairline))

    def _paint_lines(self, painter: QPainter) -> None:
        roll, theme, view = self.roll, current(), self.roll.view
        found = lines(view, roll.grid)
        painter.setFont(figures(theme.font_small))
        fill(painter, table(np.floor(view.x_of(found.beat_ticks)), HEIGHT - 5, 1, 4), theme.line_bar)
        fill(painter, table(np.floor(view.x_of(found.bar_ticks)), HEIGHT - 10, 1, 9), theme.line_bar)
        bars = found.bars
        if not len(bars):
            return
        stride = 1
        px = float(np.median(np.diff(roll.grid.starts))) * view.px_per_tick
        while stride * px < NUMBER_PX:
            stride *= 2
        for bar in bars[bars % stride == 0].tolist():
            self._number(
                painter,
                view.x_of(float(roll.grid.starts[bar])),
                str(bar + 1),
                theme.text if roll.bars and bar in roll.bars else theme.text_dim,
            )
            self._meter(painter, bar, stride * px)
        beat = roll.grid.ticks_per_quarter * 4 / float(roll.grid.denominators[bars[0]])
        if beat * view.px_per_tick >= BEAT_NUMBER_PX:
            at = roll.grid.bar_of(found.beat_ticks)
            for tick, bar in zip(found.beat_ticks.tolist(), at.tolist(), strict=True):
                number = (
                    round(
                        (tick - roll.grid.starts[bar]) * roll.grid.denominators[bar] / 4 / roll.grid.ticks_per_quarter
                    )
                    + 1
                )
                self._number(painter, view.x_of(tick), f"{bar + 1}.{number}", faded(theme.text_dim, 0.55))

    def _number(self, painter: QPainter, x: float, text: str, colour: QColor | str) -> None:
        painter.setPen(QColor(colour))
        painter.drawText(QRect(int(x) + 5, 0, 60, HEIGHT - 4), Qt.AlignmentFlag.AlignVCenter, text)

    def _meter(self, painter: QPainter, bar: int, room: float) -> None:
        grid = self.roll.grid
        now = (int(grid.numerators[bar]), int(grid.denominators[bar]))
        if bar and room > NUMBER_PX and now != (int(grid.numerators[bar - 1]), int(grid.denominators[bar - 1])):
            x = int(self.roll.view.x_of(float(grid.starts[bar])))
            painter.setPen(faded(current().text_dim, 0.7))
            painter.drawText(QRect(x + 28, 0, 40, HEIGHT - 4), Qt.AlignmentFlag.AlignVCenter, f"{now[0]}/{now[1]}")

    def _repaint(self, *_: object) -> None:
        self._picture.forget()
        self.update()

    def _on_playhead(self, before: float, now: float) -> None:
        reach = overlay.PLAYHEAD_PX
        for tick in (before, now):
            self.update(round(self.roll.view.x_of(tick)) - reach, 0, 2 * reach, HEIGHT)

    def _pointer(self, event: QMouseEvent) -> Pointer:
        x, keys = event.position().x(), event.modifiers()
        return Pointer(
            x, 0.0, self.roll.view.tick_of(x), 0, button=event.button(),
            shift=bool(keys & Qt.KeyboardModifier.ShiftModifier), alt=bool(keys & Qt.KeyboardModifier.AltModifier),
        )  # fmt: skip

    def mousePressEvent(self, event: QMouseEvent) -> None:
        at = self._pointer(event)
        if self.gesture is None and Bars.wants(self.roll, at):
            self.gesture = Bars(self.roll, at)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if self.gesture is not None:
            self.setCursor(self.gesture.cursor)
            self.gesture.drag(self._pointer(event))

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        if self.gesture is not None:
            gesture, self.gesture = self.gesture, None
            self.setCursor(Qt.CursorShape.PointingHandCursor)
            gesture.release(self._pointer(event))

    def wheelEvent(self, event: QWheelEvent) -> None:
        delta = event.angleDelta()
        x = event.position().x()
        turn = -(delta.y() or delta.x()) / 120
        self._wheel.turn(Pointer(x, 0.0, self.roll.view.tick_of(x), 0, ctrl=True), 0.0, turn)
        event.accept()

    def leaveEvent(self, event: QEvent) -> None:
        self.roll.set_hover(None)
