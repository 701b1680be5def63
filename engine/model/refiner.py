"""The refiner: notes one by one over the decoder's draft, each seeing those before it, in its bar and in earlier ones.

The decoder's cells are independent given the latents; where latents are not those of any music, as new ones may be,
they need not agree with each other. A causal transformer over the notes adds residuals to the draft's own logits, field
by field: when, which pitch, how long, how loud, which parts. Its last layers begin at zero: untrained, it is the draft.

R rows (passages), L tokens of the longest, N tokens in all, K bars, T clocks, W width, H width of the heads. A token is
the beginning of a bar or a note; it tells of itself and is asked for the next note of its bar, or for the bar's end.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.config import ModelConfig
from engine.model import fields as f
from engine.model.attention import Block, Cache
from engine.model.batch import Bars, Notes
from engine.model.decoder import Fields
from engine.model.draft import IMPOSSIBLE, Draft
from engine.model.position import EventPosition
from engine.model.views import Scope

HEADS = 96  # H
POINT = 48  # width in which a token asks for a clock
FAR = 96  # clocks from the last note that are told apart
REACH = 256  # tokens that attention sees
BELIEF = 32  # width of the condition
CLOCK_KEYS = f.SLOT_CLOCKS * POINT
FIELDS = ("when", "which", "duration", "velocity", "part")
LEAST, MOST = -4.0, 1.0  # log of the factor on the draft's logits


@dataclass(frozen=True, slots=True)
class Tokens:
    """Bars and their notes, row by row in the order they are written. A bar's own token has pitch -1 and clock 0."""

    row: Tensor  # (N,)
    at: Tensor  # (N,) place in its row
    bar: Tensor  # (N,)
    clock: Tensor
    pitch: Tensor  # -1 to 87
    duration: Tensor  # 0 for a bar's own token, as is velocity
    velocity: Tensor
    parts: Tensor  # (N, 16) 1 for each part that plays the note

    @property
    def lowest(self) -> Tensor:
        """(N,) the first pitch of the token's clock that is not decided yet."""
        return self.pitch + 1

    @classmethod
    def of(cls, notes: Notes, bars: Bars, row: Tensor) -> Tokens:
        """Tokens of all notes; `row` (K,) says to which passage each bar belongs, and bars of one follow each other.

        Notes of one cell are one token: the fields of the first, every part that plays it.
        """
        cells = len(bars.clocks) and int(bars.clocks.max()) * f.N_PITCHES
        key, cell = torch.unique(notes.bar * cells + notes.cell, return_inverse=True)
        first = torch.full_like(key, len(cell)).scatter_reduce(0, cell, torch.arange(len(cell)).to(cell), "amin")
        parts = torch.zeros(len(key), f.N_PARTS, device=key.device)
        parts[cell, notes.part] = 1
        begins = torch.arange(len(bars.clocks), device=key.device)
        bar = torch.cat([begins, notes.bar[first]])
        order = torch.argsort(bar, stable=True)  # keys ascend and bars' own tokens are in front: raster order
        own = torch.zeros_like(begins)

        def both(value: Tensor, of_bar: Tensor) -> Tensor:
            return torch.cat([of_bar, value[first]])[order]

        bar, rows = bar[order], row[bar[order]]
        count = torch.bincount(rows, minlength=int(row.max()) + 1 if len(row) else 0)
        at = torch.arange(len(bar), device=bar.device) - (count.cumsum(0) - count)[rows]
        return cls(
            row=rows,
            at=at,
            bar=bar,
            clock=both(notes.onset, own),
            pitch=both(notes.pitch, own - 1),
            duration=both(notes.duration, own),
            velocity=both(notes.velocity, own),
            parts=torch.cat([parts.new_zeros(len(begins), f.N_PARTS), parts])[order],
        )

    def following(self, end: int) -> tuple[Tensor, Tensor]:
        """(N,) the clock of the note that comes next in each token's bar (`end`: none does), and (N,) which it is."""
        after = torch.arange(1, len(self.bar) + 1, device=self.bar.device).clamp(max=max(len(self.bar) - 1, 0))
        goes_on = (self.bar[after] == self.bar) & (self.pitch[after] >= 0)
        goes_on[-1:] = False
        return torch.where(goes_on, self.clock[after], end), after


class Refiner(nn.Module):
    """A causal transformer over notes; what it says is added to a draft."""

    def __init__(self, c: ModelConfig) -> None:
        super().__init__()
        w, slot = c.refiner_dim, c.hidden_dim
        self.pitch, self.chroma = nn.Embedding(f.N_PITCHES + 1, w), nn.Embedding(13, w)
        self.duration, self.velocity = nn.Embedding(len(f.DURATIONS), w), nn.Embedding(f.VELOCITY_BINS, w)
        for table in (self.pitch, self.chroma, self.duration, self.velocity):
            nn.init.normal_(table.weight, std=0.1)
        self.parts = nn.Linear(f.N_PARTS, w, bias=False)
        self.meter = nn.Linear(f.N_PARTS + 2, w)
        self.of_slot, self.of_cells, self.of_bar = nn.Linear(slot, w), nn.Linear(f.N_PITCHES, w), nn.Linear(88, w)
        self.position = EventPosition(w)
        self.belief = nn.Sequential(nn.Linear(3, BELIEF), nn.GELU())
        scope = Scope(causal=True, window=REACH)
        self.blocks = nn.ModuleList(
            Block(w, c.heads_for(w), "sliding_window", BELIEF, scope) for _ in range(c.refiner_layers)
        )
        self.norm = nn.LayerNorm(w)
        self.ask, self.far = nn.Linear(w, POINT), nn.Embedding(FAR + 1, POINT)
        self.clocks, self.clock_place = nn.Linear(slot, CLOCK_KEYS), EventPosition(POINT)
        self.over = nn.Linear(w, 1)
        self.at_clock, self.seen_slot = nn.Linear(w, HEADS), nn.Linear(slot, HEADS)
        self.seen_cells, self.head_place = nn.Linear(f.N_PITCHES, HEADS, bias=False), EventPosition(HEADS)
        self.given_pitch, self.given_chroma = nn.Embedding(f.N_PITCHES, HEADS), nn.Embedding(12, HEADS)
        self.given_duration = nn.Embedding(len(f.DURATIONS), HEADS)
        self.given_velocity = nn.Embedding(f.VELOCITY_BINS, HEADS)
        for table in (self.far, self.given_pitch, self.given_chroma, self.given_duration, self.given_velocity):
            nn.init.normal_(table.weight, std=0.1)
        self.hidden = nn.ModuleList(nn.Linear(HEADS, HEADS) for _ in range(4))
        sizes = (f.N_PITCHES, len(f.DURATIONS), f.VELOCITY_BINS, f.N_PARTS)
        self.said = nn.ModuleList(nn.Linear(HEADS, size) for size in sizes)
        self.trust = nn.Linear(w, len(FIELDS))
        for last in (self.ask, self.over, self.trust, *self.said):  # nothing is added to the draft yet
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def embed(self, t: Tokens, draft: Draft) -> Tensor:
        """(N, W) what each token tells: itself, where it stands, and the draft there."""
        bars, note = draft.bars, t.pitch >= 0
        own = self.duration(t.duration) + self.velocity(t.velocity) + self.parts(t.parts)
        about = torch.cat([bars.parts, bars.clocks[:, None] / 96, bars.beat[:, None] / 24], -1).to(own.dtype)
        of_bar = self.meter(about) + self.of_bar(torch.sigmoid(draft.cells).sum(1))
        x = torch.where(note[:, None], own, of_bar[t.bar])
        x = x + self.pitch(t.pitch + 1) + self.chroma(torch.where(note, t.pitch % 12, 12))
        x = x + self.of_slot(draft.slots[t.bar, t.clock // f.SLOT_CLOCKS])
        x = x + self.of_cells(torch.sigmoid(draft.cells[t.bar, t.clock]))
        out: Tensor = x + self.position(places(bars, t.bar, t.clock))
        return out

    def read(self, x: Tensor, away: Tensor, cache: list[Cache] | None = None) -> Tensor:
        """(R, L, W) states after each token of rows (R, L, W); `away` (R,), 0 to 1, is how little the draft counts.

        With a cache (see `new_cache`) the tokens follow those already read. Padding belongs at the end.
        """
        condition = self.belief(torch.stack([away, away**2, torch.sqrt(away)], -1))
        for i, block in enumerate(self.blocks):
            x = block(x, condition=condition, cache=None if cache is None else cache[i])
        out: Tensor = self.norm(x)
        return out

    def new_cache(self) -> list[Cache]:
        """An empty cache: reading rows in pieces through it equals reading them at once."""
        return [Cache() for _ in self.blocks]

    def states(self, t: Tokens, draft: Draft, away: Tensor) -> Tensor:
        """(N, W) states of whole rows at once."""
        x = self.embed(t, draft)
        rows = x.new_zeros(len(away), int(t.at.max()) + 1, x.shape[-1])
        rows = rows.index_put((t.row, t.at), x)
        return self.read(rows, away)[t.row, t.at]

    def clock_keys(self, draft: Draft) -> Tensor:
        """(K, T, P) what a token finds when it asks for a clock."""
        k = len(draft.slots)
        clock = torch.arange(draft.end, device=draft.slots.device).expand(k, -1)
        bar = torch.arange(k, device=clock.device)[:, None].expand_as(clock)
        out: Tensor = self.clocks(draft.slots).view(k, -1, POINT) + self.clock_place(places(draft.bars, bar, clock))
        return out

    def trusted(self, h: Tensor) -> Tensor:
        """(N, 5) by what the draft's logits of each field are multiplied: below 1 where it claims too much."""
        out: Tensor = self.trust(h).clamp(LEAST, MOST).exp()
        return out

    def when(self, h: Tensor, t: Tokens, draft: Draft, keys: Tensor) -> Tensor:
        """(N, T + 1) logits of the clock of the next note, the last column for the bar's end."""
        asked = self.ask(h)
        away = (torch.arange(draft.end, device=h.device) - t.clock[:, None]).clamp(0, FAR)
        found = torch.einsum("np,ntp->nt", asked, keys[t.bar]) + (asked @ self.far.weight.T).gather(1, away)
        drafted = self.trusted(h)[:, :1] * draft.when(t.bar, t.clock, t.lowest)
        return drafted + torch.cat([found, self.over(h)], -1)

    def at(self, h: Tensor, bar: Tensor, clock: Tensor, draft: Draft) -> Tensor:
        """(N, H) what the heads know once the clock (N,) of the next note is chosen."""
        x = self.at_clock(h) + self.seen_slot(draft.slots[bar, clock // f.SLOT_CLOCKS])
        x = x + self.seen_cells(torch.sigmoid(draft.cells[bar, clock]))
        out: Tensor = x + self.head_place(places(draft.bars, bar, clock))
        return out

    def which(self, g: Tensor, drafted: Tensor) -> Tensor:
        """(N, 88) logits of the next note's pitch; those that are below the last one of its clock are left out."""
        return drafted + torch.where(drafted > IMPOSSIBLE / 100, self._said(0, g), 0.0)

    def given(self, g: Tensor, pitch: Tensor) -> Tensor:
        """(N, H) the same once the pitch is chosen too."""
        out: Tensor = g + self.given_pitch(pitch) + self.given_chroma(pitch % 12)
        return out

    def how_long(self, g: Tensor) -> Tensor:
        """(N, classes) added to the draft's duration logits."""
        return self._said(1, g)

    def how_loud(self, g: Tensor, duration: Tensor) -> Tensor:
        """(N, classes) added to the draft's velocity logits, given the duration."""
        return self._said(2, g + self.given_duration(duration))

    def whose(self, g: Tensor, duration: Tensor, velocity: Tensor) -> Tensor:
        """(N, 16) added to the draft's part logits, given duration and velocity."""
        return self._said(3, g + self.given_duration(duration) + self.given_velocity(velocity))

    def _said(self, which: int, g: Tensor) -> Tensor:
        out: Tensor = self.said[which](F.gelu(self.hidden[which](F.gelu(g, approximate="tanh")), approximate="tanh"))
        return out


def places(bars: Bars, bar: Tensor, clock: Tensor) -> Tensor:
    """(..., 3) clock in beat, beat in bar and bar in phrase of clocks (...) in bars (...)."""
    beat = bars.beat[bar]
    return torch.stack([clock % beat, clock // beat, bars.place[bar]], -1)


def nats(refiner: Refiner | None, t: Tokens, draft: Draft, told: Fields, away: Tensor) -> dict[str, Tensor]:
    """Negative log-likelihood of the tokens, summed, field by field; without a refiner the draft's own.

    `told` are the decoder's fields of the tokens that are notes, in their order.
    """
    clock, after = t.following(draft.end)
    notes = clock < draft.end  # tokens a note follows
    follows = after[notes]  # and which; every note follows something, so these are all notes in their order
    bar, onset, pitch = t.bar[notes], clock[notes], t.pitch[follows]
    lowest = torch.where(onset == t.clock[notes], t.lowest[notes], 0)
    duration, velocity, parts = told.duration, told.velocity, told.part
    if refiner is None:
        when, which = draft.when(t.bar, t.clock, t.lowest), draft.which(bar, onset, lowest)
    else:
        h = refiner.states(t, draft, away)
        when = refiner.when(h, t, draft, refiner.clock_keys(draft))
        g, trust = refiner.at(h[notes], bar, onset, draft), refiner.trusted(h[notes])
        which = refiner.which(g, trust[:, 1:2] * draft.which(bar, onset, lowest))
        g = refiner.given(g, pitch)
        long, loud = t.duration[follows], t.velocity[follows]
        duration = trust[:, 2:3] * duration + refiner.how_long(g)
        velocity = trust[:, 3:4] * velocity + refiner.how_loud(g, long)
        parts = trust[:, 4:5] * parts + refiner.whose(g, long, loud)
    plays = draft.bars.parts[bar]
    each = F.binary_cross_entropy_with_logits(parts, t.parts[follows], reduction="none")
    return {
        "when": F.cross_entropy(when, clock, reduction="sum"),
        "which": F.cross_entropy(which, pitch, reduction="sum"),
        "duration": F.cross_entropy(duration, t.duration[follows], reduction="sum"),
        "velocity": F.cross_entropy(velocity, t.velocity[follows], reduction="sum"),
        "part": (each * plays).sum(),
    }
