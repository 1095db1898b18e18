"""A network from outside on a data set: its preprocessing and its parts, as it is brought and as it is trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from kmex_core.data.dataset import ImageDataset
from kmex_core.data.preprocessing import Preprocessing

if TYPE_CHECKING:
    import torch

    from kmex_core.networks.architecture_source import Proposal
    from kmex_core.networks.splitting import SplitModel
    from kmex_core.stages.statistics import Statistics

EXAMPLES = 8


def example(data: ImageDataset, preprocessing: Preprocessing, device: str = "cpu") -> torch.Tensor:
    """The first few training images as a network's input."""
    from kmex_core.data.network_input import normalise

    rows = range(min(EXAMPLES, len(data.split("train"))))
    return normalise(data.pixels("train", rows, preprocessing), preprocessing).to(device)


def by_statistics(proposal: Proposal, data: ImageDataset, statistics: Callable[[], Statistics]) -> Preprocessing:
    """The preprocessing of a network whose source does not say any: by the training images' mean and deviation.

    Args:
        proposal: says what is known of its input: channels and sides.
        data: the data set.
        statistics: gives mean and deviation of the training images.
    """
    channels = int(proposal.details.get("channels", 3))
    mean, std = statistics()
    found = Preprocessing.plain(data.image_size, data.channels, mean, std)
    if channels == 1 and data.channels == 3:
        found = replace(found, channels=1, mean=(sum(mean) / 3,), std=(sum(std) / 3,))
    height, width = (int(proposal.details.get(side) or data.image_size) for side in ("height", "width"))
    return replace(found, height=height, width=width, inputs=channels if found.channels == 1 else 3)


def parts(
    proposal: Proposal, data: ImageDataset, preprocessing: Preprocessing, head: str = "", device: str = "cpu"
) -> tuple[SplitModel, str, int]:
    """Encoder and head of a network, found by running it on a few images.

    Args:
        proposal: the network, on the device.
        data: the data set.
        preprocessing: of the network.
        head: the dotted name of its head, `encoders.NONE` for an encoder; found when empty.
        device: a torch device.

    Returns:
        The parts, and `ModelInfo.head_path` and `ModelInfo.outputs`.

    Raises:
        InputError: see `splitting.split`.
    """
    from kmex_core.networks import encoders, splitting

    images = example(data, preprocessing, device)
    if head == encoders.NONE or (proposal.outputs == 0 and not head):
        whole = splitting.whole(proposal.module, images, len(data.class_names))
        return whole, encoders.kept_path(whole.encoder, ""), 0
    found = splitting.split(proposal.module, images, head or None)
    outputs = found.head.out_features if proposal.outputs in (None, 1) else proposal.outputs
    return found, found.head_path, int(outputs or 0)
