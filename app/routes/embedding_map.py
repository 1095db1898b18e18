"""What the map draws, by address: the cloud of an embedding once, and a small layer for each number of prototypes."""

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


def cloud_url(projection: str) -> str:
    """The address of a map's places, labels and predictions of the black box, relative to any page."""
    return link(CLOUD.format(projection=projection))


def layer_url(projection: str, conversion: str) -> str:
    """The address of the prototypes of a conversion on a map, and of what KMEx predicts."""
    return link(LAYER.format(projection=projection, conversion=conversion))


def cloud(drawn: Projection) -> bytes:
    """Places as float32 pairs, then labels, then the black box's predictions as uint16; training images come first."""
    places = np.concatenate([drawn.train, drawn.test]).astype("<f4")
    return b"".join(part.tobytes() for part in (places, drawn.labels.astype("<u2"), drawn.black_box.astype("<u2")))


def layer(drawn: Projection, made: Conversion) -> bytes:
    """Prototypes as columns, and the class that is predicted for each image (base64 of uint16), as JSON."""
    from kmex_core.analysis.projection import place

    prototypes = made.prototypes
    places = place(drawn, prototypes.centers)
    predicted = np.concatenate([made.train_predicted, made.test_predicted]).astype("<u2")
    columns = {
        "x": np.round(places[:, 0].astype(float), 4).tolist(),
        "y": np.round(places[:, 1].astype(float), 4).tolist(),
        "class": prototypes.classes.tolist(),
        "share": np.round(prototypes.importance, 4).tolist(),
        "count": prototypes.count.tolist(),
        "ghost": prototypes.ghost.tolist(),
        "picture": prototypes.exemplar.tolist(),
        "predicted": base64.b64encode(predicted.tobytes()).decode(),
    }
    return write_json(columns, compact=True).encode()


@lru_cache(maxsize=4)
def _drawn(key: str) -> Projection:
    drawn = EmbeddingMap.stored(Store(), key)
    if drawn is None:
        raise LookupError(key)
    return drawn


@lru_cache(maxsize=64)
def _layer(projection: str, conversion: str) -> bytes:
    store = Store()
    made = ModelConversion.stored(store, conversion)
    if made is None or not is_on_map(store, projection, conversion):
        raise LookupError(conversion)
    return layer(_drawn(projection), made)


def serve(request: Request) -> Response:
    """Answer a request for a cloud or a layer: 404 for what is not in the store, and for another map's layer."""
    keys = [str(value) for value in request.path_params.values()]
    try:
        if not all(_KEY.fullmatch(key) for key in keys):
            raise LookupError(keys)
        content = cloud(_drawn(keys[0])) if len(keys) == 1 else _layer(*keys)
    except LookupError:
        return Response("There is no such map.", 404, media_type="text/plain")
    kind = "application/octet-stream" if len(keys) == 1 else "application/json"
    return Response(content, media_type=kind, headers={"Cache-Control": "private, max-age=31536000, immutable"})
