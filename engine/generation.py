"""What new music starts from: parts and an empty score, and latents drawn from the prior. Knows nothing of notes.

B pieces, K bars in all, N bars of the longest piece, P phrases; F, L, G widths of the fine, local and global level.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.errors import MorphonyError
from engine.model.batch import PHRASE_BARS, Bars
from engine.model.vaegan import MusicTransformerVAEGAN
from engine.score import Score
from engine.score.score import Meter, Track, make_notes, pitched_channel
from engine.session import Session

TICKS_PER_QUARTER = 480
MAX_BARS = 1024
ENSEMBLES: dict[int, tuple[tuple[str, int], ...]] = {  # by number of parts: names and programs of General MIDI
    1: (("Piano", 0),),
    2: (("Piano, right hand", 0), ("Piano, left hand", 0)),
    3: (("Violin", 40), ("Viola", 41), ("Cello", 42)),
    4: (("Violin 1", 40), ("Violin 2", 40), ("Viola", 41), ("Cello", 42)),
}


def ensemble(parts: int, programs: Sequence[int] | None = None) -> tuple[Track, ...]:
    """One to four tracks; `programs` (General MIDI, 0 to 127) replace the usual instruments, one a part."""
    if parts not in ENSEMBLES:
        raise MorphonyError(f"New music is for 1 to {len(ENSEMBLES)} parts, not {parts}.")
    if programs is not None and len(programs) != parts:
        raise MorphonyError(f"There are {parts} parts but {len(programs)} programs.")
    if programs is not None and not all(0 <= program < 128 for program in programs):
        raise MorphonyError("Programs are numbers from 0 to 127, as in General MIDI.")
    usual = ENSEMBLES[parts]
    named = usual if programs is None else tuple((f"Part {i + 1}", program) for i, program in enumerate(programs))
    return tuple(Track(name, program, pitched_channel(i)) for i, (name, program) in enumerate(named))


def blank_score(bars: int, meter: tuple[int, int], tracks: tuple[Track, ...] | None = None) -> tuple[Score, int]:
    """An empty score for the given tracks (two hands at a piano), and the tick at which its last bar ends."""
    if not 1 <= bars <= MAX_BARS:
        raise MorphonyError(f"A piece can have 1 to {MAX_BARS} bars, not {bars}.")
    numerator, denominator = meter
    if not 1 <= numerator <= 32 or denominator not in (1, 2, 4, 8, 16, 32):
        raise MorphonyError(f"There is no meter {numerator}/{denominator}; write one like 4/4, 6/8 or 3/2.")
    bar = TICKS_PER_QUARTER * 4 * numerator // denominator
    score = Score(TICKS_PER_QUARTER, tracks or ensemble(2), make_notes(), (Meter(0, numerator, denominator),))
    return score, bars * bar


@dataclass(frozen=True, slots=True)
class Given:
    """Latents of B pieces of which some bars are known; the rows of the others are only room for what is drawn."""

    z_global: Tensor  # (B, G)
    z_local: Tensor  # (P, L)
    z_fine: Tensor  # (K, F)
    known: Tensor  # (K,) bool


@torch.no_grad()
def draw_latents(
    session: Session,
    conditions: Bars,
    seed: int | Sequence[int],
    temperature: float,
    given: Given | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """z_global (B, G) and z_local (P, L) from their priors, then z_fine (K, F) bar by bar given the bars before.

    Any number of pieces at once, each from a seed of its own (`seed` counts up from the first where one is given) and
    just what it would be alone. `temperature` scales every deviation: 0 is the middle of each prior. A bar sees as many
    bars before it as a training window holds, counted from the beginning of a phrase. With `given` only the bars it
    does not know are drawn, each given the bars before it; both upper levels are the given ones. Without it what was
    drawn is carried to where the session's instant styles have their bars.
    """
    model, config = session.model, session.config
    seeds = range(seed, seed + conditions.n_pieces) if isinstance(seed, int) else seed
    if len(seeds) != conditions.n_pieces:
        raise MorphonyError(f"There are {conditions.n_pieces} pieces to draw but {len(seeds)} seeds.")
    noise = [torch.Generator().manual_seed(s) for s in seeds]
    phrases, owner = torch.bincount(conditions.piece).tolist(), conditions.piece[conditions.phrase]
    upper = [_upper(model, n, g, temperature) for n, g in zip(phrases, noise, strict=True)]
    z_global, z_local = torch.cat([z for z, _ in upper]), torch.cat([z for _, z in upper])
    known = torch.zeros(len(owner), dtype=torch.bool) if given is None else given.known
    if given is not None:
        z_global, z_local = given.z_global, given.z_local
    rows, inside = _side_by_side(owner, len(noise))
    z = torch.zeros(*rows.shape, config.model.latent_dim) if given is None else given.z_fine[rows]
    told = z_local[conditions.phrase[rows]].to(session.device), z_global.to(session.device)
    quarters = (conditions.clocks[rows] / 24).to(session.device)
    window, first, cache = max(config.train.window_bars, PHRASE_BARS), 0, None
    for k in range(rows.shape[1]):
        if known[rows[:, k]].all():
            cache = None
            continue
        start = max((k // PHRASE_BARS + 1) * PHRASE_BARS - window, 0)
        if start > first:  # the window has moved on by a phrase
            first, cache = start, None
        last, new = (slice(first, k), slice(first, k + 1)) if cache is None else (slice(k - 1, k), slice(k, k + 1))
        seen = z[:, last].to(session.device), told[0][:, new], told[1], quarters[:, new]
        state, cache = model.prior.step(*seen, cache)
        z[:, k] = torch.where(known[rows[:, k], None], z[:, k], model.prior.sample(state, noise, temperature))
    z_fine = torch.zeros(len(owner), z.shape[-1])
    z_fine[rows[inside]] = z[inside]
    drawn = z_global, z_local, z_fine
    return drawn if given is not None else session.styles.carried(drawn, conditions)


def _upper(
    model: MusicTransformerVAEGAN, phrases: int, noise: torch.Generator, temperature: float
) -> tuple[Tensor, Tensor]:
    """(1, G) and (P, L) of one new piece."""
    if model.prior.upper is not None:
        return model.prior.upper.sample(phrases, noise, temperature)
    z_global = model.priors.sample("global", 1, noise, temperature).cpu()
    return z_global, model.priors.sample("local", phrases, noise, temperature).cpu()


def _side_by_side(owner: Tensor, pieces: int) -> tuple[Tensor, Tensor]:
    """(B, N) the bars (K,) of each piece, its last one repeated up to the longest piece; and True where it is not."""
    count = torch.bincount(owner, minlength=pieces)
    at = torch.arange(int(count.max()))
    rows = [torch.nonzero(owner == i)[:, 0][at.clamp(max=int(count[i]) - 1)] for i in range(pieces)]
    return torch.stack(rows), at < count[:, None]
