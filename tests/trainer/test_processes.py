"""Several processes, as torchrun starts them, learn what one does that adds up their batches; and end together."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from engine import checkpoint
from engine.checkpoint import Checkpoint
from tests.trainer import rehearsal
from trainer.corpus import Corpus

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc")
PATIENCE = 300  # seconds: a machine may be busy


def started(corpus: Corpus, out: Path, processes: int = 2, **options: object) -> subprocess.Popen[str]:
    """Torchrun with so many processes on this machine."""
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    script = [str(Path(rehearsal.__file__)), str(corpus.folder), str(out), json.dumps(options)]
    quiet = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen([*run, *script], env=quiet, cwd=rehearsal.ROOT, **pipes)


def together(corpus: Corpus, out: Path, **options: object) -> list[dict]:
    """The log of a run of two processes."""
    process = started(corpus, out, **options)
    said, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, said[-3000:]
    return lines(out)


def alone(corpus: Corpus, out: Path, **options: object) -> list[dict]:
    """The log of one process that adds up two batches a step."""
    rehearsal.main(corpus.folder, out, {"accumulate": 2} | options)
    return lines(out)


def lines(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "steps.jsonl").read_text().splitlines()]


def assert_same(two: list[dict], one: list[dict]) -> None:
    """Every loss of every step, learnt from and held out, within 1e-5 of itself (and of 1)."""
    assert [row["n"] for row in two] == [row["n"] for row in one]
    for a, b in zip(two, one, strict=True):
        assert a["train"] == pytest.approx(b["train"], rel=1e-5, abs=1e-5), a["n"]
        if b["held_out"]:
            assert a["held_out"] == pytest.approx(b["held_out"], rel=1e-5, abs=1e-5), a["n"]


def test_two_processes_learn_what_one_does_with_both_batches(corpus: Corpus, tmp_path: Path) -> None:
    """Sampling noise and edits on: all of it is keyed to the batch, not to the process."""
    two = together(corpus, tmp_path / "two", steps=5)
    assert_same(two, alone(corpus, tmp_path / "one", steps=5))
    assert all(row["rates"]["notes_per_second"] > 0 for row in two)
    one, other = (Checkpoint(tmp_path / name / "step-0000005") for name in ("one", "two"))
    for file in ("model", "training"):
        a, b = one.tensors(file), other.tensors(file)
        assert a.keys() == b.keys()
        assert all(torch.allclose(a[n], b[n], rtol=1e-4, atol=1e-6) for n in a)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "sharded"])
@pytest.mark.parametrize("mode", ["vae", "vae_gan"])
def test_for_twenty_steps_and_both_strategies(corpus: Corpus, tmp_path: Path, strategy: str, mode: str) -> None:
    two = together(corpus, tmp_path / "two", strategy=strategy, mode=mode)
    one = alone(corpus, tmp_path / "one", mode=mode)
    assert len(two) == 20
    assert_same(two, one)
    speeds = [sum(row["rates"]["notes_per_second"] for row in rows[5:]) / 15 for rows in (two, one)]
    print(f"{mode} {strategy}: {speeds[0]:.0f} notes/s by two processes, {speeds[1]:.0f} by one")  # noqa: T201


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "sharded"])
def test_a_killed_process_ends_all_and_the_run_is_continued_exactly(
    corpus: Corpus, tmp_path: Path, strategy: str
) -> None:
    whole = together(corpus, tmp_path / "whole", strategy=strategy)
    process = started(corpus, tmp_path / "cut", strategy=strategy)
    log, ranks = tmp_path / "cut" / "steps.jsonl", Path(f"/proc/{process.pid}/task/{process.pid}/children")
    ends = time.monotonic() + PATIENCE
    while not (log.exists() and len(log.read_text().splitlines()) >= 7):
        assert time.monotonic() < ends
        time.sleep(0.02)
    children = [int(pid) for pid in ranks.read_text().split()]
    os.kill(children[-1], signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode != 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)
    assert len(lines(tmp_path / "cut")) < 20
    assert all(checkpoint.is_whole(place) for place in (tmp_path / "cut").glob("step-*"))
    together(corpus, tmp_path / "cut", strategy=strategy, resume=True)
    for a, b in zip(lines(tmp_path / "cut"), whole, strict=True):
        assert (a["n"], a["train"], a["held_out"]) == (b["n"], b["train"], b["held_out"])
