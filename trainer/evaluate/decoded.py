"""What the decoder says, as a listener would get it: from latents and sliders alone, through a score's ticks.

No decoding here blends with the source. With every slider at rest the piece carries no notes at all; a slider
counts from the piece's own value, so with one moved the piece still knows its attributes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from engine.compose import Request, blind, knobs_of
from engine.decoding import decode
from engine.session import Piece, Session
from engine.tokens.bars import from_bars, to_bars

CHUNK = 16  # bars decoded at once


def notes_of(
    session: Session, piece: Piece, bars: Sequence[int], offsets: Mapping[str, float] | None = None
) -> NDArray[np.void]:
    """BAR_NOTE of some bars, numbered as in the piece, as they read after being written to ticks."""
    knobs = knobs_of(session, Request(offsets or {}, blend=False))
    heard = piece if offsets else blind(piece)
    chunks = [decode(session, heard, list(bars[i : i + CHUNK]), knobs) for i in range(0, len(bars), CHUNK)]
    ticks = from_bars(np.concatenate(chunks), piece.score, piece.grid)
    return to_bars(replace(piece.score, notes=ticks, events=()), piece.grid)


def within(notes: NDArray[np.void], bars: range) -> NDArray[np.void]:
    """The notes of a run of bars, renumbered from 0."""
    inside = notes[(notes["bar"] >= bars.start) & (notes["bar"] < bars.stop)].copy()
    inside["bar"] -= bars.start
    return inside
