"""The grammar accepts what the encoder writes, and nothing else: checked from both sides."""

from __future__ import annotations

import csv
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.score import Event, Score, Track, make_notes, midi
from engine.tokens.codec import Tokens, decode, encode
from engine.tokens.grammar import Grammar, first_error
from engine.tokens.vocab import FAMILIES, SIZE

DEMO = sorted((Path(__file__).resolve().parents[3] / "assets" / "demo").glob("*.mid"))


def ids(text: str) -> list[int]:
    """Token ids of words like START TEMPO20 ON60 SHIFT24."""
    out = []
    for word in text.split():
        name = word.rstrip("0123456789")
        long = {"ON": "NOTE_ON", "OFF": "NOTE_OFF", "SHIFT": "TIME_SHIFT", "VELOCITY": "VELOCITY_CHANGE"}.get(
            name, name
        )
        value = word[len(name) :]
        out.append(FAMILIES[long].id(int(value)) if value else FAMILIES[long].first)
    return out


HEAD = "START TEMPO20 INSTRUMENT0 VELOCITY20 "
GOOD = [
    "START TEMPO20 END",
    HEAD + "ON60 SHIFT24 OFF60 END",
    HEAD + "ON60 OFF60 ON60 OFF60 END",
    HEAD + "ON60 ON60 SHIFT512 SHIFT512 SHIFT1 OFF60 OFF60 END",
    HEAD + "ON60 INSTRUMENT3 ON60 SHIFT5 OFF60 INSTRUMENT4 ON60 SHIFT1 INSTRUMENT0 OFF60 INSTRUMENT4 OFF60 END",
    HEAD + "ON60 VELOCITY21 ON64 SHIFT3 TEMPO21 OFF60 OFF64 SUSTAIN1 SUSTAIN0 VELOCITY3 ON30 OFF30 END",
]
BAD = {  # the stream, and the place of the token that cannot stand there
    "nothing": ("", 0),
    "no end": ("START TEMPO20", 2),
    "no start": ("TEMPO20 END", 0),
    "no tempo": ("START END", 1),
    "padding inside": ("START TEMPO20 PAD", 2),
    "unknown": ("START TEMPO20 UNK", 2),
    "a second start": ("START TEMPO20 START", 2),
    "more after the end": ("START TEMPO20 END TEMPO21", 3),
    "two tempi on a tick": ("START TEMPO20 TEMPO21", 2),
    "the tempo again": (HEAD + "ON60 SHIFT1 TEMPO20", 6),
    "a tempo after notes": (HEAD + "ON60 TEMPO21", 5),
    "a note before any part": ("START TEMPO20 VELOCITY20", 2),
    "a note before any velocity": ("START TEMPO20 INSTRUMENT0 ON60", 3),
    "the velocity again": (HEAD + "ON60 VELOCITY20", 5),
    "two velocities": (HEAD + "VELOCITY21", 4),
    "a velocity for nothing": (HEAD + "SHIFT1", 4),
    "a part with nothing to say": ("START TEMPO20 INSTRUMENT0 SHIFT1", 3),
    "the part again": (HEAD + "ON60 INSTRUMENT0", 5),
    "parts out of order": ("START TEMPO20 INSTRUMENT3 VELOCITY20 ON60 INSTRUMENT2", 5),
    "a part twice on a tick": (HEAD + "ON60 INSTRUMENT1 ON60 INSTRUMENT0", 7),
    "pitches out of order": (HEAD + "ON60 ON59", 5),
    "a release of nothing": (HEAD + "ON60 SHIFT1 OFF61", 6),
    "a release in another part": (HEAD + "ON60 SHIFT1 INSTRUMENT1 OFF60", 7),
    "a release too many": (HEAD + "ON60 SHIFT1 OFF60 OFF60", 7),
    "releases out of order": (HEAD + "ON60 ON64 SHIFT1 OFF64 OFF60", 8),
    "a release after a note": (HEAD + "ON60 SHIFT1 ON64 OFF60", 7),
    "a release after the pedal": (HEAD + "ON60 SHIFT1 SUSTAIN1 OFF60", 7),
    "no length, but two sound": (HEAD + "ON60 ON60 OFF60", 6),
    "the pedal up at rest": ("START TEMPO20 INSTRUMENT0 SUSTAIN0", 3),
    "the pedal down twice": ("START TEMPO20 INSTRUMENT0 SUSTAIN1 SUSTAIN1", 4),
    "the pedal after notes": (HEAD + "ON60 SUSTAIN1", 5),
    "a short shift before another": (HEAD + "ON60 SHIFT5 SHIFT5", 6),
    "a shift to the end": (HEAD + "ON60 OFF60 SHIFT1 END", 7),
    "an end while a note sounds": (HEAD + "ON60 END", 5),
}


@pytest.mark.parametrize("text", GOOD)
def test_canonical_streams_are_accepted(text: str) -> None:
    stream = np.array(ids(text), np.int16)
    assert first_error(stream.tolist()) is None
    assert first_error([*stream.tolist(), 0, 0]) is None  # padding after the end


@pytest.mark.parametrize(("text", "place"), BAD.values(), ids=list(BAD))
def test_what_the_encoder_cannot_write_is_refused(text: str, place: int) -> None:
    assert first_error(ids(text)) == place


def check(score: Score) -> list[int]:
    stream = encode(score).ids.tolist()
    assert first_error(stream) is None
    return stream


@pytest.mark.parametrize("path", DEMO, ids=lambda p: p.stem)
def test_demo_pieces_are_accepted(path: Path) -> None:
    check(midi.read(path))


def test_real_files_are_accepted(music: Path) -> None:
    with (music / "valid.tsv").open(encoding="utf-8") as lines:
        files = [music / row["path"] for row in csv.DictReader(lines, delimiter="\t")][::8]
    tokens = sum(len(check(midi.read(path))) for path in files)
    print(f"{len(files)} real files, {tokens:,} tokens: all accepted")  # noqa: T201 - the figure


def test_any_score_is_accepted() -> None:
    rng = random.Random(1)
    for _ in range(150):
        rows = [
            (
                rng.randrange(60),
                rng.choice((0, 0, 1, 5, 30, 700)),
                rng.randrange(60, 66),
                rng.randrange(1, 128),
                rng.randrange(3),
            )
            for _ in range(rng.randrange(30))
        ]
        pedal = sorted((rng.randrange(60), rng.randrange(3), rng.choice((0, 127))) for _ in range(rng.randrange(10)))
        events = tuple(Event(t, part, bytes((0xB0 | part, 64, down))) for t, part, down in pedal)
        check(Score(24, tuple(Track("", 0, i) for i in range(3)), make_notes(rows), events=events))


def walk(rng: random.Random, length: int) -> list[int]:
    """A stream drawn at random from the masks alone, brought to its end after `length` tokens."""
    grammar, out = Grammar(), []
    kinds = np.repeat(np.arange(len(FAMILIES)), [len(f.ids) for f in FAMILIES.values()])
    parts = FAMILIES["INSTRUMENT"].ids
    end, offs = FAMILIES["END"].first, FAMILIES["NOTE_OFF"].ids
    while not grammar.ended:
        mask = grammar.mask()
        mask[parts[2] :] = False  # two parts are enough
        ending = len(out) >= length
        if not ending:
            mask[end] = False
        elif mask[end] or mask[offs].any():
            mask[: offs.start] &= np.arange(offs.start) == end
            mask[offs.stop :] = False
        elif mask[FAMILIES["TIME_SHIFT"].ids].any():
            mask[:] = np.arange(SIZE) == FAMILIES["TIME_SHIFT"].first
        elif mask[parts[0]] or mask[parts[1]]:
            mask[: parts.start] = False
        allowed = np.flatnonzero(mask)
        kind = rng.choice(np.unique(kinds[allowed]).tolist())
        out.append(rng.choice(allowed[kinds[allowed] == kind].tolist()))
        grammar.advance(out[-1])
        if len(out) > 10 * length:
            return []  # wandered off without releasing its notes
    return out


def is_its_own_encoding(stream: list[int]) -> bool | None:
    """Whether reading and writing again gives the same ids; None where a part has no note and so is no part."""
    score = decode(Tokens(np.array(stream, np.int16), (0, 0)))
    used = np.unique(score.notes["track"]).tolist()
    return encode(score).ids.tolist() == stream if used == list(range(len(score.tracks))) else None


def test_whatever_the_masks_allow_is_what_the_encoder_would_write() -> None:
    """Drawn at random, read as music, written again: the same ids, so no mask allows a stream that has another form."""
    rng = random.Random(2)
    found = [is_its_own_encoding(stream) for _ in range(150) if (stream := walk(rng, rng.randrange(10, 80)))]
    assert False not in found
    assert found.count(True) > 40


def test_mutations_are_refused_unless_they_say_something_else() -> None:
    """Swap, drop, double or change a token: refused, or else a stream that again is its own encoding."""
    rng = random.Random(3)
    score = midi.read(next(p for p in DEMO if p.stem == "sarabande"))
    stream = encode(replace(score, notes=score.notes[:60], tempi=score.tempi[:1])).ids.tolist()
    refused = 0
    for _ in range(300):
        mutant, at = list(stream), rng.randrange(1, len(stream) - 1)
        match rng.randrange(4):
            case 0:
                mutant[at], mutant[at + 1] = mutant[at + 1], mutant[at]
            case 1:
                del mutant[at]
            case 2:
                mutant.insert(at, mutant[at])
            case _:
                mutant[at] = rng.randrange(SIZE)
        if mutant == stream:
            continue
        if first_error(mutant) is None:
            assert is_its_own_encoding(mutant) is not False
        else:
            refused += 1
    print(f"{refused} of 300 mutations refused, the rest say something else")  # noqa: T201 - the figure
    assert refused > 200


def test_a_mask_always_leaves_something() -> None:
    rng = random.Random(4)
    for _ in range(20):
        grammar = Grammar()
        for _ in range(200):
            allowed = np.flatnonzero(grammar.mask())
            assert len(allowed)
            grammar.advance(int(rng.choice(allowed.tolist())))
