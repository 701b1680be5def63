"""The same piece otherwise: some bars drawn anew between their neighbours, or bars that go a little another way."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

import torch

from engine.compose.candidates import COUNT, draw, fittest
from engine.compose.morph import finished, scope_of
from engine.compose.request import BarsDone, Request
from engine.errors import MorphonyError
from engine.generation import Given, draw_latents
from engine.score import Score
from engine.session import Piece, Session

NEAR = 2  # bars on either side that new ones are measured by
MAX_AMOUNT = 2.0


def infill(
    session: Session,
    piece: Piece,
    bars: range,
    request: Request | None = None,
    prior_temperature: float = 1.0,
    candidates: int = COUNT,
) -> Generator[BarsDone, None, Score]:
    """The piece with `bars` drawn anew; every other note stays, bit for bit. Ends with the score.

    Candidates are drawn from the prior in view of the bars before and after. The one that sits best between its
    neighbours is taken, judged on its notes (`engine.compose.fit`). Phrase and piece latents are the source's own.
    """
    asked, scope = request or Request(), scope_of(piece, bars)
    if not len(scope):
        raise MorphonyError("There are no bars to fill in.")
    asked = replace(asked, bars=scope, blend=False, first=scope.start)
    seeds = [asked.seed * candidates + i for i in range(candidates)]
    drawn = draw(session, piece, scope, len(piece), seeds, prior_temperature)
    near = [k for k in range(scope.start - NEAR, scope.stop + NEAR) if 0 <= k < len(piece) and k not in scope]
    best = fittest(session, piece, asked, scope, near, piece.bars, drawn)
    return (yield from finished(session, best, asked))


def vary(
    session: Session, piece: Piece, amount: float, request: Request | None = None
) -> Generator[BarsDone, None, Score]:
    """The piece with its bars taken `amount` (0 to 2) of the way to noise and from there to music again, in view of the
    bars that are not asked for; ends with the score.

    At 0 it is the source, bit for bit. The noise belongs to the seed and the bar, so more of it leads farther in the
    same direction; near 0 the source's notes are blended in, as with a slider. Sliders in `request` add to it.
    """
    if not 0 <= amount <= MAX_AMOUNT:
        raise MorphonyError(f"A variation goes from 0 to {MAX_AMOUNT:g} far, not {amount}.")
    asked = request or Request()
    if not amount:
        return (yield from finished(session, piece, asked))
    known = torch.ones(len(piece), dtype=torch.bool)
    known[list(scope_of(piece, asked.bars))] = False
    given = Given(piece.z_global, piece.z_local, piece.z_fine, known, 1 - (amount / MAX_AMOUNT) ** 0.5)
    _, _, z_fine = draw_latents(session, piece.conditions, asked.seed, 1.0, given)
    made = replace(piece, z_fine=z_fine, cache={})
    return (yield from finished(session, made, replace(asked, away=amount)))
