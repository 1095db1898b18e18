"""The commands of `kmex` or `python -m kmex_core`, which register themselves with `app` when they are imported."""

from kmex_core.commands import (  # noqa: I001 (the order of `--help`)
    demo,
    dashboard,
    datasets,
    training,
    importing,
    conversion,
    sweep,
    patches,
    explanation,
    embedding_map,
    evaluation,
    checks,
    comparison,
    attributes,
    tables,
    models,
    upkeep,
)
from kmex_core.commands._shared import app

__all__ = [
    "app",
    "attributes",
    "checks",
    "comparison",
    "conversion",
    "dashboard",
    "datasets",
    "demo",
    "embedding_map",
    "evaluation",
    "explanation",
    "importing",
    "models",
    "patches",
    "sweep",
    "tables",
    "training",
    "upkeep",
]
