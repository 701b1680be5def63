"""Every row of the table of gestures, by the X server's own mouse and keys in a real window."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.app.roll.table import ROWS

ROOT = Path(__file__).resolve().parents[3]
PATIENCE_S = 300


@pytest.fixture(scope="module")
def found(display: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the program says of each row."""
    out = tmp_path_factory.mktemp("table")
    env = {**os.environ, "DISPLAY": display, "QT_QPA_PLATFORM": "xcb", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(ROOT / "tests" / "app" / "roll" / "table.py"), str(out)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=PATIENCE_S)
    report = out / "table.json"
    assert report.exists(), done.stderr
    return dict(json.loads(report.read_text()))


@pytest.mark.parametrize("name", ROWS)
def test_row(found: dict[str, str], name: str) -> None:
    assert found[name] == ""
