"""Edits of tempo and meter, each a pure function from `Score` to `Score`. Tempi in quarters a minute.

An edit that changes nothing returns the very same `Score`. Nothing here knows about windows or undo.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from engine.errors import MorphonyError
from engine.score.score import DEFAULT_TEMPO, Meter, Score, Tempo
from engine.score.timing import BarGrid

SLOWEST, FASTEST = 4.0, 999.0  # what a MIDI file can hold begins just under 4
NUMERATORS: Final = range(1, 33)
DENOMINATORS: Final = (1, 2, 4, 8, 16, 32)


def tempo_at(score: Score, tick: float) -> Tempo:
    """The tempo that holds at a tick, with the tick it began at; of several on one tick the last."""
    held = [Tempo(0, DEFAULT_TEMPO), *sorted((t for t in score.tempi if t.tick <= tick), key=_tick)]
    return held[-1]


def meter_at(score: Score, tick: float) -> Meter:
    """The meter that holds at a tick, with the tick it began at."""
    held = [Meter(0, 4, 4), *sorted((m for m in score.meters if m.tick <= tick), key=_tick)]
    return held[-1]


def set_tempo(score: Score, tick: int, per_minute: float) -> Score:
    """Let a tempo hold from `tick` to the next change."""
    if not SLOWEST <= per_minute <= FASTEST:
        raise MorphonyError(f"A tempo lies between {SLOWEST:.0f} and {FASTEST:.0f} quarters a minute.")
    tempo = Tempo(max(int(tick), 0), round(60e6 / per_minute))
    if tempo_at(score, tempo.tick).microseconds == tempo.microseconds:
        return score
    others = [t for t in score.tempi if t.tick != tempo.tick]
    return replace(score, tempi=tuple(sorted((*others, tempo), key=_tick)))


def set_one_tempo(score: Score, per_minute: float) -> Score:
    """One tempo from the first tick to the last."""
    set_tempo(score, 0, per_minute)  # refuses what cannot be
    tempi = (Tempo(0, round(60e6 / per_minute)),)
    return score if tempi == score.tempi else replace(score, tempi=tempi)


def remove_tempo(score: Score, tick: int) -> Score:
    """Take the change at `tick` away: what held before goes on. The first tempo stays."""
    kept = tuple(t for t in score.tempi if t.tick != tick or tick == 0)
    return score if len(kept) == len(score.tempi) else replace(score, tempi=kept)


def set_meter(score: Score, bar: int, numerator: int, denominator: int) -> Score:
    """Let a meter hold from the head of a bar (0-based) to the next change."""
    if numerator not in NUMERATORS or denominator not in DENOMINATORS:
        raise MorphonyError(f"{numerator}/{denominator} is no meter that can be written.")
    grid = BarGrid.of(score)
    tick = int(grid.starts[min(max(bar, 0), len(grid))])
    meter = Meter(tick, numerator, denominator)
    held = meter_at(score, tick)
    if (held.numerator, held.denominator) == (numerator, denominator):
        return score
    others = [m for m in score.meters if m.tick != tick]
    return replace(score, meters=tuple(sorted((*others, meter), key=_tick)))


def remove_meter(score: Score, tick: int) -> Score:
    """Take the change at `tick` away. The first meter stays."""
    kept = tuple(m for m in score.meters if m.tick != tick or tick == 0)
    return score if len(kept) == len(score.meters) else replace(score, meters=kept)


def _tick(change: Tempo | Meter) -> int:
    return change.tick
