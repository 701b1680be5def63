"""Files to bars: scan a folder (or a table of paths), report on every file, and keep the bars memory-mapped.

A cache is written once and found again by the content of its files and the version of this code.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.attributes import NAMES, measure
from engine.errors import MorphonyError
from engine.model.batch import beat_clocks
from engine.score import Score, listing, midi
from engine.score.timing import BarGrid, TempoMap
from engine.tokens.bars import BAR_NOTE, to_bars

VERSION = 2
MICRO_UNIT = 1 / 100  # clocks
DURATION_UNIT = 1 / 16  # clocks

CACHED_NOTE = np.dtype(
    [("onset", "u2"), ("duration", "u2"), ("micro", "i1"), ("pitch", "u1"), ("velocity", "u1"), ("part", "u1")]
)
CACHED_BAR = np.dtype([("first", "u4"), ("piece", "u4"), ("clocks", "u2"), ("beat", "u2")])


@dataclass(frozen=True, slots=True)
class FileReport:
    """What became of one file."""

    path: str  # relative to the folder scanned
    corpus: str
    ok: bool
    reason: str  # why it was left out; empty when kept
    notes: int = 0
    bars: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Piece:
    """One kept file in a corpus."""

    path: str
    corpus: str
    first_bar: int
    bars: int
    parts: int  # how many parts play
    attributes: tuple[float, ...]


def list_files(folder: Path, where: str = "") -> list[tuple[Path, str]]:
    """(path, corpus) of every file asked for; `folder` may be a .tsv with a `path` column, filtered by `where`.

    `where` is like "split=valid,tier=A"; without a table the corpus is the folder a file lies in.
    """
    return [(file.path, file.corpus) for file in listing.list_files(folder, where)]


def scan(folder: Path, where: str = "") -> Iterator[FileReport]:
    """Look at every file, one report each; duplicates by note content are left out."""
    for report, _ in read_all(folder, where):
        yield report


def read_all(folder: Path, where: str = "") -> Iterator[tuple[FileReport, Score | None]]:
    """As `scan`, with the score of every file that is kept."""
    root = folder.parent if folder.is_file() else folder
    seen: dict[bytes, str] = {}
    for path, corpus in list_files(folder, where):
        name = os.path.relpath(path, root)
        try:
            score = midi.read_notes(path)
            notes = to_bars(score, BarGrid.of(score))
        except MorphonyError as error:
            yield FileReport(name, corpus, False, str(error)), None
            continue
        digest = hashlib.sha256(notes["bar"].tobytes() + _cached(notes).tobytes()).digest()  # in beats, not ticks
        if len(notes) == 0:
            yield FileReport(name, corpus, False, f"{path.name} holds no pitched notes."), None
        elif digest in seen:
            yield FileReport(name, corpus, False, f"{path.name} has the same notes as {seen[digest]}."), None
        else:
            seen[digest] = name
            seconds = float(TempoMap.of(score).to_seconds(score.end_tick))
            yield FileReport(name, corpus, True, "", len(notes), len(BarGrid.of(score)), seconds), score


class Corpus:
    """Bars of many pieces, memory-mapped. Opened with `Corpus.build` or `Corpus.open`."""

    def __init__(self, folder: Path) -> None:
        meta = json.loads((folder / "corpus.json").read_text(encoding="utf-8"))
        self.folder = folder
        self.notes: NDArray[np.void] = np.load(folder / "notes.npy", mmap_mode="r")
        self.bars: NDArray[np.void] = np.load(folder / "bars.npy", mmap_mode="r")
        self.pieces = tuple(Piece(**{**p, "attributes": tuple(p["attributes"])}) for p in meta["pieces"])
        self.reports = tuple(FileReport(**r) for r in meta["reports"])

    @classmethod
    def build(cls, folder: Path, cache: Path, where: str = "") -> Corpus:
        """Open the cache of these files below `cache`, making it first if it is not there."""
        place = cache / f"corpus-{_key(folder, where)}"
        if not (place / "corpus.json").exists():
            _write(folder, where, place)
        corpus = cls(place)
        if not corpus.pieces:
            reasons = corpus.reports[0].reason if corpus.reports else "it holds no MIDI files."
            raise MorphonyError(f"Nothing in {folder.name} can be used: {reasons}")
        return corpus

    def read(self, bars: Sequence[int] | NDArray[np.integer]) -> NDArray[np.void]:
        """BAR_NOTE of the given bars, numbered 0, 1, ... in the order given."""
        bars = np.asarray(bars, dtype=np.int64)
        first = self.bars["first"][bars].astype(np.int64)
        ends = np.append(self.bars["first"], len(self.notes))[bars + 1].astype(np.int64)
        rows = [self.notes[a:b] for a, b in zip(first, ends, strict=True)]
        raw = np.concatenate(rows) if rows else np.zeros(0, CACHED_NOTE)
        out = np.zeros(len(raw), BAR_NOTE)
        out["bar"] = np.repeat(np.arange(len(bars)), ends - first)
        for name in ("onset", "pitch", "velocity", "part"):
            out[name] = raw[name]
        out["micro"], out["duration"] = raw["micro"] * MICRO_UNIT, raw["duration"] * DURATION_UNIT
        return out

    def attribute_table(self) -> NDArray[np.float64]:
        """(pieces, 12) attributes of each whole piece."""
        return np.array([p.attributes for p in self.pieces]).reshape(-1, len(NAMES))


def _key(folder: Path, where: str) -> str:
    digest = hashlib.sha256(f"{VERSION} {where}".encode())
    for path, corpus in list_files(folder, where):
        try:
            info = path.stat()
            digest.update(f"{path} {corpus} {info.st_size} {info.st_mtime_ns}\n".encode())
        except OSError as error:
            digest.update(f"{path} {error}\n".encode())
    return digest.hexdigest()[:16]


def _write(folder: Path, where: str, place: Path) -> None:
    notes, bars = [], []
    pieces: list[Piece] = []
    reports: list[FileReport] = []
    n_notes = n_bars = 0
    for report, score in read_all(folder, where):
        reports.append(report)
        if score is None:
            continue
        grid = BarGrid.of(score)
        piece = to_bars(score, grid)
        notes.append(_cached(piece))
        table = np.zeros(len(grid), CACHED_BAR)
        table["first"] = n_notes + np.searchsorted(piece["bar"], np.arange(len(grid)))
        table["piece"], table["clocks"] = len(pieces), np.minimum(grid.clocks, 65535)
        table["beat"] = beat_clocks(grid.numerators, grid.denominators)
        bars.append(table)
        whole = tuple(float(x) for x in measure(piece, grid.clocks))
        parts = int(piece["part"].max()) + 1
        pieces.append(Piece(report.path, report.corpus, n_bars, len(grid), parts, whole))
        n_notes, n_bars = n_notes + len(piece), n_bars + len(grid)
    fresh = place.with_name(place.name + f".{os.getpid()}.tmp")
    fresh.mkdir(parents=True, exist_ok=True)
    np.save(fresh / "notes.npy", np.concatenate(notes) if notes else np.zeros(0, CACHED_NOTE))
    np.save(fresh / "bars.npy", np.concatenate(bars) if bars else np.zeros(0, CACHED_BAR))
    meta = {"pieces": [asdict(p) for p in pieces], "reports": [asdict(r) for r in reports]}
    (fresh / "corpus.json").write_text(json.dumps(meta), encoding="utf-8")
    if place.exists():  # another run was quicker
        shutil.rmtree(fresh)
    else:
        fresh.rename(place)


def _cached(notes: NDArray[np.void]) -> NDArray[np.void]:
    out = np.zeros(len(notes), CACHED_NOTE)
    for name in ("onset", "pitch", "velocity", "part"):
        out[name] = notes[name]
    out["micro"] = np.round(notes["micro"] / MICRO_UNIT)
    out["duration"] = np.round(notes["duration"] / DURATION_UNIT).clip(0, 65535)
    return out
