"""Diagonal Gaussians: samples, divergence and means against what NumPy and PyTorch say."""

from __future__ import annotations

import torch
from torch.distributions import Normal as Reference
from torch.distributions import kl_divergence

from engine.model.latents import GAMMA, Gaussian, Normal, kl_to_standard, mean_by, sample


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


# ---------------------------------------------------------------- normalised means (BN-VAE)


def normalised(z: int = 4) -> Gaussian:
    torch.manual_seed(0)
    return Gaussian(6, z, normalised=True)


def test_a_collapsing_encoder_keeps_its_divergence_when_its_means_are_normalised() -> None:
    """A toy with nothing but the divergence to lower: without the norm it falls to 0, with it to GAMMA^2 / 2."""
    kept = []
    for norm in (False, True):
        torch.manual_seed(0)
        encoder, x = Gaussian(6, 4, norm), torch.randn(64, 6)
        optimiser = torch.optim.Adam(encoder.parameters(), lr=0.05)
        for _ in range(300):
            loss = kl_to_standard(encoder(x)).sum(-1).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        kept.append(float(loss.detach()) / 4)
    assert kept[0] < 0.005
    assert kept[1] >= GAMMA**2 / 2 - 1e-3
    assert kept[1] < GAMMA**2  # and no more than the bound asks for


def test_means_of_a_training_batch_have_the_fixed_scale_and_the_learned_shift() -> None:
    encoder = normalised()
    assert encoder.norm is not None
    with torch.no_grad():
        encoder.norm.shift.copy_(torch.tensor([0.0, 1.0, -2.0, 0.5]))
        mean = encoder(5 + 3 * torch.randn(400, 6)).mean
    assert torch.allclose(mean.mean(0), encoder.norm.shift, atol=1e-4)
    assert torch.allclose(mean.std(0), torch.full((4,), GAMMA), rtol=0.01)


def test_in_evaluation_a_row_is_what_it_is_whoever_is_beside_it() -> None:
    encoder, x = normalised(), torch.randn(32, 6)
    for _ in range(300):
        encoder(x)
    together = encoder(x).mean.detach()
    encoder.eval()
    with torch.no_grad():
        alone = torch.cat([encoder(row[None]).mean for row in x])
        assert torch.allclose(alone, encoder(x).mean, atol=1e-6)
    assert torch.allclose(alone, together, atol=0.05)  # the running statistics are those of training


def test_only_a_step_of_learning_moves_the_running_statistics() -> None:
    encoder, x = normalised(), 3 + torch.randn(32, 6)
    before = {n: t.clone() for n, t in encoder.state_dict().items()}
    with torch.no_grad():
        encoder(x)  # the critic's look
    encoder(x[:1])  # one row has no deviation
    encoder.requires_grad_(False)
    encoder(x)  # an adapter's run: the base stays what its checkpoint says
    encoder.requires_grad_(True).eval()
    encoder(x)
    assert all(torch.equal(t, before[n]) for n, t in encoder.state_dict().items())
    encoder.train()(x)
    assert not torch.equal(encoder.state_dict()["norm.mean"], before["norm.mean"])
