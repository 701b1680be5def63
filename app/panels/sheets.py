"""The sheet of keys and gestures (F1) and the searchable palette (Ctrl+P), both made from the tables of
`app.actions` and `app.roll.shortcuts`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from PySide6.QtCore import QEvent, QObject, QSize, Qt
from PySide6.QtGui import QColor, QKeyEvent
from PySide6.QtWidgets import (
    QDialog,
    QGridLayout,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QLineEdit,
    QScrollArea,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from app import theme
from app.actions import GESTURES, MENUS, VERBS
from app.commands import OF_THE_WINDOW, Command
from app.roll.shortcuts import SHORTCUTS

COLUMNS, SCROLL_BAR = 4, 12
Groups = Mapping[str, Sequence[tuple[str, str]]]


def in_columns(groups: Groups, count: int) -> list[Groups]:
    """The groups in their order, in columns of about the same height."""
    lines = sum(len(group) + 1 for group in groups.values())
    columns: list[dict[str, Sequence[tuple[str, str]]]] = [{} for _ in range(count)]
    before = 0
    for title, group in groups.items():
        middle = before + (len(group) + 1) / 2
        columns[min(int(middle * count / lines), count - 1)][title] = group
        before += len(group) + 1
    return list(columns)


class ShortcutSheet(QDialog):
    """All keys and gestures on one page."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(self.tr("Keys and gestures"))
        window = {menu: [(v.text, ", ".join(v.keys)) for v in VERBS if v.menu == menu and v.keys] for menu in MENUS}
        roll: dict[str, list[tuple[str, str]]] = {}
        for shortcut in SHORTCUTS:
            if shortcut.group != OF_THE_WINDOW:
                roll.setdefault(f"Roll: {shortcut.group.lower()}", []).append((shortcut.text, ", ".join(shortcut.keys)))
        groups = {title: lines for title, lines in (window | roll | GESTURES).items() if lines}
        inner = QWidget()
        row = QHBoxLayout(inner)
        row.setContentsMargins(24, 24, 24, 24)
        row.setSpacing(40)
        for column in in_columns(groups, COLUMNS):
            row.addLayout(self._column(column))
        area = QScrollArea()
        area.setWidget(inner)
        area.setWidgetResizable(True)
        area.setAccessibleName(self.windowTitle())
        column_of_it = QVBoxLayout(self)
        column_of_it.setContentsMargins(0, 0, 0, 0)
        column_of_it.addWidget(area)
        room = self.screen().availableSize() * 0.95
        self.resize((inner.sizeHint() + QSize(SCROLL_BAR, SCROLL_BAR)).boundedTo(room))

    @staticmethod
    def _column(groups: Mapping[str, Sequence[tuple[str, str]]]) -> QGridLayout:
        grid = QGridLayout()
        grid.setHorizontalSpacing(16)
        grid.setVerticalSpacing(3)
        row = 0
        for title, lines in groups.items():
            heading = QLabel(title)
            heading.setProperty("strong", True)
            heading.setContentsMargins(0, 8 if row else 0, 0, 0)
            grid.addWidget(heading, row, 0, 1, 2)
            for what, keys in lines:
                row += 1
                grid.addWidget(QLabel(what.rstrip("…")), row, 0)
                label = QLabel(keys)
                label.setProperty("dim", True)
                grid.addWidget(label, row, 1)
            row += 1
        grid.setRowStretch(row, 1)
        return grid


class Palette(QDialog):
    """Type a few letters, Enter does it. What cannot be done now is there too, dim, and says why."""

    def __init__(self, commands: Iterable[Command], parent: QWidget | None = None) -> None:
        super().__init__(parent, Qt.WindowType.Popup)
        self.setObjectName("popover")
        self.setAccessibleName(self.tr("Find a command"))
        self.setFixedSize(440, 376)
        self._commands = [command for command in commands if command.name != "palette"]
        self.search = QLineEdit()
        self.search.setPlaceholderText(self.tr("Find a command"))
        self.search.setAccessibleName(self.tr("Find a command"))
        self.search.textChanged.connect(self._filter)
        self.search.installEventFilter(self)
        self.found = QTreeWidget()
        self.found.setObjectName("palette")
        self.found.setColumnCount(2)
        self.found.setHeaderHidden(True)
        self.found.setRootIsDecorated(False)
        self.found.setAccessibleName(self.tr("Commands"))
        self.found.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.found.header().setStretchLastSection(False)
        self.found.header().setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self.found.header().setSectionResizeMode(1, QHeaderView.ResizeMode.ResizeToContents)
        self.found.itemClicked.connect(self._run)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 8, 8, 8)
        layout.setSpacing(8)
        layout.addWidget(self.search)
        layout.addWidget(self.found)
        self._filter("")
        self.search.setFocus()

    def _filter(self, text: str) -> None:
        self.found.clear()
        words = text.lower().split()
        fitting = [c for c in self._commands if all(word in c.text.lower() for word in words)]
        fitting.sort(key=lambda c: not c.action.isEnabled())  # what can be done comes first
        for command in fitting:
            item = QTreeWidgetItem([command.text, command.key])
            item.setData(0, Qt.ItemDataRole.UserRole, command)
            item.setForeground(1, QColor(theme.current().text_dim))
            if not command.action.isEnabled():
                item.setDisabled(True)
                why = command.action.toolTip()
                item.setText(0, f"{command.text}: {why}" if why != command.action.text() else command.text)
                item.setToolTip(0, why)
            self.found.addTopLevelItem(item)
        self._step(0)

    def _run(self, item: QTreeWidgetItem | None) -> None:
        if item is None or item.isDisabled():
            return
        self.close()
        item.data(0, Qt.ItemDataRole.UserRole).action.trigger()

    def _step(self, by: int) -> None:
        here = self.found.currentIndex().row() if by else 0
        wanted = self.found.topLevelItem((here + by) % max(self.found.topLevelItemCount(), 1))
        if wanted is not None:
            self.found.setCurrentItem(wanted)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if isinstance(event, QKeyEvent) and event.type() == QEvent.Type.KeyPress:
            if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
                self._run(self.found.currentItem())
                return True
            if event.key() in (Qt.Key.Key_Up, Qt.Key.Key_Down):
                self._step(1 if event.key() == Qt.Key.Key_Down else -1)
                return True
        return super().eventFilter(watched, event)
