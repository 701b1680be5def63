"""A bar as something gradients can pass through: straight-through cells with durations and velocities.

K bars, T clocks, M notes. The one view that critics and musical loss terms share, of decoded and of real bars alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.model import fields as f
from engine.model.batch import Bars, Notes, Offsets
from engine.model.decoder import Decoder
from engine.tokens.vocab import PITCHES

SHARPNESS = 1.0  # temperature of the cells' relaxation


@dataclass(frozen=True)
class SoftBars:
    """Onset, duration and velocity of every cell (K, T, 88); duration and velocity are 0 where nothing sounds."""

    onset: Tensor  # 0 or 1, with a gradient
    duration: Tensor  # quarters
    velocity: Tensor  # 0 to 1
    inside: Tensor  # (K, T) True before the bar's end

    @property
    def clocks(self) -> Tensor:
        """(K,) length of each bar."""
        return self.inside.sum(1)

    @cached_property
    def count(self) -> Tensor:
        """(K,) notes in each bar."""
        return self.onset.sum((1, 2))

    @cached_property
    def rhythm(self) -> Tensor:
        """(K, T) notes that begin at each clock."""
        return self.onset.sum(2)

    @cached_property
    def chroma(self) -> Tensor:
        """(K, 12) notes of each pitch class."""
        return self.onset.sum(1) @ _classes(self.onset)

    @cached_property
    def sounding(self) -> Tensor:
        """(K, S, 12) how much of each pitch class sounds in each slot: onsets and what they leave ringing."""
        k, t, _ = self.onset.shape
        slots = -(-t // f.SLOT_CLOCKS)
        wide = F.pad(self.onset, (0, 0, 0, slots * f.SLOT_CLOCKS - t))
        long = F.pad(self.duration, (0, 0, 0, slots * f.SLOT_CLOCKS - t))
        struck = wide.view(k, slots, f.SLOT_CLOCKS, -1).sum(2)
        length = long.view(k, slots, f.SLOT_CLOCKS, -1).sum(2) * 24 / f.SLOT_CLOCKS  # slots each note lasts
        step = torch.arange(slots, device=wide.device)
        age = (step[:, None] - step[None]).to(wide.dtype)  # (to, from)
        ring = torch.sigmoid(4 * (length[:, None] - age[None, :, :, None] - 0.5)) * (age >= 0)[None, :, :, None]
        return torch.einsum("ktsp,ksp->ktp", ring, struck) @ _classes(wide)


def real(notes: Notes, bars: Bars, clocks: int | None = None) -> SoftBars:
    """What was written, without any gradient; `clocks` is the length of the grid if it should be longer."""
    k, t = len(bars.clocks), clocks or int(bars.slots.max()) * f.SLOT_CLOCKS
    durations = torch.as_tensor(f.DURATIONS / 24, dtype=torch.float32, device=bars.clocks.device)
    velocities = torch.as_tensor(f.VELOCITIES / 127, dtype=torch.float32, device=bars.clocks.device)
    grids = [torch.zeros(k, t * f.N_PITCHES, device=bars.clocks.device) for _ in range(3)]
    ones = torch.ones(len(notes.bar), device=bars.clocks.device)
    for grid, value in zip(grids, (ones, durations[notes.duration], velocities[notes.velocity]), strict=True):
        grid[notes.bar, notes.cell] = value
    inside = torch.arange(t, device=bars.clocks.device) < bars.clocks[:, None]
    onset, duration, velocity = (g.view(k, t, f.N_PITCHES) for g in grids)
    return SoftBars(onset, duration, velocity, inside)


def decoded(
    decoder: Decoder, slots: Tensor, bars: Bars, offsets: Offsets, generator: torch.Generator | None = None
) -> SoftBars:
    """What the decoder says: cells above the threshold (sampled, with a generator), straight-through (Bengio 2013).

    Forward the cells are 0 or 1, backward they are sigmoids, so a gradient reaches every cell of the decoder.
    """
    logits = decoder.onsets(slots)
    k, t = len(logits), logits.shape[1] // f.N_PITCHES
    inside = torch.arange(t, device=logits.device) < bars.clocks[:, None]
    if generator is None:
        p = decoder.c.threshold
        logits = logits - float(torch.logit(torch.tensor(p)))
    else:
        u = torch.rand(logits.shape, generator=generator, device=logits.device).clamp(1e-6, 1 - 1e-6)
        logits = logits + torch.log(u) - torch.log1p(-u)
    soft = torch.sigmoid(logits / SHARPNESS) * inside.repeat_interleave(f.N_PITCHES, 1)
    hard = (soft > 0.5).to(soft.dtype)
    onset = hard + soft - soft.detach()
    bar, cell = hard.nonzero(as_tuple=True)
    fields = decoder.fields(slots, bar, cell, offsets)
    durations = torch.as_tensor(f.DURATIONS / 24, dtype=soft.dtype, device=soft.device)
    velocities = torch.as_tensor(f.VELOCITIES / 127, dtype=soft.dtype, device=soft.device)
    long = torch.softmax(fields.duration, -1) @ durations
    loud = torch.softmax(fields.velocity, -1) @ velocities
    blank = torch.zeros_like(soft)
    grids = (onset, blank.index_put((bar, cell), long), blank.index_put((bar, cell), loud))
    onset, duration, velocity = (g.view(k, t, f.N_PITCHES) for g in grids)
    return SoftBars(onset, duration, velocity, inside)


def _classes(like: Tensor) -> Tensor:
    """(88, 12) which pitch class each pitch belongs to."""
    return F.one_hot((torch.arange(PITCHES.start, PITCHES.stop, device=like.device)) % 12, 12).to(like.dtype)
