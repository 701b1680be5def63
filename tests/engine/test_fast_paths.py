"""What was made fast says exactly what the plain way says. The plain ways are written out here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from engine import grids, tilt
from engine.attributes import INDEX, measure_one
from engine.compose import Request, knobs_of
from engine.decoding import decode
from engine.model.batch import Offsets
from engine.sampling import Rows, hold_counts, rows_above, rows_at, rows_beside
from engine.session import Piece, Session
from tests.engine import small

Plain = Callable[[np.ndarray], np.ndarray]
CLOCKS = np.array([96, 72, 18, 96, 12, 144])


@pytest.fixture(params=range(3))
def logits(request: pytest.FixtureRequest) -> np.ndarray:
    """(6, 144, 88) of bars of many lengths; every value on a coarse scale, so that there are ties."""
    rng = np.random.default_rng(request.param)
    grid = rng.normal(-14, 3.5, (len(CLOCKS), 144, 88)) + 4 * (np.arange(144) % 12 == 0)[:, None]
    return (np.round(grid * 4) / 4).astype(np.float32)


def plain_counts(logits: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The likeliest by sorting: of equal pitches the lower."""
    grid = logits.reshape(len(logits), -1, 88)
    rank = np.argsort(np.argsort(-grid, axis=-1, kind="stable"), axis=-1, kind="stable")
    return (rank < counts[:, None]).reshape(logits.shape)


def plain_gauge(
    rows: Rows, chosen: np.ndarray, name: str, rising: bool, anchor: tilt.Anchor, durations: np.ndarray | None = None
) -> np.ndarray:
    """One amount after the other, on notes as they are kept."""
    out = []
    for some in chosen:
        notes = rows.notes(some[None], durations)
        found = measure_one(name, notes, rows.clocks)
        for bar in range(len(rows.clocks)):
            pitch = notes["pitch"][notes["bar"] == bar].astype(int)
            if name == "range":
                found[bar] = 2 * np.abs(pitch - anchor.middle).max() if len(pitch) else np.nan
            elif name == "pitch_variety" and not rising and len(pitch):
                found[bar] = (found[bar] + anchor.surprise[pitch % 12].mean()) / 2
        out.append(found)
    return np.array(out)


def plain_solve(rows: Rows, name: str, step: float, rest: np.ndarray, reference: np.ndarray, select: Plain,
                anchor: tilt.Anchor, keys: np.ndarray, durations: np.ndarray | None) -> np.ndarray:  # fmt: skip
    """Every amount for every bar by itself, every duration known; each bar walks from 0 to where it meets its goal."""
    goal, sign = tilt.target(name, rest, step, anchor), np.sign(step)
    direction = tilt.DIRECTIONS[name](rows, rows.logit, reference, anchor)
    best = np.zeros(len(goal))
    for bar in np.flatnonzero(np.isfinite(goal)):

        def below(amount: float, bar: int = bar) -> float:
            chosen = select((rows.logit + np.where(rows.bar == bar, amount, 0.0) * direction)[None])
            found = sign * (goal[bar] - plain_gauge(rows, chosen, name, step > 0, anchor, durations)[0][bar])
            return float(found) if np.isfinite(found) else np.inf

        early, short, over = 0.0, np.inf, np.inf
        back = [a for a in tilt.AMOUNTS if a <= tilt.BACKWARD]
        amounts = [-sign * a for a in back] if below(0.0) < 0 else [sign * a for a in tilt.AMOUNTS]
        for _ in range(1 + tilt.FINER):
            before, side, over = amounts[0], np.sign(below(amounts[0])), np.inf
            for amount in amounts:
                distance = below(amount)
                if (distance == 0 and amount == amounts[0]) or np.sign(distance) != side:
                    over = abs(distance)
                    break
                if abs(distance) < short - 1e-9:
                    early, short = amount, abs(distance)
                before = amount
            if over == np.inf:
                break
            amounts = before + np.linspace(0, 1, tilt.FINE) * (amount - before)
            high = amount
        chance = 0.5 if name == "range" else float(tilt.uniform(INDEX[name], keys[bar : bar + 1])[0])
        best[bar] = high if over < np.inf and short / (short + over) >= chance else early
    return rows.logit + best[rows.bar] * direction


def held(logits: np.ndarray) -> tuple[Rows, np.ndarray]:
    """Every pitch at the onsets that sound, and how many sound there."""
    sounding = rows_above(logits, CLOCKS, margin=0.0)
    places, counts = np.unique(np.stack([sounding.bar, sounding.onset], -1), axis=0, return_counts=True)
    return rows_at(logits, CLOCKS, places), counts


def test_candidates_are_the_cells_above_the_margin_in_their_bar(logits: np.ndarray) -> None:
    rows = rows_above(logits, CLOCKS)
    bar, onset, pitch = np.nonzero((logits > -9) & (np.arange(144) < CLOCKS[:, None])[..., None])
    assert np.array_equal(np.stack([bar, onset, pitch + 21]), np.stack([rows.bar, rows.onset, rows.pitch]))
    assert np.array_equal(rows.logit, logits[bar, onset, pitch])
    apart = rows_beside([rows_above(logits[i : i + 1], CLOCKS[i : i + 1]) for i in range(len(CLOCKS))])
    for name in ("bar", "onset", "pitch", "logit", "clocks"):
        assert np.array_equal(getattr(apart, name), getattr(rows, name)), name


def test_counts_are_held_as_by_sorting_ties_included(logits: np.ndarray, rng: np.random.Generator) -> None:
    rows, _ = held(logits)
    trials = np.round(rows.logit + rng.normal(0, 2, (7, 1)) * (rows.pitch - 64) / 12)  # whole numbers: many are equal
    before = trials.copy()
    counts = rng.integers(1, 9, len(rows.bar) // 88)
    counts[0] = 88
    assert np.array_equal(hold_counts(trials, counts), plain_counts(trials, counts))
    assert np.array_equal(trials, before)


def test_the_best_of_a_run_is_the_last_in_order_of_value(rng: np.random.Generator) -> None:
    index, values = np.sort(rng.integers(0, 30, 400)), rng.integers(0, 5, 400).astype(float)
    order = np.lexsort((values, index))
    last = np.flatnonzero(np.append(index[order][1:] != index[order][:-1], True))
    assert np.array_equal(np.flatnonzero(tilt._best_of(index, values)), np.sort(order[last]))


@pytest.mark.parametrize("name", tilt.DIRECTIONS)
@pytest.mark.parametrize("offset", [-1.2, 0.4, 1.5])
def test_a_tilt_is_the_one_that_trying_everything_finds(logits: np.ndarray, name: str, offset: float) -> None:
    free = name in tilt.ONSET_STAGE
    rows, counts = (rows_above(logits, CLOCKS), np.zeros(0, int)) if free else held(logits)
    reference = rows.logit > 0 if free else hold_counts(rows.logit[None], counts)[0]
    anchor = tilt.Anchor.of(rows.notes(reference[None]))
    longest = 60 if offset == 0.4 else 9  # long and short notes: of short ones more are needed than it first guesses
    durations = np.random.default_rng(5).integers(1, longest, len(rows.bar)).astype(float)
    rest = plain_gauge(rows, reference[None], name, offset > 0, anchor, durations)[0]
    step, keys = offset * float(small.DEVIATIONS[INDEX[name]]), np.arange(len(CLOCKS))
    asked = []

    def lengths(wanted: np.ndarray) -> np.ndarray:
        asked.append(wanted)
        return np.where(wanted, durations, 1.0)

    def fast(_: Rows, x: np.ndarray) -> np.ndarray:
        return x > 0 if free else hold_counts(x, counts)

    def plain(x: np.ndarray) -> np.ndarray:
        return x > 0 if free else plain_counts(x, counts)

    found = tilt.solve(rows, rows.logit, name, step, rest, reference, fast, anchor, keys, lengths, grows=free)
    wanted = plain_solve(rows, name, step, rest, reference, plain, anchor, keys, durations)
    assert np.array_equal(found, wanted)
    assert bool(asked) == (name == "polyphony")
    assert not asked or asked[-1].mean() < 0.9  # it did not need them all


def test_what_is_remembered_of_a_bar_is_what_the_decoder_says(session: Session, piece: Piece) -> None:
    """In any company: bars of a chunk that were remembered with others, or one by one."""
    fresh = replace(piece, cache={})
    for b in (6, 2, 3):
        grids.at_rest(session, fresh, torch.tensor([b]), None)
    index = torch.tensor([2, 3, 6, 7])
    rest = grids.at_rest(session, fresh, index, None)
    none = Offsets.none(4)
    with torch.no_grad():
        slots = session.slots(piece, index, torch.zeros(4, piece.z_fine.shape[1]), none)
        logits = session.model.decoder.onsets(slots).view(4, -1, 88).numpy()
    p = session.config.model.threshold
    assert np.abs(rest.logits - logits + np.log(p / (1 - p))).max() < 1e-4
    assert float((rest.slots - slots).abs().max()) < 1e-4
    above = rows_above(rest.logits, rest.clocks)
    assert np.array_equal(rest.candidates.logit, above.logit)
    assert np.array_equal(rest.candidates.place, above.place)


@pytest.mark.parametrize("name", ["density", "polyphony", "register", "dynamics", "articulation", "colour_1"])
@pytest.mark.parametrize("blend", [True, False])
def test_a_chunk_s_size_changes_no_note(session: Session, piece: Piece, name: str, blend: bool) -> None:
    knobs = knobs_of(session, Request({name: 0.7}, blend=blend))
    whole = decode(session, replace(piece, cache={}), list(range(8)), knobs)
    parts = [decode(session, replace(piece, cache={}), list(range(b, b + 2)), knobs) for b in range(0, 8, 2)]
    assert len(whole)
    assert np.array_equal(whole, np.concatenate(parts))
