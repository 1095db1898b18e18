"""Generated embeddings of any size, to try out and to measure what is made for large ones.

A row is a pure function of the seed and its number, and so is its picture: nothing but the embedding is kept, and parts
can be made again in any order.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kmex_core.base.errors import InputError
from kmex_core.base.progress import Event, Progress, silent
from kmex_core.data.colours import class_colours
from kmex_core.scale.parts import PART_ROWS
from kmex_core.scale.sharded import ShardedEmbedding, ShardWriter

KIND = "generated"
SIDE = 32  # of a picture, in pixels
MOST_SIDE, MOST_CLASSES, MOST_DIMENSIONS = 512, 1000, 4096
GROUPS = (2, 5)  # in a class, from and to
LATENT = 8  # directions in which groups differ
WITHIN, BESIDE = 3.0, 1.5  # standard deviations of the groups of a class, and of the classes
BETWEEN = 0.03  # of the rows: between their group and one of another class
MISLABELLED = 0.004  # of the rows: any other class
CONFUSED, EVERY = 0.05, 3  # of one group in every third class: the class of the nearest other group
_CORNERS = 6
_FINE = 3  # times larger pictures are drawn


@dataclass(frozen=True, eq=False)
class World:
    """Where groups are, G in all.

    Attributes:
        classes: how many.
        label: (G,) the class of each group.
        share: (G,) of all rows, with sum 1.
        centre: (G, D) float32.
        spread: (G,) float32, standard deviation of its rows in each direction.
        stretch: (G, D) float32, the direction in which they vary more.
        partner: (G,) the nearest group of another class.
        confused: (G,) the share of its rows that has the partner's class as its label.
    """

    classes: int
    label: np.ndarray
    share: np.ndarray
    centre: np.ndarray
    spread: np.ndarray
    stretch: np.ndarray
    partner: np.ndarray
    confused: np.ndarray


@dataclass(frozen=True, eq=False)
class Identity:
    """What rows are, each (n,).

    Attributes:
        group: of `World`.
        label: the class that they are labelled with, which may be wrong.
        black_box: the class that a network predicts.
        towards: 0…1, how far they are on the way to the partner of their group; 0 for most.
    """

    group: np.ndarray
    label: np.ndarray
    black_box: np.ndarray
    towards: np.ndarray


@functools.lru_cache(maxsize=4)
def world(seed: int, classes: int, dimensions: int) -> World:
    """The groups of a seed."""
    random = np.random.default_rng([seed, 0])
    groups = random.integers(GROUPS[0], GROUPS[1] + 1, classes)
    label = np.repeat(np.arange(classes), groups)
    share = random.uniform(0.5, 1.5, classes)[label] * random.uniform(0.4, 1.6, len(label)) / groups[label]
    # in a few directions, groups of different classes lie between each other: one prototype per class is not enough
    directions = np.linalg.qr(random.standard_normal((dimensions, min(LATENT, dimensions))))[0]
    latent = WITHIN * random.standard_normal((len(label), directions.shape[1]))
    latent += BESIDE * random.standard_normal((classes, directions.shape[1]))[label]
    centre = latent @ directions.T
    stretch = random.standard_normal((len(label), dimensions))
    stretch *= random.uniform(0.5, 2.5, (len(label), 1)) / np.linalg.norm(stretch, axis=1, keepdims=True)
    distance = np.linalg.norm(centre[:, None] - centre[None], axis=2)
    distance[label[:, None] == label[None]] = np.inf
    first = np.flatnonzero(np.diff(label, prepend=-1) > 0)
    confused = np.zeros(len(label))
    confused[first[::EVERY]] = CONFUSED
    return World(
        classes=classes,
        label=label,
        share=share / share.sum(),
        centre=centre.astype(np.float32),
        spread=random.uniform(0.7, 1.3, len(label)).astype(np.float32),
        stretch=stretch.astype(np.float32),
        partner=distance.argmin(1),
        confused=confused,
    )


def identity(numbers: np.ndarray, seed: int, place: World) -> Identity:
    """What rows are.

    Args:
        numbers: (n,) of the rows, from 0.
        seed, place: of the embedding.
    """
    where, middle, wrong, other = (_uniform(seed, stream, numbers) for stream in range(4))
    group = np.minimum(np.searchsorted(np.cumsum(place.share), where, side="right"), len(place.label) - 1)
    own, partner = place.label[group], place.label[place.partner[group]]
    # 35 to 65 per cent of the way; the network decides by the nearer end
    towards = np.where(middle < BETWEEN, 0.35 + 0.3 * middle / BETWEEN, 0.0)
    black_box = np.where(towards > 0.5, partner, own)
    another = (own + 1 + np.floor(other * (place.classes - 1)).astype(np.int64)) % place.classes
    label = np.where(wrong < MISLABELLED, another, own)
    label = np.where(wrong > 1 - place.confused[group], partner, label)
    return Identity(group, label, black_box, towards)


def rows_of(part: int, count: int, seed: int, place: World) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The first rows of a part: z (count, D) float32, labels and predictions (count,) int64.

    Args:
        part: from 0; each has 65,536 rows.
        count: 1…65,536.
        seed, place: of the embedding.
    """
    numbers = part * PART_ROWS + np.arange(count)
    each = identity(numbers, seed, place)
    random = np.random.default_rng([seed, 1, part])
    along = random.standard_normal(PART_ROWS, dtype=np.float32)[:count]  # as many as ever: then the others do not move
    z = random.standard_normal((count, place.centre.shape[1]), dtype=np.float32)
    z *= place.spread[each.group, None]
    z += along[:, None] * place.stretch[each.group]
    centre = place.centre[each.group]
    towards = each.towards.astype(np.float32)[:, None]
    z += centre + towards * (place.centre[place.partner[each.group]] - centre)
    return z, each.label, each.black_box


def generated(
    folder: Path,
    rows: int,
    dimensions: int = 64,
    classes: int = 10,
    seed: int = 0,
    progress: Progress = silent,
) -> ShardedEmbedding:
    """Write a generated embedding: groups within classes, wrong labels, images between classes.

    It goes on where an earlier, interrupted call stopped. Memory does not depend on `rows`.

    Args:
        folder: of the sharded embedding.
        rows, dimensions, classes: its size.
        seed: equal seeds give equal rows; fewer rows are the first of more.
        progress: called for each part; it may raise to stop.

    Raises:
        InputError: for sizes out of range.
    """
    _check(rows, dimensions, classes, seed)
    place = world(seed, classes, dimensions)
    images = {"kind": KIND, "seed": seed, "side": SIDE}
    spec = {"kind": KIND, "seed": seed}
    writer = ShardWriter(folder, dimensions, class_names(classes), images, spec=spec, part_rows=PART_ROWS)
    there = writer.rows  # from an earlier call
    if there > rows:
        raise InputError(f"{folder} has {there:,} rows already, more than {rows:,}. Choose another folder.")
    for part in range(there // PART_ROWS, -(-rows // PART_ROWS)):
        first = part * PART_ROWS
        progress(Event("Generating an embedding", first, rows))
        z, labels, black_box = rows_of(part, min(PART_ROWS, rows - first), seed, place)
        missing = slice(max(0, there - first), None)
        writer.add(z[missing], labels[missing], black_box[missing])
    progress(Event("Generating an embedding", rows, rows))
    return writer.finish()


def class_names(classes: int) -> tuple[str, ...]:
    """The names of generated classes."""
    return tuple(f"class {number}" for number in range(classes))


def _check(rows: int, dimensions: int, classes: int, seed: int) -> None:
    for what, value, low, high in (
        ("rows", rows, 1, 2**32 - 1),
        ("dimensions", dimensions, 2, MOST_DIMENSIONS),
        ("classes", classes, 2, MOST_CLASSES),
        ("seed", seed, 0, 2**32 - 1),
    ):
        if not low <= value <= high:
            raise InputError(f"A generated embedding has {low:,} to {high:,} {what}, got {value:,}.")


# ---- pictures -------------------------------------------------------------------------------------------------------


def is_generated(images: Mapping[str, Any] | None) -> bool:
    """Whether an embedding's pictures are drawn, by what its manifest says of them; it may be from anywhere."""
    if not images or images.get("kind") != KIND:
        return False
    seed, side = images.get("seed"), images.get("side")
    return type(seed) is int and 0 <= seed < 2**32 and type(side) is int and 8 <= side <= MOST_SIDE


def picture(images: Mapping[str, Any], classes: int, number: int) -> np.ndarray:
    """The picture of a row: (side, side, 3) uint8.

    Args:
        images: what the manifest says of the pictures, see `is_generated`.
        classes: of the embedding, at most 1,000.
        number: of the row.
    """
    seed = int(images["seed"])
    place = world(seed, classes, 2)  # groups and shares are drawn before anything of the dimensions
    each = identity(np.array([number]), seed, place)
    group = int(each.group[0])
    label = int(place.label[group])
    within = group - int(np.searchsorted(place.label, label))
    return drawn(seed, label, within, number, int(images["side"]), classes)


def drawn(seed: int, label: int, group: int, number: int, side: int, classes: int) -> np.ndarray:
    """A star in the colour of its class: its corners tell the class, the dots below it the group.

    Place, size, turn and light vary with the number.

    Args:
        seed, number: of the embedding and the row.
        label: the true class, 0…classes − 1.
        group: within the class, from 0.
        side: of the picture, at least 8.
        classes: how many there are.

    Returns:
        (side, side, 3) uint8.
    """
    x0, y0, turned, large, light = (float(_uniform(seed, 8 + at, np.array([number]))[0]) for at in range(5))
    colour = np.array([int(class_colours(classes)[label][at : at + 2], 16) for at in (1, 3, 5)], np.float32)
    x, y = _fine_grid(side)
    right, down = x - np.float32(0.44 + 0.12 * x0), y - np.float32(0.36 + 0.08 * y0)
    corners = 3 + label % _CORNERS
    depth = (0.45, 0.12, 0.7)[label // _CORNERS % 3]  # how far the edge goes in between two corners
    turn = corners * (np.arctan2(right, -down) + 0.5 * (turned - 0.5)) / (2 * math.pi)
    edge = 1 - depth * np.abs(2 * ((turn + 0.5) % 1.0 - 0.5))
    whole = np.repeat((246 - 22 * y)[..., None], 3, 2)
    star = np.hypot(right, down) < (0.29 + 0.06 * large) * edge
    whole[star] = np.clip(colour * (0.85 + 0.3 * light), 0, 255)
    for dot in range(group + 1):
        whole[np.hypot(x - (0.5 + 0.16 * (dot - group / 2)), y - 0.88) < 0.055] = 50
    shrunk: np.ndarray = whole.reshape(side, _FINE, side, _FINE, 3).mean((1, 3)).round().astype(np.uint8)
    return shrunk


@functools.lru_cache(maxsize=4)
def _fine_grid(side: int) -> tuple[np.ndarray, np.ndarray]:
    """0…1 to the right and down: larger than the picture, which is averaged for smooth edges."""
    y, x = (np.mgrid[: _FINE * side, : _FINE * side].astype(np.float32) + 0.5) / (_FINE * side)
    return x, y


def _uniform(seed: int, stream: int, numbers: np.ndarray) -> np.ndarray:
    """(n,) 0…1, a hash of seed, stream and number (SplitMix64, Steele, Lea & Flood 2014)."""
    with np.errstate(over="ignore"):
        state = numbers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + _mixed(
            np.array([seed * 64 + stream + 1], dtype=np.uint64)
        )
        return np.asarray((_mixed(state) >> np.uint64(11)).astype(np.float64) * 2.0**-53)


def _mixed(state: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(state ^ (state >> np.uint64(31)))
