"""New music event by event: sampling, beam search and continuation with the model of `transformer` mode.

A token the encoder would not write is never drawn: the grammar's mask lies over every vector of logits, and with it
what the stretch asked for leaves open. Knows tokens, bars and scores; of the model only `forward` and its cache.
B streams, M tokens, V = 774.
"""

from __future__ import annotations

import copy
from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.errors import MorphonyError
from engine.filters import filter_logits, probabilities
from engine.generation import blank_score
from engine.score import Score
from engine.score.score import Event, Meter, Tempo
from engine.score.timing import CLOCKS_PER_QUARTER, BarGrid
from engine.session import Session
from engine.tokens import context as contexts
from engine.tokens.bars import is_modelled, part_tracks
from engine.tokens.codec import Tokens, decode, encode, pedal_parts, to_clocks
from engine.tokens.grammar import Grammar
from engine.tokens.places import BarLines, Walk, clocks_of
from engine.tokens.vocab import FAMILIES, PARTS, SIZE

_START, _END = FAMILIES["START"].first, FAMILIES["END"].first
_SHIFT, _OFF, _ON, _INSTRUMENT = (FAMILIES[n] for n in ("TIME_SHIFT", "NOTE_OFF", "NOTE_ON", "INSTRUMENT"))
_LENGTHS = np.array(_SHIFT.values)
_SUSTAIN, _VELOCITY = FAMILIES["SUSTAIN"], FAMILIES["VELOCITY_CHANGE"]
KEEP = 0.75  # of a sliding context, when it slides


def _among(*names: str) -> NDArray[np.bool_]:
    """(V,) True for the tokens of these families."""
    out = np.zeros(SIZE, bool)
    for name in names:
        out[FAMILIES[name].ids] = True
    return out


_SPEECH = _among("NOTE_OFF", "SUSTAIN", "VELOCITY_CHANGE", "NOTE_ON")  # what a part may say
_ENTRY = _among("SUSTAIN", "VELOCITY_CHANGE", "NOTE_ON")  # what leads a new part to its first note
_RELEASE, _ENDING = _among("NOTE_OFF", "INSTRUMENT"), _among("END")  # all that comes on the last line


class Model(Protocol):
    """What is asked of a model: the logits (B, T, V) of the tokens after `ids` (B, T), at `places` (B, T, 3)."""

    def __call__(self, ids: Tensor, places: Tensor, cache: Any = None) -> Tensor:
        """Logits at t are about token t + 1."""
        ...

    def new_cache(self) -> list[Any]:
        """An empty cache: of each layer something that can `select` streams."""
        ...


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen: temperature 0 takes the likeliest.

    With `beams` above 1 nothing is drawn: of so many streams the one with the highest mean log-likelihood wins.
    """

    temperature: float = 1.0
    top_k: int = 0  # 0: all
    top_p: float = 1.0
    beams: int = 1
    context: str = ""  # a name in engine.tokens.context.REGISTRY; without one nothing is ever cut
    context_length: int = 0  # tokens

    def __post_init__(self) -> None:
        if not (self.temperature >= 0 and self.top_k >= 0 and 0 < self.top_p <= 1 and 1 <= self.beams <= 64):
            raise MorphonyError("Sampling needs temperature and top-k from 0, top-p above 0 to 1, and 1 to 64 beams.")
        if self.context:
            contexts.named(self.context)
            if self.context_length < 2:
                raise MorphonyError("A context that is to be cut needs a length of at least 2 tokens.")


@dataclass(frozen=True, slots=True, eq=False)
class BarsWritten:
    """Some bars that are finished in every stream, numbered as in the piece, and the first stream until now."""

    bars: tuple[int, ...]
    tokens: Tokens


class Stream:
    """One stream under way between two bar lines: what may come next, besides what the grammar says.

    Time jumps over neither line while notes sound; on each of them every note that sounds there is released first. END
    waits for the last bar. A part is heard as soon as it comes in, and parts come in by number. No part strikes a key
    twice in a tick or moves its pedal more than twice, so every tick comes to an end.
    """

    def __init__(self, prompt: NDArray[np.integer], lines: BarLines, bars: range, parts: int) -> None:
        self.grammar, self.ids, self.parts = Grammar(), prompt.tolist(), parts
        self.begin, self.last, self.end = (lines.start(b) for b in (bars.start, bars.stop - 1, bars.stop))
        self.heard = np.zeros(len(PARTS), bool)
        for token in self.ids:
            self._follow(token)

    @property
    def clock(self) -> int:
        """Where the stream stands."""
        return self.grammar.clocks

    @property
    def ended(self) -> bool:
        """Whether END has been written."""
        return self.grammar.ended

    def _follow(self, token: int) -> None:
        self.grammar.advance(token)
        if token in _ON.ids:
            self.heard[self.grammar.part] = True

    def take(self, token: int) -> None:
        """Write one token that `allowed` allows; after END nothing is written."""
        if not self.ended:
            self.ids.append(token)
            self._follow(token)

    def copy(self) -> Stream:
        """The same stream, to be continued in another way."""
        other = copy.copy(self)
        other.grammar, other.ids, other.heard = copy.deepcopy(self.grammar), list(self.ids), self.heard.copy()
        return other

    def allowed(self) -> NDArray[np.bool_]:
        """(V,) True for every token that may come next; never empty."""
        mask = self.grammar.mask()
        if not self.ended:
            self._keep_time(mask)
            self._keep_parts(mask)
            self._keep_short(mask)
            if self.clock in (self.begin, self.end) and self.grammar.held.any():
                self._release(mask)
        return mask

    def _keep_time(self, mask: NDArray[np.bool_]) -> None:
        sounds = bool(self.grammar.held.any() or self.grammar.begun.any())
        reached = self.clock + _LENGTHS
        fits = reached < self.end + sounds
        if self.clock < self.begin:
            enough = reached == self.begin if sounds else reached >= self.begin
            mask[: _SHIFT.first] = mask[_SHIFT.ids.stop :] = False
            fits &= enough if enough.any() else np.arange(len(_LENGTHS)) == len(_LENGTHS) - 1
        mask[_SHIFT.ids] &= fits
        mask[_END] &= self.clock >= self.last

    def _keep_parts(self, mask: NDArray[np.bool_]) -> None:
        known = self.heard.copy()
        known[: self.parts] |= np.arange(self.parts) == np.argmin(self.heard)
        mask[_INSTRUMENT.ids] &= known
        if self.grammar.in_part and not self.heard[self.grammar.part] and self.clock >= self.begin:
            mask &= _ENTRY

    def _keep_short(self, mask: NDArray[np.bool_]) -> None:
        if self.clock == self.end:
            mask &= _RELEASE if self.grammar.held.any() else _ENDING
        if self.grammar.strikes:
            mask[_ON.first : _ON.first + self.grammar.pitch + 1] = False
            mask[_VELOCITY.ids] &= mask[_ON.ids].any()
        if len(self.ids) > 1 and self.ids[-1] in _SUSTAIN.ids and self.ids[-2] in _SUSTAIN.ids:
            mask[_SUSTAIN.ids] = False

    def _release(self, mask: NDArray[np.bool_]) -> None:
        """Only what leads to the lowest note of the lowest part that sounds, or comes before it in the order."""
        due, pitch = (int(i) for i in np.argwhere(self.grammar.held)[0])
        mask[_SHIFT.ids] = False
        mask[_INSTRUMENT.first + due + 1 : _INSTRUMENT.ids.stop] = False
        if self.clock == self.end:
            mask[_INSTRUMENT.first : _INSTRUMENT.first + due] = False
        if self.grammar.part >= due:
            mask &= ~_SPEECH | (np.arange(len(mask)) == _OFF.first + pitch)
        if self.grammar.part > due:
            mask[_OFF.ids] = False


class Reader:
    """The model with its cache, B streams side by side: tokens in, the logits of the next ones out."""

    def __init__(self, model: Model, lines: BarLines, sampling: Sampling, device: torch.device) -> None:
        self.model, self.lines, self.device = model, lines, device
        self.strategy = contexts.named(sampling.context) if sampling.context else None
        self.length, self.cache = sampling.context_length, model.new_cache()

    def begin(self, prompt: NDArray[np.integer], streams: int) -> NDArray[np.float32]:
        """(B, V) after a prompt that all streams share."""
        clocks = clocks_of(prompt)
        stretch = contexts.Stretch(prompt, clocks, self.lines.bar_of(clocks))
        if self.strategy is not None:
            stretch = self.strategy.cut(stretch, self.length)
        self.ids = np.tile(stretch.ids.astype(np.int64), (streams, 1))
        self.places = np.tile(self.lines.at(stretch.clocks), (streams, 1, 1))
        self.walk = Walk(self.lines, np.full(streams, clocks[-1]))
        return self._refill()

    def next(self, tokens: NDArray[np.int64], parents: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        """(B, V) after one more token (B,) each; `parents` (B,) says which stream each one continues."""
        if parents is not None:
            self.ids, self.places = self.ids[parents], self.places[parents]
            self.walk = Walk(self.lines, self.walk.clocks[parents])
            rows = torch.from_numpy(parents).to(self.device)
            self.cache = [layer.select(rows) for layer in self.cache]
        self.ids = np.append(self.ids, tokens[:, None], 1)
        self.places = np.append(self.places, self.walk.advance(tokens)[:, None], 1)
        if self.strategy is not None and self.strategy.slides and self.ids.shape[1] > self.length:
            keep = max(int(self.length * KEEP), 1)
            self.ids, self.places = self.ids[:, -keep:], self.places[:, -keep:]
            return self._refill()
        return self._forward(self.ids[:, -1:], self.places[:, -1:])

    def _refill(self) -> NDArray[np.float32]:
        self.cache = self.model.new_cache()
        return self._forward(self.ids, self.places)

    @torch.no_grad()
    def _forward(self, ids: NDArray[np.int64], places: NDArray[np.int64]) -> NDArray[np.float32]:
        here = self.device
        logits = self.model(torch.from_numpy(ids).to(here), torch.from_numpy(places).to(here), self.cache)
        out: NDArray[np.float32] = logits[:, -1].float().cpu().numpy()
        return out


def write(
    model: Model,
    prompt: Tokens,
    lines: BarLines,
    bars: range,
    sampling: Sampling = Sampling(),  # frozen
    seed: int = 0,
    count: int = 1,
    device: torch.device = torch.device("cpu"),  # noqa: B008  # immutable
) -> Generator[BarsWritten, None, list[Tokens]]:
    """Continue a prompt over some bars, `count` times side by side; the same seed gives the same tokens.

    The prompt ends before the bar line `bars` begin on; notes that still sound there are released on it. Yields as
    bars get finished in every stream; ends with the whole streams, prompt included. Raises MorphonyError for a prompt
    that does not end where a tick may.
    """
    ids = prompt.ids[prompt.ids != _END]
    first = Stream(ids, lines, bars, max(len(prompt.programs), 1))
    if first.clock > first.begin or not first.allowed().any():
        raise MorphonyError(f"These tokens cannot be continued at bar {bars.start + 1}: they end after or amid a tick.")
    width = max(count, sampling.beams)
    choose = _Beams(width) if sampling.beams > 1 else _Draws(seed, width)
    streams = [first.copy() for _ in range(width)]
    reader = Reader(model, lines, sampling, device)
    logits, done = reader.begin(ids, width), bars.start
    while True:
        logits = np.where(np.stack([s.allowed() for s in streams]), logits, -np.inf)
        open_ = np.array([not s.ended for s in streams])
        kept = filter_logits(logits, sampling.temperature, sampling.top_k, sampling.top_p)
        tokens, parents = choose.next(probabilities(kept), open_)
        if parents is not None:
            streams = [streams[p].copy() for p in parents.tolist()]
        for stream, token in zip(streams, tokens.tolist(), strict=True):
            stream.take(token)
        reached = min(bars.stop if s.ended else int(lines.bar_of(s.clock)) for s in streams)
        if reached > done:
            yield BarsWritten(tuple(range(done, reached)), _tokens(streams[0], prompt))
            done = reached
        if all(s.ended for s in streams):
            return [_tokens(streams[i], prompt) for i in choose.order()[:count]]
        logits = reader.next(tokens, parents)


def _tokens(stream: Stream, prompt: Tokens) -> Tokens:
    return Tokens(np.array(stream.ids, np.int16), prompt.programs)


class _Draws:
    """Each stream draws with a randomness of its own, so that it does not depend on how many there are."""

    def __init__(self, seed: int, streams: int) -> None:
        self.noise = [np.random.default_rng([seed & 0xFFFFFFFF, row]) for row in range(streams)]

    def next(self, shares: NDArray[np.float64], open_: NDArray[np.bool_]) -> tuple[NDArray[np.int64], None]:
        """Tokens (B,) for the shares (B, V)."""
        total = np.cumsum(shares, -1)
        drawn = np.array([rng.random() for rng in self.noise]) * total[:, -1]
        return (total <= drawn[:, None]).sum(-1), None

    def order(self) -> list[int]:
        """The streams as they are."""
        return list(range(len(self.noise)))


class _Beams:
    """Beam search: the streams with the highest mean log-likelihood a token go on."""

    def __init__(self, streams: int) -> None:
        self.total, self.length = np.full(streams, -np.inf), np.zeros(streams)
        self.total[0] = 0.0  # they all begin alike

    def next(
        self, shares: NDArray[np.float64], open_: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64] | None]:
        """Tokens (B,) and the stream (B,) each of them continues; None where each continues its own."""
        with np.errstate(divide="ignore"):
            total = self.total[:, None] + np.log(shares)
        length = self.length + open_
        mean = (total / np.maximum(length, 1)[:, None]).reshape(-1)
        best = np.argsort(-mean, kind="stable")[: len(self.total)]
        copies = ~np.isfinite(mean[best])
        best[copies] = best[0]  # fewer ways on than streams
        parents, tokens = np.divmod(best, shares.shape[1])
        self.total, self.length = np.where(copies, -np.inf, total.reshape(-1)[best]), length[parents]
        return tokens, None if np.array_equal(parents, np.arange(len(parents))) else parents

    def order(self) -> list[int]:
        """Streams from the best to the worst."""
        ranked: list[int] = np.argsort(-self.total / np.maximum(self.length, 1), kind="stable").tolist()
        return ranked


def continue_score(
    session: Session,
    score: Score,
    bars: int,
    start: int | None = None,
    sampling: Sampling = Sampling(),  # frozen
    seed: int = 0,
) -> Generator[BarsWritten, None, Score]:
    """The score with `bars` new bars from bar `start` on (default: after its last); ends with the new score.

    What begins before the seam stays, bit for bit, and so does all that has no token, wherever it is: drums, notes off
    the piano, controllers, lyrics, markers, meters. What tokens say of later bars (notes, pedal, tempo) gives way to
    the new ones, which play in the parts that are there. Raises MorphonyError without a note to continue.
    """
    grid = BarGrid.of(score)
    seam = len(grid) if start is None else start
    if not len(part_tracks(score)):
        raise MorphonyError("There is no pitched note here to continue.")
    if not 1 <= seam <= len(grid):
        raise MorphonyError(f"A continuation can begin after bar 1 to {len(grid)}, not {seam}.")
    if bars < 1:
        raise MorphonyError(f"A continuation has at least 1 bar, not {bars}.")
    head = _until(score, grid, seam) if seam < len(grid) else score
    lines = BarLines.of(BarGrid.of(score, int(grid.starts[seam]) + bars * _longest_bar(score)))
    tokens = encode(score)
    before = clocks_of(tokens.ids) < lines.start(seam)
    prompt = Tokens(tokens.ids[before], tokens.programs)
    job = write(events_of(session), prompt, lines, range(seam, seam + bars), sampling, seed, device=session.device)
    written = yield from job
    return _joined(head, decode(written[0]), lines.start(seam), int(grid.starts[seam]), part_tracks(score))


def generate_score(
    session: Session,
    bars: int = 16,
    meter: tuple[int, int] = (4, 4),
    sampling: Sampling = Sampling(),  # frozen
    seed: int = 0,
) -> Generator[BarsWritten, None, Score]:
    """New music for two hands at a piano, from nothing but the meter; ends with the score."""
    blank, end = blank_score(bars, meter)
    lines = BarLines.of(BarGrid.of(blank, end))
    prompt = Tokens(np.array([_START], np.int16), tuple(track.program for track in blank.tracks))
    written = yield from write(events_of(session), prompt, lines, range(bars), sampling, seed, device=session.device)
    return _joined(replace(blank, tempi=()), decode(written[0]), 0, 0, np.arange(len(blank.tracks)))


def events_of(session: Session) -> Model:
    """The session's event model. Raises MorphonyError when it has none."""
    if session.model.events is None:
        raise MorphonyError("This model speaks in bars, not in events; only one of mode transformer continues music.")
    model: Model = session.model.events
    return model


def _longest_bar(score: Score) -> int:
    """Ticks of a bar in the longest meter."""
    return max(-(-4 * score.ticks_per_quarter * m.numerator // m.denominator) for m in (*score.meters, Meter(0, 4, 4)))


def _until(score: Score, grid: BarGrid, seam: int) -> Score:
    """The score without what tokens say of the bars after a bar line; notes begin where the codec rounds them to."""
    tick = int(grid.starts[seam])
    line = to_clocks(grid.starts[seam : seam + 1], score.ticks_per_quarter)
    later = to_clocks(score.notes["tick"], score.ticks_per_quarter) >= line
    return replace(
        score,
        notes=score.notes[~(later & is_modelled(score))],
        tempi=tuple(t for t in score.tempi if t.tick < tick),
        events=tuple(
            e for e, part in zip(score.events, pedal_parts(score), strict=True) if e.tick < tick or part is None
        ),
    )


def _joined(head: Score, new: Score, clock: int, tick: int, tracks: NDArray[np.int64]) -> Score:
    """The head with what `new`, which counts in clocks, has from `clock` on: that is the head's `tick`."""

    def ticks(clocks: NDArray[np.int64]) -> NDArray[np.int64]:
        return tick + ((clocks - clock) * head.ticks_per_quarter * 2 + CLOCKS_PER_QUARTER) // (2 * CLOCKS_PER_QUARTER)

    notes = new.notes[new.notes["tick"] >= clock].copy()
    ends = ticks(notes["tick"] + notes["duration"])
    notes["tick"] = ticks(notes["tick"])
    notes["duration"], notes["track"] = ends - notes["tick"], tracks[notes["track"]]
    tempi = [Tempo(int(ticks(np.array(t.tick))), t.microseconds) for t in new.tempi if t.tick >= clock]
    late = [e for e in new.events if e.tick >= clock]
    events = [_moved(head, e, int(ticks(np.array(e.tick))), int(tracks[e.track])) for e in late]
    return replace(
        head,
        notes=np.concatenate([head.notes, notes]),
        tempi=(*head.tempi, *tempi),
        events=(*head.events, *events),
    )


def _moved(head: Score, event: Event, tick: int, track: int) -> Event:
    """A pedal event on a track of the head, with that track's channel."""
    return Event(tick, track, bytes((event.data[0] & 0xF0 | head.tracks[track].channel, *event.data[1:])))
