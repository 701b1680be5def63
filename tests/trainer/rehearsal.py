"""One run as `torchrun` starts it, on music written by hand. Not a test.

    torchrun ... tests/trainer/rehearsal.py CORPUS OUT '{"strategy": "ddp", ...}'

Keys of the JSON object are those of the configuration's train section, and "mode" the model's.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402  # the package is found only now

from engine.config import Config, LossConfig, TrainConfig  # noqa: E402
from tests.engine import small  # noqa: E402
from trainer.batches import Windows  # noqa: E402
from trainer.corpus import Corpus  # noqa: E402
from trainer.loop import train  # noqa: E402

PLAIN = TrainConfig(
    seed=3, steps=20, slots_per_step=2 * 24 * 8, lr=5e-3, lr_warmup=2, evaluate_every=5, checkpoint_every=5
)
LOSS = LossConfig(critic_start=0.2, adversarial_start=0.5)
FACTS = {"deviations": small.DEVIATIONS.tolist()}


def main(corpus: Path, out: Path, options: dict) -> None:
    torch.set_num_threads(1)
    mode, resume = options.pop("mode", "vae"), options.pop("resume", False)
    model = replace(small.MODEL, mode=mode, discriminator_layers=1)
    config = Config(model, LOSS, replace(PLAIN, **options))
    windows = Windows(Corpus(corpus), config.train, small.DEVIATIONS)
    for _ in train(config, windows, windows, out, FACTS, accelerator="cpu", held_out_windows=3, resume=resume):
        pass


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]))
