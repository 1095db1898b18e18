from __future__ import annotations

import itertools
import re
import tomllib

import numpy as np
import pytest

from app.figures.palette import BLACK_BOX, CHOSEN, GHOST, KMEX, custom_properties
from kmex_core.data.colours import DARK, LIGHT, class_colours
from tests.helpers.paths import ROOT

THEMES = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text())["theme"]
APP = ROOT / "app"
LITERAL = re.compile(r"#(?:[0-9a-f]{8}|[0-9a-f]{6}|[0-9a-f]{3,4})\b|\b(?:rgb|hsl)a?\(\s*[\d.]", re.IGNORECASE)


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
        assert contrast(colour, LIGHT.page) >= 3, colour
        assert contrast(colour, DARK.page) >= 3, colour


@pytest.mark.parametrize("colour", [KMEX, BLACK_BOX, GHOST, CHOSEN])
def test_what_is_always_drawn_alike_stands_out_in_both_themes(colour: str) -> None:
    assert contrast(colour, LIGHT.page) >= 3
    assert contrast(colour, DARK.page) >= 3


def test_the_themes_colour_carries_white_text() -> None:
    for theme, page in (("light", LIGHT.page), ("dark", DARK.page)):
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


def test_text_can_be_read_in_both_themes() -> None:
    for theme in (LIGHT, DARK):
        assert contrast(theme.accent, theme.page) >= 4.5
        assert contrast(theme.ink, theme.page) >= 4.5


def test_the_settings_repeat_the_colours_of_pages() -> None:
    assert THEMES["light"]["backgroundColor"] == LIGHT.page
    assert THEMES["dark"]["backgroundColor"] == DARK.page
    assert THEMES["light"]["primaryColor"] == LIGHT.accent


def test_the_logo_repeats_the_colours_of_pages_and_figures() -> None:
    icon, logo = ((APP / "assets" / name).read_text() for name in ("icon.svg", "logo.svg"))
    assert icon.partition(">")[2].removesuffix("\n").removesuffix("</svg>") in logo
    own = "#ffd28a"  # of the dots, nowhere else
    assert set(LITERAL.findall(logo)) == {LIGHT.accent, "#fff", KMEX, own}


def test_colours_stand_in_one_file() -> None:
    elsewhere = [
        f"{path.relative_to(APP)}: {colour}"
        for path in sorted(APP.rglob("*"))
        if path.suffix in (".py", ".css", ".js", ".html") and "bundle" not in path.parts  # made of the others
        if path != APP / "figures" / "palette.py"
        for colour in LITERAL.findall(path.read_text())
    ]
    assert elsewhere == []


def test_every_custom_property_that_is_used_is_defined() -> None:
    defined = set(re.findall(r"(--kx-[\w-]+):", custom_properties()))
    paths = [path for kind in ("css", "js") for path in (APP / "assets").rglob(f"*.{kind}")]
    sources = [path.read_text() for path in paths if "bundle" not in path.parts]
    assert set(re.findall(r"--kx-[\w-]+\b", "".join(sources))) == defined


def test_columns_that_stay_cover_what_scrolls_below_them() -> None:
    assert f"--kx-page: light-dark({LIGHT.page}, {DARK.page});" in custom_properties()
    rules = {
        selector.strip(): block
        for path in (APP / "assets").rglob("*.css")
        if "bundle" not in path.parts  # made of the others
        for selector, block in re.findall(r"([^{}]*)\{([^{}]*)\}", path.read_text())
    }
    staying = [selector for selector, block in rules.items() if "sticky" in block and re.search(r"\bth\b", selector)]
    assert len(staying) == 3
    assert [selector for selector in staying if "background: var(--kx-page);" not in rules[selector]] == []
