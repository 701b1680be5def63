"""The takes of a song: everything the model made, kept for good, and brought back as one step of undo.

Knows the document and the engine's thread, no widget; one take is `app.take`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Final

from PySide6.QtCore import QObject, Signal

from app.document import Document
from app.recipe import Recipe
from app.take import SLOTS, Take, digest, picture_of
from app.worker import EngineThread
from engine.score.score import Score

KEPT: Final = 200  # takes without a star
MOST_NOTES: Final = 500_000  # in all the scores that takes start from


@dataclass(slots=True)
class _Known:
    """Scores of takes that were made or replayed in this session, by the take's identity."""

    scores: dict[int, tuple[Take, Score]] = field(default_factory=dict)

    def of(self, take: Take) -> Score | None:
        found = self.scores.get(id(take))
        return found[1] if found is not None and found[0] is take else None

    def put(self, take: Take, score: Score) -> None:
        self.scores[id(take)] = (take, score)


class Takes(QObject):
    """The list of takes, newest last."""

    edited = Signal()  # a hand kept, named, starred or forgot one: something to save
    changed = Signal()  # there are others, or one is named, starred or put into a slot otherwise
    problem = Signal(str)
    notice = Signal(str)
    restored = Signal(object, object)  # Take, Score: just before the document becomes it

    def __init__(self, document: Document, engine: EngineThread, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.document, self.engine = document, engine
        self.items: list[Take] = []
        self._known = _Known()
        self._job = 0
        self._wanted: Take | None = None
        engine.made.connect(self._on_made)
        engine.job_failed.connect(self._on_failed)

    # Keeping

    def add(self, base: Score, recipe: Recipe, score: Score, words: str) -> Take:
        """Keep what was made."""
        model = self.engine.engine.model_hash if self.engine.engine is not None else ""
        take = Take(base, recipe, model, words, picture=picture_of(score), notes=digest(score))
        self._known.put(take, score)
        self.items.append(take)
        self._forget_some()
        self.changed.emit()
        return take

    def keep(self) -> Take:
        """Keep the song as it is: the take that made it, or, of what a hand made, a new one; with a star."""
        take = self.current() or self.add(
            self.document.score, Recipe(), self.document.score, self.tr("As it was written")
        )
        return take if take.starred else self._swap(take, starred=True)

    def current(self) -> Take | None:
        """The newest take whose notes are the song's, if any."""
        now = digest(self.document.score)
        return next((take for take in reversed(self.items) if take.notes == now), None)

    def score_of(self, take: Take) -> Score | None:
        """The notes of a take, where they are at hand."""
        return self._known.of(take)

    def _forget_some(self) -> None:
        """Takes without a star or a slot go, the oldest first, when there are too many or they hold too much."""
        spare = [take for take in self.items if not (take.starred or take.slot)]
        gone = spare[: max(len(spare) - KEPT, 0)]
        for take in spare[len(gone) : -1]:
            left = [t for t in self.items if t not in gone]
            if sum(len(base.notes) for base in {id(t.base): t.base for t in left}.values()) <= MOST_NOTES:
                break
            gone.append(take)
        if gone:
            self.items = [take for take in self.items if take not in gone]

    # Naming

    def star(self, take: Take) -> None:
        """Star it, or take the star away."""
        self._swap(take, starred=not take.starred)

    def rename(self, take: Take, name: str) -> None:
        """Give it a name; an empty one is how it came about."""
        self._swap(take, name=name.strip())

    def remove(self, take: Take) -> None:
        """Forget it."""
        self.items.remove(take)
        self.changed.emit()
        self.edited.emit()

    def put_in_slot(self, take: Take, slot: str) -> None:
        """Let a key bring it back; whoever had the key gives it up. With no slot it has none."""
        for other in list(self.items):
            if slot and other.slot == slot and other is not take:
                self._swap(other, slot="")
        self._swap(take, slot=slot)

    def in_slot(self, slot: str) -> Take | None:
        """The take that has a key."""
        return next((take for take in self.items if take.slot == slot), None)

    def _swap(self, take: Take, **changes: Any) -> Take:
        new = replace(take, **changes)
        self.items[self.items.index(take)] = new
        score = self._known.of(take)
        if score is not None:
            self._known.put(new, score)
        self.changed.emit()
        self.edited.emit()
        return new

    # Bringing back

    def press(self, slot: str) -> None:
        """Bring back the take of a key; a key without one takes the song as it is."""
        take = self.in_slot(slot)
        if take is not None:
            self.restore(take)
        else:
            self.put_in_slot(self.current() or self.keep(), slot)
            self.notice.emit(
                self.tr("{0} is the song as it is now. Key {1} brings it back.").format(slot, SLOTS.index(slot) + 1)
            )

    def restore(self, take: Take) -> None:
        """Make a take the song again, as one step of undo; its notes are made anew where they are not at hand."""
        score = self._known.of(take)
        if score is not None:
            self._put(take, score)
        elif self.engine.engine is None:
            self.problem.emit(self.tr("The model is loading; it is needed to play this take again."))
        else:
            self._wanted = take
            self._job = self.engine.make(take.base, [take.recipe])

    def _put(self, take: Take, score: Score) -> None:
        base = take.base if take.recipe.verb == "morph" else score
        self.restored.emit(take, score)
        locks = take.base.notes[sorted(take.recipe.locks)]
        self.document.change(score, self.tr("Take: {0}").format(take.title), ("take",), base=base, locks=locks)

    def _on_made(self, job: int, which: int, score: Score) -> None:
        take, self._wanted = (self._wanted, None) if job == self._job else (None, self._wanted)
        if take is None or take not in self.items:
            return
        if digest(score) != take.notes:
            self.notice.emit(self.tr("This take was made with another model or style: its notes came out otherwise."))
        self._known.put(take, score)
        self._put(take, score)

    def _on_failed(self, job: int, sentence: str) -> None:
        if job == self._job and self._wanted is not None:
            self._wanted = None
            self.problem.emit(sentence)

    # Projects

    def load(self, items: list[Take]) -> None:
        """The takes of another project."""
        self.items, self._known, self._wanted = list(items), _Known(), None
        self.changed.emit()
