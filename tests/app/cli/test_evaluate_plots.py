"""The pictures and the table of an evaluation, from figures made by hand: they show what they are given."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtGui import QImage

from app import pictures, plots
from app.cli import evaluate_plots
from app.cli.evaluate_table import table
from engine.attributes import NAMES
from engine.errors import MorphonyError
from trainer.evaluate.sliders import POSITIONS

BLUE, VERMILION, GREEN = plots.COLOURS[:3]


def pixels(path: Path) -> np.ndarray:
    """(H, W, 3) of a picture."""
    image = QImage(str(path)).convertToFormat(QImage.Format.Format_RGB888)
    raw = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    return raw[:, : image.width() * 3].reshape(image.height(), image.width(), 3)


def share(path: Path, colour: str) -> float:
    """Of the pixels that are nearly of a colour."""
    wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    return float((np.abs(pixels(path).astype(int) - wanted).max(-1) < 12).mean())


def test_pictures_are_twice_as_fine_as_the_page_and_hold_their_curves(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    lines = {"one": ([0, 1, 2], [3, 1, 2]), "other": ([0, 1, 2], [1, 1.5, 2])}
    pictures.picture(path, "Two", [pictures.Panel(lines=lines)], 1, plots.HEIGHT, legend=True)
    height, width, _ = pixels(path).shape
    assert (width, height) == (2 * plots.WIDTH, 2 * plots.HEIGHT)
    assert share(path, BLUE) > 1e-3
    assert share(path, VERMILION) > 1e-3
    assert share(path, GREEN) == 0


def test_slider_responses_have_a_panel_a_slider_and_statistics_name_what_is_shared(tmp_path: Path) -> None:
    quartiles = {name: [(POSITIONS * k).tolist() for k in (0.6, 0.8, 1)] for name in NAMES}
    found = {"positions": POSITIONS.tolist(), "quartiles": quartiles}
    assert share(evaluate_plots.responses(tmp_path / "r.png", found), BLUE) > 1e-3
    statistics = {n: {"music": [0.5, 0.5, 0], "new": [0, 0.5, 0.5]} for n in ("pitch", "onset")}
    drawn = evaluate_plots.statistics(tmp_path / "s.png", statistics, {"overlap.pitch": 0.5})
    assert share(drawn, "#d6d6d6") > 1e-3


def test_the_map_shows_every_corpus(tmp_path: Path) -> None:
    drawn = evaluate_plots.latent_map(tmp_path / "m.png", {"a": ([0, 1], [0, 1]), "b": ([1, 0.5], [0, 0.5])})
    assert share(drawn, BLUE) > 1e-5
    assert share(drawn, VERMILION) > 1e-5


def test_notes_are_drawn_where_they_sound(tmp_path: Path) -> None:
    panel = pictures.Panel("x", notes=[(0, 48, 60, 1.0, 0), (48, 96, 64, 1.0, 1)], x=(0, 96), y=(58, 66), bare=True)
    pictures.picture(tmp_path / "n.png", "Notes", [panel], 1, 300)
    blue, red = (np.argwhere(np.abs(pixels(tmp_path / "n.png").astype(int) - rgb).max(-1) < 12) for rgb in (
        (0, 0x72, 0xB2), (0xD5, 0x5E, 0),
    ))  # fmt: skip
    assert blue[:, 1].mean() < red[:, 1].mean()  # the first note is to the left
    assert blue[:, 0].mean() > red[:, 0].mean()  # and lower


def test_losses_come_from_a_run_s_log_and_a_run_without_one_is_said(tmp_path: Path) -> None:
    rows = [
        {"n": n, "train": {"loss": 9.0 / n}, "held_out": {"loss": 8.0 / n, "f1": n / 20} if n % 5 == 0 else None}
        for n in range(1, 21)
    ]
    (tmp_path / "steps.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    assert share(evaluate_plots.losses(tmp_path / "l.png", tmp_path), BLUE) > 1e-3
    with pytest.raises(MorphonyError, match="holds no log of steps"):
        evaluate_plots.losses(tmp_path / "x.png", tmp_path / "none")
    (tmp_path / "steps.jsonl").write_text('{"n": 1}\n')
    with pytest.raises(MorphonyError, match="holds no log of steps"):
        evaluate_plots.losses(tmp_path / "x.png", tmp_path)


def test_the_table_says_how_sure_a_figure_is_and_whether_it_is_reached() -> None:
    figures = {"all": {"note_f1": 0.9}, "tier_A": {"note_f1": 0.96, "swap_f1": 0.1}, "songs": {"note_f1": 0.8}}
    sure = {"note_f1": {"low": 0.94, "high": 0.97}, "swap_f1": {"low": None, "high": None}}
    result = {
        "figures": figures,
        "intervals": {"all": {}, "songs": {}, "tier_A": sure},
        "pieces": {"all": 3, "tier_A": 2, "songs": 1},
        "worst_corpus": {"note_f1": "songs"},
        "skipped": {"copies": "Name the reference."},
    }
    head, pieces, f1, swap, skipped = table(result)
    assert head.split()[:3] == ["figure", "tier_A", "95"]
    assert pieces.split() == ["pieces", "2", "3", "1"]
    assert f1.split() == ["note_f1", "0.960", "[0.940,", "0.970]", ">=", "0.95", "met", "0.900", "0.800", "songs"]
    assert swap.split() == ["swap_f1", "0.100", "-", "-"]
    assert skipped == "Name the reference."
