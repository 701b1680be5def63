"""Batches: whole phrases, balanced, reproducible, and told exactly what was edited."""

from __future__ import annotations

import hashlib
from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from engine.attributes import INDEX, measure_bars
from engine.config import AugmentConfig, Chance, TrainConfig, parse
from engine.errors import MorphonyError
from engine.model import fields as f
from engine.model.batch import PHRASE_BARS
from engine.tokens.bars import BAR_NOTE
from tests.engine import small
from trainer.augment import WINDOW_EDITS
from trainer.batches import Batch, Windows, deviations, held_out
from trainer.corpus import Corpus

PINNED = ["ebbd65b153294e33", "63b2de9741c253d2", "5560c9785643f5af"]


def equal(a: Batch, b: Batch) -> bool:
    return a.styles == b.styles and all(
        torch.equal(getattr(getattr(a, part), field.name), getattr(getattr(b, part), field.name))
        for part in ("source", "target", "bars", "offsets")
        for field in fields(getattr(a, part))
    )


def test_the_same_seed_draws_the_same_batches(windows: Windows) -> None:
    one, two, other = (np.random.default_rng(seed) for seed in (1, 1, 2))
    first = [windows.draw(one) for _ in range(5)]
    assert all(equal(a, windows.draw(two)) for a in first)
    assert not all(equal(a, windows.draw(other)) for a in first)


def test_windows_are_whole_phrases_of_one_piece_and_cover_every_bar(windows: Windows, corpus: Corpus) -> None:
    """Trap 9: windows are whole bars; here whole phrases, and none crosses into another piece."""
    covered = np.zeros(len(corpus.bars), bool)
    for first, last, index in zip(windows.first, windows.last, windows.piece, strict=True):
        piece = corpus.pieces[index]
        assert piece.first_bar <= first < last <= piece.first_bar + piece.bars
        assert (first - piece.first_bar) % PHRASE_BARS == 0
        covered[first:last] = True
    assert covered.all()


def test_an_unedited_batch_is_the_corpus_itself(windows: Windows, corpus: Corpus) -> None:
    batch = windows.make(np.array([0, 3]))
    rows = np.concatenate([np.arange(windows.first[w], windows.last[w]) for w in (0, 3)])
    notes = corpus.read(rows)
    assert equal(replace(batch, source=batch.target), batch)
    assert batch.source.pitch.tolist() == (notes["pitch"].astype(int) - 21).tolist()
    assert batch.bars.clocks.tolist() == corpus.bars["clocks"][rows].tolist()
    assert batch.offsets.known.sum() == 0
    assert batch.bars.n_pieces == 2


def test_a_transposition_is_one_for_a_window_and_within_its_limit(windows: Windows) -> None:
    chosen = np.arange(6)
    plain, moved = windows.make(chosen), windows.make(chosen, np.random.default_rng(3), 0.0, 6)
    window = plain.bars.piece[plain.bars.phrase][plain.source.bar]
    step = moved.source.pitch - plain.source.pitch
    for w in range(6):
        of_window = step[window == w]
        assert len(set(of_window.tolist())) == 1
        assert abs(int(of_window[0])) <= 6
    assert len(set(step.tolist())) > 2
    assert torch.equal(moved.source.onset, plain.source.onset)


def as_notes(notes, bars: int) -> np.ndarray:
    out = np.zeros(len(notes.bar), BAR_NOTE)
    out["bar"], out["onset"], out["pitch"] = notes.bar, notes.onset, notes.pitch + 21
    out["velocity"], out["duration"], out["part"] = (
        f.VELOCITIES[notes.velocity],
        f.DURATIONS[notes.duration],
        notes.part,
    )
    return out


def test_offsets_are_the_measured_difference_in_sigma(windows: Windows) -> None:
    """Trap 12: nothing told to the decoder is a placeholder; it is measured on source and target."""
    batch = windows.draw(np.random.default_rng(5))
    bars = len(batch.bars.clocks)
    clocks = batch.bars.clocks.numpy()
    source, target = (measure_bars(as_notes(part, bars), clocks) for part in (batch.source, batch.target))
    told = ((target - source) / small.DEVIATIONS).clip(-6, 6)
    for name in ("density", "rhythm", "register", "range", "pitch_variety", "consonance"):
        i = INDEX[name]
        has = batch.offsets.known[:, i].numpy() > 0
        assert np.allclose(batch.offsets.value[has, i].numpy(), told[has, i], atol=1e-4), name
    assert torch.isfinite(batch.offsets.value).all()
    assert set(batch.offsets.known.unique().tolist()) == {0, 1}


def test_a_batch_holds_about_the_slots_asked_for(windows: Windows) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        bars = windows.draw(rng).bars
        assert int(bars.slots.max()) * len(bars.clocks) <= windows.config.slots_per_step * 1.5


def test_short_bars_are_batched_with_short_bars(windows: Windows) -> None:
    waltz = windows.corpus.pieces[-1]
    assert "waltz" in waltz.path
    mine = [
        b
        for b, members in enumerate(windows.buckets)
        for w in members
        if windows.piece[w] == len(windows.corpus.pieces) - 1
    ]
    others = [b for b, members in enumerate(windows.buckets) for w in members if windows.piece[w] == 0]
    assert not set(mine) & set(others)


def drawn_share(windows: Windows, corpus: Corpus) -> dict[str, float]:
    """Share of the drawn bars each corpus has, by the odds themselves."""
    share: dict[str, float] = {}
    for members, odds, chance, size in zip(
        windows.buckets, windows.odds, windows.bucket_odds, windows.size, strict=True
    ):
        for w, p in zip(members, odds, strict=True):
            name = corpus.pieces[windows.piece[w]].corpus
            share[name] = share.get(name, 0.0) + chance * size * p
    whole = sum(share.values())
    return {name: s / whole for name, s in share.items()}


def test_corpora_get_the_share_configured(corpus: Corpus, windows: Windows) -> None:
    config = replace(windows.config, corpus_weights={"one": 0.8, "two": 0.2})
    share = drawn_share(Windows(corpus, config, small.DEVIATIONS), corpus)
    assert share["one"] == pytest.approx(0.8, abs=0.02)
    only = replace(windows.config, corpus_weights={"two": 1.0})
    assert drawn_share(Windows(corpus, only, small.DEVIATIONS), corpus)["one"] == pytest.approx(0)
    none = replace(windows.config, corpus_weights={"nowhere": 1.0})
    assert len(drawn_share(Windows(corpus, none, small.DEVIATIONS), corpus)) == 2


def test_windows_of_some_pieces_hold_no_other(corpus: Corpus, windows: Windows) -> None:
    some = Windows(corpus, windows.config, small.DEVIATIONS, {1, 4})
    assert set(some.piece.tolist()) == {1, 4}


def test_held_out_windows_are_the_same_whenever_asked(windows: Windows) -> None:
    one, two = list(held_out(windows, 3)), list(held_out(windows, 3))
    assert [name for name, _ in one] == [name for name, _ in two] == ["one", "two"]
    assert all(equal(a, b) for (_, a), (_, b) in zip(one, two, strict=True))
    assert all(batch.offsets.known.sum() == 0 for _, batch in one)


def test_deviations_are_those_of_the_pieces(corpus: Corpus) -> None:
    table = corpus.attribute_table()
    sigma = deviations(corpus)
    assert sigma.shape == (12,)
    assert sigma[INDEX["register"]] == pytest.approx(table[:, INDEX["register"]].std())
    assert (sigma > 0).all()


def test_the_default_window_is_two_phrases() -> None:
    assert TrainConfig().window_bars == 2 * PHRASE_BARS


def digest(batch: Batch) -> str:
    said = hashlib.sha256(repr(batch.styles).encode())
    for part in ("source", "target", "bars", "offsets"):
        for field in fields(getattr(batch, part)):
            tensor = getattr(getattr(batch, part), field.name)
            whole = tensor if not tensor.is_floating_point() else (tensor * 1e4).round().to(torch.int64)
            said.update(whole.contiguous().numpy().tobytes())
    return said.hexdigest()[:16]


def test_the_draws_of_a_recipe_are_what_they_have_always_been(windows: Windows) -> None:
    """Pinned before curricula, edits of windows and bounds on notes came: all off, nothing moves."""
    rng = np.random.default_rng(20)
    assert [digest(windows.draw(rng, progress)) for progress in (0.0, 0.3, 1.0)] == PINNED


def test_a_draw_is_one_of_numpys_choice(windows: Windows) -> None:
    one, two = np.random.default_rng(5), np.random.default_rng(5)
    for _ in range(10):
        batch = windows.draw(one)
        bucket = int(two.choice(len(windows.buckets), p=windows.bucket_odds))
        chosen = two.choice(windows.buckets[bucket], windows.size[bucket], p=windows.odds[bucket])
        assert equal(batch, windows.make(chosen, two, windows.config.edited_pairs, windows.config.transpose))


def test_a_batch_holds_no_more_notes_than_asked_for(corpus: Corpus, windows: Windows) -> None:
    counts = windows.notes
    bound = int(2 * counts.max())
    config = replace(windows.config, notes_per_step=bound, slots_per_step=10**5, edited_pairs=0.0)
    bounded = Windows(corpus, config, small.DEVIATIONS)
    rng = np.random.default_rng(0)
    drawn = [len(bounded.draw(rng).source.bar) for _ in range(60)]
    assert max(drawn) <= bound
    assert max(drawn) > bound / 3  # and fills it
    share = drawn_share(bounded, corpus)
    free = drawn_share(windows, corpus)
    assert share["one"] == pytest.approx(free["one"], abs=1e-6)  # no piece is drawn less for being dense


def test_a_window_fuller_than_a_batch_is_a_batch(corpus: Corpus, windows: Windows) -> None:
    tight = Windows(corpus, replace(windows.config, notes_per_step=1), small.DEVIATIONS)
    assert tight.draw(np.random.default_rng(0)).bars.n_pieces == 1


def test_a_curriculum_goes_from_short_and_simple_to_all(corpus: Corpus, windows: Windows) -> None:
    config = replace(windows.config, curriculum=0.5, curriculum_start=0.3, edited_pairs=0.0, transpose=0)
    taught = Windows(corpus, config, small.DEVIATIONS)
    limit = np.quantile(taught.complexity, 0.3)
    rng = np.random.default_rng(0)

    def drawn(progress: float) -> list[tuple[float, int]]:
        out = []
        for _ in range(40):
            batch = taught.draw(rng, progress)
            window = batch.bars.piece[batch.bars.phrase]
            bars = torch.bincount(window)
            notes = torch.bincount(window[batch.source.bar], minlength=len(bars))
            out += [(n / b, b) for n, b in zip(notes.tolist(), bars.tolist(), strict=True)]
        return out

    first, middle, last = drawn(0.0), drawn(0.4), drawn(0.5)
    assert {bars for _, bars in first} <= {1, 2, 3, 4}
    assert max(bars for _, bars in last) == config.window_bars
    assert max(bars for _, bars in middle) == config.window_bars
    assert np.mean([density for density, _ in first]) <= np.mean([density for density, _ in last])
    allowed = taught.complexity <= limit
    assert 0 < allowed.sum() < len(allowed)


def test_edits_of_windows_are_made_on_both_sides_alike_and_come_back_with_the_seed(corpus: Corpus) -> None:
    chances = {name: Chance(1, 1) for name in WINDOW_EDITS}
    config = TrainConfig(augment=AugmentConfig(**chances), edited_pairs=0.0, slots_per_step=800)
    edited = Windows(corpus, config, small.DEVIATIONS)
    batches = [edited.draw(np.random.default_rng(4), 0.5) for _ in range(2)]
    assert equal(*batches)
    assert equal(batches[0], replace(batches[0], target=batches[0].source))
    plain = Windows(corpus, replace(config, augment=AugmentConfig()), small.DEVIATIONS)
    assert not equal(plain.draw(np.random.default_rng(4)), batches[0])
    bars = batches[0].bars
    plays = bars.parts[torch.arange(len(bars.clocks))[batches[0].source.bar], batches[0].source.part]
    assert (plays == 1).all()


def test_without_a_chance_nothing_is_transposed(corpus: Corpus, windows: Windows) -> None:
    config = replace(windows.config, augment=AugmentConfig(transpose=Chance()), edited_pairs=0.0)
    still = Windows(corpus, config, small.DEVIATIONS)
    chosen = np.arange(4)
    assert equal(still.make(chosen, np.random.default_rng(0), 0.0, 6), still.make(chosen))


def test_a_config_file_reaches_every_chance() -> None:
    text = "train: {augment: {swing: {start: 0.5, end: 0.1, until: 0.4}}, curriculum: 0.3, notes_per_step: 4000}"
    config = parse(text).train
    assert config.augment.swing == Chance(0.5, 0.1, 0.4)
    assert [config.augment.swing.at(p) for p in (0, 0.2, 0.4, 1)] == pytest.approx([0.5, 0.3, 0.1, 0.1])
    assert (config.curriculum, config.notes_per_step) == (0.3, 4000)
    with pytest.raises(MorphonyError, match=r"unknown key 'swin'; did you mean 'swing'\?"):
        parse("train: {augment: {swin: {start: 1}}}")
    with pytest.raises(MorphonyError, match="start must be from 0 to 1"):
        parse("train: {augment: {swing: {start: 2}}}")
