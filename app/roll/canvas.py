"""The notes area: one painted widget. Ground, and notes on it, are cached pictures; the overlay is painted each frame.

Mouse events become `Pointer`s and go to the gestures. What is shown comes from `RollState`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from PySide6.QtCore import QEvent, QPoint, QRect, QRectF, Qt, QTimer
from PySide6.QtGui import (
    QEnterEvent,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPixmap,
    QResizeEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QWidget

from app.roll import gestures
from app.roll.coordinates import Coordinates
from app.roll.gestures.gesture import Gesture, Pointer
from app.roll.gestures.wheel import Wheel
from app.roll.layers import density, grid, locked, notes, overlay
from app.roll.layers.picture import Picture
from app.roll.state import RollState
from app.theme import current, figures, themes

FRAME_MS = 16
FADE_MS = 32  # between two frames of a glow: a fade needs no more
SCROLL_SHARE = 0.12  # of the distance outside, per frame
DIM = 0.2  # opacity of notes that cannot be edited
LEAVING = 0.28  # opacity of notes a proposal takes away


class Canvas(QWidget):
    """The hero of the window."""

    def __init__(self, roll: RollState, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.roll = roll
        self.gesture: Gesture | None = None
        self._at = Pointer(0, 0, 0, 0)
        self._wheel = Wheel(roll)
        self._ground, self._picture = Picture(), Picture()
        self._painted: Coordinates | None = None  # what the picture shows
        self._manner = 0  # in which way: rounded, filled, or as a density
        self._leaving = roll.traces.leaving  # as the picture shows them
        self._frames = QTimer(self, interval=FADE_MS)
        self._frames.timeout.connect(self._frame)
        self._outside = QTimer(self, interval=FRAME_MS)
        self._outside.timeout.connect(self._scroll_outside)
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setMinimumSize(160, 120)
        self.setAccessibleName(self.tr("Piano roll"))
        roll.view_changed.connect(self._on_view)
        roll.options_changed.connect(self._look)
        roll.notes_changed.connect(self._on_song)
        roll.proposal_changed.connect(self._on_proposal)
        roll.selection_changed.connect(self._on_selection)
        roll.playhead_moved.connect(self._on_playhead)
        themes.changed.connect(self._look)
        self._on_selection(roll.selection)

    # ------------------------------------------------------------------ painting

    def paintEvent(self, event: QPaintEvent) -> None:
        roll, theme, ratio = self.roll, current(), self.devicePixelRatioF()
        painter = QPainter(self)
        painter.drawPixmap(0, 0, self._paint_picture(ratio))
        overlay.paint_changes(painter, roll, theme, ratio, event.rect())
        if self._at.row >= 0 and self.gesture is None and self._at.row < len(roll.index):
            overlay.paint_hover(painter, roll, self._at.row, theme, ratio)
        if self.gesture is not None:
            self.gesture.paint(painter)
        if not len(roll.index) and not roll.traces.has_proposal:
            self._paint_empty(painter)
        x = roll.view.x_of(roll.playhead)
        if -1 <= x <= self.width():
            overlay.paint_playhead(painter, x, self.height(), theme)

    def _paint_picture(self, ratio: float) -> QPixmap:
        picture, is_old = self._picture.ready(self, ratio)
        view = self.roll.view
        if not is_old and self._painted is view:
            return picture
        count = len(self.roll.index.inside(*view.ticks, *view.pitches))
        manner = (count > notes.FEW) + (count > notes.MANY)
        strip, before, self._manner = None, self._manner, manner
        if not is_old and manner == before and manner and float(ratio).is_integer():  # few carry names, which stay put
            strip = self._picture.moved(self._painted, view)
        painter = QPainter(picture)
        if strip is None:
            painter.drawPixmap(0, 0, self._paint_ground(ratio))
            self._paint_notes(painter, view, count, ratio)
        else:
            part = replace(view, left=view.tick_of(strip.left()), width=float(strip.width()))
            painter.translate(strip.topLeft())
            painter.setClipRect(strip.translated(-strip.topLeft()))
            self._paint_lines(painter, part, ratio)
            self._paint_notes(painter, part, count, ratio)
        painter.end()
        self._painted = view
        return picture

    def _paint_notes(self, painter: QPainter, view: Coordinates, count: int, ratio: float) -> None:
        """The notes in a part of what is seen, in the manner of the `count` notes in all of it."""
        roll, theme = self.roll, current()
        self._leaving = roll.traces.leaving
        overlay.paint_ghosts(painter, roll, view, theme, ratio)
        rows = roll.index.inside(*view.ticks, *view.pitches)
        opacity = np.ones(len(rows))
        if roll.track is not None:
            opacity[roll.index.track[rows] != roll.track] = DIM
            order = np.argsort(opacity, kind="stable")  # dim ones lie underneath
            rows, opacity = rows[order], opacity[order]
        if roll.traces.leaving.any():
            opacity[roll.traces.leaving[rows]] *= LEAVING
        if count > notes.MANY:
            density.paint(painter, view, roll.index, rows, theme, ratio, opacity)
        else:
            selected = np.zeros(len(roll.index), dtype=bool)
            selected[roll.selection] = True
            few = count <= notes.FEW
            notes.paint(painter, view, roll.index, rows, theme, ratio, selected, opacity, few)
            locked.paint(painter, roll, view, rows, theme, ratio)

    def _paint_ground(self, ratio: float) -> QPixmap:
        ground, is_old = self._ground.ready(self, ratio)
        if is_old:
            painter = QPainter(ground)
            self._paint_lines(painter, self.roll.view, ratio)
            painter.end()
        return ground

    def _paint_lines(self, painter: QPainter, view: Coordinates, ratio: float) -> None:
        """Rows, bars, beats and marked bars of a part of what is seen."""
        roll, theme = self.roll, current()
        step = roll.snap.step(roll.grid, view.px_per_tick, roll.view.left) if roll.snap.on else 0.0
        scale = roll.scale.pitch_classes if roll.show_scale and roll.scale else None
        grid.paint(painter, view, roll.grid, theme, step, scale, ratio)
        overlay.paint_marked(painter, roll, view, theme)

    def _paint_empty(self, painter: QPainter) -> None:
        theme = current()
        middle = self.height() // 2
        painter.setFont(figures(theme.font_large))
        painter.setPen(theme.text)
        painter.drawText(QRect(0, middle - 40, self.width(), 32), Qt.AlignmentFlag.AlignCenter, self.tr("No notes yet"))
        painter.setFont(figures(theme.font_body))
        painter.setPen(theme.text_dim)
        how = self.tr("Click to draw one") if self.roll.pencil else self.tr("Double-click to draw one")
        hint = self.tr("{how}, or drop a MIDI file here").format(how=how)
        painter.drawText(QRect(0, middle - 4, self.width(), 24), Qt.AlignmentFlag.AlignCenter, hint)

    # ------------------------------------------------------------------ what changed

    def _on_view(self) -> None:
        """Somebody looks elsewhere: the picture is moved where it can be, else painted anew."""
        self._ground.forget()
        self._at = self._pointer(self._at.x, self._at.y) if self.underMouse() else self._at
        self._show_cursor()
        self.update()

    def _look(self, *_: object) -> None:
        self._ground.forget()
        self._picture.forget()
        self._at = self._pointer(self._at.x, self._at.y) if self.underMouse() else self._at
        self._show_cursor()
        self.update()

    def _on_song(self) -> None:
        self._ground.forget()  # bars, scale and the end may be others
        self._picture.forget()
        self._at = Pointer(self._at.x, self._at.y, 0, 0)
        self._show_changes()

    def _on_proposal(self) -> None:
        if not np.array_equal(self._leaving, self.roll.traces.leaving):
            self._picture.forget()
        self._show_changes()

    def _show_changes(self) -> None:
        if self.roll.traces.is_moving(current().fade_ms / 1000):
            self._frames.start()
        self.update()

    def _on_selection(self, rows: np.ndarray) -> None:
        self._picture.forget()
        count = len(self.roll.index)
        self.setAccessibleDescription(self.tr("{count} notes, {chosen} selected").format(count=count, chosen=len(rows)))
        self.update()

    def _on_playhead(self, before: float, now: float) -> None:
        reach = overlay.PLAYHEAD_PX
        for tick in (before, now):
            x = self.roll.view.x_of(tick)
            if -reach <= x <= self.width() + reach:
                self.update(round(x) - reach, 0, 2 * reach, self.height())

    def _frame(self) -> None:
        if not self.roll.traces.is_moving(current().fade_ms / 1000 + 0.05):
            self._frames.stop()
        self.update()

    def resizeEvent(self, event: QResizeEvent) -> None:
        self._picture.forget()
        self.roll.look(self.roll.view.at(width=float(self.width()), height=float(self.height())), by_hand=False)

    # ------------------------------------------------------------------ the hand

    def _pointer(
        self, x: float, y: float, button: Qt.MouseButton = Qt.MouseButton.NoButton,
        modifiers: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier, double: bool = False,
    ) -> Pointer:  # fmt: skip
        return Pointer.at(self.roll, x, y, button, modifiers, double)

    def _press(self, event: QMouseEvent, double: bool) -> None:
        if self.gesture is not None:
            return
        at = self._pointer(event.position().x(), event.position().y(), event.button(), event.modifiers(), double)
        self.gesture = gestures.begin(self.roll, at)
        if self.gesture is not None:
            self._button = event.button()
            self.setCursor(self.gesture.cursor)
        self.update()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self._press(event, double=False)

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        self._press(event, double=True)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        place = event.position()
        self._at = self._pointer(place.x(), place.y(), Qt.MouseButton.NoButton, event.modifiers())
        self.roll.set_hover((self._at.tick, self._at.pitch))
        if self.gesture is None:
            self._show_cursor()
        else:
            self.gesture.drag(self._at)
            if self.gesture.scrolls and not self.rect().contains(place.toPoint()):
                self._outside.start()
            else:
                self._outside.stop()
        self.update()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        if self.gesture is None or event.button() != self._button:
            return
        gesture, self.gesture = self.gesture, None
        self._outside.stop()
        gesture.release(self._pointer(event.position().x(), event.position().y(), event.button(), event.modifiers()))
        self._at = self._pointer(event.position().x(), event.position().y())
        self._show_cursor()
        self.update()

    def cancel(self) -> bool:
        """End a gesture as if it had never begun; False when there is none."""
        if self.gesture is None:
            return False
        gesture, self.gesture = self.gesture, None
        self._outside.stop()
        gesture.cancel()
        self._show_cursor()
        self.update()
        return True

    def _scroll_outside(self) -> None:
        if self.gesture is None:
            self._outside.stop()
            return
        at = self._at
        dx = min(at.x, 0.0) + max(at.x - self.width(), 0.0)
        dy = min(at.y, 0.0) + max(at.y - self.height(), 0.0)
        self.roll.look(self.roll.view.scrolled(dx * SCROLL_SHARE, dy * SCROLL_SHARE))
        self._at = Pointer.at(self.roll, at.x, at.y)
        self.gesture.drag(self._at)

    def wheelEvent(self, event: QWheelEvent) -> None:
        at = self._pointer(event.position().x(), event.position().y(), modifiers=event.modifiers())
        fine = event.pixelDelta()
        delta = QPoint(fine.x() * 2, fine.y() * 2) if not fine.isNull() else event.angleDelta()
        self._wheel.turn(at, -delta.x() / 120, -delta.y() / 120)
        event.accept()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        event.ignore()

    def enterEvent(self, event: QEnterEvent) -> None:
        self._at = self._pointer(event.position().x(), event.position().y())
        self._show_cursor()

    def leaveEvent(self, event: QEvent) -> None:
        self._at = Pointer(-1e6, -1e6, 0, 0)
        self.roll.set_hover(None)
        self.update()

    def _show_cursor(self) -> None:
        if self.gesture is not None:
            self.setCursor(self.gesture.cursor)
        elif self._at.row >= 0:
            self.setCursor(Qt.CursorShape.SizeHorCursor if self._at.edge else Qt.CursorShape.PointingHandCursor)
        else:
            self.setCursor(Qt.CursorShape.CrossCursor if self.roll.pencil else Qt.CursorShape.ArrowCursor)

    @property
    def hovered_row(self) -> int:
        """The note under the pointer, -1 on empty ground."""
        return self._at.row

    def note_rect(self, row: int) -> QRectF:
        """Where a note is painted."""
        return QRectF(*notes.rects_of(self.roll.view, self.roll.index, np.array([row]), self.devicePixelRatioF())[0])
