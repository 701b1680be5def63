"""The whole studio in a real window, with a fake model and silent ports: what a user does, and what then is so."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDropEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QMessageBox
from pytestqt.qtbot import QtBot

from app import theme
from app.panels.status import Light
from app.panels.training import Stage
from app.settings import Settings
from app.sound.ports import Status, Timed, is_note_off, is_note_on
from app.studio import Studio
from engine.errors import MorphonyError
from engine.score import midi
from engine.score.score import Score, Track, make_notes
from tests.app import fakes


class SilentPort:
    """A port that remembers what it was sent."""

    status = Status(True, "Silent, for tests.")

    def __init__(self) -> None:
        self.sent: list[Timed] = []
        self.panics = 0

    def send(self, events: Sequence[Timed]) -> None:
        self.sent += events

    def silence(self) -> None: ...

    def panic(self) -> None:
        self.panics += 1

    def poll(self) -> None: ...

    def close(self) -> None: ...


def a_song(bars: int = 8) -> Score:
    return Score(480, (Track("Piano"),), make_notes([(i * 240, 200, 60 + i % 12, 80, 0) for i in range(bars * 8)]))


@pytest.fixture
def song(tmp_path: Path) -> Path:
    path = tmp_path / "song.mid"
    midi.write(a_song(), path)
    return path


Maker = Callable[..., Studio]


@pytest.fixture
def make(tmp_path: Path, qtbot: QtBot) -> Iterator[Maker]:
    made: list[Studio] = []

    def studio(path: Path | None = None, ready: bool = True, **parts: object) -> Studio:
        parts = {"opener": fakes.open_engine, "synth": SilentPort, "midi": lambda name: SilentPort()} | parts
        parts.setdefault("recovery", tmp_path / "recovery")
        studio = Studio(path, Settings(tmp_path / "settings.ini"), **parts)  # type: ignore[arg-type]
        made.append(studio)
        studio.show()
        if path is not None and path.exists():
            qtbot.waitUntil(lambda: studio.files.name == path.stem)
        if ready:
            qtbot.waitUntil(lambda: studio.morphing.piece is not None)
        return studio

    yield studio
    for each in made:
        each.close()
        each.window.may_close = lambda: True
        each.window.close()
        each.window.deleteLater()


def drag(studio: Studio, name: str, value: float) -> None:
    """Move a slider by real mouse events."""
    view = studio.latents.views[name]
    start, stop = view.point_of(view.model.value), view.point_of(value)
    QTest.mousePress(view, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, start)
    for i in range(1, 9):
        QTest.mouseMove(view, start + (stop - start) * i / 8)
    QTest.mouseRelease(view, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, stop)


# ---------------------------------------------------------------- the first minute


def test_the_window_opens_without_torch_pyqtgraph_or_scipy(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from PySide6.QtWidgets import QApplication
app = QApplication([])
from app.settings import Settings
from app.studio import Studio
studio = Studio(None, Settings(Path(sys.argv[1]) / "s.ini"))
studio.window.show()
app.processEvents()
print([m for m in ("torch", "lightning", "pyqtgraph", "scipy", "sklearn", "fluidsynth") if m in sys.modules])
studio.close()
"""
    found = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert found.stdout.splitlines()[-1] == "[]"


def test_sliders_and_vary_say_why_they_wait(make: Maker, song: Path) -> None:
    studio = make(song, ready=False, opener=lambda *_: (time.sleep(1), fakes.open_engine())[1])
    assert not studio.window["vary"].isEnabled()
    assert studio.window["vary"].toolTip() == "The model is loading."
    assert "The model is loading." in studio.latents.views["density"].toolTip()


def test_the_lights_come_on(make: Maker, song: Path, qtbot: QtBot) -> None:
    studio = make(song)
    qtbot.waitUntil(lambda: studio.sound.midi_light.state is Light.GOOD)
    assert studio.sound.sound_light.state is Light.GOOD
    assert studio.engine_light.light.state is Light.GOOD
    assert studio.engine_light.light.sentence == "The model is ready on cpu: a model of the tests."


def test_nothing_is_cut_at_1280_by_800(make: Maker, song: Path) -> None:
    studio = make(song)
    studio.window.resize(1280, 800)
    assert studio.window.minimumSizeHint().width() <= 1280
    assert studio.window.minimumSizeHint().height() <= 800
    studio.training_dock.show()
    assert studio.window.minimumSizeHint().height() <= 800
    last = studio.engine_light.light
    assert last.mapTo(studio.window, QPoint(last.width(), 0)).x() <= 1280
    assert studio.roll.width() > 2 * studio.window.width() / 3


# ---------------------------------------------------------------- morphing


def test_a_drag_by_mouse_moves_the_notes_in_the_roll(make: Maker, song: Path, qtbot: QtBot) -> None:
    studio = make(song)
    source = studio.document.score
    drag(studio, "register", -1.0)
    qtbot.waitUntil(lambda: studio.document.score is not source)
    assert (studio.document.score.notes["pitch"] == source.notes["pitch"] - 6).all()
    assert studio.window["undo"].text() == "Undo Register -1.00 σ"
    assert studio.window.isWindowModified()
    drag(studio, "register", 0.0)
    qtbot.waitUntil(lambda: studio.document.score is source)


def test_keys_wheel_lock_and_double_click(make: Maker, song: Path, qtbot: QtBot) -> None:
    studio = make(song)
    view = studio.latents.views["register"]
    view.setFocus()
    QTest.keyClick(view, Qt.Key.Key_Right)
    assert view.model.value == pytest.approx(0.1)
    QTest.keyClick(view, Qt.Key.Key_PageUp)
    assert view.model.value == pytest.approx(0.6)
    QTest.mouseDClick(view, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, view.point_of(0.0))
    assert view.model.value == 0.0
    QTest.mouseClick(view, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, view.lock_rect().center())
    assert view.model.locked
    QTest.keyClick(view, Qt.Key.Key_Right)
    assert view.model.value == 0.0


def test_bars_chosen_in_the_roll_are_the_scope(make: Maker, song: Path, qtbot: QtBot) -> None:
    studio = make(song)
    source = studio.document.score
    studio.roll.select_bars(range(2, 4))
    QTest.mouseClick(studio.latents._bars, Qt.MouseButton.LeftButton)
    assert studio.latents._bars.text() == "Bars 3-4"
    drag(studio, "register", 1.0)
    qtbot.waitUntil(lambda: studio.document.score is not source)
    moved = studio.document.score.notes["pitch"] != source.notes["pitch"]
    assert set((source.notes["tick"][moved] // 1920).tolist()) == {2, 3}


def test_vary_is_one_click(make: Maker, song: Path, qtbot: QtBot) -> None:
    studio = make(song)
    for name, slider in studio.morph_state.sliders.items():
        slider.set_locked(name != "dynamics")
    QTest.mouseClick(studio.window.findChild(object, "start_vary"), Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: studio.document.is_dirty)
    assert list(studio.morph_state.offsets) == ["dynamics"]


# ---------------------------------------------------------------- playing


def test_space_plays_and_enter_stops(make: Maker, song: Path, qtbot: QtBot) -> None:
    studio = make(song)
    QTest.keyClick(studio.window, Qt.Key.Key_Space)
    assert studio.player.is_playing
    qtbot.waitUntil(lambda: studio.roll.state.playhead > 0)
    qtbot.waitUntil(lambda: studio.window.transport.position.value.text() != "1 . 1 . 000")
    QTest.keyClick(studio.window, Qt.Key.Key_Return)
    assert not studio.player.is_playing
    assert studio.roll.state.playhead == 0


def test_playing_goes_on_through_a_morph_and_the_bar_heard_is_kept(make: Maker, song: Path, qtbot: QtBot) -> None:
    studio = make(song)
    source = studio.document.score
    studio.window["play"].trigger()
    drag(studio, "register", 1.0)
    qtbot.waitUntil(lambda: studio.document.score is not source)
    assert studio.player.is_playing
    heard = studio.player._transport.score
    assert (heard.notes["pitch"][:8] == source.notes["pitch"][:8]).all()
    assert (heard.notes["pitch"][8:] == source.notes["pitch"][8:] + 6).all()
    studio.window["stop"].trigger()
    assert studio.player._transport.score is studio.document.score


def test_every_port_gets_the_notes_and_their_ends(make: Maker, song: Path, qtbot: QtBot) -> None:
    synth, out = SilentPort(), SilentPort()
    studio = make(song, synth=lambda: synth, midi=lambda name: out)
    qtbot.waitUntil(lambda: studio.sound.midi is out)
    studio.window["play"].trigger()
    qtbot.waitUntil(lambda: sum(is_note_off(m) for _, m in out.sent) >= 2)
    studio.window["panic"].trigger()
    assert (synth.panics, out.panics) == (1, 1)
    assert next(m for _, m in out.sent if is_note_on(m)) == bytes((0x90, 60, 80))


def test_loop_and_follow_follow_their_keys(make: Maker, song: Path) -> None:
    studio = make(song)
    studio.roll.select_bars(range(1, 3))
    studio.roll.setFocus()
    QTest.keyClick(studio.window, Qt.Key.Key_L)
    assert studio.roll.state.loop == (1920, 3 * 1920)
    assert studio.window["loop"].isChecked()
    QTest.keyClick(studio.window, Qt.Key.Key_L)
    assert studio.roll.state.loop is None
    assert studio.roll.follow
    QTest.keyClick(studio.window, Qt.Key.Key_F)
    assert not studio.roll.follow


# ---------------------------------------------------------------- files


def test_a_project_comes_back_with_its_sliders(make: Maker, song: Path, tmp_path: Path, qtbot: QtBot) -> None:
    studio = make(song)
    source = studio.document.score
    drag(studio, "register", 1.0)
    qtbot.waitUntil(lambda: studio.document.is_dirty)
    morphed = studio.document.score
    studio.files._save(tmp_path / "kept.morphony")
    qtbot.waitUntil(lambda: not studio.document.is_dirty)
    assert studio.window.windowTitle() == "kept[*] - Morphony"
    studio.files.open(song)
    qtbot.waitUntil(lambda: studio.files.name == "song")
    studio.files.open(tmp_path / "kept.morphony")
    qtbot.waitUntil(lambda: studio.files.name == "kept" and studio.morphing.piece is not None)
    assert (studio.document.score.notes == morphed.notes).all()
    assert studio.morph_state.offsets == {"register": pytest.approx(1.0, abs=0.02)}
    assert not studio.document.is_dirty
    qtbot.waitUntil(lambda: studio.morphing.piece.score is studio.document.piece_base)
    drag(studio, "register", 0.0)
    qtbot.waitUntil(lambda: studio.document.score is studio.document.piece_base)
    assert (studio.document.score.notes == source.notes).all()


def test_export_writes_what_is_in_the_roll(make: Maker, song: Path, tmp_path: Path, qtbot: QtBot) -> None:
    studio = make(song)
    studio.files.export_midi(tmp_path / "out.mid")
    qtbot.waitUntil(lambda: (tmp_path / "out.mid").exists())
    assert (midi.read(tmp_path / "out.mid").notes == studio.document.score.notes).all()


def test_a_broken_file_is_a_sentence_and_the_song_stays(make: Maker, song: Path, tmp_path: Path, qtbot: QtBot) -> None:
    studio = make(song)
    before = studio.document.score
    (tmp_path / "broken.mid").write_bytes(b"MThd")
    studio.files.open(tmp_path / "broken.mid")
    qtbot.waitUntil(lambda: not studio.window.messages.isHidden())
    assert "broken.mid" in studio.window.messages.text.text()
    assert studio.document.score is before


def drop(studio: Studio, path: Path) -> None:
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path))])
    buttons, keys = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    studio.window.dropEvent(QDropEvent(QPointF(5, 5), Qt.DropAction.CopyAction, data, buttons, keys))


def test_a_dropped_song_opens(make: Maker, song: Path, tmp_path: Path, qtbot: QtBot) -> None:
    studio = make(song)
    midi.write(a_song(2), tmp_path / "other.mid")
    drop(studio, tmp_path / "other.mid")
    qtbot.waitUntil(lambda: studio.files.name == "other")
    assert len(studio.document.score.notes) == 16


def test_a_dropped_folder_offers_fine_tuning(make: Maker, song: Path, tmp_path: Path, qtbot: QtBot) -> None:
    studio = make(song)
    drop(studio, tmp_path)
    assert studio.training_dock.isVisible()
    assert studio.training.stage is Stage.SCANNING
    qtbot.waitUntil(lambda: studio.training.stage is Stage.REPORT, timeout=60_000)
    assert "1 of 1 files" in studio.training.words.text()


def test_closing_asks_and_cancel_keeps_the_window(
    make: Maker, song: Path, monkeypatch: pytest.MonkeyPatch, qtbot: QtBot
) -> None:
    studio = make(song)
    drag(studio, "register", 1.0)
    qtbot.waitUntil(lambda: studio.document.is_dirty)
    answers = iter([QMessageBox.StandardButton.Cancel, QMessageBox.StandardButton.Discard])
    monkeypatch.setattr(QMessageBox, "question", lambda *_: next(answers))
    assert not studio.window.close()
    assert studio.window.isVisible()
    assert studio.window.close()


def test_after_a_crash_the_last_changes_are_offered(make: Maker, song: Path, tmp_path: Path, qtbot: QtBot) -> None:
    studio = make(song)
    drag(studio, "register", 1.0)
    qtbot.waitUntil(lambda: studio.document.is_dirty)
    studio.autosave.keep()
    qtbot.waitUntil(studio.autosave.path.exists)
    assert make(song, recovery=tmp_path / "recovery").autosave.left_behind() is None  # its owner lives
    crashed = tmp_path / "crashed" / "1-a.morphony"
    crashed.parent.mkdir()
    crashed.write_bytes(studio.autosave.path.read_bytes())
    again = make(song, recovery=tmp_path / "crashed")
    assert again.window.messages.text.text().startswith("Morphony did not end as it should")
    again.window.messages._act.click()
    qtbot.waitUntil(lambda: again.files.name == "Recovered")
    assert (again.document.score.notes == studio.document.score.notes).all()
    assert again.document.is_dirty
    assert list(again.morph_state.offsets) == ["register"]
    assert not crashed.exists()


def test_a_saved_song_leaves_no_copy_behind(make: Maker, song: Path, tmp_path: Path, qtbot: QtBot) -> None:
    studio = make(song)
    drag(studio, "register", 1.0)
    qtbot.waitUntil(lambda: studio.document.is_dirty)
    studio.autosave.keep()
    qtbot.waitUntil(studio.autosave.path.exists)
    studio.files._save(tmp_path / "kept.morphony")
    qtbot.waitUntil(lambda: not studio.document.is_dirty)
    assert not studio.autosave.path.exists()


# ---------------------------------------------------------------- when something is missing


def nothing(sentence: str) -> Callable[..., object]:
    def opener(*_: object) -> object:
        raise MorphonyError(sentence)

    return opener


def test_without_sound_midi_and_model_each_is_a_sentence_and_the_roll_works(
    make: Maker, song: Path, qtbot: QtBot
) -> None:
    studio = make(
        song,
        ready=False,
        synth=nothing("No sound: the synth library is not installed."),
        midi=nothing("No MIDI: nobody answers."),
        opener=nothing("The starter model is missing."),
    )
    qtbot.waitUntil(lambda: studio.engine_light.light.state is Light.BAD)
    assert studio.sound.sound_light.sentence == "No sound: the synth library is not installed."
    assert studio.sound.midi_light.sentence == "No MIDI: nobody answers."
    assert studio.window.messages.text.text() == "No sound: the synth library is not installed."
    assert "The starter model is missing." in studio.latents.views["density"].toolTip()
    assert studio.window["vary"].toolTip() == "The starter model is missing."
    studio.roll.state.select(range(3))  # type: ignore[arg-type]
    studio.roll.action("delete").trigger()
    assert len(studio.document.score.notes) == 61
    studio.window["play"].trigger()
    assert studio.player.is_playing


def test_a_song_without_notes_says_so(make: Maker, tmp_path: Path, qtbot: QtBot) -> None:
    path = tmp_path / "empty.mid"
    midi.write(Score(480, (Track(),), make_notes()), path)
    studio = make(path, ready=False, opener=lambda *_: fakes.open_engine())
    qtbot.waitUntil(lambda: studio.latents.views["density"].model.why_disabled.startswith("There are no"))


# ---------------------------------------------------------------- remembering


def test_theme_and_start_strip_are_remembered(make: Maker, song: Path) -> None:
    studio = make(song)
    studio.window["theme"].trigger()
    studio.window.start_strip.dismissed.emit()
    studio.close()
    again = make(song)
    assert again.window["theme"].isChecked()
    assert not theme.current().dark
    assert again.window.start_strip.isHidden()
    theme.themes.use(theme.DARK)


def test_the_sheet_and_the_palette_open(make: Maker, song: Path, qtbot: QtBot) -> None:
    studio = make(song)
    studio.show_shortcuts()
    studio.show_palette()
    palette = next(w for w in studio.window.children() if type(w).__name__ == "Palette")
    QTest.keyClicks(palette.search, "panic")
    assert palette.found.topLevelItemCount() == 0
    palette.search.clear()
    QTest.keyClicks(palette.search, "notes off")
    assert palette.found.topLevelItemCount() == 1
    QTest.keyClick(palette.search, Qt.Key.Key_Return)
