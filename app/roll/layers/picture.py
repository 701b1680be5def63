"""A cached picture of a widget that keeps its memory: a fresh one for every frame would cost more than painting.

One that only scrolled is moved, and what came into sight is painted.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final

from PySide6.QtCore import QRect
from PySide6.QtGui import QPixmap
from PySide6.QtWidgets import QWidget

from app.roll.coordinates import Coordinates

NEARLY: Final = 1e-3  # of a pixel


class Picture:
    """Ask `ready` for the pixmap; paint it anew when told that it is old."""

    def __init__(self) -> None:
        self._pixmap = QPixmap()
        self._is_old = True

    def moved(self, before: Coordinates | None, now: Coordinates) -> QRect | None:
        """Move what is painted as the view moved; the part to be painted now, in pixels, None where all has to be.

        Only a shift in time by whole device pixels leaves what stays in sight as it was.
        """
        ratio = self._pixmap.devicePixelRatio()
        if before is None or self._pixmap.isNull() or replace(before, left=now.left, extent=now.extent) != now:
            return None
        shift = (now.left - before.left) * now.px_per_tick * ratio
        across = round(shift)
        width, height = self._pixmap.width(), self._pixmap.height()
        if abs(shift - across) > NEARLY or not 0 < abs(across) < width // 2:
            return None
        self._pixmap.scroll(-across, 0, QRect(0, 0, width, height))
        strip = math.ceil(abs(across) / ratio) + 1  # a pixel more: what lay on the edge was cut
        left = math.floor(width / ratio) - strip if across > 0 else 0
        self._is_old = False
        return QRect(left, 0, strip, math.ceil(height / ratio))

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
