"""A model that is none: it turns sliders into notes by rules, in microseconds, so that the app can be tested whole.

Everything else (bars, scores, threads, windows) is real.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from app.recipe import Recipe
from app.sound.ports import Status, Timed
from app.worker import Engine
from engine.attributes import SPECS, measure
from engine.errors import MorphonyError
from engine.score.score import Score
from engine.score.timing import BarGrid
from engine.tokens.bars import replace_bars, rows_of, to_bars

CHUNK = 4


@dataclass(frozen=True)
class SliderSpec:
    name: str
    label: str
    description: str
    kind: str
    unit: str
    sd: float
    quantiles: Any
    rho: float | None


@dataclass(frozen=True, eq=False)
class Piece:
    score: Score
    grid: BarGrid
    bars: Any
    attributes: Any


@dataclass(frozen=True)
class BarsDone:
    bars: tuple[int, ...]
    notes: Any


Request = Recipe

NORMAL = np.quantile(np.random.default_rng(0).normal(size=20_000), np.linspace(0.005, 0.995, 101))
TYPICAL = {"density": (3.0, 1.5), "register": (62.0, 6.0), "dynamics": (72.0, 14.0), "polyphony": (2.5, 1.0)}


def specs() -> tuple[SliderSpec, ...]:
    """The twelve attributes with a made-up corpus, and two colours."""
    made = []
    for spec in SPECS:
        mean, sd = TYPICAL.get(spec.name, (1.0, 0.5))
        quantiles = mean + sd * NORMAL
        made.append(SliderSpec(spec.name, spec.label, spec.description, "attribute", spec.unit, sd, quantiles, 0.91))
    for i in (1, 2):
        made.append(
            SliderSpec(f"colour_{i}", f"Colour {i}", "A direction of the model.", "colour", "notes", 1.0, None, None)
        )
    return tuple(made)


def encode(score: Score) -> Piece:
    grid = BarGrid.of(score)
    bars = to_bars(score, grid)
    if not len(bars):
        raise MorphonyError("There are no pitched notes here.")
    return Piece(score, grid, bars, measure(bars, grid.clocks))


def morph(piece: Piece, request: Recipe, seconds: float = 0.0) -> Iterator[BarsDone]:
    """Thin by density, transpose by register, louder by dynamics; bars after `first` first; locked notes stay."""
    scope = list(request.bars if request.bars is not None else range(len(piece.grid)))
    order = [b for b in scope if b >= request.first] + [b for b in scope if b < request.first]
    stays = np.isin(rows_of(piece.score, piece.grid), list(request.locks))
    for start in range(0, len(order), CHUNK):
        chunk = tuple(order[start : start + CHUNK])
        moved = [_moved(piece, request.offsets_at(bar), (piece.bars["bar"] == bar) & ~stays) for bar in chunk]
        held = piece.bars[stays & np.isin(piece.bars["bar"], chunk)]
        if seconds:
            time.sleep(seconds)
        yield BarsDone(chunk, np.concatenate([held, *moved]))


def _moved(piece: Piece, offsets: Mapping[str, float], rows: Any) -> Any:
    notes = piece.bars[rows].copy()
    density = offsets.get("density", 0.0)
    if density < 0:
        notes = notes[np.arange(len(notes)) % 4 >= -2 * density]
    notes["pitch"] = np.clip(notes["pitch"].astype(int) + round(6 * offsets.get("register", 0.0)), 21, 108)
    notes["velocity"] = np.clip(notes["velocity"].astype(int) + round(14 * offsets.get("dynamics", 0.0)), 1, 127)
    if density > 0:
        again = notes.copy()
        again["onset"] = np.minimum(again["onset"] + 12, piece.grid.clocks[again["bar"]] - 1)
        notes = np.concatenate([notes, again[: round(len(again) * density / 2)]])
    return notes


def make(base: Score, recipe: Recipe) -> Generator[BarsDone, None, Score]:
    """Sliders as above; new bars are the old ones, higher with the seed; one more bar is the first one again."""
    if recipe.verb == "between":
        return recipe.others[2 * round(recipe.place[1]) + round(recipe.place[0])]
    piece = encode(base)
    done = []
    up = recipe.but(offsets={"register": (1 + recipe.seed % 7) / 6}) if recipe.verb != "morph" else recipe
    for part in morph(piece, up):
        done.append(part)
        yield part
    score = apply(piece, done)
    if recipe.verb == "continue":
        bar, first = int(piece.grid.starts[1]), base.notes[base.notes["tick"] < piece.grid.starts[1]]
        new = [first.copy() for _ in range(recipe.count)]
        for i, notes in enumerate(new):
            notes["tick"] += int(piece.grid.starts[-1]) + i * bar
        return replace(base, notes=np.concatenate([base.notes, *new]))
    return score


def apply(piece: Piece, done: list[BarsDone]) -> Score:
    where = np.zeros(len(piece.grid), bool)
    where[[bar for part in done for bar in part.bars]] = True
    rows = np.concatenate([part.notes for part in done]) if done else piece.bars[:0]
    score = piece.score
    notes = replace_bars(score, piece.grid, rows, where)
    return Score(score.ticks_per_quarter, score.tracks, notes, score.meters, score.tempi, score.events)


def open_engine(model: Path | None = None, adapter: Path | None = None) -> Engine:
    """An engine that is ready at once."""
    return Engine("cpu: a model of the tests", "0" * 8, specs(), encode, Request, morph, apply, make)


class Box:
    """A sound port that works and keeps what it was sent."""

    status = Status(True, "A box, for tests.")

    def __init__(self) -> None:
        self.sent: list[Timed] = []
        self.silences = 0

    def send(self, events: Sequence[Timed]) -> None:
        self.sent += events

    def silence(self) -> None:
        self.silences += 1

    def panic(self) -> None:
        self.silences += 1

    def poll(self) -> None: ...

    def close(self) -> None: ...
