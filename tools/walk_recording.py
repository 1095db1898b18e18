"""Record the walk of `shortcut_walk.py` in a real browser, as an animated picture with captions.

`python tools/walk_recording.py FOLDER [TARGET]` takes the store that `shortcut_walk.py FOLDER` made, opens Explore, and
writes TARGET, docs/images/walk.gif if nothing else is said. Figures in the captions are read from the page. With
--frames DIRECTORY it also writes each frame as a PNG.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import tempfile
import textwrap
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from playwright.sync_api import Locator, Page, expect, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.browser import BROWSERS  # noqa: E402
from tests.browser.conftest import FLAGS  # noqa: E402
from tests.helpers.browser import settled, watched  # noqa: E402
from tests.helpers.servers import dashboard  # noqa: E402
from tools import walk_captions as captions  # noqa: E402
from tools.shortcut_walk import MODEL, WALK_K, chosen  # noqa: E402

SIZE = (1280, 800)
CAPTION, TEXT, MARGIN = 112, 26, 16  # heights of the caption and its letters, and the space around it, in pixels
LINE = 100  # letters of a caption's line
INK, PAPER, RING = (255, 255, 255), (31, 41, 55), (208, 46, 38)
AROUND = 3  # pixels between a ring and what it is about
SECONDS = 4
COLOURS = 128
VERSION = "without the sunglasses prototype"


@dataclass(frozen=True)
class Frame:
    """A moment of the walk.

    Attributes:
        picture: the page, with what the caption is about outlined.
        caption: below it.
    """

    picture: Image.Image
    caption: str


def main() -> None:
    """Record the walk."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="what `shortcut_walk.py` made")
    parser.add_argument("target", type=Path, nargs="?", default=ROOT / "docs" / "images" / "walk.gif")
    parser.add_argument("--frames", type=Path, help="a directory for the frames as PNG files")
    options = parser.parse_args()
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        raise SystemExit("There is no Chromium here: install Debian's package chromium-headless-shell.")
    p = chosen(options.folder.resolve())
    with tempfile.TemporaryDirectory() as place:
        store = Path(place) / "store"  # the walk saves a version
        shutil.copytree(options.folder / "store", store)
        with dashboard(store, Path(place) / "log") as address, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
            with watched(browser, address, viewport={"width": SIZE[0], "height": SIZE[1]}) as page:
                frames = [captioned(frame) for frame in walk(page, p)]
            browser.close()
    write(frames, options.target)
    if options.frames:
        options.frames.mkdir(parents=True, exist_ok=True)
        for place_of, frame in enumerate(frames):
            frame.save(options.frames / f"{place_of + 1}.png")


# ---- the walk -------------------------------------------------------------------------------------------------------


def walk(page: Page, p: int) -> list[Frame]:
    """What a person does who finds the prototype `p`, from the page as it opens to the saved version."""
    page.goto(f"/explore?model={MODEL}&k={WALK_K}")
    ready = page.locator(".kx-timeline-slider")
    expect(ready).to_have_attribute("aria-busy", "false", timeout=240_000)  # the first visit draws the map
    page.get_by_role("button", name="No, thanks").click()
    page.get_by_test_id("stSidebarHeader").hover()  # shows the button
    page.get_by_role("button", name="Collapse sidebar").click()
    header = page.locator(".st-key-explore-header")
    first = header.inner_text()
    frames = [_frame(page, captions.start(first), header)]

    page.get_by_role("button", name="Right / wrong", exact=True).click()
    wrong = page.locator(".kx-legend [data-condition=wrong]")
    frames.append(_frame(page, captions.mistakes(_legend(page)), wrong))

    suspect = page.locator(".kx-proto").nth(p)
    _show(suspect)
    frames.append(_frame(page, captions.suspect(suspect.get_attribute("aria-label") or ""), suspect))

    suspect.click()
    attracted = page.locator("h4:visible", has_text="Attracted from other classes")
    _show(attracted)
    title = page.locator(".kx-card-view:visible h3").inner_text()
    tray = page.locator(".kx-tray:visible").nth(1)
    frames.append(_frame(page, captions.card(attracted.inner_text(), title), tray))

    page.get_by_role("button", name="Edit", exact=True).click()
    page.get_by_role("button", name="Hide", exact=True).click()
    table = page.locator(".kx-edit-scores")
    expect(table).to_be_visible()
    _show(table)
    worst = table.get_by_role("row", name=captions.WORST)
    frames.append(_frame(page, captions.scores(_rows(table), _legend(page)), worst, wrong))

    page.get_by_role("button", name="Save as version").click()
    page.keyboard.type(VERSION)
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("version="))
    edited = page.get_by_text("Edited: 1 prototype hidden").first
    expect(edited).to_be_attached()
    settled(page)
    frames.append(_frame(page, captions.saved(first, header.inner_text(), edited.inner_text()), header))
    return frames


def _legend(page: Page) -> dict[str, str]:
    """The numbers of images by the entries of the legend."""
    entries = page.locator(".kx-legend li:has(.kx-legend-count)").all()
    return dict(one.locator("button > span").all_inner_texts() for one in entries)


def _rows(table: Locator) -> dict[str, tuple[str, str]]:
    """The table of scores: for each line, without what is small in it, its scored and its untouched cell."""
    rows = {}
    for row in table.locator("tbody tr").all():
        name = row.locator("th").inner_text().split("\n")[0].split(" ↑")[0]
        scored, untouched = row.locator("td > span").all_inner_texts()
        rows[name] = scored, untouched
    return rows


def _show(part: Locator) -> None:
    """Scroll what is around it until it is on top."""
    part.evaluate("part => part.scrollIntoView({block: 'start'})")


def _frame(page: Page, caption: str, *about: Locator) -> Frame:
    """The page at rest, with parts outlined."""
    settled(page)
    page.wait_for_timeout(1500)  # pictures and dots come after what says that they do
    picture = Image.open(BytesIO(page.screenshot())).convert("RGB")
    for part in about:
        box = part.bounding_box()
        if box is None:
            raise ValueError(f"Not on the page: {part}")
        low = max(box["x"] - AROUND, 2), max(box["y"] - AROUND, 2)
        high = (
            min(box["x"] + box["width"] + AROUND, SIZE[0] - 3),
            min(box["y"] + box["height"] + AROUND, SIZE[1] - 3),
        )
        ImageDraw.Draw(picture).rounded_rectangle((*low, *high), 8, outline=RING, width=4)
    return Frame(picture, caption)


# ---- the picture ----------------------------------------------------------------------------------------------------


def captioned(frame: Frame) -> Image.Image:
    """A frame with its caption below."""
    picture = Image.new("RGB", (SIZE[0], SIZE[1] + CAPTION), PAPER)
    picture.paste(frame.picture)
    text = textwrap.fill(frame.caption, LINE)
    font = ImageFont.load_default(TEXT)
    ImageDraw.Draw(picture).multiline_text((MARGIN, SIZE[1] + MARGIN), text, INK, font, spacing=8)
    return picture


def write(frames: list[Image.Image], target: Path) -> None:
    """Write the frames as a GIF that repeats."""
    few = [frame.quantize(COLOURS, dither=Image.Dither.NONE) for frame in frames]
    target.parent.mkdir(parents=True, exist_ok=True)
    few[0].save(
        target, save_all=True, append_images=few[1:], duration=1000 * SECONDS, loop=0, optimize=True, disposal=1
    )


if __name__ == "__main__":
    main()
