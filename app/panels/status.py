"""Status lights: a dot, a word, and on a click a popover with the sentence and what one can do about it.

A light shows what it is told. Its state is said by shape as well as by colour.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from PySide6.QtCore import QPoint, QPointF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QAbstractButton, QFrame, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from app import theme


class Light(Enum):
    """What a light says: a ring (off, or not yet), a dot (works), a triangle (does not)."""

    WAITING = "waiting"
    GOOD = "good"
    BAD = "bad"


class Popover(QFrame):
    """A small panel under a light; closes when one clicks elsewhere."""

    def __init__(self, title: str, parent: QWidget) -> None:
        super().__init__(parent, Qt.WindowType.Popup)
        self.setObjectName("popover")
        self.setFixedWidth(336)
        self.sentence = QLabel()
        self.sentence.setWordWrap(True)
        self.sentence.setTextFormat(Qt.TextFormat.PlainText)
        self.sentence.setProperty("dim", True)
        self.body = QVBoxLayout(self)
        self.body.setContentsMargins(16, 16, 16, 16)
        self.body.setSpacing(8)
        heading = QLabel(title)
        heading.setProperty("strong", True)
        self.body.addWidget(heading)
        self.body.addWidget(self.sentence)
        self.buttons = QHBoxLayout()
        self.buttons.setSpacing(8)
        self.body.addLayout(self.buttons)
        self.buttons.addStretch(1)

    def add_button(self, text: str, clicked: Callable[[], object]) -> QPushButton:
        """Add a button at the left of the last row."""
        button = QPushButton(text)
        button.clicked.connect(lambda: clicked())
        self.buttons.insertWidget(self.buttons.count() - 1, button)
        return button

    def fit(self) -> None:
        """Take the height of what is in it: a wrapped sentence has none before it is dressed."""
        self.ensurePolished()
        for label in self.findChildren(QLabel):
            label.ensurePolished()
        self.body.invalidate()
        self.setFixedHeight(self.body.totalHeightForWidth(self.width()))

    def add_row(self, widget: QWidget) -> None:
        """Add a widget between the sentence and the buttons."""
        self.body.insertWidget(self.body.count() - 1, widget)


class StatusLight(QAbstractButton):
    """A dot and a word in the transport."""

    def __init__(self, word: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName(f"light_{word.lower()}")
        self.setText(word)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.state = Light.WAITING
        self.sentence = ""
        self.popover = Popover(word, self)
        self.before_open: Callable[[], None] = lambda: None  # fills lists just before the popover shows
        self.clicked.connect(self.open)
        theme.themes.changed.connect(self.update)

    def show_state(self, state: Light, sentence: str) -> None:
        """Take a state and its sentence."""
        self.state, self.sentence = state, sentence
        self.popover.sentence.setText(sentence)
        self.setToolTip(sentence)
        self.setAccessibleName(f"{self.text()}: {state.value}")
        self.setAccessibleDescription(sentence)
        self.update()

    def open(self) -> None:
        """Show the popover under the light, inside the window."""
        self.before_open()
        self.popover.fit()
        corner = self.mapToGlobal(QPoint(self.width() - self.popover.width(), self.height() + 8))
        self.popover.move(corner)
        self.popover.show()

    def sizeHint(self) -> QSize:
        return QSize(self.fontMetrics().horizontalAdvance(self.text()) + 40, 32)

    def paintEvent(self, event: QPaintEvent) -> None:
        tokens = theme.current()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if self.underMouse() or self.hasFocus():
            painter.setPen(QColor(tokens.accent) if self.hasFocus() else Qt.PenStyle.NoPen)
            painter.setBrush(QColor(tokens.hover) if self.underMouse() else Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(self.rect().adjusted(0, 0, -1, -1), tokens.radius, tokens.radius)
        middle = QPointF(16, self.height() / 2)
        if self.state is Light.GOOD:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(tokens.accent))
            painter.drawEllipse(middle, 4, 4)
        elif self.state is Light.BAD:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(tokens.danger))
            corners = [QPointF(0, -5), QPointF(5, 4), QPointF(-5, 4)]
            painter.drawPolygon(QPolygonF([middle + c for c in corners]))
        else:
            painter.setPen(QPen(QColor(tokens.text_dim), tokens.stroke))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawEllipse(middle, 4, 4)
        painter.setPen(QColor(tokens.text if self.state is not Light.WAITING else tokens.text_dim))
        painter.drawText(self.rect().adjusted(28, 0, 0, 0), Qt.AlignmentFlag.AlignVCenter, self.text())
        painter.end()
