"""The sanity suite of a model's relevance maps (minutes)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from kmex_core.base.artifact import Artifact
from kmex_core.base.errors import InputError
from kmex_core.base.files import Arrays
from kmex_core.base.specs import MapChecksSpec, PrototypeSpec
from kmex_core.metrics.types import MapChecks
from kmex_core.models.info import ModelInfo
from kmex_core.prototypes.source import PrototypeSource
from kmex_core.prototypes.types import Conversion
from kmex_core.relevance.catalogue import DEFAULT_MAPS, DEFAULT_TARGET, METHODS, PUBLISHED, TARGETS, MapKind
from kmex_core.stages.bound import Bound
from kmex_core.stages.explainer import explainer
from kmex_core.stages.relevance_scores import BATCH, drawn_images, size_of

IMAGES, FEW = 200, 20
LARGE = 64  # pixels; larger images cost more, and fewer are enough
FEW_LARGE = 5
REFERENCE, REFERENCE_BYTES = 2000, 256 * 2**20  # images that randomised networks are adjusted to, and their memory
# the kinds of maps that are checked where a network has them: every method of the margin, the published maps, and the
# default method of the other targets
KINDS = (
    *(MapKind(DEFAULT_TARGET, method) for method in METHODS),
    PUBLISHED,
    *(MapKind(target, DEFAULT_MAPS.method) for target in TARGETS if target != DEFAULT_TARGET),
)


def _usual(info: ModelInfo) -> Iterator[MapKind]:
    """`KINDS` with the model's default method in place of the usual one for the other targets."""
    for kind in KINDS:
        other = kind.target != DEFAULT_TARGET and kind != PUBLISHED
        yield MapKind(kind.target, info.default_maps.method) if other else kind


class ModelMapChecks(Artifact[MapChecksSpec, MapChecks]):
    """The sanity suite of the relevance maps of a model's nearest prototypes on test images.

    Args:
        bound: the model and its data.
        source: of the prototypes.
        conversion: its prototypes.
        images: how many test images; all when there are fewer.
        kinds: of maps, `KINDS` when empty; those that cannot explain the model are left out.
    """

    room = "evaluations"

    def __init__(
        self,
        bound: Bound,
        source: PrototypeSource,
        conversion: Artifact[PrototypeSpec, Conversion],
        images: int = IMAGES,
        kinds: Sequence[MapKind] = (),
    ) -> None:
        super().__init__(bound.store, bound.progress)
        self._bound, self._source, self._conversion = bound, source, conversion
        self._images = images
        self._kinds = tuple(dict.fromkeys(kind.checked() for kind in kinds or _usual(bound.info)))

    @cached_property
    def spec(self) -> MapChecksSpec:
        images = min(self._images, len(self._bound.data.split("test")))
        few = min(images, FEW if self._bound.info.image_size <= LARGE else FEW_LARGE)
        reference = min(REFERENCE, REFERENCE_BYTES // (4 * math.prod(size_of(self._bound.info))))
        kinds = tuple(kind.key for kind in self._kinds)
        return MapChecksSpec(self._conversion.key, images, few, kinds, reference=max(1, reference))

    def make(self) -> MapChecks:
        """Check them.

        Raises:
            KMExError: see `metrics.map_checks.map_checks`.
            InputError: when none of the kinds can explain the model.
        """
        import torch

        from kmex_core.metrics.map_checks import map_checks, why_not
        from kmex_core.metrics.randomisation import Reference

        info, spec = self._bound.info, self.spec
        conversion = self._bound.read(self._conversion)
        model = explainer(self._bound.network, self._source, conversion, self._conversion.spec)
        reasons = {kind: why_not(model, kind, size_of(info)) for kind in self._kinds}
        kinds = [kind for kind, why in reasons.items() if not why]
        if not kinds:
            raise InputError(f"{next(iter(reasons.values()))} Check {info.default_maps.method} instead.")
        batches = [inputs for _, inputs, _ in drawn_images(self._bound, spec.images, spec.seed)]
        # the reference images are few enough to lie in memory, and spread evenly over the training split
        train = self._bound.data.split("train")
        rows = np.unique(np.linspace(0, len(train) - 1, min(len(train), spec.reference)).astype(int))
        parts = [inputs for _, inputs, _ in self._bound.inputs("train", BATCH, rows)]
        device = model.prototypes.device
        labels = torch.from_numpy(train.labels[rows]).to(device)
        reference = Reference(torch.cat(parts).to(device), labels)
        return map_checks(model, batches, kinds, reference, spec.few, self.progress)

    def pack(self, result: MapChecks) -> tuple[Arrays, dict[str, Any]]:
        return result.to_arrays(), {"checked": result.to_description(), "model": self._bound.info.name}

    @classmethod
    def unpack(cls, arrays: Arrays, description: dict[str, Any]) -> MapChecks:
        checked = {
            name: tuple(value) if isinstance(value, list) else value for name, value in description["checked"].items()
        }
        return MapChecks.from_arrays(arrays, **checked)
