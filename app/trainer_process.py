"""What runs in the spawned process: scan a folder, or fine-tune on it, and send every step home.

No Qt here. Messages are (kind, payload) with payloads of plain values; see `app.trainer_thread` for who reads them.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

NICE = 10


def main(connection: Connection, cancel: Event, job: dict[str, Any]) -> None:
    """Do one job and leave; a home that no longer listens ends it too."""
    threads = max((os.cpu_count() or 2) - 1, 1)
    os.environ["OMP_NUM_THREADS"] = str(threads)
    if hasattr(os, "nice"):
        os.nice(NICE)
    with contextlib.suppress(BrokenPipeError, EOFError, KeyboardInterrupt):
        try:
            JOBS[job["kind"]](connection, cancel, job, threads)
        except BrokenPipeError:
            raise
        except Exception as error:
            from app.wording import sentence

            connection.send(("cancelled", None) if cancel.is_set() else ("failed", sentence(error)))
    connection.close()


def _scan(connection: Connection, cancel: Event, job: dict[str, Any], threads: int) -> None:
    from trainer.corpus import scan

    multiprocessing.current_process().daemon = False  # or it may start no readers; they end when their pipe closes
    reports: Any = scan(Path(job["folder"]), workers=threads, cancelled=cancel.is_set)
    for report in reports:
        connection.send(("report", (report.path, report.ok, report.reason, report.notes, report.bars, report.seconds)))
        if cancel.is_set():
            reports.close()
            break
    connection.send(("cancelled" if cancel.is_set() else "finished", None))


def _personalise(connection: Connection, cancel: Event, job: dict[str, Any], threads: int) -> None:
    import torch

    multiprocessing.current_process().daemon = False  # as above: the corpus is read by processes of its own
    torch.set_num_threads(threads)
    from engine.checkpoint import Checkpoint
    from engine.session import STARTER
    from trainer.audition import Audition
    from trainer.monitor import monitored
    from trainer.personalise import personalise

    model, out = Path(job["model"]) if job["model"] else None, Path(job["out"])
    plain: Any = personalise(model, Path(job["folder"]), out, cancelled=cancel.is_set, **job["options"])
    base = model or STARTER
    adapter = job["options"].get("kind", "adapter") == "adapter"
    audition = Audition(out, base=base if adapter else None)
    steps: Any = monitored(plain, Checkpoint(base).config, out, audition=audition)
    for step in steps:
        connection.send(("step", _told(step, out)))
        if cancel.is_set():
            steps.close()  # keeps the best so far
            connection.send(("cancelled", None))
            return
    connection.send(("finished", None))


def _told(step: Any, out: Path) -> tuple[Any, ...]:
    """What `app.trainer_thread.TrainingStep` is made of: sums of groups stand among the losses."""
    from trainer.monitor.figures import with_groups

    train, held_out = (None if values is None else with_groups(values) for values in (step.train, step.held_out))
    warnings = tuple((alert["means"], alert["do"]) for alert in step.facts["warnings"])
    samples = tuple(str(out / name) for name in step.facts.get("samples", ()))
    return step.n, step.steps, step.seconds, train, held_out, step.message, warnings, samples


JOBS = {"scan": _scan, "personalise": _personalise}
