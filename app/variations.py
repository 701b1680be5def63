"""Nine squares around the song as it is: itself in the middle, variations about it, each shown as soon as it is ready.

Those beside it go less far than those in the corners. Knows takes and proposals, no widget.
"""

from __future__ import annotations

from typing import Final

from PySide6.QtCore import QObject, Signal

from app.document import Document
from app.proposals import Proposals
from app.recipe import Recipe
from app.worker import EngineThread
from engine.score.score import Score

MIDDLE: Final = 4
NEAR, FAR = 0.35, 0.8  # how far a variation goes beside the middle, in a corner
CORNERS: Final = (0, 2, 6, 8)


class Variations(QObject):
    """The nine, by place: rows from the top, each from the left."""

    changed = Signal()
    chosen = Signal(int)  # the place that is heard

    def __init__(
        self, document: Document, engine: EngineThread, proposals: Proposals, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self.document, self.engine, self.proposals = document, engine, proposals
        self.base: Score = document.score
        self.recipes: dict[int, Recipe] = {}
        self.scores: dict[int, Score] = {}
        self.heard = -1
        self._job = 0
        self._order: list[int] = []
        self._round = 0
        engine.made.connect(self._on_made)
        document.loaded.connect(lambda _: self.close())

    @property
    def is_open(self) -> bool:
        """Whether there is anything to show."""
        return bool(self.recipes)

    def ask(self) -> None:
        """Nine new ones of the selection, or of the piece."""
        self._round += 1
        self.base, self.scores, self.heard = self.document.score, {MIDDLE: self.document.score}, MIDDLE
        wish = self.proposals.wish("vary")
        self._order = [1, 3, 5, 7, 0, 2, 6, 8]
        self.recipes = {
            place: wish.but(amount=FAR if place in CORNERS else NEAR, seed=1000 * self._round + place)
            for place in self._order
        }
        self._job = self.engine.make(self.base, [self.recipes[place] for place in self._order])
        self.changed.emit()

    def close(self) -> None:
        """Put them away."""
        if self._job:
            self.engine.cancel("make")
        self.recipes, self.scores, self._job, self.heard = {}, {}, 0, -1
        self.changed.emit()

    def hear(self, place: int) -> None:
        """Show one as a proposal, so that it is heard in place of the song; the middle is the song itself."""
        if place not in self.scores:
            return
        self.heard = place
        if place == MIDDLE:
            self.proposals.reject()
        else:
            words = self.tr("Variation {0}").format(place + 1)
            self.proposals.show(self.base, self.recipes[place], self.scores[place], words)
        self.chosen.emit(place)
        self.changed.emit()

    def take(self, place: int) -> None:
        """Make one the song, as one step of undo."""
        self.hear(place)
        self.proposals.accept()

    def _on_made(self, job: int, which: int, score: Score) -> None:
        if job == self._job:
            self.scores[self._order[which]] = score
            if len(self.scores) == len(self.recipes) + 1:
                self._job = 0
            self.changed.emit()
