"""The other side of a run: who learns when, nothing of it in the first stage, and exact to the bit after an end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lightning.fabric import Fabric

from engine import checkpoint
from engine.checkpoint import Checkpoint
from engine.config import Config, LossConfig
from engine.errors import MorphonyError
from engine.session import Session
from tests.engine import small
from trainer import adversary
from trainer.adversary import PENALTY_EVERY, SURE, Adversary, hears, learns, stage, warming
from trainer.batches import Windows
from trainer.loop import Step, train

FACTS = {"deviations": small.DEVIATIONS.tolist()}
LOSS = LossConfig(critic_start=0.25, adversarial_start=0.5, critic_every=2)


def gan(config: Config, mode: str = "vae_gan", loss: LossConfig = LOSS, **changes: object) -> Config:
    model = replace(config.model, mode=mode, discriminator_layers=1)
    return replace(config, model=model, loss=loss, train=replace(config.train, **changes))


def run(config: Config, windows: Windows, out: Path, **options: object) -> Iterator[Step]:
    return train(config, windows, windows, out, FACTS, accelerator="cpu", held_out_windows=1, **options)


@pytest.fixture(scope="module")
def unbroken(config: Config, windows: Windows, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Step]]:
    """Twelve steps: three alone, three in which the critic learns, six together; checkpoints at 4, 8 and 12."""
    out = tmp_path_factory.mktemp("gan")
    return out, list(run(gan(config), windows, out))


@pytest.fixture(scope="module")
def alone(config: Config, windows: Windows, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Step]]:
    """The same run without a critic."""
    out = tmp_path_factory.mktemp("vae")
    return out, list(run(gan(config, "vae"), windows, out))


# ---------------------------------------------------------------- the curriculum


def test_three_stages_follow_each_other() -> None:
    assert [stage(n, 12, LOSS) for n in range(12)] == [1] * 3 + [2] * 3 + [3] * 6
    assert [n for n in range(12) if warming(n, 12, LOSS)] == [3]  # a third of stage 2
    assert [n for n in range(12) if hears(n, 12, LOSS)] == [6, 8, 10]
    assert [n for n in range(12) if learns(n, 12, LOSS)] == [3, 4, 5, 7, 9, 11]


def test_a_critic_heard_at_every_step_learns_at_every_step() -> None:
    always = replace(LOSS, critic_every=1)
    assert [n for n in range(12) if hears(n, 12, always)] == list(range(6, 12))
    assert [n for n in range(12) if learns(n, 12, always)] == list(range(3, 12))


def test_nobody_is_heard_before_having_learnt() -> None:
    backwards = LossConfig(critic_start=0.8, adversarial_start=0.2)
    assert [stage(n, 10, backwards) for n in range(10)] == [1] * 8 + [3] * 2


def test_the_log_tells_the_stages_apart(unbroken) -> None:
    _, steps = unbroken
    heard = {"adversarial", "feature_matching", "perceptual", "latent_adversarial", "balance"}
    judged = {"critic_hinge", "accuracy_bar", "accuracy_phrase", "accuracy_piece"}
    for n, step in enumerate(steps):
        assert heard <= set(step.train) if hears(n, 12, LOSS) else not heard & set(step.train)
        judging = learns(n, 12, LOSS) and not warming(n, 12, LOSS)
        assert judged <= set(step.train) if judging else not judged & set(step.train)
        assert ("masked_bar" in step.train) == warming(n, 12, LOSS)
        assert ("latent_critic" in step.train) == learns(n, 12, LOSS)
        assert all(isinstance(v, float) for v in step.train.values())
    for step in steps:
        assert all(0 <= v <= 1 for name, v in step.train.items() if name.startswith("accuracy"))


def test_until_the_decoder_listens_everything_is_bit_for_bit_as_without_a_critic(unbroken, alone) -> None:
    """Stage 1 and stage 2: the critic draws from randomness of its own."""
    with_critic, without = unbroken[1], alone[1]
    for a, b in zip(with_critic[:6], without[:6], strict=True):
        assert {k: v for k, v in a.train.items() if k in b.train} == b.train
        assert a.held_out == b.held_out
    assert set(with_critic[0].train) == set(without[0].train)
    one, two = Checkpoint(unbroken[0] / "step-0000008").tensors(), Checkpoint(alone[0] / "step-0000008").tensors()
    assert not all(torch.equal(one[n], two[n]) for n in two)  # step 7 listened


def test_the_critic_stands_still_in_stage_one(config: Config, windows: Windows, tmp_path: Path) -> None:
    model = small.model(mode="vae_gan", discriminator_layers=1)
    before = {n: t.clone() for n, t in model.critic.state_dict().items()}
    late = replace(LOSS, critic_start=1.0, adversarial_start=1.0)
    list(run(gan(config, loss=late, steps=3), windows, tmp_path, model=model))
    assert all(torch.equal(t, before[n]) for n, t in model.critic.state_dict().items())


# ---------------------------------------------------------------- each side moves itself alone


def test_a_step_of_the_critic_leaves_the_model_and_a_step_of_the_model_leaves_the_critic(
    config: Config, windows: Windows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = small.model(mode="vae_gan", discriminator_layers=1)
    watched: list[tuple[int, dict[str, torch.Tensor]]] = []

    def state() -> dict[str, torch.Tensor]:
        return {n: p.detach().clone() for n, p in model.named_parameters() if not n.startswith("prior")}

    advance = Adversary.advance

    def watching(self: Adversary, step: int, look, factor: float) -> dict[str, float]:
        before = state()
        found = advance(self, step, look, factor)
        after = state()
        watched.append((step, {n: after[n] != before[n] for n in after}))
        assert all(p.grad is None for p in model.parameters())
        return found

    monkeypatch.setattr(Adversary, "advance", watching)
    always = LossConfig(critic_start=0.0, adversarial_start=0.0, critic_every=1)
    states = [state()]
    for _ in run(gan(config, loss=always, steps=3, evaluate_every=100), windows, tmp_path, model=model):
        states.append(state())
    assert [step for step, _ in watched] == [0, 1, 2]
    for _, moved in watched:
        assert not any(m.any() for n, m in moved.items() if not n.startswith("critic."))
        assert any(m.any() for n, m in moved.items() if n.startswith("critic."))
    changed = {n for n in states[0] if not torch.equal(states[0][n], states[-1][n])}
    assert {"critic", "decoder", "encoder"} <= {n.split(".")[0] for n in changed}


def test_each_side_has_an_optimiser_of_its_own(unbroken) -> None:
    """Trap 5: one optimiser served both sides. What each keeps is of its own parameters, all of them."""
    saved = Checkpoint(unbroken[0] / "step-0000012")
    tensors, model = saved.tensors("training"), small.model(mode="vae_gan", discriminator_layers=1)
    of_critic = [p.shape for n, p in model.named_parameters() if n.startswith("critic.")]
    of_model = [p.shape for n, p in model.named_parameters() if not n.startswith(("critic.", "prior."))]
    for prefix, shapes in (("critic.adam", of_critic), ("adam", of_model)):
        moments = {n: t for n, t in tensors.items() if n.startswith(f"{prefix}.") and n.endswith(".exp_avg")}
        assert {n: t.shape for n, t in moments.items()} == {
            f"{prefix}.{i}.exp_avg": shape for i, shape in enumerate(shapes) if f"{prefix}.{i}.exp_avg" in moments
        }
        assert len(moments) > 0.9 * len(shapes)
    assert len([n for n in tensors if n.startswith("raw.")]) == len(of_model)


def test_what_the_decoder_hears_changes_what_it_becomes(config: Config, windows: Windows, tmp_path: Path) -> None:
    loud = LossConfig(critic_start=0.0, adversarial_start=0.0, critic_every=1, weights={"adversarial": 5.0})
    deaf = replace(loud, off=("adversarial", "latent"))
    ends = []
    for name, loss in (("loud", loud), ("deaf", deaf)):
        model = small.model(mode="vae_gan", discriminator_layers=1)
        list(run(gan(config, loss=loss, steps=2), windows, tmp_path / name, model=model))
        ends.append(model.decoder.cells.weight.detach().clone())
    assert not torch.equal(*ends)


# ---------------------------------------------------------------- who holds whom back


FABRIC = Fabric(accelerator="cpu", devices=1)


def advanced(critic, accuracy: float, step: int = 8, value: float = 1.0) -> tuple[Adversary, dict[str, float]]:
    """One step of the critic on a toy loss that reports a given accuracy."""
    config = Config(loss=LOSS, train=replace(small.CONFIG.train, steps=12, lr=1e-2, lr_warmup=0))
    side = Adversary(critic, config, FABRIC)

    def look(skip: tuple[str, ...]) -> dict[str, float]:
        taught = critic.of_latents if "critic" in skip else critic
        total = value * torch.stack([p.sum() for p in taught.parameters()]).sum()
        total.backward()
        return {"critic": float(total.detach()), "accuracy_bar": accuracy}

    return side, side.advance(step, look)


def test_a_critic_that_is_too_sure_waits_for_the_decoder() -> None:
    """Its part about latents does not: it is another game."""
    critic = small.model(mode="vae_gan", discriminator_layers=1).critic
    bars, latents = critic.inward.bias.detach().clone(), critic.of_latents.inward.bias.detach().clone()
    _, found = advanced(critic, SURE + 0.01, step=9)
    assert found["critic_waits"] == 1.0
    assert torch.equal(critic.inward.bias, bars)
    assert not torch.equal(critic.of_latents.inward.bias, latents)
    _, found = advanced(critic, SURE - 0.01, step=9)
    assert found["critic_waits"] == 0.0
    assert not torch.equal(critic.inward.bias, bars)


def test_before_the_decoder_listens_no_critic_is_too_sure() -> None:
    critic = small.model(mode="vae_gan", discriminator_layers=1).critic
    _, found = advanced(critic, 1.0, step=5)
    assert found["critic_waits"] == 0.0


def test_no_constant_feeds_the_controller() -> None:
    """Trap 12. What is not measured is not known, and a measurement is what it says."""
    critic = small.model(mode="vae_gan", discriminator_layers=1).critic
    config = Config(loss=LOSS, train=replace(small.CONFIG.train, steps=12))
    assert Adversary(critic, config, FABRIC).accuracy is None
    assert advanced(critic, 0.7, step=9)[0].accuracy == pytest.approx(0.7)
    side, _ = advanced(critic, 0.6, step=9)
    side._saw({"accuracy_bar": 1.0, "accuracy_phrase": 0.8, "critic_hinge": 5.0})
    assert side.accuracy == pytest.approx(0.9 * 0.6 + 0.1 * 0.9)


def test_a_gradient_that_is_no_number_moves_nothing() -> None:
    critic = small.model(mode="vae_gan", discriminator_layers=1).critic
    before = {n: t.clone() for n, t in critic.state_dict().items()}
    advanced(critic, 0.5, step=9, value=float("inf"))
    assert all(torch.equal(t, before[n]) for n, t in critic.state_dict().items())


def test_penalties_are_paid_every_few_steps() -> None:
    critic = small.model(mode="vae_gan", discriminator_layers=1).critic
    config = Config(loss=LossConfig(critic_start=0.0, adversarial_start=0.0), train=small.CONFIG.train)
    side = Adversary(critic, config, FABRIC)
    asked = []

    def look(skip: tuple[str, ...]) -> dict[str, float]:
        asked.append("penalty" not in skip)
        return {"critic": 0.0}

    for n in range(4 * PENALTY_EVERY):
        if side.learns(n):
            side.advance(n, look)
    assert sum(asked) == len(asked) / PENALTY_EVERY == 2  # the critic's turn is every second step


# ---------------------------------------------------------------- exact continuation


@pytest.mark.parametrize("interrupted_at", [5, 10])
def test_a_resumed_run_equals_the_unbroken_one_bit_for_bit(
    unbroken, config: Config, windows: Windows, tmp_path: Path, interrupted_at: int
) -> None:
    """Ended in stage 2 and in stage 3: weights, optimisers, randomness, singular vectors, controllers."""
    job = run(gan(config), windows, tmp_path)
    for step in job:
        if step.n == interrupted_at:
            job.close()
    torch.manual_seed(999)
    resumed = list(run(gan(config), windows, tmp_path, resume=True))
    out, steps = unbroken
    assert resumed[0].n == interrupted_at // 4 * 4 + 1
    assert [s.train for s in resumed] == [s.train for s in steps[resumed[0].n - 1 :]]
    assert [s.held_out for s in resumed] == [s.held_out for s in steps[resumed[0].n - 1 :]]
    one, two = Checkpoint(out / "step-0000012"), Checkpoint(tmp_path / "step-0000012")
    for name in ("model", "training"):
        a, b = one.tensors(name), two.tensors(name)
        assert a.keys() == b.keys()
        assert all(torch.equal(a[n], b[n]) for n in a)
    assert one.facts["run"] | {"seconds": 0} == two.facts["run"] | {"seconds": 0}
    assert one.facts["run"]["adversary"]["accuracy"] is not None


# ---------------------------------------------------------------- from one mode to the other


def test_a_vae_run_s_weights_begin_a_vae_gan_run_and_the_other_way_round(
    alone, unbroken, config: Config, windows: Windows, tmp_path: Path
) -> None:
    """With a learning rate of 0, what a run saves is what it began with."""
    still = {"steps": 1, "lr": 0.0, "weight_decay": 0.0, "evaluate_every": 1, "checkpoint_every": 1}
    for mode, start in (
        ("vae_gan", alone[0] / "best"),
        ("vae", unbroken[0] / "best"),
        ("vae_gan", unbroken[0] / "best"),
    ):
        out = tmp_path / f"{mode}-{start.parent.name}"
        list(run(gan(config, mode, **still), windows, out, start=start))
        began, ended = Checkpoint(start), Checkpoint(out / "best")
        common = [n for n in began.tensors() if n in ended.tensors()]
        same_mode = began.config.model.mode == mode
        assert all(torch.equal(began.tensors()[n], ended.tensors()[n]) for n in common)
        assert ("critic.inward.bias" in ended.tensors()) == (mode == "vae_gan")
        assert len(common) == len(ended.tensors()) if same_mode else len(common) > 50


def test_folders_of_either_mode_open_and_play_the_same_notes(
    alone, config: Config, windows: Windows, tmp_path: Path
) -> None:
    still = gan(config, steps=1, lr=0.0, weight_decay=0.0, evaluate_every=1)
    list(run(still, windows, tmp_path, start=alone[0] / "best"))
    vae, both = (Session.open(folder, "cpu") for folder in (alone[0] / "best", tmp_path / "best"))
    assert vae.model.critic is None
    assert both.model.critic is not None
    latents = [session.encode(small.score()).z_fine for session in (vae, both)]
    assert torch.equal(*latents)


def test_weights_of_another_shape_are_refused_with_a_sentence(config: Config, windows: Windows, tmp_path: Path) -> None:
    other = small.model(hidden_dim=16)
    checkpoint.save(tmp_path / "other", other.state_dict(), Config(model=other.config), FACTS)
    with pytest.raises(MorphonyError, match="do not fit"):
        next(run(gan(config), windows, tmp_path / "out", start=tmp_path / "other"))
    with pytest.raises(MorphonyError, match="no model folder"):
        next(run(gan(config), windows, tmp_path / "out", start=tmp_path / "nowhere"))


def test_a_resumed_run_does_not_begin_again(alone, config: Config, windows: Windows, tmp_path: Path) -> None:
    settings = gan(config, steps=8)
    first = list(run(settings, windows, tmp_path, start=alone[0] / "best"))
    (tmp_path / "step-0000008").rename(tmp_path / "gone")
    again = list(run(settings, windows, tmp_path, start=alone[0] / "best", resume=True))
    assert [s.train for s in again] == [s.train for s in first[4:]]


def test_an_adapter_s_run_leaves_the_critic_alone(config: Config, windows: Windows, tmp_path: Path) -> None:
    """It keeps only its own tensors, so a critic that learnt beside it could not continue."""
    from trainer.loop import Weights

    model = small.model(mode="vae_gan", discriminator_layers=1)
    before = {n: t.clone() for n, t in model.critic.state_dict().items()}
    part = [model.decoder.cells.bias]
    always = LossConfig(critic_start=0.0, adversarial_start=0.0, critic_every=1)
    weights = Weights(lambda: {"bias": model.decoder.cells.bias}, lambda tensors: None)
    steps = list(run(gan(config, loss=always, steps=2), windows, tmp_path, model=model, trained=part, weights=weights))
    assert "critic_hinge" not in steps[-1].train
    assert all(torch.equal(t, before[n]) for n, t in model.critic.state_dict().items())
    assert adversary.HEARING == ("adversarial", "latent")
