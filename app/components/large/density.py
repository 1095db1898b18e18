"""The density map with the prototypes, and their cards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import streamlit as st

from app.claims.large import density
from app.components.large.choice import WIDTH
from app.components.shared.job_panel import offer
from app.components.shared.web import component
from app.links import bound, one_of
from app.routes import sharded
from app.routes.pictures import SIDE
from app.wording import A_CLASS, MEANWHILE
from kmex_core.commands.embedding_map import density_map_job
from kmex_core.data.colours import class_colours
from kmex_core.scale.density import DensityMap, PrototypePlaces
from kmex_core.scale.sharded import ShardedEmbedding
from kmex_core.scale.sweep import ShardedSweep
from kmex_core.scale.tiles import Square, TileMap

_large = component("large", "map")
MOST_CARDS = 600  # prototypes that are shown at once
TINY = 32


def offer_map(embedding: ShardedEmbedding, tiles: TileMap | None) -> None:
    """Offer to make what is missing of the density map, and show the command that does."""
    request = density_map_job(embedding)
    missing = "It has no density map yet" if tiles is None else "Its prototypes are not on the density map yet"
    st.info(f"{missing}: start it here, or on the command line. {MEANWHILE}")
    st.code(request.command, language=None, wrap_lines=True)
    offer(
        request,
        "Make the density map",
        "Making the density map.",
        "Takes about a minute for a million images.",
        "primary",
    )


def choose_classes(embedding: ShardedEmbedding, k: int) -> list[int] | None:
    """Show the choice of classes; None for all. Where all would be too many, the first ones are chosen."""
    names = embedding.class_names
    few = max(1, MOST_CARDS // k)
    chosen = st.multiselect(
        "Classes",
        names,
        key="classes",
        bind=bound("classes", one_of(names), A_CLASS, []),
        placeholder="All classes" if len(names) <= few else f"The first {few:,} classes",
        width=WIDTH,
        help="Show only these classes, on the map and as cards.",
    )
    labels = [names.index(name) for name in chosen]
    return labels or (None if len(names) <= few else list(range(few)))


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
    _large(
        key="large",
        data={
            "pictures": sharded.pictures_base(embedding),
            "pixelated": isinstance(side, int) and side <= TINY < SIDE,
            "names": embedding.class_names,
            "colours": class_colours(len(embedding.class_names)),
            "sizes": embedding.counts.tolist(),
            "classes": classes,
            "beside": tiles is not None and tiles.has_black_box,
            "map": None if tiles is None else _map(embedding, tiles),
            "prototypes": None if sweep is None else _prototypes(embedding, sweep, k, classes, tiles, places),
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
    shown: Sequence[int] | None,
    tiles: TileMap | None,
    places: PrototypePlaces | None,
) -> dict[str, Any]:
    _, classes, counts, exemplars = sweep.at(k)
    kept = np.flatnonzero(np.isin(classes, shown)) if shown is not None else np.arange(len(classes))
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
