"""Whose music a run is about: someone's own, split by piece, and base music beside it so that nothing is forgotten.

Knows corpora and windows; no model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.config import TrainConfig
from engine.errors import MorphonyError
from engine.session import STARTER
from trainer.batches import Batch, Windows
from trainer.corpus import Corpus, FileReport

HELD_OUT = 0.15  # share of the pieces that is measured on
REPLAY = 0.25  # share of batches from base music
BASE_HELD_OUT = 0.3  # share of the base music's pieces that only tells what was forgotten
DEMO = STARTER.parent.parent / "demo"


@dataclass(frozen=True, slots=True, eq=False)
class Music:
    """Pieces of someone's own and base music, each split into learned and kept."""

    own: Corpus
    base: Corpus
    learned: set[int]
    kept: set[int]
    replayed: set[int]
    remembered: set[int]

    @classmethod
    def read(
        cls, folder: Path, where: str, base: Path | None, cache: Path, seed: int, cancelled: Callable[[], bool]
    ) -> Music:
        """Raises MorphonyError where nothing can be used, where one piece alone cannot be split, and when cancelled."""
        own = Corpus.build(folder, cache, where, cancelled=cancelled)
        others = Corpus.build(base or DEMO, cache, cancelled=cancelled)
        return cls(own, others, *split(len(own.pieces), seed), *split(len(others.pieces), seed, BASE_HELD_OUT))

    def report(self) -> dict[str, Any]:
        """What was found in the folder: for a run's result."""
        return scan_report(list(self.own.reports()))

    def drawn(self, config: TrainConfig, deviations: NDArray[np.float64]) -> Mixed:
        """What a run learns from."""
        own = Windows(self.own, config, deviations, self.learned)
        return Mixed(own, Windows(self.base, config, deviations, self.replayed))

    def held_out(self, config: TrainConfig, deviations: NDArray[np.float64]) -> tuple[Windows, Windows]:
        """What it is measured on: own pieces, and base pieces."""
        own = Windows(self.own, config, deviations, self.kept)
        return own, Windows(self.base, config, deviations, self.remembered)


class Mixed:
    """Windows of someone's music, with a share of base music among them."""

    def __init__(self, own: Windows, base: Windows) -> None:
        self.own, self.base = own, base

    def draw(self, rng: np.random.Generator, progress: float = 1.0) -> Batch:
        """A batch of one or the other."""
        return (self.base if rng.random() < REPLAY else self.own).draw(rng, progress)


def split(pieces: int, seed: int, share: float = HELD_OUT) -> tuple[set[int], set[int]]:
    """Indices of pieces to learn from and to measure on. Raises MorphonyError below two pieces."""
    if pieces < 2:
        raise MorphonyError("Fine-tuning needs at least two different pieces: one to learn from and one to check on.")
    order: NDArray[np.int64] = np.random.default_rng(seed).permutation(pieces)
    held = max(round(pieces * share), 1)
    return {int(i) for i in order[held:]}, {int(i) for i in order[:held]}


def scan_report(reports: Sequence[FileReport]) -> dict[str, Any]:
    """How much of a folder can be used, and why the rest cannot."""
    kept = [r for r in reports if r.ok]
    return {
        "kept": len(kept),
        "left_out": [{"file": Path(r.path).name, "error": r.reason} for r in reports if not r.ok],
        "notes": sum(r.notes for r in kept),
        "bars": sum(r.bars for r in kept),
        "minutes": round(sum(r.seconds for r in kept) / 60, 1),
    }


def report_words(found: dict[str, Any]) -> str:
    """One sentence of the same."""
    words = (
        f"{found['kept']} pieces can be used: {found['bars']} bars, {found['notes']} notes, {found['minutes']} minutes"
    )
    return words + (f"; {len(found['left_out'])} files cannot." if found["left_out"] else ".")


def bars_of_pieces(corpus: Corpus, pieces: set[int]) -> Iterator[tuple[NDArray[np.void], NDArray[np.int64]]]:
    """BAR_NOTE and the bars' clocks of some pieces, in order."""
    for i in sorted(pieces):
        p = corpus.pieces[i]
        rows = np.arange(p.first_bar, p.first_bar + p.bars)
        yield corpus.read(rows), corpus.bars["clocks"][rows].astype(np.int64)
