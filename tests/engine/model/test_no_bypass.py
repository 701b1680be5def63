"""Nothing but z reaches the decoder, and z is enough: the two ways in which a VAE pretends to work."""

from __future__ import annotations

import math

import numpy as np
import torch

from engine.config import LossConfig
from engine.model import fields as f
from engine.model.batch import Notes, Offsets
from engine.model.vaegan import MusicTransformerVAEGAN
from tests.engine import small
from trainer.batches import Batch
from trainer.objective import Objective, note_f1


def decoded(model: MusicTransformerVAEGAN, z: tuple[torch.Tensor, ...], bars) -> torch.Tensor:
    with torch.no_grad():
        return model.decoder.onsets(model.slots(*z, bars=bars, offsets=Offsets.none(len(bars.clocks))))


def latents(model: MusicTransformerVAEGAN, notes: np.ndarray, bars) -> tuple[torch.Tensor, ...]:
    with torch.no_grad():
        q = model.encode(Notes.of(notes), bars, mean=True)
    return q.z_global, q.z_local, q.z_fine


def test_an_untrained_model_knows_nothing() -> None:
    """Trap 2 (scoring the input against itself): untrained, every note costs the logarithm of its choices."""
    torch.manual_seed(0)
    model = MusicTransformerVAEGAN(small.MODEL)  # as initialised, not as in `small.model`
    notes, bars = small.tune(8), small.conditions([96] * 8)
    plain = Notes.of(notes)
    _, terms, onsets = Objective(model, LossConfig())(Batch(plain, plain, bars, Offsets.none(8)), 1.0, None, True)
    n = len(notes) / 8
    assert math.isclose(float(terms["duration"]), n * math.log(len(f.DURATIONS)), rel_tol=0.15)
    assert math.isclose(float(terms["velocity"]), n * math.log(f.VELOCITY_BINS), rel_tol=0.15)
    assert math.isclose(float(terms["micro"]), n * math.log(len(f.MICRO)), rel_tol=0.15)
    assert math.isclose(float(terms["part"]), n * 2 * math.log(2), rel_tol=0.15)
    rate = 1 / (1 + math.exp(6))  # the rate at which cells sound that the decoder starts from
    cells = 96 * f.N_PITCHES
    cost = -n * math.log(rate) - (cells - n) * math.log(1 - rate)
    assert math.isclose(float(terms["onset"]), cost, rel_tol=0.15)
    assert note_f1(onsets.detach(), plain, bars, 0.4).max() == 0


def test_one_bar_is_learnt_by_heart() -> None:
    """Trap 2: overfitting one bar, free-running from the posterior mean, reaches F1 1.0 and every field."""
    torch.set_num_threads(1)
    notes, bars = small.tune(1), small.conditions([96])
    model = small.model(1)
    small.learn(model, notes, bars, 150)
    z = latents(model, notes, bars)
    onsets = decoded(model, z, bars)
    assert note_f1(onsets, Notes.of(notes), bars, small.MODEL.threshold).tolist() == [1.0]
    cell = Notes.of(notes).cell
    with torch.no_grad():
        slots = model.slots(*z, bars=bars, offsets=Offsets.none(1))
        fields = model.decoder.fields(slots, torch.zeros_like(cell), cell, Offsets.none(1))
    assert torch.equal(fields.duration.argmax(-1), Notes.of(notes).duration)
    assert torch.equal(fields.velocity.argmax(-1), Notes.of(notes).velocity)
    assert torch.equal(fields.part.argmax(-1), Notes.of(notes).part)


def test_swap_decoding_follows_z_and_not_the_bar(learnt) -> None:
    """Trap 3 (z bypassed): with the z of another bar comes that other bar."""
    model, notes, bars, z = learnt
    swapped = (z[0], z[1], z[2].roll(1, 0))
    onsets = decoded(model, swapped, bars)
    target, other = Notes.of(notes), notes.copy()
    other["bar"] = (other["bar"] + 1) % 4
    theirs = Notes.of(other)
    of_source = note_f1(onsets, target, bars, 0.4)
    truth = torch.full_like(onsets, -9.0)
    truth[theirs.bar, theirs.cell] = 9.0
    chance = note_f1(truth, target, bars, 0.4)  # F1 of the two source bars themselves
    assert (of_source - chance).mean() <= 0.05
    assert note_f1(onsets, theirs, bars, 0.4).mean() > 0.9


def test_with_a_constant_z_every_bar_sounds_the_same(learnt) -> None:
    """Trap 3: what is left when z says nothing is nothing of the bar."""
    model, notes, bars, z = learnt
    constant = tuple(torch.zeros_like(level) for level in z)
    bars = bars.select(torch.arange(4))
    bars.place.fill_(0)  # the same place in the phrase
    onsets = decoded(model, constant, bars)
    assert all(torch.allclose(onsets[0], onsets[bar], atol=1e-5) for bar in range(1, 4))
    assert note_f1(onsets, Notes.of(notes), bars, 0.4).mean() < 0.5


def test_note_embeddings_reach_the_decoder_through_z_only() -> None:
    """Trap 3 by gradient: with z held, no parameter of the encoder moves the decoding; through z, every field does."""
    model = small.model()
    notes, bars = Notes.of(small.tune(4)), small.conditions([96] * 4)
    q = model.encode(notes, bars, mean=True)
    free = Offsets.none(4)
    held = model.slots(q.z_global.detach(), q.z_local.detach(), q.z_fine.detach(), bars, free)
    outputs = model.decoder.onsets(held).sum() + sum(
        part.sum() for part in vars_of(model.decoder.fields(held, notes.bar, notes.cell, free))
    )
    outputs.backward()
    assert all(p.grad is None for p in model.encoder.parameters())
    through = model.slots(q.z_global, q.z_local, q.z_fine, bars, free)
    model.decoder.onsets(through).pow(2).sum().backward()
    for table in ("pitch", "octave", "chroma", "clock", "duration", "velocity", "part"):
        assert getattr(model.encoder.embed, table).weight.grad.abs().sum() > 0, table


def vars_of(fields: object) -> list[torch.Tensor]:
    return [getattr(fields, name) for name in ("duration", "velocity", "micro", "part")]
