"""Attention by name. One registered function is a new attention; nothing else needs an edit.

B batch, H heads, T positions, S queries (the last S of the T), D width of a head, W width of a block.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from engine.config import ModelConfig
from engine.errors import MorphonyError
from engine.model.views import Pair, Scope, View, attend, cells, joined

ROWS = 1024  # positions that the feed-forward takes at a time of a longer piece, where no gradient will be asked for
_SLOPE = 2 * math.sqrt(2 / math.pi)
SCALES = (1, 4, 16)  # positions a cell, of the groups of heads of multi-scale attention

DEFAULT = Scope()
Attention = Callable[[Tensor, Tensor, Tensor, Scope], Tensor]
REGISTRY: dict[str, Attention] = {}


def register(name: str) -> Callable[[Attention], Attention]:
    """Add an attention, q (B, H, S, D), k and v (B, H, T, D) to (B, H, S, D), under a name configurations can use."""

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
def full(q: Tensor, k: Tensor, v: Tensor, scope: Scope) -> Tensor:
    """Every position, or every one up to the query's own."""
    if not scope.causal:
        mask = None if scope.mask is None else scope.mask[:, None, None, :]
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    if scope.mask is None and q.shape[2] in (1, k.shape[2]):
        return F.scaled_dot_product_attention(q, k, v, is_causal=q.shape[2] > 1)
    return attend(q, scope, View(k, v, scope.mask, most=k.shape[2]))


@register("sliding_window")
def sliding_window(q: Tensor, k: Tensor, v: Tensor, scope: Scope) -> Tensor:
    """Positions less than `window` away: behind, and ahead unless causal (Beltagy et al. 2020)."""
    if k.shape[2] <= scope.window:
        return full(q, k, v, scope)
    return attend(q, scope, View(k, v, scope.mask, most=scope.window - 1))


@register("hierarchical")
def hierarchical(q: Tensor, k: Tensor, v: Tensor, scope: Scope) -> Tensor:
    """The sliding window, and landmarks: mean key and value of each of the nearest blocks of `window` positions.

    Causal, the last `landmarks` blocks that ended before the query's own; else half as many on either side of it.
    """
    if k.shape[2] <= scope.window:
        return full(q, k, v, scope)
    size, most = scope.window, scope.landmarks if scope.causal else (scope.landmarks + 1) // 2
    near = View(k, v, scope.mask, most=size - 1)
    return attend(q, scope, near, View(*cells(k, v, scope, size), span=size, unit=size, least=1, most=most))


@register("multi_scale")
def multi_scale(q: Tensor, k: Tensor, v: Tensor, scope: Scope) -> Tensor:
    """A third of the heads each in windows of `window` cells of 1, 4 or 16 positions; the query's own cell unpooled."""
    if k.shape[2] == 1:
        return full(q, k, v, scope)
    heads = [x.tensor_split(len(SCALES), 1) for x in (q, k, v)]
    groups = zip(SCALES, *heads, strict=True)
    return joined((_at_scale(size, q, k, v, scope) for size, q, k, v in groups if q.shape[1]), q, 1)


def _at_scale(size: int, q: Tensor, k: Tensor, v: Tensor, scope: Scope) -> Tensor:
    if size == 1:
        return sliding_window(q, k, v, scope)
    own = View(k, v, scope.mask, unit=size, most=0)
    far = View(*cells(k, v, scope, size), span=size, unit=size, least=1, most=scope.window - 1)
    return attend(q, scope, own, far)


@dataclass(slots=True)
class Cache:
    """What a causal block keeps while decoding: keys and values (B, H, T, D) so far, in buffers that double."""

    count: int = 0
    buffers: list[Tensor] = field(default_factory=list)
    cells: dict[int, Pair] = field(default_factory=dict)  # see Scope

    def extend(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Add the newest positions; all so far."""
        end = self.count + k.shape[2]
        self.buffers = [self._put(i, x, end) for i, x in enumerate((k, v))]
        self.count = end
        return self.buffers[0][:, :, :end], self.buffers[1][:, :, :end]

    def select(self, rows: Tensor) -> Cache:
        """A cache of these rows (B',) of the batch, in their order: beams that go on."""
        cells = {size: (k[rows], v[rows]) for size, (k, v) in self.cells.items()}
        return Cache(self.count, [x[rows] for x in self.buffers], cells)

    def _put(self, index: int, new: Tensor, end: int) -> Tensor:
        old = self.buffers[index] if self.buffers else new[:, :, :0]
        if new.requires_grad:  # what a gradient will need must not be written over
            return torch.cat([old[:, :, : self.count], new], 2)
        if end > old.shape[2]:
            longer = new.new_empty(*new.shape[:2], 2 * end, new.shape[3])
            longer[:, :, : self.count] = old[:, :, : self.count]
            old = longer
        old[:, :, self.count : end] = new
        return old


class Block(nn.Module):
    """Pre-norm attention and feed-forward, modulated by a condition (scale and shift, FiLM)."""

    def __init__(
        self,
        width: int,
        heads: int,
        attention: str,
        condition: int | None = None,
        scope: Scope = DEFAULT,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.heads, self.attend = heads, named(attention)
        self.scope, self.checkpointing = scope, checkpointing
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

    @classmethod
    def of(cls, c: ModelConfig, width: int, condition: int | None = None, causal: bool = False) -> Block:
        """A block of a width with the attention, heads and checkpointing of a configuration."""
        scope = Scope(causal, c.window, c.landmarks)
        return cls(width, c.heads_for(width), c.attention, condition, scope, c.checkpointing)

    def forward(
        self, x: Tensor, mask: Tensor | None = None, condition: Tensor | None = None, cache: Cache | None = None
    ) -> Tensor:
        """(B, S, W) to (B, S, W); `mask` (B, T) is True where there is something, `condition` is (B, C).

        With a cache, x are the positions that follow those it holds, T counts both, and the block must be causal.
        """
        if self.checkpointing and self.training and torch.is_grad_enabled() and cache is None:
            out: Tensor = checkpoint(self._forward, x, mask, condition, None, use_reentrant=False)
            return out
        return self._forward(x, mask, condition, cache)

    def _forward(self, x: Tensor, mask: Tensor | None, condition: Tensor | None, cache: Cache | None) -> Tensor:
        x = x + self.out(self._attended(x, mask, cache))
        if not _sparing(x):
            return x + self._fed(x, condition)
        for rows in torch.split(x, ROWS, 1):
            rows += self._fed(rows, condition)
        return x

    def _attended(self, x: Tensor, mask: Tensor | None, cache: Cache | None) -> Tensor:
        q, k, v = self._projected(self.norm1(x))
        if cache is not None:
            k, v = cache.extend(k, v)
        c = self.scope
        scope = Scope(c.causal, c.window, c.landmarks, mask, None if cache is None else cache.cells)
        return self.attend(q, k, v, scope).transpose(1, 2).reshape(x.shape)

    def _projected(self, x: Tensor) -> Iterable[Tensor]:
        """Queries, keys and values (B, H, S, D)."""
        b, s, w = x.shape
        if not _sparing(x):
            whole: Tensor = self.qkv(x)
            return whole.view(b, s, 3, self.heads, w // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        parts = zip(self.qkv.weight.chunk(3), self.qkv.bias.chunk(3), strict=True)
        return [F.linear(x, *part).view(b, s, self.heads, w // self.heads).transpose(1, 2) for part in parts]

    def _fed(self, x: Tensor, condition: Tensor | None) -> Tensor:
        h = self.norm2(x)
        if self.film is not None and condition is not None:
            scale, shift = self.film(condition)[:, None, :].chunk(2, dim=-1)
            h = h * (1 + scale) + shift
        out: Tensor = self.down(gelu(self.up(h)))
        return out


def gelu(x: Tensor) -> Tensor:
    """GELU in its tanh form (Hendrycks and Gimpel 2016), on a processor and without gradients in a third of the time:
    x times the sigmoid of 2 sqrt(2 / pi) (x + 0.044715 x^3), which is the same to a rounding.
    """
    if torch.is_grad_enabled() or not x.is_cpu or torch.compiler.is_exporting():
        return F.gelu(x, approximate="tanh")
    return torch.addcmul(x.new_full((), _SLOPE), x, x, value=0.044715 * _SLOPE).mul_(x).sigmoid_().mul_(x)


def _sparing(x: Tensor) -> bool:
    """Whether to work on parts of x (B, S, W): a long piece without gradients, which needs nothing twice."""
    return x.shape[1] > ROWS and not torch.is_grad_enabled()


def masked(x: Tensor, mask: Tensor) -> Tensor:
    """Zero the positions (B, S) where the mask is False."""
    return torch.where(mask[..., None], x, x.new_zeros(()))
