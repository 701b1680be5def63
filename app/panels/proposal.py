"""The strip under the roll while a proposal is made or shown: what it is, how far it is, and its four answers.

Shows a `Proposals`; its buttons trigger actions it is given.
"""

from __future__ import annotations

from collections.abc import Mapping

from PySide6.QtCore import Qt
from PySide6.QtGui import QAccessible, QAccessibleAnnouncementEvent, QAction
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QProgressBar, QPushButton, QWidget

from app import theme
from app.proposals import Proposals, Stage

HEIGHT = 48


class ProposalStrip(QFrame):
    """There only while there is something to answer."""

    def __init__(self, proposals: Proposals, actions: Mapping[str, QAction], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.proposals = proposals
        self.setObjectName("proposal_strip")
        self.setFixedHeight(HEIGHT)
        self._mark = QLabel()
        self._mark.setFixedSize(12, 12)
        self.words = QLabel()
        self.words.setMinimumWidth(120)
        self.count = QLabel()
        self.count.setProperty("dim", True)
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setFixedWidth(160)
        self.bar.setAccessibleName(self.tr("How far the proposal is"))
        self.accept_button = self._button(self.tr("Accept"), self.tr("Enter"), actions["accept"])
        self.accept_button.setProperty("primary", True)
        self.next_button = self._button(self.tr("Next"), "N", actions["next_proposal"])
        self.previous_button = self._button(self.tr("Previous"), self.tr("Shift+N"), actions["last_proposal"])
        self.reject_button = self._button(self.tr("Reject"), self.tr("Esc"), actions["reject"])
        row = QHBoxLayout(self)
        row.setContentsMargins(16, 6, 8, 6)
        row.setSpacing(8)
        for shown in (self._mark, self.words, self.bar, self.count):
            row.addWidget(shown)
        row.addStretch(1)
        for button in (self.accept_button, self.next_button, self.previous_button, self.reject_button):
            row.addWidget(button)
        proposals.changed.connect(self.show_stage)
        theme.themes.changed.connect(self._dress)
        self._dress()
        self.show_stage()

    @staticmethod
    def _button(text: str, key: str, action: QAction) -> QPushButton:
        button = QPushButton(text)
        button.setAccessibleName(text)
        button.setToolTip(f"{action.text()} ({key})")
        button.clicked.connect(action.trigger)
        return button

    def show_stage(self) -> None:
        """Follow the proposals."""
        proposals, was_hidden = self.proposals, self.isHidden()
        making = proposals.stage is Stage.MAKING
        self.setVisible(proposals.stage is not Stage.NONE)
        if proposals.stage is Stage.NONE:
            return
        self.words.setText(self.tr("{0}…").format(proposals.words) if making else proposals.words)
        self.bar.setVisible(making)
        self.bar.setRange(0, proposals.bars_in_all if proposals.bars_done else 0)  # 0, 0: how far is not known yet
        self.bar.setValue(proposals.bars_done)
        self.count.setVisible(bool(proposals.seen))
        place = self.tr("{0} of {1}").format(proposals.at + 1, len(proposals.seen))
        self.count.setText(place if making else self.tr("{0}   Enter accepts, N next, Esc rejects").format(place))
        for button in (self.accept_button, self.next_button, self.previous_button):
            button.setVisible(not making)
        self.previous_button.setEnabled(proposals.at > 0)
        self.previous_button.setToolTip(
            self.tr("The one before (Shift+N)") if proposals.at > 0 else self.tr("This is the first one.")
        )
        self.reject_button.setText(self.tr("Cancel") if making else self.tr("Reject"))
        self.reject_button.setAccessibleName(self.reject_button.text())
        if was_hidden or not making:
            words = (
                self.words.text() if making else self.tr("{0}: Enter accepts, Esc rejects").format(self.words.text())
            )
            self.setAccessibleName(words)
            QAccessible.updateAccessibility(QAccessibleAnnouncementEvent(self, words))

    def _dress(self) -> None:
        pixmap = theme.icon("proposal", theme.current().proposal).pixmap(12, 12)
        self._mark.setPixmap(pixmap)
        self._mark.setAlignment(Qt.AlignmentFlag.AlignCenter)
