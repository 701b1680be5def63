"""Everything a run needs to continue exactly: model, optimisers, averages, schedules, and how it takes a step.

Knows no folder of music and no log; `trainer.loop` is the job around it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn

from engine import checkpoint
from engine.config import Config
from engine.errors import MorphonyError
from engine.model.latents import LEVELS
from engine.model.vaegan import MusicTransformerVAEGAN
from trainer import keys
from trainer.adversary import HEARING, Adversary
from trainer.averages import Ema
from trainer.draws import AnyBatch, Draws, halves
from trainer.events import EventBatch
from trainer.losses import CRITIC
from trainer.memory import memory, short_of_memory
from trainer.objective import objective_of
from trainer.processes import Touching, all_placed, averaged, is_sharded, local, placed, summed, whole
from trainer.recover import Recovery, Snapshot, finite, mend
from trainer.schedules import KlWeight, Plateau, learning_rate
from trainer.side import Side

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Weights:
    """Which tensors a run keeps in its checkpoints, and how they return: a whole model's, or an adapter's."""

    get: Callable[[], Mapping[str, Tensor]]
    put: Callable[[Mapping[str, Tensor]], object]


@dataclass(frozen=True, slots=True)
class Part:
    """A micro-batch, or a part of one where memory is short: its share of the step, and where it stands in it."""

    batch: AnyBatch
    share: float  # of what the objectives of all processes' parts are divided by
    number: int  # of the micro-batch
    place: int  # within it


@dataclass(frozen=True, slots=True)
class Taken:
    """What a step showed: losses, the rates it went by, and a sentence where something was out of order."""

    losses: dict[str, float]
    rates: dict[str, float]
    message: str = ""


@dataclass(slots=True)
class Progress:
    """The part of a run's state that is plain numbers."""

    step: int = 0
    seconds: float = 0.0  # of training, over all sittings
    best: float = math.inf  # lowest held-out loss
    best_step: int = 0  # whose weights `best` holds; 0 while there are none
    figures: dict[str, float] = field(default_factory=dict)  # best of each figure that stopping looks at
    since_best: int = 0  # measurements in which none of them improved
    split: int = 0  # how often memory was short: every batch is so often halved


class Run:
    """A run in this process; `objective` is the module that Fabric set up."""

    def __init__(
        self,
        model: MusicTransformerVAEGAN,
        trained: list[nn.Parameter],
        config: Config,
        fabric: Fabric,
        weights: Weights | None = None,
    ) -> None:
        self.model, self.config, self.fabric = model, config, fabric
        self.weights = weights or Weights(model.state_dict, model.load)
        self.plain: Any = objective_of(model, config.loss)
        self.objective, trained = self._set_up(trained, weights is None)
        self.spread = self.plain.spread
        self.trained = [*trained, *self.spread.values()]
        self.side = Side(fabric, self.trained, config.train.lr, (0.9, 0.98), config.train.weight_decay)
        self.adversary = None
        if model.critic is not None and weights is None:  # an adapter keeps nothing of a critic
            self.adversary = Adversary(model.critic, config, fabric)
        self.kl, self.plateau, self.recovery = KlWeight(config.loss), Plateau(config.train), Recovery()
        self.ema = Ema(self.trained)
        self.at = Progress()
        self.snapshot = self.photographed()

    def _set_up(self, trained: list[nn.Parameter], is_whole: bool) -> tuple[Any, list[nn.Parameter]]:
        """The objective as Fabric wraps it, and the parameters to train as they are called from then on."""
        if self.fabric.world_size == 1:
            return self.fabric.setup_module(self.plain), trained
        if not is_whole:
            raise MorphonyError("An adapter is trained by one process; start it without torchrun.")
        names = {p: name for name, p in self.plain.named_parameters()}
        learning = {names[p] for p in trained} | {n for n in names.values() if n.startswith("spread.")}
        for p, name in names.items():  # what others train is no business of the processes' exchange
            p.requires_grad_(name in learning)
        self.plain.to(self.fabric.device)
        module = Touching(self.plain) if is_sharded(self.fabric) else self.plain
        wrapped = self.fabric.setup_module(module)
        for critic in [] if self.model.critic is None else [self.model.critic]:
            critic.requires_grad_(True)
        now = dict(self.plain.named_parameters())  # sharding put others in their places
        return wrapped, [now[names[p]] for p in trained]

    # ---------------------------------------------------------------- a step

    def advance(self, draws: Draws) -> Taken:
        """One step of both sides, at the rates of the schedules; back to the last good state where numbers fail.

        Raises MorphonyError when they fail three times in a row, and when not one window fits into memory.
        """
        t, step, began = self.config.train, self.at.step, time.monotonic()
        factor = self.plateau.factor * self.recovery.factor
        rate = factor * learning_rate(step, t.steps, t.lr, t.lr_warmup, t.lr_schedule)
        warmup = self.kl.at(step, t.steps)
        said: list[str] = []
        notes, losses = self._fitting(draws, said, lambda parts: self._learn(parts, warmup))
        losses |= {"gradient": self.side.step(rate, t.clip, self.objective), "kl_factor": warmup}
        if self.adversary is not None and self.adversary.learns(step):
            losses |= self._fitting(draws, said, lambda parts: self._teach_critic(parts, factor))
        self.at.step += 1
        wrong = self._wrong(losses)
        if wrong:
            said.append(self._go_back(wrong, moved=math.isfinite(losses["gradient"])))
        else:
            self._keep(losses)
        seconds = time.monotonic() - began
        self.at.seconds += seconds
        rates = {"learning_rate": rate, "kl_factor": warmup, "gradient_norm": losses["gradient"]}
        rates |= {"notes_per_second": notes / max(seconds, 1e-9)} | memory(self.fabric.device)
        rates |= {} if self.side.scale is None else {"loss_scale": self.side.scale}
        return Taken(losses, rates, " ".join(said))

    def _learn(self, parts: Sequence[Part], warmup: float) -> tuple[float, dict[str, float]]:
        """Gradients of a step's parts, each by its share of the step; notes and losses of all processes."""
        skip = self.adversary.deaf(self.at.step) if self.adversary else HEARING
        found: list[dict[str, float]] = []
        for part in parts:
            noise = self._noise(keys.NOISE, part)
            with self.fabric.no_backward_sync(self.objective, enabled=part is not parts[-1]):
                objective, values, _ = self.objective(part.batch, warmup, noise, skip=skip)
                self.fabric.backward(objective * (part.share * self.fabric.world_size))
            found.append(floats(values) | {"objective": float(objective.detach())})
        (notes,) = summed(self.fabric, [sum(_notes(part.batch) for part in parts)])
        return notes, self._mean(parts, found)

    def _teach_critic(self, parts: Sequence[Part], factor: float) -> dict[str, float]:
        """A step of the critic on the same parts."""
        assert self.adversary is not None
        return self.adversary.advance(self.at.step, lambda skip: self._criticised(parts, skip), factor)

    def _criticised(self, parts: Sequence[Part], skip: tuple[str, ...]) -> dict[str, float]:
        """Gradients of the critic's objective without some groups of terms, and its losses, of all processes."""
        assert self.adversary is not None
        found: list[dict[str, float]] = []
        for part in parts:
            noise = self._noise(keys.CRITIC, part)
            with self.fabric.no_backward_sync(self.objective):
                objective, values, _ = self.objective(part.batch, 1.0, noise, side=CRITIC, skip=skip)
                if objective.requires_grad:
                    self.fabric.backward(objective * (part.share * self.fabric.world_size))
            found.append(floats(values) | {"critic": float(objective.detach())})
        averaged(self.fabric, [p.grad for p in self.adversary.trained if p.grad is not None])
        return self._mean(parts, found)

    def _parts(self, draws: Draws) -> list[Part]:
        """What this process learns from in this step, as small as memory has asked for."""
        mine = list(zip(draws.numbers(), draws.at(self.at.step), strict=True))
        each = [(m, i, part) for m, batch in mine for i, part in enumerate(self._split(batch))]
        amounts = [self.plain.amount(part) for _, _, part in each]
        (total,) = summed(self.fabric, [sum(amounts)])
        shares = [amount / max(total, 1e-9) for amount in amounts]
        device = self.fabric.device
        return [Part(part.to(device), share, m, i) for (m, i, part), share in zip(each, shares, strict=True)]

    def _split(self, batch: AnyBatch) -> list[AnyBatch]:
        parts = [batch]
        for _ in range(self.at.split):
            parts = [half for part in parts for half in halves(part)]
        return parts

    def _fitting(self, draws: Draws, said: list[str], work: Callable[[Sequence[Part]], T]) -> T:
        """What some work on this step's parts returns; where memory is short, the same on smaller ones."""
        while True:
            try:
                return work(self._parts(draws))
            except (RuntimeError, MemoryError) as error:
                if not short_of_memory(error):
                    raise
            said.append(self._halve(draws))  # here the error and all it held are gone

    def _halve(self, draws: Draws) -> str:
        """Give up what was begun of a step, and halve its batches. Raises MorphonyError where they cannot be."""
        for side in self._sides():
            side.forget()
        if self.fabric.device.type == "cuda":
            torch.cuda.empty_cache()
        if self.fabric.world_size > 1:
            raise MorphonyError(
                "A process ran out of memory, and the others cannot wait for it: lower slots_per_step (or "
                "events_per_step), raise accumulate by as much, and resume."
            )
        before = len(self._parts(draws))
        self.at.split += 1
        if len(self._parts(draws)) == before:
            raise MorphonyError(
                "Not even one window fits into memory: lower window_bars (or event_window), or train a smaller model."
            )
        parts = 2**self.at.split
        return f"Memory ran out at step {self.at.step + 1}: each batch is learnt in {parts} parts from here on."

    def _noise(self, stream: int, part: Part) -> torch.Generator:
        seed, step = self.config.train.seed, self.at.step
        return keys.noise(self.fabric.device, stream, seed, step, part.number, part.place)

    def _mean(self, parts: Sequence[Part], found: Sequence[Mapping[str, float]]) -> dict[str, float]:
        """Values weighed by the shares of their parts, over all processes."""
        names = list(found[0])
        sums = [sum(p.share * values[name] for p, values in zip(parts, found, strict=True)) for name in names]
        return dict(zip(names, summed(self.fabric, sums), strict=True))

    # ---------------------------------------------------------------- when numbers fail

    def _wrong(self, losses: Mapping[str, float]) -> str:
        """What of a step is no number; empty where all is well. All processes agree."""
        if not math.isfinite(losses["objective"]) or not math.isfinite(losses["loss"]):
            return "the loss"
        scale = self.side.scale
        if not math.isfinite(losses["gradient"]) and (scale is None or scale < 1):
            return "the gradient"
        if not math.isfinite(losses.get("critic_gradient", 0.0)) and (scale is None or scale < 1):
            return "the critic's gradient"
        t, step = self.config.train, self.at.step
        due = any(step % every == 0 for every in (t.snapshot_every, t.evaluate_every, t.checkpoint_every))
        return "a weight" if (due or step == t.steps) and not self.sound() else ""

    def sound(self) -> bool:
        """Whether every weight, average and moment is a number, in all processes."""
        return self._finite(self._tensors()) and self._finite(self._moments())

    def _finite(self, tensors: Sequence[Tensor]) -> bool:
        return summed(self.fabric, [float(not finite(tensors))])[0] == 0

    def _go_back(self, what: str, moved: bool) -> str:
        kept = self.snapshot
        if not moved and not self.recovery.in_a_row and self._finite(self._moments()):
            if self._finite(self._tensors()):
                return self.recovery.failed(self.at.step, what, "it is left out")
            mend(self._tensors(), kept.tensors)
            done = f"it is left out, the weights that were none are those of step {kept.step} again"
            return self.recovery.failed(self.at.step, what, done)
        said = self.recovery.failed(self.at.step, what, f"the weights of step {kept.step} are back")
        for tensor, old in zip(self._tensors(), kept.tensors, strict=True):
            tensor.copy_(old)
        for side, old_state in zip(self._sides(), kept.optimisers, strict=True):
            side.put(old_state)
        self._put_controllers(kept.plain)
        return said

    def _keep(self, losses: Mapping[str, float]) -> None:
        """Averages, controllers and the state in memory after a good step."""
        self.recovery.passed()
        self.ema.saw(self.at.step, self.config.train.ema)
        self.kl.saw(sum(losses.get(f"kl_{level}", 0.0) for level in LEVELS))
        if self.at.step % self.config.train.snapshot_every == 0:
            self.snapshot = self.photographed()

    def photographed(self) -> Snapshot:
        """The state as it is, to come back to."""
        tensors = [t.clone() for t in self._tensors()]
        return Snapshot(self.at.step, tensors, [side.copy() for side in self._sides()], self._controllers())

    def _tensors(self) -> list[Tensor]:
        """Everything a step moves but optimisers, as it lies in this process."""
        critic = [] if self.adversary is None else self.adversary.trained
        return [*map(local, [*self.trained, *critic]), *self.ema.mean, *self.model.buffers()]

    def _moments(self) -> list[Tensor]:
        """What optimisers keep, as it lies in this process."""
        return [tensor for side in self._sides() for tensor in side.held()]

    def _sides(self) -> list[Side]:
        return [self.side] + ([] if self.adversary is None else [self.adversary.side])

    def _controllers(self) -> dict[str, Any]:
        plateau = {"factor": self.plateau.factor, "best": self.plateau.best, "since": self.plateau.since}
        adversary = None if self.adversary is None else self.adversary.facts()
        return {"kl_factor": self.kl.factor, "plateau": plateau, "adversary": adversary}

    def _put_controllers(self, plain: Mapping[str, Any]) -> None:
        self.kl.factor = plain["kl_factor"]
        for name, value in plain["plateau"].items():
            setattr(self.plateau, name, value)
        if self.adversary is not None:
            self.adversary.put_facts(plain["adversary"])

    # ---------------------------------------------------------------- leaving and coming back

    def averaged_weights(self) -> dict[str, Tensor]:
        """What `best` holds, whole. All processes must ask."""
        with self.ema:
            return {name: whole(t).clone() for name, t in self.weights.get().items()}

    def put_averaged(self, weights: Mapping[str, Tensor]) -> None:
        """Take others, as `averaged_weights` gives them, for the averaged weights."""
        with self.ema:
            self.weights.put(all_placed(weights, self.weights.get()))

    def tensors(self) -> dict[str, Tensor]:
        """The rest of a checkpoint's tensors, whole. All processes must ask."""
        state = {f"raw.{i}": whole(p) for i, p in enumerate(self.trained)} | self.side.tensors("adam")
        with self.ema:
            state |= {f"spread.{n}": whole(s).clone() for n, s in self.spread.items()}  # no part of the weights
        return state if self.adversary is None else state | self.adversary.side.tensors("critic.adam")

    def facts(self) -> dict[str, Any]:
        """The rest of a checkpoint, as plain data."""
        scaler = self.fabric.strategy.precision.state_dict()
        return asdict(self.at) | self._controllers() | {"recovery": asdict(self.recovery), "scaler": scaler}

    def restore(self, saved: checkpoint.Checkpoint) -> None:
        """Continue where a checkpoint stood, bit for bit."""
        state, plain = saved.tensors("training"), saved.facts["run"]
        shapes = {f"raw.{i}": p.shape for i, p in enumerate(self.trained)}
        if {name: t.shape for name, t in state.items() if name.startswith("raw.")} != shapes or "recovery" not in plain:
            raise MorphonyError(
                f"{saved.folder.name} belongs to another configuration or an older trainer and cannot be continued; "
                "begin a run with its weights instead (--start)."
            )
        self.weights.put(all_placed(saved.tensors(), self.weights.get()))
        with torch.no_grad():
            for n, s in self.spread.items():
                s.copy_(placed(state[f"spread.{n}"], s))
            self.ema.follow()
            for i, p in enumerate(self.trained):
                p.copy_(placed(state[f"raw.{i}"], p))
        self.side.restore("adam", state)
        if self.adversary is not None:
            self.adversary.side.restore("critic.adam", state)
        self._put_controllers(plain)
        self.recovery = Recovery(**plain["recovery"])
        self.at = Progress(**{name: plain[name] for name in Progress.__slots__})
        if plain["scaler"]:
            self.fabric.strategy.precision.load_state_dict(plain["scaler"])
        self.snapshot = self.photographed()


def floats(values: Mapping[str, Tensor]) -> dict[str, float]:
    """Plain numbers by name."""
    return {name: float(value) for name, value in values.items()}


def _notes(batch: AnyBatch) -> float:
    return batch.size if isinstance(batch, EventBatch) else float(len(batch.target.bar))
