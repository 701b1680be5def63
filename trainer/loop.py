"""The training job: a generator of steps that checkpoints, resumes, measures held-out loss and stops early.

Every yield is a cancel point. The same generator serves the studio, the command line and the tests.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from lightning.fabric import Fabric
from torch import Tensor, nn

from engine import checkpoint
from engine.config import Config
from engine.model.latents import LEVELS
from engine.model.vaegan import MusicTransformerVAEGAN
from trainer.adversary import HEARING, Adversary, adam_state, restore_adam
from trainer.batches import Batch
from trainer.events import EventBatch
from trainer.losses import CRITIC
from trainer.objective import note_f1, objective_of
from trainer.schedules import KlWeight, learning_rate

KEEP = 2
EMA_EVERY = 8
APART = ("prior.", "critic.", "refiner.")  # parts with an optimiser of their own


@dataclass(frozen=True, slots=True)
class Step:
    """What one step of training (n counts from 1) showed: "loss" in nats per note, terms in nats per 4/4 bar."""

    n: int
    steps: int
    seconds: float
    train: dict[str, float]
    held_out: dict[str, float] | None = None
    message: str = ""
    facts: dict[str, Any] = field(default_factory=dict)

    def line(self) -> str:
        """One JSON line, as in steps.jsonl."""
        row = {"n": self.n, "steps": self.steps, "seconds": round(self.seconds, 3), "train": self.train}
        return json.dumps(row | {"held_out": self.held_out, "message": self.message})


@dataclass(frozen=True, slots=True)
class Weights:
    """Which tensors a run keeps in its checkpoints, and how they return: a whole model's, or an adapter's."""

    get: Callable[[], Mapping[str, Tensor]]
    put: Callable[[Mapping[str, Tensor]], object]


class Run:
    """Everything a run needs to continue exactly: model, optimiser, averages, randomness."""

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
        objective = objective_of(model, config.loss)
        self.spread = objective.spread
        self.trained = trained = [*trained, *self.spread.values()]
        optimiser = torch.optim.AdamW(
            trained, lr=config.train.lr, betas=(0.9, 0.98), weight_decay=config.train.weight_decay, fused=True
        )
        self.objective, self.optimiser = fabric.setup(objective, optimiser)
        self.adversary = None
        if model.critic is not None and weights is None:  # an adapter keeps nothing of a critic
            self.adversary = Adversary(model.critic, config, fabric.device)
        self.kl = KlWeight(config.loss)
        self.average = [p.detach().clone() for p in trained]
        self.rng = np.random.default_rng(config.train.seed)
        self.noise = torch.Generator(device=fabric.device).manual_seed(config.train.seed)
        self.step, self.best, self.since_best = 0, float("inf"), 0

    def advance(self, windows: Source) -> dict[str, float]:
        """One optimiser step; the train losses it saw."""
        t = self.config.train
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.step, t.steps, t.lr, t.lr_warmup)
        batch = windows.draw(self.rng).to(self.fabric.device)
        warmup = self.kl.at(self.step, t.steps)
        deaf = self.adversary.deaf(self.step) if self.adversary else HEARING
        objective, values, _ = self.objective(batch, warmup, self.noise, skip=deaf)
        self.fabric.backward(objective)
        norm = torch.nn.utils.clip_grad_norm_(self.trained, t.clip)
        if torch.isfinite(norm):
            self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        heard = self._teach_critic(batch)
        self.step += 1
        if self.step % EMA_EVERY == 0:
            keep = min(t.ema, (self.step + 1) / (self.step + 10)) ** EMA_EVERY
            torch._foreach_lerp_(self.average, [p.detach() for p in self.trained], 1 - keep)
        losses = {name: float(value) for name, value in values.items()}
        self.kl.saw(sum(losses.get(f"kl_{level}", 0.0) for level in LEVELS))
        return losses | heard | {"objective": float(objective.detach()), "gradient": float(norm), "kl_factor": warmup}

    def _teach_critic(self, batch: Batch | EventBatch) -> dict[str, float]:
        """The critic's losses on a batch, if there is one and it is its turn."""
        if self.adversary is None:
            return {}

        def loss(noise: torch.Generator, skip: tuple[str, ...]) -> tuple[Tensor, dict[str, Tensor]]:
            objective, values, _ = self.objective(batch, 1.0, noise, side=CRITIC, skip=skip)
            return objective, values

        return self.adversary.advance(self.step, loss, self.fabric.backward)

    def averaged(self) -> _Swapped:
        """A context in which the model has its averaged weights."""
        return _Swapped(self.trained, self.average)

    @torch.no_grad()
    def measure(self, batches: list[tuple[str, Any]]) -> dict[str, float]:
        """Held-out losses at full KL weight from a fixed sample of z, and note F1 from the mean (not of events)."""
        sums: dict[str, list[float]] = {}
        f1: dict[str, list[np.ndarray]] = {}
        weights: list[float] = []
        with self.averaged():
            self.model.eval()
            for name, plain in batches:
                batch = plain.to(self.fabric.device)
                noise = torch.Generator(device=self.fabric.device).manual_seed(0)
                objective, terms, _ = self.objective(batch, 1.0, noise, skip=HEARING)
                for key, value in [("objective", objective), *terms.items()]:
                    sums.setdefault(key, []).append(float(value))
                weights.append(batch.size)
                if isinstance(batch, EventBatch):
                    continue  # events have no bars to compare with
                onsets = self.objective(batch, 1.0, None, True, skip=HEARING)[2]
                score = note_f1(onsets, batch.target, batch.bars, self.config.model.threshold)
                full = torch.bincount(batch.target.bar, minlength=len(score)).cpu().numpy() > 0
                f1.setdefault(name, []).append(score[full])
            self.model.train()
        out = {key: float(np.average(values, weights=weights)) for key, values in sums.items()}
        each = {name: float(np.concatenate(parts).mean()) for name, parts in f1.items()}
        whole = {"f1": float(np.mean(list(each.values())))} if each else {}
        return out | {f"f1_{name}": value for name, value in each.items()} | whole

    def save(self, folder: Path, facts: dict[str, Any]) -> None:
        """Write checkpoint step-N; the oldest beyond KEEP are removed."""
        state: dict[str, Tensor] = {"noise": self.noise.get_state()}
        with self.averaged():
            weights = {k: v.clone() for k, v in self.weights.get().items()}
            state |= {f"spread.{n}": s.detach().clone() for n, s in self.spread.items()}  # no part of the weights
        state |= {f"raw.{i}": p for i, p in enumerate(self.trained)}
        state |= adam_state(self.optimiser, self.trained, "adam")
        at = {"step": self.step, "best": self.best, "since_best": self.since_best, "rng": self.rng.bit_generator.state}
        at["kl_factor"] = self.kl.factor
        if self.adversary is not None:
            state |= self.adversary.tensors()
            at["adversary"] = self.adversary.facts()
        checkpoint.save(folder / f"step-{self.step:07d}", weights, self.config, facts | {"run": at}, training=state)
        for old in sorted(folder.glob("step-*"))[:-KEEP]:
            shutil.rmtree(old)

    def restore(self, saved: checkpoint.Checkpoint) -> None:
        """Continue where a checkpoint stood, bit for bit."""
        self.weights.put(saved.tensors())
        state = saved.tensors("training")
        with torch.no_grad():
            for n, s in self.spread.items():
                s.copy_(state[f"spread.{n}"])
            for mine, p in zip(self.average, self.trained, strict=True):
                mine.copy_(p)
            for i, p in enumerate(self.trained):
                p.copy_(state[f"raw.{i}"])
        restore_adam(self.optimiser, self.trained, "adam", state)
        self.noise.set_state(state["noise"].cpu())
        at = saved.facts["run"]
        self.step, self.best, self.since_best = at["step"], at["best"], at["since_best"]
        self.rng.bit_generator.state, self.kl.factor = at["rng"], at["kl_factor"]
        if self.adversary is not None:
            self.adversary.restore(state, at["adversary"])


class _Swapped:
    """Swaps averaged weights in, and the raw ones back."""

    def __init__(self, trained: list[nn.Parameter], average: list[Tensor]) -> None:
        self.pairs = list(zip(trained, average, strict=True))

    def __enter__(self) -> None:
        self._swap()

    def __exit__(self, *_: object) -> None:
        self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for p, a in self.pairs:
            kept = p.detach().clone()
            p.copy_(a)
            a.copy_(kept)


class Source(Protocol):
    """What a run draws its batches from: `Windows`, `EventWindows`, or a mixture."""

    def draw(self, rng: np.random.Generator) -> Batch | EventBatch:
        """A random batch."""
        ...


class HeldOut(Protocol):
    """What a run is measured on."""

    def held_out(self, per_corpus: int) -> Iterator[tuple[str, Batch | EventBatch]]:
        """The same batches, each with the name of its corpus, whenever asked."""
        ...


def train(
    config: Config,
    windows: Source,
    valid: HeldOut,
    out: Path,
    facts: dict[str, Any],
    *,
    model: MusicTransformerVAEGAN | None = None,
    trained: list[nn.Parameter] | None = None,
    weights: Weights | None = None,
    resume: bool = False,
    start: Path | None = None,
    accelerator: str = "auto",
    held_out_windows: int = 12,
    measure_first: bool = False,
) -> Iterator[Step]:
    """Train until the steps are done or held-out loss has not improved for `patience` measurements.

    Writes `steps.jsonl`, checkpoints `step-N`, and `best` (averaged weights of the best held-out loss) below `out`.
    `trained` limits what moves and `weights` what is kept (an adapter); the default is everything but the prior, which
    has its own run. `start` is a model folder whose weights the run begins with; a critic may be missing on
    either side. With `measure_first` step 0 holds the held-out losses before training, which `best` must beat.
    """
    torch.set_num_threads(config.train.threads)
    torch.manual_seed(config.train.seed)
    fabric = Fabric(accelerator=accelerator, devices=1)
    if model is None:
        model = MusicTransformerVAEGAN(config.model)
    if trained is None:
        trained = [p for n, p in model.named_parameters() if not n.startswith(APART)]
    if start is not None:
        model.load(checkpoint.Checkpoint(start).tensors())
    run = Run(model, trained, config, fabric, weights)
    out.mkdir(parents=True, exist_ok=True)
    message = ""
    if resume:
        saved, passed = checkpoint.newest(out)
        message = " ".join(passed)
        if saved is not None:
            run.restore(saved)
    batches = list(valid.held_out(held_out_windows))
    began = time.monotonic()
    earlier = _lines_until(out / "steps.jsonl", run.step) if run.step else []
    with (out / "steps.jsonl").open("w", encoding="utf-8") as log:
        log.writelines(earlier)
        if measure_first and run.step == 0:
            before = Step(0, config.train.steps, 0.0, {}, run.measure(batches))
            run.best = before.held_out["loss"] if before.held_out else run.best
            log.write(before.line() + "\n")
            log.flush()
            yield before
        while run.step < config.train.steps:
            losses = run.advance(windows)
            measured = None
            if run.step % config.train.evaluate_every == 0 or run.step == config.train.steps:
                measured = run.measure(batches)
                run.since_best += 1
                if measured["loss"] < run.best:
                    run.best, run.since_best = measured["loss"], 0
                    with run.averaged():
                        saved_facts = facts | {"step": run.step, "held_out": measured}
                        checkpoint.save(out / "best", run.weights.get(), config, saved_facts)
            if run.step % config.train.checkpoint_every == 0 or run.step == config.train.steps:
                run.save(out, facts)
            stopped = run.since_best >= config.train.patience
            if stopped:
                tries = config.train.patience
                message = f"Held-out loss has not improved for {tries} measurements, so the run stopped early."
            step = Step(run.step, config.train.steps, time.monotonic() - began, losses, measured, message)
            message = ""
            log.write(step.line() + "\n")
            log.flush()
            yield step
            if stopped:
                return


def _lines_until(log: Path, step: int) -> list[str]:
    """The lines of an interrupted run up to the step it continues from; what came after is done again."""
    kept: list[str] = []
    try:
        for line in log.read_text(encoding="utf-8").splitlines(keepends=True):
            if json.loads(line)["n"] > step:
                break
            kept.append(line)
    except (OSError, ValueError):  # no log, or a last line that was cut
        pass
    return kept
