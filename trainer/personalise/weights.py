"""Fine-tuning weights on someone's music: an adapter on the frozen model, or all of it.

Training takes a model farther than what it knew before can bear. What is kept lies on the straight line back to the
base weights (Wortsman et al. 2022): the place where held-out music of the style is likeliest while held-out base music
costs at most FORGOTTEN more.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from engine import checkpoint
from engine.checkpoint import Checkpoint
from engine.config import Config, TrainConfig
from engine.errors import MorphonyError
from engine.model.adapter import Blend, attach, detached, restore, scaled
from engine.model.vaegan import MusicTransformerVAEGAN
from engine.session import STARTER, Session
from engine.style import ADAPTER
from trainer import finish
from trainer.batches import Batch
from trainer.evaluate.windows import of_pieces
from trainer.loop import APART, Step, Weights, train
from trainer.memorisation import lines
from trainer.objective import objective_of
from trainer.personalise import judge
from trainer.personalise.music import Music, bars_of_pieces, report_words

FULL = "full"
STRENGTHS = (1.0, 0.8, 0.65, 0.5, 0.35)
UNGUARDED = 0.5  # the farthest where the demo pieces are all the base music there is: one of them tells too little
FORGOTTEN = 0.02  # share by which the loss of held-out base music may rise
OWN_WINDOWS, BASE_WINDOWS = 24, 24  # that losses are measured on
MEASUREMENTS = 8  # of held-out loss in a run

Held = Mapping[str, list[Batch]]  # "own" and "base"
Losses = dict[str, float]


@dataclass(frozen=True, slots=True)
class Kind:
    """How deep a run goes."""

    name: str
    steps: int  # where only the demo pieces are replayed
    guarded_steps: int  # with base music of the caller's, which lets a run go farther
    rate: float
    begin: Callable[[MusicTransformerVAEGAN], tuple[list[nn.Parameter], Weights | None]]
    between: Callable[[MusicTransformerVAEGAN, Mapping[str, Tensor], Mapping[str, Tensor], float], object]
    """Puts weights into a model that lie so far from its base to what was trained, 0 to 1."""
    keep: Callable[[Path, Checkpoint, Mapping[str, Tensor], float, dict[str, Any]], None]
    """Writes what lies there below the run's folder."""


def _begin_adapter(model: MusicTransformerVAEGAN) -> tuple[list[nn.Parameter], Weights | None]:
    model.requires_grad_(False)
    trained = attach(model)
    return trained, Weights(lambda: detached(model), lambda tensors: restore(model, tensors))


def _between_adapter(
    model: MusicTransformerVAEGAN, base: Mapping[str, Tensor], trained: Mapping[str, Tensor], strength: float
) -> None:
    model.load(base)
    Blend(model, [trained]).set([strength])


def _keep_adapter(
    out: Path, base: Checkpoint, trained: Mapping[str, Tensor], strength: float, facts: dict[str, Any]
) -> None:
    checkpoint.save(out / "best", scaled(trained, strength), Checkpoint(out / "best").config, facts)


def _begin_full(model: MusicTransformerVAEGAN) -> tuple[list[nn.Parameter], Weights | None]:
    return [p for n, p in model.named_parameters() if not n.startswith(APART)], None


def _line(base: Mapping[str, Tensor], trained: Mapping[str, Tensor], strength: float) -> dict[str, Tensor]:
    return {n: torch.lerp(base[n].float(), t.float(), strength) if n in base else t for n, t in trained.items()}


def _between_full(
    model: MusicTransformerVAEGAN, base: Mapping[str, Tensor], trained: Mapping[str, Tensor], strength: float
) -> None:
    model.load(_line(base, trained, strength))


def _keep_full(
    out: Path, base: Checkpoint, trained: Mapping[str, Tensor], strength: float, facts: dict[str, Any]
) -> None:
    """A model folder of its own, with the base model's colours and prior."""
    model = MusicTransformerVAEGAN(base.config.model)
    model.load(_line(base.tensors(), trained, strength))
    colours = base.tensors("colours") if base.facts.get("colours") else {}
    finish.ship(model, Checkpoint(out / "best").config, base.facts | facts, colours, out / "model")


KINDS = {
    ADAPTER: Kind(ADAPTER, 400, 700, 1e-3, _begin_adapter, _between_adapter, _keep_adapter),
    FULL: Kind(FULL, 400, 700, 3e-4, _begin_full, _between_full, _keep_full),
}


def fine_tune(
    kind: Kind,
    model_dir: Path | None,
    folder: Path,
    out: Path,
    *,
    steps: int | None,
    seed: int,
    where: str,
    base: Path | None,
    resume: bool,
    cache: Path,
    accelerator: str,
    cancelled: Callable[[], bool],
) -> Iterator[Step]:
    """Steps of a run; step 0 holds the held-out losses before. See `personalise`."""
    began = time.monotonic()
    if steps is None:
        steps = kind.steps if base is None else kind.guarded_steps
    saved = Checkpoint(model_dir or STARTER)
    if saved.config.model.mode == "transformer":
        raise MorphonyError("A model of events cannot be personalised.")
    config = replace(saved.config, train=_brief(saved.config.train, steps, kind.rate, seed))
    config = replace(config, loss=replace(config.loss, kl_warmup=0.0))
    music = Music.read(folder, where, base, cache, seed, cancelled)
    deviations = np.array(saved.facts["deviations"])
    own, others = music.held_out(config.train, deviations)
    held = {
        name: [b for _, b in w.held_out(n)]
        for name, w, n in (("own", own, OWN_WINDOWS), ("base", others, BASE_WINDOWS))
    }
    if not resume and out.is_dir():
        for old in ("best", "model"):  # of an earlier run: not this one's
            shutil.rmtree(out / old, ignore_errors=True)
    model = MusicTransformerVAEGAN(saved.config.model)
    model.load(saved.tensors())
    torch.manual_seed(seed)  # an adapter begins at random
    trained, weights = kind.begin(model)
    facts = {"base": saved.hash, "folder": folder.name, "kind": kind.name}
    found = music.report()
    run = _Run(kind, saved, config, held, music, out, facts, seed, base is not None)
    yield Step(0, steps, 0.0, {}, None, report_words(found), {"scan": found})
    job = train(
        config, music.drawn(config.train, deviations), own, out, facts, model=model, trained=trained, weights=weights,
        resume=resume, measure_first=True, held_out_windows=OWN_WINDOWS, accelerator=accelerator,
    )  # fmt: skip
    done = False
    try:
        yield from job
        done = True
    finally:  # what was cancelled keeps the best so far
        result = run.settle(done) | {"scan": found, "cancelled": not done}
        result["seconds"] = round(time.monotonic() - began, 2)
        judge.write(result, out)
    yield Step(steps, steps, time.monotonic() - began, {}, None, result["said"], {"result": result})


def _brief(base: TrainConfig, steps: int, rate: float, seed: int) -> TrainConfig:
    """A short run over a small corpus: gentle rate, quick averages, frequent measurements."""
    every = max(steps // MEASUREMENTS, 1)
    return replace(
        base,
        steps=steps,
        seed=seed,
        lr=rate,
        lr_warmup=max(steps // 20, 1),
        ema=0.98,
        edited_pairs=0.3,
        corpus_weights={},
        evaluate_every=every,
        checkpoint_every=every,
        patience=6,  # the divergence rises before it falls
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """What is needed to say, once training is over, where between base and trained weights to stay."""

    kind: Kind
    saved: Checkpoint
    config: Config
    held: Held
    music: Music
    out: Path
    facts: dict[str, Any]
    seed: int
    guarded: bool  # by base music of the caller's

    def settle(self, whole: bool) -> dict[str, Any]:
        """Choose, save and judge; a run that was cut short is not listened to."""
        model = MusicTransformerVAEGAN(self.config.model)
        model.load(self.saved.tensors())
        before = self.losses(model)
        result: dict[str, Any] = {"kind": self.kind.name, "before": before, "after": None, "strengths": []}
        best, chosen = self.out / "best", None
        if best.is_dir():
            trained = Checkpoint(best).tensors()
            for strength in [s for s in STRENGTHS if self.guarded or s <= UNGUARDED]:
                self.kind.between(model, self.saved.tensors(), trained, strength)
                at = {"strength": strength, **self.losses(model)}
                result["strengths"].append(at)
                kept = at["base_loss"] <= (1 + FORGOTTEN) * before["base_loss"]
                if kept and at["loss"] < min(before["loss"], chosen["loss"] if chosen else np.inf):
                    chosen = at
                if kept and chosen is not at:
                    break  # nearer to the base the style is only weaker
        if chosen is None:
            shutil.rmtree(best, ignore_errors=True)
            return result | {"improved": False, "change_percent": None, "base_change_percent": None, "said": NOT_KEPT}
        self.kind.keep(self.out, self.saved, trained, chosen["strength"], {**self.facts, "held_out": chosen})
        change, forgot = (100 * (chosen[k] / before[k] - 1) for k in ("loss", "base_loss"))
        result |= {"after": chosen, "improved": True, "change_percent": change, "base_change_percent": forgot}
        words = f"Held-out loss {change:+.1f} %, on base music {forgot:+.1f} %."
        return result | ({"said": words} if not whole else self._heard(words))

    def losses(self, model: MusicTransformerVAEGAN) -> Losses:
        """Negative ELBO per note of held-out music, of the style and of the base, as runs are compared by."""
        own, base = (held_out_loss(model, self.config, self.held[name]) for name in ("own", "base"))
        return {"loss": own, "base_loss": base}

    def _heard(self, words: str) -> dict[str, Any]:
        model_dir = None if self.saved.folder == STARTER else self.saved.folder
        before = Session.open(model_dir, "cpu")
        after = (
            Session.open(self.out / "model", "cpu")
            if self.kind.name == FULL
            else Session.open(model_dir, "cpu", self.out)
        )
        windows = of_pieces(self.music.own, self.music.kept)
        known = judge.Known.of(windows, [lines(*piece) for piece in bars_of_pieces(self.music.own, self.music.learned)])
        told = judge.judged(before, after, known, self.seed)
        samples = judge.sample(before, after, windows, self.out, self.seed)
        return {"samples": samples, **told, "said": f"{words} {told['said']}"}


NOT_KEPT = "Held-out loss did not fall while base music was kept, so there is no style to use."


@torch.no_grad()
def held_out_loss(model: MusicTransformerVAEGAN, config: Config, batches: list[Batch]) -> float:
    """Negative ELBO per note over fixed batches, each by its length, from a fixed sample of z."""
    objective = objective_of(model.eval(), config.loss)
    losses, sizes = [], []
    for batch in batches:
        losses.append(float(objective(batch, 1.0, torch.Generator().manual_seed(0))[1]["loss"]))
        sizes.append(batch.size)
    return float(np.average(losses, weights=sizes))
