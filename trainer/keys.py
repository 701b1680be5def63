"""Randomness by key: what a micro-batch draws follows from the seed and its place in the run, from nothing before it.

So a run has no random state to lose: a step that is repeated draws the same, and a process draws the share of a step
that one process alone would have drawn there.
"""

from __future__ import annotations

import numpy as np
import torch

MUSIC, NOISE, CRITIC = range(3)  # streams that must not depend on each other


def music(seed: int, step: int, number: int) -> np.random.Generator:
    """What a micro-batch's windows, transpositions and edits are drawn from; `number` counts within the step."""
    return np.random.default_rng([seed, MUSIC, step, number])


def noise(device: torch.device, stream: int, seed: int, step: int, number: int, part: int = 0) -> torch.Generator:
    """What samples of the latents of a part of a micro-batch are drawn from, on a device."""
    words = np.random.SeedSequence([seed, stream, step, number, part]).generate_state(1, np.uint64)
    return torch.Generator(device=device).manual_seed(int(words[0] >> 1))
