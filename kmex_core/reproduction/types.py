"""What a reproduction of the paper is made of: cells of its tables, what was measured for them, and verdicts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["reproduced", "differs", "cannot be had"]


@dataclass(frozen=True)
class Setting:
    """How the trainings of a kind of model on a data set were done, beside the paper's.

    Attributes:
        dataset: as the paper calls it.
        kind: a key of `MODEL_KINDS`.
        backbone: the name of the network.
        imagenet: whether training started from ImageNet weights, as the paper's did.
        epochs, paper_epochs: passes over the training split.
        runs, paper_runs: trainings, each with a seed of its own.
        images, test_images: of the splits that were used.
        seconds: of all trainings together, without evaluations.
        images_per_second: of training; 0 when nothing was trained now.
        device: where.
        notes: how the data or the recipe differ from the paper's, a sentence each.
    """

    dataset: str
    kind: str
    backbone: str
    imagenet: bool
    epochs: int
    paper_epochs: int
    runs: int
    paper_runs: int
    images: int
    test_images: int
    seconds: float
    images_per_second: float
    device: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Measured:
    """A figure of one metric over trainings, in the metric's unit (shares as fractions).

    Attributes:
        metric: a name in `metrics.catalogue.METRICS`.
        values: one of each training.
        over_images: standard deviation over images, mean over trainings; None where the metric has none.
        chance: the metric's chance level by the name of what it is, mean over trainings.
    """

    metric: str
    values: tuple[float, ...]
    over_images: float | None = None
    chance: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Cell:
    """One number of Tables 3 to 8, and what was measured for it.

    Attributes:
        table: the paper's table.
        metric: of `analysis.published`: as the paper computes it.
        model, dataset: as the paper calls them.
        mean, std: the paper's, in the metric's unit.
        published: ours by the paper's definition; None when it cannot be had.
        second: ours by the second edition of the definitions; None where that is the same, or there is none.
        missing: why there is no `published`, and what would give it; "" otherwise.
        short: what was less than the paper's in this measurement (fewer epochs, random initial weights, …), phrases.
    """

    table: int
    metric: str
    model: str
    dataset: str
    mean: float
    std: float
    published: Measured | None = None
    second: Measured | None = None
    missing: str = ""
    short: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """Attributes:
    outcome: see `Outcome`.
    standard_errors: (ours − paper's) divided by the standard error of the difference; None without a spread.
    because: a sentence.
    """

    outcome: Outcome
    standard_errors: float | None
    because: str


@dataclass(frozen=True)
class DefectRow:
    """A figure with and without a defect of the released code.

    Attributes:
        defect: what the code does, in a sentence.
        metric: whose figure it changes, in words with unit and direction.
        with_defect, without: the figures.
        chance: the figure that chance would give; None where there is none.
        dataset, model: on which.
        says: what the difference means, computed.
    """

    defect: str
    metric: str
    with_defect: float
    without: float
    chance: float | None
    dataset: str
    model: str
    says: str


@dataclass(frozen=True)
class CurveRow:
    """A point of Figure 5.

    Attributes:
        model: as the paper calls it.
        k: prototypes per class.
        captured: attributes captured, of `of`.
        low, high: the chance band (random training images in place of the prototypes), 95 %.
    """

    model: str
    k: int
    captured: float
    of: int
    low: float
    high: float


@dataclass(frozen=True)
class Report:
    """Everything that one `kmex reproduce` found.

    Attributes:
        command: that made it.
        date: ISO.
        machine, versions: where, and with what, by name.
        budget: minutes asked for; 0 without.
        settings, cells, defects, curve: see their types.
        curve_about: which data set and class Figure 5 is of here, and how it was made.
        left: what there was no time for, a sentence each.
    """

    command: str
    date: str
    machine: tuple[tuple[str, str], ...]
    versions: tuple[tuple[str, str], ...]
    budget: float
    settings: tuple[Setting, ...]
    cells: tuple[Cell, ...]
    defects: tuple[DefectRow, ...] = ()
    curve: tuple[CurveRow, ...] = ()
    curve_about: str = ""
    left: tuple[str, ...] = ()
