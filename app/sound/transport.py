"""Plays a score to its ports: play, pause, stop, seek, loop, another score while playing. No Qt, no thread of its own.

Somebody calls `feed` many times a second; it hands the ports what falls due within the look-ahead. So what is heard
depends neither on when it is called nor on what else this process does, as long as the look-ahead is not exceeded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum

from app.sound.ports import NOTE_OFF, NOTE_ON, Port, Timed, now
from app.sound.scheduler import Scheduler
from app.sound.timeline import Timeline
from engine.score.score import Score

START_SECONDS = 0.05  # from play() to the first note: what a port needs to be on time
LOOK_AHEAD_SECONDS = 0.5
LATE_SECONDS = 0.25  # later than this, playing goes on where it was instead of catching up


class State(Enum):
    """What the transport does.

    STOPPED --play--> PLAYING --pause--> PAUSED --play--> PLAYING; stop, and the end of the piece, lead to STOPPED.
    """

    STOPPED = "stopped"
    PLAYING = "playing"
    PAUSED = "paused"


class Transport:
    """A score, a position and some ports. `clock` is injected so that tests need no real time."""

    def __init__(self, score: Score, clock: Callable[[], float] = now) -> None:
        self.look_ahead = LOOK_AHEAD_SECONDS  # seconds; 2.0 while something may freeze this process
        self._clock = clock
        self._score = score
        self._timeline = Timeline.of(score)
        self._ports: tuple[Port, ...] = ()
        self._scheduler: Scheduler | None = None  # while playing
        self._tick = 0.0  # where playing begins
        self._origin = 0.0  # where stop returns to
        self._loop: tuple[int, int] | None = None

    @property
    def state(self) -> State:
        """Playing, paused or stopped."""
        if self._scheduler:
            return State.PLAYING
        return State.PAUSED if self._tick != self._origin else State.STOPPED

    @property
    def ports(self) -> tuple[Port, ...]:
        """Where the music goes."""
        return self._ports

    @property
    def score(self) -> Score:
        """What is played."""
        return self._score

    def position_tick(self) -> float:
        """The tick heard now."""
        return self._scheduler.position(self._clock()) if self._scheduler else self._tick

    # ------------------------------------------------------------ the transport's buttons

    def play(self) -> None:
        """Play from the position; from the beginning when it stands at the end."""
        if self._scheduler:
            return
        if self._tick >= self._timeline.end_tick:
            self._tick = self._loop[0] if self._loop else 0.0
        if self.state is State.STOPPED:
            self._origin = self._tick
        self._start(self._tick)

    def pause(self) -> None:
        """Fall silent and stay at the position."""
        self._tick = self.position_tick()
        self._halt()

    def stop(self) -> None:
        """Fall silent and go back to where playing began; when already stopped, to the beginning."""
        self._origin = 0.0 if self.state is State.STOPPED else self._origin
        self._tick = self._origin
        self._halt()

    def seek(self, tick: float) -> None:
        """Go to a tick and play on from there if playing."""
        self._tick = self._origin = max(float(tick), 0.0)
        if self._scheduler:
            self._halt()
            self._start(self._tick)

    def set_loop(self, loop: tuple[int, int] | None) -> None:
        """Repeat the ticks [a, b), or None."""
        self._loop = loop
        if self._scheduler:
            self._scheduler.set_loop(loop)

    def set_score(self, score: Score) -> None:
        """Play this score from now on; while playing it takes over after what the ports already have."""
        scale = score.ticks_per_quarter / self._score.ticks_per_quarter
        self._tick, self._origin = self._tick * scale, self._origin * scale
        self._score, self._timeline = score, Timeline.of(score, self._timeline)
        if self._scheduler:
            self._scheduler.replace(score)

    def set_ports(self, ports: Sequence[Port]) -> None:
        """Play to these ports; those that are no longer among them fall silent, new ones join in."""
        for port in self._ports:
            if port not in ports:
                port.silence()
        joining = [port for port in ports if port not in self._ports]
        self._ports = tuple(ports)
        if self._scheduler:
            moment = self._clock()
            for port in joining:
                port.send([(moment, data) for data in self._scheduler.state()])

    def panic(self) -> None:
        """Pause, and all notes off everywhere."""
        self.pause()
        for port in self._ports:
            port.panic()

    def audition(self, track: int, pitch: int, velocity: int = 90, seconds: float = 0.3) -> None:
        """Sound one note now, in the voice of a track."""
        timeline = self._timeline
        channel = timeline.channels[track] if track < len(timeline.channels) else 0
        moment = self._clock()
        batch: list[Timed] = []
        if not self._scheduler:
            batch = [(moment, data) for key, data in timeline.state_at(self._tick).items() if key[0] & 15 == channel]
        batch.append((moment, bytes((NOTE_ON | channel, pitch & 127, velocity & 127))))
        batch.append((moment + seconds, bytes((NOTE_OFF | channel, pitch & 127, 64))))
        self._send(batch)

    # ------------------------------------------------------------ time

    def feed(self) -> None:
        """Hand the ports what falls due within the look-ahead; call it several times per look-ahead."""
        for port in self._ports:
            port.poll()
        if not self._scheduler:
            return
        moment = self._clock()
        end = self._scheduler.end_wall
        if end is not None:
            if moment >= end:
                self.stop()
            return
        if moment > self._scheduler.wall + LATE_SECONDS:
            self._scheduler.delay(moment + START_SECONDS)
        self._send(self._scheduler.advance(moment + self.look_ahead))

    def close(self) -> None:
        """Fall silent and close every port."""
        self._halt()
        for port in self._ports:
            port.close()
        self._ports = ()

    def _start(self, tick: float) -> None:
        began = self._clock() + START_SECONDS
        self._scheduler = Scheduler(self._score, tick, began, self._loop, self._timeline)
        self.feed()

    def _halt(self) -> None:
        self._scheduler = None
        for port in self._ports:
            port.silence()

    def _send(self, batch: Sequence[Timed]) -> None:
        if batch:
            for port in self._ports:
                port.send(batch)
