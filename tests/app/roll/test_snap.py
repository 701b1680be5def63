"""Snapping: to the grid, by whole steps, or not at all."""

from __future__ import annotations

import pytest

from app.roll.snap import CHOICES, Snap
from engine.score.score import Meter, Score, Track, make_notes
from engine.score.timing import BarGrid


@pytest.fixture
def grid() -> BarGrid:
    song = Score(96, (Track(),), make_notes([(3000, 1, 60, 80, 0)]), (Meter(0, 4, 4), Meter(768, 3, 4)))
    return BarGrid.of(song)


@pytest.mark.parametrize(
    ("division", "ticks"), [("1/4", 96), ("1/8", 48), ("1/16", 24), ("1/8T", 32), ("1/16T", 16), ("1/2", 192)]
)
def test_divisions(grid: BarGrid, division: str, ticks: int) -> None:
    assert Snap(division).step(grid, 1.0) == pytest.approx(ticks)


def test_a_bar_is_as_long_as_its_meter_says(grid: BarGrid) -> None:
    assert Snap("bar").step(grid, 1.0, 100) == 384
    assert Snap("bar").step(grid, 1.0, 800) == 288
    assert Snap("bar").snapped(900, grid, 1.0) == 768


def test_auto_takes_the_finest_step_that_can_be_seen(grid: BarGrid) -> None:
    assert Snap("auto").step(grid, 10.0) == 24
    assert Snap("auto").step(grid, 0.3) == 48
    assert Snap("auto").step(grid, 0.0001) == 384


@pytest.mark.parametrize("division", CHOICES)
def test_every_choice_snaps_a_bar_line_to_itself(grid: BarGrid, division: str) -> None:
    for start in grid.starts[:-1].tolist():
        assert Snap(division).snapped(start, grid, 0.2) == start


def test_a_note_played_freely_keeps_its_place_in_the_step_or_lands_on_the_grid(grid: BarGrid) -> None:
    snap = Snap("1/4")
    assert snap.shift(2.0, 7, grid, 1.0) == 0  # nearly not moved: not pulled to the grid
    assert snap.shift(97.0, 7, grid, 1.0) == 96  # a whole step
    assert snap.shift(88.0, 7, grid, 1.0) == 89  # onto the grid
    assert Snap("1/4", on=False).shift(88.4, 7, grid, 1.0) == 88
