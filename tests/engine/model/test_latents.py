"""Diagonal Gaussians: samples, divergence and means against what NumPy and PyTorch say."""

from __future__ import annotations

import torch
from torch.distributions import Normal as Reference
from torch.distributions import kl_divergence

from engine.model.latents import Gaussian, Normal, kl_to_standard, mean_by, sample


def test_a_sample_scatters_about_the_mean_by_the_deviation() -> None:
    q = Normal(torch.tensor([[1.0, -2.0, 0.0]]).expand(20_000, 3), torch.tensor([0.0, -4.0, 1.0]).expand(20_000, 3))
    drawn = sample(q, torch.Generator().manual_seed(0))
    assert torch.allclose(drawn.mean(0), q.mean[0], atol=0.05)
    assert torch.allclose(drawn.std(0), (q.logvar[0] / 2).exp(), rtol=0.03)


def test_divergence_is_that_of_pytorch() -> None:
    q = Normal(torch.randn(5, 4), torch.randn(5, 4))
    reference = kl_divergence(Reference(q.mean, (q.logvar / 2).exp()), Reference(0.0, 1.0))
    assert torch.allclose(kl_to_standard(q), reference, atol=1e-6)
    nothing = Normal(torch.zeros(2, 3), torch.zeros(2, 3))
    assert kl_to_standard(nothing).abs().max() == 0


def test_no_input_makes_the_variance_explode() -> None:
    made = Gaussian(4, 2)
    with torch.no_grad():
        made.logvar.weight.fill_(1e4)
    q = made(torch.full((1, 4), 1e4))
    assert q.logvar.abs().max() <= 8
    assert torch.isfinite(sample(q)).all()


def test_means_by_index() -> None:
    rows = torch.tensor([[1.0], [3.0], [10.0]])
    assert mean_by(rows, torch.tensor([0, 0, 2]), 3).tolist() == [[2.0], [0.0], [10.0]]  # nothing in the middle
