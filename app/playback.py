"""Keeps what is heard, what is seen and where the playhead stands together.

Joins Player, roll and transport. While a morph comes in, the bar being heard stays as it is until the playhead leaves
it. Knows nothing of models and files.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PySide6.QtCore import QObject, Qt, QTimer

from app.document import Document
from app.roll.view import RollView
from app.sound.player import Player
from app.window import Window
from engine.score.score import Score
from engine.score.timing import BarGrid

FRAME_MS = 16


class Playback(QObject):
    """The transport's actions, and the timer that moves the playhead while music plays."""

    def __init__(self, document: Document, player: Player, roll: RollView, window: Window) -> None:
        super().__init__(window)
        self.document, self.player, self.roll, self.window = document, player, roll, window
        self.heard_of: Callable[[Score], Score] = lambda score: score  # what is heard of a score: mutes and solos
        self._heard: Score = document.score
        self._wanted: Score = document.score
        self._grid = BarGrid.of(document.score)
        self._bar = -1
        self._timer = QTimer(self, timerType=Qt.TimerType.PreciseTimer, interval=FRAME_MS)
        self._timer.timeout.connect(self._tick)
        document.loaded.connect(self._on_loaded)
        document.changed.connect(self._on_score)
        document.previewed.connect(lambda proposal: self._on_score(proposal or document.score))
        player.state_changed.connect(self._on_state)
        self._connect_actions()
        self._on_loaded(document.score)

    def _connect_actions(self) -> None:
        window, player = self.window, self.player
        window["play"].triggered.connect(player.toggle)
        window["stop"].triggered.connect(self._stop)
        window["panic"].triggered.connect(player.panic)
        window["to_start"].triggered.connect(lambda: self.seek(0))
        window["to_end"].triggered.connect(lambda: self.seek(self._wanted.end_tick))
        window["loop"].triggered.connect(self._toggle_loop)
        window["follow"].triggered.connect(self._set_follow)
        self.roll.seek_requested.connect(self.seek)
        self.roll.loop_requested.connect(self._on_loop)
        self.roll.auditioned.connect(self._audition)
        self.roll.follow_changed.connect(window["follow"].setChecked)
        for name in ("loop", "follow"):  # the window has these keys, with or without the roll in focus
            self.roll.action(name).setShortcuts([])

    # Where we are

    def first_bar(self) -> int:
        """The bar a morph should do first: after the one being heard, or the first one in sight."""
        if self.player.is_playing:
            return int(self._grid.bar_of(self.player.position_tick()))
        return int(self._grid.bar_of(max(self.roll.visible_ticks()[0], 0)))

    def seek(self, tick: float) -> None:
        """Go to a tick."""
        self.player.seek(tick)
        self._hand_over(self._wanted)
        self._show(tick)

    def _tick(self) -> None:
        tick = self.player.position_tick()
        self._show(tick)
        bar = int(self._grid.bar_of(max(tick, 0)))
        if bar != self._bar:
            self._bar = bar
            if self._heard is not self._wanted:
                self._on_score(self._wanted)

    def _show(self, tick: float) -> None:
        self.roll.set_playhead(tick)
        self.window.transport.show_position(tick)

    def _on_state(self, state: str) -> None:
        playing = state == "playing"
        self.roll.set_playing(playing)
        self.window.transport.show_playing(playing)
        self.window.start_strip.show_playing(playing)
        if playing:
            self._timer.start()
        else:
            self._timer.stop()
            self._hand_over(self._wanted)
        self._show(self.player.position_tick())

    def _stop(self) -> None:
        self.player.stop()
        self._show(self.player.position_tick())

    def _set_follow(self, on: bool) -> None:
        self.roll.follow = on

    # What is heard

    def _on_loaded(self, score: Score) -> None:
        self.player.stop()
        self.player.set_loop(None)
        self._heard = self._wanted = score
        self._grid, self._bar = BarGrid.of(score), -1
        self.player.set_score(self.heard_of(score))
        self.player.seek(0)
        self.window.transport.set_score(score)
        self.roll.set_loop(None)
        self.window["loop"].setChecked(False)
        self._show(0)

    def _on_score(self, score: Score) -> None:
        self._wanted = score
        if not self.player.is_playing:
            self._hand_over(score)
            return
        bar = int(self._grid.bar_of(max(self.player.position_tick(), 0)))
        self._hand_over(hold_bar(self._heard, score, int(self._grid.starts[bar]), int(self._grid.starts[bar + 1])))

    def _hand_over(self, score: Score) -> None:
        if score is self._heard:
            return
        self._heard = score
        self._grid = BarGrid.of(score)
        self.player.set_score(self.heard_of(score))
        self.window.transport.set_score(self._wanted)

    def refresh(self) -> None:
        """What is heard of the score is another: hand it over again."""
        self.player.set_score(self.heard_of(self._heard))

    # Loop and audition

    def _toggle_loop(self, on: bool) -> None:
        from app.roll import actions

        roll = self.roll.state
        if not on:
            roll.request_loop(None)
        elif roll.loop is None:
            actions.loop_selection(roll)
            if roll.loop is None:
                roll.request_loop((0, int(self._grid.starts[-1])))

    def _on_loop(self, loop: tuple[int, int] | None) -> None:
        self.player.set_loop(*loop) if loop else self.player.set_loop(None)
        self.window["loop"].setChecked(loop is not None)

    def sound_track(self, track: int) -> None:
        """Let a track be heard: one note near the middle of what it plays."""
        pitches = self._wanted.notes["pitch"][self._wanted.notes["track"] == track]
        self._audition(int(np.median(pitches)) if len(pitches) else 60, 90, track)

    def _audition(self, pitch: int, velocity: int, track: int) -> None:
        if velocity and not self.player.is_playing:
            self.player.audition(track, pitch, velocity)


def hold_bar(playing: Score, wanted: Score, start: int, stop: int) -> Score:
    """`wanted`, with the notes that begin in ticks `start` to `stop` as they are in `playing`: the bar now heard."""
    if playing.ticks_per_quarter != wanted.ticks_per_quarter or playing.tracks != wanted.tracks:
        return wanted
    old = (playing.notes["tick"] >= start) & (playing.notes["tick"] < stop)
    new = (wanted.notes["tick"] >= start) & (wanted.notes["tick"] < stop)
    if np.array_equal(playing.notes[old], wanted.notes[new]):
        return wanted
    notes = np.concatenate([wanted.notes[~new], playing.notes[old]])
    return Score(wanted.ticks_per_quarter, wanted.tracks, notes, wanted.meters, wanted.tempi, wanted.events)
