"""The attributes that prototypes cover."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kmex_core.base.errors import InputError
from kmex_core.base.phrases import first_few
from kmex_core.commands._engine import Address, EngineName, Folder, HeldOut, ModelOrNone, check_one, on_engine
from kmex_core.commands._folder import folder_attributes
from kmex_core.commands._shared import (
    Bar,
    DataRoot,
    Device,
    First,
    Json,
    KRange,
    Metric,
    Own,
    Runs,
    Seed,
    SkipBroken,
    about,
    answer_with,
    app,
    number_range,
    open_subject,
    prototype_note,
)
from kmex_core.commands.requests import JobRequest, job_of
from kmex_core.models.info import trained_alike
from kmex_core.models.kinds import TITLES
from kmex_core.prototypes.metric import AUTO
from kmex_core.prototypes.source import BuiltIn, KMeans, PrototypeSource

if TYPE_CHECKING:
    from kmex_core.scale.audit import Audit
    from kmex_core.stages.subject import Subject


@app.command()
def attributes(
    model: ModelOrNone = "",
    k: KRange = "1:20",
    class_column: Annotated[
        str,
        typer.Option(
            "--class",
            "--label-column",
            metavar="COLUMN",
            help="Find prototypes for this column's values instead of the model's classes.",
        ),
    ] = "",
    own: Own = False,
    runs: Runs = 1,
    first: First = 0,
    metric: Metric = AUTO,
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
    """Show which attributes the prototypes cover, and for which images predictions fail (paper 4.3, Figure 5).

    For every number of prototypes per class: ghost prototypes, attributes captured (at least one prototype's exemplar
    has them), the error of the attribute correlations among the exemplars, and the attributes missed. In parentheses:
    what as many random training images of each class give, in 95% of 300 draws. With several runs, numbers are means ±
    standard deviation over k-means seeds (with --own, over trainings), and an attribute counts as missed only if every
    run misses it. Then, for 5 prototypes per class (or the last number): the least represented subgroups, and the
    worst predicted images.

    With --own, every number of prototypes is a separate training: the rows are this model and the models in the store
    that were trained alike with another number of prototypes, over the seeds they all share.

    With --engine, embeddings, prototypes and all counts are computed part by part, by as many machines as the engine
    has. With --embeddings, attributes are the boolean columns of the folder's parquet files.

    Example: python -m kmex_core attributes --model faces --k 1:20 --runs 3
    """

    def work(bar: Bar) -> dict[str, Any]:
        from kmex_core.analysis import export as exports
        from kmex_core.models import catalogue
        from kmex_core.scale.audit import audit_of_model
        from kmex_core.scale.subject import ShardedSubject
        from kmex_core.stages.curves import attribute_curves, built_in_attribute_curves, examined

        check_one(model, embeddings, held_out)
        seeds = range(seed, seed + runs)
        if embeddings:
            if class_column or own or first:
                raise InputError("--class, --own and --first are of a model: omit them with --embeddings.")
            return folder_attributes(embeddings, held_out, number_range(k), metric, seeds, engine, address, bar)
        opened = open_subject(model, data_root, skip_broken, device, bar)
        info = opened.info
        regrouped = class_column not in ("", info.class_column)
        if own and (regrouped or info.kind == "blackbox"):
            raise InputError(f"--own needs a {TITLES} model and its own classes; omit --class.")
        with on_engine([opened], engine, address, data_root, skip_broken) as (whole,):
            subject = whole.grouped_by(class_column, data_root, skip_broken) if regrouped else whole
            source: PrototypeSource
            if own:
                alike = trained_alike(info, catalogue.list_models(subject.store)[0])
                curves = built_in_attribute_curves([dataclasses.replace(subject, info=other) for other in alike])
                source, more = BuiltIn(), {"models": [other.name for other in alike]}
            else:
                ks = sorted(number_range(k), key=lambda value: (value != first, value))
                if isinstance(subject, ShardedSubject):
                    return _by_parts(subject, audit_of_model(subject, ks, seeds, metric), seed, metric)
                curves = attribute_curves(subject, ks, seeds, metric)
                source, more = KMeans(examined(curves.ks), seed, metric), {}
            conversion, data = subject.conversion(source).get(), subject.data
            return (
                exports.attributes(subject.info, data, curves, conversion, source, seed, not (own or regrouped))
                | more
                | about(whole, prototype_note(subject, source))
            )

    def show(answer: dict[str, Any]) -> None:
        over = "trainings with different seeds" if answer["own"] else "k-means seeds"
        several = f", mean ± standard deviation over {len(answer['seeds'])} {over}" if len(answer["seeds"]) > 1 else ""
        print(
            f"'{answer['model']}'{' (built-in prototypes)' if answer['own'] else ' + KMEx'}, class {answer['class']}, "
            f"{len(answer['attributes'])} attributes{several}"
        )
        print(
            "  k  prototypes   ghosts ↓    captured ↑  (chance: 95%)  correlation MAE ↓    (chance: 95%)  "
            "missed (rarest first)"
        )
        for row in answer["rows"]:

            def mean(name: str, digits: int, row: dict[str, Any] = row) -> str:
                spread = f" ± {row[f'{name}_std']:.{digits}f}" if f"{name}_std" in row else ""
                return f"{row[name]:.{digits}f}{spread}"

            def chance(name: str, form: str, row: dict[str, Any] = row) -> str:
                band = row[f"{name}_chance"]
                return f"({band['low']:{form}} to {band['high']:{form}})"

            places = 1 if several else 0
            missed = first_few(row["missed"], 3)
            print(
                f"{row['k']:3}  {row['prototypes']:10}  {mean('ghosted', places):>9}  {mean('captured', places):>12}  "
                f"{chance('captured', 'g'):>14}  {mean('correlation_mae', 4):>17}  "
                f"{chance('correlation_mae', '.4f'):>18}  {missed or '–'}"
            )
        if len(answer.get("models", [])) > 1:
            print(f"One training per number of prototypes: {', '.join(answer['models'])}")
        print()
        for sentence in answer["finding"]:
            print(sentence)
        print(
            f"\nLeast represented subgroups with {answer['k']} per class (expected: among as many random training "
            f"images of each class; beyond chance: more than {answer['chance_limits']['subgroups']:.1f} from it, which "
            "the farthest of all pairs is in 5% of random draws):"
        )
        for group in answer["subgroups"][:5]:
            beyond = "beyond" if group["beyond_chance"] else "within"
            print(
                f"  {group['subgroup']}: {group['prototypes']} prototypes, {group['expected']:.1f} expected, "
                f"{beyond} chance"
            )
        print("\nWorst predicted groups of test images (95% Wilson interval):")
        for group in answer["accuracy"][:5]:
            black_box = f", black box {group['accuracy_black_box']:.1%}" if "accuracy_black_box" in group else ""
            print(
                f"  {group['group']}: {group['accuracy']:.1%} of {group['images']:,} correct ({group['low']:.1%} to "
                f"{group['high']:.1%}){black_box}"
            )

    answer_with(as_json, work, show)


def _by_parts(subject: Subject, found: Audit, seed: int, metric: str) -> dict[str, Any]:
    """The answer about a model on an engine."""
    from kmex_core.analysis.export import audit

    info = subject.info
    about_model = {
        "model": info.name,
        "dataset": info.dataset,
        "class": info.class_column or "of the data set",
        "own": False,
    }
    figures = audit(found.covered, found.accuracy, found.curves, found.k, seed)
    return about_model | figures | about(subject, prototype_note(subject, KMeans(found.k, seed, metric)))


def attributes_job(subject: Subject, ks: range, runs: int, source: KMeans) -> JobRequest:
    """Convert a model for each of `ks` prototypes per class in several runs, those of `source` before the others."""
    key = subject.conversion(KMeans(1, metric=source.metric)).key
    return job_of(
        f"attributes-{key}-{ks[0]}-{ks[-1]}-{runs}",
        attributes,
        model=subject.info.name,
        k=f"{ks[0]}:{ks[-1]}",
        runs=runs,
        first=source.k,
        metric=source.metric,
    )


def built_in_attributes_job(subject: Subject) -> JobRequest:
    """Find the attributes that the built-in prototypes of a model, and of those trained alike, cover."""
    name = f"attributes-built-in-{subject.conversion(BuiltIn()).key}"
    return job_of(name, attributes, model=subject.info.name, own=True)
