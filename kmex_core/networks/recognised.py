"""Where a network in Python comes from, so that it can be built again: recognised by its library, or exported."""

from __future__ import annotations

import copy
import json
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kmex_core.base.errors import InputError, KMExError
from kmex_core.networks import architectures, passes, trust
from kmex_core.networks.architecture_source import Plan
from kmex_core.networks.encoders import MEAN, NONE, features_in, scores_in
from kmex_core.networks.exported_network import read_exported
from kmex_core.networks.foreign_network import close
from kmex_core.networks.sources.huggingface import CLASSIFIER, input_of

TOLERANCE = 1e-4  # of the largest output


@dataclass(frozen=True, eq=False)
class Recognised:
    """A network that can be built again.

    Attributes:
        backbone: its source and name there.
        module: it, in a form whose weights can be stored: the user's own, or what its export was read as.
        head_path: the dotted name of its head in `module`, `NONE` or `MEAN` for an encoder.
        details: what its source needs.
    """

    backbone: str
    module: nn.Module
    head_path: str
    details: Mapping[str, Any] = field(default_factory=dict)


def recognised(network: nn.Module, head_path: str, outputs: int, example: Tensor) -> Recognised | None:
    """A network of torchvision, timm or transformers by its source, if that builds the same again; else None.

    Args:
        network: the user's.
        head_path: the dotted name of its head, `NONE` or `MEAN` for an encoder.
        outputs: how many class scores it gives, 0 for an encoder.
        example: (n, channels, H, W) images.
    """
    for backbone, details in _candidates(network):
        if same_again(network, backbone, details, outputs, example):
            return Recognised(backbone, network, head_path, details)
    return None


def from_source(network: nn.Module, source: str, head_path: str, outputs: int, example: Tensor) -> Recognised:
    """A network of a source that the user names.

    Raises:
        InputError: when the source builds another network, or none.
    """
    details: dict[str, Any] = {"classes": outputs or None} if trust.is_function(source) else {}
    if not same_again(network, source, details, outputs, example, strict=True):
        raise InputError(
            f"{source} builds another network than this {type(network).__name__}: with the same weights it gives other "
            "outputs."
        )
    return Recognised(source, network, head_path, details)


def exported(network: nn.Module, head_path: str, example: Tensor) -> Recognised:
    """A network as its graph, which torch exports.

    Args:
        network: the user's.
        head_path: the dotted name of its head, `NONE` or `MEAN` for an encoder.
        example: (n, channels, H, W) images, two or more.

    Raises:
        InputError: when torch cannot export it, or the graph has what is not run here.
    """
    name = type(network).__name__
    if example.device.type != "cpu":  # a graph keeps the device on which it makes tensors
        network, example = copy.deepcopy(network).cpu(), example.cpu()
    batch = {0: torch.export.Dim("batch")}
    with tempfile.TemporaryDirectory() as folder, passes.evaluating(network), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / f"{name}.pt2"
        try:
            program = torch.export.export(network, (example,), dynamic_shapes=(batch,))
            torch.export.save(program, path)
            read = read_exported(path)
        except Exception as error:  # torch.export raises errors of many kinds, also of the user's own code
            line = next(iter(str(error).strip().splitlines()), "")[:200].replace(folder, "")
            raise InputError(
                f"This {name} comes from no library that is known here, and its graph cannot be exported "
                f"({type(error).__name__}: {line}). Write a function that returns the network into a module, and name "
                'it: add_to_store(…, source="my_networks:make").'
            ) from error
    channels, height, width = read.image_shape
    details = {"channels": channels, "height": height, "width": width}
    head = head_path if head_path in (NONE, MEAN) else "head" if read.has_head else NONE
    return Recognised(f"export:{name}.pt2", read, head, details)


def same_again(
    network: nn.Module,
    backbone: str,
    details: Mapping[str, Any],
    outputs: int,
    example: Tensor,
    strict: bool = False,
) -> bool:
    """Whether a source builds a network that with the same weights gives the same outputs.

    Raises:
        InputError: when it cannot be built, if `strict`.
    """
    channels, height, width = example.shape[1:]
    try:
        with passes.same_random_numbers(torch.device("cpu")):
            again = architectures.rebuilt(backbone, Plan("", outputs, (height, width), channels, details), {})
        again.load_state_dict(network.state_dict())
        again.to(example.device).eval()
        with torch.no_grad(), passes.evaluating(network):
            mine, theirs = _outputs(network(example)), _outputs(again(example))
    except (KMExError, RuntimeError, ValueError, TypeError, KeyError) as error:
        if strict:
            what = error if isinstance(error, KMExError) else f"{type(error).__name__}: {str(error)[:300]}"
            raise InputError(f"{backbone} does not build this {type(network).__name__} ({what}).") from error
        return False
    return mine is not None and theirs is not None and close(theirs.float(), mine.float(), TOLERANCE)


def _outputs(given: Any) -> Tensor | None:
    scores = scores_in(given)
    return features_in(given) if scores is None or scores.ndim != 2 else scores


def _candidates(network: nn.Module) -> Iterator[tuple[str, dict[str, Any]]]:
    library = type(network).__module__.partition(".")[0]
    name = (getattr(network, "pretrained_cfg", None) or {}).get("architecture")
    if library == "timm" and isinstance(name, str):
        yield f"timm:{name}", {}
    if library == "transformers":
        yield from _of_transformers(network)
    if library == "torchvision":
        yield from _of_torchvision(network)


def _of_transformers(network: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    config = json.loads(network.config.to_json_string(use_diff=False))
    kind = type(network).__name__
    described = {"config": config | {"architectures": [kind]}, "classifier": CLASSIFIER in kind, **input_of(config)}
    yield f"hf:{config.get('_name_or_path') or kind}", described


def _of_torchvision(network: nn.Module) -> Iterator[tuple[str, dict[str, Any]]]:
    """Its builders of networks of this class with as many weights, which differ in nothing but numbers."""
    from torchvision import models

    shapes = {name: value.shape for name, value in network.state_dict().items()}
    biases = [shape for name, shape in shapes.items() if name.endswith("bias")]
    classes = biases[-1][0] if biases else 0
    module = type(network).__module__
    for name in models.list_models(module=models):
        if models.get_model_builder(name).__module__ != module:
            continue
        options = {"init_weights": False, "aux_logits": True} if name.startswith(("googlenet", "inception")) else {}
        with warnings.catch_warnings(), torch.device("meta"):
            warnings.simplefilter("ignore")
            try:
                made = models.get_model(name, weights=None, num_classes=classes, **options)
            except (ValueError, RuntimeError, AssertionError, TypeError):
                continue
        if type(made) is type(network) and {key: value.shape for key, value in made.state_dict().items()} == shapes:
            yield f"torchvision:{name}", {}
