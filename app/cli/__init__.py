"""The command line's frame: which subcommands there are, what all of them share, how they end.

A subcommand is a module of this package, imported only when it is asked for, with two functions:
`add_arguments(parser)`, and `run(args)`, which returns the object that `--json` prints.
The frame knows nothing of music, of Qt, or of torch.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from app.cli import output
from engine.errors import MorphonyError

COMMANDS: Mapping[str, str] = {
    "info": "what a file holds: notes, bars, meters, tempi, tracks, warnings, the twelve attributes",
    "tokens": "the 774-event ids of a file, and back",
    "reconstruct": "encode and decode a file through the model's latents",
    "morph": "move named sliders and write what the piece becomes",
    "sweep": "each slider at each position, others at rest",
    "interpolate": "pieces on the way from one to another",
    "generate": "new music from the model's prior",
    "continue": "a piece with new bars after its last",
    "infill": "some bars drawn anew between their neighbours",
    "vary": "a piece a little otherwise, in as many ways as wanted",
    "transfer": "a piece in the manner of others",
    "render": "a file as sound, into a .wav",
    "play": "a file through the synth or a MIDI port, live",
    "scan": "which files of a folder can be trained on, and why the others cannot",
    "train": "train a model on a folder",
    "personalise": "fine-tune the model on a folder of one's own",
    "search": "many short runs over settings, and a table of what each gives",
    "watch": "what the log of a training run says: warnings and trends",
    "landscape": "how the loss lies around a model's weights, as a picture",
    "evaluate": "the model's figures on a folder of held-out music",
    "bench": "the program's speeds on this machine",
}
MODULES: Mapping[str, str] = {"continue": "continue_"}  # where the name is a word of Python
INTERRUPTED = 130  # what a shell expects of a program that Ctrl-C ended


def run_command(name: str, arguments: Sequence[str]) -> int:
    """Run one subcommand and return its exit code: 0, 1 (failed, one sentence on stderr), 2 (usage), 130 (Ctrl-C)."""
    module = importlib.import_module(f"app.cli.{MODULES.get(name, name)}")
    parser = argparse.ArgumentParser(prog=f"morphony {name}", description=_sentence(COMMANDS[name]))
    module.add_arguments(parser)
    add_common(parser)
    args = parser.parse_args(arguments)
    try:
        result = module.run(args)
        output.show(result, as_json=args.json)
    except KeyboardInterrupt:
        return _failed("Stopped.", args.json, INTERRUPTED)
    except MorphonyError as error:
        return _failed(str(error), args.json)
    except BrokenPipeError:  # whoever read our output has left: nothing is to be flushed to it at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _failed(output.os_sentence(error), args.json)
    except Exception as error:  # a mistake of ours: still one sentence, and the details in a file
        return _failed(output.keep_details(error), args.json)
    files = result.get("files")
    return 1 if files and not any(entry["ok"] for entry in files) else 0


def add_common(parser: argparse.ArgumentParser) -> None:
    """Add what every subcommand takes."""
    group = parser.add_argument_group("with every subcommand")
    group.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    group.add_argument("--seed", type=int, default=0, help="same seed, same result (default 0)")
    group.add_argument("--model", type=Path, metavar="DIR", help="a model's folder (default: the starter model)")
    group.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"), help="where the model runs")


def top_parser() -> argparse.ArgumentParser:
    """The parser of a command line without a subcommand: a file to open in the studio, or nothing."""
    width = max(map(len, COMMANDS))
    listed = "\n".join(f"  {name:<{width}}  {does}" for name, does in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="morphony",
        usage="morphony [FILE]\n       morphony COMMAND ... (morphony COMMAND --help says more)",
        description="Open the studio, with FILE if one is named, or run one of the commands below.",
        epilog=f"commands:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", nargs="?", metavar="FILE", help="a .mid file or a Morphony project")
    return parser


def no_such(kind: str, word: str, known: Iterable[str]) -> str:
    """One sentence that `word` is unknown, with the nearest known word where one is near."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"There is no {kind} {word!r}; did you mean {near[0]!r}?" if near else f"There is no {kind} {word!r}."


def _failed(sentence: str, as_json: bool, code: int = 1) -> int:
    output.say(sentence)
    if as_json:
        output.show({"error": sentence}, as_json=True)
    return code


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."
