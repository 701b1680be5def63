"""What Morphony is, whose work it stands on, and where the licences are."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QDialog, QDialogButtonBox, QLabel, QVBoxLayout, QWidget

from app import theme


def version() -> str:
    """The version as packaged; from a bare checkout there is none."""
    try:
        return metadata.version("morphony")
    except metadata.PackageNotFoundError:
        return ""


def licences() -> Path | None:
    """THIRD-PARTY.txt beside a bundled program."""
    path = Path(sys.executable).resolve().parent / "THIRD-PARTY.txt"
    return path if getattr(sys, "frozen", False) and path.exists() else None


class AboutDialog(QDialog):
    """One page of plain words."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(self.tr("About Morphony"))
        self.setFixedWidth(464)
        title = QLabel(f"Morphony {version()}".strip())
        title.setFont(theme.figures(theme.current().font_large))
        words = [
            self.tr("A studio for morphing symbolic music. Apache License 2.0; no network, no account, no telemetry."),
            self.tr(
                "It stands on the work of others. Qt, PySide6, FluidSynth, glib and JACK are under the GNU Lesser "
                "General Public License: they are shared libraries, files of their own, and you may replace each of "
                "them by another build of the same name."
            ),
        ]
        found = licences()
        if found is not None:
            words.append(self.tr("All licences with their texts: {0}").format(found))
        column = QVBoxLayout(self)
        column.setContentsMargins(24, 24, 24, 16)
        column.setSpacing(16)
        column.addWidget(title)
        for sentence in words:
            label = QLabel(sentence)
            label.setWordWrap(True)
            label.setTextFormat(Qt.TextFormat.PlainText)
            label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
            column.addWidget(label)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.reject)
        column.addWidget(buttons)
