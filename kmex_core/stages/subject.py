"""A model and its data, bound to the store: the source of results for pages and commands."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kmex_core.base.artifact import Artifact
from kmex_core.base.errors import InputError
from kmex_core.base.progress import Progress, silent
from kmex_core.base.specs import DatasetSpec, EmbeddingSpec
from kmex_core.base.store import Store
from kmex_core.data import registry
from kmex_core.data.dataset import ImageDataset
from kmex_core.data.hub import is_hub_name
from kmex_core.data.opened import dataset
from kmex_core.metrics.types import MapDivergences, NotComputed
from kmex_core.models import catalogue
from kmex_core.models.info import ModelInfo
from kmex_core.networks.arithmetic import EXACT, Arithmetic
from kmex_core.networks.types import Embeddings
from kmex_core.prototypes.metric import AUTO
from kmex_core.prototypes.source import BuiltIn, KMeans, PrototypeSource, Version
from kmex_core.prototypes.sweep import REACHES
from kmex_core.prototypes.types import LAST, Prototypes
from kmex_core.relevance.catalogue import MapKind
from kmex_core.stages.bound import Bound, Reader
from kmex_core.stages.conversion import ModelConversion
from kmex_core.stages.embedding import Embedded, RegroupedEmbedding, SplitEmbedding
from kmex_core.stages.embedding_map import SAMPLE, EmbeddingMap
from kmex_core.stages.explainer import explainer
from kmex_core.stages.geometry import ModelGeometry
from kmex_core.stages.map_checks import IMAGES as SUITE_IMAGES
from kmex_core.stages.map_checks import ModelMapChecks
from kmex_core.stages.patches import ModelPatches
from kmex_core.stages.relevance_scores import ALONE, ReferenceDivergence, RelevanceScores, reference_of
from kmex_core.stages.suggestion import ModelSuggestion
from kmex_core.stages.sweep import ModelSweep

if TYPE_CHECKING:
    from kmex_core.models.kmex import KMEx

IMAGES = 1000  # default number of test images for metrics on relevance maps


@dataclass(frozen=True, eq=False)
class Subject(Bound):
    """A model in the store with its data. The methods return artifacts, which compute nothing yet."""

    @property
    def key(self) -> str:
        """Identifies the model's weights and its data."""
        return self.embedding("train").key

    def embedding(self, split: str, arithmetic: Arithmetic = EXACT) -> Artifact[EmbeddingSpec, Embeddings]:
        """The embedding of a split, see `SplitEmbedding`."""
        return SplitEmbedding(self, split, arithmetic)

    @property
    def is_embedded(self) -> bool:
        """Whether the store has both splits' embeddings (existence only; integrity is checked on read)."""
        return all(self.embedding(split).exists() for split in self.data.splits)

    def conversion(self, source: PrototypeSource, arithmetic: Arithmetic = EXACT) -> ModelConversion:
        """The prototypes of a source, see `ModelConversion`."""
        embedded, geometry = self._embedded(arithmetic), self.geometry(arithmetic)
        if isinstance(source, Version):
            base = self.conversion(source.base, arithmetic)
            return ModelConversion(self, source, embedded, geometry, base=base)
        if not isinstance(source, KMeans):
            return ModelConversion(self, source, embedded, geometry)
        sweeps = {reach: ModelSweep(self, source, reach, embedded, geometry) for reach in REACHES}
        return ModelConversion(self, source, embedded, geometry, sweeps, self.suggestion(source.metric))

    def prototypes(self, source: PrototypeSource) -> Prototypes:
        """What describes the prototypes of a source; `activated`, which has a number for each image, may be empty."""
        return self.conversion(source).get().prototypes

    def sweep(self, source: KMeans, reach: int = REACHES[0]) -> ModelSweep:
        """KMEx for every number of prototypes per class, with the seed and the metric of `source`."""
        return ModelSweep(self, source, reach, self._embedded(), self.geometry())

    def suggestion(self, metric: str = AUTO) -> ModelSuggestion:
        """How many prototypes each class needs, see `ModelSuggestion`."""
        return ModelSuggestion(self, metric, REACHES[0], self._embedded(), self.geometry())

    def _embedded(self, arithmetic: Arithmetic = EXACT) -> Embedded:
        train, test = (self.embedding(split, arithmetic) for split in ("train", "test"))
        return Embedded(
            train, test, self.embedding("validation", arithmetic) if "validation" in self.data.splits else None
        )

    def geometry(self, arithmetic: Arithmetic = EXACT) -> ModelGeometry:
        """The metric of the model's embedding, see `ModelGeometry`."""
        return ModelGeometry(self, self._embedded(arithmetic))

    def patches(self, source: KMeans, blocks: str = LAST) -> ModelPatches:
        """Patch prototypes and concept maps, see `ModelPatches`."""
        train, test = (self.embedding(split) for split in ("train", "test"))
        return ModelPatches(self, source, self.conversion(source).spec, self.geometry(), train, test, blocks)

    def embedding_map(self, sample: int = SAMPLE, seed: int = 0) -> EmbeddingMap:
        """The embedding map, see `EmbeddingMap`."""
        return EmbeddingMap(self, self.embedding("train"), self.embedding("test"), sample, seed)

    def relevance_scores(
        self, source: PrototypeSource, images: int = IMAGES, seed: int = 0, maps: MapKind | None = None
    ) -> RelevanceScores:
        """The metrics on relevance maps, see `RelevanceScores`."""
        return RelevanceScores(self, source, self.conversion(source), images, seed, maps or self.info.default_maps)

    def map_checks(
        self, source: PrototypeSource, images: int = SUITE_IMAGES, kinds: Sequence[MapKind] = ()
    ) -> ModelMapChecks:
        """The sanity suite of relevance maps, see `ModelMapChecks`."""
        return ModelMapChecks(self, source, self.conversion(source), images, kinds)

    def reference(self) -> ModelInfo | None:
        """The black box for comparison with a prototypical model's relevance maps, see `reference_of`."""
        return reference_of(self)

    def reference_divergence(
        self, images: int = IMAGES, seed: int = 0, maps: MapKind | None = None
    ) -> ReferenceDivergence | None:
        """D_fdl between a model with built-in prototypes and its `reference`; None without such a black box."""
        reference, source, maps = self.reference(), BuiltIn(), maps or self.info.default_maps
        if reference is None:
            return None
        scores, conversion = self.relevance_scores(source, images, seed, maps).spec, self.conversion(source)
        return ReferenceDivergence(self, source, conversion, scores, reference, maps)

    def divergences(
        self, images: int = IMAGES, seed: int = 0, maps: MapKind | None = None
    ) -> MapDivergences | NotComputed:
        """`reference_divergence` by image, or the reason why not."""
        artifact = self.reference_divergence(images, seed, maps)
        return ALONE if artifact is None else artifact.get_or_why_not()

    def explainer(self, source: PrototypeSource) -> KMEx:
        """The self-explaining module of a source's prototypes, on the device."""
        conversion = self.conversion(source)
        return explainer(self.network, source, self.read(conversion), conversion.spec)

    def notes(self) -> list[str]:
        """Warnings about the model's results on its data, most important first, and how its maps are made."""
        return [*self.warnings(), *filter(None, [self.info.note_on_maps]), *self.data.notes]

    def warnings(self) -> list[str]:
        """Reasons why results may mislead: the model's caveat, and a data set known to have changed."""
        before = str(self.info.made_by.get("data", ""))
        warnings = [self.info.caveat] if self.info.caveat else []
        if before != self.data.fingerprint and registry.comparable(before, self.data.fingerprint):
            origin = "imported" if "imported" in self.info.made_by else "trained"
            warnings.append(
                f"The data set has changed since '{self.info.name}' was {origin}. Results and pictures are "
                "from the current files."
            )
        return warnings

    def grouped_by(self, column: str, root: str = "", skip_broken: bool = False) -> Subject:
        """The same model with another column as the class: prototypes of that column's values.

        Args:
            column: an attribute, or another column of the data set's table.
            root, skip_broken: as when the data set was opened, as in `dataset_of`.

        Raises:
            InputError: for an unknown column; see `registry.load`.
        """
        info = self.info
        skip = skip_broken or info.skip_broken
        spec = DatasetSpec(self.data.name, root or info.root, info.image_size, column, skip, info.image_column)
        data = dataset(spec)
        # its classes are not those of the network, which predicts none of them
        regrouped = dataclasses.replace(
            info, class_names=data.class_names, class_column=column, outputs=0, class_outputs=()
        )
        return _Regrouped(self.store, regrouped, data, self.device, self.progress, self.reader, original=self)


@dataclass(frozen=True, eq=False)
class _Regrouped(Subject):
    """A model with another column as the class."""

    original: Subject = field(kw_only=True)

    def embedding(self, split: str, arithmetic: Arithmetic = EXACT) -> Artifact[EmbeddingSpec, Embeddings]:
        # the rows differ if a column has missing values, or another fifth of each class is held out
        same_images = np.array_equal(self.data.split(split).identity, self.original.data.split(split).identity)
        embedded = self.original if same_images else dataclasses.replace(self.original, data=self.data)
        return RegroupedEmbedding(self, split, embedded.embedding(split, arithmetic))


def subject_of(
    store: Store,
    name: str,
    data_root: str = "",
    skip_broken: bool = False,
    device: str = "",
    progress: Progress = silent,
    reader: Reader | None = None,
) -> Subject:
    """A model of the store with the data it was trained on.

    Args:
        store: the store.
        name: the model's.
        data_root, skip_broken: see `dataset_of`.
        device, progress, reader: see `Bound`.

    Raises:
        InputError: for an unknown name; see `dataset_of`.
        StoreError: for a file that cannot be read.
    """
    info = catalogue.describe(store, name)
    data = dataset_of(info, data_root, skip_broken, progress)
    return Subject(store, info, data, device, progress, reader or Reader())


def dataset_of(info: ModelInfo, root: str = "", skip_broken: bool = False, progress: Progress = silent) -> ImageDataset:
    """The data set that a model was trained on: at `root`, else where it was then, else in the default data root.

    Args:
        info: the model.
        root: the data root; a folder there with the name of the model's is used, wherever that was.
        skip_broken: leave out pictures that cannot be decoded, even if the model does not.
        progress: called while files are read for the first time.

    Raises:
        InputError: when it is missing, or its classes are no longer the model's.
    """
    name = info.dataset
    if not root and registry.available(info.dataset, info.root):
        root = info.root
    elif root and name not in registry.DATASETS and not is_hub_name(name):
        copy = registry.data_root(root) / Path(name).name
        name = str(copy) if copy.exists() else name
    skip = skip_broken or info.skip_broken
    data = dataset(DatasetSpec(name, root, info.image_size, info.class_column, skip, info.image_column), progress)
    if data.class_names != info.class_names:
        raise InputError(
            f"Data set '{info.dataset}' has {len(data.class_names)} classes ({', '.join(data.class_names[:4])} …), "
            f"but model '{info.name}' was trained on {len(info.class_names)} ({', '.join(info.class_names[:4])} …)."
        )
    return data
