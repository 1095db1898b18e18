"""Evaluations: every metric of a KMEx, over several runs, from the store or measured now."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kmex_core import metrics
from kmex_core.base.devices import checked_device
from kmex_core.base.errors import InputError, unknown_name
from kmex_core.base.progress import Progress, silent
from kmex_core.base.provenance import versions
from kmex_core.base.results import (
    OWN,
    Conversion,
    Embeddings,
    Evaluation,
    MapScores,
    Measured,
    ModelInfo,
    NotComputed,
    Prototypes,
)
from kmex_core.base.specs import DivergenceSpec, MapScoresSpec
from kmex_core.base.store import Store
from kmex_core.data import registry as datasets
from kmex_core.metrics.catalogue import METRICS
from kmex_core.models import catalogue as models
from kmex_core.stages.pipeline import conversion_spec, convert, embeddings, kmex

if TYPE_CHECKING:
    import torch

    from kmex_core.models.kmex import KMEx

BATCH = 64
ALONE = NotComputed(
    "There is no black box in the store with the same data set, image size and normalisation, whose maps could be "
    "compared with the model's own."
)


def map_scores_spec(
    store: Store, info: ModelInfo, data: datasets.ImageDataset, k: int, seed: int, images: int
) -> MapScoresSpec:
    """What the metrics on maps of a KMEx depend on; `images` above the test split's size means all of it."""
    conversion = conversion_spec(store, info, data, k, seed)
    return MapScoresSpec(conversion.key, min(images, len(data.split("test"))), seed)


def stored_map_scores(store: Store, key: str) -> MapScores | None:
    """The metrics on maps with this spec's key, or None when they were not measured yet. Needs no torch."""
    found = store.get("evaluations", key)
    return MapScores.from_arrays(found[0], **found[1]["measured"]) if found is not None else None


def map_scores(
    store: Store,
    info: ModelInfo,
    data: datasets.ImageDataset,
    k: int,
    seed: int = 0,
    images: int = 1000,
    device: str = "",
    progress: Progress = silent,
) -> MapScores | NotComputed:
    """AD, AI, RO and D_fdl of a KMEx on test images, from the store or measured now (minutes).

    Args:
        store, info, data, k, device, progress: see `convert`.
        seed: of k-means, of the choice of images and of random orders.
        images: how many test images; all when there are fewer.

    Returns:
        The scores, or why there are no maps to score.

    Raises:
        KMExError: see `evaluation.map_scores`.
    """
    from kmex_core.metrics import on_maps as evaluation

    spec = map_scores_spec(store, info, data, k, seed, images)
    found = stored_map_scores(store, spec.key)
    if found is not None:
        return found
    converted = convert(store, info, data, k, seed, device, progress)
    black_box = models.load(store, info.name, checked_device(device))
    module = kmex(black_box, converted, conversion_spec(store, info, data, k, seed))
    if (why := evaluation.why_no_maps(module, _size(info))) is not None:
        return why

    def make() -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        made = evaluation.map_scores(
            module,
            _chosen_images(info, data, spec),
            _baseline(info),
            total=spec.images,
            seed=seed,
            steps=spec.steps,
            progress=progress,
        )
        return made.to_arrays(), {
            "spec": dataclasses.asdict(spec),
            "measured": {"conserving": made.conserving, "seconds": made.seconds},
            "model": info.name,
            "versions": versions(),
        }

    arrays, described = store.made("evaluations", spec.key, make, progress)
    return MapScores.from_arrays(arrays, **described["measured"])


def reference_of(store: Store, info: ModelInfo) -> ModelInfo | None:
    """The black box whose maps a prototypical model's own are compared with: the first in the store of the same data
    set, image size and normalisation, those that come with the product before others."""

    def same(other: ModelInfo) -> bool:
        mine, theirs = (
            (one.dataset, one.image_size, one.channels, one.mean, one.std, one.class_names) for one in (info, other)
        )
        return other.kind == "blackbox" and mine == theirs

    found = [other for other in models.list_models(store)[0] if same(other)]
    return min(found, key=lambda other: (not other.embedded, other.name), default=None)


def divergences(
    store: Store,
    info: ModelInfo,
    data: datasets.ImageDataset,
    seed: int = 0,
    images: int = 1000,
    device: str = "",
    progress: Progress = silent,
) -> np.ndarray | NotComputed:
    """(N,) D_fdl between a prototypical model on its own and `reference_of` it, from the store or measured now.

    Args:
        store, info, data, device, progress: see `convert`.
        seed, images: see `map_scores`.

    Returns:
        Nats, image by image; or why there are none.
    """
    from kmex_core.metrics import on_maps as evaluation
    from kmex_core.relevance import has_rules

    reference = reference_of(store, info)
    if reference is None:
        return ALONE
    converted = convert(store, info, data, OWN, seed, device, progress)
    own = kmex(models.load(store, info.name, checked_device(device)), converted,
               conversion_spec(store, info, data, OWN, seed))  # fmt: skip
    other = models.load(store, reference.name, checked_device(device))
    if (why := evaluation.why_no_maps(own, _size(info))) is not None:
        return why
    if not has_rules(other.encoder, _size(info)):
        return ALONE
    spec = map_scores_spec(store, info, data, OWN, seed, images)

    def make() -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        found = evaluation.map_divergences(own, other, _chosen_images(info, data, spec), progress)
        return {"divergence": found}, {"spec": dataclasses.asdict(key), "reference": reference.name,
                                       "versions": versions()}  # fmt: skip

    key = DivergenceSpec(spec.key, models.weights_key(store, reference.name))
    arrays, _ = store.made("evaluations", key.key, make, progress)
    return arrays["divergence"]


def _chosen_images(info: ModelInfo, data: datasets.ImageDataset, spec: MapScoresSpec) -> Iterator[tuple[Any, Any, Any]]:
    """Some test images, drawn by the seed, in batches: indices, normalised images, labels."""
    import torch

    from kmex_core.data.pictures import normalise, to_pixels

    test = data.split("test")
    drawn = np.random.default_rng(spec.seed).choice(len(test), spec.images, replace=False)
    drawn.sort()
    for at in range(0, len(drawn), BATCH):
        rows = drawn[at : at + BATCH]
        pixels = to_pixels(test.images(rows), info.channels, info.image_size)
        yield rows, normalise(pixels, info.mean, info.std), torch.from_numpy(test.labels[rows])


def _size(info: ModelInfo) -> tuple[int, int, int]:
    return 3, info.image_size, info.image_size


def _baseline(info: ModelInfo) -> torch.Tensor:
    """(3, S, S): what pixels become that are taken away: black for greyscale, one noise image for colour (4.1.2)."""
    import torch

    from kmex_core.data.pictures import normalise

    shape = (1, info.channels, info.image_size, info.image_size)
    noise = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    pixels = torch.from_numpy(noise if info.channels == 3 else np.zeros(shape, dtype=np.uint8))
    return normalise(pixels, info.mean, info.std)[0]


def evaluate(
    store: Store,
    infos: Sequence[ModelInfo],
    data: datasets.ImageDataset,
    k: int,
    seeds: Sequence[int],
    images: int = 1000,
    names: Sequence[str] = tuple(METRICS),
    device: str = "",
    progress: Progress = silent,
    embedded: Callable[[str], Embeddings] | None = None,
) -> Evaluation:
    """Metrics of a model's KMEx over several runs. What was measured before comes from the store.

    With `k` = `OWN` they are those of a prototypical model on its own, which has no black box beside it.

    Args:
        store, data, k, device, progress: see `convert`.
        infos: the model, and others trained alike on the same data: each takes part with each seed.
        seeds: of k-means and of the choice of images.
        images: how many test images the metrics on maps are over; all when there are fewer.
        names: of `METRICS`. The black box's own come with them.
        embedded: gives a split's embedding when the caller holds it already (of one model).

    Raises:
        InputError: for an unknown metric or models of different kinds; see `convert`.
    """
    unknown = [name for name in names if name not in METRICS]
    if unknown:
        raise unknown_name("metric", unknown[0], METRICS)
    kinds = {(info.kind, info.dataset, info.class_column, info.backbone, info.image_size, info.k) for info in infos}
    if len(kinds) != 1:
        raise InputError("Runs of one evaluation need models of one data set, kind, backbone and image size.")
    runs: list[dict[str, float | NotComputed]] = []
    spreads: list[dict[str, float]] = []
    for info in infos:
        for seed in seeds:

            def given(split: str, info: ModelInfo = info) -> Embeddings:
                return embedded(split) if embedded else embeddings(store, info, data, split, device, progress)

            values, spread = _evaluated(store, info, data, k, seed, images, names, device, progress, given)
            runs.append(values)
            spreads.append(spread)
    wants_maps = any(METRICS[name].maps for name in names)
    beside = reference_of(store, infos[0]) if k == OWN and "faithfulness" in names else None
    test = len(data.split("test"))
    return Evaluation(
        models=tuple(info.name for info in infos),
        kind=infos[0].kind,
        dataset=infos[0].dataset,
        backbone=infos[0].backbone,
        k=infos[0].k if k == OWN else k,
        seeds=tuple(seeds),
        images=min(images, test) if wants_maps else 0,
        test_images=test,
        method="prp" if wants_maps else "",
        metrics={name: _measured(name, runs, spreads, test) for name in runs[0]},
        own=k == OWN,
        reference=beside.name if beside else "",
        class_column=infos[0].class_column,
        caveat=" ".join(filter(None, (info.caveat for info in infos))),
    )


def _measured(
    name: str, runs: Sequence[dict[str, float | NotComputed]], spreads: Sequence[dict[str, float]], test: int
) -> Measured:
    values = [run[name] for run in runs]
    missing = [value for value in values if isinstance(value, NotComputed)]
    if missing:
        return Measured(name, (), reason=missing[0].reason)
    found = tuple(float(value) for value in values if not isinstance(value, NotComputed))
    over_images = [spread[name] for spread in spreads if name in spread]
    shares = name in ("accuracy", "accuracy_black_box", "agreement")
    return Measured(
        name,
        found,
        std_images=float(np.mean(over_images)) if over_images else None,
        interval=metrics.wilson_interval(float(np.mean(found)), test) if shares else None,
    )


def _evaluated(
    store: Store,
    info: ModelInfo,
    data: datasets.ImageDataset,
    k: int,
    seed: int,
    images: int,
    names: Sequence[str],
    device: str,
    progress: Progress,
    embedded: Callable[[str], Embeddings],
) -> tuple[dict[str, float | NotComputed], dict[str, float]]:
    """One run: every metric's value, and for metrics that are means over images, their standard deviation."""
    converted = convert(store, info, data, k, seed, device, progress, embedded)
    summary, prototypes = converted.summary, converted.prototypes
    alone = NotComputed("With one prototype per class there is no other of its class to compare it with.")
    single = NotComputed("There is only one prototype.")
    values: dict[str, float | NotComputed] = {}

    def put(name: str, *found: float | NotComputed | None, otherwise: NotComputed = alone) -> None:
        for one, value in zip((name, METRICS[name].black_box), found, strict=False):
            values[one] = otherwise if value is None else value

    if "accuracy" in names:
        put("accuracy", summary.accuracy_kmex, summary.accuracy_black_box)
    if "agreement" in names:
        put("agreement", summary.agreement)
    if {"calibration_error", "coverage_radius"} & set(names):
        module = kmex(models.load(store, info.name), converted, conversion_spec(store, info, data, k, seed))
        errors, radius = _confidence(module, converted, embedded("test"))
        if "calibration_error" in names:
            put("calibration_error", *errors)
        if "coverage_radius" in names:
            put("coverage_radius", radius)
    if "ghosting" in names:
        put("ghosting", summary.ghosting)
    if "vendi" in names:
        put("vendi", summary.effective)
    if "diversity" in names:
        put("diversity", summary.diversity)
    if "diversity_all" in names:
        put("diversity_all", _diversity_of_all(store, info, prototypes, k), otherwise=single)
    if "diversity_reference" in names:
        put("diversity_reference", summary.diversity_reference, otherwise=single)
    if "relative_distance" in names:
        distance = None
        if np.bincount(prototypes.classes).max() > 1:
            train = embedded("train")
            distance = metrics.relative_distance(prototypes.centers, prototypes.classes, train.z, train.labels)
        put("relative_distance", distance)
    spreads: dict[str, float] = {}
    if any(METRICS[name].maps for name in names):
        scores = map_scores(store, info, data, k, seed, images, device, progress)
        for name, value, spread in _map_metrics(scores, names):
            values[name] = value
            if spread is not None:
                spreads[name] = spread
    if k == OWN:
        beside = {kind.black_box for kind in METRICS.values()} | {"agreement"}
        values = {name: value for name, value in values.items() if name not in beside}
        if isinstance(values.get("faithfulness"), float):
            found = divergences(store, info, data, seed, images, device, progress)
            values["faithfulness"] = found if isinstance(found, NotComputed) else float(found.mean())
            spreads |= {} if isinstance(found, NotComputed) else {"faithfulness": float(found.std())}
    return values, spreads


def _confidence(
    module: KMEx, converted: Conversion, test: Embeddings
) -> tuple[tuple[float, float], float | NotComputed]:
    """Calibration errors of the KMEx and of the black box, and the coverage radius, over the test split."""
    import torch

    from kmex_core.prototypes.fit import ROWS

    sure, sure_black_box, nearest = [], [], []
    for at in range(0, len(test), ROWS):
        z = torch.from_numpy(test.z[at : at + ROWS])
        predicted = torch.from_numpy(converted.test_predicted[at : at + ROWS])
        with torch.no_grad():
            by_class = module.probabilities(module.similarity(z))
            sure.append(by_class.gather(1, predicted[:, None])[:, 0].numpy())
            sure_black_box.append(module.head(z).softmax(1).amax(1).numpy())
            nearest.append(module.distance(z).amin(1).numpy())
    errors = (
        metrics.expected_calibration_error(np.concatenate(sure), converted.test_predicted == test.labels),
        metrics.expected_calibration_error(np.concatenate(sure_black_box), test.black_box == test.labels),
    )
    if not module.by_distance:
        return errors, NotComputed("Its similarity is a dot product, which is not made of a distance.")
    return errors, metrics.coverage_radius(np.concatenate(nearest))


def _diversity_of_all(store: Store, info: ModelInfo, prototypes: Prototypes, k: int) -> float | None:
    """D_dvs over the prototypes of all classes, by the similarity that the model has."""
    import torch

    if len(prototypes) < 2:
        return None
    if k != OWN:
        return metrics.diversity(prototypes.centers, prototypes.classes, "all")
    with torch.no_grad():
        head: Any = models.load(store, info.name).head
        among = head.similarity(head.prototypes).double().numpy()
    return metrics.similarity_diversity(among, prototypes.classes, "all")


def _map_metrics(
    scores: MapScores | NotComputed, names: Sequence[str]
) -> Iterator[tuple[str, float | NotComputed, float | None]]:
    """Name, mean and standard deviation over images of each metric on maps that is asked for, and the black box's."""
    from kmex_core.metrics.robustness import curve_area

    for name in (name for name in names if METRICS[name].maps):
        for one in filter(None, (name, METRICS[name].black_box)):
            if isinstance(scores, NotComputed):
                yield one, scores, None
                continue
            per_image = {
                "faithfulness": lambda s: s.divergence,
                "average_drop": lambda s: s.drop,
                "average_increase": lambda s: s.increase,
                "relevance_ordering": lambda s: curve_area(s.curve),
                "relevance_ordering_random": lambda s: curve_area(s.curve_random),
                "average_drop_black_box": lambda s: s.drop_black_box,
                "average_increase_black_box": lambda s: s.increase_black_box,
                "relevance_ordering_black_box": lambda s: curve_area(s.curve_black_box),
                "relevance_ordering_random_black_box": lambda s: curve_area(s.curve_black_box_random),
            }[one](scores)
            kept = per_image[~np.isnan(per_image)]
            if len(kept) == 0:
                yield one, NotComputed("No similarity is above 0, so that a share of it means nothing."), None
            else:
                yield one, float(kept.mean()), float(kept.std())
