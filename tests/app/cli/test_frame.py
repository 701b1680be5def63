"""The command line's frame, with a subcommand of the tests' own in the table."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from app import __main__, cli
from app.cli import output
from engine.errors import MorphonyError

Install = Callable[[Callable], None]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Install:
    """Put a subcommand `try` with one argument into the table, doing what it is given."""
    before = signal.getsignal(signal.SIGTERM)

    def install(run: Callable) -> None:
        module = types.ModuleType("app.cli.try")
        module.add_arguments = lambda parser: parser.add_argument("word")
        module.run = run
        monkeypatch.setitem(sys.modules, "app.cli.try", module)
        monkeypatch.setattr(cli, "COMMANDS", {"try": "do what the test wants"})

    yield install
    signal.signal(signal.SIGTERM, before)


def outcome(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = __main__.main(list(words))
    out, err = capsys.readouterr()
    return code, out, err


def morphony(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")}
    return subprocess.run(
        [sys.executable, "-m", "app", *words],
        env={**kept, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_json_is_the_last_line_of_stdout_and_holds_plain_values(command: Install, capsys) -> None:
    command(lambda args: {"word": args.word, "mean": np.float32(0.5), "ids": np.arange(3), "none": float("nan")})
    code, out, _ = outcome(capsys, "try", "hello", "--json")
    assert code == 0
    assert json.loads(out.splitlines()[-1]) == {"word": "hello", "mean": 0.5, "ids": [0, 1, 2], "none": None}


def test_a_person_gets_lines_instead(command: Install, capsys) -> None:
    tracks = [{"name": "a", "notes": 1}, {"name": "b", "notes": 0}]
    command(lambda args: {"notes": 3, "mean": 1 / 3, "tracks": tracks, "pitches": [60, 64], "drums": False, "key": {}})
    _, out, _ = outcome(capsys, "try", "x")
    assert out.splitlines() == [
        "notes: 3",
        "mean: 0.3333",
        "tracks:",
        "  - name a, notes 1",
        "  - name b, notes 0",
        "pitches: 60, 64",
        "drums: no",
        "key: none",
    ]


def test_every_subcommand_takes_the_common_arguments(command: Install, capsys) -> None:
    command(lambda args: {"seed": args.seed, "model": args.model, "device": args.device})
    _, out, _ = outcome(capsys, "try", "x", "--seed", "7", "--model", "m", "--device", "cpu", "--json")
    assert json.loads(out) == {"seed": 7, "model": "m", "device": "cpu"}
    _, out, _ = outcome(capsys, "try", "x", "--json")
    assert json.loads(out) == {"seed": 0, "model": None, "device": "auto"}


@pytest.mark.parametrize(
    ("raised", "sentence"),
    [
        (MorphonyError("a.mid is not a MIDI file."), "a.mid is not a MIDI file."),
        (FileNotFoundError(2, "No such file or directory", "b.mid"), "b.mid: no such file or directory."),
        (PermissionError(13, "Permission denied", "/root/x"), "/root/x: permission denied."),
    ],
)
def test_a_failure_is_one_sentence_and_exit_code_1(command: Install, capsys, raised, sentence) -> None:
    def fail(args: object) -> dict:
        raise raised

    command(fail)
    assert outcome(capsys, "try", "x") == (1, "", sentence + "\n")
    code, out, err = outcome(capsys, "try", "x", "--json")
    assert (code, json.loads(out), err) == (1, {"error": sentence}, sentence + "\n")


def test_a_bug_is_one_sentence_with_its_traceback_in_a_file(command: Install, capsys, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(output.platformdirs, "user_log_dir", lambda *a, **k: str(tmp_path))
    command(lambda args: {"x": 1 / 0})
    code, out, err = outcome(capsys, "try", "x")
    assert (code, out, len(err.splitlines())) == (1, "", 1)
    assert "ZeroDivisionError" in err
    assert "Traceback" in (tmp_path / "last-error.txt").read_text()


def test_usage_errors_exit_with_2(command: Install, capsys) -> None:
    command(lambda args: {})
    with pytest.raises(SystemExit, match="2"):
        __main__.main(["try"])
    with pytest.raises(SystemExit, match="2"):
        __main__.main(["try", "x", "--device", "abacus"])


def test_a_mistyped_command_names_the_near_one(capsys) -> None:
    with pytest.raises(SystemExit, match="2"):
        __main__.main(["mrph"])
    assert "did you mean 'morph'?" in capsys.readouterr().err


def test_exit_code_of_many_files_is_1_only_when_none_went_well(command: Install, capsys) -> None:
    command(lambda args: {"files": [{"file": "a", "ok": False}, {"file": "b", "ok": args.word == "good"}]})
    assert outcome(capsys, "try", "good")[0] == 0
    assert outcome(capsys, "try", "bad")[0] == 1


def test_every_listed_command_is_a_module_that_explains_itself() -> None:
    for name in cli.COMMANDS:
        result = morphony(name, "--help")
        assert result.returncode == 0, result.stderr
        assert "--json" in result.stdout


def test_help_and_light_commands_import_neither_qt_nor_torch() -> None:
    code = (
        "import sys, app.__main__ as m, contextlib, io\n"
        "for words in (['--help'], ['info', '--help'], ['tokens', '--help'], ['morph', '--help']):\n"
        "    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        "        m.main(words)\n"
        "print([n for n in ('torch', 'PySide6', 'pyqtgraph', 'rtmidi') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="X11 is asked only on Linux")
@pytest.mark.parametrize(("display", "words"), [({}, "DISPLAY is not set"), ({"DISPLAY": ":7654"}, "does not answer")])
def test_no_display_is_one_sentence(display: dict[str, str], words: str) -> None:
    result = morphony(**display)
    assert (result.returncode, result.stdout, len(result.stderr.splitlines())) == (1, "", 1)
    assert words in result.stderr


def test_a_missing_song_is_one_sentence() -> None:
    result = morphony("no-such-song.mid")
    assert (result.returncode, result.stderr) == (1, "There is no file no-such-song.mid.\n")


def test_a_display_that_answers_is_no_problem(display: str, monkeypatch) -> None:
    monkeypatch.setenv("DISPLAY", display)
    monkeypatch.delenv("QT_QPA_PLATFORM")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert __main__.display_problem() is None


SLEEPER = """
import sys, time, types
from app import __main__, cli
module = types.ModuleType("app.cli.wait")
module.add_arguments = lambda parser: None
def run(args):
    try:
        print("ready", flush=True)
        time.sleep(30)
    finally:
        print("tidied", flush=True)
module.run = run
sys.modules["app.cli.wait"] = module
cli.COMMANDS = {"wait": "wait"}
sys.exit(__main__.main(["wait"]))
"""


@pytest.mark.alone
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize(("number", "code", "said"), [(signal.SIGINT, 130, "Stopped.\n"), (signal.SIGTERM, 143, "")])
def test_signals_end_a_command_in_order(number: int, code: int, said: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SLEEPER], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout.readline() == "ready\n"
        started = time.monotonic()
        child.send_signal(number)
        out, err = child.communicate(timeout=10)
    assert (child.returncode, out, err) == (code, "tidied\n", said)
    assert time.monotonic() - started < 2


def test_a_reader_who_leaves_early_costs_no_traceback(tmp_path: Path) -> None:
    code = SLEEPER.replace("time.sleep(30)", "time.sleep(.5); return {'x': 'y' * 200000}")
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        child.stdout.readline()
        child.stdout.close()
        assert b"Traceback" not in child.stderr.read()


def test_the_readme_lists_the_same_commands() -> None:
    readme = (Path(__file__).resolve().parents[3] / "README.md").read_text(encoding="utf-8")
    assert [line for line in readme.splitlines() if line.startswith("| `")] == [
        f"| `{name}` | {does} |" for name, does in cli.COMMANDS.items()
    ]
