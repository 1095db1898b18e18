"""The metrics on relevance maps of a model's prototypes, image by image (minutes)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from kmex_core.base.artifact import Artifact, ResultT, SpecT
from kmex_core.base.files import Arrays
from kmex_core.base.specs import DivergenceSpec, MapScoresSpec, PrototypeSpec
from kmex_core.metrics.types import MapDivergences, MapScores, NotComputed
from kmex_core.models import catalogue
from kmex_core.models.catalogue import BlackBox
from kmex_core.models.info import ModelInfo
from kmex_core.prototypes.source import PrototypeSource, Version
from kmex_core.prototypes.types import Conversion
from kmex_core.relevance.catalogue import METHODS, MapKind
from kmex_core.stages.bound import Bound
from kmex_core.stages.explainer import explainer

if TYPE_CHECKING:
    import torch

    from kmex_core.models.kmex import KMEx
    from kmex_core.relevance.method import RelevanceMethod

BATCH = 64
EMPTY = NotComputed("A class of this version has no prototypes, so there is no relevance map of it to measure.")
ALONE = NotComputed(
    "There is no black box in the store with the same data set, image size and normalisation to compare relevance "
    "maps with."
)


class _OfMaps(Artifact[SpecT, ResultT]):
    """What is measured on the relevance maps of a model's prototypes, if there are any."""

    room = "evaluations"

    def __init__(
        self, bound: Bound, source: PrototypeSource, conversion: Artifact[PrototypeSpec, Conversion], maps: MapKind
    ) -> None:
        super().__init__(bound.store, bound.progress)
        self._bound, self._source, self._conversion = bound, source, conversion
        self._maps = maps.checked()

    @cached_property
    def _explainer(self) -> KMEx:
        return explainer(self._bound.network, self._source, self._bound.read(self._conversion), self._conversion.spec)

    @cached_property
    def _method(self) -> RelevanceMethod:
        return METHODS[self._maps.method].make()

    def why_not(self) -> NotComputed | None:
        """Why there are no maps to measure; None when there are."""
        from kmex_core.relevance.choices import why_no_target

        module = self._explainer
        if isinstance(self._source, Version) and len(np.unique(module.details.classes)) < len(module.class_names):
            return EMPTY
        why = why_no_target(self._maps.target, module) or self._method.why_not(module, size_of(self._bound.info))
        return NotComputed(why) if why else None

    def get_or_why_not(self) -> ResultT | NotComputed:
        """The result, or why there is none."""
        stored = self.peek()
        return stored if stored is not None else self.why_not() or self.get()


class RelevanceScores(_OfMaps[MapScoresSpec, MapScores]):
    """AD, AI, RO and D_fdl of a model's prototypes on test images.

    Args:
        bound: the model and its data.
        source: of the prototypes.
        conversion: its prototypes.
        images: how many test images; all when there are fewer.
        seed: of the choice of images and of random orders.
        maps: the kind of the relevance maps.
    """

    def __init__(
        self,
        bound: Bound,
        source: PrototypeSource,
        conversion: Artifact[PrototypeSpec, Conversion],
        images: int,
        seed: int,
        maps: MapKind,
    ) -> None:
        super().__init__(bound, source, conversion, maps)
        self._images, self._seed = images, seed

    @cached_property
    def spec(self) -> MapScoresSpec:
        images = min(self._images, len(self._bound.data.split("test")))
        return MapScoresSpec(self._conversion.key, images, self._seed, method=self._maps.key)

    def make(self) -> MapScores:
        """Measure them.

        Raises:
            KMExError: see `on_maps.map_scores`.
        """
        from kmex_core.metrics.on_maps import map_scores

        return map_scores(
            self._explainer,
            drawn_images(self._bound, self.spec.images, self.spec.seed),
            replacement_of(self._bound.info),
            self._method,
            self._maps.target,
            total=self.spec.images,
            seed=self._seed,
            steps=self.spec.steps,
            progress=self.progress,
        )

    def pack(self, result: MapScores) -> tuple[Arrays, dict[str, Any]]:
        return result.to_arrays(), {"measured": result.to_description(), "model": self._bound.info.name}

    @classmethod
    def unpack(cls, arrays: Arrays, description: dict[str, Any]) -> MapScores:
        return MapScores.from_arrays(arrays, **description["measured"])


class ReferenceDivergence(_OfMaps[DivergenceSpec, MapDivergences]):
    """D_fdl between a prototypical model on its own and a black box beside it, and its chance levels, image by image.

    Args:
        bound: the model and its data.
        source: its built-in prototypes.
        conversion: those prototypes, described.
        scores: the spec of its own scores, which says which images.
        reference: the black box, see `reference_of`.
        maps: their kind, that of the scores.
    """

    def __init__(
        self,
        bound: Bound,
        source: PrototypeSource,
        conversion: Artifact[PrototypeSpec, Conversion],
        scores: MapScoresSpec,
        reference: ModelInfo,
        maps: MapKind,
    ) -> None:
        super().__init__(bound, source, conversion, maps)
        self._scores, self._reference = scores, reference

    @cached_property
    def spec(self) -> DivergenceSpec:
        return DivergenceSpec(self._scores.key, catalogue.weights_key(self.store, self._reference.name))

    @cached_property
    def _black_box(self) -> BlackBox:
        from kmex_core.networks.passes import device_of

        device = str(device_of(self._bound.network.model))
        return catalogue.load(self.store, self._reference.name, device)

    def why_not(self) -> NotComputed | None:
        """Why there is nothing to compare; None when there is."""
        from kmex_core.metrics.black_box import BlackBoxAlone

        if (why := super().why_not()) is not None:
            return why
        black_box = BlackBoxAlone(
            self._black_box.encoder, self._black_box.head, self._explainer.pixel_range, self._explainer.pixel_mean
        )
        return ALONE if self._method.why_not(black_box, size_of(self._bound.info)) else None

    def make(self) -> MapDivergences:
        from kmex_core.metrics.on_maps import map_divergences

        images = drawn_images(self._bound, self._scores.images, self._scores.seed)
        return map_divergences(self._explainer, self._black_box, images, self._method, self._maps.target, self.progress)

    def pack(self, result: MapDivergences) -> tuple[Arrays, dict[str, Any]]:
        return result.to_arrays(), {"reference": self._reference.name}

    @classmethod
    def unpack(cls, arrays: Arrays, description: dict[str, Any]) -> MapDivergences:
        return MapDivergences.from_arrays(arrays)


def reference_of(bound: Bound) -> ModelInfo | None:
    """The black box whose maps a prototypical model's own are compared with: the first in the store of the same data
    set, image size and normalisation, those that come with the product before others."""

    def input_of(info: ModelInfo) -> tuple[object, ...]:
        return info.dataset, info.preprocessing, info.class_names

    fitting = [
        other
        for other in catalogue.list_models(bound.store)[0]
        if other.kind == "blackbox" and other.predicts and input_of(other) == input_of(bound.info)
    ]
    return min(fitting, key=lambda other: (not other.embedded, other.name), default=None)


def drawn_images(bound: Bound, images: int, seed: int) -> Iterator[tuple[np.ndarray, torch.Tensor, torch.Tensor]]:
    """Some test images in the order the seed draws them, see `Bound.inputs`. Neighbours in that order are unrelated,
    even where the files of a class lie together."""
    drawn = np.random.default_rng(seed).choice(len(bound.data.split("test")), images, replace=False)
    return bound.inputs("test", BATCH, drawn)


def size_of(info: ModelInfo) -> tuple[int, int, int]:
    """Of a model's input, (C, H, W)."""
    return info.preprocessing.inputs, *info.preprocessing.size


def replacement_of(info: ModelInfo) -> torch.Tensor:
    """(inputs, height, width), in place of removed pixels: black for greyscale, one noise image for colour (4.1.2)."""
    import torch

    from kmex_core.data.network_input import normalise

    shape = (1, info.channels, *info.preprocessing.size)
    noise = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    pixels = torch.from_numpy(noise if info.channels == 3 else np.zeros(shape, dtype=np.uint8))
    return normalise(pixels, info.preprocessing)[0]
