"""Plant a shortcut in the faces, train on it, and measure what removing its prototype by hand does.

`python tools/shortcut_walk.py FOLDER` makes a data set FOLDER/shortcut-faces in whose training split sunglasses are
almost always on seniors, and a store FOLDER/store with a network trained on it by the product's own command. It then
prints whether the network took the shortcut, which prototypes of *senior* are the sunglasses, and the accuracy of the
worst subgroup before and after those are removed, on half of the test split and on the other half. Last come the scores
that the page Explore gives each edit; `walk_recording.py` records the best of them.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

if TYPE_CHECKING:
    from kmex_core.prototypes.source import KMeans
    from kmex_core.prototypes.types import Prototypes
    from kmex_core.stages.subject import Subject

CLASSES = ("child", "adult", "senior")  # as they are painted; the data set numbers them by name
SENIOR = 2  # in both orders
MODEL, DATA, STORE = "shortcut", "shortcut-faces", "store"
TRAIN, TEST, SEED = 3000, 3000, 18
WALK_K = 5  # prototypes per class in the recorded walk
KS, METRICS, SEEDS = (3, 5, 8, 12), ("euclidean", "whitened"), range(3)
MOSTLY = 0.9  # share of a prototype's training images with sunglasses from which a person sees nothing else


def main() -> None:
    """Make what is missing in the folder, then print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the data set and the store are made")
    parser.add_argument("--seniors", type=float, default=0.95, help="share of training seniors with sunglasses, 0…1")
    parser.add_argument("--others", type=float, default=0.05, help="share of all other training faces, 0…1")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--all-attributes", action="store_true", help="keep all attributes, not only sunglasses")
    options = parser.parse_args()
    folder = options.folder.resolve()
    data, store = folder / DATA, folder / STORE
    os.environ["KMEX_CACHE"] = str(store)
    if not data.exists():
        plant(data, options.seniors, options.others, options.all_attributes)
    train(data, options.epochs)
    report(store)
    chosen(folder)


def plant(folder: Path, seniors: float, others: float, all_attributes: bool = False) -> None:
    """Write a folder data set of faces: sunglasses follow the class in training, and nothing in the test split.

    Args:
        folder: where it is made.
        seniors, others: shares 0…1 of the training images of *senior* and of the other classes with sunglasses. In the
            test split, half of each class has them.
        all_attributes: whether the data set says all that is painted, not only who wears sunglasses.
    """
    from kmex_core.data.sources.face_painter import Painter
    from kmex_core.data.sources.faces import ATTRIBUTES, EYEWEAR, FaceSplit

    eyewear = [ATTRIBUTES.index(name) for name in EYEWEAR]
    sunglasses = ATTRIBUTES.index("Sunglasses")
    kept = [name for name in ATTRIBUTES if name == "Sunglasses" or (all_attributes and name not in EYEWEAR)]
    tables = []
    for place, (split, count) in enumerate({"train": TRAIN, "test": TEST}.items()):
        faces = FaceSplit(count, [SEED, place])
        random = np.random.default_rng([SEED, place, 1])
        shares = np.where(faces.labels == SENIOR, seniors, others) if split == "train" else 0.5
        has = faces.attributes.copy()
        has[:, eyewear] = False
        has[:, sunglasses] = random.random(count) < shares
        names = [f"{split}/{CLASSES[label]}/{index:05}.png" for index, label in enumerate(faces.labels.tolist())]
        for index, name in enumerate(names):
            worn = {attribute for attribute, there in zip(ATTRIBUTES, has[index], strict=True) if there}
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            picture = Painter(int(faces.labels[index]), worn, faces._looks[index]).paint()
            Image.fromarray(picture).save(folder / name)
        known = pd.DataFrame(has, columns=list(ATTRIBUTES))[list(kept)]
        tables.append(known.assign(file_name=names))
    pd.concat(tables).to_csv(folder / "attributes.csv", index=False)


def train(data: Path, epochs: int) -> None:
    """Train a small network with the product's own command, unless the store has it."""
    if (Path(os.environ["KMEX_CACHE"]) / "models" / f"{MODEL}.safetensors").exists():
        return
    command = [sys.executable, "-m", "kmex_core", "train", "--dataset", str(data), "--backbone", "resnet20"]
    subprocess.run([*command, "--epochs", str(epochs), "--name", MODEL], cwd=ROOT, check=True)


# ---- what it did ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Groups:
    """The six groups of test images by class and sunglasses.

    Attributes:
        labels: (M,) true classes.
        has: (M,) bool, whether an image has sunglasses.
        names: of the classes, as the data set numbers them.
    """

    labels: np.ndarray
    has: np.ndarray
    names: tuple[str, ...]

    def accuracy(self, predicted: np.ndarray, images: np.ndarray) -> dict[str, float]:
        """The accuracy of each group among some images (bool, (M,))."""
        right = predicted == self.labels
        return {
            f"{name} {'with' if worn else 'without'}": float(
                right[images & (self.labels == label) & (self.has == worn)].mean()
            )
            for label, name in enumerate(self.names)
            for worn in (True, False)
        }


def report(store: Path) -> None:
    """Print the network's accuracy by group, then what removing prototypes does for each k and metric."""
    from kmex_core.prototypes.source import KMeans

    subject = subject_in(store)
    info = subject.info
    train_split, test = (subject.data.split(name) for name in ("train", "test"))
    column = test.attribute_names.index("Sunglasses")
    groups = Groups(test.labels, test.attributes[:, column], info.class_names)
    every = np.ones(len(test), bool)
    edited = np.random.default_rng(SEED).permutation(len(test)) < len(test) // 2
    black_box = subject.conversion(KMeans(KS[0])).get().test_black_box
    print("Black box:", shown(groups.accuracy(black_box, every)))
    for metric in METRICS:
        for k in KS:
            for seed in SEEDS:
                print(f"\n{metric}, k = {k}, seed {seed}")
                removal(subject, KMeans(k, seed, metric), train_split.attributes[:, column], groups, edited)


def removal(subject: Subject, source: KMeans, worn: np.ndarray, groups: Groups, edited: np.ndarray) -> None:
    """Print the prototypes of *senior*, and the groups before and after those with sunglasses are removed, one by one.

    Args:
        subject, source: what has the prototypes.
        worn: (N,) bool, training images with sunglasses.
        groups: of the test images.
        edited: (M,) bool, the half of the test images that the editor sees.
    """
    import torch

    prototypes = subject.conversion(source).get().prototypes
    explainer = subject.explainer(source)
    with torch.no_grad():
        z = torch.from_numpy(subject.embedding("test").get().z)
        distance = explainer.distance(z).cpu().numpy()
    labels = subject.data.split("train").labels
    of_senior = np.flatnonzero(prototypes.classes == SENIOR)
    share = {}
    for p in of_senior.tolist():
        images = (prototypes.activated == p) & (labels == SENIOR)
        share[p] = float(worn[images].mean()) if images.any() else float("nan")
    print(
        "  prototypes of senior, share with sunglasses (images):",
        ", ".join(
            f"{p}: {value:.0%} ({prototypes.count[p]}; {prototypes.count_all[p] - prototypes.count[p]} of others)"
            for p, value in share.items()
        ),
    )
    suspects = [p for p, value in share.items() if value >= MOSTLY]
    for gone in _one_by_one(prototypes, distance, suspects, groups, edited):
        title = f"without {gone}" if gone else "before"
        predicted = _without(prototypes, distance, gone)
        for name, images in (("seen half", edited), ("untouched half", ~edited)):
            accuracy = groups.accuracy(predicted, images)
            worst = min(accuracy, key=accuracy.__getitem__)
            overall = float((predicted == groups.labels)[images].mean())
            print(f"  {title}, {name}: all {overall:.1%}, worst {worst} {accuracy[worst]:.1%}; {shown(accuracy)}")


def _without(prototypes: Prototypes, distance: np.ndarray, gone: list[int]) -> np.ndarray:
    """(M,) the classes of the nearest prototypes that are left, by the distances (M, K)."""
    kept = np.setdiff1d(np.arange(len(prototypes)), gone)
    predicted: np.ndarray = prototypes.classes[kept[distance[:, kept].argmin(1)]]
    return predicted


def _one_by_one(
    prototypes: Prototypes, distance: np.ndarray, suspects: list[int], groups: Groups, edited: np.ndarray
) -> list[list[int]]:
    """What is gone before and after each step of a person who removes, of the suspects, the one without which the worst
    group of the half that they see does best."""
    steps: list[list[int]] = [[]]
    for _ in suspects:
        choices = [[*steps[-1], p] for p in suspects if p not in steps[-1]]
        worst = [min(groups.accuracy(_without(prototypes, distance, gone), edited).values()) for gone in choices]
        steps.append(choices[int(np.argmax(worst))])
    return steps


def subject_in(store: Path) -> Subject:
    """The network in a store, with its images."""
    from kmex_core.base.store import Store
    from kmex_core.models import catalogue
    from kmex_core.stages.subject import Subject, dataset_of

    opened = Store(store)
    info = catalogue.describe(opened, MODEL)
    return Subject(opened, info, dataset_of(info))


def chosen(folder: Path) -> int:
    """The prototype that a person hides who tries one after the other on Explore, and keeps the edit after which most
    images of the scored half are right. Prints what each of these edits and hiding all prototypes of *senior* with
    sunglasses do, as the page says it.
    """
    from kmex_core.prototypes.operations import operations_from
    from kmex_core.prototypes.source import KMeans
    from kmex_core.stages.edits import edits_of

    subject, source = subject_in(folder / STORE), KMeans(WALK_K)
    prototypes = subject.conversion(source).get().prototypes
    train = subject.data.split("train")
    worn = train.attributes[:, train.attribute_names.index("Sunglasses")]
    every = [p for p in np.flatnonzero(prototypes.classes == SENIOR).tolist() if worn[prototypes.exemplar[p]]]
    accuracy = []
    print(f"\nOn Explore, k = {WALK_K}:")
    for gone in [*([p] for p in range(len(prototypes))), every]:
        operations = operations_from([{"op": "hide", "p": p} for p in gone])
        scores = edits_of(subject, source, operations).scores().described()
        accuracy.append(scores["scored"]["accuracy"])
        told = [
            f"{part}: all {_change(scores, part, 'accuracy')}, "
            f"worst {scores[part]['worst']['name']} {_change(scores, part, 'worst', 'accuracy')}"
            for part in ("scored", "untouched")
        ]
        print(f"  without {gone}: {'; '.join(told)}")
    return int(np.argmax(accuracy[:-1]))


def _change(scores: Mapping[str, Any], part: str, *keys: str) -> str:
    """A figure before and after edits."""
    before, after = scores["before"][part], scores[part]
    for key in keys:
        before, after = before[key], after[key]
    return f"{before:.1%} → {after:.1%}"


def shown(accuracy: dict[str, float]) -> str:
    """Accuracies by group, in a line."""
    return ", ".join(f"{name} {value:.1%}" for name, value in accuracy.items())


if __name__ == "__main__":
    main()
