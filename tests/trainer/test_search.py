"""Plans: what they may say, that a run is never done twice, which are left early, and what the table shows."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from scipy.stats import t

from engine.errors import MorphonyError
from tests.engine import small
from tests.trainer.conftest import CONFIG
from trainer.loop import Step
from trainer.losses import check
from trainer.plan import Halving, Plan
from trainer.recipe import Music
from trainer.search import Result, search, table

PLANS = sorted((Path(__file__).resolve().parents[2] / "assets" / "plans").glob("*.yaml"))


@pytest.mark.parametrize("path", PLANS, ids=lambda p: p.stem)
def test_every_shipped_plan_names_settings_and_terms_that_exist(path: Path) -> None:
    plan = Plan.load(path)
    assert len(plan.runs) > 1
    assert len(set(map(repr, plan.runs.values()))) == len(plan.runs)  # no two runs are the same
    for config in plan.runs.values():
        check(config.loss)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("runs: {}", "is not a plan"),
        ("[1]", "is not a plan"),
        ("runs: {a: {}}\nsteps: 3", "unknown key 'steps'"),
        ("runs: {a: {model.pior: flow}}", "unknown key 'pior'; did you mean 'prior'"),
        ("runs: {a: {prior: flow}}", "'prior' names no setting"),
        ("runs: {a: {}}\nstart: {a: b}", "a run 'b' that it does not have"),
        ("runs: {a: {}}\nfigures: [beauty]", "no figures called 'beauty'"),
        ("grid: {train.lr: 0.1}", "a list of values for train.lr"),
        ("grid: {train.lr: [0.1, quick]}", "train: lr must be of type float"),
        (f"grid: {{train.seed: {list(range(40))}, train.steps: {list(range(1, 41))}}}", "more than 1000 combinations"),
        ("random: {count: 0, train.lr: [0.1]}", "needs a count"),
        ("random: {count: 2}", "needs a count from 1 to 1000, a seed of 0 or more, and keys"),
        ("random: {count: 2, train.lr: {low: 1}}", "from low to high"),
        ("random: {count: 2, train.lr: {low: 0, high: 1, log: true}}", "above 0 where it is drawn by its logarithm"),
        ("random: {count: 2, train.lr: {low: 2, high: 1}}", "a low below its high"),
        ("runs: {a: {}}\nhalving: {keep: 1}", "a share to keep between 0 and 1"),
        ("runs: {a: {}, b: {}}\nstart: {a: b}\nhalving: {}", "only one of the two goes"),
    ],
)
def test_a_plan_that_cannot_be_run_is_refused_in_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "plan.yaml").write_text(text)
    with pytest.raises(MorphonyError, match=sentence):
        Plan.load(tmp_path / "plan.yaml")


def written(folder: Path, text: str) -> Plan:
    (folder / "plan.yaml").write_text(text)
    return Plan.load(folder / "plan.yaml")


def test_a_grid_is_every_combination_beside_the_runs_that_are_named(tmp_path: Path) -> None:
    plan = written(tmp_path, "runs: {plain: {}}\ngrid: {train.lr: [0.001, 0.002], model.prior: [gaussian, flow]}")
    assert list(plan.runs) == [
        "plain", "lr=0.001,prior=gaussian", "lr=0.001,prior=flow", "lr=0.002,prior=gaussian", "lr=0.002,prior=flow",
    ]  # fmt: skip
    last = plan.runs["lr=0.002,prior=flow"]
    assert (last.train.lr, last.model.prior) == (0.002, "flow")
    assert plan.settings["lr=0.002,prior=flow"] == {"train.lr": 0.002, "model.prior": "flow"}
    assert plan.sort == "loss"


def test_lists_are_values_too(tmp_path: Path) -> None:
    plan = written(tmp_path, "grid: {loss.on: [[attribute, auxiliary], []]}")
    assert list(plan.runs) == ["on=attribute+auxiliary", "on=none"]
    assert plan.runs["on=attribute+auxiliary"].loss.on == ("attribute", "auxiliary")


def test_draws_come_from_their_seed_and_keep_to_their_limits(tmp_path: Path) -> None:
    text = (
        "random: {count: 40, seed: 3, train.lr: {low: 1e-4, high: 1e-1, log: true}, loss.beta: {low: 0.5, high: 4.0},"
    )
    text += " train.steps: {low: 3, high: 5}, model.prior: [gaussian, flow]}"
    plan, again, other = (written(tmp_path, x) for x in (text, text, text.replace("seed: 3", "seed: 4")))
    assert plan.settings == again.settings != other.settings
    assert list(plan.runs)[:2] == ["random-01", "random-02"]
    rates = sorted(c.train.lr for c in plan.runs.values())
    assert 1e-4 <= rates[0] < 1e-3 < 1e-2 < rates[-1] <= 1e-1
    assert 8 <= sum(r < 10**-2.5 for r in rates) <= 32  # as many below the middle of the logarithm as above
    assert {c.train.steps for c in plan.runs.values()} == {3, 4, 5}
    assert {c.model.prior for c in plan.runs.values()} == {"gaussian", "flow"}
    assert all(0.5 <= c.loss.beta <= 4 for c in plan.runs.values())


@pytest.fixture
def plan() -> Plan:
    short = replace(CONFIG, train=replace(CONFIG.train, steps=4))
    return Plan(
        "try", {"a": short, "b": replace(short, model=replace(small.MODEL, prior="mixture"))}, (1, 2), {}, ("held_out",)
    )


def test_a_search_goes_on_where_it_stopped_and_does_nothing_twice(
    plan: Plan, good_folder: Path, tmp_path: Path
) -> None:
    music = Music(good_folder, cache=tmp_path / "cache")
    job = search(plan, music, tmp_path / "out")
    seen = []
    for found in job:
        seen.append(found)
        if isinstance(found, Step) and len([s for s in seen if isinstance(s, Result)]) == 1:
            break  # one step into the second run
    job.close()
    rest = list(search(plan, music, tmp_path / "out"))
    results = [r for r in rest if isinstance(r, Result)]
    assert [(r.run, r.seed) for r in results] == [("a", 1), ("b", 1), ("a", 2), ("b", 2)]
    assert sum(isinstance(s, Step) for s in rest) <= 12  # the first run is not trained again
    again = list(search(plan, music, tmp_path / "out"))
    assert again == results
    assert (tmp_path / "out" / "table.md").read_text() == table(results, plan)


def test_the_worse_runs_are_left_early_and_the_others_end_as_if_alone(good_folder: Path, tmp_path: Path) -> None:
    """What goes on is bit for bit the run without halving."""
    music = Music(good_folder, cache=tmp_path / "cache")
    runs = {f"lr={lr}": replace(CONFIG, train=replace(CONFIG.train, lr=lr)) for lr in (1e-9, 1e-8, 5e-3, 1e-7)}
    halved = Plan("try", runs, (1,), {}, ("held_out",), sort="loss", halving=Halving(4, 0.5))._with_rungs()
    assert halved.rungs() == [4, 8]
    job = search(halved, music, tmp_path / "halved")
    for found in job:
        if isinstance(found, Step) and found.n == 2:
            break  # stopped inside the first rung
    job.close()
    seen = list(search(halved, music, tmp_path / "halved"))
    results = {r.run: r for r in seen if isinstance(r, Result)}
    logs = {run: (tmp_path / "halved" / f"{run}-1" / "steps.jsonl").read_text().splitlines() for run in runs}
    at_4 = {run: json.loads(lines[3])["held_out"]["loss"] for run, lines in logs.items()}
    best = sorted(at_4, key=at_4.__getitem__)
    assert {run for run, r in results.items() if r.left_at == 4} == set(best[2:])
    assert sorted(r.left_at or 0 for r in results.values()) == [0, 4, 4, 8]
    (last,) = (run for run, r in results.items() if r.left_at is None)
    assert [len(logs[run]) for run in best[2:]] == [4, 4]
    assert sum(isinstance(s, Step) for s in seen) <= 4 * 4 + 2 * 4 + 4  # nothing past the rung it was left at
    lines = (tmp_path / "halved" / "table.md").read_text().splitlines()
    assert lines[0].startswith("| run | seeds | seconds | left at step | ")
    assert [line.split(" | ")[3] for line in lines[2:]] == ["-", "8", "4", "4"]
    alone = Plan("alone", {last: halved.runs[last]}, (1,), {}, ("held_out",))
    (single,) = (r for r in search(alone, music, tmp_path / "alone") if isinstance(r, Result))
    assert results[last].figures == single.figures
    plain = (tmp_path / "alone" / f"{last}-1" / "steps.jsonl").read_text().splitlines()
    assert [json.loads(a)["train"] for a in logs[last]] == [json.loads(b)["train"] for b in plain]
    assert [r for r in search(halved, music, tmp_path / "halved") if isinstance(r, Step)] == []


def test_the_table_shows_mean_and_interval_over_seeds() -> None:
    found = [Result("x", 1, 2.0, {"loss": 1.0}), Result("x", 2, 4.0, {"loss": 3.0}), Result("y", 1, 1.0, {"f1": 0.5})]
    lines = table(found).splitlines()
    assert lines[0] == "| run | seeds | seconds | loss | f1 |"
    half = t.ppf(0.975, 1) * 2**0.5 / 2**0.5
    assert lines[2] == f"| x | 2 | 3 ± {half:.2g} | 2 ± {half:.2g} | - |"
    assert lines[3] == "| y | 1 | 1 | - | 0.5 |"


def test_a_plan_that_sorts_puts_its_best_run_first_with_the_settings_it_drew() -> None:
    settings = {"p": {"train.lr": 0.1}, "q": {"train.lr": 0.2}}
    plan = Plan("try", {}, (1,), {}, (), settings, "-f1")
    found = [Result("p", 1, 1.0, {"f1": 0.5}), Result("q", 1, 1.0, {"f1": 0.7}), Result("r", 1, 1.0, {"loss": 0.7})]
    lines = table(found, plan).splitlines()
    assert lines[0] == "| run | train.lr | seeds | seconds | f1 | loss |"
    assert [line[2] for line in lines[2:]] == ["q", "p", "r"]
    assert lines[2] == "| q | 0.2 | 1 | 1 | 0.7 | - |"
