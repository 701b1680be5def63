"""Events are written as the encoder writes them, in time, in order, and the same ones for the same seed."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from engine import events as E
from engine.config import ModelConfig
from engine.errors import MorphonyError
from engine.model.vaegan import MusicTransformerVAEGAN
from engine.score import Event, Meter, Score, Tempo, Track, make_notes, midi
from engine.score.timing import BarGrid
from engine.tokens import context
from engine.tokens.codec import Tokens, decode, encode, to_clocks
from engine.tokens.grammar import Grammar, first_error
from engine.tokens.places import BarLines, clocks_of, places
from engine.tokens.vocab import FAMILIES, SIZE
from tests.engine import small

DEMO = sorted((Path(__file__).resolve().parents[2] / "assets" / "demo").glob("*.mid"))
START = np.array([FAMILIES["START"].first], np.int16)
BUSY = dict.fromkeys([*FAMILIES["TIME_SHIFT"].ids[5:24:6], *FAMILIES["INSTRUMENT"].ids], 6.0)
BUSY |= dict.fromkeys(FAMILIES["NOTE_ON"].ids, 2.0)


@dataclass
class FakeCache:
    """Remembers what it was fed, and how streams were exchanged."""

    ids: Tensor | None = None

    def select(self, rows: Tensor) -> FakeCache:
        return FakeCache(None if self.ids is None else self.ids[rows])


class Fake:
    """A model without weights: every token as likely as every other, unless `prefer` says how much it likes one.

    It checks that through its cache it sees each stream whole, with the place of every token.
    """

    def __init__(self, lines: BarLines | None = None, prefer: dict[int, float] | None = None) -> None:
        self.lines, self.calls, self.longest = lines, 0, 0
        self.logits = torch.zeros(SIZE)
        for token, logit in (prefer or {}).items():
            self.logits[token] = logit

    def new_cache(self) -> list[FakeCache]:
        return [FakeCache()]

    def __call__(self, ids: Tensor, where: Tensor, cache: Any = None) -> Tensor:
        self.calls += 1
        assert self.calls < 5000, "it never ends"
        seen = cache[0].ids
        cache[0].ids = ids if seen is None else torch.cat([seen, ids], 1)
        self.seen = cache[0].ids
        self.longest = max(self.longest, cache[0].ids.shape[1])
        if self.lines is not None:
            for row, place in zip(cache[0].ids.numpy(), where.numpy(), strict=True):
                assert np.array_equal(places(row, self.lines)[-len(place) :], place)
        return self.logits.expand(*ids.shape, SIZE)


def session(model: Any) -> Any:
    """What the jobs need of a session."""
    return SimpleNamespace(model=SimpleNamespace(events=model), device=torch.device("cpu"))


def end_of(job: Generator[Any, None, Any]) -> tuple[list[Any], Any]:
    seen = []
    while True:
        try:
            seen.append(next(job))
        except StopIteration as end:
            return seen, end.value


def fresh(numerator: int = 4, denominator: int = 4) -> BarLines:
    return BarLines.of(BarGrid.of(Score(24, (), make_notes(), (Meter(0, numerator, denominator),))))


def sample(lines: BarLines, bars: int, parts: int = 2, model: Any = None, **options: Any) -> list[Tokens]:
    prompt = Tokens(START, (0,) * parts)
    return end_of(E.write(model or Fake(lines), prompt, lines, range(bars), **options))[1]


def is_its_own_encoding(tokens: Tokens) -> bool:
    return encode(decode(tokens)).ids.tolist() == tokens.ids.tolist()


@pytest.mark.parametrize("meter", [(4, 4), (3, 4), (7, 8), (1, 16)])
@pytest.mark.parametrize("parts", [1, 2, 16])
@pytest.mark.parametrize("liked", [{}, BUSY], ids=["uniform", "busy"])
def test_whatever_a_uniform_model_says_is_what_the_encoder_would_write(
    meter: tuple[int, int], parts: int, liked: dict[int, float]
) -> None:
    """Read as music and written again: the same ids, whatever parts came in."""
    lines = fresh(*meter)
    for seed in range(4):
        for tokens in sample(lines, 3, parts, Fake(lines, liked), seed=seed, count=2):
            assert first_error(tokens.ids.tolist()) is None
            score = decode(tokens)
            heard = np.unique(score.notes["track"])
            assert heard.tolist() == list(range(len(heard)))  # parts came in by number
            assert is_its_own_encoding(Tokens(tokens.ids, tokens.programs[: len(heard)]))


def test_the_model_is_shown_every_token_once_and_in_order() -> None:
    model = Fake(prefer=BUSY)
    tokens = sample(fresh(), 4, model=model, seed=7)[0]
    assert model.seen[0].tolist() == tokens.ids.tolist()[:-1]  # all but END, after which nothing is asked
    assert model.calls == len(tokens.ids) - 1


def test_no_note_and_no_end_lies_beyond_the_bars_asked_for() -> None:
    lines = fresh(3, 4)
    for tokens in sample(lines, 5, model=Fake(lines, BUSY), count=8, seed=3):
        score = decode(tokens)
        assert score.end_tick <= 5 * 72
        assert int(clocks_of(tokens.ids)[-1]) >= 4 * 72  # the last bar was reached
        assert int(score.notes["tick"].max()) < 5 * 72


@pytest.mark.parametrize("liked", ["NOTE_ON", "NOTE_OFF", "SUSTAIN", "VELOCITY_CHANGE", "INSTRUMENT", "TEMPO", "END"])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_model_in_love_with_one_kind_of_token_still_comes_to_an_end(liked: str, temperature: float) -> None:
    lines = fresh(1, 32)
    entry = dict.fromkeys([*FAMILIES["INSTRUMENT"].ids, *FAMILIES["VELOCITY_CHANGE"].ids], 6.0)
    model = Fake(lines, entry | dict.fromkeys(FAMILIES[liked].ids, 12.0))
    tokens = sample(lines, 1, 2, model, sampling=E.Sampling(temperature=temperature), seed=1)[0]
    assert first_error(tokens.ids.tolist()) is None


def test_a_mask_always_leaves_something_and_never_more_than_the_grammar() -> None:
    rng = np.random.default_rng(0)
    lines = fresh(2, 4)
    for _ in range(60):
        stream = E.Stream(START, lines, range(int(rng.integers(1, 4))), int(rng.integers(1, 17)))
        weight = rng.random(SIZE) ** 8
        while not stream.ended:
            allowed = stream.allowed()
            assert allowed.any()
            assert not (allowed & ~stream.grammar.mask()).any()
            stream.take(int(rng.choice(SIZE, p=weight * allowed / (weight * allowed).sum())))


def test_the_same_seed_gives_the_same_tokens_and_another_seed_others() -> None:
    lines = fresh()
    one, again, other = (sample(lines, 2, seed=s)[0].ids.tolist() for s in (5, 5, 6))
    assert one == again
    assert one != other


def test_a_stream_does_not_depend_on_those_beside_it() -> None:
    lines = fresh()
    alone, many = sample(lines, 2, seed=5), sample(lines, 2, seed=5, count=3)
    assert many[0].ids.tolist() == alone[0].ids.tolist()
    assert len({tuple(t.ids.tolist()) for t in many}) == 3


def test_every_finished_bar_is_told_once_and_in_order() -> None:
    lines = fresh()
    job = E.write(Fake(lines), Tokens(START, (0, 0)), lines, range(6), seed=2, count=2)
    seen, tokens = end_of(job)
    assert [bar for step in seen for bar in step.bars] == list(range(6))
    for step in seen[:-1]:
        assert int(clocks_of(step.tokens.ids)[-1]) >= 96 * (step.bars[-1] + 1)
    assert seen[-1].tokens.ids.tolist() == tokens[0].ids.tolist()


# ---------------------------------------------------------------- continuing a score


def played() -> Score:
    """Two hands in 3/4 after a pickup, 100 ticks a quarter; the right hand rings over the line of bar 3."""
    rows = [(i * 50, 50, 72 + i % 5, 80, 0) for i in range(14)]
    rows += [(100 + 300 * bar, 280, 48, 60, 1) for bar in range(3)]
    rows += [(650, 207, 90, 77, 0)]
    tracks = (Track("Right", 4, 3), Track("Kit", 0, 9, is_drum=True), Track("Left", 5, 6))
    notes = make_notes([(t, d, p, v, (0, 2)[part]) for t, d, p, v, part in rows] + [(400, 10, 38, 99, 1)])
    events = (Event(0, -1, b"\xff\x03Song"), Event(640, 2, b"\xb6\x40\x7f"), Event(660, 0, b"\xb3\x07\x11"))
    return Score(100, tracks, notes, (Meter(0, 1, 4), Meter(100, 3, 4)), events=events)


@pytest.mark.parametrize("start", [1, 2, 3, None])
def test_all_before_the_seam_stays_bit_for_bit(start: int | None) -> None:
    source = played()
    grid = BarGrid.of(source)
    seam = len(grid) if start is None else start
    tick = int(grid.starts[seam])
    seen, score = end_of(E.continue_score(session(Fake(prefer=BUSY)), source, 3, start, seed=4))
    before = source.notes[source.notes["tick"] < tick]
    assert score.notes[score.notes["tick"] < tick].tobytes() == before.tobytes()
    assert [e for e in score.events if e.tick < tick] == [e for e in source.events if e.tick < tick]
    assert (score.tracks, score.ticks_per_quarter, score.meters) == (source.tracks, 100, source.meters)
    assert [bar for step in seen for bar in step.bars] == list(range(seam, seam + 3))
    new = score.notes[(score.notes["tick"] >= tick) & ~np.isin(score.notes["track"], [1])]
    assert set(new["track"].tolist()) <= {0, 2}
    assert len(new) > 2
    assert score.end_tick <= max(tick + 3 * 300, source.end_tick)
    channels = {0: 3, 2: 6}
    pedals = [e for e in score.events if e.tick >= tick and e not in source.events]
    assert all(e.data[0] == 0xB0 | channels[e.track] and e.data[1] == 64 for e in pedals)


WORDLESS = (  # a message that no token says, one a line
    (b"\xff\x06Coda", -1),
    (b"\xff\x05la", 0),
    (b"\xb3\x07\x40", 0),
    (b"\xe6\x00\x50", 2),
    (b"\xb9\x40\x7f", 1),  # the kit's own pedal
    (b"\xc3\x05", 0),
    (b"\xf0\x7e\x7f\x09\x01\xf7", -1),
)


def busy() -> Score:
    """`played` with what has no token in every bar and after the last: kit, a note off the piano, messages, meters."""
    source, times = played(), (0, 130, 430, 700, 999, 1000, 1750)
    kit = [(t, 20, 36, 99, 1) for t in (0, 399, 400, 701)] + [(720, 30, 12, 64, 0)]
    events = [Event(t, track, data) for t in times for data, track in WORDLESS]
    pedal = [Event(t, 2, bytes((0xB6, 64, down))) for t, down in ((640, 127), (1000, 0), (1300, 127))]
    return replace(
        source,
        notes=np.concatenate([source.notes, make_notes(kit)]),
        meters=(*source.meters, Meter(1300, 2, 4)),
        tempi=(Tempo(0, 400_000), Tempo(500, 500_000), Tempo(1000, 600_000)),
        events=(*events, *pedal),
    )


@pytest.mark.parametrize("start", [1, 2, 3, None])
def test_what_has_no_token_stays_on_both_sides_of_the_seam(start: int | None) -> None:
    source = busy()
    _, score = end_of(E.continue_score(session(Fake(prefer=BUSY)), source, 4, start, seed=2))
    outside = [n for n in source.notes.tolist() if n[4] == 1 or n[2] < 21]
    assert [n for n in score.notes.tolist() if n[4] == 1 or n[2] < 21] == outside
    words = [e for e in source.events if (e.data, e.track) in WORDLESS]
    assert [e for e in score.events if (e.data, e.track) in WORDLESS] == words
    assert score.meters == source.meters
    assert len(score.notes) > len(outside) + 3


def test_behind_the_last_bar_nothing_of_the_source_gives_way() -> None:
    """Not even what tokens do say: a pedal that goes up on the last line, a tempo after it."""
    source = busy()
    assert len(BarGrid.of(source)) == 4
    _, score = end_of(E.continue_score(session(Fake(prefer=BUSY)), source, 4, seed=2))
    assert score.events[: len(source.events)] == source.events
    assert score.tempi[: len(source.tempi)] == source.tempi
    _, earlier = end_of(E.continue_score(session(Fake(prefer=BUSY)), source, 4, 2, seed=2))
    assert all(t.tick < 400 for t in earlier.tempi if t in source.tempi)
    assert not [e for e in earlier.events if e in source.events[-3:]]


def test_new_bars_follow_the_meters_of_the_source() -> None:
    """From bar 5 on 3/4 until a meter that was written far behind the last note, then that."""
    source = busy()
    seen, score = end_of(E.continue_score(session(Fake(prefer=BUSY)), source, 4, seed=1))
    assert [bar for step in seen for bar in step.bars] == [4, 5, 6, 7]
    starts = BarGrid.of(score, 1700).starts.tolist()
    assert starts[4:] == [1000, 1300, 1500, 1700]
    assert int(score.notes["tick"].max()) < 1900


def test_what_a_uniform_model_continues_is_the_encoding_of_the_whole_new_score() -> None:
    """Seam and all: notes are released on it in the encoder's order, and new ones begin where they may."""
    for seed in range(8):
        source = small.score(3, ticks_per_quarter=24)
        _, score = end_of(E.continue_score(session(Fake()), source, 2, seed=seed))
        stream = encode(score).ids.tolist()
        assert first_error(stream) is None
        line = clocks_of(np.array(stream)) < 3 * 96
        assert np.array(stream)[line].tolist() == encode(source).ids[: int(line.sum())].tolist()
        grid = BarGrid.of(source)
        prompt = Tokens(np.array(stream)[line], (73, 0))
        lines = BarLines.of(grid)
        _, tokens = end_of(E.write(Fake(lines), prompt, lines, range(3, 5), seed=seed))
        assert tokens[0].ids.tolist() == stream


def test_both_hands_can_play_on_the_downbeat_of_the_seam() -> None:
    """The left hand's releases on the line come after the right hand's new notes: neither loses its turn."""
    source = Score(24, (Track("a"), Track("b")), make_notes([(0, 96, 72, 80, 0), (0, 96, 50, 80, 1)]))
    liked = dict.fromkeys([*FAMILIES["NOTE_ON"].ids, *FAMILIES["INSTRUMENT"].ids], 9.0)
    _, score = end_of(E.continue_score(session(Fake(prefer=liked)), source, 1, seed=0))
    assert set(score.notes["track"][score.notes["tick"] == 96].tolist()) == {0, 1}


def test_a_piece_that_ends_early_in_its_bar_goes_on_after_the_line() -> None:
    source = Score(24, (Track("a"),), make_notes([(0, 12, 60, 80, 0)]))
    for seed in range(5):
        _, score = end_of(E.continue_score(session(Fake()), source, 2, seed=seed))
        assert score.notes["tick"][1] >= 96


def test_a_piece_without_pitched_notes_cannot_be_continued() -> None:
    with pytest.raises(MorphonyError, match="no pitched note"):
        next(E.continue_score(session(Fake()), Score(24, (Track("a"),), make_notes()), 2))


@pytest.mark.parametrize(("bars", "start"), [(0, None), (2, 0), (2, 9)])
def test_bars_that_are_not_there_are_refused(bars: int, start: int | None) -> None:
    with pytest.raises(MorphonyError, match="continuation"):
        next(E.continue_score(session(Fake()), small.score(2), bars, start))


def test_a_prompt_that_ends_amid_a_tick_is_refused() -> None:
    ids = np.append(START, [FAMILIES["TEMPO"].first, FAMILIES["INSTRUMENT"].first])
    with pytest.raises(MorphonyError, match="cannot be continued at bar 2"):
        next(E.write(Fake(), Tokens(ids, (0,)), fresh(), range(1, 2)))


def test_a_model_of_bars_says_that_it_has_no_events() -> None:
    with pytest.raises(MorphonyError, match="mode transformer"):
        next(E.generate_score(session(None), 2))


def test_new_music_has_the_meter_and_the_bars_asked_for() -> None:
    _, score = end_of(E.generate_score(session(Fake(prefer=BUSY)), 4, (6, 8), seed=1))
    assert score.meters == (Meter(0, 6, 8),)
    assert len(BarGrid.of(score)) == 4
    assert len(score.notes) > 4
    assert score.tempi[0].tick == 0
    assert len({t.tick for t in score.tempi}) == len(score.tempi)


# ---------------------------------------------------------------- a real model, and its cache


@pytest.fixture(scope="module")
def real() -> Any:
    torch.manual_seed(0)
    shape = {"attention": "hierarchical", "window": 32, "landmarks": 4, "layers": 2, "hidden_dim": 32, "heads": 2}
    config = ModelConfig(mode="transformer", **shape)
    model = MusicTransformerVAEGAN(config).eval()
    with torch.no_grad():
        model.events.token.weight *= 8  # type: ignore[union-attr]  # unsure models hide mistakes
    return model.events


def greedy_without_a_cache(model: Any, prompt: Tokens, lines: BarLines, bars: range, length: int) -> list[int]:
    stream = E.Stream(prompt.ids, lines, bars, len(prompt.programs))
    while len(stream.ids) < length:
        ids = np.array(stream.ids, np.int64)
        with torch.no_grad():
            logits = model(torch.from_numpy(ids)[None], torch.from_numpy(places(ids, lines))[None])[0, -1].numpy()
        stream.take(int(np.where(stream.allowed(), logits, -np.inf).argmax()))
    return stream.ids


def test_with_a_cache_the_tokens_are_those_the_whole_stream_gives(real: Any) -> None:
    source = encode(small.score(2, ticks_per_quarter=24))
    lines, before = fresh(1, 32), clocks_of(source.ids) < 96
    prompt = Tokens(source.ids[before], source.programs)
    _, tokens = end_of(E.write(real, prompt, lines, range(32, 33), E.Sampling(temperature=0)))
    length = len(prompt.ids) + 40
    assert len(tokens[0].ids) > length > 64  # the window of the model's attention is 32
    assert tokens[0].ids[:length].tolist() == greedy_without_a_cache(real, prompt, lines, range(32, 33), length)


def likelihood(model: Any, tokens: Tokens, lines: BarLines, bars: range) -> float:
    """Mean log-likelihood of what a stream wrote, by the model under the mask."""
    stream, total = E.Stream(START, lines, bars, len(tokens.programs)), 0.0
    ids = tokens.ids.astype(np.int64)
    with torch.no_grad():
        logits = model(torch.from_numpy(ids)[None], torch.from_numpy(places(ids, lines))[None])[0].numpy()
    for at, token in enumerate(ids[1:].tolist()):
        open_ = np.where(stream.allowed(), logits[at].astype(np.float64), -np.inf)
        total += float(open_[token] - np.logaddexp.reduce(open_))
        stream.take(token)
    return total / (len(ids) - 1)


def test_beams_find_a_stream_at_least_as_likely_as_the_greedy_one(real: Any) -> None:
    lines, found = fresh(1, 32), []
    for sampling in (E.Sampling(temperature=0), E.Sampling(beams=8)):
        tokens = end_of(E.write(real, Tokens(START, (0,)), lines, range(1), sampling))[1][0]
        assert first_error(tokens.ids.tolist()) is None
        found.append(likelihood(real, tokens, lines, range(1)))
    assert found[0] < found[1]


def test_beams_come_best_first_with_the_likelihood_their_own_tokens_have(
    real: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cache follows a beam wherever it goes: each score is the one the whole stream gives."""
    lines = fresh(1, 32)
    choose = E._Beams(6)
    monkeypatch.setattr(E, "_Beams", lambda width: choose)
    kept = end_of(E.write(real, Tokens(START, (0,)), lines, range(1), E.Sampling(beams=6), count=6))[1]
    told = (choose.total / choose.length)[choose.order()]
    each = [likelihood(real, tokens, lines, range(1)) for tokens in kept]
    assert np.allclose(told, each, atol=1e-4)
    assert each == sorted(each, reverse=True)


# ---------------------------------------------------------------- context


LONG = encode(replace(small.score(8, ticks_per_quarter=24), meters=(Meter(0, 4, 4),)))


def stretch(tokens: Tokens, lines: BarLines) -> context.Stretch:
    clocks = clocks_of(tokens.ids)
    return context.Stretch(tokens.ids, clocks, lines.bar_of(clocks))


def test_nothing_is_cut_unasked() -> None:
    """9,433 tokens and more reach the model whole."""
    rows = [(6 * i, 6, 40 + i % 40, 60 + i % 2 * 30, 0) for i in range(3000)]
    source = Score(24, (Track("a"),), make_notes(rows))
    prompt = encode(source)
    assert len(prompt.ids) > 9433
    model = Fake()
    end_of(E.continue_score(session(model), source, 1, seed=0))
    assert model.longest > len(prompt.ids) - 10


@pytest.mark.parametrize("name", sorted(context.REGISTRY))
def test_a_context_that_is_cut_is_short_enough_and_what_is_written_still_fits(name: str) -> None:
    model = Fake()
    sampling = E.Sampling(context=name, context_length=40)
    source = small.score(6, ticks_per_quarter=24)
    _, score = end_of(E.continue_score(session(model), source, 2, sampling=sampling, seed=0))
    assert first_error(encode(score).ids.tolist()) is None
    _, whole = end_of(E.continue_score(session(Fake()), source, 2, seed=0))
    assert whole.notes.tobytes() == score.notes.tobytes()  # this model does not look at its context
    written = len(encode(score).ids) - int((clocks_of(encode(source).ids) < 6 * 96).sum())
    assert (model.longest <= 40) == context.REGISTRY[name].slides
    assert model.longest <= 40 + written


def test_an_unknown_context_is_refused_by_name() -> None:
    with pytest.raises(MorphonyError, match="'middle'; choose one of \\['adaptive', 'sliding_window', 'truncate'\\]"):
        E.Sampling(context="middle", context_length=40)


@pytest.mark.parametrize("length", [30, 60, 90, 140])
def test_an_adaptive_context_begins_at_a_bar_with_all_that_is_in_force(length: int) -> None:
    cut = context.REGISTRY["adaptive"].cut(stretch(LONG, fresh()), length)
    assert len(cut) <= length
    assert cut.ids[0] == FAMILIES["START"].first
    assert cut.clocks[0] % 96 == 0
    assert _state(cut.ids) == _state(LONG.ids)
    assert np.array_equal(cut.clocks[2:] - cut.clocks[0], clocks_of(cut.ids)[2:])


def test_an_adaptive_context_begins_with_a_phrase_where_one_fits() -> None:
    lines = fresh()
    from_phrase = int((clocks_of(LONG.ids) >= 4 * 96).sum())
    assert context.REGISTRY["adaptive"].cut(stretch(LONG, lines), from_phrase + 60).clocks[0] == 4 * 96
    assert context.REGISTRY["adaptive"].cut(stretch(LONG, lines), from_phrase - 30).clocks[0] > 4 * 96


def _state(ids: np.ndarray) -> tuple[Any, ...]:
    grammar = Grammar()
    for token in ids.tolist():
        grammar.advance(token)
    return grammar.tempo, grammar.velocity, grammar.part, grammar.pedal.tolist()


def test_a_head_says_again_tempo_pedals_sounding_notes_and_their_velocities() -> None:
    word = FAMILIES
    ids = [
        word["START"].first, word["TEMPO"].id(7),
        word["INSTRUMENT"].id(0), word["SUSTAIN"].id(1), word["VELOCITY_CHANGE"].id(9), word["NOTE_ON"].id(60),
        word["NOTE_ON"].id(64), word["INSTRUMENT"].id(2), word["VELOCITY_CHANGE"].id(20), word["NOTE_ON"].id(40),
        word["TIME_SHIFT"].id(24), word["INSTRUMENT"].id(0), word["NOTE_OFF"].id(60),
        word["VELOCITY_CHANGE"].id(3), word["NOTE_ON"].id(61),
    ]  # fmt: skip
    names = [next(n for n, f in FAMILIES.items() if i in f.ids) for i in context.head(np.array(ids)).tolist()]
    said = [(n, FAMILIES[n].value(i)) for n, i in zip(names, context.head(np.array(ids)).tolist(), strict=True)]
    assert said == [
        ("START", 0), ("TEMPO", 7),
        ("INSTRUMENT", 0), ("SUSTAIN", 1), ("VELOCITY_CHANGE", 3), ("NOTE_ON", 61), ("VELOCITY_CHANGE", 9),
        ("NOTE_ON", 64), ("INSTRUMENT", 2), ("VELOCITY_CHANGE", 20), ("NOTE_ON", 40),
        ("INSTRUMENT", 0), ("VELOCITY_CHANGE", 3),
    ] or said[4:8] == [("VELOCITY_CHANGE", 3), ("NOTE_ON", 61), ("VELOCITY_CHANGE", 9), ("NOTE_ON", 64)]  # fmt: skip


@pytest.mark.parametrize("path", DEMO, ids=lambda p: p.stem)
def test_behind_a_head_the_rest_reads_as_the_same_notes(path: Path) -> None:
    """Cut at any bar, every note that sounds after the cut is there, with its pitch, part, velocity and end."""
    score = midi.read(path)
    tokens, lines = encode(score), BarLines.of(BarGrid.of(score))
    all_of = stretch(tokens, lines)
    notes = decode(tokens).notes
    starts = context.bar_starts(all_of.ids, all_of.bars)
    for at in starts[1 :: max(len(starts) // 5, 1)].tolist():
        cut = context.behind_head(all_of, at)
        found = decode(Tokens(cut.ids.astype(np.int16), tokens.programs)).notes.copy()
        moment = int(all_of.clocks[at])
        sounding = notes[(notes["tick"] >= moment) | (notes["tick"] + notes["duration"] > moment)].copy()
        sounding["duration"] -= np.maximum(moment - sounding["tick"], 0)
        sounding["tick"] = np.maximum(sounding["tick"], moment)
        found["tick"] += moment
        found = found[(found["duration"] > 0) | np.isin(found["tick"], sounding["tick"][sounding["duration"] == 0])]
        key = ["tick", "track", "pitch", "velocity", "duration"]
        assert np.array_equal(np.sort(found, order=key), np.sort(sounding, order=key))


def test_the_clock_of_the_seam_is_the_codecs() -> None:
    """In a resolution that is no multiple of 24 the seam lies where the codec puts what begins on it."""
    source = played()
    grid = BarGrid.of(source)
    assert BarLines.of(grid).starts.tolist() == to_clocks(grid.starts, 100).tolist()
