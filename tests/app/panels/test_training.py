"""The fine-tuning panel: stages, words, and plots that show exactly what the log holds."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtGui import QImage
from pytestqt.qtbot import QtBot

from app.panels.losses import LossHistory, smoothed
from app.panels.training import Stage, TrainingPanel, duration
from app.settings import Settings
from app.trainer_thread import FileReport, TrainerState, TrainerThread, TrainingStep
from engine.errors import MorphonyError


class StillTrainer(TrainerThread):
    """A trainer that starts no process; the test speaks for it."""

    def _begin(self, state: TrainerState, job: object) -> None:
        if self.busy:
            raise MorphonyError("The trainer is at work; cancel that first.")
        self._tell(state)

    def end(self, state: TrainerState, words: str = "") -> None:
        self._tell(state)
        self.ended.emit(state, words)


@pytest.fixture
def panel(qtbot: QtBot, tmp_path: Path) -> Iterator[TrainingPanel]:
    trainer = StillTrainer()
    panel = TrainingPanel(trainer, Settings(tmp_path / "s.ini"), tmp_path)
    qtbot.addWidget(panel)
    panel.resize(900, 240)
    panel.show()
    yield panel
    trainer.stop()


def a_scan(panel: TrainingPanel, kept: int = 4) -> None:
    panel.scan(Path("my music"))
    for i in range(kept):
        panel.trainer.report.emit(FileReport(f"{i}.mid", True, "", 400, 20, 60.0))
    panel.trainer.report.emit(FileReport("bad.mid", False, "bad.mid is not a MIDI file.", 0, 0, 0.0))
    panel.trainer.end(TrainerState.FINISHED)  # type: ignore[attr-defined]


def some_steps(falls: bool = True) -> list[TrainingStep]:
    steps = [TrainingStep(0, 40, 0.0, {}, {"loss": 100.0, "kl": 9.0})]
    for n in range(1, 41):
        loss = 1 / 3 + 100 * math.exp(-n / 20)
        held = {"loss": 100.0 - n * (1 if falls else -1), "kl": 8.5} if n % 10 == 0 else None
        steps.append(TrainingStep(n, 40, n * 0.25, {"loss": loss, "kl": loss / 7}, held))
    return steps


def test_a_scan_says_what_is_kept_and_why_the_rest_is_not(panel: TrainingPanel) -> None:
    assert panel.stage is Stage.EMPTY
    a_scan(panel)
    assert panel.stage is Stage.REPORT
    assert "4 of 5 files can be used; 1 left out" in panel.words.text()
    assert "1,600 notes in 4 min." in panel.words.text()
    assert panel.refused.item(0).text() == "bad.mid is not a MIDI file."
    assert panel.main_button.isEnabled()


@pytest.mark.parametrize(("kept", "reason"), [(0, "No file in this folder can be used"), (1, "two pieces at least")])
def test_what_cannot_be_learned_from_says_why(panel: TrainingPanel, kept: int, reason: str) -> None:
    a_scan(panel, kept)
    assert reason in panel.words.text()
    assert panel.main_button.text() == "Another folder…"  # the one thing there is to do
    assert panel.steps.isHidden()
    assert panel.other_button.isHidden()


def test_plotted_points_equal_the_log(panel: TrainingPanel, tmp_path: Path) -> None:
    a_scan(panel)
    panel.start()
    log = tmp_path / "steps.jsonl"
    with log.open("w") as lines:
        for step in some_steps():
            lines.write(json.dumps({"n": step.n, "train": step.train, "held_out": step.held_out}) + "\n")
            panel.trainer.step.emit(step)
    assert panel.plots is not None
    panel.plots.log_scale.setChecked(True)
    panel.plots.smoothing.setCurrentIndex(2)
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    for term in ("loss", "kl"):
        for held_out, column in ((False, "train"), (True, "held_out")):
            wanted = [(r["n"], r[column][term]) for r in rows if r[column] and term in r[column]]
            x, y = panel.plotted(term, held_out)
            assert list(zip(x.tolist(), y.tolist(), strict=True)) == wanted


def test_it_is_an_improvement_only_if_held_out_loss_fell(panel: TrainingPanel) -> None:
    used: list[Path] = []
    panel.use_style.connect(used.append)
    for falls, title in ((True, "It learned your style"), (False, "No improvement")):
        a_scan(panel)
        panel.start()
        for step in some_steps(falls):
            panel.trainer.step.emit(step)
        assert panel.stage is Stage.TRAINING
        assert "Step 40 of 40" in panel.words.text()
        panel.trainer.end(TrainerState.FINISHED)  # type: ignore[attr-defined]
        assert panel.stage is Stage.RESULT
        assert panel.title.text() == title
        assert panel.main_button.isEnabled() == falls
        panel.main_button.click()
    assert used == [panel.styles / used[0].name]
    assert used[0].name.startswith("my music-")


def test_warnings_that_are_on_are_shown_in_words_and_groups_are_curves(panel: TrainingPanel) -> None:
    a_scan(panel)
    panel.start()
    warning = ("The loss is rising.", "Lower train.lr.")
    losses = {"loss": 9.0, "onset": 5.0, "all of reconstruction": 7.0}
    panel.trainer.step.emit(TrainingStep(1, 40, 0.3, losses, None, "Warning (divergence): ...", (warning,)))
    assert panel.words.text().splitlines()[-1] == "The loss is rising."
    assert panel.words.toolTip() == "Lower train.lr."
    panel.trainer.step.emit(TrainingStep(2, 40, 0.6, losses, None, "The warning is over.", ()))
    assert panel.words.text().splitlines()[-1] == "The warning is over."
    assert panel.words.toolTip() == ""
    x, y = panel.plotted("all of reconstruction")
    assert (x.tolist(), y.tolist()) == ([1, 2], [7, 7])


def test_a_failure_is_told_and_the_report_is_back(panel: TrainingPanel) -> None:
    said: list[str] = []
    panel.problem.connect(said.append)
    a_scan(panel)
    panel.start()
    panel.trainer.end(TrainerState.FAILED, "The disk is full.")  # type: ignore[attr-defined]
    assert said == ["The disk is full."]
    assert panel.stage is Stage.REPORT


def test_cancelled_before_a_step_it_is_the_report_again(panel: TrainingPanel) -> None:
    a_scan(panel)
    panel.start()
    panel.trainer.end(TrainerState.CANCELLED)  # type: ignore[attr-defined]
    assert panel.stage is Stage.REPORT


def test_the_history_knows_pace_and_gain() -> None:
    history = LossHistory()
    assert history.improvement() is None
    assert history.seconds_left() is None
    for step in some_steps()[:21]:
        history.add(step)
    assert history.improvement() == pytest.approx(0.20)
    assert history.seconds_left() == pytest.approx(20 * 0.25)
    assert history.terms == ["loss", "kl"]


def test_smoothing_keeps_a_constant_and_skips_what_is_not_a_number() -> None:
    assert smoothed(np.full(9, 3.0), 0.9) == pytest.approx(np.full(9, 3.0))
    assert smoothed(np.array([1.0, np.nan, 1.0]), 0.6) == pytest.approx([1.0, 1.0, 1.0])


def test_durations_read_as_one_says_them() -> None:
    assert [duration(s) for s in (0.2, 72, 600, 9000)] == ["1 s", "72 s", "10 min", "2.5 h"]


def test_the_kind_that_is_chosen_is_asked_for(panel: TrainingPanel, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, object]] = []
    monkeypatch.setattr(panel.trainer, "fine_tune", lambda *_, **options: asked.append(options))
    a_scan(panel)
    assert panel.kind.isVisible()
    panel.start()
    panel._go(Stage.REPORT)
    panel.kind.setCurrentIndex(panel.kind.findData("instant"))
    assert panel.steps.isHidden()
    assert "30 s" in panel.words.text()
    panel.start()
    assert asked == [{"kind": "adapter", "steps": panel.steps.value()}, {"kind": "instant"}]


def test_samples_are_listed_the_newest_first_chosen_and_played(panel: TrainingPanel) -> None:
    heard: list[Path] = []
    panel.samples.play.connect(heard.append)
    a_scan(panel)
    panel.start()
    assert panel.samples.isHidden()
    panel.trainer.step.emit(TrainingStep(10, 40, 1.0, {"loss": 3.0}, None, samples=("a/piece.mid", "a/drawn.mid")))
    panel.trainer.step.emit(TrainingStep(20, 40, 2.0, {"loss": 2.0}, None, samples=("b/piece.mid",)))
    assert panel.samples.chosen.currentText() == "Step 20: piece"
    panel.samples.button.click()
    assert heard == [Path("b/piece.mid")]
    panel.samples.chosen.setCurrentIndex(0)
    panel.samples.chosen.activated.emit(0)
    panel.trainer.step.emit(TrainingStep(30, 40, 3.0, {"loss": 1.0}, None, samples=("c/piece.mid",)))
    assert panel.samples.chosen.currentText() == "Step 10: piece"  # a choice stays


def test_export_writes_every_value_and_a_picture(panel: TrainingPanel, tmp_path: Path) -> None:
    a_scan(panel)
    panel.start()
    for step in some_steps():
        panel.trainer.step.emit(step)
    assert panel.plots is not None
    panel.plots.save_table(tmp_path / "l.csv")
    rows = [line.split(",") for line in (tmp_path / "l.csv").read_text().splitlines()[1:]]
    for music, held_out in (("training", False), ("held out", True)):
        x, y = panel.history.curve("loss", held_out)
        assert [(float(r[0]), float(r[4])) for r in rows if r[2:4] == [music, "loss"]] == list(zip(x, y, strict=True))
    panel.plots.save_picture(tmp_path / "l.png")
    picture = QImage(str(tmp_path / "l.png"))
    assert picture.width() == 2 * panel.plots.plot.width()
    with pytest.raises(MorphonyError, match="was not written"):
        panel.plots.save_table(tmp_path / "no" / "l.csv")
