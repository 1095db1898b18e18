"""The model as files to take away."""

from __future__ import annotations

from app import read
from app.components.shared.downloads import show_download
from app.report import html_report
from app.selection import Selection


def offer_report(chosen: Selection) -> None:
    """Show the button that downloads a report; it is made when it is clicked, from what the store has."""
    subject = read.subject(chosen.model)
    show_download(
        "Report (HTML)",
        lambda: html_report(subject, chosen.source)[0],
        f"{chosen.model.name}-{chosen.source.slug}-report.html",
        "One file that any browser opens offline: prototypes, embedding map, every number of prototypes per class with "
        "a slider, and evaluation. It contains what has been computed, and names the commands for the rest. "
        "`python -m kmex_core export` writes it, too, and a table of all images or a model card.",
    )
