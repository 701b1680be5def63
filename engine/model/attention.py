"""Attention by name. One registered function is a new attention; nothing else needs an edit.

B batch, H heads, S positions, D width of a head.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.errors import MorphonyError

Attention = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]
REGISTRY: dict[str, Attention] = {}


def register(name: str) -> Callable[[Attention], Attention]:
    """Add an attention under a name configurations can use."""

    def add(function: Attention) -> Attention:
        REGISTRY[name] = function
        return function

    return add


def named(name: str) -> Attention:
    """The attention of that name. Raises MorphonyError when nobody registered one."""
    if name not in REGISTRY:
        raise MorphonyError(f"There is no attention called {name!r}; choose one of {sorted(REGISTRY)}.")
    return REGISTRY[name]


@register("full")
def full(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """Every position attends to every position the mask (B, 1, 1, S), True to attend, allows."""
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


class Block(nn.Module):
    """Pre-norm attention and feed-forward, modulated by a condition (scale and shift, FiLM)."""

    def __init__(self, width: int, heads: int, attention: str, condition: int | None = None) -> None:
        super().__init__()
        self.heads, self.attend = heads, named(attention)
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.up = nn.Linear(width, 2 * width)
        self.down = nn.Linear(2 * width, width)
        self.film = nn.Linear(condition, 2 * width) if condition else None
        if self.film is not None:
            nn.init.zeros_(self.film.weight)
            nn.init.zeros_(self.film.bias)

    def forward(self, x: Tensor, mask: Tensor | None = None, condition: Tensor | None = None) -> Tensor:
        """(B, S, W) to (B, S, W); `mask` (B, S) is True where there is something, `condition` is (B, C)."""
        b, s, w = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(b, s, 3, self.heads, w // self.heads).permute(2, 0, 3, 1, 4)
        a = self.attend(q, k, v, None if mask is None else mask[:, None, None, :])
        x = x + self.out(a.transpose(1, 2).reshape(b, s, w))
        h = self.norm2(x)
        if self.film is not None and condition is not None:
            scale, shift = self.film(condition)[:, None, :].chunk(2, dim=-1)
            h = h * (1 + scale) + shift
        out: Tensor = x + self.down(F.gelu(self.up(h), approximate="tanh"))
        return out


def masked(x: Tensor, mask: Tensor) -> Tensor:
    """Zero the positions (B, S) where the mask is False."""
    return torch.where(mask[..., None], x, x.new_zeros(()))
