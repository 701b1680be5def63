"""Nine small pictures in a square. Keys 1 to 9 and the arrows let one be heard, Enter and a click take it.

Shows a `Variations`.
"""

from __future__ import annotations

from PySide6.QtCore import QEvent, QPoint, QRect, QSize, Qt
from PySide6.QtGui import QColor, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QWidget

from app import theme
from app.take import picture_of
from app.variations import MIDDLE, Variations

CELL, GAP, MARGIN = (62, 44), 5, 8
STEPS = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1, Qt.Key.Key_Up: -3, Qt.Key.Key_Down: 3}


class VariationsGrid(QWidget):
    """There only while there are variations."""

    def __init__(self, variations: Variations, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.variations = variations
        self.setFixedHeight(2 * MARGIN + 3 * CELL[1] + 2 * GAP + 18)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMouseTracking(True)
        self.setAccessibleName(self.tr("Nine variations"))
        self._under = -1
        self._pictures: dict[int, tuple[object, bytes]] = {}
        variations.changed.connect(self._follow)
        theme.themes.changed.connect(self.update)
        self._follow()

    def sizeHint(self) -> QSize:
        return QSize(2 * MARGIN + 3 * CELL[0] + 2 * GAP, self.height())

    def cell(self, place: int) -> QRect:
        """Where a place is."""
        corner = QPoint(MARGIN + place % 3 * (CELL[0] + GAP), MARGIN + place // 3 * (CELL[1] + GAP))
        return QRect(corner, QSize(*CELL))

    def place_at(self, point: QPoint) -> int:
        """The place under a point, -1 for none."""
        return next((place for place in range(9) if self.cell(place).contains(point)), -1)

    def _follow(self) -> None:
        variations = self.variations
        self.setVisible(variations.is_open)
        ready = len(variations.scores)
        words = self.tr("{0} of 9 are ready. Keys 1 to 9 let one be heard, Enter takes it.").format(ready)
        self.setAccessibleDescription(words)
        self.setToolTip(words)
        self.update()

    def _picture(self, place: int) -> bytes:
        score = self.variations.scores[place]
        known = self._pictures.get(place)
        if known is None or known[0] is not score:
            self._pictures[place] = known = (score, picture_of(score))
        return known[1]

    # Painting

    def paintEvent(self, event: QPaintEvent) -> None:
        from app.panels.takes import paint_picture

        tokens, variations = theme.current(), self.variations
        painter = QPainter(self)
        painter.setFont(theme.figures(tokens.font_small))
        for place in range(9):
            cell = self.cell(place)
            painter.fillRect(cell, QColor(tokens.hover if place == self._under else tokens.ground))
            if place in variations.scores:
                colour = tokens.track_hues[0] if place == MIDDLE else tokens.proposal
                paint_picture(painter, cell.adjusted(3, 15, -3, -5), self._picture(place), colour)
            else:
                painter.setPen(QColor(tokens.text_dim))
                painter.drawText(cell, Qt.AlignmentFlag.AlignCenter, "…")
            painter.setPen(QColor(tokens.text_dim))
            painter.drawText(cell.adjusted(3, 0, 0, 0), Qt.AlignmentFlag.AlignTop, str(place + 1))
            if place == variations.heard:
                painter.setPen(QPen(QColor(tokens.accent if self.hasFocus() else tokens.text), 1.5))
                painter.drawRect(cell)
        painter.setPen(QColor(tokens.text_dim))
        ready = len(variations.scores)
        words = self.tr("{0} of 9…").format(ready) if ready < 9 else self.tr("1-9 hear, Enter or click takes")
        painter.drawText(self.rect().adjusted(MARGIN, 0, -MARGIN, -4), Qt.AlignmentFlag.AlignBottom, words)

    # Hands

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        self._under = self.place_at(event.position().toPoint())
        self.update()

    def leaveEvent(self, event: QEvent) -> None:
        self._under = -1
        self.update()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self.setFocus()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        place = self.place_at(event.position().toPoint())
        if place >= 0 and event.button() == Qt.MouseButton.LeftButton:
            self.variations.take(place)

    def event(self, event: QEvent) -> bool:
        if isinstance(event, QKeyEvent) and event.type() == QEvent.Type.ShortcutOverride and self._means(event):
            event.accept()
            return True
        return super().event(event)

    def _means(self, event: QKeyEvent) -> bool:
        plain = event.modifiers() in (Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.KeypadModifier)
        return plain and (Qt.Key.Key_1 <= event.key() <= Qt.Key.Key_9 or event.key() in STEPS)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if Qt.Key.Key_1 <= event.key() <= Qt.Key.Key_9:
            self.variations.hear(event.key() - Qt.Key.Key_1)
        elif event.key() in STEPS:
            place = self.variations.heard + STEPS[Qt.Key(event.key())]
            if 0 <= place < 9:
                self.variations.hear(place)
        else:
            super().keyPressEvent(event)
