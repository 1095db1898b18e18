"""What the command decides about a draft: asked for in a job, read from its answer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from app import read
from app.access import dataset_to_open, file_to_open, network_to_open
from app.components.new.answers import answer_of, known_answer
from app.components.new.draft import OpenDraft
from app.components.shared.messages import show_error
from app.wording import MEANWHILE
from kmex_core.base.errors import InputError, KMExError
from kmex_core.commands.new import DECIDE, decision_job
from kmex_core.stages import drafts
from kmex_core.stages.new_model import NewRequest
from kmex_core.stages.new_report import KEYS


def request_of(opened: OpenDraft, name: str = "") -> NewRequest:
    """What a draft asks for, with its paths as pages may open them.

    Args:
        opened: the draft, with images and a network.
        name: of the model in the store.

    Raises:
        InputError: for what pages may not open.
    """
    draft = opened.draft
    weights = draft.weights
    if weights and not drafts.is_upload_of(read.store(), opened.name, weights):
        weights = file_to_open(weights)
        if not Path(weights).is_file():
            raise InputError(f"There is no file '{draft.weights_name or draft.weights}'. Choose the weights again.")
    opens = replace(draft, name=name, model=network_to_open(draft.model), weights=weights)
    return drafts.request(read.store(), opens, replace(draft.spec, name=dataset_to_open(draft.images)))


def decision_of(opened: OpenDraft, report: dict[str, Any]) -> dict[str, Any] | None:
    """What was decided about a draft as it is now; None while that is decided (the page shows its progress) or refused.

    Args:
        opened: the draft.
        report: on its images.
    """
    try:
        request = decision_job(request_of(opened), opened.draft.about, report["fingerprint"])
    except KMExError as error:
        show_error(str(error))
        return None
    answer = answer_of(
        request,
        KEYS,
        "Looking at your model.",
        "It is built, run on a few images to find its head, and checked on up to 500 held-out images. "
        f"Weights that are not here yet are downloaded first. {MEANWHILE}",
    )
    if answer is not None and opened.draft.decision != request.name:
        opened.change(decision=request.name)
    return answer


def earlier_decision(opened: OpenDraft) -> dict[str, Any] | None:
    """What was last decided about these images and this network, with other settings."""
    name = opened.draft.decision
    return known_answer(name, KEYS) if name.startswith(f"{DECIDE}{opened.draft.about}-") else None
