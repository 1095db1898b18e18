"""Streamlit's index.html, which is told where the server is, and given a module of ours (assets/web/page.js).

From the address of a page below the root, `/explore`, Streamlit guesses: it asks for `/explore/_stcore/health` first,
and the browser reports an error for each guess. All pages lie side by side, so the server is where the page is.
"""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SCRIPT = "window.__streamlit = {BACKEND_BASE_URL: new URL('./', window.location.href).href};"
MODULE = '<script type="module" src="./assets/page.js"></script>'
_BEGIN, _END = b"<head>", b"</head>"


def told(index: bytes) -> bytes:
    """The page with the script, which has to run before Streamlit's own, and the module, which runs after it."""
    begun = index.replace(_BEGIN, _BEGIN + f"<script>{SCRIPT}</script>".encode(), 1)
    return begun.replace(_END, MODULE.encode() + _END, 1)


class IndexPage:
    """Puts the script into every answer that is a page.

    Args:
        app: what answers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or "text/html" not in Headers(scope=scope).get("accept", ""):
            await self.app(scope, receive, send)
            return
        # a page is small, and cannot be changed once it is compressed
        scope = {**scope, "headers": [header for header in scope["headers"] if header[0] != b"accept-encoding"]}
        start: Message | None = None
        body = bytearray()

        async def send_told(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start" and _is_page(message):
                start = message  # the length is known at the end
                return
            if start is None or message["type"] != "http.response.body":
                await send(message)
                return
            body.extend(message.get("body", b""))
            if message.get("more_body"):
                return
            content = told(bytes(body))
            if body:  # none for HEAD
                MutableHeaders(scope=start)["Content-Length"] = str(len(content))
            await send(start)
            await send({**message, "body": content})

        await self.app(scope, receive, send_told)


def _is_page(start: Message) -> bool:
    return start["status"] == 200 and MutableHeaders(scope=start).get("content-type", "").startswith("text/html")
