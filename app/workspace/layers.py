"""The prototypes of a source on the embedding map, with what they predict for each image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from app.prototype_names import prototype_name, prototype_place
from app.workspace.answer import ALL, Answer, Asked, Rows, with_header
from app.workspace.sources import asked_conversion
from kmex_core.analysis.types import Projection
from kmex_core.prototypes.source import KMeans, PrototypeSource
from kmex_core.prototypes.types import Conversion, Prototypes
from kmex_core.stages.subject import Subject

NONE = -1
BYTE = 256  # values that fit into one


def layer(subject: Subject, asked: Asked) -> Answer:
    """A source's layer: see `packed_layer`."""
    source, conversion = asked_conversion(subject, asked)
    return Answer(layer_of(subject, source, asked["source"], conversion))


def layer_of(subject: Subject, source: PrototypeSource, text: str, conversion: Conversion, rows: Rows = ALL) -> bytes:
    """The layer of a source whose prototypes are known: see `packed_layer`."""
    projection = subject.read(subject.embedding_map())
    parents = parents_of(subject, source, conversion.prototypes.classes)
    return packed_layer(text, projection, conversion, parents, rows)


def packed_layer(
    text: str,
    projection: Projection,
    conversion: Conversion,
    parents: Sequence[int],
    rows: Rows = ALL,
    **more: Any,
) -> bytes:
    """Prototypes as lists in a header; as columns, the nearest prototype of each image, in a byte where that suffices,
    and the predicted class where it is not that prototype's.

    Args:
        text: names the source.
        projection: the embedding map.
        conversion: the prototypes, K of them.
        parents: (K,) see `parents_of`.
        rows: the images that the columns are of.
        more: further fields of the header.
    """
    summary = conversion.summary
    header = {
        "source": text,
        "prototypes": prototype_columns(projection, conversion.prototypes, conversion.embedded, parents),
        "summary": {
            "accuracy": summary.accuracy_kmex,
            "black_box": summary.accuracy_black_box,
            "agreement": summary.agreement,
            "ghosting": summary.ghosting,
            "test_images": summary.images,
        },
        "scores": None,
        **more,
    }
    classes = conversion.prototypes.classes
    least = np.uint8 if len(classes) <= BYTE else np.uint16
    nearest = _joined(conversion.prototypes.activated, conversion.test_activated, least)[rows]
    predicted = _joined(conversion.train_predicted, conversion.test_predicted, np.uint16)[rows]
    if len(classes) and np.array_equal(classes.astype(np.uint16)[nearest], predicted):
        return with_header(header, {"nearest": nearest})
    return with_header(header, {"predicted": predicted, "nearest": nearest})


def _joined(train: np.ndarray, test: np.ndarray, dtype: type[np.unsignedinteger[Any]]) -> np.ndarray:
    """The values of both splits as another type, without a copy in between."""
    both = np.empty(len(train) + len(test), dtype=dtype)
    both[: len(train)], both[len(train) :] = train, test
    return both


def prototype_columns(
    projection: Projection, prototypes: Prototypes, embedded: np.ndarray, parents: Sequence[int]
) -> dict[str, Any]:
    """What is shown of each prototype, by name.

    Args:
        projection: the embedding map.
        prototypes: K of them.
        embedded: (K, D) the same in the embedding itself.
        parents: (K,) see `parents_of`.
    """
    from kmex_core.analysis.projection import place, remoteness

    places = np.round(place(projection, embedded).astype(float), 4)
    classes = prototypes.classes
    return {
        "x": places[:, 0],
        "y": places[:, 1],
        "class": classes,
        "share": np.round(prototypes.importance, 4),
        "count": prototypes.count,
        "others": prototypes.count_all - prototypes.count,
        "ghost": prototypes.ghost,
        "far": remoteness(projection, embedded) > projection.limit,
        "picture": prototypes.exemplar,
        "place": [prototype_name(p, classes) for p in range(len(classes))],
        "name": list(prototypes.names) or [""] * len(prototypes),
        "note": list(prototypes.notes) or [""] * len(prototypes),
        "parent": list(parents),
    }


def parents_of(subject: Subject, source: PrototypeSource, classes: np.ndarray) -> list[int]:
    """(K,) for each prototype, the one with one prototype per class fewer that most of its images belonged to; −1 where
    nothing is known of that.

    Args:
        subject: the model.
        source: of the prototypes.
        classes: (K,) their classes.
    """
    unknown = [NONE] * len(classes)
    if not isinstance(source, KMeans) or source.k < 2:
        return unknown
    artifact = subject.sweep(source)
    if not artifact.exists():
        return unknown
    sweep = subject.read(artifact)
    if source.k > sweep.reach:
        return unknown
    before = sweep.counts[source.k - 2]  # (C,) prototypes of each class with one fewer
    first = np.concatenate([[0], np.cumsum(before)[:-1]])
    parent = sweep.parent[source.k - 1]
    return [
        int(first[label] + parent[label, number]) if parent[label, number] >= 0 else NONE
        for label, number in ((classes[p], prototype_place(p, classes)) for p in range(len(classes)))
    ]
