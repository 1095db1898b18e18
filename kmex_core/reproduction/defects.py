"""The known defects of the paper's released code: a figure with and without each, on one model and its data.

The defective forms are here and in `released_maps` only; the right ones are the product's. The code is
SrishtiGautam/KMEx on GitHub; its files and functions are named where they are followed.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from kmex_core import metrics
from kmex_core.analysis.published import of_dataset, papers_name
from kmex_core.base.devices import checked_device
from kmex_core.base.specs import DatasetSpec
from kmex_core.data.preprocessing import Preprocessing
from kmex_core.data.registry import title
from kmex_core.metrics.types import NotComputed, image_means
from kmex_core.models import catalogue
from kmex_core.models.info import ModelInfo
from kmex_core.models.kinds import MODEL_KINDS
from kmex_core.prototypes.source import KMeans, per_class_words
from kmex_core.relevance.catalogue import PUBLISHED
from kmex_core.reproduction.over_images import OverImages
from kmex_core.reproduction.types import DefectRow
from kmex_core.stages.relevance_scores import drawn_images, replacement_of
from kmex_core.stages.subject import IMAGES, Subject

FEW = 25  # rows up to which torch.cdist takes differences, unless it is told to take a matrix product
MOST_NAME = 64


@dataclass(frozen=True)
class Defects:
    """What the defects amount to.

    Attributes:
        rows: a figure each.
        left: which defects have no figure here and why, a sentence each.
    """

    rows: tuple[DefectRow, ...]
    left: tuple[str, ...]


@dataclass(frozen=True)
class Normalisation:
    """Constants by which images are normalised: mean and deviation of each channel, in units of `white`."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    white: float = 1.0

    def of(self, preprocessing: Preprocessing) -> Preprocessing:
        """A preprocessing with these constants in place of its own."""
        channels = preprocessing.channels
        return dataclasses.replace(preprocessing, mean=self.mean[:channels], std=self.std[:channels], white=self.white)

    def words(self) -> str:
        """The defect, as a sentence."""
        return (
            f"Images are normalised with mean {self.mean[0]:.4g} and deviation {self.std[0]:.4g} of values 0 to "
            f"{self.white:g}, which are not those of the training images."
        )


# by the paper's name of the data set, those that are wrong: utils/dataloader_nrm.py, NRM; QuickDraw's are taken off
# values 0 to 255 (utils/dataloader_qd.py, create_QuickDraw)
RELEASED = {
    "CIFAR-10": Normalisation(
        (0.997450053691864, 0.9974053502082825, 0.9972413778305054),
        (0.032060250639915466, 0.032467737793922424, 0.034437838941812515),
    ),
    "QuickDraw": Normalisation((1.218,) * 3, (7.768,) * 3, 255.0),
}

Rows = list[DefectRow] | str  # or why there are none


def defects(
    subject: Subject, source: KMeans, images: int = IMAGES, seed: int = 0, minutes: float = math.inf
) -> Defects:
    """Every defect on one model: those of metrics first, then relevance maps and normalisation, which take minutes.

    What is stored is not computed again, except for the defective relevance maps.

    Args:
        subject: a trained black box with its data; its progress is called.
        source: of the prototypes: `KMeans(5, metric="euclidean")`, as published.
        images: how many test images relevance maps are measured on; all when there are fewer.
        seed: of the choice of images.
        minutes: after which nothing more is begun.

    Raises:
        InputError: see `ModelConversion`.
    """
    began = time.monotonic()

    def minutes_left() -> float:
        return minutes - (time.monotonic() - began) / 60

    constants = _constants(subject)
    parts: dict[str, Callable[[], Rows]] = {
        "The constant Eq. 1": lambda: constant_transparency(subject, source),
        "D_dvs by rounding": lambda: rounded_diversity(subject, source),
        "Prototypes from the test split": lambda: prototypes_of_the_test_split(subject, source),
        "PRP that ignores the prototype, and AD by the inverted mask": lambda: relevance(subject, source, images, seed),
    }
    left: list[str] = []
    if isinstance(constants, str):
        left.append(f"Wrong normalisation constants: {constants}")
    else:
        parts |= {
            "Wrong normalisation constants": lambda: normalisation(subject, source, constants),
            "Training with wrong normalisation constants": lambda: normalised_training(
                subject, source, constants, minutes_left()
            ),
        }
    rows: list[DefectRow] = []
    for name, part in parts.items():
        found = part() if minutes_left() > 0 else "there was no time left."
        if isinstance(found, str):
            left.append(f"{name}: {found}")
        else:
            rows += found
    return Defects(tuple(rows), tuple(left))


# ---------------------------------------------------------------------------------------------------------------------
# prototypes


def eq1_as_printed(counts: np.ndarray) -> float:
    """Eq. 1 of the paper as printed: 1 − Σ counts / (K N). The counts sum to N, so it is 1 − 1/K for any prototypes.

    Args:
        counts: (K,) the images, N in all, that activate each prototype.
    """
    images = counts.sum()
    return float(1 - counts.sum() / (len(counts) * images))


def constant_transparency(subject: Subject, source: KMeans) -> Rows:
    """D_tsp by Eq. 1 as printed, and as the share of ghosts, which the paper's text and Table 5 mean."""
    prototypes = subject.conversion(source).get().prototypes
    printed, ghosts = eq1_as_printed(prototypes.count_all), int(prototypes.ghost.sum())
    says = (
        f"As printed, it is {printed:.3f} for any {len(prototypes)} prototypes; as the text means it, {ghosts} of them "
        f"{'is a ghost' if ghosts == 1 else 'are ghosts'}.{_paper(subject, 'ghosting')}"
    )
    defect = "Eq. 1 as printed is constant: its counts sum to the number of images, so it is 1 − 1/K."
    values = printed, metrics.ghosting(prototypes.count)
    return [_row(subject, source, defect, "D_tsp, 0 to 1, lower is better", values, None, says)]


def self_distances(centers: np.ndarray) -> np.ndarray:
    """(K,) the distance of each prototype (K, D) to itself as the released code has it (utils/evaluation.py,
    `diversity`): by float32 `torch.cdist`, whose matrix product for more than `FEW` rows leaves more than 0."""
    import torch

    points = torch.from_numpy(np.ascontiguousarray(centers, dtype=np.float32))
    return torch.cdist(points, points).diagonal().double().numpy()


def rounded_diversity(subject: Subject, source: KMeans) -> Rows:
    """D_dvs of the released code with the rounding of float32 and without: the same formula in exact arithmetic."""
    conversion = subject.conversion(source).get()
    centers, classes = conversion.metric.back(conversion.prototypes.centers), conversion.prototypes.classes
    if len(classes) < 2:
        return "D_dvs compares prototypes, and there is only one."
    rounded = metrics.diversity(centers, classes, "all", "reference")
    exact = metrics.diversity(centers, classes, "all", "exact", squared=False)
    apart = self_distances(centers)
    times = f", {rounded / exact:.1f} times as much" if exact > 0 else ""
    few = (
        f" (For {len(classes)} prototypes the released code itself computes exactly: torch.cdist takes the matrix "
        f"product for more than {FEW} only.)"
    )
    says = (
        f"Rounding leaves up to {apart.max():.2g} (median {np.median(apart):.2g}) instead of 0, which makes D_dvs "
        f"{rounded:.3f} instead of {exact:.3f}{times}.{few if len(classes) <= FEW else ''}"
        f"{_paper(subject, 'diversity_reference')}"
    )
    defect = "D_dvs is made of rounding: float32 torch.cdist leaves a distance above 0 from a prototype to itself."
    metric = "D_dvs over all prototypes by the unsquared distance, 0 to 1, lower is more diverse"
    return [_row(subject, source, defect, metric, (rounded, exact), None, says)]


def prototypes_of_the_test_split(subject: Subject, source: KMeans) -> Rows:
    """Accuracy with prototypes of the test split, as the released code takes MNIST's (utils/builders.py,
    `build_loader`: the `push_dataset` is the test split), and of the training split."""
    from kmex_core.prototypes.fit import activated, fit_prototypes

    names = subject.info.class_names
    if len(np.unique(subject.data.split("test").labels)) < len(names):
        return "a class has no test images."
    conversion, test = subject.conversion(source).get(), subject.read(subject.embedding("test"))
    device, space = checked_device(subject.device), test.in_space(conversion.metric)
    # as many of each class as are found in the training split
    per_class = np.bincount(conversion.prototypes.classes, minlength=len(names)).tolist()
    wrong = fit_prototypes(space, names, per_class, source.seed, device)
    predicted = wrong.classes[activated(space.z, wrong.centers, device)]
    defect = "Prototypes are found in the test split that they are judged on (the released code does so for MNIST)."
    return [_accuracy_row(subject, source, defect, predicted, conversion.test_predicted)]


# ---------------------------------------------------------------------------------------------------------------------
# relevance maps


def relevance(subject: Subject, source: KMeans, images: int, seed: int) -> Rows:
    """PRP that starts with ones, the inverted mask of AD that reads the first class's prototypes, and all of them."""
    from kmex_core.reproduction.released_maps import released_scores

    artifact = subject.relevance_scores(source, images, seed, PUBLISHED)
    right = artifact.get_or_why_not()
    if isinstance(right, NotComputed):
        return right.reason
    count = artifact.spec.images
    wrong = released_scores(
        subject.explainer(source),
        drawn_images(subject, count, seed),
        replacement_of(subject.info),
        len(subject.info.class_names),
        total=count,
        seed=seed,
        progress=subject.progress,
    )
    ones = "PRP starts with ones, whatever the prototype."
    mask = "AD and AI keep the less relevant half of the pixels, and read similarities to the first class's prototypes."
    both = f"{ones[:-1]}; {mask}"
    alone = (
        f" The mask alone gives {np.nanmean(wrong.drop_mask):.3f}, the first class's prototypes alone "
        f"{np.nanmean(wrong.drop_first_class):.3f}."
    )
    ad, ai = "AD, 0 to 1, lower is better", "AI, 0 to 1, higher is better"
    drop = right.drop_reference, wrong.drop_random, "average_drop_reference"
    increase = right.increase_reference, wrong.increase_random, "average_increase_reference"
    by_drop, by_increase = wrong.drop_random_first_class, wrong.increase_random_first_class
    rows = [_alike_row(subject, source, ones, OverImages(wrong.alike_ones, wrong.alike, wrong.alike_other_image, True))]
    for defect, metric, values, (without, chance, published), chance_with_defect, more in (
        (ones, ad, wrong.drop_ones, drop, None, ""),
        (mask, ad, wrong.drop_mask_and_class, drop, by_drop, alone),
        (mask, ai, wrong.increase_mask_and_class, increase, by_increase, ""),
        (both, ad, wrong.drop_all, drop, by_drop, ""),
        (both, ai, wrong.increase_all, increase, by_increase, ""),
    ):
        other = None if chance_with_defect is None else image_means(chance_with_defect)
        pair = OverImages(image_means(values), image_means(without), image_means(chance), metric == ad, other)
        says = f"{pair.change()} {pair.beside_chance('a random order of pixels')}{more}{_paper(subject, published)}"
        rows.append(_row(subject, source, defect, metric, pair.means, pair.chance_mean, says))
    return rows


def _alike_row(subject: Subject, source: KMeans, defect: str, pair: OverImages) -> DefectRow:
    (same, apart), other = pair.means, pair.chance_mean
    alone = math.isnan(other)
    says = (
        f"{pair.change()} The maps of an image for a prototype of its class and for one of another class have a cosine "
        f"of {same:.3f} from ones and of {apart:.3f} by PRP"
        f"{'' if alone else f', maps of different images of {other:.3f}'}."
    )
    metric = "Cosine between an image's maps for prototypes of two classes, −1 to 1, higher depends less on them"
    return _row(subject, source, defect, metric, pair.means, None if alone else other, says)


# ---------------------------------------------------------------------------------------------------------------------
# normalisation


def normalisation(subject: Subject, source: KMeans, constants: Normalisation) -> Rows:
    """Accuracy where a network trained with the right constants is given images normalised with the released ones."""
    wrong = _normalised(subject, subject.info, constants)
    given, right = wrong.conversion(source).get(), subject.conversion(source).get()
    own = given.summary.accuracy_black_box, right.summary.accuracy_black_box
    more = "" if None in own else f" The network's own accuracy is {own[0]:.1%} with it and {own[1]:.1%} without."
    defect = f"{constants.words()} Here they are used at conversion only."
    return [_accuracy_row(subject, source, defect, given.test_predicted, right.test_predicted, more)]


def normalised_training(subject: Subject, source: KMeans, constants: Normalisation, minutes: float) -> Rows:
    """Accuracy where the network is trained with the released constants, too, by the same recipe.

    The training is stored as `reproduce-normalisation-…`, and continued if it was interrupted; it is begun if the
    model's own training took no longer than `minutes`.
    """
    from kmex_core.networks import architectures

    info = subject.info
    recipe, seconds = info.made_by.get("recipe"), info.made_by.get("seconds")
    if recipe is None or seconds is None or architectures.source_of(info.backbone) is not None:
        return f"'{info.name}' was not trained here from a backbone of this product."
    name = f"reproduce-normalisation-{info.name}"[:MOST_NAME].rstrip(".")
    if name in catalogue.known_names(subject.store):
        trained = catalogue.describe(subject.store, name)
    elif seconds / 60 > minutes:
        return f"the training of '{info.name}' took {seconds / 60:.1f} minutes, for which there was no time left."
    else:
        trained = _train(subject, name, constants)
    wrong, right = _normalised(subject, trained, constants).conversion(source).get(), subject.conversion(source).get()
    own = wrong.summary.accuracy_black_box, right.summary.accuracy_black_box
    more = "" if None in own else f" The networks' own accuracies are {own[0]:.1%} with it and {own[1]:.1%} without."
    more += " This is one training each; another seed changes an accuracy as well."
    defect = f"{constants.words()} Here the network is trained with them, too."
    return [_accuracy_row(subject, source, defect, wrong.test_predicted, right.test_predicted, more)]


def _constants(subject: Subject) -> Normalisation | str:
    """The wrong constants of a data set, or why there are none."""
    name = papers_name(title(subject.data.name))
    if name in RELEASED:
        return RELEASED[name]
    here = f"those of {name} are right" if name else f"there are none of {title(subject.data.name)}"
    return f"{here}; wrong are those of {' and '.join(RELEASED)}."


def _normalised(subject: Subject, info: ModelInfo, constants: Normalisation) -> Subject:
    """A model that is given images with these constants; its results have names of their own."""
    return dataclasses.replace(subject, info=dataclasses.replace(info, preprocessing=constants.of(info.preprocessing)))


def _train(subject: Subject, name: str, constants: Normalisation) -> ModelInfo:
    import torch

    from kmex_core.models import training
    from kmex_core.stages.training_runs import TrainRequest, train
    from kmex_core.stages.training_start import Start

    info, device = subject.info, checked_device(subject.device)
    recipe = training.Recipe(**info.made_by["recipe"])
    torch.manual_seed(recipe.seed)
    network = training.build(recipe, info.backbone, len(info.class_names), info.image_size)
    start = Start(network, constants.of(info.preprocessing), recipe.imagenet)
    spec = DatasetSpec(info.dataset, info.root, info.image_size, info.class_column, info.skip_broken, info.image_column)
    request = TrainRequest(name, spec, info.backbone, recipe, device, str(info.made_by.get("command", "")), start)
    return train(subject.store, request, catalogue.has_run(subject.store, name), progress=subject.progress)


# ---------------------------------------------------------------------------------------------------------------------
# rows


def _row(
    subject: Subject,
    source: KMeans,
    defect: str,
    metric: str,
    values: tuple[float, float],
    chance: float | None,
    says: str,
) -> DefectRow:
    """A row of two values, with the defect and without."""
    info, name = subject.info, title(subject.data.name)
    model = f"{info.name} ({info.backbone}) + KMEx, {per_class_words(source.k)}"
    return DefectRow(defect, metric, *values, chance, papers_name(name) or name, model, says)


def _accuracy_row(
    subject: Subject, source: KMeans, defect: str, wrong: np.ndarray, right: np.ndarray, more: str = ""
) -> DefectRow:
    """A row of accuracies on the test split, from (M,) predictions with the defect and without."""
    labels = subject.data.split("test").labels
    with_defect, without = wrong == labels, right == labels
    gained, lost = int((with_defect & ~without).sum()), int((without & ~with_defect).sum())
    difference, low, high = (100 * share for share in metrics.paired_interval(with_defect, without))
    verdict = "more" if low > 0 or high < 0 else "no more"
    says = (
        f"The defect changes the accuracy by {difference:+.2f} points (95%: {low:+.2f} to {high:+.2f}), {verdict} than "
        f"chance does: of {len(labels):,} test images {gained:,} become right and {lost:,} wrong.{more}"
    )
    values = metrics.accuracy(wrong, labels), metrics.accuracy(right, labels)
    chance = metrics.chance_accuracy(labels, len(subject.info.class_names))
    return _row(subject, source, defect, "Accuracy of KMEx, 0 to 1, higher is better", values, chance, says)


def _paper(subject: Subject, metric: str) -> str:
    """The paper's figure of KMEx on this data set, as a sentence that follows others; "" where it has none."""
    model = MODEL_KINDS["blackbox"].paper[1]
    for figure in of_dataset(title(subject.data.name)):
        if (figure.metric, figure.model) == (metric, model):
            return f" The paper has {figure.mean:.3f} ± {figure.std:.3f} (Table {figure.table})."
    return ""
