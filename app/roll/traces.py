"""What changed under the musician's eyes: notes just arrived, the ones they replaced, and what is proposed.

Compares scores note by note; times are seconds of `time.monotonic`. Knows nothing of colours or widgets.
"""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from app.roll.index import NoteIndex, fingerprints
from engine.score.score import Score, make_notes

LONG_AGO = -1e9
LONGEST_GLOW = 10.0  # seconds after which no theme lets anything glow
NO_NOTES = make_notes()


class Traces:
    """The last change of a document, ready to be painted."""

    def __init__(self, score: Score) -> None:
        self.begin(score)

    _prints: NDArray[np.uint64]
    _proposed_prints: NDArray[np.uint64]
    born: NDArray[np.float64]  # when each row last changed
    ghosts: NoteIndex  # the notes the last change took away
    ghosts_since: float
    latest: float  # when anything last changed
    proposed: NoteIndex  # notes of the proposal that the song has not
    proposed_born: NDArray[np.float64]
    leaving: NDArray[np.bool_]  # rows the proposal takes away

    def begin(self, score: Score) -> None:
        """Another song: nothing has changed yet."""
        self._prints = fingerprints(score.notes)
        self.born = np.full(len(score.notes), LONG_AGO)
        self.ghosts = NoteIndex(NO_NOTES)
        self.ghosts_since = self.latest = LONG_AGO
        self.clear_proposal()

    def arrive(self, score: Score, before: Score | None, by_hand: bool) -> None:
        """The song is now `score`; `before` is the song before the last change. What a hand did needs no glow."""
        prints, now = fingerprints(score.notes), time.monotonic()
        born = np.full(len(prints), LONG_AGO if by_hand else now)
        nothing_glows = by_hand and now - self.latest > LONGEST_GLOW
        if len(self._prints) and len(prints) and not nothing_glows:  # a note that was there keeps its identity
            order = np.argsort(self._prints)
            place = np.minimum(np.searchsorted(self._prints[order], prints), len(order) - 1)
            kept = self._prints[order[place]] == prints
            born[kept] = self.born[order[place[kept]]]
        self._prints, self.born = prints, born
        self.ghosts = NoteIndex(NO_NOTES)
        if before is not None and not by_hand:
            self.ghosts = NoteIndex(before.notes[~np.isin(fingerprints(before.notes), prints)])
            self.ghosts_since = now
        self.latest = max(float(self.born.max(initial=LONG_AGO)), self.ghosts_since)
        self.clear_proposal()

    def propose(self, score: Score | None) -> None:
        """`score` is proposed over the song, or no longer anything."""
        if score is None:
            self.clear_proposal()
            return
        prints, now = fingerprints(score.notes), time.monotonic()
        new = ~np.isin(prints, self._prints)
        old_prints, old_born = self._proposed_prints, self.proposed_born
        self._proposed_prints = prints[new]
        self.proposed = NoteIndex(score.notes[new])
        self.proposed_born = np.full(int(new.sum()), now)
        if len(old_prints):
            order = np.argsort(old_prints)
            place = np.minimum(np.searchsorted(old_prints[order], self._proposed_prints), len(order) - 1)
            kept = old_prints[order[place]] == self._proposed_prints
            self.proposed_born[kept] = old_born[order[place[kept]]]
        self.leaving = ~np.isin(self._prints, prints)
        self.latest = max(self.latest, float(self.proposed_born.max(initial=LONG_AGO)))

    def clear_proposal(self) -> None:
        """Nothing is proposed."""
        self.proposed = NoteIndex(NO_NOTES)
        self.proposed_born = np.empty(0)
        self._proposed_prints = np.empty(0, dtype=np.uint64)
        self.leaving = np.zeros(len(self._prints), dtype=bool)

    @property
    def has_proposal(self) -> bool:
        """True while a proposal differs from the song."""
        return bool(len(self.proposed) or self.leaving.any())

    def is_moving(self, seconds: float) -> bool:
        """True while something that changed less than `seconds` ago is still settling."""
        return time.monotonic() - self.latest < seconds
