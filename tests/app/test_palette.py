from __future__ import annotations

import itertools
import tomllib

import numpy as np
import pytest

from app.figures.palette import BLACK_BOX, CHOSEN, GHOST, KMEX, class_colours
from tests.conftest import ROOT

THEMES = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text())["theme"]
LIGHT, DARK = (THEMES[theme]["backgroundColor"] for theme in ("light", "dark"))


def rgb(colour: str) -> np.ndarray:
    return np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255


def linear(colour: str) -> np.ndarray:
    value = rgb(colour)
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    """The ratio of WCAG 2, 1 to 21."""
    low, high = sorted(float(linear(colour) @ [0.2126, 0.7152, 0.0722]) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


def lab(light: np.ndarray) -> np.ndarray:
    """CIE L*a*b* of linear sRGB."""
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = to_xyz @ light / np.array([0.9505, 1, 1.089])
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


# Viénot, Brettel & Mollon 1999, in linear light
DEUTERANOPIA = np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]])
PROTANOPIA = np.array([[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]])


@pytest.mark.parametrize("count", [2, 8, 9, 10, 40, 200])
def test_every_class_has_a_colour_that_stands_out_in_both_themes(count: int) -> None:
    colours = class_colours(count)
    assert len(set(colours)) == count
    for colour in colours:
        assert contrast(colour, "#ffffff") >= 3, colour
        assert contrast(colour, DARK) >= 3, colour


@pytest.mark.parametrize("colour", [KMEX, BLACK_BOX, GHOST, CHOSEN])
def test_what_is_always_drawn_alike_stands_out_in_both_themes(colour: str) -> None:
    assert contrast(colour, "#ffffff") >= 3
    assert contrast(colour, DARK) >= 3


def test_the_themes_colour_carries_white_text() -> None:
    for theme, page in (("light", LIGHT), ("dark", DARK)):
        primary = THEMES[theme]["primaryColor"]
        assert contrast(primary, "#ffffff") >= 4.5
        assert contrast(primary, page) >= 3


@pytest.mark.parametrize("seen", [np.eye(3), DEUTERANOPIA, PROTANOPIA], ids=["all", "deuteranopia", "protanopia"])
def test_eight_classes_are_told_apart_by_everyone(seen: np.ndarray) -> None:
    colours = [lab(np.clip(seen @ linear(colour), 0, 1)) for colour in class_colours(8)]
    assert min(float(np.linalg.norm(a - b)) for a, b in itertools.combinations(colours, 2)) > 10


def test_ten_classes_are_far_apart() -> None:
    colours = [lab(linear(colour)) for colour in class_colours(10)]
    assert min(float(np.linalg.norm(a - b)) for a, b in itertools.combinations(colours, 2)) > 15


def test_columns_that_stay_cover_what_scrolls_below_them() -> None:
    assert f"light-dark({LIGHT}, {DARK})" in (ROOT / "app" / "assets" / "style.css").read_text()
