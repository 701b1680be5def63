"""Every edit keeps what it does not touch, says where the notes went, and returns the same score for no change."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.score import edit
from engine.score.score import Meter, Score, Track, make_notes
from engine.score.timing import BarGrid

notes = st.tuples(
    st.integers(0, 4000), st.integers(0, 500), st.integers(0, 127), st.integers(1, 127), st.integers(0, 2)
)
songs = st.lists(notes, max_size=20).map(lambda rows: Score(96, (Track("a"), Track("b"), Track("c")), make_notes(rows)))


@st.composite
def song_and_rows(draw: st.DrawFn) -> tuple[Score, np.ndarray]:
    song = draw(songs)
    mask = draw(st.lists(st.booleans(), min_size=len(song.notes), max_size=len(song.notes)))
    return song, np.flatnonzero(mask)


@pytest.fixture
def song() -> Score:
    rows = [(0, 96, 60, 80, 0), (96, 96, 64, 90, 0), (192, 48, 67, 100, 1), (384, 192, 72, 110, 1)]
    return Score(96, (Track("right"), Track("left")), make_notes(rows))


def others(score: Score, rows: np.ndarray) -> list[tuple]:
    return np.delete(score.notes, rows).tolist()


@given(song_and_rows(), st.integers(-5000, 5000), st.integers(-140, 140))
def test_move_keeps_the_group_together_and_all_else_in_place(
    case: tuple[Score, np.ndarray], ticks: int, semitones: int
) -> None:
    song, rows = case
    moved, now = edit.move(song, rows, ticks, semitones)
    assert len(now) == len(rows)
    assert others(moved, now) == others(song, rows)
    assert (moved.notes["tick"] >= 0).all()
    assert (moved.notes["pitch"] <= 127).all()
    before, after = song.notes[rows], moved.notes[now]
    shift = np.sort(after["tick"]) - np.sort(before["tick"])
    assert len(set(shift.tolist())) <= 1
    assert sorted(after["duration"].tolist()) == sorted(before["duration"].tolist())


@given(song_and_rows(), st.integers(-30, 30))
def test_a_group_that_would_leave_the_range_is_not_transposed(case: tuple[Score, np.ndarray], semitones: int) -> None:
    song, rows = case
    moved, now = edit.transpose(song, rows, semitones)
    before = song.notes["pitch"][rows].astype(int)
    leaves = len(rows) and (before.min() + semitones < 0 or before.max() + semitones > 127)
    if leaves:
        assert moved is song
    else:
        assert sorted(moved.notes["pitch"][now].tolist()) == sorted((before + semitones).tolist())
        assert others(moved, now) == others(song, rows)


@given(song_and_rows(), st.integers(-600, 600), st.sampled_from(["start", "end"]), st.integers(1, 48))
def test_resize_moves_one_edge_and_leaves_a_rest_of_the_note(
    case: tuple[Score, np.ndarray], ticks: int, edge: str, minimum: int
) -> None:
    song, rows = case
    resized, now = edit.resize(song, rows, ticks, edge, minimum)  # type: ignore[arg-type]
    assert others(resized, now) == others(song, rows)
    assert (resized.notes["duration"] >= np.min(np.append(song.notes["duration"], minimum))).all()
    before, after = song.notes[rows], resized.notes[now]
    if edge == "end":
        assert sorted(after["tick"].tolist()) == sorted(before["tick"].tolist())
    else:
        assert sorted((after["tick"] + after["duration"]).tolist()) == sorted(
            (before["tick"] + before["duration"]).tolist()
        )


@given(song_and_rows())
def test_delete_leaves_exactly_the_others_and_insert_brings_them_back(case: tuple[Score, np.ndarray]) -> None:
    song, rows = case
    left = edit.delete(song, rows)
    assert left.notes.tolist() == others(song, rows)
    whole, now = edit.insert(left, song.notes[rows])
    assert sorted(whole.notes.tolist()) == sorted(song.notes.tolist())
    assert sorted(whole.notes[now].tolist()) == sorted(song.notes[rows].tolist())


@given(song_and_rows())
def test_what_changes_nothing_returns_the_same_score(case: tuple[Score, np.ndarray]) -> None:
    song, rows = case
    velocities = song.notes["velocity"][rows]
    assert edit.move(song, rows, 0, 0).score is song
    assert edit.transpose(song, rows, 0).score is song
    assert edit.resize(song, rows, 0).score is song
    assert edit.set_velocity(song, rows, velocities).score is song
    assert edit.delete(song, []) is song
    assert edit.insert(song, make_notes()).score is song


def test_an_edit_never_writes_into_the_old_score(song: Score) -> None:
    before = song.notes.tobytes()
    edit.move(song, [0, 1], 10, 2)
    edit.resize(song, [2], 20)
    edit.shift_velocity(song, [0, 1, 2], 5)
    assert song.notes.tobytes() == before
    assert not edit.move(song, [0], 5).score.notes.flags.writeable


def test_velocities_stay_within_1_and_127(song: Score) -> None:
    louder = edit.shift_velocity(song, [0, 3], 40).score
    assert louder.notes["velocity"].tolist() == [120, 90, 100, 127]
    assert edit.shift_velocity(song, [0], -200).score.notes["velocity"][0] == 1
    assert edit.set_velocity(song, [0, 1], [5, 6]).score.notes["velocity"].tolist() == [5, 6, 100, 110]


def test_a_third_up_in_c_major(song: Score) -> None:
    c_major = frozenset({0, 2, 4, 5, 7, 9, 11})
    assert edit.transpose_in_scale(song, [0, 1, 2, 3], 2, c_major).score.notes["pitch"].tolist() == [64, 67, 71, 76]
    sharp = edit.transpose(song, [0], 1).score  # C sharp lies between two steps
    assert edit.transpose_in_scale(sharp, [0], 1, c_major).score.notes["pitch"][0] == 62
    assert edit.transpose_in_scale(sharp, [0], -1, c_major).score.notes["pitch"][0] == 60
    top = edit.transpose(song, [3], 55).score
    assert edit.transpose_in_scale(top, [3], 1, c_major).score is top


def test_the_grid_counts_from_every_bar_line() -> None:
    song = Score(96, (Track(),), make_notes([(0, 2000, 60, 64, 0)]), (Meter(0, 7, 16), Meter(168, 4, 4)))
    grid = BarGrid.of(song)  # a bar of 168 ticks, which a quarter does not divide, then bars of 384
    near = edit.to_grid([0, 90, 130, 160, 210, 260], grid, 96.0)
    assert near.tolist() == [0, 96, 96, 168, 168, 264]
    assert edit.to_grid([95, 97, 263], grid, 96.0, "down").tolist() == [0, 96, 168]
    assert edit.to_grid([1, 97, 169], grid, 96.0, "up").tolist() == [96, 168, 264]


@given(song_and_rows(), st.sampled_from([24.0, 32.0, 96.0, 64 / 3]))
def test_quantised_onsets_lie_on_the_grid_and_stay_there(case: tuple[Score, np.ndarray], step: float) -> None:
    song, rows = case
    grid = BarGrid.of(song)
    once, now = edit.quantise(song, rows, grid, step)
    assert others(once, now) == others(song, rows)
    assert edit.quantise(once, now, grid, step).score is once
    half = edit.quantise(song, rows, grid, step, 0.5).score
    assert len(half.notes) == len(song.notes)


def test_a_duplicate_is_what_is_chosen_afterwards(song: Score) -> None:
    twice, now = edit.duplicate(song, [0, 1], 192)
    assert len(twice.notes) == 6
    assert twice.notes["tick"][now].tolist() == [192, 288]
    assert twice.notes["pitch"][now].tolist() == [60, 64]


def test_a_clip_fits_another_resolution(song: Score) -> None:
    clip = edit.copy(song, [1, 2])
    other = Score(480, (Track(),), make_notes())
    pasted, now = edit.paste(other, clip, 1000)
    assert pasted.notes[now].tolist() == [(1000, 480, 64, 90, 0), (1480, 240, 67, 100, 0)]
    assert edit.paste(song, clip, 0, track=1).score.notes["track"].tolist().count(1) == 4
