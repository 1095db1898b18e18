"""A KMEx as a graph: torch.export and onnxruntime compute what it computes, for any number of images."""

from __future__ import annotations

import dataclasses
import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn
from typer.testing import CliRunner

from kmex_core import KMEx
from kmex_core.base.errors import InputError
from kmex_core.base.store import Store
from kmex_core.commands import app
from kmex_core.data.network_input import normalise
from kmex_core.data.preprocessing import Preprocessing
from kmex_core.models import portable
from kmex_core.prototypes.fit import class_members
from kmex_core.prototypes.posterior import posterior, posterior_by_class
from kmex_core.prototypes.source import KMeans
from kmex_core.stages import taken_away
from kmex_core.stages.subject import Subject, subject_of
from tests.helpers.results import prototypes_of

runtime: Any = pytest.importorskip("onnxruntime")
onnx: Any = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
COUNTS = [1, 3, 2]  # prototypes of each class


def vit(classes: int) -> nn.Module:
    network = torchvision.models.VisionTransformer(32, 8, 2, 2, 32, 64, num_classes=max(1, classes))
    if not classes:
        network.heads = nn.Identity()
    return network


def resnet() -> nn.Module:
    network: nn.Module = torchvision.models.ResNet(torchvision.models.resnet.BasicBlock, [1, 1, 1, 1], num_classes=3)
    return network


def of_timm() -> nn.Module:
    timm: Any = pytest.importorskip("timm")
    network: nn.Module = timm.create_model("test_vit", num_classes=0)
    return network


CASES: dict[str, tuple[Callable[[], nn.Module], int, str, bool]] = {  # network, side, metric, with a temperature
    "resnet, whitened": (resnet, 32, "whitened", True),
    "vit, cosine": (lambda: vit(3), 32, "cosine", True),
    "encoder, euclidean, published probabilities": (lambda: vit(0), 32, "euclidean", False),
}
MORE = CASES | {"encoder of timm": (of_timm, 160, "whitened", True)}


def converted(case: str) -> tuple[KMEx, int]:
    make, side, metric, held_out = MORE[case]
    torch.manual_seed(0)
    network = make()
    data = [(torch.randn(18, 3, side, side), torch.arange(18) % 3)]
    head = "none" if case.startswith("encoder") else None
    held = data if held_out else None
    return KMEx.convert(network, data, COUNTS, metric=metric, head=head, class_names=list("abc"), held_out=held), side


@pytest.mark.parametrize("case", MORE)
def test_torch_exports_a_kmex(case: str) -> None:
    kmex, side = converted(case)
    program = torch.export.export(
        kmex, (torch.randn(2, 3, side, side),), dynamic_shapes=({0: torch.export.Dim("batch")},)
    )
    for count in (1, 5):
        images = torch.randn(count, 3, side, side)
        with torch.no_grad():
            torch.testing.assert_close(program.module()(images), kmex(images), rtol=1e-4, atol=0)


@pytest.mark.parametrize("case", CASES)
def test_onnxruntime_computes_the_same(case: str) -> None:
    kmex, side = converted(case)
    how = Preprocessing(side, side, 3, (0.5, 0.4, 0.3), (0.2, 0.25, 0.3), white=2.0, order="BGR")
    pixels = torch.randint(0, 256, (5, 3, side, side), dtype=torch.uint8)
    content = portable.to_onnx(kmex, how, pixels, {"weights": "x"})
    session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
    for count in (1, 4):
        images = normalise(pixels[:count], how)
        found = dict(
            zip(
                [output.name for output in session.get_outputs()],
                session.run(None, {"pixels": pixels[:count].numpy()}),
                strict=True,
            )
        )
        with torch.no_grad():
            z = kmex.encode(images)
            expected = {
                "similarities": kmex.similarity(z),
                "class_scores": kmex(images),
                "posterior": kmex.posterior(z),
            }
            if "encoder" not in case:
                expected["black_box_scores"] = kmex.head(z)
        assert found.keys() == expected.keys()
        for name, values in expected.items():
            tolerance = 0 if name == "similarities" else 1e-5  # how far prototypes are, too
            np.testing.assert_allclose(found[name], values.numpy(), rtol=1e-3, atol=tolerance)
    model = onnx.load_from_string(content)
    onnx.checker.check_model(model)
    about = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    assert Preprocessing.from_description(about["preprocessing"]) == how
    assert (about["class_names"], about["prototype_classes"]) == (["a", "b", "c"], [0, 1, 1, 1, 2, 2])
    assert about["made_by"]["weights"] == "x"
    assert str(Path(portable.__file__).parent).encode() not in content  # the source of each step is not told


def test_the_command_writes_what_other_programs_read(demo: Store, tmp_path: Path) -> None:
    path = tmp_path / "digits.onnx"
    result = CliRunner().invoke(app, ["export", "--model", "digits", "--onnx", str(path), "--json"])
    assert result.exit_code == 0, result.output
    subject = subject_of(demo, "digits")
    conversion = subject.conversion(KMeans(5)).get()
    pixels = subject.data.pixels("test", range(500), subject.info.preprocessing).numpy()
    session = runtime.InferenceSession(path)
    (scores, chances) = session.run(["class_scores", "posterior"], {"pixels": pixels})
    np.testing.assert_array_equal(scores.argmax(1), conversion.test_predicted)
    np.testing.assert_allclose(chances.sum(1), 1, rtol=1e-5)


def small() -> KMEx:
    centers = np.eye(3, 12, dtype=np.float32)
    encoder = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten())
    return KMEx(encoder, nn.Linear(12, 3), prototypes_of(centers, np.arange(3)), ["a", "b", "c"])


def test_a_graph_that_computes_something_else_is_not_handed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels, how = torch.randint(0, 256, (3, 3, 8, 8), dtype=torch.uint8), Preprocessing.plain(8, 3)
    translated = portable._translated

    def wrong(*given: Any) -> Any:
        model = translated(*given)
        for tensor in model.graph.initializer:
            values = onnx.numpy_helper.to_array(tensor)
            if values.shape == (3, 12):
                tensor.CopyFrom(onnx.numpy_helper.from_array(values + np.float32(0.1), tensor.name))
        return model

    portable.to_onnx(small(), how, pixels, {})
    monkeypatch.setattr(portable, "_translated", wrong)
    with pytest.raises(InputError, match=r"similarities differ by .* No file was written"):
        portable.to_onnx(small(), how, pixels, {})


class Undecided(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        pooled = images.mean((2, 3)).repeat(1, 4)
        return pooled if float(images.sum()) > 0 else -pooled


def test_what_cannot_be_translated_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels, how = torch.randint(0, 256, (3, 3, 8, 8), dtype=torch.uint8), Preprocessing.plain(8, 3)
    kmex = small()
    kmex.encoder = Undecided()
    with pytest.raises(InputError, match="cannot translate this Undecided to ONNX .*--kmex and --weights"):
        portable.to_onnx(kmex, how, pixels, {})
    monkeypatch.setattr(portable, "MOST_BYTES", 10)
    with pytest.raises(InputError, match="at most 2 GiB"):
        portable.to_onnx(kmex, how, pixels, {})
    find = importlib.import_module

    def without(name: str) -> Any:
        if name == "onnxscript":
            raise ImportError(name)
        return find(name)

    monkeypatch.setattr(importlib, "import_module", without)
    with pytest.raises(InputError, match=r"needs the package onnxscript.*kmex-explorer\[onnx\]"):
        portable.to_onnx(kmex, how, pixels, {})


def test_nothing_is_written_for_an_onnx_network(demo: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subject = subject_of(demo, "digits")
    graph = Subject(demo, dataclasses.replace(subject.info, backbone="onnx:x.onnx"), subject.data)
    with pytest.raises(InputError, match="is an ONNX graph.*--kmex and --weights"):
        taken_away.write_onnx(graph, KMeans(5), tmp_path / "x.onnx")
    assert not list(tmp_path.glob("*x.onnx*"))


def test_the_posterior_by_members_is_the_posterior() -> None:
    classes = torch.tensor([2, 0, 1, 1, 2, 2])
    scores = torch.randn(4, 6)
    members = class_members(classes, 3)
    torch.testing.assert_close(posterior_by_class(scores, members, 0.7), posterior(scores, classes, 3, 0.7))
    # by the formula: the mean over each class of exp(s / T), as a share
    raw = np.exp(scores.double().numpy() / 0.7)
    mean = np.stack([raw[:, classes.numpy() == label].mean(1) for label in range(3)], 1)
    np.testing.assert_allclose(
        posterior_by_class(scores, members, 0.7).numpy(), mean / mean.sum(1, keepdims=True), rtol=1e-5
    )
