"""What a model makes of one hand-written piece, measured on the notes it decodes and the latents it encodes.

`engine.attributes` and plain NumPy; nothing here knows a loss. Not a test. K bars, R rows of a level, Z its width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from scipy.stats import spearmanr

from engine.attributes import CLOCKS_PER_16TH, INDEX, NAMES, measure_bars
from engine.model import fields as f
from engine.model import soft
from engine.model.batch import Notes, Offsets
from engine.model.vaegan import MusicTransformerVAEGAN as Model
from tests.engine import small
from trainer.batches import Batch
from trainer.evaluate import notes as compare

K, CLOCKS = 8, 96


def music() -> np.ndarray:
    """The small tune with off-beat 16ths, micro-shifts and accents: every attribute has something to say."""
    extra = [(bar, 18 + 24 * (bar % 3), 74 - bar % 4, 6, 100, 0) for bar in range(K)]
    notes = np.concatenate([small.tune(K), small.bar_notes(*extra)])
    notes["velocity"] = (notes["velocity"] + 30 * (notes["onset"] % 48 == 0)).clip(1, 127) // 4 * 4 + 1
    notes["micro"] = (notes["onset"] // 24 % 3 - 1) * 0.25
    return notes[np.lexsort((notes["part"], notes["pitch"], notes["onset"], notes["bar"]))]


MUSIC = music()
BARS = small.conditions([CLOCKS] * K, [K // 2, K // 2])
TARGET = Notes.of(MUSIC)
SIGMA = torch.tensor(small.DEVIATIONS).float()
BATCH = Batch(TARGET, TARGET, BARS, Offsets.none(K), ("one", "two"), SIGMA)


@dataclass(frozen=True)
class View:
    """What a model makes of MUSIC."""

    model: Model
    heard: np.ndarray  # BAR_NOTE of the cells it plays
    described: np.ndarray  # MUSIC with the fields the model gives those cells
    q: dict[str, tuple[np.ndarray, np.ndarray]]  # level -> posterior means and deviations


def look(model: Model, rng: torch.Generator | None = None, temperature: float = 0.0) -> View:
    """Greedily from the posterior means; or from samples, with logistic noise on cells and Gumbel noise on fields.

    At a temperature of 1 every cell and field is as likely as the decoder says; below it cells come with the decoder's
    threshold and fields are the likeliest ones, as a take has them.
    """
    with torch.no_grad():
        q = model.eval().encode(TARGET, BARS, rng, rng is None)
        slots = model.slots(q.z_global, q.z_local, q.z_fine, BARS, BATCH.offsets)
        logits = model.decoder.onsets(slots)
        if rng is not None:
            logits = logits + temperature * torch.logit(torch.rand(logits.shape, generator=rng), 1e-6)
        bias = 0.5 if temperature == 1 else model.config.threshold
        bar, cell = (torch.sigmoid(logits) > bias).nonzero(as_tuple=True)
        drawn = rng if temperature == 1 else None
        heard = _note_array(model, slots, bar, cell, drawn)
        described = _note_array(model, slots, TARGET.bar, TARGET.cell, drawn)
    levels = {n: getattr(q, f"q_{n}") for n in ("global", "local", "fine")}
    return View(model, heard, described, {n: (v.mean.numpy(), (v.logvar / 2).exp().numpy()) for n, v in levels.items()})


def _note_array(
    model: Model, slots: torch.Tensor, bar: torch.Tensor, cell: torch.Tensor, rng: torch.Generator | None
) -> np.ndarray:
    said = model.decoder.fields(slots, bar, cell, BATCH.offsets)
    out = np.zeros(len(bar), small.BAR_NOTE)
    out["bar"], out["onset"], out["pitch"] = bar, cell // f.N_PITCHES, cell % f.N_PITCHES + 21

    def chosen(logits: torch.Tensor) -> np.ndarray:
        noise = 0.0 if rng is None else -torch.log(-torch.log(torch.rand(logits.shape, generator=rng)))
        return (logits + noise).argmax(-1).numpy()

    out["duration"] = f.DURATIONS[chosen(said.duration)]
    out["velocity"] = f.VELOCITIES[chosen(said.velocity)]
    out["micro"] = f.MICRO[chosen(said.micro)]
    out["part"] = chosen(F.logsigmoid(said.part[:, :2]))
    return out


Measure = Callable[[View], float]
LENGTHS = np.full(K, CLOCKS)


def f1_error(v: View) -> float:
    return 1 - float(compare.bar_f1(v.heard, MUSIC, K)[0].mean())


def onset_error(v: View) -> float:
    return 1 - float(compare.onset_f1(v.heard, MUSIC, K)[0].mean())


def count_error(v: View) -> float:
    return float(np.abs(_counts(v.heard) - _counts(MUSIC)).mean())


def chroma_error(v: View) -> float:
    return 1 - float(compare.similarity(compare.chroma(v.heard, K), compare.chroma(MUSIC, K)).mean()) / 100


def attribute_error(name: str) -> Measure:
    """Mean distance of an attribute from MUSIC's in sigma; a bar that has none is three away."""

    def measure(v: View) -> float:
        apart = (measure_bars(v.heard, LENGTHS) - measure_bars(MUSIC, LENGTHS))[:, INDEX[name]]
        return float(np.abs(np.nan_to_num(apart / small.DEVIATIONS[INDEX[name]], nan=3.0)).mean())

    return measure


def field_error(name: str, scale: Callable[[np.ndarray], np.ndarray] = np.asarray) -> Measure:
    """Mean distance of a field from MUSIC's, over MUSIC's notes."""
    return lambda v: float(np.abs(scale(v.described[name].astype(float)) - scale(MUSIC[name].astype(float))).mean())


def part_error(v: View) -> float:
    return float((v.described["part"] != MUSIC["part"]).mean())


def part_share_error(v: View) -> float:
    return float(np.mean([abs(v.described["part"][m].mean() - MUSIC["part"][m].mean()) for m in _each_bar(MUSIC)]))


def stress_error(v: View) -> float:
    apart = [_stress(v.described[m]) - _stress(MUSIC[m]) for m in _each_bar(MUSIC)]
    return float(np.abs(np.concatenate(apart)).mean())


def outer_error(pick: Callable[..., np.ndarray]) -> Measure:
    """Share of MUSIC's onsets at which the highest (or lowest) note heard is another."""

    def measure(v: View) -> float:
        lines = [
            {(int(b), int(t)): pick(n["pitch"][(n["bar"] == b) & (n["onset"] == t)]) for b, t in _places(n)}
            for n in (v.heard, MUSIC)
        ]
        return float(np.mean([lines[0].get(place) != pitch for place, pitch in lines[1].items()]))

    return measure


def keys_error(v: View) -> float:
    """One minus the F1 of the pitches a bar uses."""
    used = [np.unique(n[["bar", "pitch"]]) for n in (v.heard, MUSIC)]
    return 1 - 2 * len(np.intersect1d(*used)) / (len(used[0]) + len(used[1]))


def repetition_error(v: View) -> float:
    """Mean difference of the bars' likeness to each other, within each piece."""
    said, meant = (_likeness(_roll(n).reshape(K, -1)) for n in (v.heard, MUSIC))
    return float(np.abs(said - meant)[_same_piece()].mean())


def sounding_error(v: View) -> float:
    """One minus the cosine of the pitch classes that sound, over the 16ths in which MUSIC sounds."""
    said, meant = (_ringing(n) for n in (v.heard, MUSIC))
    rings = meant.sum(2) > 0
    dot = (said * meant).sum(2)[rings]
    return 1 - float((dot / np.maximum(_norm(said)[rings] * _norm(meant)[rings], 1e-9)).mean())


def silence_error(v: View) -> float:
    """Share of 16ths that sound in one version alone."""
    said, meant = (_ringing(n).sum(2) > 0 for n in (v.heard, MUSIC))
    return float((said != meant).mean())


def pulse_error(v: View) -> float:
    """Mean difference of the share of onsets that come back after a quarter, after an eighth, after two quarters."""
    return float(np.mean([np.abs(_returns(v.heard, lag) - _returns(MUSIC, lag)).mean() for lag in (2, 4, 8)]))


def metre_error(v: View) -> float:
    """Total variation between the shares of onsets at the 16 places of a bar, all bars together."""
    said, meant = (np.bincount(n["onset"] // CLOCKS_PER_16TH, minlength=16) / max(len(n), 1) for n in (v.heard, MUSIC))
    return float(np.abs(said - meant).sum() / 2)


def neighbour_error(v: View) -> float:
    """By how much a bar's chroma is less like its neighbours' than MUSIC's is."""
    said, meant = compare.chroma(v.heard, K), compare.chroma(MUSIC, K)
    inside = np.arange(K - 1) % (K // 2) != K // 2 - 1
    own = compare.similarity(meant[1:], meant[:-1])
    short = [own - compare.similarity(said[1:], meant[:-1]), own - compare.similarity(meant[1:], said[:-1])]
    return float(np.maximum(short, 0)[:, inside].mean()) / 100


def foreign_notes(v: View) -> float:
    """Share of notes whose pitch class MUSIC's piece does not have, in the mean of the two pieces."""
    half = [(n["bar"] // (K // 2), n["pitch"] % 12) for n in (v.heard, MUSIC)]
    own = [set(half[1][1][half[1][0] == piece]) for piece in (0, 1)]
    return float(np.mean([np.mean([c not in own[p] for c in half[0][1][half[0][0] == p]]) for p in (0, 1)]))


def interval_error(v: View) -> float:
    """Total variation between the intervals struck together (mod 12)."""
    said, meant = (_struck_intervals(n) for n in (v.heard, MUSIC))
    return float(np.abs(said - meant).sum() / 2)


def chord_error(v: View) -> float:
    """Mean log ratio of notes a struck clock."""
    sizes = [
        _counts(n) / np.maximum([len(np.unique(n["onset"][m])) for m in _each_bar(n)], 1) for n in (v.heard, MUSIC)
    ]
    return float(np.abs(np.log(np.maximum(sizes[0], 0.1)) - np.log(sizes[1])).mean())


def movement_error(v: View) -> float:
    """Difference in semitones of how far the sorted notes of a beat lie from those of the next, mean of the bars."""
    return float(np.abs(_movement(v.heard) - _movement(MUSIC)).mean())


def contour_error(v: View) -> float:
    """One minus the mean correlation of the beats' mean pitches with MUSIC's."""
    said, meant = (_beat_pitches(n) for n in (v.heard, MUSIC))
    return 1 - float(np.mean([_correlation(a, b) for a, b in zip(said, meant, strict=True)]))


def stray_bars(v: View) -> float:
    """Share of bars whose notes are most like those of some other bar of MUSIC."""
    cosine = _roll(v.heard).reshape(K, -1) @ _roll(MUSIC).reshape(K, -1).T / np.sqrt(_counts(MUSIC))
    return float((cosine.argmax(1) != np.arange(K)).mean())


def mean_square(level: str) -> Measure:
    """Mean square of a level's posterior means and deviations' distance from 1."""
    return lambda v: float((v.q[level][0] ** 2).mean() + ((v.q[level][1] - 1) ** 2).mean())


def correlation(v: View) -> float:
    """Mean absolute correlation of two dimensions' posterior means."""
    table = np.abs(np.corrcoef(v.q["fine"][0].T))
    return float(table[~np.eye(len(table), dtype=bool)].mean())


def level_correlation(v: View) -> float:
    """Mean absolute correlation of a dimension of the bar's means with one of its phrase's."""
    fine, local = v.q["fine"][0], np.repeat(v.q["local"][0], 4, 0)
    return float(np.abs(np.corrcoef(fine.T, local.T)[: fine.shape[1], fine.shape[1] :]).mean())


def gaussian_dependence(v: View) -> float:
    """Nats of multi-information of samples, from the eigenvalues of their correlations."""
    mean, sd = v.q["fine"]
    drawn = mean + sd * np.random.default_rng(0).standard_normal((500, *mean.shape))
    table = np.corrcoef(drawn.reshape(-1, mean.shape[1]).T)
    return float(-0.5 * np.log(np.linalg.eigvalsh(table)).sum())


def lost_rows(v: View) -> float:
    """Share of samples that are likelier under the posterior of another bar, phrase or piece, mean of the levels."""
    rng = np.random.default_rng(0)
    shares = []
    for mean, sd in v.q.values():
        drawn = mean + sd * rng.standard_normal((100, *mean.shape))
        under = -(((drawn[:, :, None] - mean) / sd) ** 2 / 2 + np.log(sd)).sum(-1)  # (100, R, R)
        shares.append((under.argmax(-1) != np.arange(len(mean))).mean())
    return float(np.mean(shares))


def map_order(v: View) -> float:
    """Spearman of two bars' distance in z with their distance in chroma and rhythm."""
    likeness = _likeness(compare.chroma(MUSIC, K)) + _likeness(compare.groove(MUSIC, K))
    mean = v.q["fine"][0]
    apart = np.sqrt(((mean[:, None] - mean) ** 2).sum(-1))
    pairs = np.triu_indices(K, 1)
    return float(spearmanr(apart[pairs], -likeness[pairs]).statistic)


def ordered_dimensions(v: View) -> float:
    """Mean Spearman of latent i with attribute i of MUSIC, over the attributes that vary."""
    table = measure_bars(MUSIC, LENGTHS)
    rho = [spearmanr(v.q["fine"][0][:, i], table[:, i]).statistic for i in range(len(NAMES)) if np.ptp(table[:, i]) > 0]
    return float(np.mean(rho))


def narrow(v: View) -> float:
    """Share of posterior deviations below 0.045."""
    return float(np.mean([(sd < 0.045).mean() for _, sd in v.q.values()]))


def dead(v: View) -> float:
    """Share of dimensions whose means vary by less than 0.01 (Burda et al. 2016), mean of the levels."""
    return float(np.mean([(mean.var(0) < 0.01).mean() for mean, _ in v.q.values()]))


# the critic's


def wrong_verdicts(v: View) -> float:
    """Share of MUSIC's and the model's bars that the critic's bar scale takes for what they are not."""
    with torch.no_grad():
        real, fake = (v.model.critic(soft.real(Notes.of(n), BARS, CLOCKS), BARS)["bar"].score for n in (MUSIC, v.heard))
    return float(torch.cat([real <= 0, fake >= 0]).float().mean())


def wrong_latents(v: View) -> float:
    """Share of latents drawn from N(0, 1) and from the posteriors that the latent critic confuses."""
    rng = np.random.default_rng(0)
    width = sum(m.shape[1] for m, _ in v.q.values())
    rows = {"fine": 1, "local": 4, "global": 4}
    own = np.concatenate(
        [np.repeat(m + s * rng.standard_normal(m.shape), rows[n], 0) for n, (m, s) in v.q.items()][::-1], 1
    )
    with torch.no_grad():
        prior, post = (
            v.model.critic.of_latents(torch.from_numpy(x).float()) for x in (rng.standard_normal((K, width)), own)
        )
    return float(torch.cat([prior <= 0, post >= 0]).float().mean())


def bumpiness(v: View) -> float:
    """Mean change of the critic's scores when every cell of MUSIC moves by a thousandth, at random."""
    return _change(v, soft.real(TARGET, BARS, CLOCKS))


def _change(v: View, bars: soft.SoftBars) -> float:
    rng = torch.Generator().manual_seed(0)
    changes = []
    with torch.no_grad():
        before = _scores(v, bars)
        for _ in range(8):
            grids = [g + 1e-3 * torch.randn(g.shape, generator=rng) for g in (bars.onset, bars.duration, bars.velocity)]
            changes.append((_scores(v, soft.SoftBars(*grids, bars.inside)) - before).abs().mean())
    return float(torch.stack(changes).mean()) * 1e3


def _scores(v: View, bars: soft.SoftBars) -> torch.Tensor:
    return torch.cat([scale.score for scale in v.model.critic(bars, BARS).values()])


def unguessed(v: View) -> float:
    """Share of MUSIC's pitches in a hidden bar that are not among the critic's twelve first guesses for their slot."""
    hidden = torch.zeros(K, CLOCKS // 4, dtype=torch.bool)
    hidden[::4] = True
    with torch.no_grad():
        best = v.model.critic.guesses(soft.real(TARGET, BARS, CLOCKS), BARS, hidden).topk(12, -1).indices
    mine = MUSIC[MUSIC["bar"] % 4 == 0]
    return float(np.mean([n["pitch"] - 21 not in best[n["bar"], n["onset"] // 4] for n in mine]))


# small arithmetic on notes


def _counts(notes: np.ndarray) -> np.ndarray:
    return np.bincount(notes["bar"], minlength=K).astype(float)


def _each_bar(notes: np.ndarray) -> list[np.ndarray]:
    return [notes["bar"] == bar for bar in range(K)]


def _places(notes: np.ndarray) -> np.ndarray:
    return np.unique(np.stack([notes["bar"], notes["onset"]], 1).astype(int), axis=0)


def _stress(notes: np.ndarray) -> np.ndarray:
    return notes["velocity"].astype(float) - notes["velocity"].mean()


def _roll(notes: np.ndarray) -> np.ndarray:
    roll = np.zeros((K, CLOCKS, 128))
    roll[notes["bar"], notes["onset"], notes["pitch"]] = 1
    return roll


def _norm(x: np.ndarray) -> np.ndarray:
    return np.linalg.norm(x, axis=-1)


def _likeness(x: np.ndarray) -> np.ndarray:
    return x @ x.T / np.maximum(_norm(x)[:, None] * _norm(x), 1e-9)


def _same_piece() -> np.ndarray:
    piece = np.arange(K) // (K // 2)
    return (piece[:, None] == piece) & ~np.eye(K, dtype=bool)


def _ringing(notes: np.ndarray) -> np.ndarray:
    """(K, 16, 12) how many notes of each pitch class sound in each 16th."""
    out = np.zeros((K, 16, 12))
    for n in notes:
        first = n["onset"] // CLOCKS_PER_16TH
        out[
            n["bar"], first : max(-(-int(n["onset"] + n["duration"]) // CLOCKS_PER_16TH), first + 1), n["pitch"] % 12
        ] += 1
    return out


def _returns(notes: np.ndarray, lag: int) -> np.ndarray:
    """(K,) share of onset pairs that lie `lag` 16ths apart."""
    struck = np.zeros((K, 16))
    np.add.at(struck, (notes["bar"], notes["onset"] // CLOCKS_PER_16TH), 1)
    return (struck[:, lag:] * struck[:, :-lag]).sum(1) / np.maximum((struck**2).sum(1), 1)


def _struck_intervals(notes: np.ndarray) -> np.ndarray:
    """(12,) shares of the intervals (mod 12) between notes of one bar that sound together."""
    rings = _ringing(notes)
    table = np.array([(rings * np.roll(rings, -n, 2)).sum() for n in range(1, 12)])
    return table / max(table.sum(), 1)


def _beats(notes: np.ndarray) -> list[list[np.ndarray]]:
    return [[notes["pitch"][m & (notes["onset"] // 24 == b)].astype(float) for b in range(4)] for m in _each_bar(notes)]


def _movement(notes: np.ndarray) -> np.ndarray:
    """(K,) mean distance of the quantiles of a beat's pitches from the next beat's."""
    at = np.linspace(0.05, 0.95, 10)
    out = []
    for beats in _beats(notes):
        both = [(a, b) for a, b in pairwise(beats) if len(a) and len(b)]
        steps = [
            np.abs(np.quantile(a, at, method="inverted_cdf") - np.quantile(b, at, method="inverted_cdf")).mean()
            for a, b in both
        ]
        out.append(np.mean(steps) if steps else 0.0)
    return np.array(out)


def _beat_pitches(notes: np.ndarray) -> list[np.ndarray]:
    return [np.array([b.mean() if len(b) else np.nan for b in beats]) for beats in _beats(notes)]


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    both = np.isfinite(a) & np.isfinite(b)
    return float(np.corrcoef(a[both], b[both])[0, 1]) if both.sum() > 2 and np.ptp(a[both]) > 0 else 0.0
