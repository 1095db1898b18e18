"""How good the four kinds of models and their KMEx are on the digits, trained with recorded seeds."""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np

from kmex_core.base.specs import DatasetSpec
from kmex_core.base.store import Store
from kmex_core.data import opened
from kmex_core.models import training
from kmex_core.models.kinds import MODEL_KINDS
from kmex_core.prototypes.source import BuiltIn, KMeans
from kmex_core.stages import training_runs
from kmex_core.stages.evaluation import evaluate
from kmex_core.stages.subject import Subject

SEEDS = (0, 1)
METRICS = ("accuracy", "ghosting", "effective", "diversity_reference")


def measure() -> list[dict[str, Any]]:
    """Accuracy, ghosts and diversity of each kind and of its KMEx (k = 5), trained with the recipes of the demo."""
    spec, rows = DatasetSpec("digits"), []
    data = opened.dataset(spec)
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        for kind in MODEL_KINDS:
            found: dict[tuple[str, str], list[float]] = {}
            for seed in SEEDS:
                recipe = training.default_recipe(data, False, kind, seed=seed)
                request = training_runs.TrainRequest(f"{kind}-{seed}", spec, "resnet20", recipe, "cpu", "")
                info = training_runs.train(store, request)
                for source in (KMeans(5),) if kind == "blackbox" else (BuiltIn(), KMeans(5)):
                    made = evaluate([Subject(store, info, data)], source, [seed], names=METRICS)
                    name = f"{kind} + KMEx" if not source.built_in else kind
                    for metric, measured in made.metrics.items():
                        title = kind if metric.endswith("_black_box") else name
                        if measured.mean is not None and (title == name or kind == "blackbox"):
                            found.setdefault((title, metric.removesuffix("_black_box")), []).append(measured.mean)
            rows += [
                {
                    "what": f"{title}, digits, resnet20, seeds {', '.join(map(str, SEEDS))}: {metric}",
                    "median": round(float(np.median(values)), 4),
                    "each": [round(value, 4) for value in values],
                    "unit": "",
                }
                for (title, metric), values in found.items()
            ]
    return rows
