"""`morphony --self-test`: opens the studio, loads the model, moves a slider, renders a bar; exits 0 when it all works.

What a built bundle is tried with on a machine that has nothing else: no display, no sound card, no Python.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np

from engine.errors import MorphonyError

PATIENCE_SECONDS = 180.0


def main() -> int:
    """Try everything and say in one line of JSON what was found; 1 with a sentence where something fails."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    with tempfile.TemporaryDirectory(prefix="morphony-self-test-") as folder:
        try:
            found = _try(Path(folder))
        except MorphonyError as error:
            print(json.dumps({"ok": False, "error": str(error)}))  # noqa: T201  # it is what the command is for
            return 1
    print(json.dumps({"ok": True, **found}))  # noqa: T201
    return 0


def _try(folder: Path) -> dict[str, object]:
    from PySide6.QtWidgets import QApplication

    from app.settings import Settings
    from app.sound.render import render
    from app.studio import Studio
    from engine.score.cut import cut
    from engine.score.timing import BarGrid

    app = QApplication.instance() or QApplication(sys.argv[:1])
    began = time.monotonic()

    def until(what: Callable[[], object], name: str) -> float:
        while not what():
            app.processEvents()
            time.sleep(0.005)
            if time.monotonic() - began > PATIENCE_SECONDS:
                raise MorphonyError(f"The self-test waited in vain for {name}.")
        return round(time.monotonic() - began, 2)

    studio = Studio(None, Settings(folder / "settings.ini"), recovery=folder / "recovery")
    try:
        studio.show()
        shown = until(studio.window.isVisible, "the window")
        ready = until(lambda: studio.morphing.piece is not None, f"the model ({studio.engine_light.light.sentence})")
        midi = studio.sound.midi
        until(lambda: midi is None or "being opened" not in midi.status.sentence, "the MIDI process")
        before = studio.document.score
        studio.morph_state["register"].move(-1.0)
        until(lambda: studio.document.score is not before, "a morphed piece")
        song = studio.document.score
        said = midi.status.sentence if midi else "no MIDI"
        render(cut(song, BarGrid.of(song), range(1)), folder / "bar.wav")
    finally:
        studio.close()
    return {
        "window_seconds": shown,
        "model_seconds": ready,
        "notes": len(song.notes),
        "loudest": _loudest(folder / "bar.wav"),
        "midi": said,
    }


def _loudest(path: Path) -> float:
    """The peak of a rendered file, full scale 1; a silent one is a failure."""
    with wave.open(str(path)) as file:
        peak = np.abs(np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float64)).max() / 2**15
    if not peak > 0:
        raise MorphonyError("The self-test rendered a bar, and it is silent.")
    return round(float(peak), 3)
