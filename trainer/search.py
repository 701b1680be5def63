"""A plan of runs over YAML keys, one after the other, resumable, and a table of what each setting gives.

A plan (trainer/plan.py) is data. Each run keeps its folder; what is finished is not done again. With `halving` the
worse runs are left early: at the first rung all are compared, the better share goes on to twice the steps, and so on
(successive halving, Jamieson and Talwalkar 2016). Knows no figure's meaning.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t

from engine import checkpoint
from engine.checkpoint import Checkpoint
from engine.config import Config
from engine.errors import MorphonyError
from engine.model.vaegan import MusicTransformerVAEGAN
from trainer.batches import Windows
from trainer.loop import Step, train
from trainer.plan import Plan
from trainer.recipe import Music, split
from trainer.search_figures import FIGURES, Figures

LEVEL = 0.95  # of an interval over seeds


@dataclass(frozen=True, slots=True)
class Result:
    """What one run with one seed came to."""

    run: str
    seed: int
    seconds: float
    figures: Figures
    left_at: int | None = None  # the step at which halving left it


def search(plan: Plan, music: Music, out: Path) -> Iterator[Step | Result]:
    """Every run with every seed; yields the steps of training, and a Result where one is finished.

    Writes OUT/<run>-<seed>/ and OUT/table.md, which grows. A second call goes on where the first stopped.
    """
    out.mkdir(parents=True, exist_ok=True)
    results: list[Result] = []

    def add(result: Result) -> Result:
        results.append(result)
        (out / "table.md").write_text(table(results, plan), encoding="utf-8")
        return result

    kept = list(plan.runs)
    for rung in plan.rungs():
        losses = {}
        for name in kept:
            seeded, folder = plan.seeded(name, plan.seeds[0]), out / f"{name}-{plan.seeds[0]}"
            yield from _until(rung, seeded, music, folder)
            losses[name] = _at(folder, rung)
        better = sorted(kept, key=lambda name: plan.order(losses[name]))[: plan.survivors(len(kept))]
        for name in kept:
            if name not in better:
                seconds = losses[name].get("seconds", 0.0)  # none where a run stopped by itself before the rung
                yield add(Result(name, plan.seeds[0], seconds, _figures(losses[name]), rung))
        kept = [name for name in kept if name in better]
    for seed in plan.seeds:
        for name in kept:
            folder, seeded = out / f"{name}-{seed}", plan.seeded(name, seed)
            missing = [group for group in plan.figures if group not in _known(folder)]
            if missing:
                windows, valid = split(seeded, music)
                if not _known(folder):
                    start = _last(out / f"{plan.start[name]}-{seed}").folder if name in plan.start else None
                    yield from _train(seeded, windows, valid, folder, start)
                _measure(seeded, valid, folder, missing)
            known = _known(folder)
            figures = {k: v for group in plan.figures for k, v in known[group].items()}
            yield add(Result(name, seed, known["training"]["seconds"], figures))


def _until(rung: int, config: Config, music: Music, folder: Path) -> Iterator[Step]:
    """Train as far as a rung, unless the run is there already."""
    if _at(folder, rung):
        return
    windows, valid = split(config, music)
    job = train(config, windows, valid, folder, {}, resume=(folder / "steps.jsonl").exists())
    for step in job:
        yield step
        if step.n >= rung:
            break


def _at(folder: Path, step: int) -> dict[str, float]:
    """Held-out losses that a run has logged at a step, with its seconds; nothing where it has not come so far."""
    try:
        lines = (folder / "steps.jsonl").read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    for line in lines:
        if line.startswith(f'{{"n": {step},') and line.endswith("}"):
            row = json.loads(line)
            losses: dict[str, float] = row["held_out"] | {"seconds": row["seconds"]}
            return losses
    return {}


def _figures(losses: Mapping[str, float]) -> Figures:
    return {name: value for name, value in losses.items() if name != "seconds"}


def _train(config: Config, windows: Windows, valid: Windows, folder: Path, start: Path | None) -> Iterator[Step]:
    resume = (folder / "steps.jsonl").exists()
    held_out: Figures = {}
    for step in train(config, windows, valid, folder, {}, resume=resume, start=start):
        held_out = step.held_out or held_out
        seconds = step.seconds
        yield step
    _keep(folder, {"training": {"seconds": seconds}, "held_out": held_out})


def _measure(config: Config, valid: Windows, folder: Path, groups: Sequence[str]) -> None:
    """Figures of the averaged weights of the last step: no run may choose its own best moment."""
    model = MusicTransformerVAEGAN(config.model)
    model.load(_last(folder).tensors())
    model.eval()
    for group in groups:
        if group in FIGURES:
            _keep(folder, _known(folder) | {group: FIGURES[group](model, config, valid)})


def _known(folder: Path) -> dict[str, Figures]:
    """What has been measured of a run, by group of figures; nothing before it is trained."""
    place = folder / "result.json"
    return json.loads(place.read_text(encoding="utf-8")) if place.exists() else {}


def _keep(folder: Path, known: dict[str, Figures]) -> None:
    (folder / "result.json").write_text(json.dumps(known), encoding="utf-8")


def _last(folder: Path) -> Checkpoint:
    saved, _ = checkpoint.newest(folder)
    if saved is None:
        raise MorphonyError(f"{folder.name} holds no finished run to begin with.")
    return saved


def table(results: Sequence[Result], plan: Plan | None = None) -> str:
    """Markdown: a row a run, the mean of each figure and (from two seeds on) half of its interval over seeds.

    A plan that has one adds the settings each run has of its own, and sorts the runs; those left early come last.
    """
    names = list(dict.fromkeys(n for r in results for n in r.figures))
    left = any(r.left_at for r in results)
    keys = list(dict.fromkeys(k for changes in plan.settings.values() for k in changes)) if plan else []
    rows = [["run", *keys, "seeds", "seconds", *(["left at step"] if left else []), *names]]
    for run in _ordered(results, plan):
        mine = [r for r in results if r.run == run]
        settings = plan.settings.get(run, {}) if plan else {}
        cells = [_cell([r.figures[n] for r in mine if n in r.figures]) for n in names]
        at = [str(mine[0].left_at or "-")] if left else []
        own = [str(settings.get(k, "-")) for k in keys]
        rows.append([run, *own, str(len(mine)), _cell([r.seconds for r in mine]), *at, *cells])
    rows.insert(1, ["---"] * len(rows[0]))
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _ordered(results: Sequence[Result], plan: Plan | None) -> list[str]:
    runs = list(dict.fromkeys(r.run for r in results))
    if plan is None or not plan.sort:
        return runs

    def place(run: str) -> tuple[bool, float, float]:
        mine = [r for r in results if r.run == run]
        means = {n: float(np.mean([r.figures[n] for r in mine])) for n in mine[0].figures}
        return mine[0].left_at is not None, -(mine[0].left_at or 0), plan.order(means)

    return sorted(runs, key=place)


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean and half of the interval of it (Student); half is NaN for one value."""
    mean, n = float(np.mean(values)), len(values)
    if n < 2:
        return mean, math.nan
    return mean, float(t.ppf(0.5 + LEVEL / 2, n - 1) * np.std(values, ddof=1) / n**0.5)


def _cell(values: Sequence[Any]) -> str:
    known = [float(v) for v in values if v is not None and math.isfinite(v)]
    if not known:
        return "-"
    mean, half = interval(known)
    return f"{mean:.4g}" if math.isnan(half) else f"{mean:.4g} ± {half:.2g}"
