"""A real piece learnt by heart with the objective as it is trained: no broken loss, no bypassed latent can do that."""

from __future__ import annotations

from pathlib import Path

import torch

from engine import config
from engine.model.batch import Bars, Notes, Offsets
from engine.model.fields import N_PITCHES
from engine.model.vaegan import MusicTransformerVAEGAN
from engine.score import midi
from engine.score.cut import cut
from engine.score.timing import BarGrid
from engine.session import conditions_of
from engine.tokens.bars import part_tracks, to_bars
from trainer.batches import Batch
from trainer.objective import Objective

DEMO = Path(__file__).resolve().parents[2] / "assets" / "demo" / "nocturne.mid"
BARS, STEPS = 16, 200


def test_sixteen_bars_are_learnt_by_heart() -> None:
    """Free-running from the posterior mean, all sixteen bars taken as one: F1 of onset and pitch at least .99."""
    torch.manual_seed(0)
    whole = midi.read_notes(DEMO)
    score = cut(whole, BarGrid.of(whole), range(BARS))
    grid = BarGrid.of(score)
    bars = conditions_of(grid, len(part_tracks(score)))
    notes = Notes.of(to_bars(score, grid))
    batch = Batch(notes, notes, bars, Offsets.none(BARS))
    settings = config.load(Path("tiny"))
    model = MusicTransformerVAEGAN(settings.model)
    objective = Objective(model, settings.loss)
    optimiser = torch.optim.AdamW([p for n, p in model.named_parameters() if not n.startswith("prior")], lr=4e-3)
    noise = torch.Generator().manual_seed(0)
    for step in range(STEPS):
        optimiser.param_groups[0]["lr"] = 4e-3 * min(1.0, 2 * (1 - step / STEPS))
        loss, _, _ = objective(batch, 1.0, noise)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
    model.eval()
    with torch.no_grad():
        onsets = objective(batch, 1.0, None, True)[2]
    heard, cells = (float(x) for x in counts(onsets, notes, bars, settings.model.threshold))
    say(f"note F1 of {BARS} bars learnt by heart: {heard / cells:.4f}")
    assert heard / cells >= 0.99


def counts(onsets: torch.Tensor, notes: Notes, bars: Bars, threshold: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Twice the cells that are in both, and the cells of each added up: their ratio is the F1 of the whole."""
    inside = torch.arange(onsets.shape[1]) < (bars.clocks * N_PITCHES)[:, None]
    guess = (torch.sigmoid(onsets) > threshold) & inside
    truth = torch.zeros_like(guess)
    truth[notes.bar, notes.cell] = True
    return 2 * (guess & truth).sum(), guess.sum() + truth.sum()


def say(line: str) -> None:
    """A figure, for whoever runs this with -s."""
    print(line)  # noqa: T201
