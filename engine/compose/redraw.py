"""The same piece otherwise: some bars drawn anew between their neighbours, or all bars moved a little.

K bars drawn, C candidates; F width of the fine level.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from engine.compose.candidates import COUNT, draw, fittest, noisy
from engine.compose.morph import finished, scope_of
from engine.compose.request import BarsDone, Request
from engine.errors import MorphonyError
from engine.model.latents import slerp
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

    Half of the candidates are drawn from the conditional prior given the bars before, half lie on the arc from the bar
    before to the bar after with ever more noise. The one that sits best between its neighbours is taken, judged on its
    notes (`engine.compose.fit`). Phrase and piece latents are the source's own.
    """
    asked, scope = request or Request(), scope_of(piece, bars)
    if not len(scope):
        raise MorphonyError("There are no bars to fill in.")
    asked = replace(asked, bars=scope, blend=False, first=scope.start)
    bridges = _bridges(piece, scope, asked.seed, candidates // 2)
    seeds = [asked.seed * candidates + i for i in range(candidates - len(bridges))]
    drawn = draw(session, session.encode(piece.score, asked.seed), scope, seeds, prior_temperature)
    near = [k for k in range(scope.start - NEAR, scope.stop + NEAR) if 0 <= k < len(piece) and k not in scope]
    best = fittest(session, piece, asked, scope, near, piece.bars, [*drawn, *bridges])
    return (yield from finished(session, best, asked))


def _bridges(piece: Piece, scope: range, seed: int, count: int) -> list[Tensor]:
    """(K, F) each: bars on the arc between the neighbours, with ever more noise; none where there is no neighbour."""
    ends = [k for k in (scope.start - 1, scope.stop) if 0 <= k < len(piece)]
    if not ends:
        return []
    noise, n = torch.Generator().manual_seed(seed), len(scope)
    a, b = piece.z_fine[ends[0]][None], piece.z_fine[ends[-1]][None]
    arc = torch.cat([slerp(a, b, (k + 1) / (n + 1)) for k in range(n)])
    return [noisy(arc, amount, noise) for amount in np.linspace(0.5, 1.5, count)]


def vary(
    session: Session, piece: Piece, amount: float, request: Request | None = None
) -> Generator[BarsDone, None, Score]:
    """The piece with noise on its bars' latents, `amount` (0 to 2) times the prior's variance; ends with the score.

    At 0 it is the source, bit for bit. The noise belongs to the seed and the bar, so more of it leads farther in the
    same direction; near 0 the source's notes are blended in, as with a slider. Sliders in `request` add to it.
    """
    if not 0 <= amount <= MAX_AMOUNT:
        raise MorphonyError(f"A variation goes from 0 to {MAX_AMOUNT:g} far, not {amount}.")
    asked = request or Request()
    z_fine = noisy(piece.z_fine, amount, torch.Generator().manual_seed(asked.seed))
    made = replace(piece, z_fine=z_fine, cache={}) if amount else piece
    return (yield from finished(session, made, replace(asked, away=amount)))
