"""The song being worked on: its current `Score`, how it got there, and whether it is saved.

Everything that changes the song goes through `change`, so everything can be undone. Views subscribe to the signals;
nothing here knows any view, the engine or the sound.
"""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QUndoCommand, QUndoStack

from engine.score.score import Score, Track, make_notes

UNDO_LIMIT = 500  # steps; each holds a reference to one frozen score


def empty_score() -> Score:
    """A song without a note: one piano track."""
    return Score(480, (Track("Piano"),), make_notes())


class Document(QObject):
    """Holds one frozen `Score`; undo brings back the identical object."""

    changed = Signal(object)  # Score: what the song is now
    previewed = Signal(object)  # Score | None: what somebody proposes, not part of the song
    loaded = Signal(object)  # Score: another song was opened; `changed` follows
    dirty_changed = Signal(bool)

    def __init__(self, score: Score | None = None, path: Path | None = None, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._score = score if score is not None else empty_score()
        self._base = self._score
        self._shown = self._score
        self._proposal: Score | None = None
        self._commands: list[QUndoCommand | None] = []  # Qt owns them, Python must not forget them
        self.path = path
        self.undo_stack = QUndoStack(self)
        self.undo_stack.setUndoLimit(UNDO_LIMIT)
        self.undo_stack.indexChanged.connect(self._tell)
        self.undo_stack.cleanChanged.connect(self._on_clean)

    @property
    def score(self) -> Score:
        """The song as it is."""
        return self._score

    @property
    def piece_base(self) -> Score:
        """The score the sliders count from: the one last opened or edited by hand, not what a slider made of it."""
        return self._base

    @property
    def proposal(self) -> Score | None:
        """The score shown as a proposal, if any."""
        return self._proposal

    @property
    def previous(self) -> Score | None:
        """The song before the last change (a whole drag is one change); None when nothing was changed."""
        command = self.undo_stack.command(self.undo_stack.index() - 1)
        return command.before[0] if isinstance(command, _Change) else None

    @property
    def is_dirty(self) -> bool:
        """True when there is something to save."""
        return not self.undo_stack.isClean()

    def change(self, score: Score, text: str, merge_key: object | None = None, *, keep_base: bool = False) -> None:
        """Make `score` the song, as one step of undo called `text`.

        Steps of the same `merge_key` become one, and none if they end where they began: a drag is one step.
        `keep_base` is for what the sliders make: they go on counting from where they did.
        """
        if score is self._score:
            return
        self._set_proposal(None)
        base = self._base if keep_base else score
        command = _Change(self, (self._score, self._base), (score, base), text, merge_key)
        self._commands.append(command)
        self.undo_stack.push(command)
        self._commands = [self.undo_stack.command(i) for i in range(self.undo_stack.count())]

    def preview(self, score: Score | None) -> None:
        """Show `score` as a proposal over the song; None takes it away."""
        self._set_proposal(score)

    def accept(self, text: str) -> None:
        """Make the proposal the song; nothing happens without one."""
        if self._proposal is not None:
            self.change(self._proposal, text, keep_base=True)

    def rebase(self, base: Score | None = None) -> None:
        """Let the sliders count from `base` (default: the song as it is now) from here on; the song stays."""
        self._base = base if base is not None else self._score

    def load(self, score: Score, path: Path | None = None) -> None:
        """Open another song; the old one's undo history ends."""
        self._set_proposal(None)
        self.path = path
        self._score = self._base = score
        self.loaded.emit(score)
        self._commands.clear()
        self.undo_stack.clear()
        self.undo_stack.setClean()
        self._tell()

    def mark_saved(self, path: Path | None = None) -> None:
        """Remember that the song as it is now is on disk (at `path`)."""
        self.path = path or self.path
        self.undo_stack.setClean()

    def _set_proposal(self, score: Score | None) -> None:
        if score is not self._proposal:
            self._proposal = score
            self.previewed.emit(score)

    def _on_clean(self, clean: bool) -> None:
        self.dirty_changed.emit(not clean)

    def _show(self, state: tuple[Score, Score]) -> None:
        self._score, self._base = state

    def _tell(self) -> None:
        if self._shown is not self._score:
            self._shown = self._score
            self.changed.emit(self._score)


class _Change(QUndoCommand):
    """One step: (score, base) before and after."""

    def __init__(
        self,
        document: Document,
        before: tuple[Score, Score],
        after: tuple[Score, Score],
        text: str,
        merge_key: object | None,
    ) -> None:
        super().__init__(text)
        self.document, self.before, self.after, self.merge_key = document, before, after, merge_key

    def redo(self) -> None:
        self.document._show(self.after)

    def undo(self) -> None:
        self.document._show(self.before)

    def id(self) -> int:
        return -1 if self.merge_key is None else 1

    def mergeWith(self, other: QUndoCommand) -> bool:
        if not isinstance(other, _Change) or other.merge_key != self.merge_key:
            return False
        self.after = other.after
        if self.after[0] is self.before[0]:
            self.document._show(self.before)
            self.setObsolete(True)
        return True
