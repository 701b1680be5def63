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
from engine.score.score import NOTE, Event, Score, Tempo, Track, pitched_channel
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

    Onset and duration are each the nearest clock (a duration half-way becomes the shorter, but not zero). Where that
    would make a note end before an earlier one of its pitch and part, which first-on first-off cannot say, it ends
    together with that one.
    """
    notes = score.notes[is_modelled(score)]
    out = np.empty(len(notes), NOTE)
    out["tick"] = to_clocks(notes["tick"], score.ticks_per_quarter)
    out["duration"] = to_clocks(notes["duration"], score.ticks_per_quarter, halves_up=False)
    out["duration"][
        (out["duration"] == 0) & (notes["duration"] * 2 * CLOCKS_PER_QUARTER >= score.ticks_per_quarter)
    ] = 1
    out["pitch"], out["velocity"] = notes["pitch"], notes["velocity"]
    out["track"] = np.searchsorted(part_tracks(score), notes["track"])
    line = out["track"].astype(np.int64) << 7 | out["pitch"]
    order = np.argsort(line, kind="stable")
    ends = (out["tick"] + out["duration"])[order]
    reach = int(ends.max(initial=0)) + 1
    group = np.cumsum(np.concatenate([[0], np.diff(line[order]) != 0])[: len(order)])
    ends = np.maximum.accumulate(ends + group * reach) - group * reach
    out["duration"][order] = ends - out["tick"][order]
    return out[np.argsort(out["tick"] << 11 | line, kind="stable")]


def encode(score: Score) -> Tokens:
    """Write a score as tokens; what has no token is left out."""
    clock, part, kind, token, velocity = _events(score)
    bins = velocity // VELOCITY_STEP
    gap = np.diff(clock, prepend=0)
    shifts = -(-gap // LONGEST_SHIFT)
    in_part, is_on = part >= 0, kind == _ON
    instrument = _changes(part, in_part)
    change = _changes(bins, is_on & (velocity > 0))
    length = shifts + instrument + change + 1
    start = 1 + np.cumsum(length) - length
    ids = np.full(int(length.sum()) + 2, FAMILIES["TIME_SHIFT"].id(LONGEST_SHIFT), np.int16)
    ids[0], ids[-1] = FAMILIES["START"].first, FAMILIES["END"].first
    rest = shifts > 0
    at = start + shifts
    ids[at[rest] - 1] = FAMILIES["TIME_SHIFT"].first - 1 + (gap - (shifts - 1) * LONGEST_SHIFT)[rest]
    ids[at[instrument]] = FAMILIES["INSTRUMENT"].first + part[instrument]
    ids[(at + instrument)[change]] = FAMILIES["VELOCITY_CHANGE"].first + bins[change]
    ids[at + instrument + change] = token
    return Tokens(ids, tuple(score.tracks[int(t)].program for t in part_tracks(score)))


def _events(score: Score) -> tuple[NDArray[np.int64], ...]:
    """(clock, part or -1, kind, token, velocity or 0) of every token that is not a state's, in canonical order."""
    notes = quantise(score)
    on, off = FAMILIES["NOTE_ON"].first - PITCHES.start, FAMILIES["NOTE_OFF"].first - PITCHES.start
    pitch, part, tick = (notes[f].astype(np.int64) for f in ("pitch", "track", "tick"))
    end, velocity = tick + notes["duration"], notes["velocity"].astype(np.int64)
    zero = end == tick
    none = np.zeros_like(pitch)
    # A note without length is its on and, directly after it, its off: both stand among the ons.
    tempo, pedal = _tempo_events(score), _pedal_events(score)
    rows = np.concatenate(
        [
            tempo,
            np.stack([end, part, none + _OFF, pitch, pitch + off, none], 1)[~zero],
            pedal,
            np.stack(
                [
                    np.stack([tick, part, none + _ON, pitch, pitch + on, np.maximum(velocity, 1)], 1),
                    np.stack([tick, part, none + _ON, pitch, pitch + off, none], 1),
                ],
                1,
            )[np.stack([np.ones_like(zero), zero], 1)],
        ]
    )
    clock, part, kind, pitch = rows.T[:4]
    rows = rows[np.argsort(clock << 14 | (part + 1) << 9 | kind << 7 | pitch, kind="stable")]
    return rows[:, 0], rows[:, 1], rows[:, 2], rows[:, 4], rows[:, 5]


def _tempo_events(score: Score) -> NDArray[np.int64]:
    """(n, 6) rows as in `_events`; of several tempi on a clock the last, of equal bins in a row the first."""
    latest: dict[int, int] = {}
    for tempo in score.tempi:
        latest[_clock(tempo.tick, score)] = tempo_bin(tempo.microseconds)
    latest = {0: tempo_bin(500_000)} | latest
    rows, current = [], -1
    for clock, bin_ in sorted(latest.items()):
        if bin_ != current:
            rows.append((clock, -1, 0, 0, FAMILIES["TEMPO"].first + bin_, 0))
            current = bin_
    return np.array(rows, np.int64)


def _pedal_events(score: Score) -> NDArray[np.int64]:
    """(n, 6) rows as in `_events`: each time a part's pedal goes down or up.

    A pedal on a track without notes of its own belongs to the first part on the same channel.
    """
    tracks = part_tracks(score).tolist()
    by_track = {track: part for part, track in enumerate(tracks)}
    by_channel = {score.tracks[track].channel: part for part, track in reversed(list(enumerate(tracks)))}
    rows, is_down = [], [False] * len(tracks)
    for event in score.events:
        data = event.data
        if data[0] & 0xF0 != 0xB0 or data[1] != SUSTAIN_PEDAL:
            continue
        part = by_track.get(event.track, by_channel.get(data[0] & 0xF))
        down = data[2] >= PEDAL_DOWN
        if part is not None and down != is_down[part]:
            is_down[part] = down
            rows.append((_clock(event.tick, score), part, _PEDAL, 0, FAMILIES["SUSTAIN"].first + down, 0))
    return np.array(rows, np.int64).reshape(-1, 6)


def _clock(tick: int, score: Score) -> int:
    """The nearest clock of one tick."""
    return int(to_clocks(np.asarray(tick), score.ticks_per_quarter))


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
    ids = tokens.ids.astype(np.int64)
    shift = np.where(_among(ids, "TIME_SHIFT"), ids - FAMILIES["TIME_SHIFT"].first + 1, 0)
    clock = np.cumsum(shift)
    part = _latest(ids, "INSTRUMENT", 0)
    bins = _latest(ids, "VELOCITY_CHANGE", 16)
    on, off = _among(ids, "NOTE_ON"), _among(ids, "NOTE_OFF")
    is_note = on | off
    is_on = on[is_note]
    pitch = np.where(on, ids - FAMILIES["NOTE_ON"].first, ids - FAMILIES["NOTE_OFF"].first)[is_note] + PITCHES.start
    release, _ = first_on_first_off(part[is_note] << 7 | pitch, is_on)
    end = np.append(clock[is_note], clock[-1:])[release[is_on]]  # -1, never released, takes the last clock
    notes = np.zeros(int(is_on.sum()), NOTE)
    notes["tick"], notes["pitch"] = clock[is_note][is_on], pitch[is_on]
    notes["duration"] = end - notes["tick"]
    notes["velocity"] = bins[is_note][is_on] * VELOCITY_STEP + VELOCITY_STEP // 2
    notes["track"] = part[is_note][is_on]
    pedal = np.flatnonzero(_among(ids, "SUSTAIN"))
    parts = max(len(tokens.programs), int(part[on | _among(ids, "SUSTAIN")].max(initial=-1)) + 1)
    programs = [*tokens.programs, *[0] * parts][:parts]
    tracks = tuple(Track("", program, pitched_channel(i)) for i, program in enumerate(programs))
    events = tuple(
        Event(t, p, bytes((0xB0 | tracks[p].channel, SUSTAIN_PEDAL, 127 * down)))
        for t, p, down in zip(
            clock[pedal].tolist(), part[pedal].tolist(), (ids[pedal] - FAMILIES["SUSTAIN"].first).tolist(), strict=True
        )
    )
    events = tuple(sorted(events, key=lambda e: (e.tick, e.track)))
    return Score(CLOCKS_PER_QUARTER, tracks, notes, tempi=_tempi(ids, clock), events=events)


def _among(ids: NDArray[np.int64], family: str) -> NDArray[np.bool_]:
    span = FAMILIES[family].ids
    return (ids >= span.start) & (ids < span.stop)


def _latest(ids: NDArray[np.int64], family: str, default: int) -> NDArray[np.int64]:
    """(M,) the value of the last token of the family at or before each place."""
    found = _among(ids, family)
    at = np.maximum.accumulate(np.where(found, np.arange(len(ids)), -1))
    return np.where(at >= 0, ids[at] - FAMILIES[family].first, default)


def _tempi(ids: NDArray[np.int64], clock: NDArray[np.int64]) -> tuple[Tempo, ...]:
    at = np.flatnonzero(_among(ids, "TEMPO"))
    bins = (ids[at] - FAMILIES["TEMPO"].first).tolist()
    by_clock = {0: 500_000} | {t: bin_microseconds(b) for t, b in zip(clock[at].tolist(), bins, strict=True)}
    return tuple(Tempo(t, microseconds) for t, microseconds in sorted(by_clock.items()))


def tempo_bin(microseconds: int) -> int:
    """The TEMPO bin nearest, in logarithm, to a tempo in microseconds per quarter."""
    steps = np.log2(60e6 / max(microseconds, 1) / TEMPO_BPM[0]) / np.log2(TEMPO_BPM[1] / TEMPO_BPM[0])
    return int(np.clip(np.round(steps), 0, len(TEMPO_BPM) - 1))


def bin_microseconds(bin_: int) -> int:
    """The tempo a bin stands for, in microseconds per quarter."""
    return round(60e6 / TEMPO_BPM[bin_])


assert len(PARTS) <= 31, "five bits hold a part in the sort key of _events"
