"""What of a piece goes to which port: all of it, some tracks on channels of their own, or a metronome's clicks.

A view turns the score into the score that a port plays. Views are values: equal ones share one scheduler.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from app.sound.ports import CONTROL, DRUM_CHANNEL, NOTE_OFF, NOTE_ON, PROGRAM, Port, Timed
from engine.score.score import Score, Track, make_notes
from engine.score.timing import BarGrid, TempoMap

HIGH_CLICK, LOW_CLICK = 76, 77  # wood blocks of a General MIDI drum kit
CLICK_SECONDS = 0.05
BARS_BEYOND = 512  # of clicks, past the end of the piece


class View(Protocol):
    """A part of a piece as a port hears it."""

    def __call__(self, score: Score) -> Score:
        """The score to play."""

    def channel(self, score: Score, track: int) -> int | None:
        """The channel on which `track` sounds; None where it does not."""


@dataclass(frozen=True, slots=True)
class Whole:
    """Every track on the channel it has in the file."""

    def __call__(self, score: Score) -> Score:
        return score

    def channel(self, score: Score, track: int) -> int | None:
        if track >= len(score.tracks):
            return 0
        return DRUM_CHANNEL if score.tracks[track].is_drum else score.tracks[track].channel & 15


@dataclass(frozen=True, slots=True)
class Routed:
    """Only these tracks, each on a channel of its own (0 to 15) or on the file's (None)."""

    routes: tuple[tuple[int, int | None], ...]  # (track, channel)

    def __call__(self, score: Score) -> Score:
        channels = {track: self.channel(score, track) for track, _ in self.routes}
        tracks = list(score.tracks)
        for track, channel in channels.items():
            if track < len(tracks) and channel is not None:
                tracks[track] = replace(tracks[track], channel=channel, is_drum=channel == DRUM_CHANNEL)
        events = []
        for event in score.events:
            if event.track in channels and event.data and 0x80 <= event.data[0] < 0xF0:
                data = bytes((event.data[0] & 0xF0 | (channels[event.track] or 0), *event.data[1:]))
                events.append(replace(event, data=data))
        heard = score.notes[np.isin(score.notes["track"], list(channels))]
        return Score(score.ticks_per_quarter, tuple(tracks), heard, score.meters, score.tempi, tuple(events))

    def channel(self, score: Score, track: int) -> int | None:
        for routed, channel in self.routes:
            if routed == track:
                return Whole().channel(score, track) if channel is None else channel
        return None


@dataclass(frozen=True, slots=True)
class Clicks:
    """A click a beat, the first of a bar higher; goes on where the piece has ended."""

    def __call__(self, score: Score) -> Score:
        grid = BarGrid.of(score)
        bar = int(grid.starts[-1] - grid.starts[-2])
        grid = BarGrid.of(score, int(grid.starts[-1]) + BARS_BEYOND * bar)
        beats = [
            (int(start + beat * 4 * score.ticks_per_quarter / lower), beat == 0)
            for start, upper, lower in zip(grid.starts[:-1], grid.numerators, grid.denominators, strict=True)
            for beat in range(int(upper))
        ]
        length = max(score.ticks_per_quarter // 8, 1)
        rows = [(tick, length, HIGH_CLICK if first else LOW_CLICK, 110 if first else 80, 0) for tick, first in beats]
        drums = (Track("Metronome", 0, DRUM_CHANNEL, True),)
        return Score(score.ticks_per_quarter, drums, make_notes(rows), score.meters, score.tempi)

    def channel(self, score: Score, track: int) -> int | None:
        return None


WHOLE, CLICKS = Whole(), Clicks()


@dataclass(frozen=True, slots=True)
class Output:
    """A port, what it plays, and whether it gets the MIDI clock."""

    port: Port
    view: View = WHOLE
    clock: bool = False


def count_in(score: Score, tick: float, bars: int, began: float) -> tuple[list[Timed], float]:
    """Clicks of `bars` bars in meter and tempo of `tick`, from the moment `began` on; and the moment they end."""
    grid, tempo = BarGrid.of(score), TempoMap.of(score)
    here = int(grid.bar_of(tick))
    upper, lower = int(grid.numerators[here]), int(grid.denominators[here])
    beat = float(tempo.to_seconds(tick + 4 * score.ticks_per_quarter / lower) - tempo.to_seconds(tick))
    program = bytes((PROGRAM | DRUM_CHANNEL, 0)), bytes((CONTROL | DRUM_CHANNEL, 7, 100))
    out: list[Timed] = [(began, data) for data in program]
    for i in range(bars * upper):
        pitch, velocity = (LOW_CLICK, 80) if i % upper else (HIGH_CLICK, 110)
        out.append((began + i * beat, bytes((NOTE_ON | DRUM_CHANNEL, pitch, velocity))))
        out.append((began + i * beat + CLICK_SECONDS, bytes((NOTE_OFF | DRUM_CHANNEL, pitch, 64))))
    return out, began + bars * upper * beat
