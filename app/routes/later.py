"""Routes that are imported when they are first asked for: the server answers before it has read the engine."""

from __future__ import annotations

import importlib
from functools import cached_property

from starlette.concurrency import run_in_threadpool
from starlette.routing import BaseRoute, Match, Router
from starlette.types import Receive, Scope, Send

from app.addresses import route


class Later(BaseRoute):
    """All addresses below some paths, which a module answers.

    Args:
        module: has a function `routes`.
        paths: "/pictures".
    """

    def __init__(self, module: str, *paths: str) -> None:
        self.module = module
        self.paths = tuple(route(path) for path in paths)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Whether an address is one of these."""
        is_below = scope["type"] == "http" and f"{scope['path']}/".startswith(tuple(f"{path}/" for path in self.paths))
        return (Match.FULL if is_below else Match.NONE), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        await (await run_in_threadpool(lambda: self._router))(scope, receive, send)

    @cached_property
    def _router(self) -> Router:
        return Router(importlib.import_module(self.module).routes())
