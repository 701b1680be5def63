"""The demo pieces are what their script composes, and hold to the rules of their kind."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from engine.score import Score, midi
from engine.score.timing import BarGrid

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def composer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("compose_demo", ROOT / "packaging" / "compose_demo.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("name", "meter", "bars"), [("nocturne", (6, 8), 36), ("sarabande", (3, 4), 32), ("groove", (4, 4), 32)]
)
def test_the_files_are_what_the_script_composes(
    composer: ModuleType, name: str, meter: tuple[int, int], bars: int
) -> None:
    path = ROOT / "assets" / "demo" / f"{name}.mid"
    assert path.read_bytes() == midi.to_bytes(composer.PIECES[name]())
    score = midi.read(path)
    grid = BarGrid.of(score)
    assert (len(grid), int(grid.numerators[0]), int(grid.denominators[0])) == (bars, *meter)
    assert score.warnings == ()


def voices(score: Score, tick: int) -> list[int]:
    """The pitch of each part at a tick."""
    notes = score.notes
    out = []
    for track in range(len(score.tracks)):
        mine = notes[(notes["track"] == track) & (notes["tick"] <= tick)]
        out.append(int(mine["pitch"][-1]))
    return out


def test_the_quartet_has_no_parallel_fifths_or_octaves_and_no_crossing() -> None:
    score = midi.read(ROOT / "assets" / "demo" / "sarabande.mid")
    before = voices(score, 0)
    for tick in range(480, 32 * 1440, 480):
        now = voices(score, tick)
        assert now == sorted(now, reverse=True)
        for one in range(4):
            for other in range(one + 1, 4):
                interval = (now[one] - now[other]) % 12
                moves = np.sign(now[one] - before[one]), np.sign(now[other] - before[other])
                parallel = (
                    interval in (0, 7) and interval == (before[one] - before[other]) % 12 and moves[0] == moves[1] != 0
                )
                assert not parallel, f"bar {tick // 1440 + 1}, beat {tick % 1440 // 480 + 1}"
        before = now
