"""The window: menus, transport, strips and docks put in their places. It shows; `app.studio` decides."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QEvent, QMimeData, Qt, Signal
from PySide6.QtGui import QAction, QCloseEvent, QDragEnterEvent, QDropEvent, QKeyEvent, QKeySequence
from PySide6.QtWidgets import (
    QAbstractButton,
    QDockWidget,
    QFrame,
    QHBoxLayout,
    QLabel,
    QMainWindow,
    QMenuBar,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from app import theme
from app.actions import MENUS, VERBS
from app.panels.strips import MessageStrip, StartStrip
from app.panels.transport import TransportBar

SIZE = (1280, 800)


class Window(QMainWindow):
    """Places for everything; holds the actions by name."""

    dropped = Signal(object)  # Path of a file or a folder

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("morphony")
        self.setWindowTitle("Morphony")
        self.setWindowIcon(theme.icon("morphony", theme.current().accent))
        self.resize(*SIZE)
        self.setMinimumSize(960, 600)
        self.setAcceptDrops(True)
        self.setDockNestingEnabled(False)
        self.may_close: Callable[[], bool] = lambda: True
        self.actions_by_name = {verb.name: self._action(verb.name) for verb in VERBS}
        self.transport = TransportBar(self.actions_by_name)
        self.start_strip = StartStrip()
        self.messages = MessageStrip()
        self._middle = QVBoxLayout()
        self._lay_out()

    def __getitem__(self, name: str) -> QAction:
        return self.actions_by_name[name]

    def _action(self, name: str) -> QAction:
        verb = next(v for v in VERBS if v.name == name)
        action = QAction(self.tr(verb.text), self)
        action.setObjectName(f"action_{name}")
        action.setCheckable(verb.checkable)
        action.setShortcuts([QKeySequence(k) for k in verb.keys])
        action.setShortcutContext(Qt.ShortcutContext.WindowShortcut)
        self.addAction(action)
        return action

    def _lay_out(self) -> None:
        menus = QMenuBar()
        menus.setNativeMenuBar(True)
        self.menus = {name: menus.addMenu(self.tr(name)) for name in MENUS}
        for name, menu in self.menus.items():
            menu.setToolTipsVisible(True)  # a command that rests says why
            for verb in VERBS:
                if verb.menu == name:
                    if verb.line_before:
                        menu.addSeparator()
                    menu.addAction(self.actions_by_name[verb.name])
        top = QWidget()
        column = QVBoxLayout(top)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(menus)
        column.addWidget(self.transport)
        self.setMenuWidget(top)
        self._middle.setContentsMargins(0, 0, 0, 0)
        self._middle.setSpacing(0)
        self._middle.addWidget(self.start_strip)
        self._middle.addWidget(self.messages)
        middle = QWidget()
        middle.setLayout(self._middle)
        self.setCentralWidget(middle)
        self.setCorner(Qt.Corner.BottomLeftCorner, Qt.DockWidgetArea.LeftDockWidgetArea)

    def enable(self, name: str, why_not: str) -> None:
        """Let an action be done, or say in its tip why it cannot."""
        action = self.actions_by_name[name]
        action.setToolTip(why_not or action.text())
        action.setEnabled(not why_not)

    def set_roll(self, roll: QWidget) -> None:
        """The hero, between the strips."""
        self._middle.insertWidget(1, roll, 1)

    def add_strip(self, strip: QWidget) -> None:
        """A strip under the roll, over the messages."""
        self._middle.insertWidget(self._middle.indexOf(self.messages), strip)

    def add_dock(
        self, name: str, title: str, panel: QWidget | Callable[[], QWidget], area: Qt.DockWidgetArea
    ) -> QDockWidget:
        """Dock `panel`, or what it makes when the dock is first seen; the action `name` shows and hides it."""
        dock = QDockWidget(title, self)
        dock.setObjectName(f"dock_{name}")
        dock.setWidget(panel if isinstance(panel, QWidget) else QWidget())
        dock.setFeatures(
            QDockWidget.DockWidgetFeature.DockWidgetClosable | QDockWidget.DockWidgetFeature.DockWidgetMovable
        )
        dock.setTitleBarWidget(DockTitle(title, dock))
        self.addDockWidget(area, dock)
        if not isinstance(panel, QWidget):
            waiting = [panel]  # once

            def fill(seen: bool) -> None:
                if seen and waiting:
                    dock.setWidget(waiting.pop()())

            dock.visibilityChanged.connect(fill)
        action = self.actions_by_name[name]
        action.toggled.connect(dock.setVisible)
        action.toggled.connect(lambda on: dock.raise_() if on else None)  # before the others of its tabs
        dock.visibilityChanged.connect(lambda _: action.setChecked(not dock.isHidden()))
        return dock

    def name_song(self, name: str, dirty: bool) -> None:
        """Show the song's name and whether it is unsaved in the title."""
        self.setWindowTitle(f"{name}[*] - Morphony")
        self.setWindowModified(dirty)

    # Things dropped on it

    @staticmethod
    def _paths(data: QMimeData) -> list[Path]:
        return [Path(url.toLocalFile()) for url in data.urls() if url.isLocalFile()]

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if self._paths(event.mimeData()):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        for path in self._paths(event.mimeData())[:1]:
            event.acceptProposedAction()
            self.dropped.emit(path)

    def event(self, event: QEvent) -> bool:
        """Space presses the button that Tab has led to; anywhere else it plays."""
        is_space = isinstance(event, QKeyEvent) and event.key() == Qt.Key.Key_Space
        if (
            is_space
            and event.type() == QEvent.Type.ShortcutOverride
            and isinstance(self.focusWidget(), QAbstractButton)
        ):
            event.accept()
            return True
        return super().event(event)

    def closeEvent(self, event: QCloseEvent) -> None:
        if self.may_close():
            event.accept()
        else:
            event.ignore()


class DockTitle(QFrame):
    """A quiet title for a dock: a word, and a button that folds it away."""

    def __init__(self, title: str, dock: QDockWidget) -> None:
        super().__init__(dock)
        self.setObjectName("dock_title")
        self.setFixedHeight(32)
        label = QLabel(title)
        label.setProperty("strong", True)
        self._close = QToolButton()
        self._close.setAccessibleName(self.tr("Fold {0} away").format(title))
        self._close.setToolTip(self._close.accessibleName())
        self._close.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self._close.clicked.connect(dock.hide)
        row = QHBoxLayout(self)
        row.setContentsMargins(16, 0, 8, 0)
        row.addWidget(label, 1)
        row.addWidget(self._close)
        theme.themes.changed.connect(self._dress)
        self._dress()

    def _dress(self) -> None:
        self._close.setIcon(theme.icon("close", theme.current().text_dim))
