"""What is measured of the compared models, and one job for what is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from app import read
from app.components.shared.job_panel import offer
from app.selection import Selection, all_sources
from app.wording import message
from kmex_core.base.phrases import joined
from kmex_core.commands.comparison import comparison_job
from kmex_core.metrics.types import Evaluation
from kmex_core.models.info import ModelInfo
from kmex_core.prototypes.source import KMeans, Version
from kmex_core.relevance.catalogue import PUBLISHED
from kmex_core.stages.versions import usable_versions


@dataclass(frozen=True, eq=False)
class Compared:
    """A model by one of its sources of prototypes.

    Attributes:
        selection: which.
        evaluation: its measurements; None while the model's images have not passed through its network.
    """

    selection: Selection
    evaluation: Evaluation | None

    @property
    def label(self) -> str:
        """Its row, see `comparison.labels_of`."""
        return label_of(self.selection)


def label_of(selection: Selection) -> str:
    """What a model by one of its sources is called, as `comparison.labels_of` does."""
    name, source = selection.model.name, selection.source
    if source.built_in:
        return name
    return f"{name} + KMEx ({source.name})" if isinstance(source, Version) else f"{name} + KMEx"


def prepared_models(infos: Sequence[ModelInfo], kmeans: KMeans) -> list[Selection]:
    """Every model by each of its sources, whose images have passed through its network."""
    return [each for info in infos if read.subject(info).is_embedded for each in _sources(info, kmeans)]


def _sources(info: ModelInfo, kmeans: KMeans) -> list[Selection]:
    """A model by its built-in prototypes, by those of KMEx, and by each saved version of these."""
    subject = read.subject(info)
    return all_sources(info, kmeans, usable_versions(subject) if subject.is_embedded else ())


def compared_models(infos: Sequence[ModelInfo], kmeans: KMeans, images: int, runs: int) -> list[Compared]:
    """Every model by each of its sources; prototypical ones on their own, then with KMEx.

    Relevance maps are the published ones, as in `kmex compare`: the paper's figures are of those.
    """
    return [
        Compared(
            selection,
            read.evaluation(selection, range(runs), images, PUBLISHED) if read.subject(info).is_embedded else None,
        )
        for info in infos
        for selection in _sources(info, kmeans)
    ]


def measure_all(compared: Sequence[Compared], kmeans: KMeans, images: int, runs: int) -> None:
    """Show one button that measures everything that is missing, or the job's progress; and what cannot be measured.

    Models of equal weights have equal results, and are measured once.
    """
    missing: dict[str, Selection] = {}
    without: dict[str, list[str]] = {}
    unprepared: dict[str, None] = {}
    for each in compared:
        chosen = each.selection
        scores = read.subject(chosen.model).relevance_scores(chosen.source.seeded(0), images, maps=PUBLISHED)
        if each.evaluation is None:
            unprepared[chosen.model.name] = None
        elif _has_maps(chosen, images, runs):
            continue
        elif why := read.why_no_maps(chosen, PUBLISHED):
            without.setdefault(why, []).append(each.label)
            continue
        missing.setdefault(scores.key, chosen)
    for why, labels in without.items():
        st.caption(message(f"No relevance maps of {joined('and', labels)}: {why}"))
    if not missing:
        return
    maps = [label_of(chosen) for chosen in missing.values() if chosen.model.name not in unprepared]
    lacking = [f"the embedding of {joined('and', unprepared)}"] if unprepared else []
    lacking += [f"relevance maps of {joined('and', maps)}"] if maps else []
    st.caption(message(f"Not measured yet: {'; '.join(lacking)}."))
    offer(
        comparison_job(
            [(read.subject(chosen.model), chosen.source) for chosen in missing.values()], kmeans, images, runs
        ),
        "Measure all",
        f"Measuring {joined('and', [label_of(chosen) for chosen in missing.values()])}.",
        "One job measures everything that is missing, model by model, in the background: seconds for the demos, "
        "minutes for 1,000 images of a ResNet34 on two cores. Finished measurements are kept.",
        "primary",
    )


def _has_maps(chosen: Selection, images: int, runs: int) -> bool:
    return all(read.scores(chosen, images, seed, PUBLISHED) is not None for seed in range(runs))
