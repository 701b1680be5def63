"""Plans: what they may say, that a run is never done twice, and what the table shows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from engine.errors import MorphonyError
from tests.engine import small
from tests.trainer.conftest import CONFIG
from trainer.loop import Step
from trainer.losses import check
from trainer.recipe import Music
from trainer.search import Plan, Result, search, table

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
    ],
)
def test_a_plan_that_cannot_be_run_is_refused_in_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "plan.yaml").write_text(text)
    with pytest.raises(MorphonyError, match=sentence):
        Plan.load(tmp_path / "plan.yaml")


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
    assert (tmp_path / "out" / "table.md").read_text() == table(results)


def test_the_table_shows_mean_and_spread_over_seeds() -> None:
    found = [Result("x", 1, 2.0, {"loss": 1.0}), Result("x", 2, 4.0, {"loss": 3.0}), Result("y", 1, 1.0, {"f1": 0.5})]
    lines = table(found).splitlines()
    assert lines[0] == "| run | seeds | seconds | loss | f1 |"
    assert lines[2] == "| x | 2 | 3 ± 1.4 | 2 ± 1.4 | - |"
    assert lines[3] == "| y | 1 | 1 | - | 0.5 |"
