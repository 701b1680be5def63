"""What new music starts from: parts and an empty score, and latents drawn from the prior. Knows nothing of notes.

B pieces, K bars in all, N bars of a window, P phrases; F, L, G widths of the fine, local and global level.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.errors import MorphonyError
from engine.model.batch import PHRASE_BARS, Bars
from engine.model.priors import WINDOW, told_of
from engine.model.upper_prior import told_of_pieces
from engine.model.vaegan import MusicTransformerVAEGAN
from engine.score import Score
from engine.score.score import Meter, Track, make_notes, pitched_channel
from engine.session import Piece, Session

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
    start: float = 0.0  # above 0 the others are varied: see `BarPrior.draw`


@torch.no_grad()
def draw_latents(
    session: Session,
    conditions: Bars,
    seed: int | Sequence[int],
    temperature: float,
    given: Given | None = None,
    begins: bool = True,
    ends: bool = True,
) -> tuple[Tensor, Tensor, Tensor]:
    """z_global (B, G) and z_local (P, L) from their priors, then z_fine (K, F), WINDOW bars at a time.

    Any number of pieces at once, each from a seed of its own (`seed` counts up from the first where one is given) and
    just what it would be alone. `temperature` scales the noise: 0 is the middle of each prior. Bars past the first
    window are drawn given those before. With `given` only the bars it does not know are drawn, each window in view of
    known bars on both sides; both upper levels are the given ones. `begins` and `ends` say whether the first bars are
    a piece's beginning, the last ones its end. Without `given` what was drawn is carried to where the session's instant
    styles have their bars.
    """
    model = session.model
    seeds = range(seed, seed + conditions.n_pieces) if isinstance(seed, int) else seed
    if len(seeds) != conditions.n_pieces:
        raise MorphonyError(f"There are {conditions.n_pieces} pieces to draw but {len(seeds)} seeds.")
    noise = [torch.Generator().manual_seed(s) for s in seeds]
    if given is not None:
        return given.z_global, given.z_local, _filled(session, conditions, given, noise, temperature, begins, ends)
    phrases, bars = torch.bincount(conditions.piece).tolist(), len(conditions.clocks)
    told = told_of_pieces(conditions)
    upper = [_upper(model, t[None], n, g, temperature) for t, n, g in zip(told, phrases, noise, strict=True)]
    z_global, z_local = torch.cat([z for z, _ in upper]), torch.cat([z for _, z in upper])
    room = Given(z_global, z_local, torch.zeros(bars, model.config.latent_dim), torch.zeros(bars, dtype=torch.bool))
    z_fine = _filled(session, conditions, room, noise, temperature, begins, ends)
    return session.styles.carried((z_global, z_local, z_fine), conditions)


def _filled(
    session: Session,
    conditions: Bars,
    given: Given,
    noise: Sequence[torch.Generator],
    temperature: float,
    begins: bool,
    ends: bool,
) -> Tensor:
    """z_fine (K, F) of `given` with every unknown bar drawn, window after window of each piece."""
    z, known = given.z_fine.clone(), given.known.clone()
    owner = conditions.piece[conditions.phrase]
    first_of = torch.searchsorted(owner, torch.arange(len(noise) + 1)).tolist()  # the bars of a piece are in a row
    while not known.all():
        whose = [p for p in range(len(noise)) if not known[first_of[p] : first_of[p + 1]].all()]
        rows = [_window(known, first_of[p], first_of[p + 1]) for p in whose]
        at, there = _side_by_side(rows)
        first = torch.tensor([begins and int(r[0]) == first_of[p] for r, p in zip(rows, whose, strict=True)])
        last = torch.tensor([ends and int(r[-1]) + 1 == first_of[p + 1] for r, p in zip(rows, whose, strict=True)])
        told = told_of(conditions, at, given.z_local, given.z_global, first, last)
        fresh = torch.stack([temperature * torch.randn(WINDOW, z.shape[1], generator=noise[p]) for p in whose])
        new = there & ~known[at]
        steps, home = session.config.model.prior_steps, session.device
        x, still, here = z[at].to(home), (~new).to(home), there.to(home)
        noises = fresh[:, : at.shape[1]].to(home)
        drawn = session.model.prior.draw(x, told.to(home), still, here, noises, steps, given.start).cpu()
        z[at[new]], known[at[new]] = drawn[new], True
    return z


def _window(known: Tensor, first: int, end: int) -> Tensor:
    """(N,) the bars of the window that draws the first unknown one of a piece; it begins with a phrase."""
    unknown, bars = int(torch.nonzero(~known[first:end])[0]), end - first
    latest = -(-max(bars - WINDOW, 0) // PHRASE_BARS) * PHRASE_BARS
    start = min(max(unknown - WINDOW // 2, 0) // PHRASE_BARS * PHRASE_BARS, latest)
    return first + torch.arange(start, min(start + WINDOW, bars))


def _upper(
    model: MusicTransformerVAEGAN, told: Tensor, phrases: int, noise: torch.Generator, temperature: float
) -> tuple[Tensor, Tensor]:
    """(1, G) and (P, L) of one new piece."""
    if model.prior.upper is not None:
        return model.prior.upper.sample(told, phrases, noise, temperature)
    z_global = model.priors.sample("global", 1, noise, temperature).cpu()
    return z_global, model.priors.sample("local", phrases, noise, temperature).cpu()


@torch.no_grad()
def next_phrases(session: Session, piece: Piece, phrases: int, seed: int, temperature: float) -> Tensor:
    """(P, L) latents of phrases that come after the last one of a piece."""
    noise, upper = torch.Generator().manual_seed(seed), session.model.prior.upper
    if upper is not None:
        return upper.follow(piece.z_global, piece.z_local[-1:], phrases, noise, temperature)
    return session.model.priors.sample("local", phrases, noise, temperature).cpu()


def _side_by_side(rows: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """(B, N) the bars of each window, its last one repeated up to the longest; and True where it is not."""
    count = torch.tensor([len(r) for r in rows])
    at = torch.arange(int(count.max()))
    return torch.stack([r[at.clamp(max=len(r) - 1)] for r in rows]), at < count[:, None]
