"""Event files hold what steps.jsonl holds, are made without a socket, and are done without where they must be."""

from __future__ import annotations

import builtins
import json
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboardX.crc32c import crc32c
from tensorboardX.proto.event_pb2 import Event

from engine.errors import MorphonyError
from tests.trainer.monitored_runs import CLEAN, FACTS
from trainer.batches import Windows
from trainer.loop import train
from trainer.losses import REGISTRY
from trainer.monitor import monitored
from trainer.tracking import Diary, EventFile, last_row, rows


def records(path: Path) -> Iterator[Event]:
    """The events of a file, by the format's own definition: length, its checksum, bytes, their checksum."""

    def masked(data: bytes) -> int:
        x = crc32c(data)
        return ((x >> 15 | x << 17) + 0xA282EAD8) & 0xFFFFFFFF

    data, at = path.read_bytes(), 0
    while at < len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        assert struct.unpack_from("<I", data, at + 8) == (masked(data[at : at + 8]),)
        body = data[at + 12 : at + 12 + length]
        assert struct.unpack_from("<I", data, at + 12 + length) == (masked(body),)
        yield Event.FromString(body)
        at += 16 + length


def scalars(path: Path) -> dict[tuple[int, str], float]:
    return {
        (e.step, v.tag): v.simple_value for e in records(path) for v in e.summary.value if v.HasField("simple_value")
    }


def test_an_event_file_holds_every_figure_of_the_log(
    windows: Windows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_sockets(*_: Any, **__: Any) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", no_sockets)
    job = train(CLEAN, windows, windows, tmp_path, FACTS, accelerator="cpu", held_out_windows=2)
    steps = monitored(job, CLEAN, tmp_path)
    for step in steps:
        if step.n == 24:
            steps.close()  # type: ignore[attr-defined]  # a generator
    (file,) = (tmp_path / "events").iterdir()
    found = scalars(file)
    log = [json.loads(line) for line in (tmp_path / "steps.jsonl").read_text().splitlines()]
    assert len(log) == 24
    wanted = {
        (row["n"], f"{side}/{name}"): value
        for row in log
        for side in ("train", "held_out")
        for name, value in (row[side] or {}).items()
    }
    assert {key: found[key] for key in wanted} == {key: float(np.float32(value)) for key, value in wanted.items()}
    kl = sum(value for name, value in log[9]["train"].items() if name in REGISTRY and REGISTRY[name].group == "kl")
    assert found[10, "train_groups/kl"] == float(np.float32(kl))
    assert found[10, "rates/gradient"] == found[10, "train/gradient"]
    assert socket.gethostname() not in file.name


def test_a_second_sitting_withdraws_what_it_does_again(tmp_path: Path) -> None:
    for first, value in ((1, 1.0), (5, 2.0)):
        events = EventFile(tmp_path, first)
        for n in range(first, first + 8):
            events.scalars(n, {"train/loss": value, "train/odd": None})
        events.text(first, "warnings/divergence", "It rises.")
        events.close()
    one, two = sorted(tmp_path.iterdir())
    assert {n for n, _ in scalars(one)} == set(range(1, 9))
    assert {n for n, _ in scalars(two)} == set(range(5, 13))
    starts = [e for e in records(two) if e.HasField("session_log")]
    assert [(e.step, e.session_log.status) for e in starts] == [
        (5, 1)
    ]  # START: TensorBoard drops earlier ones from 5 on
    assert next(e.file_version for e in records(two)) == "brain.Event:2"
    texts = [v for e in records(two) for v in e.summary.value if v.metadata.plugin_data.plugin_name == "text"]
    assert [v.tensor.string_val[0] for v in texts] == [b"It rises."]


def test_without_the_library_a_run_goes_on_and_says_so_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from trainer.loop import Step

    there = builtins.__import__

    def missing(name: str, *args: Any, **options: Any) -> Any:
        if name.startswith("tensorboardX"):
            raise ImportError(name)
        return there(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(MorphonyError, match="tensorboardX is not installed"):
        EventFile(tmp_path, 1)
    steps = list(monitored([Step(n, 3, float(n), {"loss": 1.0}) for n in (1, 2, 3)], CLEAN, tmp_path))
    assert [("tensorboardX" in s.message) for s in steps] == [True, False, False]
    assert not (tmp_path / "events").exists()


def test_a_diary_goes_on_where_a_step_is_done_again(tmp_path: Path) -> None:
    path = tmp_path / "monitor.jsonl"
    diary = Diary(path, 1)
    for n in range(1, 6):
        diary.write({"n": n, "odd": float("nan"), "list": [float("inf"), 1]})
    diary.close()
    diary = Diary(path, 4)
    diary.write({"n": 4, "again": True})
    diary.close()
    Diary(path, None).close()
    found = list(rows(path))
    assert [row["n"] for row in found] == [1, 2, 3, 4]
    assert found[0] == {"n": 1, "odd": None, "list": [None, 1]}
    assert found[-1] == last_row(path) == {"n": 4, "again": True}
    assert last_row(tmp_path / "none") == {}
