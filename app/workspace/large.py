"""What the component of large embeddings asks for by address: the prototypes of a number per class, as columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kmex_core.base.files import digest
from kmex_core.base.jsontext import write_json
from kmex_core.scale.density import PrototypePlaces
from kmex_core.scale.sharded import ShardedEmbedding
from kmex_core.scale.sweep import ShardedSweep
from kmex_core.scale.tiles import Square, TileMap

MOST_CARDS = 600  # prototypes that are shown at once


def prototypes_key(
    embedding: ShardedEmbedding, sweep: ShardedSweep, tiles: TileMap | None, places: PrototypePlaces | None
) -> str:
    """Names all that `prototypes` depends on besides the number and the classes: 20 hexadecimal digits."""
    arrays = {name: getattr(sweep, name) for name in ("ks", "sizes", "classes", "counts", "exemplars")}
    square = None
    if tiles is not None and places is not None:
        arrays |= {"places": places.places, "far": places.far}
        square = [tiles.square.x, tiles.square.y, tiles.square.side]
    return digest(arrays, write_json([embedding.key, square]))[:20]


def prototypes(
    embedding: ShardedEmbedding,
    sweep: ShardedSweep,
    k: int,
    classes: Sequence[int],
    tiles: TileMap | None,
    places: PrototypePlaces | None,
) -> dict[str, Any]:
    """The prototypes of k per class, JSON-like: `LayerData` of large/layers.js.

    Args:
        embedding: which one.
        sweep: its prototypes.
        k: one of the numbers of the sweep.
        classes: those whose prototypes are wanted; the first of them, up to `MOST_CARDS` prototypes.
        tiles, places: the density map, and where the prototypes are on it; None while that is not known.
    """
    listed = list(classes[: max(1, MOST_CARDS // k)])
    _, labels, counts, exemplars = sweep.at(k)
    kept = np.flatnonzero(np.isin(labels, listed))
    first = np.searchsorted(labels, labels)  # of its class: prototypes are sorted by class
    share = counts / np.maximum(embedding.counts[labels], 1)
    found: dict[str, Any] = {
        "listed": listed,
        "class": labels[kept].tolist(),
        "share": share[kept].round(4).tolist(),
        "count": counts[kept].tolist(),
        "ghost": (counts[kept] == 0).tolist(),
        "nearest": [[image for image in row if image >= 0] for row in exemplars[kept].tolist()],
        "title": [f"Prototype {p - first[p] + 1} of {embedding.class_names[labels[p]]}" for p in kept],
        "about": [_about(int(counts[p]), float(share[p])) for p in kept],
    }
    if tiles is None or places is None:
        return {**found, "x": [], "y": [], "far": []}
    number = int(np.searchsorted(sweep.ks, k))
    rows = int(sweep.sizes[:number].sum()) + kept
    x, y = on_map(places.places[rows], tiles.square).T.tolist()
    return {**found, "x": x, "y": y, "far": places.far[rows].tolist()}


def on_map(places: np.ndarray, square: Square) -> np.ndarray:
    """Places (n, 2) as the browser has them: the tiles are −1…1."""
    scaled: np.ndarray = (places - np.array([square.x, square.y])) * (2 / square.side) - 1
    return scaled.round(5)


def _about(count: int, share: float) -> str:
    if count == 0:
        return "a ghost: not the nearest prototype of any image of its class"
    return f"nearest to {share:.1%} of its class, {count:,} images"
