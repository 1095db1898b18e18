"""Sharded embeddings by address: tiles of their density maps, prototypes, and pictures. No rows are read.

| address | answer |
| --- | --- |
| GET `/sharded/<name>/tiles/<key>/<level>/<column>-<row>.tile` | a tile, see `kmex_core.scale.tiles.write_tile` |
| GET `/sharded/<name>/prototypes/<key>/<k>.json` | those of k per class, see `app.workspace.large.prototypes` |
| GET `/sharded/<name>/prototypes/<key>/<k>.json?classes=3,7` | those of some classes, by their numbers |
| GET `/sharded/<name>/pictures/<state>/<number>.png` | the picture of an image, by its number in the embedding |

All are 404 for anything that is not there.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from app import sharded
from app.access import dataset_to_open
from app.addresses import link, route
from app.login import guarded
from app.routes.pictures import SIDE
from app.workspace import large
from kmex_core.base.errors import InputError, KMExError
from kmex_core.base.jsontext import write_json
from kmex_core.base.specs import DatasetSpec, stable_key
from kmex_core.data.display import displayed, png
from kmex_core.data.opened import dataset
from kmex_core.scale import generated
from kmex_core.scale.sharded import ShardedEmbedding
from kmex_core.scale.tiles import MOST_LEVEL, MOST_TILE, tile_path

ADDRESS = "/sharded"
_LASTING = {"Cache-Control": "private, max-age=31536000, immutable"}
_BINARY, _JSON, _PNG = "application/octet-stream", "application/json", "image/png"
_KEY, _NUMBER = re.compile(r"[0-9a-f]{20}"), re.compile(r"0|[1-9][0-9]{0,9}")
_CLASSES = re.compile(r"[0-9]{1,6}(,[0-9]{1,6})*", re.ASCII)


def tiles_base(embedding: ShardedEmbedding, key: str) -> str:
    """Where the tiles of a density map are, relative to any page."""
    return link(f"{ADDRESS}/{embedding.folder.name}/tiles/{key}/")


def prototypes_address(embedding: ShardedEmbedding, key: str, k: int, classes: Sequence[int] | None) -> str:
    """Where the prototypes of k per class are, relative to any page.

    Args:
        embedding: which one.
        key: see `workspace.large.prototypes_key`.
        k: prototypes per class.
        classes: whose prototypes; None for all.
    """
    wanted = "" if classes is None else f"?classes={','.join(map(str, classes[: large.MOST_CARDS]))}"
    return link(f"{ADDRESS}/{embedding.folder.name}/prototypes/{key}/{k}.json{wanted}")


def pictures_base(embedding: ShardedEmbedding) -> str:
    """Where the pictures of an embedding's images are, relative to any page; "" where it says of none."""
    if not embedding.images:
        return ""
    return link(f"{ADDRESS}/{embedding.folder.name}/pictures/{_state(embedding)}/")


def routes() -> list[Route]:
    """The routes, for those who are logged in."""
    return [
        Route(route(f"{ADDRESS}/{{name}}/tiles/{{key}}/{{level}}/{{column}}-{{row}}.tile"), guarded(_tile)),
        Route(route(f"{ADDRESS}/{{name}}/prototypes/{{key}}/{{k}}.json"), guarded(_prototypes)),
        Route(route(f"{ADDRESS}/{{name}}/pictures/{{state}}/{{number}}.png"), guarded(_picture)),
    ]


def _state(embedding: ShardedEmbedding) -> str:
    """Names what the pictures are, so that an address always means the same one."""
    return stable_key([embedding.images, len(embedding.class_names), embedding.rows, embedding.spec])


def _tile(request: Request) -> Response:
    path = request.path_params
    numbers = [path[name] for name in ("level", "column", "row")]
    if not all(_NUMBER.fullmatch(each) for each in numbers) or not _KEY.fullmatch(path["key"]):
        return _missing()
    level, column, row = map(int, numbers)
    if level > MOST_LEVEL or max(column, row) >= 2**level:
        return _missing()
    return _answered(lambda: _content_of_tile(path["name"], path["key"], level, column, row), _BINARY, "gzip")


def _content_of_tile(name: str, key: str, level: int, column: int, row: int) -> bytes:
    embedding = sharded.embedding(name)
    file = tile_path(embedding.results / f"tiles-{key}", level, column, row)
    # no link leads out of the embedding's folder
    if not file.is_file() or not file.resolve().is_relative_to(embedding.folder.resolve()):
        raise InputError("There is no such tile.")
    if file.stat().st_size > MOST_TILE:
        raise InputError(f"{file} is no tile: it is too large.")
    return file.read_bytes()


def _prototypes(request: Request) -> Response:
    path, classes = request.path_params, request.query_params.get("classes")
    are_named = _KEY.fullmatch(path["key"]) and _NUMBER.fullmatch(path["k"])
    if not are_named or (classes is not None and not _CLASSES.fullmatch(classes)):
        return _missing()
    wanted = None if classes is None else [int(number) for number in classes.split(",")]
    return _answered(lambda: _content_of_prototypes(path["name"], path["key"], int(path["k"]), wanted), _JSON)


def _content_of_prototypes(name: str, key: str, k: int, classes: Sequence[int] | None) -> bytes:
    """The prototypes of k per class as JSON.

    Raises:
        InputError: when the embedding has none of that key, or no such number or class.
    """
    embedding = sharded.embedding(name)
    sweep, tiles = sharded.sweep(embedding), sharded.tile_map(embedding)
    places = sharded.places(embedding, sweep) if sweep is not None and tiles is not None else None
    if sweep is None or k not in sweep.ks or key != sharded.prototypes_key(embedding, sweep, tiles, places):
        raise InputError(f"{name} has no prototypes of the key {key} with {k} per class.")
    every = range(len(embedding.class_names))
    if classes is not None and not set(classes) <= set(every):
        raise InputError(f"{name} has {len(every):,} classes.")
    return write_json(large.prototypes(embedding, sweep, k, classes or every, tiles, places), compact=True).encode()


def _picture(request: Request) -> Response:
    path = request.path_params
    if not _NUMBER.fullmatch(path["number"]):
        return _missing()
    return _answered(lambda: _content_of_picture(path["name"], path["state"], int(path["number"])), _PNG)


@lru_cache(maxsize=4096)
def _content_of_picture(name: str, state: str, number: int) -> bytes:
    """A picture as PNG.

    Raises:
        InputError: when the embedding has no such image, or its data set has changed.
    """
    embedding = sharded.embedding(name)
    if state != _state(embedding) or number >= embedding.rows or not embedding.images:
        raise InputError(f"{name} has no image {number} of the state {state}.")
    if generated.is_generated(embedding.images):
        return png(generated.picture(embedding.images, len(embedding.class_names), number))
    spec, split = _dataset_of(embedding)
    data = dataset(dataclasses.replace(spec, name=dataset_to_open(spec.name, spec.root)))
    expected = (embedding.spec or {}).get("data", data.fingerprint)
    if split not in data.splits or number >= len(data.split(split)) or data.fingerprint != expected:
        raise InputError(f"{spec.name} is no longer the data set that {name} was made of.")
    return png(displayed(data.split(split).image(number), SIDE, SIDE))


def _dataset_of(embedding: ShardedEmbedding) -> tuple[DatasetSpec, str]:
    """The data set and the split that an embedding's manifest names; it may be from anywhere."""
    images = embedding.images or {}
    given, split = images.get("dataset"), images.get("split")
    usual = dataclasses.asdict(DatasetSpec(""))
    if not isinstance(given, dict) or not isinstance(split, str) or not given.keys() <= usual.keys():
        raise InputError(f"{embedding.folder} does not say of which data set it is.")
    if not given.get("name") or any(type(value) is not type(usual[name]) for name, value in given.items()):
        raise InputError(f"{embedding.folder} does not say of which data set it is.")
    return DatasetSpec(**given), split


def _answered(content: Callable[[], bytes], kind: str, encoding: str = "") -> Response:
    with suppress(KMExError, OSError):
        headers = _LASTING | ({"Content-Encoding": encoding} if encoding else {})
        return Response(content(), media_type=kind, headers=headers)
    return _missing()


def _missing() -> Response:
    return PlainTextResponse(
        "There is no such tile, prototype or picture.\n", 404, headers={"Cache-Control": "no-store"}
    )
