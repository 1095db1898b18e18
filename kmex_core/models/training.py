"""Training: one loop for all kinds of models, reproducible from a seed and resumable bit for bit."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kmex_core.base.errors import InputError, TrainingError
from kmex_core.base.progress import Event, Progress, silent
from kmex_core.data.network_input import normalise, unit_pixels
from kmex_core.data.preprocessing import Preprocessing
from kmex_core.data.registry import ImageDataset
from kmex_core.models.baseline import Baseline, Stage, checked_options
from kmex_core.models.kinds import MODEL_KINDS
from kmex_core.models.steps import RecordedSteps, Steps
from kmex_core.networks import architectures
from kmex_core.networks.memory import in_portions

IN_MEMORY = 256 * 2**20
EVALUATED = 128
READ_EVERY = 32
CROP_PADDING = 2
AUGMENTATIONS = ("none", "flip-crop")
OPTIMISERS = ("sgd", "adam")


@dataclass(frozen=True)
class Recipe:
    """Hyper-parameters of a training run (paper A.2 and Table 10).

    Attributes:
        epochs: passes over the training split.
        learning_rate: at the start; it falls to 0 along a half cosine.
        momentum: of SGD; not used by Adam.
        weight_decay: L2 penalty on all weights.
        batch_size: images per step.
        augmentation: "none", or "flip-crop": flip with probability 0.5, pad with 2 black pixels and crop (A.1).
        seed: of initial weights, order and augmentation.
        imagenet: start from trained weights: ImageNet's, or those of the source of a network from outside.
        kind: what is trained: a key of `MODEL_KINDS`.
        optimiser: "sgd" or "adam".
        k: prototypes per class of a baseline.
        options: of a baseline: its loss weights and stages by name; its defaults where they are missing.
    """

    epochs: int
    learning_rate: float
    momentum: float
    weight_decay: float
    batch_size: int
    augmentation: str
    seed: int
    imagenet: bool
    kind: str = "blackbox"
    optimiser: str = "sgd"
    k: int = 0
    options: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        checks = {
            "epochs": (self.epochs >= 1, "1 or more"),
            "learning rate": (0 < self.learning_rate < math.inf, "above 0"),
            "momentum": (0 <= self.momentum < 1, "in [0, 1)"),
            "weight decay": (0 <= self.weight_decay < math.inf, "0 or more"),
            "batch size": (self.batch_size >= 2, "2 or more"),
            "augmentation": (self.augmentation in AUGMENTATIONS, f"one of {', '.join(AUGMENTATIONS)}"),
            "optimiser": (self.optimiser in OPTIMISERS, f"one of {', '.join(OPTIMISERS)}"),
        }
        for name, (right, expected) in checks.items():
            if not right:
                raise InputError(f"The {name} must be {expected}, got {getattr(self, name.replace(' ', '_'))}.")


SHORT = ("mnist", "fashion-mnist", "svhn")  # Table 10 trains these for fewer epochs
K = 5


def default_recipe(
    dataset: ImageDataset, imagenet: bool, kind: str = "blackbox", outside: bool = False, **changes: Any
) -> Recipe:
    """The paper's hyper-parameters (Table 10); for a black box from scratch larger steps.

    Table 10's learning rate of 0.001 is for fine-tuning. From random weights, SGD learns too little in 10 to 30
    epochs, so 0.05 with momentum 0.9 and weight decay 5e-4 (He et al. 2016) is the default there. The baselines
    are trained by Adam.

    So are networks from outside, transformers among them, which SGD trains badly: from trained weights at 5e-5, the
    default of the `Trainer` of transformers for fine-tuning, from random ones at 5e-4, the base rate of DeiT (Touvron
    et al. 2021, Table 9; there for 512 images a step). Their batches are of 32 images: most take 224×224 pixels.

    Args:
        dataset: gives epochs and augmentation.
        imagenet: whether training starts from trained weights.
        kind: a key of `MODEL_KINDS`.
        outside: whether the network comes from outside this product.
        changes: values other than the defaults; None is ignored. `options` adds to the defaults of the kind.

    Raises:
        InputError: for a value out of range, an unknown kind, or an unknown option.
    """
    model_kind = MODEL_KINDS.named(kind)
    values: dict[str, Any] = {
        "epochs": model_kind.epochs[dataset.name not in SHORT],
        "batch_size": 128,
        "augmentation": dataset.augmentation,
        "seed": 0,
        "imagenet": imagenet,
        "kind": kind,
    }
    if kind != "blackbox":
        rate = model_kind.learning_rate
        values |= {"learning_rate": rate, "momentum": 0.0, "weight_decay": 0.0, "optimiser": "adam", "k": K}
    elif outside:
        rate = 5e-5 if imagenet else 5e-4
        values |= {"learning_rate": rate, "momentum": 0.0, "weight_decay": 0.0, "optimiser": "adam", "batch_size": 32}
    elif imagenet:
        values |= {"learning_rate": 0.001, "momentum": 0.5, "weight_decay": 0.0}
    else:
        values |= {"learning_rate": 0.05, "momentum": 0.9, "weight_decay": 5e-4}
    values |= {name: value for name, value in changes.items() if value is not None}
    if kind != "blackbox":
        network: type[Baseline] = model_kind.load()
        options = network.options_for(dataset.name) | dict(values.get("options", {}))
        values["options"] = checked_options(network, options)
    elif values.get("options"):
        raise InputError("A black box has no options.")
    return Recipe(**values)


def build(recipe: Recipe, backbone: str, classes: int, image_size: int) -> nn.Module:
    """The network of a recipe with its initial weights, by the name of a backbone.

    Raises:
        InputError: see `architectures.build`.
    """
    if recipe.kind == "blackbox":
        return architectures.build(backbone, classes, image_size, recipe.imagenet)
    kind = MODEL_KINDS[recipe.kind]
    return kind.build(backbone, classes, image_size, recipe.k, recipe.options, recipe.imagenet)


@dataclass
class Run:
    """The state of a training run between two epochs, sufficient to resume it.

    Attributes:
        model: the network.
        epoch: finished epochs.
        optimiser: its state, by parameter and name.
        history: per epoch the mean training loss with its terms by name, accuracy (a fraction), stage and seconds, and
            of prototypes that are compared by distance their `movement`.
        start: (K, D) such prototypes' initial values; None for other models.
    """

    model: nn.Module
    epoch: int = 0
    optimiser: dict[tuple[str, str], Tensor] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    start: Tensor | None = None


def compared_by_distance(model: nn.Module) -> Tensor | None:
    """(K, D) a copy of the built-in prototypes if the model compares them by distance, else None."""
    if not isinstance(model, Baseline) or model.similarity_from != "distance":
        return None
    return model.prototypes.detach().cpu().clone()


def movement(start: Tensor, now: Tensor) -> float:
    """How far prototypes have moved, in units of their initial spread, ≥ 0; below 1 they are close to where they began.

    The root mean square distance of each prototype to its start, over that of the starts to their mean.

    Args:
        start, now: (K, D).
    """
    spread = (start - start.mean(0)).square().sum(1).mean().sqrt()
    return float((now - start).square().sum(1).mean().sqrt() / spread.clamp(min=1e-12))


def fit(
    run: Run,
    dataset: ImageDataset,
    recipe: Recipe,
    preprocessing: Preprocessing,
    device: str = "cpu",
    checkpoint: Callable[[Run], None] = lambda run: None,
    progress: Progress = silent,
    recordable: bool = True,
) -> Run:
    """Train from the state of `run` to the recipe's last epoch.

    Every epoch uses generators seeded by the recipe's seed and the epoch's number: a resumed run takes the same steps
    as an uninterrupted one. The global random state is unchanged.

    Args:
        run: the network and its state.
        dataset: its "train" split is used.
        recipe: the hyper-parameters.
        preprocessing: of the network.
        device: a torch device.
        checkpoint: called after every epoch.
        progress: called after every step; it may raise to stop.
        recordable: whether the network's steps may be recorded on a GPU, see `RecordedSteps`.

    Raises:
        TrainingError: when the loss is not finite. Checkpoints of earlier epochs are kept.
    """
    model = run.model.to(device)
    parameters = dict(model.named_parameters())
    optimiser = _optimiser(recipe, parameters.values())
    for (name, key), value in run.optimiser.items():
        optimiser.state[parameters[name]][key] = value if key == "step" else value.to(device)
    on_gpu = torch.device(device).type == "cuda"
    source = _Source(dataset, device, preprocessing)
    steps = source.steps(recipe.batch_size)
    if steps == 0:
        raise InputError(f"Expected at least 2 training images, got {len(source.labels)}.")
    total = recipe.epochs * steps
    with torch.random.fork_rng(devices=[device] if device.startswith("cuda") else []):
        for epoch in range(run.epoch, recipe.epochs):
            started, seen, right = time.perf_counter(), 0, 0
            sums: dict[str, float] = {}
            stage = _begin(model, epoch, recipe.epochs)
            torch.manual_seed(_seed(recipe.seed, epoch))
            take = (RecordedSteps if on_gpu and recordable else Steps)(model, stage, optimiser)
            waiting: list[tuple[Tensor, Tensor, int]] = []
            for step, (pixels, labels) in enumerate(source.epoch(recipe, epoch)):
                done = epoch * steps + step
                for group in optimiser.param_groups:
                    group["lr"] = recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * done / total))
                pixels, labels = pixels.to(device), labels.to(device)
                inputs, plain = normalise(pixels, preprocessing), unit_pixels(pixels, preprocessing)
                waiting.append((*take(inputs, plain, labels), len(labels)))
                # reading a result waits for the GPU, so there it is done once for many steps
                if len(waiting) == (READ_EVERY if on_gpu else 1) or step + 1 == steps:
                    for found, correct, count in waiting:
                        values = dict(zip(take.names, found.tolist(), strict=True))
                        _check_finite(values, epoch, step, recipe)
                        for name, value in values.items():
                            sums[name] = sums.get(name, 0.0) + value * count
                        right += int(correct)
                        seen += count
                    waiting.clear()
                means = {name: value / max(seen, 1) for name, value in sums.items()}
                progress(
                    Event(
                        "Epoch",
                        done + 1,
                        total,
                        group=stage.name if stage is not None else "",
                        part=epoch + 1,
                        parts=recipe.epochs,
                        values={"loss": sum(sums.values()) / max(seen, 1), **(means if stage is not None else {})},
                    )
                )
            if isinstance(model, Baseline):
                model.after_epoch(epoch, recipe.epochs, lambda: _embedded(model, dataset, preprocessing, device))
            run.epoch = epoch + 1
            run.optimiser = {
                (name, key): value
                for name, parameter in parameters.items()
                for key, value in optimiser.state.get(parameter, {}).items()
                if isinstance(value, Tensor)
            }
            mean_terms = {name: value / seen for name, value in sums.items()}
            run.history.append(
                {
                    "loss": sum(mean_terms.values()),
                    "accuracy": right / seen,
                    "seconds": time.perf_counter() - started,
                    **({} if stage is None else {"stage": stage.name, "terms": mean_terms}),
                    **_movement(run),
                }
            )
            checkpoint(run)
    model.requires_grad_()
    model.eval()
    return run


def _movement(run: Run) -> dict[str, float]:
    now = compared_by_distance(run.model)
    return {} if run.start is None or now is None else {"movement": movement(run.start, now)}


def _check_finite(values: Mapping[str, float], epoch: int, step: int, recipe: Recipe) -> None:
    broken = [name for name, value in values.items() if not math.isfinite(value)]
    if broken:
        raise TrainingError(
            f"The {broken[0]} became {values[broken[0]]} in epoch {epoch + 1} of {recipe.epochs}, step "
            f"{step + 1}: training diverged. Use a lower learning rate than {recipe.learning_rate:g}. "
            f"Checkpoints of finished epochs ({epoch}) are kept."
        )


def _optimiser(recipe: Recipe, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    if recipe.optimiser == "adam":
        return torch.optim.Adam(parameters, recipe.learning_rate, weight_decay=recipe.weight_decay)
    return torch.optim.SGD(parameters, recipe.learning_rate, recipe.momentum, weight_decay=recipe.weight_decay)


def _begin(model: nn.Module, epoch: int, epochs: int) -> Stage | None:
    """Set a model's mode for an epoch; for a baseline, train only the modules of its stage."""
    model.train()
    if not isinstance(model, Baseline):
        return None
    stage = model.stage(epoch, epochs)

    def trained(name: str) -> bool:
        return any(name == part or name.startswith(f"{part}.") for part in stage.trained)

    for name, parameter in model.named_parameters():
        parameter.requires_grad_(trained(name))
        parameter.grad = None
    for name, module in model.named_modules():
        module.training = not name or trained(name) or any(part.startswith(f"{name}.") for part in stage.trained)
    return stage


def _embedded(
    model: Baseline, dataset: ImageDataset, preprocessing: Preprocessing, device: str
) -> tuple[Tensor, Tensor]:
    """The training split's embedding in evaluation mode, without augmentation, and its labels."""
    model.eval()
    parts, labels = [], []
    with torch.no_grad():
        for pixels, batch in dataset.batches("train", EVALUATED):
            parts.append(in_portions(model.encoder, normalise(pixels.to(device), preprocessing)))
            labels.append(batch)
    return torch.cat(parts), torch.cat(labels).to(device)


def _seed(seed: int, epoch: int) -> int:
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])


class _Source:
    """The training split's pixels: held decoded on the device if small, otherwise decoded in every epoch."""

    def __init__(self, dataset: ImageDataset, device: str, preprocessing: Preprocessing) -> None:
        self.dataset, self.device, self.preprocessing = dataset, device, preprocessing
        self.labels = torch.from_numpy(dataset.split("train").labels)
        shape = (len(self.labels), preprocessing.channels, *preprocessing.size)
        self.pixels = None
        if math.prod(shape) <= IN_MEMORY:
            self.pixels, start = torch.empty(shape, dtype=torch.uint8), 0
            for pixels, _ in dataset.batches("train", 64, preprocessing=preprocessing):
                self.pixels[start : start + len(pixels)] = pixels
                start += len(pixels)
            self.pixels, self.labels = self.pixels.to(device), self.labels.to(device)

    def steps(self, batch_size: int) -> int:
        """Batches per epoch; a last batch of one image is dropped, since batch normalisation cannot process it."""
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
            yield from self.dataset.batches("train", batch_size, order, self.preprocessing)
            return
        for part in torch.from_numpy(order).to(self.device).split(batch_size):
            yield self.pixels[part], self.labels[part]


def flip_crop(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Flip each image with probability 0.5, pad it with `CROP_PADDING` black pixels and crop at random (paper A.1).

    Args:
        pixels: (N, C, H, W) uint8.
        generator: source of randomness.

    Returns:
        (N, C, H, W) uint8.
    """
    n, _, height, width = pixels.shape
    padded = nn.functional.pad(pixels, [CROP_PADDING] * 4)
    top = torch.randint(0, 2 * CROP_PADDING + 1, (n, 1), generator=generator)
    left = torch.randint(0, 2 * CROP_PADDING + 1, (n, 1), generator=generator)
    flip = torch.rand((n, 1), generator=generator) < 0.5
    across = torch.arange(width).expand(n, width)
    # the draws are made on the CPU, so that they are the same on every device
    rows = (top + torch.arange(height)).to(pixels.device)
    columns = (left + torch.where(flip, width - 1 - across, across)).to(pixels.device)
    image = torch.arange(n, device=pixels.device)
    return padded[image[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def run_arrays(run: Run) -> dict[str, np.ndarray]:
    """A run's tensors, for the store."""
    arrays = {f"model.{name}": value.detach().cpu().numpy() for name, value in run.model.state_dict().items()}
    state = {f"optimiser.{name}/{key}": value.detach().cpu().numpy() for (name, key), value in run.optimiser.items()}
    return arrays | state


def restore_run(model: nn.Module, arrays: Mapping[str, np.ndarray], epoch: int, history: list[dict[str, Any]]) -> Run:
    """The inverse of `run_arrays`, for a network of the same architecture.

    Raises:
        InputError: for a network of another architecture.
    """
    tensors = {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
    try:
        model.load_state_dict(
            {name.removeprefix("model."): value for name, value in tensors.items() if name.startswith("model.")}
        )
    except RuntimeError as error:
        raise InputError(
            "The network is built otherwise than when its training began. Start it again with --overwrite."
        ) from error
    optimiser = {}
    for name, value in tensors.items():
        if name.startswith("optimiser."):
            parameter, _, key = name.removeprefix("optimiser.").rpartition("/")
            optimiser[parameter, key] = value
    return Run(model, epoch, optimiser, list(history))
