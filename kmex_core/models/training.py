"""Training: one loop for all kinds of models, reproducible from a seed and resumable bit for bit."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kmex_core.base.errors import InputError, TrainingError
from kmex_core.base.progress import Event, Progress, silent
from kmex_core.data.network_input import normalise
from kmex_core.data.preprocessing import Preprocessing
from kmex_core.data.registry import ImageDataset
from kmex_core.models.baseline import Baseline, Stage, checked_options
from kmex_core.models.kinds import MODEL_KINDS
from kmex_core.models.precision import FLOAT32, PRECISIONS, computing, memory_layout
from kmex_core.models.steps import Images, RecordedSteps, Steps
from kmex_core.models.training_images import TrainingImages, epoch_seed
from kmex_core.networks import architectures
from kmex_core.networks.memory import in_portions

EVALUATED = 128
READ_EVERY = 32
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
        precision: in which networks compute, see `precision.computing`: "float32", or "bfloat16" with channels last.
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
    precision: str = FLOAT32

    def __post_init__(self) -> None:
        checks = {
            "epochs": (self.epochs >= 1, "1 or more"),
            "learning rate": (0 < self.learning_rate < math.inf, "above 0"),
            "momentum": (0 <= self.momentum < 1, "in [0, 1)"),
            "weight decay": (0 <= self.weight_decay < math.inf, "0 or more"),
            "batch size": (self.batch_size >= 2, "2 or more"),
            "augmentation": (self.augmentation in AUGMENTATIONS, f"one of {', '.join(AUGMENTATIONS)}"),
            "optimiser": (self.optimiser in OPTIMISERS, f"one of {', '.join(OPTIMISERS)}"),
            "precision": (self.precision in PRECISIONS, f"one of {', '.join(PRECISIONS)}"),
        }
        for name, (right, expected) in checks.items():
            if not right:
                raise InputError(f"The {name} must be {expected}, got {getattr(self, name.replace(' ', '_'))}.")

    def described(self) -> dict[str, Any]:
        """Its values by name; `precision`, which earlier versions did not have, only where it is not theirs."""
        values = dataclasses.asdict(self)
        if self.precision == FLOAT32:
            del values["precision"]
        return values


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
    layout = memory_layout(recipe.precision, device)
    model = run.model.to(device)
    if layout is not None:
        model = model.to(memory_format=layout)
    parameters = dict(model.named_parameters())
    optimiser = _optimiser(recipe, parameters.values())
    for (name, key), value in run.optimiser.items():
        optimiser.state[parameters[name]][key] = value if key == "step" else _placed(value, device, layout)
    on_gpu = torch.device(device).type == "cuda"
    kind_of_steps = RecordedSteps if on_gpu and recordable else Steps
    source, images = TrainingImages(dataset, device, preprocessing), Images(preprocessing, device, layout)
    if source.steps(recipe.batch_size) == 0:
        raise InputError(f"Expected at least 2 training images, got {len(source.labels)}.")
    take: Steps | None = None
    with torch.random.fork_rng(devices=[device] if device.startswith("cuda") else []):
        for epoch in range(run.epoch, recipe.epochs):
            started = time.perf_counter()
            stage = _begin(model, epoch, recipe.epochs)
            torch.manual_seed(epoch_seed(recipe.seed, epoch))
            if take is None or take.stage != stage:  # what is recorded serves as long as the same is trained
                take = kind_of_steps(model, stage, optimiser, images)
            with computing(model, recipe.precision):
                sums = _epoch(take, source, recipe, epoch, READ_EVERY if on_gpu else 1, progress)
            if isinstance(model, Baseline):
                model.after_epoch(epoch, recipe.epochs, lambda: _embedded(model, source, preprocessing))
            run.epoch = epoch + 1
            run.optimiser = {
                (name, key): value
                for name, parameter in parameters.items()
                for key, value in optimiser.state.get(parameter, {}).items()
                if isinstance(value, Tensor)
            }
            run.history.append(
                {
                    "loss": sum(sums.means.values()),
                    "accuracy": sums.right / sums.seen,
                    "seconds": time.perf_counter() - started,
                    **({} if stage is None else {"stage": stage.name, "terms": sums.means}),
                    **_movement(run),
                }
            )
            checkpoint(run)
    if layout is not None:
        model.to(memory_format=torch.contiguous_format)
    model.requires_grad_()
    model.eval()
    return run


def _placed(value: Tensor, device: str, layout: torch.memory_format | None) -> Tensor:
    """An optimiser's state of a parameter, where and as the parameter is."""
    value = value.to(device)
    return value.contiguous(memory_format=layout) if layout is not None and value.dim() == 4 else value


class _Sums:
    """The loss terms and the right predictions of an epoch so far.

    Attributes:
        seen: images.
        right: of them, how many were classified correctly.
    """

    def __init__(self) -> None:
        self.seen = self.right = 0
        self._terms: dict[str, float] = {}

    def add(self, terms: Mapping[str, float], right: int, count: int) -> None:
        """Add a step's mean loss terms over `count` images."""
        for name, value in terms.items():
            self._terms[name] = self._terms.get(name, 0.0) + value * count
        self.right += right
        self.seen += count

    @property
    def loss(self) -> float:
        """The mean loss; 0 before the first step."""
        return sum(self._terms.values()) / max(self.seen, 1)

    @property
    def means(self) -> dict[str, float]:
        """The mean of each loss term."""
        return {name: value / max(self.seen, 1) for name, value in self._terms.items()}


def _epoch(
    take: Steps, source: TrainingImages, recipe: Recipe, epoch: int, read_every: int, progress: Progress
) -> _Sums:
    """Take the steps of an epoch.

    Args:
        take: takes a step.
        source: the images.
        recipe: the hyper-parameters.
        epoch: its number.
        read_every: reading a result waits for a GPU, so there it is done once for so many steps.
        progress: called after every step.
    """
    sums = _Sums()
    steps = source.steps(recipe.batch_size)
    total = recipe.epochs * steps
    waiting: list[tuple[Tensor, Tensor, int]] = []
    augmented = recipe.augmentation == "flip-crop"
    for step, (pixels, labels) in enumerate(source.epoch(epoch, recipe.seed, recipe.batch_size, augmented)):
        done = epoch * steps + step
        for group in take.optimiser.param_groups:
            group["lr"] = recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * done / total))
        waiting.append((*take(pixels.to(source.device), labels.to(source.device)), len(labels)))
        if len(waiting) == read_every or step + 1 == steps:
            terms, right, counts = zip(*waiting, strict=True)
            both = zip(torch.stack(terms).tolist(), torch.stack(right).tolist(), counts, strict=True)
            for values, correct, count in both:
                named = dict(zip(take.names, values, strict=True))
                _check_finite(named, epoch, step, recipe)
                sums.add(named, correct, count)
            waiting.clear()
        progress(
            Event(
                "Epoch",
                done + 1,
                total,
                group=take.stage.name if take.stage is not None else "",
                part=epoch + 1,
                parts=recipe.epochs,
                values={"loss": sums.loss, **(sums.means if take.stage is not None else {})},
            )
        )
    return sums


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


def _embedded(model: Baseline, source: TrainingImages, preprocessing: Preprocessing) -> tuple[Tensor, Tensor]:
    """The training split's embedding in evaluation mode, without augmentation, and its labels."""
    model.eval()
    parts, labels = [], []
    with torch.no_grad():
        for pixels, batch in source.in_order(EVALUATED):
            parts.append(in_portions(model.encoder, normalise(pixels.to(source.device), preprocessing)))
            labels.append(batch)
    return torch.cat(parts), torch.cat(labels).to(source.device)


def _array(value: Tensor) -> np.ndarray:
    array: np.ndarray = value.detach().cpu().contiguous().numpy()
    return array


def run_arrays(run: Run) -> dict[str, np.ndarray]:
    """A run's tensors, for the store."""
    arrays = {f"model.{name}": _array(value) for name, value in run.model.state_dict().items()}
    state = {f"optimiser.{name}/{key}": _array(value) for (name, key), value in run.optimiser.items()}
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
