"""What the critic has to say: to the decoder and the encoder (side of the model), and what teaches the critic itself.

The decoded bars are soft (`engine.model.soft`), so what the critic says reaches every cell of the decoder. Scores are
above 0 for real. K bars, S slots, M notes, R rows of a scale, W and Z widths.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from engine.model import fields as f
from engine.model.critic import Critic, Scale, Verdict, held
from engine.model.encoder import NoteEmbedding
from engine.model.latents import LEVELS
from engine.model.soft import SoftBars
from engine.tokens.vocab import PITCHES
from trainer.losses.registry import ADVERSARIAL, CRITIC, Decoded, register

HIDDEN_SLOTS = 0.2  # share of the slots that the masked-bar task hides in the bars it does not hide whole


# ---------------------------------------------------------------- the model's side


@register(
    "adversarial",
    ADVERSARIAL,
    0.1,
    "Moves decoded bars towards what the critic takes for music, where the likelihood is content with the likely.",
    needs="critic",
    balanced=False,
    styled=True,
)
def adversarial(d: Decoded) -> Tensor:
    """Minus the score of the decoded bars, mean of the scales (hinge GAN, Lim and Ye 2017)."""
    _, fake = d.verdicts
    return d.over_bars("adversarial", _by_bar(fake, lambda scale: -fake[scale].score))


@register(
    "feature_matching",
    ADVERSARIAL,
    0.05,
    "Gives a steady direction while scores swing: decoded bars shall make the critic think what the real ones do.",
    needs="critic",
    balanced=False,
    styled=True,
)
def feature_matching(d: Decoded) -> Tensor:
    """Mean absolute difference of the critic's features of each row, over its layers (Salimans et al. 2016)."""
    real, fake = d.verdicts
    return d.over_bars("feature_matching", _by_bar(fake, lambda scale: _apart(real[scale], fake[scale])))


@register(
    "perceptual",
    ADVERSARIAL,
    0.05,
    "Compares bars as the encoder hears them: by what their notes together do to its features, not cell by cell.",
    needs="critic",
    balanced=False,
    styled=True,
    coupled="an average note of all bars",
)
def perceptual(d: Decoded) -> Tensor:
    """Squared distance of the frozen encoder's bar features, as a share of the target's own square (Larsen 2016)."""
    assert d.model is not None
    cells = ((d.fake.onset > 0.5) | (d.real.onset > 0.5)).nonzero(as_tuple=True)
    with held(d.model.encoder):
        said, meant = (_encoded(d, bars, cells) for bars in (d.fake, d.real))
    return d.over_bars("perceptual", (said - meant).square().sum(1) / meant.square().sum(1).clamp(min=1))


@register(
    "latent_adversarial",
    "latent",
    0.05,
    "Fills the holes between the latents of bars, so that any position of a slider is music.",
    needs="critic",
    balanced=False,
    styled=True,
)
def latent_adversarial(d: Decoded) -> Tensor:
    """Minus the latent critic's score of the posterior's samples (adversarial autoencoder, Makhzani et al. 2015)."""
    with held(_critic(d)):
        return d.over_bars("latent_adversarial", -_critic(d).of_latents(_latents(d)))


# ---------------------------------------------------------------- the critic's side


@register(
    "critic_hinge",
    "critic",
    1.0,
    "Teaches the critic to tell real bars, phrases and pieces from decoded ones, as far as the margin.",
    needs="critic",
    side=CRITIC,
    balanced=False,
)
def critic_hinge(d: Decoded) -> Tensor:
    """Hinge at 1 and -1, mean of the scales (Lim and Ye 2017)."""
    real, fake = d.verdicts
    missed = _by_bar(real, lambda scale: F.relu(1 - real[scale].score) + F.relu(1 + fake[scale].score))
    return (missed * d.shares).sum()


@register(
    "latent_critic",
    "latent_critic",
    1.0,
    "Teaches the latent critic where the encoder's latents are and the prior's are not.",
    needs="critic",
    side=CRITIC,
    balanced=False,
)
def latent_critic(d: Decoded) -> Tensor:
    """Hinge between samples of the prior and of the aggregate posterior."""
    drawn, encoded = (_critic(d).of_latents(z) for z in (_prior(d), _latents(d).detach()))
    return ((F.relu(1 - drawn) + F.relu(1 + encoded)) * d.shares).sum()


@register(
    "r1",
    "penalty",
    1.0,
    "Keeps the critic flat around real music, without which the two sides circle each other for ever.",
    needs="critic",
    side=CRITIC,
    balanced=False,
)
def r1(d: Decoded) -> Tensor:
    """Half the squared slope of the scores at the real bars' grids, for each bar (Mescheder et al. 2018)."""
    return (_slope(d, d.real).square().sum(1) / 2 * d.shares).sum()


@register(
    "gradient_penalty",
    "lipschitz",
    1.0,
    "Keeps the critic's slope at 1 between real and decoded bars: another way than r1 to keep it useful.",
    needs="critic",
    side=CRITIC,
    balanced=False,
)
def gradient_penalty(d: Decoded) -> Tensor:
    """Squared distance from 1 of the slope's norm for each bar, at random mixtures (Gulrajani et al. 2017)."""
    share = torch.rand(d.bars.n_pieces, generator=d.noise, device=d.onsets.device)
    share = share[d.bars.piece[d.bars.phrase]][:, None, None]
    onset, duration, velocity = (
        torch.lerp(a, b.detach(), share) for a, b in zip(_grids(d.real), _grids(d.fake), strict=True)
    )
    norm = (_slope(d, SoftBars(onset, duration, velocity, d.real.inside)).square().sum(1) + 1e-12).sqrt()
    return ((norm - 1).square() * d.shares).sum()


@register(
    "masked_bar",
    "pretraining",
    0.1,
    "Lets the critic learn music before it judges any: it guesses slots and whole bars from what is around them.",
    needs="critic",
    side=CRITIC,
    balanced=False,
)
def masked_bar(d: Decoded) -> Tensor:
    """Nats a slot of which pitches begin in the hidden slots, mean of each bar that hides some."""
    hidden = _hidden(d)
    struck = d.real.struck.clamp(max=1)
    nats = F.binary_cross_entropy_with_logits(_critic(d).guesses(d.real, d.bars, hidden), struck, reduction="none")
    nats = (nats.sum(2) * hidden).sum(1) / hidden.sum(1).clamp(min=1)
    return (nats * d.shares).sum()


# ---------------------------------------------------------------- helpers


def _critic(d: Decoded) -> Critic:
    assert d.model is not None
    assert d.model.critic is not None
    return d.model.critic


def _by_bar(verdict: Verdict, value: Callable[[str], Tensor]) -> Tensor:
    """(K,) mean over the scales of a value of each row (R,), given to all bars of the row."""
    return torch.stack([value(name)[scale.of_bar] for name, scale in verdict.items()]).mean(0)


def _apart(a: Scale, b: Scale) -> Tensor:
    """(R,) mean absolute difference of two scales' layers over the places that there are."""
    each = [(x - y).abs().mean(2).sum(1) for x, y in zip(a.layers, b.layers, strict=True)]
    return torch.stack(each).mean(0) / a.mask.sum(1)


def _latents(d: Decoded) -> Tensor:
    """(K, Z) samples of all three levels, as the decoder had them."""
    return _side_by_side(d, *(getattr(d.posterior, f"z_{level}") for level in LEVELS))


def _prior(d: Decoded) -> Tensor:
    """(K, Z) as many from the priors, of as many pieces and phrases."""
    assert d.model is not None
    rows = {"global": d.bars.n_pieces, "local": len(d.bars.piece), "fine": len(d.bars.clocks)}
    drawn = [d.model.priors.sample(level, rows[level], d.noise).detach().to(d.onsets.device) for level in LEVELS]
    return _side_by_side(d, *drawn)


def _side_by_side(d: Decoded, z_global: Tensor, z_local: Tensor, z_fine: Tensor) -> Tensor:
    return torch.cat([z_fine, z_local[d.bars.phrase], z_global[d.bars.piece[d.bars.phrase]]], 1)


def _grids(bars: SoftBars) -> tuple[Tensor, Tensor, Tensor]:
    return bars.onset, bars.duration, bars.velocity


def _slope(d: Decoded, bars: SoftBars) -> Tensor:
    """(K, N) derivative of all scores by the grids of each bar, itself differentiable."""
    grids = onset, duration, velocity = tuple(grid.detach().requires_grad_() for grid in _grids(bars))
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):  # the only attention with a second derivative
        verdict = _critic(d)(SoftBars(onset, duration, velocity, bars.inside), d.bars)
        scores = torch.stack([scale.score.sum() for scale in verdict.values()]).sum()
        slopes = torch.autograd.grad(scores, grids, create_graph=True)
    return torch.cat([slope.flatten(1) for slope in slopes], 1)


def _hidden(d: Decoded) -> Tensor:
    """(K, S) slots to guess: one whole bar of each phrase that has another, and some slots of every bar."""
    draw = torch.rand(len(d.bars.clocks), 1 + d.real.struck.shape[1], generator=d.noise, device=d.onsets.device)
    highest = draw.new_zeros(len(d.bars.piece)).scatter_reduce(0, d.bars.phrase, draw[:, 0], "amax")
    alone = torch.bincount(d.bars.phrase, minlength=len(d.bars.piece)) == 1
    whole = (draw[:, 0] == highest[d.bars.phrase]) & ~alone[d.bars.phrase]
    hidden = whole[:, None] | (draw[:, 1:] < HIDDEN_SLOTS)
    return hidden & d.real.inside[:, :: f.SLOT_CLOCKS]


def _encoded(d: Decoded, bars: SoftBars, cells: tuple[Tensor, ...]) -> Tensor:
    """(K, Z + W) what the encoder makes of soft bars, all of whose notes are among the given cells (bar, clock, pitch).

    As the encoder embeds notes, but for lengths and loudnesses between classes, which stand between their embeddings,
    and without micro-shifts and parts, which soft bars do not have. Every cell counts by its onset, so a note missing,
    one too many and one that might be all have a gradient; a missing one is as long and as loud as the target's, and
    one that might be as the target's notes are on average.
    """
    assert d.model is not None
    encoder = d.model.encoder
    bar, clock, pitch = cells
    sounds = (bars.onset > 0.5)[cells]
    duration = torch.where(sounds, bars.duration[cells], d.real.duration[cells])
    velocity = torch.where(sounds, bars.velocity[cells], d.real.velocity[cells])
    notes = bars.onset[cells][:, None] * _embedded(encoder.embed, clock, pitch, duration, velocity)
    k, slots = d.real.struck.shape[:2]
    added = notes.new_zeros(k * slots, notes.shape[1]).index_add(0, bar * slots + clock // f.SLOT_CLOCKS, notes)
    others = bars.silent.index_put(cells, bars.silent.new_zeros(())).view(k * slots, f.CELLS_PER_SLOT)
    return torch.cat(encoder.features_of((added + others @ _average(d, encoder.embed)).view(k, slots, -1), d.bars), 1)


def _average(d: Decoded, embed: NoteEmbedding) -> Tensor:
    """(352, W) a note in each cell of a slot, of the target's mean length and loudness."""
    cell = torch.arange(f.CELLS_PER_SLOT, device=d.onsets.device)
    length, loudness = ((grid.sum() / d.real.count.sum().clamp(min=1)).repeat(len(cell)) for grid in _grids(d.real)[1:])
    return _embedded(embed, cell // f.N_PITCHES, cell % f.N_PITCHES, length, loudness)


def _embedded(embed: NoteEmbedding, clock: Tensor, pitch: Tensor, duration: Tensor, velocity: Tensor) -> Tensor:
    """(M, W) notes of durations in quarters and velocities from 0 to 1, which may lie between classes."""
    midi = pitch + PITCHES.start
    x = embed.pitch(pitch) + embed.octave(midi // 12) + embed.chroma(midi % 12) + embed.clock(clock % f.SLOT_CLOCKS)
    x = x + _between(embed.duration.weight, duration, torch.as_tensor(f.DURATIONS / 24, device=x.device))
    x = x + _between(embed.velocity.weight, velocity, torch.as_tensor(f.VELOCITIES / 127, device=x.device))
    out: Tensor = x + embed.mix(x)
    return out


def _between(table: Tensor, value: Tensor, scale: Tensor) -> Tensor:
    """(M, W) rows of a table (C, W) at values (M,) on a rising scale (C,), straight from one class to the next."""
    scale = scale.to(value.dtype)
    above = torch.searchsorted(scale, value.detach()).clamp(1, len(scale) - 1)
    share = ((value - scale[above - 1]) / (scale[above] - scale[above - 1])).clamp(0, 1)
    return torch.lerp(table[above - 1], table[above], share[:, None])
