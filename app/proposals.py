"""What the model proposes where the selection is the mask: asked for, looked through, accepted or let go.

Joins the roll's selection, the engine's thread and the document. A proposal is no part of the song until it is
accepted, which is one step of undo. Knows no widget but the roll's state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import numpy as np
from PySide6.QtCore import QObject, Signal

from app.document import Document
from app.limits import Limits
from app.recipe import NOTHING, Recipe
from app.roll.state import RollState
from app.worker import EngineThread
from engine.score.score import Score
from engine.score.timing import BarGrid

AMOUNT = 0.5  # how far a variation goes
ADDED_BARS = 4  # that a piece goes on for


class Stage(Enum):
    """Where a proposal stands.

    ::

        NONE --ask--> MAKING --made--> SHOWN --accept, reject--> NONE
                        ^  |             |
                        |  +--reject, failed--> NONE
                        +-----next-------+
    """

    NONE = "none"
    MAKING = "making"
    SHOWN = "shown"


@dataclass(frozen=True, slots=True)
class Scope:
    """What is selected, as a mask."""

    bars: range | None = None
    tracks: frozenset[int] | None = None
    only: frozenset[int] = NOTHING  # rows, where notes are the selection

    def words(self) -> str:
        """As a user says it: "bars 5-6", "3 notes", "the piece"."""
        if self.only:
            return f"{len(self.only)} notes" if len(self.only) > 1 else "a note"
        if self.bars is None:
            return "the piece"
        if len(self.bars) == 1:
            return f"bar {self.bars.stop}"
        return f"bars {self.bars.start + 1}-{self.bars.stop}"


class Proposals(QObject):
    """One proposal at a time, and those of the same wish seen before it."""

    changed = Signal()  # anything a view shows
    problem = Signal(str)
    accepted = Signal(object, object, object, str)  # base, Recipe, Score, words

    def __init__(
        self, document: Document, roll: RollState, engine: EngineThread, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self.document, self.roll, self.engine = document, roll, engine
        self.stage = Stage.NONE
        self.words = ""
        self.limits: Callable[[], Limits] = Limits
        self.bars_done = 0
        self.seen: list[tuple[Recipe, Score]] = []
        self.at = -1  # which of `seen` is shown
        self._base: Score = document.score
        self._recipe = Recipe()
        self._job = 0
        self._seed = 0
        engine.making.connect(self._on_making)
        engine.made.connect(self._on_made)
        engine.job_failed.connect(self._on_failed)
        document.previewed.connect(self._on_previewed)
        document.changed.connect(lambda _: self._end())
        document.locks_changed.connect(self._end)
        for signal in (roll.selection_changed, roll.options_changed, roll.notes_changed, document.locks_changed):
            signal.connect(lambda *_: self.changed.emit())

    # What may be asked for

    def scope(self) -> Scope:
        """The marked bars, else the selected notes, else the piece; on the track being edited, or on all."""
        roll, tracks = self.roll, self.tracks()
        if roll.bars is not None:
            return Scope(range(roll.bars.start, min(roll.bars.stop, roll.bar_count)), tracks)
        if len(roll.selection):
            ticks = roll.index.tick[roll.selection]
            first, last = (int(roll.grid.bar_of(t)) for t in (ticks.min(), ticks.max()))
            return Scope(range(first, last + 1), None, frozenset(map(int, roll.selection)) - self._locked())
        return Scope(None, tracks)

    def tracks(self) -> frozenset[int] | None:
        """The track being edited; None is all of them."""
        return None if self.roll.track is None else frozenset({self.roll.track})

    def why_not(self, verb: str) -> str:
        """Why a verb cannot be asked for now, as a sentence; empty when it can."""
        if self.engine.engine is None:
            return self.tr("The model is loading.")
        if trouble := self.limits().trouble():
            return trouble
        if verb == "new":
            return self.tr("Unlock the locked notes first: a new piece would lose them.") if self._locked() else ""
        if not self.roll.bar_count:
            return self.tr("There are no notes here to start from.")
        scope = self.scope()
        if scope.bars is not None and not len(scope.bars):
            return self.tr("These bars are past the end of the piece; Continue writes new ones.")
        if verb == "regenerate" and scope.bars is None:
            return self.tr("Choose bars in the ruler, or select notes, to have them written anew.")
        if verb in ("regenerate", "vary") and not scope.only and self.roll.bars is None and len(self.roll.selection):
            return self.tr("The selected notes are locked.")
        return ""

    def _locked(self) -> frozenset[int]:
        return frozenset(map(int, self.document.locked_rows))

    # Asking

    def regenerate(self) -> None:
        """Have the selected bars, or the selected notes, written anew."""
        scope = self.scope()
        self.ask(self.wish("regenerate"), self.tr("Regenerate {0}").format(scope.words()))

    def vary(self) -> None:
        """Have the selection, or the piece, a little otherwise."""
        scope = self.scope()
        self.ask(self.wish("vary"), self.tr("Vary {0}").format(scope.words()))

    def go_on(self, bars: int = ADDED_BARS) -> None:
        """Have bars written after the last one."""
        recipe = Recipe(verb="continue", count=bars, limits=self.limits())
        self.ask(recipe, self.tr("Continue by {0} bars").format(bars))

    def transfer(self, manner: Score, name: str) -> None:
        """Have the selected bars, or the piece, in the manner of another."""
        recipe = self.wish("transfer").but(others=(manner,), amount=1.0)
        self.ask(recipe, self.tr("In the manner of {0}").format(name))

    def new(self, bars: int, meter: tuple[int, int], programs: tuple[int, ...]) -> None:
        """Have a new piece in place of this one; undo brings it back."""
        recipe = Recipe(verb="new", count=bars, meter=meter, programs=programs, limits=self.limits())
        self.ask(recipe, self.tr("New piece"))

    def wish(self, verb: str) -> Recipe:
        """A recipe for what is selected: the selection is the mask, locked notes stay."""
        scope, locks = self.scope(), self._locked()
        return Recipe(
            verb=verb, bars=scope.bars, tracks=scope.tracks, only=scope.only, locks=locks, limits=self.limits(),
            first=scope.bars.start if scope.bars is not None else 0, amount=AMOUNT,
        )  # fmt: skip

    def ask(self, recipe: Recipe, words: str) -> None:
        """Ask the engine; the answer comes as a proposal."""
        if self.why_not(recipe.verb):
            self.problem.emit(self.why_not(recipe.verb))
            return
        self._end()
        self._seed += 1
        self._base, self.words = self.document.score, words
        self._start(recipe.but(seed=self._seed))

    def show(self, base: Score, recipe: Recipe, score: Score, words: str) -> None:
        """Show a score that is already there as a proposal; `next` makes others by the same recipe of that base."""
        self._end()
        self._base, self.words, self._recipe = base, words, recipe
        self._take_in(recipe, score)

    def _start(self, recipe: Recipe) -> None:
        self._recipe, self.bars_done, self.stage = recipe, 0, Stage.MAKING
        self._job = self.engine.make(self._base, [recipe])
        self.changed.emit()

    @property
    def bars_in_all(self) -> int:
        """How many bars are being made."""
        return max(self._recipe.span(self._base), 1)

    # Looking through

    def next(self) -> None:
        """The next proposal of the same wish: one seen before, or a new one of another seed."""
        if self.stage is not Stage.SHOWN:
            return
        if self.at + 1 < len(self.seen):
            self._look_at(self.at + 1)
        else:
            self._seed = max(self._seed, self.seen[-1][0].seed) + 1
            self._start(self._recipe.but(seed=self._seed))

    def previous(self) -> None:
        """The proposal seen before this one."""
        if self.stage is Stage.SHOWN and self.at > 0:
            self._look_at(self.at - 1)

    def _look_at(self, at: int) -> None:
        self.at, self.stage = at, Stage.SHOWN
        self.document.preview(self.seen[at][1])
        self.changed.emit()

    def accept(self) -> None:
        """Make the proposal shown the song, as one step of undo; its changed notes glow."""
        if self.stage is not Stage.SHOWN:
            return
        (recipe, score), base, words = self.seen[self.at], self._base, self.words
        self._end()
        self.document.change(score, words)
        self.accepted.emit(base, recipe, score, words)

    def reject(self) -> None:
        """Let the proposal go, or call off the one being made; one seen before stays to be looked at."""
        if self.stage is Stage.MAKING and self.seen:
            self.engine.cancel("make")
            self._job = 0
            self._look_at(self.at)
        elif self.stage is not Stage.NONE:
            self._end()

    def _end(self) -> None:
        if self.stage is Stage.NONE:
            return
        if self.stage is Stage.MAKING:
            self.engine.cancel("make")
        shown = bool(self.seen) and self.document.proposal is self.seen[self.at][1]
        self._job, self.stage, self.seen, self.at = 0, Stage.NONE, [], -1
        if shown:
            self.document.preview(None)
        self.changed.emit()

    # From the engine

    def _on_making(self, job: int, which: int, bars: int) -> None:
        if job == self._job:
            self.bars_done = bars
            self.changed.emit()

    def _on_made(self, job: int, which: int, score: Score) -> None:
        if job == self._job and self.stage is Stage.MAKING:
            self._job = 0
            self._take_in(self._recipe, score)

    def _take_in(self, recipe: Recipe, score: Score) -> None:
        same = (
            np.array_equal(score.notes, self._base.notes)
            and BarGrid.of(score).starts[-1] == BarGrid.of(self._base).starts[-1]
        )
        if same and not self.seen:
            self._end()
            self.problem.emit(self.tr("The model would leave these notes as they are."))
            return
        self.seen.append((recipe, score))
        self._look_at(len(self.seen) - 1)

    def _on_failed(self, job: int, sentence: str) -> None:
        if job == self._job:
            self._job = 0
            self.reject()
            self.problem.emit(sentence)

    def _on_previewed(self, score: Score | None) -> None:
        """Somebody else proposes something, or Esc in the roll took ours away."""
        if self.seen and score is not self.seen[self.at][1]:
            self._end()
