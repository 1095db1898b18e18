"""Training: one loop, repeatable from a seed, with a checkpoint per epoch from which it goes on bit for bit."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kmex_core.datasets import ImageDataset
from kmex_core.errors import InputError, TrainingError
from kmex_core.images import normalise
from kmex_core.progress import Progress, silent

IN_MEMORY = 2**30
CROP_PADDING = 2
AUGMENTATIONS = ("none", "flip-crop")


@dataclass(frozen=True)
class Recipe:
    """Hyper-parameters of a training run: SGD with momentum and a cosine schedule (paper A.2).

    Attributes:
        epochs: passes over the training split.
        learning_rate: at the start; it falls to 0 along a half cosine.
        momentum: of SGD.
        weight_decay: L2 penalty on all weights.
        batch_size: images per step.
        augmentation: "none", or "flip-crop": flip with probability 0.5, pad with 2 black pixels and crop (A.1).
        seed: of initial weights, order and augmentation.
        imagenet: start from ImageNet weights.
    """

    epochs: int
    learning_rate: float
    momentum: float
    weight_decay: float
    batch_size: int
    augmentation: str
    seed: int
    imagenet: bool

    def __post_init__(self) -> None:
        checks = {
            "epochs": (self.epochs >= 1, "1 or more"),
            "learning rate": (0 < self.learning_rate < math.inf, "above 0"),
            "momentum": (0 <= self.momentum < 1, "in [0, 1)"),
            "weight decay": (0 <= self.weight_decay < math.inf, "0 or more"),
            "batch size": (self.batch_size >= 2, "2 or more"),
            "augmentation": (self.augmentation in AUGMENTATIONS, f"one of {', '.join(AUGMENTATIONS)}"),
        }
        for name, (right, expected) in checks.items():
            if not right:
                raise InputError(f"The {name} must be {expected}, got {getattr(self, name.replace(' ', '_'))}.")


PAPER_EPOCHS = {"mnist": 10, "fashion-mnist": 10, "svhn": 10}


def default_recipe(dataset: ImageDataset, imagenet: bool, **changes: Any) -> Recipe:
    """The paper's hyper-parameters (Table 10) from ImageNet weights; larger steps for a network from scratch.

    Table 10's learning rate of 0.001 is for fine-tuning. From random weights it learns too little in its 10 to 30
    epochs, so that 0.05 with momentum 0.9 and weight decay 5e-4 (He et al. 2016) is the default there.

    Args:
        dataset: gives epochs and augmentation.
        imagenet: whether training starts from ImageNet weights.
        changes: values that are not the default; None is ignored.
    """
    values: dict[str, Any] = {
        "epochs": PAPER_EPOCHS.get(dataset.name, 30),
        "batch_size": 128,
        "augmentation": dataset.augmentation,
        "seed": 0,
        "imagenet": imagenet,
    }
    if imagenet:
        values |= {"learning_rate": 0.001, "momentum": 0.5, "weight_decay": 0.0}
    else:
        values |= {"learning_rate": 0.05, "momentum": 0.9, "weight_decay": 5e-4}
    values |= {name: value for name, value in changes.items() if value is not None}
    return Recipe(**values)


@dataclass
class Run:
    """A training run between two epochs: all that is needed to go on.

    Attributes:
        model: the network.
        epoch: epochs that are done.
        momentum: the optimiser's buffers by parameter name.
        history: per epoch the mean training loss and accuracy (a fraction), and seconds.
    """

    model: nn.Module
    epoch: int = 0
    momentum: dict[str, Tensor] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)


def fit(
    run: Run,
    dataset: ImageDataset,
    recipe: Recipe,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    device: str = "cpu",
    checkpoint: Callable[[Run], None] = lambda run: None,
    progress: Progress = silent,
) -> Run:
    """Train from where `run` stands to the recipe's last epoch.

    Every epoch draws from generators seeded by the recipe's seed and the epoch's number, so that a run that goes on
    from a checkpoint takes the same steps as one that never stopped. The global random state is left as it was.

    Args:
        run: the network, and where it stands.
        dataset: its "train" split is learned.
        recipe: the hyper-parameters.
        mean, std: what the input is normalised with.
        device: a torch device.
        checkpoint: called after every epoch.
        progress: called after every step; it may raise to stop.

    Raises:
        TrainingError: when the loss stops being finite. Checkpoints of earlier epochs stay.
    """
    model = run.model.to(device)
    optimiser = torch.optim.SGD(
        model.parameters(), recipe.learning_rate, recipe.momentum, weight_decay=recipe.weight_decay
    )
    parameters = dict(model.named_parameters())
    for name, buffer in run.momentum.items():
        optimiser.state[parameters[name]]["momentum_buffer"] = buffer.to(device)
    source = _Source(dataset)
    steps = source.steps(recipe.batch_size)
    if steps == 0:
        raise InputError(f"The training split has {len(source.labels)} images; at least 2 are needed.")
    total = recipe.epochs * steps
    with torch.random.fork_rng(devices=[device] if device.startswith("cuda") else []):
        for epoch in range(run.epoch, recipe.epochs):
            started, loss_sum, right, seen = time.perf_counter(), 0.0, 0, 0
            model.train()
            torch.manual_seed(_seed(recipe.seed, epoch))
            for step, (pixels, labels) in enumerate(source.epoch(recipe, epoch)):
                done = epoch * steps + step
                for group in optimiser.param_groups:
                    group["lr"] = recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * done / total))
                inputs = normalise(pixels.to(device), mean, std)
                labels = labels.to(device)
                scores = model(inputs)
                loss = nn.functional.cross_entropy(scores, labels)
                value = loss.item()
                if not math.isfinite(value):
                    raise TrainingError(
                        f"The cross-entropy became {value} in epoch {epoch + 1} of {recipe.epochs}, step {step + 1}: "
                        f"training diverged. Use a lower learning rate than {recipe.learning_rate:g}. "
                        f"Checkpoints of finished epochs ({epoch}) are kept."
                    )
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                loss_sum += value * len(labels)
                right += int((scores.argmax(1) == labels).sum())
                seen += len(labels)
                progress(f"Epoch {epoch + 1}/{recipe.epochs} loss {loss_sum / seen:.4f}", done + 1, total)
            run.epoch = epoch + 1
            run.momentum = {
                name: optimiser.state[value]["momentum_buffer"]
                for name, value in parameters.items()
                if "momentum_buffer" in optimiser.state.get(value, {})
            }
            run.history.append(
                {"loss": loss_sum / seen, "accuracy": right / seen, "seconds": time.perf_counter() - started}
            )
            checkpoint(run)
    model.eval()
    return run


def _seed(seed: int, epoch: int) -> int:
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])


class _Source:
    """The training split's pixels: held decoded when they are small, else decoded again in every epoch."""

    def __init__(self, dataset: ImageDataset) -> None:
        self.dataset = dataset
        self.labels = torch.from_numpy(dataset.split("train").labels)
        size = len(self.labels) * dataset.channels * dataset.image_size**2
        self.pixels = None
        if size <= IN_MEMORY:
            self.pixels = torch.cat([pixels for pixels, _ in dataset.batches("train", 1024)])

    def steps(self, batch_size: int) -> int:
        """Batches in an epoch; a last batch of one image, which batch normalisation cannot take, is left out."""
        whole, rest = divmod(len(self.labels), batch_size)
        return whole + (rest > 1)

    def epoch(self, recipe: Recipe, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        order = np.random.default_rng([recipe.seed, epoch]).permutation(len(self.labels))
        order = order[: self.steps(recipe.batch_size) * recipe.batch_size]
        generator = torch.Generator().manual_seed(_seed(recipe.seed, epoch))
        for pixels, labels in self._batches(order, recipe.batch_size):
            yield (flip_crop(pixels, generator) if recipe.augmentation == "flip-crop" else pixels), labels

    def _batches(self, order: np.ndarray, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        if self.pixels is None:
            yield from self.dataset.batches("train", batch_size, order)
            return
        for start in range(0, len(order), batch_size):
            part = torch.from_numpy(order[start : start + batch_size])
            yield self.pixels[part], self.labels[part]


def flip_crop(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Flip each image with probability 0.5, pad it with `CROP_PADDING` black pixels and crop at random (paper A.1).

    Args:
        pixels: (N, C, H, W) uint8.
        generator: what chance is drawn from.

    Returns:
        (N, C, H, W) uint8.
    """
    n, _, height, width = pixels.shape
    padded = nn.functional.pad(pixels, [CROP_PADDING] * 4)
    top = torch.randint(0, 2 * CROP_PADDING + 1, (n, 1), generator=generator)
    left = torch.randint(0, 2 * CROP_PADDING + 1, (n, 1), generator=generator)
    flip = torch.rand((n, 1), generator=generator) < 0.5
    rows = top + torch.arange(height)
    across = torch.arange(width).expand(n, width)
    columns = left + torch.where(flip, width - 1 - across, across)
    image = torch.arange(n)
    return padded[image[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def run_arrays(run: Run) -> dict[str, np.ndarray]:
    """A run's tensors, for the store."""
    arrays = {f"model.{name}": value.detach().cpu().numpy() for name, value in run.model.state_dict().items()}
    return arrays | {f"momentum.{name}": value.detach().cpu().numpy() for name, value in run.momentum.items()}


def restore_run(model: nn.Module, arrays: Mapping[str, np.ndarray], epoch: int, history: list[dict[str, float]]) -> Run:
    """The run whose tensors `run_arrays` gave, in a network of the same architecture."""
    parts: dict[str, dict[str, Tensor]] = {"model": {}, "momentum": {}}
    for name, array in arrays.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = torch.from_numpy(np.array(array))
    model.load_state_dict(parts["model"])
    return Run(model, epoch, parts["momentum"], list(history))
