"""Every kind of model by name, collected from the files in `models.baselines`. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from kmex_core.base.phrases import joined
from kmex_core.base.registry import Description, Registry, descriptions

if TYPE_CHECKING:
    from kmex_core.models.baseline import Baseline


@dataclass(frozen=True, kw_only=True)
class ModelKind(Description):
    """A kind of model.

    Attributes:
        title: its name for people.
        about: its prototypes and how they determine its predictions, in Markdown; "" for the black box.
        paper: the names in the paper's tables of the kind and of KMEx on it.
        epochs: default passes over the training split: for small and simple images (like MNIST), for others.
        learning_rate: the default of its optimiser, Adam, at the start; not of the black box.
        similarity_from: the basis of its similarity.
        defaults: its hyper-parameters by name.
    """

    title: str
    about: str
    paper: tuple[str, str]
    epochs: tuple[int, int]
    learning_rate: float = 0.001
    similarity_from: Literal["distance", "dot product"] = "distance"
    defaults: Mapping[str, float] = field(default_factory=dict)

    def build(
        self, backbone: str, classes: int, image_size: int, k: int, options: Mapping[str, float], imagenet: bool = False
    ) -> Baseline:
        """The network of a baseline with its initial weights.

        Args:
            backbone: a name of `architectures`.
            classes: C.
            image_size: S, side of its square input in pixels.
            k: prototypes per class.
            options: hyper-parameters by name; defaults for missing ones.
            imagenet: start from ImageNet weights.

        Raises:
            InputError: see `architectures.build` and `checked_options`.
        """
        network: Baseline = self.load()(backbone, classes, image_size, k, options, imagenet)
        return network


_BLACK_BOX = ModelKind(
    name="blackbox",
    place=0,
    module="",
    class_name="",
    title="black box",
    about="",
    paper=("ResNet34", "R34+KMEx"),
    epochs=(10, 30),
)

BASELINES: Registry[ModelKind] = Registry(
    "baseline", ((kind.name, kind) for kind in descriptions("kmex_core.models.baselines", ("Baseline",), ModelKind))
)
MODEL_KINDS: Registry[ModelKind] = Registry("model kind", [(_BLACK_BOX.name, _BLACK_BOX), *BASELINES.items()])


TITLES = joined("or", (kind.title for kind in BASELINES.values()))
