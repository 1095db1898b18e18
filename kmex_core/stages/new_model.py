"""A model from outside on images from outside: what is found and decided at each step, then kept in the store."""

from __future__ import annotations

import datetime
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from kmex_core.base.errors import InputError
from kmex_core.base.phrases import first_few
from kmex_core.base.progress import Event, Progress, silent
from kmex_core.base.provenance import versions
from kmex_core.base.specs import DatasetSpec
from kmex_core.base.store import Store, checked_name
from kmex_core.data.dataset import ImageDataset
from kmex_core.data.opened import dataset
from kmex_core.data.preprocessing import Preprocessing
from kmex_core.models import catalogue
from kmex_core.models.info import AT_CHANCE, RANDOM, TEST_IS_TRAINING, ModelInfo
from kmex_core.networks.output_names import joined, matched, plain, separated
from kmex_core.stages import outside
from kmex_core.stages.embedding import BATCH
from kmex_core.stages.input_check import InputCheck, checked_input
from kmex_core.stages.statistics import PixelStatistics, Statistics
from kmex_core.stages.training_runs import root_to_keep

if TYPE_CHECKING:
    from torch import nn

    from kmex_core.networks.architecture_source import Proposal
    from kmex_core.networks.splitting import SplitModel

AUTO, NONE, IMAGENET = "auto", "none", "imagenet"
MOST_JSON = 2**20


@dataclass(frozen=True)
class NewRequest:
    """A model from outside.

    Attributes:
        name: its name in the store.
        model: its source and name, see `architectures.source_of`; a plain name is one of torchvision.
        images: the data set.
        weights: a file with its weights; those of its source when None.
        head: the dotted name of its head, `NONE` for an encoder; found when empty.
        classes: `AUTO`; `NONE` to use its encoder alone; or the names of its outputs in their order, with commas (see
            `output_names.joined`), or a file that has one in each line.
        preprocess: `AUTO`, `IMAGENET`, or a JSON file: a `Preprocessing`, or transformers' preprocessor_config.json.
        command: for provenance.
    """

    name: str
    model: str
    images: DatasetSpec
    weights: Path | None = None
    head: str = ""
    classes: str = AUTO
    preprocess: str = AUTO
    command: str = ""


@dataclass(frozen=True)
class Step:
    """What was found and decided.

    Attributes:
        title: of the step.
        text: in a sentence or two.
        warning: whether a person should look at it.
        hint: the option of the command that changes it.
    """

    title: str
    text: str
    warning: bool = False
    hint: str = ""


@dataclass(frozen=True, eq=False)
class NewModel:
    """A model that is decided, but not kept yet.

    Attributes:
        info: its description.
        module: the network with its weights.
        data: the data set.
        steps: what was found and decided, in order.
        check: its accuracy on held-out images; None if it predicts none of the classes.
        dimensions: D of its embedding.
        output_names: of all its outputs in order; empty if its source does not know.
    """

    info: ModelInfo
    module: nn.Module
    data: ImageDataset
    steps: tuple[Step, ...]
    check: InputCheck | None
    dimensions: int
    output_names: tuple[str, ...] = ()


def decided(
    store: Store, request: NewRequest, device: str = "cpu", progress: Progress = silent, keeping: bool = True
) -> NewModel:
    """Open the images, build the network and decide everything else, or refuse; the model is not kept.

    Args:
        store: keeps what is measured of the images.
        request: the model.
        device: a torch device.
        progress: called during measurements.
        keeping: whether the store may be written to at all.

    Raises:
        InputError: when the images or the network cannot be used, with what to change.
    """
    import torch

    from kmex_core.networks import trust

    name = checked_name(request.name)
    data = dataset(request.images, progress)
    steps = [_images_step(data)]
    backbone = request.model if ":" in request.model else f"torchvision:{request.model}"
    progress(Event("Building the network", 0, 0))
    proposal, step = _network(backbone, request, data)
    steps.append(step)
    statistics = PixelStatistics(store, data, progress)
    measured = statistics.get if keeping else lambda: statistics.peek() or statistics.make()
    preprocessing, step = _preprocessing(request, proposal, data, measured)
    steps.append(step)
    proposal.module.eval().to(device)
    progress(Event("Running the network on a few images", 0, 0))
    parts, head_path, outputs, step = _parts(request, proposal, data, preprocessing, device)
    steps.append(step)
    class_outputs, step = _classes(request, proposal, outputs, data)
    steps.append(step)
    info = ModelInfo(
        name=name,
        kind="blackbox",
        dataset=data.name,
        root=root_to_keep(request.images),
        backbone=backbone,
        class_names=data.class_names,
        preprocessing=preprocessing,
        accuracy=None,
        made_by={
            "command": request.command,
            "imported": {"file": request.weights.name if request.weights else backbone, "command": request.command},
            "data": data.fingerprint,
            TEST_IS_TRAINING: data.test_from == "held out" and bool(class_outputs) and request.weights is not None,
            # a function of the user's own brings what weights it likes
            RANDOM: not (proposal.pretrained or request.weights or trust.is_function(backbone)),
            "versions": versions(),
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        },
        class_column=data.class_column,
        skip_broken=request.images.skip_broken,
        image_column=request.images.image_column,
        details=proposal.details,
        head_path=head_path,
        outputs=outputs,
        class_outputs=class_outputs,
    )
    check = None
    if info.predicts:
        own = parts.predicting(class_outputs, len(data.class_names))
        check = checked_input(own, data, preprocessing, device, progress)
        steps.append(_check_step(check, info))
        info = replace(info, accuracy=check.accuracy, made_by={**info.made_by, AT_CHANCE: check.at_chance})
    proposal.module.to(torch.device("cpu"))
    names = proposal.class_names if len(proposal.class_names) == outputs else ()
    return NewModel(info, proposal.module, data, tuple(steps), check, parts.head.in_features, names)


def keep(store: Store, new: NewModel, overwrite: bool = False) -> ModelInfo:
    """Put a decided model into the store.

    Raises:
        InputError: when its name is taken.
        StoreError: when the store cannot be written.
    """
    name = new.info.name
    with catalogue.claimed(store, name):
        catalogue.check_free(store, name, name if overwrite else "", "Choose another name, or overwrite it.")
        catalogue.save(store, new.info, new.module)
        catalogue.remove_run(store, name)
    return catalogue.describe(store, name)


def expected_cost(new: NewModel, device: str = "cpu") -> tuple[float, int]:
    """Seconds and bytes that the embedding of all images will take, about, from the first few."""
    import torch

    from kmex_core.networks.memory import budget, bytes_per_row

    data, preprocessing, module = new.data, new.info.preprocessing, new.module.to(device)
    parts = catalogue.split(new.info, module)
    images = sum(map(len, data.splits.values()))
    started = time.perf_counter()
    example = outside.example(data, preprocessing, device)
    with torch.no_grad():
        parts.encoder(example)
    seconds = (time.perf_counter() - started) / len(example) * images
    weights = sum(value.numel() * value.element_size() for value in module.state_dict().values())
    batch = min(budget(device), BATCH * bytes_per_row(parts.encoder, example.repeat(3, 1, 1, 1)[:3]))
    return seconds, weights + batch + images * parts.head.in_features * 4


# ---- the steps ------------------------------------------------------------------------------------------------------


def _images_step(data: ImageDataset) -> Step:
    counts = ", ".join(f"{len(split):,} {name}" for name, split in data.splits.items())
    classes = first_few([f"'{name}'" for name in data.class_names])
    left_out = sum(item.count for item in data.left_out)
    text = f"{counts} images of {len(data.class_names)} classes ({classes}). {' '.join(data.notes)}".strip()
    return Step("Images", text + (f" {left_out:,} files are left out." if left_out else ""))


def _network(backbone: str, request: NewRequest, data: ImageDataset) -> tuple[Proposal, Step]:
    """The network with its weights."""
    from kmex_core.networks import architectures, trust
    from kmex_core.networks.checkpoints import read_checkpoint
    from kmex_core.networks.matching import classes_in, converted, match

    state = read_checkpoint(request.weights) if request.weights else None
    # a source's own weights have its own number of classes; a function is asked for the right one
    own = state is None and not trust.is_function(backbone)
    outputs = None if own else len(_named_outputs(request.classes) or data.class_names)
    proposal = architectures.propose(backbone, outputs, state is not None)
    words = f"{backbone}, {_size_of(proposal.module)}"
    if state is None:
        kept = "with its source's weights" if proposal.pretrained else "with random weights: it was never trained"
        if trust.is_function(backbone):
            return proposal, Step("Network", f"{words}, as the function returned it.")
        return proposal, Step("Network", " ".join((f"{words}, {kept}.", *proposal.notes)), not proposal.pretrained)
    assert request.weights is not None
    assert outputs is not None
    where = request.weights
    what = f"The weights in {where.name}"
    fitted = match(state, proposal.module)
    others = classes_in(fitted, proposal.module, outputs, what)
    if others is not None:  # the network gets as many classes as the file has
        proposal = architectures.propose(backbone, others, own_weights=True)
        fitted = match(state, proposal.module)
    catalogue.load_state(proposal.module, converted(fitted.state, proposal.module, what), what)
    proposal = replace(proposal, pretrained=True)
    return proposal, Step("Network", " ".join((f"{words}, with the weights in {where.name}.", *proposal.notes)))


def _size_of(module: nn.Module) -> str:
    count = sum(value.numel() for value in module.parameters()) or sum(value.numel() for value in module.buffers())
    return f"{count / 1e6:,.1f} million weights" if count >= 50_000 else f"{count:,} weights"


def _preprocessing(
    request: NewRequest, proposal: Proposal, data: ImageDataset, statistics: Callable[[], Statistics]
) -> tuple[Preprocessing, Step]:
    """From a picture to the network's input, and where that is known from."""
    from kmex_core.networks.given_preprocessing import imagenet, read_preprocessing

    given, why = proposal.preprocessing, "as its source says"
    if request.preprocess == IMAGENET:
        given, why = imagenet(*((given.height, given.width) if given else (224, 224))), "as usual for ImageNet"
    elif request.preprocess != AUTO:
        given, why = read_preprocessing(Path(request.preprocess)), f"as {Path(request.preprocess).name} says"
    elif given is None:
        given = outside.by_statistics(proposal, data, statistics)
        why = "by the training images' mean and deviation, because its source does not say: check it"
    return given, Step("Preprocessing", f"{given.words()}; {why}.", "check it" in why)


def _parts(
    request: NewRequest, proposal: Proposal, data: ImageDataset, preprocessing: Preprocessing, device: str
) -> tuple[SplitModel, str, int, Step]:
    """Encoder and head, found by running the network on a few images; the path and the outputs to keep."""
    from kmex_core.networks.encoders import MEAN

    parts, head_path, outputs = outside.parts(proposal, data, preprocessing, request.head, device)
    if not outputs and request.head in ("", NONE):
        what = "the mean of whose tokens" if head_path == MEAN else "whose output"
        text = f"None: it is an encoder, {what} is the embedding of {parts.head.in_features} dimensions."
    else:
        text = (
            f"'{head_path}' ({type(proposal.module.get_submodule(head_path.split('+')[0])).__name__}), "
            f"{parts.head.in_features} dimensions to {parts.head.out_features} class scores."
        )
    return parts, head_path, outputs, Step("Head", text)


def _classes(request: NewRequest, proposal: Proposal, outputs: int, data: ImageDataset) -> tuple[tuple[int, ...], Step]:
    """The number of each class among the outputs; none where no output is a class."""
    names, title = data.class_names, "Classes"
    if outputs == 0:
        return (), Step(title, f"The {len(names)} of the images; the network predicts none of them.")
    given = _named_outputs(request.classes) or list(proposal.class_names)
    if request.classes == NONE:
        return (), Step(title, "Its own are not used, as asked: its encoder and the classes of the images.")
    if _named_outputs(request.classes) and len(given) != outputs:
        raise InputError(f"{len(given)} names of classes are given, but the network has {outputs} outputs.")
    if len(given) == outputs and (found := matched(names, given)) is not None:
        if found == tuple(range(outputs)):
            return found, Step(title, f"All {outputs} outputs, in order, by their names.")
        return found, Step(title, f"{len(names)} of its {outputs} outputs, by their names.")
    if _named_outputs(request.classes):
        missing = [name for name in names if plain(name) not in set(map(plain, given))]
        raise InputError(f"The given names lack classes of the images: {first_few(missing)}.")
    if outputs == len(names):
        return tuple(range(outputs)), Step(
            title, f"Its {outputs} outputs are taken as the classes of the images in alphabetical order."
        )
    trained = "was trained on" if proposal.pretrained else "is for"
    text = f"It {trained} {outputs} other classes, so only its encoder is used, and no black box stands beside KMEx."
    return (), Step(title, text, hint="If its outputs are your classes by other names, name them with --classes.")


def _named_outputs(classes: str) -> list[str]:
    if classes in (AUTO, NONE):
        return []
    path = Path(classes)
    if "," not in classes and path.is_file():
        if path.stat().st_size > MOST_JSON:
            raise InputError(f"{path} has more than {MOST_JSON // 2**20} MB; expected one class name in each line.")
        return [line.strip() for line in path.read_text("utf-8", "replace").splitlines() if line.strip()]
    return separated(classes)


def names_of_outputs(class_names: Sequence[str], class_outputs: Sequence[int], outputs: int) -> list[str]:
    """Names for all outputs, for `NewRequest.classes`: of each class at its output, and of none at the others."""
    names = [f"(output {number})" for number in range(outputs)]
    for name, output in zip(class_names, class_outputs, strict=True):
        names[output] = name
    return names


def reordered(check: InputCheck, info: ModelInfo) -> tuple[int, ...]:
    """The number of each class among the network's outputs in the order that the check suggests; empty for none."""
    return tuple(info.class_outputs[at] for at in check.outputs)


def _check_step(check: InputCheck, info: ModelInfo) -> Step:
    text = (
        f"{check.accuracy:.1%} of {check.images:,} held-out images are classified correctly by the network itself "
        f"(guessing: {check.chance:.1%})."
    )
    if not check.at_chance:
        return Step("Check", text)
    text += " That is hardly more than by chance."
    if check.outputs:
        names = names_of_outputs(info.class_names, reordered(check, info), info.outputs or 0)
        text += (
            f" With its outputs in another order, {check.accuracy_reordered:.1%} of the images that the order was not "
            f"found on are: --classes {shlex.quote(joined(names))}."
        )
    elif check.better:
        words, _, share = check.better[0]
        text += f" With {words}, {share:.1%} are: pass that with --preprocess."
    else:
        text += " Neither another order of the classes nor the usual other preprocessings help. Is it trained on these?"
    return Step("Check", text, warning=True)
