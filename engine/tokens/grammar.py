"""What may follow what among the 774 tokens: exactly the streams `engine.tokens.codec.encode` can write.

A `Grammar` walks along one stream; its mask, laid over a model's logits, leaves nothing the encoder never writes.
It knows no model and no music beyond the order of tokens.

    stream = START TEMPO tick-rest (TIME_SHIFT+ tick)* END        all notes released before END
    tick   = [TEMPO] part*                                         parts in ascending order, not empty
    part   = [INSTRUMENT] NOTE_OFF* SUSTAIN* (note-on)*            not empty; pitches ascending in both runs
    note-on = [VELOCITY_CHANGE] NOTE_ON [NOTE_OFF]                 the off: of a note without length
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from engine.tokens.vocab import FAMILIES, PARTS, PITCHES, SIZE

_PAD, _START, _END, _UNK = (FAMILIES[name].first for name in ("PAD", "START", "END", "UNK"))
_ON, _OFF, _SHIFT, _VELOCITY, _SUSTAIN, _TEMPO, _INSTRUMENT = (
    FAMILIES[name]
    for name in ("NOTE_ON", "NOTE_OFF", "TIME_SHIFT", "VELOCITY_CHANGE", "SUSTAIN", "TEMPO", "INSTRUMENT")
)
_LONGEST = _SHIFT.ids[-1]
_OFFS, _PEDALS, _ONS = range(3)  # where in a part of a tick the stream stands
_NAME_OF = np.repeat(np.array(list(FAMILIES)), [len(f.ids) for f in FAMILIES.values()])


class Grammar:
    """The state after some tokens; `mask` says what may come next, `advance` takes it."""

    def __init__(self) -> None:
        self.last = -1  # the token before; -1: none yet
        self.tempo = self.velocity = self.part = -1  # values in force; -1: none yet
        self.pedal = np.zeros(len(PARTS), np.int64)
        self.held = np.zeros((len(PARTS), len(PITCHES)), np.int64)  # sounding notes that began in earlier ticks
        self.begun = np.zeros_like(self.held)  # sounding notes that began in this tick
        self.clocks = 0  # since START
        self._begin_tick()

    def _begin_tick(self) -> None:
        self.held += self.begun
        self.begun[:] = 0
        self.lowest_part = 0  # parts below have had their turn in this tick
        self.in_part = False  # whether the part in force has said anything in this tick
        self._begin_part()

    def _begin_part(self) -> None:
        self.stage = _OFFS
        self.pitch = 0  # index of the last pitch in this stage

    @property
    def ended(self) -> bool:
        """Whether END has been taken."""
        return self.last == _END

    @property
    def strikes(self) -> bool:
        """Whether the part in force has begun to strike keys in this tick: `pitch` is the last of them."""
        return self.stage == _ONS

    def mask(self) -> NDArray[np.bool_]:
        """(774,) True for every token that may come next; after END only PAD may."""
        allowed = np.zeros(SIZE, bool)
        before = _NAME_OF[self.last] if self.last >= 0 else ""
        if before in ("", "START", "END", "PAD"):
            start = {"": [_START], "START": _TEMPO.ids, "END": [_PAD], "PAD": [_PAD]}[str(before)]
            allowed[start] = True
            return allowed
        if before == "VELOCITY_CHANGE":
            self._allow_ons(allowed)
            return allowed
        if before == "INSTRUMENT":
            self._allow_part(allowed)
            return allowed
        if before == "TIME_SHIFT":
            allowed[_TEMPO.ids] = True
            allowed[_TEMPO.first + self.tempo] = False
            allowed[_SHIFT.ids] = self.last == _LONGEST
        else:
            allowed[_SHIFT.ids] = True
            allowed[_END] = not (self.held.any() or self.begun.any())
        self._allow_instruments(allowed)
        if self.part >= self.lowest_part:
            self._allow_part(allowed)
        return allowed

    def _allow_instruments(self, allowed: NDArray[np.bool_]) -> None:
        """Parts that still come in this tick, save the one in force."""
        first = self.part + 1 if self.in_part else self.lowest_part
        allowed[_INSTRUMENT.first + first : _INSTRUMENT.ids.stop] = True
        if self.part >= 0:
            allowed[_INSTRUMENT.first + self.part] = False

    def _allow_part(self, allowed: NDArray[np.bool_]) -> None:
        """What the part in force may say at this stage of the tick."""
        held = self.held[self.part]
        if self.stage == _OFFS:
            allowed[_OFF.first + self.pitch : _OFF.ids.stop] = held[self.pitch :] > 0
        if self.stage <= _PEDALS:
            allowed[_SUSTAIN.first + 1 - self.pedal[self.part]] = True
        allowed[_VELOCITY.ids] = True
        if self.velocity >= 0:
            allowed[_VELOCITY.first + self.velocity] = False
            self._allow_ons(allowed)
        if self.stage == _ONS and self.last in _ON.ids:
            silent = held[self.pitch] == 0 and self.begun[self.part, self.pitch] == 1
            allowed[_OFF.first + self.pitch] = silent

    def _allow_ons(self, allowed: NDArray[np.bool_]) -> None:
        allowed[_ON.first + (self.pitch if self.stage == _ONS else 0) : _ON.ids.stop] = True

    def advance(self, token: int) -> None:
        """Take one token, which the mask must allow (it is not checked here)."""
        if token in _SHIFT.ids:
            self.clocks += _SHIFT.value(token)
            if self.last not in _SHIFT.ids:
                self._begin_tick()
        elif token in _TEMPO.ids:
            self.tempo = _TEMPO.value(token)
        elif token in _VELOCITY.ids:
            self.velocity = _VELOCITY.value(token)
        elif token in _INSTRUMENT.ids:
            self.part = self.lowest_part = _INSTRUMENT.value(token)
            self.in_part = True
            self._begin_part()
        elif token in _SUSTAIN.ids:
            self._speak(_PEDALS, 0)
            self.pedal[self.part] = _SUSTAIN.value(token)
        elif token in _ON.ids:
            self._speak(_ONS, token - _ON.first)
            self.begun[self.part, self.pitch] += 1
        elif token in _OFF.ids:
            if self.stage == _ONS:
                self.begun[self.part, self.pitch] -= 1
            else:
                self._speak(_OFFS, token - _OFF.first)
                self.held[self.part, self.pitch] -= 1
        self.last = token

    def _speak(self, stage: int, pitch: int) -> None:
        """The part in force says something: lower parts have missed their turn."""
        self.stage, self.pitch = stage, pitch
        self.lowest_part, self.in_part = self.part, True


def first_error(ids: Iterable[int]) -> int | None:
    """Index of the first token the encoder could not have written there, the length if END is missing, else None."""
    grammar, i = Grammar(), -1
    for i, token in enumerate(ids):
        if not (0 <= token < SIZE and grammar.mask()[token]):
            return i
        grammar.advance(int(token))
    return None if grammar.ended or grammar.last == _PAD else i + 1
