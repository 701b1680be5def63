"""The three status lights and what their popovers offer: test tone, test note, port, device.

Opens the sound ports, so that a missing library, font or device is a sentence on a light and the rest works.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QComboBox, QLabel

from app.panels.status import Light, StatusLight
from app.settings import Settings
from app.sound.outputs import Output
from app.sound.player import Player
from app.sound.ports import NOTE_OFF, NOTE_ON, Port, Status, now
from app.wording import sentence
from app.worker import EngineState, EngineThread
from engine.errors import MorphonyError

TEST_PITCHES = (60, 64, 67)
TEST_SECONDS = 0.25


class SoundLights(QObject):
    """Owns the two ports the studio plays to, and the lights that speak for them."""

    problem = Signal(str)
    solved = Signal(str)  # the sentence of a problem that is no more

    def __init__(self, player: Player, settings: Settings, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.player, self.settings = player, settings
        self.synth: Port | None = None
        self.midi: Any = None
        self.open_midi: Callable[[str], Any] = _no_port
        self.sound_light = StatusLight(self.tr("Sound"))
        self.midi_light = StatusLight(self.tr("MIDI"))
        self.sound_light.show_state(Light.WAITING, self.tr("The synth is starting."))
        self.midi_light.show_state(Light.WAITING, self.tr("The MIDI port is being opened."))
        self.tone = self.sound_light.popover.add_button(self.tr("Play a test tone"), lambda: _arpeggio(self.synth))
        self.note = self.midi_light.popover.add_button(self.tr("Send a test note"), lambda: _arpeggio(self.midi))
        self.ports = QComboBox()
        self.ports.setAccessibleName(self.tr("MIDI output"))
        self.ports.activated.connect(self._choose)
        self.midi_light.popover.add_row(self.ports)
        self.midi_light.before_open = self._list_ports
        self.arrange: Callable[[Port | None, Port | None], Sequence[Output]] = _all_to_both
        player.status_changed.connect(self._on_status)

    def open(self, synth: Callable[[], Port], midi: Callable[[str], Any]) -> None:
        """Open both ports; `midi` gets the remembered port's name, empty for the virtual one."""
        self.open_midi = midi
        self.synth = self._try(synth, self.sound_light)
        self.midi = self._try(lambda: midi(self.settings.get("midi_port", str)), self.midi_light)
        self.hand_over()

    def _try(self, opener: Callable[[], Any], light: StatusLight) -> Any:
        try:
            return opener()
        except (MorphonyError, OSError, ImportError, RuntimeError) as error:
            self._show(light, Status(False, sentence(error)))
            return None

    def hand_over(self) -> None:
        """Give the player its outputs: the ports, arranged by whoever knows what goes where."""
        self.player.set_outputs(self.arrange(self.synth, self.midi))
        for port in (port for port in (self.synth, self.midi) if port is not None):
            self._on_status(port, port.status)

    def _on_status(self, port: Port, status: Status) -> None:
        if port is self.synth:
            self._show(self.sound_light, status)
        elif port is self.midi:
            self._show(self.midi_light, status)

    def _show(self, light: StatusLight, status: Status) -> None:
        before, said = light.state, light.sentence
        opening = not status.ok and light.state is Light.WAITING and "being opened" in status.sentence
        light.show_state(Light.GOOD if status.ok else Light.WAITING if opening else Light.BAD, status.sentence)
        test = self.tone if light is self.sound_light else self.note
        test.setEnabled(status.ok)
        test.setToolTip("" if status.ok else status.sentence)
        if light is self.sound_light and before is Light.BAD and status.sentence != said:
            self.solved.emit(said)
        if light is self.sound_light and not status.ok and not opening:
            self.problem.emit(status.sentence)

    def _list_ports(self) -> None:
        self.ports.clear()
        self.ports.addItem(self.tr("Morphony Out (a port of our own)"), "")
        for name in getattr(self.midi, "names", ()):
            if "Morphony" not in name:
                self.ports.addItem(name, name)
        chosen = self.settings.get("midi_port", str)
        if chosen and self.ports.findData(chosen) < 0:
            self.ports.addItem(self.tr("{0} (not there now)").format(chosen), chosen)
        self.ports.setCurrentIndex(max(self.ports.findData(chosen), 0))

    def _choose(self, index: int) -> None:
        name = self.ports.itemData(index)
        if name == self.settings.get("midi_port", str):
            return
        self.settings.set("midi_port", name)
        self.player.set_ports([p for p in (self.synth,) if p is not None])
        if self.midi is not None:
            self.midi.close()
        self.midi_light.state = Light.WAITING
        self.midi = self._try(lambda: self.open_midi(name), self.midi_light)
        self.hand_over()


class EngineLight(QObject):
    """The light of the engine: which device and why, or why not; which style is on the model."""

    def __init__(self, engine: EngineThread, retry: Callable[[], object], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.engine = engine
        self.light = StatusLight(self.tr("Engine"))
        self.style = QLabel()
        self.style.setWordWrap(True)
        self.style.hide()
        self.light.popover.add_row(self.style)
        self.again = self.light.popover.add_button("", retry)
        self._wanted, self._style, self._device = "", "", ""  # the style being loaded, the one in use, and where
        self._on_state(EngineState.LOADING)
        self._offer("")
        engine.ready.connect(self._on_ready)
        engine.failed.connect(self._on_failed)
        engine.state_changed.connect(self._on_state)

    def name_style(self, name: str) -> None:
        """Say which style is being loaded on the model; none with an empty name."""
        self._wanted = name

    def _on_ready(self, device: str) -> None:
        self._style, self._device = self._wanted, device
        self._show_ready()

    def _on_failed(self, words: str) -> None:
        if self.engine.engine is not None:  # a style did not load: what was there before is still at work
            self._show_ready()
            return
        self.light.show_state(Light.BAD, words)
        self._offer(self.tr("Try again"))

    def _on_state(self, state: EngineState) -> None:
        if state is EngineState.LOADING:
            self.light.show_state(Light.WAITING, self.tr("The model is loading; the sliders wake when it is there."))

    def _show_ready(self) -> None:
        self.light.show_state(Light.GOOD, self.tr("The model is ready on {0}.").format(self._device))
        self.style.setText(self.tr("Style: {0}").format(self._style))
        self.style.setVisible(bool(self._style))
        self._offer(self.tr("Back to the starter model") if self._style else "")

    def _offer(self, text: str) -> None:
        self.again.setText(text)
        self.again.setVisible(bool(text))


def _no_port(name: str) -> Any:
    raise MorphonyError(f"The MIDI port “{name}” cannot be opened yet.")


def _all_to_both(synth: Port | None, midi: Port | None) -> Sequence[Output]:
    return [Output(port) for port in (synth, midi) if port is not None]


def _arpeggio(port: Port | None) -> None:
    """Three notes on the first channel, now."""
    if port is None:
        return
    events = []
    for i, pitch in enumerate(TEST_PITCHES):
        at = now() + 0.05 + i * TEST_SECONDS
        events += [(at, bytes((NOTE_ON, pitch, 90))), (at + TEST_SECONDS * 0.9, bytes((NOTE_OFF, pitch, 64)))]
    port.send(events)
