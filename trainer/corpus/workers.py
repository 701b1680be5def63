"""Batches of files to readings, by several spawned processes, in the order of the files whatever becomes of any.

A file that stands still longer than its limit is given up, one that ends its reader twice as well; the files beside it
are read again. Knows processes and pipes, no music. Workers die with this process: their pipes close.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from types import ModuleType
from typing import Any

from engine.errors import MorphonyError
from trainer.corpus import reading
from trainer.corpus.reading import Read, Reading

BATCH_FILES = 48
BATCH_BYTES = 2 << 20  # of files that are read at once
AHEAD = 6  # batches for each worker that may be read before the one that is waited for
LIMIT_S = 20.0  # a file may take: the largest that is opened takes a quarter of it
POLL_S = 0.05
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
STARTS = 3  # workers in a row that may end before they have read anything


@dataclass(slots=True)
class _Batch:
    """Files to be read one after another; `tried` when the first has ended a reader before."""

    paths: list[str]
    tried: bool = False
    readings: list[Reading] | None = None


@dataclass(slots=True)
class _Worker:
    process: Any
    connection: Connection
    progress: Any  # index of the file in hand; -1 before the first
    batch: _Batch | None = None
    seen: tuple[int, float] = field(default=(-1, 0.0))  # the index last seen, and since when


def batches(paths: Iterable[str]) -> Iterator[list[str]]:
    """Runs of files of a bounded size."""
    batch, size = list[str](), 0
    for path in paths:
        with suppress(OSError, ValueError):
            size += min(os.stat(path).st_size, BATCH_BYTES)
        batch.append(path)
        if len(batch) >= BATCH_FILES or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def read_all(
    paths: Iterable[str],
    keep: bool,
    *,
    workers: int = 0,
    limit_s: float = LIMIT_S,
    cancelled: Callable[[], bool] = lambda: False,
    read: Read = reading.read_batch,
) -> Generator[Reading, None, None]:
    """A reading of every file, in order; ends early when `cancelled()`. `workers` 0: as many as there are cores."""
    pool = _Pool(batches(paths), keep, workers or cores(), limit_s, read)
    try:
        while not pool.done:
            if cancelled():
                return
            pool.turn()
            for batch in pool.finished():
                yield from batch.readings or []
    finally:
        pool.close()


def refusal(reason: str) -> Reading:
    """The reading of a file that could not be read."""
    return Reading(reading.content_of(reason.encode()), reason)


def cores() -> int:
    """How many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _lean() -> Iterator[None]:
    """While a process starts: it does its sums on one thread, and imports no main module, since readers need none and
    a script without a guard would run again.
    """
    main, before = sys.modules["__main__"], {name: os.environ.get(name) for name in ONE_THREAD}
    sys.modules["__main__"] = ModuleType("__main__")
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    try:
        yield
    finally:
        sys.modules["__main__"] = main
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


class _Pool:
    def __init__(self, source: Iterator[list[str]], keep: bool, count: int, limit_s: float, read: Read) -> None:
        self.source, self.keep, self.count, self.limit_s, self.read = source, keep, count, limit_s, read
        self.context = multiprocessing.get_context("spawn")
        self.order: deque[_Batch] = deque()  # every batch given out and not yet passed on, in the order of the files
        self.again: deque[_Batch] = deque()  # parts of batches whose reader ended
        self.workers: list[_Worker] = []
        self.exhausted, self.failed_starts = False, 0

    @property
    def done(self) -> bool:
        """Whether every file has been passed on."""
        return self.exhausted and not self.order

    def turn(self) -> None:
        """Give out work, wait a little, take in what has come, see who stands still."""
        self._give_out()
        waiting = {w.connection: w for w in self.workers if w.batch is not None}
        for connection in wait(list(waiting), POLL_S) if waiting else ():
            worker = waiting[connection]  # type: ignore[index]  # only connections were waited for
            try:
                readings = worker.connection.recv()
            except (EOFError, OSError):
                self._bury(worker)
                continue
            assert worker.batch is not None
            worker.batch.readings, worker.batch = readings, None
            self.failed_starts = 0
        self._end_the_stuck()

    def finished(self) -> Iterator[_Batch]:
        """The next batches in order, as far as they have been read."""
        while self.order and self.order[0].readings is not None:
            yield self.order.popleft()

    def close(self) -> None:
        """End every worker at once: they hold nothing that could be lost."""
        for worker in self.workers:
            worker.process.kill()
        for worker in self.workers:
            worker.connection.close()
            worker.process.join(1.0)
        self.workers = []

    def _give_out(self) -> None:
        while True:
            idle = next((w for w in self.workers if w.batch is None), None)
            if idle is None and len(self.workers) >= self.count:
                return
            batch = self._next()
            if batch is None:
                return
            self._send(idle or self._hire(), batch)

    def _next(self) -> _Batch | None:
        if self.again:
            return self.again.popleft()
        if self.exhausted or len(self.order) >= AHEAD * self.count:
            return None
        paths = next(self.source, None)
        if paths is None:
            self.exhausted = True
            return None
        self.order.append(_Batch(paths))
        return self.order[-1]

    def _hire(self) -> _Worker:
        ours, theirs = self.context.Pipe()
        progress = self.context.RawValue("q", -1)
        process = self.context.Process(
            target=reading.main, args=(theirs, progress, self.read), name="reader", daemon=True
        )
        with _lean():
            process.start()
        theirs.close()
        self.workers.append(_Worker(process, ours, progress))
        return self.workers[-1]

    def _send(self, worker: _Worker, batch: _Batch) -> None:
        worker.batch = batch
        worker.progress.value = -1 if worker.seen[1] == 0.0 else 0
        worker.seen = (worker.progress.value, time.monotonic())
        with suppress(OSError):  # it has ended: seen when it is listened to
            worker.connection.send((batch.paths, self.keep))

    def _end_the_stuck(self) -> None:
        now = time.monotonic()
        for worker in [w for w in self.workers if w.batch is not None]:
            at = worker.progress.value
            if at != worker.seen[0]:
                worker.seen = (at, now)
            elif now - worker.seen[1] > self.limit_s + (at < 0) * LIMIT_S:  # a start may take as long again
                self._bury(worker, stuck=True)

    def _bury(self, worker: _Worker, stuck: bool = False) -> None:
        """See off a worker that has ended or stands still, and give its batch out again without the file it is for."""
        at, batch = worker.progress.value, worker.batch
        worker.process.kill()
        worker.process.join(1.0)
        worker.connection.close()
        self.workers.remove(worker)
        assert batch is not None
        if at < 0:
            self.failed_starts += 1
            if self.failed_starts >= STARTS:
                raise MorphonyError(
                    f"The processes that read files do not start here (exit code {worker.process.exitcode})."
                )
            self.again.appendleft(batch)
            return
        name = os.path.basename(batch.paths[min(at, len(batch.paths) - 1)])
        if at >= len(batch.paths):  # all were read: what stands still or ends the reader may be any
            if len(batch.paths) > 1:
                self._replace(batch, [_Batch([path]) for path in batch.paths])
                return
            at = 0
        if stuck:
            self._refuse(batch, at, f"{name} took longer than {self.limit_s:g} s to read and was given up.")
        elif at == 0 and batch.tried:
            self._refuse(
                batch, at, f"{name} ended the process that read it, twice (exit code {worker.process.exitcode})."
            )
        else:
            before, after = batch.paths[:at], batch.paths[at + 1 :]
            self._replace(batch, [_Batch(before), _Batch([batch.paths[at]], tried=True), _Batch(after)])

    def _refuse(self, batch: _Batch, at: int, reason: str) -> None:
        refused = _Batch([batch.paths[at]], readings=[refusal(reason)])
        self._replace(batch, [_Batch(batch.paths[:at]), refused, _Batch(batch.paths[at + 1 :])])

    def _replace(self, batch: _Batch, parts: list[_Batch]) -> None:
        place = self.order.index(batch)
        del self.order[place]
        for part in reversed([p for p in parts if p.paths]):
            self.order.insert(place, part)
            if part.readings is None:
                self.again.appendleft(part)
