"""Pixels to music and back is exact, and zooming keeps what is under the pointer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.roll.coordinates import PITCHES, Coordinates

looks = st.builds(
    lambda scale, row, left, top, width, height: Coordinates(width=width, height=height, extent=1e6).at(
        px_per_tick=scale, row=row, left=left, top=top
    ),
    scale=st.floats(0.001, 10),
    row=st.floats(3, 40),
    left=st.floats(0, 1e5),
    top=st.floats(0, 3000),
    width=st.floats(100, 4000),
    height=st.floats(100, 3000),
)


@given(looks, st.floats(0, 1e6))
def test_ticks_come_back(view: Coordinates, tick: float) -> None:
    assert view.tick_of(view.x_of(tick)) == pytest.approx(tick, rel=1e-9, abs=1e-6)


@given(looks, st.integers(0, 127), st.floats(0.01, 0.99))
def test_every_point_of_a_row_is_its_pitch(view: Coordinates, pitch: int, share: float) -> None:
    assert view.pitch_of(view.y_of(pitch) + share * view.row) == pitch


@given(looks)
def test_arrays_and_numbers_agree(view: Coordinates) -> None:
    pitches = np.arange(PITCHES)
    assert view.y_of(pitches).tolist() == [view.y_of(p) for p in range(PITCHES)]


@given(looks, st.floats(0, 1), st.floats(0.2, 5))
def test_zooming_keeps_the_tick_under_the_pointer(view: Coordinates, share: float, factor: float) -> None:
    x = share * view.width
    zoomed = view.zoomed(factor, x)
    left_free = (
        -12 / zoomed.px_per_tick
        < view.tick_of(x) - x / zoomed.px_per_tick
        < view.extent - view.width / zoomed.px_per_tick
    )
    if left_free:
        assert zoomed.x_of(view.tick_of(x)) == pytest.approx(x, abs=1e-3)


@given(looks, st.floats(0, 1), st.floats(0.2, 5))
def test_rows_grow_about_the_pointer(view: Coordinates, share: float, factor: float) -> None:
    y = share * view.height
    grown = view.stretched(factor, y)
    place = (view.top + y) / view.row
    if 0 < place * grown.row - y < PITCHES * grown.row - grown.height:
        assert (grown.top + y) / grown.row == pytest.approx(place, abs=1e-6)


@given(looks, st.floats(-1e5, 1e5), st.floats(-1e4, 1e4))
def test_one_never_looks_past_the_ends(view: Coordinates, dx: float, dy: float) -> None:
    moved = view.scrolled(dx, dy)
    assert moved.x_of(0) <= 12.0 + 1e-6
    assert moved.left <= moved.extent
    assert moved.y_of(127) <= 1e-6
    assert moved.y_of(-1) >= moved.height - 1e-6


@given(looks, st.integers(0, 100_000), st.integers(100, 100_000))
def test_fitting_shows_the_span(view: Coordinates, start: int, length: int) -> None:
    fitted = view.fitted(start, start + length)
    assert fitted.x_of(start) >= -1e-6
    assert fitted.x_of(start + length) <= fitted.width + 1e-6
