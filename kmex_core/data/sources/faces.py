"""The second embedded demo: cartoon faces, drawn by this module, with an age group to predict and 30 attributes.

Everything follows from a seed: attributes are drawn with the probabilities in `cells`, so every frequency is known
exactly (`frequencies`), and each picture is painted on access.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from kmex_core.base.progress import Progress
from kmex_core.base.specs import DatasetSpec
from kmex_core.data.annotations import annotate, read_annotations
from kmex_core.data.dataset import ImageDataset, Split
from kmex_core.data.source import DataSource
from kmex_core.data.sources.face_painter import HAIR, SIDE, Painter

TRAIN, TEST = 6000, 2000
SEED = 2024
CLASSES = ("child", "adult", "senior")
AGE_SHARE = (0.3, 0.4, 0.3)
DARK_SHARE = 0.3

EYEWEAR = ("Glasses", "Sunglasses", "Eye_Patch")
HEADWEAR = ("Cap", "Woolly_Hat", "Top_Hat", "Headphones", "Hair_Bow")
NECKWEAR = ("Necklace", "Scarf", "Bow_Tie")
ALONE = (
    "Bald", "Long_Hair", "Curly_Hair", "Fringe", "Beard", "Moustache", "Smile", "Mouth_Open", "Freckles", "Rosy_Cheeks",
    "Lipstick", "Thick_Brows", "Earrings",
)  # fmt: skip
ATTRIBUTES = ("Dark_Skin", *ALONE, *HAIR, *EYEWEAR, *HEADWEAR, *NECKWEAR)


@dataclass(frozen=True)
class Cell:
    """People of one age group (0…2), presentation and skin: within a cell, groups of attributes are independent.

    Attributes:
        alone: the probability of each attribute in `ALONE`.
        hair, eyewear, headwear, neckwear: the probability of each attribute in a group; a face has at most one of them.
            Hair colour, fringe, curls, long hair and hair bow require that the face is not bald.
    """

    age: int
    feminine: bool
    dark: bool
    share: float
    alone: tuple[float, ...]
    hair: tuple[float, ...]
    eyewear: tuple[float, ...]
    headwear: tuple[float, ...]
    neckwear: tuple[float, ...]


@lru_cache
def cells() -> tuple[Cell, ...]:
    """The twelve kinds of people and the probabilities of their attributes."""
    cells_of_class = []
    for age, feminine, dark in itertools.product(range(3), (False, True), (False, True)):
        grey = (0.0, 0.06, 0.75)[age]
        colours = np.array((0.8, 0.15, 0.03, 0.02) if dark else (0.22, 0.4, 0.28, 0.1)) * (1 - grey)
        chances = {
            "Bald": 0.0 if feminine else (0.0, 0.08, 0.35)[age],
            "Long_Hair": (0.75, 0.7, 0.35)[age] if feminine else 0.07,
            "Curly_Hair": 0.5 if dark else 0.2,
            "Fringe": (0.5, 0.3, 0.12)[age],
            "Beard": 0.0 if feminine else (0.0, 0.35, 0.4)[age],
            "Moustache": 0.0 if feminine else (0.0, 0.22, 0.35)[age],
            "Smile": (0.65, 0.5, 0.45)[age],
            "Mouth_Open": (0.3, 0.18, 0.12)[age],
            "Freckles": (0.08, 0.03, 0.01)[age] if dark else (0.25, 0.1, 0.03)[age],
            "Rosy_Cheeks": (0.5, 0.15, 0.1)[age],
            "Lipstick": (0.0, 0.45, 0.3)[age] if feminine else 0.004,
            "Thick_Brows": 0.12 if feminine else (0.2, 0.4, 0.45)[age],
            "Earrings": (0.15, 0.5, 0.45)[age] if feminine else (0.01, 0.08, 0.01)[age],
        }
        cells_of_class.append(
            Cell(
                age,
                feminine,
                dark,
                AGE_SHARE[age] / 2 * (DARK_SHARE if dark else 1 - DARK_SHARE),
                tuple(chances[name] for name in ALONE),
                (*colours, grey),
                ((0.08, 0.25, 0.5)[age], (0.01, 0.04, 0.02)[age], (0.015, 0.01, 0.012)[age]),
                (
                    (0.18, 0.1, 0.04)[age],
                    (0.08, 0.05, 0.05)[age],
                    (0.002, 0.01, 0.03)[age],
                    (0.05, 0.05, 0.004)[age],
                    (0.2, 0.02, 0.01)[age] if feminine else 0.0,
                ),
                ((0.03, 0.2, 0.25)[age] if feminine else 0.01, 0.07, 0.004 if feminine else (0.01, 0.03, 0.05)[age]),
            )
        )
    return tuple(cells_of_class)


def frequencies() -> dict[str, float]:
    """The exact share (0…1) of faces with each attribute."""
    total = dict.fromkeys(ATTRIBUTES, 0.0)
    for cell in cells():
        hairy = 1 - cell.alone[0]
        chances = {"Dark_Skin": float(cell.dark)}
        for names, values in (
            (ALONE, cell.alone),
            (HAIR, cell.hair),
            (EYEWEAR, cell.eyewear),
            (HEADWEAR, cell.headwear),
            (NECKWEAR, cell.neckwear),
        ):
            chances |= dict(zip(names, values, strict=True))
        for name in (*HAIR, "Fringe", "Curly_Hair", "Long_Hair", "Hair_Bow"):
            chances[name] *= hairy
        for name in ATTRIBUTES:
            total[name] += cell.share * chances[name]
    return total


class FaceSplit(Split):
    """Faces painted on access; only their attributes are held.

    Args:
        count: number of faces.
        seed: equal seeds give equal faces.
    """

    def __init__(self, count: int, seed: Sequence[int]) -> None:
        random = np.random.default_rng(seed)
        kinds = cells()
        chosen = random.choice(len(kinds), count, p=[cell.share for cell in kinds])
        self.labels = self._ages = np.array([kind.age for kind in kinds], dtype=np.int64)[chosen]
        self.attribute_names = ATTRIBUTES
        self.attributes = self._has = _draw_attributes(random, kinds, chosen)
        self.identity = np.arange(count)
        self._looks = random.random((count, 24))

    def image(self, index: int) -> np.ndarray:
        has = {name for name, present in zip(ATTRIBUTES, self._has[index], strict=True) if present}
        return Painter(int(self._ages[index]), has, self._looks[index]).paint()


def _draw_attributes(random: np.random.Generator, kinds: Sequence[Cell], chosen: np.ndarray) -> np.ndarray:
    """(N, A) bool."""
    columns: dict[str, np.ndarray] = {"Dark_Skin": np.array([kind.dark for kind in kinds])[chosen]}
    alone = np.array([kind.alone for kind in kinds])[chosen]
    columns |= dict(zip(ALONE, (random.random(alone.shape) < alone).T, strict=True))
    for names, field in ((HAIR, "hair"), (EYEWEAR, "eyewear"), (HEADWEAR, "headwear"), (NECKWEAR, "neckwear")):
        edges = np.cumsum([getattr(kind, field) for kind in kinds], axis=1)[chosen]
        drawn = random.random(len(chosen))[:, None]
        low = np.concatenate([np.zeros((len(chosen), 1)), edges[:, :-1]], 1)
        columns |= dict(zip(names, ((drawn >= low) & (drawn < edges)).T, strict=True))
    for name in (*HAIR, "Fringe", "Curly_Hair", "Long_Hair", "Hair_Bow"):
        columns[name] = columns[name] & ~columns["Bald"]
    return np.stack([columns[name] for name in ATTRIBUTES], 1)


class Faces(DataSource):
    """Cartoon faces whose attributes are known."""

    name = "faces"
    title = "Faces"
    about = "8,000 cartoon faces with 30 attributes, 64×64 colour; drawn here"
    place = 1

    def load(self, spec: DatasetSpec, progress: Progress) -> ImageDataset:
        """6,000 + 2,000 faces, 64×64 colour; class: the age group, visible in proportions, wrinkles and grey hair.

        `spec.class_column` makes one of the attributes the class.

        Raises:
            InputError: when there is no such attribute.
        """
        splits: dict[str, Split] = {"train": FaceSplit(TRAIN, [SEED, 0]), "test": FaceSplit(TEST, [SEED, 1])}
        names: tuple[str, ...] = CLASSES
        if spec.class_column:
            import pandas as pd

            whole = np.concatenate([split.attributes for split in splits.values()])
            annotations = read_annotations(
                pd.DataFrame(whole, columns=list(ATTRIBUTES)), TRAIN, spec.class_column, "the faces"
            )
            splits, _ = annotate(splits, annotations, "the faces")
            names = annotations.class_names
        return ImageDataset(
            name="faces",
            splits=splits,
            class_names=names,
            channels=3,
            image_size=spec.image_size or SIDE,
            augmentation="none",
            fingerprint=f"faces-1-{TRAIN}-{TEST}-{SEED}" + (f"-{spec.class_column}" if spec.class_column else ""),
            class_column=spec.class_column,
        )


# ---------------------------------------------------------------------------------------------------------------------
# painting
