"""Numbers that fail: back to the last good state, at a lower rate, and on; three times in a row, and it is over."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from engine import checkpoint
from engine.config import Config
from engine.errors import MorphonyError
from engine.model.vaegan import MusicTransformerVAEGAN
from tests.engine import small
from trainer.batches import Windows
from trainer.loop import Step, train
from trainer.objective import Objective
from trainer.recover import LOWER, REGAINED, Recovery, finite

FACTS = {"deviations": small.DEVIATIONS.tolist()}
KINDS = ("loss", "gradient", "weight")


def with_train(config: Config, **changes: object) -> Config:
    return replace(config, train=replace(config.train, **changes))


class Saboteur:
    """Spoils the loss, a gradient or a weight of a run at given steps (from 1)."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, plan: dict[int, str]) -> None:
        torch.manual_seed(0)
        self.model = MusicTransformerVAEGAN(small.MODEL)
        self.plan, self.step, self.done = plan, 1, 0
        forward = Objective.forward

        def spoilt(objective: Objective, *args: object, **options: object) -> object:
            found, *others = forward(objective, *args, **options)
            if torch.is_grad_enabled() and self.due("loss"):
                found = found * float("nan")
            return found, *others

        monkeypatch.setattr(Objective, "forward", spoilt)
        self.model.decoder.cells.bias.register_hook(lambda g: g * float("nan") if self.due("gradient") else None)

    def due(self, kind: str) -> bool:
        return self.plan.get(self.step) == kind

    def run(self, config: Config, windows: Windows, out: Path) -> Iterator[Step]:
        for step in train(
            config, windows, windows, out, FACTS, model=self.model, accelerator="cpu", held_out_windows=2
        ):
            self.step = step.n + 1
            if self.due("weight"):
                with torch.no_grad():
                    self.model.encoder.pool.weight[3, 2, 1] = float("inf")
            yield step


def assert_all_finite(out: Path) -> None:
    for place in [*checkpoint.steps(out), out / "best"]:
        saved = checkpoint.Checkpoint(place)
        for file in ("model", "training"):
            if (place / f"{file}.safetensors").exists():
                assert all(torch.isfinite(t).all() for t in saved.tensors(file).values())


def plan_of(rng: np.random.Generator, steps: int, number: int) -> dict[int, str]:
    """So many random steps, a third of them of each kind, and no two side by side: three in a row end a run."""
    chosen = rng.permutation(2 * rng.choice(steps // 2, number, replace=False) + 1)
    return {int(step): KINDS[i % len(KINDS)] for i, step in enumerate(chosen)}


def test_every_kind_is_noticed_said_and_survived(
    config: Config, windows: Windows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saboteur = Saboteur(monkeypatch, {3: "loss", 6: "gradient", 9: "weight"})
    settings = with_train(config, steps=14, snapshot_every=2, keep=9)
    steps = list(saboteur.run(settings, windows, tmp_path))
    assert [s.n for s in steps] == list(range(1, 15))
    said = {s.n: s.message for s in steps if s.message}
    assert set(said) == {3, 6, 9}
    assert said[3].startswith("At step 3 the loss was not a number: it is left out")
    assert said[6].startswith("At step 6 the gradient was not a number: it is left out")
    assert said[9].startswith("At step 9 the loss was not a number: it is left out, the weights that were none are")
    assert math.isnan(steps[8].train["loss"])  # the weight was noticed by what it did
    rates = [s.rates["learning_rate"] for s in steps]
    assert rates[3] == pytest.approx(LOWER * rates[2])
    assert rates[4] > rates[3]
    assert all(np.isfinite(list(s.held_out.values())).all() for s in steps if s.held_out)
    assert_all_finite(tmp_path)


def test_at_first_only_what_is_no_number_goes_back_then_everything(
    config: Config, windows: Windows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saboteur = Saboteur(monkeypatch, {6: "weight", 7: "loss"})
    settings = with_train(config, steps=8, snapshot_every=4, ema=0.0)
    after: dict[int, dict[str, torch.Tensor]] = {}
    said = {}
    for step in saboteur.run(settings, windows, tmp_path):
        after[step.n] = {n: p.detach().clone() for n, p in saboteur.model.named_parameters()}
        said[step.n] = step.message
    assert "it is left out, the weights that were none are those of step 4 again" in said[6]
    place = "encoder.pool.weight", (3, 2, 1)
    assert after[6][place[0]][place[1]] == after[4][place[0]][place[1]] != after[5][place[0]][place[1]]
    after[5][place[0]][place[1]] = after[4][place[0]][place[1]]
    assert all(torch.equal(after[6][n], p) for n, p in after[5].items())
    assert "the weights of step 4 are back" in said[7]
    assert all(torch.equal(after[7][n], p) for n, p in after[4].items())
    assert not said[8]
    assert_all_finite(tmp_path)


def test_a_weight_that_no_batch_touches_is_found_before_anything_is_saved(
    config: Config, windows: Windows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saboteur = Saboteur(monkeypatch, {})
    out = []
    for step in saboteur.run(with_train(config, steps=4, snapshot_every=2), windows, tmp_path):
        if step.n == 2:
            with torch.no_grad():
                saboteur.model.encoder.pool.page.weight[7, 0] = float("nan")  # of bars longer than any here
        out.append(step)
    assert [bool(s.message) for s in out] == [False, False, False, True]
    assert "a weight was not a number: the weights of step 2" in out[3].message
    assert_all_finite(tmp_path)
    assert len(checkpoint.steps(tmp_path)) == 1


def test_after_three_in_a_row_it_is_over_and_the_last_checkpoint_stays(
    config: Config, windows: Windows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saboteur = Saboteur(monkeypatch, dict.fromkeys((6, 7, 8), "loss"))
    steps = saboteur.run(with_train(config, steps=12), windows, tmp_path)
    seen = [next(steps).n for _ in range(7)]
    with pytest.raises(MorphonyError, match="stopped at step 8: the loss was not a number 3 times in a row"):
        next(steps)
    assert seen == list(range(1, 8))
    assert [p.name for p in checkpoint.steps(tmp_path)] == ["step-0000004"]
    assert_all_finite(tmp_path)


@pytest.mark.slow
def test_thirty_at_random_steps_cost_next_to_nothing(
    config: Config, windows: Windows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loss, gradient and weights spoilt at 30 random steps of 1500: final held-out loss within 5 % of the clean one."""
    settings = with_train(config, steps=1500, evaluate_every=250, checkpoint_every=75, snapshot_every=5, keep=1000)
    ends = {}
    for name, plan in (("clean", {}), ("spoilt", plan_of(np.random.default_rng(3), 1500, 30))):
        with monkeypatch.context() as patched:
            steps = list(Saboteur(patched, plan).run(settings, windows, tmp_path / name))
        ends[name] = steps[-1].held_out["loss"]
        assert len([s for s in steps if "was not a number" in s.message]) == len(plan)
        assert_all_finite(tmp_path / name)
        assert len(checkpoint.steps(tmp_path / name)) == 20
    assert ends["spoilt"] == pytest.approx(ends["clean"], rel=0.05), ends


def test_the_rate_climbs_back_and_failures_far_apart_are_not_in_a_row() -> None:
    recovery = Recovery()
    for n in range(5):
        recovery.failed(n, "the loss", "it is left out")
        assert recovery.factor == pytest.approx(LOWER)
        for _ in range(REGAINED):
            recovery.passed()
        assert recovery.factor == pytest.approx(1)


def test_what_is_finite_is_told_from_what_is_not() -> None:
    assert finite([])
    assert finite([torch.ones(3), torch.zeros(0), torch.arange(3)])
    assert not finite([torch.ones(3), torch.tensor([1.0, float("nan")])])
    assert not finite([torch.ones(3), torch.tensor([float("-inf")])])
