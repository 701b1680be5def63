"""The longest shared run: found wherever it is, in whatever key, and never where it is not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.engine import small
from trainer.memorisation import Steps, lines, longest_shared_run

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
