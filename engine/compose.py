"""Jobs that make music: morph and generate. Each is a generator of finished bars; every yield is a cancel point."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from engine.attributes import INDEX, NAMES
from engine.decoding import Knobs, decode
from engine.errors import MorphonyError
from engine.score import Score
from engine.session import Piece, Session
from engine.tokens.bars import replace_bars

CHUNK = 4  # bars decoded together: what a drag shows first


@dataclass(frozen=True, slots=True)
class Request:
    """What to do to a piece. Offsets are in sigma from the piece's own value."""

    offsets: Mapping[str, float] = field(default_factory=dict)
    bars: range | None = None  # scope; None is the whole piece
    tracks: frozenset[int] | None = None  # only these tracks change; None is all
    seed: int = 0
    temperature: float = 0.0
    blend: bool = True
    first: int = 0  # the bar to do first: where the playhead is


@dataclass(frozen=True, slots=True, eq=False)
class BarsDone:
    """Some bars, finished: their new notes as BAR_NOTE, numbered as in the piece."""

    bars: tuple[int, ...]
    notes: NDArray[np.void]


def morph(session: Session, piece: Piece, request: Request) -> Iterator[BarsDone]:
    """The bars in scope with the sliders where they are, those at `first` first, then outward.

    With every offset at zero and `blend` on, the source's own bars come back, bit for bit.
    Raises MorphonyError for a slider the model does not have.
    """
    knobs = knobs_of(session, request)
    scope = range(len(piece)) if request.bars is None else request.bars
    if scope.start < 0 or scope.stop > len(piece):
        raise MorphonyError(f"The piece has bars 0:{len(piece)}; {scope.start}:{scope.stop} goes past them.")
    still = request.blend and not any(request.offsets.values())
    for chunk in order(scope, request.first):
        if still:
            notes = piece.bars[np.isin(piece.bars["bar"], chunk)]
        else:
            notes = decode(session, piece, chunk, knobs)
        yield BarsDone(tuple(chunk), _only_tracks(piece, request, chunk, notes))


def order(scope: range, first: int) -> list[list[int]]:
    """Chunks of the scope: the one that begins at `first`, then those after it, then those before."""
    start = min(max(first, scope.start), max(scope.stop - 1, scope.start))
    ahead = [list(range(b, min(b + CHUNK, scope.stop))) for b in range(start, scope.stop, CHUNK)]
    behind = [list(range(max(b - CHUNK, scope.start), b)) for b in range(start, scope.start, -CHUNK)]
    return ahead + behind


def knobs_of(session: Session, request: Request) -> Knobs:
    """The request's offsets, sorted into named sliders and colours."""
    named = np.full(len(NAMES), np.nan)
    colours = {}
    for name, value in request.offsets.items():
        if not np.isfinite(value):
            raise MorphonyError(f"The slider {name} needs a number, not {value}.")
        if name in INDEX:
            named[INDEX[name]] = value
        elif name in session.colours:
            colours[name] = float(value)
        else:
            known = ", ".join(s.name for s in session.sliders)
            raise MorphonyError(f"There is no slider called {name!r}; the model has {known}.")
    return Knobs(named, colours, request.seed, request.temperature, request.blend)


def apply(piece: Piece, done: Iterable[BarsDone]) -> Score:
    """The score with finished bars in place; all the model does not speak for is untouched."""
    parts = list(done)
    where = np.zeros(len(piece), bool)
    for part in parts:
        where[list(part.bars)] = True
    if not where.any():
        return piece.score
    notes = np.concatenate([p.notes for p in parts])
    return replace(piece.score, notes=replace_bars(piece.score, piece.grid, notes, where))


def _only_tracks(piece: Piece, request: Request, chunk: list[int], notes: NDArray[np.void]) -> NDArray[np.void]:
    """Outside the chosen tracks the source's notes stay."""
    if request.tracks is None:
        return notes
    from engine.tokens.bars import part_tracks

    chosen = np.isin(part_tracks(piece.score), list(request.tracks))
    source = piece.bars[np.isin(piece.bars["bar"], chunk)]
    return np.concatenate([source[~chosen[source["part"]]], notes[chosen[notes["part"]]]])


def run(job: Generator[BarsDone, None, Score]) -> Score:
    """Drive a job that ends with a score to its end."""
    while True:
        try:
            next(job)
        except StopIteration as end:
            score: Score = end.value
            return score
