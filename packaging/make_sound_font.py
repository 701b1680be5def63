"""Synthesise assets/sounds/morphony.sf2: a small General MIDI font of our own, from nothing but arithmetic.

    python packaging/make_sound_font.py [OUT.sf2]

A few voices, each a handful of looped samples; every one of the 128 programs is mapped to the nearest voice. Samples
are sums of partials whose frequencies are multiples of 1 / (loop length), so that a loop closes without a seam. What
decays does so in the font's volume envelope; what brightens with the touch, in its filter. The result is the same,
byte for byte, on every run. Needs numpy only.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from sound_font_file import (
    ATTACK,
    ATTENUATION,
    CHORUS,
    DECAY,
    EXCLUSIVE,
    FILTER,
    HOLD,
    PAN,
    RELEASE,
    REVERB,
    ROOT,
    SUSTAIN,
    Sample,
    Voice,
    Wave,
    Zone,
    build,
)

Partials = Callable[[float, float], Iterable[tuple[float, float, float]]]
OUT = Path(__file__).resolve().parent.parent / "assets" / "sounds" / "morphony.sf2"


def timecents(seconds: float) -> int:
    """Seconds in the unit of envelopes."""
    return round(1200 * np.log2(max(seconds, 0.001)))


def cents(hertz: float) -> int:
    """Hertz in the unit of filters."""
    return round(1200 * np.log2(hertz / 8.176))


def envelope(
    attack: float = 0.001, decay: float = 1.0, sustain_db: float = 0.0, release: float = 0.2, hold: float = 0.0
) -> dict[int, int]:
    """Volume envelope: seconds, and the level it decays to in dB below full. `decay` is the time for 100 dB."""
    return {
        ATTACK: timecents(attack),
        HOLD: timecents(hold),
        DECAY: timecents(decay),
        SUSTAIN: round(10 * sustain_db),
        RELEASE: timecents(release),
    }


# ---------------------------------------------------------------- tones


def frequency(key: int) -> float:
    """Equal temperament, A4 = 440 Hz."""
    return float(440 * 2 ** ((key - 69) / 12))


def looped(
    name: str,
    root: int,
    rate: int,
    seconds: float,
    lead: float,
    partials: Partials,
    noise: Callable[[Wave], Wave] | None = None,
    peak: float = 0.8,
) -> Sample:
    """A sample of `lead` seconds and a loop of about `seconds`, both of the same partials.

    `partials(f0, top)` yields (frequency, level, seconds to fall by 60 dB in the lead). Frequencies are moved to the
    nearest that fits the loop a whole number of times; the loop is as long as fits f0, so f0 does not move.
    """
    f0 = frequency(root)
    turns = max(round(seconds * f0), 1)
    length = round(turns * rate / f0)
    rate_exact = length * f0 / turns  # the rate at which f0 fits exactly; the difference is a fraction of a cent
    start = round(lead * rate)
    t = np.arange(start + length) / rate_exact
    held = np.minimum(t, start / rate_exact)  # levels stand still in the loop
    rng = np.random.default_rng(root)
    wave = np.zeros_like(t)
    for hertz, level, fall in partials(f0, rate_exact * 0.45):
        fitted = max(round(hertz * turns / f0), 1) * f0 / turns
        phase = rng.uniform(0, 2 * np.pi)
        wave += level * 10 ** (-3 * held / fall) * np.sin(2 * np.pi * fitted * t + phase)
    if start:  # begin at zero within a third of a millisecond: immediate, and no click
        wave[: rate // 3000] *= np.linspace(0, 1, rate // 3000)
    if noise is not None and start:
        wave[:start] += noise(t[:start])
    return Sample(name, wave, rate, root, (start, start + length), peak)


def spread(roots: Sequence[int], low: int = 0, high: int = 127) -> list[tuple[int, tuple[int, int]]]:
    """Give each root key the keys around it, halfway to its neighbours."""
    edges = [low, *((a + b) // 2 + 1 for a, b in pairwise(roots)), high + 1]
    return [(root, (edges[i], edges[i + 1] - 1)) for i, root in enumerate(roots)]


FOREVER = 1e9


def struck(inharmonicity: float, roll: float, point: float) -> Partials:
    """Partials of a struck or plucked string: excited at `point` of its length, falling by 1 / n ** roll."""

    def partials(f0: float, top: float) -> Iterable[tuple[float, float, float]]:
        for n in range(1, 60):
            hertz = n * f0 * np.sqrt(1 + inharmonicity * n * n * f0 / 440)
            if hertz > min(top, 12_000):
                return
            level = abs(np.sin(np.pi * n * point)) / n**roll
            fall = 9.0 * (220 / f0) ** 0.4 / (1 + 0.55 * (n - 1))  # upper partials die sooner
            yield hertz, level, fall if n > 1 else FOREVER  # the first one is left to the envelope

    return partials


def ensemble(roll: float, width: float, formants: Sequence[tuple[float, float, float]] = ()) -> Partials:
    """Partials of many players: each harmonic is a narrow band of sines that beat like a section in chorus."""

    def partials(f0: float, top: float) -> Iterable[tuple[float, float, float]]:
        rng = np.random.default_rng(round(f0))
        for n in range(1, 60):
            if n * f0 > min(top, 9_000):
                return
            level = n**-roll
            if formants:
                level *= 0.02 + sum(gain * np.exp(-(((n * f0 - at) / wide) ** 2)) for at, wide, gain in formants)
            for shift in (-width, -width / 2, 0.0, width / 2, width):
                share = 1.0 if shift == 0 else rng.uniform(0.3, 0.7)  # the middle of the band is the pitch
                yield n * f0 * (1 + shift * rng.uniform(0.8, 1.2)), level * share, FOREVER

    return partials


def steady(levels: Callable[[int, float], float]) -> Partials:
    """Partials of one blown pipe or reed: level by (number, frequency)."""

    def partials(f0: float, top: float) -> Iterable[tuple[float, float, float]]:
        for n in range(1, 40):
            if n * f0 > min(top, 9_000):
                return
            yield n * f0, levels(n, n * f0), FOREVER

    return partials


def thump(level: float, hertz: float) -> Callable[[Wave], Wave]:
    """The knock of a hammer: noise that is gone in a hundredth of a second."""

    def noise(t: Wave) -> Wave:
        raw = np.random.default_rng(7).standard_normal(len(t))
        smooth = np.convolve(raw, np.hanning(round(1.5 / hertz / (t[1] - t[0]))), mode="same")
        return level * smooth / np.abs(smooth).max() * np.exp(-t / 0.008)

    return noise


# ---------------------------------------------------------------- the voices


def piano() -> Voice:
    """Hammered strings: eleven samples, each key's decay by its register, brighter with the touch."""
    zones = []
    for root, keys in spread([26, 33, 40, 47, 54, 61, 68, 75, 82, 90, 99]):
        lead = 0.4 if root < 60 else 0.32 if root < 80 else 0.2
        sample = looped(
            f"piano {root}", root, 32_000, 0.1 if root > 45 else 0.16, lead, struck(3e-4, 0.9, 0.12), thump(0.12, 900)
        )
        decay = 34 * 2 ** ((26 - root) / 17)  # seconds for 100 dB
        generators = envelope(0.001, decay, 100, 0.28 if root < 88 else 0.8)
        generators |= {FILTER: cents(11_000), REVERB: 120, PAN: round((root - 60) * 3)}
        zones.append(Zone(sample, keys, generators, brightness=4200))
    return Voice("Piano", zones)


def plucked(name: str, point: float, roll: float, seconds: float, roots: Sequence[int], bright: int = 3000) -> Voice:
    """Plucked strings and mallets."""
    zones = []
    for root, keys in spread(roots):
        sample = looped(f"{name} {root}", root, 22_050, 0.06, 0.22, struck(6e-5, roll, point), thump(0.06, 2000))
        decay = seconds * 2 ** ((50 - root) / 24)
        zones.append(Zone(sample, keys, envelope(0.001, decay, 100, 0.15) | {FILTER: cents(8000), REVERB: 120}, bright))
    return Voice(name, zones)


def bass() -> Voice:
    """A plucked bass string."""
    zones = []
    for root, keys in spread([28, 36, 45]):
        sample = looped(f"bass {root}", root, 16_000, 0.1, 0.35, struck(8e-5, 1.25, 0.2), thump(0.05, 700))
        zones.append(Zone(sample, keys, envelope(0.002, 16, 100, 0.12) | {FILTER: cents(3500)}, 3000))
    return Voice("Bass", zones)


def strings() -> Voice:
    """A string section."""
    zones = []
    for root, keys in spread([38, 48, 57, 66, 76]):
        sample = looped(f"strings {root}", root, 22_050, 0.55, 0.0, ensemble(1.0, 0.0045), peak=0.45)
        generators = envelope(0.025, 1, 0, 0.3) | {FILTER: cents(6500), REVERB: 250, CHORUS: 100}
        zones.append(Zone(sample, keys, generators, 2400))
    return Voice("Strings", zones)


def voice() -> Voice:
    """A choir on "ah": five formants that stay where they are while the pitch moves."""
    ah = ((700, 130, 1.0), (1080, 160, 0.6), (2650, 250, 0.25), (3300, 300, 0.2), (300, 200, 0.35))
    zones = []
    for root, keys in spread([45, 52, 59, 66, 73]):
        sample = looped(f"voice {root}", root, 22_050, 0.55, 0.0, ensemble(0.35, 0.006, ah), peak=0.45)
        zones.append(Zone(sample, keys, envelope(0.03, 1, 0, 0.35) | {REVERB: 300, CHORUS: 80}, 1200))
    return Voice("Voice", zones)


def blown(name: str, levels: Callable[[int, float], float], attack: float) -> Voice:
    """Organ, flute, reed and brass: one steady tone."""
    zones = []
    for root, keys in spread([48, 60, 72, 84]):
        sample = looped(f"{name} {root}", root, 22_050, 0.04, 0.0, steady(levels), peak=0.35)
        zones.append(Zone(sample, keys, envelope(attack, 1, 0, 0.12) | {FILTER: cents(8000), REVERB: 150}, 2000))
    return Voice(name, zones)


# ---------------------------------------------------------------- drums


def stroke(name: str) -> Sample:
    """One stroke: a wave of its own, faded to nothing at its end."""
    seconds, rate, peak, make = STROKES[name]
    t = np.arange(round(seconds * rate)) / rate
    wave = make(t, np.random.default_rng(len(name)))
    return Sample(name, wave * np.minimum(1, (seconds - t) / 0.02), rate, 60, peak=peak)


def dying(t: Wave, seconds: float) -> Wave:
    """1 at the stroke, 1/e after `seconds`."""
    return np.exp(-t / seconds)


def skin(t: Wave, high: float, low: float, fall: float, ring: float) -> Wave:
    """A drum's skin: a sine that falls from one frequency to another in about `fall` seconds and rings for `ring`."""
    return np.sin(2 * np.pi * np.cumsum(low + (high - low) * np.exp(-t / fall)) * (t[1] - t[0])) * dying(t, ring)


def hiss(t: Wave, rng: np.random.Generator, steps: int = 1) -> Wave:
    """Noise, brighter with every step."""
    noise = rng.standard_normal(len(t) + steps)
    for _ in range(steps):
        noise = np.diff(noise)
    return noise / np.abs(noise).max()


def metal(t: Wave, hertz: Sequence[float]) -> Wave:
    """Square-like tones that do not fit each other: a bell, a cymbal's body."""
    return sum((np.sign(np.sin(2 * np.pi * f * t)) for f in hertz), np.zeros_like(t)) / len(hertz)


CYMBAL = (2053, 3141, 3697, 4373, 5279, 6451)


def burst(t: Wave, rng: np.random.Generator, seconds: float) -> Wave:
    """The noise of a stroke."""
    return hiss(t, rng) * dying(t, seconds)


def hands(t: Wave) -> Wave:
    """Three hands that clap not quite together, and the room."""
    return dying(t % 0.011, 0.004) * (t < 0.033) + 0.8 * dying(t, 0.06)


# name -> (seconds, rate, peak, wave of (time, noise))
STROKES: dict[str, tuple[float, int, float, Callable[[Wave, np.random.Generator], Wave]]] = {
    "kick": (0.32, 16_000, 0.9, lambda t, r: skin(t, 170, 48, 0.03, 0.09) + 0.15 * burst(t, r, 0.003)),
    "snare": (0.26, 22_050, 0.8, lambda t, r: 0.5 * skin(t, 260, 185, 0.02, 0.05) + 1.0 * burst(t, r, 0.06)),
    "stick": (0.06, 22_050, 0.5, lambda t, r: skin(t, 1900, 1700, 0.01, 0.008) + 0.3 * burst(t, r, 0.004)),
    "clap": (0.22, 22_050, 0.6, lambda t, r: hiss(t, r) * hands(t)),
    "closed hat": (0.09, 32_000, 0.3, lambda t, r: (hiss(t, r, 2) + 0.4 * metal(t, CYMBAL)) * dying(t, 0.018)),
    "open hat": (0.4, 32_000, 0.3, lambda t, r: (hiss(t, r, 2) + 0.4 * metal(t, CYMBAL)) * dying(t, 0.12)),
    "crash": (1.0, 22_050, 0.45, lambda t, r: (hiss(t, r) + 0.2 * metal(t, CYMBAL)) * dying(t, 0.3)),
    "ride": (0.7, 22_050, 0.3, lambda t, r: (hiss(t, r, 2) + 0.7 * metal(t, CYMBAL)) * dying(t, 0.22)),
    "tom": (0.45, 16_000, 0.8, lambda t, r: skin(t, 190, 110, 0.05, 0.13) + 0.08 * burst(t, r, 0.01)),
    "bell": (0.3, 22_050, 0.35, lambda t, r: metal(t, (562, 845)) * dying(t, 0.07)),
    "shaker": (0.12, 22_050, 0.35, lambda t, r: hiss(t, r, 2) * np.minimum(t / 0.015, 1) * dying(t, 0.03)),
    "conga": (0.28, 16_000, 0.6, lambda t, r: skin(t, 330, 270, 0.01, 0.08) + 0.1 * burst(t, r, 0.004)),
}  # fmt: skip

# key -> (stroke, semitones, dB softer); the General MIDI percussion map
KIT: dict[int, tuple[str, int, int]] = {
    35: ("kick", -2, 0), 36: ("kick", 0, 0), 37: ("stick", 0, 4), 38: ("snare", 0, 0), 39: ("clap", 0, 3),
    40: ("snare", 3, 0), 41: ("tom", -7, 2), 42: ("closed hat", 0, 3), 43: ("tom", -4, 2), 44: ("closed hat", -3, 5),
    45: ("tom", -1, 2), 46: ("open hat", 0, 3), 47: ("tom", 2, 2), 48: ("tom", 5, 2), 49: ("crash", 0, 6),
    50: ("tom", 8, 2), 51: ("ride", 0, 4), 52: ("crash", -4, 7), 53: ("bell", 9, 9), 54: ("shaker", 4, 6),
    55: ("crash", 5, 7), 56: ("bell", 0, 8), 57: ("crash", 2, 6), 58: ("shaker", -9, 6), 59: ("ride", 2, 4),
    60: ("conga", 5, 3), 61: ("conga", 0, 3), 62: ("conga", 7, 4), 63: ("conga", 3, 3), 64: ("conga", -3, 3),
    65: ("tom", 14, 3), 66: ("tom", 9, 3), 67: ("bell", 12, 8), 68: ("bell", 7, 8), 69: ("shaker", -2, 7),
    70: ("shaker", 3, 7), 71: ("bell", 24, 12), 72: ("bell", 22, 12), 73: ("shaker", 7, 8), 74: ("shaker", -5, 6),
    75: ("stick", 4, 4), 76: ("stick", 0, 4), 77: ("stick", -6, 4), 78: ("conga", 9, 4), 79: ("conga", 2, 4),
    80: ("ride", 12, 14), 81: ("ride", 12, 9),
}  # fmt: skip
HATS = (42, 44, 46)  # the closed one stops the open one


def drums() -> Voice:
    """One kit; keys outside the map play the nearest stroke of it."""
    strokes = {name: stroke(name) for name in STROKES}
    zones = []
    for key in range(128):
        name, shift, softer = KIT[min(max(key, min(KIT)), max(KIT))]
        generators = envelope(0.001, 1, 0, 1.0) | {ROOT: key - shift, ATTENUATION: 10 * softer, REVERB: 80}
        generators |= {EXCLUSIVE: 1} if key in HATS else {}
        zones.append(Zone(strokes[name], (key, key), generators, 1800))
    return Voice("Drums", zones)


# ---------------------------------------------------------------- General MIDI

FAMILY = (  # of each eight programs of General MIDI
    "Piano", "Mallet", "Organ", "Guitar", "Bass", "Strings", "Strings", "Brass",
    "Reed", "Flute", "Reed", "Strings", "Voice", "Guitar", "Mallet", "Strings",
)  # fmt: skip
SINGLE = {  # programs that are nearer to another voice than their family is
    6: "Guitar", 7: "Guitar", 21: "Reed", 22: "Reed", 23: "Reed", 45: "Guitar", 46: "Guitar", 47: "Mallet",
    52: "Voice", 53: "Voice", 54: "Voice", 55: "Brass", 80: "Flute", 82: "Flute", 85: "Voice", 87: "Bass",
    91: "Voice", 96: "Strings", 98: "Mallet", 109: "Reed", 110: "Strings", 111: "Reed",
}  # fmt: skip


def program_voice(program: int) -> str:
    """Name of the voice nearest to a General MIDI program."""
    return SINGLE.get(program, FAMILY[program // 8])


def all_voices() -> list[Voice]:
    """Every voice of the font."""
    return [
        piano(),
        plucked("Mallet", 0.5, 2.2, 12, [48, 62, 76, 90]),
        plucked("Guitar", 0.18, 1.0, 14, [40, 49, 58, 67, 77]),
        bass(),
        strings(),
        voice(),
        blown("Organ", lambda n, f: {1: 1.0, 2: 0.8, 3: 0.4, 4: 0.45, 6: 0.2, 8: 0.25}.get(n, 0.0), 0.01),
        blown("Flute", lambda n, f: {1: 1.0, 2: 0.25, 3: 0.12, 4: 0.04}.get(n, 0.0), 0.025),
        blown("Reed", lambda n, f: (1.0 if n % 2 else 0.25) / n**0.9 * np.exp(-f / 4000), 0.02),
        blown("Brass", lambda n, f: n**-0.6 * np.exp(-(((f - 900) / 1500) ** 2)), 0.02),
        drums(),
    ]


def main() -> None:
    """Write the font and say how big it has become."""
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else OUT
    out.parent.mkdir(parents=True, exist_ok=True)
    presets = [(0, program, program_voice(program)) for program in range(128)]
    about = {b"isng": b"EMU8000", b"INAM": b"Morphony", b"ICOP": b"Apache-2.0", b"ISFT": b"make_sound_font.py"}
    out.write_bytes(build(all_voices(), [*presets, (128, 0, "Drums")], about))
    print(f"{out}: {out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
