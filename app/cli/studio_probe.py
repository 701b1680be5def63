"""The studio as a program that watches itself start and work: what `bench` runs in a process of its own.

    python -m app.cli.studio_probe start|idle|model|training BEGAN

Opens the window as `app.studio.main` does, with settings of its own; BEGAN is the reading of `time.perf_counter` when
the process was started. The last line it prints is a JSON object.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

PATIENCE_S: Final = 240.0
SOUND_S: Final = 20.0  # how long a synth may take; without a device it never comes
STEPS: Final = 12  # of training: it has every buffer it will have
SETTLE_S: Final = 2.0  # after the engine is ready: the song is encoded and its bars rehearsed
DEMO: Final = Path(__file__).resolve().parents[2] / "assets" / "demo"


def pss_mib(pid: int | None = None) -> float:
    """Memory of a process and all below it, in MiB: what they share is shared out (Linux)."""
    kib, todo = 0, [pid or os.getpid()]
    while todo:
        one = todo.pop()
        try:
            lines = Path(f"/proc/{one}/smaps_rollup").read_text(encoding="ascii").splitlines()
            kib += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
            for task in Path(f"/proc/{one}/task").iterdir():
                todo += map(int, (task / "children").read_text(encoding="ascii").split())
        except OSError:  # it has ended meanwhile
            continue
    return kib / 1024


class Probe:
    """One start of the studio, and what it took."""

    def __init__(self, kind: str, began: float, folder: Path) -> None:
        from PySide6.QtWidgets import QApplication

        from app.settings import Settings
        from app.studio import Studio
        from app.worker import open_engine

        self.app = QApplication.instance() or QApplication(sys.argv[:1])
        self.began, self.folder = began, folder
        opener: Any = never if kind == "idle" else open_engine
        self.studio = Studio(None, Settings(folder / "s.ini"), opener=opener, recovery=folder / "recovery")
        self.found: dict[str, float] = {}
        self.studio.engine.ready.connect(lambda _: self.note("engine"))
        self.studio.engine.failed.connect(self.say_why)
        self.studio.show()
        self.studio.window.repaint()  # what is shown is painted
        self.note("window")

    def note(self, what: str) -> None:
        """Enter seconds since the process was started, and those of the processor in it."""
        self.found[f"{what}_s"] = time.perf_counter() - self.began
        self.found[f"{what}_cpu_s"] = time.process_time()

    def say_why(self, words: str) -> None:
        """A model that does not load ends the probe."""
        raise SystemExit(words)

    def until(self, what: Callable[[], object], seconds: float = PATIENCE_S) -> bool:
        """Let the window live until something holds."""
        from PySide6.QtCore import QEventLoop, QTimer

        deadline = time.perf_counter() + seconds
        while not what():
            if time.perf_counter() > deadline:
                return False
            loop = QEventLoop()
            QTimer.singleShot(5, loop.quit)
            loop.exec()
        return True

    def sound(self) -> None:
        """Press play as soon as the synth is there: when its first note is heard. Nothing without a device."""
        from app.sound.transport import START_SECONDS

        def is_there() -> bool:
            synth = self.studio.sound.synth  # opened after the window
            if synth is None:
                return False
            synth.poll()
            return synth.status.ok

        if self.until(is_there, SOUND_S):
            self.studio.window["play"].trigger()
            self.note("sound")
            self.found["sound_s"] += START_SECONDS

    def wait(self, seconds: float) -> None:
        """Let the window live for a while."""
        until = time.perf_counter() + seconds
        self.until(lambda: time.perf_counter() > until, seconds + 1)

    def run(self, kind: str) -> dict[str, float]:
        """What is asked for."""
        if kind == "start":
            self.sound()
        if kind != "idle":
            self.until(lambda: "engine_s" in self.found)
        self.wait(SETTLE_S)
        if kind == "training":
            self.train()
        if kind != "start" and sys.platform.startswith("linux"):
            self.found["mib"] = pss_mib()
        return self.found

    def train(self) -> None:
        """Fine-tune on the demo pieces until it has taken some steps."""
        done: list[int] = []
        trainer = self.studio.trainer
        trainer.step.connect(lambda step: done.append(step.n))
        trainer.fine_tune(DEMO, self.folder / "style", steps=10 * STEPS)
        if not self.until(lambda: (done and done[-1] >= STEPS) or not trainer.busy, 2 * PATIENCE_S) or not trainer.busy:
            raise SystemExit("Training did not come to its steps.")

    def close(self) -> None:
        """End the studio."""
        self.studio.document.undo_stack.setClean()
        self.studio.close()


def never(*_: object) -> Any:
    """An engine that is not loaded while the studio is looked at."""
    raise SystemExit


def main() -> None:
    """Say what was found, as JSON."""
    kind, began = sys.argv[1], float(sys.argv[2])
    with tempfile.TemporaryDirectory(prefix="morphony-probe-") as place:
        probe = Probe(kind, began, Path(place))
        try:
            found = probe.run(kind)
        finally:
            probe.close()
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()
    os._exit(0)  # torch may still be being imported: nothing is left to be kept


if __name__ == "__main__":
    main()
