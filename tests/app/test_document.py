"""Undo brings back the identical score, a drag is one step, and the dirty mark tells the truth."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from app.document import Document, empty_score
from engine.score import edit
from engine.score.score import Score, Track, make_notes


@pytest.fixture
def song() -> Score:
    return Score(96, (Track("Piano"),), make_notes([(i * 96, 96, 60 + i, 80, 0) for i in range(8)]))


@pytest.fixture
def document(song: Score, qapp: object) -> Document:
    return Document(song)


def moved(song: Score, ticks: int) -> Score:
    return edit.move(song, [0, 1], ticks).score


def test_undo_restores_the_identical_object(document: Document, song: Score) -> None:
    steps = [song]
    for i in range(5):
        steps.append(moved(steps[-1], i + 1))
        document.change(steps[-1], f"step {i}")
    for step in reversed(steps[:-1]):
        document.undo_stack.undo()
        assert document.score is step
    for step in steps[1:]:
        document.undo_stack.redo()
        assert document.score is step


def test_a_drag_is_one_step(document: Document, song: Score) -> None:
    drag = object()
    for ticks in range(1, 50):
        document.change(moved(song, ticks), "Move notes", drag)
    assert document.undo_stack.count() == 1
    assert document.undo_stack.undoText() == "Move notes"
    assert document.previous is song
    document.undo_stack.undo()
    assert document.score is song


def test_two_drags_are_two_steps(document: Document, song: Score) -> None:
    document.change(moved(song, 1), "Move notes", object())
    document.change(moved(song, 2), "Move notes", object())
    assert document.undo_stack.count() == 2


def test_a_drag_back_to_where_it_began_leaves_no_step(document: Document, song: Score) -> None:
    drag = object()
    document.change(moved(song, 5), "Move notes", drag)
    document.change(song, "Move notes", drag)
    assert document.score is song
    assert document.undo_stack.count() == 0
    assert not document.is_dirty
    assert document.piece_base is song


def test_changed_is_told_once_for_each_change(document: Document, song: Score, qtbot: QtBot) -> None:
    heard: list[Score] = []
    document.changed.connect(heard.append)
    one, two = moved(song, 1), moved(song, 2)
    document.change(one, "a", "key")
    document.change(two, "a", "key")
    document.change(two, "nothing")
    document.undo_stack.undo()
    assert heard == [one, two, song]


def test_a_change_after_undo_forgets_the_future(document: Document, song: Score) -> None:
    document.change(moved(song, 1), "a")
    document.undo_stack.undo()
    other = moved(song, 7)
    document.change(other, "b")
    assert document.undo_stack.count() == 1
    assert document.score is other
    assert document.previous is song


def test_the_dirty_mark(document: Document, song: Score, qtbot: QtBot) -> None:
    heard: list[bool] = []
    document.dirty_changed.connect(heard.append)
    assert not document.is_dirty
    document.change(moved(song, 1), "a", "key")
    assert document.is_dirty
    document.mark_saved(Path("song.morphony"))
    assert not document.is_dirty
    assert document.path == Path("song.morphony")
    document.change(moved(song, 2), "a", "key")  # not merged into what was saved
    assert document.undo_stack.count() == 2
    document.undo_stack.undo()
    assert not document.is_dirty
    assert heard == [True, False, True, False]


def test_a_proposal_is_not_part_of_the_song(document: Document, song: Score) -> None:
    heard: list[Score | None] = []
    document.previewed.connect(heard.append)
    proposal = moved(song, 3)
    document.preview(proposal)
    assert document.score is song
    assert not document.is_dirty
    document.preview(None)
    document.preview(proposal)
    document.accept("Vary")
    assert document.score is proposal
    assert document.proposal is None
    assert heard == [proposal, None, proposal, None]


def test_the_sliders_count_from_what_hands_made(document: Document, song: Score) -> None:
    morphed = moved(song, 3)
    document.change(morphed, "Density", "slider", keep_base=True)
    assert document.piece_base is song
    by_hand = moved(morphed, 3)
    document.change(by_hand, "Move notes")
    assert document.piece_base is by_hand
    document.undo_stack.undo()
    assert document.piece_base is song
    document.undo_stack.undo()
    assert document.piece_base is song


def test_another_song_ends_the_history(document: Document, song: Score) -> None:
    document.change(moved(song, 1), "a")
    other = empty_score()
    heard: list[Score] = []
    document.changed.connect(heard.append)
    document.load(other, Path("other.mid"))
    assert document.score is document.piece_base is other
    assert document.undo_stack.count() == 0
    assert not document.is_dirty
    assert heard == [other]


def test_many_steps_stay_within_the_limit(document: Document, song: Score) -> None:
    for i in range(600):
        document.change(moved(song, i % 7 + 1), f"step {i}")
    assert document.undo_stack.count() <= 500
    while document.undo_stack.canUndo():
        document.undo_stack.undo()
    assert document.score is not song
