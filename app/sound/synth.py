"""The built-in synth as a port: FluidSynth plays what its own audio thread finds in its sequencer, on time.

Knows how the machine's clock and the sound card's run apart. Everything slow happens in a thread of its own.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.sound import fonts
from app.sound.fluid import DRIVERS, GAIN, TICKS_PER_SECOND, Fluid, platform
from app.sound.ports import Status, Timed, is_note_off, is_note_on, now, state_key
from engine.errors import MorphonyError

WARM_UP_SECONDS = 0.0015  # between two readings of the clocks before the first note: 64 of them see every phase
STALL_SECONDS = 2.0  # an audio thread that stands still for so long has lost its device
RETRY_SECONDS = 3.0


class AudioClock:
    """Seconds of the machine's clock to ticks of the sequencer.

    The sequencer moves in whole audio periods, so of (clock - tick) only the least of many observations tells the
    truth. The offset follows it slowly: the two clocks drift apart by some 50 us/s, and a step would be heard.
    """

    WINDOW = 64  # observations
    STEP = 0.0001  # seconds the offset may move at one observation
    JUMP = 0.05  # seconds beyond which there is nothing to save: the audio has dropped out

    def __init__(self) -> None:
        self._seen: deque[float] = deque(maxlen=self.WINDOW)
        self._offset: float | None = None

    def observe(self, moment: float, tick: int) -> None:
        """Enter one reading of both clocks."""
        self._seen.append(moment - tick / TICKS_PER_SECOND)
        least = min(self._seen)
        if self._offset is None or len(self._seen) < self.WINDOW or abs(least - self._offset) > self.JUMP:
            self._offset = least
        else:
            self._offset += max(-self.STEP, min(self.STEP, least - self._offset))

    def tick_at(self, moment: float) -> int:
        """The sequencer's tick at a moment of the machine's clock."""
        return round((moment - (self._offset or 0.0)) * TICKS_PER_SECOND)


@dataclass(frozen=True, slots=True)
class Opened:
    """What the opening thread has made: a synth, its clock if it is already heard, and how it went."""

    fluid: Fluid | None
    clock: AudioClock | None
    status: Status


class SynthOut:
    """A Port to the loudspeakers. `font` is the user's choice; a missing or damaged one is replaced and said so."""

    def __init__(self, font: Path | None = None, drivers: Sequence[str] | None = None, gain: float = GAIN) -> None:
        self._font, self._gain = font, gain
        self._drivers = tuple(DRIVERS[platform()] if drivers is None else drivers)
        self._status = Status(False, "The built-in synth is being opened.")
        self._fluid: Fluid | None = None
        self._clock = AudioClock()
        self._waiting: list[Timed] = []  # what came before the synth was there
        self._state: dict[tuple[int, int], bytes] = {}  # what another synth must be told before it takes over
        self._last: dict[tuple[int, int], int] = {}  # (channel, pitch) -> tick of its latest message
        self._busy_until = 0.0
        self._tick_seen, self._moved_at, self._retry_at = -1, 0.0, 0.0
        self._answers: queue.SimpleQueue[Opened] = queue.SimpleQueue()
        self._is_closed = self._better_comes = False
        self._thread = threading.Thread(target=self._open, name="morphony-synth", daemon=True)
        self._thread.start()

    @property
    def status(self) -> Status:
        """How the synth is, as of the last `poll`."""
        return self._status

    def send(self, events: Sequence[Timed]) -> None:
        """Take a batch ahead of time."""
        self.poll()
        for moment, message in events:
            self._busy_until = max(self._busy_until, moment)
            key = state_key(message)
            if key:
                self._state[key] = message
        if self._fluid:
            for tick, message in self._in_order(events):
                self._fluid.schedule(tick, message)
        elif self._is_opening():
            self._waiting += events

    def silence(self) -> None:
        """Let every note die away as if its key were let go; forget what is queued."""
        self._waiting.clear()
        self._last.clear()
        self._busy_until = 0.0
        if self._fluid:
            self._fluid.forget()
            self._fluid.release_all()

    def panic(self) -> None:
        """Silence, at once."""
        self.silence()
        if self._fluid:
            self._fluid.cut_all()

    def poll(self) -> None:
        """Take over what the opening thread has made, and keep the two clocks together."""
        if self._is_closed:
            return
        if not self._answers.empty() and (self._fluid is None or self._is_idle()):
            self._take(self._answers.get())
        moment = now()
        if self._fluid is None:
            if moment > self._retry_at and not self._is_opening():
                self._begin(self._open)
            return
        tick = self._fluid.tick()
        self._clock.observe(moment, tick)
        if tick != self._tick_seen:
            self._tick_seen, self._moved_at = tick, moment
        elif moment - self._moved_at > STALL_SECONDS:
            self._lose()

    def wait_until_open(self, seconds: float = 10.0) -> Status:
        """Wait for the synth to be there or to have failed; for programs without a window."""
        deadline = now() + seconds
        while self._fluid is None and self._is_opening() and now() < deadline:
            time.sleep(0.01)
            if not self._answers.empty():
                self.poll()
        return self._status

    def close(self) -> None:
        """Fall silent and give the device back."""
        if self._is_closed:
            return
        self.silence()
        self._is_closed = True
        self._thread.join()
        left = [self._fluid] if self._fluid else []
        while not self._answers.empty():
            left += filter(None, [self._answers.get().fluid])
        for fluid in left:
            fluid.close()
        self._fluid = None
        self._status = Status(False, "The built-in synth is closed.")

    # ------------------------------------------------------------ time

    def _in_order(self, events: Sequence[Timed]) -> list[tuple[int, bytes]]:
        """(tick, message): the sequencer may swap what has one tick, so only notes of one chord may share one."""
        out = []
        latest: dict[int, tuple[int, str]] = {}  # channel -> (tick, kind)
        for moment, message in events:
            channel = message[0] & 15
            kind = "on" if is_note_on(message) else "off" if is_note_off(message) else "other"
            tick = self._clock.tick_at(moment)
            before, same = latest.get(channel, (-1, ""))
            if tick <= before:
                tick = before if kind == same != "other" else before + 1
            if kind != "other":
                key = channel, message[1]
                tick += tick == self._last.get(key)
                self._last[key] = tick
            latest[channel] = tick, kind
            out.append((tick, message))
        return out

    def _is_idle(self) -> bool:
        return self._fluid is not None and now() > self._busy_until and self._fluid.active_voices() == 0

    # ------------------------------------------------------------ opening

    def _is_opening(self) -> bool:
        return self._thread.is_alive() or not self._answers.empty()

    def _begin(self, work: Callable[..., None], *arguments: Fluid) -> None:
        self._thread = threading.Thread(target=work, args=arguments, name="morphony-synth", daemon=True)
        self._thread.start()

    def _open(self) -> None:
        """In the thread: open with fonts that load at once; then, if the wanted one is big, a second synth with it."""
        wanted = fonts.wanted(self._font)
        big = next((path for path in wanted[:1] if not fonts.is_small(path)), None)
        self._better_comes = big is not None
        try:
            self._drive(Fluid.with_fonts([path for path in wanted if fonts.is_small(path)], self._gain))
            self._better_comes = False
            if big:
                self._answers.put(Opened(Fluid.with_fonts([big], self._gain), None, self._status))
        except MorphonyError as error:
            self._answers.put(Opened(None, None, Status(False, str(error))))

    def _drive(self, fluid: Fluid, old: Fluid | None = None) -> None:
        """In the thread: make a synth heard, in place of another, and read both clocks until they are known."""
        if old:
            old.close()
        if not fluid.open_driver(self._drivers):
            fluid.close()
            tried = ", ".join(self._drivers)
            words = f"No sound: no audio device could be opened (tried {tried}); connect one or start the sound server."
            status = Status(False, words)
            self._answers.put(Opened(None, None, status))
            return
        clock = AudioClock()
        for _ in range(AudioClock.WINDOW):
            clock.observe(now(), fluid.tick())
            time.sleep(WARM_UP_SECONDS)
        self._answers.put(Opened(fluid, clock, Status(True, self._sentence(fluid))))

    def _sentence(self, fluid: Fluid) -> str:
        plays = f"plays with {fluid.font_name} through {fluid.driver_name}."
        if self._font and self._font.name != fluid.font_name and not self._better_comes:
            return f"The sound font {self._font} does not load; FluidSynth {plays}"
        return f"FluidSynth {plays}"

    def _take(self, opened: Opened) -> None:
        """Play with another synth from now on, or have none."""
        if opened.fluid and opened.clock is None:  # a better font; the device is ours, so this one waits for it
            old, self._fluid = self._fluid, None
            self._begin(self._drive, opened.fluid, *filter(None, [old]))
            return
        self._fluid, self._status = opened.fluid, opened.status
        self._retry_at = now() + RETRY_SECONDS
        self._tick_seen, self._moved_at = -1, now()
        waiting, self._waiting = self._waiting, []
        if self._fluid is None or opened.clock is None:
            return
        self._clock = opened.clock
        for message in self._state.values():
            self._fluid.apply(message)
        moment = now()
        self.send([pair for pair in waiting if pair[0] >= moment or not is_note_on(pair[1])])

    def _lose(self) -> None:
        """Give up a device that has stopped, and look for one again."""
        lost, self._fluid = self._fluid, None
        self._status = Status(False, "No sound: the audio device has stopped; it is opened again when it is back.")
        self._retry_at = now()
        if lost:
            lost.close()
