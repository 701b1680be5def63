"""The 774 event tokens as one table. Every range anywhere in Morphony is read from here.

Ids are fixed for ever: a checkpoint and a file of ids outlive the program that wrote them.
"""

from __future__ import annotations

from dataclasses import dataclass

VERSION = 1


@dataclass(frozen=True, slots=True)
class Family:
    """A run of token ids: `first` is its first id; value v has id `first + v - values.start`."""

    name: str
    values: range  # what the tokens mean: pitches, clocks, bins
    first: int

    @property
    def ids(self) -> range:
        """The ids of the family."""
        return range(self.first, self.first + len(self.values))

    def id(self, value: int) -> int:
        """Token id of one value. Raises ValueError when the family has no such value."""
        return self.first + self.values.index(value)

    def value(self, token: int) -> int:
        """What a token id of this family means. Raises ValueError for an id of another family."""
        return self.values[self.ids.index(token)]


PITCHES = range(21, 109)  # the 88 keys of a piano
PARTS = range(16)

_LAYOUT = (
    ("PAD", range(1)),
    ("START", range(1)),
    ("END", range(1)),
    ("UNK", range(1)),
    ("NOTE_ON", PITCHES),
    ("NOTE_OFF", PITCHES),
    ("TIME_SHIFT", range(1, 513)),  # clocks, 1/24 of a quarter each
    ("VELOCITY_CHANGE", range(32)),  # bins of 4: velocity // 4
    ("SUSTAIN", range(2)),  # 0 up, 1 down
    ("TEMPO", range(32)),  # logarithmic bins, see TEMPO_BPM
    ("INSTRUMENT", PARTS),  # parts in track order; programs are kept beside the ids
)


def _lay_out() -> dict[str, Family]:
    table, first = {}, 0
    for name, values in _LAYOUT:
        table[name] = Family(name, values, first)
        first += len(values)
    return table


FAMILIES = _lay_out()
SIZE = sum(len(f.values) for f in FAMILIES.values())  # 774

VELOCITY_STEP = 4  # velocities a bin of VELOCITY_CHANGE covers
TEMPO_BPM = tuple(120 * 2 ** ((bin_ - 20) / 10) for bin_ in FAMILIES["TEMPO"].values)  # 30 to 257 in steps of 7.2 %
