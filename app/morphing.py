"""From a hand on a slider to changed notes: joins `MorphState`, `Document` and the engine's thread.

While a slider is held the result is a proposal; let go, it is one step of undo. With every slider at zero it is the
source score itself. Knows nothing of widgets and of sound.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PySide6.QtCore import QEasingCurve, QObject, QTimer, QVariantAnimation, Signal

from app.document import Document
from app.limits import Limits
from app.locks import rows_of
from app.panels.sliders import MorphState, SliderInfo
from app.worker import EngineThread
from engine.attributes import NAMES, measure
from engine.score.score import Score

SETTLE_MS = 250  # after a hand edit, and after the last turn of a wheel
VARY_MS = 700
REHEARSED_BARS = 64  # decoded once before a hand asks for them
KEPT_POINTS = 500  # as many as there are steps of undo


@dataclass(frozen=True, slots=True)
class MorphPoint:
    """Where the sliders stood when a score came about, on which bars, with which seed and lanes."""

    offsets: Mapping[str, float] = field(default_factory=dict)
    bars: range | None = None
    seed: int = 0
    lanes: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


class Morphing(QObject):
    """The one who turns slider moves into changes of the document."""

    problem = Signal(str)
    committed = Signal(object, object, str)  # Recipe, Score, words: sliders made a step of undo
    lanes_changed = Signal()  # the lanes follow the song

    def __init__(
        self,
        document: Document,
        state: MorphState,
        engine: EngineThread,
        first_bar: Callable[[], int] = lambda: 0,  # the bar to do first: at the playhead, or the first one seen
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.document, self.state, self.engine, self.first_bar = document, state, engine, first_bar
        self.seed = 0
        self.limits = Limits()  # what may sound in what sliders make
        self.lanes: Mapping[str, tuple[float, ...]] = {}  # sigma for each bar, on top of the sliders
        self.tracks: Callable[[], frozenset[int] | None] = lambda: None  # the only ones sliders change
        self.piece: Any = None
        self._pieces: dict[int, tuple[Score, Any]] = {}  # by id of the base score, which is kept alive beside it
        self._points: dict[int, tuple[Score, MorphPoint]] = {}  # the same for scores that sliders made
        self._job = self._encode_job = 0
        self._since = 0  # the first job of this drag: results of any later one are shown
        self._gesture = 0
        self._name = ""
        self._words = self.tr("Sliders back")  # what a step is called that no slider names
        self._latest: Score | None = None
        self._asked: Any = None  # the recipe of the newest request
        self._complete = True  # the latest score holds every bar of the newest request
        self._released = False
        self._bars: range | None = None  # the bars the sliders' values belong to
        self._settle = QTimer(self, singleShot=True, interval=SETTLE_MS)
        self._settle.timeout.connect(self._commit_when_done)
        self._reencode = QTimer(self, singleShot=True, interval=SETTLE_MS)
        self._reencode.timeout.connect(self.encode)
        self._animation: QVariantAnimation | None = None
        state.grabbed.connect(self._on_grabbed)
        state.moved.connect(self._on_moved)
        state.released.connect(lambda name: self._commit_when_done())
        state.scope_changed.connect(self._on_scope)
        document.changed.connect(self._on_changed)
        document.locks_changed.connect(self._on_locks)
        engine.encoded.connect(self._on_encoded)
        engine.score_done.connect(self._on_score)
        engine.finished_job.connect(self._on_finished)
        engine.job_failed.connect(self._on_failed)

    # The piece under the sliders

    @property
    def point(self) -> MorphPoint:
        """Where the sliders stand now."""
        return MorphPoint(self.state.offsets, self._bars, self.seed, self.lanes)

    def on_ready(self) -> None:
        """A model is loaded: describe the sliders by it and encode the song anew."""
        engine = self.engine.engine
        if engine is not None:
            self.state.set_infos(info_of(spec) for spec in engine.sliders)
        self._pieces.clear()
        self.piece = None
        self.encode()

    def encode(self) -> None:
        """Have the base of the document encoded, unless it is known."""
        base = self.document.piece_base
        known = self._pieces.get(id(base))
        if known is not None:
            self._use(known[1])
        elif self.engine.engine is not None:
            self.piece = None
            self._encode_job = self.engine.encode(base)

    def restore(self, base: Score, point: MorphPoint) -> None:
        """After a project was opened: the document's score is what `point` made of `base`."""
        self.seed = point.seed
        self.document.rebase(base)
        self._points[id(self.document.score)] = (self.document.score, point)
        self.piece = None
        self.encode()
        self._show()

    def remember(self, score: Score, point: MorphPoint) -> None:
        """Sliders stand at `point` whenever `score` is the song."""
        self._points[id(score)] = (score, point)
        for key in list(self._points)[:-KEPT_POINTS]:
            del self._points[key]

    def _on_encoded(self, piece: Any) -> None:
        base = self.document.piece_base
        if piece.score is not base:
            return  # stale: the song moved on
        self._pieces[id(base)] = (base, piece)
        for key in list(self._pieces)[:-16]:
            del self._pieces[key]
        self._use(piece)
        self._rehearse()

    def _rehearse(self) -> None:
        """Have the bars around the playhead decoded once, so that the first drag is as quick as any."""
        engine, first = self.engine.engine, self.first_bar()
        if engine is not None:
            bars = range(first, min(first + REHEARSED_BARS, len(self.piece.grid)))
            self.engine.rehearse(self.piece, engine.request(offsets={NAMES[0]: 1.0}, bars=bars, first=first))

    def _use(self, piece: Any) -> None:
        self.piece = piece
        self.state.disable("")
        self._show()

    def _on_changed(self, score: Score) -> None:
        if score is self._latest and self._points.get(id(score)) is not None:
            return  # what we made ourselves
        self._drop()
        self._ground()
        if self.piece is None or self.piece.score is not self.document.piece_base:
            known = self._pieces.get(id(self.document.piece_base))
            self.piece = known[1] if known else None
        if self.piece is None:
            self._reencode.start()
        self._show()

    def _on_locks(self) -> None:
        """Other notes stay from now on; locking notes that sliders made lets the sliders count from there."""
        self._drop()
        if self.piece is None or self.piece.score is not self.document.piece_base:
            self.piece = None
            self.encode()
        self._show()

    def _drop(self) -> None:
        """Forget the proposal and the job behind it."""
        self._settle.stop()
        self._stop_animation()
        self.engine.cancel()
        self._job, self._latest, self._complete, self._released = 0, None, True, False

    def _show(self) -> None:
        """Let the sliders follow the song."""
        _, point = self._points.get(id(self.document.score), (None, MorphPoint()))
        made = self.document.score is not self.document.piece_base
        offsets = point.offsets if made else {}
        if dict(self.lanes) != dict(point.lanes if made else {}):
            self.lanes = point.lanes if made else {}
            self.lanes_changed.emit()
        self._bars = self.state.bars
        own: dict[str, float | None] = {}
        if self.piece is not None:
            bars = None if self._bars is None else [b for b in self._bars if b < len(self.piece.grid)]
            measured = measure(self.piece.bars, self.piece.grid.clocks, bars)
            own = {name: float(v) if np.isfinite(v) else None for name, v in zip(NAMES, measured, strict=True)}
        self.state.show(offsets, own)

    def _on_scope(self) -> None:
        """Other bars: what was made so far becomes the ground the sliders count from."""
        if self.state.bars != self._bars:
            self._drop()
            self.document.preview(None)
            self._ground()
            self._show()

    def _ground(self) -> None:
        """Count from the song as it is, where its sliders' values belong to other bars than are chosen now."""
        _, point = self._points.get(id(self.document.score), (None, MorphPoint()))
        if self.document.score is not self.document.piece_base and point.bars != self.state.bars:
            self.document.rebase()
            self.piece = None
            self._reencode.start()

    # The drag

    def _on_grabbed(self, name: str) -> None:
        self._stop_animation()
        self._begin(name)

    def _begin(self, name: str) -> None:
        self._gesture += 1
        self._name, self._released, self._since = name, False, 0

    def _on_moved(self, name: str) -> None:
        if self.piece is None:
            return
        if not self.state[name].held and self._animation is None:
            if name != self._name or not self._settle.isActive():
                self._begin(name)
            self._settle.start()
        self._name = name
        self._ask()

    def _ask(self) -> None:
        """Ask for the notes of where the sliders stand; at zero they are the source itself."""
        offsets, lanes = self.state.offsets, self.lanes
        if not offsets and not lanes:
            self.engine.cancel()
            self._job, self._complete = 0, True
            self._propose(self.document.piece_base)
            return
        if self.engine.engine is None:
            return
        self._complete = False
        bars = self.state.bars
        if bars is not None:  # bars may be chosen past the end of the song
            count = len(self.piece.grid)
            bars = range(min(bars.start, count), min(bars.stop, count))
        self._asked = self.engine.engine.request(
            offsets=offsets, bars=bars, seed=self.seed, first=self.first_bar(), limits=self.limits, lanes=lanes,
            tracks=self.tracks(), locks=frozenset(rows_of(self.document.piece_base, self.document.locks).tolist()),
        )  # fmt: skip
        self._job = self.engine.request(self.piece, self._asked)
        self._since = self._since or self._job

    def _on_score(self, job: int, score: Score) -> None:
        if self._job and self._since <= job <= self._job:
            self._propose(score)

    def _propose(self, score: Score) -> None:
        self._latest = score
        self.document.preview(score if score is not self.document.score else None)

    def _on_finished(self, job: int) -> None:
        if job == self._job:
            self._complete = True
            if self._released:
                self._commit()

    def _on_failed(self, job: int, sentence: str) -> None:
        if job == self._encode_job:
            self.state.disable(sentence)
        elif job == self._job:
            self._drop()
            self.document.preview(None)
            self._show()
            self.problem.emit(sentence)

    def _commit_when_done(self) -> None:
        self._released = True
        if self._complete:
            self._commit()

    def _commit(self) -> None:
        """Make the proposal a step of undo: one for each drag."""
        score, self._released = self._latest, False
        if score is None:
            return
        if score is not self.document.piece_base:
            self.remember(score, self.point)
        slider = self.state[self._name] if self._name in self.state.sliders else None
        words = f"{slider.info.label} {slider.value:+.2f} σ" if slider is not None else self._words
        if score is self.document.score:
            self.document.preview(None)
        else:
            self.document.change(score, words, ("morph", self._gesture), keep_base=True)
            if score is not self.document.piece_base and self._asked is not None:
                self.committed.emit(self._asked, score, words)
        self._show()

    # Two gestures that need no hand

    def draw_lane(self, name: str, values: tuple[float, ...]) -> None:
        """Give a slider a value of its own in each bar; shown as a proposal until `lane_done`."""
        lanes = {k: v for k, v in self.lanes.items() if k != name}
        self.lanes = {**lanes, name: values} if any(values) else lanes
        if self.piece is not None:
            self._ask()

    def lane_begun(self) -> None:
        """A hand begins to draw: what it draws until `lane_done` is one step of undo."""
        self._stop_animation()
        self._begin("")
        self._words = self.tr("Lane")

    def lane_done(self) -> None:
        """The hand lets go of a lane."""
        if self.piece is not None:
            self._commit_when_done()

    def reset(self) -> None:
        """All sliders and lanes back to zero, as one step of undo."""
        self._stop_animation()
        self._begin("")
        self._words, self.lanes = self.tr("Sliders back"), {}
        self.lanes_changed.emit()
        for slider in self.state.sliders.values():
            if slider.value and not slider.locked:
                slider.show(0.0, slider.own)
        if self.piece is not None:
            self._ask()
            self._commit_when_done()

    def vary(self) -> None:
        """Move one free slider somewhere else, as a hand would."""
        free = [
            s for s in self.state.sliders.values() if s.enabled and s.info.kind == "attribute" and s.own is not None
        ]
        if not free or self.piece is None:
            return
        slider = random.choice(free)
        goal = random.choice([v for v in (-1.5, -1.0, 1.0, 1.5) if abs(v - slider.value) > 0.4])
        self._stop_animation()
        self._begin(slider.info.name)
        animation = QVariantAnimation(self)
        animation.setDuration(VARY_MS)
        animation.setEasingCurve(QEasingCurve.Type.InOutCubic)
        animation.setStartValue(slider.value)
        animation.setEndValue(goal)
        animation.valueChanged.connect(slider.move)
        animation.finished.connect(self._vary_done)
        self._animation = animation
        animation.start()

    def _vary_done(self) -> None:
        self._animation = None
        self._commit_when_done()

    def _stop_animation(self) -> None:
        if self._animation is not None:
            animation, self._animation = self._animation, None
            animation.finished.disconnect(self._vary_done)
            animation.stop()


def info_of(spec: Any) -> SliderInfo:
    """What a slider of the engine's session says of itself."""
    quantiles = None if spec.quantiles is None else np.asarray(spec.quantiles, float)
    return SliderInfo(spec.name, spec.label, spec.description, spec.kind, spec.unit, spec.sd, quantiles, spec.rho)
