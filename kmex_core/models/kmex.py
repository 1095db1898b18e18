"""KMEx: an encoder and prototypes as one self-explaining module that predicts by the nearest prototype."""

from __future__ import annotations

import copy
import dataclasses
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from kmex_core.base.devices import checked_device
from kmex_core.base.errors import InputError
from kmex_core.base.progress import Progress, silent
from kmex_core.base.provenance import versions
from kmex_core.models import kmex_file
from kmex_core.networks import encoders, passes, splitting
from kmex_core.networks.extraction import extract
from kmex_core.networks.loaders import Batches, check_images
from kmex_core.networks.memory import out_of_memory
from kmex_core.prototypes.fit import EPSILON, class_members, fit_prototypes, pairwise, similarity
from kmex_core.prototypes.metric import AUTO, EmbeddingMetric, mapped, pulled_back
from kmex_core.prototypes.metric_choice import chosen_metric
from kmex_core.prototypes.posterior import calibrated, posterior
from kmex_core.prototypes.suggestion import numbers
from kmex_core.prototypes.temperature import Temperature
from kmex_core.prototypes.types import Prototypes, fewer_prototypes
from kmex_core.relevance.catalogue import DEFAULT_TARGET
from kmex_core.relevance.types import Explanation, RelevanceMaps


class KMEx(nn.Module):
    """A prototypical self-explainable model (paper 3.1). N images, C classes, K prototypes, D dimensions.

    Args:
        encoder: images (N, 3, H, W) to embeddings (N, D).
        head: the converted model's last layer, embeddings (N, D) to class scores (N, C); explanations compare with it.
            Linear, or a module with `in_features`, `out_features` and `relevance` (see `baselines`).
        prototypes: the prototypes with their description.
        class_names: C names.
        epsilon: ε of the similarity, above 0 and below 1. The paper gives no value; its released code uses 1e-4.
        squared: the similarity takes the squared distance (the paper's formula) or the distance (the released code).
        pixel_range: the lowest and the highest value of each input channel, the box of LRP's zB rule.
        made_by: provenance, stored in the file.
        metric: the map from embeddings to the space of the prototypes; Euclidean, as published, when None.
        temperature: of the posterior, see `posterior.Temperature`; None if it was fitted on no images.
        pixel_mean: the mean of each input channel in the training data; None if it is 0, as normalisation makes it.
    """

    prototypes: Tensor
    metric_matrix: Tensor
    prototype_class: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        head: nn.Module,
        prototypes: Prototypes,
        class_names: Sequence[str],
        epsilon: float = EPSILON,
        squared: bool = True,
        pixel_range: tuple[Sequence[float], Sequence[float]] | None = None,
        made_by: Mapping[str, Any] | None = None,
        metric: EmbeddingMetric | None = None,
        temperature: Temperature | None = None,
        pixel_mean: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        if not 0 < epsilon < 1:
            raise InputError(f"Expected epsilon above 0 and below 1, got {epsilon}.")
        dimensions = prototypes.centers.shape[1]
        if dimensions != head.in_features:
            raise InputError(
                f"The prototypes have {dimensions} dimensions, but the network's embedding has {head.in_features}: "
                "they belong to another network."
            )
        if head.out_features != len(class_names):
            raise InputError(
                f"The network has {head.out_features} classes, but {len(class_names)} class names are given."
            )
        self.encoder = encoder
        self.head = head
        self.register_buffer("prototypes", torch.from_numpy(np.array(prototypes.centers)))
        self.register_buffer("prototype_class", torch.from_numpy(np.array(prototypes.classes)))
        self.metric = metric or EmbeddingMetric()
        self.register_buffer("metric_matrix", torch.from_numpy(np.array(self.metric.matrix)))
        self.temperature = temperature
        self.details = prototypes
        self.class_names = tuple(class_names)
        self.epsilon = epsilon
        self.squared = squared
        self.pixel_range = pixel_range
        self.pixel_mean = pixel_mean
        self.made_by = dict(made_by or {})
        self.eval()

    by_distance = True  # the similarity is based on a distance

    # ---- the computation -------------------------------------------------------------------------------------------

    def encode(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) normalised images to (N, D) embeddings, of the prototypes' type of float.

        Raises:
            InputError: when the network cannot take them.
        """
        try:
            z: Tensor = self.encoder(images)
        except RuntimeError as error:
            if out_of_memory(error):
                raise
            raise splitting.not_run(getattr(self.encoder, "model", self.encoder), images, error) from error
        return z.to(self.prototypes.dtype)

    def mapped(self, z: Tensor) -> Tensor:
        """(N, D) embeddings to (N, D) in the space of the prototypes, see `EmbeddingMetric`."""
        placed: Tensor = mapped(z, self.metric.name, self.metric_matrix)
        return placed

    def distance(self, z: Tensor) -> Tensor:
        """(N, D) embeddings to (N, K) Euclidean distances in the space of the prototypes; exactly 0 at a prototype."""
        return pairwise(self.mapped(z), self.prototypes)

    def similarity(self, z: Tensor) -> Tensor:
        """(N, D) embeddings to (N, K) similarities s = log((d² + 1) / (d² + ε)), from 0 (far) to log(1/ε) (at it)."""
        return similarity(self.distance(z), self.epsilon, self.squared)

    def reference_similarity(self, z: Tensor) -> Tensor:
        """(N, D) embeddings to (N, K) similarities as in the paper's released code: of the distance instead of its
        square, between the embeddings themselves, whatever the metric."""
        embedded = torch.from_numpy(self.metric.back(self.prototypes.detach().cpu().numpy())).to(z.device)
        return similarity(pairwise(z, embedded), self.epsilon, squared=False)

    def classify(self, similarity: Tensor) -> Tensor:
        """(N, K) similarities to (N, C) class scores: a class counts as similar as its most similar prototype.

        The highest score belongs to the class of the nearest prototype, which is the prediction.
        """
        scores = torch.full(
            (len(similarity), len(self.class_names)), -torch.inf, device=similarity.device, dtype=similarity.dtype
        )
        return scores.scatter_reduce(1, self.prototype_class.expand(len(similarity), -1), similarity, "amax")

    def predict(self, z: Tensor) -> Tensor:
        """(N, D) embeddings to (N,) classes: that of the nearest prototype."""
        return self.prototype_class[self.distance(z).argmin(1)]

    def scores(self, z: Tensor) -> Tensor:
        """(N, D) embeddings to (N, K) scores of the posterior: the negative squared distances."""
        return -self.distance(z).square()

    @property
    def score_class(self) -> Tensor:
        """(K,) the class of each of the `scores`."""
        return self.prototype_class

    def posterior(self, z: Tensor, temperature: Tensor | None = None) -> Tensor:
        """(N, D) embeddings to (N, C) class probabilities, calibrated on held-out images.

        p(c | z) = Σ_{p of c} exp(−d²/T) / k_c over its sum. Without a temperature, which takes held-out images,
        `reference_probabilities`.

        Args:
            z: the embeddings.
            temperature: (N,), one for each, in place of the module's own.
        """
        if self.temperature is None and temperature is None:
            return self.reference_probabilities(self.similarity(z))
        value = self.temperature.value if temperature is None else temperature[:, None, None]  # type: ignore[union-attr]
        return posterior(self.scores(z), self.score_class, len(self.class_names), value)

    def reference_probabilities(self, similarity: Tensor) -> Tensor:
        """(N, K) similarities to (N, C) probabilities as published: softmax over all K, summed within each class."""
        none = similarity.new_zeros(len(similarity), len(self.class_names))
        return none.index_add(1, self.prototype_class, similarity.softmax(1))

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) normalised images to (N, C) class scores; `argmax(1)` is the prediction.

        Raises:
            InputError: for anything else, or images that the network cannot take.
        """
        check_images(images, "You gave")
        return self.classify(self.similarity(self.encode(images)))

    # ---- the start of relevance propagation --------------------------------------------------------------------------

    def rivals(self, z: Tensor, prototypes: Tensor, how: str = "class") -> Tensor:
        """(N,) the rival of one prototype each, (N,): the nearest prototype of another class ("class"), or the nearest
        other one ("prototype").

        Raises:
            InputError: when there is none.
        """
        alike = self.prototype_class[prototypes][:, None] == self.prototype_class
        if how == "prototype":
            alike = torch.zeros_like(alike).scatter_(1, prototypes[:, None], value=True)
        if bool(alike.all(1).any()):
            raise InputError("There is no other prototype to compare with.")
        return self.distance(z).masked_fill(alike, torch.inf).argmin(1)

    def margin(self, z: Tensor, prototypes: Tensor, rivals: Tensor) -> Tensor:
        """(N,) margins ‖z̃ − q‖² − ‖z̃ − p‖² of prototypes p against rivals q, both (N,): positive where p is nearer."""
        p, q = self.prototypes[prototypes], self.prototypes[rivals]
        # as (2 z̃ − p − q) · (p − q): near ties lose no digits
        return ((2 * self.mapped(z) - p - q) * (p - q)).sum(1)

    def margin_relevance(self, z: Tensor, prototypes: Tensor, rivals: Tensor) -> Tensor:
        """(N, D) relevance of the embedding's dimensions for the margin; rows sum to it."""
        from kmex_core.relevance.starts import margin_relevance

        p, q = self.prototypes[prototypes], self.prototypes[rivals]
        return margin_relevance(z, p, q, self.metric.name, self.metric_matrix)

    def prototype_relevance(self, z: Tensor, prototypes: Tensor) -> Tensor:
        """(N, D) relevance of the embedding's dimensions for the similarity to one prototype each, (N,)."""
        from kmex_core.relevance.starts import similarity_relevance

        similarity = self.similarity(z).gather(1, prototypes[:, None])[:, 0]
        return self._pulled_back(similarity_relevance(self.mapped(z), self.prototypes[prototypes], similarity), z)

    def prediction_relevance(self, z: Tensor, target: Tensor) -> Tensor:
        """(N, D) relevance of the embedding's dimensions for the posterior of one class each, (N,)."""
        from kmex_core.relevance.starts import prediction_relevance

        members = class_members(self.prototype_class, len(self.class_names))[target]
        filled = members.clamp(min=0)  # −1 pads smaller classes: any index will do, its part is 0
        # each prototype's part of the class's probability, (N, k)
        scores = self.similarity(z) if self.temperature is None else self.scores(z) / self.temperature.value
        part = scores.gather(1, filled).masked_fill(members < 0, -torch.inf).softmax(1)
        probability = part * self.posterior(z).gather(1, target[:, None])
        return self._pulled_back(prediction_relevance(self.mapped(z), self.prototypes[filled], probability), z)

    def _pulled_back(self, relevance: Tensor, z: Tensor) -> Tensor:
        return pulled_back(relevance, z, self.metric.name, self.metric_matrix)

    # ---- description of the prototypes -----------------------------------------------------------------------------

    @property
    def k(self) -> int:
        """Prototypes per class, the maximum over the classes: classes with fewer different images have fewer."""
        return int(np.bincount(self.details.classes).max())

    @property
    def importance(self) -> np.ndarray:
        """(K,) share of the own class's training images that activate each prototype, 0…1."""
        return self.details.importance

    @property
    def ghost(self) -> np.ndarray:
        """(K,) bool: no training image of the own class activates the prototype."""
        return self.details.ghost

    @property
    def nearest(self) -> np.ndarray:
        """(K, M) indices of the nearest training images of the own class: into the data set of a `DataLoader`, of other
        loaders in the order they gave them."""
        return self.details.nearest

    # ---- convert, save, explain ------------------------------------------------------------------------------------

    @classmethod
    def convert(
        cls,
        model: nn.Module,
        loader: Iterable[Any],
        k: int | Sequence[int] | str = 5,
        seed: int = 0,
        class_names: Sequence[str] | None = None,
        device: str | torch.device | None = None,
        progress: Progress = silent,
        head: str | nn.Module | None = None,
        metric: str = AUTO,
        held_out: Iterable[Any] | None = None,
    ) -> Self:
        """Turn a trained classifier into a KMEx. Nothing is retrained; the classifier itself is not changed.

        The KMEx shares the classifier's parameters. It always computes in evaluation mode, whatever the
        classifier's mode, which is restored; but do not train in one thread while a KMEx of the same
        classifier computes in another.

        Args:
            model: any classifier with a head, of any type of float; also compiled, in DataParallel, or inside a module
                that prepares the images; or an encoder (head="none").
            loader: batches of normalised training images (n, channels, H, W) with labels (n,), as pairs or as dicts
                ("image" or "pixel_values", "label" or "labels"). A `DataLoader` is read in its data set's order,
                each image of its sampler once, so `nearest` contains indices into the data set. Turn random
                augmentation off.
            k: prototypes per class (fewer for a class with fewer different images), C numbers, or "auto": as suggested.
            seed: of k-means.
            class_names: C names ("0", "1", … when None); needed for an encoder.
            device: where to compute (the model's device when None); a model on another device is copied.
            progress: called during the computation.
            head: the part that gives the class scores, by its dotted name or itself (found when None).
            metric: "euclidean" (as published), "whitened", "cosine", or "auto": whitened, unless Euclidean is the more
                accurate one on the `held_out` images.
            held_out: a loader of labelled images that are not training images, for the posterior's temperature and
                for "auto". Without it the probabilities are the published ones, which are not calibrated.

        Raises:
            InputError: when the model cannot be split, a loader is invalid, a class has no images, the metric is
                unknown, or torch cannot use the device.
        """
        if not isinstance(model, nn.Module):
            raise InputError(f"Expected a classifier (torch.nn.Module), got a {type(model).__name__}.")
        network = passes.unwrapped(model)
        place = next(network.parameters(), torch.empty(0)).device
        if device is not None and torch.empty(0, device=checked_device(str(device))).device != place:
            if isinstance(head, nn.Module):
                head = next((name for name, part in network.named_modules() if part is head), head)
            network = copy.deepcopy(network).to(device)
            place = torch.empty(0, device=device).device
        batches = Batches(loader)
        parts = splitting.for_labels(splitting.split(network, batches.first.to(place), head), class_names)
        names = tuple(class_names) if class_names is not None else tuple(map(str, range(parts.head.out_features)))
        batches.classes = parts.head.out_features
        try:
            embeddings = extract(parts.encoder, parts.head, batches, batches.total, place, progress=progress)
        except RuntimeError as error:
            raise splitting.not_run(network, batches.last, error) from error
        held = None
        if held_out is not None:
            others = Batches(held_out)
            others.classes = parts.head.out_features
            held = extract(parts.encoder, parts.head, others, others.total, place, progress=progress)
        fitted = chosen_metric(metric, embeddings, held, names, str(place))
        space = embeddings.in_space(fitted)
        counts = numbers(k, space, names, str(place), progress)
        prototypes = fit_prototypes(space, names, counts, seed, str(place), progress)
        if isinstance(counts, int) and (few := fewer_prototypes(prototypes, names, counts)):
            warnings.warn(few, stacklevel=2)
        nearest, nearest_any = batches.index_of(prototypes.nearest), batches.index_of(prototypes.nearest_any)
        prototypes = dataclasses.replace(prototypes, nearest=nearest, nearest_any=nearest_any)
        path = encoders.kept_path(parts.encoder, parts.head_path)
        made_by = {"k": counts, "seed": seed, "head_path": path, "versions": versions()}
        kmex = cls(
            parts.encoder,
            parts.head,
            prototypes,
            names,
            pixel_range=batches.pixel_range(),
            made_by=made_by,
            metric=fitted,
            pixel_mean=batches.pixel_mean(),
        ).to(place)
        if held is not None:
            kmex.temperature = calibrated(kmex.scores, kmex.score_class, held)
        return kmex

    def save(self, path: str | Path) -> None:
        """Write everything but the network's weights to one safetensors file.

        Raises:
            StoreError: when it cannot be written.
        """
        kmex_file.write(path, self)

    @classmethod
    def load(cls, path: str | Path, model: nn.Module, head: str | nn.Module | None = None) -> Self:
        """Read what `save` wrote.

        Args:
            path: the file.
            model: the classifier that was converted (with the same weights), as given to `convert`.
            head: its head, if its name has changed since.

        Raises:
            InputError: when there is no such file, or `model` has other weights than the converted classifier.
            StoreError: when the file is damaged or of another kind.
        """
        parts, read = kmex_file.read(path, model, head)
        return cls(parts.encoder, parts.head, **read).to(next(parts.encoder.parameters(), torch.empty(0)).device)

    def explain(
        self,
        image: Tensor,
        prototypes: Sequence[int] | None = None,
        top: int = 3,
        method: str | None = None,
        target: str = DEFAULT_TARGET,
        rival: str | int = "class",
        judged: bool = True,
    ) -> Explanation:
        """Explain the classification of an image, with relevance maps for some prototypes.

        Args:
            image: (3, H, W) or (1, 3, H, W), normalised.
            prototypes: the prototypes to compute relevance maps for (the `top` nearest when None).
            top: their number when `prototypes` is None.
            method: how, a name in `relevance.catalogue.METHODS`: "masked-gradients" for any network (the default; for
                one without gradients "occlusion"), "prp" (as published) for ResNet and VGG, "lrp-epsilon" for more.
            target: what they explain, a name in `relevance.catalogue.TARGETS`: "margin" to a rival, or "similarity" to
                the prototype (as published).
            rival: of a margin: the nearest prototype of another class ("class"), the nearest other one ("prototype"),
                or a prototype's number.
            judged: whether each map comes with a verdict, which takes about as long as the maps.

        Raises:
            InputError: for an image of another shape; an unknown prototype, method, target or rival; or a method that
                cannot explain the network.
        """
        from kmex_core.relevance.explain import explain

        return explain(self, image, prototypes, top, method, target, rival, judged)

    def maps(
        self,
        images: Tensor,
        prototypes: Sequence[int],
        method: str | None = None,
        target: str = DEFAULT_TARGET,
        rival: str | int = "class",
    ) -> RelevanceMaps:
        """A relevance map for each pair of an image and a prototype, in one batched pass.

        Args:
            images: (N, channels, H, W), normalised.
            prototypes: N of them.
            method, target, rival: see `explain`.

        Raises:
            InputError: see `explain`.
        """
        from kmex_core.relevance.explain import pair_maps

        return pair_maps(self, images, prototypes, method, target, rival)

    def class_maps(
        self, images: Tensor, classes: Sequence[int], method: str | None = None, target: str = DEFAULT_TARGET
    ) -> tuple[RelevanceMaps, RelevanceMaps | None]:
        """N relevance maps of class predictions by KMEx, and as many by the black box (None without one).

        By KMEx: of the margin of the class's nearest prototype, or of the class's probability; by the black box: of its
        score, less that of the best other class if the target has a rival.

        Args:
            images: (N, channels, H, W), normalised.
            classes: N of them.
            method, target: see `explain`.

        Raises:
            InputError: see `explain`.
        """
        from kmex_core.relevance.explain import class_maps

        return class_maps(self, images, classes, method, target)
