"""Scales and chords as musicians write them."""

from __future__ import annotations

import pytest

from engine.errors import MorphonyError
from engine.score import harmony


@pytest.mark.parametrize(
    ("text", "classes"),
    [
        ("C major", {0, 2, 4, 5, 7, 9, 11}),
        ("C", {0, 2, 4, 5, 7, 9, 11}),
        ("A minor", {0, 2, 4, 5, 7, 9, 11}),
        ("F# minor", {6, 8, 9, 11, 1, 2, 4}),
        ("E♭ Harmonic  Minor", {3, 5, 6, 8, 10, 11, 2}),
        ("B blues", {11, 2, 4, 5, 6, 9}),
        ("0 2 4 7 9", {0, 2, 4, 7, 9}),
    ],
)
def test_a_scale_is_its_pitch_classes(text: str, classes: set[int]) -> None:
    assert harmony.scale(text) == classes


@pytest.mark.parametrize(
    ("text", "classes"),
    [
        ("C", {0, 4, 7}),
        ("Bbmaj7", {10, 2, 5, 9}),
        ("F#m7b5", {6, 9, 0, 4}),
        ("Am/G", {9, 0, 4, 7}),
        ("Edim7", {4, 7, 10, 1}),
        ("N.C.", set(range(12))),
    ],
)
def test_a_chord_is_its_tones_and_its_bass(text: str, classes: set[int]) -> None:
    assert harmony.chord(text) == classes


def test_a_chart_is_read_bar_by_bar_and_line_by_line() -> None:
    chart = harmony.chords("| C | Am F |\n| G7 |\n")
    assert [len(bar) for bar in chart] == [1, 2, 1]
    assert chart[1] == (harmony.chord("Am"), harmony.chord("F"))
    assert harmony.scales("C major | G major") == (harmony.scale("C"), harmony.scale("G"))


@pytest.mark.parametrize(
    ("read", "text", "sentence"),
    [
        (harmony.scale, "H moll", "'H moll' is not a scale like C major"),
        (harmony.scale, "C majro", "did you mean 'major'"),
        (harmony.scale, "0 2 14", "is not a scale"),
        (harmony.chord, "Cmaj77", "did you mean 'Cmaj7'"),
        (harmony.chord, "C/x", "is not a chord like"),
        (harmony.chords, " | ", "nothing between the bar lines"),
    ],
)
def test_what_nobody_can_read_is_one_sentence(read, text: str, sentence: str) -> None:
    with pytest.raises(MorphonyError, match=sentence):
        read(text)
