"""The longest shared run: found wherever it is, in whatever key, and never where it is not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.config import Config, LossConfig, ModelConfig, TrainConfig
from engine.session import Session
from tests.engine import small
from trainer import recipe
from trainer.corpus import Corpus
from trainer.evaluate.samples import sample_windows
from trainer.evaluate.windows import Window, of_corpus
from trainer.memorisation import Memorised, Steps, against, lines, longest_shared_run, memorised

CLOCKS = np.full(8, 96)


def by_comparing(piece: Sequence[Steps], reference: Sequence[Sequence[Steps]]) -> int:
    """The same the slow way: every place against every other."""
    best = 0
    for a in piece:
        for b in (line for other in reference for line in other):
            same = a[:, None] == b[None]
            run = np.zeros((len(a) + 1, len(b) + 1), int)
            for i in range(len(a)):
                run[i + 1, 1:] = np.where(same[i], run[i, :-1] + 1, 0)
            best = max(best, int(run.max()))
    return best


@pytest.mark.parametrize("seed", range(20))
def test_it_is_what_comparing_every_place_finds(seed: int) -> None:
    rng = np.random.default_rng(seed)

    def music(pieces: int) -> list[list[Steps]]:
        return [[rng.integers(0, 3, rng.integers(0, 30)) for _ in range(rng.integers(0, 3))] for _ in range(pieces)]

    some, others = music(5), music(4)
    found = longest_shared_run(some, others)
    assert [run.steps for run in found] == [by_comparing(piece, others) for piece in some]
    for piece, run in zip(some, found, strict=True):
        if run.steps:
            here = piece[run.line][run.at : run.at + run.steps].tolist()
            there = [line.tolist() for line in others[run.reference]]
            assert any(here == line[i : i + run.steps] for line in there for i in range(len(line)))


def test_a_run_hidden_in_a_long_piece_is_found_where_it_is() -> None:
    rng = np.random.default_rng(1)
    reference = [[rng.integers(0, 5000, 3000)] for _ in range(50)]
    piece = rng.integers(5000, 10_000, 400)
    piece[137:160] = reference[31][0][2000:2023]
    (run,) = longest_shared_run([[piece[:5], piece]], reference)
    assert (run.steps, run.line, run.at, run.reference) == (23, 1, 137, 31)


def test_a_tune_is_the_same_in_another_key_louder_and_more_staccato() -> None:
    tune = small.tune(8)
    other = small.tune(8, shift=5)
    other["velocity"] += 20
    other["duration"] /= 3
    (run,) = longest_shared_run([lines(other, CLOCKS)], [lines(tune, CLOCKS)])
    assert run.steps == max(len(line) for line in lines(tune, CLOCKS))


def changed(notes: NDArray[np.void], row: int, by: int) -> NDArray[np.void]:
    out = notes.copy()
    out["pitch"][row] += by
    return out


def test_one_other_note_ends_a_run() -> None:
    melody = small.tune(8)
    melody = melody[melody["part"] == 0]
    whole = len(lines(melody, CLOCKS)[0])
    middle = len(melody) // 2
    (run,) = longest_shared_run([lines(changed(melody, middle, 1), CLOCKS)], [lines(melody, CLOCKS)])
    assert whole / 3 < run.steps < whole - 2


def test_other_rhythm_is_other_music() -> None:
    melody = small.tune(8)
    melody = melody[melody["part"] == 0]
    slow = melody.copy()
    slow["onset"] *= 2
    (run,) = longest_shared_run([lines(slow, 2 * CLOCKS)], [lines(melody, CLOCKS)])
    assert run.steps < 4


def test_every_part_is_heard_for_itself() -> None:
    tune = small.tune(8)
    parts = {int(p): tune[tune["part"] == p] for p in np.unique(tune["part"])}
    for own in parts.values():
        (run,) = longest_shared_run([lines(own, CLOCKS)], [lines(tune, CLOCKS)])
        assert run.steps == len(lines(own, CLOCKS)[0])


def test_nothing_shares_nothing() -> None:
    nothing = lines(small.tune(8)[:0], CLOCKS)
    tune = lines(small.tune(8), CLOCKS)
    assert [run.steps for run in longest_shared_run([nothing, tune], [nothing])] == [0, 0]
    assert [run.steps for run in longest_shared_run([nothing], [tune])] == [0]
    assert longest_shared_run([], [tune]) == []


# ---------------------------------------------------------------- the meter


def wandering(rng: np.random.Generator, notes: int = 40) -> list[Steps]:
    """A line of random steps, as common in one piece as in another."""
    return [rng.integers(0, 6, notes)]


def test_the_meter_flags_what_is_played_by_heart_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    learned, held, new = ([wandering(rng) for _ in range(12)] for _ in range(3))
    by_heart = [[np.concatenate([wandering(rng, 10)[0], piece[0][5:30], wandering(rng, 10)[0]])] for piece in learned]
    honest, copied = memorised(new, held, learned), memorised(by_heart, held, learned)
    assert honest is not None
    assert copied is not None
    assert not honest.flagged
    assert "no more than" in honest.words()
    assert copied.flagged
    assert min(copied.made) >= 26
    assert "Train for fewer steps" in copied.words()
    assert copied.facts()["flagged"]


def test_a_little_more_than_usual_is_no_playing_by_heart() -> None:
    told = against([8] * 30, [7] * 30)
    assert told is not None
    assert told.p < 0.01
    assert not told.flagged
    assert against([], [7]) is None
    assert against([7], []) is None


MEMORISING = Config(
    ModelConfig(
        hidden_dim=96, heads=4, decoder_layers=2, slot_dim=32, bar_dim=64, note_dim=48, latent_dim=64, local_dim=16,
        global_dim=16, prior_dim=96, prior_layers=2,
    ),
    LossConfig(weights={"kl_fine": 0.02}),
    TrainConfig(
        steps=500, lr=4e-3, lr_warmup=20, edited_pairs=0.0, transpose=0, evaluate_every=250, checkpoint_every=500,
        ema=0.98,
    ),
)  # fmt: skip


def heard(windows: list[Window]) -> list[list[Steps]]:
    return [lines(w.notes, w.clocks) for w in windows]


def verdict(session: Session, like: list[Window], learned: Corpus, pieces: set[int]) -> Memorised:
    """New windows like some that were not learned, against the pieces that were."""
    made = sample_windows(session, like, seed=1)
    told = memorised(heard(made), heard(like), [_whole(learned, i) for i in sorted(pieces)])
    assert told is not None
    return told


def _whole(corpus: Corpus, i: int) -> list[Steps]:
    p = corpus.pieces[i]
    rows = np.arange(p.first_bar, p.first_bar + p.bars)
    return lines(corpus.read(rows), corpus.bars["clocks"][rows].astype(np.int64))


@pytest.mark.slow
def test_a_model_overfitted_on_purpose_is_flagged(music: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real training on three pieces, prior and all, until it knows nothing else."""
    monkeypatch.setattr(recipe, "PRIOR_STEPS", 500)
    every = [line.split("\t") for line in (music / "train.tsv").read_text().splitlines()]
    some = [row[0] for row in every if row[1] == "nottingham"][:40]
    for name, paths in (("few", some[:4]), ("others", some[4:])):
        (tmp_path / f"{name}.tsv").write_text("path\n" + "".join(f"{music / path}\n" for path in paths))
    few = recipe.Music(tmp_path / "few.tsv", cache=tmp_path)
    for _ in recipe.make(MEMORISING, few, tmp_path / "run", finished=True):
        pass
    learned, others = (Corpus.build(tmp_path / f"{name}.tsv", tmp_path) for name in ("few", "others"))
    session = Session.open(tmp_path / "run" / "model", "cpu")
    told = verdict(session, of_corpus(others, most=2), learned, {0, 1, 2, 3})
    print(told.words(), told.facts())  # noqa: T201  # the figure itself
    assert told.flagged


@pytest.mark.slow
def test_the_starter_model_passes(music: Path, tmp_path: Path) -> None:
    """Against the pieces of tier A it was trained on, beside pieces it was not."""
    learned = Corpus.build(music / "train.tsv", tmp_path, "tier=A")
    held = Corpus.build(music / "valid.tsv", tmp_path, "tier=A")
    told = verdict(Session.open(None, "cpu"), of_corpus(held, most=1), learned, set(range(len(learned.pieces))))
    print(told.words(), told.facts())  # noqa: T201  # the figure itself
    assert not told.flagged
