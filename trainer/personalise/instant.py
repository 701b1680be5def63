"""A style in seconds: the small VAE of `engine.model.instant` on the frozen model's latents, from one file or many.

Its sliders are scaled as colours are, by the notes they measurably change. K bars, R rows of latents, X their width.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine import checkpoint
from engine.errors import MorphonyError
from engine.generation import draw_latents
from engine.model import fields as f
from engine.model.batch import PHRASE_BARS, Bars, Offsets
from engine.model.instant import CODES, InstantStyle, Latents
from engine.model.vaegan import MusicTransformerVAEGAN, beside
from engine.score import midi
from engine.session import Piece, Session
from engine.style import INSTANT
from trainer.batches import bars_of
from trainer.corpus import CALLED_OFF, FileReport, scan
from trainer.evaluate.samples import conditions_of_windows
from trainer.evaluate.windows import Window, of_piece
from trainer.finish import NOTES_PER_SIGMA
from trainer.loop import Step
from trainer.memorisation import lines
from trainer.personalise import judge
from trainer.personalise.music import report_words, scan_report, split

STEPS = 800
MOST_PIECES = 200  # of a larger folder: more would not change what it is like
SAMPLES = 2  # of the posterior of every bar that are learned from
ROWS = 128  # of a batch
RATE = 5e-4
DECAY = 0.1
MEASURE_EVERY = 50
DRAWN = 96  # windows of the prior that a style is told from
CALIBRATED = 6  # phrases that sliders are measured on
KEPT_PHRASE = 5  # of one piece every fifth phrase is held out


@dataclass(frozen=True, slots=True, eq=False)
class Heard:
    """Someone's music as the frozen model hears it, split by piece; one piece is split by phrase."""

    learned: Sequence[Piece]
    kept: Sequence[Piece]
    rows: Tensor  # (R, X) posterior samples to learn from
    held_out: Tensor  # (R, X) to measure on
    counts: tuple[int, int, int]  # bars, phrases and pieces learned from
    reports: Sequence[FileReport]

    @property
    def one(self) -> bool:
        """Whether it is a single piece."""
        return self.learned is self.kept

    def windows(self) -> list[Window]:
        """What new music is held against."""
        return [_numbered(w, i) for i, piece in enumerate(self.kept) for w in of_piece(piece)]

    def known(self) -> judge.Known:
        """The same, with what was learned."""
        if self.one:
            return judge.Known.of_one(self.windows())
        return judge.Known.of(self.windows(), [lines(p.bars, p.grid.clocks) for p in self.learned])


def _numbered(window: Window, piece: int) -> Window:
    return Window(window.notes, window.clocks, window.beat, window.parts, piece, window.first)


def hear(session: Session, folder: Path, where: str, seed: int, cancelled: Callable[[], bool]) -> Heard:
    """Raises MorphonyError where there is nothing to learn from, and when `cancelled()`."""
    reports = list(scan(folder, where, cancelled=cancelled))
    if cancelled():
        raise MorphonyError(CALLED_OFF)
    root = folder.parent if folder.is_file() else folder
    scores = [midi.read_notes(root / r.path) for r in [r for r in reports if r.ok][:MOST_PIECES]]
    if not scores:
        reason = reports[0].reason if reports else "it holds no MIDI files."
        raise MorphonyError(f"Nothing in {folder.name} can be used: {reason}")
    pieces = [session.encode(score) for score in scores]
    drawn = [[_beside(session.encode(p.score, seed + i)) for i in range(SAMPLES)] for p in pieces]
    if len(pieces) == 1:
        phrase = torch.arange(len(pieces[0])) // PHRASE_BARS
        held = phrase % KEPT_PHRASE == min(KEPT_PHRASE // 2, int(phrase.max()))
        if bool(held.all()):
            raise MorphonyError(f"{folder.name} is too short to learn from: a style takes two phrases of four bars.")
        rows, held_out = (torch.cat([x[side] for x in drawn[0]]) for side in (~held, held))
        return Heard(pieces, pieces, rows, held_out, (int((~held).sum()), len(torch.unique(phrase[~held])), 1), reports)
    learned, kept = (sorted(side) for side in split(len(pieces), seed))
    rows, held_out = (torch.cat([x for i in side for x in drawn[i]]) for side in (learned, kept))
    counts = sum(len(pieces[i]) for i in learned), sum(len(pieces[i].z_local) for i in learned), len(learned)
    return Heard([pieces[i] for i in learned], [pieces[i] for i in kept], rows, held_out, counts, reports)


def _beside(piece: Piece) -> Tensor:
    return beside(piece.z_global, piece.z_local, piece.z_fine, piece.conditions)


def learn(
    model_dir: Path | None,
    folder: Path,
    out: Path,
    *,
    steps: int | None = None,
    seed: int = 0,
    where: str = "",
    cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[Step]:
    """Learn a style; step 0 holds how strange its held-out bars are to the model's prior, in nats a bar ("loss").

    Writes `best`, the style, if held-out bars are less strange to it, `before.mid` and `after.mid`, and `result.json`.
    """
    began, steps = time.monotonic(), STEPS if steps is None else steps
    session = Session.open(model_dir, "cpu")
    if session.model.events is not None:
        raise MorphonyError("A model of events has no latents to find a style in.")
    heard = hear(session, folder, where, seed, cancelled)
    torch.manual_seed(seed)
    style = InstantStyle.of(session.config.model).requires_grad_(True)
    style.begin(heard.rows, _drawn(session, heard, seed), heard.counts)
    before = {"loss": float(style.plain_nats(heard.held_out).mean())}
    found = scan_report(heard.reports)
    yield Step(0, steps, time.monotonic() - began, {}, before, report_words(found), {"scan": found})
    best, after = style, {"loss": float("inf")}
    result: dict[str, Any] = {"kind": INSTANT, "scan": found, "before": before, "held_out_is": _held_out_words(heard)}
    made = False
    try:
        for n, loss in enumerate(_fit(style, heard.rows, steps, seed), 1):
            measured = None
            if n % MEASURE_EVERY == 0 or n == steps:
                measured = _measure(style, heard.held_out)
                if measured["loss"] < after["loss"]:
                    best, after = copy.deepcopy(style), measured
            if n < steps:
                yield Step(n, steps, time.monotonic() - began, {"loss": loss}, measured)
        made = True
    finally:  # what was cancelled keeps the best so far
        if np.isfinite(after["loss"]):
            result |= _finish(session, best.requires_grad_(False), heard, model_dir, folder, out, result, after, seed)
            judge.write(result | {"cancelled": not made, "seconds": round(time.monotonic() - began, 2)}, out)
    yield Step(steps, steps, time.monotonic() - began, {"loss": loss}, measured, result["said"], {"result": result})


def _held_out_words(heard: Heard) -> str:
    return "every fifth phrase of the piece" if heard.one else f"{len(heard.kept)} pieces"


def _drawn(session: Session, heard: Heard, seed: int) -> Tensor:
    """(R, X) draws of the prior for bars like those heard."""
    windows = heard.windows() or [_whole(p) for p in heard.kept]
    like = (windows * (DRAWN // len(windows) + 1))[:DRAWN]
    bars = conditions_of_windows(like)
    return beside(*draw_latents(session, bars, seed, 1.0), bars)


def _whole(piece: Piece) -> Window:
    """A piece that is too short for windows, as one."""
    parts = int(piece.conditions.parts[0].sum())
    return Window(piece.bars, piece.conditions.clocks.numpy(), piece.conditions.beat.numpy(), parts)


def _fit(style: InstantStyle, rows: Tensor, steps: int, seed: int) -> Iterator[float]:
    """Lower the negative ELBO of the rows; a loss for every step."""
    noise = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(style.parameters(), lr=RATE, weight_decay=DECAY)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = RATE * min(1.0, 4 * (1 - step / steps))
        loss = style.nats(rows[torch.randint(len(rows), (ROWS,), generator=noise)], noise).mean()
        loss.backward()  # type: ignore[no-untyped-call]  # torch has no type for it
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        yield float(loss.detach())


@torch.no_grad()
def _measure(style: InstantStyle, held_out: Tensor) -> dict[str, float]:
    nats = style.nats(held_out, torch.Generator().manual_seed(0))
    return {"loss": float(nats.mean()), "explained": style.explained(held_out)}


def _finish(
    session: Session,
    style: InstantStyle,
    heard: Heard,
    model_dir: Path | None,
    folder: Path,
    out: Path,
    result: dict[str, Any],
    after: dict[str, float],
    seed: int,
) -> dict[str, Any]:
    """Scale the sliders, save the style where it helped, and let it be heard."""
    improved = after["loss"] < result["before"]["loss"]
    said = {
        "after": after,
        "improved": improved,
        "change_percent": 100 * (after["loss"] / result["before"]["loss"] - 1),
    }
    if not improved:
        return {**said, "said": "Held-out bars are no more familiar to this style than to the model: it is not kept."}
    calibrate(session.model, style, [*heard.learned], seed)
    facts = {"base": session.hash, "folder": folder.name, "kind": INSTANT, "held_out": after}
    checkpoint.save(out / "best", style.state_dict(), session.config, facts)
    styled = Session.open(model_dir, "cpu", styles={out: 1.0})
    known = heard.known()
    told = judge.judged(session, styled, known, seed)
    return {**said, "samples": judge.sample(session, styled, known.held_out, out, seed), **told}


@torch.no_grad()
def calibrate(model: MusicTransformerVAEGAN, style: InstantStyle, pieces: Sequence[Piece], seed: int) -> None:
    """Make one sigma of every slider change NOTES_PER_SIGMA notes of a 4/4 bar, by bisection on decoded cells."""
    bars, z = _phrases(pieces, seed)
    cells, per_bar = _cells(model, z, bars), bars.clocks.sum() / 96
    side = torch.where(torch.arange(len(bars.clocks)) % 2 == 0, 1.0, -1.0)[:, None]  # half of the bars go down
    style.length.fill_(1.0)
    low, high = torch.zeros(CODES), torch.full((CODES,), 16.0)
    for _ in range(9):
        middle = (low + high) / 2
        for k in range(CODES):
            moved = style.moved(z, bars, side * middle[k] * (torch.arange(CODES) == k))
            few = (_cells(model, moved, bars) ^ cells).sum() / per_bar < NOTES_PER_SIGMA
            low[k], high[k] = (middle[k], high[k]) if few else (low[k], middle[k])
    style.length.copy_(high)


def _phrases(pieces: Sequence[Piece], seed: int) -> tuple[Bars, Latents]:
    """Some whole phrases that hold notes, each as a piece of its own."""
    rng, found = np.random.default_rng(seed), []
    for p in pieces:
        sounding = np.unique(p.bars["bar"] // PHRASE_BARS)
        found += [(p, int(phrase)) for phrase in sounding if (int(phrase) + 1) * PHRASE_BARS <= len(p)]
    found = found or [(p, 0) for p in pieces]
    chosen = [found[i] for i in rng.permutation(len(found))[:CALIBRATED]]
    rows = [torch.arange(k * PHRASE_BARS, min((k + 1) * PHRASE_BARS, len(p))) for p, k in chosen]
    ends = np.cumsum([0, *map(len, rows)])
    runs: list[Any] = [np.arange(a, b) for a, b in pairwise(ends)]
    clocks, beat = (
        torch.cat([getattr(p.conditions, name)[r] for (p, _), r in zip(chosen, rows, strict=True)]).numpy()
        for name in ("clocks", "beat")
    )
    bars = bars_of(clocks, beat, runs, [int(p.conditions.parts[0].sum()) for p, _ in chosen])
    z = (
        torch.cat([p.z_global for p, _ in chosen]),
        torch.cat([p.z_local[k : k + 1] for p, k in chosen]),
        torch.cat([p.z_fine[r] for (p, _), r in zip(chosen, rows, strict=True)]),
    )
    return bars, z


def _cells(model: MusicTransformerVAEGAN, z: Latents, bars: Bars) -> Tensor:
    """(K, cells) which sound, greedily."""
    logits = model.decoder.onsets(model.slots(*z, bars, Offsets.none(len(bars.clocks))))
    clock = torch.arange(logits.shape[1]) // f.N_PITCHES
    p = model.config.threshold
    return (logits > float(np.log(p / (1 - p)))) & (clock < bars.clocks[:, None])
