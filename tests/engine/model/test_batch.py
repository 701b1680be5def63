"""What the model is fed: beats from the meter, notes as classes, conditions by index."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.model.batch import Notes, Offsets, beat_clocks
from engine.model.position import BeatPosition
from tests.engine import small


@pytest.mark.parametrize(
    ("meter", "clocks"),
    [((4, 4), 24), ((3, 4), 24), ((2, 2), 48), ((6, 8), 36), ((9, 8), 36), ((12, 8), 36), ((3, 8), 12), ((5, 8), 12),
     ((12, 4), 24), ((8, 2), 48), ((1, 8), 12), ((1, 128), 1), ((6, 16), 18)],
)  # fmt: skip
def test_a_beat_is_what_a_conductor_beats(meter: tuple[int, int], clocks: int) -> None:
    assert beat_clocks(np.array([meter[0]]), np.array([meter[1]])).tolist() == [clocks]


def test_notes_become_classes_and_cells() -> None:
    notes = Notes.of(small.bar_notes((0, 5, 21, 24, 1, 15), (1, 95, 108, 96, 127, 0)))
    assert notes.pitch.tolist() == [0, 87]
    assert notes.cell.tolist() == [5 * 88, 95 * 88 + 87]
    assert notes.velocity.tolist() == [0, 31]
    assert notes.part.tolist() == [15, 0]


def test_some_bars_keep_their_phrase_and_piece() -> None:
    bars = small.conditions([96] * 10, [6, 4])
    some = bars.select(torch.tensor([9, 4]))
    assert some.phrase.tolist() == [2, 1]
    assert some.place.tolist() == [3, 0]
    assert bars.piece[some.phrase].tolist() == [1, 0]
    assert bars.n_pieces == 2


def test_a_free_attribute_shows_neither_value_nor_flag() -> None:
    given = Offsets(torch.full((1, 12), 2.0), torch.zeros(1, 12))
    assert given.flat.abs().sum() == 0


def test_position_comes_from_the_meter_not_from_the_index() -> None:
    """The same slot is another place in 4/4 than in 6/8; slots a beat apart share their place in the beat."""
    position = BeatPosition(8)
    with torch.no_grad():
        position.beat.weight.zero_()
        position.bar.weight.zero_()
        simple = position(small.conditions([96], beat=24), 24)[0]
        compound = position(small.conditions([72], beat=36), 18)[0]
    assert torch.equal(simple[0], simple[6])  # slots of four clocks: a quarter is six of them
    assert torch.equal(compound[0], compound[9])
    assert not torch.equal(compound[6], simple[6])


def test_a_bar_s_place_in_its_phrase_is_part_of_its_position() -> None:
    position = BeatPosition(8)
    at = position(small.conditions([96] * 5), 24)
    assert not torch.equal(at[0], at[1])
    assert torch.equal(at[0], at[4])
