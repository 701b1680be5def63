"""Machines made of shell scripts: what the start from a bare checkout is tried on. Nothing is installed."""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OURS = ("host", "environment", "run")
Program = Callable[[Path, str, str], Path]


@pytest.fixture
def packaging(monkeypatch: pytest.MonkeyPatch) -> Iterator[types.SimpleNamespace]:
    """The modules of packaging/, imported afresh."""
    monkeypatch.syspath_prepend(str(ROOT / "packaging"))
    yield types.SimpleNamespace(**{name: importlib.import_module(name) for name in OURS})
    for name in OURS:
        sys.modules.pop(name, None)


def write_program(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def program() -> Program:
    """Writes a shell script that stands for a program: (folder, name, text) -> path."""
    return write_program


@pytest.fixture
def bare(packaging, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine with no Python but what a test puts into its bin folder, and no rights to install."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(packaging.host.os, "geteuid", lambda: 1000)
    real = packaging.environment.candidates
    monkeypatch.setattr(
        packaging.environment, "candidates", lambda: (c for c in real() if c[0].startswith(str(tmp_path)))
    )
    return tmp_path


class Recorded:
    """An environment whose steps are noted instead of taken."""

    def __init__(self, packaging, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (root / "packaging").mkdir(parents=True)
        (root / "pyproject.toml").write_text("[project]\n")
        (root / "packaging/constraints.txt").write_text("torch==2.13.0\n")
        self.steps: list[str] = []
        self.fail_on = ""
        self.missing: list = []
        self.module = packaging.environment
        self.error = packaging.host.SetupError
        monkeypatch.setattr(packaging.host, "missing", lambda wanted: list(self.missing))
        monkeypatch.setattr(
            packaging.environment, "find_python", lambda: self.module.Python(("python",), (3, 11), True)
        )
        monkeypatch.setattr(packaging.environment, "has_nvidia", lambda: False)
        monkeypatch.setattr(packaging.environment.platform, "system", lambda: "Linux")
        self.root = root

    def start(self, tests: bool = False) -> list[str]:
        """Make ready once more and return the steps it took."""
        made = self.module.Environment(self.root)
        self.steps = []

        def step(command: list[str], failed: str) -> None:
            text = " ".join(command[1:]).replace(str(self.root), "ROOT")
            self.steps.append(text)
            if "-m venv" in text:
                write_program(made.folder / "bin", "python", '[ "$1" = -E ] && echo 3 11 1 True || [ "$1" = -m ]')
            if self.fail_on and self.fail_on in text:
                raise self.error(f"{failed}: no network")

        made._run = step
        made.ready(tests)
        return self.steps


@pytest.fixture
def recorded(packaging, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recorded:
    return Recorded(packaging, tmp_path / "checkout", monkeypatch)
