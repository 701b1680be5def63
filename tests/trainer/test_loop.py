"""The training job: it learns, it logs what it yields, and it continues to the bit where it was interrupted."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import trainer.folder
from engine.checkpoint import Checkpoint
from engine.config import Config, TrainConfig
from engine.errors import MorphonyError
from tests.engine import small
from trainer.batches import Windows
from trainer.loop import Step, train
from trainer.stopping import improved

FACTS = {"deviations": small.DEVIATIONS.tolist()}


def run(config: Config, windows: Windows, out: Path, **options: object) -> Iterator[Step]:
    return train(config, windows, windows, out, FACTS, accelerator="cpu", held_out_windows=2, **options)


def with_train(config: Config, **changes: object) -> Config:
    return replace(config, train=replace(config.train, **changes))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    saved = Checkpoint(folder)
    return saved.tensors() | {f"training.{k}": v for k, v in saved.tensors("training").items()}


@pytest.fixture(scope="module")
def unbroken(config: Config, windows: Windows, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Step]]:
    """One whole run of twelve steps."""
    out = tmp_path_factory.mktemp("unbroken")
    return out, list(run(config, windows, out))


def test_steps_are_counted_from_one_and_measured_as_configured(unbroken) -> None:
    _, steps = unbroken
    assert [s.n for s in steps] == list(range(1, 13))
    assert [s.n for s in steps if s.held_out] == [4, 8, 12]
    for step in steps:
        assert np.isfinite(list(step.train.values())).all()
        assert {"loss", "onset", "duration", "velocity", "kl_fine"} <= set(step.train)
    assert {"loss", "f1", "f1_one", "f1_two", "onset"} <= set(steps[-1].held_out or {})


def test_the_log_holds_what_was_yielded(unbroken) -> None:
    out, steps = unbroken
    lines = [json.loads(line) for line in (out / "steps.jsonl").read_text().splitlines()]
    assert [line["n"] for line in lines] == [s.n for s in steps]
    assert [line["train"] for line in lines] == [s.train for s in steps]
    assert [line["held_out"] for line in lines] == [s.held_out for s in steps]


def test_training_is_reproducible(unbroken, config: Config, windows: Windows, tmp_path: Path) -> None:
    again = list(run(with_train(config, steps=12), windows, tmp_path))
    assert [s.train for s in again] == [s.train for s in unbroken[1]]


@pytest.mark.parametrize("interrupted_at", [5, 8, 11])
def test_a_resumed_run_equals_the_unbroken_one_bit_for_bit(
    unbroken, config: Config, windows: Windows, tmp_path: Path, interrupted_at: int
) -> None:
    """Losses, weights, averages, optimiser state and randomness, after an end at any step."""
    job = run(config, windows, tmp_path)
    for step in job:
        if step.n == interrupted_at:
            job.close()
    torch.manual_seed(999)  # whatever else the process did meanwhile
    resumed = list(run(config, windows, tmp_path, resume=True))
    assert resumed[0].n == interrupted_at // 4 * 4 + 1
    out, steps = unbroken
    assert [s.train for s in resumed] == [s.train for s in steps[resumed[0].n - 1 :]]
    assert [s.held_out for s in resumed] == [s.held_out for s in steps[resumed[0].n - 1 :]]
    for folder in ("step-0000012", "best"):
        one, two = Checkpoint(out / folder).tensors(), Checkpoint(tmp_path / folder).tensors()
        assert all(torch.equal(one[name], two[name]) for name in one)
    one, two = weights(out / "step-0000012"), weights(tmp_path / "step-0000012")
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)
    logged = [json.loads(line)["n"] for line in (tmp_path / "steps.jsonl").read_text().splitlines()]
    assert logged == list(range(1, 13))  # nothing twice


def test_a_log_cut_in_the_middle_of_a_line_is_continued_whole(config: Config, windows: Windows, tmp_path: Path) -> None:
    job = run(config, windows, tmp_path)
    for step in job:
        if step.n == 6:
            job.close()
    log = tmp_path / "steps.jsonl"
    log.write_text(log.read_text()[:-40])
    list(run(config, windows, tmp_path, resume=True))
    assert [json.loads(line)["n"] for line in log.read_text().splitlines()] == list(range(1, 13))


def test_a_damaged_newest_checkpoint_is_passed_over_with_a_message(
    unbroken, config: Config, windows: Windows, tmp_path: Path
) -> None:
    shutil.copytree(unbroken[0], tmp_path / "run")
    file = tmp_path / "run" / "step-0000012" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    resumed = list(run(config, windows, tmp_path / "run", resume=True))
    assert resumed[0].n == 9
    assert "step-0000012 is damaged" in resumed[0].message
    assert "The one before is used." in resumed[0].message
    assert resumed[1].message == ""
    assert [s.train for s in resumed] == [s.train for s in unbroken[1][8:]]


def test_resuming_where_nothing_was_starts_from_the_beginning(config: Config, windows: Windows, tmp_path: Path) -> None:
    job = run(with_train(config, steps=2), windows, tmp_path, resume=True)
    assert [s.n for s in job] == [1, 2]


def test_only_the_last_checkpoints_are_kept(unbroken) -> None:
    out, _ = unbroken
    assert sorted(p.name for p in out.iterdir()) == ["best", "step-0000008", "step-0000012", "steps.jsonl"]


def test_the_loss_falls(config: Config, windows: Windows, tmp_path: Path) -> None:
    steps = list(run(with_train(config, steps=60, evaluate_every=30, checkpoint_every=1000), windows, tmp_path))
    first, last = (np.mean([s.train["onset"] for s in part]) for part in (steps[:5], steps[-5:]))
    assert last < 0.7 * first
    measured = [s.held_out["loss"] for s in steps if s.held_out]
    assert measured[-1] < measured[0]
    assert Checkpoint(tmp_path / "best").facts["step"] == 60


def test_a_run_that_gets_no_better_stops_early_and_says_so(config: Config, windows: Windows, tmp_path: Path) -> None:
    still = with_train(config, steps=100, lr=0.0, weight_decay=0.0, evaluate_every=1, patience=3)
    steps = list(run(still, windows, tmp_path))
    assert [s.n for s in steps] == [1, 2, 3, 4]  # the first measurement is the best, three more are not better
    assert "stopped early" in steps[-1].message
    lines = [json.loads(line) for line in (tmp_path / "steps.jsonl").read_text().splitlines()]
    assert [line["n"] for line in lines] == [1, 2, 3, 4]
    assert lines[-1]["message"] == steps[-1].message


def test_the_measurement_before_training_is_the_one_to_beat(config: Config, windows: Windows, tmp_path: Path) -> None:
    worse = with_train(config, steps=2, lr=1.0, lr_warmup=0, clip=1e9, evaluate_every=1, patience=9)
    steps = list(run(worse, windows, tmp_path, measure_first=True))
    assert [s.n for s in steps] == [0, 1, 2]
    assert steps[0].held_out is not None
    assert not (tmp_path / "best").exists()


def test_a_gradient_that_is_no_number_changes_no_weight(config: Config, windows: Windows, tmp_path: Path) -> None:
    model = small.model()
    model.prior.requires_grad_(False)
    with torch.no_grad():
        model.decoder.velocity.bias[0] = float("nan")
    before = model.decoder.cells.weight.clone()
    step = next(iter(run(config, windows, tmp_path, model=model)))
    assert not np.isfinite(step.train["loss"])
    assert torch.equal(model.decoder.cells.weight, before)


def test_the_prior_is_left_for_its_own_run(config: Config, windows: Windows, tmp_path: Path) -> None:
    model = small.model()
    before = {n: p.clone() for n, p in model.prior.named_parameters()}
    list(run(with_train(config, steps=2), windows, tmp_path, model=model))
    assert all(torch.equal(p, before[n]) for n, p in model.prior.named_parameters())


# ---------------------------------------------------------------- several figures, averages, precision


def test_patience_counts_from_when_any_figure_improved() -> None:
    figures = TrainConfig(stop_on=("loss", "f1"))
    best: dict[str, float] = {}
    seen = [({"loss": 3.0, "f1": 0.5}, True), ({"loss": 4.0, "f1": 0.6}, True), ({"loss": 2.0, "f1": 0.1}, True)]
    for measured, better in [*seen, ({"loss": 2.0, "f1": 0.6}, False), ({"loss": 2.5, "f1": 0.4}, False)]:
        assert improved(best, measured, figures) == better
    assert best == {"loss": 2.0, "f1": 0.6}
    with pytest.raises(MorphonyError, match="names 'f2', which is not measured here, only loss, f1"):
        improved({}, {"loss": 1.0, "f1": 0.5}, TrainConfig(stop_on=("f2",)))


def test_the_mean_of_checkpoints_stays_out_where_it_is_no_better(
    config: Config, windows: Windows, tmp_path: Path
) -> None:
    steps = list(run(with_train(config, average="last", keep=3), windows, tmp_path))
    assert "The mean of 3 checkpoints (steps 4, 8, 12) has held-out loss" in steps[-1].message
    assert steps[-1].message.endswith("step 8 stays best.")  # at step 12 the exponential mean is still that of step 8
    best = Checkpoint(tmp_path / "best")
    assert "averaged" not in best.facts
    assert best.facts["held_out"]["loss"] == min(s.held_out["loss"] for s in steps if s.held_out)


def test_the_mean_of_checkpoints_ships_where_it_is_better(
    config: Config, windows: Windows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer.folder, "measure", lambda run, batches: {"loss": 0.5})  # of the mean alone
    steps = list(run(with_train(config, average="last", keep=3), windows, tmp_path))
    assert steps[-1].message.endswith("it is best now.")
    best = Checkpoint(tmp_path / "best")
    assert (best.facts["averaged"], best.facts["held_out"]) == ([4, 8, 12], {"loss": 0.5})
    folders = [Checkpoint(tmp_path / f"step-{n:07d}").tensors() for n in (4, 8, 12)]
    for name, tensor in best.tensors().items():
        assert torch.allclose(tensor, torch.stack([f[name] for f in folders]).mean(0), atol=1e-6)


@pytest.mark.parametrize(("precision", "near"), [("bf16-mixed", 0.02), ("16-mixed", 0.15)])
def test_half_precision_learns_what_single_does(
    unbroken, config: Config, windows: Windows, tmp_path: Path, precision: str, near: float
) -> None:
    """Half precision's scale is found in the first steps, which are left out: twelve are few for that."""
    steps = list(run(with_train(config, precision=precision), windows, tmp_path))
    assert [s.held_out["loss"] for s in steps if s.held_out] == pytest.approx(
        [s.held_out["loss"] for s in unbroken[1] if s.held_out], rel=near
    )
    assert ("loss_scale" in steps[0].rates) == (precision == "16-mixed")
    assert not any(s.message for s in steps)


def test_what_is_no_loss_stands_apart(unbroken) -> None:
    for step in unbroken[1]:
        assert {"learning_rate", "kl_factor", "gradient_norm", "notes_per_second", "memory_mb"} <= set(step.rates)
        assert step.rates["gradient_norm"] == step.train["gradient"]
    seconds = [s.seconds for s in unbroken[1]]
    assert seconds == sorted(seconds)


def test_a_finished_run_is_not_begun_again(unbroken, config: Config, windows: Windows, tmp_path: Path) -> None:
    shutil.copytree(unbroken[0], tmp_path / "run")
    assert not list(run(config, windows, tmp_path / "run", resume=True))
    logged = [json.loads(line)["n"] for line in (tmp_path / "run" / "steps.jsonl").read_text().splitlines()]
    assert logged == list(range(1, 13))


def test_a_best_that_was_lost_is_made_anew(unbroken, config: Config, windows: Windows, tmp_path: Path) -> None:
    shutil.copytree(unbroken[0], tmp_path / "run")
    (tmp_path / "run" / "best" / "facts.json").write_text("{}")
    steps = list(run(with_train(config, steps=14), windows, tmp_path / "run", resume=True))
    assert "best is missing or damaged" in steps[0].message
    assert Checkpoint(tmp_path / "run" / "best").facts["step"] == 14


def test_a_run_of_another_configuration_is_not_continued(
    unbroken, config: Config, windows: Windows, tmp_path: Path
) -> None:
    shutil.copytree(unbroken[0], tmp_path / "run")
    wider = replace(config, model=replace(config.model, hidden_dim=16))
    with pytest.raises(MorphonyError, match="belongs to another configuration"):
        next(run(wider, windows, tmp_path / "run", resume=True))
