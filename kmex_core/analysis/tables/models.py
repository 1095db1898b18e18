"""Tables of models: those in the store, and how each was trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from kmex_core.analysis.comparison import CAVEAT
from kmex_core.base.store import Store
from kmex_core.data import registry as datasets
from kmex_core.models import catalogue
from kmex_core.models.info import ModelInfo
from kmex_core.models.kinds import MODEL_KINDS


def model_table(store: Store, infos: Sequence[ModelInfo]) -> pd.DataFrame:
    """A row per model of the store, in the order given.

    Returns:
        Columns `Name`, `Kind`, `Data set`, `Backbone`, `Accuracy ↑` (per cent of the test images), one without a name
        (a mark where the accuracy has a caveat; only if one has), `Size` (MiB of its file) and `Made` (the date).
    """
    table = pd.DataFrame(
        {
            "Name": [info.name for info in infos],
            "Kind": [MODEL_KINDS[info.kind].title if info.predicts or info.k else "Encoder" for info in infos],
            "Data set": [datasets.title(info.dataset) for info in infos],
            "Backbone": [info.backbone for info in infos],
            "Accuracy ↑": [None if info.accuracy is None else info.accuracy * 100 for info in infos],
            "": [CAVEAT if info.caveat else "" for info in infos],
            "Size": [catalogue.path_of(store, info.name).stat().st_size / 2**20 for info in infos],
            "Made": [str(info.made_by.get("date", ""))[:10] for info in infos],
        }
    )
    return table if any(info.caveat for info in infos) else table.drop(columns="")


def history_table(history: Sequence[Mapping[str, Any]], epoch: int = 0, loss: float | None = None) -> pd.DataFrame:
    """A row per epoch: `epoch` (from 1), `stage`, `accuracy` (a fraction of the training images), `loss`, its weighted
    terms by name.

    Args:
        history: of a training run.
        epoch, loss: the epoch that a running job is in, and the mean of its loss so far.
    """
    rows = [
        {
            "epoch": number,
            "stage": row.get("stage", ""),
            "accuracy": row["accuracy"],
            "loss": row["loss"],
            **row.get("terms", {}),
        }
        for number, row in enumerate(history, start=1)
    ]
    if epoch and loss is not None:
        rows.append({"epoch": epoch, "stage": "now", "accuracy": None, "loss": loss})
    return pd.DataFrame(rows, columns=None if rows else ["epoch", "stage", "accuracy", "loss"])
