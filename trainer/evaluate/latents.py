"""What held-out latents say of attributes, whether notes follow when such a dimension moves, and which are active.

A dimension may follow an attribute perfectly while the decoder ignores it, so beside every latent score stands what
the notes do: `traversed` re-measures them along the dimension, `sliders.*` scores slider settings as the code.

K bars, Z width of fine, local and global level side by side, A = 12 attributes, P positions, T takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.analysis import Disentanglement, disentanglement, replacement_costs, traversal
from engine.analysis.activity import ACTIVE_NATS, ACTIVE_VARIANCE, prior_mean
from engine.attributes import NAMES, measure
from engine.config import LossConfig
from engine.errors import MorphonyError
from engine.model.batch import Bars, Notes, Offsets
from engine.model.decoder import Fields
from engine.model.vaegan import MusicTransformerVAEGAN
from engine.session import Piece, Session
from trainer.evaluate import information
from trainer.evaluate.bootstrap import Draws, summary
from trainer.evaluate.decoded import notes_of, within
from trainer.evaluate.sliders import POSITIONS, sounding, spearman
from trainer.losses import REGISTRY, Decoded

CODE_BARS = 64  # of a piece whose latents are scored
ACTIVE_BARS = 8  # of a piece in which every dimension is replaced
TAKES = 16  # settings of all sliders at once
REACH = 1.0  # sigma either way of such a setting
SCORES = ("mig", "dmig", "sap", "interpretability", "scc", "modularity")

Floats = NDArray[np.float64]


def codes(piece: Piece, rows: NDArray[np.int64]) -> Tensor:
    """(K, Z) posterior means of some bars: fine, local and global, as the decoder reads them."""
    phrase = piece.conditions.phrase[rows]
    return torch.cat([piece.z_fine[rows], piece.z_local[phrase], piece.z_global[piece.conditions.piece[phrase]]], -1)


def played(piece: Piece, most: int) -> NDArray[np.int64]:
    """At most so many bars with notes, spread over the piece."""
    rows = np.unique(piece.bars["bar"]).astype(np.int64)
    chosen: NDArray[np.int64] = rows[np.unique(np.linspace(0, len(rows) - 1, min(most, len(rows))).round().astype(int))]
    return chosen


# ---------------------------------------------------------------- disentanglement


@dataclass(slots=True, eq=False)
class Coded:
    """One piece: its codes beside its attributes, slider settings beside what they made of the notes."""

    piece: Piece
    bars: range  # those that are decoded
    codes: Floats  # (K, Z)
    own: Floats  # (K, A)
    settings: Floats  # (T, A)
    heard: Floats  # (T, A) re-measured attributes, from those with every slider at rest
    followed: Floats = field(default_factory=lambda: np.full(len(NAMES), np.nan))  # (A,) see `follow`


def code(session: Session, piece: Piece, bars: range) -> Coded:
    """Measure a piece: no dimension is chosen yet."""
    rows, bars = played(piece, CODE_BARS), sounding(piece, bars)
    settings = np.random.default_rng(len(piece.bars)).uniform(-REACH, REACH, (TAKES, len(NAMES)))
    at_rest = _measured(piece, bars, notes_of(session, piece, bars))
    takes = [notes_of(session, piece, bars, dict(zip(NAMES, map(float, s), strict=True))) for s in settings]
    heard = np.array([_measured(piece, bars, take) for take in takes]) - at_rest
    return Coded(piece, bars, codes(piece, rows).numpy().astype(np.float64), piece.own[rows], settings, heard)


def _measured(piece: Piece, bars: range, notes: NDArray[np.void]) -> Floats:
    return measure(within(notes, bars), piece.grid.clocks[bars.start : bars.stop])


def follow(session: Session, found: Sequence[Coded]) -> list[Coded]:
    """For every attribute move the dimension that correlates best with it, -2 to +2 deviations, and measure the notes.

    `followed` is the rank correlation of position and attribute within a piece, with the sign the codes promise.
    """
    best = _scores(found)
    if best is None:
        return list(found)
    spread = np.concatenate([x.codes for x in found]).std(0)
    out = []
    for x in found:
        followed = np.array([_followed(session, x, i, int(best.best[i]), spread) for i in range(len(NAMES))])
        out.append(replace(x, followed=followed * best.sign))
    return out


def _followed(session: Session, x: Coded, attribute: int, dimension: int, spread: Floats) -> float:
    level, at = place(x.piece, dimension)
    takes = traversal(session, x.piece, level, at, [float(p * spread[dimension]) for p in POSITIONS], x.bars)
    return spearman(POSITIONS, np.array([_measured(x.piece, x.bars, take)[attribute] for take in takes]))


def place(piece: Piece, dimension: int) -> tuple[str, int]:
    """The level of a dimension of the code, and which one it is there."""
    for level in ("fine", "local", "global"):
        width = getattr(piece, f"z_{level}").shape[1]
        if dimension < width:
            return level, dimension
        dimension -= width
    raise MorphonyError(f"The code has no dimension {dimension} past its last level.")


def _scores(found: Sequence[Coded]) -> Disentanglement | None:
    try:
        return disentanglement(np.concatenate([x.codes for x in found]), np.concatenate([x.own for x in found]))
    except MorphonyError:
        return None


@summary()
def scores(found: Sequence[Coded], draws: Draws) -> dict[str, Floats]:
    """Every score of the latents, of the sliders, and what the notes do along each attribute's own dimension."""
    of_latents = information.scores([x.codes for x in found], [x.own for x in found], draws)
    of_sliders = information.scores([x.settings for x in found], [x.heard for x in found], draws)
    if of_latents is None or of_sliders is None:
        return {}
    followed = draws.mean(np.array([x.followed for x in found]))
    figures = _named("latents", of_latents)
    figures["latents.traversed"] = followed.mean(1)
    figures |= _named("sliders", of_sliders)
    for i, name in enumerate(NAMES):
        figures[f"latents.scc.{name}"] = np.array([one.scc[i] for one in of_latents])
        figures[f"latents.traversed.{name}"] = followed[:, i]
        figures[f"sliders.scc.{name}"] = np.array([one.scc[i] for one in of_sliders])
    return figures


def _named(side: str, each: Sequence[Disentanglement]) -> dict[str, Floats]:
    means = [one.means() for one in each]
    return {f"{side}.{name}": np.array([m[name] for m in means]) for name in means[0]}


# ---------------------------------------------------------------- active units


@dataclass(frozen=True, slots=True, eq=False)
class Costs:
    """One piece: what replacing each dimension costs, and its codes."""

    nats: Tensor  # (Z,) per bar
    codes: Tensor  # (K, Z)
    widths: dict[str, int]


@torch.no_grad()
def activity(session: Session, piece: Piece, _: range) -> Costs:
    """Replace one dimension of the posterior mean at a time by the mean of its prior, and score the bars' own notes."""
    rows = played(piece, ACTIVE_BARS)
    target = np.concatenate([_as(piece, int(row), i) for i, row in enumerate(rows)])
    each = torch.arange(len(rows))
    conditions = piece.conditions.select(torch.from_numpy(rows))
    alone = Bars(conditions.clocks, conditions.beat, conditions.parts, conditions.place, each, each)
    nats = Likelihood(session.model, session.config.loss, Notes.of(target), alone)
    costs = replacement_costs(codes(piece, rows).to(session.device), prior_mean(session.model).to(session.device), nats)
    c = session.config.model
    widths = {"fine": c.latent_dim}
    if c.use_hierarchical:
        widths |= {"local": c.local_dim, "global": c.global_dim}
    return Costs(costs.cpu(), codes(piece, played(piece, CODE_BARS)), widths)


def _as(piece: Piece, row: int, number: int) -> NDArray[np.void]:
    notes = within(piece.bars, range(row, row + 1))
    notes["bar"] = number
    return notes


class Likelihood:
    """Nats (R,) that the notes of K bars cost under latents (R, K, Z): every reconstruction term, unweighted."""

    def __init__(self, model: MusicTransformerVAEGAN, config: LossConfig, target: Notes, bars: Bars) -> None:
        device = next(model.parameters()).device
        self.model, self.config = model, config
        self.target, self.bars = target.to(device), bars.to(device)
        self.posterior = self.model.encode(self.target, self.bars, mean=True)
        self.terms = [t.function for t in REGISTRY.values() if t.group == "reconstruction"]

    def __call__(self, z: Tensor) -> Tensor:
        """All variants are decoded at once and judged one by one."""
        r, k, _ = z.shape
        m, offsets = len(self.target.bar), Offsets.none(r * k).to(z.device)
        every = self.bars.select(torch.arange(k, device=z.device).repeat(r))
        slots = self.model.decoder.slots(z.flatten(0, 1), every, offsets)
        bar = (torch.arange(r, device=z.device)[:, None] * k + self.target.bar).flatten()
        told = self.model.decoder.fields(slots, bar, self.target.cell.repeat(r), offsets)
        onsets = torch.split(self.model.decoder.onsets(slots), k)
        each = zip(*(torch.split(getattr(told, x), m) for x in ("duration", "velocity", "micro", "part")), strict=True)
        return torch.stack([self._nats(o, Fields(*fields)) for o, fields in zip(onsets, each, strict=True)])

    def _nats(self, onsets: Tensor, fields: Fields) -> Tensor:
        heard = Decoded(self.target, self.bars, onsets, fields, self.posterior, 1.0, self.config)
        return torch.stack([term(heard) for term in self.terms]).sum()


@summary()
def active(found: Sequence[Costs], draws: Draws) -> dict[str, Floats]:
    """Share of dimensions that are active: by cost, and by the variance of their posterior mean (Burda et al. 2016)."""
    widths = found[0].widths
    known = sum(widths.values())
    costly = draws.mean(torch.stack([x.nats for x in found]).double().numpy())[:, :known] > ACTIVE_NATS
    moving = _variances(found, draws)[:, :known] > ACTIVE_VARIANCE
    figures, start = {}, 0
    figures["active_units"], figures["active_units_burda"] = costly.mean(1), moving.mean(1)
    for level, width in widths.items():
        here = slice(start, start + width)
        figures[f"active_units.{level}"] = costly[:, here].mean(1)
        figures[f"active_units_burda.{level}"] = moving[:, here].mean(1)
        start += width
    return figures


def _variances(found: Sequence[Costs], draws: Draws) -> Floats:
    """(R, Z) of the codes of all drawn pieces."""
    middle = torch.cat([x.codes for x in found]).mean(0)
    codes = [(x.codes - middle).double().numpy() for x in found]
    n = draws.sum(np.array([len(c) for c in codes]))[:, None]
    total, squares = draws.sum(np.array([c.sum(0) for c in codes])), draws.sum(np.array([(c**2).sum(0) for c in codes]))
    out: Floats = (squares - total**2 / np.maximum(n, 1)) / np.maximum(n - 1, 1)
    return out
