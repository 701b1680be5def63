"""`morphony bench --only drag`: what a drag is measured against, in the same run.

Two peers: the same bars written token by token (774 tokens, key-value cache, as many parameters as the decoder has);
and the floor, which is the decoder's weights read once and its operations at the rate of a plain matrix product.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from engine.model.events import EventTransformer
    from engine.session import Piece, Session

FLAT_TOKENS = 1024  # written one by one; more of them are taken to cost as much each, though later ones cost more
ROWS = 384  # of the matrix product whose rate counts: 16 bars of 4/4
READ = 1 << 24  # numbers (64 MiB) that are read to find the rate of reading
UNREAD = ("lay_out", "page")  # what no slider changes is laid out before a drag
ROUNDS = 7


def tokens_of(piece: Piece, bars: range) -> int:
    """How many of the 774 tokens say these bars."""
    from engine.score.cut import cut
    from engine.tokens.codec import encode

    return len(encode(cut(piece.score, piece.grid, bars)).ids)


def flat_seconds(session: Session, tokens: int) -> float:
    """Seconds in which a model of events with as many parameters as the decoder writes some tokens, one by one."""
    import torch

    model, some = _flat(session), min(tokens, FLAT_TOKENS)
    ids, places, cache = torch.ones(1, 1, dtype=torch.int64), torch.zeros(1, 1, 3, dtype=torch.int64), model.new_cache()
    began = time.perf_counter()
    with torch.inference_mode():
        for _ in range(some):
            ids = model(ids, places, cache)[:, -1:].argmax(-1)
    return (time.perf_counter() - began) * tokens / some


def floor_seconds(session: Session, event: Callable[[], object]) -> float:
    """Seconds below which one event of a drag cannot come: weights read once, then its products at the full rate."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    with counter:
        event()
    names = dict(session.model.decoder.named_parameters())
    read = sum(p.numel() for name, p in names.items() if not name.startswith(UNREAD))
    numbers, width = torch.ones(READ), session.config.model.hidden_dim
    a, b, bias = torch.randn(ROWS, width), torch.randn(2 * width, width), torch.randn(2 * width)
    with torch.inference_mode():
        product = _best(lambda: [torch.nn.functional.linear(a, b, bias) for _ in range(20)]) / 20
        reading = _best(numbers.sum)
    return counter.get_total_flops() * product / (2 * ROWS * width * 2 * width) + read * reading / READ


def _flat(session: Session) -> EventTransformer:
    """A model of events whose parameters are as many as the decoder's, to within half a layer."""
    from engine.config import ModelConfig
    from engine.model.events import EventTransformer

    def made(layers: int) -> EventTransformer:
        c = session.config.model
        return EventTransformer(ModelConfig(mode="transformer", layers=layers, hidden_dim=c.hidden_dim, heads=c.heads))

    one, two = _parameters(made(1)), _parameters(made(2))
    return made(max(1 + round((_parameters(session.model.decoder) - one) / (two - one)), 1)).eval()


def _parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def _best(work: Callable[[], object]) -> float:
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)
