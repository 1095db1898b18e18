"""Encoders: the part of a network that makes embeddings, the network itself run with hooks."""

from __future__ import annotations

from collections.abc import Mapping
from math import isqrt
from typing import Any, Self

import torch
from torch import Tensor, nn

from kmex_core.networks import passes

NONE = "none"  # the head of an encoder
MEAN = "none:mean"  # that of an encoder whose embedding is the mean of its tokens
SEVERAL = "+"  # between the names of several heads, whose scores are averaged
# what an encoder's output is called in the usual libraries, best first
EMBEDDINGS = ("image_embeds", "pooler_output", "embeddings", "features", "x_norm_clstoken", "last_hidden_state")


class UpToHead(nn.Module):
    """A classifier up to what its head is given: the classifier itself runs, and a hook takes the head's input.

    It is a guest. The classifier's parts go through a pass in evaluation mode and have their own modes again after it,
    so that the classifier may go on training; `train()` and `eval()` do not reach it. In training mode, parts run in
    the modes that they have. The head's parameters do not count as the encoder's in `state_dict`.

    Args:
        model: the classifier.
        head_path: the dotted name of its head; several names with `SEVERAL` between them.
        like: the name of the parameter whose type of float images are given in; as they come when empty.
    """

    def __init__(self, model: nn.Module, head_path: str, like: str = "") -> None:
        super().__init__()
        self.model, self.head_path, self.like = model, head_path, like
        self.training = False

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) images to (N, D) embeddings."""
        if self.like:
            images = images.to(self.model.get_parameter(self.like).dtype)
        if self.training:
            return self._inputs_of_head(images)
        with passes.evaluating(self.model):
            return self._inputs_of_head(images)

    def _inputs_of_head(self, images: Tensor) -> Tensor:
        heads = {path: self.model.get_submodule(path) for path in self.head_path.split(SEVERAL)}
        with passes.watched(heads) as calls:
            self.model(images)
        last = {call.name: call.inputs[0] for call in calls}
        if len(last) < len(heads):
            raise RuntimeError(f"{type(self.model).__name__} did not come to its head.")
        found = [pooled(last[path]) for path in heads]
        return found[0] if len(found) == 1 else torch.cat(found, 1)

    def train(self, mode: bool = True) -> Self:
        """The encoder's own mode; the classifier's parts keep theirs."""
        self.training = mode
        return self

    def state_dict(self, *args: Any, **options: Any) -> Any:
        """As of any module, without the head's."""
        state = super().state_dict(*args, **options)
        for key in self._head_keys(options.get("prefix", "")):
            state.pop(key, None)
        return state

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        for key, value in self._head_keys(prefix).items():
            state_dict.setdefault(key, value)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _head_keys(self, prefix: str) -> dict[str, Any]:
        keys: dict[str, Any] = {}
        for path in self.head_path.split(SEVERAL):
            keys |= self.model.get_submodule(path).state_dict(prefix=f"{prefix}model.{path}.")
        return keys


class Trunk(UpToHead):
    """An encoder that is nobody's guest: its network is its own, without a head, and takes its mode."""

    def __init__(self, model: nn.Module, head_path: str) -> None:
        parent, _, last = head_path.rpartition(".")
        setattr(model.get_submodule(parent), last, nn.Identity())
        super().__init__(model, head_path)
        self.training = True

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) images to (N, D) embeddings."""
        return self._inputs_of_head(images)

    def train(self, mode: bool = True) -> Self:
        """As of any module."""
        return nn.Module.train(self, mode)


class Whole(nn.Module):
    """A network without a head as an encoder: its output is the embedding, see `embedding_in`.

    Args:
        model: the network; it is a guest, as in `UpToHead`.
        like: as in `UpToHead`.
        mean: whether the embedding is the mean of its tokens instead of the first.
    """

    def __init__(self, model: nn.Module, like: str = "", mean: bool = False) -> None:
        super().__init__()
        self.model, self.like, self.mean = model, like, mean
        self.training = False

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) images to (N, D) embeddings."""
        if self.like:
            images = images.to(self.model.get_parameter(self.like).dtype)
        with passes.evaluating(self.model):
            output = self.model(images)
        z = embedding_in(output, self.mean)
        if z is None:
            raise RuntimeError(f"{type(self.model).__name__} gives no embedding.")
        return z

    def train(self, mode: bool = True) -> Self:
        """The encoder's own mode; the network's parts keep theirs."""
        self.training = mode
        return self


def embedding_in(output: Any, mean: bool) -> Tensor | None:
    """One embedding per image, (N, D), in what a network gives; None if there is none.

    Of what `features_in` takes, feature maps (N, D, H, W) are averaged over their positions, and of tokens (N, T, D)
    the first is taken, or the mean.
    """
    features = features_in(output)
    return None if features is None else pooled(pooled_tokens(features, mean))


def features_in(output: Any) -> Tensor | None:
    """The part of a network's output that the embedding is made of, (N, D), (N, T, D) or (N, D, H, W): all of it, or
    what is named first in `EMBEDDINGS`; None if there is none."""
    if isinstance(output, Tensor):
        return output if output.ndim in (2, 3, 4) else None
    for name in EMBEDDINGS:
        value = output.get(name) if isinstance(output, Mapping) else getattr(output, name, None)
        if isinstance(value, Tensor):
            return features_in(value)
    if isinstance(output, list | tuple) and output:
        return features_in(output[0])
    return None


def takes_mean(features: Tensor | None) -> bool:
    """Whether features are tokens (N, T, D) without a class token, whose mean is the embedding.

    timm and transformers classify by the class token where a network has one (ViT, DeiT, DINOv2), and by the mean of
    the patches' tokens where it has none (Swin, MLP-Mixer, ViT with `global_pool="avg"`). Their number tells them
    apart: patches alone fill a square (T = 49, 196, …), which they do not with one token more.
    """
    return features is not None and features.ndim == 3 and isqrt(features.shape[1]) ** 2 == features.shape[1]


def pooled_tokens(features: Tensor, mean: bool) -> Tensor:
    """Of tokens (N, T, D) the mean or the first one, (N, D); other features as they are."""
    if features.ndim != 3:
        return features
    return features.mean(1) if mean else features[:, 0]


def kept_path(encoder: nn.Module, head_path: str) -> str:
    """What is kept of where a model's embedding is taken: its head's name, or `NONE` or `MEAN` of an encoder."""
    return head_path or (MEAN if isinstance(encoder, Whole) and encoder.mean else NONE)


def scores_in(output: Any) -> Tensor | None:
    """The class scores in what a classifier gives: all of it, or its part "logits"."""
    if not isinstance(output, Tensor):
        output = output.get("logits") if isinstance(output, Mapping) else getattr(output, "logits", None)
    return output if isinstance(output, Tensor) else None


def pooled(values: Tensor) -> Tensor:
    """(N, D), of (N, D, H, W) the mean over the positions."""
    return values.mean((2, 3)) if values.ndim == 4 else values


def first_float(network: nn.Module) -> str:
    """The name of a network's first parameter of floats, "" without any."""
    return next((name for name, value in network.named_parameters() if value.is_floating_point()), "")
