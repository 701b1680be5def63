"""The takes beside the roll: newest first, each with its picture, its star and its key; and nine variations above them.

Shows `Takes` and a `Variations`; hands go on to them. Made when the dock first opens.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from PySide6.QtCore import (
    QAbstractListModel,
    QEvent,
    QModelIndex,
    QPersistentModelIndex,
    QRect,
    QSize,
    Qt,
)
from PySide6.QtGui import QAction, QColor, QImage, QKeyEvent, QMouseEvent, QPainter
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QLabel,
    QListView,
    QMenu,
    QStackedWidget,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from app import theme
from app.panels.variations import VariationsGrid
from app.take import PICTURE, SLOTS, Take, bits_of
from app.takes import Takes
from app.variations import Variations

WIDTH = 216
OWN_KEYS = (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_S, Qt.Key.Key_Delete)  # the window has other uses for some
ROW = 48
TakeRole = Qt.ItemDataRole.UserRole
Index = QModelIndex | QPersistentModelIndex


def paint_picture(painter: QPainter, where: QRect, picture: bytes, colour: str) -> None:
    """The picture of a take, as large as `where`."""
    bits = bits_of(picture)
    image = QImage(PICTURE[1], PICTURE[0], QImage.Format.Format_ARGB32_Premultiplied)
    image.fill(0)
    ink = QColor(colour)
    for y, x in zip(*bits.nonzero(), strict=True):
        image.setPixelColor(int(x), int(y), ink)
    painter.drawImage(where, image)


class TakesModel(QAbstractListModel):
    """Takes as rows, newest first; editing a row names its take."""

    def __init__(self, takes: Takes) -> None:
        super().__init__(takes)
        self.takes = takes
        self._rows: list[Take] = []
        takes.changed.connect(self._follow)
        self._follow()

    def _follow(self) -> None:
        self.beginResetModel()
        self._rows = list(reversed(self.takes.items))
        self.endResetModel()

    def take(self, index: Index) -> Take | None:
        """The take of a row."""
        return self._rows[index.row()] if index.isValid() and index.row() < len(self._rows) else None

    def row_of(self, take: Take) -> QModelIndex:
        """The row of a take."""
        return self.index(self._rows.index(take)) if take in self._rows else QModelIndex()

    def rowCount(self, parent: Index | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(self._rows)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        take = self.take(index)
        if take is None:
            return None
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.EditRole):
            return take.title
        if role == TakeRole:
            return take
        if role == Qt.ItemDataRole.AccessibleTextRole:
            starred = self.tr(", starred") if take.starred else ""
            key = self.tr(", key {0}").format(SLOTS.index(take.slot) + 1) if take.slot else ""
            return f"{take.title}{starred}{key}"
        if role == Qt.ItemDataRole.ToolTipRole:
            return self.tr("{0}\nClick brings it back. F2 names it, S stars it, Del forgets it.").format(take.words)
        return None

    def setData(self, index: Index, value: object, role: int = Qt.ItemDataRole.EditRole) -> bool:
        take = self.take(index)
        if take is not None:
            self.takes.rename(take, "" if str(value) == take.words else str(value))
        return take is not None

    def flags(self, index: Index) -> Qt.ItemFlag:
        return Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable | Qt.ItemFlag.ItemIsEditable


class TakeRow(QStyledItemDelegate):
    """Paints a row: picture, title, key, star."""

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        return QSize(WIDTH, ROW)

    @staticmethod
    def star_rect(row: QRect) -> QRect:
        """Where the star is."""
        return QRect(row.right() - 28, row.top() + 14, 20, 20)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        take, tokens = index.data(TakeRole), theme.current()
        row: QRect = option.rect  # type: ignore[attr-defined]
        state: QStyle.StateFlag = option.state  # type: ignore[attr-defined]
        painter.save()
        if state & (QStyle.StateFlag.State_Selected | QStyle.StateFlag.State_MouseOver):
            painter.fillRect(row, QColor(tokens.hover if state & QStyle.StateFlag.State_Selected else tokens.field))
        picture = QRect(row.left() + 8, row.top() + 8, 64, 32)
        painter.fillRect(picture, QColor(tokens.ground))
        paint_picture(painter, picture.adjusted(4, 4, -4, -4), take.picture, tokens.track_hues[0])
        words = QRect(picture.right() + 8, row.top() + 6, row.right() - picture.right() - 44, 36)
        painter.setFont(theme.figures(tokens.font_small))
        painter.setPen(QColor(tokens.text))
        flags = Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft | Qt.TextFlag.TextWordWrap
        painter.drawText(words, int(flags), take.title)
        star = self.star_rect(row)
        if take.starred or state & (QStyle.StateFlag.State_Selected | QStyle.StateFlag.State_MouseOver):
            colour = tokens.proposal if take.starred else tokens.text_dim
            theme.icon("starred" if take.starred else "star", colour).paint(painter, star.adjusted(2, 2, -2, -2))
        if take.slot:
            badge = QRect(picture.left(), picture.top(), 14, 14)
            painter.fillRect(badge, QColor(tokens.accent))
            painter.setPen(QColor(tokens.on_accent))
            painter.drawText(badge, Qt.AlignmentFlag.AlignCenter, take.slot)
        painter.restore()


class TakesList(QListView):
    """Click or Enter brings a take back; S, F2 and Del as everywhere."""

    def __init__(self, takes: Takes, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.takes = takes
        self.rows = TakesModel(takes)
        self.setModel(self.rows)
        self.setItemDelegate(TakeRow(self))
        self.setUniformItemSizes(True)
        self.setMouseTracking(True)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setEditTriggers(QAbstractItemView.EditTrigger.EditKeyPressed)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.customContextMenuRequested.connect(lambda at: self._menu(self.indexAt(at)))
        self.setAccessibleName(self.tr("Takes"))
        theme.themes.changed.connect(self._dress)

    def _dress(self) -> None:
        self.viewport().update()

    def chosen(self) -> Take | None:
        """The take of the current row."""
        return self.rows.take(self.currentIndex())

    def _again(self, take: Take | None, do: object) -> None:
        """Do something that lays the rows anew, and stay on the same one."""
        row = self.currentIndex().row()
        if take is not None and callable(do):
            do(take)
            self.setCurrentIndex(self.rows.index(min(row, self.rows.rowCount() - 1)))

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        super().mouseReleaseEvent(event)
        index = self.indexAt(event.position().toPoint())
        take = self.rows.take(index)
        if take is None or event.button() != Qt.MouseButton.LeftButton:
            return
        if TakeRow.star_rect(self.visualRect(index)).contains(event.position().toPoint()):
            self._again(take, self.takes.star)
        else:
            self.takes.restore(take)

    def event(self, event: QEvent) -> bool:
        asks = isinstance(event, QKeyEvent) and event.type() == QEvent.Type.ShortcutOverride
        if asks and isinstance(event, QKeyEvent) and event.key() in OWN_KEYS:
            event.accept()
            return True
        return super().event(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        take = self.chosen()
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and take is not None:
            self.takes.restore(take)
        elif event.key() == Qt.Key.Key_S:
            self._again(take, self.takes.star)
        elif event.key() == Qt.Key.Key_Delete:
            self._again(take, self.takes.remove)
        else:
            super().keyPressEvent(event)

    def _menu(self, index: QModelIndex) -> None:
        take = self.rows.take(index)
        if take is None:
            return
        menu = QMenu(self)
        menu.addAction(self.tr("Bring back"), lambda: self.takes.restore(take))
        menu.addAction(
            self.tr("Take the star away") if take.starred else self.tr("Star"), lambda: self.takes.star(take)
        )
        menu.addAction(self.tr("Rename"), lambda: self.edit(index))
        for i, slot in enumerate(SLOTS):
            menu.addAction(self.tr("Key {0}").format(i + 1), partial(self.takes.put_in_slot, take, slot))
        if take.slot:
            menu.addAction(self.tr("No key"), lambda: self.takes.put_in_slot(take, ""))
        menu.addAction(self.tr("Forget"), lambda: self.takes.remove(take))
        menu.popup(self.viewport().mapToGlobal(self.visualRect(index).center()))


class TakesPanel(QWidget):
    """Two buttons, the grid while it is wanted, the list."""

    def __init__(self, takes: Takes, variations: Variations, actions: Mapping[str, QAction]) -> None:
        super().__init__()
        self.setObjectName("takes")
        self.setFixedWidth(WIDTH)
        self.list = TakesList(takes)
        self.grid = VariationsGrid(variations)
        self._empty = QLabel(
            self.tr("What the model makes of the song is kept here. Move a slider, or press V for a variation.")
        )
        self._empty.setProperty("dim", True)
        self._empty.setWordWrap(True)
        self._empty.setAlignment(Qt.AlignmentFlag.AlignTop)
        self._empty.setContentsMargins(16, 8, 16, 8)
        self._buttons = [
            (self._button(actions[name]), icon) for name, icon in (("keep_take", "star"), ("grid", "grid"))
        ]
        row = QHBoxLayout()
        row.setContentsMargins(8, 4, 8, 4)
        row.setSpacing(4)
        for button, _ in self._buttons:
            row.addWidget(button)
        row.addStretch(1)
        self._pages = QStackedWidget(self)
        self._pages.addWidget(self._empty)
        self._pages.addWidget(self.list)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addLayout(row)
        layout.addWidget(self.grid)
        layout.addWidget(self._pages, 1)
        takes.changed.connect(self._follow)
        theme.themes.changed.connect(self._dress)
        self._takes = takes
        self._follow()
        self._dress()

    @staticmethod
    def _button(action: QAction) -> QToolButton:
        button = QToolButton()
        button.setText(action.text())
        button.setAccessibleName(action.text())
        button.setToolTip(f"{action.text()} ({action.shortcut().toString()})")
        button.setIconSize(QSize(20, 20))
        button.setFixedSize(32, 32)
        button.clicked.connect(action.trigger)
        action.changed.connect(lambda: button.setEnabled(action.isEnabled()))
        return button

    def _follow(self) -> None:
        self._pages.setCurrentWidget(self.list if self._takes.items else self._empty)

    def _dress(self) -> None:
        for button, icon in self._buttons:
            button.setIcon(theme.icon(icon, theme.current().text))
