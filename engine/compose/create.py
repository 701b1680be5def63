"""New bars from the prior: a piece from nothing, and a piece that goes on. A model of events does both its own way."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import replace

import numpy as np
import torch

from engine import events
from engine.attributes import NAMES, measure, measure_bars
from engine.compose.candidates import COUNT, draw, fittest
from engine.compose.morph import apply, ending, morph
from engine.compose.request import BarsDone, Locks, Request
from engine.errors import MorphonyError
from engine.generation import MAX_BARS, blank_score, draw_latents, next_phrases
from engine.model.batch import PHRASE_BARS
from engine.score import Score
from engine.score.score import Track
from engine.score.timing import BarGrid
from engine.session import Piece, Session, conditions_of
from engine.tokens.bars import BAR_NOTE, from_bars, part_tracks

MEMORY = 8  # bars of a piece that its continuation is measured by

Job = Generator[BarsDone | events.BarsWritten, None, Score]


def generate(
    session: Session,
    bars: int = 16,
    meter: tuple[int, int] = (4, 4),
    offsets: Mapping[str, float] | None = None,
    seed: int = 0,
    temperature: float = 0.0,
    prior_temperature: float = 1.0,
    tracks: tuple[Track, ...] | None = None,
    request: Request | None = None,
) -> Job:
    """New music, for two hands at a piano unless `tracks` says for whom (`engine.generation.ensemble`): latents drawn
    from the prior, then decoded; ends with the score.

    The same seed gives the same notes. Offsets count from what the latents say with every slider at rest; `request`
    brings masks, filters and a beam. A model of events draws them one by one, at `temperature` or 1.
    """
    asked = replace(request or Request(), bars=None, tracks=None, locks=Locks(), blend=False)
    asked = replace(asked, offsets={}, seed=seed, temperature=temperature)
    if session.model.events is not None:
        _only_draws(asked, offsets or {}, tracks)
        return (yield from events.generate_score(session, bars, meter, _sampling(asked), seed))
    score, end = blank_score(bars, meter, tracks)
    grid = BarGrid.of(score, end)
    conditions = conditions_of(grid, len(score.tracks))
    z_global, z_local, z_fine = draw_latents(session, conditions, seed, prior_temperature)
    clocks, nothing = grid.clocks, np.zeros(0, BAR_NOTE)
    silent = Piece(
        score, grid, nothing, conditions, z_global, z_local, z_fine,
        measure_bars(nothing, clocks), measure(nothing, clocks),
    )  # fmt: skip
    done = []
    for part in morph(session, silent, asked):
        done.append(part)
        if not offsets:
            yield part
    if offsets:  # sliders count from what the piece is without them
        found = np.concatenate([p.notes for p in done])
        found = found[np.argsort(found["bar"], kind="stable")]
        piece = replace(silent, bars=found, own=measure_bars(found, clocks), attributes=measure(found, clocks))
        done = []
        for part in morph(session, piece, replace(asked, offsets=offsets)):
            done.append(part)
            yield part
    found = np.concatenate([p.notes for p in done])
    notes = from_bars(found, score, grid)
    notes["track"] = found["part"]
    return replace(score, notes=ending(grid, notes))


def continue_(
    session: Session,
    source: Piece | Score,
    bars: int,
    request: Request | None = None,
    prior_temperature: float = 1.0,
    candidates: int = COUNT,
) -> Job:
    """The piece with `bars` new ones after its last, in its meter and its parts; ends with the longer score.

    Phrase by phrase fine latents are drawn from the prior in view of the bars before; of several draws the one is taken
    whose notes follow best (`engine.compose.fit`). Every note and event of the source stays, bit for bit. Sliders in
    `request` count from what the new latents say. A model of events goes on token by token.
    """
    score, asked = source.score if isinstance(source, Piece) else source, request or Request()
    if not 1 <= bars <= MAX_BARS:
        raise MorphonyError(f"A piece can go on for 1 to {MAX_BARS} bars, not {bars}.")
    if session.model.events is not None:
        _only_draws(asked, asked.offsets, None)
        return (yield from events.continue_score(session, score, bars, None, _sampling(asked), asked.seed))
    asked = replace(asked, blend=False, locks=Locks())
    begin, piece = _longer(session, score, bars, asked.seed, prior_temperature)
    near, done = range(max(begin - MEMORY, 0), begin), list[BarsDone]()
    for start in (begin, *range((begin // PHRASE_BARS + 1) * PHRASE_BARS, len(piece), PHRASE_BARS)):
        scope = range(start, min((start // PHRASE_BARS + 1) * PHRASE_BARS, len(piece)))
        seeds = [asked.seed * candidates + i for i in range(candidates)]
        drawn = draw(session, piece, scope, scope.stop, seeds, prior_temperature)
        known = np.concatenate([piece.bars, *(part.notes for part in done)])
        piece = fittest(session, piece, asked, scope, near, known, drawn)
        for part in morph(session, piece, replace(asked, bars=scope, first=start), known):
            done.append(part)
            yield part
    return apply(piece, done)


def _longer(session: Session, score: Score, bars: int, seed: int, temperature: float) -> tuple[int, Piece]:
    """The first new bar, and the piece with room for `bars` of them; new phrases follow from the last one it has."""
    heard, grid = session.encode(score), BarGrid.of(score)
    n, length = len(grid), int(grid.starts[-1] - grid.starts[-2])
    score = replace(score, meters=tuple(m for m in score.meters if m.tick <= grid.starts[-2]))
    grid = BarGrid.of(score, int(grid.starts[-1]) + bars * length)
    phrases = -(-len(grid) // PHRASE_BARS) - len(heard.z_local)
    piece = replace(
        heard,
        score=score,
        grid=grid,
        conditions=conditions_of(grid, len(part_tracks(score))),
        z_local=torch.cat([heard.z_local, next_phrases(session, heard, phrases, seed, temperature)]),
        z_fine=torch.cat([heard.z_fine, torch.zeros(len(grid) - n, heard.z_fine.shape[1])]),
        own=np.concatenate([heard.own, np.full((len(grid) - n, len(NAMES)), np.nan)]),
        cache={},
    )
    return n, piece


def _sampling(asked: Request) -> events.Sampling:
    return events.Sampling(asked.temperature or 1.0, asked.top_k, asked.top_p, asked.beam)


def _only_draws(asked: Request, offsets: Mapping[str, float], tracks: tuple[Track, ...] | None) -> None:
    """Raises MorphonyError for what a model of events cannot be asked."""
    if any(offsets.values()) or asked.masks or asked.tracks is not None or tracks is not None:
        raise MorphonyError("A model of events follows no sliders, masks or tracks; it goes on as it has learnt.")
    if asked.refine is not None:
        raise MorphonyError("A model of events drafts nothing, so there is nothing to refine.")
