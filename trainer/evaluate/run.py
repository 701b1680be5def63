"""The evaluation job: which pieces, which figures, and their means by corpus. Each yield is a cancel point.

A figure group measures a piece and sums up many pieces; the sums are taken for every corpus, for tier A and for all.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from engine.errors import MorphonyError
from engine.score import listing, midi
from engine.session import Piece, Session
from trainer.corpus import Corpus
from trainer.evaluate import between, coherence, copies, generated, latents, reconstruction, refined, sliders
from trainer.evaluate.bootstrap import RESAMPLES, Interval, Summary, means
from trainer.evaluate.definitions import define

BARS = range(8)  # of every piece, for what sliders do
TIER_A = "tier_A"


@dataclass(frozen=True, slots=True)
class Group:
    """Figures that are measured together."""

    about: str
    measure: Callable[[Session, Piece, range], Any]
    sum_up: Summary[Any]
    limit: int | None = None  # pieces a corpus, unless one is asked for
    together: Callable[[Session, Sequence[Any], Corpus | None], list[Any]] | None = None  # what needs other pieces too
    show: Callable[[Sequence[Any]], dict[str, Any]] | None = None  # what a plot draws, of all pieces


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


FIGURES: dict[str, Group] = {
    "reconstruction": Group("notes that survive encoding", lambda s, p, _: reconstruction.reconstruction(s, p), means),
    "likelihood": Group("nats, and the negative ELBO", lambda s, p, _: reconstruction.likelihood(s, p), means),
    "swap": Group(
        "notes under another bar's latents",
        lambda s, p, _: reconstruction.swappable(s, p),
        means,
        together=lambda s, x, _: reconstruction.swap(s, x),
    ),
    "sliders": Group(
        "obedience, what is kept, independence, over eight bars",
        sliders.sweep,
        sliders.controllability,
        8,
        show=sliders.responses,
    ),
    "piece_scope": Group("the same over whole pieces", sliders.sweep_whole, sliders.whole_piece, 1),
    "bar_scope": Group("the same over single bars", sliders.sweep_bars, sliders.one_bar, 4),
    "smoothness": Group("small steps and returns", sliders.steps, sliders.smoothness, 2),
    "latents": Group(
        "what dimensions and sliders say of attributes, and whether notes follow",
        latents.code,
        latents.scores,
        4,
        lambda s, x, _: latents.follow(s, x),
    ),
    "active_units": Group("dimensions that say anything", latents.activity, latents.active, 4),
    "interpolation": Group(
        "notes and attributes on the way from one piece to another",
        between.beginning,
        means,
        8,
        lambda s, x, _: between.between(s, x),
    ),
    "generated": Group(
        "new music against held-out music",
        generated.windows,
        generated.verdicts,
        None,  # the classifier's own checks hold from about 100 pieces on
        lambda s, x, _: generated.judge(s, x),
        show=generated.statistics,
    ),
    "coherence": Group(
        "how bars of new pieces hang together",
        coherence.windows,
        coherence.coherence,
        16,
        lambda s, x, _: coherence.draw(s, x),
    ),
    "copies": Group("runs that new music shares with the reference", copies.windows, copies.runs, 16, copies.compare),
    "refined": Group(
        "new music as drafted and as refined",
        refined.windows,
        refined.verdicts,
        None,
        lambda s, x, _: refined.judge(s, x),
    ),
}
USUAL = tuple(name for name in FIGURES if name != "refined")  # what is measured unless asked for by name
NEEDS_REFERENCE = {"copies": "Copies are looked for in the music the model learnt from; name it with --reference."}


def evaluate(
    session: Session,
    folder: Path,
    where: str = "",
    figures: Sequence[str] = USUAL,
    limit: int | None = None,
    bars: range = BARS,
    reference: Corpus | None = None,
    resamples: int = RESAMPLES,
) -> Generator[Progress, None, dict[str, Any]]:
    """Measure every piece and sum up; ends with the result. A file that fails is an entry and stops nothing.

    `limit` is the number of pieces a corpus that take part, instead of each group's own; `reference` is the music that
    new music may have copied; `resamples` draws of pieces say how sure each figure is.
    """
    unknown = [name for name in figures if name not in FIGURES]
    if unknown:
        raise MorphonyError(f"There are no figures called {unknown[0]!r}, only {', '.join(FIGURES)}.")
    skipped = {name: why for name, why in NEEDS_REFERENCE.items() if name in figures and reference is None}
    figures = [name for name in figures if name not in skipped]
    if not figures:
        raise MorphonyError(" ".join(skipped.values()) or "No figures are asked for.")
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
            values = together(session, [i.found[name] for i in those], reference)
            for item, value in zip(those, values, strict=True):
                item.found[name] = value
    result = _result(session, measured, items, skipped)
    for column, members in _columns(measured).items():
        yield Progress(len(items), len(items), f"intervals of {column}")
        sums = _summed(figures, members, resamples)
        result["figures"][column] = {name: found.figure for name, found in sums.items()}
        result["intervals"][column] = {name: asdict(found) for name, found in sums.items()}
    result["worst_corpus"] = worst(result["figures"])
    result["definitions"] = {name: _defined(name) for name in result["figures"]["all"]}
    shown = {name: FIGURES[name].show for name in figures}
    heard = {name: [i.found[name] for i in measured if name in i.found] for name in figures}
    result["details"] = {name: show(heard[name]) for name, show in shown.items() if show and heard[name]}
    return result | {"seconds": round(time.monotonic() - began, 1)}


def _most(limit: int | None) -> float:
    return float("inf") if limit is None else limit


def _items(folder: Path, where: str) -> Iterator[Item]:
    for file in listing.list_files(folder, where):
        yield Item(file.path, file.corpus, file.row.get("tier") or "")


def _result(session: Session, measured: list[Item], items: list[Item], skipped: dict[str, str]) -> dict[str, Any]:
    return {
        "model": session.hash,
        "device": session.device_reason,
        "pieces": {name: len(members) for name, members in _columns(measured).items()},
        "seconds": 0.0,
        "figures": {},
        "intervals": {},
        "skipped": skipped,
        "files": [_entry(item) for item in items if item.found or item.error],
    }


def _columns(measured: list[Item]) -> dict[str, list[Item]]:
    """Whose figures are summed up: all pieces, those of tier A where there are any, and each corpus."""
    columns = {"all": measured}
    if any(item.tier == "A" for item in measured):
        columns[TIER_A] = [item for item in measured if item.tier == "A"]
    for corpus in sorted({item.corpus for item in measured}):
        columns[corpus] = [item for item in measured if item.corpus == corpus]
    return columns


def _summed(figures: Sequence[str], members: list[Item], resamples: int) -> dict[str, Interval]:
    out: dict[str, Interval] = {}
    for name in figures:
        found = [item.found[name] for item in members if name in item.found]
        if found:
            out |= FIGURES[name].sum_up.intervals(found, resamples)
    return out


def worst(table: dict[str, dict[str, float]]) -> dict[str, str]:
    """For every figure that is better higher or lower, the corpus where it is worst."""
    corpora = {name: row for name, row in table.items() if name not in ("all", TIER_A)}
    out = {}
    for figure in sorted({f for row in corpora.values() for f in row}):
        better, having = define(figure).better, [n for n in corpora if figure in corpora[n]]
        if better:
            out[figure] = min(having, key=lambda n: better * corpora[n][figure])
    return out


def _defined(name: str) -> dict[str, Any]:
    definition = define(name)
    return {"words": definition.words, "aim": definition.aim()}


def _entry(item: Item) -> dict[str, Any]:
    plain = {k: v for found in item.found.values() if isinstance(found, dict) for k, v in found.items()}
    entry = {"file": item.path.name, "corpus": item.corpus, "tier": item.tier}
    return {**entry, "ok": not item.error, "error": item.error, **plain}
