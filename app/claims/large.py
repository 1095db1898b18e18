"""What the page Large embeddings says of an embedding, its prototypes and its density map."""

from __future__ import annotations

import numpy as np

from kmex_core.base.plain_text import markdown
from kmex_core.data import registry as datasets
from kmex_core.scale.generated import is_generated
from kmex_core.scale.sharded import ShardedEmbedding
from kmex_core.scale.sweep import ShardedSweep
from kmex_core.scale.tiles import TileMap

LARGEST_CLASS = "Always the largest class"  # what a rule without a network would predict
NO_SUGGESTION = (
    "These prototypes have no suggested number yet: run the same `sweep` command again, which keeps what is there and "
    "adds one."
)


def size(embedding: ShardedEmbedding, disk: int, right: float | None) -> str:
    """How large an embedding is, as Markdown, and how often its black box is right.

    Args:
        embedding: which one.
        disk: bytes of its parts.
        right: 0…1; None where that is not known.
    """
    stored = f"{disk / 1e9:.2f} GB" if disk >= 1e9 else f"{disk / 1e6:.1f} MB"
    numbers = [
        f"**{embedding.rows:,}** images",
        f"**{embedding.dimensions:,}** dimensions",
        f"**{len(embedding.class_names):,}** classes",
        f"**{stored}** in {len(embedding.parts):,} {'part' if len(embedding.parts) == 1 else 'parts'}",
    ]
    if right is not None:
        numbers.append(f"the black box classifies **{right:.1%}** correctly")
    return " · ".join(numbers)


def black_box_accuracy(sweep: ShardedSweep | None, tiles: TileMap | None) -> float | None:
    """How often the black box is right, 0…1: of the images that the sweep measured, else of all that the map counts;
    None without a black box, or while neither is there."""
    if sweep is not None:
        return sweep.accuracy_black_box
    return 1 - sum(tiles.wrong) / tiles.rows if tiles is not None and tiles.has_black_box else None


def origin(embedding: ShardedEmbedding) -> str:
    """What an embedding is of, as Markdown."""
    images = embedding.images or {}
    if is_generated(images):
        return (
            f"Generated with seed {images['seed']}: groups within classes, images between classes and wrong labels. "
            "Pictures are drawn from the images' numbers: form and colour show the class, the dots below the group."
        )
    by = f" by **{markdown(embedding.model)}**" if embedding.model else ""
    given = images.get("dataset")
    name = given.get("name") if isinstance(given, dict) else None
    if isinstance(name, str) and name:
        return f"The {markdown(str(images.get('split', '')))} images of {markdown(datasets.title(name))}, embedded{by}."
    return f"Embedded{by or ' elsewhere'}. It does not say where its images are, so no pictures can be shown."


def at_k(sweep: ShardedSweep, k: int) -> str:
    """How well the prototypes of a number per class do, as Markdown.

    Args:
        sweep: all numbers.
        k: prototypes per class, one of them.
    """
    _, classes, counts, _ = sweep.at(k)
    number = int(np.searchsorted(sweep.ks, k))
    ghosts = int((counts == 0).sum())
    of = "held-out images" if sweep.held_out else "images, which the prototypes were found in"
    sentence = (
        f"With **{k} per class**, {len(classes):,} prototypes: the nearest one has the image's own class for "
        f"**{sweep.accuracy[number]:.1%}** of the {sweep.measured:,} {of}"
    )
    if has_agreement(sweep):
        sentence += f", and the class that the black box predicts for **{sweep.agreement[number]:.1%}**"
    which = {0: "No prototype is a ghost", 1: "One prototype is a ghost"}
    return f"{sentence}. {which.get(ghosts, f'{ghosts:,} prototypes are ghosts')}."


def has_agreement(sweep: ShardedSweep) -> bool:
    """Whether a black box's predictions were compared."""
    return bool(np.isfinite(sweep.agreement).all())


def density(found: TileMap) -> str:
    """How a density map was made, and how far it can be trusted."""
    return (
        f"UMAP was fitted on {found.sample:,} images, of each class in proportion (trustworthiness "
        f"{found.trustworthiness:.3f}; 1 is best); each of the {found.rows:,} images is placed among those nearest to "
        "it, so chains of dots between groups are images with neighbours in both. A bin counts the images at its place "
        "and shows one of them. Distances between groups say little."
    )
