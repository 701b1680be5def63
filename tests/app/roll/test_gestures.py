"""Each mouse gesture, with the events Qt delivers: what it does, and that it is one step of undo."""

from __future__ import annotations

import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtTest import QTest
from pytestqt.qtbot import QtBot

from engine.score.score import Score

LEFT, RIGHT, MIDDLE = Qt.MouseButton.LeftButton, Qt.MouseButton.RightButton, Qt.MouseButton.MiddleButton
SHIFT, CTRL, ALT = (
    Qt.KeyboardModifier.ShiftModifier,
    Qt.KeyboardModifier.ControlModifier,
    Qt.KeyboardModifier.AltModifier,
)


@pytest.fixture
def undone(hand, song: Score):  # type: ignore[no-untyped-def]
    """Checks at the end that everything was one step, and that undo brings back the identical song."""

    def check() -> None:
        assert hand.steps == 1
        hand.document.undo_stack.undo()
        assert hand.document.score is song

    return check


def test_a_click_selects_and_one_on_empty_ground_lets_go(hand) -> None:
    hand.click(hand.at(40, 60))
    assert hand.chosen == [0]
    hand.click(hand.at(130, 62), keys=SHIFT)
    assert hand.chosen == [0, 1]
    hand.click(hand.at(130, 62), keys=SHIFT)
    assert hand.chosen == [0]
    hand.click(hand.at(220, 64), keys=CTRL)
    assert hand.chosen == [0, 2]
    hand.click(hand.at(700, 60))
    assert hand.chosen == []
    assert hand.steps == 0


def test_a_rubber_band_selects_what_it_touches(hand) -> None:
    hand.drag(hand.at(600, 66), hand.at(150, 61))
    assert hand.chosen == [1, 2, 3]
    hand.drag(hand.at(20, 58), hand.at(80, 60), keys=SHIFT)
    assert hand.chosen == [0, 1, 2, 3]
    hand.drag(hand.at(600, 67), hand.at(300, 64), keys=CTRL)
    assert hand.chosen == [0, 1, 2]


def test_a_note_is_dragged_by_whole_steps(hand, undone) -> None:
    hand.drag(hand.at(40, 60), hand.at(40 + 50, 65))
    assert hand.notes[0][:3] == (48, 96, 65)
    assert hand.chosen == [0]
    undone()


def test_the_selection_is_dragged_together(hand, undone) -> None:
    hand.drag(hand.at(600, 67), hand.at(150, 61))
    hand.drag(hand.at(220, 64), hand.at(220 + 96, 64 - 12))
    assert [n[:3] for n in hand.notes[1:]] == [(192, 96, 50), (288, 96, 52), (384, 96, 54)]
    assert hand.chosen == [1, 2, 3]
    undone()


def test_alt_turns_snap_off(hand, undone) -> None:
    hand.drag(hand.at(40, 60), hand.at(40 + 14, 60), keys=ALT)
    assert hand.notes[0][0] == 14
    undone()


def test_shift_keeps_a_drag_to_one_direction(hand, undone) -> None:
    hand.click(hand.at(40, 60))
    hand.drag(hand.at(40, 60), hand.at(40 + 192, 61), keys=SHIFT)
    assert (192, 96, 60, 64, 0) in hand.notes
    undone()


def test_a_drag_past_the_start_stops_at_tick_0(hand) -> None:
    hand.drag(hand.at(130, 62), hand.at(-20, 62))
    assert hand.notes[0][0] == 0
    assert all(n[0] >= 0 for n in hand.notes)


def test_a_drag_back_home_leaves_no_step(hand, song: Score) -> None:
    start = hand.at(40, 60)
    hand.drag(start, hand.at(200, 66), release=False)
    assert hand.steps == 1
    hand.move(QPointF(start), LEFT)
    QTest.mouseRelease(hand.canvas, LEFT, Qt.KeyboardModifier.NoModifier, start)
    assert hand.steps == 0
    assert hand.document.score is song


def test_esc_ends_a_drag_as_if_it_had_not_begun(hand, song: Score) -> None:
    hand.drag(hand.at(40, 60), hand.at(200, 66), release=False)
    hand.key(Qt.Key.Key_Escape)
    assert hand.document.score is song
    assert hand.steps == 0
    assert hand.chosen == [0]


def test_ctrl_drag_copies(hand, undone) -> None:
    hand.drag(hand.at(40, 60), hand.at(40 + 192, 55), keys=CTRL)
    assert len(hand.notes) == 5
    assert (0, 96, 60, 64, 0) in hand.notes
    assert (192, 96, 55, 64, 0) in hand.notes
    assert hand.notes[hand.chosen[0]][2] == 55
    undone()


def test_the_end_of_a_note_is_dragged(hand, undone) -> None:
    hand.drag(hand.at(95, 60), hand.at(95 + 48, 60))
    assert hand.notes[0][:3] == (0, 144, 60)
    undone()


def test_the_start_of_a_note_is_dragged(hand, undone) -> None:
    hand.drag(hand.at(97, 62), hand.at(97 + 48, 62))
    assert (144, 48, 62, 72, 0) in hand.notes
    undone()


def test_a_note_never_gets_shorter_than_a_step(hand, undone) -> None:
    hand.drag(hand.at(190, 62), hand.at(20, 62))
    assert (96, 24, 62, 72, 0) in hand.notes
    undone()


def test_all_selected_notes_change_length(hand, undone) -> None:
    hand.key(Qt.Key.Key_A, CTRL)
    hand.drag(hand.at(95, 60), hand.at(95 - 48, 60))
    assert {n[1] for n in hand.notes} == {48}
    undone()


def test_the_pencil_draws_the_last_length_and_a_drag_another(hand) -> None:
    hand.key(Qt.Key.Key_B)
    hand.click(hand.at(500, 70))
    assert (480, 24, 70, 96, 0) in hand.notes
    hand.drag(hand.at(600, 72), hand.at(700, 72))
    assert (600, 120, 72, 96, 0) in hand.notes
    hand.click(hand.at(800, 70))
    assert (792, 120, 70, 96, 0) in hand.notes
    assert hand.steps == 3


def test_the_pencil_moves_a_note_it_is_put_on(hand) -> None:
    hand.key(Qt.Key.Key_B)
    hand.drag(hand.at(40, 60), hand.at(40, 58))
    assert len(hand.notes) == 4
    assert hand.notes[0][2] == 58


def test_a_double_click_draws_without_the_pencil(hand, undone) -> None:
    at = hand.at(500, 70)
    QTest.mouseClick(hand.canvas, LEFT, Qt.KeyboardModifier.NoModifier, at)
    QTest.mouseDClick(hand.canvas, LEFT, Qt.KeyboardModifier.NoModifier, at)
    assert (480, 24, 70, 96, 0) in hand.notes
    undone()


def test_drawing_is_heard(hand, qtbot: QtBot) -> None:
    hand.key(Qt.Key.Key_B)
    with qtbot.waitSignal(hand.view.auditioned) as heard:
        hand.click(hand.at(500, 70))
    assert heard.args[0] == 70


def test_a_right_drag_erases_what_it_touches(hand, undone) -> None:
    hand.drag(hand.at(40, 60), hand.at(230, 64), RIGHT, steps=2)
    assert [n[2] for n in hand.notes] == [66]
    undone()


def test_a_middle_drag_moves_the_paper(hand) -> None:
    before = hand.view.visible_ticks()[0]
    hand.drag(QPoint(600, 200), QPoint(500, 180), MIDDLE)
    assert hand.view.visible_ticks()[0] == pytest.approx(before + 100 / 0.5)
    assert hand.steps == 0


def test_the_wheel_scrolls(hand) -> None:
    state = hand.view.state
    top, left = state.view.top, state.view.left
    hand.wheel(QPoint(700, 100), 1)
    assert state.view.top > top
    hand.wheel(QPoint(700, 100), 1, SHIFT)
    assert state.view.left > left


def test_ctrl_wheel_zooms_about_the_pointer(hand) -> None:
    view = hand.view.state.view
    tick = view.tick_of(300)
    hand.wheel(QPoint(300, 100), -2, CTRL)
    zoomed = hand.view.state.view
    assert zoomed.px_per_tick > view.px_per_tick
    assert zoomed.tick_of(300) == pytest.approx(tick)
    pitch = zoomed.pitch_of(100)
    hand.wheel(QPoint(300, 100), -2, CTRL | SHIFT)
    assert hand.view.state.view.row > zoomed.row
    assert hand.view.state.view.pitch_of(100) == pitch


def test_the_wheel_on_a_selected_note_changes_velocity_in_one_step(hand, undone) -> None:
    hand.click(hand.at(40, 60))
    for _ in range(3):
        hand.wheel(hand.at(40, 60), -1)
    assert hand.notes[0][3] == 64 + 12
    undone()


def test_the_wheel_on_a_note_that_is_not_selected_scrolls_but_with_alt_it_is_played_louder(hand) -> None:
    hand.wheel(hand.at(40, 60), 1)
    assert hand.steps == 0
    hand.wheel(hand.at(40, 60), 1, ALT)
    assert hand.notes[0][3] == 60


def test_the_ruler_marks_whole_bars(hand, qtbot: QtBot) -> None:
    ruler = hand.view.ruler
    a, b = QPoint(hand.at(100, 60).x(), 10), QPoint(hand.at(500, 60).x(), 10)
    with qtbot.waitSignal(hand.view.bars_selected) as heard:
        hand.drag(a, b, on=ruler, steps=1)
    assert heard.args == [range(2)]
    QTest.mouseClick(ruler, RIGHT, Qt.KeyboardModifier.NoModifier, a)
    assert hand.view.state.bars is None


def test_a_click_in_the_ruler_seeks(hand, qtbot: QtBot) -> None:
    with qtbot.waitSignal(hand.view.seek_requested) as heard:
        QTest.mouseClick(hand.view.ruler, LEFT, Qt.KeyboardModifier.NoModifier, QPoint(hand.at(100, 60).x(), 10))
    assert heard.args == [96]


def test_velocities_are_painted(hand, undone) -> None:
    lane = hand.view.velocity_lane
    a, b = QPoint(hand.at(0, 60).x(), 8), QPoint(hand.at(200, 60).x(), 8)
    hand.drag(a, b, on=lane)
    assert [n[3] for n in hand.notes] == [127, 127, 127, 88]
    undone()


def test_shift_draws_a_ramp_of_velocities(hand, undone) -> None:
    lane = hand.view.velocity_lane
    a, b = QPoint(hand.at(0, 60).x(), 80), QPoint(hand.at(288, 60).x(), 8)
    hand.drag(a, b, keys=SHIFT, on=lane)
    velocities = [n[3] for n in hand.notes]
    assert velocities[0] <= 2
    assert velocities[3] == 127
    assert velocities[1] == pytest.approx(42, abs=2)
    assert velocities[2] == pytest.approx(84, abs=2)
    undone()


def test_painting_spares_what_is_not_selected(hand) -> None:
    hand.click(hand.at(130, 62))
    lane = hand.view.velocity_lane
    hand.drag(QPoint(hand.at(0, 60).x(), 8), QPoint(hand.at(400, 60).x(), 8), on=lane)
    assert [n[3] for n in hand.notes] == [64, 127, 80, 88]
    assert hand.chosen == [1]


def test_a_drag_out_of_the_roll_scrolls_it(hand, qtbot: QtBot) -> None:
    before = hand.view.visible_ticks()[0]
    width = hand.canvas.width()
    hand.drag(hand.at(600, 66), QPoint(width + 80, 100), release=False)
    qtbot.waitUntil(lambda: hand.view.visible_ticks()[0] > before + 20)
    QTest.mouseRelease(hand.canvas, LEFT, Qt.KeyboardModifier.NoModifier, QPoint(width + 80, 100))
    assert not hand.canvas._outside.isActive()


def test_a_drag_ends_when_somebody_else_changes_the_song(hand, song: Score) -> None:
    from engine.score import edit

    hand.drag(hand.at(40, 60), hand.at(90, 62), release=False)
    other = edit.transpose(hand.document.score, [3], 5).score
    hand.document.change(other, "Density")
    hand.move(QPointF(hand.at(300, 66)), LEFT)
    assert hand.document.score is other
    QTest.mouseRelease(hand.canvas, LEFT, Qt.KeyboardModifier.NoModifier, hand.at(300, 66))
    assert hand.document.score is other


def test_pointers_have_shapes(hand) -> None:
    shapes = []
    for tick, pitch in ((40, 60), (95, 60), (1, 60), (600, 70)):
        hand.move(QPointF(hand.at(tick, pitch)))
        shapes.append(hand.canvas.cursor().shape())
    edge = Qt.CursorShape.SizeHorCursor
    assert shapes == [Qt.CursorShape.PointingHandCursor, edge, edge, Qt.CursorShape.ArrowCursor]
    hand.key(Qt.Key.Key_B)
    hand.move(QPointF(hand.at(600, 71)))
    assert hand.canvas.cursor().shape() == Qt.CursorShape.CrossCursor


def test_only_the_track_being_edited_can_be_touched(hand) -> None:
    hand.view.set_track(1)
    hand.click(hand.at(40, 60))
    assert hand.chosen == []
    hand.key(Qt.Key.Key_A, CTRL)
    assert hand.chosen == [3]
    hand.drag(hand.at(10, 60), hand.at(330, 66), RIGHT)
    assert [n[2] for n in hand.notes] == [60, 62, 64]
