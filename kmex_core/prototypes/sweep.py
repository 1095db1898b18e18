"""Prototypes for every number per class: what k-means found for each, how they descend, and how good they are.

Needs torch only to compute."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kmex_core.base.artifact import StoredResult
from kmex_core.base.errors import InputError
from kmex_core.base.progress import Progress, silent
from kmex_core.networks.types import Embeddings
from kmex_core.prototypes.types import Prototypes

if TYPE_CHECKING:
    import torch

REACHES = (20, 50)  # largest numbers per class that sweeps go to
ROWS = 8192
SLACK = 1e-5  # of squared lengths: how wrong a product of float32 may be
ASKED = 16  # images of each cluster
NONE = -1


def reach_of(k: int) -> int | None:
    """The reach of the sweep that has `k` prototypes per class; None if none goes that far."""
    return next((reach for reach in REACHES if k <= reach), None)


def sweep_reach(ks: Sequence[int]) -> int:
    """The reach of the sweep that has all of some numbers.

    Raises:
        InputError: when no sweep goes that far.
    """
    reach = reach_of(max(ks))
    if reach is None:
        raise InputError(f"Expected at most {REACHES[-1]} prototypes per class, got {max(ks)}.")
    return reach


@dataclass(frozen=True, eq=False)
class Sweep(StoredResult):
    """KMEx with 1 to S prototypes per class: N training images of C classes, measured on the test split.

    Attributes:
        cluster: (S, N) uint8, with s + 1 prototypes per class, which of its class's each training image belongs to;
            the largest cluster is 0.
        counts: (S, C) int64, prototypes of each class: s + 1, or as many as it has different images.
        inertia: (S, C) float64, sum of the squared distances of a class's images to their prototype (lower is better).
        parent: (S, C, S) int16, for each prototype the one among s per class that most of its images belonged to; −1
            for s = 0 and where there is no such prototype.
        accuracy: (S,) float64, share (0…1) of the test images that are classified correctly (higher is better).
        agreement: (S,) share for which KMEx and the black box predict the same class (higher is better); NaN without
            a black box.
        ghosting: (S,) share of prototypes that no training image of their class activates (lower is better).
        diversity: (S,) D_dvs within classes, 0…1 (lower is more diverse); NaN for one per class.
        effective: (S,) effective number of prototypes per class, 1…k, see `metrics.effective`.
        effective_random: (S, 3) of random training images instead, its chance level: the mean over draws, and the ends
            of the band with 95% of them.
        effective_equidistant: (S,) for equidistant groups.
        coverage_radius: (S,) 95% of the test images are this near to a prototype (lower is better).
        random_accuracy, random_agreement: (S, 3) with random training images of each class as the prototypes.
            Agreement is NaN without a black box.
        images: test images.
        accuracy_black_box: share of them that the black box classifies correctly; None without one.
        metric: name of the metric of the embedding.
        seconds: duration without the embedding.
    """

    cluster: np.ndarray
    counts: np.ndarray
    inertia: np.ndarray
    parent: np.ndarray
    accuracy: np.ndarray
    agreement: np.ndarray
    ghosting: np.ndarray
    diversity: np.ndarray
    effective: np.ndarray
    effective_random: np.ndarray
    effective_equidistant: np.ndarray
    coverage_radius: np.ndarray
    random_accuracy: np.ndarray
    random_agreement: np.ndarray
    images: int
    accuracy_black_box: float | None
    metric: str
    seconds: float

    @property
    def has_black_box(self) -> bool:
        """Whether the network itself predicts the classes."""
        return self.accuracy_black_box is not None

    @property
    def reach(self) -> int:
        """The largest number of prototypes per class."""
        return len(self.counts)

    def chosen(self, ks: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """For `ks` (C,) prototypes per class, (N,) the cluster of each training image within its class, of `labels`
        (N,), and (C,) how many each class has."""
        return self.cluster[ks[labels] - 1, np.arange(len(labels))], self.counts[ks - 1, np.arange(len(ks))]


def lineage(cluster: np.ndarray, labels: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(S, C, S) int16: the prototype of one number fewer that most of a prototype's images belonged to.

    Of several with equally many, the largest one. −1 where there is none.

    Args:
        cluster, counts: as in `Sweep`.
        labels: (N,) the classes.
    """
    steps, classes = counts.shape
    parent = np.full((steps, classes, steps), NONE, dtype=np.int16)
    for step in range(1, steps):
        # images by class, cluster now, and cluster before
        shared = np.zeros((classes, steps, steps), dtype=np.int64)
        np.add.at(shared, (labels, cluster[step], cluster[step - 1]), 1)
        parent[step] = np.where(shared.sum(2) > 0, shared.argmax(2), NONE)
    return parent


def class_exemplars(z: np.ndarray, cluster: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(S, S) int64: for 1 to S prototypes of a class, its image nearest to each; −1 where there is no prototype.

    Args:
        z: (n, D) embeddings of the class in the space of the prototypes.
        cluster: (S, n), counts: (S,), as in `Sweep`.
    """
    found = np.full((len(counts), len(counts)), NONE, dtype=np.int64)
    z = z.astype(np.float64)
    squares = (z**2).sum(1)
    for step, count in enumerate(counts.tolist()):
        centers = np.stack([z[cluster[step] == number].mean(0) for number in range(count)])
        # its image may be nearer to another prototype, as the exemplar of `Prototypes` may
        found[step, :count] = (squares[:, None] - 2 * z @ centers.T).argmin(0)
    return found


def cluster_centers(
    z: torch.Tensor, labels: torch.Tensor, cluster: np.ndarray, counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The means of clusters, in the order of their class.

    Args:
        z: (N, D) embeddings in the space of the prototypes.
        labels: (N,) the classes.
        cluster: (N,) the cluster of each image within its class.
        counts: (C,) clusters of each class, none of them empty.

    Returns:
        (K, D) float32, and (K,) their classes.
    """
    import torch

    first = torch.from_numpy(np.concatenate([[0], np.cumsum(counts)[:-1]])).to(z.device)
    place = first[labels] + torch.from_numpy(cluster.astype(np.int64)).to(z.device)
    sums = torch.zeros(int(counts.sum()), z.shape[1], dtype=torch.float64, device=z.device)
    for rows, where in zip(z.split(ROWS), place.split(ROWS), strict=True):
        sums.index_add_(0, where, rows.double())
    sizes = torch.bincount(place, minlength=len(sums))
    return (sums / sizes[:, None]).float().cpu().numpy(), np.repeat(np.arange(len(counts)), counts)


def swept_prototypes(
    embeddings: Embeddings,
    class_names: Sequence[str],
    k: int | Sequence[int],
    seed: int = 0,
    device: str = "cpu",
    progress: Progress = silent,
) -> Prototypes:
    """The prototypes that the sweep of an embedding has for some numbers, without the sweep's larger ones; those of
    `fit_prototypes` beyond its reach. They are the prototypes that a conversion in the store has.

    Args:
        embeddings, class_names, k, seed, device, progress: see `fit_prototypes`.

    Raises:
        InputError: see `fit_prototypes`.
    """
    import torch

    from kmex_core.prototypes.fit import checked_sizes, class_clusters, fit_prototypes, nearest_prototypes

    counts = [k] * len(class_names) if isinstance(k, int) else list(k)
    if len(counts) != len(class_names) or min(counts) < 1 or reach_of(max(counts)) is None:
        return fit_prototypes(embeddings, class_names, k, seed, device, progress)
    checked_sizes(embeddings, class_names)
    z, labels = torch.from_numpy(embeddings.z).to(device), torch.from_numpy(embeddings.labels).to(device)
    # clusters for a number follow from those for fewer, and do not depend on more
    numbers = [range(1, count + 1) for count in counts]
    cluster, sizes = np.zeros(len(embeddings), dtype=np.int64), np.empty(len(counts), dtype=np.int64)
    for label, found in enumerate(class_clusters(z, labels, numbers, seed, progress)):
        cluster[embeddings.labels == label] = found[-1].labels.cpu().numpy()
        sizes[label] = len(found[-1].centers)
    return nearest_prototypes(embeddings, class_names, *cluster_centers(z, labels, cluster, sizes), device)


def nearest_of_each(z: torch.Tensor, sets: Sequence[np.ndarray]) -> np.ndarray:
    """The nearest prototype of each embedding, for several sets of prototypes at once.

    All distances are one matrix product; where its rounding could decide, they are computed from differences.

    Args:
        z: (M, D) embeddings in the space of the prototypes.
        sets: S sets of prototypes, (K_s, D) each.

    Returns:
        (S, M) int64 indices in each set.
    """
    import torch

    from kmex_core.prototypes.fit import pairwise
    from kmex_core.prototypes.kmeans import least, portion

    middle = z.mean(0, dtype=torch.float64).float()  # products lose digits to a large mean
    places = [torch.from_numpy(each).to(z.device) for each in sets]
    every, sizes = torch.cat(places) - middle, [len(each) for each in places]
    lengths = every.square().sum(1)[:, None]
    longest, step = lengths.max(), portion(z, len(every))
    found = torch.empty(len(places), len(z), dtype=torch.int64, device=z.device)
    for start in range(0, len(z), step):
        rows = z[start : start + step]
        x = rows - middle
        # how near to the least a distance has to be for rounding to decide, relative to what is summed
        slack = SLACK * (x.square().sum(1) + longest)
        distances = torch.addmm(lengths, every, x.T, alpha=-2)
        for part, place, of_set in zip(distances.split(sizes), places, found, strict=True):
            low, index = least(part)
            index = index.long()
            others = part.scatter_(0, index[None], torch.inf).amin(0)
            doubtful = torch.nonzero(others <= low + slack)[:, 0]
            if len(doubtful):
                index[doubtful] = pairwise(rows[doubtful], place).argmin(1)
            of_set[start : start + step] = index
    return found.cpu().numpy()


def activating(
    z: torch.Tensor, labels: np.ndarray, cluster: np.ndarray, counts: np.ndarray, places: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """Which prototypes some training image of their class activates, for each number of them: S times (K_s,) bool.

    Some images of each prototype's cluster are asked first; only where none of them is nearest to it, all of its class.

    Args:
        z, labels: (N, D), (N,) the training embeddings in the space of the prototypes, and their classes.
        cluster, counts: as in `Sweep`.
        places: the prototypes, (K_s, D) each, in the order of their class and number.
    """
    import torch

    found = []
    for number, place in enumerate(places):
        first = np.cumsum(counts[number]) - counts[number]
        own = first[labels] + cluster[number]  # the prototype of each image
        order = own.astype(np.min_scalar_type(len(place))).argsort(kind="stable")
        sizes = np.bincount(own, minlength=len(place))
        rank = np.arange(len(own)) - np.repeat(np.cumsum(sizes) - sizes, sizes)  # of each image in its cluster
        classes, some, active = (
            np.repeat(np.arange(len(first)), counts[number]),
            order[rank < ASKED],
            np.zeros(len(place), bool),
        )
        for rows in (some, None):
            if rows is None:
                rows = np.flatnonzero(np.isin(labels, classes[~active]))
            if len(rows) == 0:
                continue
            nearest = nearest_of_each(z[torch.from_numpy(rows).to(z.device)], [place])[0]
            active[nearest[classes[nearest] == labels[rows]]] = True
        found.append(active)
    return found


def random_predictions(
    z: torch.Tensor,
    train: torch.Tensor,
    labels: np.ndarray,
    counts: np.ndarray,
    random: np.random.Generator,
    draws: int,
) -> Iterator[np.ndarray]:
    """(S, M) int64, the classes predicted by the nearest of random training images of each class: 1 to S of them.

    The images are drawn without replacement, and nested: those of a number are among those of larger ones.

    Args:
        z: (M, D) test embeddings in the space of the prototypes.
        train: (N, D) the training embeddings.
        labels: (N,) their classes.
        counts: (S, C) how many images of each class.
        random: a source of random numbers.
        draws: how many times.
    """
    import torch

    from kmex_core.prototypes.kmeans import portion

    middle = z.mean(0)
    centred, members = z - middle, [np.flatnonzero(labels == label) for label in range(counts.shape[1])]
    sizes = np.minimum(counts[-1], [len(rows) for rows in members])
    last, step = np.minimum(counts, sizes) - 1, portion(z, int(sizes.sum()))  # (S, C)
    for _ in range(draws):
        drawn = [random.permutation(rows)[:size] for rows, size in zip(members, sizes, strict=True)]
        images = train[torch.from_numpy(np.concatenate(drawn)).to(train.device)] - middle
        lengths = images.square().sum(1)[:, None]
        found = torch.zeros(len(counts), len(z), dtype=torch.int64, device=z.device)
        for start in range(0, len(z), step):
            distances = torch.addmm(lengths, images, centred[start : start + step].T, alpha=-2)
            predicted, low = found[:, start : start + step], torch.full((1, 1), torch.inf, device=z.device)
            for label, part in enumerate(distances.split(sizes.tolist())):
                # the nearest among the first k images of the class, for every k: a running minimum
                for before, after in itertools.pairwise(part):
                    torch.minimum(before, after, out=after)
                nearest = part[last[:, label]]
                predicted.copy_(torch.where(nearest < low, label, predicted))
                low = torch.minimum(nearest, low)
        yield found.cpu().numpy()
