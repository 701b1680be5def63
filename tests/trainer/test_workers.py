"""Processes that read: whatever becomes of one, every other file is read, in order, and nothing stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from engine.score import midi
from tests.engine import small
from tests.trainer import readers
from tests.trainer.scanning import is_running, readers_of, write_traps
from trainer.corpus import scan, workers

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
import sys
from pathlib import Path
from tests.trainer import readers
from trainer.corpus import scan
for report in scan(Path(sys.argv[1]), read=readers.slow, workers=2): print(report.path, flush=True)
"""


def write_songs(folder: Path, names: list[str]) -> None:
    folder.mkdir(exist_ok=True)
    for i, name in enumerate(names):
        midi.write(small.score(4, i), folder / name)


def test_a_stuck_and_a_crashing_file_are_listed_and_stop_nothing(tmp_path: Path) -> None:
    names = [f"{i:02d}.mid" for i in range(8)] + ["crash.mid", "late.mid", "stuck.mid", "z.mid"]
    write_songs(tmp_path, names)
    reports = list(scan(tmp_path, workers=2, limit_s=1.0, read=readers.by_name))
    assert [r.path for r in reports] == sorted(names)
    assert {r.path for r in reports if r.ok} == {n for n in names if n[0] in "0z"}
    reasons = {r.path: r.reason for r in reports if not r.ok}
    assert reasons["stuck.mid"] == "stuck.mid took longer than 1 s to read and was given up."
    assert reasons["crash.mid"].startswith("crash.mid ended the process that read it, twice (exit code -11)")
    assert reasons["late.mid"].startswith("late.mid ended the process that read it, twice (exit code 7)")
    assert readers_of(os.getpid()) == []


def test_a_reader_that_somebody_kills_costs_no_file(tmp_path: Path) -> None:
    write_songs(tmp_path, [f"{i}.mid" for i in range(6)])

    def kill() -> None:
        while not (found := readers_of(os.getpid())):
            time.sleep(0.01)
        os.kill(found[0], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    reports = list(scan(tmp_path, workers=1))
    killer.join()
    assert [r.ok for r in reports] == [True] * 6


def test_reports_are_the_same_for_any_number_of_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_songs(tmp_path, [f"{i:02d}.mid" for i in range(12)])
    monkeypatch.setattr(workers, "BATCH_FILES", 2)
    assert list(scan(tmp_path, workers=1)) == list(scan(tmp_path, workers=3))


@pytest.mark.alone
@pytest.mark.parametrize("how", ["closed", "cancelled"])
def test_a_scan_is_left_in_less_than_half_a_second(tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write_songs(tmp_path, ["a.mid", "b.mid", "stuck.mid"])
    monkeypatch.setattr(workers, "BATCH_FILES", 1)
    asked: list[float] = []
    reports = scan(tmp_path, workers=1, read=readers.by_name, cancelled=lambda: bool(asked))
    assert next(reports).ok
    asked.append(time.monotonic())
    if how == "closed":
        reports.close()  # type: ignore[attr-defined]
    assert list(reports) == []
    assert time.monotonic() - asked[0] < 0.5
    assert readers_of(os.getpid()) == []


def test_readers_end_with_the_process_that_started_them_and_a_script_needs_no_guard(tmp_path: Path) -> None:
    folder, script = tmp_path / "music", tmp_path / "script.py"
    write_songs(folder, [f"{i}.mid" for i in range(60)])
    script.write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, script, folder], env=environment, stdout=subprocess.PIPE) as program:
        deadline = time.monotonic() + 60
        while not (found := readers_of(program.pid)):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        program.kill()
    while any(is_running(pid) for pid in found):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def trapped(folder: Path, damaged: int, good: list[Path]) -> float:
    """Scan a folder of traps; every good file must be in, everything else have its sentence. Returns seconds."""
    kept = write_traps(folder, damaged, good)
    began = time.monotonic()
    reports = {r.path: r for r in scan(folder)}
    took = time.monotonic() - began
    assert {path for path, r in reports.items() if r.ok} >= kept - {r.path for r in reports.values() if r.same_as}
    odd = {"pipe", "endless", "tty", "loop", "one", "two", "nowhere", "sparse"}
    left_out = {f"damaged{i}.mid" for i in range(damaged)} | {f"{name}.mid" for name in odd} | {"round"}
    assert {path for path, r in reports.items() if not r.ok and not r.same_as} == left_out
    for report in reports.values():
        if not report.ok:
            assert Path(report.path).name in report.reason
            assert report.reason.endswith(".")
            assert "\n" not in report.reason
    assert "link to a folder" in reports["round"].reason
    assert "8,192 MiB" in reports["sparse.mid"].reason
    return took


def test_a_folder_of_traps_gives_its_music(tmp_path: Path) -> None:
    assert trapped(tmp_path / "music", 20, []) < 60


@pytest.mark.slow
def test_a_folder_of_a_thousand_files_and_two_hundred_damaged_ones(music: Path, tmp_path: Path) -> None:
    took = trapped(tmp_path / "music", 200, sorted(music.rglob("*.mid"))[:1000])
    print(f"seconds: {took:.1f}")  # noqa: T201  # the figure
    assert took < 60
