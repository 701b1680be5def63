"""Every token knows its moment in the meter, and knows it from the meter."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from engine.model import position
from engine.score import Meter, Score, Track, make_notes, midi
from engine.score.timing import BarGrid
from engine.tokens import places as P
from engine.tokens.codec import encode
from engine.tokens.vocab import FAMILIES
from tests.engine import small

DEMO = sorted((Path(__file__).resolve().parents[3] / "assets" / "demo").glob("*.mid"))


def melody(meters: Sequence[tuple[int, int, int]], quarters: int, step: int = 12, resolution: int = 24) -> Score:
    """A note every `step` clocks for so many quarters, under meters at (clock, numerator, denominator)."""
    scale = resolution // 24
    rows = [(t * scale, step * scale, 60 + t // step % 5, 80, 0) for t in range(0, quarters * 24, step)]
    return Score(resolution, (Track("a"),), make_notes(rows), tuple(Meter(tick * scale, n, d) for tick, n, d in meters))


def ons(score: Score) -> list[tuple[int, int, int]]:
    """The place of every NOTE_ON."""
    ids = encode(score).ids
    found = P.places(ids, P.BarLines.of(BarGrid.of(score)))[np.isin(ids, FAMILIES["NOTE_ON"].ids)]
    return [tuple(row) for row in found.tolist()]


def test_a_melody_in_four_counts_its_eighths_beats_and_bars() -> None:
    assert ons(melody([(0, 4, 4)], 20)) == [(12 * h, b, bar % 4) for bar in range(5) for b in range(4) for h in (0, 1)]


def test_in_six_eight_a_beat_has_three_eighths() -> None:
    assert ons(melody([(0, 6, 8)], 6)) == [(12 * h, b, bar) for bar in range(2) for b in range(2) for h in range(3)]


def test_a_pickup_is_a_bar_of_its_own_and_the_next_bar_begins_at_its_line() -> None:
    found = ons(melody([(0, 1, 4), (24, 3, 4)], 7, 24))
    assert found == [(0, 0, 0), (0, 0, 1), (0, 1, 1), (0, 2, 1), (0, 0, 2), (0, 1, 2), (0, 2, 2)]


def test_a_meter_change_inside_a_bar_begins_a_bar() -> None:
    found = ons(melody([(0, 4, 4), (48, 2, 4)], 6, 24))
    assert found == [(0, 0, 0), (0, 1, 0), (0, 0, 1), (0, 1, 1), (0, 0, 2), (0, 1, 2)]


def test_a_time_shift_stands_where_it_leads() -> None:
    """What is known when the next token is written: the moment after the shift, not before it."""
    score = melody([(0, 4, 4)], 4, 24)
    ids = encode(score).ids
    shift = int(np.flatnonzero(np.isin(ids, FAMILIES["TIME_SHIFT"].ids))[0])
    found = P.places(ids, P.BarLines.of(BarGrid.of(score)))
    assert found[shift - 1].tolist() == [0, 0, 0]
    assert found[shift].tolist() == found[shift + 1].tolist() == [0, 1, 0]


def test_places_do_not_depend_on_how_many_tokens_came_before() -> None:
    """Other parts, velocities and tempi change the stream and no place of a note of the first part."""
    plain = melody([(0, 3, 4)], 12)
    rows = [(12 * i, 6, 30, 1 + i * 4 % 120, 1) for i in range(24)]
    busy = Score(24, (*plain.tracks, Track("b")), np.concatenate([plain.notes, make_notes(rows)]), plain.meters)
    first = [p for p, token in zip(ons(busy), _ons(busy), strict=True) if token >= FAMILIES["NOTE_ON"].id(60)]
    assert len(encode(busy).ids) > 2 * len(encode(plain).ids)
    assert first == ons(plain)


def _ons(score: Score) -> list[int]:
    ids = encode(score).ids
    return ids[np.isin(ids, FAMILIES["NOTE_ON"].ids)].tolist()


SCORES = {
    "rich": small.rich_score(),
    "pickup": melody([(0, 1, 8), (12, 7, 8), (180, 12, 8), (500, 5, 4)], 60, 5),
    "odd resolution": melody([(0, 3, 16), (19, 4, 4)], 30, 7, 120),
    "bars of half clocks": melody([(0, 3, 64), (200, 1, 4)], 12, 1, 480),
    "silence of 40 bars": Score(24, (Track(""),), make_notes([(0, 24, 60, 80, 0), (96 * 40, 24, 60, 80, 0)])),
}


@pytest.mark.parametrize("score", SCORES.values(), ids=list(SCORES))
@pytest.mark.parametrize("ends", ["whole", "half"])
def test_walking_token_by_token_agrees_with_the_whole_piece(score: Score, ends: str) -> None:
    """Also where the grid ends half-way and its last meter goes on."""
    grid = BarGrid.of(score)
    lines = P.BarLines.of(grid if ends == "whole" else BarGrid.of(score, int(grid.starts[len(grid) // 2 + 1])))
    ids = encode(score).ids
    walk = P.Walk(lines, [0, 0])
    walked = np.stack([walk.advance(np.array([token, token])) for token in ids])
    assert np.array_equal(walked[:, 0], P.places(ids, lines))
    assert np.array_equal(walked[:, 1], P.places(ids, lines))


@pytest.mark.parametrize("score", SCORES.values(), ids=list(SCORES))
def test_bars_that_follow_are_those_a_longer_grid_would_lay(score: Score) -> None:
    grid = BarGrid.of(score)
    longer = P.BarLines.of(BarGrid.of(score, int(grid.starts[-1]) + 7 * int(grid.starts[-1] - grid.starts[-2])))
    clock = np.arange(longer.starts[-1])
    short = P.BarLines.of(grid)
    assert np.array_equal(short.at(clock), longer.at(clock))
    assert np.array_equal(short.bar_of(clock), longer.bar_of(clock))
    assert [short.start(bar) for bar in range(len(longer.starts))] == longer.starts.tolist()


@pytest.mark.parametrize("path", DEMO[:3], ids=lambda p: p.stem)
def test_the_bar_of_a_note_is_the_bar_the_vae_reads_it_in(path: Path) -> None:
    from engine.tokens.bars import to_bars

    score = midi.read(path)
    grid = BarGrid.of(score)
    ids = encode(score).ids
    lines = P.BarLines.of(grid)
    bars = lines.bar_of(P.clocks_of(ids))[np.isin(ids, FAMILIES["NOTE_ON"].ids)]
    assert np.array_equal(np.bincount(bars, minlength=len(grid)), np.bincount(to_bars(score, grid)["bar"]))


def test_places_fit_the_tables_of_the_model() -> None:
    score = melody([(0, 32, 4), (32 * 24, 2, 1)], 70)
    found = P.places(encode(score).ids, P.BarLines.of(BarGrid.of(score)))
    assert found.min() == 0
    assert found.max(0).tolist() == [position.PLACES_IN_BEAT - 1, position.BEATS_IN_BAR - 1, 3]
