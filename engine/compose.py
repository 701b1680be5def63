"""Jobs that make music: morph, reconstruct, interpolate, generate. Each yields finished bars: its cancel points."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from engine.attributes import INDEX, NAMES, measure, measure_bars
from engine.decoding import Knobs, decode
from engine.errors import MorphonyError
from engine.generation import blank_score, draw_latents
from engine.model.latents import slerp
from engine.score import Score
from engine.score.cut import cut
from engine.score.timing import BarGrid
from engine.session import Piece, Session, conditions_of
from engine.tokens.bars import BAR_NOTE, from_bars, part_tracks, replace_bars

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
    return replace(piece.score, notes=_ending(piece.grid, replace_bars(piece.score, piece.grid, notes, where)))


def _ending(grid: BarGrid, notes: NDArray[np.void]) -> NDArray[np.void]:
    """No note outlasts the last bar, so the piece keeps its number of bars; a source's notes never do."""
    notes["duration"] = np.minimum(notes["duration"], np.maximum(grid.starts[-1] - notes["tick"], 0))
    return notes


def _only_tracks(piece: Piece, request: Request, chunk: list[int], notes: NDArray[np.void]) -> NDArray[np.void]:
    """Outside the chosen tracks the source's notes stay."""
    if request.tracks is None:
        return notes
    chosen = np.isin(part_tracks(piece.score), list(request.tracks))
    source = piece.bars[np.isin(piece.bars["bar"], chunk)]
    return np.concatenate([source[~chosen[source["part"]]], notes[chosen[notes["part"]]]])


def blind(piece: Piece) -> Piece:
    """The piece without its notes: what is decoded from it can only come from the latents."""
    return replace(piece, bars=piece.bars[:0])


def reconstruct(session: Session, piece: Piece) -> Iterator[BarsDone]:
    """Every bar as the latents alone say it, greedily, sliders at rest."""
    return morph(session, blind(piece), Request(blend=False))


def interpolate(
    session: Session, a: Piece, b: Piece, share: float, seed: int = 0, temperature: float = 0.0
) -> Generator[BarsDone, None, Score]:
    """The piece at `share` (0 to 1) of the way from a to b; ends with its score, at 0 and 1 with a's and b's own.

    Latents turn from one to the other level by level, phrase by phrase, bar by bar (slerp). In between the piece has
    as many bars as the shorter one; meters, tempi, tracks and all that is not modelled are those of the nearer one.
    """
    if share in (0, 1):
        return (b if share else a).score
    near, n = (a if share < 0.5 else b), min(len(a), len(b))
    phrases = min(len(a.z_local), len(b.z_local))
    between = replace(
        blind(near),
        z_global=slerp(a.z_global, b.z_global, share),
        z_local=slerp(a.z_local[:phrases], b.z_local[:phrases], share),
        z_fine=slerp(a.z_fine[:n], b.z_fine[:n], share),
        cache={},
    )
    done = []
    for part in morph(session, between, Request(bars=range(n), seed=seed, temperature=temperature, blend=False)):
        done.append(part)
        yield part
    score = apply(near, done)
    return score if n == len(near) else cut(score, near.grid, range(n))


def generate(
    session: Session,
    bars: int = 16,
    meter: tuple[int, int] = (4, 4),
    offsets: Mapping[str, float] | None = None,
    seed: int = 0,
    temperature: float = 0.0,
    prior_temperature: float = 1.0,
) -> Generator[BarsDone, None, Score]:
    """New music for two hands at a piano: latents drawn from the prior, then decoded; ends with the score.

    The same seed gives the same notes. Offsets count from what the latents say with every slider at rest.
    """
    score, end = blank_score(bars, meter)
    grid = BarGrid.of(score, end)
    conditions = conditions_of(grid, len(score.tracks))
    z_global, z_local, z_fine = draw_latents(session, conditions, seed, prior_temperature)
    clocks, nothing = grid.clocks, np.zeros(0, BAR_NOTE)
    silent = Piece(
        score, grid, nothing, conditions, z_global, z_local, z_fine,
        measure_bars(nothing, clocks), measure(nothing, clocks),
    )  # fmt: skip
    request = Request(seed=seed, temperature=temperature, blend=False)
    done = []
    for part in morph(session, silent, request):
        done.append(part)
        if not offsets:
            yield part
    if offsets:  # sliders count from what the piece is without them
        found = np.concatenate([p.notes for p in done])
        found = found[np.argsort(found["bar"], kind="stable")]
        piece = replace(silent, bars=found, own=measure_bars(found, clocks), attributes=measure(found, clocks))
        done = []
        for part in morph(session, piece, replace(request, offsets=offsets)):
            done.append(part)
            yield part
    found = np.concatenate([p.notes for p in done])
    notes = from_bars(found, score, grid)
    notes["track"] = found["part"]
    return replace(score, notes=_ending(grid, notes))


def run(job: Generator[BarsDone, None, Score]) -> Score:
    """Drive a job that ends with a score to its end."""
    while True:
        try:
            next(job)
        except StopIteration as end:
            score: Score = end.value
            return score
