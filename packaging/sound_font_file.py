"""The bytes of an .sf2 file (SoundFont 2.01) from samples, zones and voices. Knows the format, not the music."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Wave = NDArray[np.float64]

# Generators of the SoundFont 2.01 specification, section 8.1.2, as far as they are used here.
FILTER, CHORUS, REVERB, PAN = 8, 15, 16, 17
ATTACK, HOLD, DECAY, SUSTAIN, RELEASE = 34, 35, 36, 37, 38
INSTRUMENT, KEYS, ATTENUATION, SAMPLE, LOOPS, EXCLUSIVE, ROOT = 41, 43, 48, 53, 54, 57, 58


@dataclass(frozen=True)
class Sample:
    """A mono wave and where it loops (frames); `root` is the key that plays it unchanged."""

    name: str
    wave: Wave
    rate: int
    root: int
    loop: tuple[int, int] | None = None
    peak: float = 0.8  # of full scale


@dataclass(frozen=True)
class Zone:
    """Keys that play a sample, and how: generators by number, in the units of the specification."""

    sample: Sample
    keys: tuple[int, int]
    generators: dict[int, int] = field(default_factory=dict)
    brightness: int = 0  # cents by which the softest touch closes the filter


@dataclass(frozen=True)
class Voice:
    """An instrument: zones that share an envelope."""

    name: str
    zones: Sequence[Zone]


SOFT_TOUCH = 0x0102  # modulator source: velocity, falling, unipolar, linear
GUARD = 46  # zeros the specification wants after each sample


def chunk(name: bytes, data: bytes) -> bytes:
    """One RIFF chunk, padded to an even length."""
    return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def listing(name: bytes, *chunks: bytes) -> bytes:
    """Return a LIST chunk of chunks."""
    return chunk(b"LIST", name + b"".join(chunks))


def label(text: str) -> bytes:
    """Twenty bytes of name."""
    return text.encode("ascii")[:19].ljust(20, b"\0")


def pcm(sample: Sample) -> bytes:
    """16-bit samples."""
    return np.round(sample.wave / np.abs(sample.wave).max() * sample.peak * 32767).astype("<i2").tobytes()


def zone_generators(zone: Zone, number: int) -> list[tuple[int, bytes]]:
    """(generator, amount) in the order the specification wants: keys first, sample last."""
    amounts = [(KEYS, bytes(zone.keys))]
    settings = {ROOT: zone.sample.root, LOOPS: int(zone.sample.loop is not None)} | zone.generators
    amounts += [(generator, struct.pack("<h", amount)) for generator, amount in sorted(settings.items())]
    return [*amounts, (SAMPLE, struct.pack("<H", number))]


def build(voices: Sequence[Voice], presets: Sequence[tuple[int, int, str]], about: dict[bytes, bytes]) -> bytes:
    """The whole font: voices, (bank, program, voice name) of each preset, and INFO texts."""
    samples = list({id(zone.sample): zone.sample for v in voices for zone in v.zones}.values())
    data, headers = sample_chunks(samples)
    info = [chunk(b"ifil", struct.pack("<HH", 2, 1))]
    info += [chunk(name, text + b"\0" * (2 - len(text) % 2)) for name, text in about.items()]
    records = [
        *preset_chunks([v.name for v in voices], presets),
        *instrument_chunks(voices, {id(sample): i for i, sample in enumerate(samples)}),
        chunk(b"shdr", headers),
    ]
    body = listing(b"INFO", *info) + listing(b"sdta", chunk(b"smpl", data)) + listing(b"pdta", *records)
    return chunk(b"RIFF", b"sfbk" + body)


def sample_chunks(samples: Sequence[Sample]) -> tuple[bytes, bytes]:
    """All samples one after another, and the headers that say where each is."""
    data, headers = b"", b""
    for sample in samples:
        start = len(data) // 2
        data += pcm(sample) + b"\0" * (2 * GUARD)
        first, last = sample.loop or (0, len(sample.wave))
        places = (start, start + len(sample.wave), start + first, start + last)
        headers += label(sample.name) + struct.pack("<5IBbHH", *places, sample.rate, sample.root, 0, 0, 1)
    return data, headers + label("EOS") + bytes(26)


def instrument_chunks(voices: Sequence[Voice], numbers: dict[int, int]) -> list[bytes]:
    """One instrument per voice; `numbers` gives each sample's place by its id()."""
    inst, ibag, imod, igen = b"", b"", b"", b""
    bags = 0
    for v in voices:
        inst += label(v.name) + struct.pack("<H", bags)
        for zone in v.zones:
            ibag += struct.pack("<HH", len(igen) // 4, len(imod) // 10)
            bags += 1
            for generator, amount in zone_generators(zone, numbers[id(zone.sample)]):
                igen += struct.pack("<H", generator) + amount
            if zone.brightness:
                imod += struct.pack("<HHhHH", SOFT_TOUCH, FILTER, -zone.brightness, 0, 0)
    inst += label("EOI") + struct.pack("<H", bags)
    ibag += struct.pack("<HH", len(igen) // 4, len(imod) // 10)
    ends = {b"inst": inst, b"ibag": ibag, b"imod": imod + bytes(10), b"igen": igen + bytes(4)}
    return [chunk(name, data) for name, data in ends.items()]


def preset_chunks(names: Sequence[str], presets: Sequence[tuple[int, int, str]]) -> list[bytes]:
    """One preset per program, each of one instrument."""
    phdr, pbag, pgen = b"", b"", b""
    for i, (bank, program, name) in enumerate(presets):
        phdr += label(name) + struct.pack("<HHHIII", program, bank, i, 0, 0, 0)
        pbag += struct.pack("<HH", i, 0)
        pgen += struct.pack("<HH", INSTRUMENT, names.index(name))
    phdr += label("EOP") + struct.pack("<HHHIII", 0, 0, len(presets), 0, 0, 0)
    pbag += struct.pack("<HH", len(presets), 0)
    ends = {b"phdr": phdr, b"pbag": pbag, b"pmod": bytes(10), b"pgen": pgen + bytes(4)}
    return [chunk(name, data) for name, data in ends.items()]
