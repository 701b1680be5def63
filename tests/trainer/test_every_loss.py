"""Every registered loss term, four questions each: does it move something, does it rank right, does it help, and why.

The tables here and in `loss_pairs` name every term of the registry; a term without an entry fails. Whether it helps is
measured on what the model then decodes or encodes, by `engine.attributes` and plain NumPy, never by the loss itself.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch

from engine.attributes import NAMES
from engine.config import LossConfig
from engine.model import fields as f
from engine.model import soft
from engine.model.batch import Notes
from engine.model.latents import LEVELS
from tests.engine import small
from tests.trainer import loss_measures as measured
from tests.trainer.loss_measures import BARS, BATCH, MUSIC, K, Measure, Model
from tests.trainer.loss_pairs import PAIRS
from trainer.adversary import HEARING
from trainer.losses import CRITIC, MODEL, REGISTRY, Decoded, Term
from trainer.losses.attribute import STEEPEST, calm
from trainer.losses.registry import ADVERSARIAL, OPTIONAL, weight_of
from trainer.objective import Objective
from trainer.schedules import learning_rate

STEPS = 50


# ---------------------------------------------------------------- models that know a piece more or less


@pytest.fixture(scope="session")
def learnt() -> Model:
    """A small model that plays MUSIC without a wrong note, with a critic that has learnt nothing."""
    torch.set_num_threads(1)
    made = small.model(mode="vae_gan")
    small.learn(made, MUSIC, BARS, 70)
    return made


@pytest.fixture(scope="session")
def shaken(learnt: Model) -> Model:
    """The same with noise in every head: about every second note is wrong, and most fields are."""
    made = copy.deepcopy(learnt)
    rng = torch.Generator().manual_seed(1)
    d = made.decoder
    with torch.no_grad():
        for head, size in ((d.cells, 0.35), (d.duration, 0.6), (d.velocity, 0.6), (d.rest, 0.6)):
            head.weight += size * torch.randn(head.weight.shape, generator=rng)
    return made


@pytest.fixture(scope="session")
def judged(shaken: Model) -> Model:
    """The shaken model beside a critic that knows its notes from MUSIC, and its latents from the prior."""
    made = copy.deepcopy(shaken)
    for name in ("critic_hinge", "latent_critic"):
        train(made, name, 40)
    return made


def value(model: Model, name: str, noise: torch.Generator) -> torch.Tensor:
    """One term per 4/4 bar on MUSIC, as in training."""
    term = REGISTRY[name]
    objective = Objective(model, LossConfig(free_bits=0.0))
    with torch.set_grad_enabled(term.side != CRITIC):
        decoded = objective.decode(BATCH, 1.0, noise, False)
    return term.function(decoded) / K


def train(model: Model, name: str, steps: int = STEPS, rate: float = 5e-3) -> None:
    """Optimiser steps on one term alone, on the side it belongs to; what the critic says goes to the decoder."""
    term = REGISTRY[name]
    sides = {CRITIC: ("critic",), MODEL: ("decoder",) if term.group == ADVERSARIAL else ("encoder", "decoder")}
    mine = [p for n, p in model.named_parameters() if n.startswith(sides[term.side])]
    optimiser = torch.optim.Adam(mine, lr=rate, fused=True)
    noise = torch.Generator().manual_seed(0)
    model.train()
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = learning_rate(step, steps, rate, 1)
        optimiser.zero_grad(set_to_none=True)
        value(model, name, noise).backward()
        torch.nn.utils.clip_grad_norm_(mine, 1.0)
        optimiser.step()
    model.eval()


# ---------------------------------------------------------------- 1. it moves something


def gradients(model: Model, name: str) -> Counter[str]:
    """Length of the gradient of one term on each part of a model."""
    model.zero_grad(set_to_none=True)
    lengths: Counter[str] = Counter()
    loss = value(model, name, torch.Generator().manual_seed(0))
    if loss.requires_grad:
        loss.backward()
    for n, p in model.named_parameters():
        if p.grad is not None:
            lengths[n.split(".")[0]] += float(p.grad.norm())
    return lengths


def about(term: Term) -> str:
    """The part of the model that a term must reach."""
    if term.side == CRITIC:
        return "critic"
    of_latents = term.group in ("kl", "regularity", "latent") or term.name == "latent_order"
    return "encoder" if of_latents else "decoder"


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_every_term_moves_what_it_is_about(name: str, shaken: Model) -> None:
    """Traps 5 and 6: the adversarial gradient was exactly zero, the constraints' too, and the log was full of both."""
    model = copy.deepcopy(shaken).train()
    TRIALS[name].start(model)
    moved = gradients(model, name)
    assert all(np.isfinite(list(moved.values())))
    assert moved[about(REGISTRY[name])] > 1e-4
    assert moved["critic"] == 0 or REGISTRY[name].side == CRITIC
    assert moved["decoder"] == 0 or about(REGISTRY[name]) == "decoder"


def test_the_gradient_test_sees_a_constraint_computed_on_argmax_ids(
    shaken: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trap 6, the fault put back: bars read off as ids are the same bars, and nothing can learn from them."""
    constraints = [n for n, t in REGISTRY.items() if t.group == "constraint"]
    alive = {n: gradients(shaken, n)["decoder"] for n in constraints}
    through = soft.decoded

    def ids(*parts: Any) -> soft.SoftBars:
        bars = through(*parts)
        grid = torch.zeros_like(bars.onset)
        grid[bars.onset > 0.5] = 1.0
        return soft.SoftBars(grid, bars.duration.detach(), bars.velocity.detach(), bars.inside)

    monkeypatch.setattr(soft, "decoded", ids)
    dead = {n: gradients(shaken, n)["decoder"] for n in constraints}
    assert min(alive.values()) > 1e-4
    assert set(dead.values()) == {0.0}


# ---------------------------------------------------------------- 2. it ranks a good and a bad one rightly


@pytest.mark.parametrize("name", sorted(n for n, t in REGISTRY.items() if not t.needs))
def test_every_term_prefers_the_good_one_of_a_hand_made_pair(name: str) -> None:
    """And by a clear margin: a term whose value never changes would steer nothing (trap 12)."""
    why, good, bad = PAIRS[name]
    at_good, at_bad = (float(REGISTRY[name].function(d())) for d in (good, bad))
    assert at_good < 0.8 * at_bad, why


@pytest.mark.parametrize("name", sorted(n for n, t in REGISTRY.items() if t.needs == "critic"))
def test_every_term_of_the_critic_prefers_the_good_one_of_a_pair(name: str, shaken: Model, judged: Model) -> None:
    """For the model real bars are better than shaken ones; for the critic it is better to have learnt."""
    why, good, bad = JUDGEMENTS[name]
    at_good, at_bad = (float(REGISTRY[name].function(make(shaken, judged)).detach()) for make in (good, bad))
    assert at_good < at_bad - 0.2 * abs(at_bad), why


def heard_by(model: Model, real: bool = False, prior: bool = False) -> Decoded:
    """MUSIC as a model decodes it, or as it is; with the model's latents, or the prior's."""
    noise = torch.Generator().manual_seed(0)
    with torch.no_grad():
        d = Objective(model.eval(), LossConfig(free_bits=0.0)).decode(BATCH, 1.0, noise, False)
    if prior:
        drawn = (
            torch.randn(getattr(d.posterior, f"z_{n}").shape, generator=noise) for n in ("global", "local", "fine")
        )
        d = replace(d, posterior=replace(d.posterior, **dict(zip((f"z_{n}" for n in LEVELS), drawn, strict=True))))
    if real:
        d.__dict__["fake"] = d.real
    return d


def steep(model: Model, gain: float) -> Decoded:
    """Beside a critic whose scores are steeper by a factor."""
    model = copy.deepcopy(model)
    with torch.no_grad():
        for scale in model.critic.scales.values():
            scale.norm.weight *= gain
    return heard_by(model)


Judgement = tuple[str, Callable[[Model, Model], Decoded], Callable[[Model, Model], Decoded]]
AS_WRITTEN: tuple[Any, Any] = (lambda _, judged: heard_by(judged, real=True), lambda _, judged: heard_by(judged))
LEARNT: tuple[Any, Any] = (lambda _, judged: heard_by(judged), lambda shaken, _: heard_by(shaken))
JUDGEMENTS: dict[str, Judgement] = {
    "adversarial": ("Real bars sound more real than shaken ones.", *AS_WRITTEN),
    "feature_matching": ("Real bars are what real bars are.", *AS_WRITTEN),
    "perceptual": ("The encoder hears real bars as real bars.", *AS_WRITTEN),
    "latent_adversarial": (
        "Latents of the prior look more like it than the posterior's.",
        lambda _, judged: heard_by(judged, prior=True),
        lambda _, judged: heard_by(judged),
    ),
    "critic_hinge": ("A critic that has learnt tells real from shaken.", *LEARNT),
    "latent_critic": ("A critic that has learnt tells the prior from the posterior.", *LEARNT),
    "r1": ("Flat is calm, steep is not.", lambda m, _: steep(m, 0.1), lambda m, _: steep(m, 10.0)),
    "gradient_penalty": (
        "A slope near 1 is better than one of many times that.",
        lambda m, _: steep(m, 1.0),
        lambda m, _: steep(m, 30.0),
    ),
    "masked_bar": (
        "A critic that has guessed guesses better.",
        lambda shaken, _: heard_by(_guessed(shaken)),
        lambda shaken, _: heard_by(shaken),
    ),
}


def _guessed(model: Model) -> Model:
    made = copy.deepcopy(model)
    train(made, "masked_bar", 20)
    return made


# ---------------------------------------------------------------- starts: what is wrong before a term mends it


def as_it_is(model: Model) -> None:
    pass


def collapsed(model: Model) -> None:
    """All bars, phrases and pieces have nearly the same latents."""
    e = model.encoder
    with torch.no_grad():
        for part in (e.pool.weight, e.to_fine.mean.weight, e.to_local.mean.weight, e.to_global.mean.weight):
            part *= 0.03


def entangled(model: Model) -> None:
    """Every dimension of the bar latent says mostly what the first says."""
    e = model.encoder
    z = model.config.latent_dim
    with torch.no_grad():
        e.pool.weight[..., 1:z] = 0.3 * e.pool.weight[..., 1:z] + e.pool.weight[..., :1]
        e.to_fine.mean.weight[1:] = 0.3 * e.to_fine.mean.weight[1:] + e.to_fine.mean.weight[:1]


def shifted(model: Model) -> None:
    """Bar latents lie to one side of the prior."""
    with torch.no_grad():
        model.encoder.to_fine.mean.bias += 1.5


def a_tritone_off(model: Model) -> None:
    """Every note of MUSIC is played six semitones too high."""
    cells = model.decoder.cells
    with torch.no_grad():
        for x in (cells.weight, cells.bias):
            x.copy_(x.view(f.SLOT_CLOCKS, f.N_PITCHES, -1).roll(6, 1).view_as(x))


def staccato(model: Model) -> None:
    """Most notes are a 16th or shorter."""
    with torch.no_grad():
        model.decoder.duration.bias[:6] += 6


def clipped(model: Model) -> None:
    """Every note is a clock long."""
    with torch.no_grad():
        model.decoder.duration.bias[0] += 30


def crowded(model: Model) -> None:
    """Every cell is twenty times as likely."""
    with torch.no_grad():
        model.decoder.cells.bias += 3


def pointed(model: Model) -> None:
    """Posteriors are nearly points."""
    e = model.encoder
    with torch.no_grad():
        for gaussian in (e.to_fine, e.to_local, e.to_global):
            gaussian.logvar.bias.fill_(-12.0)


# ---------------------------------------------------------------- 3. fifty steps on it alone mend what it is for


@dataclass(frozen=True)
class Trial:
    """A measure, the share of it that may be left after fifty steps (or, for one that rises, how much it must gain)."""

    measure: Measure
    left: float = 1.0
    gain: float = 0.0
    start: Callable[[Model], None] = as_it_is
    model: str = "shaken"
    draws: int = 0  # measured on as many draws; 0 is the greedy notes from the posterior means
    temperature: float = soft.TEMPERATURE  # of the draws
    rate: float = 5e-3

    def figure(self, model: Model) -> float:
        """What the measure says of a model."""
        if not self.draws:
            return self.measure(measured.look(model))
        seeds = (torch.Generator().manual_seed(i) for i in range(self.draws))
        return float(np.mean([self.measure(measured.look(model, rng, self.temperature)) for rng in seeds]))


DRAWN = {"draws": 4}  # for terms that look at takes
EXPECTED = {"draws": 4, "temperature": 1.0}  # for terms that look at expectations


def octaves(clocks: np.ndarray) -> np.ndarray:
    return np.log2(np.maximum(clocks, 1))


TRIALS: dict[str, Trial] = {
    "onset": Trial(measured.f1_error, 0.5),
    "duration": Trial(measured.field_error("duration", octaves), 0.5),
    "velocity": Trial(measured.field_error("velocity"), 0.5),
    "micro": Trial(measured.field_error("micro"), 0.5),
    "part": Trial(measured.part_error, 0.5),
    "kl_fine": Trial(measured.mean_square("fine"), 0.5),
    "kl_local": Trial(measured.mean_square("local"), 0.5),
    "kl_global": Trial(measured.mean_square("global"), 0.5),
    "adversarial": Trial(measured.count_error, 0.5, model="judged", rate=2e-4, **DRAWN),
    "feature_matching": Trial(measured.count_error, 0.5, model="judged", rate=2e-4, **DRAWN),
    "perceptual": Trial(measured.chroma_error, 0.85, start=a_tritone_off, model="learnt", **DRAWN),
    "latent_adversarial": Trial(measured.mean_square("fine"), 0.85, model="judged", rate=2e-4),
    "critic_hinge": Trial(measured.wrong_verdicts, 0.5, **DRAWN),
    "latent_critic": Trial(measured.wrong_latents, 0.5),
    "r1": Trial(measured.bumpiness, 0.8),
    "gradient_penalty": Trial(measured.bumpiness, 0.8),
    "masked_bar": Trial(measured.unguessed, 0.8),
    **{f"attribute_{name}": Trial(measured.attribute_error(name), 0.7, **DRAWN) for name in NAMES},
    "attribute_articulation": Trial(
        measured.attribute_error("articulation"), 0.5, start=staccato, model="learnt", **DRAWN
    ),
    "latent_order": Trial(measured.ordered_dimensions, gain=0.3),
    "rhythm_regularity": Trial(measured.pulse_error, 0.7, **DRAWN),
    "metre_profile": Trial(measured.metre_error, 0.7, **DRAWN),
    "harmonic_consistency": Trial(measured.neighbour_error, 0.7, start=a_tritone_off, **DRAWN),
    "tonality": Trial(measured.foreign_notes, 0.7, **DRAWN),
    "interval_profile": Trial(measured.interval_error, 0.7, **DRAWN),
    "chord_size": Trial(measured.chord_error, 0.7, start=crowded, **DRAWN),
    "voice_leading": Trial(measured.movement_error, 0.8, **DRAWN),
    "contour": Trial(measured.contour_error, 0.7, **DRAWN),
    "rests": Trial(measured.silence_error, 0.7, start=clipped, **DRAWN),
    "onset_count": Trial(measured.count_error, 0.5, **EXPECTED),
    "chroma": Trial(measured.chroma_error, 0.5),
    "groove": Trial(measured.onset_error, 0.5),
    "pitch_set": Trial(measured.keys_error, 0.5),
    "top_line": Trial(measured.outer_error(np.max), 0.5),
    "bass_line": Trial(measured.outer_error(np.min), 0.5),
    "note_overlap": Trial(measured.f1_error, 0.5),
    "bar_similarity": Trial(measured.repetition_error, 0.7, rate=1e-2),
    "harmony_over_time": Trial(measured.sounding_error, 0.7, **DRAWN),
    "duration_distance": Trial(measured.field_error("duration", octaves), 0.6),
    "velocity_distance": Trial(measured.field_error("velocity"), 0.5),
    "accents": Trial(measured.stress_error, 0.5),
    "part_balance": Trial(measured.part_share_error, 0.8, **EXPECTED),
    "own_latent": Trial(measured.stray_bars, 0.6, start=collapsed),
    "mutual_information": Trial(measured.lost_rows, 0.5, start=collapsed),
    "total_correlation": Trial(measured.gaussian_dependence, 0.7, start=entangled),
    "orthogonality": Trial(measured.correlation, 0.7, start=entangled),
    "level_orthogonality": Trial(measured.level_correlation, 0.7),
    "latent_smoothness": Trial(measured.map_order, gain=0.2),
    "variance_floor": Trial(measured.narrow, 0.5, start=pointed),
    "aggregate_posterior": Trial(measured.mean_square("fine"), 0.5, start=shifted),
    "active_units": Trial(measured.dead, 0.5, start=collapsed),
}


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_fifty_steps_on_a_term_alone_mend_what_it_is_there_for(name: str, request: pytest.FixtureRequest) -> None:
    trial = TRIALS[name]
    model = copy.deepcopy(request.getfixturevalue(trial.model))
    trial.start(model)
    before = trial.figure(model)
    train(model, name, rate=trial.rate)
    after = trial.figure(model)
    if trial.gain:
        assert after >= before + trial.gain
    else:
        assert after <= trial.left * before


def test_the_tables_name_no_term_that_is_gone() -> None:
    assert set(TRIALS) == set(REGISTRY)
    assert {**PAIRS, **JUDGEMENTS}.keys() == REGISTRY.keys()


# ---------------------------------------------------------------- 4. it says why it is there


def test_every_term_states_a_reason_of_its_own() -> None:
    reasons = [t.reason for t in REGISTRY.values()]
    assert len(set(reasons)) == len(reasons)
    for name, term in REGISTRY.items():
        assert term.reason[0].isupper(), name
        assert term.reason.endswith("."), name
        assert len(term.reason.split()) >= 6, name
        assert term.function.__doc__, name


def test_there_are_more_than_thirty_terms_in_more_than_six_groups() -> None:
    assert len(REGISTRY) > 30
    assert len({t.group for t in REGISTRY.values()}) > 6


# ---------------------------------------------------------------- what is on, and for whom


def test_without_a_word_in_the_configuration_the_objective_stays_what_it_was(learnt: Model) -> None:
    """Optional groups are silent: no value in the log, no draw from the noise, no gradient."""
    _, values, _ = Objective(learnt, LossConfig())(BATCH, 1.0, torch.Generator().manual_seed(0), skip=HEARING)
    assert values.keys() == {"loss", *(n for n, t in REGISTRY.items() if t.group in ("reconstruction", "kl"))}
    on = [n for n, t in REGISTRY.items() if t.group in OPTIONAL]
    assert len(on) > 30
    assert not any(weight_of(REGISTRY[n], LossConfig()) for n in on)
    assert all(weight_of(REGISTRY[n], LossConfig(on=(n,))) == REGISTRY[n].weight for n in on)
    assert all(weight_of(REGISTRY[n], LossConfig(on=(REGISTRY[n].group,))) > 0 for n in on)


@pytest.mark.parametrize("name", sorted(n for n, t in REGISTRY.items() if t.styled))
def test_a_style_s_factor_counts_in_its_bars_alone(name: str, shaken: Model) -> None:
    """The first piece is of style "one", the second of style "two"."""

    def weighed(**factors: float) -> float:
        config = LossConfig(style_weights={style: {name: by} for style, by in factors.items()})
        d = replace(heard_by(shaken), config=config, noise=torch.Generator().manual_seed(1))
        return float(REGISTRY[name].function(d).detach())

    first, second, whole = weighed(two=0.0), weighed(one=0.0), weighed()
    assert whole == pytest.approx(first + second, rel=1e-3, abs=1e-4)
    assert weighed(one=3.0) == pytest.approx(3 * first + second, rel=1e-3, abs=1e-4)
    assert min(abs(first), abs(second)) > 0 or name == "harmonic_consistency"


def test_no_bar_drowns_the_others_however_steep_its_attribute_is() -> None:
    """The design notes' first tries diverged: a bar's gradient was sixty times as long as its neighbours'."""
    bars = soft.real(Notes.of(MUSIC), BARS)
    onset = bars.onset.clone().requires_grad_()
    calmed = calm(soft.SoftBars(onset, bars.duration, bars.velocity, bars.inside))
    slopes = torch.tensor([1000.0, *[1.0] * (K - 1)])
    (calmed.onset.sum((1, 2)) * slopes).sum().backward()
    steep, *gentle = onset.grad.flatten(1).norm(dim=1).tolist()
    assert len(set(gentle)) == 1  # what was not too long is as it was
    assert steep == pytest.approx(STEEPEST * (1000 + K - 1) / K * gentle[0], rel=1e-4)
