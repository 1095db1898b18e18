"""The sanity suite of relevance maps."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kmex_core.base.errors import InputError
from kmex_core.commands._shared import (
    Bar,
    DataRoot,
    Device,
    Json,
    K,
    Metric,
    ModelName,
    Own,
    SavedVersion,
    Seed,
    SkipBroken,
    about,
    answer_with,
    app,
    open_subject,
    prototype_note,
    source_of,
    source_options,
)
from kmex_core.commands.requests import JobRequest, job_of
from kmex_core.prototypes.metric import AUTO
from kmex_core.prototypes.source import PrototypeSource, numbered
from kmex_core.relevance.catalogue import DEFAULT_TARGET, METHODS, MapKind

if TYPE_CHECKING:
    from kmex_core.stages.subject import Subject


@app.command()
def check(
    model: ModelName,
    k: K = 5,
    metric: Metric = AUTO,
    own: Own = False,
    version: SavedVersion = "",
    methods: Annotated[
        str,
        typer.Option(
            metavar="NAME,…",
            help=f"Kinds of maps: methods ({', '.join(METHODS)}) of the margin, or others as TARGET:METHOD. Default: "
            "every method of the margin, the published map, and the network's default method of every other target, "
            "without those that cannot explain the network.",
        ),
    ] = "",
    images: Annotated[int, typer.Option(min=2, help="Number of test images.")] = 200,
    seed: Seed = 0,
    data_root: DataRoot = "",
    skip_broken: SkipBroken = False,
    device: Device = "",
    as_json: Json = False,
) -> None:
    """Check what relevance maps are worth: do their pixels carry the decision, and are they about the prototype?

    Every kind of map of the nearest prototype is put beside a random order of pixels, brightness, another image's map
    and a start that knows nothing. Measured are deletion and insertion of pixels (replaced by black, the mean and a
    blur), specificity between two rivals, the change under 1% noise, and under random weights. The costs are shown
    first; earlier checks are read from the store.

    Example: python -m kmex_core check --model digits --images 50
    """

    def work(bar: Bar) -> dict[str, Any]:
        from kmex_core.analysis import map_checks

        subject = open_subject(model, data_root, skip_broken, device, bar)
        source = source_of(subject, k, seed, metric, own, version)
        suite = subject.map_checks(source, images, _kinds(methods) if methods else ())
        if not suite.exists():
            print(costs(suite.spec.images, suite.spec.few, len(suite.spec.kinds)), file=sys.stderr)
        checks = subject.read(suite)
        judged = map_checks.verdicts(checks)
        table = map_checks.table(checks)
        without = map_checks.NO_RANDOM_WEIGHTS if not len(checks.random_layers) else ""
        rows = [
            {name: None if isinstance(value, float) and value != value else value for name, value in row.items()}
            for row in table.to_dict("records")
        ]
        return {
            "model": model,
            "k": numbered(source.per_class(subject.info.k)),
            "own": own,
            "version": version,
            "seed": seed,
            "metric": metric,
            "images": checks.kept.shape[1],
            "disturbed": checks.sensitivity.shape[1],
            "seconds": checks.seconds,
            "random_layers": checks.random_layers.tolist(),
            "rows": rows,
            "best": [{"row": name, "mean_rank": rank} for name, rank in map_checks.best([checks])],
            "verdicts": [verdict.text for verdict in judged],
        } | about(subject, prototype_note(subject, source), without)

    def show(answer: dict[str, Any]) -> None:
        print(
            f"'{answer['model']}', {answer['images']:,} test images ({answer['disturbed']:,} for noise and random "
            f"weights), {answer['seconds']:.0f} s. Class kept after deletion ↓, class had after insertion ↑ (black, "
            "mean, blurred); specific: share of images ↑ (chance 50%)."
        )
        width = max(len(row["row"]) for row in answer["rows"])
        print(
            f"{'':{width}}  {'kept ↓':>15}  {'insertion ↑':>15}  specific ↑  cosine ↓  noise ↓  random weights ↓  "
            "s/image"
        )
        for row in answer["rows"]:
            kept, inserted = (
                " ".join(f"{row[f'{side}_{name}']:.2f}" for name in ("black", "mean", "blurred"))
                for side in ("kept", "inserted")
            )
            print(
                f"{row['row']:{width}}  {kept:>15}  {inserted:>15}  {_percent(row['specific']):>10}  "
                f"{_number(row['cosine']):>8}  {_number(row['sensitivity']):>7}  {_number(row['randomised']):>16}  "
                f"{row['seconds_per_image']:7.3f}"
            )
        print("\nBetter: by more than 1.96 standard errors of the paired differences, image by image.")
        print("\n".join(answer["verdicts"]))
        first = answer["best"][0]
        print(f"Best mean rank: {first['row']} ({first['mean_rank']:.1f}).")

    answer_with(as_json, work, show)


def _kinds(methods: str) -> list[MapKind]:
    """Kinds of maps as a person lists them.

    Raises:
        InputError: for an unknown target or method, or none.
    """
    names = [name.strip() for name in methods.split(",") if name.strip()]
    if not names:
        raise InputError(f"Name at least one method: {', '.join(METHODS)}.")
    parts = [name.rpartition(":") for name in names]
    return [MapKind(target or DEFAULT_TARGET, method).checked() for target, _, method in parts]


def costs(images: int, few: int, kinds: int) -> str:
    """What checking kinds of maps on images, and on a few with noise and random weights, will take, as a sentence."""
    return (
        f"Checking {kinds} kinds of maps on {images:,} images, and on {few:,} with noise and random weights: minutes "
        "for small networks on two cores."
    )


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def map_checks_job(subject: Subject, source: PrototypeSource, images: int) -> JobRequest:
    """Check the relevance maps of a model."""
    spec = subject.map_checks(source, images).spec
    return job_of(
        f"map-checks-{spec.key}",
        check,
        model=subject.info.name,
        **source_options(source, seeded=True),
        images=spec.images,
    )
