"""Pictures: files from users become pixels (safely), pixels become the network's input, relevance becomes colour."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageOps, UnidentifiedImageError

from kmex_core.errors import InputError

if TYPE_CHECKING:
    import torch

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
SUFFIXES = ("png", "jpg", "jpeg", "webp", "bmp", "tif", "tiff")
MAX_BYTES = 20 * 2**20
MAX_PIXELS = 40_000_000


@dataclass(frozen=True, eq=False)
class Picture:
    """A decoded picture.

    Attributes:
        pixels: (H, W, 3) uint8, red, green and blue.
        notes: what was changed on the way, one sentence each, for the person who gave the file.
    """

    pixels: np.ndarray
    notes: tuple[str, ...] = ()


def read_picture(content: bytes, name: str = "The file") -> Picture:
    """Decode an untrusted PNG, JPEG, WebP, BMP or TIFF file of any mode, turned as its EXIF data says.

    Args:
        content: the file's bytes.
        name: what to call it in messages.

    Raises:
        InputError: when it is empty, over `MAX_BYTES` or `MAX_PIXELS`, of another format, truncated or has several
            frames. Size and format are checked before any pixel is decoded.
    """
    if not content:
        raise InputError(f"{name} is empty (0 bytes). Choose a file with a picture in it.")
    if len(content) > MAX_BYTES:
        raise InputError(f"{name} has {len(content) / 2**20:.0f} MB; at most {MAX_BYTES // 2**20} MB are read.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the limits below are stricter, and damage is an error
            image = Image.open(io.BytesIO(content))
            _check(image, name)
            image.load()
            return _to_rgb(image)
    except UnidentifiedImageError:
        raise InputError(
            f"{name} is not a picture that can be read. PNG, JPEG, WebP, BMP and TIFF files can."
        ) from None
    except Image.DecompressionBombError:
        raise InputError(_too_many_pixels(name, "far too many")) from None
    except InputError:
        raise
    except (
        OSError,
        ValueError,
        SyntaxError,
        EOFError,
        IndexError,
        KeyError,
        TypeError,
        MemoryError,
        OverflowError,
    ) as error:
        raise InputError(f"{name} is damaged or cut off and cannot be read to its end ({error}).") from error


def _too_many_pixels(name: str, size: str) -> str:
    return f"{name} has {size} pixels; at most {MAX_PIXELS // 10**6} million are read. Make it smaller and try again."


def _check(image: Image.Image, name: str) -> None:
    if image.format not in FORMATS:
        raise InputError(f"{name} is a {image.format} file. Save it as PNG, JPEG, WebP, BMP or TIFF and try again.")
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise InputError(_too_many_pixels(name, f"{width:,} × {height:,}"))
    if width < 1 or height < 1:
        raise InputError(f"{name} has no pixels.")
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        raise InputError(f"{name} has {frames} frames or pages. Save the one you mean as a file of its own.")


def _to_rgb(image: Image.Image) -> Picture:
    notes = []
    turned = ImageOps.exif_transpose(image)
    if turned.size != image.size or turned.tobytes() != image.tobytes():
        notes.append("It was turned as its EXIF data says.")
    image = turned
    if image.mode.startswith("I") or image.mode == "F":
        notes.append("Its deep grey values were scaled to 8 bits.")
        image = Image.fromarray(_eight_bits(np.asarray(image)))
    has_alpha = image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info
    if has_alpha:
        layered = image.convert("RGBA")
        if np.asarray(layered)[..., 3].min() < 255:
            notes.append("Its transparent parts were filled with white.")
            page = Image.new("RGBA", layered.size, (255, 255, 255, 255))
            layered = Image.alpha_composite(page, layered)
        image = layered
    elif image.mode == "CMYK":
        notes.append("Its print colours (CMYK) were converted to red, green and blue.")
    return Picture(np.array(image.convert("RGB")), tuple(notes))


def _eight_bits(deep: np.ndarray) -> np.ndarray:
    """16-bit integers by their range; 32-bit integers and floats by the smallest and largest value they have."""
    values = deep.astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError("some of its grey values are not finite")
    if deep.dtype.kind in "iu" and values.min() >= 0 and values.max() <= 65535:
        return np.round(values / 257).astype(np.uint8)
    low, high = values.min(), values.max()
    return np.round((values - low) / ((high - low) or 1) * 255).astype(np.uint8)


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


def to_pixels(images: Sequence[np.ndarray], channels: int, size: int) -> torch.Tensor:
    """Pictures of any size as the network's pixels, before normalisation.

    Bilinear with antialiasing to a square; the whole picture is kept, so that other shapes are squeezed. Data sets and
    uploads go through this one function, so that the same picture gives the same pixels.

    Args:
        images: (H, W) or (H, W, 3) uint8 arrays; sizes may differ.
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
    parts = [torch.from_numpy(np.array(to_channels(image, channels))).permute(2, 0, 1)[None] for image in images]
    if len({part.shape for part in parts}) == 1:
        return _resize(torch.cat(parts), size)
    return torch.cat([_resize(part, size) for part in parts])


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


def scaled_relevance(relevance: np.ndarray) -> np.ndarray:
    """(H, W) relevance as −1…1: divided by the 99.5th percentile of its magnitude, so that 0 stays 0."""
    scale = float(np.quantile(np.abs(relevance), 0.995))
    largest = float(np.abs(relevance).max())
    return np.clip(relevance / (scale or largest or 1.0), -1, 1)


def overlay(pixels: np.ndarray, relevance: np.ndarray, opacity: float, colours: str, side: int = 256) -> np.ndarray:
    """A relevance map laid over its picture.

    Args:
        pixels: (H, W), (H, W, 1) or (H, W, 3) uint8, shown in grey.
        relevance: (h, w), stretched to the picture.
        opacity: 0 (picture only) to 1 (map only).
        colours: a name in `COLOURS`.
        side: the longer side of the result in pixels, at least.

    Returns:
        (H', W', 3) uint8.
    """
    base = enlarged(pixels, side)
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


def enlarged(pixels: np.ndarray, side: int) -> np.ndarray:
    """(H, W, 3) uint8 whose longer side is at least `side`: small pictures keep crisp pixels."""
    shown = to_channels(pixels, 3)
    factor = -(-side // max(shown.shape[:2]))
    return shown.repeat(factor, 0).repeat(factor, 1) if factor > 1 else np.ascontiguousarray(shown)


BOX = (230, 30, 30)


def boxed(pixels: np.ndarray, box: tuple[float, float, float, float], side: int) -> np.ndarray:
    """A picture enlarged to `side` pixels with a red rectangle in it.

    Args:
        pixels: (H, W) or (H, W, 1 or 3) uint8.
        box: left, top, right, bottom as shares of its width and height, 0…1.
        side: of the larger side of the result, at least.
    """
    image = Image.fromarray(enlarged(pixels, side)).convert("RGB")
    left, top, right, bottom = box
    corners = (
        left * image.width, top * image.height, right * image.width - 1, bottom * image.height - 1,
    )  # fmt: skip
    ImageDraw.Draw(image).rectangle(corners, outline=BOX, width=max(2, max(image.size) // 64))
    return np.asarray(image)


def png(pixels: np.ndarray) -> bytes:
    """(H, W), (H, W, 1) or (H, W, 3) uint8 as a PNG file."""
    flat = pixels[..., 0] if pixels.ndim == 3 and pixels.shape[-1] == 1 else pixels
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(flat)).save(buffer, "PNG")
    return buffer.getvalue()
