"""The sheet of keys and gestures (F1) and the searchable palette (Ctrl+P), both made from `app.actions`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PySide6.QtCore import QEvent, QObject, Qt
from PySide6.QtGui import QAction, QKeyEvent
from PySide6.QtWidgets import (
    QDialog,
    QGridLayout,
    QHBoxLayout,
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
        window = {menu: [(v.text, ", ".join(v.keys)) for v in VERBS if v.menu == menu and v.keys] for menu in MENUS}
        roll: dict[str, list[tuple[str, str]]] = {}
        for shortcut in SHORTCUTS:
            if shortcut.group != "Play":  # the window has these keys
                roll.setdefault(f"Roll: {shortcut.group.lower()}", []).append((shortcut.text, ", ".join(shortcut.keys)))
        titles = list(roll)
        first, second = titles[: len(titles) // 2], titles[len(titles) // 2 :]
        columns = (window, {t: roll[t] for t in first} | GESTURES, {t: roll[t] for t in second})
        row = QHBoxLayout(self)
        row.setContentsMargins(24, 24, 24, 24)
        row.setSpacing(40)
        for groups in columns:
            row.addLayout(self._column(groups))

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
