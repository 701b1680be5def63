"""The tree as a whole: nothing in it runs code out of data, and every module opens with what it is."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted(p for room in ("app", "engine", "trainer", "packaging") for p in (ROOT / room).rglob("*.py"))
IMPORTED_AS = {
    "PySide6-Essentials": "PySide6",
    "PyYAML": "yaml",
    "pyfluidsynth": "fluidsynth",
    "python-rtmidi": "rtmidi",
}
RUNS_DATA = {
    "pickle": r"\b(c?pickle|cloudpickle|dill|marshal|shelve)\b(?=\.|\s*$|\s+import)|\bimport (pickle|marshal|shelve)\b",
    "unsafe YAML": r"\byaml\.(load|unsafe_load|full_load)\(",
    "archives unpacked whole": r"\bextractall\(",
    "eval or exec": r"(?<![.\w])(eval|exec)\(",
    "a shell": r"shell\s*=\s*True|\bos\.(system|popen)\(",
    "weights that are code": r"weights_only\s*=\s*False",
}


@pytest.mark.parametrize("what", RUNS_DATA)
def test_nothing_runs_code_out_of_data(what: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in MODULES
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if re.search(RUNS_DATA[what], line)
    ]
    assert not found


def test_torch_load_is_always_told_to_read_weights_only() -> None:
    calls = [
        (path, node)
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load"
    ]
    bare = [path for path, node in calls if not any(k.arg == "weights_only" for k in node.keywords)]
    assert not bare


def test_every_module_opens_with_what_it_is() -> None:
    silent = [p for p in MODULES if not ast.get_docstring(ast.parse(p.read_text(encoding="utf-8")))]
    assert not silent


def test_what_is_imported_is_declared_and_what_is_declared_is_imported() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {re.split(r"[><=]", line)[0] for line in project["dependencies"]}
    assert {IMPORTED_AS.get(name, name) for name in declared} == {
        name
        for path in MODULES
        if "packaging" not in path.parts
        for name in _imports(ast.parse(path.read_text(encoding="utf-8")))
        if name not in {"app", "engine", "trainer", "shiboken6"} | sys.stdlib_module_names  # shiboken6 is PySide6's
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
