"""The tables that pages offer, by name: each from what the store has, or computed now."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from kmex_core.base import jobs
from kmex_core.base.errors import InputError
from kmex_core.base.plain_text import table_csv
from kmex_core.base.progress import Progress, silent
from kmex_core.base.registry import Registry
from kmex_core.base.store import Store
from kmex_core.metrics.catalogue import METRICS
from kmex_core.metrics.types import Evaluation, MapScores, NotComputed
from kmex_core.models import catalogue
from kmex_core.models.info import ModelInfo, in_display_order
from kmex_core.prototypes.metric import AUTO
from kmex_core.prototypes.source import BuiltIn, KMeans, PrototypeSource, sources_of
from kmex_core.prototypes.sweep import sweep_reach
from kmex_core.prototypes.types import Conversion
from kmex_core.relevance.catalogue import DEFAULT_TARGET, MapKind
from kmex_core.stages.curves import attribute_curves, built_in_attribute_curves, stored_attribute_curves
from kmex_core.stages.evaluation import evaluate
from kmex_core.stages.map_checks import IMAGES as CHECKED_IMAGES
from kmex_core.stages.subject import IMAGES, Subject, subject_of
from kmex_core.stages.training_runs import unfinished
from kmex_core.stages.versions import source_of, usable_versions

if TYPE_CHECKING:
    import pandas as pd

    from kmex_core.analysis.comparison import Row
    from kmex_core.analysis.coverage import Coverage, Curves

PER_CLASS, RANGE = 5, range(1, 21)  # default prototypes per class
# the attributes of `TableRequest` that a table depends on
ONE = frozenset({"models"})
PROTOTYPES = ONE | {"built_in", "ks", "seed", "metric", "version"}
CHECKED = PROTOTYPES | {"images"}
MEASURED = PROTOTYPES | {"images", "target", "method"}
SEVERAL = frozenset({"models", "ks", "metric", "images", "runs", "published"})


@dataclass(frozen=True, eq=False)
class TableRequest:
    """The models and options of a table.

    Attributes:
        store: the store.
        models: their names.
        ks: prototypes per class, ascending; empty for the default.
        built_in: whether built-in prototypes are meant instead of KMEx's.
        seed: of k-means and of the choice of images.
        metric: of the embedding, see `metric.OPTIONS`.
        runs: number of runs; 0 for the default.
        images: number of test images for the metrics on relevance maps; 0 omits these.
        target: what the relevance maps explain, a name in `TARGETS`.
        method: how they are made, a name in `METHODS`; "" for the model's default.
        image: a file to explain.
        published: whether the paper's figures are included.
        data_root, skip_broken, device, progress: see `subject_of`.
        version: the name of a saved one; "" for none.
    """

    store: Store
    models: tuple[str, ...] = ()
    ks: tuple[int, ...] = ()
    built_in: bool = False
    seed: int = 0
    metric: str = AUTO
    runs: int = 0
    images: int = IMAGES
    target: str = DEFAULT_TARGET
    method: str = ""
    image: Path | None = None
    published: bool = True
    data_root: str = ""
    skip_broken: bool = False
    device: str = ""
    progress: Progress = silent
    version: str = ""

    def of(self, name: str) -> Subject:
        """A model with its data."""
        return subject_of(self.store, name, self.data_root, self.skip_broken, self.device, self.progress)

    @cached_property
    def subject(self) -> Subject:
        """The only model."""
        return self.of(self.name)

    @property
    def name(self) -> str:
        """The name of the only model."""
        if len(self.models) != 1:
            raise InputError(f"Expected one model for this table, got {len(self.models)}.")
        return self.models[0]

    @property
    def per_class(self) -> int:
        """The only number of prototypes per class."""
        if len(self.ks) > 1:
            raise InputError("Expected one number of prototypes per class for this table, got a range.")
        return self.ks[0] if self.ks else PER_CLASS

    @cached_property
    def source(self) -> PrototypeSource:
        if self.version:
            return source_of(self.subject, PER_CLASS, self.seed, self.metric, self.built_in, self.version)
        return BuiltIn() if self.built_in else KMeans(self.per_class, self.seed, self.metric)

    @cached_property
    def conversion(self) -> Conversion:
        return self.subject.read(self.subject.conversion(self.source))

    @cached_property
    def coverage(self) -> Coverage:
        from kmex_core.analysis.coverage import checked, coverage

        train = checked(self.subject.data.split("train"), self.subject.data.name)
        return coverage(train, self.conversion.prototypes)

    @property
    def scores(self) -> MapScores:
        maps = self.maps_of(self.subject)
        scores = self.subject.relevance_scores(self.source, self.images, self.seed, maps).get_or_why_not()
        if isinstance(scores, NotComputed):
            raise InputError(scores.reason)
        return scores

    def maps_of(self, subject: Subject) -> MapKind:
        """The kind of a model's relevance maps."""
        return MapKind(self.target, self.method or subject.info.default_maps.method)

    def evaluation(self, subject: Subject, source: PrototypeSource, seeds: range) -> Evaluation:
        names = [name for name, metric in METRICS.items() if self.images or not metric.maps]
        return evaluate([subject], source, seeds, self.images, names, self.maps_of(subject))

    def compared(self) -> list[Row]:
        """Every model by each of its prototype sources, saved versions included."""
        from kmex_core.analysis import comparison

        evaluations = [
            self.evaluation(subject, source, range(self.runs or 1))
            for subject in map(self.of, self.models)
            for source in [*sources_of(subject.info.kind, self.per_class, self.metric), *usable_versions(subject)]
        ]
        return comparison.rows(evaluations, self.published)


@dataclass(frozen=True)
class Table:
    """A table that a page offers.

    Attributes:
        about: what its rows are.
        options: the attributes of `TableRequest` that it depends on.
        make: makes it, as a table or as CSV.
    """

    about: str
    options: frozenset[str]
    make: Callable[[TableRequest], pd.DataFrame | str]


TABLES: Registry[Table] = Registry("table")
_MakerT = TypeVar("_MakerT", bound=Callable[[TableRequest], "pd.DataFrame | str"])


def _table(name: str, about: str, options: frozenset[str] = frozenset()) -> Callable[[_MakerT], _MakerT]:
    def register(make: _MakerT) -> _MakerT:
        TABLES.register(name, Table(about, options, make))
        return make

    return register


# ---- models ---------------------------------------------------------------------------------------------------------


@_table("models", "the models in the store")
def _models(asked: TableRequest) -> pd.DataFrame:
    from kmex_core.analysis.tables.models import model_table

    return model_table(asked.store, in_display_order(catalogue.list_models(asked.store)[0]))


@_table("training", "loss and accuracy by epoch, of a model or of a training that is not finished", ONE)
def _training(asked: TableRequest) -> pd.DataFrame:
    from kmex_core.analysis.tables.models import history_table

    history = unfinished(asked.store, asked.name)
    if history is None:
        return history_table(catalogue.describe(asked.store, asked.name).made_by.get("history", ()))
    job = jobs.look(asked.store, f"{jobs.TRAINING}-{asked.name}")
    now = (job.part, job.values.get("loss")) if job is not None and job.state == "running" else (0, None)
    return history_table(history, *now)


# ---- prototypes -----------------------------------------------------------------------------------------------------


@_table("prototypes", "prototypes with importance, exemplar and nearest image of any class", PROTOTYPES)
def _prototypes(asked: TableRequest) -> pd.DataFrame:
    from kmex_core.analysis.tables.prototypes import prototype_table

    return prototype_table(asked.conversion.prototypes, asked.subject.info.class_names)


@_table("prototype-shares", "prototypes by class and share of the class's training images", PROTOTYPES)
def _shares(asked: TableRequest) -> pd.DataFrame:
    from kmex_core.analysis.tables.evaluation import shares_table

    return shares_table(asked.conversion.prototypes, asked.subject.info.class_names)


@_table("sweep", "quality by number of prototypes per class", frozenset({"models", "ks", "seed", "metric", "runs"}))
def _sweep(asked: TableRequest) -> pd.DataFrame:
    from kmex_core.analysis.tables.prototypes import sweep_table

    ks, seeds = asked.ks or RANGE, range(asked.seed, asked.seed + (asked.runs or 1))
    sweeps = {seed: asked.subject.sweep(KMeans(1, seed, asked.metric), sweep_reach(ks)).get() for seed in seeds}
    return sweep_table(sweeps, ks)


@_table("suggestion", "classes by number of prototypes, with what speaks for it", frozenset({"models", "metric"}))
def _suggestion(asked: TableRequest) -> pd.DataFrame:
    from kmex_core.analysis.tables.prototypes import suggestion_table

    return suggestion_table(asked.subject.suggestion(asked.metric).get(), asked.subject.info.class_names)


@_table("stability", "classes with how far prototypes move over seeds", ONE | {"ks", "runs", "metric"})
def _stability(asked: TableRequest) -> pd.DataFrame:
    from kmex_core.analysis.tables.prototypes import stability_table
    from kmex_core.metrics.stability import LEAST
    from kmex_core.stages.stability import stability

    runs = asked.runs or LEAST
    if runs < LEAST:
        raise InputError(f"Stability needs at least {LEAST} runs, got {runs}.")
    return stability_table(
        stability(asked.subject, KMeans(asked.per_class, metric=asked.metric), range(runs)),
        asked.subject.info.class_names,
    )


@_table("predictions", "classes with what both models predict for --image", PROTOTYPES | {"image"})
def _predictions(asked: TableRequest) -> pd.DataFrame:
    from kmex_core.analysis.tables.prototypes import prediction_table
    from kmex_core.data.pictures import read_picture
    from kmex_core.models.catalogue import network_input

    if asked.image is None:
        raise InputError("The table 'predictions' needs an image: pass --image FILE.")
    pixels = read_picture(asked.image).pixels
    explained = asked.subject.explainer(asked.source).explain(network_input(asked.subject.info, pixels))
    return prediction_table(
        asked.subject.info.class_names,
        explained.black_box,
        explained.kmex,
        explained.similarity,
        asked.conversion.prototypes.classes,
    )


# ---- the embedding map ----------------------------------------------------------------------------------------------


@_table("embedding-map", "training images, then test images, with their place on the embedding map", PROTOTYPES)
def _embedding_map(asked: TableRequest) -> pd.DataFrame:
    import numpy as np

    from kmex_core.analysis.tables.embedding_map import projection_table

    projection = asked.subject.embedding_map().get()
    predicted = np.concatenate([asked.conversion.train_predicted, asked.conversion.test_predicted])
    return projection_table(projection, asked.subject.info.class_names, np.arange(len(predicted)), predicted)


@_table("embedding-map-prototypes", "prototypes with their place on the embedding map", PROTOTYPES)
def _prototype_places(asked: TableRequest) -> pd.DataFrame:
    from kmex_core.analysis.projection import place
    from kmex_core.analysis.tables.embedding_map import prototype_places

    prototypes = asked.conversion.prototypes
    places = place(asked.subject.embedding_map().get(), asked.conversion.embedded)
    return prototype_places(prototypes, places, asked.subject.info.class_names)


# ---- evaluation -----------------------------------------------------------------------------------------------------


@_table("metrics", "metrics of a model and its KMEx", MEASURED)
def _metrics(asked: TableRequest) -> str:
    from kmex_core.analysis import comparison

    evaluation = asked.evaluation(asked.subject, asked.source, range(asked.seed, asked.seed + 1))
    return comparison.as_csv(comparison.rows([evaluation], False))


@_table("comparison", "metrics of several models, beside the paper's figures", SEVERAL)
def _comparison(asked: TableRequest) -> str:
    from kmex_core.analysis import comparison

    return comparison.as_csv(asked.compared())


@_table("radar", "models on the axes of the radar chart (0 worst, 1 best)", SEVERAL)
def _radar(asked: TableRequest) -> pd.DataFrame:
    from kmex_core.analysis.tables.evaluation import radar_table, radar_values

    return radar_table(radar_values(asked.compared()))


@_table("changes", "images with their class and prototype by two models", ONE | {"ks", "built_in", "metric"})
def _changes(asked: TableRequest) -> pd.DataFrame:
    import numpy as np

    from kmex_core.analysis.tables.changes import changes_table

    if len(asked.models) != 2:
        raise InputError(f"Expected two models for this table, got {len(asked.models)}.")
    first, second = map(asked.of, asked.models)
    one, other = (subject.read(subject.conversion(asked.source)) for subject in (first, second))
    labels = [[subject.data.split(split).labels for split in ("train", "test")] for subject in (first, second)]
    if not all(np.array_equal(*pair) for pair in zip(*labels, strict=True)):
        raise InputError(f"'{first.info.name}' and '{second.info.name}' are not models of the same images.")
    return changes_table(one, other, labels[0][0], labels[0][1], first.info.class_names)


def _confusion(asked: TableRequest, black_box: bool) -> str:
    from kmex_core import metrics
    from kmex_core.analysis.tables.evaluation import confusion_table

    predicted = asked.conversion.test_black_box if black_box else asked.conversion.test_predicted
    labels, names = asked.subject.data.split("test").labels, asked.subject.info.class_names
    return table_csv(confusion_table(metrics.confusion(predicted, labels, len(names)), names), index=True)


@_table("confusion", "confusion matrix: true class by predicted class", PROTOTYPES)
def _confusion_predicted(asked: TableRequest) -> str:
    return _confusion(asked, black_box=False)


@_table("confusion-black-box", "confusion matrix of the black box", ONE)
def _confusion_black_box(asked: TableRequest) -> str:
    if not asked.subject.info.predicts:
        raise InputError(
            f"{asked.subject.info.role} There is no confusion matrix of its own; the table 'confusion' has KMEx's."
        )
    return _confusion(asked, black_box=True)


@_table("relevance-ordering", "probability by share of the pixels, most relevant first", MEASURED)
def _ordering(asked: TableRequest) -> pd.DataFrame:
    from kmex_core.analysis.tables.evaluation import ordering_table

    return ordering_table(asked.scores)


@_table("relevance-scores", "test images with the metrics on their relevance maps", MEASURED)
def _scores(asked: TableRequest) -> pd.DataFrame:
    from kmex_core.analysis.tables.evaluation import scores_table

    labels = asked.subject.data.split("test").labels[asked.scores.images]
    return scores_table(asked.scores, labels, asked.subject.info.class_names)


@_table("map-checks", "kinds of relevance maps with their sanity checks, on at most 200 test images", CHECKED)
def _map_checks(asked: TableRequest) -> pd.DataFrame:
    from kmex_core.analysis import map_checks

    images = min(asked.images, CHECKED_IMAGES)
    return map_checks.table(asked.subject.read(asked.subject.map_checks(asked.source, images)))


# ---- attributes -----------------------------------------------------------------------------------------------------


def _curves(asked: TableRequest, subject: Subject, compute: bool = False) -> Curves | None:
    """The curves of a model's KMEx: all of them, or what the store has; None for none."""
    seeds = range(asked.runs or 3)
    return (attribute_curves if compute else stored_attribute_curves)(subject, asked.ks or RANGE, seeds, asked.metric)


@_table("attributes", "attributes with their coverage by the prototypes", PROTOTYPES)
def _attributes(asked: TableRequest) -> pd.DataFrame:
    from kmex_core.analysis.tables.attributes import attribute_overview

    curves = None if asked.built_in else _curves(dataclasses.replace(asked, ks=()), asked.subject)
    return attribute_overview(asked.coverage, curves)


@_table("attribute-accuracy", "groups of test images with their accuracy, the worst first", PROTOTYPES)
def _accuracy(asked: TableRequest) -> pd.DataFrame:
    from kmex_core.analysis.tables.attributes import accuracy_table

    return accuracy_table(asked.subject.data.split("test"), asked.conversion, not asked.source.built_in)


@_table("attribute-coverage", "prototypes with the attributes of their exemplars", PROTOTYPES)
def _coverage(asked: TableRequest) -> pd.DataFrame:
    from kmex_core.analysis.tables.attributes import coverage_table

    classes = [asked.subject.info.class_names[label] for label in asked.conversion.prototypes.classes]
    return coverage_table(asked.coverage, classes)


@_table("attribute-correlations", "pairs of attributes with their correlation", PROTOTYPES)
def _correlations(asked: TableRequest) -> pd.DataFrame:
    from kmex_core.analysis.tables.attributes import correlation_table

    return correlation_table(asked.coverage)


@_table("attribute-subgroups", "combinations of two attributes, the least represented first", PROTOTYPES)
def _subgroups(asked: TableRequest) -> pd.DataFrame:
    from kmex_core.analysis.tables.attributes import subgroup_table

    return subgroup_table(asked.coverage)


@_table("attribute-curves", "coverage by number of prototypes per class", frozenset({"models", "ks", "runs", "metric"}))
def _attribute_curves(asked: TableRequest) -> pd.DataFrame:
    from kmex_core.analysis.tables.attributes import comparable, curve_lines, curves_table, trainings

    chosen = asked.subject

    def subject(info: ModelInfo) -> Subject:
        return chosen if info.name == chosen.info.name else asked.of(info.name)

    def of_kmex(info: ModelInfo) -> Curves | None:
        return _curves(asked, subject(info), compute=info.name == chosen.info.name)

    infos = comparable(chosen.info, in_display_order(catalogue.list_models(asked.store)[0]))
    stored = [
        info for info in infos if info.kind != "blackbox" and subject(info).conversion(BuiltIn()).summary() is not None
    ]
    groups = trainings(stored, chosen.info.name)
    return curves_table(
        curve_lines(infos, of_kmex, groups, lambda group: built_in_attribute_curves([subject(info) for info in group]))
    )
