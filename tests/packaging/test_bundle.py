"""The built bundle, where there is one: dist/morphony, or the folder that MORPHONY_BUNDLE names."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
REPLACEABLE = ("libQt6Core", "libQt6Gui", "libQt6Widgets", "libpyside6", "libshiboken6", "libfluidsynth", "libglib-2.0")


@pytest.fixture(scope="module")
def bundle() -> Path:
    folder = Path(os.environ.get("MORPHONY_BUNDLE", ROOT / "dist" / "morphony"))
    if not (folder / "morphony").exists():
        pytest.skip("bundle: none is built here (packaging/bundle.py builds one)")
    return folder


def test_what_is_under_the_lgpl_is_a_file_of_its_own(bundle: Path) -> None:
    names = [path.name for path in bundle.rglob("*.so*")]
    assert [stem for stem in REPLACEABLE if not any(name.startswith(stem) for name in names)] == []


def test_nothing_under_the_gpl_alone_is_in_it(bundle: Path) -> None:
    names = [path.name for path in bundle.rglob("*") if path.is_file() and path.stat().st_size]
    assert [name for name in names if name.startswith(("libreadline", "libgdbm", "midi2abc", "abc2midi"))] == []


def test_every_work_of_others_is_named_with_its_licence(bundle: Path) -> None:
    text = (bundle / "THIRD-PARTY.txt").read_text(encoding="utf-8")
    for name in ("PySide6", "torch", "numpy", "python-rtmidi", "pyfluidsynth", "libfluidsynth3", "Python"):
        assert name in text
    assert "GNU LESSER GENERAL PUBLIC LICENSE" in text
    assert (bundle / "LICENSE").exists()


@pytest.mark.slow
def test_it_opens_loads_and_renders_a_bar_with_nothing_around_it(bundle: Path, tmp_path: Path) -> None:
    clean = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    done = subprocess.run([bundle / "morphony", "--self-test"], env=clean, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-1000:]
    assert json.loads(done.stdout.splitlines()[-1])["ok"]
