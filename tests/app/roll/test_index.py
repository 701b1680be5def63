"""The sorted arrays answer as a loop over all notes would."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from app.roll.index import NoteIndex, fingerprints
from app.roll.traces import Traces
from engine.score import edit
from engine.score.score import Score, Track, make_notes

notes = st.tuples(st.integers(0, 500), st.integers(0, 300), st.integers(0, 127), st.integers(1, 127), st.just(0))
songs = st.lists(notes, max_size=30).map(lambda rows: Score(96, (Track(),), make_notes(rows)))


@given(songs, st.integers(0, 600), st.integers(1, 300))
def test_between_finds_what_sounds_or_begins(song: Score, start: int, length: int) -> None:
    stop = start + length
    expected = [
        row
        for row, (tick, duration, *_) in enumerate(song.notes.tolist())
        if tick < stop and (tick + duration > start or tick >= start)
    ]
    assert NoteIndex(song.notes).between(start, stop).tolist() == expected


@given(songs, st.integers(0, 600))
def test_sounding(song: Score, tick: int) -> None:
    expected = [row for row, (t, d, *_) in enumerate(song.notes.tolist()) if t <= tick < t + d]
    assert NoteIndex(song.notes).sounding(tick).tolist() == expected


@given(songs)
def test_fingerprints_are_equal_exactly_where_notes_are(song: Score) -> None:
    prints = fingerprints(song.notes).tolist()
    assert len(set(prints)) == len(set(song.notes.tolist()))


def test_kept_notes_keep_their_identity_and_new_ones_glow() -> None:
    song = Score(96, (Track(),), make_notes([(i * 10, 10, 60, 80, 0) for i in range(10)]))
    traces = Traces(song)
    assert not traces.is_moving(0.4)
    after, rows = edit.transpose(song, [2, 5], 3)
    traces.arrive(after, song, by_hand=False)
    assert np.flatnonzero(traces.born > 0).tolist() == rows.tolist()
    assert len(traces.ghosts) == 2
    assert traces.is_moving(0.4)
    first = traces.born[rows[0]]
    again, _ = edit.transpose(after, [7], 3)
    traces.arrive(again, song, by_hand=False)
    assert traces.born[2] == first
    assert len(traces.ghosts) == 3


def test_a_hand_leaves_no_glow_and_no_ghost() -> None:
    song = Score(96, (Track(),), make_notes([(0, 10, 60, 80, 0)]))
    traces = Traces(song)
    traces.arrive(edit.transpose(song, [0], 3).score, song, by_hand=True)
    assert not traces.is_moving(0.4)
    assert len(traces.ghosts) == 0


def test_a_proposal_says_what_comes_and_what_goes() -> None:
    song = Score(96, (Track(),), make_notes([(i * 10, 10, 60, 80, 0) for i in range(4)]))
    traces = Traces(song)
    traces.propose(edit.transpose(song, [1], 3).score)
    assert traces.proposed.pitch.tolist() == [63]
    assert traces.leaving.tolist() == [False, True, False, False]
    traces.propose(None)
    assert not traces.has_proposal
