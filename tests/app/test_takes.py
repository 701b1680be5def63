"""Takes and the nine variations: by keys and mouse in a real window with a fake model; replay with the real one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from pytestqt.qtbot import QtBot

from app import project
from app.limits import Limits
from app.panels.takes import TakeRow, TakesPanel
from app.project import Project
from app.recipe import Recipe
from app.studio import Studio
from app.take import Take, digest, picture_of
from app.variations import MIDDLE
from app.worker import open_engine
from engine.compose import run
from engine.score.score import Score
from tests.app.test_locked_notes import a_song as two_hands
from tests.app.test_proposals import press, shown, studio  # noqa: F401  (fixture)
from tests.app.test_studio import Maker, drag, make, song  # noqa: F401  (fixtures)

Key = Qt.Key


def panel_of(studio: Studio) -> TakesPanel:  # noqa: F811
    """The dock, opened by its key."""
    if studio.desk.takes_dock.isHidden():
        studio.window["takes"].trigger()
    panel = studio.desk.takes_dock.widget()
    assert isinstance(panel, TakesPanel)
    return panel


def slide(studio: Studio, qtbot: QtBot, name: str, value: float) -> Score:  # noqa: F811
    before = studio.document.score
    drag(studio, name, value)
    qtbot.waitUntil(lambda: studio.document.score is not before)
    return studio.document.score


def test_what_sliders_and_proposals_made_is_kept_and_comes_back_in_one_step(studio: Studio, qtbot: QtBot) -> None:  # noqa: F811
    source = studio.document.score
    raised = slide(studio, qtbot, "register", 1.0)
    press(studio, Key.Key_V)
    shown(studio, qtbot)
    press(studio, Key.Key_Return)
    varied = studio.document.score
    takes = studio.desk.takes
    assert [take.words for take in takes.items] == ["Register +1.00 σ", "Vary the piece"]
    panel = panel_of(studio)
    steps = studio.document.undo_stack.count()
    first = panel.list.visualRect(panel.list.rows.row_of(takes.items[0]))
    QTest.mouseClick(panel.list.viewport(), Qt.MouseButton.LeftButton, pos=first.center())
    assert studio.document.score is raised
    assert studio.document.undo_stack.count() == steps + 1
    assert studio.morph_state.offsets == {"register": 1.0}
    assert studio.document.piece_base is source
    studio.document.undo_stack.undo()
    assert studio.document.score is varied


def test_keys_one_to_four_keep_and_bring_back(studio: Studio, qtbot: QtBot) -> None:  # noqa: F811
    source = studio.document.score
    press(studio, Key.Key_1)
    assert studio.desk.takes.in_slot("A") is not None
    raised = slide(studio, qtbot, "register", 1.0)
    press(studio, Key.Key_2)
    press(studio, Key.Key_1)
    assert studio.document.score is source
    press(studio, Key.Key_2)
    assert studio.document.score is raised
    press(studio, Key.Key_1)
    assert studio.document.score is source
    studio.desk.takes.remove(studio.desk.takes.items[0])
    assert studio.desk.takes.in_slot("A") is None


def test_star_name_and_forget_by_keys(studio: Studio, qtbot: QtBot) -> None:  # noqa: F811
    slide(studio, qtbot, "register", 1.0)
    slide(studio, qtbot, "dynamics", 1.0)
    panel, takes = panel_of(studio), studio.desk.takes
    panel.list.setCurrentIndex(panel.list.rows.index(1))
    QTest.keyClick(panel.list, Key.Key_S)
    assert [take.starred for take in takes.items] == [True, False]
    row = panel.list.visualRect(panel.list.rows.index(0))
    QTest.mouseClick(panel.list.viewport(), Qt.MouseButton.LeftButton, pos=TakeRow.star_rect(row).center())
    assert [take.starred for take in takes.items] == [True, True]
    assert panel.list.rows.setData(panel.list.rows.index(0), "The loud one")
    assert takes.items[-1].title == "The loud one"
    panel.list.setCurrentIndex(panel.list.rows.index(0))
    QTest.keyClick(panel.list, Key.Key_Delete)
    assert [take.words for take in takes.items] == ["Register +1.00 σ"]


def test_nine_variations_come_one_by_one_are_heard_by_a_key_and_taken(studio: Studio, qtbot: QtBot) -> None:  # noqa: F811
    source = studio.document.score
    press(studio, Key.Key_G, Qt.KeyboardModifier.ControlModifier)
    panel, variations = panel_of(studio), studio.desk.variations
    assert variations.heard == MIDDLE
    qtbot.waitUntil(lambda: len(variations.scores) == 9)
    panel.grid.setFocus()
    QTest.keyClick(panel.grid, Key.Key_3)
    assert studio.document.proposal is variations.scores[2]
    assert studio.document.score is source
    QTest.keyClick(panel.grid, Key.Key_Left)
    assert studio.document.proposal is variations.scores[1]
    QTest.keyClick(panel.grid, Key.Key_5)
    assert studio.document.proposal is None
    QTest.mouseClick(panel.grid, Qt.MouseButton.LeftButton, pos=panel.grid.cell(8).center())
    assert studio.document.score is variations.scores[8]
    assert studio.document.undo_stack.count() == 1
    assert studio.desk.takes.items[-1].words == "Variation 9"
    studio.document.undo_stack.undo()
    assert studio.document.score is source


def test_takes_come_back_with_the_project_and_replay_to_the_same_notes(
    studio: Studio, song: Path, tmp_path: Path, qtbot: QtBot  # noqa: F811
) -> None:  # fmt: skip
    raised = slide(studio, qtbot, "register", 1.0)
    studio.desk.takes.star(studio.desk.takes.items[0])
    press(studio, Key.Key_V)
    shown(studio, qtbot)
    press(studio, Key.Key_Return)
    varied = studio.document.score
    studio.files._save(tmp_path / "kept.morphony")
    qtbot.waitUntil(lambda: not studio.document.is_dirty)
    studio.files.open(song)
    qtbot.waitUntil(lambda: studio.files.name == "song")
    assert studio.desk.takes.items == []
    studio.files.open(tmp_path / "kept.morphony")
    qtbot.waitUntil(lambda: studio.files.name == "kept" and studio.morphing.piece is not None)
    takes = studio.desk.takes.items
    assert [(take.words, take.starred) for take in takes] == [("Register +1.00 σ", True), ("Vary the piece", False)]
    studio.desk.takes.restore(takes[0])
    qtbot.waitUntil(lambda: np.array_equal(studio.document.score.notes, raised.notes))
    assert studio.document.undo_stack.count() == 1
    studio.desk.takes.restore(takes[1])
    qtbot.waitUntil(lambda: np.array_equal(studio.document.score.notes, varied.notes))


def test_starring_is_something_to_save(studio: Studio, tmp_path: Path, qtbot: QtBot) -> None:  # noqa: F811
    slide(studio, qtbot, "register", 1.0)
    studio.files._save(tmp_path / "kept.morphony")
    qtbot.waitUntil(lambda: not studio.document.is_dirty)
    press(studio, Key.Key_K, Qt.KeyboardModifier.ControlModifier)
    assert studio.desk.takes.items[-1].starred
    assert studio.document.is_dirty


# ---------------------------------------------------------------- with the real model

RECIPES = (
    Recipe({"density": 1.2, "register": -0.7}, first=3),
    Recipe({"rhythm": 1.5}, bars=range(2, 5), locks=frozenset({20, 21}), seed=4),
    Recipe(lanes={"density": (0.0, 1.0, -1.0, 0.5)}, limits=Limits("D minor")),
    Recipe(verb="regenerate", bars=range(4, 6), seed=11),
    Recipe(verb="regenerate", bars=range(1, 2), only=frozenset({8, 9, 10}), seed=12),
    Recipe(verb="vary", amount=0.8, seed=5, tracks=frozenset({0})),
    Recipe(verb="continue", count=2, seed=6),
    Recipe(verb="new", count=4, meter=(3, 4), programs=(40, 42), seed=8),
)


@pytest.fixture(scope="module")
def kept() -> tuple[bytes, list[Score]]:
    """A project with a take of each recipe, and the notes they had when they were made."""
    engine, base = open_engine(), two_hands()
    made = [run(engine.make(base, recipe)) for recipe in RECIPES]
    transfer = Recipe(verb="transfer", others=(made[0],), amount=1.0)
    pad = Recipe(verb="between", others=(base, *made[:3]), place=(0.3, 0.6))
    made += [run(engine.make(base, recipe)) for recipe in (transfer, pad)]
    takes = tuple(
        Take(base, recipe, engine.model_hash, "Made", picture=picture_of(score), notes=digest(score))
        for recipe, score in zip((*RECIPES, transfer, pad), made, strict=True)
    )
    return project.to_bytes(Project(base, base, takes=takes)), made


def test_takes_of_every_verb_replay_to_identical_notes(kept: tuple[bytes, list[Score]]) -> None:
    data, made = kept
    engine, opened = open_engine(), project.from_bytes(data)
    for take, score in zip(opened.takes, made, strict=True):
        again = run(engine.make(take.base, take.recipe))
        assert again.notes.tobytes() == score.notes.tobytes(), take.recipe.verb
        assert digest(again) == take.notes


def test_a_take_is_about_a_kilobyte(kept: tuple[bytes, list[Score]]) -> None:
    import json

    opened, scores = project.from_bytes(kept[0]), list[Score]()
    sizes = [len(json.dumps(take.to_json(scores))) for take in opened.takes]
    assert max(sizes) <= 1024


def test_what_a_drag_made_is_what_its_recipe_makes() -> None:
    """The thread decodes in another order, with another cache: the notes are the same."""
    engine, base = open_engine(), two_hands()
    piece = engine.encode(base)
    for i, value in enumerate((0.4, 1.1, -0.6, 1.9)):
        recipe = Recipe({"density": value, "register": -value / 2}, first=i)
        dragged = engine.apply(piece, list(engine.morph(piece, recipe)))
        assert dragged.notes.tobytes() == run(engine.make(base, recipe)).notes.tobytes()


@pytest.mark.parametrize("damage", [b'"verb":"morph"', b'"base":0', b'"seed":4'])
def test_damaged_takes_are_refused_in_a_sentence(kept: tuple[bytes, list[Score]], damage: bytes) -> None:
    import io
    import zipfile

    from engine.errors import MorphonyError

    with zipfile.ZipFile(io.BytesIO(kept[0])) as archive:
        entries = {info.filename: archive.read(info) for info in archive.infolist()}
    assert damage in entries["takes.json"]
    entries["takes.json"] = entries["takes.json"].replace(damage, damage[: damage.index(b":")] + b":[9]", 1)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    with pytest.raises(MorphonyError, match="do not make sense"):
        project.from_bytes(out.getvalue())
