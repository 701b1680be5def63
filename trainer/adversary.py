"""The other side of adversarial training: which side learns when, who holds whom back, and the critic's own steps.

Stage 1: the model alone. Stage 2: the critic learns, the model is as before; first the critic guesses hidden bars, then
it tells real from decoded. Stage 3: the decoder hears the critic every k-th step, the likelihood kept on. Knows no loss
term, only names of groups.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from lightning.fabric import Fabric
from torch import Tensor

from engine.config import Config, LossConfig
from engine.model.critic import Critic
from trainer.schedules import learning_rate
from trainer.side import Side

HEARING = ("adversarial", "latent")  # groups in which the model listens to the critic
PENALTIES = ("penalty", "lipschitz")  # groups with second derivatives: every PENALTY_EVERY-th of the critic's steps
WARM_START = ("pretraining",)
JUDGING = ("critic", *PENALTIES)  # of bars; latents have a critic of their own, which never waits
WARM_SHARE = 1 / 3  # of stage 2
PENALTY_EVERY = 8  # (lazy regularisation, Karras et al. 2020)
RATE = 0.5  # the critic's learning rate, as a share of the model's
SURE = 0.9  # accuracy above which the critic waits for the decoder
MEMORY = 0.9  # of the running accuracy, per step of the critic
LOUDEST = 1e4  # bound of the balance


def stage(step: int, steps: int, config: LossConfig) -> int:
    """1, 2 or 3."""
    progress = step / steps
    return 1 + (progress >= config.critic_start) + (progress >= max(config.adversarial_start, config.critic_start))


def hears(step: int, steps: int, config: LossConfig) -> bool:
    """Whether the model listens to the critic in this step."""
    return stage(step, steps, config) == 3 and step % config.critic_every == 0


def learns(step: int, steps: int, config: LossConfig) -> bool:
    """Whether it is the critic's turn: always in stage 2, then while the model does not listen, or at every step."""
    now = stage(step, steps, config)
    return now == 2 or (now == 3 and (config.critic_every == 1 or not hears(step, steps, config)))


def warming(step: int, steps: int, config: LossConfig) -> bool:
    """Whether the critic still guesses hidden bars and judges nothing."""
    span = max(config.adversarial_start - config.critic_start, 0.0)
    return stage(step, steps, config) == 2 and step / steps < config.critic_start + WARM_SHARE * span


def balance(likelihood: Tensor, adversarial: Tensor, slots: Tensor | None, share: float) -> Tensor:
    """The factor after which the adversarial gradient at the decoder's slots is `share` times the likelihood's.

    As in VQGAN (Esser et al. 2021), at the last tensor that all of the decoder's heads share. 1 where nothing learns,
    and where there is no likelihood to weigh against.
    """
    wanted, found = (_slope(loss, slots) for loss in (likelihood, adversarial))
    if wanted is None or found is None:
        return adversarial.new_ones(())
    factor: Tensor = share * wanted / found.clamp(min=1e-12)
    return factor.clamp(max=LOUDEST)


def _slope(loss: Tensor, at: Tensor | None) -> Tensor | None:
    """Length of a loss's gradient at a tensor, if it has one there."""
    if at is None or not (at.requires_grad and loss.requires_grad):
        return None
    slope: Tensor | None
    (slope,) = torch.autograd.grad(loss, at, retain_graph=True, allow_unused=True)
    length: Tensor | None = None if slope is None else torch.linalg.vector_norm(slope)
    return length


class Adversary:
    """The critic's optimiser and running accuracy. Continues exactly from its side's `tensors` and its `facts`."""

    def __init__(self, critic: Critic, config: Config, fabric: Fabric) -> None:
        self.critic, self.config = critic, config
        self.trained = list(critic.parameters())
        self.side = Side(fabric, self.trained, RATE * config.train.lr, (0.0, 0.99), 0.0)
        self.taken = 0
        self.accuracy: float | None = None  # running; unknown until the critic has judged something

    def deaf(self, step: int) -> tuple[str, ...]:
        """Groups of terms that the model leaves out in a step."""
        return () if hears(step, self.config.train.steps, self.config.loss) else HEARING

    def learns(self, step: int) -> bool:
        """Whether it is the critic's turn."""
        return learns(step, self.config.train.steps, self.config.loss)

    def advance(
        self, step: int, look: Callable[[tuple[str, ...]], dict[str, float]], factor: float = 1.0
    ) -> dict[str, float]:
        """One step of the critic, at its rate times a factor.

        `look` is given the groups to leave out; it adds up gradients and returns the losses, "critic" among them.
        While the critic is too sure of itself in stage 3 it learns of latents alone. A gradient that is no number is
        skipped.
        """
        t = self.config.train
        losses = look(self._left_out(step))
        self._saw(losses)
        waits = stage(step, t.steps, self.config.loss) == 3 and (self.accuracy or 0.0) > SURE
        if waits:
            self.side.forget()
            losses["critic"] = look(JUDGING + WARM_START)["critic"]
        rise = min((self.taken + 1) / max(t.lr_warmup, 1), 1.0)
        rate = factor * RATE * rise * learning_rate(step, t.steps, t.lr, 0, t.lr_schedule)
        norm = self.side.step(rate, t.clip, self.critic)
        if math.isfinite(norm):
            self.critic.settle()
        self.taken += 1
        return losses | {"critic_gradient": norm, "critic_waits": float(waits)}

    def _left_out(self, step: int) -> tuple[str, ...]:
        if warming(step, self.config.train.steps, self.config.loss):
            return JUDGING
        return WARM_START if self.taken % PENALTY_EVERY == 0 else WARM_START + PENALTIES

    def _saw(self, losses: Mapping[str, float]) -> None:
        right = [value for name, value in losses.items() if name.startswith("accuracy_")]
        if right:
            now = sum(right) / len(right)
            self.accuracy = now if self.accuracy is None else MEMORY * self.accuracy + (1 - MEMORY) * now

    def facts(self) -> dict[str, Any]:
        """What a checkpoint must hold besides the critic's weights and its side, as plain data."""
        return {"taken": self.taken, "accuracy": self.accuracy}

    def put_facts(self, facts: Mapping[str, Any]) -> None:
        """Continue where a checkpoint stood."""
        self.taken, self.accuracy = facts["taken"], facts["accuracy"]
