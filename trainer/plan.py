"""A plan of runs as data (assets/plans/*.yaml): which settings are compared, and by what.

base: a preset or file        all: {key: value} in every run        seeds: [1, 2, 3]
runs: {name: {key: value}}    each a run with some keys changed
grid: {key: [values]}         every combination
random: {count: 8, seed: 1, key: [values] or {low: 1e-4, high: 1e-2, log: true}}   so many drawn
start: {name: name}           a run that begins with another's weights
figures: [held_out, ...]      sort: loss (or -f1 where more is better)
halving: {first: 100, keep: 0.5}  leave the worse runs early

Reads and checks; trains nothing.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from engine import config as configuration
from engine.config import Config
from engine.errors import MorphonyError
from trainer.search_figures import FIGURES

KEYS = ("base", "seeds", "runs", "grid", "random", "all", "start", "figures", "sort", "halving")
MOST_RUNS = 1000
Settings = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Halving:
    """When runs are compared and how many go on."""

    first: int = 100  # steps after which all runs are compared; then twice as many, and so on
    keep: float = 0.5  # share of the runs that goes on from a rung, at least one

    def __post_init__(self) -> None:
        if self.first < 1 or not 0 < self.keep < 1:
            raise MorphonyError("Halving needs a first rung of at least one step and a share to keep between 0 and 1.")


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run and what to measure."""

    name: str
    runs: Mapping[str, Config]  # in the order of the file
    seeds: tuple[int, ...]
    start: Mapping[str, str]  # run -> the run whose best weights it begins with
    figures: tuple[str, ...]
    settings: Mapping[str, Settings] = field(default_factory=dict)  # run -> what a grid or a draw gave it
    sort: str = ""  # the figure that orders the table; a minus in front where more is better
    halving: Halving | None = None

    @classmethod
    def load(cls, path: Path) -> Plan:
        """Read a plan. Raises MorphonyError with one sentence for keys, settings or runs that do not exist."""
        data = configuration.read(path)
        made = {key: data.get(key) for key in ("runs", "grid", "random")} if isinstance(data, Mapping) else {}
        if not isinstance(data, Mapping) or not any(isinstance(v, Mapping) and v for v in made.values()):
            raise MorphonyError(f"{path.name} is not a plan: it needs runs, each with the keys it changes.")
        unknown = [key for key in data if key not in KEYS]
        if unknown:
            raise MorphonyError(f"{path.name} has an unknown key {unknown[0]!r}; a plan has {', '.join(KEYS)}.")
        base = configuration.override(configuration.load(Path(str(data.get("base", "tiny")))), data.get("all") or {})
        settings = grid(made["grid"] or {}) | draw(made["random"] or {})
        changed = {str(n): changes or {} for n, changes in (made["runs"] or {}).items()} | settings
        if len(changed) > MOST_RUNS:
            raise MorphonyError(f"{path.name} has {len(changed)} runs; a plan may have {MOST_RUNS}.")
        runs = {name: configuration.override(base, changes) for name, changes in changed.items()}
        start = {str(k): str(v) for k, v in (data.get("start") or {}).items()}
        asked = tuple(data.get("figures") or ("held_out",))
        for name in [*start, *start.values()]:
            if name not in runs:
                raise MorphonyError(f"{path.name} begins with a run {name!r} that it does not have.")
        for name in asked:
            if name not in FIGURES and name != "held_out":
                raise MorphonyError(f"There are no figures called {name!r}, only held_out, {', '.join(FIGURES)}.")
        halving = None if data.get("halving") is None else configuration.build(Halving, data["halving"], path.name)
        if halving is not None and start:
            raise MorphonyError(f"{path.name} begins runs with others and leaves some early; only one of the two goes.")
        sort = str(data.get("sort") or ("loss" if settings or halving else ""))
        plan = cls(path.stem, runs, tuple(data.get("seeds") or (1,)), start, asked, settings, sort, halving)
        return plan._with_rungs()

    def of_steps(self, steps: int) -> Plan:
        """The same plan with another number of steps in every run."""
        every = {"train.steps": steps, "train.evaluate_every": steps, "train.checkpoint_every": steps}
        runs = {name: configuration.override(c, every) for name, c in self.runs.items()}
        return replace(self, runs=runs)._with_rungs()

    def _with_rungs(self) -> Plan:
        """Runs that are measured and saved at every rung."""
        if self.halving is None:
            return self
        every = {"train.evaluate_every": self.halving.first, "train.checkpoint_every": self.halving.first}
        return replace(self, runs={name: configuration.override(c, every) for name, c in self.runs.items()})

    def seeded(self, run: str, seed: int) -> Config:
        """A run's configuration with one of the plan's seeds."""
        return configuration.override(self.runs[run], {"train.seed": seed})

    def rungs(self) -> list[int]:
        """Steps at which runs are compared, all before the shortest run ends."""
        if self.halving is None:
            return []
        last, rung = min(c.train.steps for c in self.runs.values()), self.halving.first
        out: list[int] = []
        while rung < last and self.survivors(len(self.runs), len(out)) > 1:
            out.append(rung)
            rung *= 2
        return out

    def survivors(self, runs: int, rungs: int = 1) -> int:
        """How many of so many runs are left after some rungs."""
        for _ in range(rungs if self.halving else 0):
            assert self.halving is not None
            runs = max(math.ceil(runs * self.halving.keep), 1)
        return runs

    def order(self, figures: Mapping[str, float]) -> float:
        """What runs are sorted by, the best first; a run without the figure, or without a finite one, is last."""
        value = figures.get(self.sort.removeprefix("-") or "loss")
        if value is None or not math.isfinite(value):
            return math.inf
        return -value if self.sort.startswith("-") else value


def grid(keys: Mapping[str, Any]) -> dict[str, Settings]:
    """Every combination of the values of some keys, by a name that says them."""
    for key, values in keys.items():
        if not isinstance(values, Sequence) or isinstance(values, str) or not values:
            raise MorphonyError(f"A grid needs a list of values for {key}.")
    if math.prod(len(v) for v in keys.values()) > MOST_RUNS:
        raise MorphonyError(f"This grid has more than {MOST_RUNS} combinations.")
    combined: list[Settings] = (
        [dict(zip(keys, values, strict=True)) for values in itertools.product(*keys.values())] if keys else []
    )
    named = {_name(one): one for one in combined}
    if len(named) < len(combined):
        raise MorphonyError("Two combinations of this grid have the same name; write it as runs.")
    return named


def draw(random: Mapping[str, Any]) -> dict[str, Settings]:
    """`count` runs with values drawn from `seed`: one of a list, or a number between limits, evenly or in its log."""
    keys = {key: spread for key, spread in random.items() if key not in ("count", "seed")}
    count, seed = random.get("count", 0), random.get("seed", 0)
    if not random:
        return {}
    if not isinstance(count, int) or not isinstance(seed, int) or not 1 <= count <= MOST_RUNS or seed < 0 or not keys:
        raise MorphonyError(f"A random search needs a count from 1 to {MOST_RUNS}, a seed of 0 or more, and keys.")
    rng = np.random.default_rng(seed)
    wide = len(str(count))
    return {f"random-{i + 1:0{wide}}": {k: _drawn(k, s, rng) for k, s in keys.items()} for i in range(count)}


def _drawn(key: str, spread: Any, rng: np.random.Generator) -> Any:
    if isinstance(spread, Sequence) and not isinstance(spread, str) and spread:
        return spread[int(rng.integers(len(spread)))]
    if not isinstance(spread, Mapping) or not {"low", "high"} <= set(spread) <= {"low", "high", "log"}:
        raise MorphonyError(f"{key} is drawn from a list of values, or from low to high (log: true by its logarithm).")
    low, high, log = _number(spread["low"]), _number(spread["high"]), spread.get("log", False)
    if low is None or high is None or low >= high or (log and low <= 0):
        raise MorphonyError(f"{key} needs a low below its high, and above 0 where it is drawn by its logarithm.")
    value = math.exp(rng.uniform(math.log(low), math.log(high))) if log else rng.uniform(low, high)
    if isinstance(low, int) and isinstance(high, int):
        return min(max(round(value), low), high)
    return float(f"{value:.4g}")


def _number(value: Any) -> int | float | None:
    """A limit; 1e-4 too, which YAML 1.1 takes for a word (it wants 1.0e-4). None where it is no finite number."""
    if isinstance(value, str) and re.fullmatch(r"[+-]?\d+e[+-]?\d+", value):
        value = float(value)
    known = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return value if known else None


def _name(settings: Settings) -> str:
    """A folder's name: the last word of every key, and its value."""
    values = [("+".join(map(str, v)) or "none") if isinstance(v, list) else str(v) for v in settings.values()]
    said = ",".join(f"{key.rpartition('.')[2]}={value}" for key, value in zip(settings, values, strict=True))
    return re.sub(r"[^A-Za-z0-9._=,+-]+", "_", said)[:100]
