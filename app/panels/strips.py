"""Two strips about the roll: the first actions above it, messages below. Neither ever blocks the window."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QSize, Qt, QTimer, Signal
from PySide6.QtGui import QAccessible, QAccessibleAnnouncementEvent, QAction
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QToolButton, QWidget

from app import theme

NOTICE_MS = 6000
Message = tuple[str, bool, str, Callable[[], object] | None]  # sentence, problem or notice, button, what it does


class StartStrip(QFrame):
    """Three large first actions; goes away for good when dismissed."""

    dismissed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("start_strip")
        self.setFixedHeight(64)
        self._icons: list[tuple[QPushButton, str, bool]] = []
        self._row = QHBoxLayout(self)
        self._row.setContentsMargins(16, 8, 8, 8)
        self._row.setSpacing(8)
        self._close = QToolButton()
        self._close.setAccessibleName(self.tr("Dismiss"))
        self._close.setToolTip(self.tr("Dismiss; these are also in the menus"))
        self._close.clicked.connect(self.dismissed)
        self._row.addStretch(1)
        self._row.addWidget(self._close)
        theme.themes.changed.connect(self._dress)
        self._dress()

    def add(self, name: str, text: str, icon: str, action: QAction, primary: bool = False) -> QPushButton:
        """Add a large button that triggers `action` and is enabled with it."""
        button = QPushButton(f"\N{EN SPACE}{text}")
        button.setAccessibleName(text)
        button.setObjectName(f"start_{name}")
        button.setProperty("primary", primary)
        button.setProperty("large", True)
        button.setIconSize(QSize(20, 20))
        button.clicked.connect(action.trigger)

        def follow() -> None:
            button.setEnabled(action.isEnabled())
            button.setToolTip(action.toolTip() if not action.isEnabled() else "")

        action.changed.connect(follow)
        follow()
        self._icons.append((button, icon, primary))
        self._row.insertWidget(self._row.count() - 2, button)
        self._dress()
        return button

    def show_playing(self, playing: bool) -> None:
        """The first action pauses while music plays."""
        button, _, primary = self._icons[0]
        self._icons[0] = (button, "pause" if playing else "play", primary)
        button.setText(f"\N{EN SPACE}{self.tr('Pause') if playing else self.tr('Play')}")
        button.setAccessibleName(button.text().strip())
        self._dress()

    def _dress(self) -> None:
        tokens = theme.current()
        for button, icon, primary in self._icons:
            button.setIcon(theme.icon(icon, tokens.on_accent if primary else tokens.text))
        self._close.setIcon(theme.icon("close", tokens.text_dim))


class MessageStrip(QFrame):
    """One sentence at a time. A problem stays until dismissed, a notice goes by itself."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("message_strip")
        self.setMinimumHeight(40)
        self._icon = QLabel()
        self.text = QLabel()
        self.text.setTextFormat(Qt.TextFormat.PlainText)
        self.text.setMinimumWidth(80)
        self.text.setWordWrap(True)  # a long sentence takes a second line rather than lose its end
        self._act = QPushButton()
        self._then: Callable[[], object] = lambda: None
        self._act.clicked.connect(self._run)
        self._close = QToolButton()
        self._close.setAccessibleName(self.tr("Dismiss"))
        self._close.clicked.connect(self._next)
        row = QHBoxLayout(self)
        row.setContentsMargins(16, 4, 8, 4)
        row.setSpacing(8)
        row.addWidget(self._icon)
        row.addWidget(self.text, 1)
        row.addWidget(self._act)
        row.addWidget(self._close)
        self._timer = QTimer(self, singleShot=True, interval=NOTICE_MS)
        self._timer.timeout.connect(self._next)
        self._waiting: list[Message] = []
        self._shown: Message = ("", False, "", None)
        self._bad = False
        theme.themes.changed.connect(self._dress)
        self.hide()

    def notice(self, sentence: str, action: str = "", then: Callable[[], object] | None = None) -> None:
        """Say something that needs no answer; it goes away by itself."""
        self._say(sentence, False, action, then)

    def problem(self, sentence: str, action: str = "", then: Callable[[], object] | None = None) -> None:
        """Say what does not work; it stays until dismissed, and other problems wait behind it."""
        self._say(sentence, True, action, then)

    def solved(self, sentence: str) -> None:
        """Take a problem back that is no more."""
        self._waiting = [message for message in self._waiting if message[0] != sentence]
        if self._bad and self._shown[0] == sentence:
            self._next()

    def _say(self, sentence: str, bad: bool, action: str, then: Callable[[], object] | None) -> None:
        message = (sentence, bad, action, then)
        if not self.isHidden() and self._bad:
            if bad:
                if all(sentence != waiting[0] for waiting in (self._shown, *self._waiting)):
                    self._waiting.append(message)
                return
            self._waiting.insert(0, self._shown)  # a notice goes by itself, and the problem is back
        self._bad, self._shown = bad, message
        self.text.setText(sentence)
        self.text.setToolTip(sentence)
        self.setAccessibleName(sentence)
        QAccessible.updateAccessibility(QAccessibleAnnouncementEvent(self, sentence))
        self._act.setVisible(bool(action))
        self._act.setText(action)
        self._then = then or (lambda: None)
        self._dress()
        self.show()
        self._timer.stop() if bad else self._timer.start()

    def _run(self) -> None:
        then = self._then
        self._next()
        then()

    def _next(self) -> None:
        self.hide()
        self._bad = False
        if self._waiting:
            self._say(*self._waiting.pop(0))

    def _dress(self) -> None:
        tokens = theme.current()
        colour = tokens.danger if self._bad else tokens.accent
        self._icon.setPixmap(theme.icon("warning" if self._bad else "morphony", colour).pixmap(20, 20))
        self._close.setIcon(theme.icon("close", tokens.text_dim))
