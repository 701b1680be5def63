"""What new music starts from: an empty score, and latents drawn from the prior. Knows nothing of notes.

N bars, P phrases; F, L, G widths of the fine, local and global level.
"""

from __future__ import annotations

import torch
from torch import Tensor

from engine.errors import MorphonyError
from engine.model.batch import PHRASE_BARS, Bars
from engine.score import Score
from engine.score.score import Meter, Track, make_notes
from engine.session import Session

TICKS_PER_QUARTER = 480
MAX_BARS = 1024
HANDS = (Track("Piano, right hand", channel=0), Track("Piano, left hand", channel=1))


def blank_score(bars: int, meter: tuple[int, int]) -> tuple[Score, int]:
    """An empty score for two hands, and the tick at which its last bar ends."""
    if not 1 <= bars <= MAX_BARS:
        raise MorphonyError(f"A piece can have 1 to {MAX_BARS} bars, not {bars}.")
    numerator, denominator = meter
    if not 1 <= numerator <= 32 or denominator not in (1, 2, 4, 8, 16, 32):
        raise MorphonyError(f"There is no meter {numerator}/{denominator}; write one like 4/4, 6/8 or 3/2.")
    bar = TICKS_PER_QUARTER * 4 * numerator // denominator
    return Score(TICKS_PER_QUARTER, HANDS, make_notes(), (Meter(0, numerator, denominator),)), bars * bar


@torch.no_grad()
def draw_latents(session: Session, conditions: Bars, seed: int, temperature: float) -> tuple[Tensor, Tensor, Tensor]:
    """z_global (1, G) and z_local (P, L) from their normal priors, then z_fine (N, F) bar by bar given the bars before.

    `temperature` scales every deviation: 0 is the middle of each prior. A bar sees as many bars before it as the prior
    saw in training, counted from the beginning of a phrase.
    """
    model, config = session.model, session.config
    noise = torch.Generator().manual_seed(seed)
    n, window = len(conditions.clocks), max(config.train.window_bars, PHRASE_BARS)
    z_global = temperature * torch.randn(1, config.model.global_dim, generator=noise)
    z_local = temperature * torch.randn(len(conditions.piece), config.model.local_dim, generator=noise)
    z_fine = torch.zeros(n, config.model.latent_dim)
    quarters = conditions.clocks.float() / 24
    for k in range(n):
        first = max((k // PHRASE_BARS + 1) * PHRASE_BARS - window, 0)
        seen = slice(first, k + 1)
        known = z_fine[seen], z_local[conditions.phrase[seen]], z_global[0], quarters[seen]
        logits, mean, logvar = (x[0, -1].cpu() for x in model.prior(*(x[None].to(session.device) for x in known)))
        chosen = int(torch.multinomial(torch.softmax(logits, -1), 1, generator=noise))
        spread = temperature * torch.exp(logvar[chosen] / 2)
        z_fine[k] = mean[chosen] + spread * torch.randn(z_fine.shape[1], generator=noise)
    return z_global, z_local, z_fine
