"""For every loss term a good and a bad decoding made by hand, and why the good one is better. Not a test.

Bars are 4/4; rows of notes read (bar, onset, pitch, duration, velocity, part) as in `small.bar_notes`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F

from engine.config import LossConfig
from engine.model import fields as f
from engine.model import soft
from engine.model.batch import Notes
from engine.model.decoder import Fields
from engine.model.latents import Normal, Posterior
from tests.engine import small
from trainer.losses import Decoded

CLOCKS, Z = 96, 16
Rows = Sequence[Sequence[float]]
Maker = Callable[[], Decoded]
Pair = tuple[str, Maker, Maker]  # why, good, bad


def spoken(meant: Rows, heard: Rows, certainty: float = 12.0) -> Decoded:
    """A decoding that puts `certainty` on the notes heard where others were meant.

    Fields are those of the note heard in the cell of each note meant, or right where there is none.
    """
    written, played = Notes.of(small.bar_notes(*meant)), Notes.of(small.bar_notes(*heard))
    count = int(written.bar.max()) + 1
    conditions = small.conditions([CLOCKS] * count)
    onsets = torch.full((count, CLOCKS * f.N_PITCHES), -certainty)
    onsets[played.bar, played.cell] = certainty
    place = {key: i for i, key in enumerate(_cells(played))}

    def field(name: str, classes: int) -> torch.Tensor:
        own, theirs = getattr(written, name), getattr(played, name)
        said = [int(theirs[place[c]]) if c in place else int(own[i]) for i, c in enumerate(_cells(written))]
        return certainty * (2 * F.one_hot(torch.tensor(said), classes).float() - 1)

    fields = Fields(
        field("duration", len(f.DURATIONS)),
        field("velocity", f.VELOCITY_BINS),
        field("micro", len(f.MICRO)),
        field("part", f.N_PARTS),
    )
    d = Decoded(written, conditions, onsets, fields, posterior(torch.zeros(count, Z)), 1.0, LossConfig(free_bits=0.0))
    d.__dict__["fake"] = soft.real(played, conditions)  # what a model would have decoded
    return d


def _cells(notes: Notes) -> list[tuple[int, int]]:
    return [(int(b), int(c)) for b, c in zip(notes.bar, notes.cell, strict=True)]


def posterior(
    fine: torch.Tensor, logvar: float = -4.0, local: torch.Tensor | None = None, whole: torch.Tensor | None = None
) -> Posterior:
    """Posteriors with given means; samples are the means."""
    above = torch.zeros(-(-len(fine) // 4), 8) if local is None else local
    top = torch.zeros(1, 8) if whole is None else whole
    q = [Normal(m, torch.full_like(m, logvar)) for m in (top, above, fine)]
    return Posterior(*q, top, above, fine)


def encoded(fine: torch.Tensor, meant: Rows | None = None, **more: Any) -> Decoded:
    """Bars with given latents; their notes are those meant, or one each."""
    rows = meant or [(bar, 0, 60) for bar in range(len(fine))]
    return replace(spoken(rows, rows), posterior=posterior(fine, **more))


def _bars(why: str, meant: Rows, good: Rows, bad: Rows) -> Pair:
    return why, lambda: spoken(meant, good), lambda: spoken(meant, bad)


def _latents(why: str, good: torch.Tensor, bad: torch.Tensor, **both: Any) -> Pair:
    return why, lambda: encoded(good, **both), lambda: encoded(bad, **both)


def _line(pitches: Iterable[float], at: Sequence[int] = (0, 24, 48, 72), long: int = 24, bar: int = 0) -> list:
    return [(bar, onset, pitch, long) for onset, pitch in zip(at, pitches, strict=False)]


def _chord(pitches: Iterable[int], at: int = 0, long: int = 24, bar: int = 0) -> list:
    return [(bar, at, pitch, long) for pitch in pitches]


def _loud(*velocities: int) -> list:
    return [(0, 24 * i, 60 + i, 24, v) for i, v in enumerate(velocities)]


def _noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


SCALE = (60, 62, 64, 65)
UP = _line(SCALE)
OFF = (6, 30, 54, 78)  # the 16ths after the beats
C, F_MAJOR, F_SHARP = (60, 64, 67), (60, 65, 69), (61, 66, 70)
INDEPENDENT = torch.linalg.qr(_noise(32, Z) - _noise(32, Z).mean(0))[0] * 32**0.5
ENTANGLED = INDEPENDENT[:, :1] + 0.3 * INDEPENDENT
HALVES = _line((60,) * 4, bar=0) + _line((60,) * 4, bar=1) + _line((66,) * 4, OFF, bar=2) + _line((66,) * 4, OFF, bar=3)
TOGETHER = torch.tensor([0.0, 0.1, 2.0, 2.1])[:, None].expand(-1, Z)
RISING = [r for bar in range(4) for r in _line((50 + 4 * bar,) * (1 + bar), bar=bar)]
PHRASES = _noise(8, 8, seed=2)

PAIRS: dict[str, Pair] = {
    # reconstruction
    "onset": _bars("One wrong cell is better than three.", UP, _line((60, 62, 64, 70)), _line((60, 70, 71, 72))),
    "duration": _bars("One wrong length is better than four.", UP, [*UP[:3], (0, 72, 65, 12)], _line(SCALE, long=12)),
    "velocity": _bars(
        "One wrong bin is better than three.", _loud(80, 80, 80, 80), _loud(80, 80, 80, 20), _loud(80, 20, 20, 20)
    ),
    "micro": _bars(
        "A played note is where it was played, not on the grid.",
        [(0, 0, 60, 24, 80, 0, 0.25)],
        [(0, 0, 60, 24, 80, 0, 0.25)],
        [(0, 0, 60, 24, 80, 0, 0.0)],
    ),
    "part": _bars("A note stays with its part.", UP, [*UP[:3], (0, 72, 65, 24, 80, 1)], [(*r, 80, 1) for r in UP]),
    # kl
    "kl_fine": _latents("Near the prior is cheaper than far.", _noise(4, Z) / 5, _noise(4, Z) * 2),
    "kl_local": (
        "Near the prior is cheaper than far.",
        lambda: encoded(torch.zeros(4, Z), logvar=0.0, local=torch.full((1, 8), 0.1)),
        lambda: encoded(torch.zeros(4, Z), logvar=0.0, local=torch.full((1, 8), 2.0)),
    ),
    "kl_global": (
        "Near the prior is cheaper than far.",
        lambda: encoded(torch.zeros(4, Z), logvar=0.0, whole=torch.full((1, 8), 0.1)),
        lambda: encoded(torch.zeros(4, Z), logvar=0.0, whole=torch.full((1, 8), 2.0)),
    ),
    # attribute
    "attribute_density": _bars(
        "Four other notes are as many as four, eight are not.", UP, _line((70,) * 4), UP + _line((50,) * 4)
    ),
    "attribute_rhythm": _bars(
        "Four onsets elsewhere are a rhythm, a chord is one stroke.", UP, _line(SCALE, OFF), _chord(SCALE)
    ),
    "attribute_syncopation": _bars(
        "Other pitches on the beat syncopate no more, the same off it do.", UP, _line((70,) * 4), _line(SCALE, OFF)
    ),
    "attribute_polyphony": _bars(
        "Other notes as long overlap as much, staccato ones do not.",
        _line(SCALE, long=72),
        _line((70, 72, 74, 76), long=72),
        _line(SCALE, long=6),
    ),
    "attribute_register": _bars(
        "The line backwards lies as high, an octave up it does not.",
        UP,
        _line(SCALE[::-1]),
        _line(p + 12 for p in SCALE),
    ),
    "attribute_range": _bars(
        "Inner notes may move, the highest may not go.",
        _chord((48, 60, 64, 79)),
        _chord((48, 55, 58, 79)),
        _chord((48, 60, 64, 67)),
    ),
    "attribute_articulation": _bars(
        "Other notes held as long are as legato, the same notes clipped are not.",
        UP,
        _line((70,) * 4),
        _line(SCALE, long=6),
    ),
    "attribute_dynamics": _bars(
        "Accents moved about keep the level, all loud does not.",
        _loud(40, 80, 40, 80),
        _loud(80, 40, 80, 40),
        _loud(120, 120, 120, 120),
    ),
    "attribute_dynamic_spread": _bars(
        "Accents moved about keep the spread, a flat bar does not.",
        _loud(40, 80, 40, 80),
        _loud(80, 40, 80, 40),
        _loud(60, 60, 60, 60),
    ),
    "attribute_leaps": _bars(
        "Steps elsewhere are steps, octaves are not.", UP, _line((72, 70, 68, 67)), _line((60, 72, 60, 72))
    ),
    "attribute_pitch_variety": _bars(
        "Four other classes are as many, one repeated is not.", UP, _line((61, 63, 66, 68)), _line((60,) * 4)
    ),
    "attribute_consonance": _bars(
        "Another major triad agrees as well, a cluster does not.", _chord(C), _chord(F_MAJOR), _chord((60, 61, 62))
    ),
    "latent_order": _latents(
        "Latents that rise with density and register order bars; falling ones disorder them.",
        TOGETHER,
        -TOGETHER,
        meant=RISING,
    ),
    # constraint
    "rhythm_regularity": _bars(
        "A pulse shifted by an eighth is a pulse, scattered onsets are none.",
        UP,
        _line(SCALE, (12, 36, 60, 84)),
        _line(SCALE, (0, 18, 42, 90)),
    ),
    "metre_profile": _bars(
        "Bars may trade their places in the metre, but not all leave the beat.",
        _line(SCALE, (0, 48)) + _line(SCALE, (24, 72), bar=1),
        _line(SCALE, (24, 72)) + _line(SCALE, (0, 48), bar=1),
        _line(SCALE, OFF) + _line(SCALE, OFF, bar=1),
    ),
    "harmonic_consistency": _bars(
        "An inversion agrees with the next bar, a tritone away does not.",
        _chord(C) + _chord(C, bar=1),
        _chord((64, 67, 72)) + _chord(C, bar=1),
        _chord(F_SHARP) + _chord(C, bar=1),
    ),
    "tonality": _bars(
        "The piece's own pitch classes in another order are at home, others are not.",
        UP,
        _line(SCALE[::-1]),
        _line((61, 63, 66, 68)),
    ),
    "interval_profile": _bars(
        "A triad in another key is a triad, a cluster is not.", _chord(C), _chord((62, 66, 69)), _chord((60, 61, 62))
    ),
    "chord_size": _bars("Another triad is as thick, its arpeggio is not.", _chord(C), _chord(F_MAJOR, 48), _line(C)),
    "voice_leading": _bars(
        "Steps elsewhere are as smooth, leaps of an octave are not.",
        UP,
        _line((72, 74, 76, 77)),
        _line((60, 72, 60, 72)),
    ),
    "contour": _bars(
        "A line that rises elsewhere draws the same, one that falls does not.",
        UP,
        _line((72, 74, 76, 77)),
        _line(SCALE[::-1]),
    ),
    "rests": _bars(
        "Other notes with the same rest breathe, notes spread over the bar do not.",
        _line(SCALE, (0, 12, 24, 36), 12),
        _line((70,) * 4, (0, 12, 24, 36), 12),
        _line(SCALE, long=24),
    ),
    # auxiliary
    "onset_count": _bars("Four other notes are as many, one is not.", UP, _line((70, 72, 74, 76), OFF), UP[:1]),
    "chroma": _bars(
        "An octave off keeps the classes, a semitone off does not.",
        UP,
        _line(p + 12 for p in SCALE),
        _line(p + 1 for p in SCALE),
    ),
    "groove": _bars("Other pitches keep the onsets, off the beat does not.", UP, _line((70,) * 4), _line(SCALE, OFF)),
    "pitch_set": _bars(
        "The line backwards uses the same keys, a shifted one does not.",
        UP,
        _line(SCALE[::-1]),
        _line(p + 1 for p in SCALE),
    ),
    "top_line": _bars(
        "A wrong inner note leaves the melody, a wrong top note does not.",
        _chord(C),
        _chord((60, 63, 67)),
        _chord((60, 64, 68)),
    ),
    "bass_line": _bars(
        "A wrong inner note leaves the bass, a wrong lowest note does not.",
        _chord(C),
        _chord((60, 63, 67)),
        _chord((59, 64, 67)),
    ),
    "note_overlap": _bars(
        "Three notes of four are better than one.",
        UP,
        [*UP[:3], (0, 72, 90, 24)],
        [*UP[:1], *_line((70, 71, 72), (24, 48, 72))],
    ),
    "bar_similarity": _bars(
        "A repeated bar that is wrong twice alike still repeats; one that is right once does not.",
        UP + _line(SCALE, bar=1),
        _line((70,) * 4) + _line((70,) * 4, bar=1),
        UP + _line((70,) * 4, bar=1),
    ),
    "harmony_over_time": _bars(
        "Inverted chords are in time, the same chords in the other order are not.",
        _chord(C, 0, 48) + _chord((62, 65, 69), 48, 48),
        _chord((64, 67, 72), 0, 48) + _chord((57, 62, 65), 48, 48),
        _chord((62, 65, 69), 0, 48) + _chord(C, 48, 48),
    ),
    "duration_distance": _bars(
        "A clock too long is nearly right, four times as long is not.", UP, _line(SCALE, long=23), _line(SCALE, long=96)
    ),
    "velocity_distance": _bars(
        "A shade louder is nearly right, forte for piano is not.",
        _loud(40, 40, 40, 40),
        _loud(44, 44, 44, 44),
        _loud(100, 100, 100, 100),
    ),
    "accents": _bars(
        "Louder as a whole keeps the stress, the other way round does not.",
        _loud(80, 40, 80, 40),
        _loud(110, 70, 110, 70),
        _loud(40, 80, 40, 80),
    ),
    "part_balance": _bars(
        "Two parts that trade notes both play on, one that takes all leaves none.",
        [(*r, 80, i % 2) for i, r in enumerate(UP)],
        [(*r, 80, 1 - i % 2) for i, r in enumerate(UP)],
        [(*r, 80, 0) for r in UP],
    ),
    "own_latent": _bars(
        "A bar with a wrong note comes from its own latents; bars that come out swapped do not.",
        UP + _line((70, 72, 74, 76), bar=1),
        [*UP[:3], (0, 72, 90, 24), *_line((70, 72, 74, 76), bar=1)],
        _line((70, 72, 74, 76)) + _line(SCALE, bar=1),
    ),
    # regularity
    "mutual_information": _latents(
        "Bars apart in z can be told apart, bars in one place cannot.", 3 * _noise(4, Z), 0.01 * _noise(4, Z)
    ),
    "total_correlation": _latents(
        "Independent dimensions share nothing, copies of one share all.", INDEPENDENT, ENTANGLED
    ),
    "orthogonality": _latents(
        "Independent dimensions are at right angles, copies are parallel.", INDEPENDENT, ENTANGLED
    ),
    "level_orthogonality": _latents(
        "Bars that differ within their phrase say their own, bars that copy it do not.",
        INDEPENDENT[:, :Z],
        PHRASES.repeat_interleave(4, 0).repeat(1, 2),
        local=PHRASES,
    ),
    "latent_smoothness": _latents(
        "Equal bars side by side and others apart is a map, the other way round is none.",
        TOGETHER,
        TOGETHER[[0, 2, 1, 3]],
        meant=HALVES,
    ),
    "variance_floor": (
        "A posterior of some width can be hit, a point cannot.",
        lambda: encoded(torch.zeros(4, Z), logvar=-4.0),
        lambda: encoded(torch.zeros(4, Z), logvar=-7.5),
    ),
    "aggregate_posterior": _latents(
        "Latents spread as the prior fill it, shifted ones leave a hole.", _noise(64, Z), _noise(64, Z) + 2
    ),
    "active_units": _latents(
        "Dimensions that vary are used, dimensions that stand still are not.", _noise(4, Z), 0.01 * _noise(4, Z)
    ),
}
