"""What the tests of subcommands share: a small model that knows one tune, and the tune as a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.score import midi
from tests import learnt
from tests.engine import small


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small model that has learnt `tune`."""
    return learnt.model_folder(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture(scope="session")
def tune(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight bars in three modelled tracks, with drums, pedal, lyrics and notes out of range."""
    path = tmp_path_factory.mktemp("music") / "tune.mid"
    midi.write(small.rich_score(), path)
    return path
