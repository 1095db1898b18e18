"""The probabilities of an image's classes as a file."""

from __future__ import annotations

from app import read
from app.components.shared.downloads import show_download
from app.links import picked
from app.selection import Selection
from app.workspace.answer import Asked
from app.workspace.board import looked, question
from app.workspace.pictures import picture_of
from app.workspace.sources import source_text
from kmex_core.analysis.tables.prototypes import prediction_table
from kmex_core.base.errors import InputError
from kmex_core.base.plain_text import table_csv


def show_predictions_download(chosen: Selection, picture: str) -> None:
    """Show the download of what is predicted for an image, by its name as the board has it."""
    subject = read.subject(chosen.model)
    try:
        picture_of(subject.data, picture)
    except InputError:  # the board says why
        return
    query = {"source": source_text(chosen.source), "picture": picture, "framing": picked("framing")}

    def content() -> str:
        found = question(subject, Asked(subject.conversion(chosen.source).key, query))
        prediction, prototypes = looked(found).prediction, found.conversion.prototypes
        return table_csv(
            prediction_table(
                chosen.model.class_names,
                prediction.black_box,
                prediction.kmex,
                prediction.similarity,
                prototypes.classes,
            )
        )

    show_download("Predictions as CSV", content, "predictions.csv")
