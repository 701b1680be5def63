"""How much of a piece its latents keep: notes of the mean and of a sample, likelihood, swap.

K bars, M notes; every figure of a piece is a mean over its bars with notes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.model.batch import Bars, Notes, Offsets
from engine.model.latents import LEVELS
from engine.session import ENCODE_BARS, Piece, Session
from trainer.evaluate import notes as compare
from trainer.evaluate.decoded import notes_of, within
from trainer.losses import REGISTRY, Decoded

SWAP_BARS = 16  # bars of a piece that take part in the swap test
LONG = 16  # bars of the long window

Figures = dict[str, float]


def reconstruction(session: Session, piece: Piece) -> Figures:
    """Free-running, greedy, from the posterior mean and from one sample."""
    n, source = len(piece), piece.bars
    mean = notes_of(session, piece, range(n))
    sampled = notes_of(session, session.encode(piece.score, sample_seed=0), range(n))
    f1, full = compare.bar_f1(source, mean, n)
    of_sample, heard = compare.bar_f1(source, sampled, n)
    from_mean, from_sample = compare.mean_where(f1, full), compare.mean_where(of_sample, heard)
    dense = np.bincount(source["bar"], minlength=n) >= compare.DENSE
    chroma = compare.similarity(compare.chroma(source, n), compare.chroma(mean, n))
    groove = compare.similarity(compare.groove(source, n), compare.groove(mean, n))
    return {
        "note_f1": from_mean,
        "note_f1_sampled": from_sample,
        "note_f1_sampled_drop": from_mean - from_sample,
        "note_f1_16_bars": compare.window_f1(source, mean, n, LONG),
        "note_f1_16_bars_sampled": compare.window_f1(source, sampled, n, LONG),
        "note_f1_dense": compare.mean_where(f1, dense),
        "note_f1_dense_sampled": compare.mean_where(of_sample, dense),
        "exact_bars": compare.mean_where((f1 == 1).astype(np.float64), full),
        "onset_f1": compare.mean_where(*compare.onset_f1(source, mean, n)),
        "sim_chr": compare.mean_where(chroma, full),
        "sim_grv": compare.mean_where(groove, full),
        "duration_error_quarters": compare.field_error(source, mean, "duration") / 24,
        "velocity_error": compare.field_error(source, mean, "velocity"),
    }


@torch.no_grad()
def likelihood(session: Session, piece: Piece) -> Figures:
    """Nats of every level, and the negative ELBO per note of one posterior sample, free of any weight."""
    model, notes, bars = session.model, Notes.of(piece.bars), piece.conditions
    noise = torch.Generator(device=session.device).manual_seed(0)
    q = model.encode(notes.to(session.device), bars.to(session.device), noise)
    sampled = replace(piece, z_global=q.z_global.cpu(), z_local=q.z_local.cpu(), z_fine=q.z_fine.cpu(), cache={})
    nats = 0.0
    for start in range(0, len(piece), ENCODE_BARS):
        run = range(start, min(start + ENCODE_BARS, len(piece)))
        chosen = torch.arange(run.start, run.stop)
        target = Notes.of(within(piece.bars, run)).to(session.device)
        offsets = Offsets.none(len(run)).to(session.device)
        slots = session.slots(sampled, chosen, torch.zeros(len(run), q.z_fine.shape[1]), offsets)
        fields = model.decoder.fields(slots, target.bar, target.cell, offsets)
        conditions = bars.select(chosen).to(session.device)
        decoded = Decoded(target, conditions, model.decoder.onsets(slots), fields, q, 1.0, session.config.loss)
        terms = (t for t in REGISTRY.values() if t.group == "reconstruction")
        nats += sum(float(t.function(decoded)) for t in terms)
    latents = {level: (getattr(q, f"q_{level}"), getattr(q, f"z_{level}")) for level in LEVELS}
    kl = {level: float(model.priors.divergence(level, *of).sum()) for level, of in latents.items()}
    per_bar = {f"kl_{level}_nats_per_bar": value / len(piece) for level, value in kl.items()}
    return {"elbo_nats_per_note": (nats + sum(kl.values())) / len(piece.bars), **per_bar}


@dataclass(frozen=True, slots=True, eq=False)
class Swappable:
    """Some bars of a piece with all their latents side by side."""

    piece: Piece  # conditions with a phrase and a piece of its own for each bar
    notes: list[NDArray[np.void]]  # BAR_NOTE of each bar, as bar 0
    kind: NDArray[np.int64]  # (K, 2) clocks and beat: what makes a meter


def swappable(session: Session, piece: Piece) -> Swappable:
    """The first SWAP_BARS bars with notes."""
    rows = torch.from_numpy(np.unique(piece.bars["bar"])[:SWAP_BARS].astype(np.int64))
    bars, each = piece.conditions, torch.arange(len(rows))
    alone = Bars(bars.clocks[rows], bars.beat[rows], bars.parts[rows], bars.place[rows], each, each)
    phrase = bars.phrase[rows]
    z_global = piece.z_global[bars.piece[phrase]]
    one = replace(piece, conditions=alone, z_global=z_global, z_local=piece.z_local[phrase], z_fine=piece.z_fine[rows])
    kind = torch.stack([alone.clocks, alone.beat], -1).numpy()
    return Swappable(replace(one, cache={}), [within(piece.bars, range(int(b), int(b) + 1)) for b in rows], kind)


def swap(session: Session, all_bars: Sequence[Swappable]) -> list[Figures]:
    """For every piece: F1 with latents of another piece's bars of the same meter, and of those source bars (chance)."""
    rng = np.random.default_rng(0)
    owner = np.concatenate([np.full(len(s.notes), i) for i, s in enumerate(all_bars)])
    bar = np.concatenate([np.arange(len(s.notes)) for s in all_bars])
    kind = np.concatenate([s.kind for s in all_bars])
    out = []
    for i, mine in enumerate(all_bars):
        others = [np.flatnonzero((owner != i) & (kind == k).all(1)) for k in mine.kind]
        rows = [row for row, found in enumerate(others) if len(found)]
        donors = [int(rng.choice(others[row])) for row in rows]
        out.append(_swapped(session, mine, rows, [(all_bars[owner[d]], int(bar[d])) for d in donors]))
    return out


def _swapped(session: Session, mine: Swappable, rows: list[int], donors: list[tuple[Swappable, int]]) -> Figures:
    if not rows:
        return {}

    def given(level: str) -> Tensor:
        z: Tensor = getattr(mine.piece, level).clone()
        z[rows] = torch.stack([getattr(other.piece, level)[b] for other, b in donors])
        return z

    changed = replace(
        mine.piece, z_global=given("z_global"), z_local=given("z_local"), z_fine=given("z_fine"), cache={}
    )
    decoded = plain_notes(session, changed, rows)
    reached = [compare.bar_f1(mine.notes[r], decoded[r], 1)[0][0] for r in rows]
    chance = [
        compare.bar_f1(mine.notes[r], other.notes[b], 1)[0][0] for r, (other, b) in zip(rows, donors, strict=True)
    ]
    return {
        "swap_f1": float(np.mean(reached)),
        "swap_chance": float(np.mean(chance)),
        "swap_excess": float(np.mean(reached) - np.mean(chance)),
    }


def plain_notes(session: Session, piece: Piece, rows: list[int]) -> dict[int, NDArray[np.void]]:
    """BAR_NOTE of each row, as bar 0; rows need not be bars of the score, so no ticks are involved."""
    from engine.compose import Request, blind, knobs_of
    from engine.decoding import decode

    notes = decode(session, blind(piece), rows, knobs_of(session, Request(blend=False)))
    return {r: within(notes, range(r, r + 1)) for r in rows}
