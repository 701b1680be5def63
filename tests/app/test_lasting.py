"""What must never be lost: kill -9, quitting, another window, an old version, a full disk. Against real processes."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PySide6.QtWidgets import QMessageBox
from pytestqt.qtbot import QtBot

from app import project
from app.document import Document
from app.files import Files
from app.guard import Guard
from app.project import Project
from app.settings import Settings
from engine.errors import MorphonyError
from engine.score import midi
from engine.score.score import Score, Track, make_notes

ROOT = Path(__file__).parents[2]
GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.morphony"))
needs_kill = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="SIGKILL: not on this system")


def song(pitch: int, count: int = 300) -> Score:
    return Score(480, (Track("Piano"),), make_notes([(i * 120, 100, pitch, 80, 0) for i in range(count)]))


def python(code: str, *arguments: object, **environment: str) -> subprocess.Popen[str]:
    """A Python of its own that runs `code` and tells by its output how far it is."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


# ---------------------------------------------------------------- saving

SAVER = """
import sys, itertools
from pathlib import Path
from app import project
from tests.app.test_lasting import song
print("ready", flush=True)
for i in itertools.count():
    score = song(30 + i % 60)
    project.write(project.Project(score, score), Path(sys.argv[1]))
"""


@needs_kill
@pytest.mark.parametrize("times", [3, pytest.param(200, marks=pytest.mark.slow)])
def test_killed_at_a_random_moment_of_saving_the_project_opens(times: int, tmp_path: Path) -> None:
    path = tmp_path / "song.morphony"
    rng, pitches = random.Random(0), set()
    for _ in range(times):
        process = python(SAVER, path)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(rng.uniform(0.0, 0.4))
        process.kill()
        process.wait()
        process.stdout.close()
        if path.exists():
            opened = project.read(path).score
            assert len(opened.notes) == 300
            assert len(set(opened.notes["pitch"].tolist())) == 1  # one song, not a mixture
            pitches.add(int(opened.notes["pitch"][0]))
    assert pitches or times < 10


def refusal(what: Project, path: Path) -> str:
    """What saving says when it fails; nothing when it does not."""
    try:
        project.write(what, path)
    except MorphonyError as error:
        return str(error)
    return ""


def test_a_disk_that_is_full_at_any_write_keeps_the_old_song(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk takes so many bytes and no more, at every size up to the whole file."""
    path = tmp_path / "song.morphony"
    old, new = Project(song(40), song(40)), Project(song(50), song(50))
    project.write(old, path)
    whole = len(project.to_bytes(new))
    real = os.fsync
    refusals = 0
    for room in range(0, whole + 600, 500):

        def fsync(handle: int, room: int = room) -> None:
            if os.fstat(handle).st_size > room and os.fstat(handle).st_mode & 0o100000:
                os.ftruncate(handle, room)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            real(handle)

        with monkeypatch.context() as disk:
            disk.setattr(os, "fsync", fsync)
            said = refusal(new, path)
        if said:
            refusals += 1
            assert said == "song.morphony was not saved: the disk is full."
            assert project.read(path).score.notes["pitch"][0] == 40
            assert [p.name for p in tmp_path.iterdir()] == ["song.morphony"]
    assert refusals > 2
    assert project.read(path).score.notes["pitch"][0] == 50


# ---------------------------------------------------------------- edits that nobody saved

EDITOR = """
import sys
from pathlib import Path
from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication
from app import autosave
from app.document import Document
from app.project import Project
from tests.app.test_lasting import song
autosave.EVERY_MS = int(sys.argv[2])
app = QApplication([])
document = Document(song(60, 1))
keeper = autosave.Autosave(document, lambda: Project(document.score, document.score), Path(sys.argv[1]), app)
keeper.start()
edits = [1]
def edit():
    edits[0] += 1
    document.change(song(60, edits[0]), "Draw")
    print(edits[0], flush=True)
timer = QTimer(interval=20)
timer.timeout.connect(edit)
timer.start()
app.exec()
"""


@needs_kill
@pytest.mark.parametrize("times", [2, pytest.param(40, marks=pytest.mark.slow)])
def test_killed_at_random_a_song_never_saved_comes_back_but_for_the_last_moments(times: int, tmp_path: Path) -> None:
    """Half a minute between copies in the program is 300 ms here; at most two of those are lost, as 60 s are there."""
    rng = random.Random(1)
    for number in range(times):
        folder = tmp_path / str(number)
        process = python(EDITOR, folder, 300, QT_QPA_PLATFORM="offscreen")
        assert process.stdout is not None
        assert process.stdout.readline() == "2\n"
        time.sleep(rng.uniform(0.9, 2.0))
        copies = sorted(folder.glob("*.morphony"))
        process.kill()
        last = int(process.stdout.read().split()[-1])
        process.wait()
        process.stdout.close()
        assert copies
        kept = len(project.read(copies[-1]).score.notes)
        assert last - kept <= 2 * 300 / 20 + 5  # edits of 20 ms


# ---------------------------------------------------------------- versions and windows


@pytest.mark.parametrize("path", GOLDEN, ids=lambda p: p.stem)
def test_projects_of_every_version_open_for_ever(path: Path) -> None:
    opened = project.read(path)
    assert opened.score.notes["pitch"].tolist() == [60, 60, 67, 108]
    assert opened.base.notes["pitch"].tolist() == [48, 48, 55, 108]
    assert (opened.offsets, opened.locks, opened.bars) == ({"density": 1.25, "register": -0.5}, ("leaps",), range(2, 6))
    assert (opened.seed, opened.model) == (7, "abc123")


def test_there_is_a_golden_project() -> None:
    assert len(GOLDEN) >= 2


HOLDER = """
import sys, time
from pathlib import Path
from app.guard import Guard
guard = Guard()
print(guard.take(Path(sys.argv[1])), flush=True)
time.sleep(60)
"""


@needs_kill
def test_two_windows_do_not_overwrite_each_other(tmp_path: Path, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    from PySide6.QtWidgets import QWidget

    path = tmp_path / "song.morphony"
    project.write(Project(song(40), song(40)), path)
    other = python(HOLDER, path)
    assert other.stdout is not None
    assert other.stdout.readline() == "True\n"
    window = QWidget()
    qtbot.addWidget(window)
    document = Document()
    files = Files(document, Settings(tmp_path / "s.ini"), window, lambda: Project(document.score, document.score))
    asked: list[str] = []
    says = [QMessageBox.StandardButton.Cancel]
    monkeypatch.setattr(QMessageBox, "question", lambda *a: asked.append(a[2]) or says[0])
    told: list[str] = []
    files.notice.connect(told.append)
    files.open_now(path)
    assert told == ["song.morphony is open in another window; saving here asks first."]
    document.change(song(70), "Draw")
    files.save()
    files.background.wait()
    assert "open in another window" in asked[-1]
    assert project.read(path).score.notes["pitch"][0] == 40  # cancelled
    other.kill()  # a lock whose process is gone is no lock
    other.wait()
    other.stdout.close()
    files.open_now(path)
    document.change(song(71), "Draw")
    project.write(Project(song(90), song(90)), path)  # somebody else writes
    files.save()
    assert "changed on disk" in asked[-1]
    assert project.read(path).score.notes["pitch"][0] == 90
    says[0] = QMessageBox.StandardButton.Save
    files.save()
    qtbot.waitUntil(lambda: not document.is_dirty)
    assert project.read(path).score.notes["pitch"][0] == 71
    count = len(asked)
    document.change(song(72), "Draw")
    files.save()  # what we wrote ourselves is no stranger's
    qtbot.waitUntil(lambda: not document.is_dirty)
    assert len(asked) == count
    files.guard.release()
    assert not list(tmp_path.glob(".*.lock"))


def test_a_lock_beside_a_folder_one_may_not_write_is_no_obstacle(tmp_path: Path) -> None:
    guard = Guard()
    assert guard.take(tmp_path / "gone" / "song.morphony")
    assert guard.objection(tmp_path / "gone" / "song.morphony") == ""
    guard.release()


# ---------------------------------------------------------------- quitting


def children(pid: int) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True).stdout.split()
    return [int(child) for child in found] + [g for child in found for g in children(int(child))]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.alone
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc: not on this system")
@pytest.mark.parametrize("times", [2, pytest.param(100, marks=pytest.mark.slow)])
def test_told_to_end_at_a_random_moment_it_ends_soon_and_leaves_no_process(times: int, tmp_path: Path) -> None:
    path = tmp_path / "song.mid"
    midi.write(song(60), path)
    rng = random.Random(2)
    took: list[float] = []
    for number in range(times):
        process = subprocess.Popen(
            [sys.executable, "-m", "app", str(path)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "QT_QPA_PLATFORM": "offscreen"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        time.sleep(rng.uniform(0.5, 9.0))
        below = children(process.pid)
        began = time.monotonic()
        process.send_signal((signal.SIGTERM, signal.SIGINT)[number % 2])
        process.wait(timeout=20)
        took.append(time.monotonic() - began)
        assert process.stderr is not None
        said = process.stderr.read()
        process.stderr.close()
        assert "Traceback" not in said or "KeyboardInterrupt" in said  # before it was up
        deadline = time.monotonic() + 3
        while any(map(is_alive, below)) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not [pid for pid in below if is_alive(pid)]
    print(f"{times} ends: {max(took):.2f} s at most, load {os.getloadavg()[0]:.1f}")  # noqa: T201
    assert max(took) < (3 if os.getloadavg()[0] < 4 else 10)
