"""Notes to posteriors. Each note is added into the slot of its onset: place is kept, so pitch stays bound to onset.

K bars, M notes, S slots, P phrases, B pieces; Z the width of a latent level.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.config import ModelConfig
from engine.model import fields as f
from engine.model.attention import Block, masked
from engine.model.batch import PHRASE_BARS, Bars, Notes
from engine.model.latents import Gaussian, Normal, Posterior, mean_by, sample
from engine.tokens.vocab import PITCHES


class NoteEmbedding(nn.Module):
    """A note's fields to one vector: the pitch with its octave and chroma, and the clock within the slot."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.pitch = nn.Embedding(f.N_PITCHES, width)
        self.octave = nn.Embedding(11, width)
        self.chroma = nn.Embedding(12, width)
        self.clock = nn.Embedding(f.SLOT_CLOCKS, width)
        self.micro = nn.Embedding(len(f.MICRO), width)
        self.duration = nn.Embedding(len(f.DURATIONS), width)
        self.velocity = nn.Embedding(f.VELOCITY_BINS, width)
        self.part = nn.Embedding(f.N_PARTS, width)
        for table in self.children():
            nn.init.normal_(table.weight, std=0.35)  # type: ignore[arg-type]  # all children are embeddings
        self.mix = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, notes: Notes) -> Tensor:
        """(M, W). The fields are mixed before notes are added up, so a chord's pitches keep their own clocks."""
        midi = notes.pitch + PITCHES.start
        x = self.pitch(notes.pitch) + self.octave(midi // 12) + self.chroma(midi % 12)
        x = x + self.clock(notes.onset % f.SLOT_CLOCKS) + self.micro(notes.micro)
        x = x + self.duration(notes.duration) + self.velocity(notes.velocity) + self.part(notes.part)
        out: Tensor = x + self.mix(x)
        return out


class SlotPool(nn.Module):
    """Slots of a bar to one vector, each slot through weights of its own; bars past a page turn it."""

    def __init__(self, slot: int, out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(f.PAGE_SLOTS, slot, out) * (24 * slot) ** -0.5)
        self.page = nn.Embedding(f.MAX_PAGES, slot)
        nn.init.zeros_(self.page.weight)

    def forward(self, slots: Tensor) -> Tensor:
        """(K, S, W) to (K, out)."""
        k, s, w = slots.shape
        out = slots.new_zeros(k, self.weight.shape[-1])
        for page, start in enumerate(range(0, s, f.PAGE_SLOTS)):
            part = slots[:, start : start + f.PAGE_SLOTS]
            n = part.shape[1]
            if page:
                part = part * (1 + self.page.weight[min(page, f.MAX_PAGES - 1)])
            out = out + part.reshape(k, n * w) @ self.weight[:n].reshape(n * w, -1)
        return out


class Encoder(nn.Module):
    """Bar encoder, then a song encoder over phrases, then the ladder global -> local -> fine."""

    def __init__(self, c: ModelConfig) -> None:
        super().__init__()
        self.c = c
        self.embed = NoteEmbedding(c.slot_dim)
        self.pool = SlotPool(c.slot_dim, c.latent_dim + c.bar_dim)
        self.meter = nn.Linear(2, c.bar_dim)
        if c.use_hierarchical:
            self.place = nn.Embedding(PHRASE_BARS, c.bar_dim)
            self.song = nn.ModuleList(Block.of(c, c.bar_dim) for _ in range(c.encoder_layers))
            self.to_global = Gaussian(c.bar_dim, c.global_dim, c.batch_norm_posterior)
            self.to_local = Gaussian(c.bar_dim + c.global_dim, c.local_dim, c.batch_norm_posterior)
        self.to_fine = Gaussian(c.bar_dim + c.local_dim + c.global_dim, c.latent_dim, c.batch_norm_posterior)

    def forward(
        self, notes: Notes, bars: Bars, generator: torch.Generator | None = None, mean: bool = False
    ) -> Posterior:
        """Posteriors of the three levels, and a sample of each (the mean if `mean`)."""
        direct, features = self.bar_features(notes, bars)
        return self.ladder(direct, features, bars, generator, mean)

    def ladder(
        self, direct: Tensor, features: Tensor, bars: Bars, generator: torch.Generator | None, mean: bool
    ) -> Posterior:
        """q(global | x), q(local | x, global), q(fine | x, local, global) from features of whole pieces.

        Without `use_hierarchical` the two upper levels are N(0, 1) and their latents zeros, whatever x is.
        """
        if self.c.use_hierarchical:
            phrase = self.phrase_features(features, bars)
            q_global = self.to_global(mean_by(phrase, bars.piece, bars.n_pieces))
            z_global = q_global.mean if mean else sample(q_global, generator)
            q_local = self.to_local(torch.cat([phrase, z_global[bars.piece]], -1))
            z_local = q_local.mean if mean else sample(q_local, generator)
        else:
            z_global = features.new_zeros(bars.n_pieces, self.c.global_dim)
            z_local = features.new_zeros(len(bars.piece), self.c.local_dim)
            q_global, q_local = Normal(z_global, z_global), Normal(z_local, z_local)
        above = torch.cat([features, z_local[bars.phrase], z_global[bars.piece[bars.phrase]]], -1)
        q_fine = self.to_fine(above, direct)
        z_fine = q_fine.mean if mean else sample(q_fine, generator)
        return Posterior(q_global, q_local, q_fine, z_global, z_local, z_fine)

    def bar_features(self, notes: Notes, bars: Bars) -> tuple[Tensor, Tensor]:
        """A straight line from slots to the fine latent (K, Z), and features for everything else (K, bar_dim)."""
        k = len(bars.clocks)
        s = int(bars.slots.max())
        slots = notes.bar.new_zeros(k * s, self.c.slot_dim, dtype=self.meter.weight.dtype)
        slots = slots.index_add(0, notes.bar * s + notes.onset // f.SLOT_CLOCKS, self.embed(notes))
        return self.features_of(slots.view(k, s, -1), bars)

    def features_of(self, slots: Tensor, bars: Bars) -> tuple[Tensor, Tensor]:
        """The same from the notes of each slot, added up (K, S, W)."""
        pooled = self.pool(slots / (slots.pow(2).mean(-1, keepdim=True) + 1).sqrt())
        direct, features = pooled.split([self.c.latent_dim, self.c.bar_dim], -1)
        meter = torch.stack([bars.clocks / 96, bars.beat / 24], -1).to(features.dtype)
        return direct, F.gelu(features + self.meter(meter), approximate="tanh")

    def phrase_features(self, features: Tensor, bars: Bars) -> Tensor:
        """(P, bar_dim): attention among the bars of each phrase, then their mean."""
        p = len(bars.piece)
        x = features.new_zeros(p, PHRASE_BARS, features.shape[-1])
        mask = torch.zeros(p, PHRASE_BARS, dtype=torch.bool, device=features.device)
        x[bars.phrase, bars.place] = features + self.place(bars.place)
        mask[bars.phrase, bars.place] = True
        for block in self.song:
            x = block(x, mask)
        return masked(x, mask).sum(1) / mask.sum(1, keepdim=True)
