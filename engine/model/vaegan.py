"""`MusicTransformerVAEGAN`: the one class behind every mode.

`vae` encodes bars of notes into three levels of latents and decodes them in one shot; `vae_gan` is the same model with
a critic beside it, so a checkpoint of one opens in the other; either may have a refiner, which writes drafted notes
anew. `transformer` models the 774 event tokens one by one.

K bars, P phrases, B pieces, Z latent width.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from engine.config import ModelConfig
from engine.errors import MorphonyError
from engine.model.attention import named
from engine.model.batch import Bars, Notes, Offsets
from engine.model.critic import Critic
from engine.model.decoder import Decoder
from engine.model.encoder import Encoder
from engine.model.events import EventTransformer
from engine.model.latents import Posterior
from engine.model.level_priors import LevelPriors
from engine.model.priors import BarPrior
from engine.model.refiner import Refiner

OPTIONAL = ("critic.", "refiner.")  # what a checkpoint may lack, and a configuration may not want


class MusicTransformerVAEGAN(nn.Module):
    """Bars of notes to three levels of latents and back. See `ModelConfig` for every size."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        named(config.attention)
        self.config = config
        self.events: EventTransformer | None = None
        self.critic: Critic | None = None
        self.refiner: Refiner | None = None
        if config.mode == "transformer":
            self.events = EventTransformer(config)
            return
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.priors = LevelPriors(config)  # of the ELBO, a level each
        self.prior = BarPrior(config)  # of bars in their order, for new music
        if config.mode == "vae_gan":
            self.critic = Critic(config)
        if config.refiner:
            self.refiner = Refiner(config)

    def encode(
        self, notes: Notes, bars: Bars, generator: torch.Generator | None = None, mean: bool = False
    ) -> Posterior:
        """Posteriors of the three levels."""
        out: Posterior = self.encoder(notes, bars, generator, mean)
        return out

    def slots(self, z_global: Tensor, z_local: Tensor, z_fine: Tensor, bars: Bars, offsets: Offsets) -> Tensor:
        """(K, S, C) the decoded slots of bars whose phrase and piece index rows of z_local (P, Z), z_global (B, Z)."""
        return self.decoder.slots(beside(z_global, z_local, z_fine, bars), bars, offsets)

    def fits(self, tensors: Mapping[str, Tensor]) -> bool:
        """Whether saved weights belong here. What is optional may be missing on either side."""
        mine = {n: t.shape for n, t in self.state_dict().items() if not n.startswith(OPTIONAL)}
        return mine == {n: t.shape for n, t in tensors.items() if not n.startswith(OPTIONAL)}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take saved weights; `vae` and `vae_gan` open each other. Raises MorphonyError when they do not fit."""
        if not self.fits(tensors):
            raise MorphonyError("These weights do not fit the configuration they came with.")
        mine = self.state_dict()
        known = {n: t for n, t in tensors.items() if n in mine and t.shape == mine[n].shape}
        self.load_state_dict(known, strict=False)


def beside(z_global: Tensor, z_local: Tensor, z_fine: Tensor, bars: Bars) -> Tensor:
    """(K, Z) each bar's latents of all levels side by side, from (B, G), (P, L) and (K, F)."""
    return torch.cat([z_fine, z_local[bars.phrase], z_global[bars.piece[bars.phrase]]], -1)
