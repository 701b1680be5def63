"""Which device to compute on, and why, in words."""

from __future__ import annotations

import torch

from engine.errors import MorphonyError

NAMES = ("auto", "cuda", "mps", "cpu")


def choose(name: str = "auto") -> tuple[torch.device, str]:
    """The device and the reason for it. Raises MorphonyError for a device that is asked for and not there."""
    if name not in NAMES:
        raise MorphonyError(f"There is no device called {name!r}; choose one of {', '.join(NAMES)}.")
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if (name == "cuda" and not cuda) or (name == "mps" and not mps):
        raise MorphonyError(f"This computer has no {name} device PyTorch can use; leave the device at auto.")
    if name == "cuda" or (name == "auto" and cuda):
        return torch.device("cuda"), f"cuda: {torch.cuda.get_device_name()}"
    if name == "mps" or (name == "auto" and mps):
        return torch.device("mps"), "mps: the graphics processor of this Mac"
    asked = "as asked" if name == "cpu" else "no CUDA or Apple graphics processor was found"
    return torch.device("cpu"), f"cpu: {asked}"
