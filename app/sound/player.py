"""The transport as the window knows it: a QObject that feeds it by a timer and tells when its state changes.

Knows Qt and nothing about notes. It lives in the GUI thread; nothing in it waits.
"""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QObject, Qt, QTimer, Signal

from app.sound.clock import Follower
from app.sound.outputs import Output
from app.sound.ports import Port, Status
from app.sound.transport import LOOK_AHEAD_SECONDS, Transport
from engine.score.score import Score

FEED_MILLISECONDS = 40
IDLE_MILLISECONDS = 250  # the ports are looked after while nothing plays


class Player(QObject):
    """Plays the document's score; positions are ticks of that score."""

    state_changed = Signal(str)  # "playing", "paused", "stopped"
    status_changed = Signal(object, object)  # (Port, Status), for the lights

    def __init__(self, score: Score, parent: QObject | None = None, transport: Transport | None = None) -> None:
        super().__init__(parent)
        self._transport = transport or Transport(score)
        self._told = self._transport.state
        self._is_led = False  # by another's clock
        self._statuses: dict[Port, Status] = {}
        self._timer = QTimer(self, timerType=Qt.TimerType.PreciseTimer, interval=IDLE_MILLISECONDS)
        self._timer.timeout.connect(self._feed)
        self._timer.start()

    @property
    def state(self) -> str:
        """One of "playing", "paused" and "stopped"."""
        return self._transport.state.value

    @property
    def is_playing(self) -> bool:
        """True between play and pause, stop or the end."""
        return self.state == "playing"

    def position_tick(self) -> float:
        """The tick heard now; ask as often as the display wants."""
        return self._transport.position_tick()

    def play(self) -> None:
        """Play from the position."""
        self._transport.play()
        self._tell()

    def pause(self) -> None:
        """Fall silent and stay."""
        self._transport.pause()
        self._tell()

    def toggle(self) -> None:
        """Play, or pause while playing."""
        if self.is_playing:
            self.pause()
        else:
            self.play()

    def stop(self) -> None:
        """Fall silent and go back to where playing began; once more: to the beginning."""
        self._transport.stop()
        self._tell()

    def seek(self, tick: float) -> None:
        """Go to a tick, playing or not."""
        self._transport.seek(tick)
        self._tell()

    def set_loop(self, a: int | None, b: int | None = None) -> None:
        """Repeat the ticks [a, b); None ends the loop."""
        self._transport.set_loop(None if a is None or b is None else (a, b))

    def set_score(self, score: Score) -> None:
        """Another version of the piece: heard after the look-ahead, and no sounding note is struck again."""
        self._transport.set_score(score)

    def set_ports(self, ports: Sequence[Port]) -> None:
        """Where the music goes, all with the same time stamps."""
        self._transport.set_ports(ports)
        self._statuses = {port: status for port, status in self._statuses.items() if port in ports}
        self._tell()

    def set_outputs(self, outputs: Sequence[Output]) -> None:
        """Where the music goes, part by part."""
        self._transport.set_outputs(outputs)
        ports = self._transport.ports
        self._statuses = {port: status for port, status in self._statuses.items() if port in ports}
        self._tell()

    def follow(self, follower: Follower | None) -> None:
        """Play behind another program's clock, or freely again with None."""
        self._transport.follow(follower)
        self._is_led = follower is not None
        self._tell()
        self._set_pace()

    def set_count_in(self, bars: int, clicker: Port | None) -> None:
        """Click so many bars to this port before playing from a standstill."""
        self._transport.count_in_bars, self._transport.clicker = bars, clicker

    def set_endless(self, endless: bool) -> None:
        """Whether playing goes on past the end of the piece, from the next start on."""
        self._transport.endless = endless

    def tick_at(self, moment: float) -> float:
        """The tick heard at a moment (seconds on `app.sound.ports.now`), now or just before."""
        return self._transport.tick_at(moment)

    def moment_of(self, tick: float) -> float | None:
        """When a tick that comes soon is heard; None when nothing plays."""
        return self._transport.moment_of(tick)

    @property
    def ports(self) -> tuple[Port, ...]:
        """Every port the music goes to."""
        return self._transport.ports

    def feed(self) -> None:
        """Look after everything now: another's clock has said something."""
        self._feed()

    def set_look_ahead(self, seconds: float = LOOK_AHEAD_SECONDS) -> None:
        """How far ahead the ports are fed: 2 s while torch is imported, the default otherwise."""
        self._transport.look_ahead = seconds
        self._transport.feed()

    def audition(self, track: int, pitch: int, velocity: int = 90, seconds: float = 0.3) -> None:
        """Sound one note now: what is drawn, or a test tone."""
        self._transport.audition(track, pitch, velocity, seconds)

    def tell(self, track: int, message: bytes) -> None:
        """Let one message for a track be heard at once: a volume that is being turned."""
        self._transport.tell(track, message)

    def sound(self, track: int, message: bytes, moment: float | None = None) -> None:
        """Let a channel message be heard in the voice of a track, now or at a moment."""
        self._transport.sound(track, message, moment)

    def panic(self) -> None:
        """Pause and send all notes off everywhere."""
        self._transport.panic()
        self._tell()

    def close(self) -> None:
        """End playing and close the ports; call it before the window goes."""
        self._timer.stop()
        self._transport.close()
        self._tell()

    def _feed(self) -> None:
        self._transport.feed()
        self._tell()

    def _tell(self) -> None:
        for port in self._transport.ports:
            if self._statuses.get(port) != port.status:
                self._statuses[port] = port.status
                self.status_changed.emit(port, port.status)
        state = self._transport.state
        if state is not self._told:
            self._told = state
            self._set_pace()
            self.state_changed.emit(state.value)

    def _set_pace(self) -> None:
        busy = self.is_playing or self._is_led
        self._timer.setInterval(FEED_MILLISECONDS if busy else IDLE_MILLISECONDS)
