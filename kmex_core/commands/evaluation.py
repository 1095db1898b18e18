"""Every metric of a model and its KMEx."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kmex_core.base.errors import InputError
from kmex_core.commands._engine import (
    Address,
    EngineName,
    Folder,
    HeldOut,
    check_one,
    on_engine,
)
from kmex_core.commands._folder import folder_figures, show_folder
from kmex_core.commands._shared import (
    Bar,
    DataRoot,
    Device,
    Images,
    Json,
    K,
    MethodOrDefault,
    Metric,
    MetricNames,
    Own,
    Runs,
    SavedVersion,
    Seed,
    SkipBroken,
    Target,
    answer_with,
    app,
    evaluate_sources,
    open_subjects,
    source_of,
    source_options,
)
from kmex_core.commands.requests import JobRequest, job_of
from kmex_core.metrics.stability import LEAST
from kmex_core.prototypes.metric import AUTO
from kmex_core.prototypes.source import KMeans, PrototypeSource, sources_of
from kmex_core.relevance.catalogue import DEFAULT_TARGET, MapKind

if TYPE_CHECKING:
    from kmex_core.stages.subject import Subject

NO_STABILITY = (
    "How stable prototypes are across seeds is left out: it compares what each image is predicted as, which does not "
    "fit into memory here."
)


@app.command()
def evaluate(
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            metavar="NAME",
            help="A model in the store (see `models`). Repeat for models that were trained alike.",
        ),
    ] = None,
    metrics: MetricNames = "",
    k: K = 5,
    metric: Metric = AUTO,
    own: Own = False,
    version: SavedVersion = "",
    images: Images = 1000,
    target: Target = DEFAULT_TARGET,
    method: MethodOrDefault = "",
    runs: Runs = 1,
    seed: Seed = 0,
    engine: EngineName = "",
    address: Address = "",
    embeddings: Folder = "",
    held_out: HeldOut = "",
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

    With --engine, embeddings, prototypes and all metrics of them are computed part by part, by as many machines as the
    engine has; relevance maps of some images by this one. --embeddings has the metrics that need no network.

    Example: python -m kmex_core evaluate --model digits --images 200 --runs 2
    """

    def work(bar: Bar) -> dict[str, Any]:
        from kmex_core.analysis import comparison
        from kmex_core.base.store import Store
        from kmex_core.scale.evaluation import keeps_rows, run_of

        seeds = range(seed, seed + runs)
        check_one(model, embeddings, held_out)
        if embeddings:
            if metrics or own or version:
                raise InputError("--metrics, --own and --version are of a model: omit them with --embeddings.")
            return folder_figures(embeddings, held_out, k, metric, seeds, engine, address, bar)
        opened = open_subjects(Store(), model or [], data_root, skip_broken, device, bar)
        chosen = own or version
        if version and len(opened) > 1:
            raise InputError("A version is of one model: pass --model once with --version.")
        with on_engine(opened, engine, address, data_root, skip_broken) as subjects:
            of = (
                [source_of(subjects[0], k, seed, metric, own, version)]
                if chosen
                else sources_of(subjects[0].info.kind, k, metric)
            )
            maps = MapKind(target, method or subjects[0].info.default_maps.method)
            evaluations, notes = evaluate_sources(subjects, metrics, of, seeds, images, maps, run_of)
            compared = not chosen and runs >= LEAST
            fit = all(map(keeps_rows, subjects))
            stable = [_stability(subject, KMeans(k, metric=metric), seeds) for subject in subjects if compared and fit]
            if compared and not fit:
                notes["notes"].append(NO_STABILITY)
        text = comparison.as_text(comparison.rows(evaluations))
        values = comparison.evaluation_values(evaluations[-1])
        sentences = comparison.chance_sentences(evaluations[-1])
        return values | {"text": text, "finding": sentences, "stability": stable} | notes

    def show(answer: dict[str, Any]) -> None:
        if embeddings:
            show_folder(answer)
            return
        of_maps = f", relevance maps ({answer['method']} of the {answer['target']}) on {answer['images']:,} images"
        print(
            f"{len(answer['models']) * len(answer['seeds'])} run(s) with {answer['k']} prototypes per class, "
            f"predictions on {answer['test_images']:,} test images{of_maps if answer['images'] else ''}. "
            "↑ higher is better, ↓ lower is better; the others are for comparison. ± is the standard deviation over "
            "what the parentheses name.\n"
        )
        print(answer["text"])
        if answer["finding"]:
            print("\nAgainst chance (95%, paired over the images):")
            print("\n".join(answer["finding"]))
        for stable in answer["stability"]:
            _show_stability(stable)

    answer_with(as_json, work, show)


def _stability(subject: Subject, source: KMeans, seeds: Sequence[int]) -> dict[str, Any]:
    """How stable the prototypes are over seeds of k-means: means over the classes, and each class."""
    from kmex_core.analysis.tables.prototypes import stability_table
    from kmex_core.stages.stability import stability

    found = stability(subject, source, seeds)
    # one prototype in every class leaves nothing to assign
    by_class = stability_table(found, subject.info.class_names).astype(object)
    return {
        "model": subject.info.name,
        "seeds": list(seeds),
        "distance": float(found.distance.mean()),
        "distance_random": float(found.distance_random.mean()),
        "rand_index": found.mean_rand_index,
        "classes": by_class.where(by_class.notna(), None).to_dict("records"),
    }


def _show_stability(stable: dict[str, Any]) -> None:
    index = stable["rand_index"]
    least = max(stable["classes"], key=lambda row: row["distance"])
    print(
        f"\nStability of '{stable['model']} + KMEx' over {len(stable['seeds'])} seeds of k-means, mean over pairs of "
        "seeds and over classes\n"
        f"  distance between matched prototypes ↓  {stable['distance']:.3f} SD of the class (random training images: "
        f"{stable['distance_random']:.3f} SD)\n"
        f"  adjusted Rand index of assignments ↑   {'not defined' if index is None else f'{index:.3f}'} (chance: 0)\n"
        f"  prototypes move farthest in the class  {least['class']} ({least['distance']:.3f} SD)"
    )


def stability_job(subject: Subject, source: KMeans) -> JobRequest:
    """Convert a model with the seeds that the page compares."""
    from kmex_core.stages.stability import SEEDS

    name = f"stability-{subject.conversion(source.seeded(0)).key}"
    return job_of(
        name,
        evaluate,
        model=[subject.info.name],
        metrics="ghosting",
        k=source.k,
        metric=source.metric,
        runs=len(SEEDS),
    )


def relevance_maps_job(
    subject: Subject, source: PrototypeSource, images: int, runs: int, maps: MapKind | None = None
) -> JobRequest:
    """Measure the metrics on relevance maps of one model."""
    from kmex_core.metrics.catalogue import MAP_METRICS

    maps = maps or subject.info.default_maps
    spec = subject.relevance_scores(source.seeded(0), images, maps=maps).spec
    return job_of(
        f"relevance-maps-{spec.key}-{runs}",
        evaluate,
        model=[subject.info.name],
        metrics=",".join(MAP_METRICS),
        **source_options(source),
        images=spec.images,  # there may be fewer test images
        target=maps.target,
        method="" if maps.method == subject.info.default_maps.method else maps.method,
        runs=runs,
    )
