"""Notes as rectangles: lightness is velocity, hue is track, selected ones outlined. Few are rounded and named,
many are filled in batches. Far out `density` takes over.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPen

from app.roll.colours import LEVELS, faded, ink_colours, level_of, note_qcolours
from app.roll.coordinates import Coordinates
from app.roll.index import NoteIndex
from app.roll.layers.rects import crisp, fill, table
from app.theme import Theme, figures
from engine.score.edit import Rows

FEW = 500  # up to here every note is rounded
MANY = 5000  # from here on the density image is painted
NAME_ROW, NAME_PX = 13.0, 30.0  # notes at least this high and wide carry their name
BAR_ROW = 17.0  # notes at least this high carry their velocity as a bar
NAMES = ("C", "C♯", "D", "D♯", "E", "F", "F♯", "G", "G♯", "A", "A♯", "B")


def name_of(pitch: int) -> str:
    """C4 is middle C."""
    return f"{NAMES[pitch % 12]}{pitch // 12 - 1}"


def rects_of(view: Coordinates, index: NoteIndex, rows: Rows, ratio: float) -> NDArray[np.float64]:
    """(N, 4) where the notes lie, on whole device pixels, a hair apart from their neighbours."""
    x = crisp(view.x_of(index.tick[rows]), ratio)
    right = crisp(view.x_of(index.end[rows]), ratio)
    y, below = crisp(view.y_of(index.pitch[rows]), ratio), crisp(view.y_of(index.pitch[rows] - 1), ratio)
    left = np.maximum(x, -16.0)  # what lies far outside is cut: the painter's numbers stay small
    right = np.minimum(right, view.width + 16.0)
    gap_x = np.where(right - left > 4, 1.0, 0.0)
    gap_y = 1.0 if view.row >= 5 else 0.0
    width = np.maximum(right - left - gap_x, min(2.0, max(1.0, view.row / 3)))
    return table(left, y + (gap_y if view.row >= 8 else 0), width, below - y - gap_y * (1 + (view.row >= 8)))


def paint(
    painter: QPainter,
    view: Coordinates,
    index: NoteIndex,
    rows: Rows,
    theme: Theme,
    ratio: float,
    selected: NDArray[np.bool_],
    opacity: NDArray[np.float64] | None = None,
    few: bool = True,
) -> None:
    """Paint `rows`; `selected` (all notes) marks, `opacity` (per row) fades. `few` are rounded and named."""
    if not len(rows):
        return
    rects = rects_of(view, index, rows, ratio)
    level = level_of(index.velocity[rows])
    hue = index.track[rows] % len(theme.track_hues)
    alpha = np.ones(len(rows)) if opacity is None else opacity
    rounded = few and view.row >= 6
    colours = note_qcolours(theme)
    shapes, owner = (rects, np.arange(len(rows))) if rounded else _chopped(rects, alpha)
    key = ((np.round(alpha * 15).astype(np.int64) * len(theme.track_hues) + hue) * LEVELS + level)[owner]
    order = np.argsort(key, kind="stable")
    shapes, owner, key = shapes[order], owner[order], key[order]
    ends = np.flatnonzero(np.diff(key, append=-1)) + 1
    painter.setRenderHint(QPainter.RenderHint.Antialiasing, rounded)
    for start, stop in zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True):
        one = owner[start]
        colour = colours[int(hue[one])][int(level[one])]
        if alpha[one] < 1:
            colour = faded(colour, float(alpha[one]))
        if rounded:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(colour)
            for x, y, w, h in shapes[start:stop].tolist():
                radius = min(3.0, w / 2, h / 2.5)
                painter.drawRoundedRect(QRectF(x, y, w, h), radius, radius)
        else:
            fill(painter, shapes[start:stop], colour)
    chosen = selected[rows]
    if chosen.any():
        _outline(painter, rects[chosen], theme, rounded)
    if rounded:
        _write_in(painter, view, index, rows, rects, hue, level, theme, alpha)


def _chopped(rects: NDArray[np.float64], alpha: NDArray[np.float64]) -> tuple[NDArray[np.float64], Rows]:
    """Opaque rectangles without their corner pixels, as two each: nearly round, cheaply; and whose they are."""
    roomy = np.flatnonzero((rects[:, 2] >= 5) & (rects[:, 3] >= 5) & (alpha == 1))
    across, down = rects.copy(), rects[roomy] + np.array([1.0, 0, -2, 0])
    across[roomy] += np.array([0.0, 1, 0, -2])
    return np.concatenate([across, down]), np.concatenate([np.arange(len(rects)), roomy])


def _write_in(
    painter: QPainter, view: Coordinates, index: NoteIndex, rows: Rows, rects: NDArray[np.float64],
    hue: NDArray[np.int64], level: NDArray[np.int64], theme: Theme, alpha: NDArray[np.float64],
) -> None:  # fmt: skip
    """Names and velocity bars, where there is room."""
    if view.row < NAME_ROW:
        return
    inks = ink_colours(theme)
    painter.setFont(figures(10 if view.row < BAR_ROW else theme.font_small))
    for i in np.flatnonzero((rects[:, 2] >= NAME_PX) & (alpha > 0.5)):
        x, y, w, h = rects[i].tolist()
        ink = inks[int(hue[i])][int(level[i])]
        with_bar = view.row >= BAR_ROW
        inner = QRectF(max(x, 0.0) + 5, y, w - 8 + min(x, 0.0), h - (3 if with_bar else 0))
        painter.setPen(ink)
        painter.drawText(
            inner, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, name_of(int(index.pitch[rows[i]]))
        )
        if with_bar:
            share = index.velocity[rows[i]] / 127
            painter.fillRect(QRectF(x + 4, y + h - 4, (w - 8) * share, 2), faded(ink, 0.6))


def _outline(painter: QPainter, rects: NDArray[np.float64], theme: Theme, rounded: bool) -> None:
    if rounded:
        painter.setBrush(faded(theme.text, 0.14))
        painter.setPen(QPen(QColor(theme.text), 1.5))
        for x, y, w, h in rects.tolist():
            radius = min(3.0, w / 2, h / 2.5)
            painter.drawRoundedRect(QRectF(x + 0.25, y + 0.25, max(w - 0.5, 1), max(h - 0.5, 1)), radius, radius)
    else:
        fill(painter, rects, faded(theme.text, 0.75))
