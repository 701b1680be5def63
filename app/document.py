"""The song being worked on: its current `Score`, its locked notes, how it got there, and whether it is saved.

Everything that changes the song goes through `change`, so everything can be undone. Views subscribe to the signals;
nothing here knows any view, the engine or the sound.
"""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QUndoCommand, QUndoStack

from app import locks as locking
from app.locks import Notes
from engine.score.edit import Rows
from engine.score.score import Score, Track, make_notes

State = tuple[Score, Score, Notes]  # the song, what the sliders count from, the locked notes
UNDO_LIMIT = 500  # steps; each holds a reference to one frozen score


def empty_score() -> Score:
    """A song without a note: one piano track."""
    return Score(480, (Track("Piano"),), make_notes())


class Document(QObject):
    """Holds one frozen `Score`; undo brings back the identical object."""

    changed = Signal(object)  # Score: what the song is now
    previewed = Signal(object)  # Score | None: what somebody proposes, not part of the song
    locks_changed = Signal()  # other notes are locked
    loaded = Signal(object)  # Score: another song was opened; `changed` follows
    dirty_changed = Signal(bool)

    def __init__(self, score: Score | None = None, path: Path | None = None, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._score = score if score is not None else empty_score()
        self._base = self._score
        self._locks = self._shown_locks = locking.NONE
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
    def locks(self) -> Notes:
        """The locked notes, which no model changes."""
        return self._locks

    @property
    def locked_rows(self) -> Rows:
        """Rows of the song's locked notes."""
        return locking.rows_of(self._score, self._locks)

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

    def change(
        self,
        score: Score,
        text: str,
        merge_key: object | None = None,
        *,
        keep_base: bool = False,
        base: Score | None = None,
        locks: Notes | None = None,
    ) -> None:
        """Make `score` the song, as one step of undo called `text`.

        Steps of the same `merge_key` become one, and none if they end where they began: a drag is one step.
        `keep_base` is for what the sliders make: they go on counting from where they did. What comes from elsewhere
        brings the `base` they count from and its own `locks`.
        """
        if score is self._score:
            return
        self._set_proposal(None)
        counted = self._base if keep_base else base or score
        held = locking.carried(self._score, self._locks, score) if locks is None else locks
        self._push((score, counted, held), text, merge_key)

    def lock(self, rows: Rows) -> None:
        """Lock these notes, or unlock them where all are locked, as one step of undo.

        The sliders then count from a score that holds every locked note: the song, where their base does not.
        """
        locks = locking.toggled(self._score, self._locks, rows)
        if len(rows):
            base = self._base if locking.are_in(self._base, locks) else self._score
            self._push((self._score, base, locks), self.tr("Lock notes" if len(locks) else "Unlock notes"), None)

    def put_locks(self, locks: Notes) -> None:
        """Lock these notes without a step of undo: they came with the file."""
        self._locks = locks
        self._tell()

    def _push(self, after: State, text: str, merge_key: object | None) -> None:
        command = _Change(self, (self._score, self._base, self._locks), after, text, merge_key)
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
        self._locks = locking.NONE
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

    def _show(self, state: State) -> None:
        self._score, self._base, self._locks = state

    def _tell(self) -> None:
        locks, self._shown_locks = self._shown_locks, self._locks
        if self._shown is not self._score:
            self._shown = self._score
            self.changed.emit(self._score)
        if locks is not self._locks:
            self.locks_changed.emit()


class _Change(QUndoCommand):
    """One step: score, base and locks before and after."""

    def __init__(
        self,
        document: Document,
        before: State,
        after: State,
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
        self.setText(other.text())
        if self.after[0] is self.before[0] and self.after[2] is self.before[2]:
            self.document._show(self.before)
            self.setObsolete(True)
        return True
