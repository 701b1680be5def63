"""The roll in its window: looks, playhead, following, proposals, what it tells others; and that painting is right."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PySide6.QtCore import QPointF
from PySide6.QtGui import QColor, QImage
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from app.document import Document, empty_score
from app.roll.colours import note_colours
from app.roll.layers.notes import FEW, MANY
from app.roll.view import RollView
from app.theme import DARK, LIGHT, current, themes
from engine.score import edit
from engine.score.score import Meter, Score, Track, make_notes


def many(count: int, seed: int = 0) -> Score:
    rng = np.random.default_rng(seed)
    notes = np.zeros(count, dtype=make_notes().dtype)
    notes["tick"] = np.sort(rng.integers(0, count * 24, count))
    notes["duration"] = rng.integers(12, 96, count)
    notes["pitch"] = rng.integers(30, 100, count)
    notes["velocity"] = rng.integers(20, 127, count)
    notes["track"] = rng.integers(0, 4, count)
    return Score(96, tuple(Track(str(i)) for i in range(4)), notes)


def picture(view: RollView) -> QImage:
    QApplication.processEvents()
    return view.canvas.grab().toImage()


def near(a: QColor, b: QColor, tolerance: int = 4) -> bool:
    return all(abs(x - y) <= tolerance for x, y in zip(a.getRgb()[:3], b.getRgb()[:3], strict=True))


def test_a_note_is_painted_where_it_is_touched_in_its_colour(hand, song: Score) -> None:
    shown = picture(hand.view)
    for tick, _, pitch, velocity, track in song.notes.tolist():
        here = shown.pixelColor(hand.at(tick + 80, pitch))
        red, green, blue = note_colours(current())[track, velocity * 8 // 128].tolist()
        assert near(here, QColor(red, green, blue))
    assert near(shown.pixelColor(hand.at(610, 61)), QColor(current().row_black))
    assert near(shown.pixelColor(hand.at(610, 62)), QColor(current().row_white))


def test_louder_is_brighter_in_the_dark_and_darker_in_the_light() -> None:
    for theme in (DARK, LIGHT):
        light = note_colours(theme).astype(int) @ [299, 587, 114]
        steps = np.diff(light, axis=1)
        assert (steps > 0).all() if theme.dark else (steps < 0).all()


def test_the_first_bar_is_called_1_and_numbers_never_touch(hand) -> None:
    for factor in (1, 0.3, 0.1, 3, 10):
        hand.view.state.look(hand.view.state.view.zoomed(factor, 0))
        assert not picture(hand.view).isNull()
        assert not hand.view.ruler.grab().isNull()


def test_the_playhead_repaints_a_strip_and_no_note(hand, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(hand.view)
    painted: list[object] = []
    monkeypatch.setattr("app.roll.canvas.notes.paint", lambda *a: painted.append(a))
    monkeypatch.setattr("app.roll.canvas.grid.paint", lambda *a: painted.append(a))
    hand.view.set_playhead(123.4)
    shown = picture(hand.view)
    assert painted == []
    x = int(hand.view.state.view.x_of(123.4))
    assert near(shown.pixelColor(x, 3), QColor(current().accent), 90)


def test_following_turns_pages_until_somebody_scrolls(hand) -> None:
    view = hand.view
    view.document.load(many(400))
    view.state.look(view.state.view.at(px_per_tick=0.5, left=0.0))
    view.set_playhead(5000)
    assert view.visible_ticks()[0] <= 0  # nothing plays
    view.set_playing(True)
    view.set_playhead(5001)
    first, last = view.visible_ticks()
    assert first < 5001 < last
    assert first > 3000
    heard: list[bool] = []
    view.follow_changed.connect(heard.append)
    view.state.look(view.state.view.scrolled(50))
    assert not view.follow
    left = view.visible_ticks()[0]
    view.set_playhead(8000)
    assert view.visible_ticks()[0] == left
    view.set_playing(True)
    view.set_playhead(8001)
    assert view.visible_ticks()[0] > left
    assert heard == [False, True]


@pytest.mark.parametrize("count", [FEW + 500, MANY + 500])
def test_a_scrolled_picture_is_the_one_that_would_be_painted(hand, count: int) -> None:
    """What is moved and mended shows no seam, to either side, over the start and past the end."""
    view, state = hand.view, hand.view.state
    view.document.load(many(count))
    view.select(np.arange(0, count, 7))
    state.look(state.view.fitted(0.0, float(view.document.score.end_tick) * 0.8))
    state.look(state.view.at(px_per_tick=state.view.px_per_tick))
    view.select_bars(range(3, 5))
    picture(view)
    for dx in (3, 40, -11, 300, -500, 56, 1, -1):
        state.look(state.view.scrolled(dx))
        moved = picture(view)
        view.canvas._look()
        fresh = picture(view)
        differ = sum(
            moved.pixel(x, y) != fresh.pixel(x, y)
            for x in range(0, fresh.width(), 1)
            for y in range(0, fresh.height(), 23)
        )
        assert differ <= fresh.width() * fresh.height() / 23 * 0.001, dx


def test_keys_light_up_while_music_plays(hand) -> None:
    hand.view.set_playhead(100)
    assert hand.view.keyboard._lit == frozenset()
    hand.view.set_playing(True)
    assert hand.view.keyboard._lit == {62}


def test_opening_shows_the_beginning_and_forgets_marks(hand) -> None:
    hand.view.select([0])
    hand.view.select_bars(range(1))
    hand.view.document.load(many(3000))
    first, last = hand.view.visible_ticks()
    assert first <= 0
    assert 16 * 384 <= last < 18 * 384
    assert hand.chosen == []
    assert hand.view.state.bars is None
    hand.view.zoom_to_fit()
    assert hand.view.visible_ticks()[1] >= hand.document.score.end_tick
    hand.view.scroll_to(10_000)
    assert hand.view.visible_ticks()[0] == pytest.approx(10_000)


def test_undo_brings_the_selection_back(hand) -> None:
    hand.view.select([1, 2])
    hand.view.state.edit(edit.move(hand.document.score, [1, 2], 1000, 3), "Move notes")
    assert hand.chosen == [2, 3]
    hand.document.undo_stack.undo()
    assert hand.chosen == [1, 2]


def test_a_change_elsewhere_keeps_what_is_selected(hand, song: Score) -> None:
    hand.view.select([3])
    inserted, _ = edit.insert(song, make_notes([(10, 10, 50, 60, 0)]))
    hand.document.change(inserted, "Vary", keep_base=True)
    assert hand.notes[hand.chosen[0]][2] == 66
    assert len(hand.chosen) == 1


def test_a_proposal_is_painted_over_the_song(hand, song: Score) -> None:
    before = picture(hand.view)
    proposal = edit.transpose(song, [0], 7).score
    hand.document.preview(proposal)
    during = picture(hand.view)
    new, old, kept = hand.at(40, 67), hand.at(80, 60), hand.at(180, 62)
    proposed = during.pixelColor(new)
    assert proposed.red() > before.pixelColor(new).red() + 30
    assert near(during.pixelColor(kept), before.pixelColor(kept))
    assert not near(during.pixelColor(old), before.pixelColor(old), 20)
    hand.document.preview(None)
    assert near(picture(hand.view).pixelColor(old), before.pixelColor(old))


def test_what_changed_glows_and_settles(hand, song: Score, qtbot: QtBot) -> None:
    hand.document.change(edit.transpose(song, [0], 7).score, "Register", keep_base=True)
    place = hand.at(40, 67)
    young = picture(hand.view).pixelColor(place)
    qtbot.waitUntil(lambda: not hand.canvas._frames.isActive(), timeout=2000)
    settled = picture(hand.view).pixelColor(place)
    assert young.red() > settled.red() + 30
    red, green, blue = note_colours(current())[0, 64 * 8 // 128].tolist()
    assert near(settled, QColor(red, green, blue))


def test_many_notes_become_a_picture_of_their_density(hand) -> None:
    song = many(MANY * 3)
    hand.view.document.load(song)
    hand.view.zoom_to_fit()
    far = picture(hand.view)
    colours = {far.pixelColor(x, 200).rgb() for x in range(20, far.width() - 20, 3)}
    assert len(colours) > 20
    hand.view.state.show_start()
    assert not picture(hand.view).isNull()


@pytest.mark.parametrize("count", [FEW - 100, FEW * 4])
def test_few_and_many_notes_lie_in_the_same_places(hand, count: int) -> None:
    hand.view.document.load(many(count))
    view = hand.view.state
    view.look(view.view.at(px_per_tick=0.08, left=0.0))
    shown = picture(hand.view)
    ground = {QColor(c).rgb() for c in (current().row_white, current().row_black)}
    for tick, duration, pitch, *_ in hand.document.score.notes[:30].tolist():
        at = hand.at(tick + duration / 2, pitch)
        if shown.rect().contains(at):
            assert shown.pixelColor(at).rgb() not in ground


def test_both_themes_and_a_change_between_them(hand) -> None:
    dark = picture(hand.view)
    try:
        themes.use(LIGHT)
        light = picture(hand.view)
        spot = hand.at(610, 62)
        assert light.pixelColor(spot).lightness() > dark.pixelColor(spot).lightness() + 100
        assert near(light.pixelColor(spot), QColor(LIGHT.row_white))
    finally:
        themes.use(DARK)


def test_an_empty_song_says_what_to_do(hand) -> None:
    hand.view.document.load(empty_score())
    shown = picture(hand.view)
    middle = [shown.pixelColor(x, y).lightness() for x in range(300, 700) for y in range(180, 260)]
    assert max(middle) > 200  # words


def test_odd_songs_are_painted(qtbot: QtBot) -> None:
    odd = (
        Score(96, (), make_notes()),
        Score(1, (Track(),), make_notes([(0, 0, 0, 1, 0), (0, 0, 127, 127, 0)])),
        Score(32767, (Track(),), make_notes([(2**31, 10, 60, 64, 0)])),
        Score(
            480, (Track(),), make_notes([(0, 5000, 60, 64, 0)]), (Meter(0, 7, 8), Meter(100, 3, 4), Meter(1700, 1, 16))
        ),
        Score(480, tuple(Track() for _ in range(30)), make_notes([(i, 5, 60 + i, 64, i) for i in range(30)])),
    )
    view = RollView(Document())
    qtbot.addWidget(view)
    view.show()
    for song in odd:
        view.document.load(song)
        view.set_playing(True)
        view.set_playhead(song.end_tick / 2)
        view.zoom_to_fit()
        view.state.look(view.state.view.zoomed(1e9, 10))
        view.state.look(view.state.view.zoomed(1e-9, 10))
        assert not view.grab().isNull()


def test_it_tells_what_the_pointer_is_at(hand) -> None:
    heard: list[str] = []
    hand.view.hover_text.connect(heard.append)
    hand.move(QPointF(hand.at(130, 62)))
    assert heard[-1].startswith("D4  1.2")
    assert "72" in heard[-1]


def test_every_part_has_a_name_for_those_who_cannot_see_it(hand) -> None:
    view = hand.view
    for part in (view, view.canvas, view.ruler, view.keyboard, view.velocity_lane, view.overview, view.snap_button):
        assert part.accessibleName()
    hand.view.select([0, 1])
    assert view.canvas.accessibleDescription() == "4 notes, 2 selected"


def test_the_overview_goes_anywhere(hand) -> None:
    hand.view.document.load(many(3000))
    strip = hand.view.overview
    from PySide6.QtCore import QPoint

    hand.drag(QPoint(strip.width() // 2, 16), QPoint(strip.width() * 3 // 4, 16), on=strip)
    first, last = hand.view.visible_ticks()
    assert (first + last) / 2 == pytest.approx(hand.view.state.view.extent * 0.75, rel=0.02)


def test_the_snap_button_shows_and_sets_the_division(hand) -> None:
    button = hand.view.snap_button
    assert button.text() == "1/16"
    chosen = next(a for a in button.menu().actions() if a.data() == "1/8T")
    chosen.trigger()
    assert hand.view.state.snap.division == "1/8T"
    assert button.text() == "1/8T"


def test_a_loop_set_from_outside_is_shown_not_asked_for(hand) -> None:
    heard: list[object] = []
    hand.view.loop_requested.connect(heard.append)
    hand.view.set_loop((0, 384))
    assert heard == []
    hand.view.select_bars(range(1, 2))
    assert heard == [(384, 768)]


def test_tracks_that_are_not_edited_are_dim(hand, song: Score) -> None:
    bright = picture(hand.view).pixelColor(hand.at(180, 62))
    hand.view.set_track(1)
    dim = picture(hand.view).pixelColor(hand.at(180, 62))
    assert dim.lightness() < bright.lightness() - 30


def test_a_song_with_fewer_tracks_is_drawn_on_one_that_is_there(hand, song: Score) -> None:
    hand.view.select([3])
    assert hand.view.state.pen_track == 1
    hand.view.document.load(replace(song, tracks=(Track("one"),), notes=song.notes[:3]))
    assert hand.view.state.pen_track == 0
