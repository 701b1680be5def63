"""The whole table of gestures in one real window, as a program: the X server's own mouse, wheel and keys.

    python table.py OUT

Does row after row and writes OUT/table.json: name of the row -> "" where it held, else what went wrong.
A test starts it with a display. ROWS can be read without a window.
"""

import json
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PySide6.QtCore import QEventLoop, QMimeData, QPoint, QPointF, Qt, QTimer, QUrl
from PySide6.QtGui import QDrag, QDropEvent, QMouseEvent
from PySide6.QtWidgets import QApplication, QLabel, QWidget

from app.panels.quantise import QuantiseOptions
from app.panels.sheets import Palette, ShortcutSheet
from app.settings import Settings
from app.sound.ports import Status, Timed, is_note_on
from app.studio import Studio
from engine.score import edit, midi
from engine.score.score import Score, Track, make_notes
from tests.app import fakes

QUARTER = 96
ROWS: dict[str, Callable[["Desk"], None]] = {}


def row(name: str) -> Callable[[Callable[["Desk"], None]], Callable[["Desk"], None]]:
    """Enter a function as what is done and checked for a row of the table."""

    def enter(does: Callable[["Desk"], None]) -> Callable[["Desk"], None]:
        ROWS[name] = does
        return does

    return enter


class Ear:
    """A port that keeps what it is sent."""

    status = Status(True, "Silent, for tests.")

    def __init__(self) -> None:
        self.sent: list[Timed] = []

    def send(self, events: Sequence[Timed]) -> None:
        self.sent += events

    def silence(self) -> None: ...

    def panic(self) -> None: ...

    def poll(self) -> None: ...

    def close(self) -> None: ...

    @property
    def strikes(self) -> list[tuple[int, int]]:
        """(pitch, velocity) of every note-on."""
        return [(m[1], m[2]) for _, m in self.sent if is_note_on(m)]


def a_song() -> Score:
    """Eight quarters going up from C4, on a piano of two tracks; every fourth on the second."""
    rows = [(i * QUARTER, QUARTER, 60 + i, 64 + 4 * i, int(i % 4 == 3)) for i in range(8)]
    return Score(QUARTER, (Track("right"), Track("left", channel=1)), make_notes(rows))


class Desk:
    """The studio and a musician's hands."""

    def __init__(self, out: Path) -> None:
        self.ear = Ear()
        self.song_path = out / "song.mid"
        midi.write(a_song(), self.song_path)
        self.studio = Studio(
            self.song_path, Settings(out / "s.ini"), opener=fakes.open_engine, synth=lambda: self.ear,
            midi=lambda _: Ear(), recovery=out / "recovery",
        )  # fmt: skip
        self.out = out
        self.window, self.view, self.state = self.studio.window, self.studio.roll, self.studio.roll.state
        self.document = self.studio.document
        self.window.resize(1280, 800)
        self.window.move(0, 0)
        self.studio.show()
        until(lambda: self.studio.morphing.piece is not None and self.studio.files.name == "song", "the engine")
        self.window.activateWindow()
        wait(200)

    def begin(self) -> None:
        """Everything as when the song was opened, the roll in focus."""
        self.do("mousemove", 3, 3)
        self.studio.player.stop()
        self.document.load(a_song())
        self.state.set_option(pencil=False, show_scale=False, show_ghosts=True, track=None, follow=True, loop=None)
        self.state.set_snap("1/16", on=True)
        self.state.pen_length, self.state.pen_velocity = 0.0, 96
        self.state.look(self.state.view.at(px_per_tick=0.8, left=0.0, row=16.0).centred(65))
        self.view.canvas.setFocus()
        self.ear.sent.clear()
        self.song = self.document.score
        wait(30)

    # Hands

    def do(self, *words: object) -> None:
        """One call of xdotool; then the window takes what came."""
        subprocess.run(["xdotool", *map(str, words)], check=True)
        wait(40)

    def keys(self, *names: str) -> None:
        """Press keys, by X's names: ctrl+shift+Right."""
        for name in names:
            self.do("key", name)

    def at(self, tick: float, pitch: int) -> QPoint:
        """A place of the roll on the screen."""
        look = self.state.view
        here = QPoint(round(look.x_of(tick)), round(look.y_of(pitch) + look.row / 2))
        return self.view.canvas.mapToGlobal(here)

    def click(self, at: QPoint, button: int = 1, keys: str = "", times: int = 1) -> None:
        """Click with keys held."""
        self.do(*down(keys), "mousemove", at.x(), at.y(), "click", "--repeat", times, "--delay", 40, button, *up(keys))

    def drag(self, a: QPoint, b: QPoint, button: int = 1, keys: str = "", steps: int = 5) -> None:
        """Press at a, move in steps, release at b."""
        between: list[object] = []
        for share in np.linspace(0, 1, steps + 1)[1:]:
            here = QPointF(a) + (QPointF(b) - QPointF(a)) * float(share)
            between += ["mousemove", round(here.x()), round(here.y())]
        self.do(*down(keys), "mousemove", a.x(), a.y(), "mousedown", button, *between, "mouseup", button, *up(keys))

    def wheel(self, at: QPoint, notches: int, keys: str = "") -> None:
        """Turn towards oneself (positive) or away."""
        button = 5 if notches > 0 else 4
        turns: list[object] = ["click", "--repeat", abs(notches), "--delay", 5, button]
        self.do(*down(keys), "mousemove", at.x(), at.y(), *turns, *up(keys))

    # Eyes

    @property
    def notes(self) -> list[tuple[int, int, int, int, int]]:
        """(tick, duration, pitch, velocity, track) of every note."""
        return self.document.score.notes.tolist()

    @property
    def chosen(self) -> list[int]:
        """Selected rows."""
        return self.view.selection.tolist()

    def undone(self, steps: int = 1) -> None:
        """All of it was so many steps; undone by keys, the song is the identical object."""
        assert self.document.undo_stack.index() == steps, self.document.undo_stack.index()
        self.keys(*["ctrl+z"] * steps)
        assert self.document.score is self.song


def down(keys: str) -> list[object]:
    return [word for key in keys.split("+") if key for word in ("keydown", key)]


def up(keys: str) -> list[object]:
    return [word for key in reversed(keys.split("+")) if key for word in ("keyup", key)]


def wait(milliseconds: int) -> None:
    """Run the window's own loop, as the program does."""
    loop = QEventLoop()
    QTimer.singleShot(milliseconds, loop.quit)
    loop.exec()


def until(what: Callable[[], Any], name: str, seconds: float = 20.0) -> None:
    """Let the window live until something holds."""
    deadline = time.monotonic() + seconds
    while not what():
        if time.monotonic() > deadline:
            raise TimeoutError(name)
        wait(10)


# ---------------------------------------------------------------- the rows


@row("play/pause, stop, start/end")
def _play(desk: Desk) -> None:
    player = desk.studio.player
    desk.keys("space")
    assert player.is_playing
    until(lambda: desk.state.playhead > 20, "the playhead to move")
    desk.keys("space")
    assert player.state == "paused"
    desk.keys("space", "Return")
    assert player.state != "playing"
    desk.keys("End")
    assert desk.state.playhead == desk.song.end_tick
    desk.keys("Home")
    assert desk.state.playhead == 0


@row("undo, redo")
def _undo(desk: Desk) -> None:
    desk.click(desk.at(40, 60))
    desk.keys("Up")
    moved = desk.document.score
    desk.keys("ctrl+z")
    assert desk.document.score is desk.song
    for redo in ("ctrl+shift+z", "ctrl+y"):
        desk.keys(redo)
        assert desk.document.score is moved
        desk.keys("ctrl+z")


@row("draw, length")
def _draw(desk: Desk) -> None:
    desk.keys("b")
    assert desk.state.pencil
    desk.click(desk.at(500, 70))
    assert (480, 24, 70, 96, 0) in desk.notes
    desk.drag(desk.at(600, 71), desk.at(700, 71))
    assert (600, 120, 71, 96, 0) in desk.notes
    desk.click(desk.at(770, 69))
    assert (768, 120, 69, 96, 0) in desk.notes
    desk.undone(3)


@row("erase")
def _erase(desk: Desk) -> None:
    desk.drag(desk.at(40, 60), desk.at(230, 62), button=3)
    assert [n[2] for n in desk.notes] == [63, 64, 65, 66, 67]
    desk.undone()
    for key in ("Delete", "BackSpace"):
        desk.click(desk.at(40, 60))
        desk.keys(key)
        assert len(desk.notes) == 7
        desk.keys("ctrl+z")
    assert desk.document.score is desk.song


@row("select, add, all")
def _select(desk: Desk) -> None:
    desk.drag(desk.at(200, 66), desk.at(20, 60))
    assert desk.chosen == [0, 1, 2]
    desk.drag(desk.at(440, 66), desk.at(400, 64), keys="shift")
    assert desk.chosen == [0, 1, 2, 4]
    desk.keys("ctrl+a")
    assert desk.chosen == list(range(8))
    desk.click(desk.at(700, 60))
    assert desk.chosen == []
    assert desk.document.score is desk.song


@row("copy")
def _copy(desk: Desk) -> None:
    desk.click(desk.at(40, 60))
    desk.keys("ctrl+c", "End", "ctrl+v")
    assert (768, 96, 60, 64, 0) in desk.notes
    desk.keys("ctrl+x")
    assert len(desk.notes) == 8
    desk.undone(2)
    desk.drag(desk.at(40, 60), desk.at(40 + 192, 55), keys="ctrl")
    assert (0, 96, 60, 64, 0) in desk.notes
    assert (192, 96, 55, 64, 0) in desk.notes
    desk.undone()


@row("transpose, octave, in scale")
def _transpose(desk: Desk) -> None:
    desk.click(desk.at(40, 60))
    for key, pitch in (
        ("Up", 61), ("Down", 60), ("shift+Up", 72), ("shift+Down", 60), ("ctrl+Up", 72), ("ctrl+Down", 60),
    ):  # fmt: skip
        desk.keys(key)
        assert desk.notes[desk.chosen[0]][2] == pitch, key
    scale = desk.state.scale
    assert scale is not None
    desk.keys("alt+Up")
    up = desk.notes[desk.chosen[0]][2]
    assert up == min(p for p in range(61, 73) if p % 12 in scale.pitch_classes)
    desk.keys("alt+Down")
    assert desk.notes[desk.chosen[0]][2] < up


@row("a group that would leave the range does not move")
def _range(desk: Desk) -> None:
    desk.keys("ctrl+a", *["shift+Up"] * 5)
    kept = desk.document.score
    assert [n[2] for n in desk.notes] == [120 + i for i in range(8)]
    desk.keys("Up")
    assert desk.document.score is kept
    desk.undone(5)


@row("nudge, lengthen")
def _nudge(desk: Desk) -> None:
    desk.click(desk.at(40, 60))
    for key, wanted in (
        ("Right", (24, 96)), ("alt+Right", (25, 96)), ("alt+Left", (24, 96)), ("Left", (0, 96)),
        ("shift+Right", (0, 120)), ("shift+Left", (0, 96)),
        ("alt+shift+Right", (24, 72)), ("alt+shift+Left", (0, 96)),
    ):  # fmt: skip
        desk.keys(key)
        assert desk.notes[desk.chosen[0]][:2] == wanted, key


@row("duplicate")
def _duplicate(desk: Desk) -> None:
    desk.keys("ctrl+a", "ctrl+d")
    assert len(desk.notes) == 16
    assert desk.notes[8][:3] == (768, 96, 60)
    desk.undone()


@row("quantise, options")
def _quantise(desk: Desk) -> None:
    desk.click(desk.at(40, 60))
    desk.keys(*["alt+Right"] * 8)
    desk.keys("q")
    assert desk.notes[0][0] == 0
    desk.keys("ctrl+z", "shift+q")
    panel = desk.view.findChildren(QuantiseOptions)[-1]
    assert panel.isVisible()
    desk.keys("Tab")
    desk.do("key", "ctrl+a", "type", "50")
    desk.keys("Return")
    assert not desk.view.findChildren(QuantiseOptions)
    assert desk.notes[0][0] == 4
    desk.state.quantising = type(desk.state.quantising)()


@row("snap off")
def _snap(desk: Desk) -> None:
    desk.drag(desk.at(40, 60), desk.at(54, 60), keys="alt")
    assert desk.notes[0][0] == 14
    desk.keys("ctrl+z", "n")
    assert not desk.state.snap.on
    desk.drag(desk.at(40, 60), desk.at(50, 60))
    assert desk.notes[0][0] == 10
    desk.keys("n")
    assert desk.state.snap.on


@row("zoom")
def _zoom(desk: Desk) -> None:
    at, before = desk.at(300, 66), desk.state.view
    desk.wheel(at, -2, "ctrl")
    after = desk.state.view
    assert after.px_per_tick > before.px_per_tick
    x = desk.view.canvas.mapFromGlobal(at).x()
    assert abs(after.tick_of(x) - before.tick_of(x)) < 2
    desk.wheel(at, -2, "ctrl+shift")
    assert desk.state.view.row > after.row
    y = desk.view.canvas.mapFromGlobal(at).y()
    assert desk.state.view.pitch_of(y) == after.pitch_of(y)


@row("pan")
def _pan(desk: Desk) -> None:
    at = desk.at(700, 69)
    before = desk.state.view
    desk.wheel(at, 1)
    assert desk.state.view.top > before.top
    desk.wheel(at, 1, "shift")
    left = desk.state.view.left
    assert left > before.left
    desk.drag(at, at - QPoint(80, 0), button=2)
    assert abs(desk.state.view.left - left - 80 / 0.8) < 3
    assert desk.document.score is desk.song


@row("loop")
def _loop(desk: Desk) -> None:
    ruler = desk.view.ruler
    a = ruler.mapToGlobal(QPoint(round(desk.state.view.x_of(400)), 10))
    desk.drag(a, a + QPoint(80, 0))
    assert desk.state.bars == range(1, 2)
    desk.keys("l")
    assert desk.state.loop == (384, 768)
    desk.keys("l")
    assert desk.state.loop is None
    desk.click(a, button=3)
    assert desk.state.bars is None
    desk.click(desk.at(40, 60))
    desk.keys("l")
    assert desk.state.loop == (0, 384)
    desk.keys("l")


@row("follow")
def _follow(desk: Desk) -> None:
    desk.keys("f")
    assert not desk.view.follow
    desk.keys("f")
    assert desk.view.follow
    desk.keys("space")
    desk.wheel(desk.at(500, 69), 1, "shift")
    assert not desk.view.follow  # a hand has scrolled
    desk.keys("Return", "space")
    assert desk.view.follow
    desk.keys("Return")


@row("velocity")
def _velocity(desk: Desk) -> None:
    lane = desk.view.velocity_lane
    x = [round(desk.state.view.x_of(float(n[0]))) for n in desk.notes]
    desk.drag(lane.mapToGlobal(QPoint(x[0], 30)), lane.mapToGlobal(QPoint(x[3] + 2, 30)))
    assert len({n[3] for n in desk.notes[:4]}) == 1
    desk.undone()
    desk.drag(lane.mapToGlobal(QPoint(x[0], 80)), lane.mapToGlobal(QPoint(x[7], 8)), keys="shift")
    velocities = np.array([n[3] for n in desk.notes])
    assert velocities[7] == 127
    assert np.abs(np.diff(velocities) - np.diff(velocities).mean()).max() <= 1.5  # a straight ramp
    desk.undone()
    desk.click(desk.at(40, 60))
    desk.wheel(desk.at(40, 60), -3)
    assert desk.notes[0][3] == 64 + 12
    desk.undone()
    shot = desk.view.canvas.grab().toImage()
    places = [desk.view.canvas.mapFromGlobal(desk.at(t + 70, p)) for t, p in ((0, 60), (576, 66))]
    soft, loud = (shot.pixelColor(place * shot.devicePixelRatio()).lightness() for place in places)
    assert loud > soft


@row("ghost notes")
def _ghosts(desk: Desk) -> None:
    desk.document.change(edit.transpose(desk.song, [0, 1], 12).score, "Density")  # what a hand did leaves no ghost
    assert len(desk.state.traces.ghosts) == 2
    wait(600)
    place = desk.view.canvas.mapFromGlobal(desk.at(50, 60))
    with_ghost = desk.view.canvas.grab().toImage().pixelColor(place).rgb()
    desk.keys("g")
    assert desk.view.canvas.grab().toImage().pixelColor(place).rgb() != with_ghost
    desk.keys("g", "t")  # other tracks dim while one is edited
    assert desk.state.track == 0
    lit = desk.view.canvas.mapFromGlobal(desk.at(360, 63))
    dim = desk.view.canvas.grab().toImage().pixelColor(lit).lightness()
    desk.keys("t")
    assert desk.view.canvas.grab().toImage().pixelColor(lit).lightness() > dim


@row("scale tint")
def _tint(desk: Desk) -> None:
    scale = desk.state.scale
    assert scale is not None
    inside, outside = (
        next(p for p in range(68, 60, -1) if (p % 12 in scale.pitch_classes) is want and p % 12 not in (4, 11))
        for want in (True, False)
    )
    places = [desk.view.canvas.mapFromGlobal(desk.at(900, p)) for p in (inside, outside)]
    before = [desk.view.canvas.grab().toImage().pixelColor(p).rgb() for p in places]
    desk.keys("k")
    after = [desk.view.canvas.grab().toImage().pixelColor(p).rgb() for p in places]
    assert [a != b for a, b in zip(after, before, strict=True)] == [True, False]


@row("audition")
def _audition(desk: Desk) -> None:
    desk.keys("b")
    desk.click(desk.at(500, 70))
    assert desk.ear.strikes[-1] == (70, 96)
    desk.drag(desk.at(490, 70), desk.at(490, 74))
    assert desk.ear.strikes[-1][0] == 74
    desk.keys("Up")
    assert desk.ear.strikes[-1][0] == 75
    keyboard = desk.view.keyboard
    desk.click(keyboard.mapToGlobal(QPoint(50, round(desk.state.view.y_of(67) + 8))))
    assert desk.ear.strikes[-1][0] == 67


@row("everything: F1 and the palette")
def _everything(desk: Desk) -> None:
    desk.keys("F1")
    sheet = desk.window.findChildren(ShortcutSheet)[-1]
    until(sheet.isActiveWindow, "the sheet")
    words = {label.text() for label in sheet.findChildren(QLabel)}
    assert {"Quantise options", "Shift+Q", "Ctrl+wheel, Ctrl+Shift+wheel"} <= words
    desk.keys("Escape")
    assert not sheet.isVisible()
    desk.window.activateWindow()  # this server has no window manager to do it
    desk.view.canvas.setFocus()
    wait(50)
    desk.keys("ctrl+p")
    palette = desk.window.findChildren(Palette)[-1]
    desk.do("type", "pencil")
    desk.keys("Return")
    assert not palette.isVisible()
    assert desk.state.pencil


@row("files: a dropped song opens")
def _drop(desk: Desk) -> None:
    other = desk.out / "other.mid"
    midi.write(edit.transpose(a_song(), range(8), 5).score, other)
    source = Source(other)
    source.setGeometry(1300, 20, 200, 100)
    source.show()
    wait(100)
    pull(source, desk.at(500, 70))
    until(lambda: desk.studio.files.name == "other", "the dropped song", 5)
    source.close()
    source.deleteLater()


@row("files: a dropped folder offers fine-tuning")
def _drop_folder(desk: Desk) -> None:
    source = Source(desk.out)
    source.setGeometry(1300, 20, 200, 100)
    source.show()
    wait(100)
    pull(source, desk.at(500, 70))
    until(lambda: desk.studio.training_dock.isVisible(), "the panel", 5)
    desk.studio.trainer.cancel()
    until(lambda: not desk.studio.trainer.busy, "the scan to end", 30)
    desk.studio.training_dock.hide()
    source.close()
    source.deleteLater()


@row("files: the handle drags the piece or the selection out")
def _drag_out(desk: Desk) -> None:
    target = Target()
    target.setGeometry(1300, 20, 200, 200)
    target.show()
    wait(100)
    for rows, count in (([], 8), ([5, 6], 2)):
        desk.view.select(np.array(rows, dtype=np.intp))
        pull(desk.studio.handle, target.mapToGlobal(QPoint(100, 100)))
        until(lambda count=count: len(target.got) == (1 if count == 8 else 2), "the file", 5)
        read = midi.read(target.got[-1])
        assert len(read.notes) == count
        assert [t.name for t in read.tracks] == ["right", "left"]
    assert read.notes["tick"].tolist() == [96, 192]  # bar 2 begins at its head
    assert target.got[-1].name == f"{desk.studio.files.name} bar 2.mid"
    target.close()
    target.deleteLater()


class Source(QWidget):
    """Another program's window, out of which a file can be dragged."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def mousePressEvent(self, event: QMouseEvent) -> None:
        drag = QDrag(self)
        data = QMimeData()
        data.setUrls([QUrl.fromLocalFile(str(self.path))])
        drag.setMimeData(data)
        drag.exec(Qt.DropAction.CopyAction)


class Target(QWidget):
    """Another program's window, which takes files."""

    def __init__(self) -> None:
        super().__init__()
        self.setAcceptDrops(True)
        self.got: list[Path] = []

    def dragEnterEvent(self, event: Any) -> None:
        event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        self.got += [Path(url.toLocalFile()) for url in event.mimeData().urls()]
        event.acceptProposedAction()


def pull(source: QWidget, to: QPoint, start: QPoint | None = None) -> None:
    """Drag out of a widget by a mouse of its own: while something is dragged this process waits in Qt's loop."""
    a = source.mapToGlobal(start or source.rect().center())
    words: list[object] = ["mousemove", a.x(), a.y(), "mousedown", 1, "sleep", 0.15]
    for share in (0.1, 0.3, 0.6, 0.9, 1.0, 1.0):
        words += ["mousemove", round(a.x() + (to.x() - a.x()) * share), round(a.y() + (to.y() - a.y()) * share)]
        words += ["sleep", 0.06]
    with subprocess.Popen(["xdotool", *map(str, words), "mouseup", "1"]) as hand:
        until(lambda: hand.poll() is not None, "the hand", 10)
    wait(100)


def main() -> None:
    """Every row; one that fails does not stop the others."""
    out = Path(sys.argv[1])
    app = QApplication(sys.argv[:1])
    desk = Desk(out)
    found = {}
    only = sys.argv[2:]
    try:
        for name, does in ROWS.items():
            if only and not any(word in name for word in only):
                continue
            try:
                desk.begin()
                does(desk)
                found[name] = ""
            except Exception:
                found[name] = traceback.format_exc(limit=-2)
                desk.window.grab().save(str(out / f"{len(found)}.png"))
                desk.keys("Escape")
    finally:
        (out / "table.json").write_text(json.dumps(found, indent=1))
        desk.document.undo_stack.setClean()
        desk.studio.close()
        app.processEvents()


if __name__ == "__main__":
    main()
