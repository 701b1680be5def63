"""`morphony evaluate FOLDER|TSV`: the model's figures on held-out music, as a table, as JSON and as pictures.

With `--reference` new music is compared with what the model learnt from. A user's own folder is judged like any other:
the figures then say how far the model, or a style on top of it, is from that music.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.cli import arguments, output
from app.cli.evaluate_table import table
from app.cli.model import open_session
from engine.score import midi

if TYPE_CHECKING:
    from trainer.corpus import Corpus


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", type=Path, metavar="IN", help="a folder of music, or a .tsv with a path column")
    arguments.add_where(parser)
    parser.add_argument(
        "--figures",
        metavar="A,B",
        help="only these: reconstruction, likelihood, swap, sliders, piece_scope, bar_scope, smoothness, latents, "
        "active_units, interpolation, generated, coherence, copies; or refined, measured only where it is named",
    )
    parser.add_argument(
        "--limit", type=int, metavar="N", help="N pieces of every corpus (default: as each group needs)"
    )
    parser.add_argument("--bars", type=arguments.bars, metavar="A:B", help="bars that sliders are judged on (0:8)")
    parser.add_argument("--resamples", type=int, default=1000, metavar="N", help="draws of pieces behind an interval")
    parser.add_argument("--reference", type=Path, metavar="IN", help="the music the model learnt from, to find copies")
    parser.add_argument("--reference-where", default="", metavar="COLUMN=VALUE,...", help="only these rows of it")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="where the reference's bars are kept between runs")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write evaluation.json and evaluation.txt there")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="draw pictures there")
    parser.add_argument("--run", type=Path, metavar="DIR", help="the model's run, whose losses --plots draws too")


def run(args: argparse.Namespace) -> dict[str, Any]:
    session = open_session(args)
    from trainer.evaluate import evaluate
    from trainer.evaluate.run import BARS, USUAL

    figures = USUAL if args.figures is None else tuple(args.figures.split(","))
    reference = _reference(args) if "copies" in figures else None
    job = evaluate(
        session, args.input, args.where, figures, args.limit, args.bars or BARS, reference, max(args.resamples, 0)
    )
    progress: output.Progress | None = None
    while True:
        try:
            at = next(job)
        except StopIteration as end:
            result: dict[str, Any] = output.plain(end.value)
            break
        progress = progress or output.Progress(at.total)
        progress.step(min(at.done, at.total - 1), at.name)
    lines = "\n".join(table(result))
    if args.out is not None:
        args.out.mkdir(parents=True, exist_ok=True)
        midi.write_bytes(json.dumps(result, indent=1, ensure_ascii=False).encode(), args.out / "evaluation.json")
        midi.write_bytes(f"{lines}\n".encode(), args.out / "evaluation.txt")
    if args.plots is not None:
        from app.cli import evaluate_plots

        result["plots"] = [
            str(p) for p in evaluate_plots.draw(session, result, args.input, args.where, args.run, args.plots)
        ]
    (output.say if args.json else output.tell)(lines)
    return result if args.json else {"pieces": result["pieces"]["all"], "seconds": result["seconds"]}


def _reference(args: argparse.Namespace) -> Corpus | None:
    """The music new music may have copied, if it is named."""
    if args.reference is None:
        return None
    import platformdirs

    from trainer.corpus import Corpus

    cache = args.cache or Path(platformdirs.user_cache_dir("Morphony", appauthor=False))
    return Corpus.build(args.reference, cache, args.reference_where)
