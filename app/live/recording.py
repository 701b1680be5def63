"""What is played in becomes notes: messages with their ticks, gathered until playing ends. Pure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from app.sound.ports import is_note_off, is_note_on
from engine.score.score import Score, Track, make_notes

Row = tuple[int, int, int, int, int]  # tick, duration, pitch, velocity, track


class Recording:
    """Notes of one track as they are played; keys still down have no end yet."""

    def __init__(self, track: int = 0) -> None:
        self.track = track
        self.rows: list[Row] = []
        self._down: dict[int, tuple[float, int]] = {}  # pitch -> (tick, velocity)

    def __len__(self) -> int:
        return len(self.rows) + len(self._down)

    def hear(self, tick: float, message: bytes) -> None:
        """Take a message that came at a tick; what is no note is left alone."""
        if is_note_on(message):
            self._end(message[1], tick)
            self._down[message[1]] = (tick, message[2])
        elif is_note_off(message):
            self._end(message[1], tick)

    def finish(self, tick: float) -> list[Row]:
        """End the keys still down and return every note, in order."""
        for pitch in list(self._down):
            self._end(pitch, tick)
        return sorted(self.rows)

    def until(self, tick: float) -> list[Row]:
        """The notes so far, as if every key were let go at `tick`; those still down stay so."""
        held = [_row(start, tick, pitch, velocity, self.track) for pitch, (start, velocity) in self._down.items()]
        return sorted([*self.rows, *held])

    def _end(self, pitch: int, tick: float) -> None:
        if pitch in self._down:
            start, velocity = self._down.pop(pitch)
            self.rows.append(_row(start, tick, pitch, velocity, self.track))


def _row(start: float, end: float, pitch: int, velocity: int, track: int) -> Row:
    """A note; one that a loop has turned around lasts a tick."""
    return round(max(start, 0)), max(round(end - start), 1), pitch, velocity, track


def onto(score: Score, rows: list[Row]) -> Score:
    """The score with recorded notes in it; a song without any track gets one."""
    if not rows:
        return score
    tracks = score.tracks or (Track("Recorded"),)
    return replace(score, tracks=tracks, notes=np.concatenate([score.notes, make_notes(rows)]))
