"""Which hosts the server answers to, and what every answer carries, whatever lies below."""

from __future__ import annotations

import base64
import contextlib
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket
from streamlit.file_util import get_static_dir

from app.index_page import MODULE, SCRIPT, IndexPage, told
from app.security import LOOPBACK, AllowedHosts, SecurityHeaders, host_name, is_allowed, policy
from tests.helpers.servers import finished

EXPECTED = {
    "content-security-policy", "x-content-type-options", "cross-origin-resource-policy", "referrer-policy",
    "permissions-policy",
}  # fmt: skip


async def hello(request: Request) -> Response:
    return PlainTextResponse("hello", headers={"Referrer-Policy": "unsafe-url"})


async def fails(request: Request) -> Response:
    raise RuntimeError("nobody thought of this")


async def fails_late(request: Request) -> Response:
    async def parts() -> AsyncIterator[bytes]:
        yield b"begun"
        raise RuntimeError("nobody thought of this")

    return StreamingResponse(parts())


async def refuses(socket: WebSocket) -> None:
    await socket.send_denial_response(PlainTextResponse("no", 403))


async def closes(socket: WebSocket) -> None:
    await socket.receive()
    await socket.close()


def server(*names: str) -> Starlette:
    """As Home.py puts it together."""
    return Starlette(
        routes=[
            Route("/hello", hello),
            Route("/fails", fails),
            Route("/late", fails_late),
            WebSocketRoute("/socket", refuses),
            WebSocketRoute("/closed", closes),
        ],
        middleware=[
            Middleware(SecurityHeaders, policy=policy("<script>go()</script>")),
            Middleware(AllowedHosts, names=names or LOOPBACK),
        ],
    )


def ask(
    app: Starlette, path: str = "/hello", *hosts: str, method: str = "GET", kind: str = "http", origin: str = ""
) -> tuple[int, dict[str, str], str]:
    """Status, headers and text of the answer to one request with the given Host headers; what it raises is dropped."""
    sent: list[dict[str, Any]] = []
    scope = {
        "type": kind,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "headers": [(b"host", host.encode("latin-1")) for host in hosts or ("localhost:8501",)]
        + [(b"origin", origin.encode())] * bool(origin),
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "extensions": {"websocket.http.response": {}},
        "subprotocols": [],
        **({"method": method} if kind == "http" else {}),
    }

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"} if kind == "websocket" else {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        sent.append(message)

    with contextlib.suppress(RuntimeError):
        finished(app(scope, receive, send))
    start = [message for message in sent if message["type"].endswith("response.start")]
    assert len(start) == 1, sent
    headers: dict[str, str] = {}
    for name, value in start[0]["headers"]:
        assert name.decode() not in headers, f"{name} is there twice"
        headers[name.decode()] = value.decode()
    return start[0]["status"], headers, b"".join(message.get("body", b"") for message in sent).decode()


@pytest.mark.parametrize(
    ("path", "host", "method", "kind", "status"),
    [
        ("/hello", "localhost:8501", "GET", "http", 200),
        ("/hello", "localhost:8501", "HEAD", "http", 200),
        ("/hello", "localhost:8501", "POST", "http", 405),
        ("/nowhere", "localhost:8501", "GET", "http", 404),
        ("/hello", "evil.example", "GET", "http", 400),
        ("/fails", "localhost:8501", "GET", "http", 500),
        ("/late", "localhost:8501", "GET", "http", 200),
        ("/socket", "localhost:8501", "GET", "websocket", 403),
        ("/closed", "localhost:8501", "GET", "websocket", 403),
        ("/socket", "evil.example", "GET", "websocket", 400),
    ],
)
def test_every_answer_carries_the_policy_once(path: str, host: str, method: str, kind: str, status: int) -> None:
    given, headers, _ = ask(server(), path, host, method=method, kind=kind)
    assert given == status
    assert set(headers) >= EXPECTED
    assert headers["referrer-policy"] == "same-origin"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:8501", "LOCALHOST:80", "localhost.", "127.0.0.1", "127.0.0.1:1", "[::1]", "[::1]:8501",
     "[0:0:0:0:0:0:0:1]:8501"],
)  # fmt: skip
def test_this_machine_is_reached_by_each_of_its_names(host: str) -> None:
    assert ask(server(), "/hello", host)[0] == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example", "localhost.evil.example", "evil.example:8501", "127.0.0.1.evil.example", "127.0.0.2", "[::2]",
        "[::ffff:127.0.0.1]", "::1", "[::1", "evil.example@localhost", "localhost@evil.example",
        "localhost/evil.example", "localhost:port", "localhost:99999", "localhost?x", "", " ", "*", "*.example",
        "lo\xe4calhost", "2130706433", "0x7f.1", "www.localhost",
    ],
)  # fmt: skip
def test_no_foreign_name_gets_an_answer(host: str) -> None:
    status, _, text = ask(server(), "/hello", host)
    assert status == 400
    assert "server.allowedHosts" in text
    assert "hello" not in text


def test_two_host_headers_are_one_too_many() -> None:
    assert ask(server(), "/hello", "localhost", "evil.example")[0] == 400
    assert ask(server(), "/hello", "localhost", "localhost")[0] == 400


def test_names_of_ones_own() -> None:
    app = server("kmex.example.org", "*.lab.example", "[2001:db8::5]")
    for host in ("kmex.example.org", "KMEX.example.org:443", "a.lab.example", "a.b.lab.example:80", "[2001:db8:0::5]"):
        assert ask(app, "/hello", host)[0] == 200, host
    for host in ("localhost", "lab.example", "evillab.example", "example.org", "x.kmex.example.org"):
        assert ask(app, "/hello", host)[0] == 400, host
    assert ask(server("*"), "/hello", "whoever.example")[0] == 200


@pytest.mark.parametrize(
    ("host", "origin", "passed_on"),
    [
        ("localhost:8501", "http://localhost:8501", True),
        ("localhost:8501", "HTTP://LOCALHOST:8501", True),
        ("[::1]:8501", "http://[::1]:8501", True),
        ("localhost:8501", "https://friend.example", True),
        ("localhost:8501", "http://evil.example", False),
        ("localhost:8501", "http://localhost:8502", False),
        ("localhost:8501", "http://localhost:8501.evil.example", False),
        ("localhost:8501", "null", False),
        ("localhost:8501", "https://friend.example.evil.example", False),
    ],
)
def test_a_websocket_is_for_pages_of_this_server(host: str, origin: str, passed_on: bool) -> None:
    app = Starlette(
        routes=[WebSocketRoute("/socket", refuses)],
        middleware=[Middleware(AllowedHosts, names=LOOPBACK, origins=["https://friend.example/"])],
    )
    text = ask(app, "/socket", host, kind="websocket", origin=origin)[2]
    assert text == ("no" if passed_on else "Pages of other servers cannot open this WebSocket.\n")


def test_the_refusal_says_what_to_set() -> None:
    text = ask(server(), "/hello", "kmex.example.org:8501")[2]
    assert "'kmex.example.org'" in text
    assert "docs/deploy.md" in text


def test_hosts_are_read_as_names() -> None:
    assert host_name("Example.ORG.:80") == "example.org"
    assert host_name("[2001:DB8:0:0::1]:80") == "2001:db8::1"
    assert host_name("user:password@example.org") is None
    assert is_allowed("a.example.org", ("*.example.org",))
    assert not is_allowed("example.org", ("*.example.org",))


def test_the_policy_allows_streamlits_own_inline_script_and_no_other() -> None:
    index = Path(get_static_dir(), "index.html").read_text("utf-8")
    body = index.partition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
    scripts = policy(index).partition("script-src ")[2].partition(";")[0].split()
    assert scripts == ["'self'", f"'sha256-{digest}'", "blob:"]
    assert "https:" not in policy(index)
    assert "*" not in policy(index)


def test_a_page_is_told_where_the_server_is_and_nothing_else_is_changed() -> None:
    pages = {"page": b"<html><head></head></html>", "picture": b"<head>"}

    def asked(name: str, accept: str) -> tuple[int, bytes]:
        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            assert (b"accept-encoding" in dict(scope["headers"])) == ("text/html" not in accept)
            kind = "text/html; charset=utf-8" if name == "page" else "image/png"
            await Response(pages[name], media_type=kind)(scope, receive, send)

        client = TestClient(IndexPage(answer))
        response = client.get("/", headers={"Accept": accept})
        assert int(response.headers["content-length"]) == len(response.content)
        return response.status_code, response.content

    assert asked("page", "text/html,*/*") == (200, told(pages["page"]))
    assert SCRIPT.encode() in told(pages["page"])
    assert MODULE.encode() in told(pages["page"])
    assert asked("page", "application/json") == (200, pages["page"])
    assert asked("picture", "text/html") == (200, pages["picture"])
