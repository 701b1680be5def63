"""A run in a process of its own that is killed at random moments and begun again until it is done. Not a test.

The server that forks these processes has torch imported already, so that a beginning takes a moment.
"""

from __future__ import annotations

import multiprocessing
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from engine import checkpoint
from engine.config import Config
from tests.engine import small
from trainer.batches import Windows
from trainer.corpus import Corpus
from trainer.loop import train

FACTS = {"deviations": small.DEVIATIONS.tolist()}


def work(config: Config, folder: Path, out: Path) -> None:
    """The whole run, or what is left of it."""
    torch.set_num_threads(1)
    windows = Windows(Corpus(folder), config.train, small.DEVIATIONS)
    for _ in train(config, windows, windows, out, FACTS, accelerator="cpu", held_out_windows=2, resume=True):
        pass


@dataclass
class Killer:
    """Kills by signal 9 after random delays, and looks at what was left each time."""

    config: Config
    corpus: Path  # an opened corpus's own folder
    rng: np.random.Generator
    longest: float  # seconds before a kill
    kills: int = 0
    corrupt: int = 0

    def __post_init__(self) -> None:
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(["tests.trainer.killed"])

    def run(self, out: Path, most: int) -> None:
        """One run to its end, killed at most so often on the way."""
        left = most
        while True:
            process = self.context.Process(target=work, args=(self.config, self.corpus, out))
            process.start()
            process.join(self.rng.uniform(0, self.longest) if left else None)
            if process.exitcode is None:
                process.kill()
                process.join()
                left -= 1
                self.kills += 1
                self.corrupt += sum(not checkpoint.is_whole(place) for place in out.glob("step-*"))
                best = out / "best"  # replaced by two renames: whole, or about to be put back
                self.corrupt += best.exists() and not checkpoint.is_whole(best)
            else:
                assert process.exitcode == 0
                return


def timed(config: Config, corpus: Path, out: Path) -> float:
    """Seconds of one run in such a process that nobody kills, after a first one that made the server ready."""
    killer = Killer(config, corpus, np.random.default_rng(0), 0.0)
    ready = killer.context.Process(target=int)
    ready.start()
    ready.join()
    began = time.monotonic()
    killer.run(out, 0)
    return time.monotonic() - began
