"""Colours: stable by name, distinct for every kind of sight, visible on their background."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from bench.report.colours import BASELINE, DISTINCT, PALETTE, PAPER, styles

# Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB.
SIGHT = {
    "full": np.eye(3),
    "deuteranopia": np.array([[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]]),
    "protanopia": np.array([[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]]),
}
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
BACKGROUNDS = (PAPER, "#12161b")


def linear(colour: str) -> np.ndarray:
    values = np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    scaled = XYZ @ np.clip(rgb, 0, 1) / np.array([0.9505, 1.0, 1.089])
    x, y, z = np.where(scaled > 0.008856, np.cbrt(scaled), 7.787 * scaled + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("dark", [False, True])
def test_the_first_colours_are_distinct_for_every_kind_of_sight(sight, dark):
    colours = [pair[dark] for pair in (*PALETTE[:DISTINCT], BASELINE)]
    seen = [lab(SIGHT[sight] @ linear(colour)) for colour in colours]
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > 10


@pytest.mark.parametrize("dark", [False, True])
def test_every_colour_is_visible_on_its_background(dark):
    luminance = [float(linear(colour) @ XYZ[1]) for colour in (*(pair[dark] for pair in PALETTE), BACKGROUNDS[dark])]
    *marks, ground = luminance
    assert all((max(mark, ground) + 0.05) / (min(mark, ground) + 0.05) > 2.5 for mark in marks)


def test_a_strategy_has_the_same_style_beside_any_others():
    alone, among = styles(["big"], "base"), styles(["big", "base"], "base")
    assert alone["big"] == among["big"]
    many = styles([f"s{number}" for number in range(30)], "base")
    assert len({(style.colour, style.dash) for style in many.values()}) > 24
    assert len({(style.colour, style.marker) for style in many.values()}) == 31  # the baseline's too
    assert styles(list(many), "base") == many
