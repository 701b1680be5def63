"""Tasks beside the likelihood: whole figures of a bar that single cells cannot see, each with a measure of its own.

Most look at probabilities rather than samples, so their gradients carry no noise. K bars, T clocks, M notes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.model import fields as f
from engine.model.latents import mean_by
from engine.model.soft import SoftBars
from trainer.losses.registry import Decoded, register


@register("onset_count", "auxiliary", 1.0, "Makes a bar as full as it was when each cell is unsure.", styled=True)
def onset_count(d: Decoded) -> Tensor:
    """Squared difference of the logarithms of the expected and the true number of notes, one added to both."""
    said = torch.log1p(_chances(d).sum((1, 2)))
    return d.over_bars("onset_count", (said - torch.log1p(d.real.count)).square())


@register("chroma", "auxiliary", 1.0, "Gives a note in the wrong octave credit for its pitch class.", styled=True)
def chroma(d: Decoded) -> Tensor:
    """One minus the cosine of expected and true chroma."""
    expected = SoftBars(_chances(d), d.real.duration, d.real.velocity, d.real.inside)
    return d.over_bars("chroma", _far(expected.chroma, d.real.chroma))


@register("groove", "auxiliary", 0.2, "Teaches where something begins before it is clear what begins.", styled=True)
def groove(d: Decoded) -> Tensor:
    """Nats of the onset grid: whether anything begins at each clock, as a Bernoulli."""
    silent = _silences(d).sum(2)  # (K, T) -log P(nothing begins)
    return d.over_bars("groove", _any_nats(silent, d.real.rhythm > 0.5, d.real.inside))


@register("pitch_set", "auxiliary", 0.1, "Teaches which keys a bar uses before it is clear when.", styled=True)
def pitch_set(d: Decoded) -> Tensor:
    """Nats of which of the 88 pitches occur at all in the bar."""
    silent = _silences(d).sum(1)  # (K, 88)
    struck = d.real.onset.sum(1) > 0.5
    return d.over_bars("pitch_set", _any_nats(silent, struck, torch.ones_like(struck)))


@register(
    "top_line", "auxiliary", 0.3, "Weighs the highest note of a chord, which is heard as the melody.", styled=True
)
def top_line(d: Decoded) -> Tensor:
    """Nats of the highest pitch at each onset of the target: that it sounds and nothing above it does."""
    return d.over_bars("top_line", _outer_nats(_logits(d), d.real.onset))


@register("bass_line", "auxiliary", 0.3, "Weighs the lowest note of a chord, which carries the harmony.", styled=True)
def bass_line(d: Decoded) -> Tensor:
    """Nats of the lowest pitch at each onset of the target: that it sounds and nothing below it does."""
    return d.over_bars("bass_line", _outer_nats(_logits(d).flip(2), d.real.onset.flip(2)))


@register(
    "note_overlap",
    "auxiliary",
    1.0,
    "Trains the figure that models are judged by: F1 does not let many sure silences outweigh few unsure notes.",
    styled=True,
)
def note_overlap(d: Decoded) -> Tensor:
    """One minus the soft F1 of cells, the Dice loss (Milletari et al. 2016)."""
    said, meant = _chances(d), d.real.onset
    both, either = (said * meant).sum((1, 2)), (said + meant).sum((1, 2))
    return d.over_bars("note_overlap", 1 - 2 * both / either.clamp(min=1e-6))


@register(
    "bar_similarity",
    "auxiliary",
    1.0,
    "Keeps repetition: bars that return in the target return in the decoding, and others differ as much.",
    styled=True,
)
def bar_similarity(d: Decoded) -> Tensor:
    """Mean absolute difference between the self-similarity matrices (Foote 1999) of a piece's bars, cosine of cells."""
    piece = d.bars.piece[d.bars.phrase]
    others = (piece[:, None] == piece) & ~torch.eye(len(piece), dtype=torch.bool, device=piece.device)
    said, meant = (F.normalize(x.flatten(1), dim=1, eps=0.1) for x in (_chances(d), d.real.onset))
    apart = (said @ said.T - meant @ meant.T).abs() * others
    return d.over_bars("bar_similarity", apart.sum(1) / others.sum(1).clamp(min=1))


@register(
    "harmony_over_time",
    "auxiliary",
    1.0,
    "Puts each harmony at its time, as long as it rings: onsets and durations must agree for that.",
    styled=True,
)
def harmony_over_time(d: Decoded) -> Tensor:
    """One minus the cosine of the pitch classes that sound, mean over the slots in which the target sounds."""
    said, meant = d.fake.sounding, d.real.sounding
    rings = meant.sum(2) > 0.5
    return d.over_bars("harmony_over_time", (_far(said, meant) * rings).sum(1) / rings.sum(1).clamp(min=1))


@register(
    "duration_distance", "auxiliary", 0.5, "Tells a duration missed by a little from one missed by a lot.", styled=True
)
def duration_distance(d: Decoded) -> Tensor:
    """Expected distance of a note's duration from the true one, in octaves of length."""
    octaves = torch.as_tensor(f.DURATIONS, dtype=torch.float32, device=d.onsets.device).log2()
    return d.over_notes("duration_distance", _expected_distance(d.fields.duration, octaves, d.target.duration))


@register(
    "velocity_distance", "auxiliary", 0.5, "Tells a velocity missed by a shade from forte played piano.", styled=True
)
def velocity_distance(d: Decoded) -> Tensor:
    """Expected distance of a note's velocity from the true one, in units of 16."""
    return d.over_notes("velocity_distance", _expected_distance(d.fields.velocity, _loudnesses(d), d.target.velocity))


@register(
    "accents",
    "auxiliary",
    0.5,
    "Keeps which notes of a bar are stressed, even where the bar as a whole is too loud or too soft.",
    styled=True,
)
def accents(d: Decoded) -> Tensor:
    """Absolute difference between a note's stress and the target's: velocity above the bar's mean, in units of 16."""
    loud = torch.stack([torch.softmax(d.fields.velocity, -1) @ _loudnesses(d), _loudnesses(d)[d.target.velocity]], -1)
    stress = loud - mean_by(loud, d.target.bar, len(d.bars.clocks))[d.target.bar]
    return d.over_notes("accents", (stress[:, 0] - stress[:, 1]).abs())


@register(
    "part_balance",
    "auxiliary",
    0.5,
    "Keeps a part from vanishing: notes shared out one by one all go to the part that plays most.",
    styled=True,
)
def part_balance(d: Decoded) -> Tensor:
    """Total variation (0 to 1) between the expected and the true shares of the parts in a bar."""
    plays = d.bars.parts[d.target.bar]
    k = len(d.bars.clocks)
    said = mean_by(torch.sigmoid(d.fields.part) * plays, d.target.bar, k)
    meant = mean_by(F.one_hot(d.target.part, f.N_PARTS).to(said.dtype), d.target.bar, k)
    said, meant = (x / x.sum(1, keepdim=True).clamp(min=1e-6) for x in (said, meant))
    return d.over_bars("part_balance", (said - meant).abs().sum(1) / 2)


@register(
    "own_latent",
    "auxiliary",
    0.1,
    "Makes notes come from their own bar's latents: another bar's must explain them worse.",
    styled=True,
    coupled="every two bars",
)
def own_latent(d: Decoded) -> Tensor:
    """Nats by which a bar's notes do not tell which bar's latents they came from (van den Oord et al. 2018)."""
    struck = d.real.onset.flatten(1)  # (K, T * 88)
    silent = F.softplus(_logits(d)).sum(2) @ d.real.inside.to(struck.dtype).T
    nats = d.onsets @ struck.T - silent  # (latents, notes) log P of one bar's notes under another's latents
    own = torch.arange(len(nats), device=nats.device)
    return d.over_bars("own_latent", F.cross_entropy(nats.T, own, reduction="none"))


def _logits(d: Decoded) -> Tensor:
    """(K, T, 88) of every cell."""
    return d.onsets.view(len(d.onsets), -1, f.N_PITCHES)


def _chances(d: Decoded) -> Tensor:
    """(K, T, 88) probability of every cell, 0 past a bar's end."""
    return torch.sigmoid(_logits(d)) * d.real.inside[..., None]


def _silences(d: Decoded) -> Tensor:
    """(K, T, 88) -log P(silent) of every cell, 0 past a bar's end."""
    return F.softplus(_logits(d)) * d.real.inside[..., None]


def _any_nats(silent: Tensor, struck: Tensor, where: Tensor) -> Tensor:
    """(K,) nats of whether anything is struck, from -log P(nothing is), both (K, N), over the places that count."""
    sounds = -torch.log(-torch.expm1(-silent.clamp(min=1e-6)))
    return (torch.where(struck, sounds, silent) * where).sum(1)


def _outer_nats(logits: Tensor, struck: Tensor) -> Tensor:
    """(K,) nats of the last struck pitch (K, T, 88) at each clock: it sounds, and nothing beyond it does."""
    beyond = struck.flip(2).cumsum(2).flip(2)  # struck at this pitch or beyond it
    last = (struck > 0.5) & (beyond < 1.5)
    after = (beyond < 0.5) & (struck.sum(2, keepdim=True) > 0.5)
    return (F.softplus(-logits) * last + F.softplus(logits) * after).sum((1, 2))


def _expected_distance(logits: Tensor, scale: Tensor, truth: Tensor) -> Tensor:
    """(M,) expected absolute distance on a scale (C,) from the true class (M,), under logits (M, C)."""
    return (torch.softmax(logits, -1) * (scale - scale[truth][:, None]).abs()).sum(-1)


def _loudnesses(d: Decoded) -> Tensor:
    """(32,) velocity of every bin, in units of 16."""
    return torch.as_tensor(f.VELOCITIES / 16, dtype=torch.float32, device=d.onsets.device)


def _far(a: Tensor, b: Tensor) -> Tensor:
    """One minus the cosine over the last axis; what is shorter than a tenth of a note counts as so long."""
    return 1 - F.cosine_similarity(a, b, dim=-1, eps=0.1)
