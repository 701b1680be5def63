"""A bar as something gradients can pass through: straight-through cells with durations and velocities.

K bars, T clocks, S slots, M notes. The one view that critics and musical loss terms share, of decoded and of real bars
alike. Nothing is outside a bar. A silent cell has neither length nor loudness, so what its gradient says of striking it
says so of a note without either; where that matters, compare with bars that have the note.
"""

from __future__ import annotations

import math
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
TEMPERATURE = 0.3  # of the cells' noise
EARLIER = 6.0  # nats by which a note fades from the top line for every other note that has come since, or above it
WIDEST = 12  # semitones of the widest interval that has a place of its own
LOUDNESSES = 8  # places of the velocity histogram
LENGTHS = 8  # places of the duration histogram: octaves around a quarter


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
    def struck(self) -> Tensor:
        """(K, S, 88) notes that begin in each slot."""
        return _by_slots(self.onset).sum(2)

    @cached_property
    def top(self) -> Tensor:
        """(K, S, 88) the highest note that begins in each slot, 1 at its pitch; every note below it has faded."""
        struck = self.struck
        above = struck.sum(2, keepdim=True) - struck.cumsum(2)
        return struck * torch.exp(-EARLIER * above)

    @cached_property
    def intervals(self) -> Tensor:
        """(K, 25) steps from each note of the top line to the next, by semitones; the outermost hold all wider ones."""
        top = self.top
        heard = top.sum(2)
        since = heard.cumsum(1)
        step = torch.arange(top.shape[1], device=top.device)
        between = (since - heard)[:, :, None] - since[:, None]  # (K, to, from) notes of the line in between
        follows = torch.exp(-EARLIER * between.masked_fill(step[:, None] <= step, torch.inf))
        pairs = top.transpose(1, 2) @ (follows @ top)  # (K, 88, 88) to this pitch from that
        pitch = torch.arange(f.N_PITCHES, device=top.device)
        semitones = (pitch[:, None] - pitch).clamp(-WIDEST, WIDEST) + WIDEST
        return pairs.flatten(1) @ F.one_hot(semitones.flatten(), 2 * WIDEST + 1).to(top.dtype)

    @cached_property
    def loudness(self) -> Tensor:
        """(K, 8) notes by velocity, soft to loud; each is spread over the places around it."""
        return self._histogram(self.velocity[self.cells] * LOUDNESSES - 0.5, LOUDNESSES)

    @cached_property
    def lengths(self) -> Tensor:
        """(K, 8) notes by duration in octaves: a 32nd or less, a 16th, an eighth, a quarter, and so on."""
        return self._histogram(torch.log2(self.duration[self.cells].clamp(min=1 / 24)) + 3, LENGTHS)

    @cached_property
    def sounding(self) -> Tensor:
        """(K, S, 12) how much of each pitch class sounds in each slot: onsets and what they leave ringing."""
        bar, clock, pitch = self.cells
        k, slots = self.struck.shape[:2]
        age = torch.arange(slots, device=bar.device) - (clock // f.SLOT_CLOCKS)[:, None]  # (M, S) slots
        length = self.duration[self.cells][:, None] * 24 / f.SLOT_CLOCKS
        ring = torch.sigmoid(4 * (length - age - 0.5)) * (age >= 0) * self.inside[bar, :: f.SLOT_CLOCKS]
        row = bar * 12 + (pitch + PITCHES.start) % 12
        out = (
            ring.new_zeros(k * 12, slots)
            .index_add(0, row, ring * self.onset[self.cells][:, None])
            .view(k, 12, slots)
            .transpose(1, 2)
        )
        return out + _by_slots(self.silent).sum(2) @ _classes(self.onset)

    @cached_property
    def cells(self) -> tuple[Tensor, Tensor, Tensor]:
        """Bar, clock and pitch (M,) of every note there is."""
        bar, clock, pitch = (self.onset != 0).nonzero(as_tuple=True)
        return bar, clock, pitch

    @cached_property
    def silent(self) -> Tensor:
        """(K, T, 88) zeros, which carry the gradient of notes that there are not."""
        return self.onset.masked_fill(self.onset != 0, 0)

    def _histogram(self, at: Tensor, places: int) -> Tensor:
        """(K, places) notes by place `at` (M,), each spread around it; a new one would be like the others."""
        where = torch.arange(places, device=at.device)
        share = torch.softmax(-(at.clamp(0, places - 1)[:, None] - where).square(), -1)
        heard = share.new_zeros(len(self.onset), places)
        heard = heard.index_add(0, self.cells[0], self.onset[self.cells][:, None] * share)
        like_the_others = (heard / heard.sum(1, keepdim=True).clamp(min=1)).detach()
        return heard + self.silent.sum((1, 2))[:, None] * like_the_others


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
    """What the decoder says: cells above the threshold, after some noise if there is a generator.

    Straight-through (Bengio 2013). The noise is a take's: at temperature 1 unlikely cells drown the others' gradients.
    Forward the cells are 0 or 1, backward they are sigmoids, so a gradient reaches every cell of the decoder. Durations
    and velocities of the cells that sound are the likeliest ones forward and the expected ones backward.
    """
    logits = decoder.onsets(slots)
    k, t = len(logits), logits.shape[1] // f.N_PITCHES
    inside = torch.arange(t, device=logits.device) < bars.clocks[:, None]
    logits = logits - math.log(decoder.c.threshold / (1 - decoder.c.threshold))
    if generator is not None:
        u = torch.rand(logits.shape, generator=generator, device=logits.device).clamp(1e-6, 1 - 1e-6)
        logits = logits + TEMPERATURE * (torch.log(u) - torch.log1p(-u))
    soft = torch.sigmoid(logits / SHARPNESS) * inside.repeat_interleave(f.N_PITCHES, 1)
    hard = (soft > 0.5).to(soft.dtype)
    onset = hard + (soft - soft.detach())
    bar, cell = hard.nonzero(as_tuple=True)
    fields = decoder.fields(slots, bar, cell, offsets)
    durations = torch.as_tensor(f.DURATIONS / 24, dtype=soft.dtype, device=soft.device)
    velocities = torch.as_tensor(f.VELOCITIES / 127, dtype=soft.dtype, device=soft.device)
    long = _likeliest(fields.duration, durations)
    loud = _likeliest(fields.velocity, velocities)
    blank = torch.zeros_like(soft)
    grids = (onset, blank.index_put((bar, cell), long), blank.index_put((bar, cell), loud))
    onset, duration, velocity = (g.view(k, t, f.N_PITCHES) for g in grids)
    return SoftBars(onset, duration, velocity, inside)


def _likeliest(logits: Tensor, values: Tensor) -> Tensor:
    """(M,) value (C,) of the likeliest class of logits (M, C), with the gradient of the expected value."""
    expected = torch.softmax(logits, -1) @ values
    return values[logits.argmax(-1)] + (expected - expected.detach())


def _by_slots(grid: Tensor) -> Tensor:
    """(K, S, 4, 88) a grid (K, T, 88) by slots; a last slot that is short is filled with silence."""
    k, t, pitches = grid.shape
    return F.pad(grid, (0, 0, 0, -t % f.SLOT_CLOCKS)).view(k, -1, f.SLOT_CLOCKS, pitches)


def _classes(like: Tensor) -> Tensor:
    """(88, 12) which pitch class each pitch belongs to."""
    return F.one_hot((torch.arange(PITCHES.start, PITCHES.stop, device=like.device)) % 12, 12).to(like.dtype)
