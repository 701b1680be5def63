"""Several latents for the same bars, and the choice among them by what they sound like where they stand.

N bars of a piece, K bars in scope, C candidates; F width of the fine level.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.compose.fit import strangeness
from engine.compose.request import Request, knobs_of
from engine.decoding import decode
from engine.errors import MorphonyError
from engine.generation import Given, draw_latents
from engine.model.batch import PHRASE_BARS, Bars
from engine.session import Piece, Session

COUNT = 8
CONTRACTION = 0.36  # of the variance a source's latents give up to noise: as measured, the density of notes then stays


def noisy(z: Tensor, amount: float, noise: torch.Generator) -> Tensor:
    """Latents with noise of `amount` times the prior's variance."""
    kept, added = math.sqrt(1 - CONTRACTION * amount), math.sqrt(amount)
    return kept * z + added * torch.randn(z.shape, generator=noise)


def draw(session: Session, heard: Piece, scope: range, seeds: Sequence[int], temperature: float) -> Tensor:
    """(C, K, F) draws from the conditional prior of the bars in scope, each given the bars before; a seed each.

    `heard` holds samples of the posterior, which is what the prior learnt on.
    """
    if not seeds:
        raise MorphonyError("At least one candidate must be drawn.")
    window, count = max(session.config.train.window_bars, PHRASE_BARS), len(seeds)
    first = max((scope.start // PHRASE_BARS + 1) * PHRASE_BARS - window, 0)
    seen = torch.arange(first, scope.stop)
    phrases = range(first // PHRASE_BARS, -(-scope.stop // PHRASE_BARS))
    given = Given(
        heard.z_global.repeat(count, 1),
        heard.z_local[phrases.start : phrases.stop].repeat(count, 1),
        heard.z_fine[seen].repeat(count, 1),
        (seen < scope.start).repeat(count),
    )
    bars = _side_by_side(heard.conditions.select(seen), phrases, count)
    _, _, z_fine = draw_latents(session, bars, seeds, temperature, given)
    return z_fine.view(count, len(seen), -1)[:, -len(scope) :]


def _side_by_side(bars: Bars, phrases: range, count: int) -> Bars:
    """The conditions of one stretch as those of `count` pieces."""
    phrase = bars.phrase - phrases.start + len(phrases) * torch.arange(count)[:, None]
    return Bars(
        clocks=bars.clocks.repeat(count),
        beat=bars.beat.repeat(count),
        parts=bars.parts.repeat(count, 1),
        place=bars.place.repeat(count),
        phrase=phrase.reshape(-1),
        piece=torch.arange(count).repeat_interleave(len(phrases)),
    )


def fittest(
    session: Session,
    piece: Piece,
    asked: Request,
    scope: range,
    near: Sequence[int],
    known: NDArray[np.void],
    latents: Iterable[Tensor],
) -> Piece:
    """The piece with those fine latents (K, F) in scope whose notes fit best among the `known` ones (BAR_NOTE).

    Bars `near` are what they are measured by; bars after the last one known or drawn count for nothing.
    """
    outside, knobs = known[~np.isin(known["bar"], scope)], knobs_of(session, asked)
    end = max(scope.stop, int(known["bar"].max(initial=0)) + 1)
    found = []
    for z in latents:
        z_fine = piece.z_fine.clone()
        z_fine[scope.start : scope.stop] = z
        made = replace(piece, z_fine=z_fine, cache={})
        notes = np.concatenate([outside, decode(session, made, list(scope), knobs)])
        found.append((strangeness(notes, outside, piece.grid.clocks[:end], scope, near, session.deviations), made))
    return min(found, key=lambda pair: pair[0])[1]
