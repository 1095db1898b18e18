"""Everything that can be asked of a workspace, by the first part of its address."""

from __future__ import annotations

from collections.abc import Callable

from app.workspace.answer import Answer, Asked, Gone
from app.workspace.board import board
from app.workspace.certainty import certainty
from app.workspace.cloud import attributes, cloud
from app.workspace.edits import MOST_SENT, edits, versions
from app.workspace.layers import layer
from app.workspace.maps import contrast, maps, verdicts
from app.workspace.pictures import MOST_SENT as MOST_OF_PICTURE
from app.workspace.pictures import pictures
from app.workspace.prototype import prototype
from kmex_core.base.errors import InputError
from kmex_core.stages.subject import Subject

Ask = Callable[[Subject, Asked], Answer]
# what is read
READ: dict[str, Ask] = {
    "attributes": attributes,
    "board": board,
    "certainty": certainty,
    "cloud": cloud,
    "contrast": contrast,
    "layer": layer,
    "maps": maps,
    "prototype": prototype,
    "verdicts": verdicts,
}
# what is sent, with the most bytes that it may have
SENT: dict[str, tuple[Ask, int]] = {
    "edits": (edits, MOST_SENT),
    "pictures": (pictures, MOST_OF_PICTURE),
    "versions": (versions, MOST_SENT),
}


def read(subject: Subject, kind: str, asked: Asked) -> Answer:
    """Answer what is asked for.

    Raises:
        Gone: for what is not there.
        InputError: for what cannot be asked.
    """
    if kind not in READ:
        raise Gone(f"A workspace has no '{kind[:40]}'.")
    return READ[kind](subject, asked)


def send(subject: Subject, kind: str, asked: Asked) -> Answer:
    """Answer what was sent, see `read`."""
    if kind not in SENT:
        raise Gone(f"A workspace takes no '{kind[:40]}'.")
    ask, most = SENT[kind]
    if len(asked.body) > most:
        raise InputError(f"Expected at most {most >> 20:,} MB, got {len(asked.body) >> 20:,}.")
    return ask(subject, asked)
