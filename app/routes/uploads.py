"""Data sets that a browser sends, in parts that go straight to the disk.

`st.file_uploader` would hold all of it in the server's memory. The protocol, each request a POST:

| address | body | answer |
| --- | --- | --- |
| `/uploads` | JSON: `{"name": …, "files": [[path, bytes], …]}` | `{"upload": id}` |
| `/uploads/<id>/<offset>` | the next bytes of the files' contents, one after the other | `{"received": bytes}` |
| `/uploads/<id>` | | `{"received": bytes}`: where to go on after a lost connection |
| `/uploads/<id>/finish` | | `{"name": …}` |
| `/uploads/<id>/cancel` | | `{}` |

A refusal is a sentence as plain text. Every request has the header `KMEx-Upload`, which pages of other servers cannot
send without asking first, and are then refused.
"""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from app.addresses import link, route
from app.login import guarded_async
from kmex_core.base.errors import InputError, KMExError
from kmex_core.base.jsontext import read_json
from kmex_core.base.store import Store
from kmex_core.data import receiving

log = logging.getLogger("kmex")

ADDRESS = "/uploads"
HEADER = "KMEx-Upload"
MOST_LIST = 16 << 20  # bytes of the list of files
GATHERED = 1 << 20  # bytes that go to the disk at once
_OFFSET = re.compile(r"[0-9]{1,12}")
_STATUS = {receiving.TooLarge: 413, receiving.UnknownUpload: 404, receiving.OutOfStep: 409, InputError: 400}

Answer = Callable[[Request], Awaitable[dict[str, Any]]]


def address() -> str:
    """How a page names the route."""
    return link(ADDRESS)


def routes() -> list[Route]:
    """The routes, for those who are logged in."""
    answers: dict[str, Answer] = {
        "": _begin,
        "/{upload}": _received,
        "/{upload}/finish": _finish,
        "/{upload}/cancel": _cancel,
        "/{upload}/{offset}": _part,
    }
    return [
        Route(route(f"{ADDRESS}{path}"), guarded_async(_endpoint(answer)), methods=["POST"])
        for path, answer in answers.items()
    ]


def _endpoint(answer: Answer) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        if HEADER not in request.headers:
            return PlainTextResponse("Pages of other servers cannot send anything here.\n", 403)
        try:
            return JSONResponse(await answer(request), headers={"Cache-Control": "no-store"})
        except ClientDisconnect:
            return Response(status_code=400)  # nobody is there to read it
        except KMExError as error:
            status = next((status for kind, status in _STATUS.items() if isinstance(error, kind)), 507)
            log.warning("%s", error)
            return PlainTextResponse(f"{error}\n", status)

    return endpoint


async def _begin(request: Request) -> dict[str, Any]:
    body = bytearray()
    async for piece in limited(request, MOST_LIST):
        body += piece
    return {"upload": await run_in_threadpool(_announced, bytes(body))}


def _announced(body: bytes) -> str:
    try:
        asked = read_json(body)
    except (ValueError, RecursionError):
        asked = None
    match asked:
        case {"name": str(name), "files": list(files)}:
            return receiving.begin(Store(), name, files)
    raise InputError("An upload begins with its name and a list of its files.")


async def _part(request: Request) -> dict[str, Any]:
    offset = request.path_params["offset"]
    if not _OFFSET.fullmatch(offset):
        raise InputError(f"Invalid offset '{offset[:20]}': expected the number of the part's first byte.")
    part = await run_in_threadpool(receiving.Part, Store(), request.path_params["upload"], int(offset))
    try:
        gathered = bytearray()
        async for piece in limited(request, receiving.PART_BYTES):
            gathered += piece
            if len(gathered) >= GATHERED:
                await run_in_threadpool(part.write, gathered)
                gathered = bytearray()
        await run_in_threadpool(part.write, gathered)
    finally:
        part.close()  # here and now: a thread would not be waited for once the connection is lost
    return {"received": part.offset}


async def limited(request: Request, most: int) -> AsyncIterator[bytes]:
    """What is sent, piece by piece.

    Raises:
        TooLarge: for more than `most` bytes; before anything is read where the request says so.
    """
    refusal = receiving.TooLarge(f"A request may have {most >> 20} MB.")
    said = request.headers.get("content-length", "")
    if said.isdecimal() and (len(said) > 15 or int(said) > most):
        raise refusal
    total = 0
    async for piece in request.stream():
        total += len(piece)
        if total > most:
            raise refusal
        yield piece


async def _received(request: Request) -> dict[str, Any]:
    return {"received": await run_in_threadpool(receiving.received, Store(), request.path_params["upload"])}


async def _finish(request: Request) -> dict[str, Any]:
    return {"name": await run_in_threadpool(receiving.finish, Store(), request.path_params["upload"])}


async def _cancel(request: Request) -> dict[str, Any]:
    await run_in_threadpool(receiving.cancel, Store(), request.path_params["upload"])
    return {}
