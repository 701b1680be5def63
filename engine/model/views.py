"""Positions looked at in several ways under one softmax, run by run: what local attentions are made of.

B batch, H heads, T positions, S queries (the last S of the T), J keys of a view, D width of a head; s and j are the
queries of one run and the keys they choose from. Time and memory grow with T, and a (T, T) mask never exists.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

RUN = 64  # queries at a time
PIECE = 64  # keys whose gradients are gathered together

Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True, slots=True)
class Scope:
    """What queries may look at; each attention reads from it what it needs."""

    causal: bool = False  # only positions up to their own
    window: int = 256
    landmarks: int = 64
    mask: Tensor | None = None  # (B, T) True where there is something; None where there is everywhere
    cells: dict[int, Pair] | None = None  # means of finished cells by size, kept from call to call while decoding


def attend(q: Tensor, scope: Scope, *views: View) -> Tensor:
    """One softmax over what all views show, run by run; the first view is of single positions."""
    total = views[0].count
    first = total - q.shape[2]
    edges = [first, *range(first // RUN * RUN + RUN, total, RUN), total]
    runs = [range(start, stop) for start, stop in pairwise(edges)]
    parts = zip(torch.split(q, [len(run) for run in runs], 2), runs, strict=True)
    return joined((_attend_run(part, run, scope.causal, views) for part, run in parts), q, 2)


def _attend_run(q: Tensor, run: range, causal: bool, views: tuple[View, ...]) -> Tensor:
    k, v, seen = zip(*(view.look(run, causal) for view in views), strict=True)
    if len(views) == 1:
        return F.scaled_dot_product_attention(q, k[0], v[0], attn_mask=seen[0])
    return F.scaled_dot_product_attention(q, torch.cat(k, 2), torch.cat(v, 2), attn_mask=torch.cat(seen, -1))


def joined(parts: Iterable[Tensor], like: Tensor, dim: int) -> Tensor:
    """Parts side by side; those without a gradient are put in place as they come, so nothing is held twice."""
    if torch.is_grad_enabled():
        return torch.cat(list(parts), dim)
    out, at = torch.empty_like(like), 0
    for part in parts:
        out.narrow(dim, at, part.shape[dim]).copy_(part)
        at += part.shape[dim]
    return out


class View:
    """One way to look at the positions: keys and values (B, H, J, D), each standing for `span` positions.

    Distances are counted in units of `unit` positions, a multiple of `span`; seen are those from `least` to `most`.
    """

    def __init__(
        self, k: Tensor, v: Tensor, mask: Tensor | None, *, span: int = 1, unit: int = 1, least: int = 0, most: int
    ) -> None:
        self.mask, self.span, self.unit, self.least, self.most = mask, span, unit, least, most  # mask (B, J)
        self.count, self.device = k.shape[2], k.device
        self.k_of, self.v_of = _cut(k), _cut(v)
        self.like: tuple[int, ...] = ()  # how the last run lay to its keys, and what it saw: neighbours are alike
        self.saw = torch.empty(0)

    def look(self, run: range, causal: bool) -> tuple[Tensor, Tensor, Tensor]:
        """What a run of queries chooses from: keys, values (B, H, j, D) and who sees what, (s, j) or (B, 1, s, j)."""
        keys = self.reach(run, causal)
        like = (run.start % self.unit, run.start - keys.start * self.span, len(run), len(keys))
        if like != self.like:
            self.like, self.saw = like, self.seen(run, keys, causal)
        seen = self.saw if self.mask is None else self.saw & self.shown(run, keys, self.mask)
        return self.k_of(keys.start, keys.stop), self.v_of(keys.start, keys.stop), seen

    def reach(self, run: range, causal: bool) -> range:
        """The keys that any query of a run may see."""
        first, last = run.start // self.unit - self.most, (run.stop - 1) // self.unit
        last += -self.least if causal else self.most
        per = self.unit // self.span
        high = min((last + 1) * per, self.count, run.stop if causal else self.count)
        return range(min(max(first, 0) * per, high), high)

    def seen(self, run: range, keys: range, causal: bool) -> Tensor:
        """(s, j) the keys each query sees: those at the right distance and, if causal, over by then."""
        i = torch.arange(run.start, run.stop, device=self.device)[:, None]
        j = torch.arange(keys.start, keys.stop, device=self.device) * self.span
        away = (i // self.unit - j // self.unit).abs_()
        seen = (away >= self.least) & (away <= self.most)
        return seen & (j + self.span - 1 <= i) if causal else seen

    def shown(self, run: range, keys: range, mask: Tensor) -> Tensor:
        """(B, 1, s, j) all but padding; a query that is padding sees itself, for an empty row has no softmax."""
        shown = mask[:, None, None, keys.start : keys.stop]
        if self.span > 1:
            return shown
        i = torch.arange(run.start, run.stop, device=self.device)[:, None]
        return shown | (i == torch.arange(keys.start, keys.stop, device=self.device))


def _cut(x: Tensor) -> Callable[[int, int], Tensor]:
    """Stretches of x (B, H, J, D): slices, or joined of pieces where a slice's gradient would be as long as x."""
    if not (torch.is_grad_enabled() and x.requires_grad):
        return lambda low, high: x[:, :, low:high]
    pieces = torch.split(x, PIECE, 2)

    def join(low: int, high: int) -> Tensor:
        if low == high:
            return x[:, :, :0]
        skip = low % PIECE
        return torch.cat(pieces[low // PIECE : -(-high // PIECE)], 2)[:, :, skip : skip + high - low]

    return join


def cells(k: Tensor, v: Tensor, scope: Scope, size: int) -> tuple[Tensor, Tensor, Tensor | None]:
    """Mean keys and values of cells of `size` positions, counted from the first, and which cells are not all padding.

    Causal, only finished cells; those that `scope.cells` remembers are not computed again.
    """
    end = k.shape[2] // size * size if scope.causal else k.shape[2]
    mask = None if scope.mask is None else scope.mask[:, :end]
    kept = {} if scope.cells is None else scope.cells
    done = kept[size][0].shape[2] * size if size in kept else 0
    if size not in kept or done < end:
        new = [_means(x[:, :, done:end], mask if mask is None else mask[:, done:], size) for x in (k, v)]
        old = [[x] for x in kept.get(size, ())] or [[], []]
        kept[size] = torch.cat([*old[0], new[0]], 2), torch.cat([*old[1], new[1]], 2)
    shown = None if mask is None else _means(mask[:, None, :, None].to(k.dtype), None, size)[:, 0, :, 0] > 0
    return *kept[size], shown


def _means(x: Tensor, mask: Tensor | None, size: int) -> Tensor:
    """(B, H, cells, D) mean of every `size` positions without the padding; the last cell may be short."""
    count = x.shape[2] // size
    whole = count * size
    grouped = torch.unflatten(x[:, :, :whole], 2, (count, size))
    if mask is None:
        means = grouped.mean(3)
    else:
        weight = torch.unflatten(mask[:, None, :whole, None], 2, (count, size)).to(x.dtype)
        means = (grouped * weight).sum(3) / weight.sum(3).clamp(min=1)
    if whole == x.shape[2]:
        return means
    rest = _means(x[:, :, whole:], mask if mask is None else mask[:, whole:], x.shape[2] - whole)
    return torch.cat([means, rest], 2)
