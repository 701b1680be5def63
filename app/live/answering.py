"""A conversation by bars: the last two bars played are the question, the next bar is the answer. Pure.

Knows bars and notes; who makes the answer, and who plays it, stands elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from app.live.recording import Recording
from engine.score.score import Meter, Score, make_notes
from engine.score.timing import BarGrid

HEARD_BARS = 2


@dataclass(frozen=True, slots=True)
class Question:
    """What was played in the bars before `tick`, as a score that begins at 0; the answer sounds from `tick` on."""

    score: Score
    tick: int  # of the song: the next bar line
    length: int  # ticks of the bar to fill, and of each bar heard


class Answering:
    """Listens, and asks where two bars have been played since the last answer."""

    def __init__(self, score: Score, track: int) -> None:
        self._score, self._track = score, track
        self._grid = BarGrid.of(score)
        self._heard = Recording(track)
        self._asked = -1  # bar lines before this tick have been seen to

    def hear(self, tick: float, message: bytes) -> None:
        """Take a message that came at a tick."""
        self._heard.hear(tick, message)

    def line_after(self, tick: float) -> tuple[int, int]:
        """(tick, length of the bar before it) of the next bar line; past the end bars go on like the last."""
        bar = int(self._grid.bar_of(max(tick, 0.0)))
        start, end = int(self._grid.starts[bar]), int(self._grid.starts[bar + 1])
        length = end - start
        if tick >= end:
            end += (int(tick - end) // length + 1) * length
        return end, length

    def question(self, tick: float, lead: float) -> Question | None:
        """What to ask now, `lead` ticks or less before a bar line, if something was played in the last two bars."""
        line, length = self.line_after(tick)
        if line - tick > lead or line == self._asked:
            return None
        begin = line - HEARD_BARS * length
        rows = [row for row in self._heard.until(line) if row[0] >= begin]
        self._heard.rows = [row for row in self._heard.rows if row[0] >= begin]
        if not rows or (self._asked >= 0 and line < self._asked + HEARD_BARS * length):
            return None
        self._asked = line
        program = self._score.tracks[self._track] if self._track < len(self._score.tracks) else None
        bar = self._grid.bar_of(tick)
        meter = Meter(0, int(self._grid.numerators[bar]), int(self._grid.denominators[bar]))
        moved = make_notes((at - begin, min(long, line - at), pitch, loud, 0) for at, long, pitch, loud, _ in rows)
        track = replace(program, is_drum=False, channel=0) if program else None
        tempo = replace([t for t in self._score.tempi if t.tick <= tick][-1], tick=0) if self._score.tempi else None
        asked = Score(
            self._score.ticks_per_quarter,
            (track,) if track else self._score.tracks[:1],
            moved,
            (meter,),
            (tempo,) if tempo else (),
        )
        return Question(asked, line, length)


def answer_of(made: Score, length: int) -> list[tuple[int, int, int, int]]:
    """(tick into the bar, duration, pitch, velocity) of the bar after the two that were heard."""
    begin = HEARD_BARS * length
    inside = (made.notes["tick"] >= begin) & (made.notes["tick"] < begin + length)
    rows = made.notes[inside]
    ends = np.minimum(rows["duration"], length - (rows["tick"] - begin))
    return [
        (int(row["tick"]) - begin, max(int(end), 1), int(row["pitch"]), max(int(row["velocity"]), 1))
        for row, end in zip(rows, ends, strict=True)
    ]
