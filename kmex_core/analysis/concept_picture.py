"""A concept map as a picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from kmex_core.data.colours import class_colours
from kmex_core.data.display import PALE, box_pixels, displayed, overlay, png, printable
from kmex_core.data.preprocessing import Box
from kmex_core.data.seen import SeenPicture
from kmex_core.prototypes.types import ConceptMap

SIDE = 384  # of each panel, pixels
MARGIN, LINE, SWATCH = 12, 20, 14
OPACITY = 0.65
LISTED = 12  # prototypes in the legend
LEAST_LABELLED = 12  # pixels from the edge of a region to where its number is written


def concept_picture(seen: SeenPicture, concept_map: ConceptMap, class_names: Sequence[str]) -> bytes:
    """A PNG of an image, the nearest prototype of each of its patches, and their attribution, with a legend.

    A prototype has its number in the legend and, where there is room, on the map. The attribution is shown from
    its smallest to its largest value.

    Args:
        seen: the image that the map is of, with what the network sees of it.
        concept_map: the map.
        class_names: C names.
    """
    image = Image.fromarray(displayed(seen.pixels, SIDE))
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    shares = concept_map.shares
    colours = dict(zip(shares, map(_rgb, class_colours(len(shares))), strict=True))
    low, high = float(concept_map.attribution.min()), float(concept_map.attribution.max())
    panels = (
        ("Image", image),
        ("Nearest prototype of each patch", _concepts(image, concept_map, colours, seen.box)),
        (
            f"Similarity to {class_names[concept_map.predicted]}: {_number(low)} (purple) to {_number(high)} (yellow)",
            _attribution(image, concept_map.attribution, seen.box),
        ),
    )
    listed = list(shares.items())[:LISTED]
    height = 2 * MARGIN + LINE + image.height + MARGIN + LINE * (2 + -(-len(listed) // len(panels)))
    sheet = Image.new("RGB", (MARGIN + len(panels) * (SIDE + MARGIN), height), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for column, (title, panel) in enumerate(panels):
        left = MARGIN + column * (SIDE + MARGIN)
        pen.text((left, MARGIN), printable(title), fill="black", font=font)
        sheet.paste(panel, (left, MARGIN + LINE))
    top = 2 * MARGIN + LINE + image.height
    pen.text((MARGIN, top), printable(_verdict(concept_map, class_names)), fill="black", font=font)
    of_class = dict(zip(concept_map.nearest.flat, concept_map.classes.flat, strict=True))
    for row, (p, share) in enumerate(listed):
        left, y = MARGIN + (row % len(panels)) * (SIDE + MARGIN), top + LINE * (1 + row // len(panels))
        pen.rectangle((left, y + 2, left + SWATCH, y + 2 + SWATCH), fill=colours[p])
        text = f"prototype {p} of {class_names[of_class[p]]}: {share:.0%} of the patches"
        pen.text((left + SWATCH + 6, y), printable(text), fill="black", font=font)
    if len(shares) > len(listed):
        y = top + LINE * (1 + -(-len(listed) // len(panels)))
        pen.text((MARGIN, y), f"and {len(shares) - len(listed)} more", fill="black", font=font)
    return png(np.asarray(sheet))


def _verdict(concept_map: ConceptMap, class_names: Sequence[str]) -> str:
    return (
        f"Mean similarity: {class_names[concept_map.predicted]}. Majority vote: {class_names[concept_map.voted]} "
        f"({concept_map.votes[concept_map.voted]:,} of {concept_map.nearest.size:,} patches)."
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _concepts(
    image: Image.Image, concept_map: ConceptMap, colours: dict[int, tuple[int, int, int]], box: Box
) -> Image.Image:
    """The image in grey under the colours of the nearest prototypes; the largest region of each has its number. What is
    outside the box is pale."""
    from scipy import ndimage

    left, top, right, bottom = box_pixels(box, *image.size)
    nearest = Image.fromarray(concept_map.nearest.astype(np.int32))
    numbers = np.full((image.height, image.width), -1)
    numbers[top:bottom, left:right] = nearest.resize((right - left, bottom - top), Image.Resampling.NEAREST)
    colour, weight = np.full((*numbers.shape, 3), 255.0), np.where(numbers < 0, PALE, OPACITY)[..., None]
    for p, rgb in colours.items():
        colour[numbers == p] = rgb
    grey = np.asarray(image.convert("L"), dtype=float)[..., None]
    panel = Image.fromarray((weight * colour + (1 - weight) * grey).round().astype(np.uint8))
    pen, font = ImageDraw.Draw(panel), ImageFont.load_default(14)
    for p in colours:
        inside = ndimage.distance_transform_edt(np.pad(numbers == p, 1))[1:-1, 1:-1]
        y, x = divmod(int(inside.argmax()), inside.shape[1])
        if inside[y, x] >= LEAST_LABELLED:
            pen.text((x, y), str(p), fill="white", stroke_fill="black", stroke_width=2, anchor="mm", font=font)
    return panel


def _attribution(image: Image.Image, attribution: np.ndarray, box: Box) -> Image.Image:
    spread = float(np.ptp(attribution)) or 1.0
    relevance = (attribution - attribution.min()) / spread * 2 - 1
    return Image.fromarray(overlay(np.asarray(image), relevance, 0.8, "Viridis", max(image.size), box))
