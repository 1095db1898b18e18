"""One number of prototypes per class of the embeddings of a folder, with every metric that needs no network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kmex_core.base.jsontext import plain
from kmex_core.commands._engine import ON_THE_SAME, about_rows, connected, rows_of_folder
from kmex_core.commands._shared import Bar
from kmex_core.prototypes.source import SUGGESTED, numbered

if TYPE_CHECKING:
    from kmex_core.scale.figures import Figures
    from kmex_core.scale.sharded import ShardedEmbedding

NO_NETWORK = (
    "Metrics on relevance maps and the black box's calibration error need the network and its images, which embeddings "
    "of a folder do not have: pass --model for them."
)
# of the table: a figure, its title, and how it is written
SHOWN = (
    ("accuracy_kmex", "accuracy ↑", ".2%"),
    ("accuracy_black_box", "accuracy of the black box ↑", ".2%"),
    ("agreement", "agreement ↑", ".2%"),
    ("accuracy_kmex_train", "accuracy on the rows of the prototypes", ".2%"),
    ("calibration_error", "calibration error ↓", ".2%"),
    ("calibration_error_reference", "calibration error, as published ↓", ".2%"),
    ("ghosting", "ghost prototypes ↓", ".2%"),
    ("effective", "effective number ↑", ".3f"),
    ("effective_random", "effective number, random rows", ".3f"),
    ("effective_equidistant", "effective number, equidistant groups", ".3f"),
    ("relative_distance", "distance between prototypes (SD) ↑", ".3f"),
    ("coverage_radius", "coverage radius ↓", ".3f"),
    ("diversity", "D_dvs within classes ↓", ".4f"),
    ("diversity_all", "D_dvs over all prototypes ↓", ".4f"),
    ("diversity_reference", "D_dvs as published ↓", ".4f"),
)


def folder_figures(
    embeddings: str,
    held_out: str,
    k: int,
    metric: str,
    seeds: Sequence[int],
    engine: str,
    address: str,
    bar: Bar,
) -> dict[str, Any]:
    """The answer of `convert` and `evaluate` about the embeddings of a folder: an object for each seed.

    Args:
        embeddings, held_out, k, metric, seeds, engine, address: their options.
        bar: called after each task.

    Raises:
        InputError: see `rows_of_folder` and `Measurement.figures`.
    """
    from kmex_core.scale.figures import Measurement
    from kmex_core.scale.suggestion import sharded_suggestion

    with connected(engine, address) as used:
        rows, other, fitted = rows_of_folder(embeddings, held_out, metric, used, bar)
        numbers, memory = [k] * len(rows.class_names), used.memory
        if k == SUGGESTED:
            numbers = sharded_suggestion(rows, fitted, used, bar).suggested.tolist()
        found = [
            Measurement(rows, fitted, numbers, seed, used, memory, other, progress=bar).figures() for seed in seeds
        ]
    return {"rows": [_row(k, each) for each in found], "seeds": list(seeds)} | _about(rows, found[0])


def _row(k: int, figures: Figures) -> dict[str, Any]:
    from kmex_core import metrics
    from kmex_core.scale.figures import TOGETHER
    from kmex_core.scale.measuring import PUBLISHED

    summary, prototypes, classes = figures.summary, figures.prototypes, len(figures.variance)
    together = 1 < len(prototypes) <= TOGETHER
    several = summary.diversity is not None
    row = {
        "k": numbered(k),
        "seed": figures.seed,
        "accuracy_kmex": summary.accuracy_kmex,
        "agreement": summary.agreement,
        "accuracy_black_box": summary.accuracy_black_box,
        "accuracy_kmex_train": figures.train.accuracy(classes),
        "calibration_error": summary.calibration_error,
        "calibration_error_reference": figures.held_out.reliability(PUBLISHED).error,
        "temperature": figures.temperature.value,
        "ghosting": summary.ghosting,
        "diversity": summary.diversity,
        "diversity_all": metrics.diversity(prototypes.centers, prototypes.classes, "all") if together else None,
        "diversity_reference": summary.diversity_reference,
        "effective": summary.effective,
        "effective_random": summary.effective_random,
        "effective_random_band": [summary.effective_random_low, summary.effective_random_high],
        "effective_equidistant": summary.effective_equidistant,
        "relative_distance": (
            metrics.relative_distance(prototypes.centers, prototypes.classes, figures.variance) if several else None
        ),
        "coverage_radius": summary.coverage_radius,
        "inertia": figures.inertia.sum(),
        "prototypes": len(prototypes),
    }
    found: dict[str, Any] = plain(row)
    return found


def _about(rows: ShardedEmbedding, figures: Figures) -> dict[str, Any]:
    """What accompanies the figures; see `about_rows`."""
    from kmex_core.scale.figures import TOGETHER

    found = about_rows(
        rows,
        figures.metric.name,
        figures.summary.images,
        figures.apart,
        figures.coreset,
        figures.loss,
        figures.seconds,
    )
    if len(figures.prototypes) > TOGETHER:
        found["notes"].append(f"D_dvs over all prototypes is left out: there are more than {TOGETHER:,} of them.")
    found["notes"].append(NO_NETWORK)
    return found


def folder_attributes(
    embeddings: str,
    held_out: str,
    ks: Sequence[int],
    metric: str,
    seeds: Sequence[int],
    engine: str,
    address: str,
    bar: Bar,
) -> dict[str, Any]:
    """The answer of `attributes` about the embeddings of a folder, as that about a model.

    Raises:
        InputError: see `rows_of_folder` and `audit.audit_of_folder`.
    """
    from kmex_core.analysis.export import audit
    from kmex_core.scale.audit import audit_of_folder

    with connected(engine, address) as used:
        rows, other, fitted = rows_of_folder(embeddings, held_out, metric, used, bar)
        found = audit_of_folder(rows, other, fitted, ks, seeds, used, used.memory, bar)
    notes = [] if held_out else [ON_THE_SAME]
    return (
        {"model": rows.name, "dataset": str(rows.folder), "class": "of the embeddings", "own": False}
        | audit(found.covered, found.accuracy, found.curves, found.k, seeds[0])
        | {"notes": notes}
    )


def show_folder(answer: dict[str, Any]) -> None:
    """The figures as a table, a column for each seed."""
    of, rows = "held-out" if answer["held_out"] else "the same", answer["rows"]
    print(
        f"'{answer['name']}': {answer['images']:,} rows of {answer['dimensions']} dimensions, {answer['classes']} "
        f"classes, {answer['metric']} metric, {rows[0]['k']} per class, measured on {answer['test_images']:,} {of} rows"
    )
    width = max(len(title) for _, title, _ in SHOWN)
    print(f"  {'seed':{width}}" + "".join(f"{row['seed']:>10}" for row in rows))
    for name, title, form in SHOWN:
        if any(row[name] is not None for row in rows):
            print(
                f"  {title:{width}}"
                + "".join(f"{'-' if row[name] is None else format(row[name], form):>10}" for row in rows)
            )
