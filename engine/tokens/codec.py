"""Score to the 774 event tokens and back, with exact clocks: nothing accumulates, so nothing drifts.

One order is canonical, and `engine.tokens.grammar` accepts no other: START, then tick by tick TEMPO, then part by part
note-offs by pitch, pedal changes, note-ons by pitch; END. A state token (TEMPO, INSTRUMENT, VELOCITY_CHANGE, SUSTAIN)
comes only where the state changes, and a long silence is as many whole TIME_SHIFTs as fit, then the rest.
Drums, pitches outside the 88 keys, parts past the sixteenth, meters and controllers other than the pedal have no token.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.score.pairing import first_on_first_off
from engine.score.score import DEFAULT_TEMPO, NOTE, Event, Score, Tempo, Track, pitched_channel
from engine.score.timing import CLOCKS_PER_QUARTER
from engine.tokens.bars import is_modelled, part_tracks
from engine.tokens.vocab import FAMILIES, PARTS, PITCHES, TEMPO_BPM, VELOCITY_STEP

SUSTAIN_PEDAL = 64  # the controller's number
PEDAL_DOWN = 64  # the least value of it that counts as down
LONGEST_SHIFT = FAMILIES["TIME_SHIFT"].values[-1]
_OFF, _PEDAL, _ON = range(3)  # order within a part and tick


@dataclass(frozen=True, slots=True, eq=False)
class Tokens:
    """A piece as event tokens."""

    ids: NDArray[np.int16]  # (M,) token ids, START first and END last
    programs: tuple[int, ...]  # MIDI program of each part, which the ids do not say


def to_clocks(ticks: NDArray[np.int64], ticks_per_quarter: int, halves_up: bool = True) -> NDArray[np.int64]:
    """Ticks to the nearest clock; in whole numbers, so a long file loses nothing."""
    return (ticks * (2 * CLOCKS_PER_QUARTER) + ticks_per_quarter - (not halves_up)) // (2 * ticks_per_quarter)


def quantise(score: Score) -> NDArray[np.void]:
    """The modelled notes as the tokens say them: NOTE in clocks, `track` holding the part, velocities as they were.

    Releases go to the notes of their part and pitch first-on first-off. Onset and duration are each the nearest clock
    (a duration half-way becomes the shorter, but not zero); where that would make a note end before an earlier one of
    its pitch and part, it ends together with that one.
    """
    notes = score.notes[is_modelled(score)]
    part = np.searchsorted(part_tracks(score), notes["track"])
    line = part << 7 | notes["pitch"]
    order = np.argsort(line, kind="stable")  # line by line, each in order of time
    onset = notes["tick"][order]
    end = onset + notes["duration"][order]
    rise = np.cumsum(np.diff(line[order], prepend=0) != 0) * (2 * int(end.max(initial=0)) + 2)  # parts line from line
    exact = np.sort(end + rise, kind="stable") - rise - onset
    start = to_clocks(onset, score.ticks_per_quarter)
    duration = to_clocks(exact, score.ticks_per_quarter, halves_up=False)
    duration[(duration == 0) & (exact * 2 * CLOCKS_PER_QUARTER >= score.ticks_per_quarter)] = 1
    rise = rise * CLOCKS_PER_QUARTER  # clocks may be finer than ticks
    out = np.empty(len(notes), NOTE)
    out["tick"], out["duration"] = start, np.maximum.accumulate(start + duration + rise) - rise - start
    out["pitch"], out["velocity"], out["track"] = notes["pitch"][order], notes["velocity"][order], part[order]
    return out[np.argsort(start << 11 | line[order], kind="stable")]


def encode(score: Score) -> Tokens:
    """Write a score as tokens; what has no token is left out."""
    place, token, bins = _events(score)
    clock, part, is_on = place >> 14, (place >> 9 & 31) - 1, bins >= 0
    gap = np.diff(clock, prepend=0)
    shifts = -(-gap // LONGEST_SHIFT)
    instrument = _changes(part, part >= 0)
    change = _changes(bins, is_on)
    length = shifts + instrument + change + 1
    at = np.cumsum(length) - length + shifts + 1  # where an event's own tokens begin, after its shifts
    ids = np.full(int(length.sum()) + 2, FAMILIES["TIME_SHIFT"].id(LONGEST_SHIFT), np.int16)
    ids[0], ids[-1] = FAMILIES["START"].first, FAMILIES["END"].first
    late = shifts > 0
    ids[at[late] - 1] = FAMILIES["TIME_SHIFT"].first - 1 + (gap - (shifts - 1) * LONGEST_SHIFT)[late]
    ids[at[instrument]] = FAMILIES["INSTRUMENT"].first + part[instrument]
    ids[(at + instrument)[change]] = FAMILIES["VELOCITY_CHANGE"].first + bins[change]
    ids[at + instrument + change] = token
    return Tokens(ids, tuple(score.tracks[int(t)].program for t in part_tracks(score)))


def _events(score: Score) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Every token that is not a state's, in canonical order: its place (see `_place`), id and, of ons, velocity bin."""
    notes = quantise(score)
    pitch, part, tick = (notes[f].astype(np.int64) for f in ("pitch", "track", "tick"))
    end = tick + notes["duration"]
    bins = notes["velocity"].astype(np.int64) // VELOCITY_STEP
    on = pitch + (FAMILIES["NOTE_ON"].first - PITCHES.start)
    off = pitch + (FAMILIES["NOTE_OFF"].first - PITCHES.start)
    none = np.full_like(pitch, -1)
    zero = end == tick  # the off of such a note follows its on directly: both stand among the ons
    ons_and_zeros = np.stack([np.ones_like(zero), zero], 1)
    tempo_place, tempo = _tempo_events(score)
    pedal_place, pedal = _pedal_events(score)
    place = np.concatenate(
        [
            tempo_place,
            _place(end, part, _OFF, pitch)[~zero],
            pedal_place,
            np.repeat(_place(tick, part, _ON, pitch), ons_and_zeros.sum(1)),
        ]
    )
    token = np.concatenate([tempo, off[~zero], pedal, np.stack([on, off], 1)[ons_and_zeros]])
    bin_ = np.full(len(place), -1)
    bin_[len(place) - int(ons_and_zeros.sum()) :] = np.stack([bins, none], 1)[ons_and_zeros]
    order = np.argsort(place, kind="stable")
    return place[order], token[order], bin_[order]


def _place(
    clock: NDArray[np.int64], part: NDArray[np.int64] | int, kind: int, pitch: NDArray[np.int64] | int
) -> NDArray[np.int64]:
    """One number to sort by: clock, part (-1: none), kind, pitch."""
    return clock << 14 | (part + 1) << 9 | kind << 7 | pitch


def _tempo_events(score: Score) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(place, token) of each tempo; of several on a clock the last, of equal bins in a row the first."""
    tempi = np.array([(0, DEFAULT_TEMPO), *((t.tick, t.microseconds) for t in score.tempi)], np.int64)
    tempi = tempi[np.argsort(tempi[:, 0], kind="stable")]
    clock, bins = to_clocks(tempi[:, 0], score.ticks_per_quarter), tempo_bins(tempi[:, 1])
    last = np.diff(clock, append=-1) != 0
    clock, bins = clock[last], bins[last]
    new = np.diff(bins, prepend=-1) != 0
    return _place(clock[new], -1, 0, 0), FAMILIES["TEMPO"].first + bins[new]


def pedal_parts(score: Score) -> list[int | None]:
    """Of each event the part whose pedal it moves, or None for any other event.

    A pedal on a track without notes of its own belongs to the first part on the same channel.
    """
    tracks = part_tracks(score).tolist()
    by_track = {track: part for part, track in enumerate(tracks)}
    by_channel = {score.tracks[track].channel: part for part, track in reversed(list(enumerate(tracks)))}
    return [
        by_track.get(e.track, by_channel.get(e.data[0] & 0xF))
        if e.data[0] & 0xF0 == 0xB0 and e.data[1] == SUSTAIN_PEDAL
        else None
        for e in score.events
    ]


def _pedal_events(score: Score) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(place, token) of each time a part's pedal goes down or up."""
    moves, is_down = [], dict.fromkeys(range(len(PARTS)), False)
    for event, part in zip(score.events, pedal_parts(score), strict=True):
        if part is not None and (down := event.data[2] >= PEDAL_DOWN) != is_down[part]:
            is_down[part] = down
            moves.append((event.tick, part, down))
    ticks, parts, downs = np.array(moves, np.int64).reshape(-1, 3).T
    return _place(to_clocks(ticks, score.ticks_per_quarter), parts, _PEDAL, 0), FAMILIES["SUSTAIN"].first + downs


def _changes(values: NDArray[np.int64], counts: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Where a value that counts differs from the last one that counted; the first one always does."""
    at = np.flatnonzero(counts)
    out = np.zeros(len(values), bool)
    out[at] = np.diff(values[at], prepend=-1) != 0
    return out


def decode(tokens: Tokens) -> Score:
    """Read tokens back as a score of 24 ticks a quarter, in 4/4. Any sequence of ids has a reading.

    Velocities and tempi take the middle of their bin; a note never released lasts to the end; ids with no meaning in
    their place are passed over.
    """
    ids = tokens.ids
    among = {name: (ids >= f.first) & (ids < f.ids.stop) for name, f in FAMILIES.items() if len(f.ids) > 1}
    value = {name: ids[found].astype(np.int64) - FAMILIES[name].first for name, found in among.items()}
    step = np.zeros(len(ids), np.int64)
    step[among["TIME_SHIFT"]] = value["TIME_SHIFT"] + 1
    clock = np.cumsum(step)
    part = _latest(among["INSTRUMENT"], value["INSTRUMENT"], 0)
    bins = _latest(among["VELOCITY_CHANGE"], value["VELOCITY_CHANGE"], 64 // VELOCITY_STEP)

    on, either = among["NOTE_ON"], among["NOTE_ON"] | among["NOTE_OFF"]
    is_on, here = on[either], clock[either]
    pitch = np.empty(len(is_on), np.int64)
    pitch[is_on], pitch[~is_on] = value["NOTE_ON"], value["NOTE_OFF"]
    release, _ = first_on_first_off(part[either] << 7 | pitch, is_on)
    notes = np.zeros(int(is_on.sum()), NOTE)
    notes["tick"], notes["pitch"], notes["track"] = clock[on], value["NOTE_ON"] + PITCHES.start, part[on]
    notes["duration"] = np.append(here, clock[-1:])[release[is_on]] - clock[on]  # -1, never released: the last clock
    notes["velocity"] = bins[on] * VELOCITY_STEP + VELOCITY_STEP // 2

    pedal = among["SUSTAIN"]
    parts = max(len(tokens.programs), int(part[on | pedal].max(initial=-1)) + 1)
    programs = [*tokens.programs, *[0] * parts][:parts]
    tracks = tuple(Track("", program, pitched_channel(i)) for i, program in enumerate(programs))
    moves = zip(clock[pedal].tolist(), part[pedal].tolist(), value["SUSTAIN"].tolist(), strict=True)
    events = [Event(t, p, bytes((0xB0 | tracks[p].channel, SUSTAIN_PEDAL, 127 * down))) for t, p, down in moves]
    events.sort(key=lambda e: (e.tick, e.track))
    tempi = dict(zip(clock[among["TEMPO"]].tolist(), value["TEMPO"].tolist(), strict=True))
    speeds = {0: DEFAULT_TEMPO} | {t: bin_microseconds(b) for t, b in tempi.items()}
    return Score(
        CLOCKS_PER_QUARTER,
        tracks,
        notes,
        tempi=tuple(Tempo(*at) for at in sorted(speeds.items())),
        events=tuple(events),
    )


def _latest(found: NDArray[np.bool_], values: NDArray[np.int64], default: int) -> NDArray[np.int64]:
    """(M,) at each place the newest of `values`, which stand in order where `found` is True."""
    return np.concatenate([[default], values])[np.cumsum(found)]


def tempo_bins(microseconds: NDArray[np.int64]) -> NDArray[np.int64]:
    """The TEMPO bins nearest, in logarithm, to tempi in microseconds per quarter."""
    steps = np.log2(60e6 / np.maximum(microseconds, 1) / TEMPO_BPM[0]) / np.log2(TEMPO_BPM[1] / TEMPO_BPM[0])
    bins: NDArray[np.int64] = np.clip(np.round(steps), 0, len(TEMPO_BPM) - 1).astype(np.int64)
    return bins


def bin_microseconds(bin_: int) -> int:
    """The tempo a bin stands for, in microseconds per quarter."""
    return round(60e6 / TEMPO_BPM[bin_])


assert len(PARTS) <= 31, "five bits hold a part in `_place`"
