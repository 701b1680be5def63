"""The tree as a whole: every module opens with what it is, and what is imported is declared."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted(p for room in ("app", "engine", "trainer", "packaging") for p in (ROOT / room).rglob("*.py"))
IMPORTED_AS = {
    "PySide6-Essentials": "PySide6",
    "PyYAML": "yaml",
    "pyfluidsynth": "fluidsynth",
    "python-rtmidi": "rtmidi",
}
BROUGHT_BY_OTHERS = {"shiboken6"}  # with PySide6
WHEN_THERE = {"miditok", "onnxruntime"}  # of extras: used where they are installed


def test_every_module_opens_with_what_it_is() -> None:
    silent = [p for p in MODULES if not ast.get_docstring(ast.parse(p.read_text(encoding="utf-8")))]
    assert not silent


def test_what_is_imported_is_declared_and_what_is_declared_is_imported() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {re.split(r"[><=]", line)[0] for line in project["dependencies"]}
    known = {"app", "engine", "trainer"} | sys.stdlib_module_names | BROUGHT_BY_OTHERS | WHEN_THERE
    assert {IMPORTED_AS.get(name, name) for name in declared} == {
        name
        for path in MODULES
        if path.relative_to(ROOT).parts[0] != "packaging"
        for name in _imports(ast.parse(path.read_text(encoding="utf-8")))
        if name not in known
    }


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0]


def test_tests_and_packaging_are_no_packages() -> None:
    """A tests/engine package would shadow `engine`, a packaging package the one from the index."""
    assert not list((ROOT / "tests").rglob("__init__.py"))
    assert not list((ROOT / "packaging").rglob("__init__.py"))
