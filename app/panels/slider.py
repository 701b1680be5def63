"""One slider as a small picture: the corpus as a faint curve, the piece's place, handle, value, lock.

Shows a `SliderModel` and passes hands on to it. A QSlider underneath, so that screen readers know it.
"""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QEvent, QPoint, QPointF, QRect, QRectF, QSize, Qt
from PySide6.QtGui import (
    QColor,
    QEnterEvent,
    QIcon,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QPolygonF,
    QWheelEvent,
)
from PySide6.QtWidgets import QSizePolicy, QSlider, QWidget

from app import theme
from app.panels.sliders import RANGE, SliderModel

HEIGHT = 44
MARGIN = 16  # left and right of the track; the handle needs half of it
PER_SIGMA = 100  # steps of the QSlider
KEY_STEP = 0.1
PAGE_STEP = 0.5
TRACK_Y = 34
CURVE_HEIGHT = 16
CURVE_WIDTH = 0.25  # standard deviations: how much each quantile is smoothed


class SliderView(QSlider):
    """The painted widget of one slider."""

    def __init__(self, model: SliderModel, parent: QWidget | None = None) -> None:
        super().__init__(Qt.Orientation.Horizontal, parent)
        self.model = model
        self.setObjectName(f"slider_{model.info.name}")
        self.setRange(-int(RANGE * PER_SIGMA), int(RANGE * PER_SIGMA))
        self.setFixedHeight(HEIGHT)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMouseTracking(True)
        self._grip: float | None = None  # pixels between pointer and handle while dragging
        self._hovered = False
        self._curve = QPolygonF()
        self._curve_of: tuple[object, object] = (None, None)
        self._locks: dict[tuple[str, str], QIcon] = {}  # by name and colour
        self.valueChanged.connect(self._on_value)
        model.changed.connect(self._follow)
        theme.themes.changed.connect(self.update)
        self._follow()

    # Places

    def x_of(self, value: float) -> float:
        """Pixel column of an offset in standard deviations."""
        width = self.width() - 2 * MARGIN
        return MARGIN + (value + RANGE) / (2 * RANGE) * width

    def value_at(self, x: float) -> float:
        """Offset in standard deviations at a pixel column."""
        return (x - MARGIN) / max(self.width() - 2 * MARGIN, 1) * 2 * RANGE - RANGE

    def point_of(self, value: float) -> QPoint:
        """Where on the widget the handle sits at `value`."""
        return QPoint(round(self.x_of(value)), TRACK_Y)

    def lock_rect(self) -> QRect:
        """Where the lock is."""
        return QRect(self.width() - MARGIN - 16, 2, 20, 20)

    def sizeHint(self) -> QSize:
        return QSize(280, HEIGHT)

    # Model and view

    def _follow(self) -> None:
        model = self.model
        self.blockSignals(True)
        self.setValue(round(model.value * PER_SIGMA))
        self.blockSignals(False)
        self.setAccessibleName(model.info.label)
        self.setAccessibleDescription(f"{self.value_text()}. {model.info.description}")
        self.setToolTip(self.tip())
        self.setCursor(Qt.CursorShape.ArrowCursor if model.enabled else Qt.CursorShape.ForbiddenCursor)
        self.update()

    def _on_value(self, value: int) -> None:
        self.model.move(value / PER_SIGMA)

    def value_text(self) -> str:
        """The offset as it is shown: +1.20 σ."""
        return f"{self.model.value:+.2f} σ" if self.model.value else "0.00 σ"

    def tip(self) -> str:
        """What it does, where the piece sits, how well notes follow it, and why it does not move."""
        info, model = self.model.info, self.model
        lines = [info.description]
        if model.own is not None and np.isfinite(model.own) and info.unit:
            lines.append(self.tr("Here: {0:.3g} {1}; one σ is {2:.2g}.").format(model.own, info.unit, info.sd))
        if info.rho is not None:
            lines.append(self.tr("Measured on decoded notes: correlation {0:.2f}.").format(info.rho))
        if model.why_disabled:
            lines.append(model.why_disabled)
        elif model.locked:
            lines.append(self.tr("Locked: click the lock to move it."))
        else:
            lines.append(self.tr("Double-click: back to the piece's own value."))
        return "\n".join(lines)

    # Hands

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() != Qt.MouseButton.LeftButton:
            return
        if self.lock_rect().contains(event.position().toPoint()):
            self.model.set_locked(not self.model.locked)
            return
        if not self.model.enabled:
            return
        distance = event.position().x() - self.x_of(self.model.value)
        self._grip = distance if abs(distance) <= 8 else 0.0
        self.model.grab()
        if not self._grip:
            self.model.move(self.value_at(event.position().x()))
        self.update()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if self._grip is not None:
            self.model.move(self.value_at(event.position().x() - self._grip))

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        self._grip = None
        self.model.release()
        self.update()

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        if not self.lock_rect().contains(event.position().toPoint()):
            self.model.move(0.0)
        else:
            self.mousePressEvent(event)

    def wheelEvent(self, event: QWheelEvent) -> None:
        if not self.hasFocus() and not event.modifiers():
            event.ignore()  # the list scrolls, unless this slider was chosen
            return
        self.model.move(self.model.value + KEY_STEP * np.sign(event.angleDelta().y() + event.angleDelta().x()))
        event.accept()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        steps = {
            Qt.Key.Key_Right: KEY_STEP,
            Qt.Key.Key_Up: KEY_STEP,
            Qt.Key.Key_Left: -KEY_STEP,
            Qt.Key.Key_Down: -KEY_STEP,
            Qt.Key.Key_PageUp: PAGE_STEP,
            Qt.Key.Key_PageDown: -PAGE_STEP,
        }
        if event.key() in steps:
            self.model.move(round(self.model.value / KEY_STEP) * KEY_STEP + steps[Qt.Key(event.key())])
        elif event.key() in (Qt.Key.Key_0, Qt.Key.Key_Delete, Qt.Key.Key_Backspace):
            self.model.move(0.0)
        else:
            event.ignore()

    def enterEvent(self, event: QEnterEvent) -> None:
        self._hovered = True
        self.update()

    def leaveEvent(self, event: QEvent) -> None:
        self._hovered = False
        self.update()

    # Picture

    def _corpus_curve(self) -> QPolygonF:
        """The outline of the corpus' distribution about the piece's own value, a pixel a point; empty if unknown."""
        info, own = self.model.info, self.model.own
        key = (info, (own, self.width()))
        if key != self._curve_of:
            self._curve_of = key
            self._curve = QPolygonF()
            if info.quantiles is not None and own is not None and np.isfinite(own):
                at = np.linspace(-RANGE, RANGE, max(self.width() - 2 * MARGIN, 2))
                centres = (np.asarray(info.quantiles, float) - own) / info.sd
                bells = np.exp(-(((at[:, None] - centres) / CURVE_WIDTH) ** 2) / 2).mean(1)
                heights = CURVE_HEIGHT * bells / max(bells.max(), 1e-9)
                points = [QPointF(MARGIN + i, TRACK_Y - h) for i, h in enumerate(heights.tolist())]
                self._curve = QPolygonF([QPointF(MARGIN, TRACK_Y), *points, QPointF(MARGIN + len(points), TRACK_Y)])
        return self._curve

    def paintEvent(self, event: QPaintEvent) -> None:
        tokens = theme.current()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        live = self.model.enabled
        self._paint_words(painter, tokens, live)
        self._paint_curve(painter, tokens)
        self._paint_track(painter, tokens, live)
        if self.hasFocus():
            painter.setPen(QPen(QColor(tokens.accent), 1))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(QRectF(self.rect()).adjusted(4.5, 0.5, -4.5, -0.5), tokens.radius, tokens.radius)
        painter.end()

    def _paint_words(self, painter: QPainter, tokens: theme.Theme, live: bool) -> None:
        model = self.model
        painter.setFont(theme.figures())
        painter.setPen(QColor(tokens.text if live else tokens.text_dim))
        painter.drawText(QRect(MARGIN, 2, 160, 18), Qt.AlignmentFlag.AlignVCenter, model.info.label)
        painter.setPen(QColor(tokens.accent if model.value and live else tokens.text_dim))
        right = self.lock_rect().left() - 4
        flags = Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight
        painter.drawText(QRect(right - 80, 2, 80, 18), flags, self.value_text())
        if model.locked or self._hovered or self.hasFocus():
            colour = tokens.text if model.locked else tokens.text_dim
            self._lock_icon(colour).paint(painter, self.lock_rect().adjusted(2, 1, -2, -3))

    def _lock_icon(self, colour: str) -> QIcon:
        key = ("lock" if self.model.locked else "unlock", colour)
        if key not in self._locks:
            self._locks[key] = theme.icon(*key)
        return self._locks[key]

    def _paint_curve(self, painter: QPainter, tokens: theme.Theme) -> None:
        fill = QColor(tokens.text_dim)
        fill.setAlpha(44)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(fill)
        painter.drawPolygon(self._corpus_curve())

    def _paint_track(self, painter: QPainter, tokens: theme.Theme, live: bool) -> None:
        model = self.model
        left, right, here = self.x_of(-RANGE), self.x_of(RANGE), self.x_of(model.value)
        painter.setPen(QPen(QColor(tokens.line_bar), 2))
        painter.drawLine(QPointF(left, TRACK_Y), QPointF(right, TRACK_Y))
        tick = self.x_of(0.0)
        painter.setPen(QPen(QColor(tokens.text_dim), 1))
        painter.drawLine(QPointF(round(tick) + 0.5, TRACK_Y - 6), QPointF(round(tick) + 0.5, TRACK_Y + 6))
        colour = QColor(tokens.accent if live else tokens.line_bar)
        if model.value:
            painter.setPen(QPen(colour, 2))
            painter.drawLine(QPointF(tick, TRACK_Y), QPointF(here, TRACK_Y))
        radius = 7 if model.held else 6 if self._hovered else 5.5
        painter.setPen(QPen(QColor(tokens.panel), 2))
        painter.setBrush(colour if model.value or model.held else QColor(tokens.text if live else tokens.line_bar))
        painter.drawEllipse(QPointF(here, TRACK_Y), radius, radius)
