"""The autoregressive refiner of drafted notes."""

from __future__ import annotations

from torch import nn

from engine.config import ModelConfig


class Refiner(nn.Module):
    """To be written."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.c = config
