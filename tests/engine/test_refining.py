"""Notes written anew over a draft: reproducible, within the masks, and only where somebody asked for it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from engine import checkpoint, compose, config
from engine.compose import Locks, Request, knobs_of
from engine.errors import MorphonyError
from engine.masks import Masks
from engine.model.refiner import Refiner
from engine.refining import refine
from engine.sampling import uniform
from engine.session import Piece, Session
from tests.engine import small

CONFIG = config.override(small.CONFIG, {"model.refiner": True, "model.refiner_dim": 32})
C_MAJOR = (0, 2, 4, 5, 7, 9, 11)


def opened(session: Session, folder: Path, refiner: Refiner) -> Session:
    """The session's model with a refiner, opened from its folder."""
    weights = session.model.state_dict() | {f"refiner.{n}": t for n, t in refiner.state_dict().items()}
    checkpoint.save(folder, weights, CONFIG, {"deviations": small.DEVIATIONS.tolist()})
    return Session.open(folder, "cpu")


@pytest.fixture(scope="module")
def untrained(session: Session, tmp_path_factory: pytest.TempPathFactory) -> Session:
    torch.manual_seed(0)
    return opened(session, tmp_path_factory.mktemp("model") / "untrained", Refiner(CONFIG.model))


@pytest.fixture(scope="module")
def living(session: Session, tmp_path_factory: pytest.TempPathFactory) -> Session:
    """One whose residuals are noise: it writes other notes than the draft's, and hears what it wrote."""
    torch.manual_seed(0)
    made = Refiner(CONFIG.model)
    with torch.no_grad():
        for p in made.parameters():
            if not p.any():
                p.normal_(std=0.03)
    return opened(session, tmp_path_factory.mktemp("model") / "living", made)


def written(session: Session, piece: Piece, rows: list[list[int]], **asked: object) -> np.ndarray:
    request = Request(blend=False, **({"refine": 0.5, "temperature": 1.0} | asked))
    return refine(session, piece, rows, knobs_of(session, request))


def test_untrained_it_draws_what_the_draft_says(untrained: Session, piece: Piece) -> None:
    """As many notes as the cells' probabilities promise, over many seeds and the whole piece."""
    with torch.no_grad():
        slots = untrained.slots(piece, torch.arange(8), torch.zeros(8, 16), small.offsets(8))
        p = torch.sigmoid(untrained.decoder.onsets(slots).double()[:, : 96 * 88])
    seeds = range(6)
    found = [written(untrained, piece, [[k] for k in range(8)], seed=s) for s in seeds]
    cells = sum(len(np.unique(n[["bar", "onset", "pitch"]])) for n in found)
    spread = float((len(seeds) * (p * (1 - p)).sum()).sqrt())
    assert spread > 5
    assert abs(cells - len(seeds) * float(p.sum())) < 4 * spread
    share = np.zeros((8, 96, 88))
    for n in found:
        cells_of = np.unique(np.stack([n["bar"], n["onset"], n["pitch"] - np.uint8(21)]).astype(int), axis=1)
        share[tuple(cells_of)] += 1 / len(seeds)
    sure = p.view(8, 96, 88).numpy() > 0.9
    assert sure.sum() > 10
    assert share[sure].mean() > 0.85


def test_the_same_seed_writes_the_same_notes(living: Session, piece: Piece) -> None:
    rows = [list(range(4)), list(range(4, 8))]
    first, again, other = (written(living, piece, rows, seed=s) for s in (1, 1, 2))
    assert first.tobytes() == again.tobytes() != other.tobytes()
    assert len(first) > 8


def test_rows_side_by_side_are_what_each_is_alone(living: Session, piece: Piece) -> None:
    rows = [[0, 1], [2], [3, 4, 5]]
    both = written(living, piece, rows)
    alone = np.concatenate([written(living, piece, [row]) for row in rows])
    assert both.tobytes() == alone.tobytes()


def test_what_was_written_before_is_heard(living: Session, piece: Piece) -> None:
    knobs = knobs_of(living, Request(blend=False, refine=0.5, temperature=1.0))
    known = piece.bars[piece.bars["bar"] < 4]
    moved = known.copy()
    moved["pitch"] += 5
    first, other, deaf = (refine(living, piece, [[4, 5]], knobs, k) for k in (known, moved, None))
    assert len({x.tobytes() for x in (first, other, deaf)}) == 3


@pytest.mark.parametrize(
    "masks",
    [
        Masks(scale=(C_MAJOR,)),
        Masks(pitch_range=(55, 70)),
        Masks(chords=(((0, 4, 7), (2, 7, 11)), ((5, 9, 0),))),
        Masks(max_notes=2),
        Masks(scale=(C_MAJOR,), pitch_range=(48, 72), max_notes=1),
    ],
)
def test_masks_hold(living: Session, piece: Piece, masks: Masks) -> None:
    bars = [list(range(8))]
    free, found = written(living, piece, bars), written(living, piece, bars, masks=masks)
    assert len(found) > 4
    assert free.tobytes() != found.tobytes()
    if masks.scale:
        assert set(found["pitch"] % 12) <= set(C_MAJOR)
    if masks.pitch_range:
        assert masks.pitch_range[0] <= found["pitch"].min() <= found["pitch"].max() <= masks.pitch_range[1]
    if masks.chords:
        for n in found:
            bar = masks.chords[n["bar"] % 2]
            assert n["pitch"] % 12 in bar[int(n["onset"]) * len(bar) // 96]
    if masks.max_notes:
        start = found["bar"] * 96.0 + found["onset"] + found["micro"]
        sounding = [(start <= s) & (start + found["duration"] > s) for s in start]
        assert max(x.sum() for x in sounding) <= masks.max_notes


def test_masks_that_leave_nothing_are_refused(living: Session, piece: Piece) -> None:
    with pytest.raises(MorphonyError, match="no pitch in common"):
        written(living, piece, [list(range(8))], masks=Masks(scale=((0,),), chords=(((1,),),)))


def test_sliders_a_beam_and_a_model_without_one_are_refused(living: Session, session: Session, piece: Piece) -> None:
    for asked in ({"offsets": {"density": 1.0}}, {"beam": 4}):
        with pytest.raises(MorphonyError, match="neither a slider nor a beam"):
            written(living, piece, [[0]], **asked)
    with pytest.raises(MorphonyError, match="no refiner"):
        written(session, piece, [[0]])
    with pytest.raises(MorphonyError, match="0 to 1"):
        Request(refine=1.5)


def test_jobs_refine_when_they_are_asked_to(living: Session, piece: Piece) -> None:
    plain, refined = Request(temperature=1.0), Request(temperature=1.0, refine=0.5)
    jobs = {
        "generate": lambda r: compose.generate(living, 6, seed=3, temperature=1.0, request=r),
        "continue": lambda r: compose.continue_(living, piece, 5, r),
        "infill": lambda r: compose.infill(living, piece, range(2, 5), r),
        "vary": lambda r: compose.vary(living, piece, 0.3, r),
    }
    for name, job in jobs.items():
        drafted, first, again = (compose.run(job(r)) for r in (plain, refined, refined))
        assert first.notes.tobytes() == again.notes.tobytes() != drafted.notes.tobytes(), name


def test_nothing_outside_the_scope_or_under_a_lock_moves(living: Session, piece: Piece) -> None:
    asked = Request(temperature=1.0, refine=0.5, blend=False, bars=range(2, 6), locks=Locks(bars=frozenset({3})))
    done = {part.bars: part.notes for part in compose.morph(living, piece, asked)}
    assert sorted(b for bars in done for b in bars) == [2, 3, 4, 5]
    found = np.concatenate(list(done.values()))
    of = piece.bars[piece.bars["bar"] == 3]
    assert found[found["bar"] == 3].tobytes() == of.tobytes()
    at_rest = compose.run(compose.vary(living, piece, 0.0, Request(refine=0.5)))
    assert at_rest.notes.tobytes() == piece.score.notes.tobytes()


def test_near_rest_a_variation_keeps_the_source(living: Session, untrained: Session, piece: Piece) -> None:
    """The blend pulls refined notes too, and what the source has keeps its own fields."""
    near = compose.run(compose.vary(untrained, piece, 0.01, Request(refine=0.0)))
    kept = np.isin(near.notes["tick"], piece.score.notes["tick"])
    assert kept.mean() > 0.9


def test_the_noise_of_a_place_is_its_own(living: Session) -> None:
    """Gumbel noise comes from whole arrays now: each class has the number it had alone."""
    from engine.sampling import gumbel

    bar, onset = np.array([3, 4]), np.array([0, 95])
    alone = -np.log(-np.log(np.stack([uniform(7, bar, onset, 2, c) for c in range(5)], -1)))
    assert np.array_equal(gumbel(7, 5, bar, onset, 2), alone)


def test_a_drag_never_refines(living: Session, piece: Piece, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(living.model, "refiner", None)
    asked = Request({"density": 1.0})
    assert sum(len(p.notes) for p in compose.morph(living, piece, asked))
    assert replace(asked, offsets={}).refine is None
