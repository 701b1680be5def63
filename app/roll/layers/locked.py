"""The mark of locked notes: a bracket at both ends and, where there is room, a small padlock. A shape, not a colour."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QPainter, QPen, QPolygonF

from app.roll.colours import ink_colours, level_of
from app.roll.coordinates import Coordinates
from app.roll.layers.notes import rects_of
from app.roll.state import RollState
from app.theme import Theme
from engine.score.edit import Rows

ROOM = 13.0  # pixels of width and, less two, of height that a padlock asks for


def paint(painter: QPainter, roll: RollState, view: Coordinates, rows: Rows, theme: Theme, ratio: float) -> None:
    """Mark those of `rows` that are locked."""
    held = np.intersect1d(rows, roll.document.locked_rows)
    if not len(held):
        return
    inks = ink_colours(theme)
    levels, hues = level_of(roll.index.velocity[held]), roll.index.track[held] % len(theme.track_hues)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setBrush(Qt.BrushStyle.NoBrush)
    for (x, y, w, h), level, hue in zip(rects_of(view, roll.index, held, ratio).tolist(), levels, hues, strict=True):
        ink = inks[int(hue)][int(level)]
        painter.setPen(QPen(ink, 1.5))
        for side, foot in ((x + 1.5, min(3.0, w / 3)), (x + w - 1.5, -min(3.0, w / 3))):
            painter.drawPolyline(
                QPolygonF(
                    [
                        QPointF(side + foot, y + 1.5),
                        QPointF(side, y + 1.5),
                        QPointF(side, y + h - 1.5),
                        QPointF(side + foot, y + h - 1.5),
                    ]
                )
            )
        if w >= ROOM + 8 and h >= ROOM - 2:
            middle = y + h / 2
            painter.drawArc(QRectF(x + w - 11, middle - 4.5, 4, 5), 0, 180 * 16)
            painter.fillRect(QRectF(x + w - 12, middle - 1.5, 6, 4.5), ink)
