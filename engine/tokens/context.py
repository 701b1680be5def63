"""The end of a long stream as a stream of its own: for callers who want a model to see less than everything.

Nothing here is ever done unasked. `head` says again what is in force where a stream is cut, so that a release finds
its note and a note its part and velocity. M tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.config import PHRASE_BARS
from engine.errors import MorphonyError
from engine.score.pairing import first_on_first_off
from engine.score.score import DEFAULT_TEMPO
from engine.tokens.codec import tempo_bins
from engine.tokens.vocab import FAMILIES, PARTS

Ids = NDArray[np.integer]


@dataclass(frozen=True, slots=True, eq=False)
class Stretch:
    """Some tokens with the clock and the bar of each: M of them."""

    ids: Ids
    clocks: NDArray[np.int64]
    bars: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ids)


Cut = Callable[[Stretch, int], Stretch]


@dataclass(frozen=True, slots=True)
class Strategy:
    """How to make a stretch at most so long; one that slides is asked again while new tokens are written."""

    cut: Cut
    slides: bool = False


REGISTRY: dict[str, Strategy] = {}


def register(name: str, slides: bool = False) -> Callable[[Cut], Cut]:
    """Add a strategy under a name callers can use."""

    def add(cut: Cut) -> Cut:
        REGISTRY[name] = Strategy(cut, slides)
        return cut

    return add


def named(name: str) -> Strategy:
    """The strategy of that name. Raises MorphonyError when nobody registered one."""
    if name not in REGISTRY:
        raise MorphonyError(f"There is no way to shorten a context called {name!r}; choose one of {sorted(REGISTRY)}.")
    return REGISTRY[name]


@register("sliding_window", slides=True)
@register("truncate")
def newest(stretch: Stretch, length: int) -> Stretch:
    """The newest tokens, cut where it falls."""
    keep = slice(max(len(stretch) - length, 0), None)
    return Stretch(stretch.ids[keep], stretch.clocks[keep], stretch.bars[keep])


@register("adaptive")
def from_a_bar(stretch: Stretch, length: int) -> Stretch:
    """From the first phrase on that fits, else from the first bar, behind a head; without any, the newest tokens."""
    if len(stretch) <= length:
        return stretch
    at = np.array(bar_starts(stretch.ids, stretch.bars), np.int64)
    at = at[at > len(stretch) - length]
    opens_phrase = stretch.bars[at] % PHRASE_BARS == 0
    for place in (*at[opens_phrase].tolist(), *at[~opens_phrase].tolist()):
        cut = behind_head(stretch, place)
        if len(cut) <= length:
            return cut
    return newest(stretch, length)


def bar_starts(ids: Ids, bars: NDArray[np.int64]) -> NDArray[np.int64]:
    """Index of the first token of every bar that is not a TIME_SHIFT: where a stream may be cut."""
    shift = FAMILIES["TIME_SHIFT"]
    said = np.flatnonzero((ids < shift.first) | (ids >= shift.ids.stop))
    out: NDArray[np.int64] = said[np.diff(bars[said], prepend=-1) != 0]
    return out


def behind_head(stretch: Stretch, at: int) -> Stretch:
    """The tokens from `at` on behind a head that stands at the moment of the first of them."""
    start = head(stretch.ids[:at])
    clocks = np.full(len(start), stretch.clocks[at])
    bars = np.full(len(start), stretch.bars[at])
    return Stretch(
        np.concatenate([start, stretch.ids[at:]]),
        np.concatenate([clocks, stretch.clocks[at:]]),
        np.concatenate([bars, stretch.bars[at:]]),
    )


def head(ids: Ids) -> NDArray[np.int16]:
    """START and what is in force after these tokens: tempo, pedals that are down, sounding notes, part, velocity."""
    tempo, part, velocity = (in_force(ids, name) for name in ("TEMPO", "INSTRUMENT", "VELOCITY_CHANGE"))
    now = {"TEMPO": _last(tempo), "INSTRUMENT": _last(part), "VELOCITY_CHANGE": _last(velocity)}
    if now["TEMPO"] < 0:
        now["TEMPO"] = int(tempo_bins(np.array([DEFAULT_TEMPO]))[0])
    said = [FAMILIES["START"].first, FAMILIES["TEMPO"].id(now["TEMPO"])]
    state = {"INSTRUMENT": -1, "VELOCITY_CHANGE": -1}

    def say(name: str, value: int) -> None:
        if state[name] != value >= 0:
            said.append(FAMILIES[name].id(value))
            state[name] = value

    on = _sounding(ids, part)
    down = _pedals(ids, part)
    for p in PARTS:
        notes = on[part[on] == p]
        if p in down or len(notes):
            say("INSTRUMENT", p)
        if p in down:
            said.append(FAMILIES["SUSTAIN"].id(1))
        for note in notes[np.argsort(ids[notes], kind="stable")].tolist():
            say("VELOCITY_CHANGE", int(velocity[note]))
            said.append(int(ids[note]))
    for name in state:
        say(name, now[name])
    return np.array(said, np.int16)


def in_force(ids: Ids, name: str) -> NDArray[np.int64]:
    """(M,) the newest value of a family at each token, counted from its first; -1 before any."""
    family = FAMILIES[name]
    found = (ids >= family.first) & (ids < family.ids.stop)
    newest_at = np.maximum.accumulate(np.where(found, np.arange(len(ids)), -1))
    return np.where(newest_at >= 0, ids[newest_at].astype(np.int64) - family.first, -1)


def _last(values: NDArray[np.int64]) -> int:
    return int(values[-1]) if len(values) else -1


def _sounding(ids: Ids, part: NDArray[np.int64]) -> NDArray[np.int64]:
    """Index of each NOTE_ON whose note has not been released."""
    on, off = FAMILIES["NOTE_ON"], FAMILIES["NOTE_OFF"]
    at = np.flatnonzero((ids >= on.first) & (ids < off.ids.stop))  # the two families stand side by side
    is_on = ids[at] < off.first
    pitch = ids[at].astype(np.int64) - np.where(is_on, on.first, off.first)
    release, _ = first_on_first_off(part[at] << 7 | pitch, is_on)
    return at[is_on & (release < 0)]


def _pedals(ids: Ids, part: NDArray[np.int64]) -> set[int]:
    """The parts whose pedal is down."""
    family = FAMILIES["SUSTAIN"]
    at = np.flatnonzero((ids >= family.first) & (ids < family.ids.stop))
    newest_of = dict(zip(part[at].tolist(), (ids[at] - family.first).tolist(), strict=True))
    return {p for p, down in newest_of.items() if down}
