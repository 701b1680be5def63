"""The velocity lane under the notes: one bar per note, painted over with the mouse."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QPointF, QSize, Qt
from PySide6.QtGui import QColor, QMouseEvent, QPainter, QPaintEvent, QResizeEvent, QWheelEvent
from PySide6.QtWidgets import QWidget

from app.roll.colours import LEVELS, faded, level_of, mixed, note_qcolours
from app.roll.gestures.gesture import Pointer
from app.roll.gestures.paint_velocity import PaintVelocity
from app.roll.gestures.wheel import Wheel
from app.roll.layers import overlay
from app.roll.layers.grid import lines
from app.roll.layers.notes import MANY
from app.roll.layers.picture import Picture
from app.roll.layers.rects import crisp, fill, table
from app.roll.state import RollState
from app.theme import current, themes

HEIGHT = 88
PAD = 8  # pixels over 127 and under 0
STEM, KNOB = 2.0, 3.0


class VelocityLane(QWidget):
    """Drag paints, Shift+drag draws a ramp; with notes selected only they change."""

    def __init__(self, roll: RollState, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.roll = roll
        self.gesture: PaintVelocity | None = None
        self._wheel = Wheel(roll)
        self._picture = Picture()
        self.setFixedHeight(HEIGHT)
        self.setMouseTracking(True)
        self.setCursor(Qt.CursorShape.CrossCursor)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setAccessibleName(self.tr("Velocity lane"))
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)  # the keys of the roll work here too
        for signal in (
            roll.view_changed, roll.options_changed, roll.notes_changed, roll.selection_changed, themes.changed,
        ):  # fmt: skip
            signal.connect(self._repaint)
        roll.playhead_moved.connect(self._on_playhead)

    def sizeHint(self) -> QSize:
        return QSize(400, HEIGHT)

    def y_of(self, velocity: np.ndarray | float) -> np.ndarray | float:
        """Top of the bar of a velocity."""
        return HEIGHT - PAD - velocity * (HEIGHT - 2 * PAD) / 127

    def _repaint(self, *_: object) -> None:
        self._picture.forget()
        self.update()

    def resizeEvent(self, event: QResizeEvent) -> None:
        self._picture.forget()

    def paintEvent(self, event: QPaintEvent) -> None:
        ratio = self.devicePixelRatioF()
        picture, is_old = self._picture.ready(self, ratio)
        if is_old:
            inner = QPainter(picture)
            self._paint_ground(inner, ratio)
            self._paint_bars(inner, ratio)
            inner.end()
        painter = QPainter(self)
        painter.drawPixmap(0, 0, picture)
        if self.gesture is not None:
            painter.translate(0, PAD)
            self.gesture.paint(painter)
            painter.translate(0, -PAD)
        x = self.roll.view.x_of(self.roll.playhead)
        if -1 <= x <= self.width():
            overlay.paint_playhead(painter, x, HEIGHT, current())
        overlay.paint_focus(painter, self)

    def _paint_ground(self, painter: QPainter, ratio: float) -> None:
        theme, view = current(), self.roll.view
        painter.fillRect(self.rect(), QColor(theme.ground))
        found = lines(view, self.roll.grid)
        fill(painter, table(np.floor(view.x_of(found.bar_ticks) * ratio) / ratio, 0, 1, HEIGHT), theme.line_beat)
        for velocity in (64, 127):
            painter.fillRect(0, round(float(self.y_of(velocity))), self.width(), 1, faded(theme.line_beat, 0.8))
        painter.fillRect(0, 0, self.width(), 1, QColor(theme.hairline))

    def _paint_bars(self, painter: QPainter, ratio: float) -> None:
        roll, theme, view, index = self.roll, current(), self.roll.view, self.roll.index
        start, stop = view.ticks
        rows = np.arange(*np.searchsorted(index.tick, [start - 4 / view.px_per_tick, stop]), dtype=np.intp)
        if not len(rows):
            return
        x = crisp(view.x_of(index.tick[rows]), ratio)
        top = np.asarray(self.y_of(index.velocity[rows]), dtype=np.float64)
        bars = table(x, top, STEM, HEIGHT - PAD - top)
        if len(rows) > MANY:  # far out the outline says it all: the loudest of each pixel
            order = np.lexsort((-top, x))
            loudest = order[np.diff(x[order], append=np.inf) != 0]
            fill(painter, bars[loudest], mixed(theme.ground, theme.text_dim, 0.5))
            return
        chosen = np.isin(rows, roll.selection)
        other = np.zeros(len(rows), dtype=bool) if roll.track is None else index.track[rows] != roll.track
        alpha = np.where(chosen, 1.0, np.where(other, 0.2, 0.35 if len(roll.selection) else 1.0))
        key = (index.track[rows] % len(theme.track_hues)) * LEVELS + level_of(index.velocity[rows])
        colours = note_qcolours(theme)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        with_knobs = len(rows) <= 600
        for value in np.unique(key):
            for share in np.unique(alpha[key == value]):
                mine = (key == value) & (alpha == share)
                colour = faded(colours[int(value) // LEVELS][int(value) % LEVELS], float(share))
                fill(painter, bars[mine], colour)
                for left, y in zip(x[mine].tolist(), top[mine].tolist(), strict=True) if with_knobs else ():
                    painter.drawEllipse(QPointF(left + STEM / 2, y), KNOB, KNOB)
        if with_knobs:
            painter.setPen(QColor(theme.text))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            for left, y in zip(x[chosen].tolist(), top[chosen].tolist(), strict=True):
                painter.drawEllipse(QPointF(left + STEM / 2, y), KNOB + 0.5, KNOB + 0.5)

    def _on_playhead(self, before: float, now: float) -> None:
        reach = overlay.PLAYHEAD_PX
        for tick in (before, now):
            self.update(round(self.roll.view.x_of(tick)) - reach, 0, 2 * reach, HEIGHT)

    def _pointer(self, event: QMouseEvent) -> Pointer:
        x, keys = event.position().x(), event.modifiers()
        return Pointer(
            x, event.position().y() - PAD, self.roll.view.tick_of(x), 0, button=event.button(),
            shift=bool(keys & Qt.KeyboardModifier.ShiftModifier),
        )  # fmt: skip

    def mousePressEvent(self, event: QMouseEvent) -> None:
        at = self._pointer(event)
        if self.gesture is None and PaintVelocity.wants(self.roll, at):
            self.gesture = PaintVelocity(self.roll, at, HEIGHT - 2 * PAD)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if self.gesture is not None:
            self.gesture.drag(self._pointer(event))
            self.update()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        if self.gesture is not None and event.button() == Qt.MouseButton.LeftButton:
            gesture, self.gesture = self.gesture, None
            gesture.release(self._pointer(event))
            self.update()

    def cancel(self) -> bool:
        """End a gesture as if it had never begun; False when there is none."""
        gesture, self.gesture = self.gesture, None
        if gesture is not None:
            gesture.cancel()
        return gesture is not None

    def wheelEvent(self, event: QWheelEvent) -> None:
        x, keys, delta = event.position().x(), event.modifiers(), event.angleDelta()
        ctrl = bool(keys & Qt.KeyboardModifier.ControlModifier)
        at = Pointer(x, 0.0, self.roll.view.tick_of(x), 0, ctrl=ctrl, shift=not ctrl)
        self._wheel.turn(at, 0.0, -(delta.y() or delta.x()) / 120)
        event.accept()
