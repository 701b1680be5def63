"""Playing live: the MIDI input and what it does, the foreign clock, the metronome, and which track goes to which port.

The object behind the Live panel. Knows no widget; the parts it joins know nothing of each other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from PySide6.QtCore import QObject, Qt, QTimer, Signal

from app.document import Document
from app.lights import SoundLights
from app.live.answering import Answering, Question, answer_of
from app.live.knobs import Knobs, value_of
from app.live.recording import Recording, onto
from app.panels.sliders import MorphState
from app.settings import Settings
from app.sound.clock import Follower
from app.sound.outputs import CLICKS, WHOLE, Output, Routed
from app.sound.player import Player
from app.sound.ports import CONTROL, Port, Status, is_note_off, is_note_on, now
from app.wording import sentence
from app.worker import EngineThread

LISTEN_MS: Final = 4
OWN_PORT: Final = "*"  # the input others send to
LEAST_LEAD, MOST_LEAD = 0.15, 1.2  # seconds before a bar line at which an answer is asked for
OFF: Final = Status(False, "No MIDI input is chosen.")


class Live(QObject):
    """Everything a performer switches; `changed` when any of it is another."""

    changed = Signal()
    problem = Signal(str)
    told = Signal(str)  # what learning waits for, or what it has learned

    def __init__(
        self,
        document: Document,
        player: Player,
        sound: SoundLights,
        morphs: MorphState,
        engine: EngineThread,
        settings: Settings,
        pen_track: Callable[[], int],
        open_in: Callable[[str], Any],
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.document, self.player, self.sound, self.morphs = document, player, sound, morphs
        self.engine, self.settings, self.pen_track, self._open_in = engine, settings, pen_track, open_in
        self.input: Any = None
        self.routes: dict[int, str] = {}  # track -> port; those not named go to the studio's own MIDI port
        self.follower: Follower | None = None
        self.is_armed = False
        self.answers = False
        self.learning: str | None = None  # None: no; "": which slider?; else the slider that waits for a knob
        self.knobs = Knobs(list(morphs.sliders), settings.get("knobs", str))
        self._extra: dict[str, Any] = {}  # ports opened for routes, by name
        self._recording: Recording | None = None
        self._answering: Answering | None = None
        self._lead, self._asked_at, self._job = MOST_LEAD / 2, 0.0, 0
        self._question: Question | None = None
        self._status = OFF
        self._listen = QTimer(self, timerType=Qt.TimerType.PreciseTimer, interval=LISTEN_MS)
        self._listen.timeout.connect(self._hear_all)
        sound.arrange = self.outputs
        sound.hand_over()
        player.state_changed.connect(self._on_state)
        document.loaded.connect(lambda _: self.route({}))
        morphs.moved.connect(self._on_slider)
        morphs.sliders_changed.connect(self._name_knobs)
        engine.answered.connect(self._on_answer)
        engine.job_failed.connect(self._on_failed)

    def start(self) -> None:
        """Take up what was chosen last time."""
        self.listen_to(self.settings.get("midi_in", str))
        self.set_sync(self.settings.get("sync", bool))
        self._apply()

    def close(self) -> None:
        """Give every port of its own back; the studio's two are the lights'."""
        self._listen.stop()
        if self.input is not None:
            self.input.close()
        for port in self._extra.values():
            port.close()
        self._extra.clear()

    # ------------------------------------------------------------ where the music goes

    def outputs(self, synth: Port | None, midi: Port | None) -> Sequence[Output]:
        """Every output: the synth hears all, each MIDI port its tracks and, if wanted, the clock."""
        clock = self.settings.get("clock_out", bool)
        out = [Output(synth)] if synth else []
        if midi:
            rest = tuple((i, None) for i in range(len(self.document.score.tracks)) if i not in self.routes)
            out.append(Output(midi, Routed(rest) if self.routes else WHOLE, clock))
        for name, port in self._extra.items():
            routed = tuple((track, None) for track, wanted in sorted(self.routes.items()) if wanted == name)
            out.append(Output(port, Routed(routed), clock))
        clicker = synth or midi
        if clicker and self.settings.get("metronome", bool):
            out.append(Output(clicker, CLICKS))
        self.player.set_count_in(self.settings.get("count_in", int), clicker)
        return out

    def route(self, routes: dict[int, str]) -> None:
        """Send tracks to ports by name; a port nobody needs any more is given back."""
        self.routes = dict(routes)
        wanted = set(routes.values())
        leaving = [self._extra.pop(name) for name in set(self._extra) - wanted]
        for name in sorted(wanted - set(self._extra)):
            try:
                self._extra[name] = self.sound.open_midi(name)
            except Exception as error:
                self.problem.emit(sentence(error))
        self._apply()
        for port in leaving:
            port.close()

    def switch(self, name: str, value: bool | int) -> None:
        """Change "clock_out", "metronome", "count_in" or "cc_out"."""
        self.settings.set(name, value)
        self._apply()

    def set_sync(self, foreign: bool) -> None:
        """Follow the clock that comes in, or keep our own."""
        self.settings.set("sync", foreign)
        self.follower = Follower() if foreign else None
        self.player.follow(self.follower)
        self.changed.emit()

    def _apply(self) -> None:
        self.sound.hand_over()
        self.changed.emit()

    # ------------------------------------------------------------ what comes in

    @property
    def status(self) -> Status:
        """How the input is."""
        return OFF if self.input is None else self.input.status

    @property
    def input_names(self) -> tuple[str, ...]:
        """Every MIDI input of this machine, as far as an open port has told."""
        return tuple(self.input.names) if self.input is not None else ()

    def listen_to(self, name: str) -> None:
        """Listen to the port of this name; `OWN_PORT` is one that others send to, an empty name none."""
        if self.input is not None:
            self.input.close()
        self.settings.set("midi_in", name)
        self.input = None
        self._listen.stop()
        if name:
            try:
                self.input = self._open_in("" if name == OWN_PORT else name)
                self._listen.start()
            except Exception as error:
                self.problem.emit(sentence(error))
        self.changed.emit()

    def _hear_all(self) -> None:
        heard = self.input.take() if self.input is not None else ()
        clocked = False
        for moment, message in heard:
            if message[0] >= 0xF0:
                if self.follower is not None:
                    self.follower.hear(moment, message)
                    clocked = True
            elif is_note_on(message) or is_note_off(message):
                self._on_note(moment, message)
            elif message[0] & 0xF0 == CONTROL and self._on_knob(message):
                continue
            else:
                self.player.sound(self.pen_track(), message)
        if clocked:
            self.player.feed()
        if self._answering is not None and self.player.is_playing:
            self._ask()
        if self.input is not None and self.input.status != self._status:
            self._status = self.input.status
            self.changed.emit()

    def _on_note(self, moment: float, message: bytes) -> None:
        self.player.sound(self.pen_track(), message)
        if not self.player.is_playing:
            return
        tick = self.player.tick_at(moment)
        if self._recording is not None:
            self._recording.hear(tick, message)
        if self._answering is not None:
            self._answering.hear(tick, message)

    # ------------------------------------------------------------ recording

    def arm(self, on: bool) -> None:
        """Record what is played in; begins to play at once, count-in first. Ends with the playing, as one undo step."""
        if on == self.is_armed:
            return
        self.is_armed = on
        self.player.set_endless(on or self.answers)
        if on:
            self._recording = Recording(self.pen_track())
            self.player.play()
        else:
            self._keep()
        self.changed.emit()

    def _keep(self) -> None:
        recording, self._recording = self._recording, None
        if recording is not None and len(recording):
            rows = recording.finish(self.player.tick_at(now()))
            self.document.change(onto(self.document.score, rows), self.tr("Record"))

    def _on_state(self, state: str) -> None:
        if state == "playing":
            self._answering = Answering(self.document.score, self.pen_track()) if self.answers else None
            if self.is_armed and self._recording is None:
                self._recording = Recording(self.pen_track())
        elif self.is_armed:
            self.arm(False)

    # ------------------------------------------------------------ knobs and sliders

    def learn(self, on: bool) -> None:
        """Wait for a slider to be moved, and then for a knob to be turned."""
        self.learning = "" if on else None
        self.told.emit(self.tr("Move a slider, then turn a knob.") if on else "")
        self.changed.emit()

    def _on_slider(self, name: str) -> None:
        if self.learning is not None:
            self.learning = name
            self.told.emit(self.tr("{0}: now turn a knob.").format(self.morphs[name].info.label))
        if self.settings.get("cc_out", bool) and self.sound.midi is not None:
            message = self.knobs.message(name, self.morphs[name].value)
            if message:
                self.sound.midi.send([(now(), message)])

    def _on_knob(self, message: bytes) -> bool:
        """True when a controller was for a slider."""
        knob = message[0] & 15, message[1]
        if self.learning:
            self.knobs.learn(knob, self.learning)
            self.settings.set("knobs", self.knobs.text())
            label = self.morphs[self.learning].info.label
            self.learning = None
            self.told.emit(self.tr("{0} follows CC {1} on channel {2}.").format(label, knob[1], knob[0] + 1))
            self.changed.emit()
            return True
        name = self.knobs.slider(knob)
        if name is None or name not in self.morphs.sliders:
            return False
        self.morphs[name].move(value_of(message[2]))
        return True

    def _name_knobs(self) -> None:
        self.knobs = Knobs(list(self.morphs.sliders), self.knobs.text())

    # ------------------------------------------------------------ answers

    def set_answers(self, on: bool) -> None:
        """Answer what is played: two bars heard, the next one answered."""
        self.answers = on
        self.player.set_endless(on or self.is_armed)
        playing = on and self.player.is_playing
        self._answering = Answering(self.document.score, self.pen_track()) if playing else None
        self.changed.emit()

    def _ask(self) -> None:
        assert self._answering is not None
        tick = self.player.tick_at(now())
        line, _ = self._answering.line_after(tick)
        at = self.player.moment_of(line)
        if at is None or at - now() > self._lead or self._job:
            return
        self._question = self._answering.question(tick, line - tick)
        if self._question is not None:
            self._asked_at = now()
            self._job = self.engine.answer(self._question.score, seed=self._question.tick)

    def _on_failed(self, job: int, words: str) -> None:
        if job == self._job:
            self._job = 0
            self.problem.emit(words)

    def _on_answer(self, job: int, made: Any) -> None:
        """Play the answer at its bar line: what is already past is left out."""
        asked, self._job = self._job, 0
        if job != asked or self._question is None:
            return
        took = now() - self._asked_at
        self._lead = min(max(1.5 * took, LEAST_LEAD), MOST_LEAD)
        track = self.pen_track()
        for tick, duration, pitch, velocity in answer_of(made, self._question.length):
            begins = self.player.moment_of(self._question.tick + tick)
            ends = self.player.moment_of(self._question.tick + tick + duration)
            if begins is None or ends is None or begins < now():
                continue
            self.player.sound(track, bytes((0x90, pitch, velocity)), begins)
            self.player.sound(track, bytes((0x80, pitch, 64)), ends)
            if self._recording is not None:
                self._recording.rows.append((self._question.tick + tick, duration, pitch, velocity, track))
