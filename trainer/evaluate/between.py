"""The way from one piece to another in nine steps: whether notes and attributes move along it and never back.

Pairs have the same meter bar by bar. Both ends are decoded from their latents too, so nothing here is a source's note.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engine.analysis import interpolation
from engine.attributes import NAMES, measure
from engine.score.cut import cut
from engine.session import Piece, Session
from trainer.evaluate import notes as compare
from trainer.evaluate.sliders import spearman

BARS = 16  # of both pieces
SHARES = np.linspace(0, 1, 9)
APART = 0.5  # sigma between the ends from which on an attribute is expected to move

Figures = dict[str, float]


def beginning(session: Session, piece: Piece, _: range) -> Piece:
    """The first BARS bars, as a piece of their own; an earlier beginning is silence, where there is one."""
    played = int(piece.bars["bar"][0])
    bars = range(played, min(played + BARS, len(piece)))
    return session.encode(cut(piece.score, piece.grid, bars))


def between(session: Session, found: Sequence[Piece]) -> list[Figures]:
    """Every piece on its way to the next one of the same meter, counted round; none where there is no such piece."""
    kinds = [tuple(map(tuple, np.stack([p.conditions.clocks, p.conditions.beat], -1).tolist())) for p in found]
    partners = [_next(kinds, i) for i in range(len(found))]
    return [
        {} if j is None else _way(session, a, found[j], len(_common(kinds[i], kinds[j])))
        for i, (a, j) in enumerate(zip(found, partners, strict=True))
    ]


def _common(a: Sequence[object], b: Sequence[object]) -> Sequence[object]:
    """The bars of a, if the other piece has the same meters as far as both go."""
    n = min(len(a), len(b))
    return a[:n] if a[:n] == b[:n] else ()


def _next(kinds: Sequence[Sequence[object]], i: int) -> int | None:
    others = [(i + k) % len(kinds) for k in range(1, len(kinds))]
    return next((j for j in others if _common(kinds[i], kinds[j])), None)


def _way(session: Session, a: Piece, b: Piece, n: int) -> Figures:
    takes = interpolation(session, a, b, SHARES.tolist())
    heard = np.array([measure(take, a.grid.clocks[:n]) for take in takes]) / session.deviations
    far = np.abs(heard[-1] - heard[0]) > APART
    attributes = {
        name: abs(spearman(SHARES, heard[:, i]))
        for i, name in enumerate(NAMES)
        if far[i]  # NaN is not far
    }
    figures = {
        "between.notes_from_a": -spearman(SHARES, _likeness(takes, takes[0], n)),
        "between.notes_to_b": spearman(SHARES, _likeness(takes, takes[-1], n)),
        **{f"between.{name}": value for name, value in attributes.items()},
    }
    if attributes:
        figures["between.attributes"] = float(np.mean(list(attributes.values())))
    return figures


def _likeness(takes: Sequence[NDArray[np.void]], end: NDArray[np.void], n: int) -> NDArray[np.float64]:
    """F1 of onsets and pitches of every take against one end, the mean over bars."""
    return np.array([compare.mean_where(*compare.bar_f1(end, take, n)) for take in takes])
