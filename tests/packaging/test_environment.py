"""The virtual environment: what a first start installs, what a second skips, what an interrupted one leaves."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the fake programs are shell scripts")


def test_a_first_start_makes_everything_and_a_second_nothing(recorded) -> None:
    steps = recorded.start()
    assert [s.split("--progress-bar off ")[-1] for s in steps] == [
        "-m venv --clear ROOT/.venv",
        "--no-deps torch==2.13.0+cpu",
        "-c ROOT/packaging/constraints.txt -e ROOT",
    ]
    assert recorded.start() == []
    assert recorded.start(tests=True)[-1].endswith("-e ROOT[test]")
    assert recorded.start(tests=True) == []
    assert recorded.start() == []


def test_new_dependencies_are_installed_into_the_environment_that_is_there(recorded) -> None:
    recorded.start()
    (recorded.root / "pyproject.toml").write_text("[project]\ndependencies = ['x']\n")
    steps = recorded.start()
    assert steps
    assert not any("venv" in step for step in steps)


def test_a_moved_checkout_and_a_vanished_python_are_noticed(recorded) -> None:
    recorded.start()
    moved = recorded.root.with_name("elsewhere")
    recorded.root.rename(moved)
    recorded.root = moved
    assert recorded.start()
    (moved / ".venv/bin/python").unlink()
    assert "-m venv --clear ROOT/.venv" in recorded.start()


def test_torch_falls_back_from_cpu_builds_to_the_default(recorded, capsys) -> None:
    recorded.fail_on = "+cpu"
    steps = [s for s in recorded.start() if "torch==" in s]
    assert len(steps) == 3
    assert "--index-url https://download.pytorch.org/whl/cpu" in steps[1]
    assert steps[2].endswith("-c ROOT/packaging/constraints.txt torch==2.13.0")
    assert "up to 3 GB" in capsys.readouterr().err


def test_with_an_nvidia_driver_the_default_torch_is_taken(recorded, monkeypatch) -> None:
    monkeypatch.setattr(recorded.module, "has_nvidia", lambda: True)
    assert next(s for s in recorded.start() if "torch==" in s).endswith("torch==2.13.0")


def test_a_failed_step_is_a_sentence_and_the_next_start_goes_on(recorded) -> None:
    recorded.fail_on = "-e ROOT"
    with pytest.raises(recorded.error, match="The packages could not be installed: no network"):
        recorded.start()
    recorded.fail_on = ""
    steps = recorded.start()
    assert steps
    assert not any("venv" in step for step in steps)
    assert recorded.start() == []


def test_a_set_up_that_was_cut_off_starts_anew(recorded) -> None:
    recorded.start()
    (recorded.root / ".venv/morphony-unfinished").write_text("")
    assert "-m venv --clear ROOT/.venv" in recorded.start()


def test_a_damaged_stamp_costs_one_set_up(recorded) -> None:
    recorded.start()
    stamp = recorded.root / ".venv/morphony-setup.json"
    for text in ("", "[]", '{"key": 1}', json.dumps({"studio": "whole"})):
        stamp.write_text(text)
        assert recorded.start()
        assert recorded.start() == []


def test_a_library_that_stays_away_is_said_at_each_start_and_stops_nothing(
    recorded, packaging, monkeypatch, capsys
) -> None:
    tried = []
    monkeypatch.setattr(packaging.host, "install_by_apt", lambda names: tried.append(names))
    recorded.missing = [packaging.host.Need("libEGL.so.1", {"apt-get": "libegl1"})]
    recorded.start()
    assert recorded.start() == []
    assert tried == [["libegl1"]]  # not again and again
    assert capsys.readouterr().err.count("Missing on this system: libEGL.so.1.") == 2
    recorded.missing = []
    assert recorded.start() == []
    assert "Missing" not in capsys.readouterr().err


def test_the_log_holds_what_a_failed_step_printed(packaging, tmp_path: Path) -> None:
    made = packaging.environment.Environment(tmp_path)
    (tmp_path / ".cache").mkdir()
    with pytest.raises(packaging.host.SetupError) as said:
        made._run(["/bin/sh", "-c", "echo collecting; echo 'ERROR: No space left'; echo more; exit 1"], "It failed")
    assert str(said.value) == f"It failed: ERROR: No space left (the whole story is in {made.log})"
    assert "collecting" in made.log.read_text()


def test_large_downloads_are_said(packaging, tmp_path: Path, capsys) -> None:
    made = packaging.environment.Environment(tmp_path)
    (tmp_path / ".cache").mkdir()
    lines = (
        "Downloading https://files.example.org/packages/ab/PySide6_Essentials-6.11.3-cp310-abi3.whl (95.1 MB)",
        "  Downloading tqdm-4.70.1-py3-none-any.whl (78 kB)",
        "Downloading mido-1.3.3-py3-none-any.whl (1.2 MB)",
    )
    made._run(["printf", "%s\\n", *lines], "It failed")
    assert capsys.readouterr().err == "  downloading PySide6_Essentials, 95.1 MB\n"


@pytest.mark.alone
def test_two_first_starts_wait_for_each_other(packaging, tmp_path: Path) -> None:
    code = (
        f"import sys, time; sys.path.insert(0, {str(ROOT / 'packaging')!r})\n"
        "import environment, pathlib\n"
        f"made = environment.Environment(pathlib.Path({str(tmp_path)!r}))\n"
        "with made._alone():\n    print('in', flush=True); time.sleep(.7); print('out', flush=True)"
    )
    first = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    with first:
        assert first.stdout.readline() == "in\n"
        started = time.monotonic()
        second = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert time.monotonic() - started > 1
        first.communicate()
    assert "waiting for it" in second.stderr


@pytest.mark.alone
def test_a_step_that_outlives_a_killed_start_is_waited_for(packaging, tmp_path: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'packaging')!r})\n"
        "import environment, pathlib, os, threading\n"
        f"made = environment.Environment(pathlib.Path({str(tmp_path)!r}))\n"
        "threading.Timer(.3, lambda: os.kill(os.getpid(), 9)).start()\n"
        "with made._alone():\n    made._run(['sleep', '1.5'], 'It failed')"
    )
    started = time.monotonic()
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert time.monotonic() - started < 1.2
    with packaging.environment.Environment(tmp_path)._alone():
        assert time.monotonic() - started > 1.4
