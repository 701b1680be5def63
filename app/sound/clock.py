"""Follows the MIDI clock of another program: where its song is, how fast it goes, whether it runs.

Pure: hears messages with their times, knows no port. A line through the newest pulses tells tempo and place; when
pulses stray from it all to one side, the tempo has changed, and the line begins anew with those.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from app.sound.ports import CONTINUE, PULSE, SONG_POSITION, START, STOP

PULSES = 24  # in a quarter
WINDOW = 24  # pulses the line goes through
LEAST = 4  # pulses before a tempo is known
STRAY_PULSES = 4  # so many on one side of the line, and by
STRAY_SECONDS = 0.003  # this much in the mean, are a new tempo
GONE_SECONDS = 0.5  # without a pulse the clock has gone (a pulse is 125 ms at 20 quarters a minute)


class Follower:
    """The other's song, as far as it has been heard."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=WINDOW)  # of the newest pulses
        self._stray: deque[float] = deque(maxlen=STRAY_PULSES)  # seconds by which they came after the line
        self._line: tuple[float, float] | None = None  # (moment of the newest pulse, seconds a pulse), smoothed
        self._place = 0  # pulses from the song's beginning to the newest one
        self._runs = self._armed = False
        self.jumps = 0  # how often the song was placed anew: whoever plays along begins again then

    def hear(self, moment: float, message: bytes) -> None:
        """Take a message; those that are no clock are nobody's business here."""
        if message == PULSE:
            self._pulse(moment)
        elif message == START:
            self._locate(0)
            self._armed, self._runs = True, False
        elif message == CONTINUE:
            self._armed, self._runs = True, False
        elif message == STOP:
            self._armed = self._runs = False
        elif message[0] == SONG_POSITION and len(message) == 3:
            self._locate((message[1] | message[2] << 7) * PULSES // 4)

    def is_running(self, moment: float) -> bool:
        """True between the first pulse after a start and a stop, as long as pulses come."""
        return self._runs and bool(self._times) and moment - self._times[-1] < GONE_SECONDS

    @property
    def place(self) -> float:
        """Quarters from the song's beginning to the newest pulse."""
        return self._place / PULSES

    @property
    def quarters_a_second(self) -> float | None:
        """The tempo; None before it is known."""
        return 1 / (PULSES * self._line[1]) if self._line else None

    def quarters(self, moment: float, otherwise: float) -> float:
        """Where the song is; `otherwise` is the tempo in quarters a second as long as none is known."""
        if self._line:
            newest, gap = self._line
        else:
            newest, gap = (self._times[-1] if self._times else moment), 1 / (PULSES * otherwise)
        return (self._place + (moment - newest) / gap) / PULSES

    def _locate(self, place: int) -> None:
        """The next pulse after a start is at this one; while running, the newest pulse is."""
        self._place = place
        self.jumps += 1

    def _pulse(self, moment: float) -> None:
        if self._armed:  # this is the pulse that the place was told for
            self._armed, self._runs = False, True
            self.jumps += 1
        elif self._runs:
            self._place += 1
        if self._times and moment - self._times[-1] > GONE_SECONDS:
            self._forget(keep=0)
        if self._line:
            newest, gap = self._line
            self._stray.append(moment - newest - gap)
        self._times.append(moment)
        strays = np.array(self._stray)
        one_side = len(strays) == STRAY_PULSES and (np.sign(strays) == np.sign(strays[0])).all()
        if one_side and abs(strays.mean()) > STRAY_SECONDS:
            self._forget(keep=STRAY_PULSES)
        self._fit()

    def _forget(self, keep: int) -> None:
        self._times = deque(list(self._times)[len(self._times) - keep :], maxlen=WINDOW)
        self._stray.clear()
        self._line = None

    def _fit(self) -> None:
        """Least squares through (pulse, moment); the newest pulse is number 0."""
        n = len(self._times)
        if n < LEAST:
            return
        numbers = np.arange(1 - n, 1)
        gap, newest = np.polynomial.polynomial.polyfit(numbers, np.array(self._times) - self._times[-1], 1)[::-1]
        self._line = (self._times[-1] + float(newest), max(float(gap), 1e-3))
