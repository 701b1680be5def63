"""Where a slot stands in the meter: place in beat, beat in bar, bar in phrase. Never the index of a token.

K bars, S slots, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from engine.model.batch import PHRASE_BARS, Bars
from engine.model.fields import SLOT_CLOCKS
from engine.tokens.places import BEATS_IN_BAR as BEATS_IN_BAR
from engine.tokens.places import PLACES_IN_BEAT as PLACES_IN_BEAT


class _Places(nn.Module):
    """Three learned embeddings of a place in the meter; what lies beyond their last entry counts as that."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.in_beat = nn.Embedding(PLACES_IN_BEAT, width)
        self.beat = nn.Embedding(BEATS_IN_BAR, width)
        self.bar = nn.Embedding(PHRASE_BARS, width)
        for table in (self.in_beat, self.beat, self.bar):
            nn.init.normal_(table.weight, std=0.02)

    def sum(self, in_beat: Tensor, beat: Tensor, bar: Tensor) -> Tensor:
        """(..., D) of clocks in beat, beats in bar and bars in phrase (...)."""
        x = self.in_beat(in_beat.clamp(max=PLACES_IN_BEAT - 1)) + self.beat(beat.clamp(max=BEATS_IN_BAR - 1))
        out: Tensor = x + self.bar(bar)
        return out


class BeatPosition(_Places):
    """Of the slots of bars."""

    def forward(self, bars: Bars, slots: int) -> Tensor:
        """(K, S, D)."""
        clock = torch.arange(slots, device=bars.clocks.device) * SLOT_CLOCKS
        return self.sum(clock % bars.beat[:, None], clock // bars.beat[:, None], bars.place[:, None])


class EventPosition(_Places):
    """Of single tokens, whose places the caller has read from the meter."""

    def forward(self, places: Tensor) -> Tensor:
        """(..., 3) int64 clock in beat, beat in bar and bar in phrase to (..., D)."""
        return self.sum(*places.unbind(-1))
