"""Explain: an image, the predictions, the prototypes that it looks like, and where."""

from __future__ import annotations

from app import read
from app.components.explain.board import show_board
from app.components.explain.download import show_predictions_download
from app.components.explain.image_picker import is_upload, pick_image
from app.components.shared.notes import show_notes
from app.components.shared.preparation import prepare
from app.components.shared.title import show_title
from app.state import selection

chosen = selection()

show_title("Explain")
prepare(chosen.model)
show_notes(chosen)
picture = pick_image(chosen, read.conversion(chosen))
show_board(chosen, picture, is_upload())
if picture:
    show_predictions_download(chosen, picture)
