"""Each thing that may be broken or missing, for real: one sentence for it, nothing lost, and all the rest works."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from pytestqt.qtbot import QtBot

from app.panels.status import Light
from app.panels.training import Stage
from app.settings import Settings
from app.sound import fonts
from app.sound.ports import Status, Timed, is_note_on
from app.studio import Studio, open_midi, open_synth
from app.worker import open_engine
from engine.score import midi
from engine.score.score import Score, Track, make_notes
from engine.session import STARTER
from tests.app import fakes

ROOT = Path(__file__).parents[2]
NO_AUDIO = {"PULSE_SERVER": "none", "PIPEWIRE_REMOTE": "none", "ALSA_CONFIG_PATH": "/dev/null"}
NO_FLUIDSYNTH = "No sound: the FluidSynth library is not there; install it ("
OFFSCREEN = "This plugin does not support propagateSizeHints()\n"  # what Qt without a screen says of itself
BROKEN = {"empty.mid": b"", "half.mid": b"MThd\0\0\0\6\0\1", "pdf.mid": b"%PDF-1.7 and so on"}

needs_starter = pytest.mark.skipif(not STARTER.is_dir(), reason="starter model: assets/models/starter is not there")


class SilentPort:
    """A port that works and remembers what it was sent."""

    status = Status(True, "Silent, for tests.")

    def __init__(self) -> None:
        self.sent: list[Timed] = []

    def send(self, events: Sequence[Timed]) -> None:
        self.sent += events

    def silence(self) -> None: ...

    def panic(self) -> None: ...

    def poll(self) -> None: ...

    def close(self) -> None: ...


@pytest.fixture(autouse=True)
def nothing_on_stderr(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """No traceback, and no chatter of ALSA, JACK, FluidSynth or Qt; what a test expects there it reads itself."""
    yield
    assert capfd.readouterr().err == ""


@pytest.fixture
def song(tmp_path: Path) -> Path:
    path = tmp_path / "song.mid"
    notes = make_notes([(i * 240, 200, 60 + i % 12, 80, 0) for i in range(64)])
    midi.write(Score(480, (Track("Piano"),), notes), path)
    return path


Maker = Callable[..., Studio]


@pytest.fixture
def make(tmp_path: Path, song: Path, qtbot: QtBot) -> Iterator[Maker]:
    """Open the studio on the song, with parts that work but for those given."""
    made: list[Studio] = []

    def studio(**parts: object) -> Studio:
        parts = {"opener": fakes.open_engine, "synth": SilentPort, "midi": lambda name: SilentPort()} | parts
        settings = Settings(tmp_path / "settings.ini")
        made.append(Studio(song, settings, recovery=tmp_path / "recovery", **parts))  # type: ignore[arg-type]
        made[-1].show()
        qtbot.waitUntil(lambda: made[-1].files.name == "song")
        return made[-1]

    yield studio
    for each in made:
        each.close()
        each.window.may_close = lambda: True
        each.window.close()
        each.window.deleteLater()


def edit(studio: Studio, qtbot: QtBot) -> Score:
    """Delete three notes by hand."""
    qtbot.waitUntil(lambda: studio.morphing.piece is not None)
    studio.roll.state.select(range(3))  # type: ignore[arg-type]
    studio.roll.action("delete").trigger()
    assert studio.document.is_dirty
    return studio.document.score


def strip(studio: Studio) -> str:
    """What the message strip says; "" when it is not there."""
    messages = studio.window.messages
    assert not messages._waiting, "one sentence, not several"
    return "" if messages.isHidden() else messages.text.text()


def morphs(studio: Studio, qtbot: QtBot) -> bool:
    """Whether a slider moves the notes."""
    qtbot.waitUntil(lambda: studio.morphing.piece is not None)
    before = studio.document.score
    view = studio.latents.views["register"]
    view.setFocus()
    QTest.keyClick(view, Qt.Key.Key_PageUp)
    qtbot.waitUntil(lambda: studio.document.score is not before)
    return bool((studio.document.score.notes["pitch"] != before.notes["pitch"]).any())


def plays_to(port: SilentPort, studio: Studio, qtbot: QtBot) -> bool:
    """Whether music reaches a port."""
    studio.window["play"].trigger()
    qtbot.waitUntil(lambda: any(is_note_on(message) for _, message in port.sent))
    studio.window["stop"].trigger()
    return True


# ---------------------------------------------------------------- files


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_leaves_the_edited_piece_as_it_is(make: Maker, tmp_path: Path, name: str, qtbot: QtBot) -> None:
    studio = make()
    edited = edit(studio, qtbot)
    (tmp_path / name).write_bytes(BROKEN[name])
    studio.files.open(tmp_path / name)
    qtbot.waitUntil(lambda: bool(strip(studio)))
    assert strip(studio).startswith(name)
    assert strip(studio).count(".") == name.count(".") + 1
    assert (studio.document.score, studio.files.name, studio.document.is_dirty) == (edited, "song", True)
    assert studio.document.undo_stack.undoText() == "Delete notes"
    studio.window["undo"].trigger()
    assert len(studio.document.score.notes) == 64
    assert morphs(studio, qtbot)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "There is no MIDI file in this folder."),
        ({"readme.txt": b"no music"}, "There is no MIDI file in this folder."),
        (BROKEN, "No file in this folder can be used; the list says why."),
    ],
)
def test_a_folder_without_music_says_so_and_asks_for_another(
    make: Maker, tmp_path: Path, files: dict[str, bytes], words: str, qtbot: QtBot
) -> None:
    folder = tmp_path / "my songs"
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    studio = make()
    studio.window.dropped.emit(folder)
    qtbot.waitUntil(lambda: studio.training.stage is Stage.REPORT, timeout=60_000)
    panel = studio.training
    assert panel.words.text() == words
    assert (panel.main_button.text(), panel.main_button.isEnabled()) == ("Another folder…", True)
    assert panel.steps.isHidden()
    said = [panel.refused.item(i).text() for i in range(panel.refused.count())]
    assert len(said) == (3 if files is BROKEN else 0)
    assert all(text.startswith(name) for text, name in zip(said, sorted(BROKEN), strict=False))
    assert strip(studio) == ""


def full(_: int) -> None:
    """What `os.fsync` does on a full disk."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("place", ["no folder", "a file for a folder", "a full disk"])
def test_what_cannot_be_saved_stays_unsaved_and_the_old_file_stays(
    make: Maker, tmp_path: Path, place: str, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio = make()
    edited = edit(studio, qtbot)
    path, reason = {
        "no folder": (tmp_path / "gone" / "x.morphony", "there is no such file or folder"),
        "a file for a folder": (tmp_path / "song.mid" / "x.morphony", "a part of its path is not a folder"),
        "a full disk": (tmp_path / "x.morphony", "the disk is full"),
    }[place]
    if place == "a full disk":
        path.write_bytes(b"the old one")
    with monkeypatch.context() as disk:
        if place == "a full disk":
            disk.setattr(os, "fsync", full)
        studio.files._save(path)
        qtbot.waitUntil(lambda: bool(strip(studio)))
    assert strip(studio) == f"x.morphony was not saved: {reason}."
    assert studio.window.messages._act.text() == "Save as…"  # elsewhere
    assert studio.document.is_dirty
    assert studio.window.isWindowModified()
    assert studio.document.score is edited
    if place == "a full disk":
        assert path.read_bytes() == b"the old one"
    assert not list(tmp_path.glob(".*"))
    studio.files._save(tmp_path / "elsewhere.morphony")
    qtbot.waitUntil(lambda: not studio.document.is_dirty)
    assert strip(studio) == "Saved elsewhere.morphony."


@pytest.mark.parametrize("kind", ["midi", "wav"])
def test_what_cannot_be_exported_says_why(make: Maker, tmp_path: Path, kind: str, qtbot: QtBot) -> None:
    studio = make()
    path = tmp_path / "gone" / "song.out"
    getattr(studio.files, f"export_{kind}")(path)
    qtbot.waitUntil(lambda: studio.window.messages._bad, timeout=20_000)
    assert strip(studio).startswith("song.out ")
    assert strip(studio).endswith(": there is no such file or folder.")


# ---------------------------------------------------------------- sound and MIDI


def test_without_an_audio_device_the_midi_port_plays(
    make: Maker, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in NO_AUDIO.items():
        monkeypatch.setenv(name, value)
    out = SilentPort()
    studio = make(synth=open_synth, midi=lambda name: out)
    light = studio.sound.sound_light
    qtbot.waitUntil(lambda: light.state is Light.BAD, timeout=15_000)
    assert light.sentence.startswith("No sound: no audio device could be opened (tried ")
    assert strip(studio) == light.sentence
    assert plays_to(out, studio, qtbot)
    assert morphs(studio, qtbot)


def test_without_any_sound_font_the_midi_port_plays_and_sound_comes_back_with_one(
    make: Maker, tmp_path: Path, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fonts, "OWN", tmp_path / "none.sf2")
    monkeypatch.setattr(fonts, "folders", list)
    out = SilentPort()
    studio = make(synth=open_synth, midi=lambda name: out)
    light = studio.sound.sound_light
    qtbot.waitUntil(lambda: light.state is Light.BAD, timeout=15_000)
    assert light.sentence.startswith("No sound: there is no sound font, not even our own; install ")
    assert strip(studio) == light.sentence
    assert not studio.sound.tone.isEnabled()
    assert plays_to(out, studio, qtbot)
    studio.sound._show(light, Status(True, "FluidSynth plays."))
    assert strip(studio) == ""  # a trouble that is over is not talked about


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the library is hidden by LD_LIBRARY_PATH")
def test_without_the_synth_library_the_midi_port_plays(song: Path, tmp_path: Path) -> None:
    for name in ("libfluidsynth.so.3", "libfluidsynth.so.2"):
        (tmp_path / name).write_bytes(b"")  # found first, and no library
    code = """
import json, sys
from pathlib import Path
from PySide6.QtCore import QEventLoop, QTimer
from PySide6.QtWidgets import QApplication
from app.settings import Settings
from app.studio import Studio, open_synth
from tests.app import fakes
from tests.app.test_troubles import SilentPort, is_note_on
def until(what):
    loop, timer = QEventLoop(), QTimer(interval=20)
    timer.timeout.connect(lambda: what() and loop.quit())
    timer.start()
    loop.exec()
app, out = QApplication([]), SilentPort()
here = Path(sys.argv[1])
settings = Settings(here / "settings.ini")
studio = Studio(here / "song.mid", settings, fakes.open_engine, open_synth, lambda name: out, here / "recovery")
studio.show()
until(lambda: studio.sound.sound_light.state.value == "bad")
studio.window["play"].trigger()
until(lambda: any(is_note_on(m) for _, m in out.sent))
print(json.dumps([studio.sound.sound_light.sentence, studio.window.messages.text.text()]))
studio.close()
"""
    environment = {**os.environ, "LD_LIBRARY_PATH": str(tmp_path)}
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=90, check=False)
    assert (done.returncode, done.stderr.replace(OFFSCREEN, "")) == (0, "")
    light, said = json.loads(done.stdout)
    assert light == said
    assert said.startswith(NO_FLUIDSYNTH)
    for command in (["render", str(song), str(tmp_path / "x.wav")], ["play", str(song)]):
        failed = morphony(*command, **environment)
        assert (failed.returncode, failed.stdout, failed.stderr.count("\n")) == (1, "", 1)
        assert failed.stderr.startswith(NO_FLUIDSYNTH)


def test_without_a_midi_system_the_synth_plays_and_the_sliders_morph(
    make: Maker, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALSA_CONFIG_PATH", "/dev/null")  # and no JACK server: see conftest
    synth = SilentPort()
    studio = make(synth=lambda: synth, midi=open_midi)
    light = studio.sound.midi_light
    qtbot.waitUntil(lambda: light.state is not Light.WAITING, timeout=20_000)
    assert light.state is Light.BAD
    assert light.sentence.startswith("No MIDI output: ")
    assert not studio.sound.note.isEnabled()
    assert studio.sound.note.toolTip() == light.sentence
    assert strip(studio) == ""  # the light says it: who needs no port is not bothered
    assert plays_to(synth, studio, qtbot)
    assert morphs(studio, qtbot)


# ---------------------------------------------------------------- the model


@needs_starter
@pytest.mark.parametrize("trouble", ["missing", "damaged"])
def test_without_its_model_the_studio_edits_and_plays_and_tries_again(
    make: Maker, tmp_path: Path, trouble: str, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    starter = tmp_path / "starter"
    if trouble == "damaged":
        shutil.copytree(STARTER, starter)
        os.truncate(starter / "model.safetensors", 1000)
    monkeypatch.setattr("engine.session.STARTER", starter)
    synth = SilentPort()
    studio = make(opener=open_engine, synth=lambda: synth)
    light = studio.engine_light.light
    qtbot.waitUntil(lambda: light.state is Light.BAD, timeout=60_000)
    qtbot.waitUntil(lambda: bool(strip(studio)))
    said = strip(studio)
    assert said.startswith(f"The starter model is {trouble}")
    assert said.endswith("; install Morphony again to get it back.")
    assert {light.sentence, studio.latents.status.text(), studio.window["vary"].toolTip()} == {said}
    assert said in studio.latents.views["density"].toolTip()
    assert plays_to(synth, studio, qtbot)
    studio.roll.state.select(range(3))  # type: ignore[arg-type]
    studio.roll.action("delete").trigger()
    assert len(studio.document.score.notes) == 61
    monkeypatch.setattr("engine.session.STARTER", STARTER)
    assert studio.window.messages._act.text() == studio.engine_light.again.text() == "Try again"
    studio.engine_light.again.click()
    qtbot.waitUntil(lambda: light.state is Light.GOOD, timeout=60_000)
    qtbot.waitUntil(lambda: strip(studio) == "")
    assert studio.latents.status.isHidden()
    qtbot.waitUntil(lambda: studio.morphing.piece is not None, timeout=30_000)
    assert studio.window["vary"].isEnabled()


# ---------------------------------------------------------------- the terminal


def morphony(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "app", *words]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=90, check=False)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="X11 is asked only on Linux")
@pytest.mark.parametrize("words", [[], ["song.mid"]])
def test_without_a_display_the_studio_is_one_sentence(song: Path, words: list[str]) -> None:
    hidden = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    done = morphony(*(str(song.parent / word) for word in words), **environment)
    sentence = "There is no display to open a window on (DISPLAY is not set); the subcommands work without one.\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", sentence)


COMMANDS = {  # what follows the name of each subcommand that reads music
    "info": "IN",
    "tokens": "IN",
    "reconstruct": "IN OUT",
    "morph": "IN OUT --set density=1",
    "sweep": "IN OUT",
    "interpolate": "IN IN OUT",
    "continue": "IN OUT --bars 2",
    "infill": "IN OUT --bars 1:2",
    "vary": "IN OUT",
    "transfer": "IN OUT --style IN",
    "render": "IN OUT",
    "play": "IN",
    "scan": "IN",
    "train": "IN --out OUT --steps 1",
    "personalise": "IN --out OUT --steps 1",
    "evaluate": "IN",
    "bench": "IN",
}


@needs_starter
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("trouble", ["broken.mid", "missing.mid", "empty"])
def test_a_command_on_what_is_no_music_is_one_sentence(
    command: str, trouble: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.__main__ import main

    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("broken.mid").write_bytes(BROKEN["pdf.mid"])
    words = COMMANDS[command].replace("IN", trouble).replace("OUT", "out").split()
    assert main([command, *words]) == 1
    out, err = capfd.readouterr()
    said = [line for line in err.splitlines() if not line[0].isdigit()]  # but for the count of a progress
    assert len(said) == 1
    assert trouble in said[0]
    assert said[0].endswith(".")
    assert main([command, *words, "--json"]) == 1
    out, err = capfd.readouterr()
    assert json.loads(out.splitlines()[-1])["error"] == said[0]
    assert not Path("out").exists()


@pytest.mark.parametrize("command", ["info", "tokens", "render"])
def test_a_folder_goes_on_past_a_broken_file_and_lists_it(
    command: str, song: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from app.__main__ import main

    folder = tmp_path / "mixed"
    folder.mkdir()
    for name, data in BROKEN.items():
        (folder / name).write_bytes(data)
    song.rename(folder / "song.mid")
    out = [str(tmp_path / "out")] if command == "render" else []
    assert main([command, str(folder), *out, "--json"]) == 0
    files = {entry["file"]: entry for entry in json.loads(capfd.readouterr().out.splitlines()[-1])["files"]}
    assert [name for name, entry in files.items() if entry["ok"]] == ["song.mid"]
    assert all(files[name]["error"].startswith(name) for name in BROKEN)
    assert not out or (tmp_path / "out" / "song.wav").stat().st_size > 1000
