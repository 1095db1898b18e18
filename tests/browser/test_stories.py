"""What two people bring, from an empty store to an explained picture of theirs, on the page New with real jobs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from playwright.sync_api import Browser, Page, expect

from kmex_core.base.store import Store
from kmex_core.data.network_input import normalise
from kmex_core.models import catalogue
from kmex_core.stages.subject import subject_of
from tests.helpers.browser import A_JOB, PICK, explained, settled, watched
from tests.helpers.servers import dashboard
from tests.helpers.stories import CLASSES, PHOTOS, encoder_folder, fine_tuned, photos, with_table, zipped

pytestmark = [pytest.mark.browser, pytest.mark.slow]  # networks of their real size, and jobs for each step

OFFLINE = {"HF_HUB_OFFLINE": "1"}


def test_an_uploaded_zip_and_a_lightning_checkpoint(browser: Browser, tmp_path: Path) -> None:
    """A ResNet-18 that was fine-tuned with Resize(256) and CenterCrop(224), whose classes have an order of its own."""
    archive, checkpoint = zipped(tmp_path / "my photos.zip"), tmp_path / "last.ckpt"
    expected, store = fine_tuned(checkpoint), Store(tmp_path / "store")
    with dashboard(store.root, tmp_path / "log", **OFFLINE) as server, watched(browser, server) as page:
        page.goto("/new")
        settled(page)
        page.get_by_text("An upload").click()
        page.get_by_label("Files to upload").set_input_files(archive)
        images_are_read(page)
        page.get_by_role("combobox", name="Network").click()
        page.get_by_role("combobox", name="Network").fill("resnet18")
        page.get_by_role("option", name="resnet18", exact=True).click()
        settled(page)
        page.get_by_text("Upload a file").click()
        settled(page)
        page.locator("[data-testid=stFileUploader] input[type=file]").set_input_files(checkpoint)
        expect(page.get_by_text("last.ckpt")).to_be_visible()
        settled(page)
        page.get_by_role("button", name="Look at this model").click()
        expect(page.get_by_text("512 dimensions to 3 class scores")).to_be_visible(timeout=A_JOB)
        settled(page)
        page.get_by_role("combobox", name="Preprocessing").click()
        page.get_by_role("option", name="As usual for ImageNet").click()
        expect(page.get_by_text("the shorter side resized to 256 pixels")).to_be_visible(timeout=A_JOB)
        settled(page)
        page.get_by_role("button", name="Continue with the check").click()
        page.get_by_role("button", name="Use this order of classes").click(timeout=A_JOB)
        expect(page.get_by_role("button", name="Use this order of classes")).to_have_count(0, timeout=A_JOB)
        expect(page.get_by_text("100.0% of 12 held-out images are classified correctly")).to_be_visible(timeout=A_JOB)
        settled(page)
        converted(page, "lightning")
        same = predicted_here(store, "lightning")
        assert len(same) == len(expected) == PHOTOS * len(CLASSES)
        assert np.mean([CLASSES[expected[name]] == said for name, said in same.items()]) >= 0.99
        upload_is_explained(page, tmp_path / "photo.jpg")
        expect(page.locator(".kx-maps").get_by_text("Black box")).to_be_visible(timeout=A_JOB)


def test_a_table_of_files_and_an_encoder_without_a_head(browser: Browser, tmp_path: Path) -> None:
    """A folder of files with their classes in a CSV, and an encoder of transformers as DINOv2's."""
    (tmp_path / "survey").mkdir()
    folder, network = with_table(tmp_path / "survey"), encoder_folder(tmp_path / "dino")
    store = Store(tmp_path / "store")
    with dashboard(store.root, tmp_path / "log", **OFFLINE) as server, watched(browser, server) as page:
        page.goto("/new")
        settled(page)
        page.get_by_role("textbox", name="Folder, table or archive").fill(str(folder))
        page.get_by_role("button", name="Read the images").click()
        images_are_read(page)
        page.get_by_role("combobox", name="Source").click()
        page.get_by_role("option", name="Hugging Face").click()
        settled(page)
        page.get_by_role("textbox", name="Folder or name").fill(str(network))
        page.get_by_role("button", name="Look at this model").click()
        expect(page.get_by_text("it is an encoder")).to_be_visible(timeout=A_JOB)
        settled(page)
        page.get_by_role("button", name="Continue with the check").click()
        expect(page.get_by_role("heading", name="Convert")).to_be_visible(timeout=A_JOB)
        settled(page)
        converted(page, "dino")
        assert not catalogue.describe(store, "dino").predicts
        upload_is_explained(page, tmp_path / "photo.jpg")
        expect(page.get_by_text("black box")).to_have_count(0)


def images_are_read(page: Page) -> None:
    expect(page.get_by_text(f"{PHOTOS * len(CLASSES)} images of {len(CLASSES)} classes")).to_be_visible(timeout=A_JOB)
    settled(page)
    page.get_by_role("button", name="Continue with your model").click()
    expect(page.get_by_role("heading", name="Your network")).to_be_visible()
    settled(page)


def converted(page: Page, name: str) -> None:
    page.get_by_role("textbox", name="Name").fill(name)
    page.get_by_role("button", name="Convert", exact=True).click()
    expect(page.get_by_text(f"{name} is in the store. Every page can show it now.")).to_be_visible(timeout=A_JOB)
    settled(page)


def predicted_here(store: Store, name: str) -> dict[str, str]:
    """The class that the stored black box predicts for each photo, by its class folder and file name."""
    subject, network = subject_of(store, name), catalogue.load(store, name)
    found: dict[str, str] = {}
    for split, images in subject.data.splits.items():
        for at in range(len(images)):
            pixels = normalise(
                subject.data.pixels(split, range(at, at + 1), subject.info.preprocessing), subject.info.preprocessing
            )
            with torch.inference_mode():
                label = int(network.head(network.encoder(pixels)).argmax())
            found["/".join(str(images.file_name(at)).split("/")[-2:])] = subject.info.class_names[label]
    return found


def upload_is_explained(page: Page, photo: Path) -> None:
    """Explain a photo that is in no data set."""
    photo.write_bytes(next(iter(photos().values())))
    page.get_by_role("button", name="Explain an image of yours").click()
    expect(page.get_by_role("heading", name="Explain")).to_be_visible()
    settled(page)
    page.get_by_label(PICK).set_input_files(photo)
    explained(page, A_JOB)
