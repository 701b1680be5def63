"""Where figures of a run are kept beside steps.jsonl: event files for TensorBoard, and a line of JSON a measurement.

An event file is a row of records, each a protocol buffer; no process is started and nothing is sent anywhere. The
names of files hold no name of a machine. Knows no loss and no model.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from engine.errors import MorphonyError

POINTS = 5000  # of a term of training in an event file; held-out figures are all there
TAIL = 1 << 20  # bytes at a log's end that hold its last line
MISSING = (
    "TensorBoard files are not written, because tensorboardX is not installed; steps.jsonl holds the same figures."
)


class EventFile:
    """Scalars and texts by step, as TensorBoard reads them. Raises MorphonyError where tensorboardX is missing."""

    def __init__(self, folder: Path, first: int) -> None:
        """A new file below `folder`; what earlier files hold from step `first` on is withdrawn."""
        try:
            from tensorboardX.proto.event_pb2 import Event, SessionLog
            from tensorboardX.proto.summary_pb2 import Summary
            from tensorboardX.record_writer import RecordWriter
            from tensorboardX.summary import text
        except ImportError as error:
            raise MorphonyError(MISSING) from error
        self._event, self._summary, self._text = Event, Summary, text
        folder.mkdir(parents=True, exist_ok=True)
        now = time.time()
        self.path = folder.resolve() / f"events.out.tfevents.{now:.6f}.{first}"
        self._records = RecordWriter(str(self.path))
        self._write(Event(wall_time=now, file_version="brain.Event:2"))
        self._write(Event(wall_time=now, step=first, session_log=SessionLog(status=SessionLog.START)))

    def scalars(self, n: int, values: Mapping[str, float | None]) -> None:
        """Write some values of step `n` under their names (such as train/onset); None counts as not a number."""
        of = self._summary.Value
        row = [of(tag=tag, simple_value=math.nan if v is None else v) for tag, v in values.items()]
        self._write(self._event(wall_time=time.time(), step=n, summary=self._summary(value=row)))

    def text(self, n: int, name: str, words: str) -> None:
        """Write a text of step `n`."""
        self._write(self._event(wall_time=time.time(), step=n, summary=self._text(name, words)))

    def _write(self, event: Any) -> None:
        self._records.write(event.SerializeToString())

    def flush(self) -> None:
        """Make what is written last."""
        self._records.flush()

    def close(self) -> None:
        """Flush and let go of the file."""
        self._records.close()


class Diary:
    """monitor.jsonl: what is found out about a run, a line of JSON each time."""

    def __init__(self, path: Path, first: int | None) -> None:
        """Go on at the file's end; lines from step `first` on are taken out, for that step is done again."""
        kept = list(_until(path, first)) if first is not None else []
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a" if first is None else "w", encoding="utf-8")
        self._file.writelines(kept)
        self._file.flush()

    def write(self, row: Mapping[str, Any]) -> bool:
        """Add a line; numbers that are none are null in it. True where that went well."""
        self._file.write(json.dumps(_finite(row), allow_nan=False) + "\n")
        self._file.flush()
        return True

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def rows(log: Path) -> Iterator[dict[str, Any]]:
    """The lines of a .jsonl file one by one, as far as they are whole; none where there is no file."""
    try:
        with log.open(encoding="utf-8") as lines:
            for line in lines:
                yield json.loads(line)
    except (OSError, ValueError):  # no log, or a last line that was cut
        return


def last_row(log: Path) -> dict[str, Any]:
    """The last whole line of a .jsonl file; empty where there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(file.seek(0, 2) - TAIL, 0))
            whole = file.read().rsplit(b"\n", 1)[0]
            found: dict[str, Any] = json.loads(whole[whole.rfind(b"\n") + 1 :])
    except (OSError, ValueError):
        return {}
    return found


def _until(path: Path, first: int) -> Iterator[str]:
    for row in rows(path):
        if row["n"] >= first:
            return
        yield json.dumps(row) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
