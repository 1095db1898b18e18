"""A relevance map lies where the network looked, whatever the preprocessing does to a picture."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image
from torch import nn

from app.figures.concepts import concept_figure
from app.figures.overlay import ground, mapped
from kmex_core import KMEx
from kmex_core.analysis.concept_picture import SIDE, concept_picture
from kmex_core.data.display import PALE, SHOWN, box_pixels, overlay
from kmex_core.data.network_input import normalise, to_pixels
from kmex_core.data.pictures import read_picture
from kmex_core.data.preprocessing import WHOLE, Preprocessing
from kmex_core.data.seen import SeenPicture, seen_picture
from kmex_core.prototypes.types import ConceptMap
from kmex_core.relevance.types import RelevanceMaps
from tests.helpers.results import prototypes_of

INPUT = 64
WAYS: dict[str, dict[str, Any]] = {
    "squeeze": {},
    "crop": {"resize": "shorter", "shorter": 72},
    "crop with bars": {"resize": "shorter", "shorter": 48},
    "pad": {"resize": "pad"},
}


def preprocessing(way: str, height: int = INPUT, width: int = INPUT, **more: Any) -> Preprocessing:
    return Preprocessing(height, width, 3, (0.0,) * 3, (1.0,) * 3, **{**WAYS[way], **more})


def ramps(height: int, width: int) -> np.ndarray:
    """A picture that says where each of its pixels is: red across, green down, blue everywhere."""
    across, down = (np.arange(side) / max(1, side - 1) * 255 for side in (width, height))
    return np.stack(np.broadcast_arrays(across[None], down[:, None], 255.0), -1).round().astype(np.uint8)


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(st.integers(8, 300), st.integers(8, 300)),
    size=st.tuples(st.integers(16, 80), st.integers(16, 80)),
    way=st.sampled_from(sorted(WAYS)),
)
def test_the_box_is_where_the_input_s_pixels_come_from(shape: tuple[int, int], size: tuple[int, int], way: str) -> None:
    (height, width), kind = shape, preprocessing(way, *size)
    pixels = to_pixels([ramps(height, width)], kind)[0].double().numpy()
    left, top, right, bottom = kind.placed(shape).box
    x, y = (
        (start + (np.arange(side) + 0.5) / side * (end - start)) for start, end, side in
        ((left, right, size[1]), (top, bottom, size[0]))
    )  # fmt: skip
    inside = ((x > 0) & (x < 1))[None] & ((y > 0) & (y < 1))[:, None]
    np.testing.assert_array_equal(pixels[2] > 0, inside)  # elsewhere are black bars
    # at the edge of a reduced picture the mean is of a part of the pixels
    for channel, (places, side, resized) in enumerate(
        ((x[None], width, kind.placed(shape).sides[1]), (y[:, None], height, kind.placed(shape).sides[0]))
    ):
        expected = np.broadcast_to((places * side - 0.5).clip(0, side - 1) / max(1, side - 1) * 255, inside.shape)
        assert np.abs(pixels[channel] - expected)[inside].max(initial=0) <= 2 + 255 / min(side, resized)


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 900), st.integers(1, 900)),
    way=st.sampled_from(sorted(WAYS)),
    size=st.tuples(st.integers(1, 300), st.integers(1, 300)),
)
@example(shape=(90, 89), way="crop", size=(160, 1))  # an end at -4e-17 before
def test_a_seen_picture_has_the_picture_and_the_bars_and_is_no_larger_than_others(
    shape: tuple[int, int], way: str, size: tuple[int, int]
) -> None:
    kind = preprocessing(way, *size)
    seen, box = seen_picture(np.full(shape, 200, np.uint8), kind), kind.placed(shape).box
    left, top, right, bottom = seen.box
    assert 0 <= left < right <= 1
    assert 0 <= top < bottom <= 1
    assert max(seen.pixels.shape) <= 2 * SHOWN  # one pixel of a picture may need many of bars
    assert seen.bars == bool((seen.pixels == 0).any())
    # what is not black is the picture: the box in shares of it is the preprocessing's
    rows, columns = (np.flatnonzero((seen.pixels[..., 0] > 0).any(axis)) for axis in (1, 0))
    for ends, kept, side in (
        (((left, box[0]), (right, box[2])), columns, seen.pixels.shape[1]),
        (((top, box[1]), (bottom, box[3])), rows, seen.pixels.shape[0]),
    ):
        for share, of_picture in ends:
            assert (share * side - kept[0]) / len(kept) == pytest.approx(of_picture, abs=1e-6)


def detector() -> KMEx:
    """A network whose embedding is the mean of each channel: the margin's relevance is the brightness of each pixel."""
    centres = np.array([[1.0] * 3, [0.0] * 3], np.float32)
    encoder = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return KMEx(
        encoder,
        nn.Linear(3, 2),
        prototypes_of(centres, np.array([0, 1])),
        ["bright", "dark"],
        pixel_range=((0.0,) * 3, (1.0,) * 3),
    )


def photo(spot: tuple[int, int], orientation: int) -> bytes:
    """A wide dark photo, 120 high and 400 wide once it is turned, with a bright spot around a row and column."""
    upright = np.full((120, 400, 3), 20, np.uint8)
    upright[spot[0] - 20 : spot[0] + 20, spot[1] - 20 : spot[1] + 20] = 250
    stored = np.rot90(upright, 1) if orientation == 6 else upright  # 6: to be turned clockwise
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(stored)).save(buffer, "JPEG", quality=95, exif=exif)
    return buffer.getvalue()


def relevance_of(pixels: np.ndarray, kind: Preprocessing) -> RelevanceMaps:
    return detector().maps(normalise(to_pixels([pixels], kind), kind), [0], "gradient-input", "margin")


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("way", WAYS)
def test_the_map_of_a_bright_spot_is_drawn_on_the_spot(way: str, orientation: int) -> None:
    kind, row, column = preprocessing(way), 40, 230
    pixels = read_picture(photo((row, column), orientation)).pixels
    assert pixels.shape == (120, 400, 3)
    seen = seen_picture(pixels, kind)
    drawn = overlay(seen.pixels, relevance_of(pixels, kind).values[0], 1.0, "Viridis", box=seen.box).astype(int)
    # the strongest relevance is yellow; of the picture, where the spot is without any map
    yellow = np.argwhere((drawn[..., 0] > 180) & (drawn[..., 2] < 100)).mean(0)
    spot = np.argwhere(seen.pixels[..., 0] > 200).mean(0)
    assert np.abs(yellow - spot * drawn.shape[0] / seen.pixels.shape[0]).max() < 3


def test_what_is_outside_the_crop_is_pale_and_has_no_map() -> None:
    kind = preprocessing("crop")
    pixels = read_picture(photo((60, 20), 1)).pixels  # the spot is at the far left, the crop in the middle
    seen = seen_picture(pixels, kind)
    drawn = overlay(seen.pixels, np.ones((INPUT, INPUT), np.float32), 1.0, "Viridis", box=seen.box)
    left, top, right, bottom = box_pixels(seen.box, drawn.shape[1], drawn.shape[0])
    outside = np.concatenate([drawn[:, : left - 2], drawn[:, right + 2 :]], 1)
    assert (outside == outside[..., :1]).all()  # grey
    assert outside.min() >= 255 * PALE
    assert outside[50:70, 10:30].min() > outside[50:70, 60:80].max() + 30  # the spot shows
    assert (drawn[top:bottom, left:right] == (253, 231, 37)).all()
    assert (drawn[top:bottom, left - 1] == 90).all()  # the frame
    assert seen.note == "The network sees 24% of the picture; the rest is pale."
    np.testing.assert_array_equal(  # nothing changes where the network sees all of it
        overlay(pixels, np.ones((8, 8)), 0.5, "Grey"), overlay(pixels, np.ones((8, 8)), 0.5, "Grey", box=WHOLE)
    )


@pytest.mark.parametrize(
    ("way", "note"),
    [
        ("squeeze", ""),
        ("pad", "The black bars belong to its input."),
        (
            "crop with bars",
            "The network sees 40% of the picture; the rest is pale. The black bars belong to its input.",
        ),
    ],
)
def test_pages_say_what_the_network_does_not_see(way: str, note: str) -> None:
    kind, pixels = preprocessing(way), np.full((120, 400), 90, np.uint8)
    figure = mapped(ground(pixels, kind), relevance_of(pixels, kind), 0, "Relevance", "About it")
    assert figure.caption == f"Relevance. {note}" if note else "Relevance"
    assert figure.about == f"About it. {note}" if note else "About it"
    assert figure.map is not None
    assert figure.map["box"] == seen_picture(pixels, kind).box


def test_a_patch_is_where_its_part_of_the_input_is() -> None:
    pixels = read_picture(photo((40, 230), 1)).pixels
    for way in WAYS:
        kind = preprocessing(way)
        brightest = to_pixels([pixels], kind)[0].sum(0).argmax()
        row, column = divmod(int(brightest), INPUT)
        seen = seen_picture(pixels, kind)
        left, top, right, bottom = seen.part((column / INPUT, row / INPUT, (column + 1) / INPUT, (row + 1) / INPUT))
        height, width = seen.pixels.shape[:2]
        middle = seen.pixels[int((top + bottom) / 2 * height), int((left + right) / 2 * width)]
        assert middle.min() > 200, way


def test_concept_maps_cover_what_the_network_sees() -> None:
    pixels, grid = read_picture(photo((40, 230), 1)).pixels, np.zeros((4, 4), int)
    drawn = ConceptMap(grid, grid, np.ones((4, 4)), np.zeros(2), np.array([16, 0]), 0, 0)
    seen = seen_picture(pixels, preprocessing("crop"))
    panels = np.asarray(Image.open(io.BytesIO(concept_picture(seen, drawn, ("a", "b")))))
    concepts = panels[32 : 32 + 115, 24 + SIDE : 24 + 2 * SIDE].astype(int)  # the middle panel
    coloured = np.flatnonzero((np.ptp(concepts, -1) > 30).any(0))
    left, right = seen.box[0] * SIDE, seen.box[2] * SIDE
    assert abs(coloured[0] - left) < 2
    assert abs(coloured[-1] + 1 - right) < 2
    figure = concept_figure(drawn, ("a", "b"), "data:image/png;base64,", seen)
    under = figure.layout.images[0]
    place = (column_of(-0.5, under), column_of(3.5, under))
    assert place == pytest.approx((seen.box[0], seen.box[2]))
    assert list(figure.layout.xaxis.range) == pytest.approx([under.x, under.x + under.sizex])
    pale = sorted((shape.x0, shape.x1) for shape in figure.layout.shapes if shape.y0 <= 0 and shape.y1 >= 3)
    assert np.ravel(pale) == pytest.approx([under.x, -0.5, 3.5, under.x + under.sizex])
    # the image keeps its proportions: 400 by 120
    ratio = figure.layout.yaxis.scaleratio * under.sizey / under.sizex
    assert ratio == pytest.approx(120 / 400)


def column_of(x: float, under: Any) -> float:
    return float((x - under.x) / under.sizex)


def test_bars_of_a_panorama_take_no_memory() -> None:
    seen = seen_picture(np.zeros((2, 40_000), np.uint8), preprocessing("pad"))
    assert isinstance(seen, SeenPicture)
    assert max(seen.pixels.shape) <= SHOWN + 2
    assert torch.equal(
        to_pixels([np.zeros((2, 40_000), np.uint8)], preprocessing("pad")), torch.zeros(1, 3, 64, 64).byte()
    )
