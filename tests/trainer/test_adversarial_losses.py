"""What the critic says reaches the decoder, each side's terms move that side alone, and each tells good from bad."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from engine.config import LossConfig
from engine.model import soft
from engine.model.batch import Notes, Offsets
from engine.model.soft import SoftBars
from engine.model.vaegan import MusicTransformerVAEGAN
from tests.engine import small
from trainer.adversary import balance
from trainer.batches import Batch
from trainer.losses import CRITIC, MODEL, REGISTRY, Decoded, total
from trainer.losses.registry import ADVERSARIAL
from trainer.objective import Objective

HEARD = ("adversarial", "feature_matching", "perceptual")
OURS = [name for name, term in REGISTRY.items() if term.needs == "critic"]
BARS = small.conditions([96] * 16, [8, 8])


def tunes() -> np.ndarray:
    """Two pieces of eight bars, the second five semitones up."""
    second = small.tune(8, 5)
    second["bar"] += 8
    return np.concatenate([small.tune(8), second])


TARGET = Notes.of(tunes())
BATCH = Batch(TARGET, TARGET, BARS, Offsets.none(16))


def only(*names: str) -> LossConfig:
    others = tuple(n for n in REGISTRY if n not in names)
    return LossConfig(on=names, off=others, weights=dict.fromkeys(names, 1.0))  # "adversarial" names a group as well


def objective_of(model: MusicTransformerVAEGAN, *names: str) -> Objective:
    """These terms and no other, not even a likelihood, without which no run may begin."""
    made = Objective(model, LossConfig())
    made.config = only(*names)
    return made


@pytest.fixture(scope="module")
def learnt() -> MusicTransformerVAEGAN:
    """A model that plays about the right notes, and a critic that was taught to tell them from shuffled ones."""
    torch.set_num_threads(1)
    made = small.model(mode="vae_gan")
    small.learn(made, tunes(), BARS, 50, loss=replace(only("onset", "duration", "velocity"), off=tuple(OURS)))
    assert made.critic is not None
    optimiser = torch.optim.Adam(made.critic.parameters(), lr=1e-3, betas=(0.0, 0.99))
    rng = torch.Generator().manual_seed(0)
    terms = [REGISTRY[name] for name in ("critic_hinge", "latent_critic", "masked_bar")]
    for step in range(50):
        d = view(made, shuffled(real(), step), generator=rng)
        loss = torch.stack([term.function(d) for term in terms]).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        made.critic.settle()
    return made.eval()


@pytest.fixture
def unsure(learnt: MusicTransformerVAEGAN) -> MusicTransformerVAEGAN:
    """The same, as unsure as a model of much music is: some of its notes are wrong."""
    made = copy.deepcopy(learnt)
    with torch.no_grad():
        for head in (made.decoder.cells, made.decoder.duration, made.decoder.velocity):
            head.weight *= 0.7
            head.bias *= 0.9
    return made


def view(
    model: MusicTransformerVAEGAN, fake: SoftBars | None = None, generator: torch.Generator | None = None
) -> Decoded:
    """What the terms see when the critic learns; `fake` stands in for what the decoder said."""
    with torch.no_grad():
        d = Objective(model, LossConfig()).decode(BATCH, 1.0, generator, generator is None)
    if fake is not None:
        d.__dict__["fake"] = fake
    return d


def real(notes: Notes = TARGET) -> SoftBars:
    return soft.real(notes, BARS)


def shuffled(bars: SoftBars, seed: int) -> SoftBars:
    """The same notes of every bar, at other clocks and pitches."""
    rng = torch.Generator().manual_seed(seed)
    clock, pitch = (torch.randperm(n, generator=rng) for n in bars.onset.shape[1:])
    onset, duration, velocity = (g[:, clock][:, :, pitch] for g in (bars.onset, bars.duration, bars.velocity))
    return SoftBars(onset, duration, velocity, bars.inside)


def moved(model: MusicTransformerVAEGAN, name: str, *, side: str | None = None) -> dict[str, float]:
    """Length of the gradient of one term on each part of the model, and on the decoder's heads."""
    model.zero_grad(set_to_none=True)
    objective = objective_of(model, name)
    rng = torch.Generator().manual_seed(0)
    value, _, _ = objective(BATCH, 1.0, rng, side=side or REGISTRY[name].side)
    if value.requires_grad:
        value.backward()
    found: dict[str, float] = {}
    for n, p in model.named_parameters():
        for part in (n.split(".")[0], ".".join(n.split(".")[:2])):
            found[part] = found.get(part, 0.0) + (0.0 if p.grad is None else float(p.grad.norm()))
    return found


# ---------------------------------------------------------------- gradients


@pytest.mark.parametrize("name", HEARD)
def test_the_decoder_hears_the_critic(unsure: MusicTransformerVAEGAN, name: str) -> None:
    """Trap 5: fake tokens were sampled under no_grad and the adversarial gradient was exactly zero."""
    found = moved(unsure, name)
    for part in ("decoder", "encoder", "decoder.cells", "decoder.duration", "decoder.velocity", "decoder.lay_out"):
        assert found[part] > 1e-4, part
    assert found["critic"] == 0


def test_the_encoder_hears_the_latent_critic(learnt: MusicTransformerVAEGAN) -> None:
    found = moved(learnt, "latent_adversarial")
    assert found["encoder"] > 1e-4
    assert found["critic"] == found["decoder"] == 0


@pytest.mark.parametrize("name", [n for n in OURS if REGISTRY[n].side == CRITIC])
def test_what_teaches_the_critic_moves_nothing_else(learnt: MusicTransformerVAEGAN, name: str) -> None:
    found = moved(learnt, name)
    assert found["critic"] > 1e-4
    assert {n: g for n, g in found.items() if g and not n.startswith("critic")} == {}


@pytest.mark.parametrize("prior", ["mixture", "flow"])
def test_a_learned_prior_is_not_moved_towards_what_fools_the_critic(prior: str) -> None:
    made = small.model(mode="vae_gan", prior=prior)
    found = moved(made, "latent_critic")
    assert found["critic"] > 1e-4
    assert found["priors"] == 0


def test_scales_and_latents_of_the_critic_are_all_taught(learnt: MusicTransformerVAEGAN) -> None:
    """No part of the critic is there for show."""
    objective = objective_of(learnt, "critic_hinge", "latent_critic", "masked_bar")
    learnt.zero_grad(set_to_none=True)
    value, _, _ = objective(BATCH, 1.0, torch.Generator().manual_seed(0), side=CRITIC)
    value.backward()
    assert learnt.critic is not None
    still = [n for n, p in learnt.critic.named_parameters() if p.grad is None or not p.grad.any()]
    assert still == []


@pytest.mark.parametrize("name", HEARD)
def test_a_step_against_the_gradient_makes_bars_more_real(unsure: MusicTransformerVAEGAN, name: str) -> None:
    """The gradient is true: steps along it lower what it is of, over draws of the cells that it has not seen."""
    made = copy.deepcopy(unsure)
    objective, learning = objective_of(made, name), list(made.decoder.parameters())

    def measured() -> float:
        with torch.no_grad():
            drawn = [objective(BATCH, 1.0, torch.Generator().manual_seed(100 + i))[1][name] for i in range(4)]
        return torch.stack(drawn).mean().item()

    before = measured()
    for step in range(15):
        value, _, _ = objective(BATCH, 1.0, torch.Generator().manual_seed(step))
        slopes = torch.autograd.grad(value, learning, allow_unused=True)
        length = torch.stack([slope.norm() for slope in slopes if slope is not None]).norm()
        with torch.no_grad():
            for p, slope in zip(learning, slopes, strict=True):
                if slope is not None:
                    p -= 0.05 * slope / length
    assert measured() < before - 0.1 * abs(before)


# ---------------------------------------------------------------- each term tells good from bad


@pytest.mark.parametrize("name", HEARD)
def test_music_is_better_than_the_same_notes_shuffled(learnt: MusicTransformerVAEGAN, name: str) -> None:
    """With a wrong note, and shuffled otherwise than the critic has ever heard."""
    almost = real()
    almost.onset[0, 0, 88 - 21 - 20] = 1
    good, bad = view(learnt, almost), view(learnt, shuffled(real(), 99))
    assert REGISTRY[name].function(good) < REGISTRY[name].function(bad) - 0.1


@pytest.mark.parametrize("name", ["feature_matching", "perceptual"])
def test_what_was_written_is_not_apart_from_itself(learnt: MusicTransformerVAEGAN, name: str) -> None:
    assert REGISTRY[name].function(view(learnt, real())).item() == pytest.approx(0, abs=1e-6)


def test_to_the_encoder_one_note_missing_is_nearer_than_three_and_loudness_and_length_are_heard(
    learnt: MusicTransformerVAEGAN,
) -> None:
    def apart(*, without: int = 0, **changes: int) -> float:
        rows = tunes()
        for name, value in changes.items():
            rows[name][0] = value
        return REGISTRY["perceptual"].function(view(learnt, real(Notes.of(rows[without:])))).item()

    assert 0 < apart(without=1) < apart(without=3)
    assert 0 < apart(velocity=120) < apart(without=3)
    assert 0 < apart(duration=96) < apart(without=3)


def test_every_cell_hears_from_the_encoder_what_would_be_better(learnt: MusicTransformerVAEGAN) -> None:
    """Missing notes are asked for, false ones sent away, silent ones told to stay; the encoder itself stands still."""

    def slope(rows: np.ndarray, false: bool) -> tuple[Tensor, Tensor]:
        bars = real(Notes.of(rows))
        bars.onset[:, 5, 70] = float(false)
        onset = bars.onset.requires_grad_()
        REGISTRY["perceptual"].function(view(learnt, bars)).backward()
        return onset.detach(), onset.grad

    learnt.zero_grad(set_to_none=True)
    onset, wanted = slope(tunes()[::2], False)
    asked = wanted[(real().onset > 0.5) & (onset == 0)]
    assert (asked < 0).float().mean() > 0.9
    _, wanted = slope(tunes(), True)
    assert (wanted[:, 5, 70] > 0).all()
    assert (wanted[:, 4:8, 60:80] > 0).float().mean() > 0.7
    assert all(p.grad is None for p in learnt.encoder.parameters())


def test_latents_from_the_prior_are_better_than_latents_in_a_corner(learnt: MusicTransformerVAEGAN) -> None:
    d = view(learnt)
    rng = torch.Generator().manual_seed(5)

    def score(shift: float) -> Tensor:
        z = [shift + torch.randn(z.shape, generator=rng) for z in (d.posterior.z_global, d.posterior.z_local)]
        fine = shift + torch.randn(d.posterior.z_fine.shape, generator=rng)
        drawn = replace(d.posterior, z_global=z[0], z_local=z[1], z_fine=fine)
        return REGISTRY["latent_adversarial"].function(replace(d, posterior=drawn))

    critic = learnt.critic
    assert critic is not None
    optimiser = torch.optim.Adam(critic.of_latents.parameters(), lr=2e-3, betas=(0.0, 0.99))
    for step in range(40):
        seen = replace(d.posterior, z_fine=3 + torch.randn(16, 16), z_local=3 + torch.randn(4, 8))
        loss = REGISTRY["latent_critic"].function(replace(d, posterior=seen, noise=torch.Generator().manual_seed(step)))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        critic.settle()
    assert score(0.0) < score(3.0) - 1


def test_the_hinge_is_low_where_the_critic_can_tell(learnt: MusicTransformerVAEGAN) -> None:
    blank = small.model(mode="vae_gan")
    wrong = shuffled(real(), 99)
    taught, untaught = (REGISTRY["critic_hinge"].function(view(m, wrong)).item() for m in (learnt, blank))
    assert taught < 0.5 * untaught
    assert taught < REGISTRY["critic_hinge"].function(view(learnt, real())).item()


def test_hidden_bars_are_guessed_better_after_learning(learnt: MusicTransformerVAEGAN) -> None:
    rng = torch.Generator()
    taught, untaught = (
        REGISTRY["masked_bar"].function(replace(view(m), noise=rng.manual_seed(3))).item()
        for m in (learnt, small.model(mode="vae_gan"))
    )
    assert taught < 0.8 * untaught


def test_penalties_are_of_the_slopes_they_name(learnt: MusicTransformerVAEGAN) -> None:
    """A critic that is twice as loud is twice as steep: R1 grows fourfold, and the other way round from slope 1."""
    made = copy.deepcopy(learnt)
    assert made.critic is not None

    def measured(loud: float) -> tuple[float, float, float]:
        for scale in made.critic.scales.values():
            scale.score.forward = lambda x, w=scale.score: loud * torch.nn.functional.linear(x, w.weight, w.bias)
        d = view(made, shuffled(real(), 7), torch.Generator().manual_seed(0))
        r1 = REGISTRY["r1"].function(d).item()
        steep = REGISTRY["gradient_penalty"].function(d).item()
        return r1, steep, float(d.shares.sum())

    (r1, _, bars), (louder, _, _), (_, flat, _) = measured(1.0), measured(2.0), measured(0.0)
    assert r1 > 0
    assert louder == pytest.approx(4 * r1, rel=1e-3)
    assert flat == pytest.approx(bars, rel=1e-3)  # a slope of 0 is 1 away from 1 in every bar


def test_every_term_has_a_reason_of_its_own() -> None:
    assert len({REGISTRY[name].reason for name in OURS}) == len(OURS) == 9


# ---------------------------------------------------------------- balance


def test_the_adversarial_gradient_is_a_share_of_the_likelihood_s() -> None:
    slots = torch.randn(4, 3, requires_grad=True)
    likelihood, said = (slots.pow(2) * 50).sum(), (slots * 0.01).sum()
    factor = balance(likelihood, said, slots, 0.2)
    ratio = torch.autograd.grad(factor * said, slots)[0].norm() / torch.autograd.grad(likelihood, slots)[0].norm()
    assert float(ratio) == pytest.approx(0.2)
    assert not factor.requires_grad


def test_a_louder_critic_has_no_more_say(learnt: MusicTransformerVAEGAN) -> None:
    """Its scores are scaled; what reaches the decoder is not."""
    found = []
    for weight in (0.1, 100.0):
        config = LossConfig(off=("latent", "feature_matching", "perceptual"), weights={"adversarial": 0.1})
        d = Objective(learnt, config).decode(BATCH, 1.0, None, True)
        real_verdict, fake_verdict = d.verdicts
        louder = {n: replace(s, score=weight * s.score) for n, s in fake_verdict.items()}
        d.__dict__["verdicts"] = (real_verdict, louder)
        objective, _ = total(d)
        found.append(torch.autograd.grad(objective, d.slots)[0])
    assert torch.allclose(found[0], found[1], rtol=1e-3, atol=1e-6)


def test_weights_say_how_loud_the_group_is(learnt: MusicTransformerVAEGAN) -> None:
    def share(weight: float) -> float:
        config = LossConfig(off=("latent", "feature_matching", "perceptual"), weights={"adversarial": weight})
        d = Objective(learnt, config).decode(BATCH, 1.0, None, True)
        whole, plain = total(d)[0], total(d, skip=(ADVERSARIAL,))[0]
        said = torch.autograd.grad(whole - plain, d.slots, retain_graph=True)[0]
        return float(said.norm() / torch.autograd.grad(plain, d.slots)[0].norm())

    assert share(0.1) == pytest.approx(0.1, rel=1e-2)
    assert share(0.4) == pytest.approx(0.4, rel=1e-2)


def test_groups_left_out_cost_and_say_nothing(learnt: MusicTransformerVAEGAN) -> None:
    objective = Objective(learnt, LossConfig())
    _, values, _ = objective(BATCH, 1.0, None, True, skip=(ADVERSARIAL, "latent"))
    assert not {n for n in OURS if REGISTRY[n].side == MODEL} & set(values)
    assert "balance" not in values
    _, values, _ = objective(BATCH, 1.0, None, True)
    assert {*HEARD, "latent_adversarial", "balance"} <= set(values)


def test_without_a_critic_the_terms_are_left_out() -> None:
    _, values, _ = Objective(small.model(), LossConfig())(BATCH, 1.0, None, True)
    assert not set(OURS) & set(values)
