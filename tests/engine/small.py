"""Music written by hand, and a model small enough to learn it in seconds. Helpers of tests; not a test.

Rows of notes read (bar, onset in clocks, pitch, duration in clocks, velocity, part); what is left out has a default.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from engine.attributes import NAMES
from engine.config import Config, LossConfig, ModelConfig
from engine.model.batch import PHRASE_BARS, Bars, Notes, Offsets
from engine.model.fields import N_PARTS
from engine.model.vaegan import MusicTransformerVAEGAN
from engine.score import Event, Meter, Score, Tempo, Track, make_notes
from engine.tokens.bars import BAR_NOTE

MODEL = ModelConfig(
    hidden_dim=32,
    heads=2,
    decoder_layers=1,
    encoder_layers=1,
    slot_dim=16,
    bar_dim=32,
    note_dim=32,
    latent_dim=16,
    local_dim=8,
    global_dim=8,
    prior_dim=32,
    prior_layers=1,
)
CONFIG = Config(model=MODEL)
DEVIATIONS = np.array([1.5, 0.2, 0.2, 1.0, 5.0, 8.0, 0.4, 15.0, 8.0, 3.0, 0.3, 0.06])  # about those of real corpora


def bar_notes(*rows: Sequence[float]) -> NDArray[np.void]:
    """BAR_NOTE from (bar, onset, pitch[, duration[, velocity[, part[, micro]]]]) rows, sorted."""
    out = np.zeros(len(rows), BAR_NOTE)
    fields = ("bar", "onset", "pitch", "duration", "velocity", "part", "micro")
    rest = (0, 0, 60, 24, 80, 0, 0.0)
    for i, name in enumerate(fields):
        out[name] = [row[i] if len(row) > i else rest[i] for row in rows]
    return out[np.lexsort((out["part"], out["pitch"], out["onset"], out["bar"]))]


def conditions(clocks: Sequence[int], pieces: Sequence[int] | None = None, parts: int = 2, beat: int = 24) -> Bars:
    """Conditions of bars with these lengths; `pieces` says how many bars each piece has (default: all in one)."""
    runs = [len(clocks)] if pieces is None else list(pieces)
    phrases = [-(-n // PHRASE_BARS) for n in runs]
    before = np.cumsum([0, *phrases])
    return Bars(
        clocks=torch.tensor(clocks),
        beat=torch.full((len(clocks),), beat),
        parts=(torch.arange(N_PARTS) < parts).float().expand(len(clocks), -1),
        place=torch.cat([torch.arange(n) % PHRASE_BARS for n in runs]),
        phrase=torch.cat([b + torch.arange(n) // PHRASE_BARS for b, n in zip(before, runs, strict=False)]),
        piece=torch.repeat_interleave(torch.arange(len(runs)), torch.tensor(phrases)),
    )


def model(seed: int = 0, **changes: object) -> MusicTransformerVAEGAN:
    """An untrained model whose every parameter has some effect, in eval mode."""
    torch.manual_seed(seed)
    made = MusicTransformerVAEGAN(replace(MODEL, **changes))
    with torch.no_grad():
        for p in made.parameters():  # what starts at zero would hide a path
            if not p.any():
                p.normal_(std=0.1)
    return made.eval()


def offsets(bars: int, **sliders: float) -> Offsets:
    """The given sliders moved in every bar, the others free."""
    out = Offsets.none(bars)
    for name, value in sliders.items():
        out.value[:, NAMES.index(name)], out.known[:, NAMES.index(name)] = value, 1
    return out


def tune(bars: int = 8, shift: int = 0) -> NDArray[np.void]:
    """A melody over chords, two parts, 4/4: every bar differs."""
    scale = [60, 62, 64, 65, 67, 69, 71, 72]
    rows: list[Sequence[float]] = []
    for bar in range(bars):
        root = [0, 3, 4, 0, 5, 3, 4, 0][bar % 8]
        for beat in range(4):
            pitch = scale[(root + [0, 2, 4, 1][(beat + bar) % 4]) % 8] + 12 + shift
            rows.append((bar, beat * 24, pitch, 24 if beat % 2 else 12, 70 + 4 * beat, 0))
            if (bar + beat) % 3 == 0:
                rows.append((bar, beat * 24 + 12, pitch - 1, 12, 64, 0))
        rows += [(bar, 0, scale[(root + third) % 8] - 12 + shift, 48, 60, 1) for third in (0, 2, 4)]
        rows += [(bar, 48, scale[(root + third) % 8] - 12 + shift, 40, 56, 1) for third in (0, 2)]
    return bar_notes(*rows)


def score(bars: int = 8, shift: int = 0, ticks_per_quarter: int = 480) -> Score:
    """`tune` as a score of two tracks."""
    per_clock = ticks_per_quarter // 24
    rows = [
        ((n["bar"] * 96 + n["onset"]) * per_clock, int(n["duration"]) * per_clock, n["pitch"], n["velocity"], n["part"])
        for n in tune(bars, shift)
    ]
    tracks = (Track("Melody", 73, 0), Track("Chords", 0, 1))
    return Score(ticks_per_quarter, tracks, make_notes([tuple(map(int, r)) for r in rows]))


def rich_score() -> Score:
    """`score` with what the model does not speak: drums, pedal, controllers, bends, lyrics, notes out of range."""
    plain = score()
    tracks = (*plain.tracks, Track("Kit", 0, 9, is_drum=True), Track("Sub", 38, 2))
    drums = [(tick, 60, 36 + tick // 240 % 3, 100, 2) for tick in range(0, 8 * 1920, 240)]
    low = [(1920 * bar + 100, 700, 12 + bar, 90, 3) for bar in range(8)]  # below A0
    played = [(1920 * bar + 243, 333, 40, 71, 3) for bar in range(8)]  # off the grid, in range
    events = (
        Event(0, -1, b"\xff\x03Title"),
        Event(0, 0, b"\xb0\x40\x7f"),
        Event(1900, 0, b"\xb0\x40\x00"),
        Event(500, 1, b"\xb1\x07\x64"),
        Event(777, 1, b"\xe1\x00\x50"),
        Event(960, 0, b"\xff\x05la"),
        Event(4000, -1, b"\xff\x06B"),
    )
    notes = np.concatenate([plain.notes, make_notes(drums + low + played)])
    tempi = (Tempo(0, 500_000), Tempo(3 * 1920, 421_337))
    return Score(480, tracks, notes, (Meter(0, 4, 4),), tempi, events)


def rouse(made: MusicTransformerVAEGAN, notes: NDArray[np.void], bars: Bars) -> None:
    """A prior that has learnt nothing, but draws about where these bars are and looks at all it is given."""
    noise = torch.Generator().manual_seed(0)
    with torch.no_grad():
        made.prior.fit(made.encode(Notes.of(notes), bars, mean=True).z_fine)
        made.prior.scale.clamp_(min=0.5)  # of eight bars some dimensions hardly vary
        for weight in made.prior.parameters():
            weight += 0.1 * torch.randn(weight.shape, generator=noise)


def learn(
    made: MusicTransformerVAEGAN,
    notes: NDArray[np.void],
    bars: Bars,
    steps: int,
    rate: float = 5e-3,
    loss: LossConfig | None = None,
) -> None:
    """Fit the bars themselves, no edits, no noise in z: the quickest way to a model that knows its notes."""
    from trainer.batches import Batch
    from trainer.objective import Objective

    plain = Notes.of(notes)
    batch = Batch(plain, plain, bars, Offsets.none(len(bars.clocks)))
    objective = Objective(made, loss or LossConfig(weights={"kl_fine": 1e-3, "kl_local": 1e-3, "kl_global": 1e-3}))
    trained = [p for n, p in made.named_parameters() if not n.startswith("prior")]
    optimiser = torch.optim.AdamW(trained, lr=rate, weight_decay=0.0, fused=True)
    made.train()
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = rate * min(1.0, 4 * (1 - step / steps), (step + 1) / 10)
        total, _, _ = objective(batch, 1.0, None, True)
        total.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
    made.eval()
