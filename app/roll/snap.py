"""What the mouse and the keys snap to: a division of the bar, chosen by name. Knows ticks and pixels, no widgets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from engine.score.edit import to_grid
from engine.score.timing import BarGrid

AUTO, BAR = "auto", "bar"
DIVISIONS: Final[dict[str, float]] = {  # quarters per step
    "1/2": 2.0,
    "1/4": 1.0,
    "1/4T": 2 / 3,
    "1/8": 0.5,
    "1/8T": 1 / 3,
    "1/16": 0.25,
    "1/16T": 1 / 6,
    "1/32": 0.125,
}
CHOICES: Final = (AUTO, BAR, *DIVISIONS)
AUTO_STEPS: Final = (4.0, 2.0, 1.0, 0.5, 0.25)  # quarters, coarse to fine
AUTO_MIN_PX: Final = 12.0  # the finest step at least this wide is taken


@dataclass(frozen=True, slots=True)
class Snap:
    """The chosen division and whether it is on; frozen, so a gesture keeps the one it began with."""

    division: str = "1/16"
    on: bool = True

    def step(self, grid: BarGrid, px_per_tick: float, tick: float = 0) -> float:
        """Ticks per step at a place."""
        if self.division == BAR:
            bar = int(grid.bar_of(tick))
            return float(grid.starts[bar + 1] - grid.starts[bar])
        quarter = grid.ticks_per_quarter
        if self.division == AUTO:
            wide = [s for s in AUTO_STEPS if s * quarter * px_per_tick >= AUTO_MIN_PX]
            return max((wide[-1] if wide else AUTO_STEPS[0]) * quarter, 1.0)
        return max(DIVISIONS[self.division] * quarter, 1.0)

    def snapped(
        self, tick: float, grid: BarGrid, px_per_tick: float, rounding: Literal["nearest", "down", "up"] = "nearest"
    ) -> int:
        """The tick to use for a place pointed at; the place itself, rounded, when snap is off."""
        if not self.on:
            return max(round(tick), 0)
        return max(int(to_grid(tick, grid, self.step(grid, px_per_tick, tick), rounding)), 0)

    def shift(self, ticks: float, onset: float, grid: BarGrid, px_per_tick: float) -> int:
        """How far a note at `onset` goes if dragged by `ticks`: whole steps or onto the grid, whichever is nearer."""
        if not self.on:
            return round(ticks)
        step = self.step(grid, px_per_tick, onset)
        choices = (round(round(ticks / step) * step), self.snapped(onset + ticks, grid, px_per_tick) - int(onset))
        return min(choices, key=lambda choice: (abs(choice - ticks), abs(choice))) if np.isfinite(ticks) else 0


@dataclass(frozen=True, slots=True)
class Quantising:
    """What Q does: which grid (empty: the one notes snap to), how far, how swung, and whether ends follow."""

    division: str = ""
    strength: float = 1.0  # 1 is onto the grid
    swing: float = 0.0  # of a step, on every second one
    ends: bool = False
