"""What a training begins from: a backbone of this product, or a network from outside with its source's weights."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kmex_core.base.errors import InputError, StoreError
from kmex_core.base.files import read_description
from kmex_core.base.progress import Progress, silent
from kmex_core.base.specs import stable_key
from kmex_core.base.store import Store
from kmex_core.data.dataset import ImageDataset
from kmex_core.data.preprocessing import Preprocessing
from kmex_core.models import catalogue
from kmex_core.models.kinds import MODEL_KINDS
from kmex_core.stages import outside
from kmex_core.stages.statistics import PixelStatistics

if TYPE_CHECKING:
    from torch import nn

    from kmex_core.networks.architecture_source import Proposal

ENLARGED = 1.5  # times the pixels of the data set's images, from which on it is said


@dataclass(frozen=True, eq=False)
class Start:
    """A network before its training.

    Attributes:
        network: float32, with its initial weights.
        preprocessing: from a picture to its input.
        trained: whether it has trained weights.
        details, head_path, outputs: see `ModelInfo`; of a backbone as it has them by default.
        notes: what a person should know, a sentence each.
    """

    network: nn.Module
    preprocessing: Preprocessing
    trained: bool
    details: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    head_path: str = ""
    outputs: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def from_outside(self) -> bool:
        """Whether it is a network from outside."""
        return self.outputs is not None

    @property
    def asked(self) -> dict[str, Any]:
        """What a resumed run must have in common with the interrupted one; nothing of a backbone, which its name says
        all of."""
        if not self.from_outside:
            return {}
        return {"network": stable_key([dict(self.details), dataclasses.asdict(self.preprocessing), self.head_path])}


def start_outside(
    store: Store,
    name: str,
    backbone: str,
    data: ImageDataset,
    *,
    kind: str = "blackbox",
    seed: int = 0,
    image_size: int = 0,
    trained: bool = False,
    resume: bool = False,
    progress: Progress = silent,
) -> Start | None:
    """A network from outside, for the classes of a data set; None for a backbone of this product.

    Its source's weights are taken where they can be had, with a new head if that is of other classes. A resumed run
    has its weights already, so they are not fetched again.

    Args:
        store: has the run that is resumed, and the training images' statistics.
        name: of the run.
        backbone: the name of a network.
        data: the data set.
        kind: of the model.
        seed: of new weights.
        image_size: as it was asked for, 0 if it was not.
        trained: its weights must be trained ones. A function of the user's own brings what it likes, and is believed.
        resume: whether a run is continued.
        progress: called during measurements.

    Raises:
        InputError: when it cannot be trained here, or trained weights are asked for and cannot be had.
    """
    import torch

    from kmex_core.networks import architectures, trust

    if architectures.source_of(backbone) is None:
        return None
    if not architectures.is_trainable(backbone):
        raise InputError(
            f"'{backbone}' cannot be trained here, because it is a file with its graph: import it as it is, or train a "
            "backbone."
        )
    if kind != "blackbox":
        raise InputError(
            f"{MODEL_KINDS.named(kind).title} is built on a backbone of this product, such as resnet34. Networks from "
            f"outside are trained as a black box, and KMEx makes its prototypes: leave {kind} out."
        )
    classes = len(data.class_names)
    if classes < 2:
        raise InputError(f"A classifier needs at least 2 classes, got {classes}.")
    torch.manual_seed(seed)
    proposal = architectures.propose(backbone, classes, own_weights=resume)
    begun = _begun_trained(store, name) if resume else None
    pretrained = begun if begun is not None else proposal.pretrained or (trained and trust.is_function(backbone))
    if trained and not pretrained and not resume:
        raise InputError(f"'{backbone}' has no trained weights to start from. {' '.join(proposal.notes)}".strip())
    preprocessing = proposal.preprocessing or outside.by_statistics(
        proposal, data, PixelStatistics(store, data, progress).get
    )
    if image_size and image_size != max(preprocessing.size):
        raise InputError(
            f"'{backbone}' takes {preprocessing.height}×{preprocessing.width} pixels, so --image-size does not apply: "
            "leave it out."
        )
    proposal.module.float().eval()
    head_path = _head_path(backbone, proposal, data, preprocessing)
    notes = (*_words(backbone, proposal, pretrained, resume), *_cost(data, preprocessing))
    return Start(proposal.module, preprocessing, pretrained, proposal.details, head_path, classes, notes)


def _begun_trained(store: Store, name: str) -> bool | None:
    """Whether the run that is resumed began with trained weights; None where there is no such run."""
    for room in catalogue.RUNS:
        with contextlib.suppress(StoreError, FileNotFoundError, KeyError, TypeError):
            return bool(read_description(store.path(room, name))["asked"]["recipe"]["imagenet"])
    return None


def _head_path(backbone: str, proposal: Proposal, data: ImageDataset, preprocessing: Preprocessing) -> str:
    """The dotted name of the head, once the network has been seen to give a score for each class."""
    classes = len(data.class_names)
    if proposal.outputs == 0:
        raise InputError(
            f"'{backbone}' is an encoder, which predicts no classes, so there is nothing to train. Convert it as it "
            "is: `python -m kmex_core new`."
        )
    parts, head_path, outputs = outside.parts(proposal, data, preprocessing)
    if parts.head.out_features != classes or outputs != classes:
        raise InputError(
            f"'{backbone}' gives {outputs} class scores, but data set '{data.name}' has {classes} classes. Let the "
            "function take num_classes, which it is then called with."
        )
    return head_path


def _words(backbone: str, proposal: Proposal, pretrained: bool, resume: bool) -> tuple[str, ...]:
    from kmex_core.networks import trust

    if resume:
        return ()
    if trust.is_function(backbone):
        return (f"{backbone} starts with the weights that the function gave it.",)
    if pretrained:
        return (f"{backbone} starts with its source's weights.",)
    return (f"{backbone} starts with random weights.", *proposal.notes)


def _cost(data: ImageDataset, preprocessing: Preprocessing) -> tuple[str, ...]:
    """What it costs that the network takes larger images than the data set is read with otherwise."""
    times = preprocessing.height * preprocessing.width / data.image_size**2
    if times < ENLARGED:
        return ()
    return (
        f"It takes {preprocessing.height}×{preprocessing.width} pixels, {times:,.0f} times those of {data.image_size}×"
        f"{data.image_size}, at which a backbone would read these images: expect about as many times the time and "
        "memory.",
    )
