"""Opening, saving and exporting: dialogs on one side, `engine.score.midi` and `app.project` on the other.

Reads and writes run beside the window. Knows nothing of sliders but how to keep and restore where they stood.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QFileDialog, QMessageBox, QWidget

from app import project
from app.background import Background
from app.document import Document
from app.guard import Guard
from app.project import Project
from app.settings import Settings
from engine.errors import MorphonyError, reason
from engine.score import midi

MIDI_SUFFIXES = (".mid", ".midi", ".kar", ".rmi", ".smf")


class Files(QObject):
    """Everything the File menu does."""

    problem = Signal(str)
    not_saved = Signal(str)  # saving failed: the changes are still in the window, and may go elsewhere
    solved = Signal(str)  # the sentence of a saving that failed, once one has gone well
    notice = Signal(str)
    folder_dropped = Signal(object)  # Path: a folder of music
    project_opened = Signal(object)  # Project, just after the document loaded it
    song_opened = Signal()  # the document holds another song

    def __init__(
        self, document: Document, settings: Settings, window: QWidget, snapshot: Callable[[], Project]
    ) -> None:
        super().__init__(window)
        self.document, self.settings, self.window, self.snapshot = document, settings, window, snapshot
        self.background = Background(self)
        self.name = self.tr("Untitled")
        self.project_path: Path | None = None
        self.guard = Guard()
        self._refusal = ""

    # Opening

    def ask_open(self) -> None:
        """Ask which song or project to open."""
        kinds = " ".join(f"*{s}" for s in (*MIDI_SUFFIXES, project.SUFFIX))
        name, _ = QFileDialog.getOpenFileName(
            self.window, self.tr("Open"), self.settings.get("folder", str), self.tr("Songs ({0})").format(kinds)
        )
        if name and self.may_discard():
            self.open(Path(name))

    def take(self, path: Path) -> None:
        """What to do with something dropped: a folder offers fine-tuning, a file opens."""
        if path.is_dir():
            self.folder_dropped.emit(path)
        elif self.may_discard():
            self.open(path)

    def open(self, path: Path) -> None:
        """Open a MIDI file or a project; on failure the present song stays."""
        self.settings.set("folder", str(path.parent))
        self.background.run(lambda: load(path), lambda opened: self._opened(path, opened), self.problem.emit)

    def recover(self, path: Path) -> None:
        """Open a copy that a crash left behind, as a song not yet saved; the copy goes when it is saved again."""

        def opened(found: Project) -> None:
            self._opened(path, found)
            self.name, self.project_path, self.document.path = self.tr("Recovered"), None, None
            self.guard.release()
            self.document.undo_stack.resetClean()
            path.unlink(missing_ok=True)
            self.song_opened.emit()

        self.background.run(lambda: load(path), opened, self.problem.emit)

    def open_now(self, path: Path) -> None:
        """The same, waiting for it: for the first song, before there is a window to wait for."""
        self._opened(path, load(path))

    def _opened(self, path: Path, opened: Project) -> None:
        is_project = path.suffix.lower() == project.SUFFIX
        self.name, self.project_path = path.stem, path if is_project else None
        self.document.load(opened.score, path if is_project else None)
        self.guard.release()
        if is_project:
            if not self.guard.take(path):
                self.notice.emit(self.tr("{0} is open in another window; saving here asks first.").format(path.name))
            self.project_opened.emit(opened)
        self.song_opened.emit()
        for warning in opened.score.warnings[:1]:
            self.notice.emit(f"{path.name}: {warning}")

    # Saving

    def save(self) -> None:
        """Save to the project's file, or ask for one."""
        if self.project_path is None:
            self.save_as()
        elif self._may_overwrite(self.project_path):
            self._save(self.project_path)

    def save_as(self) -> None:
        """Ask where to save the project."""
        if (path := self._ask_where(self.tr("Save project"), project.SUFFIX)) is not None:
            self._save(path)

    def _save(self, path: Path) -> None:
        kept = self.snapshot()
        self.background.run(lambda: project.write(kept, path), lambda _: self._saved(path, kept), self._refused)

    def _may_overwrite(self, path: Path) -> bool:
        """True when nobody else's work is lost by saving here, or the user says so."""
        why = self.guard.objection(path)
        if not why:
            return True
        words = {
            "other": self.tr("{0} is open in another window. Saving here replaces what is saved there."),
            "changed": self.tr("{0} has changed on disk since it was opened here. Saving replaces those changes."),
        }[why].format(path.name)
        button = QMessageBox.StandardButton
        answer = QMessageBox.question(self.window, "Morphony", words, button.Save | button.Cancel, button.Cancel)
        return bool(answer == button.Save)

    def _refused(self, words: str) -> None:
        self._refusal = words
        self.not_saved.emit(words)

    def _saved(self, path: Path, kept: Project) -> None:
        self.project_path, self.name = path, path.stem
        self.document.path = path
        self.guard.take(path)
        if self.document.score is kept.score:
            self.document.mark_saved(path)
        self.song_opened.emit()
        self.solved.emit(self._refusal)
        self.notice.emit(self.tr("Saved {0}.").format(path.name))

    # Exporting

    def ask_export_midi(self) -> None:
        """Ask where to write the song as a MIDI file."""
        if (path := self._ask_where(self.tr("Export .mid"), ".mid")) is not None:
            self.export_midi(path)

    def export_midi(self, path: Path) -> None:
        """Write the song as a MIDI file."""
        score = self.document.score
        self._export(path, lambda: midi.write(score, path))

    def ask_export_wav(self) -> None:
        """Ask where to render the song to."""
        if (path := self._ask_where(self.tr("Export .wav"), ".wav")) is not None:
            self.export_wav(path)

    def export_wav(self, path: Path) -> None:
        """Render the song by the built-in synth."""
        score = self.document.score

        def work() -> None:
            from app.sound.render import render

            render(score, path)

        self.notice.emit(self.tr("Rendering {0}…").format(path.name))
        self._export(path, work)

    def _export(self, path: Path, work: Callable[[], Any]) -> None:
        def guarded() -> None:
            try:
                work()
            except OSError as error:
                raise MorphonyError(f"{path.name} was not written: {reason(error)}.") from error

        self.background.run(
            guarded, lambda _: self.notice.emit(self.tr("Wrote {0}.").format(path.name)), self.problem.emit
        )

    def _ask_where(self, title: str, suffix: str) -> Path | None:
        start = Path(self.settings.get("folder", str)) / (self.name + suffix)
        name, _ = QFileDialog.getSaveFileName(self.window, title, str(start), f"*{suffix}")
        if not name:
            return None
        path = Path(name) if name.lower().endswith(suffix) else Path(name + suffix)
        self.settings.set("folder", str(path.parent))
        return path

    # Leaving a song

    def may_discard(self) -> bool:
        """True when nothing is lost by leaving the song: it is saved, or the user says so."""
        if not self.document.is_dirty:
            return True
        button = QMessageBox.StandardButton
        answer = QMessageBox.question(
            self.window,
            "Morphony",
            self.tr("Save the changes to {0}?").format(self.name),
            button.Save | button.Discard | button.Cancel,
            button.Save,
        )
        if answer != button.Save:
            return bool(answer == button.Discard)
        path = self.project_path or self._ask_where(self.tr("Save project"), project.SUFFIX)
        if path is None or not self._may_overwrite(path):
            return False
        try:
            project.write(self.snapshot(), path)
        except MorphonyError as error:
            self._refused(str(error))
            return False
        return True


def load(path: Path) -> Project:
    """Read a song or a project, whichever it is."""
    if path.suffix.lower() == project.SUFFIX:
        return project.read(path)
    score = midi.read(path)
    return Project(score, score)
