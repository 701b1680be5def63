"""Notes written one by one over a draft: how new bars are refined. Never in the way of a drag, which takes the draft.

A note's clock is found by walking from the last one: at each clock the odds that something sounds there, given all
before it, with noise of that place; then its pitch, duration, velocity and parts, each given the ones before. With an
untrained refiner and at temperature 1 this draws from the draft's own distribution. Masks close pitches, not clocks: a
note that may not sound is another note.

R rows (passages side by side), K bars, T clocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine import grids
from engine.attributes import NAMES
from engine.decoding import BLEND_REACH, BLEND_WEIGHT, Knobs, colour_shift, flushed
from engine.errors import MorphonyError
from engine.filters import filter_logits
from engine.masks import FORBIDDEN, held, voices
from engine.model import fields as f
from engine.model.batch import PHRASE_BARS, Notes, Offsets
from engine.model.draft import Draft
from engine.model.refiner import Refiner, Tokens
from engine.sampling import DURATION, MICRO, ONSET, VELOCITY, Bools, Floats, Ints, Rows, gumbel, logistic, rows_at
from engine.session import Piece, Session
from engine.tokens.bars import BAR_NOTE
from engine.tokens.vocab import PITCHES

PITCH = 5  # a key of the noise beside those of engine.sampling


def refine(
    session: Session, piece: Piece, rows: Sequence[Sequence[int]], knobs: Knobs, known: NDArray[np.void] | None = None
) -> NDArray[np.void]:
    """BAR_NOTE of some rows of bars that follow each other, all in ascending order, numbered as in the piece.

    One row alone goes on from the `known` notes (BAR_NOTE) of the phrase before it. Raises MorphonyError where the
    model has no refiner, or is asked for what only a draft can do.
    """
    refiner = session.model.refiner
    if refiner is None:
        raise MorphonyError("This model has no refiner; `morphony train --refiner` makes one that has.")
    if knobs.moved(NAMES) or knobs.beam > 1:
        raise MorphonyError("Refined notes are written one by one and follow neither a slider nor a beam.")
    first = rows[0][0]
    before = range(first if known is None else max(first - PHRASE_BARS, 0), first)
    with flushed(), torch.no_grad():
        writer = _Writer(session, piece, refiner, [*before, *(bar for row in rows for bar in row)], knobs)
        if known is not None and len(before):
            writer.read(known, len(before))
        ends = len(before) + np.cumsum([len(row) for row in rows])
        notes = writer.write(ends - [len(row) for row in rows], ends)
    notes = voices(_as_source(piece, notes, writer.numbers, knobs), writer.clocks, knobs.masks.max_notes)
    notes["bar"] = writer.numbers[notes["bar"]]
    return notes


class _Writer:
    """Some bars of a piece, drafted, and what has been written of them; bars are counted from 0 here."""

    def __init__(self, session: Session, piece: Piece, refiner: Refiner, bars: list[int], knobs: Knobs) -> None:
        self.session, self.refiner, self.knobs = session, refiner, knobs
        index = torch.tensor(bars, dtype=torch.int64)
        self.numbers: Ints = index.numpy()
        self.clocks: Ints = piece.conditions.clocks[index].numpy()
        self.bars = piece.conditions.select(index).to(session.device)
        self.plays: Bools = piece.conditions.parts[index].numpy() > 0
        grid, p = grids.at_rest(session, piece, index, colour_shift(session, knobs)), session.config.model.threshold
        self.bias, self.grid = float(np.log(p / (1 - p))), grid.logits
        cells = torch.from_numpy(_blended(piece, grid.logits, self.numbers, knobs) + self.bias).float()
        self.draft = Draft(grid.slots, cells.to(session.device), self.bars)
        self.none = Offsets.none(len(bars)).to(session.device)
        self.keys, self.cache = refiner.clock_keys(self.draft), refiner.new_cache()
        self.away = torch.full((1,), float(knobs.refine or 0.0), device=session.device)
        self.noise, self.penalty = self._noise(), self._penalty()

    def _noise(self) -> Floats:
        """(K, T) what decides, with the odds, whether the first note of a clock sounds."""
        if self.knobs.temperature == 0:
            return np.zeros((len(self.numbers), self.draft.end))
        return logistic(self.knobs.seed, self.numbers[:, None], np.arange(self.draft.end), 0, ONSET)

    def _penalty(self) -> Floats | None:
        """(K, T, 88) nats the masks add to each pitch; None where every one is as welcome as any other."""
        if not self.knobs.masks.of_pitch:
            return None
        k, t = len(self.numbers), self.draft.end
        places = np.stack(np.meshgrid(np.arange(k), np.arange(t), indexing="ij"), -1).reshape(-1, 2)
        rows = rows_at(self.grid, np.full(k, t), places)
        out: Floats = self.knobs.masks.penalty(
            Rows(rows.bar, rows.onset, rows.pitch, rows.logit, self.clocks), self.numbers
        ).reshape(k, t, f.N_PITCHES)
        return out

    def read(self, known: NDArray[np.void], count: int) -> None:
        """Take in the known notes of the first `count` bars."""
        notes = known[np.isin(known["bar"], self.numbers[:count])]
        notes = notes[np.lexsort((notes["part"], notes["pitch"], notes["onset"], notes["bar"]))]
        notes["bar"] = np.searchsorted(self.numbers[:count], notes["bar"])
        device = self.session.device
        bars = self.bars.select(torch.arange(count, device=device))
        t = Tokens.of(Notes.of(notes).to(device), bars, torch.zeros(count, dtype=torch.int64, device=device))
        self.refiner.read(self.refiner.embed(t, self.draft)[None], self.away, self.cache)

    def write(self, bar: Ints, end: Ints) -> NDArray[np.void]:
        """BAR_NOTE of the bars from `bar` (R,) to before `end` (R,)."""
        self.away = self.away.expand(len(bar))
        last, count, found = _Last.begin(bar), np.zeros(len(bar), np.int64), []
        while len(bar):
            t = last.tokens(self.session.device)
            h = self.refiner.read(self.refiner.embed(t, self.draft)[:, None], self.away, self.cache)[:, 0]
            clock = self._when(h, t, last, count)
            over = clock == self.draft.end
            count = np.where(over, 0, np.where((clock == last.clock) & (last.pitch >= 0), count + 1, 1))
            following = _Last.begin(np.minimum(bar + over, end - 1))
            if (rows := np.flatnonzero(~over)).size:
                lowest = np.where(clock == last.clock, last.pitch + 1, 0)[rows]
                note, micro = self._note(h[torch.from_numpy(rows)], bar[rows], clock[rows], lowest)
                found.append((note, micro))
                following.put(rows, note)
            bar, last = bar + over, following
            stays = np.flatnonzero(bar < end)
            if len(stays) < len(bar):
                bar, end, count, last = bar[stays], end[stays], count[stays], last.select(stays)
                kept = torch.from_numpy(stays).to(self.session.device)
                self.away, self.cache = self.away[kept], [c.select(kept) for c in self.cache]
        return _as_notes(found)

    def _when(self, h: Tensor, t: Tokens, last: _Last, count: Ints) -> Ints:
        """(R,) the clock of the next note; T where the bar is over."""
        logits = self.refiner.when(h, t, self.draft, self.keys).double().cpu().numpy()
        share = np.exp(logits - logits.max(1, keepdims=True))
        later = share[:, ::-1].cumsum(1)[:, ::-1][:, 1:]
        with np.errstate(divide="ignore", invalid="ignore"):  # beyond a note that is certain nothing has any odds
            odds = np.log(share[:, :-1]) - np.log(later)
        k, warmth, row = self.knobs, self.knobs.temperature, np.arange(len(logits))
        noise, again = self.noise[last.bar], last.pitch >= 0
        if warmth > 0:
            own = logistic(k.seed, self.numbers[last.bar], last.clock, last.pitch + 1, ONSET)
            noise[row, last.clock] = np.where(again, own, noise[row, last.clock])
        sounds = odds + warmth * noise > max(1 - warmth, 0) * self.bias
        full = np.zeros(len(row), bool) if k.masks.max_notes is None else count >= k.masks.max_notes
        sounds[row, last.clock] &= ~again | ~(full | self._shut(last.bar, last.clock, last.pitch + 1))
        return np.where(sounds.any(1), sounds.argmax(1), self.draft.end)

    def _shut(self, bar: Ints, clock: Ints, lowest: Ints) -> Bools:
        """(R,) whether the masks leave no pitch from the lowest up."""
        if self.penalty is None:
            return np.zeros(len(bar), bool)
        free = (self.penalty[bar, clock] > FORBIDDEN) & (np.arange(f.N_PITCHES) >= lowest[:, None])
        return np.logical_not(free.any(1))

    def _note(self, h: Tensor, bar: Ints, clock: Ints, lowest: Ints) -> tuple[_Last, Ints]:
        """The notes at given clocks (R,) and their micro-shifts."""
        r, (of, at, low) = self.refiner, (torch.from_numpy(x).to(h.device) for x in (bar, clock, lowest))
        g, trust, drafted = r.at(h, of, at, self.draft), r.trusted(h), self.draft.which(of, at, low)
        pitch = self._pitch(r.which(g, trust[:, 1:2] * drafted), bar, clock, lowest)
        chosen = torch.from_numpy(pitch).to(h.device)
        told = self.session.decoder.fields(self.draft.slots, of, at * f.N_PITCHES + chosen, self.none)
        g = r.given(g, chosen)
        where = self.numbers[bar], clock, pitch + PITCHES.start
        duration = self._class(trust[:, 2:3] * told.duration + r.how_long(g), *where, DURATION)
        long = torch.from_numpy(duration).to(h.device)
        velocity = self._class(trust[:, 3:4] * told.velocity + r.how_loud(g, long), *where, VELOCITY)
        whose = trust[:, 4:5] * told.part + r.whose(g, long, torch.from_numpy(velocity).to(h.device))
        odds = np.where(self.plays[bar], whose.double().cpu().numpy(), -np.inf)
        parts = (odds > 0) | (odds == odds.max(1, keepdims=True))
        return _Last(bar, clock, pitch, duration, velocity, parts), self._class(told.micro, *where, MICRO)

    def _pitch(self, logits: Tensor, bar: Ints, clock: Ints, lowest: Ints) -> Ints:
        """(R,) 0 to 87."""
        if self.penalty is None:
            return self._class(logits, self.numbers[bar], clock, lowest, PITCH)
        if (shut := np.flatnonzero(self._shut(bar, clock, lowest))).size:
            place = np.stack([bar, clock], -1)[shut[:1]]
            held(self.knobs.masks, rows_at(self.grid, self.clocks, place), self.numbers, np.ones(1, np.int64))
        added = torch.from_numpy(self.penalty[bar, clock]).to(logits)
        return self._class(logits + added, self.numbers[bar], clock, lowest, PITCH)

    def _class(self, logits: Tensor, *key: Ints | int) -> Ints:
        """(R,) the class drawn from logits (R, C) with the noise of a place."""
        out, k = logits.double().cpu().numpy(), self.knobs
        if k.temperature > 0:
            if k.top_k or k.top_p < 1:
                out = k.temperature * filter_logits(out, k.temperature, k.top_k, k.top_p)
            out = out + k.temperature * gumbel(k.seed, out.shape[1], *key)
        return np.asarray(out.argmax(1), np.int64)


@dataclass(slots=True)
class _Last:
    """What was written last in each row (R,): a note, or the beginning of a bar (pitch -1)."""

    bar: Ints
    clock: Ints
    pitch: Ints
    duration: Ints
    velocity: Ints
    parts: Bools  # (R, 16)

    @classmethod
    def begin(cls, bar: Ints) -> _Last:
        zero = np.zeros(len(bar), np.int64)
        return cls(bar, zero, zero - 1, zero.copy(), zero.copy(), np.zeros((len(bar), f.N_PARTS), bool))

    def tokens(self, device: torch.device) -> Tokens:
        """The same as the refiner takes it."""
        row = torch.arange(len(self.bar), device=device)
        fields = (self.bar, self.clock, self.pitch, self.duration, self.velocity, self.parts.astype(np.float32))
        return Tokens(row, row, *(torch.from_numpy(x).to(device) for x in fields))

    def put(self, rows: Ints, other: _Last) -> None:
        """Take over the other's rows as these rows."""
        for name in self.__slots__:
            getattr(self, name)[rows] = getattr(other, name)

    def select(self, rows: Ints) -> _Last:
        """Only some rows."""
        return _Last(*(getattr(self, name)[rows] for name in self.__slots__))


def _as_notes(found: list[tuple[_Last, Ints]]) -> NDArray[np.void]:
    """BAR_NOTE, one for each part that plays a note."""
    if not found:
        return np.zeros(0, BAR_NOTE)
    of = {name: np.concatenate([getattr(note, name) for note, _ in found]) for name in _Last.__slots__}
    micro = np.concatenate([shift for _, shift in found])
    row, part = np.nonzero(of["parts"])
    out = np.zeros(len(row), BAR_NOTE)
    out["bar"], out["onset"], out["pitch"] = of["bar"][row], of["clock"][row], of["pitch"][row] + PITCHES.start
    out["duration"], out["velocity"] = f.DURATIONS[of["duration"][row]], np.round(f.VELOCITIES[of["velocity"][row]])
    out["part"], out["micro"] = part, f.MICRO[micro[row]]
    return out[np.lexsort((out["part"], out["pitch"], out["onset"], out["bar"]))]


def _blended(piece: Piece, logits: NDArray[np.float32], numbers: Ints, knobs: Knobs) -> NDArray[np.float32]:
    """(K, T, 88) with the pull towards the source's cells that `engine.decoding` has near rest."""
    weight = BLEND_WEIGHT * max(1 - knobs.distance / BLEND_REACH, 0) if knobs.blend else 0.0
    if weight == 0:
        return logits
    out, source = logits - np.float32(weight), _renumbered(piece.bars, numbers)
    at = source["bar"], source["onset"], source["pitch"].astype(np.int64) - PITCHES.start
    out[at] = logits[at] + weight
    return out


def _as_source(piece: Piece, notes: NDArray[np.void], numbers: Ints, knobs: Knobs) -> NDArray[np.void]:
    """The notes; with `blend` those the source has too are the source's own."""
    if not knobs.blend:
        return notes
    source = _renumbered(piece.bars, numbers)
    own, written = (
        x["bar"].astype(np.int64) << 32 | x["onset"].astype(np.int64) << 8 | x["pitch"] for x in (source, notes)
    )
    both = np.concatenate([source[np.isin(own, written)], notes[~np.isin(written, own)]])
    return both[np.lexsort((both["part"], both["pitch"], both["onset"], both["bar"]))]


def _renumbered(notes: NDArray[np.void], numbers: Ints) -> NDArray[np.void]:
    """The notes of the given bars (ascending), which count from 0."""
    out = notes[np.isin(notes["bar"], numbers)]
    out["bar"] = np.searchsorted(numbers, out["bar"])
    return out


__all__ = ["refine"]
