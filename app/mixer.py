"""Which tracks are heard: mute and solo. They belong to the listener, not to the song, and a project keeps them.

Follows the tracks through edits and undo by who they are. Knows no widget and no port.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from PySide6.QtCore import QObject, Signal

from app.document import Document
from engine.score.score import Score


class Mixer(QObject):
    """Mutes and solos of the document's tracks, by index."""

    changed = Signal()

    def __init__(self, document: Document, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.muted: frozenset[int] = frozenset()
        self.soloed: frozenset[int] = frozenset()
        self._tracks = document.score.tracks
        self._last: tuple[Score | None, Score | None] = (None, None)  # a score, and what is heard of it
        document.loaded.connect(self._on_loaded)
        document.changed.connect(self._on_changed)

    def is_heard(self, track: int) -> bool:
        """Soloed tracks are heard alone; a muted one never is."""
        return track not in self.muted and (not self.soloed or track in self.soloed)

    def heard(self, score: Score) -> Score:
        """The score without the notes that are not heard; the same object where all are."""
        if not self.muted and not self.soloed:
            return score
        if self._last[0] is not score:
            silent = [i for i in range(len(score.tracks)) if not self.is_heard(i)]
            kept = ~np.isin(score.notes["track"], silent)
            self._last = score, score if kept.all() else replace(score, notes=score.notes[kept])
        heard = self._last[1]
        return score if heard is None else heard

    def set_muted(self, track: int, on: bool) -> None:
        """Mute a track or let it be heard."""
        self.restore(self.muted | {track} if on else self.muted - {track}, self.soloed)

    def set_soloed(self, track: int, on: bool) -> None:
        """Hear a track alone, with others that are soloed, or no longer."""
        self.restore(self.muted, self.soloed | {track} if on else self.soloed - {track})

    def restore(self, muted: Iterable[int], soloed: Iterable[int]) -> None:
        """Take over what a project kept, or another choice."""
        wanted = frozenset(muted), frozenset(soloed)
        if wanted != (self.muted, self.soloed):
            self.muted, self.soloed = wanted
            self._last = (None, None)
            self.changed.emit()

    def _on_loaded(self, score: Score) -> None:
        self._tracks = score.tracks
        self.restore((), ())

    def _on_changed(self, score: Score) -> None:
        """A track that went takes its mute with it; the others keep theirs."""
        before, self._tracks = self._tracks, score.tracks
        if len(before) == len(score.tracks) or not (self.muted or self.soloed):
            return
        now = {id(track): i for i, track in enumerate(score.tracks)}
        places = {i: now[id(track)] for i, track in enumerate(before) if id(track) in now}
        self.restore(*({places[i] for i in chosen if i in places} for chosen in (self.muted, self.soloed)))
