"""Figures a plan of runs can ask for beside held-out losses, taken from a model alone: no session, no files.

They are small on purpose: a plan compares settings of small models; `morphony evaluate` judges one that ships.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from engine.analysis.activity import ACTIVE_NATS, prior_mean, replacement_costs, varying
from engine.config import Config
from engine.model.batch import Bars
from engine.model.vaegan import MusicTransformerVAEGAN
from trainer.batches import Windows, held_out
from trainer.evaluate.generated import from_posterior, of_corpus, overlaps, real_versus, reconstructed
from trainer.evaluate.latents import Likelihood

PER_CORPUS = 2  # windows of every corpus whose dimensions are replaced one by one
WINDOWS = 2  # of every piece that a classifier hears

Figures = dict[str, float]
Measure = Callable[[MusicTransformerVAEGAN, Config, Windows], Figures]  # on held-out windows
FIGURES: dict[str, Measure] = {}


def figures(name: str) -> Callable[[Measure], Measure]:
    """Add a group of figures that plans can name."""

    def add(function: Measure) -> Measure:
        FIGURES[name] = function
        return function

    return add


@figures("active_units")
@torch.no_grad()
def active_units(model: MusicTransformerVAEGAN, config: Config, valid: Windows) -> Figures:
    """Share of dimensions whose replacement by the prior's mean costs over 0.01 nat a bar; and Burda's by variance."""
    costs, codes = [], []
    for _, batch in held_out(valid, PER_CORPUS):
        q = model.encode(batch.source, batch.bars, mean=True)
        phrase = batch.bars.phrase
        z = torch.cat([q.z_fine, q.z_local[phrase], q.z_global[batch.bars.piece[phrase]]], -1)
        each = torch.arange(len(z))
        alone = Bars(batch.bars.clocks, batch.bars.beat, batch.bars.parts, batch.bars.place, each, each)
        nats = Likelihood(model, config.loss, batch.target, alone)
        costs.append(replacement_costs(z, prior_mean(model), nats))
        codes.append(z)
    active = torch.stack(costs).mean(0) > ACTIVE_NATS
    return {"active": float(active.float().mean()), "varying": float(varying(torch.cat(codes)).float().mean())}


@figures("generated")
def generated(model: MusicTransformerVAEGAN, config: Config, valid: Windows) -> Figures:
    """How well a classifier tells decoded music from held-out music (.5 is indistinguishable), and how far their
    statistics agree.

    "sampled" decodes one posterior sample of every held-out window, which the classifier hears; "drawn" draws every bar
    from the aggregate posterior.
    """
    real = of_corpus(valid.corpus, most=WINDOWS)
    sampled, drawn = reconstructed(model, real), from_posterior(model, real)
    return {
        "told": real_versus(real, sampled, 0),
        "overlap_sampled": float(np.mean(list(overlaps(sampled, real).values()))),
        "overlap_drawn": float(np.mean(list(overlaps(drawn, real).values()))),
    }
