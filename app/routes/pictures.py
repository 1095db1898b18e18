"""Thumbnails of a data set's images by address, so that a page sends addresses instead of pixels."""

from __future__ import annotations

import re
from contextlib import suppress
from functools import lru_cache

from starlette.requests import Request
from starlette.responses import Response

from app.access import check_model
from app.addresses import link
from kmex_core.base.errors import InputError, KMExError
from kmex_core.base.store import Store
from kmex_core.data.display import displayed, png
from kmex_core.models import catalogue as models
from kmex_core.stages.subject import dataset_of

ROUTE = "/pictures/{model}/{state}/{split}/{index}.png"
_INDEX = re.compile(r"[0-9]{1,9}")  # a longer one makes `int` raise
SIDE = 96


def folder(model: str, state: str) -> str:
    """Where a data set's thumbnails are, relative to any page: `<split>/<index>.png` below it.

    Args:
        model: a model's name.
        state: the fingerprint of its data set, so that an address always means the same picture.
    """
    return link(f"/pictures/{model}/{state}/")


@lru_cache(maxsize=4096)
def _content(model: str, state: str, split: str, index: int) -> bytes:
    """A thumbnail. Nothing else is remembered: data that changed may change back.

    Raises:
        InputError: when there is no such image in the data as they are now.
    """
    info = models.describe(Store(), model)
    check_model(info)
    data = dataset_of(info)
    if data.fingerprint != state or index >= len(data.split(split)):
        raise InputError(f"'{model}' has no {split} image {index} of the state {state}.")
    return png(displayed(data.split(split).image(index), SIDE, SIDE))


def serve(request: Request) -> Response:
    """Answer a request for a thumbnail: 404 for anything that is not an image of a model's data set."""
    path = request.path_params
    content = None
    if _INDEX.fullmatch(path["index"]):
        with suppress(KMExError):
            content = _content(path["model"], path["state"], path["split"], int(path["index"]))
    if content is None:
        return Response("There is no such picture.", 404, media_type="text/plain")
    return Response(content, media_type="image/png", headers={"Cache-Control": "private, max-age=31536000, immutable"})
