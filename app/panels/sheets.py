"""The sheet of keys and gestures (F1) and the searchable palette (Ctrl+P), both made from `app.actions`."""

from __future__ import annotations

from collections.abc import Mapping

from PySide6.QtCore import QEvent, QObject, Qt
from PySide6.QtGui import QAction, QKeyEvent
from PySide6.QtWidgets import (
    QDialog,
    QGridLayout,
    QLabel,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QVBoxLayout,
    QWidget,
)

from app.actions import GESTURES, MENUS, VERBS
from app.roll.shortcuts import SHORTCUTS


class ShortcutSheet(QDialog):
    """All keys and gestures on one page."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(self.tr("Keys and gestures"))
        grid = QGridLayout(self)
        grid.setContentsMargins(24, 24, 24, 24)
        grid.setHorizontalSpacing(24)
        grid.setVerticalSpacing(6)
        groups = {menu: [(v.text, " or ".join(v.keys)) for v in VERBS if v.menu == menu and v.keys] for menu in MENUS}
        self._fill(grid, 0, groups)
        self._fill(grid, 3, {"Roll": [(s.text, ", ".join(s.keys)) for s in SHORTCUTS if s.keys]})
        self._fill(grid, 6, GESTURES)
        for gap in (2, 5):
            grid.setColumnMinimumWidth(gap, 24)

    @staticmethod
    def _fill(grid: QGridLayout, column: int, groups: Mapping[str, object]) -> None:
        row = 0
        for title, lines in groups.items():
            heading = QLabel(title)
            heading.setProperty("strong", True)
            grid.addWidget(heading, row, column, 1, 2)
            for what, keys in lines:  # type: ignore[attr-defined]
                row += 1
                grid.addWidget(QLabel(what.rstrip("…")), row, column)
                label = QLabel(keys)
                label.setProperty("dim", True)
                grid.addWidget(label, row, column + 1)
            row += 1


class Palette(QDialog):
    """Type a few letters, Enter does it."""

    def __init__(self, actions: Mapping[str, QAction], parent: QWidget | None = None) -> None:
        super().__init__(parent, Qt.WindowType.Popup)
        self.setObjectName("popover")
        self.setFixedSize(440, 376)
        self._actions = actions
        self.search = QLineEdit()
        self.search.setPlaceholderText(self.tr("Find a command"))
        self.search.textChanged.connect(self._filter)
        self.search.installEventFilter(self)
        self.found = QListWidget()
        self.found.setFocusPolicy(Qt.FocusPolicy.NoFocus)
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
        for verb in VERBS:
            action = self._actions[verb.name]
            fits = all(word in verb.text.lower() for word in text.lower().split())
            if fits and verb.name != "palette" and action.isEnabled():
                item = QListWidgetItem(verb.text.rstrip("…") + (f"     {verb.keys[0]}" if verb.keys else ""))
                item.setData(Qt.ItemDataRole.UserRole, verb.name)
                self.found.addItem(item)
        self.found.setCurrentRow(0)

    def _run(self, item: QListWidgetItem | None) -> None:
        self.close()
        if item is not None:
            self._actions[item.data(Qt.ItemDataRole.UserRole)].trigger()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if isinstance(event, QKeyEvent) and event.type() == QEvent.Type.KeyPress:
            if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
                self._run(self.found.currentItem())
                return True
            if event.key() in (Qt.Key.Key_Up, Qt.Key.Key_Down):
                step = 1 if event.key() == Qt.Key.Key_Down else -1
                self.found.setCurrentRow((self.found.currentRow() + step) % max(self.found.count(), 1))
                return True
        return super().eventFilter(watched, event)
