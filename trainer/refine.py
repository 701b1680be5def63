"""The refiner learns on a frozen model: real bars, drafted from their latents and from latents led astray.

A bar's fine latent goes part of the way (`away`, 0 to 1) to one that no bar gave: a combination of other bars', with
the mean and covariance latents have. What is drafted from there is as blurred as what a prior's draws give, but the
notes that were meant are known. B windows, K bars, F, L, G widths of the levels.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from engine import checkpoint
from engine import config as configuration
from engine.checkpoint import Checkpoint
from engine.decoding import flushed
from engine.model.batch import Bars, Offsets
from engine.model.draft import Draft
from engine.model.latents import Posterior
from engine.model.refiner import FIELDS, Refiner, Tokens, nats
from engine.model.vaegan import MusicTransformerVAEGAN
from trainer.batches import Batch, Windows, held_out
from trainer.loop import Step

STEPS = 3000
RATE, DECAY = 2e-3, 0.01
TRUE = 0.2  # share of windows drafted from latents that are their own
LEVELS = (0.0, 0.3, 0.5, 0.7, 1.0)  # ways away that held-out nats are measured at
HELD = 6  # windows of a corpus they are measured on
EVERY = 500  # steps between measurements

Latents = tuple[Tensor, Tensor, Tensor]  # z_global (B, G), z_local (P, L), z_fine (K, F)


def astray(q: Posterior, bars: Bars, away: Tensor, noise: torch.Generator) -> Latents:
    """Samples of a posterior, each window's `away` (B,) of the way to latents of no bar; the upper levels change places
    with another's, the likelier the farther away.
    """
    z, owner = q.z_fine, bars.piece[bars.phrase]
    mean, a = z.mean(0), away[owner][:, None]
    mixing = torch.randn(len(z), len(z), generator=noise) / max(len(z) - 1, 1) ** 0.5
    z_fine = mean + torch.sqrt(1 - a**2) * (z - mean) + a * (mixing.to(z) @ (z - mean))
    z_global, z_local = (
        _swapped(level, share, noise) for level, share in ((q.z_global, away), (q.z_local, away[bars.piece]))
    )
    return z_global, z_local, z_fine


def _swapped(z: Tensor, share: Tensor, noise: torch.Generator) -> Tensor:
    """Rows (R, Z), each another's with a probability (R,)."""
    moves = torch.rand(len(z), generator=noise) < share
    return z[torch.where(moves, torch.randperm(len(z), generator=noise), torch.arange(len(z)))]


@torch.no_grad()
def drafted(model: MusicTransformerVAEGAN, z: Latents, bars: Bars) -> Draft:
    """What the decoder makes of latents, every slider at rest."""
    with flushed():
        slots = model.slots(*z, bars, Offsets.none(len(bars.clocks)))
        return Draft(slots, model.decoder.onsets(slots), bars)


def losses(
    model: MusicTransformerVAEGAN, refiner: Refiner | None, batch: Batch, away: Tensor, noise: torch.Generator
) -> tuple[dict[str, Tensor], int]:
    """Nats of each field over a batch drafted from `away` (B,), and its number of notes; the draft's own without a
    refiner.
    """
    with torch.no_grad():
        bars, q = batch.bars, model.encode(batch.source, batch.bars, noise)
        draft = drafted(model, astray(q, bars, away, noise), bars)
        t = Tokens.of(batch.target, bars, bars.piece[bars.phrase])
        note = t.pitch >= 0
        cell = (t.clock * 88 + t.pitch)[note]
        told = model.decoder.fields(draft.slots, t.bar[note], cell, Offsets.none(len(bars.clocks)))
    return nats(refiner, t, draft, told, away), int(note.sum())


def train_refiner(
    model: MusicTransformerVAEGAN, windows: Windows, valid: Windows, steps: int = STEPS, seed: int = 0
) -> Iterator[Step]:
    """Fit `model.refiner`, everything else frozen; yields nats a note, held out with the draft's own beside them."""
    refiner = model.refiner
    assert refiner is not None
    rng, noise = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    model.requires_grad_(False)
    model.eval()
    refiner.requires_grad_(True)
    optimiser = torch.optim.AdamW(refiner.parameters(), RATE, betas=(0.9, 0.98), weight_decay=DECAY, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps, pct_start=0.05)
    held = [batch for _, batch in held_out(valid, HELD)]
    began = time.monotonic()
    for n in range(1, steps + 1):
        refiner.train()
        batch = windows.plain(rng)
        away = torch.rand(batch.bars.n_pieces, generator=noise)
        away = torch.where(torch.rand(len(away), generator=noise) < TRUE, 0.0, away)
        terms, notes = losses(model, refiner, batch, away, noise)
        loss = torch.stack(list(terms.values())).sum() / max(notes, 1)
        loss.backward()  # type: ignore[no-untyped-call]  # torch has no type for it
        torch.nn.utils.clip_grad_norm_(refiner.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        schedule.step()
        last = n == steps
        measured = compared(model, held) if n % EVERY == 0 or last else None
        seen = {name: float(value.detach()) / max(notes, 1) for name, value in terms.items()}
        yield Step(n, steps, time.monotonic() - began, {"loss": float(loss.detach())} | seen, measured)


@torch.no_grad()
def compared(model: MusicTransformerVAEGAN, batches: list[Batch], seed: int = 0) -> dict[str, float]:
    """Held-out nats a note of the refiner and of the draft alone, by how far astray the latents are."""
    assert model.refiner is not None
    model.refiner.eval()
    out: dict[str, float] = {}
    for level in LEVELS:
        for name, refiner in (("refined", model.refiner), ("draft", None)):
            noise, sums, count = torch.Generator().manual_seed(seed), dict.fromkeys(FIELDS, 0.0), 0
            for batch in batches:
                away = torch.full((batch.bars.n_pieces,), level)
                terms, notes = losses(model, refiner, batch, away, noise)
                sums = {field: sums[field] + float(terms[field]) for field in FIELDS}
                count += notes
            out |= {f"{name}.{level:g}.{field}": value / count for field, value in sums.items()}
            out[f"{name}.{level:g}"] = sum(sums.values()) / count
    return out


def write(saved: Checkpoint, model: MusicTransformerVAEGAN, out: Path) -> None:
    """A model folder with the refiner in a file of its own; weights in half precision, the others as they were."""
    assert model.refiner is not None
    config = configuration.override(saved.config, {"model.refiner": True})
    kept = {n: t for n, t in saved.tensors().items() if not n.startswith("refiner.")}
    refiner = {f"refiner.{n}": t.half() for n, t in model.refiner.state_dict().items()}
    colours = {"colours": saved.tensors("colours")} if saved.facts.get("colours") else {}
    checkpoint.save(out, kept, config, saved.facts, **colours, **{"model-refiner": refiner})
