"""The colours of notes: hue is the track, lightness the velocity, mixed in OKLab so that steps look even."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PySide6.QtGui import QColor

from app.theme import Theme

LEVELS = 8  # of velocity


def level_of(velocity: NDArray[np.int64]) -> NDArray[np.int64]:
    """Velocities (1 to 127) to levels (0 to 7)."""
    return np.clip(velocity * LEVELS // 128, 0, LEVELS - 1)


@lru_cache(maxsize=8)
def note_colours(theme: Theme) -> NDArray[np.uint8]:
    """(hues, levels, 3) RGB of a note on each track hue at each velocity level."""
    ground = _oklab(_rgb(theme.row_white))
    far = _oklab(_rgb("#ffffff" if theme.dark else "#000000"))
    lighter, richer = np.linspace(0.45, 1.0, LEVELS), np.linspace(0.62, 1.0, LEVELS)  # soft notes keep more of the hue
    share = np.stack([lighter, richer, richer], axis=1)
    table = []
    for hue in theme.track_hues:
        base = _oklab(_rgb(hue))
        ramp = ground + (base - ground) * share
        ramp[-2:] += (far - ramp[-2:]) * np.array([[0.06], [0.16]])  # the loudest leave the hue a little
        table.append(_from_oklab(ramp))
    return np.round(np.array(table)).astype(np.uint8)


@lru_cache(maxsize=8)
def note_qcolours(theme: Theme) -> list[list[QColor]]:
    """The same table as colours to paint with."""
    return [[QColor(*map(int, rgb)) for rgb in ramp] for ramp in note_colours(theme)]


@lru_cache(maxsize=8)
def ink_colours(theme: Theme) -> list[list[QColor]]:
    """What to write on notes with: black or white, whichever stands out more."""
    unit = note_colours(theme) / 255
    light = np.where(unit <= 0.04045, unit / 12.92, ((unit + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]
    on_black, on_white = (light + 0.05) / 0.05, 1.05 / (light + 0.05)  # contrast as WCAG counts it
    return [[faded("#0b0c10" if dark else "#ffffff", 0.86) for dark in row] for row in on_black > on_white]


@lru_cache(maxsize=256)
def mixed(a: str, b: str, share: float) -> QColor:
    """The colour `share` of the way from a to b."""
    ramp = _from_oklab(_oklab(_rgb(a)) * (1 - share) + _oklab(_rgb(b)) * share)
    return QColor(*map(int, np.round(ramp)))


def faded(colour: str | QColor, alpha: float) -> QColor:
    """The colour at an opacity of 0 to 1."""
    result = QColor(colour)
    result.setAlphaF(min(max(alpha * result.alphaF(), 0.0), 1.0))
    return result


def _rgb(colour: str) -> NDArray[np.float64]:
    c = QColor(colour)
    return np.array([c.red(), c.green(), c.blue()], dtype=np.float64)


# Ottosson's OKLab: https://bottosson.github.io/posts/oklab/
_TO_LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def _oklab(rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    unit = rgb / 255
    linear = np.where(unit <= 0.04045, unit / 12.92, ((unit + 0.055) / 1.055) ** 2.4)
    out: NDArray[np.float64] = np.cbrt(linear @ _TO_LMS.T) @ _TO_LAB.T
    return out


def _from_oklab(lab: NDArray[np.float64]) -> NDArray[np.float64]:
    linear = np.clip((lab @ np.linalg.inv(_TO_LAB).T) ** 3 @ np.linalg.inv(_TO_LMS).T, 0, 1)
    unit = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    out: NDArray[np.float64] = unit * 255
    return out
