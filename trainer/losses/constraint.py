"""Musical constraints: soft, differentiable, and without a rule of theory among them.

Each compares what the decoder says with the statistics of the target, of its neighbours or of the batch; how much it
counts is configured by style. All look at `Decoded.fake`, never at ids. K bars, T clocks, S steps of a 16th, B beats.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.attributes import CLOCKS_PER_16TH
from engine.model.soft import SoftBars
from engine.model.soft_attributes import by_steps, some
from trainer.losses.registry import Decoded, register

BEAT = 24
RARE = 0.02  # share that a pitch class is thought to have where it was never heard


@register(
    "rhythm_regularity",
    "constraint",
    1.0,
    "Keeps the pulse: onsets repeat at the distances at which the target's repeat, wherever they lie.",
    styled=True,
)
def rhythm_regularity(d: Decoded) -> Tensor:
    """Mean absolute difference (0 to 1) of the autocorrelations of onsets over the 16ths of a bar."""
    apart = (_echo(d.fake) - _echo(d.real)).abs()
    lags = torch.arange(apart.shape[1], device=apart.device) + 1
    counted = lags * CLOCKS_PER_16TH < d.bars.clocks[:, None]
    return d.over_bars("rhythm_regularity", _mean(apart, counted))


@register(
    "metre_profile",
    "constraint",
    1.0,
    "Keeps the accents of a metre: onsets share out over the places of a bar as in the batch's bars of that length.",
    styled=True,
    coupled="bars of one length",
)
def metre_profile(d: Decoded) -> Tensor:
    """Total variation (0 to 1) between the pooled onset places of decoded and of real bars of one length."""
    alike = (d.bars.clocks[:, None] == d.bars.clocks).to(d.onsets.dtype)  # (K, K)
    said, meant = (alike @ by_steps(bars.rhythm, CLOCKS_PER_16TH) for bars in (d.fake, d.real))
    return d.over_bars("metre_profile", _variation(said, meant))


@register(
    "harmonic_consistency",
    "constraint",
    1.0,
    "Keeps a bar in harmony with the bars beside it, as much as the bar that was written there was.",
    styled=True,
)
def harmonic_consistency(d: Decoded) -> Tensor:
    """By how much (0 to 1) the chroma is less like its neighbours' than the target's is, in cosine."""
    piece = d.bars.piece[d.bars.phrase]
    beside = (piece[1:] == piece[:-1]).to(d.onsets.dtype)
    said, meant = d.fake.chroma, d.real.chroma
    before = F.relu(_cosine(meant[1:], meant[:-1]) - _cosine(said[1:], meant[:-1])) * beside
    after = F.relu(_cosine(meant[1:], meant[:-1]) - _cosine(meant[1:], said[:-1])) * beside
    return d.over_bars("harmonic_consistency", (F.pad(before, (1, 0)) + F.pad(after, (0, 1))) / 2)


@register(
    "tonality",
    "constraint",
    0.5,
    "Keeps pitch classes that a piece hardly has out of bars that have none of them.",
    styled=True,
)
def tonality(d: Decoded) -> Tensor:
    """Bits by which a note's pitch class is a greater surprise in the piece than the target's are."""
    piece = d.bars.piece[d.bars.phrase]
    heard = d.real.chroma.new_zeros(d.bars.n_pieces, 12).index_add(0, piece, d.real.chroma)
    surprise = -torch.log2(RARE + (1 - 12 * RARE) * _shares(heard))[piece]  # (K, 12)
    said, meant = ((_shares(bars.chroma) * surprise).sum(1) for bars in (d.fake, d.real))
    return d.over_bars("tonality", F.relu(said - meant))


@register(
    "interval_profile",
    "constraint",
    1.0,
    "Builds chords of the intervals that the target's chords are built of, in whatever key they come.",
    styled=True,
)
def interval_profile(d: Decoded) -> Tensor:
    """Total variation (0 to 1) between the intervals (mod 12) that sound together."""
    return d.over_bars("interval_profile", _variation(_intervals(d.fake), _intervals(d.real)))


@register(
    "chord_size",
    "constraint",
    0.5,
    "Keeps a melody a melody and a chord a chord: as many notes are struck together as were.",
    styled=True,
)
def chord_size(d: Decoded) -> Tensor:
    """Absolute log ratio of the mean number of notes at a clock where any begins; 1 is a factor of e."""
    said, meant = (bars.count.clamp(min=1) / some(bars.rhythm).sum(1).clamp(min=1) for bars in (d.fake, d.real))
    return d.over_bars("chord_size", (said.log() - meant.log()).abs())


@register(
    "voice_leading",
    "constraint",
    0.1,
    "Moves voices from beat to beat as they were written to move: by step where they step, and the same way.",
    styled=True,
)
def voice_leading(d: Decoded) -> Tensor:
    """Semitones by which notes move otherwise from a beat to the next than the target's (earth mover's distance).

    Of two beats the difference of the cumulative shares by pitch says what moves where; mean where all have notes.
    """
    said, heard = _moves(d.fake)
    meant, played = _moves(d.real)
    return d.over_bars("voice_leading", _mean((said - meant).abs().sum(2), heard & played))


@register(
    "contour",
    "constraint",
    0.1,
    "Keeps the line a bar draws: the beats that lie above its mean pitch and those below it.",
    styled=True,
)
def contour(d: Decoded) -> Tensor:
    """Mean distance in semitones of each beat's mean pitch, counted from the bar's, over beats with notes."""
    said, heard = _line(d.fake)
    meant, played = _line(d.real)
    return d.over_bars("contour", _mean((said - meant).abs(), heard & played))


@register(
    "rests",
    "constraint",
    1.0,
    "Lets music breathe where it breathed: slots that were silent stay silent, slots that rang ring on.",
    styled=True,
)
def rests(d: Decoded) -> Tensor:
    """Share of a bar's slots (of 4 clocks) that sound in one version alone."""
    said, meant = (bars.sounding.sum(2).clamp(max=1) for bars in (d.fake, d.real))
    inside = torch.arange(said.shape[1], device=said.device) < d.bars.slots[:, None]
    return d.over_bars("rests", _mean((said - meant).abs(), inside))


def _mean(x: Tensor, where: Tensor) -> Tensor:
    """(K,) mean of x (K, N) where it counts; 0 where nothing does."""
    return (x * where).sum(1) / where.sum(1).clamp(min=1)


def _shares(counts: Tensor) -> Tensor:
    """Counts (..., N) as shares; an empty row stays empty, and no steeper than one of a single note."""
    return counts / counts.sum(-1, keepdim=True).clamp(min=1)


def _variation(a: Tensor, b: Tensor) -> Tensor:
    """(K,) total variation between two rows of counts; half where one of them is empty."""
    return (_shares(a) - _shares(b)).abs().sum(1) / 2


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    """Cosine of counts (..., N); 0 where one of them is empty."""
    return F.cosine_similarity(a, b, dim=-1, eps=1)


def _echo(bars: SoftBars) -> Tensor:
    """(K, S - 1) autocorrelation of the onsets over 16ths at every lag from 1, as a share of lag 0."""
    struck = by_steps(bars.rhythm, CLOCKS_PER_16TH).float()
    n = struck.shape[1]
    power = torch.fft.rfft(struck, 2 * n).abs().pow(2)
    at_lags: Tensor = torch.fft.irfft(power, 2 * n)[:, :n]
    return at_lags[:, 1:] / at_lags[:, :1].clamp(min=1)


def _intervals(bars: SoftBars) -> Tensor:
    """(K, 11) how much of each interval from 1 to 11 semitones (mod 12) sounds, over the slots of a bar."""
    rings = bars.sounding
    return torch.stack([(rings * rings.roll(n, -1)).sum((1, 2)) for n in range(1, 12)], -1)


def _moves(bars: SoftBars) -> tuple[Tensor, Tensor]:
    """(K, B - 1, 88) change of the cumulative shares of pitches from a beat to the next, and where both have notes."""
    notes = by_steps(bars.onset, BEAT)  # (K, B, 88)
    share, any_notes = _shares(notes).cumsum(2), notes.sum(2) > 0.5
    return share[:, 1:] - share[:, :-1], any_notes[:, 1:] & any_notes[:, :-1]


def _line(bars: SoftBars) -> tuple[Tensor, Tensor]:
    """(K, B) each beat's mean pitch counted from the bar's in semitones, and where there are notes."""
    notes = by_steps(bars.onset, BEAT)
    pitch = torch.arange(notes.shape[2], device=notes.device, dtype=notes.dtype)
    each, whole = _shares(notes) @ pitch, _shares(notes.sum(1)) @ pitch
    return each - whole[:, None], notes.sum(2) > 0.5
