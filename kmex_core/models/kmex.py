"""KMEx: an encoder and prototypes as one self-explaining module that predicts by the nearest prototype."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from kmex_core.base.errors import InputError
from kmex_core.base.progress import Progress, silent
from kmex_core.base.store import Store
from kmex_core.models import kmex_file
from kmex_core.models.enclosed import NOTHING
from kmex_core.models.from_python import UNKNOWN, Fitted, Request, from_images, from_loader
from kmex_core.models.info import ModelInfo
from kmex_core.models.relevance_starts import RelevanceStarts
from kmex_core.networks import splitting
from kmex_core.networks.loaders import check_images
from kmex_core.networks.memory import out_of_memory
from kmex_core.networks.passes import device_of
from kmex_core.prototypes.fit import EPSILON, pairwise, similarity
from kmex_core.prototypes.metric import AUTO, EmbeddingMetric, mapped
from kmex_core.prototypes.posterior import calibrated, posterior
from kmex_core.prototypes.temperature import Temperature
from kmex_core.prototypes.types import Prototypes
from kmex_core.relevance.catalogue import DEFAULT_TARGET
from kmex_core.relevance.types import Explanation, RelevanceMaps


class KMEx(RelevanceStarts, nn.Module):
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
        self.origin, self.enclosed = UNKNOWN, NOTHING
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
        images = similarity.shape[0]  # not len(), which would fix the number in an exported graph
        scores = similarity.new_full((images, len(self.class_names)), -torch.inf)
        return scores.scatter_reduce(1, self.prototype_class.expand(images, -1), similarity, "amax")

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
        none = similarity.new_zeros(similarity.shape[0], len(self.class_names))
        return none.index_add(1, self.prototype_class, similarity.softmax(1))

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) normalised images to (N, C) class scores; `argmax(1)` is the prediction.

        Raises:
            InputError: for anything else, or images that the network cannot take.
        """
        if not torch.compiler.is_exporting():  # a graph has no errors for people
            check_images(images, "You gave")
        return self.classify(self.similarity(self.encode(images)))

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
    def from_model(
        cls,
        model: nn.Module,
        images: Any,
        preprocess: Any = None,
        head: str | nn.Module | None = None,
        classes: Sequence[str] | Mapping[int, str] | str | None = None,
        k: int | Sequence[int] | str = 5,
        metric: str = AUTO,
        device: str | torch.device | None = None,
        test: Any = None,
        seed: int = 0,
        progress: Progress = silent,
    ) -> Self:
        """Turn a trained network into a KMEx. Nothing is retrained; the network itself is not changed.

        The KMEx shares the network's parameters. It always computes in evaluation mode, whatever the network's mode,
        which is restored; but do not train in one thread while a KMEx of the same network computes in another.

        Args:
            model: any classifier, of any type of float, whose output is a tensor, has `.logits`, or is a dict or a
                tuple; also compiled, in DataParallel, or inside a module that prepares the images; or an encoder.
            images: the training images. Pictures: the path of a folder, archive or file in any layout that is read
                here; a `datasets.Dataset` or `DatasetDict`; a pair of an array of uint8 images and labels; or an object
                that gives (PIL image, label) by index. Or a network's input: a `DataLoader`, a data set of tensors, or
                an iterable of batches, as tuples (images, labels, …) or dicts ("image" or "pixel_values", "label" or
                "labels"). A `DataLoader` is read in its data set's order, each image of its sampler once. Turn random
                augmentation off. A dict of these has splits: train, test, validation.
            preprocess: how a picture becomes the network's input: "imagenet"; a `Preprocessing`; torchvision's weights
                or their transforms(); a transformers image processor; timm's data configuration; a JSON file; or a
                function from a PIL image to a tensor. None: as timm's network says itself. For a network's input, how
                it was made.
            head: the part that gives the class scores, by its dotted name or itself (found when None); "none" takes the
                output as the embedding.
            classes: names of the outputs in their order, or by their numbers ({0: "cat", 5: "dog"}), where they are not
                those of the images in order; "none" uses the encoder alone. Where images are labelled by numbers
                alone, names of these.
            k: prototypes per class (fewer for a class with fewer different images), C numbers, or "auto": as suggested.
            metric: "euclidean" (as published), "whitened", "cosine", or "auto": whitened, unless Euclidean is the more
                accurate one on held-out images.
            device: where to compute (the model's device when None); a model on another device is copied.
            test: held-out images, of the same kind as `images`, for the posterior's temperature and for "auto". Of
                pictures without test images a fifth of each class is held out. Without any the probabilities are the
                published ones, which are not calibrated.
            seed: of k-means.
            progress: called during the computation.

        Raises:
            InputError: when the network cannot be split, images cannot be used, a class has no images, preprocessing,
                classes or metric do not fit, or torch cannot use the device.
        """
        request = Request(head, classes, k, metric, seed, device, progress)
        return cls._of(from_images(model, images, preprocess, test, request))

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
        """`from_model` with loaders of a network's input whose preprocessing stays unknown: only such input can be
        explained, and the KMEx cannot be added to the store.

        Args:
            loader: the training images.
            class_names: `classes`.
            held_out: `test`.
            model, k, seed, device, progress, head, metric: see `from_model`.

        Raises:
            InputError: see `from_model`.
        """
        request = Request(head, class_names, k, metric, seed, device, progress)
        return cls._of(from_loader(model, loader, held_out, request))

    @classmethod
    def _of(cls, fitted: Fitted) -> Self:
        kmex = cls(
            fitted.parts.encoder,
            fitted.parts.head,
            fitted.prototypes,
            fitted.class_names,
            pixel_range=fitted.pixel_range,
            made_by=fitted.made_by,
            metric=fitted.metric,
            pixel_mean=fitted.pixel_mean,
        ).to(fitted.place)
        if fitted.test is not None:
            kmex.temperature = calibrated(kmex.scores, kmex.score_class, fitted.test, fitted.validation)
        kmex.origin = fitted.origin
        return kmex

    def add_to_store(
        self, name: str, overwrite: bool = False, source: str | None = None, store: Store | None = None
    ) -> ModelInfo:
        """Bring what `from_model` made to the pages and commands: its network, and its images where they are not there.

        Their results for the same numbers of prototypes are those of this KMEx. Pictures that came from Python are
        written to the store, losslessly; of a loader they are made from the network's input again.

        Args:
            name: of the model in the store.
            overwrite: replace the model of this name, and its images from Python.
            source: where the network comes from, as after `--model` of the command `new`: `module:function` names a
                function of your own, which is then allowed to run on this machine. When None, networks of torchvision,
                timm and transformers are recognised; the graph of any other is exported by torch.
            store: the default one when None.

        Returns:
            The model's description in the store.

        Raises:
            InputError: when the name is taken, or the pages could not have the same results; with what to change.
            StoreError: when the store cannot be written.
        """
        from kmex_core.models.adding import add

        return add(store or Store(), self, self.origin, name, overwrite, source)

    def save(self, path: str | Path, weights: bool = False) -> None:
        """Write it to one safetensors file, with what is `enclosed`; with the network's weights only if asked for.

        Raises:
            InputError: for weights of a KMEx that was not made from a network.
            StoreError: when it cannot be written.
        """
        kmex_file.write(path, self, weights)

    @classmethod
    def load(cls, path: str | Path, encoder: nn.Module | None = None, head: str | nn.Module | None = None) -> Self:
        """Read what `save` or the command `export --kmex` wrote. No code from the file runs.

        Args:
            path: the file.
            encoder: the classifier that was converted, or its encoder alone (then there is no black box). If the file
                has weights, a copy with those is used. None for a network of torchvision, timm, transformers, ONNX or
                `torch.export` whose weights are in the file, which needs nothing else.
            head: the classifier's head, if its name has changed since.

        Raises:
            InputError: when there is no such file, a network has to be passed, or one of other weights was.
            StoreError: when the file is damaged or of another kind.
        """
        read = kmex_file.read(path, encoder, head)
        kmex = cls(read.encoder, read.head, **read.arguments).to(device_of(read.encoder))
        kmex.origin, kmex.enclosed = read.origin, read.enclosed
        return kmex

    def explain(
        self,
        image: Tensor | str | Path | bytes | Any,
        prototypes: Sequence[int] | None = None,
        top: int = 3,
        method: str | None = None,
        target: str = DEFAULT_TARGET,
        rival: str | int = "class",
        judged: bool = True,
    ) -> Explanation:
        """Explain the classification of an image, with relevance maps for some prototypes. It prints in words.

        Args:
            image: a picture (the path of a file, its bytes, a PIL image, or a uint8 array (H, W) or (H, W, 3)), where
                the preprocessing is known; or the network's input, a tensor (3, H, W) or (1, 3, H, W), normalised.
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

        if not isinstance(image, Tensor):
            image = self.origin.input(image)
        found = explain(self, image, prototypes, top, method, target, rival, judged)
        titles = self.origin.titles(self.details.exemplar[found.prototypes])
        return dataclasses.replace(found, exemplars=titles)

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
