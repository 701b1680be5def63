"""What a recipe means to the engine: a job for each verb. Lives in the engine's thread, where torch is loaded.

The terminal's subcommands drive the same jobs.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.recipe import Recipe
from app.roll.index import fingerprints
from engine import compose
from engine.compose import BarsDone, Locks, Request, Style
from engine.generation import ensemble
from engine.score import Score
from engine.session import Piece, Session

Job = Generator[Any, None, Score]
ROOM = 5  # semitones above and below chosen notes where others may come in their place


def morph(session: Session, piece: Piece, recipe: Recipe) -> Iterator[BarsDone]:
    """Sliders, and lanes on top of them: bars that ask for the same are done together, the first one asked for first.

    A bar whose sliders rest while others have lanes is the source's own.
    """
    asked = request_of(recipe)
    if not recipe.lanes:
        yield from compose.morph(session, piece, asked)
        return
    scope = range(len(piece)) if recipe.bars is None else recipe.bars
    wanted = [(tuple(sorted(recipe.offsets_at(bar).items())), bar) for bar in scope]
    groups = [[pair[1] for pair in run] for _, run in groupby(wanted, key=lambda pair: pair[0])]
    ahead = [g for g in groups if g[-1] >= recipe.first]
    for bars in ahead + [g for g in groups if g[-1] < recipe.first]:
        part = range(bars[0], bars[-1] + 1)
        yield from compose.morph(session, piece, replace(asked, offsets=recipe.offsets_at(bars[0]), bars=part))


def make(session: Session, encode: Callable[[Score], Piece], base: Score, recipe: Recipe) -> Job:
    """The score that a recipe makes of a base; yields as bars get done. Locked notes come out bit-identical."""
    made = yield from VERBS[recipe.verb](session, encode, base, recipe)
    if recipe.only:
        made = within(base, made, sorted(recipe.only))
    return made


def request_of(recipe: Recipe) -> Request:
    """The engine's request without what is a verb's own."""
    return Request(
        offsets=recipe.offsets,
        bars=recipe.bars,
        tracks=recipe.tracks,
        seed=recipe.seed,
        first=recipe.first,
        masks=recipe.limits.masks(),
        locks=Locks(notes=recipe.locks),
    )


def _morph(session: Session, encode: Callable[[Score], Piece], base: Score, recipe: Recipe) -> Job:
    piece = encode(base)
    if not recipe.offsets and not recipe.lanes and not recipe.limits:
        return base
    done = []
    for part in morph(session, piece, recipe):
        done.append(part)
        yield part
    return compose.apply(piece, done)


def _regenerate(session: Session, encode: Callable[[Score], Piece], base: Score, recipe: Recipe) -> Job:
    piece = encode(base)
    bars = recipe.bars or range(len(piece))
    return (yield from compose.infill(session, piece, bars, request_of(recipe), recipe.temperature))


def _vary(session: Session, encode: Callable[[Score], Piece], base: Score, recipe: Recipe) -> Job:
    return (yield from compose.vary(session, encode(base), recipe.amount, request_of(recipe)))


def _continue(session: Session, encode: Callable[[Score], Piece], base: Score, recipe: Recipe) -> Job:
    asked = replace(request_of(recipe), bars=None, tracks=None)
    return (yield from compose.continue_(session, encode(base), recipe.count, asked, recipe.temperature))


def _transfer(session: Session, encode: Callable[[Score], Piece], base: Score, recipe: Recipe) -> Job:
    style = Style.of(encode(other) for other in recipe.others)
    return (yield from compose.transfer(session, encode(base), style, recipe.amount, request_of(recipe)))


def _new(session: Session, encode: Callable[[Score], Piece], base: Score, recipe: Recipe) -> Job:
    tracks = ensemble(len(recipe.programs), recipe.programs) if recipe.programs else None
    return (
        yield from compose.generate(
            session, recipe.count, recipe.meter, seed=recipe.seed, prior_temperature=recipe.temperature, tracks=tracks,
            request=Request(masks=recipe.limits.masks()),
        )
    )  # fmt: skip


def _between(session: Session, encode: Callable[[Score], Piece], base: Score, recipe: Recipe) -> Job:
    asked = Request(masks=recipe.limits.masks())
    corners = [encode(score) for score in recipe.others]
    made = yield from compose.among(session, corners, *recipe.place, recipe.seed, request=asked)
    return held(base, made, sorted(recipe.locks))


VERBS: dict[str, Callable[[Session, Callable[[Score], Piece], Score, Recipe], Job]] = {
    "morph": _morph,
    "regenerate": _regenerate,
    "vary": _vary,
    "continue": _continue,
    "transfer": _transfer,
    "new": _new,
    "between": _between,
}


def within(base: Score, made: Score, rows: Sequence[int]) -> Score:
    """The base with the notes of `rows` replaced by those of `made` that begin in their place: their time, their
    tracks, and their pitches with ROOM around them.
    """
    chosen = base.notes[list(rows)]
    kept = np.delete(base.notes, list(rows))
    come = made.notes[~np.isin(fingerprints(made.notes), fingerprints(kept))]
    here = (come["tick"] >= chosen["tick"].min()) & (come["tick"] < (chosen["tick"] + chosen["duration"]).max())
    here &= (come["pitch"] >= int(chosen["pitch"].min()) - ROOM) & (come["pitch"] <= int(chosen["pitch"].max()) + ROOM)
    here &= np.isin(come["track"], chosen["track"])
    return replace(base, notes=np.concatenate([kept, clear_of(come[here], kept)]))


def held(base: Score, made: Score, rows: Sequence[int]) -> Score:
    """What was made, with the notes of `rows` of the base put over it; both count ticks alike or neither stays."""
    if not rows:
        return made
    stay = base.notes[list(rows)]
    if made.ticks_per_quarter != base.ticks_per_quarter or made.tracks != base.tracks:  # a corner that is another piece
        made = _as(base, made)
    others = made.notes[~np.isin(fingerprints(made.notes), fingerprints(stay))]
    return replace(made, notes=np.concatenate([stay, clear_of(others, stay)]))


def _as(base: Score, made: Score) -> Score:
    """A piece in the ticks and on the tracks of another; tracks it has more of are put on the last one."""
    notes, ratio = made.notes.copy(), base.ticks_per_quarter / made.ticks_per_quarter
    notes["tick"], notes["duration"] = np.round(notes["tick"] * ratio), np.round(notes["duration"] * ratio)
    notes["track"] = np.minimum(notes["track"], max(len(base.tracks) - 1, 0))
    return replace(base, notes=notes)


def clear_of(notes: NDArray[np.void], others: NDArray[np.void]) -> NDArray[np.void]:
    """Those of `notes` that strike no key while one of `others` holds it; they end where the next of these begins."""
    out = notes.copy()
    free = np.ones(len(out), bool)
    key = others["track"].astype(np.int64) * 128 + others["pitch"]
    for i, note in enumerate(out):
        same = others[key == int(note["track"]) * 128 + int(note["pitch"])]
        end = same["tick"] + same["duration"]
        free[i] = not ((same["tick"] <= note["tick"]) & (end > note["tick"])).any()
        later = same["tick"][same["tick"] > note["tick"]]
        if len(later):
            out["duration"][i] = min(int(note["duration"]), int(later.min() - note["tick"]))
    return out[free]
