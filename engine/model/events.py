"""`transformer` mode: an autoregressive model over the 774 event tokens, one after another, whole pieces at a time.

It knows ids and where each stands in the meter; no music file, no sampling.
B batch, T tokens (the newest ones, with a cache), W width, V the vocabulary.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from engine.config import ModelConfig
from engine.model.attention import Block, Cache
from engine.model.position import EventPosition
from engine.tokens.vocab import SIZE


class EventTransformer(nn.Module):
    """Causal pre-norm blocks; the embedding of the tokens is also their output (Press and Wolf 2017)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.c, width = config, config.hidden_dim
        self.token = nn.Embedding(SIZE, width)
        nn.init.normal_(self.token.weight, std=0.3 * width**-0.5)  # logits begin with a deviation of 0.3: near uniform
        self.position = EventPosition(width)
        self.blocks = nn.ModuleList(Block.of(config, width, causal=True) for _ in range(config.layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, ids_BT: Tensor, places_BT3: Tensor, cache: list[Cache] | None = None) -> Tensor:
        """(B, T, V) logits: those at t are of token t + 1, so a loss must score them against ids shifted by one.

        `places_BT3` is where each token stands: clock in beat, beat in bar, bar in phrase. Both are int64. Padding
        belongs at the end, where nothing before sees it. With a cache (see `new_cache`) the tokens follow those
        already fed, and the cache takes them in.
        """
        x = self.token(ids_BT) + self.position(places_BT3)
        for i, block in enumerate(self.blocks):
            x = block(x, cache=cache[i] if cache else None)
        return F.linear(self.norm(x), self.token.weight)

    def new_cache(self) -> list[Cache]:
        """An empty cache for one batch of sequences: feeding tokens in pieces through it equals feeding all at once."""
        return [Cache() for _ in self.blocks]
