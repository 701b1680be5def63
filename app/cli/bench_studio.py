"""How fast and how large the studio is: its start, its piano roll at 50,000 notes, its memory (rows 7, 8 and 13).

The window is opened where there is a display, else on no screen at all. Seconds are wall-clock from the start of the
process; frames are processor time of the thread that paints, so that other programs do not count.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

from engine.errors import MorphonyError

ROOT: Final = Path(__file__).resolve().parents[2]
NOTES: Final = 50_000
SIZE: Final = (1336, 800)
FRAMES: Final = 120
PROBES: Final = 3  # starts, of which the quickest counts


def start() -> dict[str, float]:
    """Seconds until the window is shown, until the first sound, until the engine is ready; of the quickest of three."""
    runs = [_probe("start") for _ in range(PROBES)]
    return {key: min(run[key] for run in runs if key in run) for key in runs[0]}


def memory() -> dict[str, float]:
    """MiB (PSS of all processes) before the engine is loaded, with the model, and while training."""
    if not sys.platform.startswith("linux"):
        return {}
    return {f"{kind}_mib": _probe(kind)["mib"] for kind in ("idle", "model", "training")}


def _probe(kind: str) -> dict[str, float]:
    command = [sys.executable, "-m", "app.cli.studio_probe", kind, str(time.perf_counter())]
    done = subprocess.run(command, cwd=ROOT, env=_environment(), capture_output=True, text=True)
    if done.returncode or not done.stdout.strip():
        last = (done.stderr.strip() or "nothing was said").splitlines()[-1]
        raise MorphonyError(f"The studio did not come to {kind}: {last}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _environment() -> dict[str, str]:
    has_display = sys.platform in ("win32", "darwin") or "DISPLAY" in os.environ or "WAYLAND_DISPLAY" in os.environ
    return dict(os.environ) if has_display else {**os.environ, "QT_QPA_PLATFORM": "offscreen"}


def roll() -> dict[str, float]:
    """Milliseconds of a frame with 16 bars in sight and with all, scrolled; and of a scene with an item a note."""
    os.environ.update(_environment())
    from PySide6.QtGui import QPainter, QPixmap
    from PySide6.QtWidgets import QApplication, QGraphicsScene

    from app.document import Document
    from app.roll.view import RollView

    app = QApplication.instance() or QApplication(sys.argv[:1])
    view = RollView(Document(fifty_thousand()))
    view.resize(*SIZE)
    view.show()
    app.processEvents()
    canvas, state = view.canvas, view.state
    target = QPixmap(canvas.size())

    def scrolled(dx: float = 3.0) -> None:
        state.look(state.view.scrolled(dx))
        canvas.render(target)

    def anew(factor: float = 1.001) -> None:
        state.look(state.view.zoomed(factor, 400.0))
        canvas.render(target)

    def whole() -> None:
        for part in (canvas, view.ruler, view.velocity_lane, view.overview):
            part.render(target)

    def playing() -> None:
        view.set_playhead(state.playhead + 5)
        canvas.render(target)

    out: dict[str, float] = {}
    state.look(state.view.fitted(0, float(state.grid.starts[16]), 36, 96))
    out |= _frames("visible", scrolled) | _frames("visible_anew", anew) | _frames("playing", playing)
    dx = state.view.width / 8

    def rushed() -> None:
        state.look(state.view.scrolled(dx))
        whole()

    out |= _frames("scrolling", rushed)
    state.zoom_to_fit()
    out |= _frames("all", scrolled) | _frames("all_anew", anew)
    scene = QGraphicsScene()
    for tick, duration, pitch, *_ in state.score.notes.tolist():
        scene.addRect(tick / 1000, (127 - pitch) * 6, duration / 1000, 6)

    def peer() -> None:
        painter = QPainter(target)
        scene.render(painter)
        painter.end()

    out["scene_ms"] = _frames("scene", peer, 3)["scene.p50_ms"]
    out["scene_to_all"] = out["scene_ms"] / out["all.p50_ms"]
    view.hide()
    view.deleteLater()
    app.processEvents()
    return out


def _frames(name: str, work: Callable[[], object], count: int = FRAMES) -> dict[str, float]:
    work()
    took = []
    for _ in range(count):
        before = time.thread_time()
        work()
        took.append(1000 * (time.thread_time() - before))
    return {f"{name}.p50_ms": float(np.median(took)), f"{name}.max_ms": float(max(took))}


def fifty_thousand(seed: int = 0) -> Any:
    """About a hundred minutes of four voices, sixteen notes a bar each."""
    from engine.score.score import NOTE, Score, Track

    rng = np.random.default_rng(seed)
    notes = np.zeros(NOTES, dtype=NOTE)
    notes["tick"] = np.arange(NOTES) // 4 * 120
    notes["track"] = np.arange(NOTES) % 4
    notes["duration"] = rng.choice([110, 230, 470], NOTES)
    notes["pitch"] = np.clip(40 + notes["track"] * 12 + np.cumsum(rng.integers(-2, 3, NOTES)) % 12, 0, 127)
    notes["velocity"] = rng.integers(30, 120, NOTES)
    return Score(480, tuple(Track(str(i)) for i in range(4)), notes)
