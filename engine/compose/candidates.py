"""Several latents for the same bars, and the choice among them by what they sound like where they stand.

N bars of a piece, K bars in scope, C candidates; F width of the fine level.
"""

from __future__ import annotations

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
from engine.model.priors import WINDOW
from engine.session import Piece, Session

COUNT = 8


def draw(session: Session, piece: Piece, scope: range, end: int, seeds: Sequence[int], temperature: float) -> Tensor:
    """(C, K, F) draws from the prior of the bars in scope, in view of the bars on both sides; a seed each.

    Bars from `end` on are not there yet: nothing is known of them, and scope reaches no farther.
    """
    if not seeds:
        raise MorphonyError("At least one candidate must be drawn.")
    count, near = len(seeds), WINDOW // 2
    first = max(scope.start - near, 0) // PHRASE_BARS * PHRASE_BARS
    seen = torch.arange(first, min(scope.stop + near, end))
    phrases = range(first // PHRASE_BARS, -(-(int(seen[-1]) + 1) // PHRASE_BARS))
    known = (seen < scope.start) | (seen >= scope.stop)
    given = Given(
        piece.z_global.repeat(count, 1),
        piece.z_local[phrases.start : phrases.stop].repeat(count, 1),
        piece.z_fine[seen].repeat(count, 1),
        known.repeat(count),
    )
    bars = _side_by_side(piece.conditions.select(seen), phrases, count)
    begins, ends = first == 0, int(seen[-1]) + 1 == len(piece)
    _, _, z_fine = draw_latents(session, bars, seeds, temperature, given, begins, ends)
    return z_fine.view(count, len(seen), -1)[:, ~known]


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
    near = [bar for bar in near if bar < end]
    found = []
    for z in latents:
        z_fine = piece.z_fine.clone()
        z_fine[scope.start : scope.stop] = z
        made = replace(piece, z_fine=z_fine, cache={})
        notes = np.concatenate([outside, decode(session, made, list(scope), knobs)])
        found.append((strangeness(notes, outside, piece.grid.clocks[:end], scope, near, session.deviations), made))
    return min(found, key=lambda pair: pair[0])[1]
