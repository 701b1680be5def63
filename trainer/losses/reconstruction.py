"""Negative log-likelihood of the target's notes: where they begin, and what each of them is."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.model import fields as f
from trainer.losses.registry import DYNAMICS, NOTES, TIMING, Decoded, register


@register(
    "onset",
    "reconstruction",
    NOTES / NOTES,
    "Says which cells of clock and pitch sound, which is the notes themselves.",
    ("NOTE_ON",),
)
def onset(d: Decoded) -> Tensor:
    """Bernoulli over the cells inside each bar."""
    clock = torch.arange(d.onsets.shape[1] // f.N_PITCHES, device=d.onsets.device)
    inside = clock < d.bars.clocks[:, None]
    logits = d.onsets.view(len(inside), -1, f.N_PITCHES)
    silent = (F.softplus(logits).sum(-1) * inside).sum()
    cells = torch.unique(d.target.bar * d.onsets.shape[1] + d.target.cell)  # a doubling is one cell with two parts
    return silent - d.onsets.flatten()[cells].sum()


@register(
    "duration",
    "reconstruction",
    TIMING / NOTES,
    "Says how long each note lasts, from staccato to tied over the bar.",
    ("NOTE_OFF", "TIME_SHIFT"),
)
def duration(d: Decoded) -> Tensor:
    """Categorical over duration classes."""
    return F.cross_entropy(d.fields.duration, d.target.duration, reduction="sum")


@register(
    "micro", "reconstruction", TIMING / NOTES / 2, "Says where within its clock a played note falls.", ("TIME_SHIFT",)
)
def micro(d: Decoded) -> Tensor:
    """Categorical over micro-shift classes; half the weight of timing, a fiftieth of a second is all it moves."""
    return F.cross_entropy(d.fields.micro, d.target.micro, reduction="sum")


@register(
    "velocity",
    "reconstruction",
    DYNAMICS / NOTES,
    "Says how loud each note is, in the bins of the vocabulary.",
    ("VELOCITY_CHANGE",),
)
def velocity(d: Decoded) -> Tensor:
    """Categorical over the 32 velocity bins."""
    return F.cross_entropy(d.fields.velocity, d.target.velocity, reduction="sum")


@register(
    "part", "reconstruction", 1 / NOTES, "Says which part plays each note; doublings have several.", ("INSTRUMENT",)
)
def part(d: Decoded) -> Tensor:
    """Independent Bernoulli a part, over the parts that play in the piece."""
    cell = d.target.bar * d.onsets.shape[1] + d.target.cell
    _, inverse = torch.unique(cell, return_inverse=True)
    plays = torch.zeros(int(inverse.max()) + 1 if len(cell) else 0, f.N_PARTS, device=cell.device)
    plays[inverse, d.target.part] = 1
    loss = F.binary_cross_entropy_with_logits(d.fields.part, plays[inverse], reduction="none")
    return (loss * d.bars.parts[d.target.bar]).sum()
