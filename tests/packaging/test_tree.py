"""The tree as a whole: nothing in it runs code out of data, and every module opens with what it is."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted(p for room in ("app", "engine", "trainer", "packaging") for p in (ROOT / room).rglob("*.py"))
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


def test_tests_and_packaging_are_no_packages() -> None:
    """A tests/engine package would shadow `engine`, a packaging package the one from the index."""
    assert not list((ROOT / "tests").rglob("__init__.py"))
    assert not list((ROOT / "packaging").rglob("__init__.py"))
