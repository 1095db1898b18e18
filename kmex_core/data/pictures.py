"""Safe decoding of users' picture files to pixels."""

from __future__ import annotations

import contextlib
import io
import os
import stat
import struct
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
import pi_heif
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

from kmex_core.base.errors import InputError
from kmex_core.data.dicom import SUFFIXES as DICOM_SUFFIXES
from kmex_core.data.dicom import DicomPicture, is_dicom

if TYPE_CHECKING:
    pass

pi_heif.register_heif_opener(thumbnails=False)
# the limits below are stricter than Pillow's warnings, and damage is an error; set once, since it is not thread-safe
warnings.filterwarnings("ignore", module=r"PIL\.")

# the version of the decoded pixels; part of the fingerprint of every data set of files, so that no embedding of other
# pixels is used
DECODER = "2"
GREY_ALPHA_DECODER = "3"  # for 16-bit grey with alpha, formerly colour; all other files are unchanged
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "HEIF")
FORMATS_TEXT = "PNG, JPEG, WebP, BMP, TIFF, GIF, AVIF, HEIC and DICOM"
SUFFIXES = (
    "png", "jpg", "jpeg", "jpe", "jfif", "mpo", "webp", "bmp", "tif", "tiff", "gif", "avif", "heic", "heif", "hif",
    *DICOM_SUFFIXES,
)  # fmt: skip
MAX_BYTES = 64 * 2**20
MAX_PIXELS = 40_000_000
MOST_PAGES = 100_000  # of a TIFF, counted at most
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
# raised by decoders for damaged bytes
_DAMAGE = (
    OSError, ValueError, SyntaxError, EOFError, LookupError, TypeError, ArithmeticError, AttributeError, AssertionError,
    RuntimeError, MemoryError, struct.error, ImageCms.PyCMSError,
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Picture:
    """A decoded picture.

    Attributes:
        pixels: (H, W) uint8 of a file that stores grey, (H, W, 3) uint8 (sRGB) of any other.
        notes: changes made while decoding, one sentence each, for the person who supplied the file.
    """

    pixels: np.ndarray
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Header:
    """Properties of a picture known before its pixels are decoded.

    Attributes:
        shape: (H, W) as stored, after the EXIF rotation.
        grey: whether it is stored as grey, so that `read_picture` returns (H, W).
        decoder: the decoder version that first produced its present pixels.
        format: by content, one of `FORMATS`, or DICOM.
        alpha: whether it stores transparency.
        pages: how many a TIFF has; the first is read.
    """

    shape: tuple[int, int]
    grey: bool
    decoder: str
    format: str
    alpha: bool
    pages: int = 1


def read_picture(source: bytes | Path, name: str = "") -> Picture:
    """Decode an untrusted picture. Data sets, uploads, the command line and Python all use this function.

    The result depends on the file alone, so a file has the same pixels wherever it is read:

    - Format: one of `FORMATS`, or DICOM (see `DicomPicture`), by content; the name does not matter. No other decoder is
      ever started.
    - Frames: a file that names its primary picture (MPO and HEIC, as phones write them) gives that, a TIFF
      its first page, and a note if it has more; animations and DICOM files of several frames are refused, since the
      intended picture is unknown.
    - Rotation: turned and mirrored as its EXIF (or XMP, TIFF, HEIC) data says; damaged EXIF data is left out.
    - Grey: 1-bit, 8-bit, 16-bit and float grey, with or without alpha, stays grey. WebP, AVIF with alpha and
      most palettes count as colour.
    - Depth: grey of 16 bits is divided by 257, whatever values occur: 12-bit values in a 16-bit file stay dark, because
      a guess could differ between the files of a data set. A TIFF that declares 12 bits is scaled by 4095. Integers of
      32 bits or with a sign are read as 16-bit values, floats from 0 (black) to 1 (white); other values are refused,
      since no scale would hold for a whole data set. 16-bit colour, 16-bit grey with alpha, and 10-bit AVIF and HEIC
      keep their upper 8 bits.
    - Transparency (alpha, palette entries, a transparent colour) is filled with white.
    - Colour: an RGB or CMYK profile (ICC) is converted to sRGB, so a Display P3 photo keeps its displayed colours; a
      profile equivalent to sRGB (within `SAME_COLOUR` levels) changes nothing. CMYK without a profile, YCbCr and LAB
      are converted by the usual formulas. Grey profiles and PNG's gAMA and cHRM are ignored.
    - Size: what is at least twice `ENOUGH` pixels on its shorter side is reduced by 2, 4 or 8, by the JPEG decoder
      itself or by the mean of squares: memory and time are limited to what a network can use.

    Args:
        source: the file's bytes, or its path.
        name: its name in messages; the path when empty.

    Raises:
        InputError: when it is empty, not a regular file, over `MAX_BYTES` or `MAX_PIXELS`, of another format, damaged,
            or refused as described above. Size and format are checked before any pixel is decoded.
    """
    with _opened(source, name) as image:
        return _decoded(image)


def read_header(source: bytes | Path, name: str = "") -> Header:
    """The properties of a picture, from its first bytes.

    Args:
        source, name: see `read_picture`.

    Raises:
        InputError: see `read_picture`; damage further on is not noticed.
    """
    with _opened(source, name) as image:
        width, height = image.size
        # a TIFF's size is already turned, and a PNG would be decoded to search for EXIF data behind its pixels
        turned = image.format != "TIFF" and (image.format != "PNG" or "exif" in image.info) and _turn(image) >= 5
        decoder = GREY_ALPHA_DECODER if _is_deep_grey_alpha(image) else DECODER
        return Header(
            (width, height) if turned else (height, width),
            _is_grey(image),
            decoder,
            image.format or "",
            image.has_transparency_data,
            _pages(image),
        )


@contextlib.contextmanager
def _opened(source: bytes | Path, name: str) -> Iterator[Image.Image]:
    name = name or (str(source) if isinstance(source, Path) else "The file")
    with contextlib.ExitStack() as stack:
        file: IO[bytes] = io.BytesIO(source) if isinstance(source, bytes) else _regular_file(source, name)
        stack.enter_context(file)
        size = len(source) if isinstance(source, bytes) else os.fstat(file.fileno()).st_size
        if size == 0:
            raise InputError(f"{name} is empty (0 bytes); expected a picture.")
        if size > MAX_BYTES:
            raise InputError(f"{name} has {size / 2**20:,.1f} MB; the limit is {MAX_BYTES // 2**20} MB.")
        try:
            image = stack.enter_context(_image(file, name))
            _check(image, name)
            yield image
        except InputError:
            raise
        except UnidentifiedImageError:
            raise InputError(f"{name} is not a readable picture. Supported formats: {FORMATS_TEXT}.") from None
        except Image.DecompressionBombError:
            raise InputError(_too_many_pixels(name, "far too many")) from None
        except _Refused as error:
            raise InputError(f"{name} {error}") from None
        except _DAMAGE as error:
            raise InputError(f"{name} is damaged or truncated ({error}).") from error


def _image(file: IO[bytes], name: str) -> Image.Image:
    try:
        return Image.open(file, formats=FORMATS)
    except UnidentifiedImageError:
        if is_dicom(file):
            return DicomPicture(file, name)
        raise


class _Refused(Exception):
    """A valid picture that is refused; the message continues after its name."""


def _regular_file(path: Path, name: str) -> IO[bytes]:
    """Open a file without waiting for a pipe or a device to answer."""
    try:
        place = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except (OSError, ValueError) as error:
        raise InputError(f"{name} cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    file = os.fdopen(place, "rb") if stat.S_ISREG(os.fstat(place).st_mode) else None
    if file is None:
        os.close(place)
        raise InputError(f"{name} is not a regular file; expected a picture.")
    return file


def _too_many_pixels(name: str, size: str) -> str:
    return f"{name} has {size} pixels; the limit is {MAX_PIXELS // 10**6} million. Reduce it and try again."


def _check(image: Image.Image, name: str) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise InputError(_too_many_pixels(name, f"{width:,} × {height:,}"))
    if width < 1 or height < 1:
        raise InputError(f"{name} has no pixels.")
    if image.format not in ("MPO", "HEIF", "TIFF") and getattr(image, "is_animated", False):
        raise InputError(f"{name} has several frames. Save the one you want as a separate file.")


def _pages(image: Image.Image) -> int:
    """How many pages a TIFF has, by the chain of its directories (TIFF 6.0, section 2); 1 for other formats."""
    if not isinstance(image, TiffImageFile):
        return 1
    file, seen = image.fp, set[int]()
    assert file is not None
    file.seek(0)
    head = file.read(16)
    order, big = "<" if head[:2] == b"II" else ">", 43 in head[2:4]  # BigTIFF
    count_of, next_of, entry = (order + "Q", order + "Q", 20) if big else (order + "H", order + "I", 12)
    at = struct.unpack_from(next_of, head, 8 if big else 4)[0]
    # a chain that is cut off or circular ends there: the first page is valid anyway
    with contextlib.suppress(struct.error, OverflowError, ValueError, OSError):
        while at and at not in seen and len(seen) < MOST_PAGES:
            file.seek(at)
            entries = struct.unpack(count_of, file.read(struct.calcsize(count_of)))[0]
            seen.add(at)
            file.seek(entries * entry, io.SEEK_CUR)
            at = struct.unpack(next_of, file.read(struct.calcsize(next_of)))[0]
    return max(len(seen), 1)


def _is_grey(image: Image.Image) -> bool:
    """Whether a picture that is not loaded yet is stored as grey."""
    grey = image.mode in ("1", "L", "LA", "La", "I", "F") or image.mode.startswith("I;16")
    return grey or _is_deep_grey_alpha(image)


def _is_deep_grey_alpha(image: Image.Image) -> bool:
    """Whether the picture is a PNG of 16-bit grey with alpha, which Pillow opens as RGBA."""
    return isinstance(image, PngImageFile) and [tile.args for tile in image.tile] == ["LA;16B"]


def _turn(image: Image.Image) -> int:
    """The EXIF orientation; 1 without EXIF data or if it is damaged, since the pixels are valid anyway."""
    try:
        turn = image.getexif().get(ExifTags.Base.Orientation)
    except _DAMAGE:
        return 1
    return turn if turn in _TURNS else 1


def _decoded(image: Image.Image) -> Picture:
    notes = []
    if (pages := _pages(image)) > 1:
        notes.append(f"The file has {pages:,} pages; only the first is used.")
    stored, factor, grey = image.size, _reduction(image.size), _is_grey(image)
    turned = image.format != "PNG" and _turn(image) > 1  # a TIFF is turned while it is loaded
    if factor > 1:
        image.draft(None, (stored[0] // factor, stored[1] // factor))
    drafted = image.size != stored
    image.load()
    if isinstance(image, DicomPicture):
        notes += image.notes
    turn, profile = _turn(image), image.info.get("icc_profile") or b""
    if turned or turn > 1:
        notes.append("The picture was turned according to its EXIF data.")
    if image.mode.startswith("I") or image.mode == "F":
        notes.append("High bit depth grey values were scaled to 8 bits.")
        image = _eight_bits(image)
    elif image.has_transparency_data:
        image, transparent = _on_white(image)
        if transparent:
            notes.append("Transparent areas were filled with white.")
    elif image.mode == "CMYK":
        notes.append("Print colours (CMYK) were converted to RGB.")
        if profile:
            image, _ = _in_srgb(image, profile)
            profile = b""
    managed = profile and not grey and image.mode != "LAB"
    image = image.convert("L" if grey else "RGB")
    if factor > 1 and not drafted:
        image = image.reduce(factor)
    if factor > 1:
        notes.append(f"The picture was reduced to 1/{factor} of its width and height, still more than a network uses.")
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
                f"has float values from {low:g} to {high:g}; expected 0 (black) to 1 (white). Scale all files of a "
                "data set alike, or save them with 16 bits."
            )
        eight = np.round(np.clip(values, 0, 1) * 255).astype(np.uint8)
    else:
        low, high = int(values.min()), int(values.max())
        if low < 0 or high > WHITE:
            raise _Refused(
                f"has grey values from {low:,} to {high:,}; expected 0 (black) to {WHITE:,} (white). Scale all "
                "files of a data set alike, or save them with 16 bits."
            )
        bits = tags.get(_BITS, (16,))[0]
        white = 2**bits - 1 if bits < 16 else WHITE
        table = (np.arange(WHITE + 1) * 510 + white) // (2 * white)  # values / white * 255, rounded
        eight = np.minimum(table, 255).astype(np.uint8)[values]
    if tags.get(_PHOTOMETRIC) == 0:  # "white is zero", which Pillow applies to 8 bits only
        eight = 255 - eight
    if isinstance(clear := image.info.get("transparency"), int):
        eight[values == clear] = 255
    return Image.fromarray(eight)


def _on_white(image: Image.Image) -> tuple[Image.Image, bool]:
    """A picture on white without its alpha channel, and whether anything was transparent."""
    layered = image.convert("RGBA")
    alpha = layered.getchannel("A")
    if alpha.getextrema()[0] == 255:
        return layered, False
    page = Image.new("RGB", layered.size, (255, 255, 255))
    page.paste(layered, mask=alpha)
    return page, True


def _in_srgb(image: Image.Image, profile: bytes) -> tuple[Image.Image, list[str]]:
    """An RGB or CMYK picture in sRGB, and notes."""
    try:
        transform = _to_srgb(profile, image.mode)
        if transform is None:
            return image, []
        managed = ImageCms.applyTransform(image, transform)
        assert managed is not None
    except _DAMAGE:
        return image, ["The colour profile is damaged or does not match the picture's colours, and was ignored."]
    return managed, ["Colours were converted from the embedded profile (ICC) to sRGB."]


@lru_cache(maxsize=16)
def _to_srgb(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """The transform from a profile to sRGB; None if the profile is equivalent to sRGB."""
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
