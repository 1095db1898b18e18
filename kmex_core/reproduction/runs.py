"""The paper reproduced: what is missing is trained, converted and measured; a report is stored after each step."""

from __future__ import annotations

import datetime
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from kmex_core.base import cores
from kmex_core.base.devices import checked_device
from kmex_core.base.errors import InputError, KMExError, StoreError
from kmex_core.base.location import REPRODUCTIONS
from kmex_core.base.phrases import first_few
from kmex_core.base.progress import Event, Progress, silent
from kmex_core.base.provenance import versions
from kmex_core.base.store import Store, demand_writable
from kmex_core.metrics.catalogue import METRICS
from kmex_core.metrics.types import Evaluation
from kmex_core.models import catalogue
from kmex_core.models.info import ModelInfo
from kmex_core.models.kinds import MODEL_KINDS
from kmex_core.prototypes.metric import AUTO, EUCLIDEAN
from kmex_core.prototypes.source import BuiltIn, KMeans, PrototypeSource
from kmex_core.relevance.catalogue import PUBLISHED
from kmex_core.reproduction import recipes, stored
from kmex_core.reproduction.beside import Beside, beside
from kmex_core.reproduction.cells import Findings, Taken, cells, names_of, settings
from kmex_core.reproduction.plan import BLACK_BOX, TABLES, Costs, Plan, Training, Wanted, title_of, whole, within
from kmex_core.reproduction.trainings import Workshop, speed, train_all
from kmex_core.reproduction.types import Report
from kmex_core.stages.evaluation import evaluate
from kmex_core.stages.subject import Subject

Teller = Callable[[str], None]
GOES_ON = "The same command with --resume goes on."
FOR_TABLES = 0.75  # of a budget, where the defects of the released code and Figure 5 are made beside all tables


# ---- measuring ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Beside(Subject):
    """A model whose maps are compared with those of the black box of the same run, whatever else is in the store."""

    black_box: ModelInfo | None = None

    def reference(self) -> ModelInfo | None:
        """That black box."""
        return self.black_box


@dataclass(frozen=True, eq=False)
class _Measuring:
    """Everything that the wanted tables need of one model. Stored measurements are reused.

    Attributes:
        training: the model's.
        subject: the model.
        tables: of the paper.
        images: for metrics on relevance maps.
    """

    training: Training
    subject: Subject
    tables: tuple[int, ...]
    images: int

    def sources(self, second: bool) -> Iterator[tuple[tuple[str, ...], PrototypeSource, list[str]]]:
        """What the paper calls the model and its KMEx, their prototypes, and the metrics that are needed of them; a
        black box is measured with its KMEx."""
        kind, name = self.training.kind, self.training.dataset
        own, kmex = MODEL_KINDS[kind].paper
        k, metric = recipes.PAPER_DATA[name].k, AUTO if second else EUCLIDEAN
        by_kmex = KMeans(k, self.training.run, metric)
        both: list[tuple[tuple[str, ...], PrototypeSource]] = [((own, kmex), by_kmex)]
        apart: list[tuple[tuple[str, ...], PrototypeSource]] = [((own,), BuiltIn()), ((kmex,), by_kmex)]
        for models, source in both if kind == BLACK_BOX else apart:
            if metrics := names_of(kind, name, models, self.tables, second):
                yield models, source, metrics

    def published(self) -> dict[str, Evaluation]:
        """As published, by what the paper calls the model."""
        found: dict[str, Evaluation] = {}
        for models, source, metrics in self.sources(False):
            found |= dict.fromkeys(
                models, evaluate([self.subject], source, [self.training.run], self.images, metrics, PUBLISHED)
            )
        return found

    def second(self, on_maps: bool) -> dict[str, Evaluation]:
        """By the second edition; metrics on relevance maps only if they are asked for, or stored already."""
        found: dict[str, Evaluation] = {}
        for models, source, metrics in self.sources(True):
            chosen = [name for name in metrics if not METRICS[name].maps or on_maps or self._is_stored(source)]
            if chosen:
                found |= dict.fromkeys(
                    models, evaluate([self.subject], source, [self.training.run], self.images, chosen)
                )
        return found

    def _is_stored(self, source: PrototypeSource) -> bool:
        scores = self.subject.relevance_scores(source, self.images, self.training.run)
        beside = self.subject.reference_divergence(self.images, self.training.run) if source.built_in else None
        return scores.exists() and (beside is None or beside.exists())

    def is_whole(self, taken: Taken) -> bool:
        """Whether all of the second edition was measured."""
        return all(
            models[0] in taken.second and name in taken.second[models[0]].metrics
            for models, _, metrics in self.sources(True)
            for name in metrics
        )


# ---- all of it ------------------------------------------------------------------------------------------------------


@dataclass
class _State:
    """What is known so far.

    Attributes:
        workshop, wanted, plan, missing: see `Workshop` and `Findings`.
        taken, failed, beside: so far.
    """

    workshop: Workshop
    wanted: Wanted
    plan: Plan
    missing: Mapping[str, str]
    taken: dict[Training, Taken] = field(default_factory=dict)
    failed: dict[Training, str] = field(default_factory=dict)
    beside: Beside = field(default_factory=Beside)

    @property
    def findings(self) -> Findings:
        """What a report is made from."""
        return Findings(self.wanted, self.plan, self.workshop.data, self.missing, self.taken, self.failed)

    def measuring(self, training: Training, info: ModelInfo) -> _Measuring:
        """What is measured of a model."""
        workshop = self.workshop
        subject = _Beside(
            workshop.store,
            info,
            workshop.data[training.dataset],
            workshop.device,
            workshop.reporting(training),
            black_box=self._black_box(training),
        )
        return _Measuring(training, subject, self.wanted.tables, self.plan.images)

    def _black_box(self, training: Training) -> ModelInfo | None:
        """The black box of the same run, or else of the last run before that there is; None without one."""
        part, store = self.plan.part(BLACK_BOX, training.dataset), self.workshop.store
        names = [part.training(run).name for run in range(min(training.run, part.runs - 1), -1, -1)] if part else []
        name = next((name for name in names if name in catalogue.known_names(store)), "")
        return catalogue.describe(store, name) if name else None

    def measure(self, training: Training, info: ModelInfo, on_maps: bool = False) -> None:
        """Measure a model, or keep why that cannot be done, and store the report."""
        measuring = self.measuring(training, info)
        try:
            taken = self.taken[training] = Taken(training, info, measuring.published(), {})
            self.taken[training] = replace(taken, second=measuring.second(on_maps))
        except StoreError:
            raise
        except KMExError as error:
            self.failed[training] = f"{title_of(training.kind, training.dataset)} could not be measured: {error}"
        self.save()

    def without_second(self) -> list[Taken]:
        """What lacks measurements by the second edition."""
        wanted = [taken for each, taken in self.taken.items() if self.plan.second and each not in self.failed]
        return [taken for taken in wanted if not self.measuring(taken.training, taken.info).is_whole(taken)]

    def save(self) -> Report:
        """Store the report as it is now."""
        findings = self.findings
        report = Report(
            command=self.workshop.command,
            date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            machine=_machine(self.workshop.device),
            versions=tuple(versions().items()),
            budget=self.wanted.budget,
            settings=settings(findings),
            cells=cells(findings),
            defects=self.beside.defects,
            curve=self.beside.curve,
            curve_about=self.beside.curve_about,
            left=(*self._left(findings), *self.beside.left),
        )
        stored.save(self.workshop.store, self.wanted, report, self.plan)
        return report

    def _left(self, findings: Findings) -> Iterator[str]:
        """What there was no time for, and what failed."""
        yield from findings.plan.cut
        yield from dict.fromkeys(findings.failed.values())
        if pending := findings.pending():
            names = first_few([f"{title_of(each.kind, each.dataset)} (run {each.run + 1})" for each in pending], 8)
            yield f"Not trained and measured yet: {names}. {GOES_ON}"
        elif self.without_second():
            yield f"Not measured yet: metrics on relevance maps by the second edition. {GOES_ON}"


def reproduce(
    store: Store,
    wanted: Wanted,
    *,
    data_root: str = "",
    device: str = "",
    resume: bool = False,
    command: str = "",
    progress: Progress = silent,
    tell: Teller = lambda sentence: None,
) -> Report:
    """Train what is missing, measure it, and store the report after every training and every measurement.

    An interruption loses the epoch or the measurement in progress; with `resume` everything else is read from the
    store, and the plan stays as it was, unless it was of nothing or there are other data sets now.

    Args:
        store: receives models, results and the report.
        wanted: what is asked for.
        data_root: where the data sets are.
        device: a torch device; a GPU if there is one when empty.
        resume: go on with the report of these options, if there is one.
        command: for provenance.
        progress: called after every step; it may raise to stop.
        tell: called with sentences for people before the work begins.

    Raises:
        InputError: when a report of these options is there and `resume` is not asked for, and for data sets, models or
            a device that cannot be used.
        StoreError: when the store cannot be written.
    """
    demand_writable("The paper cannot be reproduced")
    began, device = time.monotonic(), checked_device(device)
    busy = "These tables are being reproduced by another process right now. Wait until it has finished, or stop it."
    with store.locked(REPRODUCTIONS, stored.spec_of(wanted).key, busy):
        before = stored.load(store, wanted)
        if before is not None and not resume:
            raise InputError(
                f"A report with these options is in the store, of {before[0].date[:10]}. Continue with --resume, which "
                "trains and measures what it lacks; or choose other options."
            )
        opened = {name: recipes.opened(name, data_root, progress) for name in wanted.datasets}
        data = {name: found for name, found in opened.items() if not isinstance(found, str)}
        missing = {name: found for name, found in opened.items() if isinstance(found, str)}
        for sentence in missing.values():
            tell(sentence)
        until = began + wanted.budget * 60 if wanted.budget else float("inf")
        workshop = Workshop(store, data, data_root, device, command, progress, until)
        plan = before[1] if before is not None else Plan()
        if not plan.parts or plan.datasets != tuple(data):
            plan = _planned(workshop, wanted, tell)
        for sentence in plan.cut:
            tell(sentence)
        state = _State(replace(workshop, imagenet=plan.imagenet), wanted, plan, missing)
        state.save()
        _work(state)
        if wanted.tables == TABLES and data:  # the whole paper
            state.beside = _beside(state)
        return state.save()


def _work(state: _State) -> None:
    """Train and measure as published, then what is measured on other maps."""

    def finished(training: Training, found: ModelInfo | str) -> None:
        if isinstance(found, str):
            state.failed[training] = found
            state.save()
        else:
            state.measure(training, found)

    train_all(state.workshop, state.plan.trainings(), finished)
    for taken in state.without_second():
        if time.monotonic() >= state.workshop.until:
            return
        state.measure(taken.training, taken.info, on_maps=True)


def _beside(state: _State) -> Beside:
    """The defects on the first black box that there is, and Figure 5."""
    parts, taken = state.plan.parts, [each for each in state.taken.values() if each.training.kind == BLACK_BOX]
    subject = state.measuring(taken[0].training, taken[0].info).subject if taken else None
    k = recipes.PAPER_DATA[taken[0].training.dataset].k if taken else 5
    backbone = parts[0].backbone if parts else recipes.NETWORK
    # the plan says nothing of it where nothing was left to train
    imagenet = state.plan.imagenet and not recipes.why_no_imagenet(backbone)
    workshop = replace(state.workshop, imagenet=imagenet)
    return beside(workshop, subject, KMeans(k, 0, EUCLIDEAN), backbone, state.plan.images)


def _planned(workshop: Workshop, wanted: Wanted, tell: Teller) -> Plan:
    """What is done: all of it, or what fits into the budget by the speed of this machine."""
    names, done = list(workshop.data), frozenset(catalogue.known_names(workshop.store))
    plan = whole(wanted, names)
    if wanted.budget and names:
        seconds = wanted.budget * 60 * (FOR_TABLES if wanted.tables == TABLES else 1.0)
        plan = within(wanted, names, lambda backbone: _costs(workshop, backbone, done, tell), seconds)
        tell(f"Planned: {len(plan.trainings())} trainings, about {plan.seconds / 60:.0f} minutes.")
    if all(each.name in done for each in plan.trainings()):
        return plan
    why = recipes.why_no_imagenet(plan.parts[0].backbone)
    if why:
        tell(why)
    return replace(plan, imagenet=not why)


def _costs(workshop: Workshop, backbone: str, done: frozenset[str], tell: Teller) -> Costs:
    """What a network costs on each data set: measured once for images of a size."""
    by_size: dict[int, float] = {}
    for name, data in workshop.data.items():
        if data.image_size not in by_size:
            workshop.progress(Event("Measuring the speed of training", len(by_size), 0, group=backbone))
            by_size[data.image_size] = speed(data, name, backbone, workshop.device)
            side = f"{data.image_size}×{data.image_size}"
            tell(f"{backbone} trains on {by_size[data.image_size]:,.0f} images of {side} pixels a second here.")
    return Costs(
        {name: (len(data.split("train")), len(data.split("test"))) for name, data in workshop.data.items()},
        {name: by_size[data.image_size] for name, data in workshop.data.items()},
        done,
    )


def _machine(device: str) -> tuple[tuple[str, str], ...]:
    """Where this runs, by name."""
    import torch

    on_gpu = torch.device(device).type == "cuda"
    return (
        ("system", platform.system()),
        ("processor", _processor()),
        ("cores", str(cores.count())),
        ("device", torch.cuda.get_device_name(device) if on_gpu else device),
    )


def _processor() -> str:
    """The processor's name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()
