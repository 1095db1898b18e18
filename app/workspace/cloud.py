"""Where the images are on the embedding map, and what does not depend on the prototypes."""

from __future__ import annotations

import numpy as np

from app.workspace.answer import ALL, Answer, Asked, Gone, Rows
from kmex_core.analysis.types import Projection
from kmex_core.data.dataset import ImageDataset
from kmex_core.stages.subject import Subject


def cloud(subject: Subject, asked: Asked) -> Answer:
    """Places as float32 pairs, labels and the black box's predictions as uint16 (65535 without one), then which images
    are far from all others as uint8; training images come first."""
    artifact = subject.embedding_map()
    if artifact.key != asked.key or not artifact.exists():
        raise Gone("There is no such embedding map.")
    return Answer(packed(subject.read(artifact)))


def packed(projection: Projection, rows: Rows = ALL) -> bytes:
    """The columns of `cloud`, of some images."""
    places = np.concatenate([projection.train, projection.test])[rows].astype("<f4", copy=False)
    labels, black_box = projection.labels[rows].astype("<u2"), projection.black_box[rows].astype("<u2")
    far = projection.far[rows].astype("u1", copy=False)
    return b"".join(np.ascontiguousarray(column).data for column in (places, labels, black_box, far))


def attributes(subject: Subject, asked: Asked) -> Answer:
    """Of each attribute, a bit for each image, the lowest bit of a byte first; each begins at a whole byte. Then of
    each attribute the same for where it is known."""
    data = subject.data
    if data.fingerprint != asked.key:
        raise Gone("The data set has changed. Reload the page.")
    return Answer(packed_attributes(data))


def packed_attributes(data: ImageDataset, rows: Rows = ALL) -> bytes:
    """The bitsets of `attributes`, of some images."""
    splits = [data.split(split) for split in ("train", "test")]
    has = np.concatenate([split.attributes for split in splits])
    known = np.concatenate([np.ones_like(split.attributes) if split.known is None else split.known for split in splits])
    return b"".join(np.packbits(each[rows], axis=0, bitorder="little").T.tobytes() for each in (has, known))
