"""The density map with the prototypes, their cards, and the slider over their number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import streamlit as st

from app import sharded
from app.claims.large import at_k, density
from app.components.large.choice import WIDTH
from app.components.large.number import chosen_k, remember_k
from app.components.shared.told import told_turn
from app.components.shared.web import component
from app.links import bound, one_of
from app.routes import sharded as routes
from app.routes.pictures import SIDE
from app.wording import A_CLASS
from app.workspace.large import on_map
from kmex_core.data.colours import class_colours
from kmex_core.scale.density import DensityMap, PrototypePlaces
from kmex_core.scale.sharded import ShardedEmbedding
from kmex_core.scale.sweep import ShardedSweep
from kmex_core.scale.tiles import TileMap

_large = component("large", "map")
KEY = "large"
TINY = 32


def choose_classes(embedding: ShardedEmbedding) -> list[int] | None:
    """Show the choice of classes; None for all."""
    names = embedding.class_names
    chosen = st.multiselect(
        "Classes",
        names,
        key="classes",
        bind=bound("classes", one_of(names), A_CLASS, [], several=True),
        placeholder="All classes",
        width=WIDTH,
        help="Show only these classes, on the map and as cards.",
    )
    return [names.index(name) for name in chosen] or None


def show_map(
    embedding: ShardedEmbedding,
    sweep: ShardedSweep | None,
    classes: Sequence[int] | None,
    tiles: TileMap | None,
    places: PrototypePlaces | None,
) -> None:
    """Show the density map and the prototypes of the number per class that the address names.

    Another number is chosen in the browser, which asks for its prototypes by address, and tells afterwards.

    Args:
        embedding: which one.
        sweep: its prototypes; None while there are none.
        classes: what is shown; None for all.
        tiles: the density map; None while there is none.
        places: where the prototypes of all numbers are on it; None while that is not known.
    """
    side = embedding.images.get("side") if embedding.images else None
    _large(
        key=KEY,
        data={
            "name": embedding.folder.name,
            "pictures": routes.pictures_base(embedding),
            "pixelated": isinstance(side, int) and side <= TINY < SIDE,
            "names": embedding.class_names,
            "colours": class_colours(len(embedding.class_names)),
            "sizes": embedding.counts.tolist(),
            "classes": classes,
            "beside": tiles is not None and tiles.has_black_box,
            "map": None if tiles is None else _map(embedding, tiles),
            "numbers": None if sweep is None else _numbers(embedding, sweep, classes, tiles, places),
        },
        on_address_change=lambda: remember_k(KEY, sweep),
    )
    if tiles is not None:
        st.caption(density(tiles))


def _map(embedding: ShardedEmbedding, tiles: TileMap) -> dict[str, Any]:
    places = on_map(np.array([place for _, *place in tiles.names]).reshape(-1, 2), tiles.square)
    return {
        "tiles": routes.tiles_base(embedding, DensityMap(embedding).spec.key),
        "rows": tiles.rows,
        "finest": tiles.finest,
        "present": tiles.present,
        "most": tiles.most,
        "names": [[label, *place] for (label, *_), place in zip(tiles.names, places.tolist(), strict=True)],
    }


def _numbers(
    embedding: ShardedEmbedding,
    sweep: ShardedSweep,
    classes: Sequence[int] | None,
    tiles: TileMap | None,
    places: PrototypePlaces | None,
) -> dict[str, Any]:
    """The numbers of prototypes per class: where those of each are, and how well they do."""
    ks, key = sweep.ks.tolist(), sharded.prototypes_key(embedding, sweep, tiles, places)
    return {
        "ks": ks,
        "layers": [routes.prototypes_address(embedding, key, k, classes) for k in ks],
        "words": [at_k(sweep, k) for k in ks],
        "k": chosen_k(sweep),
        "turn": told_turn(KEY),
    }
