"""What every answer of the server carries, and which names it answers to: two middlewares, no page knows of them.

Each loosened directive of the policy has its reason in docs/deploy.md.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import re
from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = ("localhost", "127.0.0.1", "::1")
_INLINE_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)
_READING = {"GET", "HEAD", "OPTIONS"}
_ANSWERS = {"http.response.start", "websocket.http.response.start"}


def policy(index: str) -> str:
    """The Content-Security-Policy under which the dashboard runs.

    Args:
        index: Streamlit's index.html, whose inline scripts are allowed by their hashes.
    """
    digests = [hashlib.sha256(script.encode()).digest() for script in _INLINE_SCRIPT.findall(index)]
    inline = [f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests]
    directives = {
        "default-src": ["'none'"],
        "script-src": ["'self'", *inline, "blob:"],
        "style-src": ["'self'", "'unsafe-inline'"],
        "img-src": ["'self'", "data:", "blob:"],
        "font-src": ["'self'", "data:"],
        "connect-src": ["'self'"],
        "manifest-src": ["'self'"],
        "base-uri": ["'none'"],
        "form-action": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
    return "; ".join(f"{name} {' '.join(sources)}" for name, sources in directives.items())


class SecurityHeaders:
    """Puts the policy on every answer, also on refusals and failures of what lies below.

    Args:
        app: what answers.
        policy: the Content-Security-Policy.
    """

    def __init__(self, app: ASGIApp, policy: str) -> None:
        self.app = app
        self.headers = {
            "Content-Security-Policy": policy,
            "X-Content-Type-Options": "nosniff",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "same-origin",
            "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), midi=(), payment=(), "
            "usb=()",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "websocket.close" and not started and _can_answer(scope):
                # refused before it was accepted: the server's own answer to that has no headers
                await PlainTextResponse("Forbidden", 403)(scope, receive, send_with_headers)
                return
            started = True
            if message["type"] in _ANSWERS:
                MutableHeaders(scope=message).update(self.headers)
            await send(message)

        try:
            await self.app(scope, receive, send_with_headers)
        except Exception:
            # Starlette's own answer to a failure would pass around this middleware
            if scope["type"] == "http" and not started:
                await PlainTextResponse("Internal Server Error", 500)(scope, receive, send_with_headers)
            raise


def _can_answer(scope: Scope) -> bool:
    return "websocket.http.response" in scope.get("extensions", {})


class AllowedHosts:
    """Answers only to the names that the server is known by, so that no foreign page can reach it by a name of its own.

    Starlette's TrustedHostMiddleware wants an IPv6 address in brackets where Streamlit's check of the same option
    wants it bare, and does not tell a person what to do. WebSockets and requests that may change something must come
    from a page of the same host and port: Streamlit would compare a foreign origin with its own external address, which
    it asks another server for.

    Args:
        app: what answers.
        names: host names, "*.example.org" for all below one, "*" for any; IPv6 addresses with or without brackets.
        origins: those of other servers whose pages may do both: "https://example.org".
    """

    def __init__(self, app: ASGIApp, names: Iterable[str], origins: Iterable[str] = ()) -> None:
        self.app = app
        self.names = tuple(_plain(name) for name in names)
        self.origins = {origin.lower().rstrip("/") for origin in origins}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.getlist("host")
        host = host_name(given[0]) if len(given) == 1 else None
        if host is not None and is_allowed(host, self.names):
            foreign = [origin for origin in headers.getlist("origin") if not self._is_own(origin.lower(), given[0])]
            if foreign and scope["type"] == "websocket":
                await PlainTextResponse("Pages of other servers cannot open this WebSocket.\n", 403)(
                    scope, receive, send
                )
            elif foreign and scope["method"] not in _READING:
                await PlainTextResponse("Pages of other servers cannot send anything here.\n", 403)(
                    scope, receive, send
                )
            else:
                await self.app(scope, receive, send)
            return
        name = f"'{host}'" if host and len(host) <= 253 else "a request without a host name"
        await PlainTextResponse(
            f"This server does not answer to {name}. To allow it, add the name to server.allowedHosts and restart the "
            "server (see docs/deploy.md).\n",
            400,
        )(scope, receive, send)

    def _is_own(self, origin: str, host: str) -> bool:
        return origin in self.origins or origin.partition("://")[2] == host.lower()


def host_name(header: str) -> str | None:
    """The host that a Host header names, lower case, without brackets and port; None for what is no host at all."""
    try:
        parts = urlsplit(f"//{header}")
        host, _ = parts.hostname, parts.port
    except ValueError:
        return None
    if host is None or parts.username is not None or parts.path or parts.query or parts.fragment:
        return None
    return _plain(host)


def is_allowed(host: str, names: Sequence[str]) -> bool:
    """Whether a host (see `host_name`) is one of `names`."""
    return any(name in ("*", host) or (name.startswith("*.") and host.endswith(name[1:])) for name in names)


def _plain(name: str) -> str:
    bare = name.strip().lower().removesuffix(".").removeprefix("[").removesuffix("]")
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        return bare
