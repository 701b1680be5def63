"""The trainer's thread with its real process: scans, cancels, dies, and leaves nothing behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pytestqt.qtbot import QtBot

from app import trainer_process
from app.trainer_thread import FileReport, TrainerState, TrainerThread
from engine.errors import MorphonyError
from engine.score import midi
from engine.score.score import Score, Track, make_notes
from tests.trainer.scanning import is_running
from tests.trainer.scanning import readers_of as below

PATIENCE = 60_000  # ms: the process imports torch


def write_songs(folder: Path, count: int) -> None:
    folder.mkdir(exist_ok=True)
    for i in range(count):
        rows = [(j * 240, 200, 50 + (i + j * j) % 30, 80, 0) for j in range(64)]
        midi.write(Score(480, (Track(),), make_notes(rows)), folder / f"song {i}.mid")


@pytest.fixture
def trainer() -> Iterator[TrainerThread]:
    thread = TrainerThread()
    yield thread
    thread.stop()
    assert multiprocessing.active_children() == []


def test_a_scan_reports_every_file_with_its_reason(trainer: TrainerThread, tmp_path: Path, qtbot: QtBot) -> None:
    write_songs(tmp_path, 3)
    (tmp_path / "broken.mid").write_bytes(b"MThd, almost")
    reports: list[FileReport] = []
    trainer.report.connect(reports.append)
    with qtbot.waitSignal(trainer.ended, timeout=PATIENCE) as ended:
        trainer.scan(tmp_path)
        assert trainer.state is TrainerState.SCANNING
    assert ended.args == [TrainerState.FINISHED, ""]
    assert [r.path for r in reports if not r.ok] == ["broken.mid"]
    assert all(r.reason for r in reports if not r.ok)
    assert sum(r.notes for r in reports) == 3 * 64


def test_a_scan_can_be_called_off(trainer: TrainerThread, tmp_path: Path, qtbot: QtBot) -> None:
    write_songs(tmp_path, 200)
    with qtbot.waitSignal(trainer.report, timeout=PATIENCE):
        trainer.scan(tmp_path)
    with qtbot.waitSignal(trainer.ended, timeout=5000) as ended:
        trainer.cancel()
    assert ended.args[0] in (TrainerState.CANCELLED, TrainerState.FINISHED)


@pytest.mark.alone
def test_a_scan_is_left_in_half_a_second_with_all_that_it_started(
    trainer: TrainerThread, tmp_path: Path, qtbot: QtBot
) -> None:
    write_songs(tmp_path, 400)
    reports: list[object] = []  # a waiter for the first of many would be gone when the next one comes
    trainer.report.connect(reports.append)
    trainer.scan(tmp_path)
    qtbot.waitUntil(lambda: bool(reports), timeout=PATIENCE)
    readers = below(os.getpid())
    assert len(readers) >= 2  # the trainer's process, and what it reads with
    began = time.monotonic()
    with qtbot.waitSignal(trainer.ended, timeout=5000):
        trainer.cancel()
    assert time.monotonic() - began < 0.5
    qtbot.waitUntil(lambda: not [pid for pid in readers if is_running(pid)])  # readers end when their pipe closes


def test_a_job_that_stops_because_it_was_called_off_has_not_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(connection: Any, cancel: Any, job: Any, threads: int) -> None:
        raise MorphonyError("Stopped.")

    monkeypatch.setattr(os, "nice", lambda by: by)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # which it sets
    monkeypatch.setitem(trainer_process.JOBS, "stop", stop)
    cancel = threading.Event()
    for expected in (("failed", "Stopped."), ("cancelled", None)):
        ours, theirs = multiprocessing.Pipe()
        trainer_process.main(theirs, cancel, {"kind": "stop"})  # type: ignore[arg-type]  # a thread's event will do
        assert ours.recv() == expected
        ours.close()
        cancel.set()


def test_a_folder_that_is_not_there_is_a_sentence(trainer: TrainerThread, tmp_path: Path, qtbot: QtBot) -> None:
    with qtbot.waitSignal(trainer.ended, timeout=PATIENCE) as ended:
        trainer.scan(tmp_path / "nowhere")
    state, words = ended.args
    assert state is TrainerState.FAILED
    assert words.startswith("There is no file or folder ")


def test_one_job_at_a_time(trainer: TrainerThread, tmp_path: Path, qtbot: QtBot) -> None:
    with qtbot.waitSignal(trainer.ended, timeout=PATIENCE):
        trainer.scan(tmp_path)
        with pytest.raises(MorphonyError, match="at work"):
            trainer.scan(tmp_path)


def _children() -> list[Any]:
    return multiprocessing.active_children()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="SIGKILL: not on this system")
def test_a_killed_process_is_a_sentence_and_the_next_job_runs(
    trainer: TrainerThread, tmp_path: Path, qtbot: QtBot
) -> None:
    write_songs(tmp_path, 2)
    with qtbot.waitSignal(trainer.ended, timeout=PATIENCE) as ended:
        trainer.scan(tmp_path)
        qtbot.waitUntil(lambda: bool(_children()))
        os.kill(_children()[0].pid, signal.SIGKILL)
    assert ended.args == [TrainerState.FAILED, "The trainer ended by itself (exit code -9)."]
    with qtbot.waitSignal(trainer.ended, timeout=PATIENCE) as ended:
        trainer.scan(tmp_path)
    assert ended.args[0] is TrainerState.FINISHED
