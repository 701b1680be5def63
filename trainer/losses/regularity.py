"""What makes a latent space fit to play on: informative, unentangled, without holes, with music laid out by likeness.

These are collapse prevention and disentanglement; each looks at a whole batch of posteriors, which a divergence term
by term cannot. K bars, P phrases, R rows of a level, Z its width.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.attributes import CLOCKS_PER_16TH
from engine.model.latents import LEVELS, Normal, log_prob
from engine.model.soft_attributes import by_steps
from trainer.losses.registry import Decoded, register

LEAST_LOGVAR = math.log(0.05**2)  # a posterior narrower than this is a point that no prior hits
ACTIVE = 0.3  # deviation of a dimension's means that counts as used
TINY = 1e-4  # deviation below which a dimension is said to stand still


@register(
    "mutual_information",
    "regularity",
    0.1,
    "Keeps phrase and piece latents telling music apart, which is what free bits allow and nothing else asks for.",
    coupled="each sample with the posteriors of all rows",
)
def mutual_information(d: Decoded) -> Tensor:
    """Nats by which samples do not tell whose posterior they came from: ln R - I(x; z), summed over the levels.

    The minibatch estimate of Chen et al. 2018 with the batch in place of the data.
    """
    return torch.stack([_confusion(*_level(d, level)) for level in LEVELS]).sum() * d.shares.sum()


@register(
    "total_correlation",
    "regularity",
    0.01,
    "Makes directions of the bar latent independent as a whole, sums of several dimensions included.",
    coupled="the covariance of all bars' posteriors",
)
def total_correlation(d: Decoded) -> Tensor:
    """Nats of total correlation (Watanabe 1960) of a Gaussian with the aggregate posterior's covariance.

    The penalty of Chen et al. 2018 in closed form: never negative, no sampling noise, blind to higher moments.
    """
    q = d.posterior.q_fine
    centred = q.mean - q.mean.mean(0)
    covariance = centred.T @ centred / len(centred) + torch.diag(q.logvar.exp().mean(0))
    nats: Tensor = (covariance.diagonal().log().sum() - torch.linalg.slogdet(covariance).logabsdet) / 2
    return nats * d.shares.sum()


@register(
    "orthogonality",
    "regularity",
    10.0,
    "Makes two dimensions of the bar latent say two things, so that colour sliders do not move in pairs.",
    coupled="the correlations of all bars' means",
)
def orthogonality(d: Decoded) -> Tensor:
    """Mean squared correlation (0 to 1) of every two dimensions' posterior means (after DIP-VAE, Kumar et al. 2018)."""
    means = _standard(d.posterior.q_fine.mean)
    squared = (means.T @ means / len(means)).square()
    z = len(squared)
    return (squared.sum() - squared.diagonal().sum()) / max(z * (z - 1), 1) * d.shares.sum()


@register(
    "level_orthogonality",
    "regularity",
    10.0,
    "Makes the bar latent leave to phrase and piece what they say, so that each level's sliders do a thing of its own.",
    coupled="the correlations of all bars' means with those above",
)
def level_orthogonality(d: Decoded) -> Tensor:
    """Mean squared correlation (0 to 1) of the bar's posterior means with its phrase's and its piece's."""
    bar, phrase = d.posterior.q_fine.mean, d.bars.phrase
    above = torch.cat([d.posterior.q_local.mean[phrase], d.posterior.q_global.mean[d.bars.piece[phrase]]], -1)
    both = _standard(bar).T @ _standard(above) / len(bar)
    return both.square().mean() * d.shares.sum()


@register(
    "latent_smoothness",
    "regularity",
    1.0,
    "Lays bars that sound alike side by side, so that a small step of a slider changes few notes.",
    coupled="every two bars",
)
def latent_smoothness(d: Decoded) -> Tensor:
    """Mean absolute difference of the distances of any two bars in z and in chroma and rhythm, each in its own mean."""
    k = len(d.bars.clocks)
    others = ~torch.eye(k, dtype=torch.bool, device=d.onsets.device)
    in_music = _unlike(d.real.chroma) + _unlike(by_steps(d.real.rhythm, CLOCKS_PER_16TH))
    apart = d.posterior.q_fine.mean[:, None] - d.posterior.q_fine.mean
    in_latents = (apart.square().sum(-1) + TINY).sqrt()
    a, b = (x / (x * others).sum().clamp(min=TINY) * others.sum() for x in (in_latents, in_music))
    return ((a - b).abs() * others).sum() / max(k * (k - 1), 1) * d.shares.sum()


@register(
    "variance_floor",
    "regularity",
    0.1,
    "Keeps posteriors wide enough to overlap: between points there are holes, and a slider at rest there plays noise.",
    coupled="the mean of all rows",
)
def variance_floor(d: Decoded) -> Tensor:
    """Squared shortfall of the log-variances below that of a deviation of 0.05, mean a dimension, over the levels."""
    short = [F.relu(LEAST_LOGVAR - _level(d, level)[0].logvar).square().mean() for level in LEVELS]
    return torch.stack(short).sum() * d.shares.sum()


@register(
    "aggregate_posterior",
    "regularity",
    10.0,
    "Fits all bars together to the prior, which pulling each bar to it does only at the price of what bars say.",
    coupled="every two bars",
)
def aggregate_posterior(d: Decoded) -> Tensor:
    """Squared maximum mean discrepancy (0 to 1) of the bar latents from N(0, 1) (InfoVAE, Zhao et al. 2019).

    The kernel is Gaussian with a squared width of Z, for which the prior's side has a closed form.
    """
    z = d.posterior.z_fine
    width = float(z.shape[1])
    among = torch.exp(-(z[:, None] - z).square().sum(-1) / (2 * width)).mean()
    shrink = (width / (width + 1)) ** (width / 2)
    across = shrink * torch.exp(-z.square().sum(-1) / (2 * (width + 1))).mean()
    out: Tensor = among - 2 * across + (width / (width + 2)) ** (width / 2)
    return out * d.shares.sum()


@register(
    "active_units",
    "regularity",
    1.0,
    "Asks every dimension to differ between bars, so that none is dead weight and no slider moves nothing.",
    coupled="the spread of all rows' means",
)
def active_units(d: Decoded) -> Tensor:
    """Mean shortfall (0 to 1) of the deviation of posterior means below 0.3, over levels with two rows or more."""
    spreads = [_level(d, level)[0].mean for level in LEVELS]
    short = [F.relu(1 - (m.var(0) + TINY**2).sqrt() / ACTIVE).mean() for m in spreads if len(m) > 1]
    return torch.stack(short or [d.onsets.new_zeros(())]).mean() * d.shares.sum()


def _level(d: Decoded, level: str) -> tuple[Normal, Tensor]:
    """Posterior (R, Z) and sample (R, Z) of a level."""
    return getattr(d.posterior, f"q_{level}"), getattr(d.posterior, f"z_{level}")


def _confusion(q: Normal, z: Tensor) -> Tensor:
    """Nats by which each sample (R, Z) does not tell which of the posteriors it came from."""
    if len(z) < 2:
        return z.new_zeros(())
    under = log_prob(Normal(q.mean[None], q.logvar[None]), z[:, None])  # (R of samples, R of posteriors)
    return F.cross_entropy(under, torch.arange(len(z), device=z.device))


def _standard(x: Tensor) -> Tensor:
    """Columns (R, Z) with mean 0 and deviation 1; a column that stands still stays at 0."""
    centred = x - x.mean(0)
    return centred / (centred.square().mean(0) + TINY**2).sqrt()


def _unlike(x: Tensor) -> Tensor:
    """(K, K) one minus the cosine of every two rows."""
    unit = F.normalize(x, dim=1, eps=1e-6)
    return 1 - unit @ unit.T
