"""The dashboard as others reach it: below a prefix, behind proxies, by its names, under its policy."""

from __future__ import annotations

import http.client
import json
import re
import socket
from collections.abc import Iterator, Mapping
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect
from streamlit.web.server.starlette.starlette_app_utils import create_signed_value

from tests.helpers.browser import A_JOB, CARDS, LAST, explained, of_digits, settled, wait_until, watched
from tests.helpers.proxy import stripping_proxy
from tests.helpers.servers import dashboard
from tests.helpers.stores import snapshot

pytestmark = pytest.mark.browser

PREFIX = "kmex/explorer"


@pytest.fixture(scope="module")
def below(demo_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the dashboard on the demo, below a prefix."""
    with dashboard(demo_cache, tmp_path_factory.mktemp("below") / "log", prefix=PREFIX) as address:
        yield address


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def pictures_are_shown(page: Page) -> None:
    """Every picture of the page that is in view has been loaded."""
    wait_until(
        page,
        "() => { const all = [...document.querySelectorAll('.kx-card img')].slice(0, 5);"
        "return all.length > 0 && all.every((image) => image.complete && image.naturalWidth > 0); }",
    )


def walk(page: Page, address: str, pages: Mapping[str, str] = LAST) -> None:
    """Open pages by their addresses, then go from one to another as a person does: nothing may be missing."""
    for path, last in pages.items():
        page.goto(address + (path if path == "/" else of_digits(path)))
        expect(page.locator(last).first).to_be_attached(timeout=A_JOB)
        settled(page)
        if path == "/prototypes":
            pictures_are_shown(page)
    page.goto(f"{address}{of_digits('/prototypes')}")
    pictures_are_shown(page)
    link = page.locator(CARDS).nth(2)
    target = link.evaluate("(card) => card.href")  # what a middle click opens
    assert target.startswith(f"{address}/prototypes?"), target
    link.click()
    page.wait_for_url(re.compile(re.escape(address) + r"/prototypes\?.*prototype=0\.2"))
    expect(page.get_by_role("heading", name="Prototype 3 of 0")).to_be_visible()
    page.get_by_role("link", name="Explain with relevance maps").click()
    page.wait_for_url(re.compile(re.escape(address) + r"/explain\?"))
    explained(page)
    page.goto(target)
    expect(page.get_by_role("heading", name="Prototype 3 of 0")).to_be_visible()
    settled(page)


def test_every_page_is_whole_below_a_prefix(browser: Browser, below: str) -> None:
    with watched(browser, below) as page:
        walk(page, below)


def test_nothing_is_missing_behind_a_proxy_that_takes_the_prefix_away(browser: Browser, server: str) -> None:
    with stripping_proxy(server, "lab/kmex") as address, watched(browser, address) as page:
        walk(page, address, {"/explore": LAST["/explore"]})


def test_this_machine_is_reached_over_ipv6(browser: Browser, demo_cache: Path, tmp_path: Path) -> None:
    if not has_ipv6():
        pytest.skip("This machine has no IPv6 loopback address.")
    with dashboard(demo_cache, tmp_path / "log", host="::1") as address, watched(browser, address) as page:
        assert address.startswith("http://[::1]:")
        page.goto("/prototypes?model=digits")
        pictures_are_shown(page)
        settled(page)


def answer(server: str, path: str, method: str = "GET", **headers: str) -> http.client.HTTPResponse:
    """What the server answers to exactly this path, followed nowhere."""
    connection = http.client.HTTPConnection(urlsplit(server).netloc, timeout=30)
    connection.request(method, path, headers=headers)
    found = connection.getresponse()
    found.read()
    return found


@pytest.mark.parametrize(
    ("path", "method", "headers", "status"),
    [
        ("/", "GET", {}, 200),
        ("/explore", "GET", {}, 200),
        ("/embedding", "GET", {}, 307),
        ("/no/such/page", "GET", {}, 200),  # Streamlit's page, which says so
        ("/manifest.json", "GET", {}, 200),
        ("/_stcore/health", "GET", {}, 200),
        ("/_stcore/host-config", "GET", {}, 200),
        ("/_stcore/nothing", "PUT", {}, 405),
        ("/_stcore/upload_file/session/file", "PUT", {}, 403),
        ("/_stcore/stream", "GET", {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
                                    "Sec-WebSocket-Key": "x" * 22 + "==", "Origin": "http://evil.example"}, 403),
        ("/_stcore/stream", "GET", {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
                                    "Sec-WebSocket-Key": "x" * 22 + "==", "Host": "evil.example"}, 400),
        ("/_stcore/agent/mcp", "POST", {}, 400),
        ("/media/nothing.png", "GET", {}, 404),
        ("/assets/explore.js", "GET", {}, 200),
        ("/assets/../Home.py", "GET", {}, 400),
        ("/pictures/digits/digits-1/train/0.png", "GET", {}, 200),
        ("/pictures/digits/digits-1/train/999999.png", "GET", {}, 404),
        ("/workspace/digits/cloud/00000000000000000000.bin", "GET", {}, 404),
        ("//evil.example/..", "GET", {}, 400),
        ("/", "GET", {"Host": "evil.example"}, 400),
        ("/", "DELETE", {}, 405),
    ],
)  # fmt: skip
def test_every_answer_carries_the_policy(
    server: str, path: str, method: str, headers: dict[str, str], status: int
) -> None:
    found = answer(server, path, method, **headers)
    assert found.status == status
    policy = found.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert found.headers["X-Content-Type-Options"] == "nosniff"
    assert found.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert found.headers["Referrer-Policy"] == "same-origin"
    assert "camera=()" in found.headers["Permissions-Policy"]
    assert len(found.headers.get_all("Content-Security-Policy") or []) == 1


def test_the_policy_stops_what_a_page_must_not_do(browser: Browser, server: str) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{server}/models")
    settled(page)
    breaches = page.evaluate(
        """async () => {
          const breached = [];
          document.addEventListener('securitypolicyviolation', (event) => breached.push(event.effectiveDirective));
          const script = document.createElement('script');
          script.textContent = 'window.injected = true';
          document.body.append(script);
          const elsewhere = document.createElement('script');
          elsewhere.src = 'https://elsewhere.example/x.js';
          document.body.append(elsewhere);
          document.body.insertAdjacentHTML('beforeend', `<img src=x onerror="window.injected = true">
            <img src="https://elsewhere.example/x.png"><iframe src="https://elsewhere.example/"></iframe>
            <base href="https://elsewhere.example/"><object data="/assets/explore.js"></object>`);
          await fetch('https://elsewhere.example/').catch(() => null);
          // a second at least, and longer where a busy machine reports late
          for (let tenths = 0; tenths < 10 || (tenths < 200 && new Set(breached).size < 7); tenths++) {
            await new Promise((go) => setTimeout(go, 100));
          }
          return [window.injected === true, [...new Set(breached)].sort()];
        }"""
    )
    assert breaches == [
        False,
        ["base-uri", "connect-src", "frame-src", "img-src", "object-src", "script-src-attr", "script-src-elem"],
    ]
    context.close()


def test_no_page_of_another_server_can_frame_the_dashboard(browser: Browser, server: str, tmp_path: Path) -> None:
    context = browser.new_context()
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    (tmp_path / "index.html").write_text(
        f"<img src='{server}/pictures/digits/digits-1/train/0.png'><iframe src='{server}/'></iframe>"
    )
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as other:
        Thread(target=other.serve_forever, daemon=True).start()
        page.goto(f"http://localhost:{other.server_port}/")
        page.wait_for_timeout(1000)
        other.shutdown()
    assert any("frame-ancestors" in text for text in said), said
    assert page.evaluate("document.querySelector('img').naturalWidth") == 0, "its pictures are for its own pages"
    assert not page.frames[1].locator("[data-testid=stApp]").count()
    context.close()


def test_with_a_log_in_nobody_else_gets_anything(browser: Browser, demo_cache: Path, tmp_path: Path) -> None:
    secret = "a long secret of this test only"
    secrets = tmp_path / "secrets.toml"
    secrets.write_text(
        f"""[auth]
        redirect_uri = "https://kmex.example.org/oauth2callback"
        cookie_secret = "{secret}"
        client_id = "kmex"
        client_secret = "never sent by this test"
        server_metadata_url = "https://provider.example.org/.well-known/openid-configuration"
        """
    )
    picture = "/pictures/digits/digits-1/train/0.png"
    with dashboard(demo_cache, tmp_path / "log", STREAMLIT_SECRETS_FILES=str(secrets)) as address:
        for path in (picture, f"/workspace/digits/cloud/{'0' * 20}.bin", f"/workspace/digits/layer/{'0' * 20}.bin"):
            for cookie in ("", "_streamlit_user=forged", f"_streamlit_user={signed('another secret', address)}"):
                assert answer(address, path, Cookie=cookie).status == 403, (path, cookie)
        with watched(browser, address) as page:
            page.goto("/models")
            expect(page.get_by_role("button", name="Log in")).to_be_visible()
            settled(page)
            expect(page.get_by_role("slider")).to_have_count(0)
            expect(page.get_by_text("Import weights")).to_have_count(0)
            page.context.add_cookies([{"name": "_streamlit_user", "value": signed(secret, address), "url": address}])
            page.goto("/prototypes?model=digits")
            pictures_are_shown(page)
            expect(page.get_by_role("button", name="Log out")).to_be_visible()
            settled(page)


def signed(secret: str, origin: str) -> str:
    """The cookie of somebody whom the provider has let in."""
    user = {"origin": origin, "is_logged_in": True, "name": "Ada"}
    return create_signed_value(secret, "_streamlit_user", json.dumps(user)).decode()


def test_a_read_only_server_explores_and_explains(browser: Browser, demo_cache: Path, tmp_path: Path) -> None:
    before = snapshot(demo_cache)
    with dashboard(demo_cache, tmp_path / "log", KMEX_READ_ONLY="1") as address, watched(browser, address) as page:
        walk(page, address, {"/explore": LAST["/explore"]})
        page.goto(f"{address}/models")
        expect(page.get_by_text("This server is read-only")).to_be_visible()
        settled(page)
        for name in ("Train", "Import", "Rename", "Delete", "Export"):
            expect(page.get_by_role("button", name=name, exact=True)).to_have_count(0)
    assert snapshot(demo_cache) == before
