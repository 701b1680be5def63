"""Bars of many pieces as memory-mapped tables, written once while the files are read, found again by what they hold.

A cache is a folder: tables of plain rows, names, reports, and a manifest with a digest of each, written last.
Its name says which files and which code made it. Memory stays flat: notes go to the disk as they come.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, overload

import numpy as np
from numpy.typing import NDArray

from engine.attributes import NAMES
from engine.errors import MorphonyError, reason
from engine.tokens.bars import BAR_NOTE
from trainer.corpus import index, version
from trainer.corpus.bars import CACHED_BAR, CACHED_NOTE, DIGEST, DURATION_UNIT, MICRO_UNIT
from trainer.corpus.reading import Reading
from trainer.corpus.report import FileReport, Summary
from trainer.corpus.scan import CALLED_OFF, Files, read_all

PIECE = np.dtype(
    [
        ("first_bar", "i8"),
        ("name", "i8"),  # where its path begins in `names`
        ("bars", "i4"),
        ("notes", "i4"),
        ("seconds", "f8"),
        ("attributes", "f8", (len(NAMES),)),
        ("corpus", "u2"),  # index into the manifest's corpora
        ("parts", "u1"),
    ]
)
TABLES = {"notes": CACHED_NOTE, "bars": CACHED_BAR, "pieces": PIECE}
TEXTS = ("names", "reports")
FILES = (*TABLES, *TEXTS)
MANIFEST = "corpus.json"
STALE_S = 86_400.0  # a folder half written that nobody has touched for a day was left by a run that was killed


@dataclass(frozen=True, slots=True)
class Piece:
    """One kept file in a corpus."""

    path: str  # relative to the folder, or to the table
    corpus: str
    first_bar: int
    bars: int
    parts: int  # how many parts play
    attributes: tuple[float, ...]
    notes: int = 0
    seconds: float = 0.0


class Pieces(Sequence[Piece]):
    """The pieces of a corpus: a table that is looked at row by row, or column by column as `table`."""

    def __init__(self, table: NDArray[np.void], names: bytes | memoryview, corpora: tuple[str, ...]) -> None:
        self.table, self.names, self.corpora = table, names, corpora

    def __len__(self) -> int:
        return len(self.table)

    @overload
    def __getitem__(self, index: int) -> Piece: ...
    @overload
    def __getitem__(self, index: slice) -> Pieces: ...
    def __getitem__(self, index: int | slice) -> Piece | Pieces:
        if isinstance(index, slice):
            return Pieces(self.table[index], self.names, self.corpora)
        row = self.table[index]
        begin = int(row["name"])
        end = begin + int(np.frombuffer(self.names[begin : begin + 4], "<u4")[0]) + 4
        path = bytes(self.names[begin + 4 : end]).decode("utf-8", "surrogateescape")
        first, bars, parts, notes = (int(row[name]) for name in ("first_bar", "bars", "parts", "notes"))
        whole = tuple(row["attributes"].tolist())
        return Piece(path, self.corpora[row["corpus"]], first, bars, parts, whole, notes, float(row["seconds"]))


class Corpus:
    """Bars of many pieces, memory-mapped. Opened with `Corpus.build`."""

    def __init__(self, folder: Path) -> None:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        self.folder = folder
        self.notes, self.bars, table = (_mapped(folder / name, dtype) for name, dtype in TABLES.items())
        self.pieces = Pieces(table, _mapped(folder / "names", np.dtype("u1")).data, tuple(manifest["corpora"]))

    @classmethod
    def build(cls, folder: Path, cache: Path, where: str = "", **options: Any) -> Corpus:
        """Open the cache of these files below `cache`, making it first if it is not there or damaged.

        `options` are those of `workers.read_all`. Raises MorphonyError when nothing can be used, or nothing kept.
        """
        files = Files.of(folder, where)
        try:
            corpus = cls(_open_or_make(files, where, cache, options))
        except OSError as error:
            raise MorphonyError(f"The bars could not be kept in {cache}: {reason(error)}.") from error
        if not len(corpus.pieces):
            first = next(corpus.reports(), None)
            why = first.reason if first else "it holds no MIDI files."
            raise MorphonyError(f"Nothing in {folder.name} can be used: {why}")
        return corpus

    def reports(self) -> Iterator[FileReport]:
        """What became of every file, in their order."""
        with (self.folder / "reports").open(encoding="utf-8", errors="surrogateescape") as lines:
            for line in lines:
                yield FileReport(**json.loads(line))

    def summary(self) -> Summary:
        """The sums of the reports."""
        out = Summary()
        for report in self.reports():
            out.add(report)
        return out

    def read(self, bars: Sequence[int] | NDArray[np.integer]) -> NDArray[np.void]:
        """BAR_NOTE of the given bars, numbered 0, 1, ... in the order given."""
        asked = np.asarray(bars, dtype=np.int64)
        first, ends = self.note_range(asked, asked + 1)
        rows = [self.notes[a:b] for a, b in zip(first, ends, strict=True)]
        raw = np.concatenate(rows) if rows else np.zeros(0, CACHED_NOTE)
        out = np.zeros(len(raw), BAR_NOTE)
        out["bar"] = np.repeat(np.arange(len(asked)), ends - first)
        for name in ("onset", "pitch", "velocity", "part"):
            out[name] = raw[name]
        out["micro"], out["duration"] = raw["micro"] * MICRO_UNIT, raw["duration"] * DURATION_UNIT
        return out

    def note_range(self, first: NDArray[np.int64], last: NDArray[np.int64]) -> tuple[NDArray[np.int64], ...]:
        """First note of each run of bars, and the one after its last."""
        begin = self.bars["first"][first].astype(np.int64)
        inside = last < len(self.bars)
        end = np.full(len(last), len(self.notes))
        end[inside] = self.bars["first"][last[inside]]
        return begin, end

    def attribute_table(self) -> NDArray[np.float64]:
        """(pieces, 12) attributes of each whole piece."""
        table: NDArray[np.float64] = np.array(self.pieces.table["attributes"]).reshape(-1, len(NAMES))
        return table


def _mapped(path: Path, dtype: np.dtype[Any]) -> NDArray[Any]:
    return np.memmap(path, dtype, "r") if path.stat().st_size else np.zeros(0, dtype)


def _open_or_make(files: Files, where: str, cache: Path, options: dict[str, Any]) -> Path:
    """The folder of a cache that is whole."""
    cache.mkdir(parents=True, exist_ok=True)
    looked, now, remembered = time.time_ns(), index.stats(files), index.place_of(files, where, cache)
    known = index.load(remembered)
    if known is not None:
        place = cache / f"corpus-{_key(files, index.contents(files, now, known))}"
        if is_whole(place):
            index.save(remembered, now, looked)
            return place
    _sweep(cache)
    fresh = Path(tempfile.mkdtemp(prefix="building-", suffix=".tmp", dir=cache))
    try:
        read = _write(files, fresh, options)
        now["content"] = np.frombuffer(read, now.dtype["content"])
        place = cache / f"corpus-{_key(files, read)}"
        _put(fresh, place)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    index.save(remembered, now, looked)
    return place


def _key(files: Files, contents: bytes) -> str:
    """What names a cache: the code that made it, and of every file its name, its corpus and what it holds."""
    digest = hashlib.sha256(version.code().encode())
    for name, corpus in zip(files.names, files.corpora, strict=True):
        digest.update(f"{name}\0{corpus}\n".encode(errors="surrogateescape"))
    digest.update(contents)
    return digest.hexdigest()[:16]


def is_whole(place: Path) -> bool:
    """Whether a cache is there and holds what its manifest says. Files that were touched are read through."""
    try:
        manifest = json.loads((place / MANIFEST).read_text(encoding="utf-8"))
        return all(_is_as_written(place / name, manifest["files"][name]) for name in FILES)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _is_as_written(path: Path, said: dict[str, Any]) -> bool:
    found = path.stat()
    if found.st_size != said["size"]:
        return False
    return bool(found.st_mtime_ns == said["mtime"] or _digest(path) == said["sha256"])


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _put(fresh: Path, place: Path) -> None:
    """Give a finished cache its name; where another run was quicker, its cache stays if it is whole."""
    for _ in range(3):
        try:
            fresh.rename(place)
            return
        except OSError:
            if is_whole(place):
                return
            damaged = Path(tempfile.mkdtemp(prefix="damaged-", suffix=".tmp", dir=place.parent))
            with suppress(OSError):  # another run may take it away as well
                place.rename(damaged / place.name)
            shutil.rmtree(damaged, ignore_errors=True)
    fresh.rename(place)


def _sweep(cache: Path) -> None:
    """Remove what runs that were killed have left half written."""
    for left in cache.glob("*-*.tmp"):
        with suppress(OSError):
            touched = max(p.stat().st_mtime for p in (left, *left.iterdir()))
            if time.time() - touched > STALE_S:
                shutil.rmtree(left, ignore_errors=True)


def _write(files: Files, fresh: Path, options: dict[str, Any]) -> bytes:
    """Read every file into a new cache; returns the digests of what they held, behind one another."""
    contents = bytearray()
    with _Writer(fresh) as writer:
        for report, reading in read_all(files, True, **options):
            contents += reading.content
            writer.add(report, reading)
    if len(contents) != DIGEST * len(files):
        raise MorphonyError(CALLED_OFF)
    return bytes(contents)


class _Writer:
    """The tables of a cache while they grow; the manifest comes when everything else is on the disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.corpora: dict[str, int] = {}
        self.notes = self.bars = self.pieces = self.names = 0  # how many are written; of names the bytes
        self.files: dict[str, BinaryIO] = {}
        self.digests = {name: hashlib.sha256() for name in FILES}

    def __enter__(self) -> _Writer:
        self.files = {name: (self.folder / name).open("wb") for name in FILES}
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            for file in self.files.values():
                if kind is None:
                    file.flush()
                    os.fsync(file.fileno())
        finally:
            for file in self.files.values():
                with suppress(OSError) if kind is not None else nullcontext():
                    file.close()
        if kind is None:
            self._sign()

    def add(self, report: FileReport, reading: Reading) -> None:
        """Write one file's report and, where it is kept, its bars."""
        self._append("reports", (json.dumps(asdict(report)) + "\n").encode())
        piece = reading.piece
        if not report.ok or piece is None:
            return
        bars = piece.bars.copy()
        bars["first"] += self.notes
        bars["piece"] = self.pieces
        name = report.path.encode("utf-8", "surrogateescape")
        row = np.zeros(1, PIECE)
        row["first_bar"], row["bars"], row["notes"], row["seconds"] = (
            self.bars,
            len(bars),
            len(piece.notes),
            report.seconds,
        )
        row["name"], row["parts"], row["attributes"] = self.names, piece.parts, piece.attributes
        row["corpus"] = self.corpora.setdefault(report.corpus, len(self.corpora))
        self._append("notes", piece.notes.tobytes())
        self._append("bars", bars.tobytes())
        self._append("pieces", row.tobytes())
        self._append("names", len(name).to_bytes(4, "little") + name)
        self.notes, self.bars, self.pieces = self.notes + len(piece.notes), self.bars + len(bars), self.pieces + 1
        self.names += 4 + len(name)

    def _append(self, name: str, data: bytes) -> None:
        self.files[name].write(data)
        self.digests[name].update(data)

    def _sign(self) -> None:
        said = {}
        for name in FILES:
            found = (self.folder / name).stat()
            said[name] = {"size": found.st_size, "mtime": found.st_mtime_ns, "sha256": self.digests[name].hexdigest()}
        text = json.dumps({"code": version.code(), "corpora": list(self.corpora), "files": said})
        with (self.folder / MANIFEST).open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
