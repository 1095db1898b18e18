"""Models side by side."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kmex_core.base.errors import InputError
from kmex_core.base.specs import stable_key
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
    Runs,
    Seed,
    SkipBroken,
    Target,
    answer_with,
    app,
    evaluate_sources,
    open_subjects,
)
from kmex_core.commands.requests import JobRequest, job_of
from kmex_core.prototypes.metric import AUTO
from kmex_core.prototypes.source import KMeans, PrototypeSource, Version, sources_of
from kmex_core.relevance.catalogue import PUBLISHED, MapKind

if TYPE_CHECKING:
    from kmex_core.stages.subject import Subject


@app.command()
def compare(
    models: Annotated[list[str], typer.Option("--models", metavar="NAME [NAME …]", help="Models in the store.")],
    more: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,
    format: Annotated[str, typer.Option(help="Output format: text, csv or latex.")] = "text",
    metrics: MetricNames = "",
    published: Annotated[bool, typer.Option(help="Include the paper's figures for the same data sets.")] = True,
    k: K = 5,
    metric: Metric = AUTO,
    images: Images = 1000,
    target: Target = PUBLISHED.target,
    method: Method = PUBLISHED.method,
    runs: Runs = 1,
    versions: Annotated[bool, typer.Option("--versions", help="Include the saved versions of each model.")] = False,
    seed: Seed = 0,
    data_root: DataRoot = "",
    skip_broken: SkipBroken = False,
    device: Device = "",
    as_json: Json = False,
) -> None:
    """Print models, their KMEx and the paper's figures side by side. Missing measurements are made first.

    The paper's figures are beside the metrics that are computed as they were: "as published" where there are two forms.
    Accuracies are compared with the first model's on the same test images.

    Example: python -m kmex_core compare --models digits faces --images 200 --format latex
    """

    def work(bar: Bar) -> dict[str, Any]:
        from kmex_core.analysis import comparison
        from kmex_core.base.store import Store
        from kmex_core.stages.versions import usable_versions

        if format not in comparison.FORMATS:
            raise InputError(f"Unknown format '{format}'; expected {', '.join(comparison.FORMATS)}.")
        names = list(dict.fromkeys([*models, *(more or [])]))
        store, seeds = Store(), range(seed, seed + runs)
        evaluations, notes = [], dict[str, None]()
        for name in names:
            subjects = open_subjects(store, [name], data_root, skip_broken, device, bar)
            sources = sources_of(subjects[0].info.kind, k, metric)
            if versions:
                sources += usable_versions(subjects[0])
            of_model, accompanying = evaluate_sources(
                subjects, metrics, sources, seeds, images, MapKind(target, method)
            )
            evaluations += of_model
            notes |= dict.fromkeys(f"{name}: {note}" for note in accompanying["notes"])
        table = comparison.rows(evaluations, published)
        write = {"text": comparison.as_text, "csv": comparison.as_csv, "latex": comparison.as_latex}
        if as_json:
            found = [dataclasses.asdict(difference) for difference in comparison.differences(evaluations)]
            return {"rows": comparison.as_values(table), "differences": found, "notes": list(notes)}
        if format != "text":
            return {"text": write[format](table)}
        lines = [write[format](table), *(f"{found.text}." for found in comparison.differences(evaluations))]
        return {"text": "\n".join(lines), "notes": list(notes)}

    answer_with(as_json, work, lambda answer: print(answer["text"].rstrip("\n")))


def comparison_job(
    compared: Sequence[tuple[Subject, PrototypeSource]], kmeans: KMeans, images: int, runs: int
) -> JobRequest:
    """Measure every metric of several models, by each of their prototype sources.

    Args:
        compared: what lacks measurements.
        kmeans: what KMEx is compared by.
        images, runs: as in `compare`.
    """
    scores = (subject.relevance_scores(source.seeded(0), images, maps=PUBLISHED) for subject, source in compared)
    keys = sorted(each.key for each in scores)
    return job_of(
        f"compare-{stable_key([keys, runs])}",
        compare,
        models=list(dict.fromkeys(subject.info.name for subject, _ in compared)),
        published=False,
        k=kmeans.k,
        metric=kmeans.metric,
        images=images,
        runs=runs,
        versions=any(isinstance(source, Version) for _, source in compared),
    )
