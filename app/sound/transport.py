"""Plays a score to its ports: play, pause, stop, seek, loop, another score while playing. No Qt, no thread of its own.

Somebody calls `feed` many times a second; it hands the ports what falls due within the look-ahead. So what is heard
depends neither on when it is called nor on what else this process does, as long as the look-ahead is not exceeded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum

from app.sound.clock import Follower
from app.sound.outputs import WHOLE, Output, View, count_in
from app.sound.ports import NOTE_OFF, NOTE_ON, Port, Timed, now
from app.sound.scheduler import Scheduler
from app.sound.timeline import Timeline
from engine.score.score import Score

START_SECONDS = 0.05  # from play() to the first note: what a port needs to be on time
LOOK_AHEAD_SECONDS = 0.5
LATE_SECONDS = 0.25  # later than this, playing goes on where it was instead of catching up
FOLLOW_SECONDS = 0.15  # the look-ahead behind another's clock: what has been handed out can no longer follow
STEER_SECONDS = 0.15  # in so long playing is where the other's clock is
JUMP_QUARTERS = 0.5  # farther off than this, playing begins anew there
PACES = (0.2, 5.0)  # of the other's tempo: how slowly and how fast playing may go to get there


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
        self._outputs: tuple[Output, ...] = ()
        self._scheduler: Scheduler | None = None  # while playing; of the whole piece
        self._others: dict[tuple[View, bool], Scheduler] = {}  # by (view, clock), beside it
        self._follower: Follower | None = None
        self._voiced: dict[Port, tuple[object, int]] = {}  # whose programs each port has had while nothing plays
        self._jumps = 0  # of the follower, seen so far
        self.count_in_bars = 0  # clicks before playing from a standstill
        self.clicker: Port | None = None  # where they sound
        self.endless = False  # go on when the piece has ended: somebody records
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
        return tuple(dict.fromkeys(output.port for output in self._outputs))

    @property
    def score(self) -> Score:
        """What is played."""
        return self._score

    def position_tick(self) -> float:
        """The tick heard now."""
        return self.tick_at(self._clock())

    def tick_at(self, moment: float) -> float:
        """The tick heard at a moment (seconds), now or just before."""
        return self._scheduler.position(moment) if self._scheduler else self._tick

    def moment_of(self, tick: float) -> float | None:
        """When a tick that comes soon is heard, if playing goes on as it does; None when nothing plays."""
        if not self._scheduler:
            return None
        here, moment = self.position_tick(), self._clock()
        tempo = self._timeline.tempo
        if self._follower and (pace := self._follower.quarters_a_second):
            return moment + (tick - here) / (pace * self._score.ticks_per_quarter)
        return moment + float(tempo.to_seconds(tick) - tempo.to_seconds(here))

    # ------------------------------------------------------------ the transport's buttons

    def play(self) -> None:
        """Play from the position; from the beginning when it stands at the end. Behind another's clock, that plays."""
        if self._scheduler or self._follower:
            return
        if self._tick >= self._timeline.end_tick and not self.endless:
            self._tick = self._loop[0] if self._loop else 0.0
        if self.state is State.STOPPED:
            self._origin = self._tick
        began = self._clock() + START_SECONDS
        if self.count_in_bars and self.clicker:
            clicks, began = count_in(self._score, self._tick, self.count_in_bars, began)
            self.clicker.send(clicks)
        self._start(self._tick, began)

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
            self._start(self._tick, self._clock() + START_SECONDS)

    def set_loop(self, loop: tuple[int, int] | None) -> None:
        """Repeat the ticks [a, b), or None."""
        self._loop = loop
        for scheduler in self._schedulers() if not self._follower else ():
            scheduler.set_loop(loop)

    def set_score(self, score: Score) -> None:
        """Play this score from now on; while playing it takes over after what the ports already have."""
        scale = score.ticks_per_quarter / self._score.ticks_per_quarter
        self._tick, self._origin = self._tick * scale, self._origin * scale
        self._score, self._timeline = score, Timeline.of(score, self._timeline)
        if self._scheduler:
            self._scheduler.replace(score)
        for (view, _), scheduler in self._others.items():
            scheduler.replace(view(score))

    def set_ports(self, ports: Sequence[Port]) -> None:
        """Play the whole piece to these ports."""
        self.set_outputs([Output(port) for port in ports])

    def set_outputs(self, outputs: Sequence[Output]) -> None:
        """Play to these outputs; ports that no longer play what they did fall silent, new ones join in."""
        before, self._outputs = self._outputs, tuple(outputs)
        for port in dict.fromkeys(output.port for output in before if output not in self._outputs):
            port.silence()
        if self._scheduler:
            moment = self._clock()
            for output in self._outputs:
                key = output.view, output.clock
                known = self._scheduler if key == (WHOLE, False) else self._others.get(key)
                if known and output not in before:
                    output.port.send([(moment, data) for data in known.state()])
            self._make_others()

    def follow(self, follower: Follower | None) -> None:
        """Play behind another's clock: it starts, stops, places and paces the music; None plays freely again."""
        if self._scheduler:
            self.pause()
        self._follower = follower
        self._jumps = follower.jumps if follower else 0

    def panic(self) -> None:
        """Pause, and all notes off everywhere."""
        self.pause()
        for port in self.ports:
            port.panic()

    def audition(self, track: int, pitch: int, velocity: int = 90, seconds: float = 0.3) -> None:
        """Sound one note now, in the voice of a track."""
        moment = self._clock()
        for output in self._outputs:
            channel = output.view.channel(self._score, track)
            if channel is None:
                continue
            batch: list[Timed] = []
            if not self._scheduler:
                state = Timeline.of(output.view(self._score)).state_at(self._tick)
                batch = [(moment, data) for key, data in state.items() if key[0] & 15 == channel]
            batch.append((moment, bytes((NOTE_ON | channel, pitch & 127, velocity & 127))))
            batch.append((moment + seconds, bytes((NOTE_OFF | channel, pitch & 127, 64))))
            output.port.send(batch)

    def tell(self, track: int, message: bytes) -> None:
        """Hand every port one message for a track, due now; its channel is the one the track has there."""
        moment = self._clock()
        for output in self._outputs:
            channel = output.view.channel(self._score, track)
            if channel is not None:
                output.port.send([(moment, bytes((message[0] & 0xF0 | channel,)) + message[1:])])

    def sound(self, track: int, message: bytes, moment: float | None = None) -> None:
        """Let a channel message be heard in the voice of a track, now or at a moment: somebody plays along."""
        for output in self._outputs:
            channel = output.view.channel(self._score, track)
            if channel is None:
                continue
            batch: list[Timed] = []
            voice = self._score.tracks, track
            if not self._scheduler and self._voiced.get(output.port) != voice:
                state = Timeline.of(output.view(self._score)).state_at(self._tick)
                batch = [(self._clock(), data) for key, data in state.items() if key[0] & 15 == channel]
                self._voiced[output.port] = voice
            due = self._clock() if moment is None else moment
            batch.append((due, bytes((message[0] & 0xF0 | channel, *message[1:]))))
            output.port.send(batch)

    # ------------------------------------------------------------ time

    def feed(self) -> None:
        """Hand the ports what falls due within the look-ahead; call it several times per look-ahead."""
        for port in self.ports:
            port.poll()
        moment = self._clock()
        if self._follower:
            self._go_along(self._follower, moment)
        if not self._scheduler:
            return
        end = self._scheduler.end_wall
        if end is not None:
            if moment >= end:
                self.stop()
            return
        if moment > self._scheduler.wall + LATE_SECONDS:
            for scheduler in self._schedulers():
                scheduler.delay(moment + START_SECONDS)
        self._hand_out(moment + (FOLLOW_SECONDS if self._follower else self.look_ahead))

    def close(self) -> None:
        """Fall silent and close every port."""
        self._halt()
        for port in self.ports:
            port.close()
        self._outputs = ()

    def _schedulers(self) -> list[Scheduler]:
        return [self._scheduler, *self._others.values()] if self._scheduler else []

    def _start(self, tick: float, began: float) -> None:
        until = float("inf") if self.endless else 0.0
        self._scheduler = Scheduler(self._score, tick, began, self._loop, self._timeline, until=until)
        self._make_others()
        self.feed()

    def _make_others(self) -> None:
        """Have a scheduler for whatever an output plays that is not simply the whole piece."""
        assert self._scheduler is not None
        until = float("inf") if self.endless or self._follower else float(self._timeline.end_tick)
        loop = None if self._follower else self._loop
        tick, wall = self._scheduler.tick, self._scheduler.wall
        wanted = {(o.view, o.clock) for o in self._outputs} - {(WHOLE, False)}
        self._others = {
            (view, clock): self._others.get((view, clock))
            or Scheduler(view(self._score), tick, wall, loop, clock=clock, until=until)
            for view, clock in wanted
        }

    def _halt(self) -> None:
        self._voiced = {}
        self._scheduler = None
        self._others = {}
        for port in self.ports:
            port.silence()

    def _hand_out(self, until: float) -> None:
        """Give every output what falls due before the moment `until`; beyond the end of the piece nothing more."""
        assert self._scheduler is not None
        batches: dict[tuple[View, bool], list[Timed]] = {(WHOLE, False): self._scheduler.advance(until)}
        end = self._scheduler.end_wall
        for key, scheduler in self._others.items():
            batches[key] = scheduler.advance(until if end is None else min(end, until))
        for output in self._outputs:
            if batch := batches[output.view, output.clock]:
                output.port.send(batch)

    # ------------------------------------------------------------ behind another's clock

    def _go_along(self, follower: Follower, moment: float) -> None:
        """Start, stop, go elsewhere or change pace as the other does."""
        quarter = self._score.ticks_per_quarter
        own = 1 / (float(self._timeline.tempo.per_tick[0]) * quarter)
        if not follower.is_running(moment):
            if self._scheduler:
                self.pause()
            return
        anew = follower.jumps != self._jumps
        self._jumps = follower.jumps
        if self._scheduler:
            off = follower.quarters(self._scheduler.wall, own) - self._scheduler.tick / quarter
            if anew or abs(off) > JUMP_QUARTERS:
                self._halt()
        if not self._scheduler:
            begins = follower.place if anew else follower.quarters(moment, own)
            self._tick = self._origin = max(begins * quarter, 0.0)
            self._start_behind(moment)
        assert self._scheduler is not None
        pace = (follower.quarters_a_second or own) * quarter
        wanted = follower.quarters(self._scheduler.wall + STEER_SECONDS, own) * quarter
        rate = (wanted - self._scheduler.tick) / STEER_SECONDS
        for scheduler in self._schedulers():
            scheduler.steer(min(max(rate, PACES[0] * pace), PACES[1] * pace))

    def _start_behind(self, moment: float) -> None:
        """Begin at once, a little late as it is; nothing is handed out before the pace is set."""
        until = float("inf")  # the other decides where the song ends, and whether it loops
        self._scheduler = Scheduler(self._score, self._tick, moment, None, self._timeline, until=until)
        self._make_others()
