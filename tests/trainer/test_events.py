"""Events from files to a model that knows them: cached as they are, balanced, scored against what comes next."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engine.checkpoint import Checkpoint
from engine.config import Config, LossConfig, ModelConfig, TrainConfig
from engine.errors import MorphonyError
from engine.events import Sampling, continue_score, write
from engine.model.vaegan import MusicTransformerVAEGAN
from engine.score import Score, midi
from engine.score.timing import BarGrid
from engine.session import Session
from engine.tokens.codec import Tokens, decode, encode
from engine.tokens.grammar import Grammar
from engine.tokens.places import BarLines, clocks_of, places
from engine.tokens.vocab import FAMILIES, PITCHES, SIZE
from tests.engine import small
from trainer.events import WEIGHTS, EventBatch, EventCorpus, EventObjective, EventWindows, batch_of, hidden, transposed
from trainer.loop import Step, train
from trainer.recipe import Music, make

MODEL = ModelConfig(mode="transformer", layers=2, hidden_dim=32, heads=2, attention="full")
TRAIN = TrainConfig(
    seed=3, steps=12, lr=5e-3, lr_warmup=2, event_window=200, events_per_step=800, evaluate_every=4, checkpoint_every=4
)
CONFIG = Config(model=MODEL, loss=LossConfig(word_dropout=0.1), train=TRAIN)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("events")


@pytest.fixture(scope="module")
def corpus(good_folder: Path, cache: Path) -> EventCorpus:
    return EventCorpus.build(good_folder, cache)


@pytest.fixture(scope="module")
def windows(corpus: EventCorpus) -> EventWindows:
    return EventWindows(corpus, TRAIN)


def model(seed: int = 0, config: ModelConfig = MODEL) -> MusicTransformerVAEGAN:
    torch.manual_seed(seed)
    return MusicTransformerVAEGAN(config)


# ---------------------------------------------------------------- the cache


def test_a_corpus_holds_the_tokens_and_places_of_every_piece(corpus: EventCorpus, good_folder: Path) -> None:
    assert len(corpus.corpus.pieces) == 7
    for i, piece in enumerate(corpus.corpus.pieces):
        score = midi.read(good_folder / piece.path)
        ids, where, cuts = corpus.piece(i)
        assert np.array_equal(ids, encode(score).ids)
        assert np.array_equal(where, places(ids, BarLines.of(BarGrid.of(score))))
        starts = clocks_of(ids)[cuts]
        assert starts.tolist() == BarLines.of(BarGrid.of(score)).starts.tolist()  # these play on every line


def test_files_are_read_once(good_folder: Path, corpus: EventCorpus, cache: Path, monkeypatch) -> None:
    monkeypatch.setattr(midi, "read", lambda path: pytest.fail(f"{path} was read again"))
    again = EventCorpus.build(good_folder, cache)
    assert np.array_equal(again.ids, corpus.ids)
    assert isinstance(again.ids, np.memmap)


def test_a_changed_folder_is_another_corpus(good_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(good_folder / "two", tmp_path / "two")
    before = EventCorpus.build(tmp_path / "two", tmp_path / "cache")
    midi.write(small.score(3, 1), tmp_path / "two" / "tune5.mid")
    after = EventCorpus.build(tmp_path / "two", tmp_path / "cache")
    assert len(after.ids) < len(before.ids)
    assert np.array_equal(after.piece(1)[0], encode(midi.read(tmp_path / "two" / "tune5.mid")).ids)


# ---------------------------------------------------------------- windows


def test_a_short_piece_is_whole_and_only_its_start_is_given(corpus: EventCorpus) -> None:
    whole = EventWindows(corpus, replace(TRAIN, event_window=10_000))
    rng = np.random.default_rng(0)
    for piece in range(7):
        ids, _, given = whole.window(piece, rng)
        assert np.array_equal(ids, corpus.piece(piece)[0])
        assert given == 1


def test_a_window_is_a_piece_from_a_bar_on_behind_what_is_in_force(windows: EventWindows) -> None:
    """Read as music it is the piece from that bar on: no note lost its beginning, none its part or velocity."""
    rng, seen = np.random.default_rng(1), set()
    for _ in range(40):
        ids, where, given = windows.window(5, rng)
        whole, all_places, cuts = windows.corpus.piece(5)
        assert len(ids) <= 200
        assert ids[0] == FAMILIES["START"].first
        at = next((c for c in cuts.tolist() if np.array_equal(whole[c:][: len(ids) - given], ids[given:])), 0)
        seen.add(at)
        assert np.array_equal(where[given:], all_places[at or given :][: len(ids) - given])
        heard, played = (decode(Tokens(np.array(x), (0, 0))).notes for x in (ids, whole))
        moment, grammar = int(clocks_of(whole)[at]), Grammar()
        for token in ids.tolist():
            grammar.advance(token)
            assert (grammar.held + grammar.begun).min() >= 0  # every release finds its note
        heard = heard[heard["duration"] > 0]  # what sounded until this moment is struck and released
        same = played[played["tick"] >= moment][: len(heard)].copy()
        same["tick"] -= moment
        fields = ["tick", "pitch", "velocity", "track"]
        assert heard[fields].tolist() == same[fields].tolist()
        if at:
            assert np.array_equal(where[:given], np.tile(all_places[at], (given, 1)))
    assert len(seen) > 3


def test_pieces_are_drawn_by_the_square_root_of_their_length(windows: EventWindows) -> None:
    bars = np.array([p.bars for p in windows.corpus.corpus.pieces])
    assert np.allclose(windows.odds, np.sqrt(bars) / np.sqrt(bars).sum())


def test_padding_and_what_is_given_are_no_targets(windows: EventWindows) -> None:
    batch = windows.draw(np.random.default_rng(0))
    assert batch.ids.shape[0] == 4
    assert not batch.mask[batch.ids == FAMILIES["PAD"].first].any()
    assert not batch.mask[:, 0].any()
    assert batch.mask.float().mean() > 0.7


def test_transposition_moves_every_pitch_alike_and_never_off_the_keyboard() -> None:
    rng, moved = np.random.default_rng(0), set()
    top, word = encode(small.score(2, 30)).ids, FAMILIES["NOTE_ON"]
    for _ in range(60):
        ids = transposed(top, 6, rng)
        step = np.unique((ids - top)[np.isin(top, [*word.ids, *FAMILIES["NOTE_OFF"].ids])])
        assert len(step) == 1
        assert np.array_equal(np.isin(ids, word.ids), np.isin(top, word.ids))
        assert np.array_equal(ids[top >= FAMILIES["NOTE_OFF"].ids.stop], top[top >= FAMILIES["NOTE_OFF"].ids.stop])
        moved.add(int(step[0]))
    highest = int(decode(Tokens(top, (0, 0))).notes["pitch"].max())
    assert moved == set(range(-6, min(6, PITCHES[-1] - highest) + 1))


def test_the_same_randomness_draws_the_same_batch(windows: EventWindows) -> None:
    one, two, other = (windows.draw(np.random.default_rng(s)) for s in (4, 4, 5))
    assert torch.equal(one.ids, two.ids)
    assert one.ids.shape != other.ids.shape or not torch.equal(one.ids, other.ids)


def test_held_out_windows_are_the_same_whenever_asked(windows: EventWindows) -> None:
    one, two = list(windows.held_out(2)), list(windows.held_out(2))
    assert [name for name, _ in one] == ["one", "two"]
    assert all(torch.equal(a.ids, b.ids) for (_, a), (_, b) in zip(one, two, strict=True))


# ---------------------------------------------------------------- the loss


class Fixed(torch.nn.Module):
    """An event model that always says the same of the next token, whatever it was shown."""

    def __init__(self, says: Any) -> None:
        super().__init__()
        self.says = says

    def forward(self, ids: torch.Tensor, where: torch.Tensor, cache: Any = None) -> torch.Tensor:
        return self.says(ids)


def objective(says: Any, loss: LossConfig = LossConfig()) -> EventObjective:  # noqa: B008  # frozen
    holder = torch.nn.Module()
    holder.events = Fixed(says)
    return EventObjective(holder, loss)  # type: ignore[arg-type]


def batch_from(*scores: Score) -> EventBatch:
    rows = []
    for score in scores:
        ids = encode(score).ids
        rows.append((ids, places(ids, BarLines.of(BarGrid.of(score))).astype(np.uint8), 1))
    return batch_of(rows)


def test_a_uniform_model_has_a_loss_of_ln_774() -> None:
    total, values, _ = objective(lambda ids: torch.zeros(*ids.shape, SIZE))(batch_from(small.score(2)), 1.0)
    assert float(total) == pytest.approx(np.log(774), abs=1e-4)
    assert float(values["token"]) == pytest.approx(np.log(774), abs=1e-4)


def test_an_untrained_model_has_about_that_loss(windows: EventWindows) -> None:
    _, values, _ = EventObjective(model(), LossConfig())(windows.draw(np.random.default_rng(0)), 1.0)
    assert float(values["token"]) == pytest.approx(np.log(774), abs=0.15)


def test_logits_are_scored_against_the_next_token_and_not_their_own() -> None:
    """A model that repeats what it was shown is wrong nearly everywhere; one that knows what follows is right."""
    batch = batch_from(small.score(4))
    sure = torch.nn.functional.one_hot
    _, same, _ = objective(lambda ids: 30.0 * sure(ids, SIZE))(batch, 1.0)
    _, following, _ = objective(lambda ids: 30.0 * sure(batch.ids[:, 1:], SIZE))(batch, 1.0)
    assert float(same["token"]) > 15
    assert float(following["token"]) < 1e-3


def test_loss_is_nats_per_note_and_terms_are_nats_per_bar() -> None:
    batch = batch_from(small.score(8))
    _, values, _ = objective(lambda ids: torch.zeros(*ids.shape, SIZE))(batch, 1.0)
    tokens, notes = int(batch.mask.sum()), len(small.tune())
    bars = float(clocks_of(batch.ids[0].numpy())[-1]) / 96
    assert float(values["loss"]) == pytest.approx(np.log(774) * tokens / notes, rel=1e-4)
    assert float(values["next_event"]) == pytest.approx(np.log(774) * tokens / bars, rel=1e-4)
    families = sum(float(values[name.lower()]) for name in FAMILIES if name.lower() in values)
    assert families + float(values["next_event"]) * 1 / tokens == pytest.approx(float(values["next_event"]), rel=1e-4)
    assert batch.size == notes


def test_notes_weigh_three_timing_two_velocity_one_and_a_half() -> None:
    """By a hand-made sequence: how much more the objective minds when one family alone is not known."""
    batch = batch_from(small.score(2))
    target, costs = batch.ids[:, 1:], {}
    for name, family in FAMILIES.items():
        mine = (target >= family.first) & (target < family.ids.stop)
        if not mine.any():
            continue

        def says(ids: torch.Tensor, mine: torch.Tensor = mine) -> torch.Tensor:
            return 30.0 * torch.nn.functional.one_hot(target, SIZE) * ~mine[..., None]

        total, _, _ = objective(says)(batch, 1.0)
        costs[name] = float(total) / int(mine.sum())
    for name, weight in [("NOTE_ON", 3.0), ("NOTE_OFF", 3.0), ("TIME_SHIFT", 2.0), ("VELOCITY_CHANGE", 1.5)]:
        assert costs[name] / costs["INSTRUMENT"] == pytest.approx(weight, rel=1e-3)
        assert WEIGHTS[name] == weight


def test_padding_changes_nothing() -> None:
    one = EventObjective(model(), LossConfig()).eval()
    alone = [one(batch_from(s), 1.0)[1] for s in (small.score(2), small.score(4))]
    both = one(batch_from(small.score(2), small.score(4)), 1.0)[1]
    counts = [int(batch_from(s).mask.sum()) for s in (small.score(2), small.score(4))]
    mean = np.average([float(v["token"].detach()) for v in alone], weights=counts)
    assert float(both["token"].detach()) == pytest.approx(mean, rel=1e-4)


def test_word_dropout_hides_what_is_read_and_not_what_is_asked() -> None:
    batch, seen = batch_from(small.score(4)), []

    def says(ids: torch.Tensor) -> torch.Tensor:
        seen.append(ids)
        return 30.0 * torch.nn.functional.one_hot(batch.ids[:, 1:], SIZE)

    term = objective(says, LossConfig(word_dropout=0.5))
    noise = torch.Generator().manual_seed(0)
    total, _, _ = term(batch, 1.0, noise)
    term.model.eval()
    term(batch, 1.0, noise)
    unknown = FAMILIES["UNK"].first
    assert 0.4 < float((seen[0] == unknown).float().mean()) < 0.6
    assert seen[0][0, 0] == FAMILIES["START"].first
    assert not (seen[1] == unknown).any()  # only while training
    assert float(total) < 1e-3  # what is asked is the music, not what hides it
    assert torch.equal(hidden(batch.ids, 0.0, noise), batch.ids)


# ---------------------------------------------------------------- the run


def run(config: Config, windows: EventWindows, out: Path, **options: Any) -> Iterator[Step]:
    return train(config, windows, windows, out, {}, accelerator="cpu", held_out_windows=2, **options)


def test_a_run_learns_and_continues_to_the_bit_where_it_was_interrupted(windows: EventWindows, tmp_path: Path) -> None:
    whole = list(run(CONFIG, windows, tmp_path / "whole"))
    assert [s.n for s in whole if s.held_out] == [4, 8, 12]
    assert "f1" not in (whole[-1].held_out or {})
    assert whole[-1].held_out["loss"] < whole[3].held_out["loss"]
    job = run(CONFIG, windows, tmp_path / "broken")
    for step in job:
        if step.n == 6:
            job.close()
    resumed = list(run(CONFIG, windows, tmp_path / "broken", resume=True))
    assert resumed[0].n == 5
    assert [s.train for s in resumed] == [s.train for s in whole[4:]]
    one, two = (Checkpoint(tmp_path / n / "best").tensors() for n in ("whole", "broken"))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_folder_becomes_a_model_that_opens_and_continues_a_piece(good_folder: Path, tmp_path: Path) -> None:
    music = Music(good_folder, cache=tmp_path / "cache")
    steps = list(make(CONFIG, music, tmp_path / "out", accelerator="cpu", finished=True))
    assert [s.n for s in steps] == list(range(1, 13))
    session = Session.open(tmp_path / "out" / "model", "cpu")
    assert session.model.events is not None
    assert session.sliders == ()
    assert session.deviations.tolist() == [1.0] * 12
    with pytest.raises(MorphonyError, match="continues music event by event"):
        session.encode(small.score(2))
    job = continue_score(session, small.score(2), 1, seed=0)
    while True:
        try:
            next(job)
        except StopIteration as end:
            score = end.value
            break
    assert score.notes[: len(small.score(2).notes)].tobytes() == small.score(2).notes.tobytes()


def test_a_model_that_has_learnt_a_piece_plays_it_by_itself(tmp_path: Path) -> None:
    """Free-running, greedy, from START alone: every note of two bars, none besides."""
    score = small.score(2, ticks_per_quarter=24)
    learnt, batch = model(1, replace(MODEL, hidden_dim=64)), batch_from(score)
    term = EventObjective(learnt, LossConfig())
    steps = 120
    optimiser = torch.optim.AdamW(learnt.parameters(), lr=1.0, weight_decay=0.0)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = 4e-3 * min(1.0, 2 * (1 - step / steps), (step + 1) / 10)
        total, _, _ = term(batch, 1.0)
        total.backward()
        torch.nn.utils.clip_grad_norm_(learnt.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
    learnt.eval()
    prompt = Tokens(batch.ids[0, :1].numpy().astype(np.int16), (73, 0))
    job = write(learnt.events, prompt, BarLines.of(BarGrid.of(score)), range(2), Sampling(temperature=0))
    while True:
        try:
            next(job)
        except StopIteration as end:
            tokens = end.value[0]
            break
    assert tokens.ids.tolist() == encode(score).ids.tolist()
    assert decode(tokens).notes[["tick", "pitch"]].tolist() == score.notes[["tick", "pitch"]].tolist()  # F1 is 1
