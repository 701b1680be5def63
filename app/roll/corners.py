"""The places left of the ruler and of the lanes: the choice of snap, and the names of lanes."""

from __future__ import annotations

from PySide6.QtCore import QPoint, QRect, QSize, Qt
from PySide6.QtGui import QActionGroup, QColor, QPainter, QPaintEvent
from PySide6.QtWidgets import QMenu, QToolButton, QWidget

from app.roll import keyboard, ruler
from app.roll.snap import AUTO, BAR, CHOICES
from app.roll.state import RollState
from app.theme import current, figures, themes


class Corner(QWidget):
    """A quiet name beside a lane."""

    def __init__(self, text: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.text = text
        self.setFixedWidth(keyboard.WIDTH)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        themes.changed.connect(self._repaint)

    def _repaint(self, *_: object) -> None:
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        theme = current()
        painter = QPainter(self)
        painter.fillRect(self.rect(), QColor(theme.ground))
        painter.fillRect(0, 0, self.width(), 1, QColor(theme.hairline))
        painter.fillRect(self.width() - 1, 0, 1, self.height(), QColor(theme.hairline))
        painter.setFont(figures(theme.font_small))
        painter.setPen(QColor(theme.text_dim))
        inner = QRect(0, 0, self.width() - 6, self.height())
        painter.drawText(inner, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight, self.text)


class SnapButton(QToolButton):
    """Shows the snap division and lets one choose another; dim when snapping is off."""

    def __init__(self, roll: RollState, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.roll = roll
        self.setFixedSize(keyboard.WIDTH, ruler.HEIGHT)
        self.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setAccessibleName(self.tr("Snap"))
        self.setToolTip(self.tr("Snap to grid (N turns it on and off)"))
        menu = QMenu(self)
        self._choices = QActionGroup(self)
        self._on = menu.addAction(self.tr("Snap to grid"))
        self._on.setCheckable(True)
        self._on.triggered.connect(lambda on: roll.set_snap(on=on))
        menu.addSeparator()
        for division in CHOICES:
            action = menu.addAction(self.label_of(division))
            action.setCheckable(True)
            action.setData(division)
            action.triggered.connect(lambda _, division=division: roll.set_snap(division, on=True))
            self._choices.addAction(action)
        self.setMenu(menu)
        roll.options_changed.connect(self._show)
        themes.changed.connect(self._repaint)
        self._show()

    def label_of(self, division: str) -> str:
        """What a division is called."""
        return {AUTO: self.tr("Auto"), BAR: self.tr("Bar")}.get(division, division)

    def _repaint(self, *_: object) -> None:
        self.update()

    def _show(self) -> None:
        self._on.setChecked(self.roll.snap.on)
        for action in self._choices.actions():
            action.setChecked(action.data() == self.roll.snap.division)
        self.setText(self.label_of(self.roll.snap.division))
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(keyboard.WIDTH, ruler.HEIGHT)

    def paintEvent(self, event: QPaintEvent) -> None:
        theme = current()
        painter = QPainter(self)
        painter.fillRect(self.rect(), QColor(theme.hover if self.underMouse() else theme.ground))
        painter.fillRect(0, self.height() - 1, self.width(), 1, QColor(theme.hairline))
        painter.fillRect(self.width() - 1, 0, 1, self.height(), QColor(theme.hairline))
        on = self.roll.snap.on
        font = figures(theme.font_small)
        font.setStrikeOut(not on)
        painter.setFont(font)
        painter.setPen(QColor(theme.text if on else theme.text_dim))
        inner = QRect(0, 0, self.width() - 18, self.height())
        painter.drawText(inner, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight, self.text())
        x, y = self.width() - 11, self.height() // 2 - 1
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.drawPolyline([QPoint(x - 3, y - 1), QPoint(x, y + 2), QPoint(x + 3, y - 1)])
        if self.hasFocus():
            painter.setPen(QColor(theme.accent))
            painter.drawRect(self.rect().adjusted(0, 0, -1, -1))
