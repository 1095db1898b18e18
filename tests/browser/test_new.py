"""The page New as a person uses it: from an empty store to an explained picture, with real jobs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, expect

from kmex_core.base.store import Store
from kmex_core.models import catalogue
from tests.helpers.browser import A_JOB, PICK, explained, no_sideways_scrolling, serious, settled, watched
from tests.helpers.servers import dashboard

pytestmark = pytest.mark.browser

ROTATED, ORIENTATION = 6, 0x112  # a quarter turn, as phones write it
CLASSES = {"Blue sky": (20, 40, 220), "grün & gelb": (30, 200, 40), "red_[x](y)": (220, 30, 30)}


def photos(root: Path) -> Path:
    """12 small JPEG files per class with odd names, half of them turned by their EXIF data, and one that is none."""
    random = np.random.default_rng(0)
    for name, colour in CLASSES.items():
        (root / name).mkdir(parents=True)
        for number in range(12):
            noise = random.integers(-60, 61, (40, 52, 3))
            picture = Image.fromarray(np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8))
            exif = picture.getexif()
            exif[ORIENTATION] = ROTATED if number % 2 else 1
            picture.save(root / name / f"pic {number} ü'.jpg", exif=exif)
    (root / "Blue sky" / "broken.jpg").write_bytes(b"\xff\xd8\xffnothing")
    return root


def test_photos_and_a_network_become_an_explanation(browser: Browser, tmp_path: Path) -> None:
    folder, store = photos(tmp_path / "my photos"), Store(tmp_path / "store")
    network = {"HF_HUB_OFFLINE": "1"}  # the network's weights are random, and the page says so
    with dashboard(store.root, tmp_path / "log", **network) as server, watched(browser, server) as page:
        page.goto("/")
        door = page.get_by_role("link", name="Open my model")
        expect(door).to_be_visible()
        settled(page)
        door.click()
        expect(page.get_by_role("textbox", name="Folder, table or archive")).to_be_visible()
        settled(page)
        page.get_by_role("textbox", name="Folder, table or archive").fill(str(folder))
        page.get_by_role("button", name="Read the images").click()
        expect(page.get_by_text("36 images of 3 classes")).to_be_visible(timeout=A_JOB)
        expect(page.get_by_text("1 picture cannot be decoded: Blue sky/broken.jpg.")).to_be_visible()
        expect(page.locator(".kx-card img").first).to_be_visible()
        page.get_by_text("Leave it out").click()
        settled(page)
        page.get_by_role("button", name="Continue with your model").click()
        expect(page.get_by_role("heading", name="Your network")).to_be_visible()
        settled(page)
        network_box = page.get_by_role("combobox", name="Network")
        network_box.click()
        network_box.fill("test_vit")
        page.get_by_role("option", name="test_vit", exact=True).click()
        settled(page)
        page.get_by_role("button", name="Look at this model").click()
        expect(page.get_by_text("with random weights: it was never trained").first).to_be_visible(timeout=A_JOB)
        page.reload()  # nothing is lost
        expect(page.get_by_text("64 dimensions to 1000 class scores")).to_be_visible()
        assert serious(page) == []
        page.get_by_role("button", name="Continue with the check").click()
        expect(page.get_by_role("heading", name="Convert")).to_be_visible()
        expect(page.locator("[data-testid=stImage] img")).to_have_count(6)  # all that are held out
        settled(page)
        assert serious(page) == []
        page.set_viewport_size({"width": 420, "height": 900})
        page.wait_for_timeout(400)
        assert no_sideways_scrolling(page)
        page.set_viewport_size({"width": 1440, "height": 900})
        page.get_by_role("textbox", name="Name").fill("mine")
        page.get_by_role("button", name="Convert", exact=True).click()
        expect(page.get_by_text("Converting mine.")).to_be_visible()
        page.reload()
        expect(page.get_by_text("mine is in the store. Every page can show it now.")).to_be_visible(timeout=A_JOB)
        info = catalogue.describe(store, "mine")
        assert (info.backbone, info.predicts, info.skip_broken) == ("timm:test_vit", False, True)
        settled(page)
        page.get_by_role("button", name="Explain an image of yours").click()
        expect(page.get_by_role("heading", name="Explain")).to_be_visible()
        page.get_by_label(PICK).set_input_files(next((folder / "red_[x](y)").glob("*.jpg")))
        explained(page, A_JOB)
