"""What latents cost under every prior, nats that are free, and notes hidden from the encoder while training."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from engine.config import LossConfig, parse
from engine.model.batch import Notes, Offsets
from engine.model.latents import LEVELS, Normal, Posterior, kl_to_standard, sample
from engine.model.vaegan import MusicTransformerVAEGAN
from tests.engine import small
from trainer.batches import Batch
from trainer.losses import REGISTRY, Decoded, total
from trainer.objective import Objective, hidden

WIDTH = {"global": 8, "local": 8, "fine": 16}


def batch(bars: int = 8) -> Batch:
    plain = Notes.of(small.tune(bars))
    return Batch(plain, plain, small.conditions([96] * bars), Offsets.none(bars))


def decoded(model: MusicTransformerVAEGAN, loss: LossConfig, shrink: float = 1.0) -> Decoded:
    """A decoding whose posteriors are `shrink` times as far from N(0, 1) as the encoder's."""
    objective = Objective(model, loss)
    with torch.no_grad():
        d = objective.decode(batch(), 1.0, torch.Generator().manual_seed(0), False)
    q = [Normal(shrink * n.mean, shrink * n.logvar) for n in (getattr(d.posterior, f"q_{level}") for level in LEVELS)]
    return replace(d, posterior=Posterior(*q, *(sample(n, torch.Generator().manual_seed(1)) for n in q)))


@pytest.mark.parametrize("level", LEVELS)
def test_without_free_bits_the_gaussian_costs_its_closed_form(level: str) -> None:
    d = decoded(small.model(), LossConfig(free_bits=0.0))
    nats = kl_to_standard(getattr(d.posterior, f"q_{level}")).sum()
    assert float(REGISTRY[f"kl_{level}"].function(d)) == pytest.approx(float(nats), rel=1e-6)


@pytest.mark.parametrize("kind", ["gaussian", "mixture", "flow"])
@pytest.mark.parametrize("level", LEVELS)
def test_the_first_nats_of_every_level_are_free_under_every_prior(level: str, kind: str) -> None:
    """A posterior near the prior costs exactly its free bits, whatever it does; one far away costs what it is."""
    free = LossConfig(free_bits=0.3, free_bits_fine=0.3)
    model = small.model(prior=kind, seed=1)
    term = REGISTRY[f"kl_{level}"].function
    near = decoded(model, free, 0.0)
    rows = len(getattr(near.posterior, f"z_{level}"))
    with torch.no_grad():  # a prior that has found the posterior
        for p in model.priors.parameters():
            p.zero_()
        assert float(term(near)) == pytest.approx(0.3 * WIDTH[level] * rows, rel=1e-5)
        far = decoded(model, free, 10.0)
        q, z = (getattr(far.posterior, f"{what}_{level}") for what in "qz")
        nats = model.priors.divergence(level, q, z)
        assert float(term(far)) == pytest.approx(float(nats.sum()), rel=0.05)
        assert float(term(far)) > 2 * 0.3 * WIDTH[level] * rows


def test_free_bits_hold_for_each_dimension_where_there_are_dimensions() -> None:
    """One dimension far away does not pay for fifteen that collapsed."""
    d = decoded(small.model(), LossConfig(free_bits_fine=0.5), 0.0)
    mean = d.posterior.q_fine.mean.clone()
    mean[:, 0] = 10.0
    one_far = replace(d, posterior=replace(d.posterior, q_fine=Normal(mean, d.posterior.q_fine.logvar)))
    assert float(REGISTRY["kl_fine"].function(one_far)) == pytest.approx(8 * (50 + 15 * 0.5), rel=1e-5)


@pytest.mark.parametrize("kind", ["mixture", "flow"])
def test_a_learned_prior_learns_from_the_divergence(kind: str) -> None:
    model = small.model(prior=kind)
    loss, values, _ = Objective(model, LossConfig(free_bits=0.0))(batch(), 1.0, torch.Generator().manual_seed(0))
    loss.backward()
    moved = {n for n, p in model.named_parameters() if n.startswith("priors.") and p.grad is not None and p.grad.any()}
    for level in LEVELS:
        assert any(n.startswith(f"priors.levels.{level}") for n in moved)
        assert f"kl_{level}" in values


def test_a_learned_prior_comes_nearer_to_its_posteriors_than_the_normal() -> None:
    model = small.model(prior="mixture")
    drawn = model.encode(batch().source, batch().bars, torch.Generator().manual_seed(0))
    z = (3 + drawn.z_fine).detach()
    optimiser = torch.optim.Adam(model.priors.of("fine").parameters(), lr=0.05)
    first = -model.priors.log_prob("fine", z).mean().item()
    for _ in range(40):
        loss = -model.priors.log_prob("fine", z).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss.item() < first - 16


def test_a_level_that_is_off_has_no_free_bits_to_spend() -> None:
    model = small.model(use_hierarchical=False)
    d = Objective(model, LossConfig()).decode(batch(), 1.0, torch.Generator().manual_seed(0), False)
    _, values = total(d)
    assert float(values["kl_global"]) == float(values["kl_local"]) == 0
    assert float(values["kl_fine"].detach()) > 0


# ---------------------------------------------------------------- word dropout


def test_a_share_of_the_source_is_hidden_and_whole_notes_remain() -> None:
    notes = Notes.of(small.tune(64))
    kept = hidden(notes, 0.3, torch.Generator().manual_seed(0))
    assert len(kept.bar) == pytest.approx(0.7 * len(notes.bar), rel=0.05)
    rows = {tuple(row) for row in zip(*(getattr(notes, n).tolist() for n in Notes.__slots__), strict=True)}
    assert {tuple(row) for row in zip(*(getattr(kept, n).tolist() for n in Notes.__slots__), strict=True)} <= rows
    assert len(hidden(notes, 1.0, torch.Generator()).bar) == 0


def test_notes_are_hidden_while_training_by_the_run_s_own_generator_and_never_in_evaluation() -> None:
    model, loss = small.model(), parse("loss: {word_dropout: 0.5}").loss
    objective, plain = Objective(model, loss), Objective(model, LossConfig())

    def means(objective: Objective, seed: int | None) -> torch.Tensor:
        noise = None if seed is None else torch.Generator().manual_seed(seed)
        with torch.no_grad():
            d = objective.decode(batch(), 1.0, noise, seed is None)
        assert len(d.target.bar) == len(batch().target.bar)  # what is asked for stays whole
        return d.posterior.q_fine.mean

    model.train()
    whole = means(plain, 1)
    assert not torch.equal(means(objective, 1), whole)
    assert torch.equal(means(objective, 1), means(objective, 1))  # a run that resumes hides the same
    assert not torch.equal(means(objective, 1), means(objective, 2))
    assert torch.equal(means(objective, None), means(plain, None))
    model.eval()
    assert torch.equal(means(objective, 1), means(plain, 1))
