"""Uploads as a person makes them: a folder, an archive, one that is cancelled, one that is deleted."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from kmex_core.base.specs import DatasetSpec
from kmex_core.base.store import Store
from kmex_core.data import registry, uploads
from tests.helpers.browser import serious, watched
from tests.helpers.datasets import write_folder
from tests.helpers.servers import dashboard

pytestmark = pytest.mark.browser

ODD = ("<b>cat **1**", "ünï 写真 'q' $x$")


@pytest.fixture(scope="module")
def upload_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("uploads") / "store")


@pytest.fixture(scope="module")
def upload_server(upload_store: Store) -> Iterator[str]:
    log = upload_store.root.parent / "log"
    with dashboard(upload_store.root, log, script="tests/helpers/upload_server.py") as address:
        yield address


@pytest.fixture
def upload_page(browser: Browser, upload_server: str) -> Iterator[Page]:
    # a test cuts its connection
    with watched(browser, upload_server, provoked="Failed to load resource: net::ERR_FAILED") as page:
        page.goto("/")
        expect(page.get_by_role("button", name="Choose a folder")).to_be_visible()
        yield page


def test_a_folder_and_an_archive_are_sent_listed_and_deleted(
    upload_page: Page, upload_store: Store, tmp_path: Path
) -> None:
    page = upload_page
    folder = write_folder(tmp_path / "My photos", ODD, 6, 4)
    (folder / ".DS_Store").write_text("hidden")
    (folder / "Thumbs.db").write_text("hidden")
    page.get_by_label("Folder to upload").set_input_files(folder)
    expect(page.get_by_text("My-photos is uploaded. 2 files left out")).to_be_visible()
    expect(page.get_by_text(f"Data set: {upload_store.root / 'uploads' / 'My-photos'}", exact=True)).to_be_visible()
    data = registry.load(DatasetSpec(str(uploads.path_of(upload_store, "My-photos"))))
    assert set(data.class_names) == set(ODD)
    assert len(data.split("train")) == 12

    archive = shutil.make_archive(str(tmp_path / "flowers"), "zip", folder)
    page.get_by_label("Files to upload").set_input_files(archive)
    expect(page.get_by_text("flowers is uploaded.")).to_be_visible()
    expect(page.get_by_text(re.compile(r"flowers · .* MB · 1 file · 20.* UTC · no model uses it"))).to_be_visible()
    expect(page.get_by_text("flowers.zip")).to_be_visible()
    assert serious(page) == []

    page.reload()  # the list is the store's, not the session's
    expect(page.get_by_role("button", name="Use")).to_have_count(2)
    page.get_by_role("button", name="Use").last.click()
    expect(page.get_by_text(f"Data set: {upload_store.root / 'uploads' / 'My-photos'}", exact=True)).to_be_visible()
    page.get_by_role("button", name="Delete").first.click()
    page.get_by_role("dialog").get_by_role("button", name="Delete permanently").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_text("no model uses it")).to_have_count(1)
    assert [upload.name for upload in uploads.listed(upload_store)] == ["My-photos"]


def test_a_dropped_folder_is_read_to_its_end(upload_page: Page, upload_store: Store, tmp_path: Path) -> None:
    page = upload_page
    for number in range(130):  # a browser lists a hundred at a time
        path = tmp_path / "dropped" / f"class {number % 3}" / "deep" / f"{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(number))
    for number in range(120):
        (tmp_path / "dropped" / f"{number}.txt").write_text(str(number))
    box = page.get_by_role("group", name="Upload images").bounding_box()
    assert box is not None
    session = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(tmp_path / "dropped")], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        place = {"x": box["x"] + box["width"] / 2, "y": box["y"] + 10}
        session.send("Input.dispatchDragEvent", {"type": kind, "data": data, **place})
    expect(page.get_by_text("dropped is uploaded.")).to_be_visible()
    stored = uploads.path_of(upload_store, "dropped")
    assert sum(path.is_file() for path in stored.rglob("*")) == 250
    assert (stored / "class 0" / "deep" / "129.txt").read_text() == "129"


def test_an_upload_outlives_a_run_of_the_page_and_a_lost_connection_and_can_be_cancelled(
    upload_page: Page, upload_store: Store, tmp_path: Path
) -> None:
    page = upload_page
    (tmp_path / "big.tar").write_bytes(bytes(5 << 20))
    held: list[Route] = []
    page.route(re.compile(r"/uploads/[0-9a-f]{32}/\d{2,}$"), lambda route: held.append(route))
    page.get_by_label("Files to upload").set_input_files(tmp_path / "big.tar")
    expect(page.get_by_text(re.compile(r"1 of 5 MB · 0 of 1 file"))).to_be_visible()
    page.get_by_role("button", name="Run again").click()
    expect(page.get_by_text(re.compile(r"1 of 5 MB · 0 of 1 file"))).to_be_visible()
    page.wait_for_timeout(200)
    held.pop().abort()
    expect(page.get_by_text("The connection was lost. Trying again")).to_be_visible()
    page.get_by_role("button", name="Cancel upload").click()
    expect(page.get_by_text("The upload was cancelled.")).to_be_visible()
    room = upload_store.root / uploads.ROOM
    page.wait_for_timeout(500)
    assert list(room.glob(".*.part")) == []
    assert [upload.name for upload in uploads.listed(upload_store) if upload.name == "big"] == []

    page.unroute_all()
    page.get_by_label("Files to upload").set_input_files(tmp_path / "big.tar")
    expect(page.get_by_text("big is uploaded.")).to_be_visible()
    assert uploads.path_of(upload_store, "big").stat().st_size == 5 << 20


def test_what_arrived_before_the_connection_was_cut_counts(upload_server: str, upload_store: Store) -> None:
    host = urlsplit(upload_server).netloc

    def ask(path: str, body: bytes = b"") -> dict[str, str | int]:
        connection = http.client.HTTPConnection(host, timeout=30)
        connection.request("POST", path, body, {"KMEx-Upload": "1"})
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status == 200, text
        parsed: dict[str, str | int] = json.loads(text)
        return parsed

    half = 1 << 20  # what goes to the disk at once
    whole = bytes(half) + b"x" * half
    upload = ask("/uploads", json.dumps({"name": "cut", "files": [["a.bin", 2 * half]]}).encode())["upload"]
    cut = http.client.HTTPConnection(host, timeout=30)
    cut.putrequest("POST", f"/uploads/{upload}/0")
    cut.putheader("KMEx-Upload", "1")
    cut.putheader("Content-Length", str(2 * half))
    cut.endheaders()
    cut.send(whole[: half + half // 2])
    cut.close()
    for _ in range(100):
        if at := int(ask(f"/uploads/{upload}")["received"]):
            break
        time.sleep(0.1)
    assert half <= at <= half + half // 2
    ask(f"/uploads/{upload}/{at}", whole[at:])
    name = str(ask(f"/uploads/{upload}/finish")["name"])
    assert (uploads.path_of(upload_store, name) / "a.bin").read_bytes() == whole
