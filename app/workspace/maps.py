"""Where a picture looks like its prototypes: relevance maps, what they are worth, and why this class and not that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from app.claims.predictions import map_verdict, map_worth, sides
from app.figures.overlay import AROUND, SCALES, Figure, Ground, ground, mapped
from app.prototype_names import prototype_title
from app.workspace.answer import Answer, Asked, json_answer
from app.workspace.board import Question, compared, described, looked, question, rivals
from app.workspace.bounded import Bounded
from kmex_core.base import cores
from kmex_core.base.errors import InputError
from kmex_core.base.plain_text import plain, spans
from kmex_core.models.catalogue import network_input
from kmex_core.relevance.catalogue import TARGETS, MapKind
from kmex_core.relevance.types import JUDGED, Explanation, MapVerdict, RelevanceMaps
from kmex_core.stages.subject import Subject

MARGIN = "margin"


@dataclass(frozen=True, eq=False)
class _Explained:
    """An explanation of a picture.

    Attributes:
        explanation: with maps of the compared prototypes.
        note: why another method was taken than the one that was asked for; "" if it was not.
    """

    explanation: Explanation
    note: str


def _bytes(value: _Explained) -> int:
    return value.explanation.maps.values.nbytes


_explained: Bounded[_Explained] = Bounded(64, 64 * 2**20, _bytes)
_single: Bounded[RelevanceMaps] = Bounded(512, 64 * 2**20, lambda maps: maps.values.nbytes)
_verdicts: Bounded[tuple[MapVerdict, ...]] = Bounded(512, 16 * 2**20, lambda verdicts: 10_000 * len(verdicts))


def maps(subject: Subject, asked: Asked) -> Answer:
    """Relevance maps of the compared prototypes, on the picture and on their exemplars, and the black box's.

    Figures are those of app/assets/web/relevance; one with the picture "" is of the explained one, which is in the
    answer once.
    """
    found, kind = question(subject, asked), _kind(subject, asked)
    made = explained(found, kind)
    image = ground(found.pixels, subject.info.preprocessing)
    names, prototypes = subject.info.class_names, found.conversion.prototypes
    train = subject.data.split("train")
    rows = []
    for row, p in enumerate(made.explanation.prototypes.tolist()):
        index = int(prototypes.exemplar[p])
        exemplar = ground(train.image(index), subject.info.preprocessing)
        of_exemplar = _of_exemplar(found, p, index, _kind_of(made.explanation.maps))
        about = plain(prototype_title(p, prototypes.classes, names))
        rows.append(
            {
                **described(prototypes, p),
                "picture": _figure(image, made.explanation.maps, row, f"Relevance for {about} in your picture", True),
                "exemplar": _figure(exemplar, of_exemplar, 0, f"Relevance for {about} in its exemplar"),
            }
        )
    return json_answer(
        {
            "picture": image.picture,
            "title": f"{_kind_of(made.explanation.maps).title}.",
            "note": made.note,
            "rows": rows,
            "blackBox": _black_box(found, image, made.explanation),
            "scales": SCALES,
            "frame": AROUND,
        },
        lasting=False,
    )


def contrast(subject: Subject, asked: Asked) -> Answer:
    """One signed map: which pixels speak for the predicted class, and which for a rival, the nearest unless it is
    chosen."""
    found, kind = question(subject, asked), _kind(subject, asked)
    p, q, rival = _pair(found, asked)
    made = _against(found, kind, p, q)
    names = subject.info.class_names
    prototypes = found.conversion.prototypes
    own = int(prototypes.classes[p])
    image = ground(found.pixels, subject.info.preprocessing)
    about = f"Relevance for {plain(names[own])} against {plain(names[rival])} in your picture"
    return json_answer(
        {
            "own": described(prototypes, p),
            "rival": described(prototypes, q),
            "picture": image.picture,
            "map": _figure(image, made, 0, about, True),
            "sides": spans(sides(made, names[own], names[rival])),
            "scales": SCALES,
            "frame": AROUND,
        },
        lasting=False,
    )


def verdicts(subject: Subject, asked: Asked) -> Answer:
    """What maps are worth: those of `contrast` where the address has a rival, else those of `maps`."""
    found, kind = question(subject, asked), _kind(subject, asked)
    if "rival" in asked.query:
        p, q, _ = _pair(found, asked)
        ids, made = [p], _against(found, kind, p, q)
    else:
        explanation = explained(found, kind).explanation
        ids, made = explanation.prototypes.tolist(), explanation.maps
    judged = _judged(found, ids, made)
    classes, names = found.conversion.prototypes.classes, subject.info.class_names
    rows = [
        {
            "p": p,
            "worth": spans(map_worth(verdict)),
            "words": spans(map_verdict(verdict, JUDGED, names[classes[p]])),
            "curve": None if verdict.margin is None else curve(verdict),
        }
        for p, verdict in zip(ids, judged, strict=True)
    ]
    return json_answer({"rows": rows}, lasting=False)


def curve(verdict: MapVerdict) -> dict[str, list[float]]:
    """How much of the margin is left without the top pixels, averaged over the replacements: 1 is all of it.

    Args:
        verdict: of a map with a margin.
    """
    assert verdict.margin is not None
    orders = {"map": verdict.margin, "random": verdict.random, "brightness": verdict.brightness}
    return {"shares": [0.0, *JUDGED], **{name: [1.0, *values.mean(0).tolist()] for name, values in orders.items()}}


def explained(found: Question, kind: MapKind) -> _Explained:
    """Maps of the compared prototypes; by the model's default method where the kind's cannot explain it."""
    ids = list(compared(looked(found).prediction, found.conversion.prototypes.classes).values())

    def make() -> _Explained:
        with cores.shared():
            module = found.subject.explainer(found.chosen.source)
            image = network_input(found.subject.info, found.pixels)
            default = MapKind(kind.target, found.subject.info.default_maps.method)
            try:
                return _Explained(module.explain(image, ids, method=kind.method, target=kind.target, judged=False), "")
            except InputError as why:
                if kind == default:
                    raise
                made = module.explain(image, ids, method=default.method, target=default.target, judged=False)
                return _Explained(made, str(why))

    return _explained.made((*found.names, kind), make)


def _against(found: Question, kind: MapKind, p: int, q: int) -> RelevanceMaps:
    """The map of a prototype's margin against another: one that explains the picture anyway, where there is one."""
    made = explained(found, MapKind(MARGIN, kind.method)).explanation
    for row, other in enumerate(made.prototypes.tolist()):
        if (other, made.maps.rivals[row]) == (p, q):
            return made.maps[row : row + 1]

    def make() -> RelevanceMaps:
        with cores.shared():
            module = found.subject.explainer(found.chosen.source)
            image = network_input(found.subject.info, found.pixels)
            return module.maps(image, [p], made.maps.method, MARGIN, q)

    return _single.made((*found.names, made.maps.method, p, q), make)


def _of_exemplar(found: Question, p: int, index: int, kind: MapKind) -> RelevanceMaps:
    """The map of a prototype on its exemplar, a training image."""

    def make() -> RelevanceMaps:
        with cores.shared():
            image = network_input(found.subject.info, found.subject.data.split("train").image(index))
            return found.subject.explainer(found.chosen.source).maps(image, [p], kind.method, kind.target)

    return _single.made((found.subject.info.name, found.key, p, kind), make)


def _judged(found: Question, ids: Sequence[int], made: RelevanceMaps) -> tuple[MapVerdict, ...]:
    from kmex_core.relevance.explain import judge

    def make() -> tuple[MapVerdict, ...]:
        with cores.shared():
            image = network_input(found.subject.info, found.pixels)
            return judge(found.subject.explainer(found.chosen.source), image, ids, made)

    return _verdicts.made((*found.names, _kind_of(made), tuple(ids), tuple(made.rivals.tolist())), make)


def _pair(found: Question, asked: Asked) -> tuple[int, int, int]:
    """The nearest prototypes of the predicted class and of a rival, and the rival."""
    prediction, classes = looked(found).prediction, found.conversion.prototypes.classes
    near = {int(classes[p]): int(p) for p in np.argsort(prediction.distance, kind="stable")[::-1]}
    others, text = rivals(prediction, classes), asked.query.get("rival", "")
    if prediction.predicted not in near or not others:
        raise InputError("There is no other class with a prototype to compare with.")
    rival = int(text) if text.isdecimal() and len(text) < 7 else -1
    if text == "":
        rival = others[0]
    if rival not in others:
        raise InputError(f"The rival '{text[:20]}' is not another class with prototypes; give its number.")
    return near[prediction.predicted], near[rival], rival


def _kind(subject: Subject, asked: Asked) -> MapKind:
    default = subject.info.default_maps
    kind = MapKind(asked.query.get("target", default.target), asked.query.get("method", default.method)).checked()
    if kind.target == "score" and not subject.info.predicts:
        raise InputError(
            f"'{subject.info.name}' predicts no classes, so there is no {TARGETS['score'].noun} to explain."
        )
    return kind


def _kind_of(made: RelevanceMaps) -> MapKind:
    return MapKind(made.target, made.method)


def _figure(on: Ground, made: RelevanceMaps, row: int, about: str, once: bool = False) -> dict[str, Any]:
    """A figure; `once` where its picture is in the answer elsewhere."""
    figure: Figure = mapped(on, made, row, "", about)
    return {**asdict(figure), "picture": "" if once else figure.picture}


def _black_box(found: Question, image: Ground, explanation: Explanation) -> dict[str, Any] | None:
    if explanation.predicted_black_box is None or explanation.black_box_map is None:
        return None
    name = plain(found.subject.info.class_names[explanation.predicted_black_box])
    return _figure(image, explanation.black_box_map, 0, f"Relevance for {name} in your picture", True)
