"""What an evaluation found, as pictures: how sliders respond, what notes do, rate and F1, statistics, losses."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from app.pictures import Panel, picture
from app.plots import HEIGHT, Curve
from engine.attributes import INDEX, SPECS
from engine.errors import MorphonyError
from engine.score import listing, midi

if TYPE_CHECKING:
    from engine.session import Piece, Session

ROLLED = ("density", "syncopation", "register", "range", "articulation")  # sliders whose notes are drawn
AT = (-2.0, -1.0, 0.0, 1.0, 2.0)
ROLL_BARS = 4
MAPPED = 40  # pieces of a corpus on the map
LEAST_MAPPED = 3  # pieces: fewer have no directions in which they differ
LEVELS = ("fine", "local", "global")
SMOOTHED = 50  # steps of a run that are averaged in a curve, at most; a 20th of a short one
SLOT_NAMES = {
    "pitch": "MIDI pitch", "duration": "duration class", "onset": "32nd of the bar", "velocity": "velocity bin",
    "polyphony": "notes at once",
}  # fmt: skip


def draw(
    session: Session, result: Mapping[str, Any], music: Path, where: str, run: Path | None, out: Path
) -> list[Path]:
    """Write every picture there is something to draw for; returns their paths."""
    out.mkdir(parents=True, exist_ok=True)
    details, drawn = result["details"], []
    if "sliders" in details:
        drawn.append(responses(out / "sliders.png", details["sliders"]))
        drawn += traversals(session, music, where, out / "notes.png")
        points = places(session, music, where)
        if sum(len(x) for x, _ in points.values()) >= LEAST_MAPPED:
            drawn.append(latent_map(out / "map.png", points))
    if details.get("generated"):
        drawn.append(statistics(out / "statistics.png", details["generated"], result["figures"]["all"]))
    rates = _rate(result["files"])
    if rates:
        drawn.append(rate(out / "rate.png", rates))
    if run is not None:
        drawn.append(losses(out / "losses.png", run))
    return drawn


def responses(path: Path, found: Mapping[str, Any]) -> Path:
    """A panel a slider: quartiles over pieces of what its attribute did, in sigma, against what was asked."""
    x = found["positions"]
    panels = []
    for spec in SPECS:
        if spec.name in found["quartiles"]:
            low, middle, high = found["quartiles"][spec.name]
            panels.append(
                Panel(spec.label, {"median": (x, middle)}, (x, low, high), (x, x), x=(-2.25, 2.25), y=(-3, 3))
            )  # fmt: skip
    title = "Sigma asked (across, dashed) and sigma moved: median and quartiles of pieces"
    picture(path, title, panels, 4, 620)
    return path


def traversals(session: Session, music: Path, where: str, path: Path) -> Iterator[Path]:
    """A few sliders at five positions as small piano rolls of the first piece that can be read."""
    for file in listing.list_files(music, where):
        try:
            piece = session.encode(midi.read_notes(file.path))
        except MorphonyError:
            continue
        picture(path, f"Notes as sliders move: {file.path.stem}", _rolls(session, piece), len(AT), 700)
        yield path
        return


def _rolls(session: Session, piece: Piece) -> list[Panel]:
    from trainer.evaluate.decoded import notes_of, within
    from trainer.evaluate.sliders import sounding

    bars = sounding(piece, range(ROLL_BARS))
    starts = np.cumsum([0, *piece.grid.clocks[bars.start : bars.stop]])
    panels = []
    for name in ROLLED:
        takes = [within(notes_of(session, piece, bars, {name: x} if x else None), bars) for x in AT]
        every = np.concatenate([t["pitch"] for t in takes])
        low, high = (int(every.min()) - 2, int(every.max()) + 2) if len(every) else (58, 62)
        for x, take in zip(AT, takes, strict=True):
            begin = starts[take["bar"]] + take["onset"]
            end = np.minimum(begin + take["duration"], starts[-1])
            notes = [begin, end - 1, take["pitch"], take["velocity"] / 127, take["part"]]
            title = f"{SPECS[INDEX[name]].label} {x:+g}" if x else "at rest"
            panels.append(
                Panel(
                    title, notes=list(zip(*(part.tolist() for part in notes), strict=True)),
                    grid=starts.tolist(), x=(0, float(starts[-1])), y=(low, high), bare=True,
                )
            )  # fmt: skip
    return panels


def places(session: Session, music: Path, where: str) -> dict[str, Curve]:
    """Corpus -> where its pieces lie: means of their bars' latents, along the two directions in which they differ most.

    At most MAPPED pieces of every corpus.
    """
    means: dict[str, list[np.ndarray]] = {}
    for file in listing.list_files(music, where):
        if len(means.get(file.corpus, ())) < MAPPED:
            try:
                piece = session.encode(midi.read_notes(file.path))
            except MorphonyError:
                continue
            means.setdefault(file.corpus, []).append(piece.z_fine.mean(0).numpy())
    corpora = sorted(means)
    every = np.concatenate([means[name] for name in corpora]) if corpora else np.zeros((0, 2))
    apart = every - every.mean(0)
    _, _, directions = np.linalg.svd(apart)
    at = np.split(apart @ directions[:2].T, np.cumsum([len(means[name]) for name in corpora])[:-1])
    return {name: (xy[:, 0].tolist(), xy[:, 1].tolist()) for name, xy in zip(corpora, at, strict=True)}


def latent_map(path: Path, points: dict[str, Curve]) -> Path:
    """The map of the corpora: a point a piece, near others whose bars are alike."""
    panel = Panel(points=points, across="first principal direction of pieces", up="second")
    picture(path, "Where pieces lie in latent space", [panel], 1, HEIGHT, legend=True)
    return path


def statistics(path: Path, found: Mapping[str, Any], figures: Mapping[str, float]) -> Path:
    """A panel a statistic: its histogram in held-out music (grey) and in new music."""
    panels = []
    for name, both in found.items():
        music, new = np.array(both["music"]), np.array(both["new"])
        used = np.flatnonzero((music > 0) | (new > 0))
        first, last = int(used[0]), int(used[-1]) + 1
        edges = np.repeat(np.arange(first, last + 1), 2)[1:-1]
        grey, line = (np.repeat(side[first:last], 2) for side in (music, new))
        shared = figures.get(f"overlap.{name}", float("nan"))
        panels.append(
            Panel(
                f"{name}: {shared:.2f} shared", {"new": (edges.tolist(), line.tolist())},
                filled=(edges.tolist(), grey.tolist()), across=SLOT_NAMES.get(name, name),
            )
        )  # fmt: skip
    picture(path, "Statistics of new music and of held-out music", panels, 3, 520, legend=True)
    return path


def _rate(files: Sequence[Mapping[str, Any]]) -> dict[str, Curve]:
    """Corpus -> nats a bar and note F1 of its pieces."""
    out: dict[str, tuple[list[float], list[float]]] = {}
    for file in files:
        nats = [file[key] for level in LEVELS if (key := f"kl_{level}_nats_per_bar") in file]
        if file.get("note_f1") is not None and len(nats) == len(LEVELS):
            x, y = out.setdefault(file["corpus"], ([], []))
            x.append(sum(nats))
            y.append(file["note_f1"])
    return {name: out[name] for name in sorted(out)}


def rate(path: Path, points: Mapping[str, Curve]) -> Path:
    """What latents cost against what they keep: a point a piece."""
    panel = Panel(points=points, across="nats per bar, all levels", up="note F1")
    picture(path, "Rate and note F1 of held-out pieces", [panel], 1, HEIGHT, legend=True)
    return path


def losses(path: Path, run: Path) -> Path:
    """The loss of a run, smoothed, with its held-out losses, and held-out F1."""
    try:
        lines = (run / "steps.jsonl").read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines]
        train = [(r["n"], r["train"]["loss"]) for r in rows if "loss" in r["train"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MorphonyError(f"{run.name} holds no log of steps to draw: {error}.") from error
    if not train:
        raise MorphonyError(f"{run.name} has logged no loss yet.")
    held = [(r["n"], r["held_out"]) for r in rows if r.get("held_out")]
    window = max(min(SMOOTHED, len(train) // 20), 1)
    values = np.convolve([v for _, v in train], np.ones(window) / window, "valid").tolist()
    lines_of = {
        "training": ([n for n, _ in train][window - 1 :], values),
        "held out": ([n for n, _ in held], [h["loss"] for _, h in held]),
    }
    panels = [Panel("Loss", lines_of, across="step", up="nats per note")]
    f1 = [(n, h["f1"]) for n, h in held if "f1" in h]
    if f1:
        panels.append(
            Panel("Held-out note F1", {"F1": ([n for n, _ in f1], [v for _, v in f1])}, across="step", colour=1)
        )
    picture(path, f"Training: {run.name}", panels, len(panels), HEIGHT, legend=True)
    return path
