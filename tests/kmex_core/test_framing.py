from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmex_core.base.errors import InputError
from kmex_core.data.framing import CROPS, SMALLEST, Framing, distortion, framed, read_framing
from kmex_core.data.network_input import to_pixels
from kmex_core.data.preprocessing import Preprocessing

WIDE = np.arange(12, dtype=np.uint8).reshape(3, 4)  # 3 high, 4 wide


def test_nothing_is_done_unless_asked_for() -> None:
    np.testing.assert_array_equal(framed(WIDE, Framing()), WIDE)


def test_quarter_turns_are_clockwise() -> None:
    assert framed(WIDE, Framing(turns=1))[0].tolist() == [8, 4, 0]
    assert framed(WIDE, Framing(turns=2))[0].tolist() == [11, 10, 9, 8]
    np.testing.assert_array_equal(framed(WIDE, Framing(turns=4)), WIDE)


def test_the_middle_is_cut_out_and_so_is_any_other_square() -> None:
    assert framed(np.arange(25, dtype=np.uint8).reshape(5, 5)[:3], Framing("region")).tolist() == [
        [1, 2, 3],
        [6, 7, 8],
        [11, 12, 13],
    ]
    assert framed(WIDE, Framing("region", size=0.3, across=1, down=1)).tolist() == [[11]]
    assert framed(WIDE, Framing("region", size=0.7, across=0, down=1)).tolist() == [[4, 5], [8, 9]]
    assert framed(WIDE, Framing("region", turns=1, size=0.3, across=1, down=0)).tolist() == [[0]]


def test_padding_takes_the_colour_of_the_border() -> None:
    paper = np.full((2, 6, 3), (250, 240, 230), np.uint8)
    paper[1, 2] = 0  # one dark pixel does not decide
    square = framed(paper, Framing("pad"))
    assert square.shape == (6, 6, 3)
    assert square[0, 0].tolist() == [250, 240, 230]
    np.testing.assert_array_equal(square[2:4], paper)


def test_inverting_twice_gives_the_picture_back() -> None:
    inverted = framed(WIDE, Framing(inverted=True))
    assert inverted[0, 0] == 255
    np.testing.assert_array_equal(framed(inverted, Framing(inverted=True)), WIDE)


def test_a_square_is_not_squeezed_by_the_network() -> None:
    disc = np.zeros((60, 80), np.uint8)
    rows, columns = np.mgrid[:60, :80]
    disc[(rows - 30) ** 2 + (columns - 40) ** 2 < 20**2] = 255

    def shape(crop: str) -> float:
        seen = to_pixels([framed(disc, Framing(crop))], Preprocessing.plain(32, 1))[0, 0].numpy() > 127
        return float(seen.any(1).sum() / seen.any(0).sum())

    assert shape("whole") > 1.2  # a disc became an ellipse
    assert shape("region") == pytest.approx(1, abs=0.06)
    assert shape("pad") == pytest.approx(1, abs=0.06)
    assert distortion(disc) == pytest.approx(4 / 3)
    assert distortion(disc.T) == pytest.approx(4 / 3)


@pytest.mark.parametrize("wrong", [{"crop": "zoom"}, {"size": 0.0}, {"size": 1.1}, {"across": -0.1}, {"down": 2.0}])
def test_what_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="Expected"):
        framed(WIDE, dataclasses.replace(Framing(), **wrong))


@given(
    st.integers(1, 9), st.integers(1, 9), st.sampled_from([(), (1,), (3,)]), st.sampled_from(list(CROPS)),
    st.integers(0, 3), st.booleans(), st.floats(SMALLEST, 1), st.floats(0, 1), st.floats(0, 1),
)  # fmt: skip
def test_any_picture_can_be_framed(
    height: int,
    width: int,
    channels: tuple[int, ...],
    crop: str,
    turns: int,
    inverted: bool,
    size: float,
    across: float,
    down: float,
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, *channels), dtype=np.uint8)
    shown = framed(pixels, Framing(crop, turns, inverted, size, across, down))
    assert shown.dtype == np.uint8
    assert shown.ndim == pixels.ndim
    assert min(shown.shape[:2]) >= 1
    if crop == "whole":
        assert sorted(shown.shape[:2]) == sorted((height, width))
    else:
        assert shown.shape[0] == shown.shape[1]


# the same table is in tests/javascript/framing.test.js: the page and the server must mean the same
TEXTS = {
    "": Framing(),
    "turn90": Framing(turns=1),
    "pad": Framing("pad"),
    "turn270_pad_invert": Framing("pad", 3, True),
    "region-350-0-1000": Framing("region", size=0.35, across=0, down=1),
    "turn180_region-1000-500-333_invert": Framing("region", 2, True, 1.0, 0.5, 0.333),
    "invert": Framing(inverted=True),
}


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_names_a_framing(text: str) -> None:
    assert read_framing(text) == TEXTS[text]
    assert TEXTS[text].text == text


@given(
    st.sampled_from(list(CROPS)), st.integers(0, 9), st.booleans(), st.floats(SMALLEST, 1), st.floats(0, 1),
    st.floats(0, 1),
)  # fmt: skip
def test_every_framing_has_a_text_that_names_it(
    crop: str, turns: int, inverted: bool, size: float, across: float, down: float
) -> None:
    framing = Framing(crop, turns, inverted, size, across, down)
    again = read_framing(framing.text)
    assert (again.crop, again.turns, again.inverted) == (crop, turns % 4, inverted)
    if crop == "region":
        assert (again.size, again.across, again.down) == pytest.approx((size, across, down), abs=0.0005001)
    assert again.text == framing.text


@pytest.mark.parametrize(
    "text",
    ["turn", "turn0", "turn45", "pad_", "_invert", "invert_pad", "pad_region-500-0-0", "region-0500-0-0", "pad\n",
     "region-49-0-0", "region-1001-0-0", "region-500-0-1001", "region-500-0", "region-٥٠٠-0-0", "INVERT", "pad__invert",
     "turn90" * 10_000],
)  # fmt: skip
def test_a_text_that_names_no_framing_gets_a_sentence(text: str) -> None:
    with pytest.raises(InputError, match="Invalid framing") as error:
        read_framing(text)
    assert len(str(error.value)) < 400


@given(st.text(alphabet="turn0987pad_region-invs", max_size=30))
def test_whatever_is_read_is_written_as_it_was(text: str) -> None:
    try:
        framing = read_framing(text)
    except InputError:
        return
    assert framing.text == text
    framed(WIDE, framing)
