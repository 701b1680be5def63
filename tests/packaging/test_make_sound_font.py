"""The committed sound font is what its script makes, and small."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
FONT = ROOT / "assets" / "sounds" / "morphony.sf2"


def test_the_script_makes_the_committed_font(tmp_path: Path) -> None:
    fresh = tmp_path / "fresh.sf2"
    subprocess.run([sys.executable, ROOT / "packaging" / "make_sound_font.py", fresh], check=True, capture_output=True)
    made, committed = (np.frombuffer(path.read_bytes(), "<i2").astype(int) for path in (fresh, FONT))
    assert len(made) == len(committed)
    assert np.abs(made - committed).max() <= 1  # machines may round a sample differently, and nothing else


def test_it_is_below_a_megabyte() -> None:
    assert FONT.stat().st_size < 1_000_000
