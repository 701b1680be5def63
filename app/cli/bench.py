"""`morphony bench`: how fast the program is on this machine, each peer measured in the same run.

Times are wall-clock; keys are like `drag.4.p95_ms`. What needs a MIDI port is measured elsewhere.
"""

from __future__ import annotations

import argparse
import importlib.util
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from app.cli import arguments, bench_decoder, bench_drag, bench_studio, bench_styles, bench_training, files, output
from app.cli.model import open_session
from engine.attributes import NAMES
from engine.errors import MorphonyError
from engine.score import Score, midi
from engine.score.timing import BarGrid
from engine.tokens import codec
from engine.tokens.bars import to_bars

if TYPE_CHECKING:
    from engine.session import Piece, Session

DEMO = Path(__file__).resolve().parents[2] / "assets" / "demo"
SIZES = (4, 16, 64)  # bars under a drag; the first is what is heard at the playhead
EVENTS = {4: 12, 16: 6, 64: 3}  # positions of each slider, on each piece
PIECES = 4
MEDIAN, FULLEST = 16, range(30, 100)  # notes in a bar of the pieces that are dragged
ROUNDS = 5
SCANNED = 2000  # files
TOKENS = 9433  # of the specification's longest piece
LENGTHS = (4096, 8192, 16384, 32768)
WARM = 600  # positions of the call before what is measured
STATUS = Path("/proc/self/status")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "input", type=Path, nargs="?", default=DEMO, metavar="IN", help="music to measure on (default: the demo pieces)"
    )
    arguments.add_where(parser)
    parser.add_argument("--only", metavar="A,B", help=f"only these: {', '.join(BENCHES)}")


def run(args: argparse.Namespace) -> dict[str, Any]:
    chosen = list(BENCHES) if args.only is None else args.only.split(",")
    for name in chosen:
        if name not in BENCHES:
            raise MorphonyError(f"There is no benchmark {name!r}, only {', '.join(BENCHES)}.")
    paths = [p for _, p in files.list_files(args.input, args.where)] if files.is_many(args.input) else [args.input]
    if not paths:
        raise MorphonyError(f"There is no music in {args.input}.")
    progress, result = output.Progress(len(chosen), pause=0.0), dict[str, Any]()
    for done, name in enumerate(chosen):
        progress.step(done, name)
        result |= {f"{name}.{key}": value for key, value in BENCHES[name](args, paths).items()}
    progress.step(len(chosen), "done")
    return result


def drag(args: argparse.Namespace, paths: Sequence[Path]) -> dict[str, float]:
    """Slider event to notes in a score: the bar at the playhead with its neighbours, 16 and 64 bars, every slider.

    `flat_ratio` is how many times as long the same bars take token by token, `to_floor` how far the median is above
    what the machine could do at best (`bench_drag`).
    """
    from engine import compose

    session = open_session(args)
    pieces = _dragged(session, paths)
    if not pieces:
        return {}
    out: dict[str, float] = {}
    for bars in SIZES:
        times: dict[str, list[float]] = {name: [] for name in NAMES}
        for piece, first in pieces:
            scope = range(first, min(first + bars, len(piece)))
            for name in NAMES:
                for value in np.linspace(0.1, 1.5, EVENTS[bars]):
                    began = time.perf_counter()
                    request = compose.Request({name: float(value)}, scope, first=first)
                    compose.apply(piece, compose.morph(session, piece, request))
                    times[name].append(1000 * (time.perf_counter() - began))
        every = [t for taken in times.values() for t in taken]
        out |= {f"{bars}.p50_ms": _percentile(every, 50), f"{bars}.p95_ms": _percentile(every, 95)}
        out |= {f"{bars}.{name}.p95_ms": _percentile(taken, 95) for name, taken in times.items()}
        out |= {
            f"{bars}.{key}": value for key, value in _beside(session, *pieces[0], bars, out[f"{bars}.p50_ms"]).items()
        }
    counts = np.concatenate([_notes_per_bar(piece)[first : first + SIZES[-1]] for piece, first in pieces])
    return {**out, "median_notes_per_bar": float(np.median(counts)), "fullest_bar": int(counts.max())}


def _beside(session: Session, piece: Piece, first: int, bars: int, p50_ms: float) -> dict[str, float]:
    """The two peers of a drag, on one piece."""
    from engine import compose

    scope = range(first, min(first + bars, len(piece)))
    request = compose.Request({"density": 0.5}, scope, first=first)
    flat = 1000 * bench_drag.flat_seconds(session, bench_drag.tokens_of(piece, scope))
    floor = 1000 * bench_drag.floor_seconds(session, lambda: list(compose.morph(session, piece, request)))
    return {"flat_ms": flat, "flat_ratio": flat / p50_ms, "floor_ms": floor, "to_floor": p50_ms / floor}


def decoder(args: argparse.Namespace, paths: Sequence[Path]) -> dict[str, float]:
    """The decoder as it is, exported to ONNX in fp32, and with weights in int8: drags in turns, and the notes."""
    session = open_session(args)
    pieces, values = _dragged(session, paths), [0.4, 0.8, 1.2]
    return bench_decoder.compared(session, pieces, ("density", "register"), SIZES, values) if pieces else {}


def _dragged(session: Session, paths: Sequence[Path]) -> list[tuple[Piece, int]]:
    return [(session.encode(score), first) for score, first in _windows([midi.read_notes(p) for p in paths])]


def _windows(scores: Sequence[Score]) -> list[tuple[Score, int]]:
    """The pieces to drag on and where: 64 bars each if there are, those nearest to MEDIAN and FULLEST first."""
    found: list[tuple[float, int, Score, int]] = []
    for score in scores:
        grid = BarGrid.of(score)
        counts = np.bincount(to_bars(score, grid)["bar"], minlength=len(grid))
        first = (len(grid) - SIZES[-1]) // 8 * 4 if len(grid) > SIZES[-1] else 0  # from the middle, a phrase's start
        part = counts[first : first + SIZES[-1]]
        if counts.any():
            far = (
                abs(float(np.median(part)) - MEDIAN)
                + 8 * (int(part.max()) not in FULLEST)
                + max(SIZES[-1] - len(part), 0)
            )
            found.append((far, len(found), score, first))
    return [(score, first) for _, _, score, first in sorted(found, key=lambda f: f[:2])[:PIECES]]


def _notes_per_bar(piece: Piece) -> Any:
    return np.bincount(piece.bars["bar"], minlength=len(piece))


def generation(args: argparse.Namespace, paths: Sequence[Path]) -> dict[str, float]:
    """New music, 16 bars at a time; and decoding of known latents, without the prior."""
    from engine import compose

    session = open_session(args)
    seconds, notes = _timed(lambda i: len(compose.run(compose.generate(session, seed=i)).notes))
    out = {"notes_per_s": notes / seconds, "bars_per_s": 16 * ROUNDS / seconds}
    piece, first = next(((session.encode(s), f) for s, f in _windows([midi.read_notes(p) for p in paths])), (None, 0))
    if piece is not None:
        rate = _decoding(session, piece, range(first, min(first + 16, len(piece))))
        out["decoded_notes_per_s"] = rate
    return out


def _decoding(session: Session, piece: Piece, bars: range) -> float:
    from dataclasses import replace

    from engine.compose import Request, blind, knobs_of
    from engine.decoding import decode

    knobs = knobs_of(session, Request(blend=False))
    seconds, notes = _timed(lambda _: len(decode(session, replace(blind(piece), cache={}), list(bars), knobs)))
    return notes / seconds


def transformer(args: argparse.Namespace, paths: Sequence[Path]) -> dict[str, float]:
    """A forward pass of 9,433 tokens in the specification's test configuration, and with each other attention; and
    attention alone, on the same q, k, v of 4,096 to 32,768 positions, against full causal attention.

    Every figure comes from a process of its own, on one thread unless its key says two. Memory (Linux only) is the
    highest resident size during the first call above what was resident before it, after a short call to warm up.
    """
    from engine.model.attention import REGISTRY

    out: dict[str, float] = {}
    local = sorted(set(REGISTRY) - {"full"})
    for key, name, threads in [("", "full", 1), (".two_threads", "full", 2), *((f".{n}", n, 1) for n in local)]:
        seconds, mib = _fresh(_forward, name, TOKENS, threads)
        out |= {f"{TOKENS}{key}.tokens_per_s": TOKENS / seconds} | _known(f"{TOKENS}{key}.peak_mib", mib)
    full_s, full_mib = _fresh(_attention, "full", LENGTHS[-1])
    for name in local:
        times, sizes = zip(*(_fresh(_attention, name, n) for n in LENGTHS), strict=True)
        out[f"{LENGTHS[-1]}.{name}_to_full_time"] = times[-1] / full_s
        out[f"{name}.time_exponent"] = _exponent(times)
        if full_mib is not None:
            out[f"{LENGTHS[-1]}.{name}_to_full_memory"] = sizes[-1] / full_mib
            out[f"{name}.memory_exponent"] = _exponent(sizes)
    return out


def _forward(attention: str, tokens: int, threads: int) -> tuple[float, float | None]:
    """Seconds of a forward pass to all logits, and MiB."""
    import torch

    from engine.config import ModelConfig
    from engine.model.events import EventTransformer
    from engine.tokens.vocab import SIZE

    torch.set_num_threads(threads)
    made = EventTransformer(ModelConfig(mode="transformer", layers=4, hidden_dim=256, attention=attention)).eval()
    ids, places = torch.randint(SIZE, (1, tokens)), torch.randint(4, (1, tokens, 3))
    with torch.inference_mode():
        made(ids[:, :WARM], places[:, :WARM])
        mib = _extra_mib(lambda: made(ids, places))
        return _best(lambda: made(ids, places), 2), mib


def _attention(attention: str, length: int) -> tuple[float, float | None]:
    """Seconds of causal attention alone with 4 heads of 64, laid out as a block does, and MiB."""
    import torch

    from engine.model.attention import named
    from engine.model.views import Scope

    torch.set_num_threads(1)
    q, k, v = torch.randn(1, length, 3, 4, 64).permute(2, 0, 3, 1, 4)
    attend, scope = named(attention), Scope(causal=True)
    with torch.inference_mode():
        attend(q[:, :, :WARM], k[:, :, :WARM], v[:, :, :WARM], scope)
        mib = _extra_mib(lambda: attend(q, k, v, scope))
        return _best(lambda: attend(q, k, v, scope), 2), mib


def _fresh(work: Callable[..., Any], *values: object) -> Any:
    """What some work returns in a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *values).result()


def _extra_mib(work: Callable[[], object]) -> float | None:
    """Highest resident memory during some work above what was resident before, where the system can say so."""
    if not STATUS.exists():
        return None
    STATUS.with_name("clear_refs").write_text("5", encoding="ascii")  # the highest so far is forgotten
    before = _resident("VmRSS")
    work()
    return _resident("VmHWM") - before


def _resident(name: str) -> float:
    line = next(line for line in STATUS.read_text(encoding="ascii").splitlines() if line.startswith(name))
    return int(line.split()[1]) / 1024


def _known(key: str, value: float | None) -> dict[str, float]:
    return {} if value is None else {key: value}


def _exponent(values: Sequence[float]) -> float:
    """The power of the length that values at LENGTHS grow with."""
    return float(np.polyfit(np.log(LENGTHS), np.log(values), 1)[0])


def tokens(args: argparse.Namespace, paths: Sequence[Path]) -> dict[str, float]:
    """The 774-event codec both ways, beside MidiTok's MIDILike where that is installed."""
    scores = [midi.read_notes(p) for p in paths[:20]]
    total = sum(len(s.notes) for s in scores)
    ids = [codec.encode(s) for s in scores]
    out = {
        "encode_notes_per_s": total / _best(lambda: [codec.encode(s) for s in scores]),
        "decode_notes_per_s": total / _best(lambda: [codec.decode(t) for t in ids]),
    }
    if importlib.util.find_spec("miditok") is None:
        return out
    import symusic
    from miditok import MIDILike, TokenizerConfig

    tokenizer = MIDILike(TokenizerConfig(use_programs=True, one_token_stream_for_programs=True))
    others = [symusic.Score.from_midi(midi.to_bytes(s)) for s in scores]
    their = [tokenizer(s) for s in others]
    out["miditok_encode_notes_per_s"] = total / _best(lambda: [tokenizer(s) for s in others], 1)
    out["miditok_decode_notes_per_s"] = total / _best(lambda: [tokenizer.decode(t) for t in their], 1)
    for way in ("encode", "decode"):
        out[f"{way}_ratio"] = out[f"{way}_notes_per_s"] / out[f"miditok_{way}_notes_per_s"]
    return out


def reading(args: argparse.Namespace, paths: Sequence[Path]) -> dict[str, float]:
    """Milliseconds a file: with every event, notes alone, symusic, mido."""
    import mido
    import symusic

    some = paths[:40]
    ways: dict[str, tuple[Callable[[Path], object], int]] = {
        "every_event": (midi.read, ROUNDS),
        "notes": (midi.read_notes, ROUNDS),
        "symusic": (lambda p: symusic.Score(p), ROUNDS),
        "mido": (lambda p: mido.MidiFile(p), 1),
    }
    out = {}
    for name, (read, rounds) in ways.items():
        every = partial(_each, read, some)
        out[f"{name}_ms"] = 1000 * _best(every, rounds) / len(some)
    return {
        **out,
        "notes_to_symusic": out["notes_ms"] / out["symusic_ms"],
        "mido_to_every_event": out["mido_ms"] / out["every_event_ms"],
    }


def training(args: argparse.Namespace, paths: Sequence[Path]) -> dict[str, float]:
    """A step of training of some presets, beside torch's own encoder of the same shape and a matrix product."""
    from trainer.recipe import Music

    with tempfile.TemporaryDirectory() as cache:
        return bench_training.compared(Music(args.input, args.where, cache=Path(cache)))


def styles(args: argparse.Namespace, paths: Sequence[Path]) -> dict[str, float]:
    """Whole runs of `personalise` on the first twenty files: an instant style of one and of all, an adapter."""
    return bench_styles.measured(args.model, paths, args.seed)


def scanning(args: argparse.Namespace, paths: Sequence[Path]) -> dict[str, float]:
    """Files a second that a scan reads, and that a cache of bars is made of, beside symusic alone; opening it again.

    Of the music given, repetitions included, until there are SCANNED files; processor time is that of all processes.
    """
    import symusic

    from trainer.corpus import Corpus, scan

    with tempfile.TemporaryDirectory(prefix="morphony-bench-") as name:
        table, cache = Path(name) / "many.tsv", Path(name) / "cache"
        many = [path.resolve() for path in (list(paths) * (SCANNED // len(paths) + 1))[:SCANNED]]
        table.write_text("path\n" + "".join(f"{path}\n" for path in many), encoding="utf-8")
        alone = _spent(lambda: [symusic.Score(path) and None for path in many])
        read = _spent(lambda: [report.ok for report in scan(table)])
        kept = _spent(lambda: Corpus.build(table, cache))
        again = _spent(lambda: Corpus.build(table, cache))
    out = {"files": float(len(many)), "symusic_files_per_s": len(many) / alone[0], "reopen_s": again[0]}
    for what, (seconds, processor) in {"scan": read, "cache": kept}.items():
        out[f"{what}_files_per_s"] = len(many) / seconds
        out[f"{what}_to_symusic"] = seconds / alone[0]
        out[f"{what}_processor_to_symusic"] = processor / alone[1]
    return out


def _spent(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds, and processor seconds of this process and of its children that have ended."""
    began, before = time.perf_counter(), time.process_time() + sum(os.times()[2:4])
    work()
    return time.perf_counter() - began, time.process_time() + sum(os.times()[2:4]) - before


def start(args: argparse.Namespace, paths: Sequence[Path]) -> dict[str, float]:
    """Seconds until a fresh process has done its first thing: help, a file's contents, torch, a loaded model."""
    programs = {
        "help_s": ["-m", "app", "--help"],
        "info_s": ["-m", "app", "info", str(paths[0].resolve())],
        "import_torch_s": ["-c", "import torch"],
        "engine_ready_s": ["-c", "from engine.session import Session; Session.open()"],
    }
    out = {name: _best(partial(_launch, words), 3) for name, words in programs.items()}
    studio = bench_studio.start()
    return {
        **out,
        **{f"studio.{key}": value for key, value in studio.items()},
        "engine_after_torch_s": out["engine_ready_s"] - out["import_torch_s"],
        "studio.engine_after_torch_s": studio["engine_s"] - out["import_torch_s"],
    }


def roll(args: argparse.Namespace, paths: Sequence[Path]) -> dict[str, float]:
    """A frame of the piano roll with 50,000 notes: the visible part, all of them, scrolled and anew."""
    return bench_studio.roll()


def memory(args: argparse.Namespace, paths: Sequence[Path]) -> dict[str, float]:
    """The studio's memory before the engine is loaded, with the model, and while it trains (Linux)."""
    return bench_studio.memory()


def _launch(words: list[str]) -> None:
    root = Path(__file__).resolve().parents[2]
    subprocess.run([sys.executable, *words], cwd=root, check=True, stdout=subprocess.DEVNULL)


def _each(work: Callable[[Path], object], paths: Sequence[Path]) -> None:
    for path in paths:
        work(path)


def _timed(work: Callable[[int], int]) -> tuple[float, int]:
    """Seconds and the sum of counts of ROUNDS calls after one to warm up."""
    work(0)
    began, count = time.perf_counter(), 0
    for i in range(ROUNDS):
        count += work(i)
    return time.perf_counter() - began, count


def _best(work: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Seconds of the quickest of some rounds."""
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


def _percentile(values: Sequence[float], percent: float) -> float:
    return float(np.percentile(values, percent))


BENCHES: dict[str, Callable[[argparse.Namespace, Sequence[Path]], dict[str, float]]] = {
    "drag": drag,
    "decoder": decoder,
    "generation": generation,
    "transformer": transformer,
    "codec": tokens,
    "read": reading,
    "training": training,
    "styles": styles,
    "scan": scanning,
    "start": start,
    "roll": roll,
    "memory": memory,
}
