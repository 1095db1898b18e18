"""The models in the store: trained weights with everything needed to use them, one safetensors file each."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from kmex_core.base.errors import InputError, StoreError, unknown_name
from kmex_core.base.files import digest, move_file, read_description, read_file, remove_file
from kmex_core.base.location import SHIPPED
from kmex_core.base.store import Store, checked_name
from kmex_core.data.preprocessing import Preprocessing
from kmex_core.models.info import ModelInfo
from kmex_core.models.kinds import MODEL_KINDS

if TYPE_CHECKING:
    import torch
    from torch import nn

    from kmex_core.networks.splitting import SplitModel

ROOM = "models"
# checkpoints of unfinished trainings: after an odd number of epochs, and after an even one
RUNS = ("runs", "runs-even")


@dataclass(frozen=True, eq=False)
class BlackBox:
    """A classifier from the store, in evaluation mode.

    Attributes:
        info: its description.
        model: the whole classifier, images (N, 3, S, S) to class scores (N, C).
        encoder, head: its two parts, which share its parameters: images to embeddings (N, D), and those to class
            scores. The head of a black box is a Linear layer, a prototypical model's has `relevance` instead.
        head_path: the head's dotted name in the classifier.
    """

    info: ModelInfo
    model: nn.Module
    encoder: nn.Module
    head: nn.Module
    head_path: str


def path_of(store: Store, name: str) -> Path:
    """The file of the model `name`: in the store, else among those that ship with the product.

    Raises:
        InputError: when there is none; the message suggests the nearest names.
    """
    for path in (store.path(ROOM, name), SHIPPED / f"{checked_name(name)}.safetensors"):
        if path.is_file():
            return path
    raise unknown_name("model", name, known_names(store), "Train one with `python -m kmex_core train`.")


def known_names(store: Store) -> list[str]:
    """The names of all models."""
    return sorted({*store.names(ROOM), *(path.stem for path in SHIPPED.glob("*.safetensors"))})


def describe(store: Store, name: str) -> ModelInfo:
    """The description of a model, without reading its weights.

    Raises:
        InputError: for an unknown name.
        StoreError: when its file is damaged.
    """
    path, description = _described(store, name)
    return info_of(description, name, path)


def weights_key(store: Store, name: str) -> str:
    """The fingerprint of a model's weights, without reading them.

    Raises:
        InputError: for an unknown name.
        StoreError: when its file is damaged.
    """
    path, description = _described(store, name)
    try:
        return str(description["weights"])
    except KeyError:
        raise StoreError(f"{path} is not a model: its header names no weights.") from None


def _described(store: Store, name: str) -> tuple[Path, dict[str, Any]]:
    path = path_of(store, name)
    try:
        return path, read_description(path)
    except FileNotFoundError:  # deleted or renamed since
        return (path := path_of(store, name)), read_description(path)


def info_of(description: Mapping[str, Any], name: str, path: Path) -> ModelInfo:
    """A model's description from the header of its file.

    Raises:
        StoreError: when this version cannot read it.
    """
    try:
        values = dict(description["model"])
        values["class_names"] = tuple(values["class_names"])
        values["class_outputs"] = tuple(values.get("class_outputs", ()))
        if "preprocessing" in values:
            values["preprocessing"] = Preprocessing.from_description(values["preprocessing"])
        else:  # of a version whose networks were all given squares
            old = [values.pop(field) for field in ("image_size", "channels", "mean", "std")]
            values["preprocessing"] = Preprocessing.plain(*old)
        return ModelInfo(**{**values, "name": name, "embedded": path.parent == SHIPPED})
    except (InputError, KeyError, TypeError) as error:
        raise StoreError(f"{path} is not a model that this version can read ({error}).") from error


def exported(store: Store, name: str) -> bytes:
    """The file of a model, checked against its digest, for `import` on another machine.

    Raises:
        InputError: for an unknown name.
        StoreError: when it is damaged.
    """
    path = path_of(store, name)
    read_file(path)
    return path.read_bytes()


def list_models(store: Store) -> tuple[list[ModelInfo], list[str]]:
    """All models, and a message for each file that cannot be read."""
    infos, broken = [], []
    for name in known_names(store):
        try:
            infos.append(describe(store, name))
        except InputError:
            continue  # deleted or renamed since the names were read
        except StoreError as error:
            broken.append(str(error))
    return infos, broken


_claims = threading.local()


@contextlib.contextmanager
def claimed(store: Store, *names: str) -> Iterator[None]:
    """Hold the locks of these names to create, replace, rename or remove models and unfinished trainings.

    A name must be claimed from the last check of its state to the last write. A thread may claim a name repeatedly.

    Raises:
        InputError: while another process or thread holds one of them, or for an impossible name.
        StoreError: when the store cannot be written.
    """
    held: set[tuple[Path, str]] = _claims.__dict__.setdefault("held", set())
    with contextlib.ExitStack() as stack:
        for lower, name in sorted({checked_name(name).lower(): name for name in names}.items()):  # in one order for all
            if (store.root, lower) in held:
                continue
            busy = (
                f"A model named '{name}' is being trained or imported right now, or changed by another process. Wait "
                "until it has finished, stop it, or choose another name."
            )
            stack.enter_context(store.locked(RUNS[0], lower, busy))
            held.add((store.root, lower))
            stack.callback(held.discard, (store.root, lower))
        yield


def has_run(store: Store, name: str) -> bool:
    """Whether there are checkpoints of a training of this name that has not ended."""
    return any(store.path(room, name).is_file() for room in RUNS)


def remove_run(store: Store, name: str) -> None:
    """Remove the checkpoints of a training, the older one first. The caller has claimed the name.

    Raises:
        StoreError: when the store cannot be written.
    """
    paths = [path for room in RUNS if (path := store.path(room, name)).is_file()]
    try:
        for path in sorted(paths, key=lambda path: path.stat().st_mtime_ns):
            remove_file(path)
    except OSError as error:
        raise StoreError(f"The checkpoints of '{name}' cannot be removed: {error.strerror or error}.") from error


def check_free(store: Store, name: str, but: str = "", hint: str = "Choose another name.") -> None:
    """Make sure that neither a model nor an unfinished training has this name, ignoring case.

    Names that differ only in case are the same file on some systems: the store could not be moved there.

    Args:
        store, name: the name.
        but: a name to ignore.
        hint: advice for an existing model.

    Raises:
        InputError: when the name is taken.
    """
    for other in known_names(store):
        if other.lower() == name.lower() and other != but:
            differs = "" if other == name else " (names differ only in case)"
            raise InputError(f"A model named '{other}' already exists{differs}. {hint}")
    for other in sorted({run for room in RUNS for run in store.names(room)}):
        if other.lower() == name.lower() and other != but:
            raise InputError(
                f"An unfinished training is named '{other}'. Choose another name, resume the training "
                f"(`train` with --resume), or remove it: `python -m kmex_core delete --model {other}`."
            )


def rename(store: Store, name: str, new: str) -> None:
    """Rename a model. Its results are kept, because they are named by its weights.

    Raises:
        InputError: when there is no such model in the store, it comes with the product, the name is taken, or one of
            both names is being trained, imported or changed right now.
        StoreError: when the store cannot be written.
    """
    path_of(store, name)
    with claimed(store, name, new):
        path, target = _own_path(store, name, "renamed"), store.path(ROOM, new)
        check_free(store, new, but=name if new != name else "")
        try:
            move_file(path, target)
        except OSError as error:
            raise StoreError(f"'{name}' cannot be renamed: {error.strerror or error}.") from error


def delete(store: Store, name: str) -> str:
    """Remove a model from the store, or, where there is no such model, the checkpoints of an unfinished training.

    A model's results are kept: another model of equal weights may use them.

    Returns:
        What was removed: "model" or "training".

    Raises:
        InputError: when there is neither in the store, it comes with the product, or is being trained, imported or
            changed right now.
        StoreError: when the store cannot be written.
    """
    if not has_run(store, name):
        path_of(store, name)
    with claimed(store, name):
        if has_run(store, name) and not store.path(ROOM, name).is_file():
            remove_run(store, name)
            return "training"
        path = _own_path(store, name, "deleted")
        try:
            remove_file(path)
        except OSError as error:
            raise StoreError(f"'{name}' cannot be deleted: {error.strerror or error}.") from error
        return "model"


def _own_path(store: Store, name: str, what: str) -> Path:
    path = path_of(store, name)
    if path.parent == SHIPPED:
        raise InputError(f"'{name}' comes with KMEx Explorer and cannot be {what}.")
    return path


def save(store: Store, info: ModelInfo, model: nn.Module) -> None:
    """Write a trained classifier to the store under `info.name`, in place of what was there.

    Raises:
        InputError: while another process or thread has claimed the name.
        StoreError: when the store cannot be written.
    """
    arrays = state_arrays(model)
    values = dataclasses.asdict(info)
    del values["embedded"], values["name"]
    with claimed(store, info.name):
        store.put(ROOM, info.name, arrays, {"model": values, "weights": digest(arrays)})


def load(store: Store, name: str, device: str = "cpu") -> BlackBox:
    """A model with its weights, in evaluation mode on `device`.

    Raises:
        InputError: when there is none of that name, or its weights do not fit its architecture.
        StoreError: when its file is damaged.
    """
    path = path_of(store, name)
    try:
        arrays, description = read_file(path)
    except FileNotFoundError:  # deleted or renamed since
        arrays, description = read_file(path := path_of(store, name))
    info = info_of(description, name, path)
    model = build(info, arrays)
    load_state(model, arrays, f"The weights of '{name}'")
    return in_parts(info, model.eval().to(device))


def in_parts(info: ModelInfo, model: nn.Module) -> BlackBox:
    """The network of a description, with its encoder and head.

    Raises:
        InputError: see `splitting`.
    """
    if info.kind != "blackbox":
        return BlackBox(info, model, model.get_submodule("encoder"), model.get_submodule("head"), "head")
    parts = split(info, model)
    return BlackBox(info, model, parts.encoder, parts.head, parts.head_path)


def split(info: ModelInfo, model: nn.Module) -> SplitModel:
    """The encoder and the head of a black box or an encoder, for the classes of its description.

    Raises:
        InputError: see `splitting`.
    """
    import torch

    from kmex_core.networks import splitting
    from kmex_core.networks.encoders import MEAN, NONE

    classes = len(info.class_names)
    if info.head_path in (NONE, MEAN):
        device = next(model.parameters(), torch.empty(0)).device
        shape = (2, info.preprocessing.inputs, *info.preprocessing.size)
        return splitting.whole(model, torch.zeros(shape, device=device), classes, info.head_path)
    parts = splitting.split_at(model, info.head_path) if info.head_path else splitting.split(model)
    if info.outputs is None:  # one class has one output, which stands for two elsewhere
        return parts.predicting([1], 1) if classes == 1 else parts
    return parts.predicting(info.class_outputs or None, classes)


def build(info: ModelInfo, arrays: Mapping[str, np.ndarray] = MappingProxyType({})) -> nn.Module:
    """The network of a model's description, with new weights.

    Args:
        info: the description.
        arrays: the model's stored weights, for networks that are in them as a whole.

    Raises:
        InputError: see `architectures.build`.
        StoreError: for a kind that this version does not know.
    """
    from kmex_core.networks import architectures
    from kmex_core.networks.architecture_source import Plan

    if info.kind == "blackbox":
        outputs = len(info.class_names) if info.outputs is None else info.outputs
        plan = Plan("", outputs, info.preprocessing.size, info.preprocessing.inputs, info.details)
        return architectures.rebuilt(info.backbone, plan, arrays)
    if info.kind not in MODEL_KINDS:
        raise StoreError(f"'{info.name}' is a '{info.kind}', which is unknown to this version.")
    return MODEL_KINDS[info.kind].build(info.backbone, len(info.class_names), info.image_size, info.k, info.options)


def state_arrays(module: nn.Module) -> dict[str, np.ndarray]:
    """A module's parameters and buffers as NumPy arrays; bfloat16, which NumPy lacks, as float32."""
    import torch

    values = {name: value.detach().cpu() for name, value in module.state_dict().items()}
    return {name: (value.float() if value.dtype == torch.bfloat16 else value).numpy() for name, value in values.items()}


def load_state(module: nn.Module, values: Mapping[str, np.ndarray | torch.Tensor], what: str) -> None:
    """Put arrays or tensors into a module, all or none.

    Names and shapes are checked before any is copied or read: a tensor of a few bytes can claim any size.

    Raises:
        InputError: when names or shapes differ from the module's, or a value is not finite.
    """
    import torch

    expected = module.state_dict()
    missing = sorted(set(expected) - set(values))
    surplus = sorted(set(values) - set(expected))
    other = [name for name in expected if name in values and tuple(expected[name].shape) != tuple(values[name].shape)]
    if missing or surplus or other:
        raise InputError(
            f"{what} belong to another architecture: "
            + "; ".join(
                filter(
                    None,
                    [
                        f"{len(missing)} missing ({', '.join(missing[:3])} …)" if missing else "",
                        f"{len(surplus)} not known ({', '.join(surplus[:3])} …)" if surplus else "",
                        f"{len(other)} of another shape ({_shapes(other[0], expected, values)} …)" if other else "",
                    ],
                )
            )
            + ". Specify the backbone and data set they were trained with."
        )
    state = {
        name: value if isinstance(value, torch.Tensor) else torch.from_numpy(np.array(value))
        for name, value in values.items()
    }
    broken = [name for name, value in state.items() if value.is_floating_point() and not bool(value.isfinite().all())]
    if broken:
        raise InputError(
            f"{what} are not finite (NaN or infinite values in {', '.join(broken[:3])}"
            f"{' …' if len(broken) > 3 else ''}): the training diverged. Train again with a lower learning rate."
        )
    module.load_state_dict(state)


def _shapes(name: str, expected: Mapping[str, torch.Tensor], values: Mapping[str, np.ndarray | torch.Tensor]) -> str:
    return f"{name} is {tuple(values[name].shape)}, {tuple(expected[name].shape)} expected"


def network_input(info: ModelInfo, pixels: np.ndarray) -> torch.Tensor:
    """One picture, (H, W) or (H, W, 3) uint8 of any size, as a model's input (1, inputs, height, width)."""
    from kmex_core.data.network_input import normalise, to_pixels

    return normalise(to_pixels([pixels], info.preprocessing), info.preprocessing)
