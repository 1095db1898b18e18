"""A preprocessing from what users have for it in Python: that of torchvision, transformers or timm, or a function."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from kmex_core.base.errors import InputError
from kmex_core.base.jsontext import read_json
from kmex_core.data.network_input import normalise, to_pixels
from kmex_core.data.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from kmex_core.networks import composed
from kmex_core.networks.sources import huggingface, timm, torchvision

IMAGENET = "imagenet"
MOST_JSON = 2**20
WAYS = (
    f'"{IMAGENET}"; a Preprocessing; torchvision\'s weights or their transforms(); a transformers image processor; '
    "timm's data configuration (timm.data.resolve_data_config({}, model=model)); a JSON file; torchvision's Compose of "
    "Resize, CenterCrop, ToTensor and Normalize; or any function that makes a tensor of a PIL image"
)


@dataclass(frozen=True, eq=False)
class Prepared:
    """How pictures become a network's input.

    Attributes:
        preprocessing: as data, which can be kept; None where only `function` is known.
        function: the user's own, from a PIL image to a tensor (channels, H, W); None where it is not needed.
    """

    preprocessing: Preprocessing | None
    function: Callable[[Image.Image], Any] | None = None

    def input(self, pictures: Iterable[np.ndarray]) -> Tensor:
        """(H, W) or (H, W, 3) uint8 pictures as (N, channels, H, W) floats.

        Raises:
            InputError: when the user's function gives anything else.
        """
        if self.preprocessing is not None:
            return normalise(to_pixels(pictures, self.preprocessing), self.preprocessing)
        assert self.function is not None
        made = [self.function(Image.fromarray(np.asarray(picture))) for picture in pictures]
        for one in made:
            if not isinstance(one, Tensor) or one.ndim != 3 or not one.is_floating_point():
                got = f"{tuple(one.shape)} of {one.dtype}" if isinstance(one, Tensor) else f"a {type(one).__name__}"
                raise InputError(f"preprocess gave {got} for a picture; expected a tensor (channels, H, W) of floats.")
        if len({one.shape for one in made}) > 1:
            raise InputError("preprocess gave tensors of different sizes; expected one size for all pictures.")
        return torch.stack(made)


def prepared(given: Any, network: nn.Module) -> Prepared:
    """How pictures become a network's input, from what a user gave for it.

    Args:
        given: see `WAYS`; None for what the network's library says.
        network: the network.

    Raises:
        InputError: when nothing says how, or it is something else.
    """
    if given is None:
        given = _known(network)
        if given is None:
            raise InputError(
                f"How pictures become the input of this {type(network).__name__} is not known. Say it with "
                f"preprocess=: {WAYS}."
            )
    if isinstance(given, Preprocessing):
        return Prepared(given)
    if isinstance(given, str) and given == IMAGENET:
        return Prepared(imagenet(224, 224))
    if isinstance(given, str | Path):
        return Prepared(read_preprocessing(Path(given)))
    if isinstance(given, Mapping):
        return Prepared(described(given))
    if hasattr(given, "transforms") and hasattr(given, "get_state_dict"):  # a member of torchvision's weights
        given = given.transforms()
    if all(hasattr(given, name) for name in ("crop_size", "resize_size", "mean", "std", "interpolation")):
        return Prepared(torchvision.preprocessing_of(given))
    if hasattr(given, "image_mean") and hasattr(given, "to_dict"):
        return Prepared(described(given.to_dict()))
    if callable(given):
        found = composed.recognised(given)
        return Prepared(None, given) if found is None else Prepared(found)
    raise InputError(f"preprocess cannot be a {type(given).__name__}; expected {WAYS}.")


def imagenet(height: int, width: int) -> Preprocessing:
    """The usual one for ImageNet: the shorter side to 256, 224 cut out, or in proportion."""
    shorter = round(min(height, width) * 256 / 224)
    return Preprocessing(height, width, 3, IMAGENET_MEAN, IMAGENET_STD, "shorter", shorter)


def described(given: Mapping[str, Any]) -> Preprocessing:
    """A description of a `Preprocessing`, timm's data configuration, or transformers' preprocessor_config.json.

    Raises:
        InputError: for anything else.
    """
    if "input_size" in given:
        try:
            return timm.preprocessing_of(given)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"That is no data configuration of timm ({type(error).__name__}: {error}).") from error
    if "height" in given:
        return Preprocessing.from_description(given)
    if not {"size", "crop_size", "image_mean", "do_normalize"} & set(given):
        raise InputError(
            f"That describes no preprocessing; it has: {', '.join(map(str, list(given)[:12])) or 'nothing'}."
        )
    try:
        found = huggingface.preprocessing_of(given, {})
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"That is no preprocessor_config.json ({type(error).__name__}: {error}).") from error
    assert found is not None
    return found


def read_preprocessing(path: Path) -> Preprocessing:
    """What a JSON file describes, see `described`.

    Raises:
        InputError: when it cannot be read or describes none.
    """
    try:
        if path.stat().st_size > MOST_JSON:
            raise InputError(f"{path} has more than {MOST_JSON // 2**20} MB; expected a small JSON file.")
        value = read_json(path.read_bytes())
    except OSError as error:
        raise InputError(
            f'{path} cannot be read ({error.strerror}). A preprocessing is "{IMAGENET}" or a JSON file.'
        ) from error
    except ValueError as error:
        raise InputError(f"{path} is not valid JSON ({error}).") from error
    if not isinstance(value, dict):
        raise InputError(f"{path} describes no preprocessing.")
    return described(value)


def _known(network: nn.Module) -> Any:
    """What the library of a network says; None if none does."""
    if getattr(network, "pretrained_cfg", None):
        return importlib.import_module("timm.data").resolve_data_config({}, model=network)
    return None
