"""No data ever becomes code: words that would let it are nowhere in the tree."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("app", "engine", "trainer", "packaging")
FILES = sorted(p for folder in FOLDERS for p in (ROOT / folder).rglob("*.py"))

MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "pty"}
CALLS = {
    "eval", "exec", "compile", "__import__",
    "yaml.load", "yaml.load_all", "yaml.unsafe_load", "yaml.full_load",
    "torch.load", "torch.hub.load", "torch.jit.load",
    "os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput",
}  # fmt: skip
UNSAFE = {"shell": False, "allow_pickle": False, "weights_only": True}  # the only values these may have
ATTRIBUTES = {"extractall", "unpack_archive"}  # an archive is read member by member


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def findings(source: str) -> list[str]:
    """What a file does that data could turn into code."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [a.name for a in node.names if a.name.split(".")[0] in MODULES]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in MODULES:
            found.append(node.module or "")
        elif isinstance(node, ast.Call):
            name = dotted(node.func)
            given = {k.arg: k.value.value for k in node.keywords if isinstance(k.value, ast.Constant)}
            found += [f"{name}({k})" for k, v in given.items() if UNSAFE.get(k or "", v) is not v]
            if name in CALLS:
                found.append(name)
            if isinstance(node.func, ast.Attribute) and node.func.attr in ATTRIBUTES:
                found.append(node.func.attr)
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_no_file_turns_data_into_code(path: Path) -> None:
    assert findings(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from pickle import loads",
        "import yaml\nyaml.load(x)",
        "eval(x)",
        "exec(x)",
        "torch.load(x)",
        "torch.load(x, weights_only=False)",
        "np.load(x, allow_pickle=True)",
        "subprocess.run(x, shell=True)",
        "tarfile.open(x).extractall()",
        "os.system(x)",
    ],
)
def test_the_search_finds_what_it_looks_for(line: str) -> None:
    assert findings(line)


def test_it_looks_at_the_whole_tree() -> None:
    assert len(FILES) > 50
