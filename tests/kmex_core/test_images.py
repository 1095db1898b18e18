from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from kmex_core.base.errors import InputError
from kmex_core.data.display import COLOURS, displayed, overlay, scaled_relevance
from kmex_core.data.network_input import normalise, pixel_bounds, to_channels, to_pixels
from kmex_core.data.pictures import MAX_BYTES, read_picture
from kmex_core.data.preprocessing import Preprocessing
from tests.helpers.pictures import bomb, encoded, saved

COLOUR = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_lossless_formats_give_their_pixels(kind: str) -> None:
    picture = read_picture(encoded(COLOUR, kind))
    np.testing.assert_array_equal(picture.pixels, COLOUR)
    assert picture.notes == ()


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_lossy_formats_are_read(kind: str) -> None:
    flat = np.full((16, 16, 3), (200, 100, 50), np.uint8)
    pixels = read_picture(encoded(flat, kind)).pixels
    assert np.abs(pixels.astype(int) - flat).max() < 12


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"not an image at all", "not a readable picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a readable picture"),
        (encoded(COLOUR)[:60], "damaged or truncated"),
        (encoded(np.zeros((64, 64, 3), np.uint8) + 7, "JPEG")[:400], "damaged or truncated"),
        (bomb(20_000, 20_000), "pixels; the limit is 40 million"),
        (bomb(2_000_000, 2_000_000), "pixels; the limit is 40 million"),
        (b"x" * (MAX_BYTES + 1), "the limit is 64 MB"),
        (
            saved(
                Image.fromarray(COLOUR), "GIF", save_all=True, append_images=[Image.fromarray(COLOUR[::-1])], duration=9
            ),
            "several frames",
        ),
        (
            saved(
                Image.fromarray(COLOUR), "WEBP", save_all=True, append_images=[Image.fromarray(COLOUR // 2)], duration=9
            ),
            "several frames",
        ),
    ],
    ids=["empty", "text", "svg", "cut-png", "cut-jpeg", "bomb", "huge-bomb", "heavy", "animated-gif",
         "animated-webp"],
)  # fmt: skip
def test_bad_files_get_one_clear_sentence(content: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message) as raised:
        read_picture(content, "'cat.png'")
    assert str(raised.value).startswith("'cat.png' ")
    assert "\n" not in str(raised.value)


def test_the_name_does_not_matter_only_the_content() -> None:
    np.testing.assert_array_equal(read_picture(encoded(COLOUR, "BMP"), "'cat.jpg'").pixels, COLOUR)


@pytest.mark.parametrize("place", range(0, 1500, 37))
def test_random_damage_never_escapes(place: int) -> None:
    for kind in ("PNG", "JPEG", "WEBP", "TIFF", "BMP"):
        content = bytearray(encoded(np.tile(COLOUR, (6, 6, 1)), kind))
        content[place % len(content)] ^= 0x5A
        try:
            picture = read_picture(bytes(content))
        except InputError:
            continue
        assert picture.pixels.dtype == np.uint8
        assert picture.pixels.ndim == 3


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    deep = np.array([[0, 257, 65535], [32768, 1000, 40000]], np.uint16)
    picture = read_picture(encoded(deep))
    np.testing.assert_array_equal(picture.pixels, np.round(deep / 257).astype(np.uint8))
    assert "8 bits" in picture.notes[0]


def test_floats_are_read_from_0_to_1() -> None:
    picture = read_picture(saved(Image.fromarray(np.array([[0.0, 0.2, 1.0]], np.float32)), "TIFF"))
    assert picture.pixels[0].tolist() == [0, 51, 255]


@pytest.mark.parametrize("values", [[-1.0, 0.5], [0.0, 255.0], [0.0, np.nan], [0.0, np.inf]])
def test_floats_of_another_range_are_refused(values: list[float]) -> None:
    with pytest.raises(InputError, match="float values"):
        read_picture(saved(Image.fromarray(np.array([values], np.float32)), "TIFF"))


def test_cmyk_is_converted() -> None:
    picture = read_picture(saved(Image.new("CMYK", (4, 4), (0, 255, 255, 0)), "TIFF"))
    assert picture.pixels[0, 0].tolist() == [255, 0, 0]
    assert "CMYK" in picture.notes[0]


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_parts_become_white(mode: str) -> None:
    image = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    image.putpixel((1, 0), (0, 0, 0, 255))
    picture = read_picture(saved(image.convert(mode), "PNG", **({"transparency": 0} if mode == "P" else {})))
    assert (picture.pixels[0, 0] == 255).all()
    assert (picture.pixels[0, 1] == 0).all()
    assert "white" in picture.notes[-1]


def test_an_opaque_alpha_channel_says_nothing() -> None:
    picture = read_picture(saved(Image.fromarray(COLOUR).convert("RGBA"), "PNG"))
    np.testing.assert_array_equal(picture.pixels, COLOUR)
    assert picture.notes == ()


def test_pictures_are_turned_as_exif_says() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = read_picture(saved(Image.fromarray(COLOUR), "PNG", exif=exif))
    np.testing.assert_array_equal(picture.pixels, np.rot90(COLOUR, -1))
    assert "EXIF" in picture.notes[0]


def test_one_bit_pictures_are_black_and_white() -> None:
    picture = read_picture(saved(Image.fromarray(np.eye(4) > 0), "PNG"))
    np.testing.assert_array_equal(picture.pixels, (np.eye(4) * 255).astype(np.uint8))


def test_resizing_agrees_with_torchvision() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (3, 28, 28, 3), dtype=np.uint8)
    ours = to_pixels(list(pixels), Preprocessing.plain(32, 3))
    theirs = v2.functional.resize(
        torch.from_numpy(pixels).permute(0, 3, 1, 2).float(), [32, 32], v2.InterpolationMode.BILINEAR, antialias=True
    )
    assert (ours.float() - theirs).abs().max() <= 0.5 + 1e-3


def test_one_image_gives_the_same_pixels_as_a_batch() -> None:
    images = np.random.default_rng(2).integers(0, 256, (4, 28, 28), dtype=np.uint8)
    batch = to_pixels(images, Preprocessing.plain(32, 1))
    assert torch.equal(batch, torch.cat([to_pixels([image], Preprocessing.plain(32, 1)) for image in images]))
    as_colour = [np.repeat(image[..., None], 3, -1) for image in images]
    assert torch.equal(batch, to_pixels(as_colour, Preprocessing.plain(32, 1)))


def test_images_of_different_sizes_make_one_batch() -> None:
    images = [np.full((h, w, 3), 90, np.uint8) for h, w in ((5, 9), (40, 12), (32, 32))]
    assert torch.equal(to_pixels(images, Preprocessing.plain(32, 3)), torch.full((3, 3, 32, 32), 90, dtype=torch.uint8))


def test_colour_becomes_grey_as_pillow_does_it() -> None:
    np.testing.assert_array_equal(to_channels(COLOUR, 1)[..., 0], np.asarray(Image.fromarray(COLOUR).convert("L")))


def test_normalised_by_hand() -> None:
    pixels = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 1, 1, 3)
    out = normalise(pixels, Preprocessing.plain(32, 1, (0.2,), (0.5,)))
    assert out.shape == (1, 3, 1, 3)
    torch.testing.assert_close(out[0, 2, 0], torch.tensor([-0.4, 0.0, 1.6]))
    low, high = pixel_bounds(Preprocessing.plain(32, 1, (0.2,), (0.5,)))
    assert low == pytest.approx((-0.4,) * 3)
    assert high == pytest.approx((1.6,) * 3)


def test_relevance_keeps_its_sign_and_zero() -> None:
    scaled = scaled_relevance(np.array([[-2.0, 0.0, 1.0]]))
    assert scaled[0, 1] == 0
    assert scaled[0, 0] == pytest.approx(-1, abs=0.02)
    assert scaled[0, 2] == pytest.approx(0.5, abs=0.01)
    assert np.array_equal(scaled_relevance(np.zeros((2, 2))), np.zeros((2, 2)))


@pytest.mark.parametrize("colours", COLOURS)
def test_an_overlay_of_opacity_zero_is_the_grey_picture(colours: str) -> None:
    out = overlay(COLOUR, np.ones((4, 4)), 0.0, colours, side=14)
    np.testing.assert_array_equal(out[..., 0], np.asarray(Image.fromarray(displayed(COLOUR, 14)).convert("L")))
    full = overlay(COLOUR, np.ones((4, 4)), 1.0, colours, side=14)
    assert np.abs(full.astype(int) - np.array(COLOURS[colours].anchors[-1])).max() <= 1


def test_small_pictures_are_enlarged_by_whole_pixels() -> None:
    out = displayed(COLOUR, 20)
    assert out.shape == (15, 21, 3)
    np.testing.assert_array_equal(out[::3, ::3], COLOUR)
