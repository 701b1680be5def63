"""Latent figures on a small model that knows a tune: what is active, what follows, and what only looks as if."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.attributes import INDEX, NAMES
from engine.errors import MorphonyError
from engine.model.batch import Bars, Notes, Offsets
from engine.score import midi
from engine.session import Piece, Session
from tests import learnt
from tests.engine import small
from trainer.batches import Batch
from trainer.evaluate import evaluate, latents
from trainer.evaluate.decoded import within
from trainer.objective import Objective

WIDTH = small.MODEL.latent_dim + small.MODEL.local_dim + small.MODEL.global_dim


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    return Session.open(learnt.model_folder(tmp_path_factory.mktemp("models") / "small"), "cpu")


@pytest.fixture
def piece(session: Session) -> Piece:
    return session.encode(small.rich_score())


def deaf_to(session: Session, *dimensions: int) -> Session:
    """The same model with a decoder that reads nothing from some dimensions of the code."""
    out = copy.copy(session)
    out.model = copy.deepcopy(session.model)
    with torch.no_grad():
        out.model.decoder.lay_out[list(dimensions)] = 0
    out.decoder = out.model.decoder
    return out


# ---------------------------------------------------------------- codes


def test_codes_are_what_the_decoder_reads(session: Session, piece: Piece) -> None:
    rows = np.array([1, 6])
    bars = piece.conditions.select(torch.from_numpy(rows))
    with torch.no_grad():
        direct = session.model.decoder.slots(latents.codes(piece, rows), bars, Offsets.none(2))
        through = session.model.slots(piece.z_global, piece.z_local, piece.z_fine[rows], bars, Offsets.none(2))
    assert torch.allclose(direct, through, atol=1e-5)


def test_a_dimension_has_its_place_in_a_level(piece: Piece) -> None:
    fine, local = small.MODEL.latent_dim, small.MODEL.local_dim
    assert latents.place(piece, fine - 1) == ("fine", fine - 1)
    assert latents.place(piece, fine) == ("local", 0)
    assert latents.place(piece, fine + local + 2) == ("global", 2)
    with pytest.raises(MorphonyError, match="past its last level"):
        latents.place(piece, WIDTH)


def test_bars_without_notes_take_no_part_and_the_others_are_spread(piece: Piece) -> None:
    gap = replace(piece, bars=piece.bars[~np.isin(piece.bars["bar"], (0, 3))])
    assert latents.played(gap, 99).tolist() == [1, 2, 4, 5, 6, 7]
    assert latents.played(gap, 3).tolist() == [1, 4, 7]


# ---------------------------------------------------------------- active units


def likelihood(session: Session, piece: Piece) -> latents.Likelihood:
    c, each = piece.conditions, torch.arange(8)
    alone = Bars(c.clocks, c.beat, c.parts, c.place, each, each)
    return latents.Likelihood(session.model, session.config.loss, Notes.of(piece.bars), alone)


@torch.no_grad()
def test_the_likelihood_is_the_one_training_reports(session: Session, piece: Piece) -> None:
    z = latents.codes(piece, np.arange(8))
    plain = Notes.of(piece.bars)
    batch = Batch(plain, plain, piece.conditions, Offsets.none(8))
    _, values, _ = Objective(session.model, session.config.loss)(batch, 1.0, None, True)
    terms = ("onset", "duration", "micro", "velocity", "part")
    expected = sum(float(values[t]) for t in terms) * batch.size
    assert float(likelihood(session, piece)(z[None])[0]) == pytest.approx(expected, rel=1e-4)


@torch.no_grad()
def test_variants_judged_together_cost_what_they_cost_alone(session: Session, piece: Piece) -> None:
    z = torch.stack([latents.codes(piece, np.arange(8)) * factor for factor in (1, 0.5, 0)])
    nats = likelihood(session, piece)
    assert torch.allclose(nats(z), torch.stack([nats(one[None])[0] for one in z]), rtol=1e-4)
    assert nats(z).argsort().tolist() == [0, 1, 2]  # the farther from what was learnt, the worse


def test_a_dimension_the_decoder_does_not_read_costs_nothing(session: Session, piece: Piece) -> None:
    unread = (2, small.MODEL.latent_dim + 1, WIDTH - 1)
    whole, deaf = (latents.activity(s, piece, range(8)) for s in (session, deaf_to(session, *unread)))
    assert deaf.nats[list(unread)].abs().max() < 1e-4
    assert whole.nats[2] > latents.ACTIVE_NATS
    figures = latents.active([deaf])
    assert figures["active_units"] <= 1 - 3 / WIDTH
    assert figures["active_units.fine"] <= 1 - 1 / small.MODEL.latent_dim
    assert figures["active_units.fine"] > 0.5


def test_the_share_is_of_mean_costs_and_of_levels_that_are_on() -> None:
    codes = torch.zeros(50, 4)
    codes[:, 0] = torch.arange(50)
    one = latents.Costs(torch.tensor([0.03, 0.0, -0.5, 0.015]), codes, {"fine": 2, "local": 1, "global": 1})
    other = replace(one, nats=torch.tensor([0.0, 0.0, 0.6, 0.004]))
    found = latents.active([one, other])
    assert found["active_units"] == 0.5  # means .015, 0, .05, .0095
    assert [found[f"active_units.{level}"] for level in ("fine", "local", "global")] == [0.5, 1, 0]
    assert found["active_units_burda"] == 0.25
    flat = [replace(x, widths={"fine": 2}) for x in (one, other)]
    assert latents.active(flat)["active_units"] == 0.5
    assert "active_units.local" not in latents.active(flat)


# ---------------------------------------------------------------- disentanglement


def coded(piece: Piece, dimension: int, attribute: str, sign: int = 1) -> latents.Coded:
    """A piece whose bars a dimension of the code follows perfectly in one attribute; all else is noise."""
    rng = np.random.default_rng(1)
    codes, own = rng.normal(size=(200, WIDTH)), rng.normal(size=(200, len(NAMES)))
    codes[:, dimension] = sign * own[:, INDEX[attribute]] ** 3
    settings = rng.uniform(-1, 1, (40, len(NAMES)))
    return latents.Coded(piece, range(4), codes, own, settings, 3 * settings)


def test_a_dimension_that_follows_an_attribute_and_moves_no_note_is_found_out(session: Session, piece: Piece) -> None:
    """The oldest trap: a rank correlation of 1 on the latent side, and notes that do not move at all."""
    deaf = deaf_to(session, 5)
    found = latents.scores(latents.follow(deaf, [coded(piece, 5, "register")]))
    assert found["latents.scc.register"] == pytest.approx(1)
    assert found["latents.traversed.register"] == 0
    assert found["sliders.scc.register"] == pytest.approx(1)


@pytest.mark.parametrize("sign", [1, -1])
def test_notes_that_follow_count_with_the_direction_the_code_promised(
    session: Session, piece: Piece, monkeypatch: pytest.MonkeyPatch, sign: int
) -> None:
    asked = []

    def rising(_: Session, __: Piece, level: str, at: int, positions: list[float], bars: range) -> list[np.ndarray]:
        asked.append((level, at))
        takes = [within(piece.bars, bars) for _ in positions]
        for i, take in enumerate(takes):
            take["pitch"] += i
        return takes

    monkeypatch.setattr(latents, "traversal", rising)
    found = latents.scores(latents.follow(session, [coded(piece, small.MODEL.latent_dim + 2, "register", sign)]))
    assert ("local", 2) in asked
    assert found["latents.traversed.register"] == pytest.approx(sign)
    assert found["latents.traversed.density"] == 0


def test_the_notes_say_whether_sliders_are_obeyed(session: Session, piece: Piece) -> None:
    one = latents.code(session, piece, range(2))
    assert one.settings.shape == one.heard.shape == (latents.TAKES, len(NAMES))
    assert np.abs(one.settings).max() <= latents.REACH
    found = latents.scores([replace(coded(piece, 0, "density"), settings=one.settings, heard=one.heard)])
    assert found["sliders.scc.dynamics"] > 0.7
    assert set(latents.SCORES) == {n.removeprefix("sliders.") for n in found if n.count(".") == 1} & set(latents.SCORES)


def test_too_few_bars_have_no_scores(session: Session, piece: Piece) -> None:
    few = coded(piece, 0, "density")
    few = replace(few, codes=few.codes[:3], own=few.own[:3])
    assert latents.scores(latents.follow(session, [few])) == {}


def test_the_job_gives_scores_and_active_units(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latents, "TAKES", 10)
    for i in range(2):
        midi.write(small.score(8, shift=i), tmp_path / f"{i}.mid")
    job = evaluate(session, tmp_path, figures=("latents", "active_units"), bars=range(1))
    while True:
        try:
            next(job)
        except StopIteration as end:
            found = end.value["figures"]["all"]
            break
    names = {f"{side}.{score}" for side in ("latents", "sliders") for score in latents.SCORES}
    assert names | {"latents.traversed", "active_units", "active_units_burda"} <= set(found)
    assert all(np.isfinite(v) for v in found.values())
    assert 0 < found["active_units"] <= 1
