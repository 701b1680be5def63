"""Every key of the table, pressed in a window; every change is one step of undo."""

from __future__ import annotations

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QKeySequence
from PySide6.QtTest import QTest
from pytestqt.qtbot import QtBot

from app.panels.quantise import QuantiseOptions
from app.roll.shortcuts import SHORTCUTS
from engine.score import edit
from engine.score.score import Score

Key = Qt.Key
SHIFT, CTRL, ALT = (
    Qt.KeyboardModifier.ShiftModifier,
    Qt.KeyboardModifier.ControlModifier,
    Qt.KeyboardModifier.AltModifier,
)
NONE = Qt.KeyboardModifier.NoModifier
FIRST = (0, 96, 60, 64, 0)

EDITS = {  # keys on the first note -> what becomes of it
    "up": (Key.Key_Up, NONE, (0, 96, 61, 64, 0)),
    "down": (Key.Key_Down, NONE, (0, 96, 59, 64, 0)),
    "octave_up": (Key.Key_Up, SHIFT, (0, 96, 72, 64, 0)),
    "octave_down": (Key.Key_Down, SHIFT, (0, 96, 48, 64, 0)),
    "octave_up by Ctrl": (Key.Key_Up, CTRL, (0, 96, 72, 64, 0)),
    "octave_down by Ctrl": (Key.Key_Down, CTRL, (0, 96, 48, 64, 0)),
    "later": (Key.Key_Right, NONE, (24, 96, 60, 64, 0)),
    "later_fine": (Key.Key_Right, ALT, (1, 96, 60, 64, 0)),
    "longer": (Key.Key_Right, SHIFT, (0, 120, 60, 64, 0)),
    "shorter": (Key.Key_Left, SHIFT, (0, 72, 60, 64, 0)),
    "start_later": (Key.Key_Right, ALT | SHIFT, (24, 72, 60, 64, 0)),
    "louder": (Key.Key_Up, ALT | SHIFT, (0, 96, 60, 68, 0)),
    "softer": (Key.Key_Down, ALT | SHIFT, (0, 96, 60, 60, 0)),
}


@pytest.mark.parametrize("name", EDITS)
def test_a_key_changes_the_selected_note_in_one_step(hand, song: Score, name: str) -> None:
    key, modifiers, expected = EDITS[name]
    hand.view.select([0])
    hand.key(key, modifiers)
    assert hand.notes[hand.chosen[0]] == expected
    assert hand.steps == 1
    hand.document.undo_stack.undo()
    assert hand.document.score is song
    assert hand.chosen == [0]


def test_in_scale(hand) -> None:
    scale = hand.view.state.scale
    assert scale is not None
    hand.view.select([0])
    hand.key(Key.Key_Up, ALT)
    up = hand.notes[hand.chosen[0]][2]
    assert up % 12 in scale.pitch_classes
    assert up > 60
    hand.key(Key.Key_Down, ALT)
    assert hand.notes[hand.chosen[0]][2] < up


@pytest.mark.parametrize("key", [Key.Key_Delete, Key.Key_Backspace])
def test_delete(hand, song: Score, key: Qt.Key) -> None:
    hand.view.select([0, 2])
    hand.key(key)
    assert [n[2] for n in hand.notes] == [62, 66]
    assert hand.chosen == []
    hand.document.undo_stack.undo()
    assert hand.document.score is song


def test_copy_cut_paste(hand) -> None:
    hand.view.select([0, 1])
    hand.key(Key.Key_C, CTRL)
    assert hand.steps == 0
    hand.view.set_playhead(393)
    hand.key(Key.Key_V, CTRL)
    assert [n[:3] for n in hand.notes[4:]] == [(384, 96, 60), (480, 96, 62)]
    assert hand.chosen == [4, 5]
    hand.key(Key.Key_X, CTRL)
    assert len(hand.notes) == 4
    assert hand.steps == 2


def test_duplicate_repeats_after_the_end(hand) -> None:
    hand.view.select([0, 1])
    hand.key(Key.Key_D, CTRL)
    assert (192, 96, 60, 64, 0) in hand.notes
    assert (288, 96, 62, 72, 0) in hand.notes
    hand.key(Key.Key_D, CTRL)
    assert (384, 96, 60, 64, 0) in hand.notes
    assert hand.steps == 2


def test_select_all_and_nothing(hand) -> None:
    hand.key(Key.Key_A, CTRL)
    assert hand.chosen == [0, 1, 2, 3]
    hand.key(Key.Key_Escape)
    assert hand.chosen == []


def test_walking_from_note_to_note(hand) -> None:
    walked = []
    for keys in (CTRL, CTRL, CTRL | SHIFT):
        hand.key(Key.Key_Right, keys)
        walked.append(hand.chosen)
    assert walked == [[0], [1], [1, 2]]
    hand.key(Key.Key_Left, CTRL)
    assert hand.chosen == [0]


def test_quantise(hand) -> None:
    hand.view.select([0])
    for _ in range(5):
        hand.key(Key.Key_Right, ALT)
    hand.key(Key.Key_Q)
    assert hand.notes[0] == FIRST
    assert hand.chosen == [0]


def options(hand) -> QuantiseOptions:
    hand.key(Key.Key_Q, SHIFT)
    found = hand.view.findChildren(QuantiseOptions)[-1]
    assert found.isVisible()
    return found


def test_quantise_options_half_way_and_q_remembers(hand) -> None:
    hand.view.select([0])
    for _ in range(8):
        hand.key(Key.Key_Right, ALT)
    panel = options(hand)
    panel.strength.setValue(50)
    QTest.keyClick(panel, Key.Key_Return)
    assert not panel.isVisible()
    assert hand.notes[0][0] == 4
    hand.key(Key.Key_Q)
    assert hand.notes[0][0] == 2


def test_quantise_with_swing_and_ends(hand) -> None:
    hand.view.select([0, 1])
    hand.view.state.edit(edit.move(hand.document.score, [0, 1], 22), "Move notes")
    hand.view.state.edit(edit.resize(hand.document.score, [0, 1], 9), "Change note lengths")
    panel = options(hand)
    panel.grid.setCurrentText("1/16")
    panel.swing.setValue(50)
    panel.ends.setChecked(True)
    panel.do.click()
    assert [n[:3] for n in hand.notes[:2]] == [(36, 96, 60), (132, 96, 62)]
    before = hand.document.score
    hand.key(Key.Key_Q)
    assert hand.document.score is before  # what lies on the grid stays


def test_esc_in_the_options_changes_nothing(hand, song: Score) -> None:
    panel = options(hand)
    panel.strength.setValue(10)
    QTest.keyClick(panel, Key.Key_Escape)
    assert hand.document.score is song
    assert hand.view.state.quantising.strength == 1.0


def test_a_ramp_runs_from_the_first_note_to_the_last(hand, song: Score) -> None:
    hand.view.select([0, 1, 2, 3])
    hand.view.state.edit(edit.set_velocity(song, [0, 1, 2, 3], [10, 100, 1, 40]), "Change velocity")
    hand.key(Key.Key_R, ALT | SHIFT)
    assert [n[3] for n in hand.notes] == [10, 20, 30, 40]


def test_the_playhead_goes_from_bar_to_bar(hand) -> None:
    heard: list[int] = []
    hand.view.seek_requested.connect(heard.append)
    hand.view.set_playhead(400)
    hand.key(Key.Key_Period)
    hand.key(Key.Key_Comma)
    hand.view.set_playhead(384)
    hand.key(Key.Key_Comma)
    assert heard == [768, 384, 0]


def test_insert_writes_at_the_playhead_and_asks_to_go_on(hand, qtbot: QtBot) -> None:
    hand.view.set_playhead(480)
    with qtbot.waitSignal(hand.view.seek_requested) as heard:
        hand.key(Key.Key_Insert)
    assert (480, 24, 60, 96, 0) in hand.notes
    assert heard.args == [504]


def test_options_toggle(hand) -> None:
    state = hand.view.state
    for key, read in (
        (Key.Key_B, lambda: state.pencil),
        (Key.Key_N, lambda: state.snap.on),
        (Key.Key_G, lambda: state.show_ghosts),
        (Key.Key_K, lambda: state.show_scale),
        (Key.Key_F, lambda: hand.view.follow),
    ):
        before = read()
        hand.key(key)
        assert read() is not before
    assert hand.view.action("pencil").isChecked()
    assert not hand.view.action("snap").isChecked()


def test_tracks_one_after_another(hand) -> None:
    seen = []
    for _ in range(3):
        hand.key(Key.Key_T)
        seen.append(hand.view.state.track)
    assert seen == [0, 1, None]


def test_loop_the_bars_of_the_selection_and_again_to_end_it(hand, qtbot: QtBot) -> None:
    hand.view.select([1])
    heard: list[object] = []
    hand.view.loop_requested.connect(heard.append)
    hand.key(Key.Key_L)
    hand.key(Key.Key_L)
    assert heard == [(0, 384), None]


def test_mark_the_bars_of_the_selection_and_let_them_go(hand, qtbot: QtBot) -> None:
    heard: list[object] = []
    hand.view.bars_selected.connect(heard.append)
    hand.view.select([0])
    hand.view.state.edit(edit.move(hand.document.score, [0], 400), "Move notes")
    hand.key(Key.Key_M)
    hand.key(Key.Key_M)
    assert heard == [range(1, 2), None]


def test_scroll_up_and_down(hand) -> None:
    top = hand.view.state.view.top
    hand.key(Key.Key_PageDown, CTRL)
    assert hand.view.state.view.top > top
    hand.key(Key.Key_PageUp, CTRL)
    assert hand.view.state.view.top == pytest.approx(top)


def test_zoom_and_pages(hand) -> None:
    state = hand.view.state
    scale, row = state.view.px_per_tick, state.view.row
    hand.key(Key.Key_Equal, CTRL)
    assert state.view.px_per_tick > scale
    hand.key(Key.Key_Minus, CTRL)
    assert state.view.px_per_tick == pytest.approx(scale)
    hand.key(Key.Key_Plus, CTRL | SHIFT)
    assert state.view.row > row
    hand.key(Key.Key_PageDown)
    assert state.view.left > 100
    hand.key(Key.Key_0, CTRL)
    first, last = hand.view.visible_ticks()
    assert first <= 0
    assert last >= 384


def test_esc_takes_a_proposal_away_before_the_selection(hand, song: Score) -> None:
    hand.view.select([0])
    hand.document.preview(edit.transpose(song, [1], 4).score)
    hand.key(Key.Key_Escape)
    assert hand.document.proposal is None
    assert hand.chosen == [0]


def test_a_group_that_would_leave_the_range_does_not_move(hand) -> None:
    hand.key(Key.Key_A, CTRL)
    for _ in range(20):
        hand.key(Key.Key_Up, SHIFT)
    pitches = [n[2] for n in hand.notes]
    assert max(pitches) <= 127
    assert [p - pitches[0] for p in pitches] == [0, 2, 4, 6]


def test_nothing_selected_nothing_changed(hand, song: Score) -> None:
    for key in (Key.Key_Up, Key.Key_Down, Key.Key_Left, Key.Key_Right, Key.Key_Delete, Key.Key_Q):
        hand.key(key)
    hand.key(Key.Key_D, CTRL)
    hand.key(Key.Key_V, CTRL)
    assert hand.document.score is song
    assert hand.steps == 0


def test_the_table_has_no_key_and_no_name_twice() -> None:
    keys = [QKeySequence(key).toString() for shortcut in SHORTCUTS for key in shortcut.keys]
    assert "" not in keys
    assert len(keys) == len(set(keys))
    names = [shortcut.name for shortcut in SHORTCUTS]
    assert len(names) == len(set(names))
