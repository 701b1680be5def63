"""The engine's thread: it imports torch behind the open window, holds the loaded model and does one job at a time.

Knows jobs and their ends, no widgets and no music. `app.trainer_thread` is its sibling for fine-tuning.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from PySide6.QtCore import QMutex, QMutexLocker, QObject, QThread, QWaitCondition, Signal

from app.recipe import Recipe
from app.wording import sentence
from engine.score.score import Score


class EngineState(Enum):
    """Where the thread stands.

    ::

        ASLEEP --start--> LOADING --ok--> READY <--job ends-- WORKING
                             |              |  --job-->         |
                             v              +------stop---------+--> STOPPED
                          FAILED --load--> LOADING
    """

    ASLEEP = "asleep"
    LOADING = "loading"
    READY = "ready"
    WORKING = "working"
    FAILED = "failed"
    STOPPED = "stopped"


class JobEnd(Enum):
    """How a job ends: all done, overtaken by a newer one or called off, or stopped by an exception (kept)."""

    FINISHED = "finished"
    CANCELLED = "cancelled"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Engine:
    """What the thread calls, bound to one loaded model. Tests give their own."""

    reason: str  # the device and why
    model_hash: str  # of the weights
    sliders: tuple[Any, ...]  # engine.session.SliderSpec
    encode: Callable[[Score], Any]  # Score -> Piece
    request: Callable[..., Any]  # app.recipe.Recipe
    morph: Callable[[Any, Any], Iterator[Any]]  # Piece, Recipe -> BarsDone
    apply: Callable[[Any, list[Any]], Score]  # Piece, BarsDone -> Score
    make: Callable[[Score, Recipe], Generator[Any, None, Score]]  # base, Recipe -> BarsDone, then what was made
    answer: Callable[[Score, int], Score] | None = None  # bars heard, seed -> the same with one more bar


Opener = Callable[[Path | None, Path | None], Engine]  # model folder, adapter folder


def open_engine(model: Path | None = None, adapter: Path | None = None) -> Engine:
    """Import torch and load a model (None: the starter model) with an adapter on it, if any."""
    import torch

    torch.set_num_threads(1)  # two busy threads of one drag run slower than one beside the synth
    from app import making
    from engine import compose
    from engine.session import Session

    session = Session.open(model, adapter=adapter)
    encode = lru_cache(KEPT_PIECES)(session.encode)
    return Engine(
        session.device_reason,
        session.hash,
        tuple(session.sliders),
        session.encode,
        Recipe,
        lambda piece, recipe: making.morph(session, piece, recipe),
        compose.apply,
        lambda base, recipe: making.make(session, encode, base, recipe),
        answer=lambda heard, seed: answered(session, heard, seed),
    )


def answered(session: Any, heard: Score, seed: int) -> Score:
    """Encode what was heard and let it go on for one bar: the answer, drawn anew for every seed."""
    from engine import compose

    return compose.run(compose.continue_(session, heard, 1, compose.Request(seed=seed), candidates=1))


@dataclass(slots=True)
class Job:
    """One piece of work: what to load, to encode, to morph, or to make of a score by one recipe after another."""

    id: int
    kind: str  # one of ORDER
    payload: tuple[Any, ...]
    cancelled: bool = False
    end: JobEnd | None = None
    error: Exception | None = None


ORDER: Final = ("load", "answer", "encode", "morph", "make", "rehearse")  # what a waiting thread does first
KEPT_PIECES: Final = 8  # encoded scores that proposals and takes start from
SWITCH_SECONDS: Final = 0.001  # how long a decoding thread may keep the interpreter from one that wants to paint
SHOWN_SECONDS: Final = 0.04  # between two scores of one job: no eye follows faster, and painting takes time too


@dataclass(slots=True)
class _Desk:
    """What waits and what is under way: at most one job of each kind waits, the newest."""

    waiting: dict[str, Job] = field(default_factory=dict)
    current: Job | None = None
    stopping: bool = False


class EngineThread(QThread):
    """Does loads, encodes and morphs, newest request first to survive; results carry the job they belong to."""

    state_changed = Signal(object)  # EngineState
    ready = Signal(str)  # the device and why
    failed = Signal(str)  # loading failed: one sentence
    encoded = Signal(object)  # Piece
    bars_done = Signal(int, object)  # job, BarsDone
    score_done = Signal(int, object)  # job, Score: the piece with every bar done so far
    answered = Signal(int, object)  # job, Score: what was heard with an answer behind it
    finished_job = Signal(int)  # every bar is done
    making = Signal(int, int, int)  # job, which of its recipes, bars of it that are done
    made = Signal(int, int, object)  # job, which of its recipes, Score
    job_failed = Signal(int, str)  # job, one sentence

    def __init__(self, opener: Opener = open_engine, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("engine")
        self._opener = opener
        self._ids = itertools.count(1)
        self._mutex = QMutex()
        self._wake = QWaitCondition()
        self._desk = _Desk()
        self._last: tuple[Any, Any, Any] | None = None  # piece, bars in scope, BarsDone of the last morph
        self.state = EngineState.ASLEEP
        self.engine: Engine | None = None
        self.error: Exception | None = None  # what stopped the last job that failed

    # From the GUI thread: none of these waits

    def load(self, model: Path | None = None, adapter: Path | None = None) -> int:
        """Load a model; the one in use stays until the new one is there."""
        return self._put("load", (model, adapter))

    def encode(self, score: Score) -> int:
        """Encode a score; `encoded` brings the piece."""
        return self._put("encode", (score,))

    def request(self, piece: Any, request: Any) -> int:
        """Morph a piece; a newer request calls this one off at its next bar."""
        return self._put("morph", (piece, request))

    def make(self, base: Score, recipes: Sequence[Recipe]) -> int:
        """Make a score by each recipe; `made` brings them one by one. A newer call calls this one off.

        Sliders go first: between two recipes the rest waits for them.
        """
        return self._put("make", (base, tuple(enumerate(recipes))))

    def answer(self, heard: Score, seed: int) -> int:
        """Let what was heard go on for a bar, before anything else; `answered` brings it."""
        return self._put("answer", (heard, seed))

    def rehearse(self, piece: Any, request: Any) -> int:
        """Morph for nobody to see, so that the first touch finds everything warm; any other job calls it off."""
        return self._put("rehearse", (piece, request))

    def cancel(self, kind: str = "morph") -> None:
        """Call off every morph, or every make, waiting or under way."""
        with QMutexLocker(self._mutex):
            self._desk.waiting.pop(kind, None)
            if self._desk.current is not None and self._desk.current.kind == kind:
                self._desk.current.cancelled = True

    def stop(self, patience_ms: int = 60_000) -> bool:
        """End the thread after the bar under way; False when it did not end in time (it may be importing torch)."""
        with QMutexLocker(self._mutex):
            self._desk.stopping = True
            self._desk.waiting.clear()
            if self._desk.current is not None:
                self._desk.current.cancelled = True
            self._wake.wakeAll()
        return self.wait(patience_ms)

    def _put(self, kind: str, payload: tuple[Any, ...]) -> int:
        job = Job(next(self._ids), kind, payload)
        with QMutexLocker(self._mutex):
            self._desk.waiting[kind] = job
            current = self._desk.current
            if current is not None and (current.kind == "rehearse" or current.kind == kind in ("morph", "make")):
                current.cancelled = True
            self._wake.wakeAll()
        return job.id

    # In the engine's thread

    def run(self) -> None:
        """Take jobs until stopped."""
        sys.setswitchinterval(SWITCH_SECONDS)
        while (job := self._take()) is not None:
            self._tell(EngineState.LOADING if job.kind == "load" else EngineState.WORKING)
            try:
                getattr(self, f"_{job.kind}")(job)
                job.end = JobEnd.CANCELLED if job.cancelled else JobEnd.FINISHED
            except Exception as error:
                job.end, job.error, self.error = JobEnd.FAILED, error, error
                (self.failed.emit if job.kind == "load" else lambda s: self.job_failed.emit(job.id, s))(sentence(error))
            if job.kind == "morph" and job.end is JobEnd.FINISHED:
                self.finished_job.emit(job.id)
            with QMutexLocker(self._mutex):
                self._desk.current = None
            self._tell(EngineState.READY if self.engine is not None else EngineState.FAILED)
        self._tell(EngineState.STOPPED)
        self.engine = self._last = None

    def _take(self) -> Job | None:
        with QMutexLocker(self._mutex):
            while True:
                if self._desk.stopping:
                    return None
                for kind in ORDER if self.engine is not None else ORDER[:1]:
                    if kind in self._desk.waiting:
                        self._desk.current = self._desk.waiting.pop(kind)
                        return self._desk.current
                self._wake.wait(self._mutex)

    def _tell(self, state: EngineState) -> None:
        if state is not self.state:
            self.state = state
            self.state_changed.emit(state)

    def _load(self, job: Job) -> None:
        self.engine = self._opener(*job.payload)
        self._last = None
        self.ready.emit(self.engine.reason)

    def _encode(self, job: Job) -> None:
        assert self.engine is not None
        self.encoded.emit(self.engine.encode(*job.payload))

    def _morph(self, job: Job) -> None:
        """Emit bars as they come. Bars not yet done keep what the last value of the same drag made of them."""
        assert self.engine is not None
        piece, request = job.payload
        same = self._last is not None and self._last[0] is piece and self._last[1] == request.bars
        so_far = self._last[2] if same and self._last is not None else None
        shown, shown_at = so_far, 0.0
        for done in self.engine.morph(piece, request):
            self.bars_done.emit(job.id, done)
            so_far = done if so_far is None else _over(so_far, done)
            self._last = (piece, request.bars, so_far)
            if time.monotonic() - shown_at > SHOWN_SECONDS:
                self.score_done.emit(job.id, self.engine.apply(piece, [so_far]))
                shown, shown_at = so_far, time.monotonic()
            if job.cancelled:  # its first bars were shown all the same: a fast hand must not starve the eye
                return
        if shown is not so_far:
            self.score_done.emit(job.id, self.engine.apply(piece, [so_far]))

    def _make(self, job: Job) -> None:
        """Emit each score as it is made. A hand on a slider interrupts between two of them."""
        assert self.engine is not None
        base, waiting = job.payload
        for place, (which, recipe) in enumerate(waiting):
            if place and self._makes_way(job, (base, waiting[place:])):
                return
            work, bars = self.engine.make(base, recipe), 0
            while not job.cancelled:
                try:
                    bars += len(next(work).bars)
                except StopIteration as end:
                    self.made.emit(job.id, which, end.value)
                    break
                self.making.emit(job.id, which, bars)
            if job.cancelled:
                return

    def _makes_way(self, job: Job, rest: tuple[Any, ...]) -> bool:
        """Put the rest of a job behind those that go first, if any of them waits."""
        with QMutexLocker(self._mutex):
            waiting = self._desk.waiting
            if job.cancelled or not any(kind in waiting for kind in ORDER[: ORDER.index("make")]):
                return False
            waiting.setdefault("make", Job(job.id, "make", rest))
            return True

    def _answer(self, job: Job) -> None:
        assert self.engine is not None
        heard, seed = job.payload
        if self.engine.answer is not None:
            self.answered.emit(job.id, self.engine.answer(heard, seed))

    def _rehearse(self, job: Job) -> None:
        assert self.engine is not None
        for _ in self.engine.morph(*job.payload):
            if job.cancelled:
                return


def _over(before: Any, done: Any) -> Any:
    """BarsDone of all bars so far: those just done over what they were before."""
    kept = before.notes[~np.isin(before.notes["bar"], done.bars)]
    return replace(done, bars=tuple({*before.bars, *done.bars}), notes=np.concatenate([kept, done.notes]))
