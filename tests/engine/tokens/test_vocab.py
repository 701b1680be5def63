"""The table of 774 tokens: every id in exactly one family, at the place files of ids rely on."""

from __future__ import annotations

import pytest

from engine.tokens import vocab
from engine.tokens.vocab import FAMILIES, SIZE


def test_every_id_lies_in_exactly_one_family() -> None:
    assert SIZE == 774
    owners = [[name for name, family in FAMILIES.items() if token in family.ids] for token in range(SIZE)]
    assert all(len(names) == 1 for names in owners)


def test_the_families_have_the_sizes_of_the_specification() -> None:
    sizes = {name: len(family.ids) for name, family in FAMILIES.items()}
    assert sizes == {
        **dict.fromkeys(("PAD", "START", "END", "UNK"), 1),
        "NOTE_ON": 88,
        "NOTE_OFF": 88,
        "TIME_SHIFT": 512,
        "VELOCITY_CHANGE": 32,
        "SUSTAIN": 2,
        "TEMPO": 32,
        "INSTRUMENT": 16,
    }


def test_ids_stay_where_they_are() -> None:
    """A file of ids written years ago must still mean the same: these numbers never change."""
    assert vocab.VERSION == 1
    assert [FAMILIES[n].first for n in FAMILIES] == [0, 1, 2, 3, 4, 92, 180, 692, 724, 726, 758]
    assert FAMILIES["NOTE_ON"].id(60) == 43
    assert FAMILIES["TIME_SHIFT"].id(24) == 203


def test_values_and_ids_are_inverse() -> None:
    for family in FAMILIES.values():
        assert [family.value(family.id(v)) for v in family.values] == list(family.values)
        with pytest.raises(ValueError, match="not in range"):
            family.value(family.ids.stop)


def test_tempo_bins_rise_evenly_and_hold_120() -> None:
    ratios = [b / a for a, b in zip(vocab.TEMPO_BPM, vocab.TEMPO_BPM[1:], strict=False)]
    assert len(vocab.TEMPO_BPM) == 32
    assert max(ratios) == pytest.approx(min(ratios))
    assert 120 in vocab.TEMPO_BPM
