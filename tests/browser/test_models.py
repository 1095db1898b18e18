"""The page Data and models as a person uses it: real training and import in processes of their own."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from playwright.sync_api import Browser, Page, expect

from kmex_core.base import jobs
from kmex_core.base.store import Store
from kmex_core.models import catalogue as models
from kmex_core.networks import architectures
from tests.helpers.browser import A_JOB, settled
from tests.helpers.servers import dashboard

pytestmark = pytest.mark.browser


@pytest.fixture
def own_store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture(scope="module")
def page_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("page") / "store")


@pytest.fixture(scope="module")
def page_server(page_store: Store) -> Iterator[str]:
    with dashboard(page_store.root, page_store.root.parent / "log") as address:
        yield address


@pytest.fixture
def own_page(browser: Browser, page_server: str) -> Iterator[Page]:
    """A page on a store in which these tests train, import and delete models."""
    context = browser.new_context(base_url=page_server, viewport={"width": 1440, "height": 1500})
    page = context.new_page()
    page.set_default_timeout(60_000)
    yield page
    context.close()


def choose_model(page: Page, store: Store, name: str) -> None:
    row = [one.name for one in models.list_models(store)[0]].index(name)
    box = page.locator("[data-testid=stDataFrame] canvas").first.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 20, box["y"] + 35 * (row + 1) + 17)
    expect(page).to_have_url(re.compile(f"chosen={name}"))  # tables tell of a click with a delay
    settled(page)


def test_a_model_is_trained_survives_a_kill_and_is_looked_at(own_page: Page, page_store: Store) -> None:
    page = own_page
    page.goto("/models")
    page.get_by_text("Train a model").click()
    page.get_by_role("textbox", name="Name").first.fill("mine")
    page.get_by_role("spinbutton", name="Epochs").fill("3")
    page.get_by_role("button", name="Train", exact=True).click()
    expect(page.get_by_text("Training mine")).to_be_visible()
    expect(page.get_by_text(re.compile(r"Epoch 2/3, loss"))).to_be_visible(timeout=A_JOB)
    expect(page.get_by_test_id("stPlotlyChart").first).to_be_visible()
    job = jobs.look(page_store, "train-mine")
    assert job is not None
    os.kill(job.pid, signal.SIGKILL)
    page.reload()
    expect(page.get_by_text("The job ended without a result.")).to_be_visible()
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_text("Training mine")).to_have_count(0, timeout=A_JOB)
    info = models.describe(page_store, "mine")
    assert len(info.made_by["history"]) == 3
    assert "--resume" in info.made_by["command"]
    settled(page)
    choose_model(page, page_store, "mine")
    page.get_by_role("button", name="Open in Explore").last.click()
    expect(page).to_have_url(re.compile(r"/explore\?.*model=mine"))


def test_a_file_is_imported_renamed_and_deleted(own_page: Page, page_store: Store, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(models.path_of(page_store, "digits-protopnet").read_bytes())
    page = own_page
    page.goto("/models")
    page.get_by_text("Import weights").click()
    page.locator("[data-testid=stFileUploader] input[type=file]").set_input_files(path)
    expect(page.get_by_text("weights.safetensors")).to_be_visible()
    page.get_by_role("textbox", name="Name").last.fill("theirs")
    page.get_by_role("button", name="Import", exact=True).click()
    expect(page.get_by_text("theirs is imported.")).to_be_visible()
    assert models.describe(page_store, "theirs").kind == "protopnet"
    assert list((page_store.root / "uploads").glob("*.weights")) == []
    settled(page)
    choose_model(page, page_store, "theirs")
    page.get_by_role("button", name="Rename").click()
    page.get_by_role("dialog").get_by_role("textbox").fill("ours")
    page.get_by_role("dialog").get_by_role("textbox").press("Enter")
    page.get_by_role("dialog").get_by_role("button", name="Rename").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert "ours" in models.known_names(page_store)
    settled(page)
    if page.get_by_role("button", name="Delete").count() == 0:
        choose_model(page, page_store, "ours")
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete permanently").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert "ours" not in models.known_names(page_store)


@pytest.mark.slow  # a kill and a reload are seen above
def test_training_goes_on_while_the_server_restarts_and_can_be_stopped(
    browser: Browser, own_store: Store, tmp_path: Path
) -> None:
    jobs.start(own_store, "train-mine", ["train", "--dataset", "digits", "--backbone", "resnet20", "--name", "mine"])
    for log in ("first", "second"):
        with dashboard(own_store.root, tmp_path / log) as address:
            page = browser.new_page(base_url=address)
            page.goto("/models")
            expect(page.get_by_text("Training mine")).to_be_visible()
            expect(page.get_by_text(re.compile(r"Epoch \d+/30, loss"))).to_be_visible()
            if log == "second":
                page.get_by_role("button", name="Stop").click()
                expect(page.get_by_text("Stopped. Finished work is kept.")).to_be_visible()
            page.close()
    job = jobs.look(own_store, "train-mine")
    assert job is not None
    assert job.state == "stopped"


def choose_backbone(page: Page, name: str) -> None:
    box = page.get_by_role("combobox", name="Backbone").filter(visible=True)
    box.click()
    box.fill(name)
    page.get_by_role("option", name=re.compile(name)).first.click()


def test_a_checkpoint_of_45_mb_comes_through_the_server(own_page: Page, page_store: Store, tmp_path: Path) -> None:
    """The commonest network, in the commonest file: a ResNet-18 as torchvision's training script saves it."""
    torch.manual_seed(0)
    path = tmp_path / "model_best.pth"
    state = architectures.build("resnet18", 10, 32).state_dict()
    torch.save({"epoch": 9, "arch": "resnet18", "state_dict": state, "best_acc1": torch.tensor(9.0)}, path)
    assert 44 * 2**20 > path.stat().st_size > 42 * 2**20
    page = own_page
    page.goto("/models")
    page.get_by_text("Import weights").click()
    expect(page.get_by_text("up to 600 MB").first).to_be_visible()
    page.locator("[data-testid=stFileUploader] input[type=file]").set_input_files(path)
    expect(page.get_by_text("model_best.pth")).to_be_visible()
    page.get_by_role("textbox", name="Name").last.fill("large")
    choose_backbone(page, "resnet18")
    settled(page)
    page.get_by_role("button", name="Import", exact=True).click()
    expect(page.get_by_text("large is imported.")).to_be_visible(timeout=120_000)
    info = models.describe(page_store, "large")
    assert info.backbone == "resnet18"
    assert "hardly more than by chance" in info.made_by["imported"]["warning"]  # it was never trained
    settled(page)
    choose_model(page, page_store, "large")
    expect(page.get_by_text("hardly more than by chance").first).to_be_visible()


def test_a_file_that_the_server_refuses_is_explained(browser: Browser, own_store: Store, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(os.urandom(3 * 2**20))
    with dashboard(own_store.root, tmp_path / "log", STREAMLIT_SERVER_MAX_UPLOAD_SIZE="2") as address:
        page = browser.new_page(base_url=address, viewport={"width": 1440, "height": 1500})
        page.set_default_timeout(60_000)
        page.goto("/models")
        page.get_by_text("Import weights").click()
        expect(page.get_by_text("up to 2 MB").first).to_be_visible()
        page.locator("[data-testid=stFileUploader] input[type=file]").set_input_files(path)
        page.get_by_role("textbox", name="Name").last.fill("mine")
        settled(page)
        page.get_by_role("button", name="Import", exact=True).click()
        expect(page.get_by_text("No file was received.")).to_be_visible()
        expect(page.get_by_text("larger than 2 MB")).to_be_visible()
        expect(page.get_by_role("textbox", name="Name").last).to_have_value("mine")
        page.close()
