"""Scales and chords as musicians write them, and the pitch classes they mean. Text in, sets out; knows no notes.

A pitch class is 0 to 11, C is 0. Bars are divided by "|" or by a new line, as on a lead sheet.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from engine.errors import MorphonyError

PitchClasses = frozenset[int]

LETTERS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
ACCIDENTALS = {"": 0, "#": 1, "♯": 1, "b": -1, "♭": -1}
SCALES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "harmonic minor": (0, 2, 3, 5, 7, 8, 11),
    "melodic minor": (0, 2, 3, 5, 7, 9, 11),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "phrygian": (0, 1, 3, 5, 7, 8, 10),
    "lydian": (0, 2, 4, 6, 7, 9, 11),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    "locrian": (0, 1, 3, 5, 6, 8, 10),
    "major pentatonic": (0, 2, 4, 7, 9),
    "minor pentatonic": (0, 3, 5, 7, 10),
    "blues": (0, 3, 5, 6, 7, 10),
    "whole tone": (0, 2, 4, 6, 8, 10),
    "octatonic": (0, 2, 3, 5, 6, 8, 9, 11),
    "chromatic": tuple(range(12)),
}
CHORDS = {
    "": (0, 4, 7),
    "maj": (0, 4, 7),
    "m": (0, 3, 7),
    "min": (0, 3, 7),
    "-": (0, 3, 7),
    "5": (0, 7),
    "6": (0, 4, 7, 9),
    "m6": (0, 3, 7, 9),
    "7": (0, 4, 7, 10),
    "maj7": (0, 4, 7, 11),
    "M7": (0, 4, 7, 11),
    "m7": (0, 3, 7, 10),
    "mM7": (0, 3, 7, 11),
    "9": (0, 2, 4, 7, 10),
    "maj9": (0, 2, 4, 7, 11),
    "m9": (0, 2, 3, 7, 10),
    "add9": (0, 2, 4, 7),
    "11": (0, 2, 5, 7, 10),
    "13": (0, 2, 4, 7, 9, 10),
    "sus2": (0, 2, 7),
    "sus4": (0, 5, 7),
    "7sus4": (0, 5, 7, 10),
    "dim": (0, 3, 6),
    "dim7": (0, 3, 6, 9),
    "m7b5": (0, 3, 6, 10),
    "aug": (0, 4, 8),
    "+": (0, 4, 8),
    "7b9": (0, 1, 4, 7, 10),
    "7#9": (0, 3, 4, 7, 10),
}
ALL: PitchClasses = frozenset(range(12))
NO_CHORD = ("N.C.", "NC", "*")  # anything may sound

_ROOT = re.compile(r"([A-G])([#♯b♭]?)(.*)", re.DOTALL)


def scale(text: str) -> PitchClasses:
    """The pitch classes of "C major", "F# harmonic minor" or plain numbers like "0 2 4 7 9"."""
    words = text.split()
    if words and all(w.isdecimal() and int(w) < 12 for w in words):
        return frozenset(map(int, words))
    found = _ROOT.fullmatch(text.strip())
    if found is None:
        raise MorphonyError(f"{text!r} is not a scale like C major, F# minor or 0 2 4 5 7 9 11.")
    name = " ".join(found[3].lower().split()) or "major"
    if name not in SCALES:
        raise MorphonyError(_unknown("scale", name, SCALES))
    return frozenset((_root(found[1], found[2]) + step) % 12 for step in SCALES[name])


def scales(text: str) -> tuple[PitchClasses, ...]:
    """One scale for all bars, or one a bar, divided by "|"."""
    return tuple(scale(part) for part in _bars(text))


def chord(text: str) -> PitchClasses:
    """The pitch classes of "C", "F#m7", "Bbmaj7" or "C/E" (whose bass counts too)."""
    if text in NO_CHORD:
        return ALL
    upper, slash, bass = text.partition("/")
    found, low = _ROOT.fullmatch(upper), _ROOT.fullmatch(bass)
    if found is None or (slash and (low is None or low[3])):
        raise MorphonyError(f"{text!r} is not a chord like C, F#m7 or Bbmaj7/D.")
    if found[3] not in CHORDS:
        raise MorphonyError(_unknown("chord", text, (found[1] + found[2] + kind for kind in CHORDS)))
    tones = {(_root(found[1], found[2]) + step) % 12 for step in CHORDS[found[3]]}
    return frozenset(tones | ({_root(low[1], low[2])} if low is not None else set()))


def chords(text: str) -> tuple[tuple[PitchClasses, ...], ...]:
    """The chords of each bar of a chart like "C | Am F | G7": those of one bar share it evenly."""
    return tuple(tuple(chord(word) for word in part.split()) for part in _bars(text))


def _bars(text: str) -> list[str]:
    bars = [part.strip() for line in text.splitlines() for part in line.strip().strip("|").split("|")]
    found = [part for part in bars if part]
    if not found:
        raise MorphonyError("There is nothing between the bar lines; write bars like C | Am F | G7.")
    return found


def _root(letter: str, accidental: str) -> int:
    return (LETTERS[letter] + ACCIDENTALS[accidental]) % 12


def _unknown(kind: str, word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"There is no {kind} {word!r}" + (f"; did you mean {near[0]!r}?" if near else ".")
