"""Descriptions of models in the store, without weights. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kmex_core.base.specs import stable_key
from kmex_core.data.preprocessing import Preprocessing
from kmex_core.models.kinds import MODEL_KINDS
from kmex_core.networks.types import WITHOUT_GRADIENTS
from kmex_core.relevance.catalogue import MapKind, default_for

# of their initial spread: at 1, prototypes that end at the centre of where they began would be the bound
MOVED = 0.5
FIRST = "faces"  # the demo that pages open with: pictures that everyone can judge
AT_CHANCE = "at_chance"  # in `ModelInfo.made_by`: guessing was as good as its own predictions when it was brought
RANDOM = "random"  # in `ModelInfo.made_by`: its weights were never trained
TEST_IS_TRAINING = "test_is_training"  # in `ModelInfo.made_by`: its test images may be among its training images


@dataclass(frozen=True)
class ModelInfo:
    """A model in the store, without its weights.

    Attributes:
        name: its name in the store.
        kind: a key of `kinds.MODEL_KINDS`.
        dataset: the name or path of its data set.
        root: the data root it was trained from ("" for the default).
        backbone: its architecture's registered name.
        class_names: its C classes, in the order of its outputs.
        preprocessing: from a picture to its input.
        accuracy: on the test split after training, a fraction (None if not measured).
        made_by: provenance: command, hyper-parameters, seed, versions, time.
        embedded: True for a model that ships with the product.
        k: prototypes per class that a prototypical model was trained with, 0 for a black box.
        options: its hyper-parameters.
        class_column: the column of its data set's table that is the class, "" for the data set's own class.
        skip_broken: whether pictures that cannot be decoded are left out of its data set.
        image_column: the column of its data set's table that has or names the images, "" where none was named.
        details: what its architecture's source needs to build it again, beside its name.
        head_path: the dotted name of its head (see `splitting`), "" for the last Linear layer, `encoders.NONE` or
            `encoders.MEAN` for an encoder.
        outputs: how many class scores it gives, 0 for an encoder; None for the classes in order.
        class_outputs: (C,) the number of each class among its `outputs`; empty if it predicts none of them.
    """

    name: str
    kind: str
    dataset: str
    root: str
    backbone: str
    class_names: tuple[str, ...]
    preprocessing: Preprocessing
    accuracy: float | None
    made_by: Mapping[str, Any]
    embedded: bool = False
    k: int = 0
    options: Mapping[str, float] = field(default_factory=dict)
    class_column: str = ""
    skip_broken: bool = False
    image_column: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    head_path: str = ""
    outputs: int | None = None
    class_outputs: tuple[int, ...] = ()

    @property
    def predicts(self) -> bool:
        """Whether the network itself predicts the classes: an encoder does not, nor one that was trained on others."""
        return self.outputs is None or bool(self.class_outputs)

    @property
    def differentiable(self) -> bool:
        """Whether the network has gradients: one that onnxruntime runs has none."""
        return self.backbone.partition(":")[0] not in WITHOUT_GRADIENTS

    @property
    def default_maps(self) -> MapKind:
        """The default kind of its relevance maps."""
        return default_for(self.differentiable)

    @property
    def note_on_maps(self) -> str:
        """A label for relevance maps that are not made by a gradient method; "" for others."""
        return "" if self.differentiable else "Relevance maps by occlusion: this network gives no gradients."

    @property
    def role(self) -> str:
        """What a network that predicts none of the classes does, in a sentence; "" for one that predicts them."""
        if self.predicts:
            return ""
        if self.outputs == 0:
            return "The network is an encoder: it gives embeddings and predicts no classes; only KMEx classifies."
        if self.made_by.get(RANDOM) is True:
            return "The network was never trained; only KMEx classifies, by what random weights make of the images."
        return (
            f"The network was trained on other classes ({self.outputs:,} of them); its encoder gives embeddings, and "
            "only KMEx classifies."
        )

    @property
    def head_key(self) -> str:
        """A name for where its embedding is taken and which outputs are the classes; "" as usual."""
        described = [self.head_path, self.outputs, list(self.class_outputs)]
        # the second is a model whose images are grouped by another column: its embedding is as usual
        return "" if described in (["", None, []], ["", 0, []]) else stable_key(described)

    @property
    def image_size(self) -> int:
        """The longer side of its input in pixels."""
        return max(self.preprocessing.size)

    @property
    def channels(self) -> int:
        """1 for a network of greyscale pictures, 3 for one of colour."""
        return self.preprocessing.channels

    @property
    def caveat(self) -> str:
        """Caveats to show with results: random weights, predictions no better than guessing, test images that may be
        too well known; "" if there are none."""
        if self.made_by.get(RANDOM) is True:
            return f"'{self.name}' was never trained: its weights are random. Its results are not those of a model."
        return " ".join(filter(None, (self._at_chance, self._too_well_known)))

    @property
    def why_not_compared(self) -> str:
        """Why its numbers are not those of a trained model, as a clause; "" for one that was trained."""
        if self.made_by.get(RANDOM) is True:
            return "was never trained"
        if self.made_by.get(AT_CHANCE) is True:
            return "predicts no better than guessing"
        if self._compares_distances and self.movement is not None and self.movement < MOVED:
            return "has prototypes that are not trained"
        return ""

    @property
    def _at_chance(self) -> str:
        if self.made_by.get(AT_CHANCE) is not True:
            return ""
        return (
            f"Guessing is as good as what '{self.name}' itself predicts for held-out images. Perhaps its classes are "
            "in another order, or its input is prepared in another way; kmex new looks for both."
        )

    @property
    def _too_well_known(self) -> str:
        if self.made_by.get(TEST_IS_TRAINING) is not True:
            return ""
        return (
            f"Results on test images may be too optimistic: '{self.name}' was imported, and its data set has no test "
            "split. A fifth of the training images, which it may have been trained on, is used instead."
        )

    @property
    def movement(self) -> float | None:
        """How far training moved the built-in prototypes, in units of their initial spread; None if that is unknown."""
        history = self.made_by.get("history") or [{}]
        movement = history[-1].get("movement")
        return None if movement is None else float(movement)

    @property
    def prototype_caveat(self) -> str:
        """A caveat to show with results on built-in prototypes; "" if there is none."""
        return " ".join(filter(None, (self._untrained, self._distinct)))

    @property
    def _distinct(self) -> str:
        # those trained by earlier versions have no such option, and were always pushed this way
        if self.kind != "protopnet" or "recipe" not in self.made_by or not self.options.get("distinct", 1.0):
            return ""
        return (
            f"The prototypes of '{self.name}' were pushed onto different images of their class, so each has an image "
            "of its own: it has no ghosts by construction."
        )

    @property
    def _compares_distances(self) -> bool:
        return bool(self.k) and MODEL_KINDS[self.kind].similarity_from == "distance"

    @property
    def _untrained(self) -> str:
        if not self._compares_distances:
            return ""
        if self.movement is None:
            return f"How far training moved the prototypes of '{self.name}' is unknown."
        if self.movement >= MOVED:
            return ""
        return (
            f"The prototypes of '{self.name}' are not trained: they moved {self.movement:.2f} times their initial "
            "spread, so they are close to where they began. Results on them say little about the method. Train longer, "
            "or with a higher learning rate."
        )


def in_display_order(infos: Iterable[ModelInfo]) -> list[ModelInfo]:
    """Models in display order: the demos first, with `FIRST` before the others, then by name."""
    return sorted(infos, key=lambda info: (not info.embedded, info.name != FIRST, info.name))


def trained_alike(info: ModelInfo, others: Iterable[ModelInfo]) -> list[ModelInfo]:
    """A prototypical model, and those trained exactly as it was but with another number of prototypes per class.

    One model for each number and seed, ascending: those of the model's own seed, and of every other seed that was
    trained with all of the same numbers. An imported model is alone: its training is unknown.
    """

    def training(model: ModelInfo) -> tuple[object, ...]:
        recipe = {name: value for name, value in model.made_by["recipe"].items() if name not in ("k", "seed")}
        data = model.dataset, model.class_column, model.class_names, model.preprocessing.size, model.made_by.get("data")
        return model.kind, model.backbone, *data, recipe

    if "recipe" not in info.made_by:
        return [info]
    by_seed: dict[int, dict[int, ModelInfo]] = {}
    for model in (info, *others):
        if model.k and "recipe" in model.made_by and training(model) == training(info):
            by_seed.setdefault(training_seed(model), {}).setdefault(model.k, model)
    ks = sorted(by_seed[training_seed(info)])
    return [of_seed[k] for _, of_seed in sorted(by_seed.items()) if of_seed.keys() >= set(ks) for k in ks]


def training_seed(info: ModelInfo) -> int:
    """The seed that a model was trained with, 0 for an imported one."""
    return int(info.made_by.get("recipe", {}).get("seed", 0))


@dataclass(frozen=True, eq=False)
class BuiltInDetails:
    """Details of K built-in prototypes that only some models have.

    Attributes:
        weights: (C, K) float32, of the last layer, from similarities to class scores.
        pushed: (K,) int64, the training image each was last pushed onto, or `NO_IMAGE`; None without pushing.
        decoded: (K, H, W, 3) uint8, decoded; None without a decoder.
    """

    weights: np.ndarray
    pushed: np.ndarray | None
    decoded: np.ndarray | None
