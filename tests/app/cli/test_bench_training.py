"""The bench of training runs, and what it says is about one thing."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.cli import bench, bench_training
from engine.score import midi
from tests.engine import small
from trainer.recipe import Music


def test_a_step_is_measured_beside_its_peers(tmp_path: Path) -> None:
    (tmp_path / "music").mkdir()
    for i in range(3):
        midi.write(small.score(8, i), tmp_path / "music" / f"{i}.mid")
    found = bench_training.compared(Music(tmp_path / "music", cache=tmp_path / "cache"), ("tiny",), 1)
    assert all(value > 0 for value in found.values())
    assert found["tiny.to_plain"] == pytest.approx(found["tiny.plain_step_ms"] / found["tiny.step_ms"])
    assert found["tiny.to_plain_with_head"] > 0
    assert found["tiny.share_of_peak"] < 1
    assert "training" in bench.BENCHES
