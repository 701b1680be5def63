"""The job behind every other: a piece's bars decoded from its latents, chunk by chunk, and put into its score."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.compose.kept import Kept
from engine.compose.request import BarsDone, Request, knobs_of, order
from engine.decoding import Knobs, decode
from engine.errors import MorphonyError
from engine.model.batch import PHRASE_BARS
from engine.refining import refine
from engine.score import Score
from engine.score.timing import BarGrid
from engine.session import Piece, Session
from engine.tokens.bars import replace_bars


def morph(
    session: Session, piece: Piece, request: Request, before: NDArray[np.void] | None = None
) -> Iterator[BarsDone]:
    """The bars in scope with the sliders where they are, those at `first` first, then outward.

    With every offset at zero, no mask and `blend` on, the source's own bars come back, bit for bit; what is locked does
    so always. Refined bars come in their order, each phrase after what is `before` it (BAR_NOTE; the piece's own
    notes). Raises MorphonyError for a slider the model does not have.
    """
    knobs = knobs_of(session, request)
    scope = scope_of(piece, request.bars)
    kept = Kept.of(piece, request, scope)
    if request.refine is not None and not request.still():
        yield from _refined(session, piece, knobs, scope, kept, piece.bars if before is None else before)
        return
    for chunk in order(scope, request.first):
        if request.still():
            notes = piece.bars[np.isin(piece.bars["bar"], chunk)]
        else:
            notes = decode(session, piece, chunk, knobs)
        yield BarsDone(tuple(chunk), kept.over(chunk, notes))


def _refined(
    session: Session, piece: Piece, knobs: Knobs, scope: range, kept: Kept, known: NDArray[np.void]
) -> Iterator[BarsDone]:
    """A phrase at a time, each after what came out before it."""
    edges = [scope.start, *range((scope.start // PHRASE_BARS + 1) * PHRASE_BARS, scope.stop, PHRASE_BARS), scope.stop]
    for start, stop in pairwise(edges):
        bars = list(range(start, stop))
        if bars:
            notes = kept.over(bars, refine(session, piece, [bars], knobs, known))
            known = np.concatenate([known[known["bar"] < start], notes])
            yield BarsDone(tuple(bars), notes)


def scope_of(piece: Piece, bars: range | None) -> range:
    """The bars asked for, all without any. Raises MorphonyError where they go past the piece."""
    scope = range(len(piece)) if bars is None else bars
    if scope.start < 0 or scope.stop > len(piece):
        raise MorphonyError(f"The piece has bars 0:{len(piece)}; {scope.start}:{scope.stop} goes past them.")
    return scope


def apply(piece: Piece, done: Iterable[BarsDone]) -> Score:
    """The score with finished bars in place; all the model does not speak for is untouched."""
    parts = list(done)
    where = np.zeros(len(piece), bool)
    for part in parts:
        where[list(part.bars)] = True
    if not where.any():
        return piece.score
    notes = np.concatenate([p.notes for p in parts])
    return replace(piece.score, notes=ending(piece.grid, replace_bars(piece.score, piece.grid, notes, where)))


def ending(grid: BarGrid, notes: NDArray[np.void]) -> NDArray[np.void]:
    """No note outlasts the last bar, so the piece keeps its number of bars; a source's notes never do."""
    notes["duration"] = np.minimum(notes["duration"], np.maximum(grid.starts[-1] - notes["tick"], 0))
    return notes


def finished(session: Session, piece: Piece, request: Request) -> Generator[BarsDone, None, Score]:
    """`morph` that ends with the score: how the jobs that only choose latents go on."""
    done = []
    for part in morph(session, piece, request):
        done.append(part)
        yield part
    return apply(piece, done)


def blind(piece: Piece) -> Piece:
    """The piece without its notes: what is decoded from it can only come from the latents."""
    return replace(piece, bars=piece.bars[:0])


def reconstruct(session: Session, piece: Piece) -> Iterator[BarsDone]:
    """Every bar as the latents alone say it, greedily, sliders at rest."""
    return morph(session, blind(piece), Request(blend=False))


def run(job: Generator[Any, None, Score]) -> Score:
    """Drive a job that ends with a score to its end."""
    while True:
        try:
            next(job)
        except StopIteration as end:
            score: Score = end.value
            return score
