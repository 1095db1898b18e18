"""Reports on reproductions of the paper, made up."""

from __future__ import annotations

import dataclasses
from typing import Any

from kmex_core.base.location import REPRODUCTIONS
from kmex_core.base.store import Store
from kmex_core.reproduction.types import Cell, CurveRow, DefectRow, Measured, Report, Setting

COMMAND = "kmex reproduce --datasets mnist --runs 3"


def cell(
    *values: float, table: int = 3, metric: str = "accuracy", chance: tuple[tuple[str, float], ...] = (), **more: Any
) -> Cell:
    """The paper's 0.9 ± 0.01 of the black box on MNIST, and our values."""
    measured = Measured(metric, values, more.pop("over_images", None), chance) if values else None
    usual: dict[str, Any] = {"model": "ResNet34", "dataset": "MNIST", "mean": 0.9, "std": 0.01, "published": measured}
    return Cell(table, metric, **(usual | more))


def setting(**more: Any) -> Setting:
    """One training of three black boxes on MNIST."""
    usual: dict[str, Any] = {
        "dataset": "MNIST",
        "kind": "blackbox",
        "backbone": "resnet34",
        "imagenet": False,
        "epochs": 3,
        "paper_epochs": 10,
        "runs": 3,
        "paper_runs": 5,
        "images": 60_000,
        "test_images": 10_000,
        "seconds": 240.0,
        "images_per_second": 750.0,
        "device": "a processor",
        "notes": ("Other initial weights.",),
    }
    return Setting(**(usual | more))


def report(*cells: Cell, **more: Any) -> Report:
    """A report on some cells, or on a few of every kind."""
    usual: dict[str, Any] = {
        "command": COMMAND,
        "date": "2026-11-28",
        "machine": (("cores", "2"),),
        "versions": (("torch", "2.0"),),
        "budget": 60.0,
        "settings": (setting(),),
        "cells": cells or CELLS,
        "defects": (
            DefectRow(
                "Eq. 1 is constant", "Ghost prototypes, share ↓", 0.98, 0.02, None, "MNIST", "R34+KMEx", "It is wrong"
            ),
        ),
        "curve": tuple(
            CurveRow(model, k, captured, 39, low, high)
            for model, shift in (("R34+KMEx", 0.0), ("ProtoPNet", -6.0), ("ProtoPNet+KMEx", 2.0))
            for k, captured, low, high in ((1, 11 + shift, 10.0, 15.0), (5, 30 + shift, 28.0, 35.0))
        ),
        "curve_about": "Sprites by Any_Armour, one seed",
        "left": ("FLINT on MNIST",),
    }
    return Report(**(usual | more))


def keep(store: Store, found: Report, name: str = "report") -> None:
    """Put a report into a store, as `kmex reproduce` does."""
    store.put(REPRODUCTIONS, name, {}, {"report": dataclasses.asdict(found)})


CELLS = (
    cell(0.903, 0.899, 0.901, short=("3 of 10 epochs", "random initial weights")),
    cell(0.8, 0.81, 0.79, model="R34+KMEx", short=("3 of 10 epochs",)),
    cell(model="FLINT", missing="Not trained; a larger budget would give it."),
    cell(0.91, dataset="STL-10"),
    cell(0.95, 0.951, dataset="fMNIST"),
    cell(
        0.2, 0.21, table=4, metric="average_drop_reference", mean=0.121, std=0.234, over_images=0.2, model="R34+KMEx",
        chance=(("a random order of pixels", 0.3),), second=Measured("average_drop", (0.3, 0.31)),
    ),
    cell(0.3, table=7, metric="diversity_reference", model="R34+KMEx", mean=0.453, std=0.067),
)  # fmt: skip
