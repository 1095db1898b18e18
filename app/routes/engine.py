"""Where a page says that somebody is about to explain an image or to edit, for which the server needs torch."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app import warm_up
from app.addresses import route
from app.login import guarded

ADDRESS = "/engine"


def routes() -> list[Route]:
    """The route, for those who are logged in."""
    return [Route(route(ADDRESS), guarded(_wake), methods=["POST"])]


def _wake(_request: Request) -> Response:
    warm_up.engine()
    return Response(status_code=204)
