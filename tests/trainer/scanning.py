"""What proofs of scanning share: folders of many files, a folder of traps, and what processes hold in memory."""

from __future__ import annotations

import os
import random
import resource
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import symusic

from engine.score import midi
from tests.engine import small

SHIFTS = (0, -1, 1, -2, 2, -3, 3, -4, 4)


def write_changed(sources: Sequence[Path], folder: Path, count: int) -> list[Path]:
    """`count` files below `folder`, no two with the same notes: each a source transposed, some loudness changed."""
    kept = [symusic.Score(str(path)) for path in sources]
    out = []
    for i in range(count):
        song = kept[i % len(kept)].copy()
        rng = random.Random(i)
        low = min(note.pitch for track in song.tracks for note in track.notes)
        high = max(note.pitch for track in song.tracks for note in track.notes)
        shift = SHIFTS[i // len(kept) % len(SHIFTS)]
        for track in song.tracks:
            if not track.is_drum and low + shift >= 21 and high + shift <= 108:
                track.shift_pitch(shift, inplace=True)
            for n in rng.sample(range(len(track.notes)), min(len(track.notes), 12)):
                track.notes[n].velocity = rng.randrange(20, 120)
        path = folder / f"{i // 500:02d}" / f"{i:05d}.mid"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(song.dumps_midi())
        out.append(path)
    return out


def write_traps(folder: Path, damaged: int, good: Sequence[Path] = ()) -> set[str]:
    """Everything that is not music beside what is; returns the names that must be kept."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = set()
    for i in range(20):
        midi.write(small.score(4 + i % 5, i), folder / f"good{i}.mid")
        kept.add(f"good{i}.mid")
    for i, path in enumerate(good):
        (folder / f"more{i}.mid").write_bytes(path.read_bytes())
        kept.add(f"more{i}.mid")
    data = midi.to_bytes(small.score(16))
    for i in range(damaged):
        rng = random.Random(i)
        way = i % 5
        broken = {
            0: b"",
            1: bytes(rng.randrange(4000)),
            2: rng.randbytes(rng.randrange(1, 4000)),
            3: data[: rng.randrange(1, 14)],
            4: data[:8] + rng.randbytes(6) + b"XXXX" + rng.randbytes(300),
        }[way]
        (folder / f"damaged{i}.mid").write_bytes(broken)
    os.mkfifo(folder / "pipe.mid")
    (folder / "endless.mid").symlink_to("/dev/zero")
    (folder / "tty.mid").symlink_to("/dev/tty")
    (folder / "loop.mid").symlink_to(folder / "loop.mid")
    (folder / "one.mid").symlink_to(folder / "two.mid")
    (folder / "two.mid").symlink_to(folder / "one.mid")
    (folder / "nowhere.mid").symlink_to(folder / "gone.mid")
    (folder / "round").symlink_to(folder)
    (folder / "folder.mid").mkdir()
    with (folder / "sparse.mid").open("wb") as file:
        file.truncate(8 << 30)
    return kept


class Memory:
    """The highest memory of this process and its children while a block runs: the sum of what each holds for itself and
    its share of what they hold together (PSS), in MiB. Linux only.
    """

    def __init__(self) -> None:
        self.peak, self.before = 0.0, 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="memory")

    def __enter__(self) -> Memory:
        self.before = held()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.1):
            self.peak = max(self.peak, held())


def held() -> float:
    """MiB held now by this process and all below it."""
    return sum(_pss(pid) for pid in [os.getpid(), *below(os.getpid())])


def below(pid: int) -> list[int]:
    """Every process below one."""
    out = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            for child in Path(f"/proc/{pid}/task/{task}/children").read_text().split():
                out += [int(child), *below(int(child))]
    except OSError:  # it has ended
        pass
    return out


def readers_of(pid: int) -> list[int]:
    """The processes below one that were spawned to read, without what Python keeps beside them."""
    return [child for child in below(pid) if b"spawn_main" in _command(child)]


def is_running(pid: int) -> bool:
    """Whether a process is there and has not ended."""
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2][:3]
    except OSError:
        return False


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _pss(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("Pss:")).split()[1]) / 1024
    except (OSError, StopIteration):
        return 0.0


def processor_seconds() -> float:
    """Of this process and of its children that have ended."""
    every = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(spent.ru_utime + spent.ru_stime for spent in every)


def symusic_alone(paths: Sequence[str]) -> tuple[float, float]:
    """(seconds, processor seconds) of reading files by symusic and nothing else, in this process."""
    began, spent = time.perf_counter(), processor_seconds()
    for path in paths:
        symusic.Score(path)
    return time.perf_counter() - began, processor_seconds() - spent
