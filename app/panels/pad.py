"""The morph pad as a square with a piece in each corner and a point between them. Drag it, or move it by arrows.

Shows a `Pad`; what may be put into a corner comes from whoever made it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from PySide6.QtCore import QPoint, QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QHBoxLayout, QLabel, QMenu, QPushButton, QToolButton, QVBoxLayout, QWidget

from app import theme
from app.pad import NAMES, Pad
from engine.score.score import Score

SIDE, EDGE = 200, 8
STEP = 0.05
ARROWS = {
    Qt.Key.Key_Left: (-STEP, 0),
    Qt.Key.Key_Right: (STEP, 0),
    Qt.Key.Key_Up: (0, -STEP),
    Qt.Key.Key_Down: (0, STEP),
}
Choice = tuple[str, Callable[[Callable[[str, Score], None]], None]]  # words, what brings a name and a score


class PadSquare(QWidget):
    """The square."""

    def __init__(self, pad: Pad) -> None:
        super().__init__()
        self.pad = pad
        self.setFixedSize(SIDE, SIDE)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName(self.tr("Morph pad"))
        pad.changed.connect(self._follow)
        theme.themes.changed.connect(self.update)
        self._follow()

    def point_of(self, x: float, y: float) -> QPoint:
        """Where a place is on the widget."""
        return QPoint(round(EDGE + x * (SIDE - 2 * EDGE)), round(EDGE + y * (SIDE - 2 * EDGE)))

    def _follow(self) -> None:
        why_not = self.pad.why_not()
        self.setAccessibleDescription(self.tr("{0:.0%} across, {1:.0%} down").format(*self.pad.place))
        self.setToolTip(why_not or self.tr("Drag the point, or move it by arrows"))
        self.setCursor(Qt.CursorShape.ForbiddenCursor if why_not else Qt.CursorShape.CrossCursor)
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        tokens, pad = theme.current(), self.pad
        live = not pad.why_not()
        painter = QPainter(self)
        painter.fillRect(self.rect(), QColor(tokens.ground))
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(QColor(tokens.line_beat), 1))
        for i in range(5):
            a, b = self.point_of(i / 4, 0), self.point_of(0, i / 4)
            painter.drawLine(a, self.point_of(i / 4, 1))
            painter.drawLine(b, self.point_of(1, i / 4))
        if pad.path:
            painter.setPen(QPen(QColor(tokens.proposal), 1.5))
            painter.drawPolyline(QPolygonF([QPointF(self.point_of(x, y)) for _, x, y in pad.path]))
        if not live:
            painter.setPen(QColor(tokens.text_dim))
            flags = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
            painter.drawText(self.rect().adjusted(24, 24, -24, -24), int(flags), pad.why_not())
        here = QPointF(self.point_of(*pad.place))
        painter.setPen(QPen(QColor(tokens.panel), 2))
        painter.setBrush(QColor(tokens.accent if live else tokens.line_bar))
        painter.drawEllipse(here, 7, 7)
        if self.hasFocus():
            painter.setPen(QPen(QColor(tokens.accent), 1))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5))

    def _go(self, event: QMouseEvent) -> None:
        at = event.position()
        self.pad.move((at.x() - EDGE) / (SIDE - 2 * EDGE), (at.y() - EDGE) / (SIDE - 2 * EDGE))

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self.pad.grab()
            self._go(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if event.buttons() & Qt.MouseButton.LeftButton:
            self._go(event)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self.pad.release()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in ARROWS:
            self.pad.step(*ARROWS[Qt.Key(event.key())])
        else:
            super().keyPressEvent(event)


class PadPanel(QWidget):
    """Corners over and under the square, record and play below."""

    def __init__(self, pad: Pad, choices: Callable[[], list[Choice]]) -> None:
        super().__init__()
        self.setObjectName("pad")
        self.pad, self._choices = pad, choices
        self.setFixedWidth(SIDE + 16)
        self.square = PadSquare(pad)
        self.corners = [self._corner(i) for i in range(4)]
        self.record = QToolButton()
        self.record.setCheckable(True)
        self.record.setAccessibleName(self.tr("Record the way of the point"))
        self.record.toggled.connect(pad.record)
        self.play = QToolButton()
        self.play.setAccessibleName(self.tr("Go the recorded way"))
        self.play.clicked.connect(pad.play)
        self.words = QLabel()
        self.words.setProperty("dim", True)
        self.words.setProperty("small", True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 8, 8, 8)
        layout.setSpacing(4)
        layout.addLayout(self._row(self.corners[:2]))
        layout.addWidget(self.square)
        layout.addLayout(self._row(self.corners[2:]))
        below = QHBoxLayout()
        below.setSpacing(4)
        below.addWidget(self.record)
        below.addWidget(self.play)
        below.addWidget(self.words, 1)
        layout.addLayout(below)
        layout.addStretch(1)
        pad.changed.connect(self._follow)
        theme.themes.changed.connect(self._dress)
        self._dress()
        self._follow()

    @staticmethod
    def _row(buttons: list[QPushButton]) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setSpacing(4)
        for button in buttons:
            row.addWidget(button, 1)
        return row

    def _corner(self, corner: int) -> QPushButton:
        button = QPushButton()
        button.setProperty("small", True)
        button.setMinimumWidth(0)
        button.setSizePolicy(button.sizePolicy().Policy.Ignored, button.sizePolicy().Policy.Fixed)
        button.clicked.connect(lambda: self.menu_of(corner).popup(button.mapToGlobal(QPoint(0, button.height()))))
        return button

    def menu_of(self, corner: int) -> QMenu:
        """What may be put into a corner."""
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        for words, bring in self._choices():
            menu.addAction(words, partial(bring, partial(self.pad.fill, corner)))
        if self.pad.corners[corner] is not None:
            menu.addSeparator()
            menu.addAction(self.tr("Nothing"), lambda: self.pad.empty(corner))
        return menu

    def _follow(self) -> None:
        for button, corner, place in zip(self.corners, self.pad.corners, NAMES, strict=True):
            text = corner.name if corner is not None else self.tr("Put…")
            button.setText(button.fontMetrics().elidedText(text, Qt.TextElideMode.ElideRight, SIDE // 2 - 28))
            button.setAccessibleName(
                self.tr("Corner {0}: {1}").format(place, corner.name if corner else self.tr("empty"))
            )
            button.setToolTip(button.accessibleName())
        why_not = self.pad.why_not() or ("" if self.pad.path else self.tr("Record a way first."))
        self.play.setEnabled(not why_not)
        self.play.setToolTip(why_not or self.play.accessibleName())
        self.record.setToolTip(self.record.accessibleName())
        self.words.setText(
            self.tr("Drag to record") if self.pad.recording and not self.pad.path
            else self.tr("{0:.1f} s recorded").format(self.pad.path[-1][0]) if self.pad.path else ""
        )  # fmt: skip
        self._dress()

    def _dress(self) -> None:
        tokens = theme.current()
        self.record.setIcon(theme.icon("record", tokens.danger if self.pad.recording else tokens.text_dim))
        self.play.setIcon(theme.icon("stop" if self.pad.playing else "play", tokens.text))
        for button in (self.record, self.play):
            button.setIconSize(QSize(20, 20))
