"""A project on disk: one `.morphony` file, a zip of JSON and MIDI, replaced atomically and read with caps.

Holds the song note for note, the score its sliders count from, where they stand, seed and model, locked notes, limits
and takes; no paths, no names of people. Knows no Qt.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import stat
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from app.limits import Limits
from app.take import Take
from engine.errors import MorphonyError, reason
from engine.score import midi
from engine.score.score import NOTE, Event, Meter, Score, Tempo, Track

SUFFIX: Final = ".morphony"
FORMAT: Final = "morphony project"
VERSION: Final = 2  # 1 knew no locked notes and no takes
MAX_ENTRIES: Final = 64
MAX_BYTES: Final = 256 * 2**20
MAX_RATIO: Final = 200


@dataclass(frozen=True, slots=True)
class Project:
    """Everything a project file says. `score` is what the sliders made of `base`; often the same object."""

    score: Score
    base: Score
    offsets: Mapping[str, float] = field(default_factory=dict)
    locks: tuple[str, ...] = ()
    bars: range | None = None
    seed: int = 0
    model: str = ""  # hash of the weights in use
    muted: tuple[int, ...] = ()  # tracks, by index
    soloed: tuple[int, ...] = ()
    note_locks: tuple[int, ...] = ()  # rows of the score's locked notes
    limits: Limits = field(default_factory=Limits)
    lanes: Mapping[str, tuple[float, ...]] = field(default_factory=dict)  # sigma for each bar, by slider
    takes: tuple[Take, ...] = ()


def write(project: Project, path: Path, backup: bool = True) -> None:
    """Replace `path` by the project, or leave it as it was and say why. The last version stays as `path`.bak."""
    data = to_bytes(project)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        _write_synced(temporary, data)
        if temporary.read_bytes() != data or not _same(from_bytes(data, path.name), project):
            raise MorphonyError(f"{path.name} was not saved: what was written does not read back as it should.")
        if backup:
            _keep_backup(path)
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise MorphonyError(f"{path.name} was not saved: {reason(error)}.") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def read(path: Path) -> Project:
    """Read a project; a refusal is one sentence."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise MorphonyError(f"{path.name} is not a file.")
        if path.stat().st_size > MAX_BYTES:
            raise MorphonyError(f"{path.name} is too large to be a project.")
        data = path.read_bytes()
    except OSError as error:
        raise MorphonyError(f"{path.name} cannot be read: {reason(error)}.") from error
    return from_bytes(data, path.name)


def to_bytes(project: Project) -> bytes:
    """The project as the bytes of a zip file."""
    entries = {
        "project.json": _dump(
            {
                "format": FORMAT,
                "version": VERSION,
                "sliders": dict(project.offsets),
                "locks": list(project.locks),
                "bars": None if project.bars is None else [project.bars.start, project.bars.stop],
                "seed": project.seed,
                "model": project.model,
                "muted": list(project.muted),
                "soloed": list(project.soloed),
                "note_locks": list(project.note_locks),
                "limits": project.limits.to_json(),
                "lanes": {name: list(values) for name, values in project.lanes.items()},
            }
        ),
        "song.json": _dump(score_to_json(project.score)),
        "song.mid": midi.to_bytes(project.score),  # for other programs; song.json is what we read
    }
    if project.base is not project.score:
        entries["base.json"] = _dump(score_to_json(project.base))
    if project.takes:
        scores: list[Score] = [project.score, project.base]
        entries["takes.json"] = _dump([take.to_json(scores) for take in project.takes])
        entries["scores.json"] = _dump([score_to_json(score) for score in scores[2:]])  # the first two are there
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in entries.items():
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED if _is_varied(content) else zipfile.ZIP_STORED
            archive.writestr(entry, content)
    return out.getvalue()


def from_bytes(data: bytes, name: str = "The project") -> Project:
    """Read the bytes of a project file; nothing is unpacked to disk and nothing past the caps is read."""
    try:
        entries = _unzip(data, name)
        about = json.loads(entries["project.json"])
        if about["format"] != FORMAT:
            raise MorphonyError(f"{name} is not a Morphony project.")
        if int(about["version"]) > VERSION:
            raise MorphonyError(f"{name} was saved by a newer Morphony (format {about['version']}).")
        score = score_from_json(json.loads(entries["song.json"]))
        base = score_from_json(json.loads(entries["base.json"])) if "base.json" in entries else score
        bars = None if about["bars"] is None else range(int(about["bars"][0]), int(about["bars"][1]))
        offsets = {str(k): float(v) for k, v in about["sliders"].items()}
        locks = tuple(str(s) for s in about["locks"])
        muted, soloed = (tuple(int(i) for i in about.get(name, ())) for name in ("muted", "soloed"))
        held = tuple(int(row) for row in about.get("note_locks", ()))
        if held and not 0 <= min(held) <= max(held) < len(score.notes):
            raise ValueError("note_locks")
        limits = Limits.from_json(about.get("limits", {}))
        lanes = {str(k): tuple(map(float, v)) for k, v in about.get("lanes", {}).items()}
        takes: tuple[Take, ...] = ()
        if "takes.json" in entries:
            others = tuple(score_from_json(s) for s in json.loads(entries["scores.json"]))
            takes = tuple(Take.from_json(t, (score, base, *others)) for t in json.loads(entries["takes.json"]))
        seed, model = int(about["seed"]), str(about["model"])
        return Project(score, base, offsets, locks, bars, seed, model, muted, soloed, held, limits, lanes, takes)
    except KeyError as error:
        raise MorphonyError(f"{name} is not a whole Morphony project: {error.args[0]} is missing.") from error
    except (ValueError, TypeError, AttributeError, IndexError, OverflowError, RecursionError) as error:
        raise MorphonyError(f"{name} is damaged: its contents do not make sense.") from error


def _unzip(data: bytes, name: str) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = archive.infolist()
            size = sum(i.file_size for i in infos)
            if len(infos) > MAX_ENTRIES or size > MAX_BYTES or size > MAX_RATIO * max(len(data), 1):
                raise MorphonyError(f"{name} is refused: it would unpack to more than a project holds.")
            if len({i.filename for i in infos}) < len(infos):
                raise MorphonyError(f"{name} is damaged: it holds an entry twice.")
            entries = {}
            for info in infos:
                with archive.open(info) as stream:
                    entries[info.filename] = stream.read(info.file_size + 1)
            return entries
    # NotImplementedError and RuntimeError: a compression zipfile lacks, an entry under a password
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise MorphonyError(f"{name} is not a Morphony project, or it is damaged.") from error
    except Exception as error:  # zlib.error and its like are not one family
        if isinstance(error, MorphonyError):
            raise
        raise MorphonyError(f"{name} is damaged and cannot be unpacked.") from error


def score_to_json(score: Score) -> dict[str, Any]:
    """A score as plain values, nothing rounded."""
    return {
        "ticks_per_quarter": score.ticks_per_quarter,
        "tracks": [[t.name, t.program, t.channel, t.is_drum] for t in score.tracks],
        "notes": {column: score.notes[column].tolist() for column in NOTE.names or ()},
        "meters": [[m.tick, m.numerator, m.denominator] for m in score.meters],
        "tempi": [[t.tick, t.microseconds] for t in score.tempi],
        "events": [[e.tick, e.track, e.data.hex()] for e in score.events],
    }


def score_from_json(data: Mapping[str, Any]) -> Score:
    """Plain values to a score; ValueError or TypeError where they do not fit."""
    tracks = tuple(Track(str(n), int(p), int(c), bool(d)) for n, p, c, d in data["tracks"])
    columns = {column: np.asarray(data["notes"][column], dtype=np.int64) for column in NOTE.names or ()}
    count = len(columns["tick"])
    notes = np.zeros(count, NOTE)
    for column, values in columns.items():
        kind = np.iinfo(NOTE[column])
        if values.shape != (count,) or (count and not kind.min <= values.min() <= values.max() <= kind.max):
            raise ValueError(column)
        notes[column] = values
    if count and (notes["track"].max() >= len(tracks) or notes["tick"].min() < 0 or notes["duration"].min() < 0):
        raise ValueError("notes")
    if int(data["ticks_per_quarter"]) < 1 or any(d < 1 or n < 1 for _, n, d in data["meters"]):
        raise ValueError("time")
    return Score(
        int(data["ticks_per_quarter"]),
        tracks,
        notes,
        tuple(Meter(int(t), int(n), int(d)) for t, n, d in data["meters"]),
        tuple(Tempo(int(t), int(m)) for t, m in data["tempi"]),
        tuple(Event(int(t), int(k), bytes.fromhex(d)) for t, k, d in data["events"]),
    )


def _dump(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()


def _is_varied(content: bytes) -> bool:
    """False for content so uniform that deflating it would pass the ratio a reader allows."""
    return (
        len(content) < 4096 or len({content[i : i + 64] for i in range(0, len(content), 64)}) * 16 > len(content) // 64
    )


def _same(a: Project, b: Project) -> bool:
    return score_to_json(a.score) == score_to_json(b.score) and score_to_json(a.base) == score_to_json(b.base)


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _keep_backup(path: Path) -> None:
    """Give the present file a second name, so that there is one whole file at `path` at every moment."""
    if not path.exists():
        return
    backup, fresh = path.with_name(path.name + ".bak"), path.with_name(f".{path.name}.{os.getpid()}.bak")
    fresh.unlink(missing_ok=True)
    try:
        os.link(path, fresh)
    except OSError:  # a file system without links
        _write_synced(fresh, path.read_bytes())
    try:
        os.replace(fresh, backup)
    finally:
        fresh.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    if os.name != "nt":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
