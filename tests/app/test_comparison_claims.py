"""What the page Compare says of models, on made-up numbers for which it holds, and for which not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from app.claims import comparison
from kmex_core.analysis.changes import PrototypeChanges
from kmex_core.metrics.types import Evaluation, Measured


def spread(name: str, effective: float | None, published: float, exact: float, built_in: bool = False) -> Evaluation:
    metrics = {
        "effective": Measured("effective", () if effective is None else (effective,)),
        "diversity_reference": Measured("diversity_reference", (published,)),
        "diversity_all": Measured("diversity_all", (exact,)),
    }
    return Evaluation((name,), "flint", "digits", "resnet20", 5, (0,), 0, 500, "", "", metrics, built_in)


def test_a_conflict_of_diversity_figures_is_explained_by_what_causes_it() -> None:
    rounding = [spread("a", 2.9, 0.35, 0.01), spread("b", 2.3, 0.16, 0.01), spread("c", 2.6, 0.15, 0.01)]
    (said,) = comparison.diversity_conflict(rounding)
    assert said.startswith(
        "Of the 3 models with the prototypes of KMEx, **a + KMEx** has the highest effective number (2.900)"
    )
    assert "rounding in 32 bits" in said
    (said,) = comparison.diversity_conflict([spread("a", 2.9, 0.35, 0.3), *rounding[1:]])
    assert "measure different things" in said
    assert comparison.diversity_conflict([spread("a", 2.2, 0.35, 0.01), *rounding[1:]]) == []
    assert comparison.diversity_conflict(rounding[:2]) == []
    # prototypes of the same kind only, and those that have both numbers
    assert comparison.diversity_conflict([replace(rounding[0], built_in=True), *rounding[1:]]) == []
    assert comparison.diversity_conflict([spread("a", None, 0.35, 0.01), *rounding[1:]]) == []


def test_changes_between_models_are_counted_and_tested() -> None:
    truth = np.zeros(100, int)
    a, b = truth.copy(), truth.copy()
    b[:8], a[8:10], a[10], b[10] = 1, 1, 1, 2
    said = comparison.changed_classes(("a_b", "c"), truth, (a, b))
    assert "**11 of 100 test images** (11.0%)" in said
    assert "8 are correct only with a_b, 2 only with c, 1 with neither" in said
    assert "no more than chance gives" in said
    b[10:30] = 1
    assert "is more than chance gives" in comparison.changed_classes(("a", "c"), truth, (a, b))
    assert "the same class for all 100" in comparison.changed_classes(("a", "c"), truth, (a, a))
    changes = PrototypeChanges(np.array([1, -1]), np.arange(10) < 4, 0.25)
    said = comparison.changed_prototypes(("a", "c"), changes)
    assert "**4 of 10 training images** (40.0%)" in said
    assert "1 of 2 have a match" in said
    assert "0.25 (0: chance" in said
    assert "index" not in comparison.changed_prototypes(("a", "c"), replace(changes, rand_index=float("nan")))
