"""Drags in one real window, timed, as a program: python drag.py OUT SONG...

Opens each song and drags sliders with the X server's own mouse, resting and while it plays. Writes OUT: one JSON
object for each drag. A test starts it with a display; nothing is heard, so that no device is in the way.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from PySide6.QtCore import QEvent, QEventLoop, QObject, QPoint, QTimer
from PySide6.QtWidgets import QApplication

from app.settings import Settings
from app.studio import Studio
from engine.errors import MorphonyError

DRAGGED = (("density", 1.5), ("register", -1.2), ("dynamics", 1.0))  # sliders, and how far in sigma
MOVES, EVERY = 24, 0.02  # of the mouse in a drag, and seconds between them


@dataclass
class Drag:
    """What one drag took, in milliseconds."""

    song: str
    slider: str
    playing: bool
    engine: list[float] = field(default_factory=list)  # request taken to its first four bars, by the clock
    engine_cpu: list[float] = field(default_factory=list)  # the same, of the engine's thread alone
    screen: list[float] = field(default_factory=list)  # mouse event to the end of the painting of its notes
    window_cpu: float = 0.0  # what the window's thread took for all of it
    moves: int = 0  # that reached the slider as another value
    changed: bool = False  # notes did change


class Watch(QObject):
    """Sees events come and paintings end. A move is answered when notes made of it, or of a later one, are painted."""

    def __init__(self, studio: Studio) -> None:
        super().__init__()
        self.studio = studio
        self.drag = Drag("", "", False)
        self._event = 0.0  # when the X server made the last mouse event, seconds of the monotonic clock
        self._waiting: list[tuple[int, float]] = []  # job, event
        self._shown = 0  # the newest job whose notes the roll has
        studio.roll.canvas.installEventFilter(self)
        for view in studio.latents.views.values():
            view.installEventFilter(self)
        studio.morph_state.moved.connect(self._on_moved)
        studio.engine.score_done.connect(self._on_score)
        engine = studio.engine.engine
        assert engine is not None
        studio.engine.engine = replace(engine, morph=self._timed(engine.morph))

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Remember when the mouse moved; ask to be told when this painting is through."""
        if event.type() == QEvent.Type.MouseMove:
            self._event = event.timestamp() / 1000
        elif event.type() == QEvent.Type.Paint and watched is self.studio.roll.canvas:
            QTimer.singleShot(0, self._on_painted)  # after all widgets are painted and flushed
        return False

    def _on_painted(self) -> None:
        now = time.monotonic()
        self.drag.screen += [1000 * (now - at) for job, at in self._waiting if job <= self._shown]
        self._waiting = [(job, at) for job, at in self._waiting if job > self._shown]

    def _on_moved(self, _: str) -> None:
        self.drag.moves += 1
        self._waiting.append((self.studio.morphing._job, self._event))

    def _on_score(self, job: int, _: object) -> None:
        self._shown = max(self._shown, job)

    def _timed(self, morph: Callable[[Any, Any], Iterator[Any]]) -> Callable[[Any, Any], Iterator[Any]]:
        def timed(piece: Any, request: Any) -> Iterator[Any]:
            began, began_cpu = time.perf_counter(), time.thread_time()
            for i, done in enumerate(morph(piece, request)):
                if i == 0:
                    self.drag.engine.append(1000 * (time.perf_counter() - began))
                    self.drag.engine_cpu.append(1000 * (time.thread_time() - began_cpu))
                yield done

        return timed

    def begin(self, drag: Drag) -> None:
        """Count for another drag from here on."""
        self.drag, self._waiting = drag, []


def wait(milliseconds: int) -> None:
    """Run the window's own loop, as the program does: unlike QTest.qWait it lets other Python threads work."""
    loop = QEventLoop()
    QTimer.singleShot(milliseconds, loop.quit)
    loop.exec()


def until(what: Callable[[], Any], seconds: float, name: str) -> None:
    """Let the window live until something holds."""
    deadline = time.monotonic() + seconds
    while not what():
        if time.monotonic() > deadline:
            raise TimeoutError(name)
        wait(20)


def open_song(studio: Studio, song: Path) -> None:
    """Open it and wait for its latents; then look at its middle, where most of it sounds."""
    studio.files.open_now(song)
    until(lambda: studio.morphing.piece is not None, 60, f"the latents of {song.name}")
    assert studio.morphing.piece.score is studio.document.score
    state = studio.roll.state
    studio.roll.scroll_to(float(state.grid.starts[state.bar_count // 3]))
    wait(300)


def drag(studio: Studio, watch: Watch, song: Path, name: str, to: float, playing: bool) -> Drag:
    """Take a slider from its rest to an offset; the mouse's whole way is one program outside of this one."""
    result = Drag(song.stem, name, playing)
    view, model, source = studio.latents.views[name], studio.morph_state[name], studio.document.score
    start, end = view.mapToGlobal(view.point_of(0.0)), view.mapToGlobal(view.point_of(to))
    way = [start + (end - start) * (i / MOVES) for i in range(1, MOVES + 1)]
    watch.begin(result)
    began = time.thread_time()
    mouse = subprocess.Popen(["xdotool", *words_of(start, way)])
    until(lambda: mouse.poll() is not None and not model.held, 30, f"the drag of {name}")
    until(lambda: studio.document.score is studio.morphing._latest, 30, f"the step of undo for {name}")
    result.window_cpu = 1000 * (time.thread_time() - began)
    result.changed = studio.document.score is not source
    wait(500)
    studio.document.undo_stack.undo()
    until(lambda: studio.document.score is source and not studio.morph_state.offsets, 5, f"{name} at rest")
    wait(500)
    return result


def words_of(start: QPoint, way: list[QPoint]) -> list[str]:
    """The drag as xdotool says it."""
    words = ["mousemove", str(start.x()), str(start.y()), "sleep", "0.1", "mousedown", "1"]
    for at in way:
        words += ["sleep", str(EVERY), "mousemove", str(at.x()), str(at.y())]
    return [*words, "sleep", "0.1", "mouseup", "1"]


def silent(*_: object) -> Any:
    """No synth and no port here."""
    raise MorphonyError("This run is silent.")


def main() -> None:
    """Every slider on every song, resting and playing."""
    out, songs = Path(sys.argv[1]), [Path(word) for word in sys.argv[2:]]
    app = QApplication(sys.argv[:1])
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(Path(folder) / "settings.ini")
        studio = Studio(songs[0], settings, synth=silent, midi=silent, recovery=Path(folder))
        try:
            studio.window.resize(1280, 800)
            studio.window.move(20, 20)
            studio.show()
            until(lambda: studio.morphing.piece is not None and studio.files.name == songs[0].stem, 60, "the engine")
            wait(500)
            watch, results = Watch(studio), []
            for song in songs:
                open_song(studio, song)
                for playing in (False, True):
                    if playing:
                        studio.player.play()
                    results += [drag(studio, watch, song, name, to, playing) for name, to in DRAGGED]
                studio.player.stop()
            out.write_text(json.dumps([vars(result) for result in results]))
        finally:
            studio.close()
            app.processEvents()


if __name__ == "__main__":
    main()
