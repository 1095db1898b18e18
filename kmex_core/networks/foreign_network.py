"""What networks read from files with their graph (ONNX, torch.export) have in common.

Such a network is a plain module: everything it is made of, its graph included, is in its state dict, and `from_arrays`
of its class makes it again from there.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from kmex_core.base.errors import InputError
from kmex_core.networks import encoders

LARGEST_SIDE = 4096  # pixels
MOST_CHANNELS = 4
UNKNOWN_SIDE = 224  # tried where the file leaves the image size open
MOST_VALUE = 2**31  # bytes of one intermediate result for the images that try a file
PROBES = 3

Arrays = Mapping[str, "Tensor | np.ndarray"]


class ForeignNetwork(nn.Module):
    """A network whose graph came from a file: images (N, channels, H, W) to class scores (N, C) or embeddings (N, D).

    Attributes:
        differentiable: whether gradients reach the images. Without them relevance maps come from occlusion.
        image_shape: (channels, H, W) of its images; H and W are None where the file leaves them open.
        batch: the number of images in each pass where the file fixes it, else None. Other numbers of images are
            computed in portions of it, the last one filled up with copies of its last image.
        head: the last linear layer, embeddings (N, D) to class scores (N, C); None for an encoder.
        notes: what was decided while the file was read, a sentence each. Not in the state dict.
    """

    differentiable: ClassVar[bool]
    image_shape: tuple[int, int | None, int | None]
    batch: int | None
    head: nn.Linear | None
    notes: tuple[str, ...]

    @property
    def has_head(self) -> bool:
        """Whether the file has a linear layer at its end; else `forward` returns embeddings."""
        return self.head is not None

    @classmethod
    @abstractmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        """The network with this state dict.

        Raises:
            InputError: when the arrays are not those of such a network.
        """

    @abstractmethod
    def features(self, images: Tensor) -> Tensor:
        """What the graph gives for one portion of images: (N, D), (N, T, D) tokens or (N, D, H, W)."""

    def embed(self, images: Tensor) -> Tensor:
        """(N, channels, H, W) images to (N, D) embeddings, see `pooled`."""
        self._check_images(images)
        size = self.batch
        if size is None or images.shape[0] == size:
            return pooled(self.features(images))
        parts = []
        for part in images.split(size):
            missing = size - len(part)
            filled = torch.cat([part, part[-1:].expand(missing, -1, -1, -1)]) if missing else part
            parts.append(pooled(self.features(filled))[: len(part)])
        return torch.cat(parts)

    def forward(self, images: Tensor) -> Tensor:
        """(N, channels, H, W) images to class scores (N, C), or to embeddings (N, D) without a head."""
        z = self.embed(images)
        if self.head is None:
            return z
        scores: Tensor = self.head(z.to(self.head.weight.dtype))
        return scores.to(z.dtype)

    def probes(self, count: int = PROBES) -> Tensor:
        """Random images to try the network on."""
        channels, height, width = self.image_shape
        shape = (self.batch or count, channels, height or UNKNOWN_SIDE, width or UNKNOWN_SIDE)
        return torch.randn(shape, generator=torch.Generator().manual_seed(0))

    def _check_images(self, images: Tensor) -> None:
        wanted = self.image_shape
        fits = images.ndim == 4 and all(want in (None, got) for want, got in zip(wanted, images.shape[1:], strict=True))
        if not fits or images.shape[0] == 0:  # not len(), which would fix the number in an exported graph
            shown = "×".join("any" if side is None else str(side) for side in wanted)
            raise InputError(
                f"This network takes images of {shown} (channels×height×width), got {tuple(images.shape)}."
            )


def pooled(features: Tensor) -> Tensor:
    """One embedding per image: (N, D) as it is, the mean over the places of (N, D, H, W), and of (N, T, D) tokens the
    mean or the class token, see `encoders.takes_mean`."""
    return encoders.pooled(encoders.pooled_tokens(features, encoders.takes_mean(features)))


def pooling_note(shape: tuple[int, ...]) -> str:
    """How `pooled` makes embeddings of features of this shape, in a sentence."""
    if len(shape) == 4:
        return f"Embedding: the mean over {shape[2]}×{shape[3]} places of {shape[1]} channels."
    if len(shape) == 3:
        mean = encoders.takes_mean(torch.empty(shape, device="meta"))
        return f"Embedding: {'the mean' if mean else 'the first (the class token)'} of {shape[1]} tokens."
    return f"Embedding: the output of {shape[-1]} numbers."


def checked_shape(name: str, shape: tuple[int | None, ...]) -> tuple[int, int | None, int | None]:
    """The (channels, H, W) of images that a file asks for.

    Raises:
        InputError: when it asks for something else than images, or larger ones than anything here can make.
    """
    channels, *sides = shape
    if channels is None or not 1 <= channels <= MOST_CHANNELS:
        raise InputError(
            f"{name} takes an input with {'any number of' if channels is None else channels} channels; expected images "
            f"(N, channels, H, W) with 1 to {MOST_CHANNELS} channels."
        )
    for side in sides:
        if side is not None and not 1 <= side <= LARGEST_SIDE:
            raise InputError(f"{name} takes images with a side of {side:,} pixels; the limit is {LARGEST_SIDE:,}.")
    return channels, sides[0], sides[1]


def linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """A Linear layer with these (C, D) weights and (C,) biases, in float32."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias is not None, device="meta")
    layer.weight = nn.Parameter(weight.detach().float().contiguous().clone())
    if bias is not None:
        layer.bias = nn.Parameter(bias.detach().float().contiguous().clone())
    return layer


def head_of(arrays: Arrays) -> nn.Linear | None:
    """The head in a state dict.

    Raises:
        InputError: when it is not a Linear layer's.
    """
    if "head.weight" not in arrays:
        return None
    weight = torch.as_tensor(arrays["head.weight"])
    bias = torch.as_tensor(arrays["head.bias"]) if "head.bias" in arrays else None
    if weight.ndim != 2 or (bias is not None and bias.shape != weight.shape[:1]):
        raise InputError(f"The network's head has weights of {tuple(weight.shape)}: its file is damaged.")
    return linear(weight, bias)


def as_buffer(content: bytes) -> Tensor:
    """(bytes,) uint8."""
    return torch.from_numpy(np.frombuffer(content, np.uint8).copy())


def as_bytes(buffer: Tensor | np.ndarray) -> bytes:
    """The content of `as_buffer`."""
    array: np.ndarray = torch.as_tensor(buffer).cpu().numpy()
    return array.astype(np.uint8, copy=False).tobytes()


def close(a: Tensor, b: Tensor, tolerance: float) -> bool:
    """Whether outputs (N, C) agree: values relative to the largest, and the largest of each row."""
    a, b = a.detach(), b.detach()
    if a.shape != b.shape or not bool(a.isfinite().all() and b.isfinite().all()):
        return False
    scale = float(b.abs().amax()) or 1.0
    if float((a - b).abs().amax()) > tolerance * scale:
        return False
    at_choice = b.gather(1, a.argmax(1, keepdim=True)).squeeze(1)
    return bool((at_choice >= b.amax(1) - tolerance * scale).all())
