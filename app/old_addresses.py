"""Addresses of pages that are elsewhere now: where they lead, with what they selected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlencode

from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from app.addresses import route

# what the sidebar has in the address
SELECTION = frozenset({"dataset", "model", "k", "auto", "metric", "kmex", "version"})


@dataclass(frozen=True)
class Move:
    """Where an old page's address leads.

    Attributes:
        to: the page's name in addresses.
        names: the parameters that have another name there, by their old one; "" for those that select nothing now.
        values: the texts that are others there, by the parameter's old name. All others stay as they are.
    """

    to: str
    names: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


MOVES: dict[str, Move] = {
    "": Move("explore"),  # Overview, only with a selection: without one this is home
    "overview": Move("explore"),
    "embedding": Move(
        "explore",
        {"table": ""},
        {"show": {"All": "all", "Wrong": "wrong", "Models differ": "disagree"}},
    ),
    "sweep": Move("explore", {"class": "classes"}),
    "evaluate": Move("audit"),
}


def new_address(path: str, query: str) -> str | None:
    """The address that an old one leads to, relative to it; None for one that is not old.

    Args:
        path: the page's path without slashes around it.
        query: its parameters, as they are after the "?".
    """
    move, asked = MOVES.get(path), parse_qsl(query, keep_blank_values=True)
    if move is None or (path == "" and not SELECTION.intersection(name for name, _ in asked)):
        return None
    kept = [(move.names.get(name, name), move.values.get(name, {}).get(value, value)) for name, value in asked]
    parameters = urlencode([(name, value) for name, value in kept if name])
    return move.to + (f"?{parameters}" if parameters else "")


class OldAddresses:
    """Sends browsers that open an old address to the new one, before any page is loaded.

    Args:
        app: what answers all others.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        new = _redirected(scope) if scope["type"] == "http" and scope["method"] in ("GET", "HEAD") else None
        await (self.app if new is None else RedirectResponse(new))(scope, receive, send)


def _redirected(scope: Scope) -> str | None:
    path, root = str(scope["path"]), route("/").rstrip("/")
    if not path.startswith(f"{root}/"):
        return None
    page = path[len(root) + 1 :]
    new = new_address(page.removesuffix("/"), scope["query_string"].decode("latin-1"))
    # relative, so that it holds behind a proxy that takes a prefix away; "embedding/" is one folder deeper
    return f"../{new}" if new is not None and page.endswith("/") else new
