"""Latents and slider offsets to notes: the path a drag takes.

Decode at rest and as told, choose cells, close what the sliders still ask for by tilting logits, then give each note
its duration, velocity, micro-shift and parts. Source notes enter only through `blend`, which figures switch off.

K bars of a chunk, T clocks, M candidate rows, J notes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from engine import tilt
from engine.attributes import INDEX, measure_one
from engine.model import fields as f
from engine.model.batch import Offsets
from engine.model.decoder import OF_ONSETS, Fields
from engine.sampling import (
    DURATION,
    MICRO,
    ONSET,
    VELOCITY,
    Bools,
    Floats,
    Ints,
    Rows,
    gumbel,
    hold_counts,
    logistic,
    rows_above,
    rows_at,
)
from engine.session import Piece, Session
from engine.tokens.bars import BAR_NOTE
from engine.tokens.vocab import PITCHES, VELOCITY_STEP

BLEND_WEIGHT = 3.5  # log-odds towards the source's notes at a slider's first touch
BLEND_REACH = 0.4  # sigma over which that weight decays to nothing
FLAT = 1.0  # velocity: a piece with less spread than this is played flat


@dataclass(frozen=True, slots=True)
class Knobs:
    """Everything that shapes a decoding besides latents."""

    offsets: NDArray[np.float64]  # (12,) sigma; NaN where a slider is free
    shift: dict[str, float]  # colour sliders
    seed: int = 0
    temperature: float = 0.0
    blend: bool = True

    def moved(self, names: tuple[str, ...]) -> list[str]:
        """Which of these sliders are off their rest."""
        return [n for n in names if abs(self.offsets[INDEX[n]]) > 0]  # NaN is not

    @property
    def distance(self) -> float:
        """Sigma from rest of whatever can move an onset or a pitch."""
        onsets = np.abs(np.nan_to_num(self.offsets[list(OF_ONSETS)])).max()
        return float(max([onsets, *map(abs, self.shift.values())]))


def decode(session: Session, piece: Piece, bars: list[int], knobs: Knobs) -> NDArray[np.void]:
    """BAR_NOTE of the given bars, numbered as in the piece."""
    index = torch.tensor(bars, dtype=torch.int64)
    chunk = _Chunk(session, piece, index, knobs)
    still = knobs.blend and knobs.distance == 0
    if still:
        cells = chunk.source_cells()
    else:
        cells = chunk.choose()
    notes = chunk.describe(cells)
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
        value = torch.from_numpy(np.nan_to_num(knobs.offsets).clip(-6, 6)).float().expand(k, -1)
        self.offsets = Offsets(value, torch.from_numpy(known).float().expand(k, -1))
        self.none = Offsets.none(k)
        p = session.config.model.threshold
        self.threshold = float(np.log(p / (1 - p)))
        self.shift = torch.zeros(k, piece.z_fine.shape[1])
        for name, amount in knobs.shift.items():
            self.shift = self.shift + amount * session.colours[name]
        steered = bool(knobs.moved(tilt.ONSET_STAGE + tilt.PITCH_STAGE))
        self.rest_grid, self.rest_slots = self._at_rest()
        self.grid, self.slots = self._decoded(self.offsets) if steered else (self.rest_grid, self.rest_slots)

    def _decoded(self, offsets: Offsets) -> tuple[NDArray[np.float32], torch.Tensor]:
        """(K, T, 88) logits relative to the threshold, and the slots they came from."""
        slots = self.session.slots(self.piece, self.index, self.shift, offsets)
        with torch.no_grad():
            logits = self.session.model.decoder.onsets(slots).view(len(slots), -1, f.N_PITCHES)
        return (logits - self.threshold).cpu().numpy(), slots

    def _at_rest(self) -> tuple[NDArray[np.float32], torch.Tensor]:
        """The decoding with every named slider at rest; remembered bar by bar while no colour is moved."""
        cache = self.piece.cache
        if any(self.knobs.shift.values()):
            return self._decoded(self.none)
        if not all(int(b) in cache for b in self.index):
            grid, slots = self._decoded(self.none)
            for i, b in enumerate(self.index):
                n = -(-int(self.clocks[i]) // f.SLOT_CLOCKS)
                cache[int(b)] = grid[i, : n * f.SLOT_CLOCKS], slots[i, :n]
        kept = [cache[int(b)] for b in self.index]
        wide = max(len(s) for _, s in kept)
        grid = np.full((len(kept), wide * f.SLOT_CLOCKS, f.N_PITCHES), -30, np.float32)
        slots = kept[0][1].new_zeros(len(kept), wide, kept[0][1].shape[-1])
        for i, (g, s) in enumerate(kept):
            grid[i, : len(g)], slots[i, : len(s)] = g, s
        return grid, slots

    def choose(self) -> Rows:
        """The cells that sound: onset sliders choose freely, pitch sliders keep the number of notes of each onset."""
        rest = self._noisy(self._blended(rows_above(self.rest_grid, self.clocks)))
        rest = _only(rest, rest.logit > 0)
        chosen = rest
        if self.knobs.moved(tilt.ONSET_STAGE):
            chosen = self._tilt_onsets(rest)
        if self.knobs.moved(tilt.PITCH_STAGE):
            chosen = self._tilt_pitches(chosen, rest)
        return chosen

    def _tilt_onsets(self, rest: Rows) -> Rows:
        rows = self._noisy(self._blended(rows_above(self.grid, self.clocks)))
        durations = self._lengths(rows, self.slots, self.offsets) if self.knobs.moved(("polyphony",)) else None
        logits = self._tilted(rows, rest, rest, tilt.ONSET_STAGE, lambda x: x > 0, durations)
        return _only(rows.with_logits(logits), logits > 0)

    def _tilt_pitches(self, current: Rows, rest: Rows) -> Rows:
        places, counts = np.unique(np.stack([current.bar, current.onset], -1), axis=0, return_counts=True)
        if not len(places):
            return current
        rows = self._noisy(self._blended(rows_at(self.grid, self.clocks, places)))
        logits = self._tilted(rows, rest, current, tilt.PITCH_STAGE, lambda x: hold_counts(x, counts))
        return _only(rows.with_logits(logits), hold_counts(logits[None], counts)[0])

    def _tilted(
        self,
        rows: Rows,
        rest: Rows,
        current: Rows,
        stage: tuple[str, ...],
        select: tilt.Select,
        durations: Floats | None = None,
    ) -> Floats:
        """(M,) logits with every moved slider of a stage solved for; two rounds where sliders meet."""
        reference, logits, names = _is_in(rows, current), rows.logit, self.knobs.moved(stage)
        everything = np.ones((1, len(rest.bar)), bool)
        for name in names * (2 if len(names) > 1 else 1):
            held = self._lengths(rest, self.rest_slots, self.none) if name == "polyphony" else None
            step = self._step(name)
            start = tilt.gauge(rest, everything, name, step > 0, self.anchor, held)[0]
            keys = self.bar_numbers
            logits = tilt.solve(rows, logits, name, step, start, reference, select, self.anchor, keys, durations)
        return logits

    def _noisy(self, rows: Rows) -> Rows:
        t = self.knobs.temperature
        if t == 0:
            return rows
        noise = logistic(self.knobs.seed, self.bar_numbers[rows.bar], rows.onset, rows.pitch, ONSET)
        return rows.with_logits(rows.logit + t * noise)

    def _blended(self, rows: Rows) -> Rows:
        """Near rest, pull towards the source's cells; the weight is gone at BLEND_REACH."""
        weight = BLEND_WEIGHT * max(1 - self.knobs.distance / BLEND_REACH, 0) if self.knobs.blend else 0.0
        if weight == 0:
            return rows
        side = np.where(_is_in(rows, self.source_cells()), weight, -weight)
        return rows.with_logits(rows.logit + side)

    def source_notes(self) -> NDArray[np.void]:
        """BAR_NOTE of the source's bars, renumbered 0 to K-1."""
        bars = self.piece.bars
        ends = np.searchsorted(bars["bar"], [self.bar_numbers, self.bar_numbers + 1])
        parts = [bars[a:b].copy() for a, b in ends.T]
        for i, part in enumerate(parts):
            part["bar"] = i
        return np.concatenate(parts)

    def source_cells(self) -> Rows:
        """The source's cells, one row each."""
        s = self.source_notes()
        cells = np.unique(np.stack([s["bar"], s["onset"], s["pitch"]], -1).astype(np.int64), axis=0)
        bar, onset, pitch = cells.T
        return Rows(bar, onset, pitch, np.ones(len(cells)), self.clocks)

    def _fields(self, rows: Rows, slots: torch.Tensor, offsets: Offsets) -> Fields:
        with torch.no_grad():
            return self.session.model.decoder.fields(slots, *self._cells(rows), offsets.to(slots.device))

    def _lengths(self, rows: Rows, slots: torch.Tensor, offsets: Offsets) -> Floats:
        """(M,) likeliest duration of each row, in clocks."""
        with torch.no_grad():
            logits = self.session.model.decoder.durations(slots, *self._cells(rows), offsets.to(slots.device))
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
        told = self._fields(cells, self.slots, self.offsets)
        moved = bool(self.knobs.moved(("articulation", "dynamics", "dynamic_spread")))
        rest = self._fields(cells, self.slots, self.none) if moved else told
        duration, velocity = self._durations(cells, told, rest), self._velocities(cells, told, rest)
        decoded = self._notes(cells, told, duration, velocity)
        if not self.knobs.blend:
            return decoded
        source = self.source_notes()
        at = np.searchsorted(_key(cells), _key(source)).clip(max=max(len(cells.bar) - 1, 0))
        stays = _key(cells)[at] == _key(source) if len(cells.bar) else np.zeros(len(source), bool)
        source, at = source[stays], at[stays]
        if moved:
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

    def _classes(self, logits: torch.Tensor, cells: Rows, key: int) -> Floats:
        """Class logits (J, C) as NumPy, with noise at a temperature above 0."""
        out = logits.cpu().numpy().astype(np.float64)
        if self.knobs.temperature > 0:
            where = (self.bar_numbers[cells.bar], cells.onset, cells.pitch, key)
            out += self.knobs.temperature * gumbel(self.knobs.seed, out.shape[1], *where)
        return out

    def _durations(self, cells: Rows, told: Fields, rest: Fields) -> Floats:
        """(J,) clocks."""
        logits = self._classes(told.duration, cells, DURATION)
        if not self.knobs.moved(("articulation",)):
            return np.asarray(f.DURATIONS[logits.argmax(-1)])
        scale = np.log2(f.DURATIONS)
        start = scale[self._classes(rest.duration, cells, DURATION).argmax(-1)]
        measure = _FieldMeasure(cells, "articulation", "duration", f.DURATIONS)
        at_rest = measure(np.searchsorted(scale, start)[None])[0]
        goal = tilt.target("articulation", at_rest, self._step("articulation"), self.anchor)
        return np.asarray(f.DURATIONS[tilt.solve_classes(logits, scale, start, cells.bar, goal, measure)])

    def _velocities(self, cells: Rows, told: Fields, rest: Fields) -> Floats:
        """(J,) 1 to 127."""
        logits = self._classes(told.velocity, cells, VELOCITY)
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


def _only(rows: Rows, chosen: Bools) -> Rows:
    return Rows(rows.bar[chosen], rows.onset[chosen], rows.pitch[chosen], rows.logit[chosen], rows.clocks)


def _is_in(rows: Rows, others: Rows) -> Bools:
    return np.isin(_key(rows), _key(others))


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


class _FieldMeasure:
    """Measures one attribute per bar on trial classes (L, J) of one field."""

    def __init__(self, cells: Rows, name: str, field: str, values: Floats) -> None:
        self.cells, self.name, self.field, self.values = cells, name, field, values

    def __call__(self, classes: NDArray[np.int64]) -> Floats:
        """(L, K)."""
        notes = self.cells.notes(np.ones(classes.shape, bool))
        notes[self.field] = self.values[classes.reshape(-1)]
        measured = measure_one(self.name, notes, np.tile(self.cells.clocks, len(classes)))
        out: Floats = measured.reshape(len(classes), -1)
        return out


__all__ = ["Knobs", "decode"]
