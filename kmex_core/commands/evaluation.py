"""Every metric of a model and its KMEx."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from kmex_core.commands._shared import (
    Bar,
    DataRoot,
    Device,
    Images,
    Json,
    K,
    Method,
    Metric,
    MetricNames,
    Own,
    Runs,
    Seed,
    SkipBroken,
    answer_with,
    app,
    evaluate_sources,
    open_subjects,
)
from kmex_core.commands.requests import JobRequest, job_of
from kmex_core.prototypes.metric import AUTO
from kmex_core.prototypes.source import BuiltIn, KMeans, PrototypeSource, sources_of
from kmex_core.relevance.catalogue import DEFAULT

if TYPE_CHECKING:
    from kmex_core.stages.subject import Subject


@app.command()
def evaluate(
    model: Annotated[
        list[str],
        typer.Option(
            "--model",
            metavar="NAME",
            help="A model in the store (see `models`). Repeat for models that were trained alike.",
        ),
    ],
    metrics: MetricNames = "",
    k: K = 5,
    metric: Metric = AUTO,
    own: Own = False,
    images: Images = 1000,
    method: Method = DEFAULT,
    runs: Runs = 1,
    seed: Seed = 0,
    data_root: DataRoot = "",
    skip_broken: SkipBroken = False,
    device: Device = "",
    as_json: Json = False,
) -> None:
    """Measure a model and its KMEx: predictions, ghosts, diversity, and the faithfulness of relevance maps.

    Every metric on relevance maps is beside its chance levels (a uniform map, another image's map, the runner-up
    class's map, a random order of pixels). Three standard deviations are told apart: over images (of the mean over an
    image's prototypes), over k-means seeds (--runs), and over trainings (several --model).

    Metrics on relevance maps take minutes per run; earlier measurements are read from the store. To skip them, choose
    others: `--metrics accuracy,ghosting`.

    Example: python -m kmex_core evaluate --model digits --images 200 --runs 2
    """

    def work(bar: Bar) -> dict[str, Any]:
        from kmex_core.analysis import comparison
        from kmex_core.base.store import Store
        from kmex_core.models import catalogue

        store = Store()
        of = [BuiltIn()] if own else sources_of(catalogue.describe(store, model[0]).kind, k, metric)
        subjects = open_subjects(store, model, data_root, skip_broken, device, bar)
        evaluations, notes = evaluate_sources(subjects, metrics, of, range(seed, seed + runs), images, method)
        text = comparison.as_text(comparison.rows(evaluations))
        sentences = comparison.chance_sentences(evaluations[-1])
        return comparison.evaluation_values(evaluations[-1]) | {"text": text, "finding": sentences} | notes

    def show(answer: dict[str, Any]) -> None:
        maps = f", relevance maps ({answer['method']}) on {answer['images']:,} images" if answer["images"] else ""
        print(
            f"{len(answer['models']) * len(answer['seeds'])} run(s) with {answer['k']} prototypes per class, "
            f"predictions on {answer['test_images']:,} test images{maps}. "
            "↑ higher is better, ↓ lower is better; the others are chance levels. ± is the standard deviation over "
            "what the parentheses name.\n"
        )
        print(answer["text"])
        if answer["finding"]:
            print("\nAgainst chance (95 %, paired over the images):")
            print("\n".join(answer["finding"]))

    answer_with(as_json, work, show)


def relevance_maps_job(
    subject: Subject, source: PrototypeSource, images: int, runs: int, method: str = DEFAULT
) -> JobRequest:
    """Measure the metrics on relevance maps of one model."""
    from kmex_core.metrics.catalogue import MAP_METRICS

    spec = subject.relevance_scores(source.seeded(0), images, method=method).spec
    return job_of(
        f"relevance-maps-{spec.key}-{runs}",
        evaluate,
        model=[subject.info.name],
        metrics=",".join(MAP_METRICS),
        **({"k": source.k, "metric": source.metric} if isinstance(source, KMeans) else {"own": True}),
        images=spec.images,  # there may be fewer test images
        method=method,
        runs=runs,
    )
