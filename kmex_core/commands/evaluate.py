"""Commands that measure: attributes, evaluate, compare."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kmex_core.base.errors import InputError
from kmex_core.commands._shared import (
    Bar,
    DataRoot,
    Device,
    First,
    Json,
    K,
    ModelName,
    Own,
    Runs,
    Seed,
    SkipBroken,
    about,
    answer_with,
    app,
    number_range,
    opened,
)
from kmex_core.models.info import trained_alike
from kmex_core.prototypes.source import BuiltIn, KMeans, PrototypeSource
from kmex_core.prototypes.types import fewer_prototypes

if TYPE_CHECKING:
    from kmex_core.base.store import Store
    from kmex_core.metrics.types import Evaluation
    from kmex_core.stages.subject import Subject

MetricNames = Annotated[
    str, typer.Option(metavar="NAME,…", help="Which metrics, by name. Default: all that there are.")
]
Images = Annotated[int, typer.Option(min=1, help="How many test images the metrics on relevance maps are over.")]


@app.command()
def attributes(
    model: ModelName,
    k: Annotated[str, typer.Option("--k", metavar="FIRST:LAST", help="Prototypes per class, from … to.")] = "1:20",
    class_column: Annotated[
        str,
        typer.Option(
            "--class", metavar="COLUMN", help="Find prototypes of this column's values instead of the model's classes."
        ),
    ] = "",
    own: Own = False,
    runs: Runs = 1,
    first: First = 0,
    seed: Seed = 0,
    data_root: DataRoot = "",
    skip_broken: SkipBroken = False,
    device: Device = "",
    as_json: Json = False,
) -> None:
    """Say which attributes the prototypes cover, and for which images predictions fail (paper 4.3, Figure 5).

    For every number of prototypes per class: how many are ghosts, how many attributes at least one prototype's picture
    has, how far the attributes' correlations among those pictures are from the training images', and what is missed.
    With several runs numbers are means over them, ± their standard deviation, and what is missed is missed in all.
    Then, for 5 per class if it is among them (else the last), which subgroups are represented least, and where
    predictions fail most.

    With --own each number of prototypes is a training of its own: there is a row for this model and for each in the
    store that was trained exactly alike with another number, over the seeds that were trained with all of them.

    Example: python -m kmex_core attributes --model faces --k 1:20 --runs 3
    """

    def work(bar: Bar) -> dict[str, Any]:
        from kmex_core.analysis import export as report
        from kmex_core.models import catalogue
        from kmex_core.stages.sweep import attribute_curves, built_in_attribute_curves

        opened_subject = subject = opened(model, data_root, skip_broken, device, bar)
        info = subject.info
        regrouped = class_column not in ("", info.class_column)
        if own and (regrouped or info.kind == "blackbox"):
            raise InputError("--own takes a ProtoPNet, FLINT or ProtoVAE, and its own classes (no --class).")
        if regrouped:
            subject = subject.grouped_by(class_column, data_root, skip_broken)
        source: PrototypeSource
        if own:
            alike = trained_alike(info, catalogue.list_models(subject.store)[0])
            curves = built_in_attribute_curves([dataclasses.replace(subject, info=other) for other in alike])
            source, more = BuiltIn(), {"models": [other.name for other in alike]}
        else:
            ks = sorted(number_range(k), key=lambda value: (value != first, value))
            curves = attribute_curves(subject, ks, range(seed, seed + runs))
            source, more = KMeans(5 if 5 in curves.ks else curves.ks[-1], seed), {}
        converted = subject.conversion(source).get()
        return (
            report.attributes(subject.info, subject.data, curves, converted, source, seed, not (own or regrouped))
            | more
            | about(opened_subject, _fewer(subject, source))
        )

    def show(answer: dict[str, Any]) -> None:
        several = f", mean ± standard deviation over {len(answer['seeds'])} runs" if len(answer["seeds"]) > 1 else ""
        print(
            f"'{answer['model']}'{' on its own' if answer['own'] else ' + KMEx'}, class {answer['class']}, "
            f"{len(answer['attributes'])} attributes{several}"
        )
        print("  k  prototypes   ghosts ↓    captured ↑  correlation MAE ↓  missed, the rarest first")
        for row in answer["rows"]:

            def said(name: str, digits: int, row: dict[str, Any] = row) -> str:
                spread = f" ± {row[f'{name}_std']:.{digits}f}" if f"{name}_std" in row else ""
                return f"{row[name]:.{digits}f}{spread}"

            places = 1 if several else 0
            missed = ", ".join(row["missed"][:3]) + (
                f" and {len(row['missed']) - 3} more" if len(row["missed"]) > 3 else ""
            )
            print(
                f"{row['k']:3}  {row['prototypes']:10}  {said('ghosted', places):>9}  {said('captured', places):>12}  "
                f"{said('correlation_mae', 4):>17}  {missed or '–'}"
            )
        if len(answer.get("models", [])) > 1:
            print(f"Each number is a training of its own: {', '.join(answer['models'])}")
        print()
        for sentence in answer["finding"]:
            print(sentence)
        print(f"\nLeast represented with {answer['k']} per class (expected: if drawn from the training images):")
        for one in answer["subgroups"][:5]:
            print(f"  {one['subgroup']}: {one['prototypes']} prototypes, {one['expected']:.1f} expected")
        print("\nWorst predicted test images (95 % Wilson interval):")
        for one in answer["accuracy"][:5]:
            beside = f", black box {one['accuracy_black_box']:.1%}" if "accuracy_black_box" in one else ""
            print(
                f"  {one['group']}: {one['accuracy']:.1%} of {one['images']:,} right ({one['low']:.1%} to "
                f"{one['high']:.1%}){beside}"
            )

    answer_with(as_json, work, show)


@app.command()
def evaluate(
    model: Annotated[
        list[str],
        typer.Option("--model", metavar="NAME", help="A model in the store. Again for others trained alike."),
    ],
    metrics: MetricNames = "",
    k: K = 5,
    own: Own = False,
    images: Images = 1000,
    runs: Runs = 1,
    seed: Seed = 0,
    data_root: DataRoot = "",
    skip_broken: SkipBroken = False,
    device: Device = "",
    as_json: Json = False,
) -> None:
    """Measure a model and its KMEx: predictions, ghosts, diversity, and how faithful and robust the maps are.

    The metrics on maps take minutes per run; what was measured before comes from the store. `--metrics
    accuracy,ghosting` leaves them out.

    Example: python -m kmex_core evaluate --model digits --images 200 --runs 2
    """

    def work(bar: Bar) -> dict[str, Any]:
        from kmex_core.analysis import comparison
        from kmex_core.base.store import Store
        from kmex_core.models import catalogue as kept

        store = Store()
        sources = [BuiltIn()] if own else _sources(kept.describe(store, model[0]).kind, k)
        subjects = _subjects(store, model, data_root, skip_broken, device, bar)
        found, notes = _evaluations(subjects, metrics, sources, range(seed, seed + runs), images)
        text = comparison.as_text(comparison.rows(found))
        return comparison.evaluation_values(found[-1]) | {"text": text} | notes

    def show(answer: dict[str, Any]) -> None:
        over = f", maps ({answer['method']}) over {answer['images']:,} images" if answer["images"] else ""
        print(
            f"{len(answer['models']) * len(answer['seeds'])} run(s) with {answer['k']} prototypes per class, "
            f"predictions over {answer['test_images']:,} test images{over}. "
            "↑ higher is better, ↓ lower; ± over runs, or over images for one run.\n"
        )
        print(answer["text"])

    answer_with(as_json, work, show)


def _sources(kind: str, k: int) -> list[PrototypeSource]:
    """By which prototypes a model of this kind is looked at: built-in ones first."""
    return [KMeans(k)] if kind == "blackbox" else [BuiltIn(), KMeans(k)]


def _subjects(store: Store, names: list[str], root: str, skip_broken: bool, device: str, bar: Bar) -> list[Subject]:
    """Models with the data that the first was trained on."""
    from kmex_core.models import catalogue
    from kmex_core.stages.subject import subject_of

    first = subject_of(store, names[0], root, skip_broken, device, bar)
    return [first, *(dataclasses.replace(first, info=catalogue.describe(store, name)) for name in names[1:])]


def _evaluations(
    subjects: list[Subject], asked: str, sources: Sequence[PrototypeSource], seeds: range, images: int
) -> tuple[list[Evaluation], dict[str, Any]]:
    """An evaluation for each source of prototypes, and what belongs beside them (see `about`)."""
    from kmex_core.metrics.catalogue import METRICS
    from kmex_core.stages.evaluation import evaluate

    wanted = [name.strip() for name in asked.split(",") if name.strip()] or list(METRICS)
    evaluations = [evaluate(subjects, source, list(seeds), images, wanted) for source in sources]
    few = [_fewer(subjects[0], source.seeded(seeds[0])) for source in sources]
    return evaluations, about(subjects[0], *few)


def _fewer(subject: Subject, source: PrototypeSource) -> str:
    """Which classes have fewer prototypes than k-means was asked for, in a sentence; "" when none has."""
    if not isinstance(source, KMeans):
        return ""
    return fewer_prototypes(subject.conversion(source).get().prototypes, subject.info.class_names, source.k)


@app.command()
def compare(
    models: Annotated[list[str], typer.Option("--models", metavar="NAME [NAME …]", help="Models in the store.")],
    more: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,
    format: Annotated[str, typer.Option(help="text, csv or latex.")] = "text",
    metrics: MetricNames = "",
    published: Annotated[bool, typer.Option(help="Add what the paper published for the same data sets.")] = True,
    k: K = 5,
    images: Images = 1000,
    runs: Runs = 1,
    seed: Seed = 0,
    data_root: DataRoot = "",
    skip_broken: SkipBroken = False,
    device: Device = "",
    as_json: Json = False,
) -> None:
    """Print models, their KMEx and the paper's figures side by side. Measures what was not measured yet.

    Example: python -m kmex_core compare --models digits faces --images 200 --format latex
    """

    def work(bar: Bar) -> dict[str, Any]:
        from kmex_core.analysis import comparison
        from kmex_core.base.store import Store

        if format not in comparison.FORMATS:
            raise InputError(f"There is no format '{format}'; known: {', '.join(comparison.FORMATS)}.")
        names = list(dict.fromkeys([*models, *(more or [])]))
        store, seeds = Store(), range(seed, seed + runs)
        found, notes = [], dict[str, None]()
        for name in names:
            subjects = _subjects(store, [name], data_root, skip_broken, device, bar)
            sources = _sources(subjects[0].info.kind, k)
            of_model, beside = _evaluations(subjects, metrics, sources, seeds, images)
            found += of_model
            notes |= dict.fromkeys(f"{name}: {note}" for note in beside["notes"])
        table = comparison.rows(found, published)
        made = {"text": comparison.as_text, "csv": comparison.as_csv, "latex": comparison.as_latex}
        if as_json:
            return {"rows": comparison.as_values(table), "notes": list(notes)}
        return {"text": made[format](table), **({"notes": list(notes)} if format == "text" else {})}

    answer_with(as_json, work, lambda answer: print(answer["text"].rstrip("\n")))
