"""Makes what ships of the demo: results that let it open at once, and the pictures of the page Home.

    python tools/demo.py

Both are made from the demo's model and its data alone. Run it when its weights change, or how a result is computed.
"""

from __future__ import annotations

import math
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from kmex_core.base.location import SHIPPED_RESULTS  # noqa: E402
from kmex_core.base.store import Store  # noqa: E402
from kmex_core.data.colours import class_colours  # noqa: E402
from kmex_core.models.info import FIRST  # noqa: E402
from kmex_core.prototypes.source import KMeans  # noqa: E402
from kmex_core.stages.subject import Subject, subject_of  # noqa: E402

PICTURES = ROOT / "app" / "assets" / "home"
SIZE = (720, 400)  # of a picture in pixels, twice what it is shown at
SEEDS = range(5)  # of the curves over the number of prototypes
ROOMS = ("embeddings", "geometry", "prototypes", "projections", "sweeps", "suggestions")
INK = (128, 128, 128, 255)  # on light and dark pages


def main() -> None:
    """Write the results, then the pictures."""
    shutil.rmtree(SHIPPED_RESULTS, ignore_errors=True)  # a store would read them instead of computing its own
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        subject = subject_of(store, FIRST)
        subject.conversion(KMeans(5)).get()
        subject.embedding_map().get()
        for seed in SEEDS:
            subject.sweep(KMeans(5, seed)).get()
        subject.suggestion().get()
        for room in ROOMS:
            for name in store.names(room):
                target = SHIPPED_RESULTS / room / store.path(room, name).name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(store.path(room, name), target)
        PICTURES.mkdir(parents=True, exist_ok=True)
        for name, draw in (("demo", _map), ("explain", _explanation), ("new", _new)):
            draw(subject).save(PICTURES / f"{name}.png", optimize=True)


def _colours(subject: Subject) -> list[tuple[int, int, int]]:
    names = class_colours(len(subject.info.class_names))
    return [tuple(int(name[at : at + 2], 16) for at in (1, 3, 5)) for name in names]  # type: ignore[misc]


def _tile(pixels: np.ndarray, side: int, colour: tuple[int, ...]) -> Image.Image:
    """A picture with round corners and a frame."""
    picture = Image.fromarray(pixels).convert("RGBA").resize((side, side), Image.Resampling.LANCZOS)
    large = Image.new("L", (4 * side, 4 * side))
    ImageDraw.Draw(large).rounded_rectangle((0, 0, 4 * side - 1, 4 * side - 1), side * 0.6, 255)
    frame = Image.new("RGBA", large.size)
    ImageDraw.Draw(frame).rounded_rectangle((0, 0, 4 * side - 1, 4 * side - 1), side * 0.6, outline=colour, width=24)
    picture.putalpha(large.resize(picture.size, Image.Resampling.LANCZOS))
    return Image.alpha_composite(picture, frame.resize(picture.size, Image.Resampling.LANCZOS))


def _map(subject: Subject) -> Image.Image:
    """The embedding map, with the pictures of prototypes on it."""
    projection, conversion = subject.embedding_map().get(), subject.conversion(KMeans(5)).get()
    colours, prototypes, train = _colours(subject), conversion.prototypes, subject.data.split("train")
    low, high = projection.train.min(0), projection.train.max(0)
    room = np.array(SIZE) - 60

    def place(point: np.ndarray) -> tuple[float, float]:
        x, y = (point - low) / (high - low) * room + 30
        return float(x), SIZE[1] - float(y)

    canvas = Image.new("RGBA", (2 * SIZE[0], 2 * SIZE[1]))
    pen = ImageDraw.Draw(canvas)
    for point, label in zip(projection.train, projection.labels, strict=False):
        x, y = (2 * length for length in place(point))
        pen.ellipse((x - 5, y - 5, x + 5, y + 5), (*colours[label], 130))
    canvas = canvas.resize(SIZE, Image.Resampling.LANCZOS)
    taken: list[tuple[float, float]] = []
    for p in np.argsort(-prototypes.importance):
        x, y = place(projection.train[prototypes.exemplar[p]])
        x, y = min(max(x, 46), SIZE[0] - 46), min(max(y, 46), SIZE[1] - 46)
        if any(abs(x - other) < 92 and abs(y - beside) < 92 for other, beside in taken):
            continue  # pictures do not cover each other
        taken.append((x, y))
        tile = _tile(train.image(int(prototypes.exemplar[p])), 84, (*colours[prototypes.classes[p]], 255))
        canvas.alpha_composite(tile, (round(x) - 42, round(y) - 42))
    return canvas


def _explanation(subject: Subject) -> Image.Image:
    """A test image, and the two prototypes that it looks like."""
    conversion = subject.conversion(KMeans(5)).get()
    test, train, prototypes = subject.data.split("test"), subject.data.split("train"), conversion.prototypes
    kmex, z = subject.explainer(KMeans(5)), subject.embedding("test").get().z
    right = np.flatnonzero((conversion.test_predicted == test.labels) & (test.labels == 1))
    order = np.argsort(kmex.distance(torch.from_numpy(z[right])).detach().numpy())[:, :2]
    # both of the image's class, and shown by different images
    shown = prototypes.exemplar[order]
    fitting = (prototypes.classes[order] == 1).all(1) & (shown[:, 0] != shown[:, 1])
    at = int(np.flatnonzero(fitting)[0])
    canvas = Image.new("RGBA", SIZE)
    canvas.alpha_composite(_tile(test.image(int(right[at])), 300, INK), (24, 50))
    pen = ImageDraw.Draw(canvas)
    for y in (184, 220):  # "looks like"
        wave = [(348 + x, y + 9 * math.sin(x / 70 * 2 * math.pi)) for x in range(71)]
        pen.line(wave, INK, 9, "curve")
    for row, exemplar in enumerate(shown[at]):
        tile = _tile(train.image(int(exemplar)), 180, (*_colours(subject)[1], 255))
        canvas.alpha_composite(tile, (452 + 64 * row, 12 + 196 * row))
    return canvas


def _new(subject: Subject) -> Image.Image:
    """Images of each class, a network, and a prototype of each."""
    train, colours = subject.data.split("train"), _colours(subject)
    prototypes = subject.conversion(KMeans(5)).get().prototypes
    canvas = Image.new("RGBA", SIZE)
    for label, colour in enumerate(colours):
        top = 14 + 128 * label
        for at, row in enumerate(np.flatnonzero(train.labels == label)[:4]):
            canvas.alpha_composite(_tile(train.image(int(row)), 112, INK), (14 + 44 * at, top))
        best = int(np.argmax(np.where(prototypes.classes == label, prototypes.importance, -1)))
        tile = _tile(train.image(int(prototypes.exemplar[best])), 112, (*colour, 255))
        canvas.alpha_composite(tile, (SIZE[0] - 126, top))
    pen = ImageDraw.Draw(canvas)
    for at, height in enumerate((300, 230, 160, 100)):  # layers
        left = 318 + 52 * at
        pen.rounded_rectangle((left, 200 - height / 2, left + 30, 200 + height / 2), 10, outline=INK, width=6)
    for label in range(len(colours)):
        pen.line((516, 200, 582, 70 + 128 * label), (*colours[label], 255), 6)
    return canvas


if __name__ == "__main__":
    main()
