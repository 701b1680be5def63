"""The ground of the roll: rows of black and white keys, beats and bars, marked bars. Knows no notes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PySide6.QtGui import QColor, QPainter

from app.roll.colours import faded, mixed
from app.roll.coordinates import PITCHES, Coordinates
from app.roll.layers.rects import crisp, fill, table
from app.theme import Theme
from engine.score.timing import BarGrid

BLACK = np.isin(np.arange(12), (1, 3, 6, 8, 10))
BAR_PX, BEAT_PX, STEP_PX = 8.0, 9.0, 11.0  # lines nearer to each other than this are left out


class Lines(NamedTuple):
    """Ticks of the vertical lines worth painting, and the bars they stand at the head of."""

    bars: NDArray[np.int64]  # bar numbers, 0-based
    bar_ticks: NDArray[np.int64]
    beat_ticks: NDArray[np.float64]
    step_ticks: NDArray[np.float64]


def lines(view: Coordinates, grid: BarGrid, step: float = 0.0) -> Lines:
    """The bar, beat and step lines in sight; of bars too near each other every 2nd, 4th, ... is kept."""
    start, stop = view.ticks
    first, last = (int(bar) for bar in grid.bar_of([start, max(stop, 0)]))
    bars = np.arange(first, last + 1)
    lengths = grid.starts[bars + 1] - grid.starts[bars]
    typical = float(np.median(lengths)) * view.px_per_tick
    stride = 1 << max(int(np.ceil(np.log2(BAR_PX / max(typical, 1e-9)))), 0)
    kept = bars[bars % stride == 0]
    beats, steps = np.empty(0), np.empty(0)
    if stride == 1:
        beat = grid.ticks_per_quarter * 4 / grid.denominators[bars]
        if float(beat.min()) * view.px_per_tick >= BEAT_PX:
            beats = _between(grid, bars, beat)
        if step and step * view.px_per_tick >= STEP_PX and step < float(beat.min()):
            steps = np.setdiff1d(np.round(_between(grid, bars, np.full(len(bars), step))), np.round(beats))
    past = grid.starts[-1:] if stop >= grid.starts[-1] else grid.starts[:0]
    return Lines(kept, np.concatenate([grid.starts[kept], past]), beats, steps)


def _between(grid: BarGrid, bars: NDArray[np.int64], step: NDArray[np.float64]) -> NDArray[np.float64]:
    starts, stops = grid.starts[bars], grid.starts[bars + 1]
    return np.concatenate([np.arange(a + s, b - 1e-6, s) for a, b, s in zip(starts, stops, step, strict=True)])


def paint(
    painter: QPainter,
    view: Coordinates,
    grid: BarGrid,
    theme: Theme,
    step: float,
    scale: frozenset[int] | None,
    ratio: float,
) -> None:
    """Paint the whole ground of the notes area."""
    width, height = view.width, view.height
    low, high = view.pitches
    pitches = np.arange(max(low - 1, 0), min(high + 1, PITCHES - 1) + 1)
    tops, bottoms = crisp(view.y_of(pitches), ratio), crisp(view.y_of(pitches - 1), ratio)
    rows = table(0, tops, width, bottoms - tops)
    black = BLACK[pitches % 12]
    fill(painter, rows[~black], theme.row_white)
    fill(painter, rows[black], theme.row_black)
    if scale:
        inside = np.isin(pitches % 12, list(scale))
        fill(painter, rows[inside], faded(theme.accent, 0.05 if theme.dark else 0.06))
    if view.row >= 9:  # a seam between the two pairs of white neighbours
        seams = np.isin(pitches % 12, (4, 11))
        fill(painter, table(0, tops[seams], width, 1 / ratio), theme.row_black)
    if view.row >= 4:
        octaves = pitches % 12 == 11
        fill(
            painter, table(0, tops[octaves] + (bottoms - tops)[octaves] - 1 / ratio, width, 1 / ratio), theme.line_beat
        )
    found = lines(view, grid, step)
    for ticks, colour in (
        (found.step_ticks, mixed(theme.row_white, theme.line_beat, 0.55)),
        (found.beat_ticks, QColor(theme.line_beat)),
        (found.bar_ticks, QColor(theme.line_bar)),
    ):
        fill(painter, table(np.floor(view.x_of(ticks) * ratio) / ratio, 0, 1, height), colour)
    if view.left < 0:
        painter.fillRect(0, 0, int(np.floor(view.x_of(0.0))), int(height) + 1, QColor(theme.ground))
    outside = view.x_of(float(grid.starts[-1]))
    if outside < width:
        fill(painter, table([outside + 1], 0, width - outside, height), faded(theme.ground, 0.6))
