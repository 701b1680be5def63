"""How long a run would take on this device, from a few real steps of it on some of the music.

The steps are the run's own: its configuration, its batches, its loop. What measuring held-out music and writing
checkpoints takes in between is not counted.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from engine.config import Config
from trainer.batches import Windows, deviations
from trainer.corpus import Corpus
from trainer.loop import train

STEPS = 6  # at most, of which the first two warm up
WARM = 2
ENOUGH_S = 6.0
PIECES = 24
NEVER = 10**9


@dataclass(frozen=True, slots=True)
class Pace:
    """What was measured."""

    seconds_per_step: float
    steps: int  # of the whole run
    measured: int  # steps that were timed

    @property
    def seconds(self) -> float:
        """Of the whole run."""
        return self.seconds_per_step * self.steps


def measure(config: Config, files: Sequence[Path], accelerator: str = "auto") -> Pace:
    """Time a few steps on up to PIECES of the files, which are known to be good. Writes nothing that stays."""
    with tempfile.TemporaryDirectory(prefix="morphony-pace-") as name:
        table = Path(name) / "some.tsv"
        step = max(len(files) // PIECES, 1)
        table.write_text("path\n" + "".join(f"{path.resolve()}\n" for path in files[::step][:PIECES]), encoding="utf-8")
        corpus = Corpus.build(table, Path(name) / "cache")
        train_config = replace(config.train, evaluate_every=NEVER, checkpoint_every=NEVER, corpus_weights={})
        windows = Windows(corpus, train_config, deviations(corpus))
        steps = train(
            replace(config, train=replace(train_config, steps=NEVER)),
            windows,
            windows,
            Path(name) / "run",
            {},
            accelerator=accelerator,
            held_out_windows=1,
        )
        began, last, warm = 0.0, 0.0, 0
        for at in steps:
            last = at.seconds
            if at.n <= WARM:
                began, warm = at.seconds, at.n
            if at.n >= STEPS or (at.n > WARM and last - began > ENOUGH_S):
                steps.close()  # type: ignore[attr-defined]  # a generator
                break
        measured = at.n - warm
        return Pace((last - began) / max(measured, 1), config.train.steps, measured)
