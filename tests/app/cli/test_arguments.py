"""Shared arguments: what they are read as, and what is a usage error."""

from __future__ import annotations

import argparse

import pytest

from app.cli import arguments
from engine.errors import MorphonyError


@pytest.fixture
def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(exit_on_error=False)
    for add in (arguments.add_set, arguments.add_bars, arguments.add_tracks, arguments.add_where):
        add(made)
    return made


def test_arguments_come_out_ready_to_use(parser: argparse.ArgumentParser) -> None:
    words = [
        "--set",
        "density=1.5",
        "--set",
        "register=-1",
        "--bars",
        "4:8",
        "--tracks",
        "0,2",
        "--where",
        "split=valid",
    ]
    args = parser.parse_args(words)
    assert args.set == {"density": 1.5, "register": -1.0}
    assert args.bars == range(4, 8)
    assert args.tracks == frozenset({0, 2})
    assert parser.parse_args(["--where", "split=valid"]).where == "split=valid"
    nothing = parser.parse_args([])
    assert (nothing.set, nothing.bars, nothing.tracks, nothing.where) == ({}, None, None, "")


@pytest.mark.parametrize("words", ["--bars 8:4", "--bars 4", "--bars -1:2", "--tracks a", "--set density",
                                   "--set density=nan", "--set a=1 --set a=2"])  # fmt: skip
def test_what_cannot_be_read_is_a_usage_error(parser: argparse.ArgumentParser, words: str) -> None:
    with pytest.raises((argparse.ArgumentError, SystemExit)):
        parser.parse_args(words.split())


@pytest.mark.parametrize("text", ["3/5", "0/4", "4", "x/4", "3/"])
def test_a_meter_is_two_numbers_a_bar_can_have(text: str) -> None:
    assert arguments.meter("7/8") == (7, 8)
    with pytest.raises(argparse.ArgumentTypeError):
        arguments.meter(text)


def test_an_unknown_slider_names_the_near_one() -> None:
    arguments.check_sliders({"density": 1.0}, ["density", "register"])
    with pytest.raises(MorphonyError, match="did you mean 'density'"):
        arguments.check_sliders({"densty": 1.0}, ["density", "register"])
