"""The composition root: makes every part of the studio and wires them, in order.

One constructor tells the whole app; what the parts do stands in their own files.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from platformdirs import user_data_path
from PySide6.QtCore import QObject, Qt, QTimer
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QApplication

from app import theme
from app.autosave import Autosave, default_folder
from app.commands import commands, fill_menus
from app.desk import Desk
from app.document import Document
from app.files import Files
from app.handle import DragHandle
from app.lights import EngineLight, SoundLights
from app.listening import Listening
from app.live.live import Live
from app.mixer import Mixer
from app.morphing import Morphing, MorphPoint
from app.panels.conductor import MeterPopover, TempoPopover
from app.panels.events import EventList
from app.panels.latents import LatentsPanel
from app.panels.live import LivePanel
from app.panels.sliders import MorphState
from app.panels.tracks import TracksPanel
from app.panels.training import TrainingPanel
from app.playback import Playback
from app.project import Project
from app.roll.view import RollView
from app.settings import Settings
from app.sound.player import Player
from app.trainer_thread import TrainerThread
from app.window import Window
from app.worker import EngineState, EngineThread, Opener, open_engine
from engine.errors import MorphonyError

DEMO: Final = Path(__file__).resolve().parent.parent / "assets" / "demo"
FIRST_DEMO: Final = "nocturne.mid"  # a piano piece: every slider has something to move
LOADING: Final = "The model is loading."
LOOK_AHEAD_WHILE_LOADING: Final = 2.0  # seconds: importing torch holds every thread for most of one
ENGINE_PATIENCE_MS: Final = 1000  # how long quitting waits for it
START_ENGINE_MS: Final = 150  # after the window has been painted


class Studio(QObject):
    """Everything, joined. `show` opens the window and starts what loads behind it; `close` ends it."""

    def __init__(
        self,
        path: Path | None = None,
        settings: Settings | None = None,
        opener: Opener = open_engine,
        synth: Callable[[], Any] | None = None,
        midi: Callable[[str], Any] | None = None,
        midi_in: Callable[[str], Any] | None = None,
        recovery: Path | None = None,
    ) -> None:
        super().__init__()
        self.settings = settings or Settings()
        self._synth, self._midi = synth or open_synth, midi or open_midi
        theme.themes.use(theme.by_name(self.settings.get("theme", str)))
        # The song, and what shows it
        self.document = Document()
        self.window = Window()
        self.roll = RollView(self.document)
        self.window.set_roll(self.roll)
        fill_menus(self.window.menus, self.roll.action)
        # What is heard
        self.player = Player(self.document.score, self)
        self.playback = Playback(self.document, self.player, self.roll, self.window)
        self.mixer = Mixer(self.document, self)
        self.playback.heard_of = self.mixer.heard
        self.tracks = TracksPanel(self.document, self.mixer, self.roll.state)
        self.sound = SoundLights(self.player, self.settings, self)
        self.events = EventList(self.roll.state)
        bar = self.window.transport
        self.tempo = TempoPopover(self.tr("Tempo"), self.document, self.player.position_tick, bar.tempo)
        self.meter = MeterPopover(self.tr("Meter"), self.document, self.player.position_tick, bar.meter)
        # The model behind the sliders
        self.engine = EngineThread(opener, self)
        self.engine_light = EngineLight(self.engine, self.load_starter, self)
        self.morph_state = MorphState(parent=self)
        self.morphing = Morphing(self.document, self.morph_state, self.engine, self.playback.first_bar, self)
        self.latents = LatentsPanel(self.morph_state)
        # What comes in from a keyboard, a knob box or a DAW
        self.live = Live(
            self.document, self.player, self.sound, self.morph_state, self.engine, self.settings,
            lambda: self.roll.state.pen_track, midi_in or open_midi_in, self,
        )  # fmt: skip
        self.live_panel = LivePanel(self.live)
        # Fine-tuning
        self.trainer = TrainerThread(self)
        self.training = TrainingPanel(self.trainer, self.settings, user_data_path("morphony", False) / "styles")
        self.listening = Listening(self.player, lambda: self.sound.synth, self)
        # Files
        self.files = Files(self.document, self.settings, self.window, self.snapshot)
        # Proposals, locked notes
        self.desk = Desk(self.document, self.window, self.roll, self.engine, self.morphing, self.files, self.settings)
        self.handle = DragHandle(self.roll.state, lambda: self.files.name)
        self._told_to_leave = False
        self._wanted_style: Path | None = None
        self._engine_trouble = ""  # why the last model or style did not load
        self._starters = (
            (QTimer(self, singleShot=True, interval=0), self._open_ports),
            (QTimer(self, singleShot=True, interval=START_ENGINE_MS), self.load_starter),
        )
        self.autosave = Autosave(self.document, self.snapshot, recovery or default_folder(), self)
        self._put_together()
        self._wire()
        self._open_first(path)

    def _put_together(self) -> None:
        window = self.window
        area = Qt.DockWidgetArea
        self.latents_dock = window.add_dock("sliders", self.tr("Sliders"), self.latents, area.LeftDockWidgetArea)
        bottom = area.BottomDockWidgetArea
        self.training_dock = window.add_dock("training", self.tr("Fine-tuning"), self.training, bottom)
        self.tracks_dock = window.add_dock("tracks", self.tr("Tracks"), self.tracks, bottom)
        window.tabifyDockWidget(self.training_dock, self.tracks_dock)
        self.events_dock = window.add_dock("events", self.tr("Events"), self.events, area.RightDockWidgetArea)
        self.live_dock = window.add_dock("live", self.tr("Live"), self.live_panel, area.RightDockWidgetArea)
        for dock in (self.events_dock, self.live_dock):  # four below each other would leave none of them room
            window.tabifyDockWidget(self.desk.takes_dock, dock)
        for dock in (self.training_dock, self.tracks_dock, self.events_dock, self.live_dock):
            dock.hide()
        for light in (self.sound.sound_light, self.sound.midi_light, self.engine_light.light):
            window.transport.add_light(light)
        window.transport.add_tool(self.handle)
        window.start_strip.add("play", self.tr("Play"), "play", window["play"], primary=True)
        window.start_strip.add("vary", self.tr("Vary it"), "vary", window["vary"])
        window.start_strip.add("open", self.tr("Open my MIDI"), "open", window["open"])
        self._show_start()
        self.morph_state.disable(self.tr(LOADING))
        self.window.enable("vary", self.tr(LOADING))
        self.roll.follow = self.settings.get("follow", bool)
        window["follow"].setChecked(self.roll.follow)
        window["theme"].setChecked(not theme.current().dark)
        window.restoreGeometry(self.settings.bytes("geometry"))
        window.restoreState(self.settings.bytes("state"))

    def _wire(self) -> None:
        window, files, messages = self.window, self.files, self.window.messages
        for name, do in {
            "open": files.ask_open,
            "save": files.save,
            "save_as": files.save_as,
            "export_midi": files.ask_export_midi,
            "export_wav": files.ask_export_wav,
            "quit": window.close,
            "undo": self.document.undo_stack.undo,
            "redo": self.document.undo_stack.redo,
            "vary": self.morphing.vary,
            "reset": self.morphing.reset,
            "add_track": self.add_track,
            "copy_file": self.handle.copy,
            "tempo": lambda: self.tempo.open(window.transport.tempo),
            "meter": lambda: self.meter.open(window.transport.meter),
            "shortcuts": self.show_shortcuts,
            "about": self.show_about,
            "palette": self.show_palette,
        }.items():
            window[name].triggered.connect(lambda _=False, do=do: do())
        window["record"].toggled.connect(self.live.arm)
        self.live.changed.connect(lambda: window["record"].setChecked(self.live.is_armed))
        window["theme"].toggled.connect(self._use_theme)
        window["follow"].triggered.connect(lambda on: self.settings.set("follow", on))
        for readout, name in ((window.transport.tempo, "tempo"), (window.transport.meter, "meter")):
            readout.set_clicked(window[name].trigger, window[name].text().rstrip("…"))
        window.start_strip.dismissed.connect(self._dismiss_start)
        self.training_dock.visibilityChanged.connect(lambda _: self._show_start())
        window.dropped.connect(files.take)
        window.may_close = files.may_discard
        for speaker in (
            files.problem,
            self.morphing.problem,
            self.desk.problem,
            self.sound.problem,
            self.training.problem,
            self.events.problem,
            self.handle.problem,
            self.live.problem,
        ):
            speaker.connect(messages.problem)
        files.not_saved.connect(lambda words: messages.problem(words, self.tr("Save as…"), files.save_as))
        for speaker in (files.solved, self.sound.solved):
            speaker.connect(messages.solved)
        for teller in (files.notice, self.handle.notice):
            teller.connect(messages.notice)
        files.song_opened.connect(self._name_song)
        files.project_opened.connect(self._restore)
        files.folder_dropped.connect(self.offer_training)
        self.document.dirty_changed.connect(self._name_song)
        stack = self.document.undo_stack
        stack.indexChanged.connect(self._name_steps)
        self._name_steps()
        self.roll.bars_selected.connect(self.morph_state.set_selection)
        self.mixer.changed.connect(self.playback.refresh)
        self.tracks.sent.connect(self.player.tell)
        self.tracks.auditioned.connect(self.playback.sound_track)
        self.latents.reset_requested.connect(self.morphing.reset)
        self.engine.ready.connect(self._on_ready)
        self.engine.failed.connect(self._on_engine_failed)
        self.training.use_style.connect(self.use_style)
        self.training.samples.play.connect(self.listening.play)
        self.training.samples.stop.connect(self.listening.stop)
        self.listening.changed.connect(self.training.samples.show_playing)
        self.listening.problem.connect(messages.problem)
        self.training.loading.connect(self._on_plots_loading)

    def _open_first(self, path: Path | None) -> None:
        demos = [DEMO / FIRST_DEMO] if (DEMO / FIRST_DEMO).exists() else sorted(DEMO.glob("*.mid"))
        if path is not None and path.is_dir():
            QTimer.singleShot(0, lambda: self.offer_training(path))
        elif path is not None:
            QTimer.singleShot(0, lambda: self.files.open(path))
        for demo in demos[:1]:
            try:
                self.files.open_now(demo)
            except MorphonyError as error:
                self.window.messages.problem(str(error))
        self._name_song()

    # From start to end

    def show(self) -> None:
        """Open the window; then the ports and the engine, so that nothing holds it up."""
        self.window.show()
        self.roll.setFocus()  # Space plays, until Tab leads elsewhere
        self.autosave.start()
        if (left := self.autosave.left_behind()) is not None:
            words = self.tr("Morphony did not end as it should; your last changes are kept.")
            self.window.messages.problem(words, self.tr("Bring them back"), lambda: self.files.recover(left))
        for timer, do in self._starters:
            timer.timeout.connect(do)
            timer.start()

    def _open_ports(self) -> None:
        self.sound.open(self._synth, self._midi)
        self.live.start()

    def load_starter(self) -> None:
        """Load the starter model in the engine's thread."""
        self._load(None)
        self.engine_light.name_style("")

    def use_style(self, folder: Path) -> None:
        """Load a fine-tuned style on the model."""
        self._load(folder)
        self.engine_light.name_style(folder.name)
        self.window.messages.notice(self.tr("Loading the style {0}…").format(folder.name))

    def _load(self, adapter: Path | None) -> None:
        self._wanted_style = adapter
        self.player.set_look_ahead(LOOK_AHEAD_WHILE_LOADING)
        if not self.engine.isRunning():
            self.engine.start()
        self.engine.load(None, adapter)

    def leave(self) -> None:
        """End because the system says so: nothing is asked, and what is not saved is offered at the next start."""
        self._told_to_leave = True
        self.window.may_close = lambda: True
        QApplication.quit()

    def close(self) -> bool:
        """End everything in order: sound first, so that no note hangs. False when the engine is still loading."""
        for timer, _ in self._starters:
            timer.stop()
        self.listening.stop()
        self.player.close()
        self.live.close()
        self.live_panel.wait()
        self.trainer.stop()
        self.files.background.wait()
        self.files.guard.release()
        self.autosave.stop(keep=self._told_to_leave)
        for teller in (self.document.undo_stack, self.training_dock):  # they tell of their own end
            teller.blockSignals(True)
        self.settings.set_bytes("geometry", self.window.saveGeometry())
        self.settings.set_bytes("state", self.window.saveState())
        self.settings.sync()
        return self.engine.stop(ENGINE_PATIENCE_MS)

    # The engine

    def _on_ready(self, reason: str) -> None:
        self.player.set_look_ahead()
        self.window.messages.solved(self._engine_trouble)
        self.latents.say("")
        self.window.enable("vary", "")
        self.morphing.on_ready()

    def _on_plots_loading(self) -> None:
        """Give the ports enough music for as long as the window stands still."""
        self.player.set_look_ahead(LOOK_AHEAD_WHILE_LOADING)
        QTimer.singleShot(round(LOOK_AHEAD_WHILE_LOADING * 1000), self, self._on_plots_loaded)

    def _on_plots_loaded(self) -> None:
        if self.engine.state is not EngineState.LOADING:
            self.player.set_look_ahead()

    def _on_engine_failed(self, words: str) -> None:
        self.player.set_look_ahead()
        style = self._wanted_style
        again = self.load_starter if style is None else lambda: self.use_style(style)
        self._engine_trouble = words
        self.window.messages.problem(words, self.tr("Try again"), again)
        if self.engine.engine is None:
            self.latents.say(words)
            self.morph_state.disable(words)
            self.window.enable("vary", words)

    # What the window shows

    def _name_song(self, _: object = None) -> None:
        self.window.name_song(self.files.name, self.document.is_dirty)

    def _name_steps(self, _: object = None) -> None:
        stack = self.document.undo_stack
        for name, word, can, text in (
            ("undo", self.tr("Undo"), stack.canUndo(), stack.undoText()),
            ("redo", self.tr("Redo"), stack.canRedo(), stack.redoText()),
        ):
            self.window[name].setText(f"{word} {text}".strip())
            self.window.enable(name, "" if can else self.tr("There is nothing to {0}.").format(word.lower()))

    def _use_theme(self, light: bool) -> None:
        chosen = theme.LIGHT if light else theme.DARK
        self.settings.set("theme", chosen.name)
        theme.themes.use(chosen)

    def _dismiss_start(self) -> None:
        self.settings.set("start_strip", False)
        self._show_start()

    def _show_start(self) -> None:
        """The first actions make room for training."""
        self.window.start_strip.setVisible(self.settings.get("start_strip", bool) and self.training_dock.isHidden())

    def offer_training(self, folder: Path) -> None:
        """Open the panel and look at the folder."""
        self.training_dock.show()
        self.training.scan(folder)

    def add_track(self) -> None:
        """One more track, in the panel that shows them all."""
        self.tracks_dock.show()
        self.tracks_dock.raise_()
        self.tracks.add_track()

    def show_shortcuts(self) -> None:
        """The sheet of keys and gestures."""
        from app.panels.sheets import ShortcutSheet

        ShortcutSheet(self.window).open()

    def show_about(self) -> None:
        """What this is, and whose work it stands on."""
        from app.panels.about import AboutDialog

        AboutDialog(self.window).open()

    def show_palette(self) -> None:
        """The searchable list of commands."""
        from app.panels.sheets import Palette

        palette = Palette(commands(self.window.actions_by_name, self.roll.action), self.window)
        palette.move(self.window.mapToGlobal(self.window.rect().center() - palette.rect().center()))
        palette.show()

    # Projects

    def snapshot(self) -> Project:
        """What a project file keeps of this moment."""
        point = self.morphing.point
        return Project(
            self.document.score,
            self.document.piece_base,
            point.offsets,
            tuple(name for name, s in self.morph_state.sliders.items() if s.locked),
            point.bars,
            point.seed,
            self.engine.engine.model_hash if self.engine.engine is not None else "",
            tuple(sorted(self.mixer.muted)),
            tuple(sorted(self.mixer.soloed)),
            tuple(self.document.locked_rows.tolist()),
            self.morphing.limits,
            point.lanes,
            tuple(self.desk.takes.items),
        )

    def _restore(self, opened: Project) -> None:
        for name, slider in self.morph_state.sliders.items():
            slider.set_locked(name in opened.locks)
        if opened.bars is not None:
            self.roll.select_bars(opened.bars)
            self.morph_state.set_whole_piece(False)
        self.mixer.restore(opened.muted, opened.soloed)
        self.desk.restore(opened)
        self.morphing.restore(opened.base, MorphPoint(opened.offsets, opened.bars, opened.seed, opened.lanes))


def open_synth() -> Any:
    """The built-in synth as a port."""
    from app.sound.synth import SynthOut

    return SynthOut()


def open_midi(name: str) -> Any:
    """The MIDI output called `name`, or a port of our own."""
    from app.sound.midi_out import MidiOut

    return MidiOut.open(name) if name else MidiOut.open_virtual()


def open_midi_in(name: str) -> Any:
    """The MIDI input called `name`, or a port of our own."""
    from app.sound.midi_in import MidiIn

    return MidiIn.open(name) if name else MidiIn.open_virtual()


def main(path: Path | str | None = None) -> int:
    """Open the studio, with a song if one is named; returns the exit code when its window closes."""
    QGuiApplication.setHighDpiScaleFactorRoundingPolicy(Qt.HighDpiScaleFactorRoundingPolicy.PassThrough)
    existing = QApplication.instance()
    app = existing if isinstance(existing, QApplication) else QApplication(sys.argv[:1])
    app.setApplicationName("Morphony")
    app.setDesktopFileName("morphony")
    studio = Studio(Path(path) if path else None)
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: studio.leave())  # heard at the next turn of a timer, a quarter second at most
    code = 1
    try:
        studio.show()
        code = app.exec()
    finally:
        if not studio.close():  # importing torch cannot be interrupted; everything is saved and silent by now
            os._exit(code)
    return code


__all__ = ["EngineState", "Studio", "main"]
