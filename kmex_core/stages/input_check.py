"""Whether a network from outside is given what it expects: its accuracy on held-out images, and the usual mistakes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from kmex_core.base.chance import above_chance, chance_accuracy
from kmex_core.base.progress import Event, Progress, silent
from kmex_core.data.dataset import ImageDataset
from kmex_core.data.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from kmex_core.metrics import confusion

if TYPE_CHECKING:
    from kmex_core.networks.splitting import SplitModel

IMAGES, FEW = 500, 200  # held-out images of the check, and of each search for a mistake
BATCH = 50


@dataclass(frozen=True)
class InputCheck:
    """A network's accuracy on held-out images.

    Attributes:
        images: how many.
        accuracy: share of them that it classifies correctly (0…1, higher is better).
        chance: what guessing reaches.
        better: other preprocessings with which it is above chance, best first: what is different in words, the
            preprocessing, and the accuracy on `FEW` images. Empty unless the accuracy is that of chance.
        outputs: (C,) the number of each class among the outputs if they are in another order, else empty; found on one
            half of the images.
        accuracy_reordered: with that order, on the other half.
        confusion: (C, C) how many of the images of each class (row) are classified as each (column).
    """

    images: int
    accuracy: float
    chance: float
    better: tuple[tuple[str, Preprocessing, float], ...] = ()
    outputs: tuple[int, ...] = ()
    accuracy_reordered: float = 0.0
    confusion: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), dtype=np.int64), compare=False)

    @property
    def at_chance(self) -> bool:
        """Whether guessing would reach the accuracy, too."""
        return not above_chance(self.accuracy, self.chance, self.images)


def checked_input(
    parts: SplitModel,
    data: ImageDataset,
    preprocessing: Preprocessing,
    device: str = "cpu",
    progress: Progress = silent,
) -> InputCheck:
    """Measure a network that predicts the classes; if guessing is as good, look for the usual mistakes.

    Args:
        parts: the network, whose head gives the data set's classes.
        data: the data set; its test split is used.
        preprocessing: from pictures to the network's input.
        device: a torch device.
        progress: called as images are classified.
    """
    drawn = np.random.default_rng(0).permutation(len(data.split("test")))[:IMAGES]
    labels = data.split("test").labels[drawn]
    classes = len(data.class_names)
    predicted = _predicted(parts, data, preprocessing, drawn, device, progress)
    accuracy, chance = float((predicted == labels).mean()), chance_accuracy(labels, classes)
    found = InputCheck(len(drawn), accuracy, chance, confusion=confusion(predicted, labels, classes))
    if not found.at_chance:
        return found
    outputs, reordered = _order(predicted, labels, classes)
    if above_chance(reordered, chance, len(drawn) // 2):
        return dataclasses.replace(found, outputs=outputs, accuracy_reordered=reordered)
    better = []
    for words, other in _mistakes(preprocessing):
        share = float((_predicted(parts, data, other, drawn[:FEW], device, progress) == labels[:FEW]).mean())
        if above_chance(share, chance, min(FEW, len(drawn))):
            better.append((words, other, share))
    return dataclasses.replace(found, better=tuple(sorted(better, key=lambda one: -one[2])))


def _predicted(
    parts: SplitModel,
    data: ImageDataset,
    preprocessing: Preprocessing,
    rows: np.ndarray,
    device: str,
    progress: Progress,
) -> np.ndarray:
    import torch

    from kmex_core.data.network_input import normalise

    found: list[np.ndarray] = []
    with torch.inference_mode():
        for pixels, _ in data.batches("test", BATCH, rows, preprocessing):
            scores = parts.head(parts.encoder(normalise(pixels, preprocessing).to(device)))
            found.append(scores.argmax(1).cpu().numpy())
            progress(Event("Checking the network's input", sum(map(len, found)), len(rows)))
    return np.concatenate(found) if found else np.empty(0, dtype=np.int64)


def _order(predicted: np.ndarray, labels: np.ndarray, classes: int) -> tuple[tuple[int, ...], float]:
    """The order of the outputs that fits every second image best, and its accuracy on the others."""
    from scipy.optimize import linear_sum_assignment

    counts = confusion(predicted[::2], labels[::2], classes)
    _, outputs = linear_sum_assignment(counts, maximize=True)  # the output of each class
    right = outputs[labels[1::2]] == predicted[1::2]
    return tuple(outputs.tolist()), float(right.mean()) if len(right) else 0.0


def _mistakes(given: Preprocessing) -> Iterator[tuple[str, Preprocessing]]:
    """What is usually different, one thing at a time."""
    none, one = (0.0,) * given.channels, (1.0,) * given.channels
    half = (0.5,) * given.channels
    if given.channels == 3:
        yield "the order of channels BGR", dataclasses.replace(given, order="BGR" if given.order == "RGB" else "RGB")
        yield (
            "ImageNet's mean and deviation",
            dataclasses.replace(given, mean=IMAGENET_MEAN, std=IMAGENET_STD, white=1.0),
        )
    yield "values from 0 to 255", dataclasses.replace(given, mean=none, std=one, white=255.0)
    yield "values from 0 to 1 as they are", dataclasses.replace(given, mean=none, std=one, white=1.0)
    yield "mean and deviation 0.5", dataclasses.replace(given, mean=half, std=half, white=1.0)
    if given.resize == "squeeze":
        shorter = round(given.height * 256 / 224)
        yield "the centre cut out", dataclasses.replace(given, resize="shorter", shorter=shorter)
    else:
        yield "the whole picture squeezed", dataclasses.replace(given, resize="squeeze", shorter=0)
