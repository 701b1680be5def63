"""Another piece than the song, heard through the synth: what a training run has made. The song waits meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QObject, Signal

from app.sound.player import Player
from app.sound.ports import Port
from engine.errors import MorphonyError
from engine.score import midi


class Listening(QObject):
    """One piece at a time. Play of the song ends it."""

    changed = Signal(bool)  # whether something is heard
    problem = Signal(str)

    def __init__(self, song: Player, synth: Callable[[], Port | None], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.song, self.synth = song, synth
        self.player: Player | None = None
        song.state_changed.connect(lambda state: self.stop() if state == "playing" else None)

    def play(self, path: Path) -> None:
        """Read a .mid file and play it from its beginning."""
        self.stop()
        try:
            score = midi.read(path)
        except MorphonyError as error:
            self.problem.emit(str(error))
            return
        synth = self.synth()
        if synth is None or not synth.status.ok:
            self.problem.emit(self.tr("There is no sound to play the sample with; the light of the sound says why."))
            return
        self.song.pause()
        self.player = Player(score, self)
        self.player.set_ports([synth])
        self.player.state_changed.connect(lambda state: self.stop() if state != "playing" else None)
        self.player.play()
        self.changed.emit(True)

    def stop(self) -> None:
        """Fall silent; the port stays open for the song."""
        player, self.player = self.player, None
        if player is not None:
            player.blockSignals(True)
            player.stop()
            player.set_ports([])
            player.close()
            player.deleteLater()
            self.changed.emit(False)
