"""A cached picture of a widget that keeps its memory: a fresh one for every frame would cost more than painting."""

from __future__ import annotations

from PySide6.QtGui import QPixmap
from PySide6.QtWidgets import QWidget


class Picture:
    """Ask `ready` for the pixmap; paint it anew when told that it is old."""

    def __init__(self) -> None:
        self._pixmap = QPixmap()
        self._is_old = True

    def forget(self) -> None:
        """What it shows has changed."""
        self._is_old = True

    def ready(self, widget: QWidget, ratio: float) -> tuple[QPixmap, bool]:
        """(the pixmap, in the widget's size at this pixel ratio; whether it has to be painted now)."""
        if self._pixmap.size() != widget.size() * ratio or self._pixmap.devicePixelRatio() != ratio:
            self._pixmap = QPixmap(widget.size() * ratio)
            self._pixmap.setDevicePixelRatio(ratio)
            self._is_old = True
        is_old, self._is_old = self._is_old, False
        return self._pixmap, is_old
