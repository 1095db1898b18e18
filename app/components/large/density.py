"""The density map with the prototypes, and their cards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import streamlit as st

from app.claims.large import density
from app.components.large.choice import WIDTH
from app.components.shared.web import component
from app.links import bound, one_of
from app.routes import sharded
from app.routes.pictures import SIDE
from app.wording import A_CLASS
from kmex_core.data.colours import class_colours
from kmex_core.scale.density import DensityMap, PrototypePlaces
from kmex_core.scale.sharded import ShardedEmbedding
from kmex_core.scale.sweep import ShardedSweep
from kmex_core.scale.tiles import Square, TileMap

_large = component("large", "map")
MOST_CARDS = 600  # prototypes that are shown at once
TINY = 32


def choose_classes(embedding: ShardedEmbedding) -> list[int] | None:
    """Show the choice of classes; None for all."""
    names = embedding.class_names
    chosen = st.multiselect(
        "Classes",
        names,
        key="classes",
        bind=bound("classes", one_of(names), A_CLASS, []),
        placeholder="All classes",
        width=WIDTH,
        help="Show only these classes, on the map and as cards.",
    )
    return [names.index(name) for name in chosen] or None


def show_map(
    embedding: ShardedEmbedding,
    sweep: ShardedSweep | None,
    k: int,
    classes: Sequence[int] | None,
    tiles: TileMap | None,
    places: PrototypePlaces | None,
) -> None:
    """Show the density map and the prototypes of k per class.

    Args:
        embedding: which one.
        sweep: its prototypes; None while there are none.
        k: prototypes per class.
        classes: what is shown; None for all.
        tiles: the density map; None while there is none.
        places: where the prototypes of all k are on it; None while that is not known.
    """
    side = embedding.images.get("side") if embedding.images else None
    every = range(len(embedding.class_names)) if classes is None else classes
    listed = every[: max(1, MOST_CARDS // k)]
    if sweep is not None and len(listed) < len(every):
        st.caption(f"Prototypes of {len(listed):,} of {len(every):,} classes. Choose classes to see theirs.")
    _large(
        key="large",
        data={
            "pictures": sharded.pictures_base(embedding),
            "pixelated": isinstance(side, int) and side <= TINY < SIDE,
            "names": embedding.class_names,
            "colours": class_colours(len(embedding.class_names)),
            "sizes": embedding.counts.tolist(),
            "classes": classes,
            "listed": list(listed),
            "beside": tiles is not None and tiles.has_black_box,
            "map": None if tiles is None else _map(embedding, tiles),
            "prototypes": None if sweep is None else _prototypes(embedding, sweep, k, listed, tiles, places),
        },
    )
    if tiles is not None:
        st.caption(density(tiles))


def _map(embedding: ShardedEmbedding, tiles: TileMap) -> dict[str, Any]:
    places = _normal(np.array([place for _, *place in tiles.names]).reshape(-1, 2), tiles.square)
    return {
        "tiles": sharded.tiles_base(embedding, DensityMap(embedding).spec.key),
        "rows": tiles.rows,
        "finest": tiles.finest,
        "present": tiles.present,
        "most": tiles.most,
        "names": [[label, *place] for (label, *_), place in zip(tiles.names, places.tolist(), strict=True)],
    }


def _normal(places: np.ndarray, square: Square) -> np.ndarray:
    """Places as the browser has them: the tiles are −1…1."""
    scaled: np.ndarray = (places - np.array([square.x, square.y])) * (2 / square.side) - 1
    return scaled.round(5)


def _prototypes(
    embedding: ShardedEmbedding,
    sweep: ShardedSweep,
    k: int,
    listed: Sequence[int],
    tiles: TileMap | None,
    places: PrototypePlaces | None,
) -> dict[str, Any]:
    _, classes, counts, exemplars = sweep.at(k)
    kept = np.flatnonzero(np.isin(classes, listed))
    first = np.searchsorted(classes, classes)  # of its class: prototypes are sorted by class
    share = counts / np.maximum(embedding.counts[classes], 1)
    titles = [f"Prototype {p - first[p] + 1} of {embedding.class_names[classes[p]]}" for p in kept]
    found: dict[str, Any] = {
        "class": classes[kept].tolist(),
        "share": share[kept].round(4).tolist(),
        "count": counts[kept].tolist(),
        "ghost": (counts[kept] == 0).tolist(),
        "nearest": [[image for image in row if image >= 0] for row in exemplars[kept].tolist()],
        "title": titles,
        "about": [_about(int(counts[p]), float(share[p])) for p in kept],
    }
    if tiles is None or places is None:
        return {**found, "x": [], "y": [], "far": []}
    number = int(np.searchsorted(sweep.ks, k))
    rows = int(sweep.sizes[:number].sum()) + kept
    x, y = _normal(places.places[rows], tiles.square).T.tolist()
    return {**found, "x": x, "y": y, "far": places.far[rows].tolist()}


def _about(count: int, share: float) -> str:
    if count == 0:
        return "a ghost: not the nearest prototype of any image of its class"
    return f"nearest to {share:.1%} of its class, {count:,} images"
