"""What steps learn from: drawn by key, shared out, halved. And what a term makes of a batch in parts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.fabric import Fabric

from engine.config import Config, LossConfig
from tests.engine import small
from trainer import keys
from trainer.batches import Batch, Windows
from trainer.draws import Draws, halves
from trainer.events import EventBatch, batch_of
from trainer.loop import train
from trainer.losses import MODEL, REGISTRY, Decoded
from trainer.objective import Objective
from trainer.run import Run

FABRIC = Fabric(accelerator="cpu", devices=1)
FACTS = {"deviations": small.DEVIATIONS.tolist()}


class OneOf:
    """What a process of several sees of itself."""

    def __init__(self, rank: int, ranks: int) -> None:
        self.global_rank, self.world_size = rank, ranks


def same(one: Batch, two: Batch) -> bool:
    return torch.equal(one.source.pitch, two.source.pitch) and torch.equal(one.bars.clocks, two.bars.clocks)


def test_a_step_draws_the_same_whenever_asked_and_another_step_something_else(config: Config, windows: Windows) -> None:
    with Draws(windows, config.train, FABRIC) as draws:
        first = [draws.at(step)[0] for step in range(3)]
        assert all(same(a, draws.at(step)[0]) for step, a in enumerate(first))
        assert not same(first[0], first[1])


def test_processes_share_out_what_one_would_draw(config: Config, windows: Windows) -> None:
    four = replace(config.train, accumulate=4)
    two = replace(config.train, accumulate=2)
    with Draws(windows, four, FABRIC) as alone:
        mine = alone.at(5)
    for rank in range(2):
        with Draws(windows, two, OneOf(rank, 2)) as draws:
            assert list(draws.numbers()) == [rank, rank + 2]
            assert all(same(a, b) for a, b in zip(draws.at(5), mine[rank::2], strict=True))


def test_streams_and_places_do_not_depend_on_each_other() -> None:
    cpu = torch.device("cpu")
    places = [(keys.NOISE, 1, 0, 0, 0), (keys.CRITIC, 1, 0, 0, 0), (keys.NOISE, 2, 0, 0, 0), (keys.NOISE, 1, 1, 0, 0)]
    places += [(keys.NOISE, 1, 0, 1, 0), (keys.NOISE, 1, 0, 0, 1)]
    drawn = {float(torch.rand((), generator=keys.noise(cpu, *place))) for place in places}
    assert len(drawn) == len(places)


# ---------------------------------------------------------------- halves


def test_halves_hold_everything_once(windows: Windows, rng: np.random.Generator) -> None:
    batch = windows.draw(rng)
    one, two = halves(batch)
    assert one.bars.n_pieces + two.bars.n_pieces == batch.bars.n_pieces
    for field in ("clocks", "beat", "place"):
        assert torch.equal(torch.cat([getattr(p.bars, field) for p in (one, two)]), getattr(batch.bars, field))
    for notes in ("source", "target"):
        parts = [getattr(p, notes) for p in (one, two)]
        assert torch.equal(torch.cat([p.pitch for p in parts]), getattr(batch, notes).pitch)
        assert torch.equal(torch.cat([parts[0].bar, parts[1].bar + len(one.bars.clocks)]), getattr(batch, notes).bar)
    assert one.styles + two.styles == batch.styles
    assert one.size + two.size == pytest.approx(batch.size)
    single = batch
    while single.bars.n_pieces > 1:
        single = halves(single)[0]
    assert len(halves(single)) == 1


def test_rows_of_events_halve_too() -> None:
    row = np.arange(10, 20, dtype=np.int16), np.zeros((10, 3), np.uint8), 1
    batch = batch_of([row, row, row])
    one, two = halves(batch)
    assert isinstance(one, EventBatch)
    assert (len(one.ids), len(two.ids)) == (1, 2)
    assert len(halves(one)) == 1


def test_a_term_says_whether_it_couples_the_windows_of_a_batch(windows: Windows) -> None:
    """What is not coupled is in parts what it is of the whole: on several processes, and when memory is short."""
    coupled: set[str] = set()
    batch = windows.make(windows.buckets[int(np.argmax([len(b) for b in windows.buckets]))][:4])
    model = small.model(mode="vae_gan", discriminator_layers=1)
    model.train()
    loss = LossConfig(on=tuple({t.group for t in REGISTRY.values()} - {"lipschitz", "critic"}))
    objective = Objective(model, loss)
    parts = halves(batch)
    with torch.no_grad():
        decoded: list[Decoded] = [objective.decode(b, 1.0, None, True) for b in (batch, *parts)]
        for name, term in REGISTRY.items():
            if term.side != MODEL:
                continue
            whole, *each = (float(term.function(d)) for d in decoded)
            if sum(each) != pytest.approx(whole, rel=1e-4, abs=1e-4):
                coupled.add(name)
    assert coupled <= {name for name, term in REGISTRY.items() if term.coupled}
    assert {"mutual_information", "own_latent", "total_correlation"} <= coupled


# ---------------------------------------------------------------- memory


@pytest.mark.parametrize("kind", [torch.OutOfMemoryError, MemoryError])
def test_when_memory_is_short_batches_are_halved_and_the_run_goes_on(
    config: Config, windows: Windows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    forward, most = Objective.forward, []

    def narrow(objective: Objective, batch: Batch, *args: object, **options: object) -> object:
        if torch.is_grad_enabled() and batch.bars.n_pieces > 1:
            raise kind("out of memory")
        most.append(batch.bars.n_pieces)
        return forward(objective, batch, *args, **options)

    monkeypatch.setattr(Objective, "forward", narrow)
    short = replace(config, train=replace(config.train, steps=3, evaluate_every=3))
    steps = list(train(short, windows, windows, tmp_path, FACTS, accelerator="cpu", held_out_windows=1))
    assert [s.n for s in steps] == [1, 2, 3]
    assert "Memory ran out at step 1: each batch is learnt in 2 parts from here on." in steps[0].message
    assert "4 parts" in steps[0].message
    assert not steps[1].message
    assert all(np.isfinite(s.train["loss"]) for s in steps)


def test_where_not_one_window_fits_it_stops_with_a_sentence(
    config: Config, windows: Windows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*args: object, **options: object) -> object:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Objective, "forward", never)
    with pytest.raises(Exception, match="Not even one window fits into memory"):
        next(train(config, windows, windows, tmp_path, FACTS, accelerator="cpu", held_out_windows=1))


def test_a_step_in_parts_moves_the_weights_as_the_whole_does(config: Config, windows: Windows) -> None:
    """Without noise and without free bits, which look at all rows of a batch together."""
    loss = LossConfig(free_bits=0.0, free_bits_fine=0.0)
    gradients = []
    for split in (0, 1):
        model = small.model()
        run = Run(model, [p for n, p in model.named_parameters() if not n.startswith("prior")],
                  replace(config, loss=loss), FABRIC)  # fmt: skip
        run.at.split = split
        with Draws(windows, config.train, FABRIC) as draws:
            parts = run._parts(draws)
            assert len(parts) == split + 1
            for part in parts:
                objective, _, _ = run.plain(part.batch, 1.0, None, True)
                (objective * part.share).backward()
        gradients.append({n: p.grad for n, p in model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, whole in gradients[0].items():
        assert torch.allclose(gradients[1][name], whole, rtol=1e-3, atol=1e-5), name
