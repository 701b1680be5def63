"""Latents to notes in one shot: an onset logit for every clock and pitch, and fields for the cells that sound.

K bars, S slots, C width, M notes or candidate cells. A bar sees its own latents only (its piece's, its phrase's,
its own): changing one bar's fine latent changes that bar alone. Notes of the source never reach this file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.attributes import INDEX, NAMES
from engine.config import ModelConfig
from engine.model import fields as f
from engine.model.attention import Block, gelu
from engine.model.batch import Bars, Offsets
from engine.model.position import BeatPosition

OF_DURATION = (INDEX["articulation"],)
OF_VELOCITY = (INDEX["dynamics"], INDEX["dynamic_spread"])
OF_ONSETS = tuple(i for i in range(len(NAMES)) if i not in OF_DURATION + OF_VELOCITY)


@dataclass(frozen=True, slots=True)
class Fields:
    """Logits of what each note is: (M, classes) each; `part` has one independent logit a part (doublings)."""

    duration: Tensor
    velocity: Tensor
    micro: Tensor
    part: Tensor


class Decodes(Protocol):
    """What turns latents into notes: `Decoder`, or one that was exported."""

    def laid(self, z: Tensor, bars: Bars) -> Tensor:
        """(K, S, C) latents (K, Z) laid out over slots: what no slider changes."""

    def decoded(self, laid: Tensor, bars: Bars, offsets: Offsets) -> tuple[Tensor, Tensor]:
        """(K, S, C) slots and (K, S * 4 * 88) onset logits."""

    def fields(self, slots: Tensor, bar: Tensor, cell: Tensor, offsets: Offsets) -> Fields:
        """What the notes in given cells (M,) of given bars (M,) are."""

    def durations(self, slots: Tensor, bar: Tensor, cell: Tensor, offsets: Offsets) -> Tensor:
        """(M, classes) the duration logits of `fields` alone."""

    def velocities(self, slots: Tensor, bar: Tensor, cell: Tensor, offsets: Offsets) -> Tensor:
        """(M, classes) the velocity logits of `fields` alone."""


class Decoder(nn.Module):
    """Slots laid out from z, attention over them with z added before every layer, a grid of cells, note heads.

    The onset attributes steer the slots; articulation steers durations alone and dynamics velocities alone,
    so those sliders cannot touch an onset or a pitch.
    """

    def __init__(self, c: ModelConfig) -> None:
        super().__init__()
        self.c = c
        z, w, n = c.latent_dim + c.local_dim + c.global_dim, c.hidden_dim, c.note_dim
        self.lay_out = nn.Parameter(torch.randn(z, f.PAGE_SLOTS, w) * z**-0.5)
        self.page = nn.Embedding(f.MAX_PAGES, w)
        nn.init.zeros_(self.page.weight)
        self.position = BeatPosition(w)
        self.condition = nn.Sequential(nn.Linear(2 * len(OF_ONSETS) + f.N_PARTS + 2, w), nn.GELU(), nn.Linear(w, w))
        self.again = nn.ParameterList(nn.Parameter(torch.zeros(w)) for _ in range(c.decoder_layers))
        self.blocks = nn.ModuleList(Block.of(c, w, condition=w) for _ in range(c.decoder_layers))
        self.style: Tensor  # in-attention bias of a style; part of an adapter, never of the base weights
        self.register_buffer("style", torch.zeros(c.decoder_layers, w), persistent=False)
        self.norm = nn.LayerNorm(w)
        self.cells = nn.Linear(w, f.CELLS_PER_SLOT)
        nn.init.constant_(self.cells.bias, -6.0)  # about one cell in 400 sounds
        self.from_slot = nn.Linear(w, 3 * n)
        self.of_pitch = nn.Embedding(f.N_PITCHES, 3 * n)
        self.of_clock = nn.Embedding(f.SLOT_CLOCKS, 3 * n)
        for table in (self.of_pitch, self.of_clock):
            nn.init.normal_(table.weight, std=0.1)
        self.steer_duration = nn.Linear(2 * len(OF_DURATION), n)
        self.steer_velocity = nn.Linear(2 * len(OF_VELOCITY), n)
        self.duration = nn.Linear(n, len(f.DURATIONS))
        self.velocity = nn.Linear(n, f.VELOCITY_BINS)
        self.rest = nn.Linear(n, len(f.MICRO) + f.N_PARTS)

    def slots(self, z: Tensor, bars: Bars, offsets: Offsets) -> Tensor:
        """(K, S, C) from the three latents side by side (K, Z)."""
        return self.steered(self.laid(z, bars), bars, offsets)

    def laid(self, z: Tensor, bars: Bars) -> Tensor:
        """(K, S, C) latents laid out over slots: what no slider changes."""
        s = int(bars.slots.max())
        laid = [
            torch.einsum("kz,zsw->ksw", z, self.lay_out[:, : min(f.PAGE_SLOTS, s - start)])
            + self.page.weight[min(page, f.MAX_PAGES - 1)] * (page > 0)
            for page, start in enumerate(range(0, s, f.PAGE_SLOTS))
        ]
        return torch.cat(laid, 1)

    def steered(self, base: Tensor, bars: Bars, offsets: Offsets) -> Tensor:
        """(K, S, C) slots of bars that are laid out (K, S, C)."""
        there = torch.arange(base.shape[1], device=base.device) < bars.slots[:, None]
        return self.attended(base, bars, offsets, None if bool(there.all()) else there)

    def attended(self, base: Tensor, bars: Bars, offsets: Offsets, mask: Tensor | None) -> Tensor:
        """The same, given which slots there are: `mask` (K, S), or None where there is every one."""
        meter = torch.stack([bars.clocks / 96, bars.beat / 24], -1).to(base.dtype)
        steer = offsets_of(offsets, OF_ONSETS)
        condition = self.condition(torch.cat([steer, bars.parts.to(base.dtype), meter], -1))
        x = base + self.position(bars, base.shape[1]) + condition[:, None]
        for block, again, style in zip(self.blocks, self.again, self.style, strict=True):
            x = block(x + again * base + style, mask, condition)
        out: Tensor = self.norm(x)
        return out

    def decoded(self, laid: Tensor, bars: Bars, offsets: Offsets) -> tuple[Tensor, Tensor]:
        """(K, S, C) slots of bars that are laid out (K, S, C), and their onset logits."""
        slots = self.steered(laid, bars, offsets)
        return slots, self.onsets(slots)

    def onsets(self, slots: Tensor) -> Tensor:
        """(K, S * 4 * 88) onset logit of every cell, clock by clock; cells past a bar's end are for the caller."""
        out: Tensor = self.cells(slots).flatten(1)
        return out

    def fields(self, slots: Tensor, bar: Tensor, cell: Tensor, offsets: Offsets) -> Fields:
        """What the notes in given cells (M,) of given bars (M,) are."""
        h_duration, h_velocity, h_rest = self._heads(slots, bar, cell, 0, 3).chunk(3, -1)
        rest = self.rest(gelu(h_rest))
        micro, part = rest.split([len(f.MICRO), f.N_PARTS], -1)
        return Fields(
            self._duration(h_duration, bar, offsets),
            self._velocity(h_velocity, bar, offsets),
            micro,
            part,
        )

    def durations(self, slots: Tensor, bar: Tensor, cell: Tensor, offsets: Offsets) -> Tensor:
        """(M, classes) the duration logits of `fields` alone: what a search over many candidate cells needs."""
        return self._duration(self._heads(slots, bar, cell, 0, 1), bar, offsets)

    def velocities(self, slots: Tensor, bar: Tensor, cell: Tensor, offsets: Offsets) -> Tensor:
        """(M, classes) the velocity logits of `fields` alone."""
        return self._velocity(self._heads(slots, bar, cell, 1, 2), bar, offsets)

    def _duration(self, h: Tensor, bar: Tensor, offsets: Offsets) -> Tensor:
        out: Tensor = self.duration(gelu(h + self.steer_duration(offsets_of(offsets, OF_DURATION))[bar]))
        return out

    def _velocity(self, h: Tensor, bar: Tensor, offsets: Offsets) -> Tensor:
        out: Tensor = self.velocity(gelu(h + self.steer_velocity(offsets_of(offsets, OF_VELOCITY))[bar]))
        return out

    def _heads(self, slots: Tensor, bar: Tensor, cell: Tensor, first: int, last: int) -> Tensor:
        """(M, n * heads) hidden layer of the heads first to last - 1: slot, pitch and clock within the slot."""
        n = self.c.note_dim
        part = slice(first * n, last * n)
        onset, pitch = cell // f.N_PITCHES, cell % f.N_PITCHES
        row = bar * slots.shape[1] + onset // f.SLOT_CLOCKS
        of_slot = slots.flatten(0, 1).index_select(0, row)
        h = F.linear(of_slot, self.from_slot.weight[part], self.from_slot.bias[part])
        h = h + self.of_pitch.weight[:, part].index_select(0, pitch)
        return h + self.of_clock.weight[:, part].index_select(0, onset % f.SLOT_CLOCKS)


def offsets_of(offsets: Offsets, which: tuple[int, ...]) -> Tensor:
    """(K, 2 * len(which)): values (0 where unknown) and flags of some attributes."""
    index = list(which)
    return torch.cat([(offsets.value * offsets.known)[:, index], offsets.known[:, index]], -1)
