"""Thumbnails of a data set's images by address, so that a page sends addresses instead of pixels."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.access import check_model, dataset_to_open
from app.addresses import link, route
from app.login import guarded
from kmex_core.base.errors import InputError, KMExError
from kmex_core.base.specs import DatasetSpec
from kmex_core.base.store import Store
from kmex_core.data.dataset import ImageDataset
from kmex_core.data.display import displayed, png
from kmex_core.data.opened import dataset
from kmex_core.models import catalogue as models
from kmex_core.stages import drafts
from kmex_core.stages.subject import dataset_of

ROUTE = "/pictures/{model}/{state}/{split}/{index}.png"
OF_DRAFT = "/drafts/{draft}/{broken}/{state}/{split}/{index}.png"
_INDEX = re.compile(r"[0-9]{1,9}")  # a longer one makes `int` raise
SIDE = 96


def routes() -> list[Route]:
    """The routes, for those who are logged in."""
    return [Route(route(path), guarded(serve)) for path in (ROUTE, OF_DRAFT)]


def folder(model: str, state: str) -> str:
    """Where a data set's thumbnails are, relative to any page: `<split>/<index>.png` below it.

    Args:
        model: a model's name.
        state: the fingerprint of its data set, so that an address always means the same picture.
    """
    return link(f"/pictures/{model}/{state}/")


def folder_of_draft(draft: str, spec: DatasetSpec, state: str) -> str:
    """`folder` for the data set of a draft, opened as `spec` says."""
    return link(f"/drafts/{draft}/{'skipped' if spec.skip_broken else 'refused'}/{state}/")


@lru_cache(maxsize=4096)
def _content_of_draft(name: str, broken: str, state: str, split: str, index: int) -> bytes:
    """A thumbnail, see `_content`."""
    draft = drafts.read(Store(), name) if drafts.is_id(name) else None
    if draft is None or not draft.images:
        raise InputError(f"There is no draft '{name}' with images.")
    spec = replace(draft.spec, name=dataset_to_open(draft.images), skip_broken=broken == "skipped")
    return _thumbnail(dataset(spec), state, split, index)


@lru_cache(maxsize=4096)
def _content(model: str, state: str, split: str, index: int) -> bytes:
    """A thumbnail. Nothing else is remembered: data that changed may change back.

    Raises:
        InputError: when there is no such image in the data as they are now.
    """
    info = models.describe(Store(), model)
    check_model(info)
    return _thumbnail(dataset_of(info), state, split, index)


def _thumbnail(data: ImageDataset, state: str, split: str, index: int) -> bytes:
    if data.fingerprint != state or split not in data.splits or index >= len(data.split(split)):
        raise InputError(f"{data.name} has no {split} image {index} of the state {state}.")
    return png(displayed(data.split(split).image(index), SIDE, SIDE))


def serve(request: Request) -> Response:
    """Answer a request for a thumbnail: 404 for anything that is not an image of the data set of a model or a draft."""
    path = request.path_params
    content = None
    if _INDEX.fullmatch(path["index"]):
        with suppress(KMExError):
            place = path["state"], path["split"], int(path["index"])
            if "draft" in path:
                content = _content_of_draft(path["draft"], path["broken"], *place)
            else:
                content = _content(path["model"], *place)
    if content is None:
        return Response("There is no such picture.", 404, media_type="text/plain")
    return Response(content, media_type="image/png", headers={"Cache-Control": "private, max-age=31536000, immutable"})
