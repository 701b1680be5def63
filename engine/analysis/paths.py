"""Bars along a way through latent space: one direction of a level moved, or one piece turned into another.

N bars, Z the width of a level. Notes come from the latents alone: those of the source never reach the decoder.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.compose import Request, blind, interpolate, knobs_of
from engine.decoding import decode
from engine.errors import MorphonyError
from engine.model.latents import LEVELS
from engine.session import Piece, Session

CHUNK = 16  # bars decoded at once


def traversal(
    session: Session, piece: Piece, level: str, direction: int | Tensor, positions: Sequence[float], bars: Sequence[int]
) -> list[NDArray[np.void]]:
    """BAR_NOTE of some bars, numbered as in the piece, at each position of a dimension (or direction) of a level.

    A position is how far the latent moves from where it is, in multiples of the direction; of a dimension, in its own
    unit. All rows of the level move together. Raises MorphonyError for a level or dimension the model does not have.
    """
    return [decoded(session, moved(piece, level, direction, x), bars) for x in positions]


def moved(piece: Piece, level: str, direction: int | Tensor, amount: float) -> Piece:
    """The piece with every latent of a level moved by `amount` times a direction (Z,), or along one dimension."""
    if level not in LEVELS:
        raise MorphonyError(f"There is no latent level called {level!r}, only {', '.join(LEVELS)}.")
    z: Tensor = getattr(piece, f"z_{level}")
    if isinstance(direction, int):
        if not 0 <= direction < z.shape[1]:
            raise MorphonyError(f"The {level} level has dimensions 0 to {z.shape[1] - 1}, not {direction}.")
        direction = torch.eye(z.shape[1])[direction]
    if direction.shape != z.shape[1:]:
        raise MorphonyError(f"A direction of the {level} level has {z.shape[1]} numbers, not {direction.numel()}.")
    latents = {f"z_{name}": getattr(piece, f"z_{name}") for name in LEVELS}
    return piece.with_latents({**latents, f"z_{level}": z + amount * direction})


def interpolation(
    session: Session, a: Piece, b: Piece, shares: Sequence[float], path: str = "slerp"
) -> list[NDArray[np.void]]:
    """BAR_NOTE of the bars both pieces have, at each share (0 to 1) of the way from a to b (see `compose.PATHS`)."""
    common = range(min(len(a), len(b)))
    out = []
    for share in shares:
        if share in (0, 1):
            out.append(decoded(session, b if share else a, common))
        else:
            out.append(_sorted([part.notes for part in interpolate(session, a, b, share, path=path)]))
    return out


def decoded(session: Session, piece: Piece, bars: Sequence[int]) -> NDArray[np.void]:
    """BAR_NOTE of some bars as the latents alone say them: greedy, every slider at rest."""
    knobs, silent = knobs_of(session, Request(blend=False)), blind(piece)
    return _sorted([decode(session, silent, list(bars[i : i + CHUNK]), knobs) for i in range(0, len(bars), CHUNK)])


def _sorted(parts: Sequence[NDArray[np.void]]) -> NDArray[np.void]:
    notes = np.concatenate(parts)
    out: NDArray[np.void] = notes[np.lexsort((notes["part"], notes["pitch"], notes["onset"], notes["bar"]))]
    return out
