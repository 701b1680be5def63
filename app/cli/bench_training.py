"""`morphony bench --only training`: a step of training beside a plain PyTorch TransformerEncoder and a matrix product.

All three take turns in one process and are timed by the processor, so that other programs cost each of them alike.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine import config as configuration

if TYPE_CHECKING:
    import torch

    from engine.config import Config
    from trainer.recipe import Music

PRESETS = ("starter", "large", "transformer")
STEPS = 8  # of each, in turns, after two to warm up
SLOTS, EVENTS = (
    1152,
    2048,
)  # of a step: the starter's size for all, so that the largest preset takes seconds, not minutes
SQUARE = 1024  # side of the matrices whose product is the peak


def compared(music: Music, presets: Sequence[str] = PRESETS, steps: int = STEPS) -> dict[str, float]:
    """Figures of each preset, by its name."""
    out: dict[str, float] = {}
    for name in presets:
        config = _sized(configuration.load(Path(name)))
        out |= {f"{name}.{key}": value for key, value in _preset(config, music, steps).items()}
    return out


def _sized(config: Config) -> Config:
    """A preset on batches of one size, with nothing computed twice."""
    train = replace(config.train, slots_per_step=SLOTS, events_per_step=EVENTS)
    return replace(config, train=train, model=replace(config.model, checkpointing=False))


def _preset(config: Config, music: Music, steps: int) -> dict[str, float]:
    """Tokens are slots of four clocks, or events in transformer mode.

    `to_plain` compares tokens a second with the bare encoder's, `to_plain_with_head` with one that also predicts and
    scores what ours does for each token; `flops_to_plain` compares operations a second. A step of ours is everything:
    drawing the music, edited twins, both networks, all losses, clipping, the optimiser.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from engine.model.vaegan import MusicTransformerVAEGAN
    from trainer.draws import Draws
    from trainer.loop import APART
    from trainer.processes import launched
    from trainer.recipe import split, split_events
    from trainer.run import Run

    torch.set_num_threads(config.train.threads)
    torch.manual_seed(0)
    events = config.model.mode == "transformer"
    heard: Any = (split_events if events else split)(config, music)[0]
    model = MusicTransformerVAEGAN(config.model)
    trained = [p for n, p in model.named_parameters() if not n.startswith(APART)]
    run = Run(model, trained, config, launched(replace(config.train, precision="32-true"), "cpu"))
    rows: list[tuple[float, ...]] = []
    with Draws(heard, config.train, run.fabric) as draws:
        for step in range(steps + 2):
            run.at.step = step
            batch: Any = draws.at(step)[0]
            shape = tuple(batch.ids.shape) if events else (len(batch.bars.clocks), int(batch.bars.slots.max()))
            bare, headed = (_plain(config, shape, head) for head in (False, True))
            times = [_timed(lambda: run.advance(draws)), _timed(bare), _timed(headed), _product(torch)]
            rows.append((*times, shape[0] * shape[1], float(batch.size if events else len(batch.target.bar))))
        with FlopCounterMode(display=False) as counter:
            objective, _, _ = run.plain(batch, 1.0, torch.Generator().manual_seed(0))
            objective.backward()
        with FlopCounterMode(display=False) as plain_counter:
            bare()
    ours, plain, with_head, product, tokens, notes = np.median(rows[2:], 0)
    best = min(row[3] for row in rows)
    per_token = counter.get_total_flops() / rows[-1][4]
    plain_per_token = plain_counter.get_total_flops() / rows[-1][4]
    peak = 2 * SQUARE**3 / best
    return {
        "notes_per_s": notes / ours,
        "tokens_per_s": tokens / ours,
        "step_ms": 1000 * ours,
        "plain_step_ms": 1000 * plain,
        "to_plain": plain / ours,
        "to_plain_with_head": with_head / ours,
        "flops_to_plain": per_token * plain / (plain_per_token * ours),
        "peak_gflops": peak / 1e9,
        "share_of_peak": per_token * tokens / ours / peak,
        "plain_share_of_peak": plain_per_token * tokens / plain / peak,
        "share_of_product_then": per_token * tokens / ours / (2 * SQUARE**3 / product),
    }


def _plain(config: Config, shape: tuple[int, int], head: bool) -> Callable[[], object]:
    """A step of torch's own encoder of the same width, layers, heads and feed-forward, on as many tokens."""
    import torch
    import torch.nn.functional as F
    from torch import nn

    from engine.model.fields import CELLS_PER_SLOT
    from engine.tokens.vocab import SIZE

    c, events = config.model, config.model.mode == "transformer"
    width, layers = c.hidden_dim, c.layers if events else c.decoder_layers
    layer = nn.TransformerEncoderLayer(
        width, c.heads_for(width), 2 * width, 0.0, F.gelu, batch_first=True, norm_first=True
    )
    parts: list[nn.Module] = [nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)]
    parts += [nn.Linear(width, SIZE if events else CELLS_PER_SLOT)] if head else []
    model = nn.Sequential(*parts)
    optimiser = torch.optim.AdamW(model.parameters(), fused=True)
    x, target = torch.randn(*shape, width), torch.zeros(*shape, dtype=torch.long)

    def step() -> None:
        y = model(x)
        if not head:
            loss = y.square().mean()
        elif events:
            loss = F.cross_entropy(y.flatten(0, 1), target.flatten())
        else:
            loss = F.binary_cross_entropy_with_logits(y, torch.zeros_like(y))
        loss.backward()  # type: ignore[no-untyped-call]  # torch has no type for it
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    step()
    return step


def _timed(work: Callable[[], object]) -> float:
    """Seconds of the processor, in all threads."""
    began = time.process_time()
    work()
    return time.process_time() - began


def _product(torch: Any) -> float:
    """Seconds of a large product of matrices."""
    a: torch.Tensor = torch.ones(SQUARE, SQUARE)
    return _timed(lambda: a @ a)
