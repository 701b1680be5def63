"""`morphony scan FOLDER`: which files can be trained on, and why the others cannot."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from app.cli import arguments, output
from app.cli.files import is_many
from engine.errors import MorphonyError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="a folder of music, or a .tsv with a path column")
    arguments.add_where(parser)


def run(args: argparse.Namespace) -> dict[str, Any]:
    from trainer.corpus import list_files, scan

    is_folder = is_many(args.folder)
    total = len(list_files(args.folder, args.where))
    if not total:
        raise MorphonyError(f"There is no music in {args.folder}" + (f" where {args.where}." if args.where else "."))
    progress = output.Progress(total)
    files: list[dict[str, Any]] = []
    for done, report in enumerate(scan(args.folder, args.where)):
        progress.step(done, report.path)
        if not report.ok and not is_folder:
            raise MorphonyError(report.reason)
        if not report.ok:
            output.say(f"left out: {report.reason}")
        entry = {"file": report.path, "ok": report.ok, "error": report.reason or None}
        files.append({**entry, "notes": report.notes, "bars": report.bars, "seconds": round(report.seconds, 3)})
    progress.step(total, "done")
    kept = [f for f in files if f["ok"]]
    return {
        "kept": len(kept),
        "left_out": len(files) - len(kept),
        "notes": sum(f["notes"] for f in kept),
        "bars": sum(f["bars"] for f in kept),
        "seconds": round(sum(f["seconds"] for f in kept), 1),
        "files": files,
    }
