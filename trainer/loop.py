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
from trainer.batches import Batch, Windows, held_out
from trainer.objective import Objective, note_f1
from trainer.schedules import KlWeight, learning_rate

KEEP = 2
EMA_EVERY = 8
APART = ("prior.", "critic.")  # parts with an optimiser of their own


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
        objective = Objective(model, config.loss)
        self.trained = trained = [*trained, *objective.spread.values()]
        optimiser = torch.optim.AdamW(
            trained, lr=config.train.lr, betas=(0.9, 0.98), weight_decay=config.train.weight_decay, fused=True
        )
        self.objective, self.optimiser = fabric.setup(objective, optimiser)
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
        objective, values, _ = self.objective(batch, warmup, self.noise)
        self.fabric.backward(objective)
        norm = torch.nn.utils.clip_grad_norm_(self.trained, t.clip)
        if torch.isfinite(norm):
            self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.step += 1
        if self.step % EMA_EVERY == 0:
            keep = min(t.ema, (self.step + 1) / (self.step + 10)) ** EMA_EVERY
            torch._foreach_lerp_(self.average, [p.detach() for p in self.trained], 1 - keep)
        losses = {name: float(value) for name, value in values.items()}
        self.kl.saw(sum(losses.get(f"kl_{level}", 0.0) for level in LEVELS))
        return losses | {"objective": float(objective.detach()), "gradient": float(norm), "kl_factor": warmup}

    def averaged(self) -> _Swapped:
        """A context in which the model has its averaged weights."""
        return _Swapped(self.trained, self.average)

    @torch.no_grad()
    def measure(self, batches: list[tuple[str, Any]]) -> dict[str, float]:
        """Held-out losses at full KL weight from a fixed sample of z, and note F1 from the mean."""
        sums: dict[str, list[float]] = {}
        f1: dict[str, list[np.ndarray]] = {}
        weights: list[float] = []
        with self.averaged():
            self.model.eval()
            for name, plain in batches:
                batch = plain.to(self.fabric.device)
                noise = torch.Generator(device=self.fabric.device).manual_seed(0)
                objective, terms, _ = self.objective(batch, 1.0, noise)
                for key, value in [("objective", objective), *terms.items()]:
                    sums.setdefault(key, []).append(float(value))
                weights.append(batch.size)
                onsets = self.objective(batch, 1.0, None, True)[2]
                score = note_f1(onsets, batch.target, batch.bars, self.config.model.threshold)
                full = torch.bincount(batch.target.bar, minlength=len(score)).cpu().numpy() > 0
                f1.setdefault(name, []).append(score[full])
            self.model.train()
        out = {key: float(np.average(values, weights=weights)) for key, values in sums.items()}
        each = {name: float(np.concatenate(parts).mean()) for name, parts in f1.items()}
        return out | {f"f1_{name}": value for name, value in each.items()} | {"f1": float(np.mean(list(each.values())))}

    def save(self, folder: Path, facts: dict[str, Any]) -> None:
        """Write checkpoint step-N; the oldest beyond KEEP are removed."""
        with self.averaged():
            weights = {k: v.clone() for k, v in self.weights.get().items()}
        state: dict[str, Tensor] = {"noise": self.noise.get_state()}
        for i, p in enumerate(self.trained):
            state[f"raw.{i}"] = p
            state |= {f"adam.{i}.{k}": v for k, v in self.optimiser.state[p].items() if isinstance(v, Tensor)}
        at = {"step": self.step, "best": self.best, "since_best": self.since_best, "rng": self.rng.bit_generator.state}
        at["kl_factor"] = self.kl.factor
        checkpoint.save(folder / f"step-{self.step:07d}", weights, self.config, facts | {"run": at}, training=state)
        for old in sorted(folder.glob("step-*"))[:-KEEP]:
            shutil.rmtree(old)

    def restore(self, saved: checkpoint.Checkpoint) -> None:
        """Continue where a checkpoint stood, bit for bit."""
        self.weights.put(saved.tensors())
        for mine, p in zip(self.average, self.trained, strict=True):
            mine.copy_(p.detach())
        state = saved.tensors("training")
        with torch.no_grad():
            for i, p in enumerate(self.trained):
                p.copy_(state[f"raw.{i}"])
                kept = {k.split(".", 2)[2]: v for k, v in state.items() if k.startswith(f"adam.{i}.")}
                self.optimiser.state[p] = {k: v.to(p.device if k != "step" else "cpu") for k, v in kept.items()}
        self.noise.set_state(state["noise"].cpu())
        at = saved.facts["run"]
        self.step, self.best, self.since_best = at["step"], at["best"], at["since_best"]
        self.rng.bit_generator.state, self.kl.factor = at["rng"], at["kl_factor"]


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
    """What a run draws its batches from: `Windows`, or a mixture."""

    def draw(self, rng: np.random.Generator) -> Batch:
        """A random batch."""
        ...


def train(
    config: Config,
    windows: Source,
    valid: Windows,
    out: Path,
    facts: dict[str, Any],
    *,
    model: MusicTransformerVAEGAN | None = None,
    trained: list[nn.Parameter] | None = None,
    weights: Weights | None = None,
    resume: bool = False,
    accelerator: str = "auto",
    held_out_windows: int = 12,
    measure_first: bool = False,
) -> Iterator[Step]:
    """Train until the steps are done or held-out loss has not improved for `patience` measurements.

    Writes `steps.jsonl`, checkpoints `step-N`, and `best` (averaged weights of the best held-out loss) below `out`.
    `trained` limits what moves and `weights` what is kept (an adapter); the default is everything but the prior, which
    has its own run. With `measure_first` step 0 holds the held-out losses before training, which `best` must beat.
    """
    torch.set_num_threads(config.train.threads)
    torch.manual_seed(config.train.seed)
    fabric = Fabric(accelerator=accelerator, devices=1)
    if model is None:
        model = MusicTransformerVAEGAN(config.model)
    if trained is None:
        trained = [p for n, p in model.named_parameters() if not n.startswith(APART)]
    run = Run(model, trained, config, fabric, weights)
    out.mkdir(parents=True, exist_ok=True)
    message = ""
    if resume:
        saved, passed = checkpoint.newest(out)
        message = " ".join(passed)
        if saved is not None:
            run.restore(saved)
    batches = list(held_out(valid, held_out_windows))
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
            if run.step % config.train.checkpoint_every == 0:
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
