"""`morphony scan FOLDER`: which files can be trained on, why the others cannot, and how long a run would take."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from app.cli import arguments, output
from app.cli.files import is_many
from app.cli.train import STARTER
from engine import config as configuration
from engine.errors import MorphonyError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="a folder of music, or a .tsv with a path column")
    arguments.add_where(parser)
    parser.add_argument(
        "--time", action="store_true", help="also say how long `train` would take here, from a few steps of it"
    )
    parser.add_argument("--config", type=Path, default=STARTER, metavar="YAML", help="of that run: the starter model's")
    parser.add_argument(
        "--workers", type=int, default=0, metavar="N", help="processes that read (default: a core each)"
    )


def run(args: argparse.Namespace) -> dict[str, Any]:
    from trainer.corpus import Summary, list_files, scan

    is_folder = is_many(args.folder)
    total = len(list_files(args.folder, args.where))
    if not total:
        raise MorphonyError(f"There is no music in {args.folder}" + (f" where {args.where}." if args.where else "."))
    config = configuration.load(args.config) if args.time else None
    progress, summary = output.Progress(total), Summary()
    files: list[dict[str, Any]] = []
    for done, report in enumerate(scan(args.folder, args.where, workers=max(args.workers, 0))):
        progress.step(done, report.path)
        if not report.ok and not is_folder:
            raise MorphonyError(report.reason)
        if not report.ok:
            output.say(f"left out: {report.reason}")
        summary.add(report)
        entry = {
            "file": report.path,
            "ok": report.ok,
            "error": report.reason or None,
            "same_as": report.same_as or None,
        }
        files.append({**entry, "notes": report.notes, "bars": report.bars, "seconds": round(report.seconds, 3)})
    progress.step(total, "done")
    result: dict[str, Any] = {**summary.plain(), "training": None}
    if config is not None and summary.kept:
        from trainer.pace import measure

        root = args.folder if args.folder.is_dir() else args.folder.parent
        output.say("timing a few steps of training")
        accelerator = {"cuda": "gpu"}.get(args.device, args.device)
        pace = measure(config, [root / f["file"] for f in files if f["ok"]], accelerator)
        result["training"] = {
            "seconds": round(pace.seconds, 1),
            "hours": round(pace.seconds / 3600, 2),
            "steps": pace.steps,
            "seconds_per_step": round(pace.seconds_per_step, 4),
            "from": f"{pace.measured} steps of this run timed on this device; measuring and saving are not counted",
        }
    return {**result, "files": files}
