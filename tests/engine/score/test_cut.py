"""Bars cut out of a score: what stands at the cut still holds, and nothing outlasts the last bar."""

from __future__ import annotations

from engine.score import Event, Meter, Score, Tempo, Track
from engine.score.cut import cut
from engine.score.score import make_notes
from engine.score.timing import BarGrid

# Two bars of 4/4, then 3/4, at 480 ticks a quarter: bars begin at 0, 1920, 3840, 5280.
SCORE = Score(
    480,
    (Track("a"), Track("b", channel=1)),
    make_notes(
        [
            (0, 480, 60, 80, 0),
            (1915, 200, 62, 80, 0),  # played a hair early: it belongs to bar 1
            (2000, 4000, 64, 80, 1),  # rings on past bar 2
            (3840, 480, 65, 80, 0),
            (5280, 480, 67, 80, 0),
        ]
    ),
    (Meter(0, 4, 4), Meter(3840, 3, 4)),
    (Tempo(0, 500_000), Tempo(1000, 400_000), Tempo(4000, 600_000)),
    (
        Event(0, 0, b"\xff\x03a"),
        Event(0, 0, b"\xff\x05la"),
        Event(0, 0, b"\xb0\x40\x7f"),
        Event(900, 0, b"\xb0\x40\x00"),
        Event(950, 0, b"\xb0\x07\x64"),
        Event(960, 1, b"\xc1\x05"),
        Event(2400, 0, b"\xff\x05lu"),
        Event(5300, 0, b"\xb0\x40\x7f"),
    ),
)
GRID = BarGrid.of(SCORE)


def test_only_the_notes_of_these_bars_are_left_and_none_outlasts_them() -> None:
    part = cut(SCORE, GRID, range(1, 3))
    rows = [tuple(int(x) for x in row) for row in part.notes]
    assert rows == [(0, 195, 62, 80, 0), (80, 5280 - 2000, 64, 80, 1), (1920, 480, 65, 80, 0)]
    assert len(BarGrid.of(part)) == 2


def test_meter_and_tempo_in_force_hold_from_the_first_tick() -> None:
    part = cut(SCORE, GRID, range(1, 3))
    assert part.meters == (Meter(0, 4, 4), Meter(1920, 3, 4))
    assert part.tempi == (Tempo(0, 400_000), Tempo(2080, 600_000))
    assert cut(SCORE, GRID, range(2, 3)).meters == (Meter(0, 3, 4),)


def test_of_events_before_the_cut_only_what_still_holds_is_kept() -> None:
    kept = [(e.tick, e.data) for e in cut(SCORE, GRID, range(1, 3)).events]
    assert kept == [
        (0, b"\xff\x03a"),
        (0, b"\xb0\x40\x00"),
        (0, b"\xb0\x07\x64"),
        (0, b"\xc1\x05"),
        (480, b"\xff\x05lu"),
    ]


def test_all_bars_are_the_piece_itself() -> None:
    part = cut(SCORE, GRID, range(len(GRID)))
    assert (part.notes == SCORE.notes).all()
    assert (part.tempi, part.meters, part.events) == (SCORE.tempi, SCORE.meters, SCORE.events)
