"""AD, AI and PRP as the paper's released code computes them, image by image. Nothing else in the product does.

The code is SrishtiGautam/KMEx on GitHub; files and functions are named where it is followed. Shapes: N images (n in a
batch, P pairs of an image and a prototype of its class), k prototypes per class, K in all.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from kmex_core.base.progress import Event, Progress, silent
from kmex_core.metrics.on_maps import Decider
from kmex_core.metrics.robustness import LEAST, average_drop, average_increase
from kmex_core.networks.memory import Portions
from kmex_core.prototypes.fit import class_members
from kmex_core.relevance.choices import of_prototypes
from kmex_core.relevance.method import ROWS, Attributions
from kmex_core.relevance.methods.prp import PrototypicalRelevancePropagation
from kmex_core.relevance.protocol import Explainable
from kmex_core.relevance.removal import keep_pixels, relevance_rank
from kmex_core.relevance.target import Target, Targets, joined

BATCH = 16
MASKED = 256  # masked images in one pass, at most


class _Ones(Target):
    """A start that is 1 in every dimension of the embedding, whatever the prototype."""

    def values(self, model: Explainable, z: Tensor, of: Tensor, rival: Tensor) -> Tensor:
        """(B,) what the start sums to."""
        return z.new_full(z.shape[:1], z.shape[1])

    def relevance(self, model: Explainable, z: Tensor, of: Tensor, rival: Tensor) -> Tensor:
        """(B, D) ones."""
        return torch.ones_like(z)


class PRPFromOnes(PrototypicalRelevancePropagation):
    """PRP whose start ignores the prototype (utils/lrp_general6.py, `sim`: its `backward` passes on the ones with which
    utils/evaluation.py, `get_pixel_exp_prototype`, calls it, and reads neither embedding nor prototype)."""

    def maps(self, model: Explainable, images: Tensor, z: Tensor, targets: Targets, rows: int = ROWS) -> Attributions:
        """See `RelevanceMethod.maps`; every target of an image has the same map."""
        kind = torch.zeros_like(targets.kind)
        return super().maps(
            model, images, z, Targets(targets.images, targets.of, targets.rival, (_Ones(),), kind), rows
        )


@dataclass(frozen=True, eq=False)
class ReleasedScores:
    """What the released code makes of N images, defect by defect; NaN where a class has fewer than k prototypes.

    AD and AI by the similarity of the released code. Those of the product are `MapScores.drop_reference` and
    `increase_reference`: they keep the more relevant half of the pixels by PRP, and read the similarity to the
    prototype that the map is of. The fields name what is done otherwise:

    Attributes:
        images: (N,) int64, indices in the test split, ascending.
        drop_ones: (N, k) the maps start with ones.
        drop_mask: (N, k) the less relevant half is kept.
        drop_first_class: (N, k) the similarity to the prototype of that place among those of the first class is read.
        drop_mask_and_class, increase_mask_and_class: (N, k) the last two together.
        drop_all, increase_all: (N, k) all three together.
        drop_random, increase_random: (N, k) none of them, but the half that is kept is a random one.
        drop_random_first_class, increase_random_first_class: (N, k) a random half is kept, and similarities are read as
            for `drop_first_class`: the chance level of figures that read them.
        alike: (N,) cosine between the maps of the nearest prototype of the image's class and of the nearest of any
            other class, by PRP.
        alike_ones: (N,) the same with maps that start with ones.
        alike_other_image: (N,) cosine between the first of these maps and that of another image, by PRP; NaN for the
            only image of a batch.
    """

    images: np.ndarray
    drop_ones: np.ndarray
    drop_mask: np.ndarray
    drop_first_class: np.ndarray
    drop_mask_and_class: np.ndarray
    increase_mask_and_class: np.ndarray
    drop_all: np.ndarray
    increase_all: np.ndarray
    drop_random: np.ndarray
    increase_random: np.ndarray
    drop_random_first_class: np.ndarray
    increase_random_first_class: np.ndarray
    alike: np.ndarray
    alike_ones: np.ndarray
    alike_other_image: np.ndarray


def released_scores(
    model: Decider,
    batches: Iterable[tuple[np.ndarray, Tensor, Tensor]],
    baseline: Tensor,
    classes: int,
    *,
    total: int = 0,
    seed: int = 0,
    progress: Progress = silent,
) -> ReleasedScores:
    """See `ReleasedScores`.

    Args:
        model: by prototypes; in evaluation mode, with rules for LRP.
        batches: indices (n,), normalised images (n, channels, H, W) and labels (n,).
        baseline: (channels, H, W), the replacement of removed pixels. (The released code takes noise for all data sets,
            the paper's text black for greyscale; that is not among the defects measured here.)
        classes: C.
        total: number of images (0 when unknown), for progress.
        seed: of the random order of pixels, as for `map_scores`.
        progress: called after every batch; it may raise to stop.
    """
    device = model.prototype_class.device
    baseline, members = baseline.to(device), class_members(model.prototype_class, classes)
    parts, done = [], 0
    for indices, images, labels in batches:
        for start in range(0, len(images), BATCH):
            part = slice(start, start + BATCH)
            batch = _Batch(model, indices[part], images[part].to(device), labels[part].to(device), members)
            parts.append(batch.scores(baseline, seed))
            done += len(indices[part])
            progress(Event("Measuring defects of relevance maps", done, max(total, done)))
    joined_parts = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    order = np.argsort(joined_parts["images"], kind="stable")
    return ReleasedScores(**{each.name: joined_parts[each.name][order] for each in fields(ReleasedScores)})


class _Batch:
    """A few images, their maps, and what the maps are of."""

    def __init__(self, model: Decider, indices: np.ndarray, images: Tensor, labels: Tensor, members: Tensor) -> None:
        self.model, self.indices, self.images = model, indices, images
        self.pixels = images.shape[2] * images.shape[3]
        of_class = members[labels]
        self.shape = of_class.shape
        # every pair of an image and a prototype of its class; `slot` is the prototype's place in the class
        self.image, self.slot = torch.nonzero(of_class >= 0, as_tuple=True)
        self.prototype = of_class[self.image, self.slot]
        with torch.no_grad():
            self.z = z = model.encode(images)
            others = model.prototype_class != labels[:, None]
            nearest = model.distance(z).masked_fill(others, torch.inf).argmin(1)
            rival = model.rivals(z, nearest)
            each = torch.arange(len(images), device=z.device)
            of_pairs = of_prototypes("similarity", model, self.image, z[self.image], self.prototype)
            of_two = [of_prototypes("similarity", model, each, z, one) for one in (nearest, rival)]
        by_prp, by_ones = PrototypicalRelevancePropagation(), PRPFromOnes()
        maps = by_prp.maps(model, images, z, joined([of_pairs, of_two[1]])).values
        self.maps, self.of_rival = maps.split([len(self.image), len(images)])
        self.of_nearest = self.maps[self.prototype == nearest[self.image]]  # one of each image, in their order
        self.ones, self.ones_of_rival = by_ones.maps(model, images, z, joined(of_two)).values.chunk(2)

    def scores(self, baseline: Tensor, seed: int) -> dict[str, np.ndarray]:
        """The fields of `ReleasedScores` for these images."""
        pairs, count = len(self.image), len(self.images)
        each = torch.arange(count, device=self.images.device)
        least = int(self.pixels * LEAST)
        # the orders of pixels, those that are kept first; the released mask keeps the smallest magnitudes
        ranks = [
            relevance_rank(self.maps),
            relevance_rank(-self.maps.sum(1, keepdim=True).abs()),
            relevance_rank(self.ones),
            relevance_rank(-self.ones.sum(1, keepdim=True).abs()),
            self._random_ranks(seed),
        ]
        kept = [self.pixels - least, least, self.pixels - least, least, self.pixels - least]
        which = [self.image, self.image, each, each, each]
        counts = torch.cat([torch.full_like(rows, number) for rows, number in zip(which, kept, strict=True)])
        seen = self._similarities(baseline, torch.cat(which), torch.cat(ranks), counts)
        by_map, by_least, by_ones, by_ones_least, by_random = seen.split([pairs, pairs, count, count, count])
        with torch.no_grad():
            whole = self.model.reference_similarity(self.z)
        # similarities to the prototype of the map, and to that of its place in the first class (`sim_scores[0, k]`)
        rows, own, first = torch.arange(pairs, device=each.device), self.prototype, self.slot
        before, before_first = whole[self.image, own], whole[self.image, first]
        compared = {
            "ones": (before, by_ones[self.image, own]),
            "mask": (before, by_least[rows, own]),
            "first_class": (before_first, by_map[rows, first]),
            "mask_and_class": (before_first, by_least[rows, first]),
            "all": (before_first, by_ones_least[self.image, first]),
            "random": (before, by_random[self.image, own]),
            "random_first_class": (before_first, by_random[self.image, first]),
        }
        scores = {"images": np.asarray(self.indices, dtype=np.int64)} | self._alike()
        for name, values in compared.items():
            s, masked = (value.double().cpu().numpy() for value in values)
            scores[f"drop_{name}"] = self._by_slot(average_drop(s, masked))
            scores[f"increase_{name}"] = self._by_slot(average_increase(s, masked))
        return scores

    def _alike(self) -> dict[str, np.ndarray]:
        alone = len(self.images) == 1
        other = torch.full_like(self.of_nearest, torch.nan) if alone else self.of_nearest.roll(1, 0)
        compared = {
            "alike": (self.of_nearest, self.of_rival),
            "alike_ones": (self.ones, self.ones_of_rival),
            "alike_other_image": (self.of_nearest, other),
        }
        return {name: _cosine(*two).cpu().numpy() for name, two in compared.items()}

    def _random_ranks(self, seed: int) -> Tensor:
        drawn = [np.random.default_rng([seed, int(index)]).permutation(self.pixels) for index in self.indices]
        return torch.from_numpy(np.stack(drawn)).to(self.images.device)

    def _similarities(self, baseline: Tensor, image: Tensor, ranks: Tensor, counts: Tensor) -> Tensor:
        """(R, K) similarities of the released code for R masked images, `image[r]` with `counts[r]` pixels kept."""

        def similarities(part: slice) -> Tensor:
            masked = keep_pixels(self.images[image[part]], baseline, ranks[part], counts[part])
            return self.model.reference_similarity(self.model.encode(masked))

        with torch.no_grad():
            portions = Portions.fitting(self.model.encoder, self.images, MASKED)
            return torch.cat(list(portions.over(len(image), similarities)))

    def _by_slot(self, values: np.ndarray) -> np.ndarray:
        table = np.full(tuple(self.shape), np.nan)
        table[self.image.cpu().numpy(), self.slot.cpu().numpy()] = values
        return table


def _cosine(maps: Tensor, others: Tensor) -> Tensor:
    """(N,) between (N, C, H, W) maps and as many others, −1…1."""
    one, other = maps.double().flatten(1), others.double().flatten(1)
    return torch.nn.functional.cosine_similarity(one, other, dim=1).clamp(-1, 1)
