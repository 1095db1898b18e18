"""The workspaces of models by address: what the component Explore shows, and what it sends.

| address | answer |
| --- | --- |
| GET `/workspace/<model>/<kind>/<key>.<suffix>` | what `app.workspace.catalogue.READ` has of that kind |
| POST `/workspace/<model>/<kind>` | what `SENT` makes of the body; `KMEx-Upload` has the name of a file, or is empty |

A refusal is a sentence as plain text.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from urllib.parse import quote, unquote

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from app import read
from app.access import check_model
from app.addresses import link, route
from app.login import guarded, guarded_async
from app.routes.uploads import HEADER, limited
from app.workspace import catalogue
from app.workspace.answer import BINARY, Answer, Asked, Gone
from kmex_core.base.errors import KMExError
from kmex_core.base.store import Store
from kmex_core.data.receiving import TooLarge
from kmex_core.models import catalogue as models
from kmex_core.stages.subject import Subject, dataset_of

log = logging.getLogger("kmex")

ADDRESS = "/workspace"
_LASTING = {"Cache-Control": "private, max-age=31536000, immutable"}
_PASSING = {"Cache-Control": "no-store"}
# the server would compress them for longer than most networks take to carry what that saves: 1 s for 13 MB, which
# become 9
_PACKED = {"Content-Encoding": "identity"}


def base(model: str) -> str:
    """Where a model's workspace is, relative to any page."""
    return link(f"{ADDRESS}/{quote(model, safe='')}/")


def routes() -> list[Route]:
    """The routes, for those who are logged in."""
    return [
        Route(route(f"{ADDRESS}/{{model}}/{{kind}}/{{name}}"), guarded(_read), methods=["GET"]),
        Route(route(f"{ADDRESS}/{{model}}/{{kind}}"), guarded_async(_send), methods=["POST"]),
    ]


def subject_of(model: str) -> Subject:
    """A model with its data as its files are now; what pages hold in memory is shared.

    Raises:
        KMExError: for one that is not there, or whose data pages may not open.
    """
    store = Store()
    info = models.describe(store, model)
    check_model(info)
    return Subject(store, info, dataset_of(info), reader=read.Shared())


def _read(request: Request) -> Response:
    path = request.path_params
    asked = Asked(path["name"].partition(".")[0], dict(request.query_params))
    return _answered(lambda: catalogue.read(subject_of(path["model"]), path["kind"], asked))


async def _send(request: Request) -> Response:
    if HEADER not in request.headers:
        return PlainTextResponse("Pages of other servers cannot send anything here.\n", 403)
    path, body = request.path_params, bytearray()
    most = catalogue.SENT[path["kind"]][1] if path["kind"] in catalogue.SENT else 0
    try:
        async for piece in limited(request, most):
            body += piece
    except ClientDisconnect:
        return Response(status_code=400)  # nobody is there to read it
    except TooLarge as error:
        return PlainTextResponse(f"{error}\n", 413)
    asked = Asked("", dict(request.query_params), bytes(body), unquote(request.headers[HEADER]))
    return await run_in_threadpool(_answered, lambda: catalogue.send(subject_of(path["model"]), path["kind"], asked))


def _answered(work: Callable[[], Answer]) -> Response:
    try:
        answer = work()
    except KMExError as error:
        log.warning("%s", error)
        return PlainTextResponse(f"{error}\n", 404 if isinstance(error, Gone) else 400, headers=_PASSING)
    headers = (_LASTING if answer.lasting else _PASSING) | (_PACKED if answer.media_type == BINARY else {})
    return Response(answer.content, media_type=answer.media_type, headers=headers)
