"""Sentences about the reproduction of the paper, computed from its reports."""

from __future__ import annotations

from collections.abc import Sequence

from app.wording import message
from kmex_core.base.phrases import joined
from kmex_core.base.plain_text import markdown
from kmex_core.metrics.catalogue import METRICS
from kmex_core.models.kinds import MODEL_KINDS
from kmex_core.reproduction.report import Judged, counted, judged
from kmex_core.reproduction.types import Report, Setting
from kmex_core.reproduction.verdicts import SYMBOLS


def newest(reports: Sequence[Report], dataset: str) -> tuple[Report | None, list[Judged]]:
    """The newest reproduction with measured figures of a data set, else with any, and its verdicts on them.

    Args:
        reports: the newest first.
        dataset: as the paper calls it.
    """
    with_figures = [
        (report, found)
        for report in reports
        if (found := [each for each in judged(report) if each.cell.dataset == dataset])
    ]
    measured = [pair for pair in with_figures if any(each.cell.published is not None for each in pair[1])]
    return next(iter([*measured, *with_figures]), (None, []))


def about(report: Report, found: Sequence[Judged]) -> str:
    """What the verdicts on a data set's figures are of: when, on which device, by which trainings, as Markdown.

    Args:
        report: the reproduction.
        found: its verdicts that are shown.
    """
    settings = list(dict.fromkeys(each.setting for each in found if each.setting is not None))
    devices = dict.fromkeys(markdown(setting.device) for setting in settings)
    on = f" on {joined('and', devices)}" if devices else ""
    trainings = f" Trained: {'; '.join(map(_training, settings))}." if settings else " Nothing was trained for it."
    return (
        f"{counted(found)} By the reproduction of {markdown(report.date[:10])}{on}.{trainings} "
        "Reproduced: within 2 standard deviations of the paper's figure; SE: standard errors of the difference."
    )


def _training(setting: Setting) -> str:
    kind = MODEL_KINDS.get(setting.kind)
    weights = "ImageNet weights" if setting.imagenet else "random weights"
    name = markdown(kind.paper[0] if kind else setting.kind)
    return (
        f"{setting.runs} training{'s' * (setting.runs != 1)} of {name} (paper: {setting.paper_runs}), {setting.epochs} "
        f"of {setting.paper_epochs} epochs, from {weights}"
    )


def reasons(found: Sequence[Judged]) -> str:
    """Every verdict with its reason, as a list in Markdown."""
    return "\n".join(
        f"- **{markdown(each.cell.model)}, {METRICS[each.cell.metric].heading}** (Table {each.cell.table}): "
        f"{SYMBOLS[each.verdict.outcome]} {each.verdict.outcome}{f', {each.how}' if each.how else ''}. "
        f"{message(each.verdict.because)}"
        for each in found
    )
