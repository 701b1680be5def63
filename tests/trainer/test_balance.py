"""Uncertainty weighting: terms come from the registry, shares follow no scale, and a run resumes to the bit."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from engine.checkpoint import Checkpoint
from engine.config import Config, LossConfig
from engine.model.batch import Notes, Offsets
from tests.engine import small
from trainer.batches import Batch, Windows
from trainer.loop import train
from trainer.losses import MODEL, REGISTRY, Decoded
from trainer.losses.registry import RESOLUTION, register, weight_of
from trainer.objective import Objective
from trainer.schedules import KlWeight

BALANCED = LossConfig(balance="uncertainty", on=("constraint",))
FACTS = {"deviations": small.DEVIATIONS.tolist()}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def tune() -> Batch:
    notes = Notes.of(small.tune(4))
    return Batch(notes, notes, small.conditions([96] * 4), Offsets.none(4))


def spreads(config: LossConfig, steps: int = 50, rate: float = 0.4) -> tuple[dict[str, float], dict[str, float]]:
    """Log-variances, and values of the terms, after some steps on the log-variances alone: the terms stand still."""
    objective = Objective(small.model(), config)
    optimiser = torch.optim.Adam(objective.spread.parameters(), lr=rate, betas=(0.8, 0.9))
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = rate * (1 - step / steps)
        optimiser.zero_grad()
        loss, values, _ = objective(tune(), 1.0, torch.Generator().manual_seed(0))
        loss.backward()
        optimiser.step()
    return {n: float(s.detach()) for n, s in objective.spread.items()}, {n: float(v) for n, v in values.items()}


@pytest.fixture
def scaled() -> Iterator[str]:
    """The chord-size term under a new name and in hundredths of its unit."""
    plain = REGISTRY["chord_size"].function

    @register("hundredfold", "constraint", REGISTRY["chord_size"].weight, "Measures chord sizes in hundredths.")
    def hundredfold(d: Decoded) -> torch.Tensor:
        return 100 * plain(d)

    yield "hundredfold"
    del REGISTRY["hundredfold"]


# ---------------------------------------------------------------- who is balanced


def test_every_balanced_term_that_is_on_has_a_log_variance_and_no_other(scaled: str) -> None:
    """A new term needs no other edit; divergences keep their betas, which are the knob of the rate."""
    found = set(Objective(small.model(), BALANCED).spread)
    on = {n for n, t in REGISTRY.items() if t.side == MODEL and not t.needs and weight_of(t, BALANCED) > 0}
    assert scaled in found
    assert found == {n for n in on if REGISTRY[n].group != "kl"}
    assert not any(t.balanced for t in REGISTRY.values() if t.group == "kl")
    assert not Objective(small.model(), replace(BALANCED, balance="fixed")).spread


def test_a_balanced_term_may_not_fall_below_nothing() -> None:
    """Below 0 a log-variance would run away; what can is marked as not balanced."""
    model = small.model()
    config = LossConfig(balance="uncertainty", on=tuple(t.group for t in REGISTRY.values()))
    _, values, _ = Objective(model, config)(tune(), 1.0, torch.Generator().manual_seed(0))
    balanced = [n for n in values if n in REGISTRY and REGISTRY[n].balanced]
    assert len(balanced) > 30
    assert all(float(values[n]) >= -1e-5 for n in balanced)


# ---------------------------------------------------------------- what the log-variances learn


def test_log_variances_come_to_differ_and_follow_the_terms() -> None:
    s, values = spreads(BALANCED)
    assert max(s.values()) - min(s.values()) > 3
    assert len({round(x, 2) for x in s.values()}) > len(s) / 2
    for name, learned in s.items():
        assert learned == pytest.approx(math.log(values[name] + RESOLUTION), abs=0.6), name


def test_a_term_in_hundredths_of_its_unit_ends_with_the_same_share(scaled: str) -> None:
    """With fixed weights it would count a hundred times as much."""
    s, values = spreads(replace(BALANCED, on=("chord_size", scaled)), 100)
    assert values[scaled] == pytest.approx(100 * values["chord_size"], rel=1e-4)
    shares = {n: math.exp(-s[n]) * values[n] for n in ("chord_size", scaled)}
    assert shares[scaled] == pytest.approx(shares["chord_size"], rel=0.3)


def test_a_term_that_has_come_to_nothing_keeps_a_bounded_weight() -> None:
    """Kendall's weight is 1 / L: without a resolution it would grow for ever."""
    objective = Objective(small.model(), LossConfig(balance="uncertainty", on=("variance_floor",)))
    assert float(objective(tune(), 1.0, None, True)[1]["variance_floor"]) == 0
    optimiser = torch.optim.Adam([objective.spread["variance_floor"]], lr=0.5)
    for _ in range(60):
        optimiser.zero_grad()
        objective(tune(), 1.0, None, True)[0].backward()
        optimiser.step()
    assert float(torch.exp(-objective.spread["variance_floor"].detach())) == pytest.approx(1 / RESOLUTION, rel=0.2)


# ---------------------------------------------------------------- within a run


def balanced(config: Config, **changes: object) -> Config:
    return replace(config, loss=replace(BALANCED, on=("contour",)), train=replace(config.train, **changes))


def run(config: Config, windows: Windows, out: Path, **options: object) -> Iterator:
    return train(config, windows, windows, out, FACTS, accelerator="cpu", held_out_windows=1, **options)


def test_a_balanced_run_resumes_bit_for_bit(config: Config, windows: Windows, tmp_path: Path) -> None:
    """Log-variances, their averages (which weigh held-out objectives) and their moments come back."""
    config = balanced(config, steps=16, evaluate_every=4, checkpoint_every=8)
    unbroken = list(run(config, windows, tmp_path / "one"))
    job = run(config, windows, tmp_path / "two")
    for step in job:
        if step.n == 10:
            job.close()
    torch.manual_seed(999)
    resumed = list(run(config, windows, tmp_path / "two", resume=True))
    assert [s.n for s in resumed] == list(range(9, 17))
    assert [s.train for s in resumed] == [s.train for s in unbroken[8:]]
    assert [s.held_out for s in resumed] == [s.held_out for s in unbroken[8:]]
    one, two = (Checkpoint(tmp_path / n / "step-0000016") for n in ("one", "two"))
    for part in (None, "training"):
        a, b = (c.tensors() if part is None else c.tensors(part) for c in (one, two))
        assert a.keys() == b.keys()
        assert all(torch.equal(a[n], b[n]) for n in a)


def test_no_constant_feeds_the_kl_controller(
    config: Config, windows: Windows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trap 12: a placeholder steered training. What it sees are this batch's nats, and other nats move it otherwise."""
    seen: list[float] = []
    saw = KlWeight.saw

    def spy(self: KlWeight, nats: float) -> None:
        seen.append(nats)
        saw(self, nats)

    monkeypatch.setattr(KlWeight, "saw", spy)
    adaptive = LossConfig(kl_schedule="adaptive", kl_target=20.0, free_bits=0.0)
    steps = list(run(replace(config, loss=adaptive, train=replace(config.train, steps=4)), windows, tmp_path))
    assert len(set(seen)) == len(seen) == 4
    terms = ("kl_global", "kl_local", "kl_fine")
    assert seen == pytest.approx([sum(s.train[t] for t in terms) for s in steps])
    assert len({s.train["kl_factor"] for s in steps}) == 4
    above, below = KlWeight(adaptive), KlWeight(adaptive)
    above.saw(30.0)
    below.saw(10.0)
    assert below.factor < 1 < above.factor
