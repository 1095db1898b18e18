"""Commands that measure: attributes, evaluate, compare."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from kmex_core.base.errors import InputError
from kmex_core.base.results import OWN, fewer_prototypes, trained_alike
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
        from kmex_core.models import catalogue as kept
        from kmex_core.stages import pipeline

        store, info, data = opened(model, data_root, skip_broken, bar)
        embedded, whole = None, (info, data)
        regrouped = class_column not in ("", info.class_column)
        if own and (regrouped or info.kind == "blackbox"):
            raise InputError("--own takes a ProtoPNet, FLINT or ProtoVAE, and its own classes (no --class).")
        if regrouped:
            info, data, embedded = pipeline.grouped_by(
                store, info, data, class_column, device, bar, data_root, skip_broken
            )
        if own:
            alike = trained_alike(info, kept.list_models(store)[0])
            curves, shown = pipeline.own_attribute_curves(store, alike, data, device, bar), OWN
            alone = {"models": [one.name for one in alike]}
        else:
            ks = sorted(number_range(k), key=lambda value: (value != first, value))
            seeds = range(seed, seed + runs)
            curves = pipeline.attribute_curves(store, info, data, ks, seeds, device, bar, embedded)
            shown = 5 if 5 in curves.ks else curves.ks[-1]
            alone = {}
        made = pipeline.convert(store, info, data, shown, seed, device, bar, embedded)
        return (
            report.attributes(info, data, curves, made, shown, seed, not (own or regrouped))
            | alone
            | about(*whole, "" if own else fewer_prototypes(made.prototypes, info.class_names, shown))
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

        given = (images, data_root, skip_broken, device, bar)
        store = Store()
        baseline = kept.describe(store, model[0]).kind != "blackbox"
        ks = [OWN] if own else [OWN, k] if baseline else [k]
        found, notes = _evaluations(store, model, metrics, ks, range(seed, seed + runs), *given)
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


def _evaluations(
    store: Any, names: list[str], asked: str, ks: list[int], seeds: range, images: int, root: str, skip_broken: bool,
    device: str, bar: Bar,
) -> tuple[list[Any], dict[str, Any]]:  # fmt: skip
    """An evaluation for each number of prototypes, and what belongs beside them (see `about`)."""
    from kmex_core.metrics.catalogue import METRICS
    from kmex_core.models import catalogue as kept
    from kmex_core.stages import pipeline, scores

    infos = [kept.describe(store, name) for name in names]
    wanted = [name.strip() for name in asked.split(",") if name.strip()] or list(METRICS)
    data = pipeline.dataset_of(infos[0], root, skip_broken, bar)
    found = [scores.evaluate(store, infos, data, k, list(seeds), images, wanted, device, bar) for k in ks]
    few = [
        fewer_prototypes(pipeline.convert(store, infos[0], data, k, seeds[0], device, bar).prototypes,
                         infos[0].class_names, k)
        for k in ks if k != OWN
    ]  # fmt: skip
    return found, about(infos[0], data, *few)


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
        from kmex_core.models import catalogue as kept

        if format not in comparison.FORMATS:
            raise InputError(f"There is no format '{format}'; known: {', '.join(comparison.FORMATS)}.")
        names = list(dict.fromkeys([*models, *(more or [])]))
        store, seeds = Store(), range(seed, seed + runs)
        found, notes = [], dict[str, None]()
        for name in names:
            ks = [k] if kept.describe(store, name).kind == "blackbox" else [OWN, k]
            of_model, beside = _evaluations(
                store, [name], metrics, ks, seeds, images, data_root, skip_broken, device, bar
            )
            found += of_model
            notes |= dict.fromkeys(f"{name}: {note}" for note in beside["notes"])
        table = comparison.rows(found, published)
        made = {"text": comparison.as_text, "csv": comparison.as_csv, "latex": comparison.as_latex}
        if as_json:
            return {"rows": comparison.as_values(table), "notes": list(notes)}
        return {"text": made[format](table), **({"notes": list(notes)} if format == "text" else {})}

    answer_with(as_json, work, lambda answer: print(answer["text"].rstrip("\n")))
