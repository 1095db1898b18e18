"""Evaluations: every metric of a model's prototypes, over several runs, from the store or measured now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kmex_core import metrics
from kmex_core.base.errors import InputError, unknown_name
from kmex_core.metrics.catalogue import METRICS
from kmex_core.metrics.types import Evaluation, MapScores, Measured, NotComputed
from kmex_core.networks.types import Embeddings
from kmex_core.prototypes.source import PrototypeSource
from kmex_core.prototypes.types import Conversion, Prototypes
from kmex_core.stages.subject import IMAGES, Subject

if TYPE_CHECKING:
    from kmex_core.models.kmex import KMEx

ONE_PER_CLASS = NotComputed("With one prototype per class there is no other of its class to compare it with.")
SINGLE = NotComputed("There is only one prototype.")


def evaluate(
    subjects: Sequence[Subject],
    source: PrototypeSource,
    seeds: Sequence[int],
    images: int = IMAGES,
    names: Sequence[str] = tuple(METRICS),
) -> Evaluation:
    """Metrics of a model's prototypes over several runs. What was measured before comes from the store.

    Args:
        subjects: the model, and others trained alike on the same data: each takes part with each seed.
        source: where the prototypes come from.
        seeds: of k-means and of the choice of images.
        images: how many test images the metrics on maps are over; all when there are fewer.
        names: of `METRICS`. The black box's own come with them.

    Raises:
        InputError: for an unknown metric or models of different kinds; see `ModelConversion`.
    """
    unknown = [name for name in names if name not in METRICS]
    if unknown:
        raise unknown_name("metric", unknown[0], METRICS)
    infos = [subject.info for subject in subjects]
    kinds = {(info.kind, info.dataset, info.class_column, info.backbone, info.image_size, info.k) for info in infos}
    if len(kinds) != 1:
        raise InputError("Runs of one evaluation need models of one data set, kind, backbone and image size.")
    runs: list[dict[str, float | NotComputed]] = []
    spreads: list[dict[str, float]] = []
    for subject in subjects:
        for seed in seeds:
            values, spread = _run(subject, source.seeded(seed), seed, images, names)
            runs.append(values)
            spreads.append(spread)
    first, wants_maps = subjects[0], any(METRICS[name].maps for name in names)
    reference = None if source.has_black_box or "faithfulness" not in names else first.reference()
    test = len(first.data.split("test"))
    return Evaluation(
        models=tuple(info.name for info in infos),
        kind=first.info.kind,
        dataset=first.info.dataset,
        backbone=first.info.backbone,
        k=source.per_class(first.info.k),
        seeds=tuple(seeds),
        images=min(images, test) if wants_maps else 0,
        test_images=test,
        method="prp" if wants_maps else "",
        metrics={name: _measured(name, runs, spreads, test) for name in runs[0]},
        built_in=not source.has_black_box,
        reference=reference.name if reference else "",
        class_column=first.info.class_column,
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


def _run(
    subject: Subject, source: PrototypeSource, seed: int, images: int, names: Sequence[str]
) -> tuple[dict[str, float | NotComputed], dict[str, float]]:
    """One run: every metric's value, and for metrics that are means over images, their standard deviation."""
    converted = subject.conversion(source).get()
    summary, prototypes = converted.summary, converted.prototypes
    values: dict[str, float | NotComputed] = {}

    def put(name: str, *measured: float | NotComputed | None, otherwise: NotComputed = ONE_PER_CLASS) -> None:
        for key, value in zip((name, METRICS[name].black_box), measured, strict=False):
            values[key] = otherwise if value is None else value

    # of the predictions
    if "accuracy" in names:
        put("accuracy", summary.accuracy_kmex, summary.accuracy_black_box)
    if "agreement" in names:
        put("agreement", summary.agreement)
    if {"calibration_error", "coverage_radius"} & set(names):
        test = subject.read(subject.embedding("test"))
        errors, radius = _confidence(subject.explainer(source), converted, test)
        if "calibration_error" in names:
            put("calibration_error", *errors)
        if "coverage_radius" in names:
            put("coverage_radius", radius)
    # of the prototypes
    if "ghosting" in names:
        put("ghosting", summary.ghosting)
    if "vendi" in names:
        put("vendi", summary.effective)
    if "diversity" in names:
        put("diversity", summary.diversity)
    if "diversity_all" in names:
        put("diversity_all", _diversity_of_all(subject, source, prototypes), otherwise=SINGLE)
    if "diversity_reference" in names:
        put("diversity_reference", summary.diversity_reference, otherwise=SINGLE)
    if "relative_distance" in names:
        distance = None
        if np.bincount(prototypes.classes).max() > 1:
            train = subject.read(subject.embedding("train"))
            distance = metrics.relative_distance(prototypes.centers, prototypes.classes, train.z, train.labels)
        put("relative_distance", distance)
    # of the relevance maps
    spreads: dict[str, float] = {}
    if any(METRICS[name].maps for name in names):
        scores = subject.relevance_scores(source, images, seed).get_or_why_not()
        for name, value, spread in _map_metrics(scores, names):
            values[name] = value
            if spread is not None:
                spreads[name] = spread
    if not source.has_black_box:
        of_black_box = {kind.black_box for kind in METRICS.values()} | {"agreement"}
        values = {name: value for name, value in values.items() if name not in of_black_box}
        if isinstance(values.get("faithfulness"), float):
            divergences = subject.divergences(images, seed)
            if isinstance(divergences, NotComputed):
                values["faithfulness"] = divergences
            else:
                values["faithfulness"], spreads["faithfulness"] = float(divergences.mean()), float(divergences.std())
    return values, spreads


def _confidence(
    module: KMEx, converted: Conversion, test: Embeddings
) -> tuple[tuple[float, float], float | NotComputed]:
    """Calibration errors of the KMEx and of the black box, and the coverage radius, over the test split."""
    import torch

    from kmex_core.prototypes.fit import ROWS

    sure, sure_black_box, nearest = [], [], []
    for at in range(0, len(test), ROWS):
        z = torch.from_numpy(test.z[at : at + ROWS]).to(module.prototypes.device)
        predicted = torch.from_numpy(converted.test_predicted[at : at + ROWS]).to(z.device)
        with torch.no_grad():
            by_class = module.probabilities(module.similarity(z))
            sure.append(by_class.gather(1, predicted[:, None])[:, 0].cpu().numpy())
            sure_black_box.append(module.head(z).softmax(1).amax(1).cpu().numpy())
            nearest.append(module.distance(z).amin(1).cpu().numpy())
    errors = (
        metrics.expected_calibration_error(np.concatenate(sure), converted.test_predicted == test.labels),
        metrics.expected_calibration_error(np.concatenate(sure_black_box), test.black_box == test.labels),
    )
    if not module.by_distance:
        return errors, NotComputed("Its similarity is a dot product, which is not made of a distance.")
    return errors, metrics.coverage_radius(np.concatenate(nearest))


def _diversity_of_all(subject: Subject, source: PrototypeSource, prototypes: Prototypes) -> float | None:
    """D_dvs over the prototypes of all classes, by the similarity that the model has."""
    import torch

    if len(prototypes) < 2:
        return None
    if source.has_black_box:
        return metrics.diversity(prototypes.centers, prototypes.classes, "all")
    with torch.no_grad():
        head: Any = subject.network.head
        among = head.similarity(head.prototypes).double().cpu().numpy()
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
