"""Small sharded embeddings with all that the page Large embeddings shows, made in a second."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kmex_core.analysis.projection import principal_components
from kmex_core.analysis.types import Projection
from kmex_core.base.files import write_file
from kmex_core.prototypes.metric import EmbeddingMetric
from kmex_core.scale import generated
from kmex_core.scale.density import FIT, DensityMap
from kmex_core.scale.engine import Local
from kmex_core.scale.sharded import ShardedEmbedding, ShardWriter
from kmex_core.scale.suggestion import sharded_suggestion
from kmex_core.scale.sweep import ShardedSweep, sharded_sweep

DIMENSIONS, CLASSES, SEED = 8, 3, 4


def small(folder: Path, rows: int = 3000, part_rows: int = 700) -> ShardedEmbedding:
    """A generated embedding in parts that are smaller than usual."""
    images = {"kind": generated.KIND, "seed": SEED, "side": 16}
    names = generated.class_names(CLASSES)
    writer = ShardWriter(folder, DIMENSIONS, names, images, part_rows=part_rows)
    writer.add(*generated.rows_of(0, rows, SEED, generated.world(SEED, CLASSES, DIMENSIONS)))
    return writer.finish()


def fitted(embedding: ShardedEmbedding) -> DensityMap:
    """Its density map, fitted by principal components: UMAP takes seconds, and nothing here depends on who drew it."""
    density_map = DensityMap(embedding)
    sample = embedding.sample(200, 0)
    mean, axes = principal_components(sample.z, 5, 0)
    anchors = (sample.z - mean) @ axes.T
    projection = Projection(
        train=np.ascontiguousarray(anchors[:, :2]),
        test=np.empty((0, 2), np.float32),
        sample=np.arange(len(sample)),
        mean=mean,
        axes=axes,
        anchors=anchors,
        labels=sample.labels.astype(np.int32),
        black_box=sample.black_box.astype(np.int32),
        far=np.zeros(len(sample), bool),
        limit=1e6,
        trustworthiness=0.75,
        placed_trustworthiness=None,
        seconds=0.0,
    )
    write_file(density_map.folder / FIT, projection.to_arrays(), projection.to_description())
    return density_map


def swept(embedding: ShardedEmbedding, most: int = 4) -> ShardedSweep:
    """Its prototypes for 1 to `most` per class."""
    return sharded_sweep(embedding, EmbeddingMetric(), list(range(1, most + 1)), 0, Local(), 2**30)


def whole(folder: Path, rows: int = 3000) -> ShardedEmbedding:
    """A small embedding with prototypes, suggested numbers and density map."""
    embedding = small(folder, rows)
    density_map = fitted(embedding)
    density_map.make(Local())
    density_map.place_prototypes(swept(embedding))
    sharded_suggestion(embedding, EmbeddingMetric(), Local())
    return embedding
