"""The three stories in one real window, as a program.

    python story.py SONG FOLDER OUT

Opens SONG, drags two sliders with the X server's own mouse, plays, fine-tunes on FOLDER meanwhile, stops, and writes
what it saw below OUT: report.json, before.png, after.png. A test starts it with a display and a JACK server.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PySide6.QtCore import QEventLoop, QPoint, Qt, QTimer
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QWidget

from app.panels.training import Stage
from app.settings import Settings
from app.studio import Studio
from engine.score import midi
from engine.score.score import Score
from engine.score.timing import TempoMap

STEPS = 50
MOVES = 24


def xdo(*words: object) -> None:
    """Real events, from outside the program."""
    subprocess.run(["xdotool", *map(str, words)], check=True)


def until(what: Callable[[], Any], seconds: float, name: str) -> None:
    """Let the window live until something holds."""
    deadline = time.monotonic() + seconds
    while not what():
        if time.monotonic() > deadline:
            raise TimeoutError(name)
        wait(10)


def wait(milliseconds: int) -> None:
    """Run the window's own loop, as the program does: unlike QTest.qWait it lets other Python threads work."""
    loop = QEventLoop()
    QTimer.singleShot(milliseconds, loop.quit)
    loop.exec()


class Story:
    """One run through the studio."""

    def __init__(self, song: Path, folder: Path, out: Path) -> None:
        self.song, self.folder, self.out = song, folder, out
        self.studio = Studio(song, Settings(out / "settings.ini"))
        self.report: dict[str, Any] = {}

    def tell(self) -> None:
        """All of it, in order."""
        studio = self.studio
        studio.window.resize(1280, 800)
        studio.window.move(20, 20)
        studio.show()
        until(lambda: studio.morphing.piece is not None and studio.files.name == self.song.stem, 60, "engine and piece")
        until(lambda: studio.morphing.piece.score is studio.document.score, 30, "the song's own latents")
        wait(300)
        print("open", flush=True)  # noqa: T201  # the test connects to the ports, then lets the story go on
        sys.stdin.readline()
        self.source = studio.document.score
        studio.window.grab().save(str(self.out / "before.png"))
        self.report["density"] = self.drag("density", 1.0)
        self.report["register"] = self.drag("register", -1.0)
        self.morphed = studio.document.score
        midi.write(self.morphed, self.out / "morphed.mid")
        self.report["notes"] = self.rows(self.morphed)
        self.report["source_notes"] = self.rows(self.source)
        self.play_and_train()
        self.returns()
        (self.out / "report.json").write_text(json.dumps(self.report))

    def drag(self, name: str, to: float) -> dict[str, Any]:
        """Take a slider's handle from its rest to an offset; how the re-measured attribute moved, and how fast."""
        studio = self.studio
        view = studio.latents.views[name]
        wait(50)
        start, end = view.mapToGlobal(view.point_of(0.0)), view.mapToGlobal(view.point_of(to))
        moved_at: list[float] = []
        shown: list[float] = []
        model = studio.morph_state[name]
        model.moved.connect(lambda: moved_at.append(time.perf_counter()))
        studio.document.previewed.connect(lambda _: self.after_paint(shown, moved_at))
        xdo("mousemove", start.x(), start.y(), "mousedown", 1)
        for i in range(1, MOVES + 1):
            at = start + (end - start) * (i / MOVES)
            xdo("mousemove", at.x(), at.y())
            wait(60)
        xdo("mouseup", 1)
        until(lambda: not model.held and studio.morphing._complete, 30, f"the drag of {name}")
        until(lambda: studio.document.score is studio.morphing._latest, 30, f"the step of undo for {name}")
        return {"value": model.value, "milliseconds": shown}

    def after_paint(self, shown: list[float], moved_at: list[float]) -> None:
        """From the last move of the mouse to the end of the painting of its first changed notes."""
        if not moved_at:
            return
        asked = moved_at[-1]
        moved_at.clear()
        QTimer.singleShot(0, lambda: (self.studio.roll.repaint(), shown.append((time.perf_counter() - asked) * 1000)))

    def play_and_train(self) -> None:
        """Press Space, drop the folder, press the panel's one button, stop when it is done."""
        studio = self.studio
        studio.roll.setFocus()
        xdo("key", "space")
        until(lambda: studio.player.is_playing, 5, "playing")
        started = time.monotonic()
        studio.offer_training(self.folder)
        until(lambda: studio.training.stage is Stage.REPORT, 60, "the scan report")
        studio.training.steps.setValue(STEPS)
        self.click(studio.training.main_button)
        until(lambda: studio.training.stage is Stage.TRAINING, 10, "training")
        until(lambda: studio.training.stage is Stage.RESULT, 400, "the result")
        wait(200)
        until(lambda: time.monotonic() - started > 20, 30, "twenty seconds of music")
        studio.window.grab().save(str(self.out / "after.png"))
        self.report["still_playing"] = studio.player.is_playing
        self.report["played_to"] = float(TempoMap.of(self.morphed).to_seconds(studio.player.position_tick()))
        xdo("key", "--window", studio.window.winId().__int__(), "Return")
        if studio.player.is_playing:
            studio.window["stop"].trigger()
        wait(500)
        self.report["plotted"] = {
            held: [p.tolist() for p in studio.training.plotted("loss", held == "held_out")]
            for held in ("train", "held_out")
        }
        self.report["style"] = str(studio.training.out)
        self.report["files"] = sum(r.ok for r in studio.training.reports)

    def click(self, button: QWidget) -> None:
        """A real click in the middle."""
        at = button.mapToGlobal(QPoint(button.width() // 2, button.height() // 2))
        xdo("mousemove", at.x(), at.y(), "click", 1)

    def returns(self) -> None:
        """Both sliders back to rest: the source, bit for bit."""
        for name in ("density", "register"):
            view = self.studio.latents.views[name]
            at = view.point_of(self.studio.morph_state[name].value)
            QTest.mouseDClick(view, Qt.MouseButton.LeftButton, pos=at)
            wait(1500)
        score = self.studio.document.score
        self.report["returned"] = bool(np.array_equal(score.notes, self.source.notes))

    @staticmethod
    def rows(score: Score) -> list[list[float]]:
        """[seconds, pitch, tick, end tick] of every note."""
        seconds = TempoMap.of(score).to_seconds(score.notes["tick"])
        notes = zip(seconds, score.notes["pitch"], score.notes["tick"], score.notes["duration"], strict=True)
        return [[float(s), int(p), int(t), int(t + d)] for s, p, t, d in notes]


def main() -> None:
    """Tell the story; the exit code says whether it came to its end."""
    song, folder, out = map(Path, sys.argv[1:4])
    app = QApplication(sys.argv[:1])
    story = Story(song, folder, out)
    try:
        story.tell()
    finally:
        story.studio.close()
        app.processEvents()


if __name__ == "__main__":
    main()
