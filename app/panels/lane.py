"""The latent lane under the roll: a slider's value drawn over time, one step for each bar.

Shows the lanes of a `Morphing`; what a hand draws goes on to it, and is one step of undo. Made when first asked for.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QMenu, QToolButton, QWidget

from app.morphing import Morphing
from app.panels.sliders import RANGE
from app.roll.colours import faded
from app.roll.keyboard import WIDTH
from app.roll.layers import overlay
from app.roll.layers.grid import lines
from app.roll.state import RollState
from app.theme import current, figures, themes

HEIGHT = 88
PAD = 8  # pixels over +2 and under -2
STEP = 0.1  # sigma for each press of a key
OWN_KEYS = (Qt.Key.Key_Left, Qt.Key.Key_Right, Qt.Key.Key_Up, Qt.Key.Key_Down, Qt.Key.Key_Delete)
HELD = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier | Qt.KeyboardModifier.AltModifier
SNAP = 0.08  # nearer to zero than this is zero


class LatentLane(QWidget):
    """Drag draws, right-drag takes away; Left and Right choose a bar, Up and Down draw in it, Del empties the lane."""

    def __init__(self, roll: RollState, morphing: Morphing, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.roll, self.morphing = roll, morphing
        self.name = next(iter(morphing.state.sliders))
        self.bar = 0  # where keys draw
        self._drawn: list[float] | None = None  # while a hand draws
        self._last: tuple[int, float] | None = None
        self._erasing = False
        self.setFixedHeight(HEIGHT)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setAccessibleName(self.tr("Latent lane"))
        for signal in (roll.view_changed, roll.options_changed, roll.notes_changed, themes.changed):
            signal.connect(self._follow)
        roll.playhead_moved.connect(self._on_playhead)
        morphing.lanes_changed.connect(self._follow)
        morphing.state.sliders_changed.connect(self._follow)
        self._follow()

    def sizeHint(self) -> QSize:
        return QSize(400, HEIGHT)

    def choose(self, name: str) -> None:
        """Show and draw another slider's lane."""
        self.name = name
        self._follow()

    def values(self) -> list[float]:
        """One value for each bar of the song."""
        if self._drawn is not None:
            return self._drawn
        lane = self.morphing.lanes.get(self.name, ())
        return [float(v) for v in lane[: self.roll.bar_count]] + [0.0] * max(self.roll.bar_count - len(lane), 0)

    def why_not(self) -> str:
        """Why nothing can be drawn, as a sentence; empty when it can."""
        slider = self.morphing.state.sliders.get(self.name)
        if slider is None:
            return self.tr("This model has no such slider.")
        if slider.locked:
            return self.tr("The slider is locked.")
        return slider.why_disabled

    # Places

    def y_of(self, value: float) -> float:
        """The row of a value in sigma."""
        return HEIGHT / 2 - value * (HEIGHT / 2 - PAD) / RANGE

    def value_at(self, y: float) -> float:
        """The value at a row, within the range; near zero it is zero."""
        value = float(np.clip((HEIGHT / 2 - y) * RANGE / (HEIGHT / 2 - PAD), -RANGE, RANGE))
        return 0.0 if abs(value) < SNAP else round(value, 2)

    def bar_at(self, x: float) -> int:
        """The bar of a column, of those the song has."""
        return int(np.clip(self.roll.grid.bar_of(self.roll.view.tick_of(x)), 0, max(self.roll.bar_count - 1, 0)))

    # Painting

    def _follow(self, *_: object) -> None:
        slider = self.morphing.state.sliders.get(self.name)
        words = self.why_not()
        label = slider.info.label if slider is not None else self.name
        self.setToolTip(words or self.tr("Draw {0} over time; right-drag takes away").format(label.lower()))
        values = self.values()
        if values:
            self.bar = min(self.bar, len(values) - 1)
            here = self.tr("bar {0}: {1:+.2f} sigma").format(self.bar + 1, values[self.bar])
            self.setAccessibleDescription(f"{label}, {here}. {words}".strip())
        self.setCursor(Qt.CursorShape.ForbiddenCursor if words else Qt.CursorShape.CrossCursor)
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        theme, roll = current(), self.roll
        painter = QPainter(self)
        painter.fillRect(self.rect(), QColor(theme.ground))
        for x in roll.view.x_of(lines(roll.view, roll.grid).bar_ticks).tolist():
            painter.fillRect(QRectF(round(x), 0, 1, HEIGHT), QColor(theme.line_beat))
        painter.fillRect(0, 0, self.width(), 1, QColor(theme.hairline))
        painter.fillRect(QRectF(0, HEIGHT / 2, self.width(), 1), QColor(theme.line_bar))
        painter.setFont(figures(theme.font_small))
        painter.setPen(QColor(theme.text_dim))
        for value in (RANGE, -RANGE):
            painter.drawText(QPointF(4, self.y_of(value) + (10 if value > 0 else -2)), f"{value:+.0f} σ")
        for name, lane in self.morphing.lanes.items():
            if name != self.name:
                self._paint_steps(painter, list(lane), faded(theme.text_dim, 0.5), None)
        colour = QColor(theme.accent if not self.why_not() else theme.line_bar)
        self._paint_steps(painter, self.values(), colour, faded(theme.accent, 0.22))
        if self.hasFocus() and roll.bar_count:
            left, right = (roll.view.x_of(float(roll.grid.starts[b])) for b in (self.bar, self.bar + 1))
            painter.setPen(QPen(QColor(theme.accent), 1))
            painter.drawRect(QRectF(left + 0.5, 0.5, right - left - 1, HEIGHT - 1))
        x = roll.view.x_of(roll.playhead)
        if -1 <= x <= self.width():
            overlay.paint_playhead(painter, x, HEIGHT, theme)

    def _paint_steps(self, painter: QPainter, values: list[float], line: QColor, fill: QColor | None) -> None:
        starts = self.roll.view.x_of(self.roll.grid.starts[: len(values) + 1].astype(float)).tolist()
        for value, left, right in zip(values, starts[:-1], starts[1:], strict=False):
            if not value or right < 0 or left > self.width():
                continue
            y, middle = self.y_of(value), HEIGHT / 2
            if fill is not None:
                painter.fillRect(QRectF(left, min(y, middle), right - left, abs(y - middle)), fill)
            painter.fillRect(QRectF(left, y - 1, right - left, 2), line)

    def _on_playhead(self, before: float, now: float) -> None:
        reach = overlay.PLAYHEAD_PX
        for tick in (before, now):
            self.update(round(self.roll.view.x_of(tick)) - reach, 0, 2 * reach, HEIGHT)

    # Hands

    def _begin(self) -> None:
        self._drawn, self._last = self.values(), None
        self.morphing.lane_begun()

    def _draw(self, bar: int, value: float) -> None:
        """Draw in a bar, and in those between it and the last one."""
        if self._drawn is None or not self._drawn:
            return
        last, was = self._last or (bar, value)
        step = 1 if bar >= last else -1
        for b in range(last, bar + step, step):
            share = (b - last) / (bar - last) if bar != last else 1.0
            self._drawn[b] = round(was + (value - was) * share, 2)
        self._last, self.bar = (bar, value), bar
        self.morphing.draw_lane(self.name, tuple(self._drawn))
        self._follow()

    def _end(self) -> None:
        if self._drawn is not None:
            self._drawn = None
            self.morphing.lane_done()
            self._follow()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if self.why_not() or self._drawn is not None or not self.roll.bar_count:
            return
        self._erasing = event.button() == Qt.MouseButton.RightButton
        self._begin()
        self.mouseMoveEvent(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        at = event.position()
        self._draw(self.bar_at(at.x()), 0.0 if self._erasing else self.value_at(at.y()))

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        self._end()

    def event(self, event: QEvent) -> bool:
        asks = isinstance(event, QKeyEvent) and event.type() == QEvent.Type.ShortcutOverride
        if asks and isinstance(event, QKeyEvent) and event.key() in OWN_KEYS and not event.modifiers() & HELD:
            event.accept()  # the roll around it has other uses for them
            return True
        return super().event(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        steps = {Qt.Key.Key_Up: STEP, Qt.Key.Key_Down: -STEP}
        turns = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}
        if event.key() in turns and self.roll.bar_count:
            self.bar = int(np.clip(self.bar + turns[Qt.Key(event.key())], 0, self.roll.bar_count - 1))
            self._follow()
        elif self.why_not() or not self.roll.bar_count:
            super().keyPressEvent(event)
        elif event.key() in steps:
            self._begin()
            value = float(np.clip(self.values()[self.bar] + steps[Qt.Key(event.key())], -RANGE, RANGE))
            self._draw(self.bar, value if abs(value) > SNAP / 2 else 0.0)
            self._end()
        elif event.key() == Qt.Key.Key_Delete:
            self._begin()
            self._drawn = [0.0] * self.roll.bar_count
            self.morphing.draw_lane(self.name, tuple(self._drawn))
            self._end()
        else:
            super().keyPressEvent(event)


class LaneButton(QToolButton):
    """Left of the lane: whose it is, and a menu of all."""

    def __init__(self, lane: LatentLane, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.lane = lane
        self.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.setFixedSize(WIDTH, HEIGHT)
        self._menu = QMenu(self)
        self._menu.aboutToShow.connect(self._fill)
        self.setMenu(self._menu)
        self._follow()

    def _fill(self) -> None:
        self._menu.clear()
        for name, slider in self.lane.morphing.state.sliders.items():
            drawn = "  •" if name in self.lane.morphing.lanes else ""
            self._menu.addAction(slider.info.label + drawn, partial(self.choose, name))

    def choose(self, name: str) -> None:
        """Show another slider's lane."""
        self.lane.choose(name)
        self._follow()

    def _follow(self) -> None:
        label = self.lane.morphing.state.sliders[self.lane.name].info.label
        self.setFont(figures(current().font_small))
        self.setText(self.fontMetrics().elidedText(label, Qt.TextElideMode.ElideRight, 44))
        self.setToolTip(self.tr("The lane of {0}; click for others").format(label.lower()))
        self.setAccessibleName(self.tr("Lane: {0}").format(label))
