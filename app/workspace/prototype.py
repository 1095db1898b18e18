"""What a card says of one prototype."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from app.workspace.answer import Answer, Asked, json_answer
from app.workspace.sources import asked_conversion
from kmex_core.base.errors import InputError
from kmex_core.prototypes.source import PrototypeSource
from kmex_core.prototypes.types import NO_IMAGE, Conversion
from kmex_core.stages.subject import Subject

MOST = 12
_NUMBER = re.compile(r"\d{1,9}", re.ASCII)


def prototype(subject: Subject, asked: Asked) -> Answer:
    """The exemplars of a prototype, the images of other classes that it attracts, and its nearest rival: the nearest
    prototype of another class."""
    source, conversion = asked_conversion(subject, asked)
    count, number = len(conversion.prototypes), asked["p"]
    if _NUMBER.fullmatch(number) is None or int(number) >= count:
        raise InputError(f"There is no prototype '{number[:20]}': they are numbered 0 to {count - 1:,}.")
    return json_answer(details_of(subject, source, conversion)(int(number)))


def details_of(subject: Subject, source: PrototypeSource, conversion: Conversion) -> Callable[[int], dict[str, Any]]:
    """What gives the content of `prototype` for the prototypes of a source."""
    import torch

    from kmex_core.prototypes.fit import attracted

    prototypes, module = conversion.prototypes, subject.explainer(source)
    train, device = subject.read(subject.embedding("train")), module.prototypes.device

    def details(p: int) -> dict[str, Any]:
        own, others = attracted(train, prototypes, p, lambda z: module.distance(z.to(device)).detach().cpu())
        classes, counts = np.unique(train.labels[others], return_counts=True)
        order = np.argsort(-counts, kind="stable")
        with torch.no_grad():
            embedded = torch.from_numpy(conversion.embedded[p : p + 1]).to(device)
            distance = module.distance(embedded)[0].cpu().numpy()
        rivals = np.flatnonzero(prototypes.classes != prototypes.classes[p])
        rival = int(rivals[distance[rivals].argmin()]) if len(rivals) else None
        exemplars = prototypes.nearest[p]
        return {
            "exemplars": exemplars[exemplars != NO_IMAGE],
            "own": own[:MOST],
            "attracts": [[int(classes[i]), int(counts[i])] for i in order],
            "others": others[:MOST],
            "rival": None if rival is None else {"p": rival, "distance": float(distance[rival])},
        }

    return details
