"""The twelve attributes on bars that gradients can pass through: the same figures as `engine.attributes` gives.

Knows soft bars only. Forward every measure counts hard cells; backward no slope is infinite, which square roots,
logarithms and thresholds would have. K bars, T clocks, B rows of a bar by pitch, M notes.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.attributes import CLOCKS_PER_16TH, CONSONANCE_MATRIX, EMPTY_IS_ZERO, NAMES
from engine.model.latents import mean_by
from engine.model.soft import SoftBars
from engine.tokens.vocab import PITCHES

NONE_OR_ONE = 1.5  # between one note and two
LEAST_SHARE = 0.02  # one note among fifty: below it the entropy's slope stays as it is here
LEAST_SPREAD = 1.0  # velocity: below it the square root is no steeper than here


def measure(name: str, bars: SoftBars) -> tuple[Tensor, Tensor]:
    """(K,) an attribute of each bar in its own unit, and (K,) True where the bar has the notes it needs."""
    value = MEASURES[name](bars)
    return value, torch.ones_like(value, dtype=torch.bool) if name in EMPTY_IS_ZERO else bars.count > 0.5


def some(count: Tensor) -> Tensor:
    """1 where there is a note, 0 where there is none; the gradient passes where one note makes the difference."""
    return torch.where(count.detach() > NONE_OR_ONE, torch.ones_like(count), count)


def by_steps(x: Tensor, clocks: int) -> Tensor:
    """(K, ceil(T / clocks), ...) sums of (K, T, ...) over steps of some clocks; the last one may be short."""
    steps = -(-x.shape[1] // clocks)
    wide = F.pad(x, (*[0, 0] * (x.dim() - 2), 0, steps * clocks - x.shape[1]))
    return wide.view(len(x), steps, clocks, *x.shape[2:]).sum(2)


def top_line(bars: SoftBars) -> tuple[Tensor, Tensor, Tensor]:
    """(M,) bar and (M,) pitch of the highest note at every clock where something begins, and (M,) the clock."""
    bar, clock = (bars.rhythm > 0.5).nonzero(as_tuple=True)
    above = bars.onset[bar, clock].flip(-1).cumsum(-1)  # (M, 88) notes at a pitch or above it
    return bar, some(above).sum(-1) - 1 + PITCHES.start, clock


def _per_note(bars: SoftBars, values: Tensor) -> Tensor:
    return values / bars.count.clamp(min=1)


def density(bars: SoftBars) -> Tensor:
    """Notes per quarter."""
    return bars.count / bars.clocks * 24


def rhythm(bars: SoftBars) -> Tensor:
    """Share of 16ths with an onset."""
    return some(by_steps(bars.rhythm, CLOCKS_PER_16TH)).sum(1) / _sixteenths(bars)


def syncopation(bars: SoftBars) -> Tensor:
    """Share of onsets on off-beat 16ths."""
    return _per_note(bars, by_steps(bars.rhythm, CLOCKS_PER_16TH)[:, 1::2].sum(1))


def polyphony(bars: SoftBars) -> Tensor:
    """Mean number of notes sounding, over 16ths; a step of length counts backward as if 16ths were endless."""
    clock = torch.arange(bars.onset.shape[1], device=bars.onset.device)[:, None]
    end = (clock + 24 * bars.duration) / CLOCKS_PER_16TH
    whole = end + (torch.ceil(end - 1e-3) - end).detach()
    last = torch.minimum(whole, _sixteenths(bars)[:, None, None])
    covered = (last - clock // CLOCKS_PER_16TH).clamp(min=1)
    return (bars.onset * covered).sum((1, 2)) / _sixteenths(bars)


def register(bars: SoftBars) -> Tensor:
    """Mean MIDI pitch."""
    pitch = torch.arange(PITCHES.start, PITCHES.stop, device=bars.onset.device, dtype=bars.onset.dtype)
    return _per_note(bars, bars.onset.sum(1) @ pitch)


def pitch_range(bars: SoftBars) -> Tensor:
    """Semitones from the lowest to the highest note: pitches with a note above them and with one below."""
    pitches = bars.onset.sum(1)
    below, above = pitches.cumsum(1), pitches.flip(1).cumsum(1)
    return some(below).sum(1) + some(above).sum(1) - pitches.shape[1] - 1


def articulation(bars: SoftBars) -> Tensor:
    """Median duration in quarters; backward all notes of a bar move together, not the one in the middle alone."""
    bar, clock, pitch = (bars.onset > 0.5).nonzero(as_tuple=True)
    value, order = bars.duration[bar, clock, pitch].sort()  # (M,)
    within = bar[order].argsort(stable=True)  # by bar, within a bar by duration
    count = torch.bincount(bar, minlength=len(bars.onset))
    first = count.cumsum(0) - count
    padded = torch.cat([value[within], value.new_zeros(1)])
    lower, upper = first + (count - 1).clamp(min=0) // 2, first + count // 2
    median = ((padded[lower.clamp(max=len(value))] + padded[upper.clamp(max=len(value))]) / 2).detach()
    mean = mean_by(bars.duration[bar, clock, pitch][:, None], bar, len(count))[:, 0]
    return median + mean - mean.detach()


def dynamics(bars: SoftBars) -> Tensor:
    """Mean velocity, 0 to 127. As in the decoder, no onset moves for the sake of loudness."""
    struck = bars.onset.detach()
    return 127 * (struck * bars.velocity).sum((1, 2)) / struck.sum((1, 2)).clamp(min=1)


def dynamic_spread(bars: SoftBars) -> Tensor:
    """Standard deviation of velocity."""
    struck = bars.onset.detach()
    apart = 127 * bars.velocity - dynamics(bars)[:, None, None]
    variance = (struck * apart**2).sum((1, 2)) / struck.sum((1, 2)).clamp(min=1)
    spread = variance.detach().sqrt()
    slope = variance / (2 * spread.clamp(min=LEAST_SPREAD))
    return spread + slope - slope.detach()


def leaps(bars: SoftBars) -> Tensor:
    """Mean absolute interval of the top line, in semitones."""
    bar, pitch, _ = top_line(bars)
    same = bar[1:] == bar[:-1]
    into, jump = bar[1:][same], (pitch[1:] - pitch[:-1]).abs()[same]
    total = bars.count.new_zeros(len(bars.onset)).index_add(0, into, jump)
    return total / torch.bincount(into, minlength=len(total)).clamp(min=1)


def pitch_variety(bars: SoftBars) -> Tensor:
    """Entropy of pitch classes in bits."""
    share = _per_note(bars, bars.chroma.T).T
    return -(share * torch.log2(share.clamp(min=LEAST_SHARE))).sum(1)


def consonance(bars: SoftBars) -> Tensor:
    """Mean consonance of all pairs of notes, 0 to 1."""
    share = _per_note(bars, bars.chroma.T).T
    table = torch.as_tensor(CONSONANCE_MATRIX, dtype=share.dtype, device=share.device)
    return ((share @ table) * share).sum(1)


def _sixteenths(bars: SoftBars) -> Tensor:
    """(K,) 16ths of each bar."""
    return -(-bars.clocks // CLOCKS_PER_16TH)


_IN_ORDER = (
    density,
    rhythm,
    syncopation,
    polyphony,
    register,
    pitch_range,
    articulation,
    dynamics,
    dynamic_spread,
    leaps,
    pitch_variety,
    consonance,
)
MEASURES: dict[str, Callable[[SoftBars], Tensor]] = dict(zip(NAMES, _IN_ORDER, strict=True))
