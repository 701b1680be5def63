"""The 128 instruments of General MIDI by name, eight to a family, in the order of their numbers."""

from __future__ import annotations

from typing import Final

FAMILIES: Final[dict[str, tuple[str, ...]]] = {
    "Piano": (
        "Grand piano", "Bright piano", "Electric grand", "Honky-tonk", "Electric piano 1", "Electric piano 2",
        "Harpsichord", "Clavinet",
    ),
    "Chromatic percussion": (
        "Celesta", "Glockenspiel", "Music box", "Vibraphone", "Marimba", "Xylophone", "Tubular bells", "Dulcimer",
    ),
    "Organ": (
        "Drawbar organ", "Percussive organ", "Rock organ", "Church organ", "Reed organ", "Accordion", "Harmonica",
        "Tango accordion",
    ),
    "Guitar": (
        "Nylon guitar", "Steel guitar", "Jazz guitar", "Clean guitar", "Muted guitar", "Overdriven guitar",
        "Distortion guitar", "Guitar harmonics",
    ),
    "Bass": (
        "Acoustic bass", "Finger bass", "Pick bass", "Fretless bass", "Slap bass 1", "Slap bass 2", "Synth bass 1",
        "Synth bass 2",
    ),
    "Strings": (
        "Violin", "Viola", "Cello", "Contrabass", "Tremolo strings", "Pizzicato strings", "Harp", "Timpani",
    ),
    "Ensemble": (
        "String ensemble 1", "String ensemble 2", "Synth strings 1", "Synth strings 2", "Choir aahs", "Voice oohs",
        "Synth voice", "Orchestra hit",
    ),
    "Brass": (
        "Trumpet", "Trombone", "Tuba", "Muted trumpet", "French horn", "Brass section", "Synth brass 1",
        "Synth brass 2",
    ),
    "Reed": (
        "Soprano sax", "Alto sax", "Tenor sax", "Baritone sax", "Oboe", "English horn", "Bassoon", "Clarinet",
    ),
    "Pipe": (
        "Piccolo", "Flute", "Recorder", "Pan flute", "Blown bottle", "Shakuhachi", "Whistle", "Ocarina",
    ),
    "Synth lead": (
        "Square lead", "Sawtooth lead", "Calliope lead", "Chiff lead", "Charang lead", "Voice lead", "Fifths lead",
        "Bass and lead",
    ),
    "Synth pad": (
        "New age pad", "Warm pad", "Polysynth pad", "Choir pad", "Bowed pad", "Metallic pad", "Halo pad", "Sweep pad",
    ),
    "Synth effects": (
        "Rain", "Soundtrack", "Crystal", "Atmosphere", "Brightness", "Goblins", "Echoes", "Sci-fi",
    ),
    "Ethnic": (
        "Sitar", "Banjo", "Shamisen", "Koto", "Kalimba", "Bagpipe", "Fiddle", "Shanai",
    ),
    "Percussive": (
        "Tinkle bell", "Agogo", "Steel drums", "Woodblock", "Taiko drum", "Melodic tom", "Synth drum",
        "Reverse cymbal",
    ),
    "Sound effects": (
        "Guitar fret noise", "Breath noise", "Seashore", "Bird tweet", "Telephone ring", "Helicopter", "Applause",
        "Gunshot",
    ),
}  # fmt: skip
NAMES: Final = tuple(name for family in FAMILIES.values() for name in family)
