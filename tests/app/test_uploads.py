"""The route that takes uploads: whom it answers, what it refuses, and that pages may open what arrived."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.testclient import TestClient

from app import access, login
from app.components.new.upload import users
from app.routes import uploads as route
from app.security import LOOPBACK, AllowedHosts
from kmex_core.base.errors import InputError
from kmex_core.base.store import Store
from kmex_core.data import receiving, uploads
from kmex_core.models import catalogue as models
from tests.helpers.stores import snapshot

OWN = {route.HEADER: "1"}
ODD = "<img src=x onerror=alert(1)> **bold** ünï.jpg"


@pytest.fixture
def client(store: Store) -> Iterator[TestClient]:
    """A client of the route behind the middleware that guards it in Home.py."""
    app = Starlette(routes=[*route.routes()], middleware=[Middleware(AllowedHosts, names=LOOPBACK)])
    with TestClient(app, base_url="http://localhost:8501", headers=OWN) as opened:
        yield opened


def began(client: TestClient, files: list[list[Any]], name: str = "photos") -> str:
    answer = client.post("/uploads", json={"name": name, "files": files})
    assert answer.status_code == 200, answer.text
    upload: str = answer.json()["upload"]
    return upload


def test_an_upload_from_begin_to_finish(client: TestClient, store: Store) -> None:
    upload = began(client, [[f"cat/{ODD}", 5], ["dog/2.jpg", 4]], "<b>My photos</b>")
    assert client.post(f"/uploads/{upload}/0", content=b"123456").json() == {"received": 6}
    assert client.post(f"/uploads/{upload}").json() == {"received": 6}
    assert client.post(f"/uploads/{upload}/finish").status_code == 409
    assert client.post(f"/uploads/{upload}/6", content=iter([b"7", b"89"])).json() == {"received": 9}
    for _ in range(2):
        assert client.post(f"/uploads/{upload}/finish").json() == {"name": "b-My-photos-b"}
    (folder,) = uploads.folders(store)
    assert (folder / "cat" / ODD).read_bytes() == b"12345"
    assert (folder / "dog" / "2.jpg").read_bytes() == b"6789"


def test_a_part_at_another_place_is_refused_and_changes_nothing(client: TestClient) -> None:
    upload = began(client, [["a.jpg", 9]])
    client.post(f"/uploads/{upload}/0", content=b"123")
    for offset, status in (("0", 409), ("4", 409), ("-1", 400), ("3x", 400), ("9" * 40, 400), ("٣", 400)):
        answer = client.post(f"/uploads/{upload}/{offset}", content=b"45")
        assert (answer.status_code, answer.headers["content-type"]) == (status, "text/plain; charset=utf-8")
    assert client.post(f"/uploads/{upload}/3", content=b"4567890").status_code == 400, "more than announced"
    assert client.post(f"/uploads/{upload}").json() == {"received": 3}


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"{", 400, "begins with its name"),
        (b"[" * 100_000, 400, "begins with its name"),
        (b'{"name": 1, "files": []}', 400, "begins with its name"),
        (b'{"name": "x", "files": []}', 400, "no files"),
        (b'{"name": "x", "files": [["../x", 1]]}', 400, "not a path inside"),
        (b'{"name": "x", "files": [["/etc/x", 1]]}', 400, "not a path inside"),
        (b'{"name": "x", "files": [["a", 3000000000]]}', 413, "2 GB"),
        (b'{"name": "x", "files": [["a", 1e3]]}', 400, "list of"),
        (b'{"name": "x", "files": [["\\ud800", 1]]}', 400, "control characters"),
    ],
)
def test_what_may_not_be_uploaded(client: TestClient, store: Store, body: bytes, status: int, says: str) -> None:
    answer = client.post("/uploads", content=body)
    assert answer.status_code == status
    assert says in answer.text
    assert not (store.root / uploads.ROOM).exists()


def test_no_request_is_larger_than_it_may_be(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    upload = began(client, [["a.jpg", 100]])
    monkeypatch.setattr(receiving, "PART_BYTES", 10)
    monkeypatch.setattr(route, "MOST_LIST", 10)
    assert client.post(f"/uploads/{upload}/0", content=b"x" * 11).status_code == 413
    assert client.post(f"/uploads/{upload}/0", content=iter([b"x" * 8, b"x" * 8])).status_code == 413, (
        "without a length"
    )
    assert client.post("/uploads", content=b"x" * 11).status_code == 413
    assert client.post(f"/uploads/{upload}").json() == {"received": 0}


@pytest.mark.parametrize("upload", ["0" * 32, "x", "..%2f..%2fetc", "%00", "A" * 32])
@pytest.mark.parametrize("what", ["", "/0", "/finish", "/cancel"])
def test_no_other_upload_is_reached(client: TestClient, upload: str, what: str) -> None:
    assert client.post(f"/uploads/{upload}{what}", content=b"x").status_code == 404


def requests(client: TestClient, upload: str, **headers: str) -> Iterator[Any]:
    for path in ("", f"/{upload}", f"/{upload}/0", f"/{upload}/finish", f"/{upload}/cancel"):
        body = json.dumps({"name": "x", "files": [["a", 1]]}).encode() if not path else b"x"
        yield client.post(f"/uploads{path}", content=body, headers=headers)


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "http://localhost:8502", "null", "http://localhost:8501.evil.example"]
)
def test_pages_of_other_servers_send_nothing(client: TestClient, store: Store, origin: str) -> None:
    upload = began(client, [["a.jpg", 1]])
    before = snapshot(store.root)
    assert {answer.status_code for answer in requests(client, upload, origin=origin)} == {403}
    assert client.options("/uploads", headers={"origin": origin}).status_code == 405, "a browser's question first"
    del client.headers[route.HEADER]
    assert {answer.status_code for answer in requests(client, upload)} == {403}, "what a form can send"
    assert snapshot(store.root) == before
    assert client.post(
        f"/uploads/{upload}/0", content=b"x", headers=OWN | {"origin": "http://localhost:8501"}
    ).is_success


def test_a_log_in_comes_first(client: TestClient, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    upload = began(client, [["a.jpg", 1]])
    before = snapshot(store.root)
    monkeypatch.setattr(login, "is_needed", lambda: True)
    answers = list(requests(client, upload))
    assert {(answer.status_code, answer.text) for answer in answers} == {(403, "Log in first.\n")}
    assert snapshot(store.root) == before


def test_a_read_only_server_takes_nothing(client: TestClient, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    upload = began(client, [["a.jpg", 1]])
    before = snapshot(store.root)
    monkeypatch.setenv("KMEX_READ_ONLY", "1")
    _, status, *changes = requests(client, upload)
    assert status.json() == {"received": 0}
    assert [answer.status_code for answer in changes] == [400, 400, 400]
    assert client.post("/uploads", json={"name": "x", "files": [["a", 1]]}).status_code == 400
    assert "read-only" in changes[0].text
    assert snapshot(store.root) == before


def test_what_is_cancelled_is_gone(client: TestClient, store: Store) -> None:
    upload = began(client, [["a.jpg", 2]])
    client.post(f"/uploads/{upload}/0", content=b"x")
    assert client.post(f"/uploads/{upload}/cancel").json() == {}
    assert client.post(f"/uploads/{upload}/1", content=b"x").status_code == 404
    assert [path for path in (store.root / uploads.ROOM).iterdir() if path.is_dir()] == []


def test_pages_open_what_was_uploaded_and_nothing_else_of_the_store(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "allowed").mkdir()
    monkeypatch.setenv(access.DATA_ROOTS, str(tmp_path / "allowed"))
    upload = receiving.begin(store, "photos.zip", [["photos.zip", 1]])
    with receiving.Part(store, upload, 0) as part:
        part.write(b"x")
    opened = uploads.path_of(store, receiving.finish(store, upload))
    assert access.dataset_to_open(str(opened)) == str(opened)
    assert access.dataset_to_open(str(opened.parent)) == str(opened.parent)
    unfinished = receiving.begin(store, "x", [["a", 1]])
    room = store.root / uploads.ROOM
    (room / "link").symlink_to(tmp_path)
    (opened.parent / "link").symlink_to(tmp_path)
    (store.root / "unpacked" / "x").mkdir(parents=True)
    for path in (room, store.root, store.root / "unpacked" / "x", room / f".{unfinished}.part", room / "link",
                 opened.parent / "link", opened.parent / ".." / "..", room / "missing"):  # fmt: skip
        with pytest.raises(InputError, match="does not open"):
            access.dataset_to_open(str(path))


def test_models_are_named_by_the_upload_that_they_open(store: Store, tmp_path: Path) -> None:
    for name, path in (("photos", "a.jpg"), ("photos2", "b.jpg"), ("zipped", "zipped.zip")):
        upload = receiving.begin(store, name, [[path, 0]])
        receiving.finish(store, upload)
    room = store.root / uploads.ROOM
    (tmp_path / "elsewhere").mkdir()
    info = models.describe(store, "digits")
    opens = {
        "by path": str(room / "photos"),
        "part of it": str(room / "photos" / "a.jpg"),
        "archive": str(room / "zipped" / "zipped.zip"),
        "elsewhere": str(tmp_path / "elsewhere"),
        "gone": str(room / "gone"),
        "impossible": "\0",
    }
    infos = [info, *(replace(info, name=name, dataset=path) for name, path in opens.items())]
    used = {upload.name: users(upload, infos) for upload in uploads.listed(store)}
    assert used == {"photos": ["by path", "part of it"], "photos2": [], "zipped": ["archive"]}
