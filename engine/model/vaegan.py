"""`MusicTransformerVAEGAN`: the one class behind every mode. Today it speaks `vae`.

K bars, P phrases, B pieces, Z latent width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from engine.config import ModelConfig
from engine.errors import MorphonyError
from engine.model.batch import Bars, Notes, Offsets
from engine.model.decoder import Decoder
from engine.model.encoder import Encoder
from engine.model.latents import Posterior
from engine.model.priors import BarPrior

MODES = ("vae",)


class MusicTransformerVAEGAN(nn.Module):
    """Bars of notes to three levels of latents and back. See `ModelConfig` for every size."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        if config.mode not in MODES:
            raise MorphonyError(f"Mode {config.mode!r} is not built yet; this version has {', '.join(MODES)}.")
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.prior = BarPrior(config)

    def encode(
        self, notes: Notes, bars: Bars, generator: torch.Generator | None = None, mean: bool = False
    ) -> Posterior:
        """Posteriors of the three levels."""
        out: Posterior = self.encoder(notes, bars, generator, mean)
        return out

    def slots(self, z_global: Tensor, z_local: Tensor, z_fine: Tensor, bars: Bars, offsets: Offsets) -> Tensor:
        """(K, S, C) the decoded slots of bars whose phrase and piece index rows of z_local (P, Z), z_global (B, Z)."""
        z = torch.cat([z_fine, z_local[bars.phrase], z_global[bars.piece[bars.phrase]]], -1)
        return self.decoder.slots(z, bars, offsets)
