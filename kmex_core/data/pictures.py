"""Pictures: files from users become pixels (safely), pixels become the network's input, relevance becomes colour."""

from __future__ import annotations

import contextlib
import io
import os
import stat
import struct
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
import pi_heif
from PIL import ExifTags, Image, ImageCms, ImageDraw, UnidentifiedImageError
from PIL.PngImagePlugin import PngImageFile

from kmex_core.base.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

pi_heif.register_heif_opener(thumbnails=False)
# the limits below are stricter than what Pillow warns of, and damage is an error; not per call, which no thread may do
warnings.filterwarnings("ignore", module=r"PIL\.")

# what files become; part of the fingerprint of every data set of files, so that embeddings of other pixels do not serve
DECODER = "2"
GREY_ALPHA_DECODER = "3"  # of 16-bit grey with alpha, which was colour before; all other files are as they were
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "HEIF")
FORMATS_TEXT = "PNG, JPEG, WebP, BMP, TIFF, GIF, AVIF and HEIC"
SUFFIXES = (
    "png", "jpg", "jpeg", "jpe", "jfif", "mpo", "webp", "bmp", "tif", "tiff", "gif", "avif", "heic", "heif", "hif",
)  # fmt: skip
MAX_BYTES = 64 * 2**20
MAX_PIXELS = 40_000_000
ENOUGH = 1024
MAX_PROFILE_BYTES = 4 * 2**20
SAME_COLOUR = 3
WHITE = 65_535
FLOAT_SLACK = 1e-3

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_PHOTOMETRIC, _BITS = 262, 258
# what decoders raise when they are given damaged bytes
_DAMAGE = (
    OSError, ValueError, SyntaxError, EOFError, LookupError, TypeError, ArithmeticError, AttributeError, AssertionError,
    RuntimeError, MemoryError, struct.error, ImageCms.PyCMSError,
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Picture:
    """A decoded picture.

    Attributes:
        pixels: (H, W) uint8 of a file that stores grey, (H, W, 3) uint8 (sRGB) of any other.
        notes: what was changed on the way, one sentence each, for the person who gave the file.
    """

    pixels: np.ndarray
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Header:
    """What a picture will be, known before its pixels are decoded.

    Attributes:
        shape: (H, W) that it is stored with, turned as its EXIF data says.
        grey: whether it is stored as grey: `read_picture` then gives (H, W).
        decoder: the version since which its pixels are as they are now.
    """

    shape: tuple[int, int]
    grey: bool
    decoder: str


def read_picture(source: bytes | Path, name: str = "") -> Picture:
    """Decode an untrusted picture. Data sets, uploads, command line and Python all read pictures by this function.

    What it decides, from the file alone, so that a file has the same pixels wherever it is read:

    - Format: one of `FORMATS`, by content; the name does not matter. No other decoder is ever started.
    - Frames: a file that names its primary picture (MPO and HEIC, as phones write them) gives that; animations and
      files of several pages are refused, since nobody can know which picture is meant.
    - Rotation: turned and mirrored as its EXIF (or XMP, TIFF, HEIC) data says; damaged EXIF data is left out.
    - Grey: 1-bit, 8-bit, 16-bit and float grey, with or without alpha, stays grey. WebP, AVIF with alpha and
      most palettes count as colour.
    - Depth: grey of 16 bits is divided by 257, whatever values occur: 12-bit values in a 16-bit file stay dark, because
      a guess could differ between the files of a data set. A TIFF that declares 12 bits is scaled by 4095. Integers of
      32 bits or with a sign are read as 16-bit values, floats from 0 (black) to 1 (white); other values are refused,
      since no scale would hold for a whole data set. 16-bit colour, 16-bit grey with alpha, and 10-bit AVIF and HEIC
      keep their upper 8 bits.
    - Transparency (alpha, palette entries, a transparent colour) is filled with white.
    - Colour: an RGB or CMYK profile (ICC) is converted to sRGB, so that a Display P3 photo has the colours that it
      shows; one that is as good as sRGB (`SAME_COLOUR` levels) changes nothing. CMYK without a profile, YCbCr and LAB
      are converted by the usual formulas. Grey profiles, PNG's gAMA and cHRM are left out.
    - Size: what is at least twice `ENOUGH` pixels on its shorter side is reduced by 2, 4 or 8, by the JPEG decoder
      itself or by the mean of squares, so that memory and time follow what a network can use.

    Args:
        source: the file's bytes, or its path.
        name: what to call it in messages; its path when empty.

    Raises:
        InputError: when it is empty, no regular file, over `MAX_BYTES` or `MAX_PIXELS`, of another format, damaged, or
            refused as said above. Size and format are checked before any pixel is decoded.
    """
    with _opened(source, name) as image:
        return _decoded(image)


def read_header(source: bytes | Path, name: str = "") -> Header:
    """What a picture will be, from its first bytes.

    Args:
        source, name: see `read_picture`.

    Raises:
        InputError: see `read_picture`; damage further on is not noticed.
    """
    with _opened(source, name) as image:
        width, height = image.size
        # a TIFF has turned its size already, and a PNG would be decoded to look for EXIF data behind its pixels
        turned = image.format != "TIFF" and (image.format != "PNG" or "exif" in image.info) and _turn(image) >= 5
        decoder = GREY_ALPHA_DECODER if _is_deep_grey_alpha(image) else DECODER
        return Header((width, height) if turned else (height, width), _is_grey(image), decoder)


@contextlib.contextmanager
def _opened(source: bytes | Path, name: str) -> Iterator[Image.Image]:
    name = name or (str(source) if isinstance(source, Path) else "The file")
    with contextlib.ExitStack() as stack:
        file: IO[bytes] = io.BytesIO(source) if isinstance(source, bytes) else _regular_file(source, name)
        stack.enter_context(file)
        size = len(source) if isinstance(source, bytes) else os.fstat(file.fileno()).st_size
        if size == 0:
            raise InputError(f"{name} is empty (0 bytes): a picture was expected.")
        if size > MAX_BYTES:
            raise InputError(f"{name} has {size / 2**20:,.1f} MB; at most {MAX_BYTES // 2**20} MB are read.")
        try:
            image = stack.enter_context(Image.open(file, formats=FORMATS))
            _check(image, name)
            yield image
        except InputError:
            raise
        except UnidentifiedImageError:
            raise InputError(f"{name} is not a picture that can be read. {FORMATS_TEXT} files can.") from None
        except Image.DecompressionBombError:
            raise InputError(_too_many_pixels(name, "far too many")) from None
        except _Refused as error:
            raise InputError(f"{name} {error}") from None
        except _DAMAGE as error:
            raise InputError(f"{name} is damaged or cut off and cannot be read to its end ({error}).") from error


class _Refused(Exception):
    """A sound picture that is not read; the text goes on after its name."""


def _regular_file(path: Path, name: str) -> IO[bytes]:
    """Open a file without waiting for a pipe or a device to answer."""
    try:
        place = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except (OSError, ValueError) as error:
        raise InputError(f"{name} cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    file = os.fdopen(place, "rb") if stat.S_ISREG(os.fstat(place).st_mode) else None
    if file is None:
        os.close(place)
        raise InputError(f"{name} is no regular file: a picture was expected.")
    return file


def _too_many_pixels(name: str, size: str) -> str:
    return f"{name} has {size} pixels; at most {MAX_PIXELS // 10**6} million are read. Make it smaller and try again."


def _check(image: Image.Image, name: str) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise InputError(_too_many_pixels(name, f"{width:,} × {height:,}"))
    if width < 1 or height < 1:
        raise InputError(f"{name} has no pixels.")
    if image.format not in ("MPO", "HEIF") and getattr(image, "is_animated", False):
        raise InputError(f"{name} has several frames or pages. Save the one you mean as a file of its own.")


def _is_grey(image: Image.Image) -> bool:
    """Whether a picture that is not loaded yet is stored as grey."""
    grey = image.mode in ("1", "L", "LA", "La", "I", "F") or image.mode.startswith("I;16")
    return grey or _is_deep_grey_alpha(image)


def _is_deep_grey_alpha(image: Image.Image) -> bool:
    """Whether it is a PNG file of 16-bit grey with alpha, which Pillow opens as RGBA."""
    return isinstance(image, PngImageFile) and [tile.args for tile in image.tile] == ["LA;16B"]


def _turn(image: Image.Image) -> int:
    """The EXIF orientation, 1 where there is none or the EXIF data is damaged: the pixels are sound all the same."""
    try:
        turn = image.getexif().get(ExifTags.Base.Orientation)
    except _DAMAGE:
        return 1
    return turn if turn in _TURNS else 1


def _decoded(image: Image.Image) -> Picture:
    notes = []
    stored, factor, grey = image.size, _reduction(image.size), _is_grey(image)
    turned = image.format != "PNG" and _turn(image) > 1  # a TIFF is turned while it is loaded
    if factor > 1:
        image.draft(None, (stored[0] // factor, stored[1] // factor))
    drafted = image.size != stored
    image.load()
    turn, profile = _turn(image), image.info.get("icc_profile") or b""
    if turned or turn > 1:
        notes.append("It was turned as its EXIF data says.")
    if image.mode.startswith("I") or image.mode == "F":
        notes.append("Its deep grey values were scaled to 8 bits.")
        image = _eight_bits(image)
    elif image.has_transparency_data:
        image, transparent = _on_white(image)
        if transparent:
            notes.append("Its transparent parts were filled with white.")
    elif image.mode == "CMYK":
        notes.append("Its print colours (CMYK) were converted to red, green and blue.")
        if profile:
            image, _ = _in_srgb(image, profile)
            profile = b""
    managed = profile and not grey and image.mode != "LAB"
    image = image.convert("L" if grey else "RGB")
    if factor > 1 and not drafted:
        image = image.reduce(factor)
    if factor > 1:
        notes.append(f"It was reduced to 1/{factor} of its width and height, which is more than a network looks at.")
    if managed:
        image, note = _in_srgb(image, profile)
        notes += note
    if turn > 1:
        image = image.transpose(_TURNS[turn])
    return Picture(np.array(image), tuple(notes))


def _reduction(size: tuple[int, int]) -> int:
    return max(factor for factor in (1, 2, 4, 8) if factor == 1 or min(size) >= factor * ENOUGH)


def _eight_bits(image: Image.Image) -> Image.Image:
    """16-bit, 32-bit or float grey as 8-bit grey, on one scale for all files (see `read_picture`)."""
    values, tags = np.asarray(image), getattr(image, "tag_v2", {})
    if image.mode == "F":
        low, high = float(values.min()), float(values.max())
        if not (low >= -FLOAT_SLACK and high <= 1 + FLOAT_SLACK):  # not finite ones, too
            raise _Refused(
                f"has float values from {low:g} to {high:g}; 0 (black) to 1 (white) was expected. Scale them, all "
                "files of a data set alike, or save them with 16 bits."
            )
        eight = np.round(np.clip(values, 0, 1) * 255).astype(np.uint8)
    else:
        low, high = int(values.min()), int(values.max())
        if low < 0 or high > WHITE:
            raise _Refused(
                f"has grey values from {low:,} to {high:,}; 0 (black) to {WHITE:,} (white) was expected. Scale them, "
                "all files of a data set alike, or save them with 16 bits."
            )
        bits = tags.get(_BITS, (16,))[0]
        white = 2**bits - 1 if bits < 16 else WHITE
        table = (np.arange(WHITE + 1) * 510 + white) // (2 * white)  # rounded, as values / white * 255
        eight = np.minimum(table, 255).astype(np.uint8)[values]
    if tags.get(_PHOTOMETRIC) == 0:  # white is zero, which Pillow heeds for 8 bits only
        eight = 255 - eight
    if isinstance(clear := image.info.get("transparency"), int):
        eight[values == clear] = 255
    return Image.fromarray(eight)


def _on_white(image: Image.Image) -> tuple[Image.Image, bool]:
    """A picture without its alpha, and whether anything was transparent."""
    layered = image.convert("RGBA")
    alpha = layered.getchannel("A")
    if alpha.getextrema()[0] == 255:
        return layered, False
    page = Image.new("RGB", layered.size, (255, 255, 255))
    page.paste(layered, mask=alpha)
    return page, True


def _in_srgb(image: Image.Image, profile: bytes) -> tuple[Image.Image, list[str]]:
    """An RGB or CMYK picture in sRGB, and what was done."""
    try:
        transform = _to_srgb(profile, image.mode)
        if transform is None:
            return image, []
        managed = ImageCms.applyTransform(image, transform)
        assert managed is not None
    except _DAMAGE:
        return image, ["Its colour profile is damaged, or of another kind than its colours, and was left out."]
    return managed, ["Its colours were converted from its profile (ICC) to sRGB."]


@lru_cache(maxsize=16)
def _to_srgb(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """What converts from a profile; None where it is as good as sRGB."""
    if len(profile) > MAX_PROFILE_BYTES:
        raise ValueError(f"the profile has {len(profile):,} bytes")
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    if source.profile.xcolor_space.strip() != mode:
        raise ValueError(f"the profile is of {source.profile.xcolor_space}")
    transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    if mode == "RGB":
        levels = np.arange(0, 256, 51, dtype=np.uint8)
        colours = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(1, -1, 3)
        converted = ImageCms.applyTransform(Image.fromarray(colours), transform)
        if np.abs(np.asarray(converted).astype(int) - colours).max() <= SAME_COLOUR:
            return None
    return transform


def to_channels(pixels: np.ndarray, channels: int) -> np.ndarray:
    """(H, W) or (H, W, 3) uint8 as (H, W, `channels`): grey by luminance (ITU-R 601, as Pillow), or grey repeated."""
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.shape[-1] == channels:
        return pixels
    if channels == 3:
        return np.repeat(pixels, 3, axis=-1)
    if (pixels == pixels[..., :1]).all():
        return pixels[..., :1]
    return np.asarray(Image.fromarray(pixels).convert("L"))[..., None]


def to_pixels(images: Iterable[np.ndarray], channels: int, size: int) -> torch.Tensor:
    """Pictures of any size as the network's pixels, before normalisation.

    Bilinear with antialiasing to a square; the whole picture is kept, so that other shapes are squeezed. Data sets and
    uploads go through this one function, so that the same picture gives the same pixels. Pictures that come one by one
    are reduced one by one: no two are held at their own size.

    Args:
        images: (H, W) or (H, W, 3) uint8 arrays, at least one; sizes may differ.
        channels: 1 or 3.
        size: side of the square in pixels.

    Returns:
        (N, channels, size, size) uint8.
    """
    import torch

    if isinstance(images, np.ndarray):
        shaped = images[..., None] if images.ndim == 3 else images
        if shaped.shape[-1] == channels:
            return _resize(torch.from_numpy(np.ascontiguousarray(shaped)).permute(0, 3, 1, 2), size)
    return torch.cat([
        _resize(torch.from_numpy(np.array(to_channels(image, channels))).permute(2, 0, 1)[None], size)
        for image in images
    ])  # fmt: skip


def _resize(pixels: torch.Tensor, size: int) -> torch.Tensor:
    import torch

    if pixels.shape[-2:] == (size, size):
        return pixels.contiguous()
    resized = torch.nn.functional.interpolate(pixels.float(), (size, size), mode="bilinear", antialias=True)
    return resized.round_().clamp_(0, 255).to(torch.uint8)


def normalise(pixels: torch.Tensor, mean: Sequence[float], std: Sequence[float]) -> torch.Tensor:
    """The network's input: pixels 0…1, less `mean`, over `std`; greyscale repeated to three channels.

    Args:
        pixels: (N, 1 or 3, H, W) uint8.
        mean, std: one number per channel.

    Returns:
        (N, 3, H, W) float32.
    """
    import torch

    shape = (1, -1, 1, 1)
    centre = torch.tensor(mean, dtype=torch.float32, device=pixels.device).view(shape)
    scale = torch.tensor(std, dtype=torch.float32, device=pixels.device).view(shape)
    return ((pixels.float() / 255 - centre) / scale).expand(-1, 3, -1, -1)


def pixel_bounds(mean: Sequence[float], std: Sequence[float]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """What pixels 0 and 1 become by `normalise`, for each of three channels: the box of the zB rule."""
    low = [(0 - m) / s for m, s in zip(mean, std, strict=True)]
    high = [(1 - m) / s for m, s in zip(mean, std, strict=True)]
    return tuple(low if len(low) == 3 else low * 3), tuple(high if len(high) == 3 else high * 3)


# ---------------------------------------------------------------------------------------------------------------------
# relevance as colour


@dataclass(frozen=True)
class Colours:
    """A colour scale for relevance; each stays readable with colour-blind eyes.

    Attributes:
        anchors: red, green and blue (0…255), evenly spaced from the most negative to the most positive relevance.
        names: what the two ends and the middle are called.
        fades: pixels without relevance show the picture; otherwise they are coloured too.
    """

    anchors: tuple[tuple[int, int, int], ...]
    names: tuple[str, str, str]
    fades: bool


COLOURS: dict[str, Colours] = {
    "Red and blue": Colours(((33, 102, 242), (120, 170, 255), (247, 247, 247), (255, 130, 90), (235, 20, 30)),
                            ("blue", "uncoloured", "red"), True),
    "Viridis": Colours(((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37)),
                       ("purple", "teal", "yellow"), False),
    "Grey": Colours(((0, 0, 0), (64, 64, 64), (128, 128, 128), (191, 191, 191), (255, 255, 255)),
                    ("black", "mid-grey", "white"), False),
}  # fmt: skip
FADE = 0.7
LOSSLESS = 128
SHOWN = 512  # the longer side in pixels up to which pictures are shown; what is larger costs time and shows no more


def scaled_relevance(relevance: np.ndarray) -> np.ndarray:
    """(H, W) relevance as −1…1: divided by the 99.5th percentile of its magnitude, so that 0 stays 0."""
    scale = float(np.quantile(np.abs(relevance), 0.995))
    largest = float(np.abs(relevance).max())
    return np.clip(relevance / (scale or largest or 1.0), -1, 1)


def packed_relevance(relevance: np.ndarray) -> bytes:
    """(h, w) relevance as a signed byte per pixel, row by row, for whoever draws it.

    A byte is 127 times the sign of `scaled_relevance` times its magnitude to the power `FADE`: as strongly as it covers
    the picture, so that faint relevance has as many steps as strong.
    """
    scaled = scaled_relevance(relevance)
    return np.round(127 * np.sign(scaled) * np.abs(scaled) ** FADE).astype(np.int8).tobytes()


def overlay(pixels: np.ndarray, relevance: np.ndarray, opacity: float, colours: str, side: int = 256) -> np.ndarray:
    """A relevance map laid over its picture.

    Args:
        pixels: (H, W), (H, W, 1) or (H, W, 3) uint8, shown in grey.
        relevance: (h, w), stretched to the picture.
        opacity: 0 (picture only) to 1 (map only).
        colours: a name in `COLOURS`.
        side: the longer side of the result in pixels, at least (and at most `SHOWN`).

    Returns:
        (H', W', 3) uint8.
    """
    base = displayed(pixels, side)
    height, width = base.shape[:2]
    grey = np.asarray(Image.fromarray(base).convert("L"), dtype=np.float32)[..., None]
    values = Image.fromarray(scaled_relevance(relevance).astype(np.float32))
    stretched = np.asarray(values.resize((width, height), Image.Resampling.BILINEAR))
    scale = COLOURS[colours]
    anchors = np.array(scale.anchors, dtype=np.float32)
    place = np.linspace(-1, 1, len(anchors))
    colour = np.stack([np.interp(stretched, place, anchors[:, channel]) for channel in range(3)], -1)
    weight = opacity * (np.abs(stretched)[..., None] ** FADE if scale.fades else 1.0)
    return np.clip(np.round((1 - weight) * grey + weight * colour), 0, 255).astype(np.uint8)


def reduced(pixels: np.ndarray, most: int = SHOWN) -> np.ndarray:
    """A picture as (H, W, 3) uint8 whose longer side is at most `most`; small ones keep their pixels.

    Args:
        pixels: (H, W), (H, W, 1) or (H, W, 3) uint8.
        most: in pixels.
    """
    if max(pixels.shape[:2]) > most:
        image = Image.fromarray(pixels[..., 0] if pixels.ndim == 3 and pixels.shape[-1] == 1 else pixels)
        image.thumbnail((most, most), Image.Resampling.LANCZOS)
        pixels = np.asarray(image)
    return np.ascontiguousarray(to_channels(pixels, 3))


def displayed(pixels: np.ndarray, side: int, most: int = SHOWN) -> np.ndarray:
    """A picture as it is shown: `reduced`, or enlarged by whole pixels until its longer side is at least `side`."""
    shown = reduced(pixels, most)
    factor = -(-side // max(shown.shape[:2]))
    return shown.repeat(factor, 0).repeat(factor, 1) if factor > 1 else shown


BOX = (230, 30, 30)


def boxed(pixels: np.ndarray, box: tuple[float, float, float, float], side: int) -> np.ndarray:
    """A picture enlarged to `side` pixels with a red rectangle in it.

    Args:
        pixels: (H, W) or (H, W, 1 or 3) uint8.
        box: left, top, right, bottom as shares of its width and height, 0…1.
        side: of the larger side of the result, at least.
    """
    image = Image.fromarray(displayed(pixels, side)).convert("RGB")
    left, top, right, bottom = box
    corners = (
        left * image.width, top * image.height, right * image.width - 1, bottom * image.height - 1,
    )  # fmt: skip
    ImageDraw.Draw(image).rectangle(corners, outline=BOX, width=max(2, max(image.size) // 64))
    return np.asarray(image)


def picture_file(pixels: np.ndarray) -> tuple[bytes, str]:
    """A picture to be shown, (H, W, 3) uint8, as a file and its media type: lossless when small, else WebP."""
    if max(pixels.shape[:2]) <= LOSSLESS:
        return png(pixels), "image/png"
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "WEBP", quality=90)
    return buffer.getvalue(), "image/webp"


def png(pixels: np.ndarray) -> bytes:
    """(H, W), (H, W, 1) or (H, W, 3) uint8 as a PNG file."""
    flat = pixels[..., 0] if pixels.ndim == 3 and pixels.shape[-1] == 1 else pixels
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(flat)).save(buffer, "PNG")
    return buffer.getvalue()
