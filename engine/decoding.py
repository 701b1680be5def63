"""Latents and slider offsets to notes: the path a drag takes.

Decode at rest and as told, choose cells, close what the sliders still ask for by tilting logits, then give each note
its duration, velocity, micro-shift and parts. Source notes enter only through `blend`, which figures switch off.

K bars of a chunk, T clocks, M candidate rows, J notes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from engine import grids, tilt
from engine.attributes import INDEX, measure_one
from engine.filters import filter_logits
from engine.masks import FORBIDDEN, Masks, at_most, held, nearness, voices
from engine.model import fields as f
from engine.model.batch import Offsets
from engine.model.decoder import OF_ONSETS, Fields
from engine.sampling import (
    DURATION,
    MICRO,
    VELOCITY,
    Bools,
    Floats,
    Goal,
    Ints,
    Judge,
    Rows,
    best_of,
    gumbel,
    rows_at,
    sampled,
)
from engine.session import Piece, Session
from engine.tokens.bars import BAR_NOTE
from engine.tokens.vocab import PITCHES, VELOCITY_STEP

BLEND_WEIGHT = 3.5  # log-odds towards the source's notes at a slider's first touch
BLEND_REACH = 0.4  # sigma over which that weight decays to nothing
CERTAIN = 1e6  # logit of what no other cell may displace
FLAT = 1.0  # velocity: a piece with less spread than this is played flat


@dataclass(frozen=True)
class Knobs:
    """Everything that shapes a decoding besides latents."""

    offsets: NDArray[np.float64]  # (12,) sigma; NaN where a slider is free
    shift: dict[str, float]  # sliders of latents: colours and instant styles
    seed: int = 0
    temperature: float = 0.0
    blend: bool = True
    top_k: int = 0
    top_p: float = 1.0
    beam: int = 1
    goal: Goal | None = None
    masks: Masks = field(default_factory=Masks)
    away: float = 0.0  # sigma between these latents and the source's own
    refine: float | None = None  # see engine.refining, which alone reads it

    def moved(self, names: tuple[str, ...]) -> list[str]:
        """Which of these sliders are off their rest."""
        return [n for n in names if abs(self.offsets[INDEX[n]]) > 0]  # NaN is not

    @cached_property
    def distance(self) -> float:
        """Sigma from rest of whatever can move an onset or a pitch."""
        onsets = np.abs(np.nan_to_num(self.offsets[list(OF_ONSETS)])).max()
        return float(max([onsets, self.away, *map(abs, self.shift.values())]))


def decode(session: Session, piece: Piece, bars: list[int], knobs: Knobs) -> NDArray[np.void]:
    """BAR_NOTE of the given bars, numbered as in the piece."""
    with flushed():
        return _decode(session, piece, bars, knobs)


@contextmanager
def flushed() -> Iterator[None]:
    """Denormal numbers count as 0 inside: GELU of a large negative number is one, and takes ten times as long."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)  # the thread's own arithmetic is as it was


def _decode(session: Session, piece: Piece, bars: list[int], knobs: Knobs) -> NDArray[np.void]:
    index = torch.tensor(bars, dtype=torch.int64)
    chunk = _Chunk(session, session.styled(piece, knobs.shift), index, knobs)
    still = knobs.blend and knobs.distance == 0
    if still:
        cells = chunk.heard()
    else:
        cells = chunk.choose()
    notes = voices(chunk.describe(cells), chunk.clocks, knobs.masks.max_notes)
    notes["bar"] = np.array(bars)[notes["bar"]]
    return notes


class _Chunk:
    """A few bars being decoded together."""

    def __init__(self, session: Session, piece: Piece, index: torch.Tensor, knobs: Knobs) -> None:
        self.session, self.piece, self.index, self.knobs = session, piece, index, knobs
        self.clocks: Ints = piece.conditions.clocks[index].numpy()
        k = len(index)
        self.bar_numbers = index.numpy()
        self.anchor = tilt.Anchor.of(piece.bars)
        known = np.isfinite(knobs.offsets) & (knobs.offsets != 0)
        known[[INDEX[name] for name in tilt.UNTOLD]] = False
        value = torch.from_numpy(np.nan_to_num(knobs.offsets).clip(-6, 6)).float().expand(k, -1)
        self.offsets = Offsets(value, torch.from_numpy(known).float().expand(k, -1))
        self.none = Offsets.none(k)
        shift = colour_shift(session, knobs)
        self.rest = grids.at_rest(session, piece, index, shift)
        steered = bool(set(knobs.moved(tilt.ONSET_STAGE + tilt.PITCH_STAGE)) - set(tilt.UNTOLD))
        self.told = grids.told(session, piece, index, shift, self.offsets) if steered else self.rest

    def choose(self) -> Rows:
        """The cells that sound: onset sliders choose freely, pitch sliders keep the number of notes of each onset."""
        rows = self._noisy(self._blended(self.rest.candidates))
        rest = self._allowed(_only(rows, self._free(rows, rows.logit[None])[0]), self.rest)
        chosen = rest
        if self.knobs.moved(tilt.ONSET_STAGE):
            chosen = self._allowed(self._tilt_onsets(rest), self.told)
        elif self.knobs.goal and self.knobs.beam > 1:
            chosen = self._allowed(self._beam(rows, rows.logit, rest), self.told)
        if self.knobs.moved(tilt.PITCH_STAGE):
            chosen = self._tilt_pitches(chosen, rest)
        return chosen

    def _tilt_onsets(self, rest: Rows) -> Rows:
        rows = self._noisy(self._blended(self.told.candidates))
        lengths = _Lengths(self, rows, some=self.knobs.beam == 1 and self.knobs.masks.max_notes is None)
        logits = self._tilted(rows, rest, rest, tilt.ONSET_STAGE, self._free, lengths)
        if self.knobs.beam > 1:
            every = np.full(len(logits), bool(self.knobs.moved(("polyphony",))))
            return self._beam(rows, logits, rest, lengths(every))
        return _only(rows.with_logits(logits), self._free(rows, logits[None])[0])

    def heard(self) -> Rows:
        """The source's cells, as far as the masks let them."""
        cells, masks = self.source_cells, self.knobs.masks
        if not masks:
            return cells
        told = self.rest.logits[cells.bar, cells.onset, cells.pitch - PITCHES.start].astype(np.float64)
        every = np.ones((1, len(told)), bool)
        return self._allowed(_only(cells, at_most(cells, told[None], every, masks.max_notes)[0]), self.rest)

    def _free(self, rows: Rows, logits: Floats) -> Bools:
        """What sounds where cells choose for themselves: all above the threshold, or as many as the masks let in."""
        return at_most(rows, logits, logits > 0, self.knobs.masks.max_notes)

    def _allowed(self, chosen: Rows, grid: grids.Decoded | grids.Rest) -> Rows:
        """Chosen cells with each one the masks refuse replaced by the likeliest pitch of its onset they let in."""
        masks = self.knobs.masks
        if not masks.of_pitch or not len(chosen.bar):
            return chosen
        places, counts = _places(chosen)
        rows = self._noisy(self._blended(rows_at(grid.logits, self.clocks, places)))
        welcome = _is_in(rows, chosen) & (masks.penalty(rows, self.bar_numbers) == 0)
        refused = _only(chosen, masks.penalty(chosen, self.bar_numbers) <= FORBIDDEN)
        logits = np.where(welcome, CERTAIN, rows.logit + nearness(rows, refused))
        return _only(rows, held(masks, rows, self.bar_numbers, counts)(logits[None])[0])

    def _beam(self, rows: Rows, logits: Floats, rest: Rows, durations: Floats | None = None) -> Rows:
        """Of the likeliest choices of every bar, each within the masks, the nearest to the goal or the sliders."""
        limit = self.knobs.masks.max_notes
        judge = self._judge(rows, rest, durations)

        def within(chosen: Bools) -> Bools:
            return at_most(rows, np.broadcast_to(logits, chosen.shape), chosen, limit)

        chosen = best_of(rows, logits, self.knobs.beam, lambda x: judge(within(x)))
        return _only(rows.with_logits(logits), within(chosen[None])[0])

    def _judge(self, rows: Rows, rest: Rows, durations: Floats | None) -> Judge:
        """How far a choice is from the caller's goal, else from where the onset sliders point, in sigma."""
        goal, everything = self.knobs.goal, np.ones((1, len(rest.bar)), bool)
        if goal is not None:
            return lambda x: goal(rows.notes(x, durations), np.tile(rows.clocks, len(x))).reshape(len(x), -1)
        wanted = {}
        for name in self.knobs.moved(tilt.ONSET_STAGE):
            held_for = self.lengths(rest, self.rest.slots, self.none) if name == "polyphony" else None
            step = self._step(name)
            start = tilt.gauge(rest, everything, name, step > 0, self.anchor, held_for)[0]
            wanted[name] = step, tilt.target(name, start, step, self.anchor)

        def distance(chosen: Bools) -> Floats:
            total = np.zeros((len(chosen), len(rows.clocks)))
            for name, (step, aim) in wanted.items():
                found = tilt.gauge(rows, chosen, name, step > 0, self.anchor, durations)
                total += np.nan_to_num(np.abs(found - aim)) / self.session.deviations[INDEX[name]]
            return total

        return distance

    def _tilt_pitches(self, current: Rows, rest: Rows) -> Rows:
        if not len(current.bar):
            return current
        places, counts = _places(current)
        rows = self._noisy(self._blended(rows_at(self.told.logits, self.clocks, places)))
        select = held(self.knobs.masks, rows, self.bar_numbers, counts)
        logits = self._tilted(rows, rest, current, tilt.PITCH_STAGE, lambda _, x: select(x))
        return _only(rows.with_logits(logits), select(logits[None])[0])

    def _tilted(
        self,
        rows: Rows,
        rest: Rows,
        current: Rows,
        stage: tuple[str, ...],
        select: tilt.Select,
        lengths: tilt.Lengths | None = None,
    ) -> Floats:
        """(M,) logits with every moved slider of a stage solved for; two rounds where sliders meet."""
        reference, logits, names = _is_in(rows, current), rows.logit, self.knobs.moved(stage)
        everything = np.ones((1, len(rest.bar)), bool)
        for name in names * (2 if len(names) > 1 else 1):
            held = self.lengths(rest, self.rest.slots, self.none) if name == "polyphony" else None
            step = self._step(name)
            start = tilt.gauge(rest, everything, name, step > 0, self.anchor, held)[0]
            keys, grows = self.bar_numbers, stage == tilt.ONSET_STAGE and self.knobs.masks.max_notes is None
            logits = tilt.solve(rows, logits, name, step, start, reference, select, self.anchor, keys, lengths, grows)
        return logits

    def _noisy(self, rows: Rows) -> Rows:
        k = self.knobs
        return sampled(rows, self.bar_numbers, k.seed, k.temperature, k.top_k, k.top_p)

    def _blended(self, rows: Rows) -> Rows:
        """Near rest, pull towards the source's cells; the weight is gone at BLEND_REACH."""
        weight = BLEND_WEIGHT * max(1 - self.knobs.distance / BLEND_REACH, 0) if self.knobs.blend else 0.0
        if weight == 0:
            return rows
        side = np.where(_is_in(rows, self.source_cells), weight, -weight)
        return rows.with_logits(rows.logit + side)

    @cached_property
    def source_notes(self) -> NDArray[np.void]:
        """BAR_NOTE of the source's bars, renumbered 0 to K-1."""
        bars = self.piece.bars
        first, end = np.searchsorted(bars["bar"], [self.bar_numbers, self.bar_numbers + 1])
        bar = np.repeat(np.arange(len(first)), end - first)
        out: NDArray[np.void] = bars[first[bar] + _count_within(end - first)]
        out["bar"] = bar
        return out

    @cached_property
    def source_cells(self) -> Rows:
        """The source's cells, one row each."""
        s = self.source_notes
        s = s[np.unique(_key(s), return_index=True)[1]]
        bar, onset, pitch = (s[name].astype(np.int64) for name in ("bar", "onset", "pitch"))
        return Rows(bar, onset, pitch, np.ones(len(s)), self.clocks)

    def _fields(self, rows: Rows, slots: torch.Tensor, offsets: Offsets) -> Fields:
        with torch.no_grad():
            return self.session.decoder.fields(slots, *self._cells(rows), offsets.to(slots.device))

    def _unmoved(self, cells: Rows, told: Fields, long: bool, loud: bool) -> Fields:
        """The fields with the sliders of durations and velocities at rest, given those that are told of them."""
        decoder, where = self.session.decoder, (self.told.slots, *self._cells(cells), self.none.to(self.session.device))
        with torch.no_grad():
            return replace(
                told,
                duration=decoder.durations(*where) if long else told.duration,
                velocity=decoder.velocities(*where) if loud else told.velocity,
            )

    def lengths(self, rows: Rows, slots: torch.Tensor, offsets: Offsets) -> Floats:
        """(M,) likeliest duration of each row, in clocks."""
        with torch.no_grad():
            logits = self.session.decoder.durations(slots, *self._cells(rows), offsets.to(slots.device))
        out: Floats = f.DURATIONS[logits.argmax(-1).cpu().numpy()]
        return out

    def _cells(self, rows: Rows) -> tuple[torch.Tensor, torch.Tensor]:
        """(M,) bar and cell of each row, as the decoder takes them."""
        cell = torch.from_numpy(rows.onset * f.N_PITCHES + rows.pitch - PITCHES.start)
        return torch.from_numpy(rows.bar).to(self.session.device), cell.to(self.session.device)

    def describe(self, cells: Rows) -> NDArray[np.void]:
        """BAR_NOTE of the chosen cells; a cell with several parts gives several notes.

        With `blend`, notes the source has keep its fields, moved by what the sliders changed in the decoder's own.
        """
        source = self.source_notes[: None if self.knobs.blend else 0]
        at, stays = _find(_key(source), _key(cells))
        source, at = source[stays], at[stays]
        new = np.ones(len(cells.bar), bool)
        new[at] = False
        long, loud = self.knobs.moved(("articulation",)), self.knobs.moved(("dynamics", "dynamic_spread"))
        if not (long or loud):
            cells = _only(cells, new)
        told = self._fields(cells, self.told.slots, self.offsets)
        rest = self._unmoved(cells, told, bool(long), bool(loud))
        duration, velocity = self._durations(cells, told, rest), self._velocities(cells, told, rest)
        decoded = self._notes(cells, told, duration, velocity)
        if long or loud:
            logits = self._classes(rest.duration, cells, DURATION), self._classes(rest.velocity, cells, VELOCITY)
            was_long, was_loud = f.DURATIONS[logits[0].argmax(-1)], np.round(f.VELOCITIES[logits[1].argmax(-1)])
            source["duration"] = np.maximum(source["duration"] * (duration / was_long)[at], 0.25)
            source["velocity"] = (source["velocity"] + (velocity - was_loud)[at]).clip(1, 127)
        both = np.concatenate([source, decoded[~np.isin(_key(decoded), _key(source))]])
        out: NDArray[np.void] = both[np.lexsort((both["part"], both["pitch"], both["onset"], both["bar"]))]
        return out

    def _notes(self, cells: Rows, told: Fields, duration: Floats, velocity: Floats) -> NDArray[np.void]:
        parts = told.part.cpu().numpy().astype(np.float64)
        plays = self.piece.conditions.parts[self.index].numpy()[cells.bar] > 0
        parts = np.where(plays, parts, -np.inf)
        row, part = np.nonzero((parts > 0) | (parts == parts.max(1, keepdims=True)))
        out = np.zeros(len(row), BAR_NOTE)
        out["bar"], out["onset"], out["pitch"] = cells.bar[row], cells.onset[row], cells.pitch[row]
        out["duration"], out["velocity"], out["part"] = duration[row], velocity[row], part
        out["micro"] = f.MICRO[self._classes(told.micro, cells, MICRO).argmax(-1)][row]
        return out

    def _classes(self, logits: torch.Tensor, cells: Rows, key: int, steered: bool = False) -> Floats:
        """Class logits (J, C) as NumPy, filtered and with noise at a temperature above 0; a slider may reach any."""
        out, k = logits.cpu().numpy().astype(np.float64), self.knobs
        if k.temperature > 0:
            where = (self.bar_numbers[cells.bar], cells.onset, cells.pitch, key)
            if not steered and (k.top_k or k.top_p < 1):
                out = k.temperature * filter_logits(out, k.temperature, k.top_k, k.top_p)
            out += k.temperature * gumbel(k.seed, out.shape[1], *where)
        return out

    def _durations(self, cells: Rows, told: Fields, rest: Fields) -> Floats:
        """(J,) clocks."""
        moved = bool(self.knobs.moved(("articulation",)))
        logits = self._classes(told.duration, cells, DURATION, moved)
        if not moved:
            return np.asarray(f.DURATIONS[logits.argmax(-1)])
        scale = np.log2(f.DURATIONS)
        start = scale[self._classes(rest.duration, cells, DURATION).argmax(-1)]
        measure = _FieldMeasure(cells, "articulation", "duration", f.DURATIONS)
        at_rest = measure(np.searchsorted(scale, start)[None])[0]
        goal = tilt.target("articulation", at_rest, self._step("articulation"), self.anchor)
        return np.asarray(f.DURATIONS[tilt.solve_classes(logits, scale, start, cells.bar, goal, measure)])

    def _velocities(self, cells: Rows, told: Fields, rest: Fields) -> Floats:
        """(J,) 1 to 127."""
        logits = self._classes(told.velocity, cells, VELOCITY, bool(self.knobs.moved(("dynamics", "dynamic_spread"))))
        chosen = logits.argmax(-1)
        plain = self._classes(rest.velocity, cells, VELOCITY).argmax(-1)
        scale = f.VELOCITIES / 16
        if self.knobs.moved(("dynamic_spread",)):
            fine = f.VELOCITIES / VELOCITY_STEP  # bins: so firm that accents come out as they were meant
            place = self._spread(cells, told, f.VELOCITIES[plain]) / VELOCITY_STEP
            plain = chosen = tilt.nudge(logits, fine, place)
        if self.knobs.moved(("dynamics",)):
            measure = _FieldMeasure(cells, "dynamics", "velocity", f.VELOCITIES)
            goal = tilt.target("dynamics", measure(plain[None])[0], self._step("dynamics"), self.anchor)
            chosen = tilt.solve_classes(logits, scale, scale[plain], cells.bar, goal.clip(1, 127), measure)
        out: Floats = np.clip(np.round(f.VELOCITIES[chosen]), 1, 127)
        return out

    def _spread(self, cells: Rows, told: Fields, start: Floats) -> Floats:
        """(J,) where velocities go when their spread about the piece's mean changes.

        Bars that are played flat take their accents from what the decoder hears in them.
        """
        mean, spread = (float(self.piece.attributes[INDEX[n]]) for n in ("dynamics", "dynamic_spread"))
        step = self._step("dynamic_spread")
        place = start
        if spread > FLAT:
            wanted = float(tilt.target("dynamic_spread", np.array([spread]), step, self.anchor)[0])
            place = mean + (start - mean) * wanted / spread
        if step < 0:
            return place
        heard = (_softmax(told.velocity.cpu().numpy().astype(np.float64)) * f.VELOCITIES).sum(-1)
        accent, scatter = self._about_the_bar(cells, heard)
        flat = self._about_the_bar(cells, start)[1] <= FLAT
        accented: Floats = place + np.where(flat, step * accent / np.maximum(scatter, 1e-6), 0.0)
        return accented

    def _about_the_bar(self, cells: Rows, values: Floats) -> tuple[Floats, Floats]:
        """(J,) difference of each note's value from the mean of its bar, and the standard deviation there."""
        count = np.maximum(np.bincount(cells.bar, minlength=len(self.clocks)), 1)
        off = values - (np.bincount(cells.bar, values, minlength=len(count)) / count)[cells.bar]
        return off, np.sqrt(np.bincount(cells.bar, off**2, minlength=len(count)) / count)[cells.bar]

    def _step(self, name: str) -> float:
        """How far a slider asks to go, in its attribute's own unit."""
        return float(self.knobs.offsets[INDEX[name]] * self.session.deviations[INDEX[name]])


def colour_shift(session: Session, knobs: Knobs) -> torch.Tensor | None:
    """(F,) how far the colour sliders move the latents of a bar; None where they rest."""
    on = [amount * session.colours[name] for name, amount in knobs.shift.items() if amount and name in session.colours]
    return torch.stack(on).sum(0) if on else None


def _only(rows: Rows, chosen: Bools) -> Rows:
    return Rows(rows.bar[chosen], rows.onset[chosen], rows.pitch[chosen], rows.logit[chosen], rows.clocks)


def _is_in(rows: Rows, others: Rows) -> Bools:
    """(M,) True for the cells that are also among the others."""
    out = np.zeros(len(rows.bar), bool)
    at, found = _find(_key(others), _key(rows))
    out[at[found]] = True
    return out


def _find(keys: Ints, among: Ints) -> tuple[Ints, Bools]:
    """Where each key is among ascending ones, and whether it is."""
    if not len(among):
        return np.zeros(len(keys), np.int64), np.zeros(len(keys), bool)
    at = np.searchsorted(among, keys).clip(max=len(among) - 1)
    return at, among[at] == keys


def _count_within(lengths: Ints) -> Ints:
    """0, 1, 2, ... for each of some runs of these lengths, one after the other."""
    return np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)


def _places(cells: Rows) -> tuple[Ints, Ints]:
    """(P, 2) bar and clock of each onset, (P,) how many cells it has."""
    _, first, counts = np.unique(cells.place, return_index=True, return_counts=True)
    return np.stack([cells.bar[first], cells.onset[first]], -1), counts


def _key(cells: Rows | NDArray[np.void]) -> Ints:
    """One number for each cell's place: bar, onset, pitch."""
    bar, onset, pitch = (
        (cells.bar, cells.onset, cells.pitch)
        if isinstance(cells, Rows)
        else (cells[name].astype(np.int64) for name in ("bar", "onset", "pitch"))
    )
    key: Ints = bar << 32 | onset << 8 | pitch
    return key


def _softmax(x: Floats) -> Floats:
    e = np.exp(x - x.max(-1, keepdims=True))
    out: Floats = e / e.sum(-1, keepdims=True)
    return out


class _Lengths:
    """(M,) likeliest durations of candidate cells, in clocks; `some`: of those asked for, the others count as one."""

    def __init__(self, chunk: _Chunk, rows: Rows, some: bool) -> None:
        self.chunk, self.rows, self.some = chunk, rows, some
        self.values, self.known = np.ones(len(rows.bar)), np.zeros(len(rows.bar), bool)

    def __call__(self, wanted: Bools) -> Floats:
        new = ~self.known & (wanted if self.some else wanted.any())
        if new.any():
            told = self.chunk.told.slots
            self.values[new] = self.chunk.lengths(_only(self.rows, new), told, self.chunk.offsets)
            self.known |= new
        return self.values


class _FieldMeasure:
    """Measures one attribute per bar on trial classes (L, J) of one field."""

    def __init__(self, cells: Rows, name: str, field: str, values: Floats) -> None:
        self.cells, self.name, self.field = cells, name, field
        self.values = values.astype(BAR_NOTE[field])  # as notes hold them

    def __call__(self, classes: NDArray[np.int64]) -> Floats:
        """(L, K)."""
        bar = np.arange(len(classes))[:, None] * len(self.cells.clocks) + self.cells.bar
        notes = {"bar": bar.reshape(-1), self.field: self.values[classes.reshape(-1)]}
        measured = measure_one(self.name, notes, np.tile(self.cells.clocks, len(classes)))
        out: Floats = measured.reshape(len(classes), -1)
        return out


__all__ = ["Knobs", "decode"]
