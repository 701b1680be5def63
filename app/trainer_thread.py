"""The trainer's thread: owns a spawned process that scans or fine-tunes, and turns its messages into signals.

The process has its own interpreter, memory and priority, so the studio keeps playing. Knows no widgets and no torch.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, QThread, Signal

from app import trainer_process
from app.wording import sentence
from engine.errors import MorphonyError

POLL_S = 0.1
PATIENCE_S = 20.0  # how long a cancelled process may take to keep its best before it is ended


class TrainerState(Enum):
    """Where the process stands.

    ::

        IDLE --scan--> SCANNING ---+--> FINISHED, CANCELLED, FAILED --scan, start--> ...
             --start-> TRAINING ---+
    """

    IDLE = "idle"
    SCANNING = "scanning"
    TRAINING = "training"
    FINISHED = "finished"
    CANCELLED = "cancelled"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class TrainingStep:
    """One step as the trainer yields it, n counted from 1: loss names to values; `held_out` where it was measured."""

    n: int
    steps: int  # of the whole run
    seconds: float
    train: dict[str, float]
    held_out: dict[str, float] | None
    message: str = ""
    warnings: tuple[tuple[str, str], ...] = ()  # that are on: what each means, and what to do
    samples: tuple[str, ...] = ()  # .mid files that this step's weights made


@dataclass(frozen=True, slots=True)
class FileReport:
    """What a scan says of one file; `path` is relative to the folder."""

    path: str
    ok: bool
    reason: str
    notes: int
    bars: int
    seconds: float


class TrainerThread(QThread):
    """Runs one job at a time in a process of its own."""

    state_changed = Signal(object)  # TrainerState
    report = Signal(object)  # FileReport
    step = Signal(object)  # TrainingStep
    ended = Signal(object, str)  # TrainerState, and a sentence where it failed

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("trainer")
        self.state = TrainerState.IDLE
        self._job: dict[str, Any] = {}
        self._cancel: Any = None
        self._leaving = False

    @property
    def busy(self) -> bool:
        """Whether a process is at work."""
        return self.state in (TrainerState.SCANNING, TrainerState.TRAINING)

    def scan(self, folder: Path) -> None:
        """Look at every file below `folder`; `report` brings them, `ended` the end."""
        self._begin(TrainerState.SCANNING, {"kind": "scan", "folder": str(folder)})

    def fine_tune(self, folder: Path, out: Path, model: Path | None = None, **options: Any) -> None:
        """Fine-tune `model` (None: the starter model) on `folder` into `out`; `step` brings the losses."""
        job = {"kind": "personalise", "folder": str(folder), "out": str(out), "model": str(model) if model else ""}
        self._begin(TrainerState.TRAINING, {**job, "options": options})

    def cancel(self) -> None:
        """Ask the process to stop after its step; it keeps the best so far."""
        if self._cancel is not None:
            self._cancel.set()

    def stop(self) -> None:
        """Cancel, and wait for the process to be gone."""
        self._leaving = True
        self.cancel()
        self.wait()

    def _begin(self, state: TrainerState, job: Mapping[str, Any]) -> None:
        if self.busy:
            raise MorphonyError("The trainer is at work; cancel that first.")
        self.wait()
        self._job, self._leaving = dict(job), False
        self._cancel = multiprocessing.get_context("spawn").Event()
        self._tell(state)
        self.start()

    def _tell(self, state: TrainerState) -> None:
        self.state = state
        self.state_changed.emit(state)

    def run(self) -> None:
        """Start the process, pass on what it says, see it off."""
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=trainer_process.main, args=(theirs, self._cancel, self._job), daemon=True)
        try:
            process.start()
            theirs.close()
            state, words = self._listen(ours, process)
        except Exception as error:
            state, words = TrainerState.FAILED, f"The trainer did not start: {sentence(error).rstrip('.')}."
        finally:
            ours.close()
        if process.pid is not None:
            process.join(0.5 if self._leaving else PATIENCE_S)
            if process.is_alive():
                process.terminate()
                process.join()
        self._tell(state)
        self.ended.emit(state, words)

    def _patience(self) -> float:
        """Seconds for a process that was called off to end by itself; one that scans has nothing to keep."""
        if self.state is TrainerState.SCANNING:
            return 0.0
        return 2.0 if self._leaving else PATIENCE_S

    def _listen(self, ours: Any, process: Any) -> tuple[TrainerState, str]:
        asked: float | None = None
        while True:
            if self._cancel.is_set():
                asked = asked or time.monotonic()
                if time.monotonic() - asked >= self._patience():
                    process.terminate()
                    return TrainerState.CANCELLED, ""
            if not ours.poll(POLL_S):
                continue
            try:
                kind, payload = ours.recv()
            except EOFError:
                process.join(PATIENCE_S)
                if self._cancel.is_set():
                    return TrainerState.CANCELLED, ""
                return TrainerState.FAILED, f"The trainer ended by itself (exit code {process.exitcode})."
            if kind == "report":
                self.report.emit(FileReport(*payload))
            elif kind == "step":
                self.step.emit(TrainingStep(*payload))
            else:
                return TrainerState(kind), payload or ""
