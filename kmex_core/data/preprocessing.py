"""How a picture becomes a network's input: kept with the model, and used for data sets, uploads and exports alike.

Needs no torch."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from kmex_core.base.errors import InputError
from kmex_core.base.specs import MOST_SIDE, stable_key

RESIZES = {
    "squeeze": "the whole picture, squeezed into the input's shape",
    "shorter": "the shorter side resized, then the centre cut out",
    "pad": "the whole picture with black bars, in the input's shape",
}
INTERPOLATIONS = ("bilinear", "bicubic", "nearest")
ORDERS = ("RGB", "BGR")
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


Box = tuple[float, float, float, float]
WHOLE: Box = (0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True)
class Placing:
    """Where the network's input is in a picture.

    Attributes:
        sides: height and width that the picture is resized to, in pixels of the input.
        top, left: of the input in the resized picture; below 0 where black bars are in front of it.
        size: height and width of the input.
    """

    sides: tuple[int, int]
    top: int
    left: int
    size: tuple[int, int]

    @property
    def box(self) -> Box:
        """Left, top, right and bottom of the input as shares of the picture's width and height; below 0 or above 1
        where it has black bars."""
        (height, width), (high, wide) = self.sides, self.size
        return self.left / width, self.top / height, (self.left + wide) / width, (self.top + high) / height


@dataclass(frozen=True)
class Preprocessing:
    """From a decoded picture (uint8, any size) to a network's input, in this order.

    Attributes:
        height, width: of the input in pixels.
        channels: of the picture: 1 makes it grey, 3 colour.
        mean, std: of each channel, in the network's order and in units of `white`.
        resize: a key of `RESIZES`.
        shorter: pixels of the shorter side before the centre is cut out, for that `resize`; else 0.
        interpolation: one of `INTERPOLATIONS`.
        antialias: whether a smaller picture is the mean of what it covers, as in Pillow.
        white: the value of a white pixel before the mean is taken off: 1, or 255 where networks count so.
        order: of the channels.
        inputs: channels of the network's input: 3, to which grey is repeated, or 1.
    """

    height: int
    width: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: str = "squeeze"
    shorter: int = 0
    interpolation: str = "bilinear"
    antialias: bool = True
    white: float = 1.0
    order: str = "RGB"
    inputs: int = 3

    def __post_init__(self) -> None:
        """Refuse what no network is given.

        Raises:
            InputError: for a value out of its range.
        """
        numbers = (*self.mean, *self.std, self.white)
        sides = (self.height, self.width)
        wrong = (
            not all(type(side) is int and 1 <= side <= MOST_SIDE for side in sides)
            or self.channels not in (1, 3)
            or self.inputs not in (self.channels, 3)
            or len(self.mean) != self.channels
            or len(self.std) != self.channels
            or not all(isinstance(number, int | float) and math.isfinite(number) for number in numbers)
            or min(*self.std, self.white) <= 0
            or self.resize not in RESIZES
            or self.interpolation not in INTERPOLATIONS
            or self.order not in ORDERS
            or type(self.shorter) is not int
            or not 0 <= self.shorter <= 2 * MOST_SIDE
            or (self.resize == "shorter") != (self.shorter > 0)
        )
        if wrong:
            raise InputError(
                f"Expected a preprocessing with sides of 1 to {MOST_SIDE} pixels, 1 or 3 channels, one mean and one "
                f"standard deviation above 0 for each, resize as {', '.join(RESIZES)}, got {dataclasses.asdict(self)}."
            )

    @classmethod
    def plain(cls, side: int, channels: int, mean: Sequence[float] = (), std: Sequence[float] = ()) -> Self:
        """That of the networks trained here: squeezed into a square; mean 0 and deviation 1 where none are given."""
        mean, std = tuple(mean) or (0.0,) * channels, tuple(std) or (1.0,) * channels
        return cls(side, side, channels, tuple(mean), tuple(std))

    @classmethod
    def from_description(cls, described: Mapping[str, Any]) -> Self:
        """What `dataclasses.asdict` made of one, after a way through JSON.

        Raises:
            InputError: when it is not one.
        """
        try:
            return cls(**{**described, "mean": tuple(described["mean"]), "std": tuple(described["std"])})
        except (TypeError, KeyError) as error:
            raise InputError(f"That is no description of a preprocessing ({error}).") from error

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the input in pixels."""
        return self.height, self.width

    @property
    def geometry(self) -> str:
        """A name for everything but size, mean and deviation; "" for that of the networks trained here."""
        usual = Preprocessing.plain(self.height, self.channels)
        same = dataclasses.replace(self, mean=usual.mean, std=usual.std)
        return "" if same == usual else stable_key(dataclasses.asdict(same))

    def placed(self, shape: tuple[int, int]) -> Placing:
        """Where the input is in a picture of `shape`, (H, W) in pixels."""
        (height, width), (h, w) = self.size, shape
        if self.resize == "squeeze":
            return Placing(self.size, 0, 0, self.size)
        if self.resize == "shorter":
            # as torchvision's Resize and CenterCrop
            longer = int(self.shorter * max(h, w) / min(h, w))
            sides = (self.shorter, longer) if h <= w else (longer, self.shorter)
        else:
            scale = min(height / h, width / w)
            sides = (max(1, min(height, round(h * scale))), max(1, min(width, round(w * scale))))
        return Placing(sides, _middle(sides[0], height), _middle(sides[1], width), self.size)

    @property
    def placing(self) -> str:
        """How a picture gets the input's shape, for people: "squeezed into 224 × 224 pixels"."""
        size = f"{self.height} × {self.width} pixels"
        return {
            "squeeze": f"squeezed into {size}",
            "pad": f"with black bars in {size}",
            "shorter": f"the shorter side resized to {self.shorter} pixels, the central {size} cut out",
        }[self.resize]

    def words(self) -> str:
        """All of it as a phrase for people."""
        parts = [self.placing, f"{self.interpolation}{'' if self.antialias else ' without antialiasing'}"]
        parts.append("greyscale" if self.channels == 1 else self.order)
        parts.append(f"values 0 to {self.white:g}")
        parts.append(f"mean {_listed(self.mean)}, standard deviation {_listed(self.std)}")
        return ", ".join(parts)


def _middle(side: int, size: int) -> int:
    """Where the central `size` of `side` pixels begins; below 0 if it is larger."""
    # Python's rounding, as torchvision's
    return round((side - size) / 2.0) if side >= size else -((size - side) // 2)


def _listed(numbers: Sequence[float]) -> str:
    return " ".join(f"{number:.4g}" for number in numbers)
