"""A plan of runs over YAML keys, one after the other, resumable, and a table of what each setting gives.

A plan is data (assets/plans/*.yaml): a base configuration, seeds, runs as changed keys, figures by name. Each run keeps
its folder; what is finished is not done again. Knows no figure's meaning.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from engine import checkpoint
from engine import config as configuration
from engine.checkpoint import Checkpoint
from engine.config import Config
from engine.errors import MorphonyError
from engine.model.vaegan import MusicTransformerVAEGAN
from trainer.batches import Windows
from trainer.loop import Step, train
from trainer.recipe import Music, split
from trainer.search_figures import FIGURES, Figures

KEYS = ("base", "seeds", "runs", "all", "start", "figures")


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run and what to measure."""

    name: str
    runs: Mapping[str, Config]  # in the order of the file
    seeds: tuple[int, ...]
    start: Mapping[str, str]  # run -> the run whose best weights it begins with
    figures: tuple[str, ...]

    @classmethod
    def load(cls, path: Path) -> Plan:
        """Read a plan. Raises MorphonyError with one sentence for keys, settings or runs that do not exist."""
        data = configuration.read(path)
        if not isinstance(data, Mapping) or not isinstance(data.get("runs"), Mapping) or not data["runs"]:
            raise MorphonyError(f"{path.name} is not a plan: it needs runs, each with the keys it changes.")
        unknown = [key for key in data if key not in KEYS]
        if unknown:
            raise MorphonyError(f"{path.name} has an unknown key {unknown[0]!r}; a plan has {', '.join(KEYS)}.")
        base = configuration.override(configuration.load(Path(str(data.get("base", "tiny")))), data.get("all") or {})
        runs = {str(n): configuration.override(base, changes or {}) for n, changes in data["runs"].items()}
        start = {str(k): str(v) for k, v in (data.get("start") or {}).items()}
        asked = tuple(data.get("figures") or ("held_out",))
        for name in [*start, *start.values()]:
            if name not in runs:
                raise MorphonyError(f"{path.name} begins with a run {name!r} that it does not have.")
        for name in asked:
            if name not in FIGURES and name != "held_out":
                raise MorphonyError(f"There are no figures called {name!r}, only held_out, {', '.join(FIGURES)}.")
        return cls(path.stem, runs, tuple(data.get("seeds") or (1,)), start, asked)

    def of_steps(self, steps: int) -> Plan:
        """The same plan with another number of steps in every run."""
        every = {"train.steps": steps, "train.evaluate_every": steps, "train.checkpoint_every": steps}
        return replace(self, runs={name: configuration.override(c, every) for name, c in self.runs.items()})


@dataclass(frozen=True, slots=True)
class Result:
    """What one run with one seed came to."""

    run: str
    seed: int
    seconds: float
    figures: Figures


def search(plan: Plan, music: Music, out: Path) -> Iterator[Step | Result]:
    """Every run with every seed; yields the steps of training, and a Result where one is finished.

    Writes OUT/<run>-<seed>/ and OUT/table.md, which grows. A second call goes on where the first stopped.
    """
    out.mkdir(parents=True, exist_ok=True)
    results: list[Result] = []
    for seed in plan.seeds:
        for name, config in plan.runs.items():
            folder = out / f"{name}-{seed}"
            seeded = configuration.override(config, {"train.seed": seed})
            missing = [group for group in plan.figures if group not in _known(folder)]
            if missing:
                windows, valid = split(seeded, music)
                if not _known(folder):
                    start = _last(out / f"{plan.start[name]}-{seed}").folder if name in plan.start else None
                    yield from _train(seeded, windows, valid, folder, start)
                _measure(seeded, valid, folder, missing)
            known = _known(folder)
            figures = {k: v for group in plan.figures for k, v in known[group].items()}
            results.append(Result(name, seed, known["training"]["seconds"], figures))
            (out / "table.md").write_text(table(results), encoding="utf-8")
            yield results[-1]


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


def table(results: Sequence[Result]) -> str:
    """Markdown: a row a run, mean and (from two seeds on) standard deviation of each figure."""
    names = list(dict.fromkeys(n for r in results for n in r.figures))
    rows = [["run", "seeds", "seconds", *names]]
    for run in dict.fromkeys(r.run for r in results):
        mine = [r for r in results if r.run == run]
        cells = [_cell([r.figures[n] for r in mine if n in r.figures]) for n in names]
        rows.append([run, str(len(mine)), _cell([r.seconds for r in mine]), *cells])
    rows.insert(1, ["---"] * len(rows[0]))
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _cell(values: Sequence[Any]) -> str:
    known = [float(v) for v in values if v is not None and math.isfinite(v)]
    if not known:
        return "-"
    mean = f"{np.mean(known):.4g}"
    return mean if len(known) == 1 else f"{mean} ± {np.std(known, ddof=1):.2g}"
