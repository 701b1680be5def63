"""Bars as the decoder says them: logits of every cell, and the slots they came from. Knows no slider by name.

What a bar is with every slider at rest is remembered in its piece, so that a drag computes only what it changes.

K bars, S slots, T clocks, C width of a slot, F width of the fine level.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.model import fields as f
from engine.model.batch import Offsets
from engine.sampling import Rows, rows_above, rows_beside
from engine.session import Piece, Remembered, Session

OUTSIDE = -30.0  # logit of what lies past a bar's end


@dataclass(frozen=True)
class Decoded:
    """K bars from one pass through the decoder."""

    clocks: NDArray[np.int64]  # (K,)
    logits: NDArray[np.float32]  # (K, T, 88) relative to the threshold
    slots: Tensor  # (K, S, C)

    @cached_property
    def candidates(self) -> Rows:
        """The cells that are anywhere near the threshold."""
        return rows_above(self.logits, self.clocks)

    def apart(self, laid: Tensor, by: str) -> list[Remembered]:
        """Each bar by itself, with its latents laid out (K, S, C)."""
        out, rows = [], self.candidates
        edges = np.searchsorted(rows.bar, np.arange(len(self.clocks) + 1)).tolist()
        for i, clocks in enumerate(self.clocks.tolist()):
            n, at = -(-clocks // f.SLOT_CLOCKS), slice(edges[i], edges[i + 1])
            nothing = np.zeros(edges[i + 1] - edges[i], np.int64)
            alone = Rows(nothing, rows.onset[at], rows.pitch[at], rows.logit[at], self.clocks[i : i + 1])
            out.append(Remembered(laid[i, :n], self.logits[i, : n * f.SLOT_CLOCKS], self.slots[i, :n], alone, by))
        return out


@dataclass(frozen=True)
class Rest:
    """K remembered bars; they are put together only as far as somebody asks."""

    clocks: NDArray[np.int64]
    bars: list[Remembered]

    @cached_property
    def logits(self) -> NDArray[np.float32]:
        """(K, T, 88)."""
        out = np.full((len(self.bars), max(len(b.logits) for b in self.bars), f.N_PITCHES), OUTSIDE, np.float32)
        for row, bar in zip(out, self.bars, strict=True):
            row[: len(bar.logits)] = bar.logits
        return out

    @cached_property
    def slots(self) -> Tensor:
        """(K, S, C)."""
        return _side_by_side([bar.slots for bar in self.bars])

    @cached_property
    def candidates(self) -> Rows:
        """The cells that are anywhere near the threshold."""
        return rows_beside([bar.candidates for bar in self.bars])


def at_rest(session: Session, piece: Piece, index: Tensor, shift: Tensor | None) -> Decoded | Rest:
    """The given bars (K,) with every named slider at rest; `shift` (F,) moves their latents."""
    none = Offsets.none(len(index))
    if shift is not None:
        return told(session, piece, index, shift, none)
    bars = index.tolist()
    if not all(_knows(session, piece, b) for b in bars):
        laid = session.laid(piece, index)
        decoded = _decoded(session, piece, index, laid, none).apart(laid, session.hash)
        piece.cache.update(zip(bars, decoded, strict=True))
    return Rest(piece.conditions.clocks[index].numpy(), [piece.cache[b] for b in bars])


def told(session: Session, piece: Piece, index: Tensor, shift: Tensor | None, offsets: Offsets) -> Decoded:
    """The given bars with the decoder told of sliders."""
    known = [piece.cache[b].laid for b in index.tolist() if shift is None and _knows(session, piece, b)]
    laid = _side_by_side(known) if len(known) == len(index) else session.laid(piece, index, shift)
    return _decoded(session, piece, index, laid, offsets)


def _knows(session: Session, piece: Piece, bar: int) -> bool:
    """Whether the session, with its styles as they are now, has decoded a bar at rest."""
    return bar in piece.cache and piece.cache[bar].by == session.hash


@torch.no_grad()
def _decoded(session: Session, piece: Piece, index: Tensor, laid: Tensor, offsets: Offsets) -> Decoded:
    bars, p = piece.conditions.select(index), session.config.model.threshold
    slots, logits = session.decoder.decoded(laid, bars.to(session.device), offsets.to(session.device))
    logits = logits.view(len(slots), -1, f.N_PITCHES).sub_(float(np.log(p / (1 - p))))
    return Decoded(bars.clocks.numpy(), logits.cpu().numpy(), slots)


def _side_by_side(bars: list[Tensor]) -> Tensor:
    """(K, S, C) of (S of each bar, C), zeros behind the shorter ones."""
    if all(len(bar) == len(bars[0]) for bar in bars):
        return torch.stack(bars)
    return torch.nn.utils.rnn.pad_sequence(bars, batch_first=True)
