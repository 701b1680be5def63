"""Four pieces in the corners of a square, and the song as what lies between them where the point is.

One request is under way at a time and the newest place follows it, so that a moving hand always sees music. Knows the
document and the engine's thread, no widget.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from PySide6.QtCore import QObject, QTimer, Signal

from app.document import Document
from app.limits import Limits
from app.recipe import Recipe
from app.worker import EngineThread
from engine.score.score import Score

NAMES: Final = ("top left", "top right", "bottom left", "bottom right")
BESIDE: Final = ((1, 2, 3), (0, 3, 2), (3, 0, 1), (2, 1, 0))  # who stands in for an empty corner: its row, its column
FRAME_MS: Final = 50  # between two places of a path that is played
LONGEST: Final = 60.0  # seconds of a path
SETTLE_MS: Final = 400  # after the last key


@dataclass(frozen=True, slots=True, eq=False)
class Corner:
    """A piece in a corner."""

    name: str
    score: Score


class Pad(QObject):
    """The square. Places go from 0 to 1: x from the left, y from the top."""

    changed = Signal()
    problem = Signal(str)
    committed = Signal(object, object, object, str)  # base, Recipe, Score, words

    def __init__(self, document: Document, engine: EngineThread, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.document, self.engine = document, engine
        self.limits: Callable[[], Limits] = Limits
        self.corners: list[Corner | None] = [None] * 4
        self.place = (0.0, 0.0)
        self.path: list[tuple[float, float, float]] = []  # seconds, x, y
        self.recording = False
        self.playing = False
        self._base: Score | None = None  # the song under a hand that holds the point
        self._shown: tuple[Recipe, Score] | None = None
        self._job = 0
        self._asked: Recipe | None = None
        self._waits = False
        self._released = False
        self._began = 0.0
        self._frames = QTimer(self, interval=FRAME_MS)
        self._frames.timeout.connect(self._frame)
        self._settle = QTimer(self, singleShot=True, interval=SETTLE_MS)
        self._settle.timeout.connect(self.release)
        engine.made.connect(self._on_made)
        engine.job_failed.connect(self._on_failed)
        document.changed.connect(lambda _: self._drop())
        document.loaded.connect(self._on_loaded)

    # Corners

    def fill(self, corner: int, name: str, score: Score) -> None:
        """Put a piece into a corner."""
        self.corners[corner] = Corner(name, score)
        self.changed.emit()

    def empty(self, corner: int) -> None:
        """Take the piece out of a corner."""
        self.corners[corner] = None
        self.changed.emit()

    def why_not(self) -> str:
        """Why the point does not move, as a sentence; empty when it does."""
        if self.engine.engine is None:
            return self.tr("The model is loading.")
        if len({id(corner.score) for corner in self.corners if corner is not None}) < 2:
            return self.tr("Put a piece or a take into two corners at least.")
        return self.limits().trouble()

    def _scores(self) -> tuple[Score, ...]:
        """The four; an empty corner is like the one beside it."""
        found = []
        for corner, others in zip(self.corners, BESIDE, strict=True):
            near = next(c for c in (corner, *(self.corners[i] for i in others)) if c is not None)
            found.append(near.score)
        return tuple(found)

    # The point

    def grab(self) -> None:
        """A hand takes the point; until `release` the song is as it was, and what lies there is a proposal."""
        if not self.why_not() and self._base is None:
            self._base, self._released = self.document.score, False
            self._began = time.monotonic()
            if self.recording:
                self.path = []

    def move(self, x: float, y: float) -> None:
        """The hand moves it."""
        if self._base is None:
            return
        self.place = (round(float(np.clip(x, 0, 1)), 3), round(float(np.clip(y, 0, 1)), 3))
        if self.recording and not self.playing:
            seconds = time.monotonic() - self._began
            if seconds <= LONGEST:
                self.path.append((round(seconds, 3), *self.place))
        self._ask()
        self.changed.emit()

    def step(self, x: float, y: float) -> None:
        """A key moves it; a while after the last one it is let go."""
        self.grab()
        self.move(self.place[0] + x, self.place[1] + y)
        if self._base is not None:
            self._settle.start()

    def release(self) -> None:
        """The hand lets go: what lies there becomes the song, as one step of undo."""
        self._settle.stop()
        if self._base is not None:
            self._released = True
            self._commit_when_done()

    def _ask(self) -> None:
        if self._job:
            self._waits = True
            return
        assert self._base is not None
        self._waits = False
        locks = frozenset(map(int, self.document.locked_rows))
        self._asked = Recipe(verb="between", others=self._scores(), place=self.place, locks=locks, limits=self.limits())
        self._job = self.engine.make(self._base, [self._asked])

    def _on_made(self, job: int, which: int, score: Score) -> None:
        if job != self._job or self._asked is None or self._base is None:
            return
        self._job, self._shown = 0, (self._asked, score)
        self.document.preview(score)
        if self._waits:
            self._ask()
        else:
            self._commit_when_done()

    def _commit_when_done(self) -> None:
        if self._job or not self._released:
            return
        shown, base = self._shown, self._base
        self._drop()
        self.document.preview(None)
        if shown is not None and base is not None and not np.array_equal(shown[1].notes, base.notes):
            words = self.tr("Morph pad {0:.0%}, {1:.0%}").format(*shown[0].place)
            self.document.change(shown[1], words)
            self.committed.emit(base, *shown, words)

    def _drop(self) -> None:
        if self._base is None:
            return
        if self._job:
            self.engine.cancel("make")
        self._frames.stop()
        self._base, self._shown, self._job, self._waits, self._released, self.playing = (
            None,
            None,
            0,
            False,
            False,
            False,
        )
        self.changed.emit()

    def _on_failed(self, job: int, sentence: str) -> None:
        if job == self._job:
            self._drop()
            self.document.preview(None)
            self.problem.emit(sentence)

    def _on_loaded(self, score: Score) -> None:
        self._drop()
        self.corners, self.place, self.path = [None] * 4, (0.0, 0.0), []
        self.changed.emit()

    # Its path

    def record(self, on: bool) -> None:
        """Remember where the next drag goes."""
        self.recording = on
        self.changed.emit()

    def play(self) -> None:
        """Go the recorded way once more, in its own time; again: stop where it is."""
        if self.playing:
            self.playing = False
            self._frames.stop()
            self.release()
        elif self.path and not self.why_not():
            self.grab()
            self.playing = True
            self._frames.start()
        self.changed.emit()

    def _frame(self) -> None:
        seconds = time.monotonic() - self._began
        past = [place for place in self.path if place[0] <= seconds] or self.path[:1]
        if past[-1][1:] != self.place:
            self.move(*past[-1][1:])
        if seconds >= self.path[-1][0]:
            self.playing = False
            self._frames.stop()
            self.release()
