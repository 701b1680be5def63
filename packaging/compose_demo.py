"""Compose the demo pieces in assets/demo: three short pieces of our own, written down here note by note.

    python packaging/compose_demo.py            (from the checkout; the same bytes every time)

A line of music is text: "G5/3 F5/1 | Bb5/6" is notes and their lengths in the piece's unit, bars between strokes,
r a rest. What the text leaves to the player - phrasing, pedal, swing, rubato - is added by the `perform_` functions.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from math import pi, sin
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # runs from a checkout that is not installed

from engine.score import Event, Meter, Score, Tempo, Track, make_notes, midi  # noqa: E402

QUARTER = 480
STEPS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
Row = tuple[int, int, int, int, int]  # tick, duration, pitch, velocity, track


@dataclass(frozen=True)
class Note:
    """A written note: start and length in units of the piece, and the bar it stands in."""

    start: float
    length: float
    pitch: int
    bar: int


def pitch_of(name: str) -> int:
    """MIDI number of a name like Bb4 or F#3; C4 is 60."""
    accidentals = name[1:].rstrip("0123456789")
    octave = int(name[1 + len(accidentals) :])
    return STEPS[name[0]] + accidentals.count("#") - accidentals.count("b") + 12 * (octave + 1)


def read_line(text: str, units_a_bar: int) -> list[Note]:
    """Notes of a line of text; a bar that does not add up is an error."""
    notes = []
    for bar, written in enumerate(text.split("|")):
        at = 0.0
        for word in written.split():
            name, length = word.split("/")
            if name != "r":
                notes.append(Note(bar * units_a_bar + at, float(length), pitch_of(name), bar))
            at += float(length)
        if at != units_a_bar:
            raise ValueError(f"bar {bar + 1} of {text[:40]!r} has {at} units, not {units_a_bar}")
    return notes


def join(*parts: str) -> str:
    """Sections one after another."""
    return " | ".join(part.strip().strip("|") for part in parts)


def swell(place: float, depth: float) -> float:
    """Loudness over a phrase, `place` from 0 to 1: rising to two thirds, then falling."""
    bent = place / (2 / 3) / 2 if place < 2 / 3 else 0.5 + (place - 2 / 3) * 1.5
    return depth * sin(pi * bent)


def marks(bar_ticks: int, names: dict[int, str]) -> list[Event]:
    """Markers at bars, counted from 0."""
    return [Event(bar * bar_ticks, -1, b"\xff\x06" + name.encode()) for bar, name in names.items()]


def finish(
    title: str,
    tracks: Sequence[Track],
    rows: list[Row],
    meter: tuple[int, int],
    tempi: dict[int, float],
    events: list[Event],
) -> Score:
    """The score, its last bar ending with the music; `tempi` are quarters a minute by tick."""
    bar = QUARTER * 4 * meter[0] // meter[1]
    end = max(row[0] for row in rows) // bar * bar + bar
    last: dict[tuple[int, int], int] = {}  # where the key is struck again: a held note ends there
    for i, (tick, duration, pitch, velocity, track) in sorted(enumerate(rows), key=lambda row: -row[1][0]):
        rows[i] = (tick, min(duration, last.get((track, pitch), end) - tick), pitch, velocity, track)
        last[track, pitch] = tick
    heads = [Event(0, -1, b"\xff\x03" + title.encode()), Event(0, -1, b"\xff\x02(c) Morphony contributors, Apache-2.0")]
    return Score(
        QUARTER,
        tuple(tracks),
        make_notes(rows),
        (Meter(0, *meter),),
        tuple(Tempo(tick, round(60e6 / bpm)) for tick, bpm in sorted(tempi.items())),
        tuple(sorted(heads + events, key=lambda e: (e.tick, e.track))),
    )


# ---------------------------------------------------------------- nocturne: piano, 6/8, E flat major, A A' B A'' coda

NOCTURNE_A = """
  G5/3 F5/1 G5/1 Bb5/1 | Bb5/3 G5/2 Eb5/1 | Ab5/3 G5/1 Ab5/1 C6/1 | C6/2 Bb5/1 Ab5/2 F5/1
| G5/3 Bb5/1 Eb6/2 | Eb6/2 D6/1 C6/2 Ab5/1 | Ab5/2 G5/1 F5/3 | F5/2 Eb5/1 D5/3"""  # ends open, on the dominant
NOCTURNE_A2 = """
  G5/2 Ab5/0.5 G5/0.5 F5/1 G5/1 Bb5/1 | Bb5/3 Ab5/0.5 G5/0.5 F5/1 Eb5/1 | Ab5/3 G5/0.5 Ab5/0.5 Bb5/1 C6/1
| C6/2 Bb5/1 Ab5/1 G5/1 F5/1 | G5/3 Bb5/1 Eb6/2 | Eb6/2 D6/1 C6/2 Ab5/1 | Ab5/2 C6/1 Bb5/1 Ab5/1 D5/1 | Eb5/5 r/1"""
NOCTURNE_B = """
  C5/1 Eb5/1 G5/1 C6/3 | Bb5/2 G5/1 D5/3 | C5/1 Eb5/1 Ab5/1 C6/3 | Bb5/3 G5/2 Eb5/1
| Ab5/2 G5/1 F5/2 C5/1 | G5/2 F5/1 Eb5/3 | C5/1 Eb5/1 F5/1 A5/2 G5/1 | Bb5/3 Ab5/1 G5/1 F5/1"""
NOCTURNE_A3 = """
  G5/2 Ab5/0.5 G5/0.5 F5/1 G5/1 Bb5/1 | Bb5/3 Ab5/0.5 G5/0.5 F5/1 Eb5/1 | Ab5/3 G5/0.5 Ab5/0.5 Bb5/1 C6/1
| C6/2 Bb5/1 Ab5/1 G5/1 F5/1 | G5/2 Bb5/1 Eb6/1 G6/2 | G6/1 F6/1 Eb6/1 C6/2 Ab5/1 | Ab5/2 C6/1 Bb5/1 Ab5/1 D5/1
| Eb5/3 r/1 Eb5/1 Ab5/1"""  # the cadence deceives
NOCTURNE_CODA = "C6/3 Bb5/1 Ab5/2 | B5/3 Ab5/1 Eb5/2 | G5/3 F5/2 D5/1 | Eb5/6"

ARPEGGIO = {  # the left hand's six eighths over each harmony
    "Eb": "Eb2 Bb2 G3 Bb3 G3 Bb2",
    "Cm7": "C2 G2 Eb3 Bb3 Eb3 G2",
    "Fm7": "F2 C3 Ab3 Eb4 Ab3 C3",
    "Bb7": "Bb1 F2 D3 Ab3 D3 F2",
    "Eb/G": "G2 Eb3 Bb3 Eb4 Bb3 Eb3",
    "Ab": "Ab2 Eb3 C4 Eb4 C4 Eb3",
    "Fm7-Bb7": "F2 C3 Ab3 Bb1 F2 D3",
    "Cm": "C2 G2 Eb3 G3 Eb3 G2",
    "Gm": "G2 D3 Bb3 D4 Bb3 D3",
    "Fm": "F2 C3 Ab3 C4 Ab3 C3",
    "Cm/Eb": "Eb2 C3 G3 C4 G3 C3",
    "F7": "F2 C3 A3 Eb4 A3 C3",
    "Abm": "Ab2 Eb3 B3 Eb4 B3 Eb3",
    "Eb/Bb-Bb7": "Bb1 Bb2 G3 Bb1 Ab2 D3",
}
HARMONY_A = "Eb Cm7 Fm7 Bb7 Eb/G Ab Fm7 Bb7"
HARMONY_A2 = "Eb Cm7 Fm7 Bb7 Eb/G Ab Fm7-Bb7 Eb"
HARMONY_B = "Cm Gm Ab Eb/G Fm Cm/Eb F7 Bb7"
HARMONY_A3 = "Eb Cm7 Fm7 Bb7 Eb/G Ab Fm7-Bb7 Cm"
HARMONY_CODA = "Ab Abm Eb/Bb-Bb7"
BREATH = (1.0, 1.02, 1.03, 0.98, 1.03, 1.05, 0.97, 0.86)  # the tempo over eight bars


def nocturne() -> Score:
    """Piano: a melody over arpeggios, with pedal, rubato and a melody that arrives a little late."""
    unit, bar_ticks = QUARTER // 2, QUARTER * 3
    rng = random.Random("nocturne")
    melody = read_line(join(NOCTURNE_A, NOCTURNE_A2, NOCTURNE_B, NOCTURNE_A3, NOCTURNE_CODA), 6)
    harmony = " ".join((HARMONY_A, HARMONY_A2, HARMONY_B, HARMONY_A3, HARMONY_CODA)).split()
    rows: list[Row] = []
    for note in melody:
        place = (note.bar % 8 + note.start % 6 / 6) / 8
        loud = 64 + swell(place, 22) + (6 if 16 <= note.bar < 22 else 0) - (14 if note.bar >= 32 else 0)
        loud += min(note.length, 3) * 1.5
        late = rng.randint(4, 16) if note.length >= 2 else rng.randint(-6, 8)
        tick = max(round(note.start * unit) + late, 0)
        rows.append((tick, round(note.length * unit * 1.02) - 6, note.pitch, round(loud), 0))
        if 24 <= note.bar < 32 and note.length >= 2:  # the last return is sung in sixths and thirds
            below = under(note.pitch, ARPEGGIO[harmony[note.bar]])
            rows.append((tick + rng.randint(2, 9), round(note.length * unit) - 10, below, round(loud - 18), 0))
    for bar, chord in enumerate(harmony):
        for i, name in enumerate(ARPEGGIO[chord].split()):
            loud = 46 + swell((bar % 8 + i / 6) / 8, 12) + (8 if i == 0 else 3 if i == 3 else 0)
            tick = bar * bar_ticks + i * unit + (0 if i == 0 else rng.randint(-5, 9))
            rows.append((tick, unit - 8 if i else unit * 2, pitch_of(name), round(loud - (8 if bar >= 32 else 0)), 1))
    last = len(harmony) * bar_ticks
    for i, name in enumerate(("Eb2", "Bb2", "G3", "Bb3")):  # the last chord, rolled
        rows.append((last + 40 * i, bar_ticks - 40 * i, pitch_of(name), 44 + 2 * i, 1))
    pedal: list[Event] = []
    for bar in range(len(harmony) + 1):
        halves = (0, bar_ticks // 2) if bar < len(harmony) and "-" in harmony[bar] else (0,)
        for track in (0, 1):
            for half in halves:
                pedal.append(Event(bar * bar_ticks + half + 30, track, bytes((0xB0 | track, 64, 127))))
            for end in (*halves[1:], bar_ticks):
                pedal.append(
                    Event(bar * bar_ticks + end - (4 if bar < len(harmony) else 0), track, bytes((0xB0 | track, 64, 0)))
                )
    tempi = {bar * bar_ticks: 66 * BREATH[bar % 8] for bar in range(32)}
    tempi |= {(32 + i) * bar_ticks: bpm for i, bpm in enumerate((60, 57, 52, 44))}
    events = [
        *pedal,
        Event(0, -1, b"\xff\x59\xfd\x00"),
        *marks(bar_ticks, {0: "A", 8: "A'", 16: "B", 24: "A''", 32: "Coda"}),
    ]
    return finish("Nocturne", (Track("Right hand", 0, 0), Track("Left hand", 0, 1)), rows, (6, 8), tempi, events)


def under(pitch: int, chord: str) -> int:
    """The chord's note a third to a sixth under a melody note."""
    classes = {pitch_of(name) % 12 for name in chord.split()}
    return next(p for p in range(pitch - 3, pitch - 13, -1) if p % 12 in classes)


# ---------------------------------------------------------------- sarabande: string quartet, 3/4, D minor, A A' B A''

SARABANDE = {
    "Violin I": join(
        *2
        * [
            "D5/1 D5/1.5 E5/0.5 | E5/1 E5/1.5 F5/0.5 | F5/1 F5/1.5 E5/0.5 | D5/1 C#5/2 | D5/1 F5/1.5 E5/0.5"
            " | D5/1 G5/1.5 F5/0.5 | {end}"
        ],
        """C5/1 F5/1.5 G5/0.5 | G5/1 G5/1.5 F5/0.5 | F5/1 F5/1.5 E5/0.5 | D5/1 C5/2
         | A4/1 C5/2 | C5/1 D5/1.5 C5/0.5 | Bb4/1 D5/2 | C#5/2 E5/1""",
        """D5/1 D5/1 E5/0.5 F5/0.5 | E5/1 E5/1 F5/0.5 G5/0.5 | F5/1 F5/1.5 E5/0.5 | D5/1 C#5/1.5 E5/0.5
         | D5/1 F5/1 G5/0.5 E5/0.5 | D5/1 G5/1.5 F5/0.5 | E5/1 D5/1 C#5/1 | D5/3""",
    ),
    "Violin II": join(
        *2 * ["A4/1 A4/2 | A4/3 | A4/3 | G4/1 A4/2 | F4/3 | G4/3 | {end}"],
        "A4/3 | G4/3 | A4/3 | D4/1 E4/2 | F4/3 | D4/3 | D4/1 G4/2 | E4/2 G4/1",
        "A4/1 A4/2 | A4/3 | A4/3 | G4/1 A4/2 | F4/3 | G4/3 | G4/1 F4/1 E4/1 | D4/3",
    ),
    "Viola": join(
        *2 * ["F4/1 F4/2 | E4/3 | D4/3 | D4/1 E4/2 | D4/3 | Bb3/3 | {end}"],
        "C4/3 | C4/3 | F4/3 | Bb3/1 G3/1 Bb3/1 | A3/3 | A3/3 | Bb3/3 | A3/3",
        "F4/1 F4/2 | E4/3 | D4/3 | D4/1 E4/2 | D4/3 | Bb3/3 | Bb3/1 A3/1 G3/1 | F#3/3",  # ends in D major
    ),
    "Cello": join(
        "D3/3 | C#3/3 | D3/3 | Bb2/1 A2/2 | Bb2/1 D3/2 | G2/3 | {end}",
        "D3/1 A2/1 D3/1 | C#3/3 | D3/1 F3/1 D3/1 | Bb2/1 A2/2 | Bb2/1 D3/2 | G2/3 | {end}",
        "F3/3 | E3/3 | D3/3 | Bb2/1 C3/2 | F3/3 | F#3/3 | G3/1 G2/2 | A2/3",
        "D3/1 A2/1 D3/1 | C#3/1 E3/1 C#3/1 | D3/1 F3/1 D3/1 | Bb2/1 A2/2 | Bb2/1 D3/2 | G2/3 | G2/1 A2/2 | D2/3",
    ),
}
CADENCES = {  # the first phrase ends open, the second closed
    "Violin I": ("E5/1 D5/2 | C#5/3", "E5/1 D5/1 C#5/1 | D5/3"),
    "Violin II": ("G4/3 | A4/3", "G4/1 F4/1 E4/1 | D4/3"),
    "Viola": ("Bb3/1 D4/2 | E4/3", "Bb3/1 A3/1 G3/1 | F3/3"),
    "Cello": ("G2/1 Bb2/2 | A2/3", "G2/1 A2/2 | D3/3"),
}


def sarabande() -> Score:
    """String quartet: four voices on the grid, the second beat leaning, volumes swelled by controller."""
    bar_ticks = QUARTER * 3
    tracks, rows, events = [], [], list(marks(bar_ticks, {0: "A", 8: "A'", 16: "B", 24: "A''"}))
    for track, (name, text) in enumerate(SARABANDE.items()):
        for cadence in CADENCES[name]:
            text = text.replace("{end}", cadence, 1)
        tracks.append(Track(name, (40, 40, 41, 42)[track], track))
        pan = (40, 56, 72, 88)[track]
        events += [Event(0, track, bytes((0xB0 | track, 7, 100))), Event(0, track, bytes((0xB0 | track, 10, pan)))]
        for note in read_line(text, 3):
            place = (note.bar % 8 + note.start % 3 / 3) / 8
            loud = (74, 62, 60, 66)[track] + swell(place, 18) + (7 if note.start % 3 == 1 else 0)
            loud += {0: 0, 1: -6, 2: 4, 3: 8}[note.bar // 8]
            held = note.length * QUARTER
            short = 0.96 if note.length >= 1 else 0.88
            rows.append((round(note.start * QUARTER), round(held * short), note.pitch, round(loud), track))
        for bar in range(32):
            level = round(84 + swell((bar % 8) / 8, 36))
            events.append(Event(bar * bar_ticks, track, bytes((0xB0 | track, 11, level))))
    tempi = {0: 72.0, 15 * bar_ticks: 68.0, 16 * bar_ticks: 76.0, 23 * bar_ticks: 70.0, 24 * bar_ticks: 72.0}
    tempi |= {30 * bar_ticks: 62.0, 31 * bar_ticks: 50.0}
    events.append(Event(0, -1, b"\xff\x59\xff\x01"))
    return finish("Sarabande", tracks, rows, (3, 4), tempi, events)


# ---------------------------------------------------------------- groove: vibraphone, keys, bass, drums, 4/4, A minor

GROOVE_A = """
  r/2 A5/2 C6/2 B5/1 A5/1 r/2 E5/2 G5/4 | F#5/6 E5/2 r/2 D5/2 E5/4 | r/2 C5/2 E5/2 G5/1 A5/1 r/2 E5/2 C5/4
| B4/4 G#4/2 B4/2 D5/4 r/4 | r/2 A5/2 C6/2 B5/1 A5/1 r/2 E5/2 G5/4 | F#5/4 A5/2 F#5/2 E5/4 D5/4
| D5/2 F5/2 A5/4 G#5/2 E5/2 D5/2 B4/2 | C5/2 A4/6 r/8"""
GROOVE_B = """
  F5/8 E5/4 D5/4 | E5/10 r/2 D5/2 B4/2 | E5/8 D5/4 B4/4 | C5/10 r/2 A4/2 C5/2
| D5/4 F5/4 A5/8 | G#5/6 E5/2 B4/8 | C5/4 E5/4 A5/4 B5/4 | G#5/8 r/8"""
CHORDS_A = "Am7 D9 Fmaj7 E7#9 Am7 D9 Bm7b5-E7 Am7"
CHORDS_B = "Dm7 G13 Cmaj7 Fmaj7 Bm7b5 E7 Am7 E7"
VOICINGS = {  # the keys: rootless, each a step from the last
    "Am7": "G3 C4 E4 B4",
    "D9": "F#3 C4 E4 A4",
    "Fmaj7": "E3 A3 C4 G4",
    "E7#9": "D3 G#3 D4 G4",
    "Bm7b5": "A3 D4 F4",
    "E7": "G#3 D4 F4 B4",
    "Dm7": "F3 C4 E4 A4",
    "G13": "F3 B3 E4 A4",
    "Cmaj7": "E3 B3 D4 G4",
}
ROOTS = {
    "Am7": "A1",
    "D9": "D2",
    "Fmaj7": "F1",
    "E7#9": "E1",
    "Bm7b5": "B1",
    "E7": "E1",
    "Dm7": "D2",
    "G13": "G1",
    "Cmaj7": "C2",
}
COMPING = (((0, 3), (6, 2), (11, 3)), ((2, 2), (7, 2), (10, 4)))  # (16th, length), two bars in turn
KICK, SNARE, HAT, OPEN_HAT, CRASH = 36, 38, 42, 46, 49


def groove() -> Score:
    """Vibraphone over electric piano, bass and drums; 16ths swing, the snare lies back, ghost notes between."""
    unit = QUARTER // 4
    rng = random.Random("groove")
    rows: list[Row] = []

    def play(bar: int, step: float, length: float, pitch: int, velocity: float, track: int, lean: int = 0) -> None:
        swing = 18 if step % 2 == 1 else 0
        tick = round((bar * 16 + step) * unit) + swing + lean + rng.randint(-3, 3)
        loud = max(min(round(velocity + rng.uniform(-4, 4)), 127), 1)
        rows.append((max(tick, 0), max(round(length * unit), 20), pitch, loud, track))

    for note in read_line(join(GROOVE_A, GROOVE_A, GROOVE_B, GROOVE_A), 16):
        accent = 6 if note.start % 4 else 0
        play(note.bar, note.start % 16, note.length * 0.9, note.pitch, 82 + accent + swell(note.bar % 4 / 4, 10), 0, 6)
    chords = " ".join((CHORDS_A, CHORDS_A, CHORDS_B, CHORDS_A)).split()
    for bar, written in enumerate(chords):
        both = written.split("-")
        for step, length in COMPING[bar % 2]:
            chord = both[0] if step < 8 else both[-1]
            for i, name in enumerate(VOICINGS[chord].split()):
                play(bar, step, length * 0.85, pitch_of(name), 58 + 2 * i + (6 if step == 0 else 0), 1, 2 * i)
        following = pitch_of(ROOTS[chords[(bar + 1) % 32].split("-")[0]])
        for step, held, pitch, velocity in bass_line(both, following, bar):
            play(bar, step, held, pitch, velocity, 2, -2)
        for step, pitch, velocity, lean in drum_bar(bar):
            play(bar, step, 0.5, pitch, velocity, 3, lean)
    tracks = (
        Track("Vibraphone", 11, 0),
        Track("Electric piano", 4, 1),
        Track("Bass", 33, 2),
        Track("Drums", 0, 9, True),
    )
    events = marks(16 * unit, {0: "A", 8: "A", 16: "B", 24: "A"})
    for track, level in ((0, 100), (1, 84), (2, 104), (3, 92)):
        events.append(Event(0, track, bytes((0xB0 | tracks[track].channel, 7, level))))
    return finish("Groove", tracks, rows, (4, 4), {0: 96.0}, events)


def bass_line(chords: list[str], following: int, bar: int) -> list[tuple[int, float, int, int]]:
    """(16th, length, pitch, velocity): root, ghost, octave, fifth, and a half step into the next bar's root."""
    first, second = pitch_of(ROOTS[chords[0]]), pitch_of(ROOTS[chords[-1]])
    fifth = second + (6 if "b5" in chords[-1] else 7)
    approach = following + (1 if bar % 2 else -1)
    line = [
        (0, 2.6, first, 98),
        (3, 0.6, first, 58),
        (6, 1.6, first + 12, 84),
        (8, 2.2, second, 90),
        (11, 0.7, fifth, 70),
    ]
    return [*line, (12, 1.8, second + 12 if bar % 4 != 3 else fifth, 82), (14, 1.6, approach, 78)]


def drum_bar(bar: int) -> list[tuple[int, int, int, int]]:
    """(16th, drum, velocity, ticks late); every eighth bar ends in a fill."""
    hits = [(0, KICK, 104, 0), (7, KICK, 72, 0), (10, KICK, 96, 0), (4, SNARE, 98, 7), (12, SNARE, 100, 7)]
    hits += [(step, SNARE, 28, 5) for step in (3, 9, 15)]
    hits += [(step, HAT, 70 if step % 4 == 0 else 54, 0) for step in range(0, 16, 2) if step != 14]
    hits.append((14, OPEN_HAT if bar % 2 else HAT, 62, 0))
    if bar % 8 == 0:
        hits.append((0, CRASH, 88, 0))
    if bar % 8 == 7:
        hits = [h for h in hits if h[0] < 12] + [
            (12, SNARE, 80, 0),
            (13, SNARE, 66, 0),
            (14, 45, 88, 0),
            (15, 43, 92, 0),
        ]
    return hits


PIECES = {"nocturne": nocturne, "sarabande": sarabande, "groove": groove}


def main() -> None:
    """Write all three."""
    folder = ROOT / "assets" / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    for name, compose in PIECES.items():
        score = compose()
        midi.write(score, folder / f"{name}.mid")
        print(f"{name}: {len(score.notes)} notes in {len(score.tracks)} tracks")


if __name__ == "__main__":
    main()
