"""Networks without gradients (ONNX): converted, explained by occlusion, evaluated and checked like any other."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from typer.testing import CliRunner

from kmex_core import KMEx
from kmex_core.base.errors import InputError
from kmex_core.base.store import Store
from kmex_core.commands._shared import app
from kmex_core.data.display import picture_file
from kmex_core.models.catalogue import network_input
from kmex_core.networks import architectures
from kmex_core.networks.exported_network import read_exported
from kmex_core.networks.onnx_network import open_onnx
from kmex_core.prototypes.source import KMeans
from kmex_core.relevance.catalogue import DEFAULT, DEFAULT_MAPS, METHODS, PUBLISHED, MapKind, default_for
from kmex_core.stages.subject import Subject, subject_of
from tests.helpers.foreign_models import exported_file, onnx_file, put_foreign, small_network

NO_GRADIENTS = "The network is run by onnxruntime, which has no gradients."
LABEL = "Relevance maps by occlusion: this network gives no gradients."
GRADIENT_METHODS = [name for name, method in METHODS.items() if method.gradients]


@pytest.fixture
def onnx(store: Store, tmp_path: Path) -> Subject:
    path = onnx_file(tmp_path / "net.onnx")
    return subject_of(store, put_foreign(store, "onnx:net.onnx", open_onnx(path), "onnx").name)


@pytest.fixture
def exported(store: Store, tmp_path: Path) -> Subject:
    path = exported_file(tmp_path / "net.pt2")
    return subject_of(store, put_foreign(store, "export:net.pt2", read_exported(path), "pt2").name)


def answer(*arguments: object) -> dict[str, object]:
    result = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    assert result.exit_code == 0, result.output
    found: dict[str, object] = json.loads(result.stdout)
    return found


def original(module: KMEx) -> KMEx:
    """The same prototypes on the torch network that the file was made from."""
    network = small_network()
    return KMEx(
        network[:-1],
        network[-1],
        module.details,
        module.class_names,
        pixel_range=module.pixel_range,
        metric=module.metric,
        temperature=module.temperature,
        pixel_mean=module.pixel_mean,
    )


def test_only_occlusion_needs_no_gradients() -> None:
    assert [name for name in METHODS if name not in GRADIENT_METHODS] == ["occlusion"]
    assert default_for(True) == DEFAULT_MAPS
    assert default_for(False).method == "occlusion"
    assert DEFAULT == "masked-gradients"


@pytest.mark.parametrize("kind", ["onnx", "exported"])
def test_a_description_knows_what_the_network_knows(kind: str, request: pytest.FixtureRequest) -> None:
    subject: Subject = request.getfixturevalue(kind)
    parts = list(subject.network.encoder.modules())
    assert subject.info.differentiable == all(getattr(part, "differentiable", True) for part in parts)
    assert subject.info.differentiable == (kind == "exported")
    assert (LABEL in subject.notes()) == (kind == "onnx")


@pytest.mark.parametrize("kind", ["onnx", "exported"])
@pytest.mark.parametrize("target", ["margin", "similarity", "class"])
def test_the_default_maps_are_those_of_the_torch_original(
    kind: str, target: str, request: pytest.FixtureRequest
) -> None:
    subject: Subject = request.getfixturevalue(kind)
    module = subject.explainer(KMeans(2))
    image = network_input(subject.info, subject.data.split("test").image(0))
    found = module.explain(image, target=target)
    method = "occlusion" if kind == "onnx" else DEFAULT
    wanted = original(module).explain(image, target=target, method=method)
    assert found.maps.method == method
    np.testing.assert_array_equal(found.prototypes, wanted.prototypes)
    for ours, theirs in ((found.maps, wanted.maps), (found.black_box_map, wanted.black_box_map)):
        assert ours is not None
        assert theirs is not None
        scale = np.abs(theirs.values).max()
        assert scale > 0
        np.testing.assert_allclose(ours.values, theirs.values, atol=1e-3 * scale)
    pairs = module.maps(image, found.prototypes[:1].tolist(), target=target)
    np.testing.assert_allclose(pairs.values[0], found.maps.values[0], atol=1e-3 * np.abs(pairs.values).max())
    of_black_box = module.class_maps(image, [1], target=target)[1]
    assert of_black_box is not None
    assert of_black_box.method == method


@pytest.mark.parametrize("method", GRADIENT_METHODS)
def test_a_method_with_gradients_is_refused_and_occlusion_named(onnx: Subject, method: str) -> None:
    module = onnx.explainer(KMeans(2))
    image = network_input(onnx.info, onnx.data.split("test").image(0))
    with pytest.raises(InputError) as refused:
        module.explain(image, method=method)
    assert str(refused.value) == f"{NO_GRADIENTS} Instead of {method}, use occlusion."
    with pytest.raises(InputError, match=r"onnxruntime.* Check occlusion instead\."):
        onnx.map_checks(KMeans(2), 4, [MapKind("margin", method)]).get()


def test_the_command_explains_by_occlusion_and_says_so(onnx: Subject, tmp_path: Path) -> None:
    image = tmp_path / "digit.png"
    image.write_bytes(picture_file(onnx.data.split("test").image(3))[0])
    asked = ["explain", "--model", "onnx", "--image", image, "--k", 2, "--top", 1, "--out", tmp_path / "out"]
    found = answer(*asked)
    assert found["method"] == "occlusion"
    assert LABEL in found["notes"]  # type: ignore[operator]
    maps = load_file(tmp_path / "out" / "maps.safetensors")
    assert all(np.isfinite(values).all() and np.abs(values).max() > 0 for values in maps.values())
    text = CliRunner().invoke(app, [*map(str, asked), "--overwrite"]).output
    assert "(occlusion of the margin)" in text
    assert LABEL in " ".join(text.split())
    refused = CliRunner().invoke(app, [*map(str, asked), "--overwrite", "--method", "prp"])
    assert refused.exit_code != 0
    assert f"{NO_GRADIENTS} Instead of prp, use occlusion." in " ".join(refused.output.split())


def test_the_command_evaluates_by_occlusion(onnx: Subject) -> None:
    asked = ("evaluate", "--model", "onnx", "--k", 2, "--images", 6, "--metrics", "faithfulness,average_drop,accuracy")
    found = answer(*asked)
    assert found["method"] == "occlusion"
    measured: dict[str, dict[str, object]] = found["metrics"]  # type: ignore[assignment]
    assert isinstance(measured["faithfulness"]["mean"], float)
    assert LABEL in found["notes"]  # type: ignore[operator]
    published = answer(*asked, "--method", PUBLISHED.method)
    refused: dict[str, dict[str, object]] = published["metrics"]  # type: ignore[assignment]
    assert refused["faithfulness"]["not_computed"] == NO_GRADIENTS
    table = answer("table", "relevance-scores", "--model", "onnx", "--k", 2, "--images", 6)
    assert len(str(table["csv"]).splitlines()) == 7


@pytest.mark.parametrize("kind", ["onnx", "exported"])
def test_the_checks_leave_random_weights_out_and_say_why(kind: str, request: pytest.FixtureRequest) -> None:
    subject: Subject = request.getfixturevalue(kind)
    found = answer("check", "--model", subject.info.name, "--k", 2, "--images", 3, "--methods", "occlusion")
    rows: list[dict[str, object]] = found["rows"]  # type: ignore[assignment]
    assert rows[0]["method"] == "occlusion"
    assert rows[0]["randomised"] is None
    assert found["random_layers"] == []
    assert any("Random weights: not computed" in note for note in found["notes"])  # type: ignore[attr-defined]


def test_without_names_the_checks_are_of_occlusion_alone(onnx: Subject) -> None:
    checks = onnx.map_checks(KMeans(2), 2).get()
    assert set(filter(None, checks.methods)) == {"occlusion"}
    assert len(set(filter(None, checks.targets))) > 1


@pytest.mark.parametrize("name", ["onnx:net.onnx", "export:net.pt2"])
def test_a_network_with_its_graph_is_not_trained(store: Store, name: str) -> None:
    assert not architectures.is_trainable(name)
    result = CliRunner().invoke(
        app, ["train", "--dataset", "digits", "--backbone", name, "--epochs", "1", "--name", "x"]
    )
    assert result.exit_code != 0
    assert f"'{name}' cannot be trained here" in " ".join(result.output.split())
