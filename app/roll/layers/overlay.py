"""What lies over the notes and moves: ghosts, the proposal, glowing changes, the note pointed at, the playhead."""

from __future__ import annotations

import math
import time
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QPointF, QRect, QRectF, Qt
from PySide6.QtGui import QColor, QImage, QPainter, QPen, QPolygonF
from PySide6.QtWidgets import QWidget

from app.roll.colours import faded
from app.roll.coordinates import Coordinates
from app.roll.index import NOBODY, NoteIndex
from app.roll.layers.notes import FEW, MANY, rects_of
from app.roll.layers.rects import fill
from app.roll.state import RollState
from app.theme import Theme, current
from engine.score.edit import Rows

GLOW_STEPS = 12
GLOW_LAYERS = ((4.0, 0.16), (2.0, 0.24), (0.0, 0.75))  # pixels beyond the note, opacity
GLOW_PX = 8  # more than a glow reaches beyond its note
PLAYHEAD_PX = 8  # half the width of what the playhead paints, mark in the ruler included


def paint_ghosts(painter: QPainter, roll: RollState, view: Coordinates, theme: Theme, ratio: float) -> None:
    """The notes that the last change took away, dim."""
    if not roll.show_ghosts:
        return
    rows = _visible(view, roll.traces.ghosts)
    if 0 < len(rows) <= MANY:
        _shapes(painter, rects_of(view, roll.traces.ghosts, rows, ratio), faded(theme.text_dim, 0.17))


def paint_changes(painter: QPainter, roll: RollState, theme: Theme, ratio: float, where: QRect) -> None:
    """The proposal as a translucent layer, a glow on every note that changed a moment ago; what went fades out.

    Only what reaches into `where` is painted.
    """
    traces, view = roll.traces, roll.view
    rows = _visible(view, traces.proposed, where)
    if 0 < len(rows) <= MANY:
        rects = rects_of(view, traces.proposed, rows, ratio)
        _shapes(painter, rects, faded(theme.proposal, 0.42), QPen(faded(theme.proposal, 0.95), 1))
        _glow(painter, rects, _settled(traces.proposed_born[rows], theme), theme, ratio)
    if not traces.is_moving(theme.fade_ms / 1000):
        return
    fresh = 1 - float(_settled(np.array([traces.ghosts_since]), theme)[0])
    gone = _visible(view, traces.ghosts, where) if fresh > 0 else NOBODY
    if 0 < len(gone) <= MANY:
        _shapes(painter, rects_of(view, traces.ghosts, gone, ratio), faded(theme.text_dim, 0.35 * fresh))
    rows = _visible(view, roll.index, where)
    young = rows[traces.born[rows] > time.monotonic() - theme.fade_ms / 1000]
    if 0 < len(young) <= MANY:
        _glow(painter, rects_of(view, roll.index, young, ratio), _settled(traces.born[young], theme), theme, ratio)


def paint_hover(painter: QPainter, roll: RollState, row: int, theme: Theme, ratio: float) -> None:
    """A thin ring around the note under the pointer."""
    x, y, w, h = rects_of(roll.view, roll.index, np.array([row]), ratio)[0].tolist()
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setBrush(faded(theme.text, 0.10))
    painter.setPen(QPen(faded(theme.text, 0.6), 1))
    painter.drawRoundedRect(QRectF(x - 0.5, y - 0.5, w + 1, h + 1), 3, 3)


def paint_marked(painter: QPainter, roll: RollState, view: Coordinates, theme: Theme) -> None:
    """Marked bars as a faint wash between two lines."""
    if roll.bars is None:
        return
    a = view.x_of(float(roll.grid.starts[roll.bars.start]))
    b = view.x_of(float(roll.grid.starts[roll.bars.stop]))
    painter.fillRect(QRectF(a, 0, b - a, view.height), faded(theme.accent, 0.055))
    for x in (a, b):
        painter.fillRect(QRectF(round(x), 0, 1, view.height), faded(theme.accent, 0.45))


def paint_playhead(painter: QPainter, x: float, height: float, theme: Theme, mark: bool = False) -> None:
    """A line that glides between pixels; with a mark on top in the ruler."""
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(QPen(QColor(theme.accent), 1.5))
    painter.drawLine(QPointF(x, height - 4 if mark else 0), QPointF(x, height))
    if mark:
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(theme.accent))
        top = height - 13
        painter.drawPolygon(
            QPolygonF(
                [
                    QPointF(x - 5, top),
                    QPointF(x + 5, top),
                    QPointF(x + 5, top + 5),
                    QPointF(x, top + 10),
                    QPointF(x - 5, top + 5),
                ]
            )
        )


def paint_focus(painter: QPainter, widget: QWidget) -> None:
    """A thin frame about the part of the roll that Tab has led to."""
    if widget.hasFocus():
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        painter.setPen(QColor(current().accent))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawRect(widget.rect().adjusted(0, 0, -1, -1))


def _visible(view: Coordinates, index: NoteIndex, where: QRect | None = None) -> Rows:
    if where is None:
        return index.inside(*view.ticks, *view.pitches)
    start, stop = view.tick_of(where.left() - GLOW_PX), view.tick_of(where.right() + 1 + GLOW_PX)
    return index.inside(start, stop, *view.pitches)


def _settled(born: NDArray[np.float64], theme: Theme) -> NDArray[np.float64]:
    """0 for what has just changed, 1 for what has settled."""
    return np.clip((time.monotonic() - born) * 1000 / theme.fade_ms, 0, 1)


def _glow(
    painter: QPainter, rects: NDArray[np.float64], settled: NDArray[np.float64], theme: Theme, ratio: float
) -> None:
    """Light around each note that has not settled: stamped, for painting it anew would take most of a frame."""
    steps = np.round((1 - settled) ** 2 * GLOW_STEPS).astype(int)
    lit, pad = steps > 0, math.ceil(GLOW_LAYERS[0][0] * ratio) / ratio
    for (x, y, width, height), step in zip(rects[lit].tolist(), steps[lit].tolist(), strict=True):
        painter.drawImage(QPointF(x - pad, y - pad), _stamp(theme.proposal, width, height, step, pad, ratio))


@lru_cache(maxsize=1024)
def _stamp(colour: str, width: float, height: float, step: int, pad: float, ratio: float) -> QImage:
    """The glow of a note of this size, with `pad` pixels around it."""
    across, down = (math.ceil((side + 2 * pad) * ratio) for side in (width, height))
    image = QImage(across, down, QImage.Format.Format_ARGB32_Premultiplied)
    image.setDevicePixelRatio(ratio)
    image.fill(0)
    painter = QPainter(image)
    for grow, alpha in GLOW_LAYERS:
        rect = np.array([[pad - grow, pad - grow, width + 2 * grow, height + 2 * grow]])
        _shapes(painter, rect, faded(colour, alpha * step / GLOW_STEPS), radius=3 + grow)
    painter.end()
    return image


def _shapes(
    painter: QPainter, rects: NDArray[np.float64], colour: QColor, pen: QPen | None = None, radius: float = 3.0
) -> None:
    if len(rects) > FEW:
        fill(painter, rects, colour)
        return
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(pen or Qt.PenStyle.NoPen)
    painter.setBrush(colour)
    inset = 0.5 if pen else 0.0
    radii = np.minimum(radius, np.minimum(rects[:, 2] / 2, rects[:, 3] / 2.5)).tolist()
    sizes = np.maximum(rects[:, 2:] - 2 * inset, 1)
    for (x, y), (w, h), r in zip((rects[:, :2] + inset).tolist(), sizes.tolist(), radii, strict=True):
        painter.drawRoundedRect(QRectF(x, y, w, h), r, r)
