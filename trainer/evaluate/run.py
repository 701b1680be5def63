"""The evaluation job: which pieces, which figures, and their means by corpus. Each yield is a cancel point.

A figure group measures a piece and sums up many pieces; the sums are taken for every corpus, for tier A and for all.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from engine.errors import MorphonyError
from engine.score import listing, midi
from engine.session import Piece, Session
from trainer.evaluate import generated, latents, reconstruction, refined, sliders

BARS = range(8)  # of every piece, for what sliders do
TIER_A = "tier_A"


@dataclass(frozen=True, slots=True)
class Group:
    """Figures that are measured together."""

    about: str
    measure: Callable[[Session, Piece, range], Any]
    sum_up: Callable[[Session, Sequence[Any]], dict[str, float]]
    limit: int | None  # pieces a corpus, unless one is asked for
    together: Callable[[Session, Sequence[Any]], list[Any]] | None = None  # what needs other pieces too


@dataclass(frozen=True, slots=True)
class Progress:
    """What the job is at."""

    done: int
    total: int
    name: str


@dataclass(slots=True)
class Item:
    """A piece to be judged and what was measured."""

    path: Path
    corpus: str
    tier: str
    error: str | None = None
    found: dict[str, Any] = field(default_factory=dict)


def means(_: Session, figures: Sequence[dict[str, float]]) -> dict[str, float]:
    """The mean over pieces of each figure, pieces without it left out."""
    names = list(dict.fromkeys(name for f in figures for name in f))
    values = {name: [f[name] for f in figures if np.isfinite(f.get(name, np.nan))] for name in names}
    return {name: float(np.mean(v)) for name, v in values.items() if v}


FIGURES: dict[str, Group] = {
    "reconstruction": Group(
        "notes that survive encoding", lambda s, p, _: reconstruction.reconstruction(s, p), means, None
    ),
    "likelihood": Group("nats, and the negative ELBO", lambda s, p, _: reconstruction.likelihood(s, p), means, None),
    "swap": Group(
        "notes under another bar's latents",
        lambda s, p, _: reconstruction.swappable(s, p),
        means,
        None,
        reconstruction.swap,
    ),
    "sliders": Group(
        "obedience, what is kept, independence", sliders.sweep, lambda _, x: sliders.controllability(x), 8
    ),
    "smoothness": Group("small steps and returns", sliders.steps, lambda _, x: sliders.smoothness(x), 2),
    "latents": Group(
        "what dimensions and sliders say of attributes, and whether notes follow",
        latents.code,
        lambda _, x: latents.scores(x),
        4,
        latents.follow,
    ),
    "active_units": Group("dimensions that say anything", latents.activity, lambda _, x: latents.active(x), 4),
    "generated": Group(
        "new music against held-out music",
        generated.windows,
        lambda _, x: generated.verdicts(x),
        None,  # the classifier's own checks hold from about 100 pieces on
        generated.judge,
    ),
    "refined": Group(
        "new music as drafted and as refined", refined.windows, lambda _, x: refined.verdicts(x), None, refined.judge
    ),
}
USUAL = tuple(name for name in FIGURES if name != "refined")  # what is measured unless asked for by name


def evaluate(
    session: Session,
    folder: Path,
    where: str = "",
    figures: Sequence[str] = USUAL,
    limit: int | None = None,
    bars: range = BARS,
) -> Generator[Progress, None, dict[str, Any]]:
    """Measure every piece and sum up; ends with the result. A file that fails is an entry and stops nothing.

    `limit` is the number of pieces a corpus that take part, instead of each group's own.
    """
    unknown = [name for name in figures if name not in FIGURES]
    if unknown:
        raise MorphonyError(f"There are no figures called {unknown[0]!r}, only {', '.join(FIGURES)}.")
    began, items, seen = time.monotonic(), list(_items(folder, where)), Counter[str]()
    if not items:
        raise MorphonyError(f"There is no music in {folder.name}" + (f" where {where}." if where else "."))
    for done, item in enumerate(items):
        due = [n for n in figures if seen[item.corpus] < _most(limit if limit is not None else FIGURES[n].limit)]
        if not due:
            item.error = "left out: its corpus has enough pieces"
            continue
        yield Progress(done, len(items), item.path.name)
        try:
            piece = session.encode(midi.read_notes(item.path))
            item.found = {name: FIGURES[name].measure(session, piece, bars) for name in due}
            seen[item.corpus] += 1
        except MorphonyError as error:
            item.error = str(error)
    measured = [item for item in items if item.found]
    if not measured:
        raise MorphonyError(f"Nothing in {folder.name} could be evaluated: {items[0].error}")
    for name in figures:
        together, those = FIGURES[name].together, [i for i in measured if name in i.found]
        if together is not None:
            yield Progress(len(items), len(items), name)
            for item, value in zip(those, together(session, [i.found[name] for i in those]), strict=True):
                item.found[name] = value
    return _result(session, figures, measured, items, time.monotonic() - began)


def _most(limit: int | None) -> float:
    return float("inf") if limit is None else limit


def _items(folder: Path, where: str) -> Iterator[Item]:
    for file in listing.list_files(folder, where):
        yield Item(file.path, file.corpus, file.row.get("tier") or "")


def _result(
    session: Session, figures: Sequence[str], measured: list[Item], items: list[Item], seconds: float
) -> dict[str, Any]:
    groups = {"all": measured}
    if any(item.tier == "A" for item in measured):
        groups[TIER_A] = [item for item in measured if item.tier == "A"]
    for corpus in sorted({item.corpus for item in measured}):
        groups[corpus] = [item for item in measured if item.corpus == corpus]
    table = {name: _summed(session, figures, members) for name, members in groups.items()}
    return {
        "model": session.hash,
        "device": session.device_reason,
        "pieces": {name: len(members) for name, members in groups.items()},
        "seconds": round(seconds, 1),
        "figures": table,
        "worst_corpus": worst(table),
        "files": [_entry(item) for item in items if item.found or item.error],
    }


def _summed(session: Session, figures: Sequence[str], members: list[Item]) -> dict[str, float]:
    out: dict[str, float] = {}
    for name in figures:
        found = [item.found[name] for item in members if name in item.found]
        if found:
            out |= FIGURES[name].sum_up(session, found)
    return out


def worst(table: dict[str, dict[str, float]]) -> dict[str, str]:
    """For every slider's rho the corpus where it is lowest."""
    corpora = {name: row for name, row in table.items() if name not in ("all", TIER_A)}
    rhos = {f for row in corpora.values() for f in row if f.startswith("rho.")}
    return {f: min((n for n in corpora if f in corpora[n]), key=lambda n: corpora[n][f]) for f in sorted(rhos)}


def _entry(item: Item) -> dict[str, Any]:
    plain = {k: v for found in item.found.values() if isinstance(found, dict) for k, v in found.items()}
    entry = {"file": item.path.name, "corpus": item.corpus, "tier": item.tier}
    return {**entry, "ok": not item.error, "error": item.error, **plain}
