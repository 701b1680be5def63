"""Where a slot stands in the meter: place in beat, beat in bar, bar in phrase. Never the index of a token.

K bars, S slots, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from engine.model.batch import PHRASE_BARS, Bars
from engine.model.fields import SLOT_CLOCKS

PLACES_IN_BEAT = 48  # clocks within a beat, up to a half note
BEATS_IN_BAR = 16


class BeatPosition(nn.Module):
    """Sum of three learned embeddings read from the meter."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.in_beat = nn.Embedding(PLACES_IN_BEAT, width)
        self.beat = nn.Embedding(BEATS_IN_BAR, width)
        self.bar = nn.Embedding(PHRASE_BARS, width)
        for table in (self.in_beat, self.beat, self.bar):
            nn.init.normal_(table.weight, std=0.02)

    def forward(self, bars: Bars, slots: int) -> Tensor:
        """(K, S, D)."""
        clock = torch.arange(slots, device=bars.clocks.device) * SLOT_CLOCKS
        place = (clock % bars.beat[:, None]).clamp(max=PLACES_IN_BEAT - 1)
        beat = (clock // bars.beat[:, None]).clamp(max=BEATS_IN_BAR - 1)
        out: Tensor = self.in_beat(place) + self.beat(beat) + self.bar(bars.place)[:, None]
        return out
