"""A piece in the manner of others: their statistics and upper latents over its own bars.

N bars, P phrases, A = 12 attributes; L, G widths of the local and global level.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.attributes import INDEX, measure
from engine.compose.morph import apply, finished, morph
from engine.compose.request import BarsDone, Request
from engine.errors import MorphonyError
from engine.score import Score
from engine.session import Piece, Session

CARRIED = ("dynamics", "dynamic_spread", "articulation", "density", "polyphony", "rhythm")
"""What a style brings. As measured these come nearest the style while onsets and harmony stay the source's own;
syncopation moves the onsets, consonance and variety the harmony, register and leaps the tune."""
UPPER = 0.5  # share of the way that phrase and piece latents go at full strength
ROUNDS = 2  # the second one corrects what the first, in whole notes, missed
REACH = 3.0  # sigma: no slider is pushed farther


@dataclass(frozen=True, slots=True, eq=False)
class Style:
    """What is taken from a piece or from many."""

    attributes: NDArray[np.float64]  # (A,)
    z_global: Tensor  # (1, G)
    z_local: Tensor  # (1, L)

    @classmethod
    def of(cls, pieces: Iterable[Piece]) -> Style:
        """The mean over pieces, each counting once. Raises MorphonyError without any."""
        known = list(pieces)
        if not known:
            raise MorphonyError("A style needs at least one piece.")
        table = np.stack([piece.attributes for piece in known])
        upper = [torch.cat([getattr(p, z).mean(0, keepdim=True) for p in known]) for z in ("z_global", "z_local")]
        return cls(np.nanmean(table, 0), *(z.mean(0, keepdim=True) for z in upper))

    def offsets(self, attributes: NDArray[np.float64], deviations: NDArray[np.float64]) -> NDArray[np.float64]:
        """(A,) sigma from some music to this style."""
        out: NDArray[np.float64] = np.nan_to_num((self.attributes - attributes) / deviations)
        return out


def transfer(
    session: Session, piece: Piece, style: Style | None, strength: float = 1.0, request: Request | None = None
) -> Generator[BarsDone, None, Score]:
    """The piece moved `strength` (0 to 1) of the way to a style; ends with the score, at 0 the source's own.

    Sliders carry the CARRIED statistics over, aimed anew after a first round by what was measured; the phrase and piece
    latents go UPPER of the way to the style's. Without a style the latents of `piece`, encoded by a base model, are
    decoded by `session`, which has styles of that model, each turned on as far as it is: adapters decode, instant
    styles carry the latents to where theirs are.
    """
    if not 0 <= strength <= 1:
        raise MorphonyError(f"The strength of a style is 0 to 1, not {strength}.")
    asked = request or Request()
    if not strength:
        return piece.score
    if style is None:
        return (yield from finished(session, session.carried(piece), replace(asked, blend=False)))
    share, phrases = UPPER * strength, len(piece.z_local)
    made = replace(
        piece,
        z_global=torch.lerp(piece.z_global, style.z_global, share),
        z_local=torch.lerp(piece.z_local, style.z_local.expand(phrases, -1), share),
        cache={},
    )
    aim = piece.attributes + strength * session.deviations * style.offsets(piece.attributes, session.deviations)
    goal, at = replace(style, attributes=aim), np.zeros(len(aim))
    found, done = piece.attributes, list[BarsDone]()
    for last in [False] * (ROUNDS - 1) + [True]:
        at = (at + goal.offsets(found, session.deviations)).clip(-REACH, REACH)
        offsets = {name: float(at[INDEX[name]]) for name in CARRIED}
        done = []
        for part in morph(session, made, replace(asked, offsets={**offsets, **asked.offsets}, away=strength)):
            done.append(part)
            if last:
                yield part
        notes = np.concatenate([part.notes for part in done])
        found = measure(notes, piece.grid.clocks, asked.bars)
    return apply(made, done)
