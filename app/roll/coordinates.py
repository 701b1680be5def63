"""Pixels to music and back: where a tick and a pitch lie in the visible part of the roll.

x grows with time, y downwards from pitch 127. Nothing here knows about widgets or notes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

PITCHES = 128
MIN_ROW, MAX_ROW = 3.0, 40.0  # pixels
LEAD_IN = 12.0  # pixels of nothing before tick 0, so that a note there can be grabbed
MIN_SCALE, MAX_SCALE = 1e-6, 64.0  # pixels per tick


@dataclass(frozen=True, slots=True)
class Coordinates:
    """A window onto the roll; every change makes a new one. Lengths are logical pixels."""

    px_per_tick: float = 0.1
    row: float = 14.0  # height of one pitch
    left: float = 0.0  # tick at x = 0
    top: float = 0.0  # pixels hidden above y = 0
    width: float = 800.0
    height: float = 480.0
    extent: float = 0.0  # the tick up to which there is something to see

    def x_of(self, tick: Any) -> Any:
        """X of a tick, or of an array of them."""
        return (tick - self.left) * self.px_per_tick

    def tick_of(self, x: float) -> float:
        """The tick at x, with its fraction."""
        return self.left + x / self.px_per_tick

    def y_of(self, pitch: Any) -> Any:
        """Upper edge of a pitch's row, or of an array of them."""
        return (PITCHES - 1 - pitch) * self.row - self.top

    def pitch_of(self, y: float) -> int:
        """The pitch whose row holds y; the nearest one beyond the ends."""
        return min(max(PITCHES - 1 - math.floor((y + self.top) / self.row), 0), PITCHES - 1)

    @property
    def ticks(self) -> tuple[float, float]:
        """First and last visible tick."""
        return self.left, self.tick_of(self.width)

    @property
    def pitches(self) -> tuple[int, int]:
        """Lowest and highest visible pitch."""
        return self.pitch_of(self.height - 1e-6), self.pitch_of(0)

    def scrolled(self, dx: float, dy: float = 0.0) -> Coordinates:
        """Look `dx` pixels further right and `dy` further down."""
        return self.at(left=self.left + dx / self.px_per_tick, top=self.top + dy)

    def zoomed(self, factor: float, x: float) -> Coordinates:
        """Stretch time by `factor`; the tick under x stays there."""
        scale = float(np.clip(self.px_per_tick * factor, self._min_scale, MAX_SCALE))
        return self.at(px_per_tick=scale, left=self.tick_of(x) - x / scale)

    def stretched(self, factor: float, y: float) -> Coordinates:
        """Make rows higher by `factor`; the pitch under y stays there."""
        row = float(np.clip(self.row * factor, max(MIN_ROW, self.height / PITCHES), MAX_ROW))
        return self.at(row=row, top=(self.top + y) / self.row * row - y)

    def fitted(self, start: float, stop: float, lowest: int = 36, highest: int = 84) -> Coordinates:
        """Show start to stop, and as many rows around the pitches as there is room for."""
        span = max(stop - start, 1.0)
        row = float(np.clip(self.height / (highest - lowest + 1), max(MIN_ROW, self.height / PITCHES), 18.0))
        middle = (PITCHES - (lowest + highest + 1) / 2) * row
        scale = float(np.clip((self.width - 2 * LEAD_IN) / span, MIN_SCALE, MAX_SCALE))
        return self.at(px_per_tick=scale, left=start - LEAD_IN / scale, row=row, top=middle - self.height / 2)

    def centred(self, pitch: float) -> Coordinates:
        """Bring a pitch to the middle of the height."""
        return self.at(top=(PITCHES - 0.5 - pitch) * self.row - self.height / 2)

    def at(self, **fields: float) -> Coordinates:
        """Replace fields, then come back to what can be seen: little before tick 0, no pitch above 127 or below 0."""
        c = replace(self, **fields)
        row = max(c.row, c.height / PITCHES)
        top = float(np.clip(c.top, 0.0, PITCHES * row - c.height))
        furthest = max(c.extent - c.width * 0.5 / c.px_per_tick, 0.0)
        return replace(c, row=row, top=max(top, 0.0), left=float(np.clip(c.left, -LEAD_IN / c.px_per_tick, furthest)))

    @property
    def _min_scale(self) -> float:
        """Zooming out ends where the whole piece takes half of the width."""
        return float(np.clip(self.width * 0.5 / max(self.extent, 1.0), MIN_SCALE, self.px_per_tick))
