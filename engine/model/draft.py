"""The decoder's grid of independent cells, read note by note: what the next note is, given those written so far.

Cells are read in raster order, clock by clock and upward, so that independent cells give exact odds for the next one:
cell c sounds next with p(c) times the product of 1 - p over the cells passed (a hazard chain). Split in two, when and
which pitch, they are what an autoregressive refiner starts from. Knows no weights.

K bars, T clocks, S slots, C width of a slot; M places to go on from.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.model import fields as f
from engine.model.batch import Bars

NEVER = -30.0  # logit of a cell past its bar's end
IMPOSSIBLE = -1e4  # nats of what cannot be; not infinite, so that what multiplies it still has a gradient


class Draft:
    """K bars as the decoder says them: slots (K, S, C) and onset logits (K, S * 4 * 88)."""

    def __init__(self, slots: Tensor, onsets: Tensor, bars: Bars) -> None:
        self.slots, self.bars = slots, bars
        cells = onsets.view(len(slots), -1, f.N_PITCHES)
        self.end = cells.shape[1]  # T: the clock that stands for "the bar is over"
        clock = torch.arange(self.end, device=cells.device)
        inside = clock < bars.clocks[:, None]
        self.cells = torch.where(inside[..., None], cells, NEVER)  # (K, T, 88)
        silent = F.logsigmoid(-self.cells)
        self.below = F.pad(silent.cumsum(-1), (1, 0))  # (K, T, 89) that no cell below a pitch sounds
        self.above = F.pad(silent.flip(-1).cumsum(-1).flip(-1), (0, 1))  # (K, T, 89) that none from a pitch up sounds
        self.passed = F.pad(self.below[..., -1].cumsum(-1), (1, 0))  # (K, T + 1) that nothing sounds before a clock
        self.any = torch.where(inside, log1mexp(self.above[..., 0]), -torch.inf)  # (K, T) that something does at it

    def when(self, bar: Tensor, clock: Tensor, lowest: Tensor) -> Tensor:
        """(M, T + 1) log-probability of the clock of the next note, the last column for none, in given bars (M,).

        Everything before pitch `lowest` (0 to 88) of `clock` is decided; a bar begins with clock 0 and pitch 0.
        """
        rest = self.above[bar, clock, lowest]
        ahead = self.passed[bar] - self.passed[bar, clock + 1][:, None] + rest[:, None]  # from the next clock on
        out = ahead + F.pad(self.any[bar], (0, 1))
        at = torch.arange(self.end + 1, device=clock.device)
        now = torch.where((at == clock[:, None]), log1mexp(rest)[:, None], -torch.inf)
        return torch.where(at > clock[:, None], out, now).clamp(min=IMPOSSIBLE)

    def which(self, bar: Tensor, clock: Tensor, lowest: Tensor) -> Tensor:
        """(M, 88) log-probability of the next note's pitch, given its clock and that it is not below `lowest`."""
        below = self.below[bar, clock]
        passed = below[:, :-1] - below.gather(1, lowest[:, None])
        out = F.logsigmoid(self.cells[bar, clock]) + passed - log1mexp(self.above[bar, clock, lowest])[:, None]
        undecided = torch.arange(f.N_PITCHES, device=clock.device) >= lowest[:, None]
        return torch.where(undecided, out, IMPOSSIBLE).clamp(min=IMPOSSIBLE)


def log1mexp(x: Tensor) -> Tensor:
    """log(1 - exp(x)) of x <= 0; -inf at 0 (Maechler 2012)."""
    return torch.where(x > -0.6931, torch.log(-torch.expm1(x)), torch.log1p(-torch.exp(x)))
