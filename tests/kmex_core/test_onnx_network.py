"""ONNX files: the same numbers as the network they came from, and nothing but standard operators on weights inside."""

from __future__ import annotations

import copy
import io
import pickle
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn

from kmex_core.base.errors import InputError
from kmex_core.networks import onnx_file
from kmex_core.networks.foreign_network import as_buffer
from kmex_core.networks.onnx_network import OnnxNetwork, open_onnx

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
helper = pytest.importorskip("onnx.helper")
SIDE = 32


def stem() -> list[nn.Module]:
    return [nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "cnn": lambda: nn.Sequential(*stem(), nn.Dropout(), nn.Linear(6, 4)),
    "softmax": lambda: nn.Sequential(*stem(), nn.Linear(6, 4), nn.Softmax(1)),
    "without bias": lambda: nn.Sequential(*stem(), nn.Linear(6, 4, bias=False)),
    "mlp": lambda: nn.Sequential(*stem(), nn.Linear(6, 16), nn.GELU(), nn.Linear(16, 4)),
    "convolution as head": lambda: nn.Sequential(
        *stem()[:3], nn.Conv2d(6, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    ),
    "resnet": lambda: torchvision.models.resnet18(num_classes=4),
    "vit": lambda: torchvision.models.VisionTransformer(SIDE, 8, 2, 2, 32, 64, num_classes=4),
}


def exported(network: nn.Module, path: Path, dynamic: bool = True, dynamo: bool = True) -> Path:
    network.eval()
    if dynamo:
        pytest.importorskip("onnxscript")
    batch: dict[str, Any] = {}
    if dynamic and dynamo:
        batch = {"dynamic_shapes": ({0: torch.export.Dim("batch")},)}
    elif dynamic:
        batch = {"dynamic_axes": {"images": {0: "batch"}}, "input_names": ["images"]}
    options: dict[str, Any] = {"external_data": False, "verbose": False} if dynamo else {}
    torch.onnx.export(network, (torch.randn(2, 3, SIDE, SIDE),), str(path), dynamo=dynamo, **batch, **options)
    return path


def scores_of(name: str, network: nn.Module) -> nn.Module:
    return network[:-1] if name == "softmax" and isinstance(network, nn.Sequential) else network


def drawn(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def by_hand(
    path: Path,
    nodes: list[Any],
    weights: dict[str, np.ndarray],
    shape: tuple[Any, ...] = ("N", 3, SIDE, SIDE),
    kind: int = onnx_file.FLOAT,
    outputs: tuple[str, ...] = ("y",),
    domains: tuple[str, ...] = (),
    opset: int = 17,
    version: int = 8,
) -> Path:
    """A file of one graph, with the input "x"."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", kind, shape)],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    path.write_bytes(helper.make_model(graph, opset_imports=opsets, ir_version=version).SerializeToString())
    return path


def pool() -> list[Any]:
    return [helper.make_node("GlobalAveragePool", ["x"], ["p"]), helper.make_node("Flatten", ["p"], ["z"])]


@pytest.fixture
def images() -> Tensor:
    return torch.randn(5, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    weights = {"w": drawn(3, 4), "b": drawn(4)}
    return by_hand(tmp_path / "net.onnx", [*pool(), helper.make_node("Gemm", ["z", "w", "b"], ["y"])], weights)


# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dynamo", [True, False], ids=["torch.export", "TorchScript"])
@pytest.mark.parametrize("dynamic", [True, False], ids=["any batch", "batch of 2"])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_numbers_of_the_network(name: str, dynamic: bool, dynamo: bool, tmp_path: Path, images: Tensor) -> None:
    torch.manual_seed(0)
    network = NETWORKS[name]()
    made = open_onnx(exported(network, tmp_path / "network.onnx", dynamic, dynamo))
    assert made.has_head
    assert made.image_shape == (3, SIDE, SIDE)
    assert made.batch in ((None,) if dynamic else (None, 2))
    with torch.no_grad():
        wanted = scores_of(name, network)(images)
    torch.testing.assert_close(made(images), wanted, rtol=1e-4, atol=1e-5)
    assert made.head is not None
    torch.testing.assert_close(made.head(made.embed(images)), made(images))


def test_made_again_copied_and_pickled(file: Path, images: Tensor) -> None:
    made = open_onnx(file)
    wanted = made(images)
    state = made.state_dict()
    again = OnnxNetwork.from_arrays({key: value.numpy() for key, value in state.items()})
    again.load_state_dict(state)
    assert set(state) == {"graph", "images", "head.weight", "head.bias"}
    buffer = io.BytesIO(pickle.dumps(made))
    for other in (again, copy.deepcopy(made), pickle.load(buffer)):  # noqa: S301 (our own)
        assert torch.equal(other(images), wanted)
        torch.testing.assert_close(other.double()(images), wanted)
    assert not made.differentiable


def test_another_graph_in_its_place(file: Path, tmp_path: Path, images: Tensor) -> None:
    made = open_onnx(file)
    weights = {"w": drawn(3, 4), "b": drawn(4)}
    nodes = [helper.make_node("Neg", ["x"], ["m"]), *pool(), helper.make_node("Gemm", ["z", "w", "b"], ["y"])]
    nodes[1].input[0] = "m"
    other = open_onnx(by_hand(tmp_path / "other.onnx", nodes, weights))
    into = OnnxNetwork.from_arrays(other.state_dict())
    into(images)
    assert not torch.allclose(into(images), made(images))


def test_many_threads_get_the_same(file: Path, images: Tensor) -> None:
    made = open_onnx(file)
    wanted, results = made(images), []
    fresh = OnnxNetwork.from_arrays(made.state_dict())
    threads = [threading.Thread(target=lambda: results.append(fresh(images))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8
    assert all(torch.equal(result, wanted) for result in results)


@pytest.mark.parametrize("turned", [False, True])
def test_the_factors_of_a_gemm(turned: bool, tmp_path: Path, images: Tensor) -> None:
    weights = {"w": drawn(4, 3) if turned else drawn(3, 4), "b": drawn(4)}
    gemm = helper.make_node("Gemm", ["z", "w", "b"], ["y"], alpha=0.5, beta=-2.0, transB=int(turned))
    made = open_onnx(by_hand(tmp_path / "net.onnx", [*pool(), gemm], weights))
    matrix = weights["w"].T if turned else weights["w"]
    wanted = 0.5 * images.mean((2, 3)).numpy() @ matrix - 2 * weights["b"]
    np.testing.assert_allclose(made(images).detach().numpy(), wanted, rtol=1e-4, atol=1e-5)
    assert made.has_head


@pytest.mark.parametrize("end", [["Softmax"], ["Sigmoid"], ["Softmax", "ArgMax"], ["LogSoftmax", "Identity"]])
@pytest.mark.parametrize("bias_first", [False, True])
def test_the_head_before_what_ends_the_graph(end: list[str], bias_first: bool, tmp_path: Path, images: Tensor) -> None:
    weights = {"wt": drawn(4, 3), "b": drawn(4)}
    added = ["b", "m"] if bias_first else ["m", "b"]
    nodes = [
        *pool(),
        helper.make_node("Transpose", ["wt"], ["w"], perm=[1, 0]),
        helper.make_node("MatMul", ["z", "w"], ["m"]),
        helper.make_node("Add", added, ["e0"]),
        *(
            helper.make_node(name, [f"e{i}"], [f"e{i + 1}"], **({"axis": 1} if "Arg" in name or "Soft" in name else {}))
            for i, name in enumerate(end)
        ),
    ]
    made = open_onnx(by_hand(tmp_path / "net.onnx", nodes, weights, outputs=(f"e{len(end)}",)))
    wanted = images.mean((2, 3)).numpy() @ weights["wt"].T + weights["b"]
    assert made.has_head
    np.testing.assert_allclose(made(images).detach().numpy(), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("tokens", [0, 9, 10])
def test_encoders_give_an_embedding(tokens: int, tmp_path: Path, images: Tensor) -> None:
    nodes = [helper.make_node("Conv", ["x", "k"], ["f" if tokens else "y"], strides=[8, 8])]
    if tokens:
        nodes += [
            helper.make_node("Reshape", ["f", "shape"], ["r"]),
            helper.make_node("Transpose", ["r"], ["t"], perm=[0, 2, 1]),
            helper.make_node("Slice", ["t", "from", "to", "axis"], ["y"]),
        ]
    whole = {"shape": [0, 5, -1], "from": [0], "to": [tokens], "axis": [1]}
    weights = {"k": drawn(5, 3, 8, 8), **{name: np.array(value, np.int64) for name, value in whole.items()}}
    made = open_onnx(by_hand(tmp_path / "net.onnx", nodes, weights))
    features = nn.functional.conv2d(images, torch.from_numpy(weights["k"]), stride=8)
    rows = features.flatten(2).transpose(1, 2)[:, :tokens]
    wanted = {0: features.mean((2, 3)), 9: rows.mean(1), 10: rows[:, 0] if tokens else None}[tokens]
    assert not made.has_head
    torch.testing.assert_close(made(images), wanted, rtol=1e-4, atol=1e-4)


def test_float16_uint8_and_channels_last(tmp_path: Path) -> None:
    weights = {"w": drawn(3, 4), "b": drawn(4)}
    half = {name: value.astype(np.float16) for name, value in weights.items()}
    gemm = [*pool(), helper.make_node("Gemm", ["z", "w", "b"], ["y"])]
    numbers = torch.randint(0, 256, (4, 3, 8, 8)).float()
    wanted = numbers.mean((2, 3)).numpy() @ weights["w"] + weights["b"]
    cast = [helper.make_node("Cast", ["x"], ["c"], to=1), *gemm]
    cast[1] = helper.make_node("GlobalAveragePool", ["c"], ["p"])
    turn = [helper.make_node("Transpose", ["x"], ["c"], perm=[0, 3, 1, 2]), *cast[1:]]
    whole = open_onnx(by_hand(tmp_path / "u.onnx", cast, weights, ("N", 3, 8, 8), onnx_file.UINT8))
    last = open_onnx(by_hand(tmp_path / "l.onnx", turn, weights, ("N", 8, 8, 3)))
    halved = open_onnx(by_hand(tmp_path / "h.onnx", gemm, half, ("N", 3, 8, 8), onnx_file.FLOAT16))
    for made, closeness in ((whole, 1e-4), (last, 1e-4), (halved, 1e-2)):
        assert made.image_shape == (3, 8, 8)
        assert made.has_head
        np.testing.assert_allclose(made(numbers).detach().numpy(), wanted, rtol=closeness, atol=closeness * 100)


def test_a_quantised_head_is_found_through_its_scales(tmp_path: Path, images: Tensor) -> None:
    weights = {"q": np.arange(12, dtype=np.int8).reshape(3, 4), "s": np.float32(0.1), "o": np.int8(5)}
    dequantised = helper.make_node("DequantizeLinear", ["q", "s", "o"], ["w"])
    nodes = [*pool(), dequantised, helper.make_node("MatMul", ["z", "w"], ["y"])]
    made = open_onnx(
        by_hand(tmp_path / "net.onnx", nodes, {name: np.asarray(value) for name, value in weights.items()})
    )
    wanted = images.mean((2, 3)).numpy() @ ((np.asarray(weights["q"], np.float32) - 5.0) * 0.1)
    assert made.has_head
    assert any("quantised" in note for note in made.notes)
    np.testing.assert_allclose(made(images).detach().numpy(), wanted, rtol=1e-4, atol=1e-5)


def test_a_fixed_batch_that_cannot_be_another(tmp_path: Path, images: Tensor) -> None:
    reshape = helper.make_node("Reshape", ["p", "shape"], ["z"])
    nodes = [pool()[0], reshape, helper.make_node("Gemm", ["z", "w"], ["y"])]
    weights = {"w": drawn(3, 4), "shape": np.array([2, 3], np.int64)}
    made = open_onnx(by_hand(tmp_path / "net.onnx", nodes, weights, (2, 3, SIDE, SIDE)))
    assert made.batch == 2
    np.testing.assert_allclose(
        made(images).detach().numpy(), images.mean((2, 3)).numpy() @ weights["w"], rtol=1e-4, atol=1e-5
    )


def test_images_of_another_size(file: Path) -> None:
    with pytest.raises(InputError, match="takes images of 3×32×32"):
        open_onnx(file)(torch.zeros(1, 3, 16, 16))


# ---------------------------------------------------------------------------------------------------------------------
# hostile files


def refused(path: Path, match: str) -> None:
    with pytest.raises(InputError, match=match):
        open_onnx(path)


@pytest.mark.parametrize("where", ["initializer", "constant", "inner graph"])
def test_no_other_file_is_opened(where: str, tmp_path: Path) -> None:
    outside = onnx.numpy_helper.from_array(drawn(3, 4), "w")
    outside.ClearField("raw_data")
    outside.data_location = onnx.TensorProto.EXTERNAL
    outside.external_data.add(key="location", value="../../etc/passwd")
    nodes = [*pool(), helper.make_node("Gemm", ["z", "w"], ["y"])]
    constant = helper.make_node("Constant", [], ["w"], value=outside)
    if where == "constant":
        nodes.insert(0, constant)
    elif where == "inner graph":
        inner = helper.make_graph([constant], "inner", [], [onnx.ValueInfoProto(name="w")])
        nodes.insert(0, helper.make_node("If", ["c"], ["w"], then_branch=inner, else_branch=inner))
    path = by_hand(tmp_path / "net.onnx", nodes, {"c": np.array(True)})
    if where == "initializer":
        model = onnx.ModelProto.FromString(path.read_bytes())
        model.graph.initializer.append(outside)
        path.write_bytes(model.SerializeToString())
    refused(path, "keeps weights in other files")


@pytest.mark.parametrize("domain", ["my.library", "com.microsoft"])
def test_operators_from_elsewhere_are_refused(domain: str, tmp_path: Path) -> None:
    node = helper.make_node("EPContext", ["x"], ["y"], domain=domain, ep_cache_context="../../etc/passwd")
    refused(by_hand(tmp_path / "net.onnx", [node], {}, domains=(domain,)), "needs code from elsewhere")


def test_loops_are_refused(tmp_path: Path) -> None:
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"])],
        "body",
        [helper.make_tensor_value_info("i", 7, []), helper.make_tensor_value_info("go", 9, [])],
        [helper.make_tensor_value_info("on", 9, [])],
    )
    nodes = [helper.make_node("Loop", ["", "c"], [], body=body), *pool()]
    refused(by_hand(tmp_path / "net.onnx", nodes, {"c": np.array(True)}, outputs=("z",)), "has a loop")


def test_random_numbers_and_training_are_refused(tmp_path: Path) -> None:
    noise = helper.make_node("RandomNormalLike", ["x"], ["y"])
    refused(by_hand(tmp_path / "a.onnx", [noise], {}), "random numbers")
    norm = helper.make_node("BatchNormalization", ["x", "s", "b", "m", "v"], ["y", "m2", "v2"], training_mode=1)
    refused(by_hand(tmp_path / "b.onnx", [norm], {name: np.ones(3, np.float32) for name in "sbmv"}), "training mode")


def test_claimed_sizes_take_no_memory(tmp_path: Path, file: Path) -> None:
    model = onnx.ModelProto.FromString(file.read_bytes())
    model.graph.initializer[0].dims[:] = [10**6, 10**6]
    file.write_bytes(model.SerializeToString())
    refused(file, "more than the file has")
    refused(by_hand(tmp_path / "a.onnx", pool(), {}, ("N", 3, 10**6, 10**6), outputs=("z",)), "limit is 4,096")
    big = helper.make_node("ConstantOfShape", ["n"], ["y"])
    refused(by_hand(tmp_path / "b.onnx", [big], {"n": np.array([10**6, 10**6])}), "limit is")


def test_memory_that_shows_only_when_it_runs_is_limited(tmp_path: Path) -> None:
    """A size that depends on the images: 10^12 numbers, of which no shape tells."""
    nodes = [
        *pool(),
        helper.make_node("ReduceSum", ["z"], ["total"], keepdims=0),
        helper.make_node("Mul", ["total", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "many"], ["sum"]),
        helper.make_node("Cast", ["sum"], ["count"], to=7),
        helper.make_node("ConstantOfShape", ["count"], ["big"]),
        helper.make_node("ReduceMax", ["big"], ["r"], keepdims=0),
        helper.make_node("Add", ["z", "r"], ["y"]),
    ]
    weights = {"zero": np.zeros(1, np.float32), "many": np.array([1e12], np.float32)}
    refused(by_hand(tmp_path / "net.onnx", nodes, weights), "memory")


def test_inputs_that_are_no_images_are_refused(tmp_path: Path) -> None:
    flat = helper.make_node("Relu", ["x"], ["y"])
    refused(by_hand(tmp_path / "a.onnx", [flat], {}, ("N", 10)), "2 dimensions")
    refused(by_hand(tmp_path / "b.onnx", [flat], {}, ("N", 64, 8, 8)), "64 channels")
    refused(by_hand(tmp_path / "c.onnx", [flat], {}, ("N", 3, 8, 8), onnx.TensorProto.STRING), "numbers of type 8")
    path = by_hand(tmp_path / "d.onnx", [helper.make_node("Add", ["x", "x2"], ["y"])], {})
    model = onnx.ModelProto.FromString(path.read_bytes())
    model.graph.input.append(helper.make_tensor_value_info("x2", 1, ("N", 3, SIDE, SIDE)))
    path.write_bytes(model.SerializeToString())
    refused(path, "has 2 inputs")


@pytest.mark.parametrize(
    ("opset", "version", "match"), [(999, 8, "opset 999"), (3, 8, "opset 3"), (17, 99, "version 99")]
)
def test_versions_that_are_not_known(opset: int, version: int, match: str, tmp_path: Path) -> None:
    path = by_hand(tmp_path / "net.onnx", pool(), {}, opset=opset, version=version, outputs=("z",))
    refused(path, match)


@pytest.mark.parametrize("content", [b"", b"just a text file", b"PK\x03\x04", b"\x89PNG\r\n\x1a\n", b"\x08\x07", b"{}"])
def test_other_files_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "file.onnx").write_bytes(content)
    refused(tmp_path / "file.onnx", "is not an ONNX file|damaged")
    refused(tmp_path / "absent.onnx", "There is no file")


def test_truncated_and_damaged_files_never_crash(file: Path) -> None:
    content = file.read_bytes()
    generator = np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(content)
        damaged[generator.integers(len(damaged))] = generator.integers(256)
        file.write_bytes(bytes(damaged[: generator.integers(len(damaged) // 2, len(damaged) + 1)]))
        try:
            open_onnx(file)
        except InputError:
            continue


def test_damaged_arrays_and_missing_packages_are_said(
    file: Path, monkeypatch: pytest.MonkeyPatch, images: Tensor
) -> None:
    state = dict(open_onnx(file).state_dict())
    with pytest.raises(InputError, match="missing"):
        OnnxNetwork.from_arrays({})
    with pytest.raises(InputError, match="damaged"):
        OnnxNetwork.from_arrays({**state, "images": torch.zeros(3)})
    with pytest.raises(InputError, match="damaged"):
        OnnxNetwork.from_arrays({**state, "graph": torch.zeros(9, dtype=torch.uint8)})
    model = onnx.ModelProto.FromString(state["graph"].numpy().tobytes())
    model.graph.node[0].domain = "my.library"
    with pytest.raises(InputError, match="needs code from elsewhere"):
        OnnxNetwork.from_arrays({**state, "graph": as_buffer(model.SerializeToString())})
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(InputError, match=r"pip install 'kmex-explorer\[onnx\]'"):
        OnnxNetwork.from_arrays(state)(images)
