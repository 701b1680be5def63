"""The registry of loss terms: weights from one table, switches in YAML, a new term is one function."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from engine.config import LossConfig, parse
from engine.errors import MorphonyError
from engine.model import fields as f
from engine.model.batch import Notes, Offsets
from engine.model.decoder import Fields
from engine.model.latents import Normal, Posterior
from engine.tokens.vocab import FAMILIES
from tests.engine import small
from trainer.batches import Batch
from trainer.losses import REGISTRY, Decoded, total
from trainer.losses.registry import DYNAMICS, NOTES, TIMING, register, weight_of
from trainer.objective import Objective, note_f1


def batch(notes=None, clocks: tuple[int, ...] = (96,) * 4) -> Batch:
    plain = Notes.of(small.tune(len(clocks)) if notes is None else notes)
    return Batch(plain, plain, small.conditions(clocks), Offsets.none(len(clocks)))


def posterior(bars: int, phrases: int = 1, mean: float = 0.0, logvar: float = 0.0) -> Posterior:
    def level(rows: int, width: int) -> Normal:
        return Normal(torch.full((rows, width), mean), torch.full((rows, width), logvar))

    q = level(1, 8), level(phrases, 8), level(bars, 16)
    return Posterior(*q, *(level.mean for level in q))


def decoded(notes, clocks: tuple[int, ...] = (96,), certainty: float = 0.0, **options) -> Decoded:
    """A decoding that says nothing (0), or puts `certainty` nats on the truth of every note and field."""
    target, bars = Notes.of(notes), small.conditions(clocks)
    slots = int(bars.slots.max())
    onsets = torch.full((len(clocks), slots * f.CELLS_PER_SLOT), -certainty)
    onsets[target.bar, target.cell] = certainty
    part = torch.full((len(notes), f.N_PARTS), -certainty)
    for i, cell in enumerate(zip(target.bar.tolist(), target.cell.tolist(), strict=True)):
        doubled = [
            int(p) for b, c, p in zip(target.bar, target.cell, target.part, strict=True) if (int(b), int(c)) == cell
        ]
        part[i, doubled] = certainty
    logits = Fields(
        certainty * F.one_hot(target.duration, len(f.DURATIONS)).float(),
        certainty * F.one_hot(target.velocity, f.VELOCITY_BINS).float(),
        certainty * F.one_hot(target.micro, len(f.MICRO)).float(),
        part,
    )
    rest = {"posterior": posterior(len(clocks)), "warmup": 1.0, "config": LossConfig()} | options
    return Decoded(target, bars, onsets, logits, **rest)


# ---------------------------------------------------------------- gradients


def test_every_parameter_but_the_prior_s_is_moved_by_some_loss() -> None:
    """Nothing in the model is there for show: sliders told, long bars, every embedding."""
    model = small.model()
    notes = small.bar_notes(
        *((0, 7 * i % 192, 21 + 11 * i % 88, 1 + 3 * i, 1 + 4 * i, i % 16, i / 32 - 0.5) for i in range(32))
    )
    bars = small.conditions((192, 96, 72, 96, 96), parts=16)
    told = small.offsets(5, **dict.fromkeys(("density", "articulation", "dynamics"), 1.0))
    full = Batch(Notes.of(notes), Notes.of(notes), bars, told)
    loss, _, _ = Objective(model, LossConfig(free_bits=0.0))(full, 1.0, torch.Generator().manual_seed(0))
    loss.backward()
    still = {
        n for n, p in model.named_parameters() if not n.startswith("prior") and (p.grad is None or not p.grad.any())
    }
    assert still == set()


# ---------------------------------------------------------------- weights from one table


def test_notes_weigh_three_timing_two_dynamics_one_and_a_half() -> None:
    """Trap 7: "notes 3x" hit the wrong tokens, because losses and data had a vocabulary each."""
    assert (NOTES, TIMING, DYNAMICS) == (3.0, 2.0, 1.5)
    weights = {name: weight_of(REGISTRY[name], LossConfig()) for name in REGISTRY}
    assert weights["onset"] / weights["duration"] == pytest.approx(3 / 2)
    assert weights["onset"] / weights["velocity"] == pytest.approx(3 / 1.5)
    by_family = {family: weights[name] for name, term in REGISTRY.items() for family in term.tokens[:1]}
    assert by_family["NOTE_ON"] == max(by_family.values())


def test_terms_name_families_the_vocabulary_has() -> None:
    """Trap 7."""
    named = {family for term in REGISTRY.values() for family in term.tokens}
    assert named <= set(FAMILIES)
    assert {"NOTE_ON", "NOTE_OFF", "TIME_SHIFT", "VELOCITY_CHANGE", "INSTRUMENT"} <= named
    with pytest.raises(KeyError):
        register("wrong", "reconstruction", 1.0, "Names no family.", ("NOTES",))


def test_a_hand_made_bar_weighs_what_a_pencil_says() -> None:
    """Trap 7: two notes, a decoder that says nothing: every class is equally likely, every cell a coin."""
    notes = small.bar_notes((0, 0, 60, 24, 80, 0), (0, 24, 64, 24, 80, 1))
    objective, values = total(decoded(notes))
    cells = 96 * 88
    assert float(values["onset"]) == pytest.approx(cells * math.log(2), rel=1e-4)
    assert float(values["duration"]) == pytest.approx(2 * math.log(len(f.DURATIONS)), rel=1e-5)
    assert float(values["velocity"]) == pytest.approx(2 * math.log(32), rel=1e-5)
    assert float(values["micro"]) == pytest.approx(2 * math.log(17), rel=1e-5)
    assert float(values["part"]) == pytest.approx(2 * 2 * math.log(2), rel=1e-5)  # two parts play
    free = LossConfig().free_bits * 8
    by_hand = sum(weight_of(REGISTRY[n], LossConfig()) * float(v) for n, v in values.items() if n in REGISTRY)
    assert float(objective) == pytest.approx(by_hand, rel=1e-5)
    assert float(values["kl_local"]) == pytest.approx(free)
    likelihood = sum(float(values[n]) for n in ("onset", "duration", "velocity", "micro", "part"))
    assert float(values["loss"]) == pytest.approx(likelihood / 2, rel=1e-5)  # per note, no weights, no divergence here


def test_a_perfect_decoding_costs_nothing() -> None:
    notes = small.bar_notes((0, 0, 60), (0, 0, 60, 24, 80, 1), (0, 95, 108))
    _, values = total(decoded(notes, certainty=40.0))
    assert all(
        float(values[n]) == pytest.approx(0, abs=1e-4)
        for n in values
        if REGISTRY.get(n, REGISTRY["kl_fine"]).group != "kl"
    )


def test_a_doubling_is_one_cell_with_two_parts() -> None:
    one = small.bar_notes((0, 0, 60, 24, 80, 0))
    doubled = small.bar_notes((0, 0, 60, 24, 80, 0), (0, 0, 60, 24, 80, 1))
    cell = [REGISTRY["onset"].function(decoded(notes, certainty=2.0)) for notes in (one, doubled)]
    assert torch.equal(*cell)
    said = decoded(doubled, certainty=40.0)
    assert float(REGISTRY["part"].function(said)) == pytest.approx(0, abs=1e-4)
    single = replace(said, fields=replace(said.fields, part=40.0 * (2 * torch.eye(16)[[0, 1]] - 1)))
    assert float(REGISTRY["part"].function(single)) > 70  # each note misses the other part


def test_cells_past_a_bar_s_end_cost_nothing() -> None:
    notes = small.bar_notes((0, 0, 60), (1, 0, 60))
    short = REGISTRY["onset"].function(decoded(notes, (96, 24)))
    assert float(short) == pytest.approx((96 + 24) * 88 * math.log(2), rel=1e-4)


def test_weights_do_not_depend_on_how_many_bars_a_batch_has() -> None:
    once = small.bar_notes((0, 0, 60), (0, 24, 64))
    twice = small.bar_notes((0, 0, 60), (0, 24, 64), (1, 0, 60), (1, 24, 64))
    one, two = (total(decoded(n, c))[1] for n, c in ((once, (96,)), (twice, (96, 96))))
    for name in ("onset", "duration", "velocity", "kl_fine", "loss"):
        assert float(one[name]) == pytest.approx(float(two[name]), rel=1e-5)


# ---------------------------------------------------------------- divergence


def test_divergence_is_summed_and_free_bits_leave_the_first_nats_alone() -> None:
    notes = small.bar_notes((0, 0, 60))
    low = decoded(notes, posterior=posterior(1, mean=0.1))
    high = decoded(notes, posterior=posterior(1, mean=2.0))
    fine, local = REGISTRY["kl_fine"].function, REGISTRY["kl_local"].function
    assert float(fine(low)) == pytest.approx(16 * 0.1**2 / 2)
    assert float(fine(high)) == pytest.approx(16 * 2.0)
    assert float(local(low)) == pytest.approx(8 * 0.25)  # a quarter of a nat a dimension is free
    assert float(local(high)) == pytest.approx(8 * 2.0)
    assert float(local(replace(low, config=LossConfig(free_bits=0.0)))) == pytest.approx(8 * 0.1**2 / 2)


def test_the_warm_up_scales_divergence_alone() -> None:
    for name, term in REGISTRY.items():
        assert weight_of(term, LossConfig(), 0.0) == (0.0 if term.group == "kl" else weight_of(term, LossConfig()))
        assert weight_of(term, LossConfig(), 0.5) <= weight_of(term, LossConfig()), name


# ---------------------------------------------------------------- the registry


@pytest.fixture
def new_term() -> Iterator[str]:
    @register("quiet", "style", 2.0, "Prefers few notes.")
    def quiet(d: Decoded) -> torch.Tensor:
        return torch.sigmoid(d.onsets).sum()

    yield "quiet"
    del REGISTRY["quiet"]


def test_a_new_loss_is_one_registered_function(new_term: str) -> None:
    model = small.model()
    loss, values, _ = Objective(model, LossConfig())(batch(), 1.0, None, True)
    assert new_term in values
    without, other, _ = Objective(model, LossConfig(off=(new_term,)))(batch(), 1.0, None, True)
    assert new_term not in other
    assert float((loss - without).detach()) == pytest.approx(2.0 * float(values[new_term]), rel=1e-3)


def test_terms_and_groups_can_be_switched_off_and_weighed_in_yaml() -> None:
    config = parse("loss: {off: [micro, kl], weights: {part: 9}}").loss
    assert weight_of(REGISTRY["micro"], config) == 0
    assert weight_of(REGISTRY["kl_fine"], config) == 0
    assert weight_of(REGISTRY["part"], config) == 9
    _, values, _ = Objective(small.model(), config)(batch(), 1.0, None, True)
    assert set(values) == {"loss", "onset", "duration", "velocity", "part"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("loss: {weights: {kl_fin: 1}}", "no loss term called 'kl_fin'; did you mean 'kl_fine'"),
        ("loss: {off: [zzz]}", "no loss term called 'zzz'; there are "),
        ("loss: {weights: {kl: 1}}", "no loss term called 'kl'"),
        ("loss: {off: [kl, reconstruction]}", "nothing to learn"),
    ],
)
def test_a_term_nobody_registered_is_refused_not_dropped(text: str, sentence: str) -> None:
    with pytest.raises(MorphonyError, match=sentence):
        Objective(small.model(), parse(text).loss)


def test_a_style_weight_that_nothing_would_heed_is_refused() -> None:
    """Never a key that does nothing: a likelihood is a likelihood in every style."""
    kept = parse("loss: {on: [contour], style_weights: {bach: {contour: 2}}}").loss
    Objective(small.model(), kept)
    with pytest.raises(MorphonyError, match="'onset' weighs the same in every style"):
        Objective(small.model(), parse("loss: {style_weights: {bach: {onset: 2}}}").loss)


# ---------------------------------------------------------------- note F1


def test_note_f1_counts_cells_inside_the_bar() -> None:
    notes = Notes.of(small.bar_notes((0, 0, 60), (0, 24, 64), (2, 0, 60)))
    bars = small.conditions((96, 96, 24))
    onsets = torch.full((3, 96 * 88), -9.0)
    onsets[0, 0 * 88 + 39] = 9.0  # the first note of bar 0, found
    onsets[0, 5 * 88 + 39] = 9.0  # a note that is not there
    onsets[2, 0 * 88 + 39] = 9.0
    onsets[2, 50 * 88 + 39] = 9.0  # past the end of a bar of 24 clocks
    assert note_f1(onsets, notes, bars, 0.4).tolist() == [0.5, 1.0, 1.0]  # bar 1 is silent, and silence was decoded
