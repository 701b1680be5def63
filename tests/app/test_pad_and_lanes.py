"""Limits, morph pad and latent lanes by mouse and keys in a real window, with a fake model."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
from PySide6.QtCore import QPoint, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot

from app.limits import Limits
from app.panels.lane import LatentLane
from app.panels.pad import PadPanel
from app.studio import Studio
from engine.score import edit, midi
from engine.score.score import Score
from tests.app.test_proposals import press, shown, studio  # noqa: F401  (fixture)
from tests.app.test_studio import a_song, drag, make, song  # noqa: F401  (fixtures)

Key, Button, NONE = Qt.Key, Qt.MouseButton, Qt.KeyboardModifier.NoModifier


def stroke(widget: QWidget, points: list[QPoint], button: Qt.MouseButton = Button.LeftButton) -> None:
    """Press at the first point, move along the others, let go at the last."""
    QTest.mousePress(widget, button, NONE, points[0])
    for a, b in pairwise(points):
        for i in range(1, 5):
            QTest.mouseMove(widget, a + (b - a) * i / 4)
    QTest.mouseRelease(widget, button, NONE, points[-1])


# ---------------------------------------------------------------- what may sound


def test_limits_are_written_kept_and_asked_for(studio: Studio, tmp_path: Path, qtbot: QtBot) -> None:  # noqa: F811
    studio.window["limits"].trigger()
    strip = studio.desk.limits_strip
    assert strip is not None
    assert strip.isVisible()
    strip.scale.setCurrentText("D minor")
    strip.low.lineEdit().setText("C3")
    strip.low.interpretText()
    strip.voices.setValue(3)
    QTest.keyClicks(strip.chords, "Dm | Gm")
    wanted = Limits("D minor", 48, None, False, "Dm | Gm", 3)
    assert studio.morphing.limits == wanted
    press(studio, Key.Key_V)
    shown(studio, qtbot)
    assert studio.desk.proposals.seen[0][0].limits == wanted
    press(studio, Key.Key_Return)
    studio.files._save(tmp_path / "kept.morphony")
    qtbot.waitUntil(lambda: not studio.document.is_dirty)
    strip.clear.click()
    assert studio.morphing.limits == Limits()
    assert studio.document.is_dirty
    studio.document.undo_stack.setClean()
    studio.files.open(tmp_path / "kept.morphony")
    qtbot.waitUntil(lambda: studio.morphing.limits == wanted)
    assert strip.chords.text() == "Dm | Gm"


def test_limits_that_mean_nothing_say_so(studio: Studio, qtbot: QtBot) -> None:  # noqa: F811
    studio.window["limits"].trigger()
    strip = studio.desk.limits_strip
    assert strip is not None
    strip.chords.setText("C | Hm")
    assert strip.trouble.isVisible()
    assert "Hm" in strip.trouble.text()
    assert studio.morphing.limits == Limits()
    qtbot.waitUntil(lambda: "Hm" in studio.window["variation"].toolTip())
    strip.chords.setText("C | Am")
    assert strip.trouble.isHidden()
    qtbot.waitUntil(studio.window["variation"].isEnabled)


# ---------------------------------------------------------------- the pad


def pad_of(studio: Studio) -> PadPanel:  # noqa: F811
    if studio.desk.pad_dock.isHidden():
        studio.window["pad"].trigger()
    panel = studio.desk.pad_dock.widget()
    assert isinstance(panel, PadPanel)
    return panel


def filled(studio: Studio, song: Path) -> tuple[PadPanel, list[Score]]:  # noqa: F811
    """A pad with the song, another, and the song an octave up in its corners."""
    panel, here = pad_of(studio), studio.document.score
    rows = np.arange(len(here.notes))
    others = [edit.transpose(here, rows, up).score for up in (12, 5)]
    scores = [here, *others]
    for corner, score in enumerate(scores):
        studio.desk.pad.fill(corner, f"Piece {corner}", score)
    return panel, scores


def test_dragging_the_point_is_one_step_and_a_take(studio: Studio, song: Path, qtbot: QtBot) -> None:  # noqa: F811
    panel, scores = filled(studio, song)
    square = panel.square
    stroke(square, [square.point_of(0, 0), square.point_of(0.4, 0.4), square.point_of(1, 0)])
    qtbot.waitUntil(lambda: studio.document.score is not scores[0])
    assert studio.document.score is scores[1]
    assert studio.document.proposal is None
    assert studio.document.undo_stack.count() == 1
    take = studio.desk.takes.items[-1]
    assert take.recipe.verb == "between"
    assert take.recipe.place == (1.0, 0.0)
    assert len(take.recipe.others) == 4
    assert take.recipe.others[3] is scores[2]  # an empty corner is like the one beside it
    studio.document.undo_stack.undo()
    assert studio.document.score is scores[0]


def test_arrows_move_the_point_and_a_path_is_recorded_and_gone_again(
    studio: Studio, song: Path, qtbot: QtBot  # noqa: F811
) -> None:  # fmt: skip
    panel, scores = filled(studio, song)
    panel.square.setFocus()
    for _ in range(12):
        QTest.keyClick(panel.square, Key.Key_Right)
    qtbot.waitUntil(lambda: studio.document.score is scores[1])
    assert studio.desk.pad.place[0] > 0.5
    QTest.mouseClick(panel.record, Button.LeftButton)
    square = panel.square
    stroke(square, [square.point_of(0.6, 0), square.point_of(0, 0.2), square.point_of(0, 1)])
    qtbot.waitUntil(lambda: studio.document.score is scores[2])
    path = list(studio.desk.pad.path)
    assert path[-1][1:] == (0.0, 1.0)
    QTest.mouseClick(panel.record, Button.LeftButton)
    stroke(square, [square.point_of(0, 1), square.point_of(0, 0)])
    qtbot.waitUntil(lambda: studio.document.score is scores[0])
    assert studio.desk.pad.path == path
    QTest.mouseClick(panel.play, Button.LeftButton)
    qtbot.waitUntil(lambda: studio.document.score is scores[2])
    assert not studio.desk.pad.playing


def test_corners_take_the_song_a_take_and_a_file_and_say_what_is_missing(
    studio: Studio, song: Path, tmp_path: Path, qtbot: QtBot  # noqa: F811
) -> None:  # fmt: skip
    panel, pad = pad_of(studio), studio.desk.pad
    assert "two corners" in panel.square.toolTip()
    menu = panel.menu_of(0)
    menu.actions()[0].trigger()
    assert pad.corners[0] is not None
    assert pad.corners[0].score is studio.document.score
    drag(studio, "register", 1.0)
    qtbot.waitUntil(lambda: len(studio.desk.takes.items) == 1)
    take = next(a for a in panel.menu_of(1).actions() if a.text() == "Register +1.00 σ")
    take.trigger()
    assert pad.corners[1] is not None
    assert pad.corners[1].score is studio.document.score
    assert pad.why_not() == ""
    midi.write(a_song(4), tmp_path / "other.mid")
    studio.desk.corner_from_file(tmp_path / "other.mid", lambda name, score: pad.fill(2, name, score))
    qtbot.waitUntil(lambda: pad.corners[2] is not None)
    assert pad.corners[2] is not None
    assert pad.corners[2].name == "other"
    next(a for a in panel.menu_of(2).actions() if a.text() == "Nothing").trigger()
    assert pad.corners[2] is None


# ---------------------------------------------------------------- lanes


def lane_of(studio: Studio) -> LatentLane:  # noqa: F811
    if not studio.window["lanes"].isChecked():
        studio.window["lanes"].trigger()
    lane = studio.desk.lane
    assert lane is not None
    return lane


def in_bar(studio: Studio, lane: LatentLane, bar: int, value: float) -> QPoint:  # noqa: F811
    grid = studio.roll.state.grid
    x = studio.roll.state.view.x_of(float(grid.starts[bar] + grid.starts[bar + 1]) / 2)
    return QPoint(round(x), round(lane.y_of(value)))


def test_a_lane_drawn_moves_each_bar_by_its_own_value_and_is_one_step(
    studio: Studio, tmp_path: Path, qtbot: QtBot  # noqa: F811
) -> None:  # fmt: skip
    source, lane = studio.document.score, lane_of(studio)
    lane.choose("register")
    stroke(lane, [in_bar(studio, lane, 2, 1.0), in_bar(studio, lane, 4, 1.0)])
    qtbot.waitUntil(lambda: studio.document.score is not source)
    moved = studio.document.score.notes["pitch"].astype(int) - source.notes["pitch"]
    bars = source.notes["tick"] // 1920
    assert set(bars[moved != 0].tolist()) == {2, 3, 4}
    assert studio.document.undo_stack.count() == 1
    assert studio.desk.takes.items[-1].recipe.lanes["register"][3] != 0
    drawn = studio.document.score
    studio.files._save(tmp_path / "kept.morphony")
    qtbot.waitUntil(lambda: not studio.document.is_dirty)
    stroke(lane, [in_bar(studio, lane, 2, 0.0), in_bar(studio, lane, 4, 0.0)], Button.RightButton)
    qtbot.waitUntil(lambda: studio.document.score is source)
    assert studio.morphing.lanes == {}
    studio.document.undo_stack.undo()
    assert studio.document.score is drawn
    assert lane.values()[3] != 0
    studio.files.open(tmp_path / "kept.morphony")
    qtbot.waitUntil(lambda: studio.files.name == "kept" and studio.morphing.piece is not None)
    assert studio.morphing.lanes["register"][3] != 0
    studio.document.undo_stack.setClean()


def test_a_lane_by_keys_and_on_top_of_a_slider(studio: Studio, qtbot: QtBot) -> None:  # noqa: F811
    source, lane = studio.document.score, lane_of(studio)
    lane.choose("register")
    drag(studio, "register", 1.0)
    qtbot.waitUntil(lambda: studio.document.undo_stack.count() == 1)
    lane.setFocus()
    QTest.keyClick(lane, Key.Key_Right)
    for _ in range(5):
        QTest.keyClick(lane, Key.Key_Down)
        qtbot.wait(20)
    qtbot.waitUntil(lambda: studio.document.score.notes["pitch"][8] == source.notes["pitch"][8] + 3)
    assert studio.document.score.notes["pitch"][0] == source.notes["pitch"][0] + 6
    QTest.keyClick(lane, Key.Key_Delete)
    qtbot.waitUntil(lambda: studio.document.score.notes["pitch"][8] == source.notes["pitch"][8] + 6)
    studio.window["reset"].trigger()
    qtbot.waitUntil(lambda: studio.document.score is source)
