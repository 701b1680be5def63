"""Windows out of a model: latents drawn from a prior (or from the aggregate posterior), decoded greedily.

They have the meters and the number of parts of given windows. B windows of N bars each, P phrases, K = B * N bars;
F, L, G widths of the fine, local and global level.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.attributes import measure, measure_bars
from engine.compose import Request, knobs_of
from engine.decoding import decode
from engine.generation import blank_score, draw_latents
from engine.model import fields as f
from engine.model.batch import Bars, Notes, Offsets
from engine.model.latents import LEVELS
from engine.model.vaegan import MusicTransformerVAEGAN
from engine.score.timing import BarGrid
from engine.session import Piece, Session
from engine.tokens.bars import BAR_NOTE
from engine.tokens.vocab import PITCHES
from trainer.batches import bars_of
from trainer.evaluate.decoded import within
from trainer.evaluate.windows import Window, stacked

TOGETHER = 64  # windows drawn and decoded at once

Latents = tuple[Tensor, Tensor, Tensor]  # z_global (B, G), z_local (P, L), z_fine (K, F)


def sample_windows(
    session: Session, like: Sequence[Window], seed: int = 0, temperature: float = 1.0, cells: float = 0.0
) -> list[Window]:
    """New music from the prior, a window for each of `like` with its meters and number of parts.

    `temperature` is the prior's, `cells` that of the decoder (0 is greedy, as `generate` does unless told otherwise).
    """
    out = []
    for first, some in blocks(like):
        conditions = conditions_of_windows(some)
        latents = draw_latents(session, conditions, seed + first, temperature, begins=False, ends=False)
        knobs = knobs_of(session, Request(seed=seed + first, temperature=cells, blend=False))
        notes = decode(session, silent(conditions, latents), list(range(len(conditions.clocks))), knobs)
        out += cut(notes, some)
    return out


def silent(conditions: Bars, z: Latents) -> Piece:
    """A piece without notes whose every window is a piece of the model's; no score belongs to it."""
    score, end = blank_score(1, (4, 4))
    clocks, silence = conditions.clocks.numpy(), np.zeros(0, BAR_NOTE)
    own, whole = measure_bars(silence, clocks), measure(silence, clocks)
    return Piece(score, BarGrid.of(score, end), silence, conditions, *z, own, whole)


@torch.no_grad()
def from_levels(model: MusicTransformerVAEGAN, like: Sequence[Window], seed: int = 0) -> list[Window]:
    """Windows whose latents are drawn level by level from the priors of the ELBO, every bar for itself.

    For models whose prior over bars has not been trained: it shows whether the latent space has holes, and nothing of
    how bars follow each other.
    """

    def draw(conditions: Bars, noise: torch.Generator) -> Latents:
        counts = (conditions.n_pieces, len(conditions.piece), len(conditions.clocks))
        z = [model.priors.sample(level, n, noise).cpu() for level, n in zip(LEVELS, counts, strict=True)]
        return z[0], z[1], z[2]

    return _drawn(model, like, seed, draw)


@torch.no_grad()
def from_posterior(model: MusicTransformerVAEGAN, like: Sequence[Window], seed: int = 0) -> list[Window]:
    """Windows whose latents are drawn from the aggregate posterior: a normal distribution of each level, with the mean
    and covariance that posterior samples of `like` have. Every bar is drawn for itself.
    """
    device = next(model.parameters()).device
    noise, heard = torch.Generator(device=device).manual_seed(seed), []
    for _, some in blocks(like):
        q = model.encode(Notes.of(stacked(some)[0]).to(device), conditions_of_windows(some).to(device), noise)
        heard.append([q.z_global.cpu(), q.z_local.cpu(), q.z_fine.cpu()])
    levels = [torch.cat(z) for z in zip(*heard, strict=True)]

    def draw(conditions: Bars, own: torch.Generator) -> Latents:
        counts = (conditions.n_pieces, len(conditions.piece), len(conditions.clocks))
        z = [_like(rows, n, own) for rows, n in zip(levels, counts, strict=True)]
        return z[0], z[1], z[2]

    return _drawn(model, like, seed, draw)


@torch.no_grad()
def reconstructed(model: MusicTransformerVAEGAN, like: Sequence[Window], seed: int = 0) -> list[Window]:
    """The windows themselves, decoded from one sample of their own posteriors: the decoder without any prior."""
    device = next(model.parameters()).device
    noise, out = torch.Generator(device=device).manual_seed(seed), []
    for _, some in blocks(like):
        conditions = conditions_of_windows(some)
        q = model.encode(Notes.of(stacked(some)[0]).to(device), conditions.to(device), noise)
        out += cut(greedy(model, (q.z_global, q.z_local, q.z_fine), conditions), some)
    return out


def _like(rows: Tensor, n: int, noise: torch.Generator) -> Tensor:
    """(n, Z) with the mean and covariance of rows (R, Z): sums of the rows' own deviations, randomly weighted."""
    mean = rows.mean(0)
    off: Tensor = torch.randn(n, len(rows), generator=noise) @ (rows - mean) / max(len(rows) - 1, 1) ** 0.5
    return mean + off


def _drawn(
    model: MusicTransformerVAEGAN, like: Sequence[Window], seed: int, draw: Callable[[Bars, torch.Generator], Latents]
) -> list[Window]:
    noise, out = torch.Generator().manual_seed(seed), []
    for _, some in blocks(like):
        conditions = conditions_of_windows(some)
        out += cut(greedy(model, draw(conditions, noise), conditions), some)
    return out


@torch.no_grad()
def greedy(model: MusicTransformerVAEGAN, z: Latents, bars: Bars) -> NDArray[np.void]:
    """BAR_NOTE of all bars: cells above the threshold, each with its likeliest fields: what `decode` gives at rest."""
    device = next(model.parameters()).device
    on_device, offsets = bars.to(device), Offsets.none(len(bars.clocks)).to(device)
    slots = model.slots(z[0].to(device), z[1].to(device), z[2].to(device), on_device, offsets)
    p = model.config.threshold
    sounds = model.decoder.onsets(slots).view(len(slots), -1, f.N_PITCHES) > np.log(p / (1 - p))
    sounds &= (torch.arange(sounds.shape[1], device=device) < on_device.clocks[:, None])[..., None]
    bar, onset, pitch = sounds.nonzero(as_tuple=True)
    told = model.decoder.fields(slots, bar, onset * f.N_PITCHES + pitch, offsets)
    parts = told.part.masked_fill(on_device.parts[bar] == 0, -torch.inf)
    row, part = ((parts > 0) | (parts == parts.amax(1, keepdim=True))).nonzero(as_tuple=True)  # doublings have several
    out = np.zeros(len(row), BAR_NOTE)
    for name, value in {"bar": bar, "onset": onset, "pitch": pitch + PITCHES.start}.items():
        out[name] = value[row].cpu()
    out["duration"] = f.DURATIONS[told.duration.argmax(-1)[row].cpu()]
    out["velocity"] = f.VELOCITIES[told.velocity.argmax(-1)[row].cpu()].round()
    out["micro"], out["part"] = f.MICRO[told.micro.argmax(-1)[row].cpu()], part.cpu()
    return out


def blocks(like: Sequence[Window]) -> Iterator[tuple[int, Sequence[Window]]]:
    """(how many came before, the next TOGETHER windows)."""
    return ((i, like[i : i + TOGETHER]) for i in range(0, len(like), TOGETHER))


def conditions_of_windows(windows: Sequence[Window]) -> Bars:
    """Every window as a piece of its own."""
    starts = np.cumsum([0, *(len(w.clocks) for w in windows)])
    runs: list[NDArray[np.integer]] = [np.arange(a, b) for a, b in pairwise(starts)]
    clocks, beat = (np.concatenate([getattr(w, name) for w in windows]) for name in ("clocks", "beat"))
    return bars_of(clocks, beat, runs, [w.parts for w in windows])


def cut(notes: NDArray[np.void], like: Sequence[Window]) -> list[Window]:
    """Notes of all windows' bars to windows."""
    starts = np.cumsum([0, *(len(w.clocks) for w in like)])
    return [replace(w, notes=within(notes, range(a, b))) for w, (a, b) in zip(like, pairwise(starts), strict=True)]
