"""Ticks, seconds and bars: numbers worked out by hand, and both ways agreeing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import MorphonyError
from engine.score import Meter, Score, Tempo, Track, make_notes
from engine.score.timing import MAX_BARS, BarGrid, TempoMap, count_bars


def piece(
    end: int, meters: tuple[Meter, ...] = (Meter(0, 4, 4),), tempi: tuple[Tempo, ...] = (), tpq: int = 480
) -> Score:
    return Score(tpq, (Track(),), make_notes([(0, end, 60, 64, 0)]), meters, tempi)


def test_without_a_tempo_a_quarter_lasts_half_a_second() -> None:
    assert TempoMap.of(piece(480)).to_seconds([0, 480, 720]).tolist() == [0, 0.5, 0.75]


def test_seconds_across_tempo_changes() -> None:
    tempi = (Tempo(960, 1_000_000), Tempo(0, 600_000), Tempo(960, 250_000))  # of two on a tick the last holds
    seconds = TempoMap.of(piece(480, tempi=tempi))
    assert seconds.to_seconds([480, 960, 1440]) == pytest.approx([0.6, 1.2, 1.45])
    assert seconds.to_ticks([0.6, 1.2, 1.45]) == pytest.approx([480, 960, 1440])
    assert seconds.to_seconds(-480) == pytest.approx(-0.6)  # before the start the first tempo goes on


@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(1000, 2**24 - 1)), max_size=8),
    st.integers(0, 2 * 10**6),
    st.integers(1, 32767),
)
def test_seconds_and_ticks_are_inverse(tempi: list[tuple[int, int]], tick: int, tpq: int) -> None:
    seconds = TempoMap.of(piece(480, tempi=tuple(Tempo(*t) for t in tempi), tpq=tpq))
    assert float(seconds.to_ticks(seconds.to_seconds(tick))) == pytest.approx(tick, abs=1e-3)


def test_bars_of_one_meter() -> None:
    grid = BarGrid.of(piece(1921))
    assert grid.starts.tolist() == [0, 1920, 3840]
    assert grid.clocks.tolist() == [96, 96]
    assert grid.bar_of([0, 1919, 1920, 99999]).tolist() == [0, 0, 1, 1]


def test_a_meter_change_inside_a_bar_ends_that_bar() -> None:
    grid = BarGrid.of(piece(4000, (Meter(0, 4, 4), Meter(2400, 3, 4))))
    assert grid.starts.tolist() == [0, 1920, 2400, 3840, 5280]
    assert grid.clocks.tolist() == [96, 24, 72, 72]
    assert grid.numerators.tolist() == [4, 4, 3, 3]


def test_pickups_and_odd_meters_have_the_clocks_of_their_length() -> None:
    for numerator, denominator, clocks in ((1, 8, 12), (12, 4, 288), (7, 8, 84), (3, 16, 18), (2, 2, 96)):
        assert BarGrid.of(piece(10, (Meter(0, numerator, denominator),))).clocks.tolist() == [clocks]


def test_meters_after_the_end_add_no_bar() -> None:
    assert len(BarGrid.of(piece(480, (Meter(0, 4, 4), Meter(99999, 3, 4))))) == 1


def test_a_score_without_notes_has_one_bar() -> None:
    assert len(BarGrid.of(Score(480, (), make_notes()))) == 1


@given(
    st.lists(st.tuples(st.integers(0, 50000), st.integers(1, 17), st.sampled_from([1, 2, 4, 8, 16, 32])), max_size=6),
    st.integers(1, 40000),
    st.sampled_from([1, 24, 96, 480, 1000]),
)
def test_bars_follow_one_another_and_are_counted_without_laying_them(
    meters: list[tuple[int, int, int]], end: int, tpq: int
) -> None:
    score = piece(end, tuple(Meter(*m) for m in meters), tpq=tpq)
    grid = BarGrid.of(score)
    assert (np.diff(grid.starts) > 0).all()
    assert grid.starts[0] == 0
    assert grid.starts[-1] >= end
    assert count_bars(score) == len(grid)


def test_more_bars_than_the_limit_are_refused_without_laying_them() -> None:
    score = piece(2**40)
    assert count_bars(score) > MAX_BARS
    with pytest.raises(MorphonyError, match="more than 1,000,000 bars"):
        BarGrid.of(score)
