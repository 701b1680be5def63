"""A stretch of bars as a score of its own. Knows bars, meters and events; no files, no model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from engine.score.score import Event, Meter, Score, Tempo
from engine.score.timing import CLOCKS_PER_QUARTER, BarGrid

_PASSING = (0x01, 0x05, 0x06, 0x07)  # metas that belong to their moment: text, lyric, marker, cue


def cut(score: Score, grid: BarGrid, bars: range) -> Score:
    """Only these bars: bar `bars.start` begins at tick 0, notes end with the last bar.

    Meter, tempo, key, programs, controllers and names in force at the cut hold from tick 0. A note belongs to the bar
    its onset, rounded to the clock, lies in.
    """
    start, end = int(grid.starts[bars.start]), int(grid.starts[bars.stop])
    half_clock = score.ticks_per_quarter / CLOCKS_PER_QUARTER / 2
    bar = grid.bar_of(np.ceil(score.notes["tick"] + half_clock - 1e-9).astype(np.int64))
    notes = score.notes[(bar >= bars.start) & (bar < bars.stop)].copy()
    onset = np.maximum(notes["tick"], start)
    notes["duration"] = np.maximum(np.minimum(notes["tick"] + notes["duration"], end) - onset, 0)
    notes["tick"] = onset - start
    meters = {max(m.tick - start, 0): m for m in sorted(score.meters, key=lambda m: m.tick) if m.tick < end}
    tempi = {max(t.tick - start, 0): t for t in sorted(score.tempi, key=lambda t: t.tick) if t.tick < end}
    return replace(
        score,
        notes=notes,
        meters=tuple(Meter(tick, m.numerator, m.denominator) for tick, m in meters.items()),
        tempi=tuple(Tempo(tick, t.microseconds) for tick, t in tempi.items()),
        events=_events(score, start, end),
    )


def _events(score: Score, start: int, end: int) -> tuple[Event, ...]:
    """Events of the stretch, after the last of each kind that still holds at its start."""
    holding: dict[tuple[int, bytes], Event] = {}
    inside = []
    for event in sorted(score.events, key=lambda e: e.tick):
        if event.tick >= start:
            if event.tick < end:
                inside.append(replace(event, tick=event.tick - start))
        elif event.data[0] == 0xFF:
            if event.data[1] not in _PASSING:
                holding[event.track, event.data[:2]] = replace(event, tick=0)
        else:
            kind = event.data[: {0xB0: 2, 0xA0: 2}.get(event.data[0] & 0xF0, 1)]
            kind = event.data if event.data[0] == 0xF0 else kind
            holding.pop((event.track, kind), None)  # the order in which they last came
            holding[event.track, kind] = replace(event, tick=0)
    return (*holding.values(), *inside)
