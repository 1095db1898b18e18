"""From a picture to a network's input: as torchvision and Pillow do it, kept with a model, and named in the store."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torchvision.transforms import v2

from kmex_core.base.errors import InputError
from kmex_core.base.specs import EmbeddingSpec, stable_key
from kmex_core.data.network_input import normalise, pixel_bounds, to_pixels, unit_pixels
from kmex_core.data.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing

SHAPES = [(300, 411), (411, 300), (256, 256), (257, 255), (64, 500), (31, 47), (224, 224)]
MODES = {"bilinear": v2.InterpolationMode.BILINEAR, "bicubic": v2.InterpolationMode.BICUBIC}
PILLOW = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def photo(shape: tuple[int, int]) -> np.ndarray:
    """A smooth picture with an edge, so that resizing matters and rounding does not."""
    height, width = shape
    y, x = np.mgrid[:height, :width]
    waves = [127 + 100 * np.sin(x / (9 + 3 * c) + y / (17 - 2 * c)) for c in range(3)]
    picture = np.stack(waves, -1)
    picture[height // 3 : height // 2, width // 4 : width // 2] = (255, 0, 30)
    return np.round(picture).astype(np.uint8)


def imagenet(**changes: Any) -> Preprocessing:
    usual = Preprocessing(224, 224, 3, IMAGENET_MEAN, IMAGENET_STD, "shorter", 256)
    return dataclasses.replace(usual, **changes)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_shorter_side_and_the_centre_are_torchvisions(shape: tuple[int, int], interpolation: str) -> None:
    picture = photo(shape)
    theirs = v2.Compose([v2.Resize(256, MODES[interpolation], antialias=True), v2.CenterCrop(224), v2.PILToTensor()])
    expected = theirs(Image.fromarray(picture)).int()
    ours = to_pixels([picture], imagenet(interpolation=interpolation))[0].int()
    assert ours.shape == (3, 224, 224)
    # Pillow rounds in between
    assert (ours - expected).abs().max() <= {"bilinear": 1, "bicubic": 2}[interpolation]


@pytest.mark.parametrize("size", [(224, 224), (100, 160), (97, 31)], ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_centre_of_any_shape_is_torchvisions(shape: tuple[int, int], size: tuple[int, int]) -> None:
    picture = photo(shape)
    expected = v2.Compose([v2.Resize(128, antialias=True), v2.CenterCrop(size), v2.PILToTensor()])(
        Image.fromarray(picture)
    )
    ours = to_pixels([picture], imagenet(height=size[0], width=size[1], shorter=128))[0]
    assert (ours.int() - expected.int()).abs().max() <= 1


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_bars_are_pillows(shape: tuple[int, int]) -> None:
    picture = photo(shape)
    expected = np.asarray(ImageOps.pad(Image.fromarray(picture), (96, 64), PILLOW["bilinear"], color=0))
    ours = to_pixels([picture], Preprocessing(64, 96, 3, (0.0,) * 3, (1.0,) * 3, "pad"))[0].permute(1, 2, 0).numpy()
    apart = np.abs(ours.astype(int) - expected.astype(int))
    assert (apart > 1).any(2).mean() <= 0.02  # a side that is rounded the other way is a line off


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_squeezing_into_a_rectangle_is_pillows(interpolation: str) -> None:
    picture = photo((300, 411))
    expected = np.asarray(Image.fromarray(picture).resize((80, 50), PILLOW[interpolation]))
    asked = Preprocessing(50, 80, 3, (0.0,) * 3, (1.0,) * 3, interpolation=interpolation)
    ours = to_pixels([picture], asked)[0].permute(1, 2, 0).numpy()
    assert np.abs(ours.astype(int) - expected.astype(int)).max() <= 1


def test_the_input_is_torchvisions_with_every_kind_of_normalisation() -> None:
    picture = photo((224, 224))
    unit = v2.functional.to_image(Image.fromarray(picture)).float() / 255
    asked = imagenet(resize="squeeze", shorter=0)
    expected = v2.functional.normalize(unit, list(IMAGENET_MEAN), list(IMAGENET_STD))
    torch.testing.assert_close(normalise(to_pixels([picture], asked), asked)[0], expected)
    # as in Caffe: blue first, 0 to 255, only the mean taken off
    caffe = dataclasses.replace(asked, order="BGR", white=255.0, mean=(103.9, 116.8, 123.7), std=(1.0,) * 3)
    mean = torch.tensor(caffe.mean).view(3, 1, 1)
    torch.testing.assert_close(normalise(to_pixels([picture], caffe), caffe)[0], unit.flip(0) * 255 - mean)
    low, high = pixel_bounds(caffe)
    assert low == pytest.approx((-103.9, -116.8, -123.7))
    assert high == pytest.approx((255 - 103.9, 255 - 116.8, 255 - 123.7))


def test_a_network_of_one_input_channel_gets_one() -> None:
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8)
    one = Preprocessing(8, 8, 1, (0.5,), (0.25,), inputs=1)
    found = normalise(to_pixels([grey], one), one)
    assert found.shape == (1, 1, 8, 8)
    torch.testing.assert_close(found[0, 0], (torch.from_numpy(grey).float() / 255 - 0.5) / 0.25)
    three = dataclasses.replace(one, inputs=3)
    torch.testing.assert_close(normalise(to_pixels([grey], three), three), found.expand(-1, 3, -1, -1))
    assert unit_pixels(to_pixels([grey], one), one).shape == (1, 1, 8, 8)
    assert len(pixel_bounds(one)[0]) == 1
    assert len(pixel_bounds(three)[0]) == 3


def test_grey_pictures_are_colour_for_a_network_of_colour() -> None:
    grey = photo((40, 50))[..., 0]
    asked = imagenet(height=32, width=32, shorter=36)
    assert torch.equal(to_pixels([grey], asked), to_pixels([np.repeat(grey[..., None], 3, -1)], asked))


@pytest.mark.parametrize(
    "changes",
    [
        {"height": 0},
        {"width": 5000},
        {"channels": 2},
        {"mean": (0.5,)},
        {"std": (1.0, 0.0, 1.0)},
        {"std": (1.0, float("nan"), 1.0)},
        {"resize": "crop"},
        {"resize": "shorter", "shorter": 0},
        {"resize": "squeeze", "shorter": 9},
        {"shorter": 10**9},
        {"interpolation": "lanczos"},
        {"order": "GBR"},
        {"white": -1.0},
        {"inputs": 1},
        {"inputs": 2},
    ],
    ids=str,
)
def test_what_no_network_is_given_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="Expected a preprocessing"):
        imagenet(**changes)


def test_it_survives_the_way_through_json() -> None:
    asked = imagenet(interpolation="bicubic", order="BGR")
    described = json.loads(json.dumps(dataclasses.asdict(asked)))
    assert Preprocessing.from_description(described) == asked
    for wrong in ({**described, "more": 1}, {"height": 3}, {}):
        with pytest.raises(InputError, match="no description of a preprocessing"):
            Preprocessing.from_description(wrong)


def test_earlier_embeddings_keep_their_names_and_other_pixels_get_another() -> None:
    plain = Preprocessing.plain(32, 1, (0.3,), (0.4,))
    assert plain.geometry == ""

    def spec(of: Preprocessing) -> EmbeddingSpec:
        return EmbeddingSpec("resnet18", "w", "d", "train", max(of.size), of.mean, of.std, geometry=of.geometry)

    before = {
        "backbone": "resnet18", "weights": "w", "data": "d", "split": "train", "image_size": 32, "mean": (0.3,),
        "std": (0.4,), "mixed_precision": False,
    }  # fmt: skip
    assert spec(plain).key == stable_key(["EmbeddingSpec", before])
    others = [
        dataclasses.replace(plain, **changes)
        for changes in (
            {"width": 16},
            {"interpolation": "bicubic"},
            {"antialias": False},
            {"resize": "pad"},
            {"resize": "shorter", "shorter": 40},
            {"white": 255.0},
            {"inputs": 1},
        )
    ]
    assert len({spec(each).key for each in [plain, *others]}) == 1 + len(others)
