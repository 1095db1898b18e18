"""This looks like that: what a picture is taken for, where it lands on the map, and which prototypes it looks like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from app.claims.framing import prepared
from app.claims.predictions import decides, far_away, how_far, scale, usual, verdict
from app.figures.overlay import address
from app.prototype_names import prototype_name
from app.selection import Selection
from app.workspace.answer import Answer, Asked, json_answer
from app.workspace.bounded import Bounded
from app.workspace.pictures import Shown, picture_of
from app.workspace.sources import asked_conversion
from kmex_core.base import cores
from kmex_core.base.plain_text import spans
from kmex_core.data.display import reduced
from kmex_core.data.framing import Framing, framed, read_framing
from kmex_core.prototypes.types import Conversion, Prototypes
from kmex_core.relevance.catalogue import usable_methods
from kmex_core.relevance.types import Prediction
from kmex_core.stages.subject import Subject

ROLES = {"nearest": "Nearest", "rival": "Nearest of another class", "second": "Second of the class"}
WHOLE = 320  # pixels of the longer side of the picture in which a region is chosen


@dataclass(frozen=True, eq=False)
class Question:
    """A picture and the prototypes that are to explain it.

    Attributes:
        subject: the model.
        chosen: the same with the source of its prototypes.
        key: of the prototypes in the store.
        conversion: the prototypes.
        shown: the picture.
        framing: of it.
    """

    subject: Subject
    chosen: Selection
    key: str
    conversion: Conversion
    shown: Shown
    framing: Framing

    @property
    def names(self) -> tuple[str, ...]:
        """What tells this question from others."""
        return self.subject.info.name, self.key, self.shown.picture, self.framing.text

    @property
    def pixels(self) -> np.ndarray:
        """The picture as it is framed."""
        return framed(self.shown.pixels, self.framing)


def question(subject: Subject, asked: Asked) -> Question:
    """What an address asks.

    Raises:
        Gone: for a picture that is not, or no longer, in memory; see `asked_conversion`.
        InputError: for a framing or a picture that cannot be.
    """
    source, conversion = asked_conversion(subject, asked)
    framing = read_framing(asked.query.get("framing", ""))
    shown = picture_of(subject.data, asked["picture"])
    return Question(subject, Selection(subject.info, source), asked.key, conversion, shown, framing)


@dataclass(frozen=True, eq=False)
class Looked:
    """What a network makes of a picture.

    Attributes:
        prediction: what it is taken for.
        z: (1, D) float32, its embedding.
        seen: (H, W, 1 or 3) uint8, the picture as the network sees it.
    """

    prediction: Prediction
    z: np.ndarray
    seen: np.ndarray

    @property
    def bytes(self) -> int:
        """How much memory it takes, about."""
        arrays = (self.z, self.seen, self.prediction.distance, self.prediction.similarity, self.prediction.kmex)
        return sum(array.nbytes for array in arrays)


_looked: Bounded[Looked] = Bounded(256, 32 * 2**20, lambda looked: looked.bytes)


def looked(asked: Question) -> Looked:
    """What a network makes of a picture, remembered."""
    from kmex_core.data.network_input import normalise, to_pixels
    from kmex_core.relevance.explain import prediction_and_embedding

    def make() -> Looked:
        preprocessing = asked.subject.info.preprocessing
        with cores.shared():
            pixels = to_pixels([asked.pixels], preprocessing)
            module = asked.subject.explainer(asked.chosen.source)
            prediction, z = prediction_and_embedding(module, normalise(pixels, preprocessing))
        return Looked(prediction, z, pixels[0].permute(1, 2, 0).numpy())

    return _looked.made(asked.names, make)


def compared(prediction: Prediction, classes: np.ndarray) -> dict[str, int]:
    """The prototypes that a picture is compared with: the nearest of the predicted class, the nearest of all others,
    and the second of the predicted class, as far as there are such.

    Args:
        prediction: of the picture.
        classes: (K,) of the prototypes.
    """
    order = np.argsort(prediction.distance, kind="stable")
    own = order[classes[order] == prediction.predicted]
    others = order[classes[order] != prediction.predicted]
    found = zip(ROLES, (own[:1], others[:1], own[1:2]), strict=True)
    return {role: int(p[0]) for role, p in found if len(p)}


def board(subject: Subject, asked: Asked) -> Answer:
    """The first answer about a picture, without relevance maps; sentences are lists of [text, strong]."""
    found = question(subject, asked)
    info, chosen, prototypes = subject.info, found.chosen, found.conversion.prototypes
    made = looked(found)
    prediction = made.prediction
    said = verdict(chosen, prototypes, prediction, found.shown.label)
    place, far = _place(subject, made.z)
    roles = compared(prediction, prototypes.classes)
    beside = chosen.has_black_box
    return json_answer(
        {
            "picture": found.shown.picture,
            "title": found.shown.title,
            "label": found.shown.label,
            "size": found.shown.pixels.shape[1::-1],
            "notes": found.shown.notes,
            "prepared": spans(prepared(info, found.shown.pixels, found.framing)),
            "framing": {**asdict(found.framing), "text": found.framing.text},
            "seen": address(made.seen),
            "whole": address(reduced(np.rot90(found.shown.pixels, -found.framing.turns), WHOLE)),
            "place": place,
            "far": spans(far_away(far)),
            "lines": sorted(roles.values(), key=lambda p: float(prediction.distance[p])),
            "prototypes": [
                {
                    **described(prototypes, p),
                    "role": ROLES[role],
                    "near": how_far(chosen, prototypes, prediction, p),
                    "share": prototypes.importance[p],
                    "count": prototypes.count[p],
                }
                for role, p in roles.items()
            ],
            "rivals": rivals(prediction, prototypes.classes),
            "predicted": prediction.predicted,
            "beside": prediction.predicted_black_box if beside else None,
            "posterior": prediction.kmex,
            "blackBox": prediction.black_box if beside else None,
            "distance": prediction.distance,
            "correct": said.correct,
            "methods": [[name, method.title] for name, method in usable_methods(info.differentiable).items()],
            "method": info.default_maps.method,
            **{name: spans(getattr(said, name)) for name in ("unusual", "tie", "headline", "likelier", "near")},
            "usual": spans(usual(chosen, prototypes)),
            "scale": scale(chosen, prototypes),
            "decides": spans(decides(chosen, prototypes, prediction)),
        },
        lasting=False,
    )


def described(prototypes: Prototypes, p: int) -> dict[str, Any]:
    """What the board needs to know of a prototype to show it."""
    return {
        "p": p,
        "class": prototypes.classes[p],
        "place": prototype_name(p, prototypes.classes),
        "name": prototypes.names[p] if prototypes.names else "",
        "image": prototypes.exemplar[p],
    }


def rivals(prediction: Prediction, classes: np.ndarray) -> list[int]:
    """The classes that have prototypes and are not predicted, nearest first; `classes` (K,) are the prototypes'."""
    order = classes[np.argsort(prediction.distance, kind="stable")].tolist()
    return [label for label in dict.fromkeys(order) if label != prediction.predicted]


def _place(subject: Subject, z: np.ndarray) -> tuple[Sequence[float] | None, bool]:
    """Where an embedding lands on the map, if that is drawn, and whether it is far from every image there."""
    from kmex_core.analysis.projection import located

    artifact = subject.embedding_map()
    if not artifact.exists():
        return None, False
    projection: Any = subject.read(artifact)
    places, remoteness = located(projection, z)
    return places[0].tolist(), bool(remoteness[0] > projection.limit)
