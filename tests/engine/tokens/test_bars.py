"""Bars of notes: there and back exactly, and nothing lost that the model does not speak for."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.score import Meter, Score, Track, make_notes, midi
from engine.score.timing import BarGrid
from engine.tokens.bars import from_bars, is_modelled, part_tracks, replace_bars, to_bars

DEMO = sorted((Path(__file__).resolve().parents[3] / "assets" / "demo").glob("*.mid"))
Rows = list[tuple[int, int, int, int, int]]


def piece(rows: Rows, tpq: int = 480, meters: tuple[Meter, ...] = (Meter(0, 4, 4),), drums: bool = False) -> Score:
    tracks = (Track("a", 0, 0), Track("b", 40, 1), Track("drums", 0, 9, True) if drums else Track("c", 42, 2))
    return Score(tpq, tracks, make_notes(rows), meters)


def back_and_forth(score: Score) -> None:
    """The modelled notes come back bit for bit, whatever bar, meter or micro-timing they have."""
    grid = BarGrid.of(score)
    bars = to_bars(score, grid)
    again = Score(score.ticks_per_quarter, score.tracks, from_bars(bars, score, grid), score.meters).notes
    wanted = score.notes[is_modelled(score)]
    order = ["tick", "track", "pitch", "duration", "velocity"]
    assert np.array_equal(np.sort(again, order=order), np.sort(wanted, order=order))
    assert (bars["onset"] >= 0).all()
    assert (bars["onset"] < grid.clocks[bars["bar"]]).all()
    if score.ticks_per_quarter % 4 == 0 and all(m.denominator <= 16 for m in score.meters):
        assert (np.abs(bars["micro"]) <= 0.5).all()


def test_a_simple_bar() -> None:
    score = piece([(0, 480, 60, 80, 0), (485, 475, 64, 70, 1), (1920, 0, 67, 60, 0)])
    bars = to_bars(score, BarGrid.of(score))
    assert [(b["bar"], b["onset"], b["pitch"], b["part"], b["velocity"]) for b in bars] == [
        (0, 0, 60, 0, 80),
        (0, 24, 64, 1, 70),
        (1, 0, 67, 0, 60),
    ]
    assert bars["micro"].tolist() == [0, 0.25, 0]
    assert bars["duration"].tolist() == [24, 23.75, 0]
    back_and_forth(score)


def test_a_note_just_before_the_bar_line_belongs_to_the_bar_it_announces() -> None:
    score = piece([(0, 480, 60, 80, 0), (1915, 480, 62, 80, 0), (1900, 9, 64, 80, 0)])
    bars = to_bars(score, BarGrid.of(score))
    assert [(b["bar"], b["onset"], b["pitch"]) for b in bars] == [(0, 0, 60), (0, 95, 64), (1, 0, 62)]
    assert bars["micro"][-1] == pytest.approx(-0.25)
    back_and_forth(score)


def test_so_does_the_last_note_though_nothing_follows_it() -> None:
    for tpq, tick in ((480, 1915), (480, 1920), (120, 479), (100, 398)):
        score = piece([(0, 96, 60, 80, 0), (tick, 1, 62, 80, 0)], tpq)
        last = to_bars(score, BarGrid.of(score))[-1]
        assert (last["bar"], last["onset"]) == (1, 0)
        back_and_forth(score)


def test_a_note_more_than_half_a_clock_before_the_bar_line_stays() -> None:
    for tpq, tick in ((480, 1909), (120, 477), (100, 397)):
        bars = to_bars(score := piece([(tick, 100, 62, 80, 0)], tpq), BarGrid.of(score))
        assert bars["bar"].tolist() == [0]
        assert bars["onset"].tolist() == [95]


def test_a_bar_of_ninety_nine_notes_keeps_them_all() -> None:
    rows = [((i // 3) * 58, 40 + i, 30 + i % 70, 20 + i, i % 2) for i in range(99)]
    score = piece(rows)
    grid = BarGrid.of(score)
    bars = to_bars(score, grid)
    assert np.bincount(bars["bar"]).tolist() == [99]
    back_and_forth(score)


@pytest.mark.parametrize(
    "meters",
    [
        (Meter(0, 1, 8), Meter(240, 4, 4)),  # a pickup of an eighth
        (Meter(0, 12, 4),),
        (Meter(0, 5, 8), Meter(1200, 7, 16), Meter(3000, 3, 4)),
        (Meter(0, 6, 8), Meter(1000, 2, 2)),  # changes inside a bar
    ],
    ids=["pickup", "12/4", "odd", "inside a bar"],
)
def test_every_meter_comes_back(meters: tuple[Meter, ...]) -> None:
    back_and_forth(piece([(i * 133, i * 7, 40 + i, 64, i % 3) for i in range(60)], meters=meters))


def test_a_meter_of_twelve_quarters_has_288_clocks() -> None:
    grid = BarGrid.of(piece([(0, 5760, 60, 64, 0)], meters=(Meter(0, 12, 4),)))
    assert grid.clocks.tolist() == [288]


def test_doublings_keep_their_part() -> None:
    score = piece([(0, 480, 60, 80, 0), (0, 480, 60, 81, 1), (0, 240, 60, 82, 1)])
    assert to_bars(score, BarGrid.of(score))["part"].tolist() == [0, 1, 1]
    back_and_forth(score)


def test_drums_far_pitches_and_a_seventeenth_part_are_not_modelled() -> None:
    tracks = (Track("", 0, 9, True), *(Track("", 0, 0) for _ in range(18)))
    rows = [(0, 48, 60, 80, t) for t in range(19)] + [(0, 48, p, 80, 1) for p in (20, 109)]
    score = Score(96, tracks, make_notes(rows))
    assert part_tracks(score).tolist() == list(range(1, 17))
    assert int(is_modelled(score).sum()) == 16


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 9000), st.integers(0, 4000), st.integers(0, 127), st.integers(1, 127), st.integers(0, 2)
        ),
        max_size=60,
    ),
    st.sampled_from([24, 96, 120, 384, 480, 960, 1024]),
    st.lists(st.tuples(st.integers(0, 9000), st.integers(1, 13), st.sampled_from([2, 4, 8, 16])), max_size=4),
)
def test_any_piece_comes_back(rows: Rows, tpq: int, changes: list[tuple[int, int, int]]) -> None:
    meters = {0: Meter(0, 4, 4)} | {t: Meter(t, n, d) for t, n, d in changes}
    back_and_forth(piece(rows, tpq, tuple(m for _, m in sorted(meters.items()))))


# ---------------------------------------------------------------- replacing


def groove() -> Score:
    return midi.read(next(p for p in DEMO if p.stem == "groove"))


def test_replacing_bars_by_themselves_changes_nothing() -> None:
    score = groove()
    grid = BarGrid.of(score)
    notes = replace_bars(score, grid, to_bars(score, grid), np.ones(len(grid), bool))
    order = ["tick", "track", "pitch", "duration"]
    assert np.array_equal(np.sort(notes, order=order), np.sort(score.notes, order=order))


def test_replacing_bars_leaves_the_rest_bit_for_bit() -> None:
    score = groove()
    grid = BarGrid.of(score)
    bars = to_bars(score, grid)
    where = np.zeros(len(grid), bool)
    where[4:8] = True
    louder = bars.copy()
    louder["velocity"] = 127
    notes = Score(score.ticks_per_quarter, score.tracks, replace_bars(score, grid, louder, where)).notes
    assert len(notes) == len(score.notes)
    drums = score.notes["track"] == 3
    assert np.array_equal(notes[notes["track"] == 3], score.notes[drums])
    changed = np.flatnonzero(notes["velocity"] != score.notes["velocity"])
    touched = set(grid.bar_of(score.notes["tick"][changed] + 20).tolist())
    assert touched == {4, 5, 6, 7}
    for field in ("tick", "duration", "pitch", "track"):
        assert np.array_equal(notes[field], score.notes[field])


def test_replacing_by_nothing_removes_only_modelled_notes() -> None:
    rows = [(0, 48, 60, 80, 0), (0, 48, 20, 80, 0), (10, 48, 36, 80, 2), (1920, 48, 62, 80, 1)]
    score = piece(rows, drums=True)
    grid = BarGrid.of(score)
    bars = to_bars(score, grid)
    left = replace_bars(score, grid, bars[:0], np.array([True, False]))
    assert sorted(left["pitch"].tolist()) == [20, 36, 62]


def test_real_files_come_back(music: Path) -> None:
    with (music / "valid.tsv").open(encoding="utf-8") as lines:
        files = [music / row["path"] for row in csv.DictReader(lines, delimiter="\t")]
    fullest = 0
    for path in files:
        score = midi.read_notes(path)
        back_and_forth(score)
        fullest = max(fullest, int(np.bincount(to_bars(score, BarGrid.of(score))["bar"]).max()))
    print(f"{len(files)} real files in bars and back: every note exact; the fullest bar has {fullest}")  # noqa: T201


@pytest.mark.parametrize("path", DEMO, ids=lambda p: p.stem)
def test_demo_pieces_come_back(path: Path) -> None:
    back_and_forth(midi.read(path))
