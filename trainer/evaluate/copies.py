"""Whether new music copies what the model learnt from: the longest run of (interval, duration) both hold.

Held-out music shares runs with the training set too, because music repeats itself; new music that shares no longer ones
copies nothing. W windows of a piece.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from engine.session import Piece, Session
from trainer.corpus import Corpus
from trainer.evaluate.bootstrap import Draws, summary
from trainer.evaluate.samples import sample_windows
from trainer.evaluate.windows import Window, of_piece
from trainer.memorisation import Steps, lines, longest_shared_run

BARS = 16
PER_PIECE = 2  # windows of a piece

Floats = NDArray[np.float64]


def _nothing() -> Floats:
    return np.full(PER_PIECE, np.nan)


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """Windows of one piece, and the longest runs that they, and new ones like them, share with the reference."""

    real: list[Window]
    of_real: Floats = field(default_factory=_nothing)  # (PER_PIECE,) steps; NaN where there is no window
    of_new: Floats = field(default_factory=_nothing)


def windows(_: Session, piece: Piece, __: range) -> Compared:
    """The windows of a piece, still to be compared."""
    return Compared(of_piece(piece, BARS, PER_PIECE))


def compare(session: Session, found: Sequence[Compared], reference: Corpus | None) -> list[Compared]:
    """The pieces with the runs of their windows, and of new ones, in the reference."""
    assert reference is not None  # the group says that it needs one
    real = [replace(w, piece=i) for i, x in enumerate(found) for w in x.real]
    if not real:
        return list(found)
    new, known = sample_windows(session, real), _of_corpus(reference)
    runs = longest_shared_run([lines(w.notes, w.clocks) for w in [*real, *new]], known)
    steps = np.array([run.steps for run in runs], np.float64).reshape(2, -1)
    out, at = [], 0
    for x in found:
        mine = slice(at, at + len(x.real))
        pair = [np.concatenate([side[mine], _nothing()])[:PER_PIECE] for side in steps]
        out.append(replace(x, of_real=pair[0], of_new=pair[1]))
        at = mine.stop
    return out


def _of_corpus(corpus: Corpus) -> list[list[Steps]]:
    out = []
    for p in corpus.pieces:
        rows = np.arange(p.first_bar, p.first_bar + p.bars)
        out.append(lines(corpus.read(rows), corpus.bars[rows]["clocks"].astype(np.int64)))
    return out


@summary(lambda x: bool(np.isfinite(x.of_new).any()))
def runs(found: Sequence[Compared], draws: Draws) -> dict[str, Floats]:
    """Medians and largest runs, in steps from note to note."""
    new, real = (draws.quantile(np.array([getattr(x, n) for x in found]), (0.5, 1)) for n in ("of_new", "of_real"))
    return {
        "copies.run_new": new[:, 0],
        "copies.run_music": real[:, 0],
        "copies.excess": new[:, 0] - real[:, 0],
        "copies.longest_new": new[:, 1],
        "copies.longest_music": real[:, 1],
    }
