"""The scripts themselves: old enough Python, the right pins, the program's own exit code."""

from __future__ import annotations

import ast
import importlib.util
import os
import subprocess
import sys
import tomllib
import types
from pathlib import Path

import pytest

from app.__main__ import QT_PACKAGES

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the fake programs are shell scripts")


@pytest.mark.parametrize("name", ["run.py", "test.py", "environment.py", "host.py"])
def test_the_scripts_are_python_3_9(name: str) -> None:
    tree = ast.parse((ROOT / "packaging" / name).read_text(), feature_version=(3, 9))
    unions = [n for n in ast.walk(tree) if isinstance(n, ast.BinOp) and isinstance(n.op, ast.BitOr)]
    assert not [ast.unparse(n) for n in unions if "None" in ast.unparse(n)]  # X | None needs 3.10


@pytest.mark.parametrize("version", ["3.9", "3.10", "3.11", "3.12", "3.13"])
def test_the_scripts_load_on_the_pythons_that_are_here(version: str, packaging) -> None:
    homes = [Path("/usr/bin"), *(Path.home() / ".pyenv" / "versions").glob(f"{version}*/bin")]
    found = [p for p in (home / f"python{version}" for home in homes) if p.exists()]
    if not found:
        pytest.skip(f"Python {version} is not here")
    code = f"import sys; sys.path.insert(0, {str(ROOT / 'packaging')!r}); import run, host; print(host.needs(True))"
    subprocess.run([found[0], "-B", "-c", code], check=True, capture_output=True)


def test_constraints_pin_every_dependency_exactly() -> None:
    lines = (ROOT / "packaging" / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert pins["torch"] == "2.13.0"
    assert pins["PySide6_Essentials"].startswith(("6.10.", "6.11."))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    names = {line.split(">")[0].split("<")[0].replace("-", "_").lower() for line in asked}
    assert names <= {name.replace("-", "_").lower() for name in pins}


def test_the_studio_names_the_same_packages_as_the_set_up(packaging) -> None:
    assert packaging.host.packages(packaging.host.WINDOW) == QT_PACKAGES.split()


def test_the_exit_code_and_arguments_are_the_programs(program, packaging, tmp_path: Path) -> None:
    target = program(tmp_path, "morphony", 'echo "$@"; exit 7')
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'packaging')!r}); import run\n"
        f"sys.exit(run.become([{str(target)!r}, 'info', 'a b.mid']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (7, "info a b.mid\n")


@pytest.fixture
def script(packaging, monkeypatch: pytest.MonkeyPatch):
    """packaging/test.py with a program in the place of Python: (program, arguments) -> exit code, or what it became."""
    spec = importlib.util.spec_from_file_location("packaging_test", ROOT / "packaging" / "test.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def become(command: list[str]) -> str:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return f"{done.stdout.strip()} {done.returncode}"

    def run(program: Path, arguments: list[str]) -> int | str:
        monkeypatch.setattr(module, "prepared", lambda tests: types.SimpleNamespace(program=lambda name: program))
        monkeypatch.setattr(module, "become", become)
        monkeypatch.chdir(ROOT)
        return module.main(arguments)

    return run


SAYS = 'echo "$@" >> "$0.said"; case "$*" in *--alone=never*) exit %d;; *--alone=only*) exit %d;; esac'


@pytest.mark.parametrize(
    ("together", "alone", "both"), [(0, 0, 0), (1, 0, 1), (0, 1, 1), (5, 0, 0), (0, 5, 0), (5, 5, 5), (1, 5, 1)]
)
def test_pytest_runs_twice_and_says_one_thing(program, script, tmp_path: Path, together, alone, both) -> None:
    python = program(tmp_path, "python", SAYS % (together, alone))
    assert script(python, ["tests/x.py", "-k", "a or b", "--cov=engine"]) == both
    first, second = Path(f"{python}.said").read_text().splitlines()
    assert first == "-m pytest --alone=never -n logical --dist=worksteal tests/x.py -k a or b --cov=engine"
    assert second == "-m pytest --alone=only --cov-append tests/x.py -k a or b --cov=engine"


@pytest.mark.parametrize("code", [2, 3, 4])
def test_after_an_interruption_or_a_wrong_word_it_is_over(program, script, tmp_path: Path, code: int) -> None:
    python = program(tmp_path, "python", SAYS % (code, 0))
    assert script(python, ["--nonsense"]) == code
    assert len(Path(f"{python}.said").read_text().splitlines()) == 1


@pytest.mark.parametrize("argument", ["-s", "-n0", "--pdb", "--collect-only"])
def test_who_looks_on_gets_one_plain_run(program, script, tmp_path: Path, argument: str) -> None:
    python = program(tmp_path, "python", 'echo "$@"; exit 3')
    assert script(python, [argument]) == f"-m pytest {argument} 3"


@pytest.mark.alone
def test_a_second_start_costs_less_than_a_second() -> None:
    if not (ROOT / ".venv/morphony-setup.json").exists():
        pytest.skip("this checkout was not set up by packaging/run.py")
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'packaging')!r}); import environment, time\n"
        "t = time.perf_counter(); environment.Environment().stamped(); print(time.perf_counter() - t)"
    )
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert float(done.stdout) < 0.1
