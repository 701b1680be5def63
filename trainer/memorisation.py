"""How much music has in common with other music, note by note: the longest run of (interval, duration) they share.

Music is read as lines, one note at a time: the top line of all parts together, and that of every part. A step of a
line is the interval to its next note in semitones and the time until then in 16ths, rounded. So a run counts as the
same when it is transposed, played louder, more staccato or up to half a 16th early; one note more or less ends it. What
all music of a style has in common is for the comparison with held-out pieces to find out. Knows no model.

S steps of all lines of all pieces, one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu

from engine.score.timing import CLOCKS_PER_QUARTER

SIXTEENTH = CLOCKS_PER_QUARTER // 4  # clocks
LONGEST_STEP = 32  # 16ths: longer ones are as long as this
INTERVALS = 256  # more than there are
BASE = 0xD1342543DE82EF95  # odd, so that it has an inverse modulo 2^64
TABLE_BITS = 22
SHORTEST_LINE = 3  # notes: fewer are no line

Steps = NDArray[np.int64]  # of one line


@dataclass(frozen=True, slots=True)
class Shared:
    """The longest run of one piece that the reference holds too. All zeros where they share nothing."""

    steps: int = 0  # one less than the notes of the run
    line: int = 0  # of the piece's lines
    at: int = 0  # step of that line at which the run begins
    reference: int = 0  # which piece of the reference holds it


def lines(notes: NDArray[np.void], clocks: NDArray[np.int64]) -> list[Steps]:
    """The lines of some bars (BAR_NOTE, bars numbered from 0; clocks (N,) is the length of each): all parts' first."""
    starts = np.concatenate([[0], np.cumsum(clocks)[:-1]])
    at = starts[notes["bar"]] + notes["onset"]
    parts = np.unique(notes["part"])
    chosen = [np.ones(len(notes), bool), *((notes["part"] == p for p in parts) if len(parts) > 1 else ())]
    found = [_line(at[mine], notes["pitch"][mine].astype(np.int64)) for mine in chosen]
    return [line for line in found if len(line) >= SHORTEST_LINE - 1]


def _line(at: NDArray[np.int64], pitch: NDArray[np.int64]) -> Steps:
    """Steps of the highest notes, where onsets in the same 16th are one."""
    slot = (at + SIXTEENTH // 2) // SIXTEENTH
    order = np.lexsort((-pitch, slot))
    slot, pitch = slot[order], pitch[order]
    top = np.ones(len(slot), bool)
    top[1:] = slot[1:] != slot[:-1]
    slot, pitch = slot[top], pitch[top]
    steps: Steps = np.diff(pitch) + INTERVALS // 2 + INTERVALS * np.diff(slot).clip(max=LONGEST_STEP)
    return steps


@dataclass(frozen=True, slots=True, eq=False)
class _Text:
    """The steps of many pieces in one row, hashed so that any window's hash is a difference.

    The hash of a window is the sum of its symbols' random numbers times powers of an odd base, all modulo 2^64.
    """

    steps: NDArray[np.int64]  # (S,)
    piece: NDArray[np.int64]  # (S,) whose step it is
    line: NDArray[np.int64]  # (S,) which of its lines
    sums: NDArray[np.uint64]  # (S + 1,) of random numbers times powers of BASE
    inverse: NDArray[np.uint64]  # (S,) 1 over the powers
    ends: NDArray[np.int64]  # (S,) where the line of a step ends

    @classmethod
    def of(cls, pieces: Sequence[Sequence[Steps]]) -> _Text:
        """Of each piece its lines."""
        every = [(i, k, line) for i, piece in enumerate(pieces) for k, line in enumerate(piece)]
        lengths = np.array([len(line) for _, _, line in every], np.int64)
        steps = np.concatenate([line for _, _, line in every]) if every else np.zeros(0, np.int64)
        piece, line = (np.repeat(np.array([e[i] for e in every], np.int64), lengths) for i in (0, 1))
        powers = _powers(BASE, len(steps))
        sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(_random(steps) * powers, dtype=np.uint64)])
        inverse = _powers(pow(BASE, -1, 1 << 64), len(steps))
        return cls(steps, piece, line, sums, inverse, np.repeat(np.cumsum(lengths), lengths))

    def windows(self, length: int, pieces: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
        """Where windows of a length begin that lie within one line."""
        at = np.arange(len(self.steps))
        fits = at + length <= self.ends
        return at[fits if pieces is None else fits & pieces[self.piece]]

    def hashes(self, at: NDArray[np.int64], length: int) -> NDArray[np.uint64]:
        """Of the windows that begin there; the same for the same steps wherever they are."""
        out: NDArray[np.uint64] = (self.sums[at + length] - self.sums[at]) * self.inverse[at]
        return out


def longest_shared_run(pieces: Sequence[Sequence[Steps]], reference: Sequence[Sequence[Steps]]) -> list[Shared]:
    """Of each piece (its lines), the longest run that a line of some piece of the reference holds as well.

    By bisection on the length, for all pieces together: hashes of all windows of one length of the reference are
    looked up among those of the pieces (Karp and Rabin 1987). What they find is compared step by step: a run is there.
    """
    asked, known = _Text.of(pieces), _Text.of(reference)
    found = [Shared() for _ in pieces]
    longest = max((len(line) for piece in pieces for line in piece), default=0)
    bit = 1 << max(longest.bit_length() - 1, 0)
    while bit:
        wanted = np.array([shared.steps + bit for shared in found], np.int64)
        for length in np.unique(wanted).tolist():
            for piece, shared in _having(asked, known, length, wanted == length).items():
                found[piece] = shared
        bit //= 2
    return found


def _having(asked: _Text, known: _Text, length: int, pieces: NDArray[np.bool_]) -> dict[int, Shared]:
    """The pieces asked about that share a run of a length with the reference, and where."""
    mine = asked.windows(length, pieces)
    wanted = asked.hashes(mine, length)
    wanted, first = np.unique(wanted, return_inverse=True)
    seen = np.zeros(1 << TABLE_BITS, bool)  # most windows of the reference are none: this tells without a search
    seen[wanted >> np.uint64(64 - TABLE_BITS)] = True
    theirs = known.windows(length)
    hashes = known.hashes(theirs, length)
    near = seen[hashes >> np.uint64(64 - TABLE_BITS)]
    theirs, hashes = theirs[near], hashes[near]
    place = np.full(len(wanted), -1)
    at = np.searchsorted(wanted, hashes).clip(max=max(len(wanted) - 1, 0))
    hits = wanted[at] == hashes if len(wanted) else np.zeros(0, bool)
    place[at[hits]] = theirs[hits]
    out: dict[int, Shared] = {}
    for start, other in zip(mine.tolist(), place[first].tolist(), strict=True):
        piece = int(asked.piece[start])
        if other < 0 or piece in out:
            continue
        if np.array_equal(asked.steps[start : start + length], known.steps[other : other + length]):
            line = int(asked.line[start])
            begins = int(np.searchsorted(asked.ends, asked.ends[start], side="left"))
            out[piece] = Shared(length, line, start - begins, int(known.piece[other]))
    return out


def _random(symbols: NDArray[np.int64]) -> NDArray[np.uint64]:
    """A number of 64 bits for every symbol, as splitmix64 mixes it (Steele et al. 2014)."""
    x = symbols.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    out: NDArray[np.uint64] = x ^ (x >> np.uint64(31))
    return out


def _powers(base: int, count: int) -> NDArray[np.uint64]:
    """(count,) 1, base, base squared, ... modulo 2^64."""
    factors = np.full(count, base, np.uint64)
    factors[:1] = 1
    out: NDArray[np.uint64] = np.cumprod(factors)
    return out


# ---------------------------------------------------------------- the meter

LIMIT = 0.01  # probability that held-out music would share as much by chance
MARGIN = 1.5  # how much longer the median run must be besides


@dataclass(frozen=True, slots=True)
class Memorised:
    """Runs that new music shares with what was learned, beside those that music not learned shares with it, in notes.

    `flagged` where new music shares more than chance lets it (one-sided Mann-Whitney) and by MARGIN in the median.
    """

    made: tuple[int, ...]
    held_out: tuple[int, ...]
    p: float

    @property
    def flagged(self) -> bool:
        """Whether new music repeats what was learned."""
        return self.p < LIMIT and float(np.median(self.made)) >= MARGIN * max(float(np.median(self.held_out)), 1)

    def facts(self) -> dict[str, Any]:
        """For a run's result."""
        sides = {"made": self.made, "held_out": self.held_out}
        middle = {f"{name}_median": float(np.median(runs)) for name, runs in sides.items()}
        longest = {f"{name}_longest": max(runs) for name, runs in sides.items()}
        return {**middle, **longest, "windows": len(self.made), "p": self.p, "flagged": self.flagged}

    def words(self) -> str:
        """The same as one sentence."""
        made, held = (f"{np.median(runs):.0f} notes (at most {max(runs)})" for runs in (self.made, self.held_out))
        if self.flagged:
            return (
                f"New music repeats the music learned: runs of {made} are note for note from it, where held-out music "
                f"shares {held}. Train for fewer steps, or on more music."
            )
        return (
            f"New music shares runs of {made} with the music learned, held-out music {held}: it repeats no more than "
            "is usual."
        )


def memorised(
    made: Sequence[Sequence[Steps]], held_out: Sequence[Sequence[Steps]], reference: Sequence[Sequence[Steps]]
) -> Memorised | None:
    """The meter's verdict on new music; None where there is nothing to compare. Both should be as long."""
    new, other = (runs_of(music, reference) for music in (made, held_out))
    return against(new, other)


def against(made: Sequence[int], held_out: Sequence[int]) -> Memorised | None:
    """The same of runs already measured."""
    if not made or not held_out:
        return None
    p = float(mannwhitneyu(made, held_out, alternative="greater").pvalue)
    return Memorised(tuple(made), tuple(held_out), p)


def runs_of(music: Sequence[Sequence[Steps]], reference: Sequence[Sequence[Steps]]) -> list[int]:
    """Notes of the longest run that each piece shares with the reference; pieces without a line are left out."""
    heard = [piece for piece in music if piece]
    return [run.steps + 1 if run.steps else 0 for run in longest_shared_run(heard, reference)]
