"""What the embedding map draws, by address: the images once, and a small layer for each number of prototypes."""

from __future__ import annotations

import base64
import re
from functools import lru_cache

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from app.addresses import link
from kmex_core.analysis.types import Projection
from kmex_core.base.jsontext import write_json
from kmex_core.base.store import Store
from kmex_core.prototypes.types import Conversion
from kmex_core.stages.conversion import ModelConversion
from kmex_core.stages.embedding_map import EmbeddingMap, is_on_map

CLOUD = "/maps/{projection}.bin"
LAYER = "/maps/{projection}/{conversion}.json"
_KEY = re.compile(r"[0-9a-f]{20}")


def cloud_url(map_key: str) -> str:
    """The address of an embedding map's places, labels and black box predictions, relative to any page."""
    return link(CLOUD.format(projection=map_key))


def layer_url(map_key: str, conversion_key: str) -> str:
    """The address of the prototypes of a conversion on an embedding map, and of their predictions."""
    return link(LAYER.format(projection=map_key, conversion=conversion_key))


def cloud(projection: Projection) -> bytes:
    """Places as float32 pairs, labels and the black box's predictions as uint16, then which images are far from all
    others as uint8; training images come first."""
    places = np.concatenate([projection.train, projection.test]).astype("<f4")
    labels, black_box = projection.labels.astype("<u2"), projection.black_box.astype("<u2")
    return places.tobytes() + labels.tobytes() + black_box.tobytes() + projection.far.astype("u1").tobytes()


def layer(projection: Projection, conversion: Conversion) -> bytes:
    """Prototypes as columns, and the class that is predicted for each image (base64 of uint16), as JSON."""
    from kmex_core.analysis.projection import place, remoteness

    prototypes = conversion.prototypes
    places = place(projection, conversion.embedded)
    predicted = np.concatenate([conversion.train_predicted, conversion.test_predicted]).astype("<u2")
    columns = {
        "x": np.round(places[:, 0].astype(float), 4).tolist(),
        "y": np.round(places[:, 1].astype(float), 4).tolist(),
        "class": prototypes.classes.tolist(),
        "share": np.round(prototypes.importance, 4).tolist(),
        "count": prototypes.count.tolist(),
        "ghost": prototypes.ghost.tolist(),
        "far": (remoteness(projection, conversion.embedded) > projection.limit).tolist(),
        "picture": prototypes.exemplar.tolist(),
        "predicted": base64.b64encode(predicted.tobytes()).decode(),
    }
    return write_json(columns, compact=True).encode()


@lru_cache(maxsize=4)
def _projection(key: str) -> Projection:
    projection = EmbeddingMap.stored(Store(), key)
    if projection is None:
        raise LookupError(key)
    return projection


@lru_cache(maxsize=64)
def _layer(map_key: str, conversion_key: str) -> bytes:
    store = Store()
    conversion = ModelConversion.stored(store, conversion_key)
    if conversion is None or not is_on_map(store, map_key, conversion_key):
        raise LookupError(conversion_key)
    return layer(_projection(map_key), conversion)


def serve(request: Request) -> Response:
    """Answer a request for a cloud or a layer: 404 for what is not in the store or belongs to another embedding map."""
    keys = [str(value) for value in request.path_params.values()]
    try:
        if not all(_KEY.fullmatch(key) for key in keys):
            raise LookupError(keys)
        content = cloud(_projection(keys[0])) if len(keys) == 1 else _layer(*keys)
    except LookupError:
        return Response("There is no such embedding map.", 404, media_type="text/plain")
    kind = "application/octet-stream" if len(keys) == 1 else "application/json"
    return Response(content, media_type=kind, headers={"Cache-Control": "private, max-age=31536000, immutable"})
