"""What a reproduction trains and measures, in which order, and how much of it fits into a budget. Computes nothing."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

from kmex_core.analysis.published import Published, figures
from kmex_core.base.phrases import joined
from kmex_core.metrics.catalogue import METRICS
from kmex_core.models.kinds import MODEL_KINDS
from kmex_core.reproduction.recipes import MAP_IMAGES, NETWORK, PAPER_DATA, least_epochs, paper_epochs

BLACK_BOX = "blackbox"  # a key of `MODEL_KINDS`
TABLES = (3, 4, 5, 6, 7, 8)
FAITHFULNESS = 6  # compares each model with the black box
NETWORKS = (NETWORK, "resnet18")  # in this order, where a budget is too small for the first
SPARE = 0.9  # of a budget that is planned for: estimates are not exact

# What is planned with, in units of a training image of the black box. Measured on two CPU cores with a ResNet34 at
# 32×32 pixels; GPUs have about the same ratios.
_STEP = {BLACK_BOX: 1.0, "protopnet": 1.3, "flint": 1.7, "protovae": 1.6}  # a training image
_OTHER_STEP = 1.7
_EMBEDDED = 0.35  # an image's embedding
_ON_MAPS = (17.0, 115.0)  # all metrics on an image's relevance maps: as published, by the second edition
_BESIDE = 1.6  # times as much for models whose maps are compared with the black box's
_CONVERTED = 15.0  # seconds: prototypes, and what is measured on them
LEAST_SEEN = 10_000  # images in a first training, repeats included
LEAST_MAPS = 100  # images for metrics on relevance maps


@dataclass(frozen=True)
class Wanted:
    """What a reproduction is asked for.

    Attributes:
        datasets: keys of `PAPER_DATA`.
        tables: of the paper.
        runs: trainings of each model, each with a seed of its own.
        budget: minutes, 0 for no limit.
    """

    datasets: tuple[str, ...] = tuple(PAPER_DATA)
    tables: tuple[int, ...] = TABLES
    runs: int = 5
    budget: float = 0.0


@dataclass(frozen=True)
class Training:
    """One training.

    Attributes:
        dataset: a key of `PAPER_DATA`.
        kind: a key of `MODEL_KINDS`.
        run: its number, from 0, which is its seed.
        backbone: the name of the network.
        epochs: passes over the training split.
    """

    dataset: str
    kind: str
    run: int
    backbone: str
    epochs: int

    @property
    def name(self) -> str:
        """The model's name in the store; it says what is not the paper's."""
        parts = ["reproduce", self.dataset, self.kind, str(self.run)]
        if self.backbone != NETWORK:
            parts.append(self.backbone)
        if self.epochs != paper_epochs(self.kind, self.dataset):
            parts.append(f"epochs{self.epochs}")
        return "-".join(parts)


@dataclass(frozen=True)
class Part:
    """The trainings of a kind of model on a data set.

    Attributes: those of `Training`, and
        runs: how many.
    """

    dataset: str
    kind: str
    backbone: str
    epochs: int
    runs: int

    def training(self, run: int) -> Training:
        """One of them."""
        return Training(self.dataset, self.kind, run, self.backbone, self.epochs)


@dataclass(frozen=True)
class Plan:
    """What is trained and measured.

    Attributes:
        parts: the trainings, those first that fill most cells of the tables.
        images: for metrics on relevance maps; all test images where there are fewer.
        second: whether those are measured by the second edition, too, on other relevance maps.
        seconds: how long it takes, estimated; 0 where that was not asked for.
        imagenet: whether trainings start from ImageNet weights, as the paper's do.
        datasets: those that are there.
        cut: what is less than the paper's for want of time, a sentence each.
    """

    parts: tuple[Part, ...] = ()
    images: int = MAP_IMAGES
    second: bool = True
    seconds: float = 0.0
    imagenet: bool = True
    datasets: tuple[str, ...] = ()
    cut: tuple[str, ...] = ()

    def trainings(self) -> list[Training]:
        """In order: the first run of every part, then the second of each."""
        most = max((part.runs for part in self.parts), default=0)
        return [part.training(run) for run in range(most) for part in self.parts if run < part.runs]

    def part(self, kind: str, name: str) -> Part | None:
        """The trainings of a kind of model on a data set; None where there are none."""
        return next((part for part in self.parts if (part.kind, part.dataset) == (kind, name)), None)


@cache
def cells_of(kind: str, name: str, tables: tuple[int, ...]) -> tuple[Published, ...]:
    """The paper's figures that trainings of a kind of model on a data set are needed for."""
    title = PAPER_DATA[name].paper
    return tuple(
        figure
        for figure in figures()
        if figure.dataset == title and figure.table in tables and figure.model in MODEL_KINDS[kind].paper
    )


def kinds_of(tables: tuple[int, ...]) -> list[str]:
    """The kinds of models that tables need, those first that fill most cells."""
    count = {kind: sum(len(cells_of(kind, name, tables)) for name in PAPER_DATA) for kind in MODEL_KINDS}
    # the maps of the others are compared with the black box's, which comes first
    if FAITHFULNESS in tables:
        count[BLACK_BOX] = max(count.values())
    return sorted((kind for kind in count if count[kind]), key=lambda kind: -count[kind])


def whole(wanted: Wanted, names: Sequence[str]) -> Plan:
    """The paper's whole programme on some data sets."""
    parts = (
        Part(name, kind, NETWORKS[0], paper_epochs(kind, name), wanted.runs)
        for kind in kinds_of(wanted.tables)
        for name in names
    )
    return Plan(tuple(parts), MAP_IMAGES, datasets=tuple(names))


# ---- a budget -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Costs:
    """What a budget is planned by.

    Attributes:
        images: of the training and the test split, by data set.
        speed: training images of the black box in a second, by data set.
        done: the names of models that are trained already.
    """

    images: Mapping[str, tuple[int, int]]
    speed: Mapping[str, float]
    done: frozenset[str] = field(default=frozenset())

    def training(self, training: Training) -> float:
        """Seconds for a training; none for one that is done."""
        if training.name in self.done:
            return 0.0
        seen = training.epochs * self.images[training.dataset][0]
        return seen * _STEP.get(training.kind, _OTHER_STEP) / self.speed[training.dataset]

    def measuring(self, training: Training, images: int, second: bool, on_maps: bool) -> float:
        """Seconds for everything that is measured of a trained model."""
        train, test = self.images[training.dataset]
        of_maps = min(images, test) * sum(_ON_MAPS[: 1 + second]) * on_maps
        of_maps *= 1.0 if training.kind == BLACK_BOX else _BESIDE
        return _CONVERTED + ((train + test) * _EMBEDDED + of_maps) / self.speed[training.dataset]

    def part(self, part: Part, images: int, second: bool, tables: tuple[int, ...]) -> float:
        """Seconds for all trainings of a part, and what is measured of them."""
        on_maps = bool(_on_maps(part.kind, part.dataset, tables))
        trainings = [part.training(run) for run in range(part.runs)]
        return sum(self.training(each) + self.measuring(each, images, second, on_maps) for each in trainings)


@cache
def _on_maps(kind: str, name: str, tables: tuple[int, ...]) -> int:
    """How many cells are of metrics on relevance maps."""
    return sum(METRICS[figure.metric].maps for figure in cells_of(kind, name, tables))


def within(wanted: Wanted, names: Sequence[str], costs: Callable[[str], Costs], seconds: float) -> Plan:
    """The largest plan that fits into a time: by a smaller network where not one training of the paper's fits, and of
    fewer steps where not one of that fits either.

    Plans of more time have everything that those of less time have, by the same network or by one nearer the paper's,
    unless the smaller one had to be of fewer steps.

    Args:
        wanted: what is asked for.
        names: the data sets that are there.
        costs: by network, asked for only when needed.
        seconds: of which `SPARE` is planned for.
    """
    plan, known = Plan(), cache(costs)
    for backbone, seen in ((NETWORKS[0], LEAST_SEEN), (NETWORKS[-1], LEAST_SEEN), (NETWORKS[-1], 1)):
        for larger in growing(wanted, names, known(backbone), backbone, seen):
            if larger.seconds > seconds * SPARE:
                break
            plan = larger
        if plan.parts:
            break
    return replace(plan, datasets=tuple(names), cut=tuple(_cut(plan, wanted, names)))


def growing(
    wanted: Wanted, names: Sequence[str], costs: Costs, backbone: str, seen: int = LEAST_SEEN
) -> Iterator[Plan]:
    """Ever larger plans, up to the paper's whole programme by this network.

    Each has one step more than the one before: the one that fills, or makes better, most cells per second. Steps are a
    first training, twice the epochs, another run, twice the images for metrics on relevance maps, and the second
    edition of those.

    Args:
        wanted, names: see `within`.
        costs: of this network.
        backbone: the name of the network.
        seen: images in a first training, repeats included, unless the paper's epochs have fewer.
    """
    order = {(part.kind, part.dataset): place for place, part in enumerate(whole(wanted, names).parts)}
    known: dict[tuple[Part, int, bool], float] = {}

    def timed(plan: Plan) -> Plan:
        of_parts = [(part, plan.images, plan.second) for part in plan.parts]
        known.update({each: costs.part(*each, wanted.tables) for each in of_parts if each not in known})
        return replace(plan, seconds=sum(known[each] for each in of_parts))

    plan = Plan(images=LEAST_MAPS, second=False)
    while steps := [(gain, timed(step)) for gain, step in _steps(plan, wanted, order, costs, backbone, seen)]:
        before = plan.seconds
        _, plan = max(steps, key=lambda each: each[0] / max(each[1].seconds - before, 1e-9))
        yield plan


def _steps(
    plan: Plan, wanted: Wanted, order: Mapping[tuple[str, str], int], costs: Costs, backbone: str, seen: int
) -> Iterator[tuple[float, Plan]]:
    """What can come next, and how much it is worth in cells."""

    def with_part(part: Part) -> Plan:
        others = [each for each in plan.parts if (each.kind, each.dataset) != (part.kind, part.dataset)]
        parts = sorted([*others, part], key=lambda each: order[each.kind, each.dataset])
        return replace(plan, parts=tuple(parts))

    for kind, name in order:
        part, most = plan.part(kind, name), paper_epochs(kind, name)
        cells = max(1, len(cells_of(kind, name, wanted.tables)))
        beside = plan.part(BLACK_BOX, name)  # maps of the others are compared with the black box's of the same run
        runs = wanted.runs if kind == BLACK_BOX or (BLACK_BOX, name) not in order else beside.runs if beside else 0
        if part is None:
            if runs:
                least = max(least_epochs(kind), math.ceil(seen / costs.images[name][0]))
                first = Part(name, kind, backbone, most, 1)
                epochs = most if first.training(0).name in costs.done else min(most, least)
                yield cells, with_part(replace(first, epochs=epochs))
            continue
        if part.epochs < most:
            yield cells / 2, with_part(replace(part, epochs=min(most, 2 * part.epochs)))
        if part.runs < runs:
            yield cells / (2 * part.runs), with_part(replace(part, runs=part.runs + 1))
    on_maps = sum(_on_maps(part.kind, part.dataset, wanted.tables) for part in plan.parts)
    if on_maps and not plan.second:
        yield on_maps / 4, replace(plan, second=True)
    if on_maps and plan.images < MAP_IMAGES:
        yield on_maps / 16, replace(plan, images=min(MAP_IMAGES, 2 * plan.images))


def _cut(plan: Plan, wanted: Wanted, names: Sequence[str]) -> Iterator[str]:
    """What is less than the paper's, in words."""
    if not names:
        return
    if not plan.parts:
        yield f"Not one training fits into {_minutes(wanted.budget)}."
        return
    if any(part.backbone != NETWORKS[0] for part in plan.parts):
        yield f"{plan.parts[0].backbone} in place of {NETWORKS[0]}, of which not one training fits."
    for part in plan.parts:
        most = paper_epochs(part.kind, part.dataset)
        less = [f"{part.epochs} of {most} epochs"] * (part.epochs < most)
        less += [f"{part.runs} of {wanted.runs} trainings"] * (part.runs < wanted.runs)
        if less:
            yield f"{title_of(part.kind, part.dataset)}: {joined('and', less)}."
    on_maps = any(_on_maps(part.kind, part.dataset, wanted.tables) for part in plan.parts)
    if on_maps and plan.images < MAP_IMAGES:
        yield f"Metrics on relevance maps: {plan.images} of {MAP_IMAGES:,} images."
    if on_maps and not plan.second:
        yield "Metrics on relevance maps: as published only, not by the second edition."
    missing = [part for part in whole(wanted, names).parts if plan.part(part.kind, part.dataset) is None]
    for kind in Counter(part.kind for part in missing):
        on = joined("and", [PAPER_DATA[part.dataset].title for part in missing if part.kind == kind])
        yield f"Not trained: {MODEL_KINDS[kind].title} on {on}."


def title_of(kind: str, name: str) -> str:
    """The trainings of a kind of model on a data set, in words, as a sentence begins with them."""
    title = MODEL_KINDS[kind].title
    return f"{title[:1].upper()}{title[1:]} on {PAPER_DATA[name].title}"


def _minutes(minutes: float) -> str:
    return f"{minutes:g} minute{'s' if minutes != 1 else ''}"
