"""Projects on disk: exact round trips, refusals in one sentence, and no moment at which the file is lost."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest

from app import project
from app.project import Project
from engine.errors import MorphonyError
from engine.score.score import Event, Meter, Score, Tempo, Track, make_notes


def a_score(pitch: int = 60) -> Score:
    """Two tracks with what MIDI files hold: overlaps of one pitch, a controller, a text, another meter and tempo."""
    rows = [(0, 480, pitch, 90, 0), (0, 960, pitch, 70, 0), (481, 3, pitch + 7, 1, 1), (960, 0, 108, 127, 1)]
    events = (Event(0, 0, b"\xb0\x40\x7f"), Event(5, 1, b"\xff\x01hall\xc3\xb6"))
    tracks = (Track("Upper", 0, 0), Track("Tief ö", 32, 3))
    return Score(480, tracks, make_notes(rows), (Meter(0, 3, 4), Meter(1440, 7, 8)), (Tempo(0, 461538),), events)


def a_project() -> Project:
    return Project(a_score(), a_score(48), {"density": 1.25, "register": -0.5}, ("leaps",), range(2, 6), 7, "abc123")


def same(a: Score, b: Score) -> bool:
    return project.score_to_json(a) == project.score_to_json(b)


def test_everything_comes_back_exactly(tmp_path: Path) -> None:
    path = tmp_path / "song.morphony"
    project.write(a_project(), path)
    back = project.read(path)
    assert same(back.score, a_score())
    assert same(back.base, a_score(48))
    assert (back.offsets, back.locks, back.bars) == ({"density": 1.25, "register": -0.5}, ("leaps",), range(2, 6))
    assert (back.seed, back.model) == (7, "abc123")


def test_without_a_morph_the_base_is_the_song_itself(tmp_path: Path) -> None:
    score = a_score()
    project.write(Project(score, score), tmp_path / "song.morphony")
    back = project.read(tmp_path / "song.morphony")
    assert back.base is back.score


def test_a_very_uniform_song_is_not_mistaken_for_a_bomb(tmp_path: Path) -> None:
    score = Score(480, (Track(),), make_notes([(0, 480, 60, 64, 0)] * 50_000))
    project.write(Project(score, score), tmp_path / "song.morphony")
    assert len(project.read(tmp_path / "song.morphony").score.notes) == 50_000


def test_no_path_and_no_user_name_gets_in(tmp_path: Path) -> None:
    data = project.to_bytes(a_project())
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        content = b"".join(archive.read(name) for name in archive.namelist())
    assert str(tmp_path).encode() not in content
    assert str(Path.home()).encode() not in content
    assert b"song.morphony" not in content


def test_other_programs_find_a_midi_file_inside() -> None:
    from engine.score import midi

    with zipfile.ZipFile(io.BytesIO(project.to_bytes(a_project()))) as archive:
        assert len(midi.from_bytes(archive.read("song.mid")).notes) == 4


# ---------------------------------------------------------------- broken and hostile files


def zipped(entries: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return out.getvalue()


def changed(**fields: object) -> bytes:
    with zipfile.ZipFile(io.BytesIO(project.to_bytes(a_project()))) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    about = json.loads(entries["project.json"]) | fields
    return zipped(entries | {"project.json": json.dumps(about).encode()})


def song(**fields: object) -> bytes:
    with zipfile.ZipFile(io.BytesIO(project.to_bytes(a_project()))) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    data = json.loads(entries["song.json"]) | fields
    return zipped(entries | {"song.json": json.dumps(data).encode()})


REFUSED = {
    "empty": b"",
    "not a zip": b"MThd but not quite",
    "a truncated zip": project.to_bytes(a_project())[:-30],
    "nothing inside": zipped({}),
    "another format": changed(format="something else"),
    "a later version": changed(version=99),
    "bars that are no numbers": changed(bars=["a", "b"]),
    "sliders that are a list": changed(sliders=[1, 2]),
    "a bomb": zipped({"project.json": b"0" * 30_000_000}),
    "too many entries": zipped({f"{i}.json": b"{}" for i in range(65)}),
    "brackets 100,000 deep": zipped({"project.json": b"[" * 100_000 + b"]" * 100_000}, zipfile.ZIP_STORED),
    "a track that is not there": song(tracks=[["a", 0, 0, False]]),
    "no resolution": song(ticks_per_quarter=0),
    "columns of two lengths": song(
        notes={"tick": [0, 1], "duration": [1], "pitch": [1], "velocity": [1], "track": [0]}
    ),
    "a pitch of 300": song(notes={"tick": [0], "duration": [1], "pitch": [300], "velocity": [1], "track": [0]}),
    "a meter of zero": song(meters=[[0, 0, 4]]),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_broken_project_is_one_sentence(what: str, tmp_path: Path) -> None:
    path = tmp_path / "broken.morphony"
    path.write_bytes(REFUSED[what])
    with pytest.raises(MorphonyError, match=r"^broken\.morphony .*\.$"):
        project.read(path)


def test_every_flipped_byte_is_refused_or_read(tmp_path: Path) -> None:
    data = bytearray(project.to_bytes(a_project()))
    for at in range(0, len(data), 7):
        flipped = bytearray(data)
        flipped[at] ^= 0x41
        with suppress(MorphonyError):  # anything else fails the test
            project.from_bytes(bytes(flipped), "x")


def test_an_entry_twice_is_refused() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("project.json", "{}")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("project.json", "{}")
    with pytest.raises(MorphonyError, match="twice"):
        project.from_bytes(out.getvalue(), "x")


def test_a_folder_and_a_missing_file_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(MorphonyError, match="not a file"):
        project.read(tmp_path)
    with pytest.raises(MorphonyError, match="cannot be read"):
        project.read(tmp_path / "nowhere.morphony")


# ---------------------------------------------------------------- saving never loses

STEPS = ("open", "write", "fsync", "replace", "link", "read")


def failing(monkeypatch: pytest.MonkeyPatch, at: int, error: OSError) -> list[str]:
    """Let the call number `at` of all that touch the disk fail; the list fills with the calls made."""
    calls: list[str] = []

    def wrap(name: str, real: object) -> object:
        def call(*args: object, **kwargs: object) -> object:
            calls.append(name)
            if len(calls) == at:
                raise error
            return real(*args, **kwargs)  # type: ignore[operator]

        return call

    for name in ("fsync", "replace", "link", "open"):
        monkeypatch.setattr(os, name, wrap(f"os.{name}", getattr(os, name)))
    for name in ("open", "read_bytes"):
        monkeypatch.setattr(Path, name, wrap(f"Path.{name}", getattr(Path, name)))
    return calls


@pytest.mark.parametrize("at", range(1, 12))
def test_a_disk_that_fails_at_any_step_leaves_the_old_or_the_new_song(
    at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "song.morphony"
    old, new = Project(a_score(40), a_score(40)), Project(a_score(50), a_score(50))
    project.write(old, path)
    with monkeypatch.context() as patch:
        calls = failing(patch, at, OSError(28, "No space left on device"))
        try:
            project.write(new, path)
            said = ""
        except MorphonyError as error:
            said = str(error)
    back = project.read(path).score
    assert same(back, new.score) or same(back, old.score)
    if said:
        assert said == "song.morphony was not saved: the disk is full."
    else:
        assert same(back, new.score)
        assert len(calls) < at or calls[at - 1] == "os.link"  # without links the backup is a copy
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = [{root!r}, {here!r}]
import test_project as t
from app import project
count = 0
def wrap(module, name):
    real = getattr(module, name)
    def call(*args, **kwargs):
        global count
        count += 1
        if count == {at}:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **kwargs)
    setattr(module, name, call)
for module, name in ((os, "fsync"), (os, "replace"), (os, "link"), (Path, "open"), (Path, "read_bytes")):
    wrap(module, name)
project.write(project.Project(t.a_score(50), t.a_score(50)), Path({path!r}))
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="SIGKILL: not on this system")
@pytest.mark.parametrize("at", [1, 2, 3, 4, 5, 6, 7])
def test_a_kill_at_any_step_leaves_the_old_or_the_new_song(at: int, tmp_path: Path) -> None:
    path = tmp_path / "song.morphony"
    project.write(Project(a_score(40), a_score(40)), path)
    root, here = str(Path(__file__).parents[2]), str(Path(__file__).parent)
    code = KILLED.format(root=root, here=here, at=at, path=str(path))
    subprocess.run([sys.executable, "-c", code], check=False)
    back = project.read(path).score
    assert same(back, a_score(40)) or same(back, a_score(50))


def test_the_last_version_stays_beside(tmp_path: Path) -> None:
    path = tmp_path / "song.morphony"
    project.write(Project(a_score(40), a_score(40)), path)
    project.write(Project(a_score(50), a_score(50)), path)
    assert same(project.read(tmp_path / "song.morphony.bak").score, a_score(40))
