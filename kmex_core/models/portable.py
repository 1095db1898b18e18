"""A KMEx as one graph that other programs run: pixels in, similarities, class scores and posterior out."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import importlib
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kmex_core.base.errors import InputError
from kmex_core.base.jsontext import write_json
from kmex_core.base.provenance import __version__
from kmex_core.data.preprocessing import Preprocessing
from kmex_core.models.kmex import KMEx
from kmex_core.networks.architecture_source import missing
from kmex_core.networks.heads import has_scores
from kmex_core.prototypes.fit import class_members
from kmex_core.prototypes.posterior import posterior_by_class

OUTPUTS = ("similarities", "class_scores", "posterior")
BLACK_BOX = "black_box_scores"
TOLERANCE = 1e-3  # of the largest value of an output
_INSTEAD = "Take it away with --kmex and --weights, which keep the network as it is."
MOST_BYTES = 2**31 - 2**24  # of weights: what protobuf can hold, less the graph


class Portable(nn.Module):
    """A KMEx without choices and checks of values, so that torch can trace it.

    Args:
        kmex: with prototypes of k-means.
        preprocessing: its network's; what is in it after resizing is part of the graph.
    """

    members: Tensor
    mean: Tensor
    scale: Tensor

    def __init__(self, kmex: KMEx, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.kmex, self.inputs, self.flipped = kmex, preprocessing.inputs, preprocessing.order == "BGR"
        device = kmex.prototype_class.device
        self.register_buffer("members", class_members(kmex.prototype_class, len(kmex.class_names)))
        self.white = preprocessing.white
        for name, numbers in (("mean", preprocessing.mean), ("scale", preprocessing.std)):
            self.register_buffer(name, torch.tensor(numbers, dtype=torch.float32, device=device).view(1, -1, 1, 1))
        self.names = (*OUTPUTS, BLACK_BOX) if has_scores(kmex.head) else OUTPUTS
        self.eval()

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """(N, channels, H, W) uint8 pixels, in the order red, green, blue, to the outputs in `names`: similarities
        (N, K), class scores (N, C), posterior (N, C), and the class scores of the black box (N, C) if there is one."""
        # as `data.network_input.normalise`
        values = (pixels.flip(1) if self.flipped else pixels).float() / 255 * self.white
        images = ((values - self.mean) / self.scale).expand(-1, self.inputs, -1, -1)
        z = self.kmex.encode(images)
        similarity = self.kmex.similarity(z)
        if self.kmex.temperature is None:
            probabilities = self.kmex.reference_probabilities(similarity)
        else:
            probabilities = posterior_by_class(self.kmex.scores(z), self.members, self.kmex.temperature.value)
        found = (similarity, self.kmex.classify(similarity), probabilities)
        return (*found, self.kmex.head(z)) if has_scores(self.kmex.head) else found


def to_onnx(kmex: KMEx, preprocessing: Preprocessing, pixels: Tensor, notes: Mapping[str, Any]) -> bytes:
    """A KMEx as an ONNX file for any number of images, compared with torch before it is handed out.

    Its input is `pixels`, its outputs are those of `Portable`. The entries of its metadata are JSON texts:
    `preprocessing` (all but resizing is in the graph), `class_names`, `prototype_classes`, and `made_by`.

    Args:
        kmex: on the CPU, with prototypes of k-means.
        preprocessing: its network's.
        pixels: (N, channels, H, W) uint8, two images or more, on which both are compared.
        notes: what made it.

    Raises:
        InputError: when a package is missing, torch cannot translate the network, or the file computes something else.
    """
    onnx, runtime = _package("onnx"), _package("onnxruntime")
    _package("onnxscript")
    name = type(getattr(kmex.encoder, "model", kmex.encoder)).__name__
    size = sum(value.nbytes for value in kmex.state_dict().values())
    if size > MOST_BYTES:
        raise InputError(f"An ONNX file has at most 2 GiB; this {name} has {size / 2**30:.1f} GiB of weights.")
    if any(value.is_floating_point() and value.dtype != torch.float32 for value in kmex.state_dict().values()):
        kmex = copy.deepcopy(kmex).float()  # onnxruntime computes most operators in 32 bits alone
    module = Portable(kmex, preprocessing)
    model = _translated(module, pixels[:2], name)
    if not model.graph.input[0].type.tensor_type.shape.dim[0].dim_param:
        raise InputError(f"torch can translate this {name} only for a fixed number of images. {_INSTEAD}")
    _tidy(model)
    about = {
        "preprocessing": dataclasses.asdict(preprocessing),
        "class_names": kmex.class_names,
        "prototype_classes": kmex.details.classes,
        "made_by": {**kmex.made_by, **notes},
    }
    model.producer_name, model.producer_version = "kmex-explorer", __version__
    onnx.helper.set_model_props(model, {key: write_json(value) for key, value in about.items()})
    content: bytes = model.SerializeToString()
    for part in (pixels[:1], pixels[1:]):
        try:
            session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
            found = session.run(None, {"pixels": part.numpy()})
        except Exception as error:  # onnxruntime's own, one for each kind of failure
            line = str(error).splitlines()[0][:200]
            raise InputError(f"onnxruntime cannot run this {name} ({line}). {_INSTEAD}") from error
        _compare(module, part, found)
    return content


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise missing(name, "onnx") from None


def _translated(module: Portable, pixels: Tensor, name: str) -> Any:
    """The graph as torch translates it, an `onnx.ModelProto`."""
    try:
        with warnings.catch_warnings(), _quiet():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                module,
                (pixels,),
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                input_names=["pixels"],
                output_names=list(module.names),
                verbose=False,
            )
    except Exception as error:  # torch's own of many kinds, and those of the network's code
        cause = error.__cause__ or error
        line = next((line for line in str(cause).splitlines() if line.strip()), "")[:200]
        raise InputError(
            f"torch cannot translate this {name} to ONNX ({type(cause).__name__}: {line}). {_INSTEAD}"
        ) from error
    assert program is not None
    return program.model_proto


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the log of torch's exporter, which repeats what the error says."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _tidy(model: Any) -> None:
    """Without where in the source each step came from: that has the paths of this machine."""
    graphs = [model.graph, *model.functions]
    for graph in graphs:
        for part in (*graph.node, *graph.value_info):
            del part.metadata_props[:]
            part.doc_string = ""
        del graph.metadata_props[:]
        graph.doc_string = ""


def _compare(module: Portable, pixels: Tensor, found: Sequence[np.ndarray]) -> None:
    """Whether onnxruntime found what torch computes.

    Raises:
        InputError: when not.
    """
    with torch.no_grad():
        expected = module(pixels)
    for name, mine, theirs in zip(module.names, expected, found, strict=True):
        # classes without prototypes have the score −∞ in both
        same = torch.from_numpy(theirs) == mine
        differ = float((torch.from_numpy(theirs) - mine).abs().masked_fill(same, 0).max())
        allowed = TOLERANCE * float(mine.abs().masked_fill(mine.isinf(), 0).max())
        if not differ <= allowed:  # so that NaN is refused
            raise InputError(
                f"As an ONNX file this model would compute something else than here: {name} differ by {differ:.2g} on "
                f"test images, where at most {allowed:.2g} are rounding. No file was written."
            )
