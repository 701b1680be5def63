"""Thousands of notes as one picture: how much sounds at each pixel, in the colours of its tracks."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QImage, QPainter

from app.roll.colours import level_of, note_colours
from app.roll.coordinates import Coordinates
from app.roll.index import NoteIndex
from app.theme import Theme
from engine.score.edit import Rows

OPAQUE_AT = 1.6  # 1 - exp(-this): the opacity of one note that fills its pixel


def image(
    view: Coordinates, index: NoteIndex, rows: Rows, theme: Theme, ratio: float, low: int, high: int,
    opacity: NDArray[np.float64] | None = None, strength: float = OPAQUE_AT,
) -> QImage:  # fmt: skip
    """One pixel row per pitch, high to low; one pixel column per device pixel of the view."""
    columns, lanes = max(int(np.ceil(view.width * ratio)), 1), high - low + 1
    start = view.x_of(index.tick[rows]) * ratio
    stop = view.x_of(index.end[rows]) * ratio
    weight = np.clip(stop - start, 0.35, 1.0)
    if opacity is not None:
        weight = weight * opacity
    first = np.clip(np.floor(start), 0, columns).astype(np.int64)
    last = np.clip(np.maximum(np.floor(stop), first + 1), 0, columns).astype(np.int64)
    lane = (high - index.pitch[rows]) * (columns + 1)
    size = lanes * (columns + 1)
    begins, ends = lane + first, lane + last
    sums = np.empty((4, size), dtype=np.float32)
    for channel, amount in enumerate((*(_colours(index, theme)[:, rows] * weight), weight)):
        change = np.bincount(begins, amount, size)
        change -= np.bincount(ends, amount, size)[:size]
        np.cumsum(change[:size], out=sums[channel], dtype=np.float32)
    sums = sums.reshape(4, lanes, columns + 1)[:, :, :columns]
    cover = np.maximum(sums[3], 0)
    alpha = 1 - np.exp(-strength * cover)
    share = 255 * alpha / np.maximum(cover, 1e-3)
    pixels = np.empty((lanes, columns, 4), dtype=np.uint8)  # BGRA in memory, premultiplied
    for place, channel in enumerate((2, 1, 0)):
        pixels[:, :, place] = np.clip(sums[channel] * share, 0, 255 * alpha)
    pixels[:, :, 3] = 255 * alpha
    return QImage(pixels.data, columns, lanes, columns * 4, QImage.Format.Format_ARGB32_Premultiplied).copy()


@lru_cache(maxsize=4)
def _colours(index: NoteIndex, theme: Theme) -> NDArray[np.float64]:
    """(3, notes) red, green and blue from 0 to 1."""
    table = note_colours(theme).astype(np.float64) / 255
    return np.ascontiguousarray(table[index.track % len(table), level_of(index.velocity)].T)


def paint(
    painter: QPainter, view: Coordinates, index: NoteIndex, rows: Rows, theme: Theme, ratio: float,
    opacity: NDArray[np.float64] | None = None,
) -> None:  # fmt: skip
    """Paint the picture over the visible pitches."""
    low, high = view.pitches
    picture = image(view, index, rows, theme, ratio, low, high, opacity)
    painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, False)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
    top, bottom = view.y_of(high), view.y_of(low - 1)
    painter.drawImage(QRectF(0, top, picture.width() / ratio, bottom - top), picture)
    painter.setPen(Qt.PenStyle.NoPen)
