"""Converting a model to a KMEx."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from kmex_core.commands._arithmetic import Compiled, MixedPrecision, Precision, arithmetic_of, change_field
from kmex_core.commands._engine import (
    Address,
    EngineName,
    Folder,
    HeldOut,
    ModelOrNone,
    check_one,
    on_engine,
)
from kmex_core.commands._folder import folder_figures, show_folder
from kmex_core.commands._shared import (
    Bar,
    DataRoot,
    Device,
    Json,
    K,
    Metric,
    Seed,
    SkipBroken,
    about,
    answer_with,
    app,
    open_subject,
)
from kmex_core.commands.requests import JobRequest, job_of
from kmex_core.networks.arithmetic import EXACT, FLOAT32, Arithmetic
from kmex_core.prototypes.metric import AUTO
from kmex_core.prototypes.source import KMeans, numbered, per_class_words
from kmex_core.prototypes.types import Prototypes, Summary, fewer_prototypes

if TYPE_CHECKING:
    from kmex_core.stages.subject import Subject


@app.command()
def convert(
    model: ModelOrNone = "",
    k: K = 5,
    metric: Metric = AUTO,
    seed: Seed = 0,
    engine: EngineName = "",
    address: Address = "",
    embeddings: Folder = "",
    held_out: HeldOut = "",
    data_root: DataRoot = "",
    skip_broken: SkipBroken = False,
    device: Device = "",
    precision: Precision = FLOAT32,
    compiled: Compiled = False,
    mixed_precision: MixedPrecision = False,
    as_json: Json = False,
) -> None:
    """Convert a trained model to a KMEx: k-means per class on its training embedding.

    The embedding is computed once per model and stored. Converting for another k then takes moments. With --engine, it
    is computed, clustered and measured part by part, by as many machines as the engine has; the result is the same.

    Example: python -m kmex_core convert --model digits --k 5
    """

    def work(bar: Bar) -> dict[str, Any]:
        started = time.perf_counter()
        check_one(model, embeddings, held_out)
        if embeddings:
            return folder_figures(embeddings, held_out, k, metric, [seed], engine, address, bar)
        arithmetic = arithmetic_of(precision, compiled, mixed_precision)
        subject = open_subject(model, data_root, skip_broken, device, bar)
        with on_engine([subject], engine, address, data_root, skip_broken) as (used,):
            answer = _answer(used, KMeans(k, seed, metric), arithmetic)
        return answer | {"seconds": round(time.perf_counter() - started, 3)}

    def show(answer: dict[str, Any]) -> None:
        if embeddings:
            show_folder(answer)
        else:
            _show(answer, k)

    answer_with(as_json, work, show)


def _answer(subject: Subject, source: KMeans, arithmetic: Arithmetic) -> dict[str, Any]:
    from kmex_core.stages.arithmetic_change import arithmetic_change

    info, k = subject.info, source.k
    summary, prototypes, more = _converted(subject, source, arithmetic)
    change = None if arithmetic == EXACT else arithmetic_change(subject, arithmetic)
    return {
        "model": info.name,
        "dataset": info.dataset,
        "k": numbered(k),
        "seed": source.seed,
        "metric": summary.metric,
        "test_images": summary.images,
        "accuracy_black_box": summary.accuracy_black_box,
        "accuracy_kmex": summary.accuracy_kmex,
        "agreement": summary.agreement,
        "calibration_error": summary.calibration_error,
        "ghosting": summary.ghosting,
        "effective": summary.effective,
        "effective_random": summary.effective_random,
        "effective_random_band": [summary.effective_random_low, summary.effective_random_high],
        "effective_equidistant": summary.effective_equidistant,
        "coverage_radius": summary.coverage_radius,
        "prototypes": len(prototypes),
        **more,
        **change_field(change),
    } | about(
        subject,
        "" if change is None else change.text,
        fewer_prototypes(prototypes, info.class_names, k),
    )


def _converted(
    subject: Subject, source: KMeans, arithmetic: Arithmetic
) -> tuple[Summary, Prototypes, dict[str, float | None]]:
    """The figures and the prototypes; on an engine also what is counted on the training images."""
    from kmex_core.scale.subject import ShardedSubject

    if not isinstance(subject, ShardedSubject):
        conversion = subject.conversion(source, arithmetic).get()
        return conversion.summary, conversion.prototypes, {}
    figures, classes = subject.figures(source, arithmetic), len(subject.info.class_names)
    of_training = {
        "accuracy_kmex_train": figures.train.accuracy(classes),
        "accuracy_black_box_train": figures.train.black_box_accuracy(classes),
        "agreement_train": figures.train.agreement,
    }
    return figures.summary, figures.prototypes, of_training


def _show(answer: dict[str, Any], k: int) -> None:
    beside = answer["accuracy_black_box"] is not None
    of_black_box = (
        f"  accuracy of the black box  {answer['accuracy_black_box']:8.2%}  (higher is better)\n" if beside else ""
    )
    agreement = f"  agreement of the two       {answer['agreement']:8.2%}  (higher is better)\n" if beside else ""
    print(
        f"'{answer['model']}' with {per_class_words(k)}, {answer['metric']} metric, "
        f"on {answer['test_images']:,} test images:\n"
        f"{of_black_box}"
        f"  accuracy of KMEx           {answer['accuracy_kmex']:8.2%}  (higher is better)\n"
        f"{agreement}"
        f"  calibration error          {answer['calibration_error']:8.2%}  (lower is better)\n"
        f"  ghost prototypes           {answer['ghosting']:8.2%}  (lower is better)\n"
        f"  effective number per class {answer['effective']:8.2f}  (higher is better; random images "
        f"{answer['effective_random']:.2f}, equidistant groups {answer['effective_equidistant']:.2f})\n"
        f"  coverage radius            {answer['coverage_radius']:8.2f}  (lower is better; 95% of the test images "
        "are this near to a prototype)\n"
        f"Next: python -m kmex_core explain --model {answer['model']} --k {answer['k']} --image FILE --out DIR"
    )


def preparation_job(subject: Subject, source: KMeans) -> JobRequest:
    """Embed a model's images, and convert it."""
    return job_of(f"prepare-{subject.key}", convert, model=subject.info.name, k=source.k, metric=source.metric)
