"""Files of torch.export: the same numbers as the network they came from, and no code of the file."""

from __future__ import annotations

import copy
import json
import pickle
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

from kmex_core.base.errors import InputError
from kmex_core.networks.exported_network import ExportedNetwork, read_exported
from kmex_core.networks.exported_program import OPERATORS, Program
from kmex_core.networks.foreign_network import as_buffer, as_bytes

SIDE = 32


class Pooling(nn.Module):
    """An encoder alone, whose features have places or tokens."""

    def __init__(self, tokens: int = 0) -> None:
        super().__init__()
        self.conv, self.tokens = nn.Conv2d(3, 6, 8, 8), tokens

    def forward(self, images: Tensor) -> Tensor:
        features = self.conv(images)
        return features.flatten(2).transpose(1, 2)[:, : self.tokens] if self.tokens else features


class Several(nn.Module):
    """A classifier with a dict as its output."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.fc = nn.Sequential(nn.Conv2d(3, 6, 5), nn.AdaptiveAvgPool2d(1), nn.Flatten()), nn.Linear(6, 3)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        z = self.body(images)
        return {"embedding": z, "logits": self.fc(z)}


def stem() -> list[nn.Module]:
    return [nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten()]


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "cnn": lambda: nn.Sequential(*stem(), nn.Dropout(), nn.Linear(6, 4)),
    "softmax": lambda: nn.Sequential(*stem(), nn.Linear(6, 4), nn.Softmax(1)),
    "without bias": lambda: nn.Sequential(*stem(), nn.Linear(6, 4, bias=False)),
    "mlp": lambda: nn.Sequential(*stem(), nn.Linear(6, 16), nn.GELU(), nn.Linear(16, 4)),
    "convolution as head": lambda: nn.Sequential(
        *stem()[:3], nn.Conv2d(6, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    ),
    "resnet": lambda: torchvision.models.resnet18(num_classes=4),
    "mobilenet": lambda: torchvision.models.mobilenet_v3_small(num_classes=4),
    "vit": lambda: torchvision.models.VisionTransformer(SIDE, 8, 2, 2, 32, 64, num_classes=4),
}


def scores_of(name: str, network: nn.Module) -> nn.Module:
    return network[:-1] if name == "softmax" and isinstance(network, nn.Sequential) else network


def exported(
    network: nn.Module, path: Path, dynamic: bool = True, decomposed: bool = False, grey: bool = False
) -> Path:
    network.eval()
    batch = ({0: torch.export.Dim("batch")},) if dynamic else None
    program = torch.export.export(network, (torch.randn(2, 1 if grey else 3, SIDE, SIDE),), dynamic_shapes=batch)
    if decomposed:
        program = program.run_decompositions()
    torch.export.save(program, path)
    return path


@pytest.fixture
def images() -> Tensor:
    return torch.randn(5, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    return exported(NETWORKS["cnn"](), tmp_path / "cnn.pt2")


def changed(path: Path, member: str, change: Callable[[bytes], bytes], kind: int = zipfile.ZIP_STORED) -> Path:
    """The same archive with one member changed, or added."""
    with zipfile.ZipFile(path) as archive:
        parts = {info.filename: archive.read(info) for info in archive.infolist()}
    root = next(iter(parts)).partition("/")[0]
    parts[f"{root}/{member}"] = change(parts.get(f"{root}/{member}", b""))
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return path


def in_graph(path: Path, change: Callable[[Any], None]) -> Path:
    def edit(content: bytes) -> bytes:
        tree = json.loads(content)
        change(tree)
        return json.dumps(tree).encode()

    return changed(path, "models/model.json", edit)


class Hostile:
    """An object whose unpickling creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


# ---------------------------------------------------------------------------------------------------------------------


SMALL = [name for name in NETWORKS if name not in ("resnet", "mobilenet")]


@pytest.mark.parametrize(
    ("name", "dynamic", "decomposed"),
    [
        *((name, True, False) for name in NETWORKS),
        *((name, False, False) for name in SMALL),
        *((name, True, True) for name in SMALL),
    ],
)
def test_the_numbers_of_the_network(name: str, dynamic: bool, decomposed: bool, tmp_path: Path, images: Tensor) -> None:
    torch.manual_seed(0)
    network = NETWORKS[name]()
    made = read_exported(exported(network, tmp_path / "network.pt2", dynamic, decomposed))
    assert made.has_head
    assert made.batch == (None if dynamic else 2)
    assert made.image_shape == (3, SIDE, SIDE)
    with torch.no_grad():
        wanted = scores_of(name, network)(images)
        torch.testing.assert_close(made(images), wanted, rtol=1e-4, atol=1e-5)
    assert made.head is not None
    torch.testing.assert_close(made.head(made.embed(images)), made(images))


@pytest.mark.parametrize("name", ["cnn", "vit"])
def test_made_again_from_its_state_dict(name: str, tmp_path: Path, images: Tensor) -> None:
    made = read_exported(exported(NETWORKS[name](), tmp_path / "network.pt2"))
    state = made.state_dict()
    again = ExportedNetwork.from_arrays({key: value.numpy() for key, value in state.items()})
    assert again.load_state_dict(state).missing_keys == []
    assert torch.equal(again(images), made(images))
    assert torch.equal(copy.deepcopy(made)(images), made(images))
    sizes = sum(value.nbytes for key, value in state.items() if key.startswith(("weights", "head")))
    assert sizes == sum(value.nbytes for value in NETWORKS[name]().state_dict().values() if value.is_floating_point())


def test_gradients_reach_the_images_and_the_images_stay_as_they_are(file: Path, images: Tensor) -> None:
    made = read_exported(file)
    torch.manual_seed(0)
    network = NETWORKS["cnn"]().eval()
    before = images.clone()
    grads = []
    for module in (made, network):
        given = images.clone().requires_grad_()
        module(given)[:, 0].sum().backward()
        grads.append(given.grad)
    torch.testing.assert_close(grads[0], grads[1])
    made(images)
    assert torch.equal(images, before)
    assert made.differentiable


@pytest.mark.parametrize("tokens", [0, 9, 10])
def test_encoders_give_an_embedding(tokens: int, tmp_path: Path, images: Tensor) -> None:
    network = Pooling(tokens)
    made = read_exported(exported(network, tmp_path / "encoder.pt2"))
    features = network(images)
    wanted = {0: lambda: features.mean((2, 3)), 9: lambda: features.mean(1), 10: lambda: features[:, 0]}[tokens]()
    assert made.head is None
    assert not made.has_head
    torch.testing.assert_close(made(images), wanted)
    assert any("encoder" in note for note in made.notes)


def test_the_output_that_a_linear_layer_gives(tmp_path: Path, images: Tensor) -> None:
    network = Several()
    made = read_exported(exported(network, tmp_path / "several.pt2"))
    assert made.has_head
    torch.testing.assert_close(made(images), network(images)["logits"])


def test_grey_images(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    made = read_exported(exported(network, tmp_path / "grey.pt2", grey=True))
    assert made.image_shape == (1, SIDE, SIDE)
    with pytest.raises(InputError, match="takes images of 1×32×32"):
        made(torch.zeros(2, 3, SIDE, SIDE))


def test_training_mode_is_refused(tmp_path: Path) -> None:
    program = torch.export.export(NETWORKS["cnn"]().train(), (torch.randn(2, 3, SIDE, SIDE),))
    torch.export.save(program, tmp_path / "training.pt2")
    with pytest.raises(InputError, match=r"training mode.*model\.eval\(\)"):
        read_exported(tmp_path / "training.pt2")


def test_batch_statistics_by_hand_are_refused(file: Path) -> None:
    def train(tree: Any) -> None:
        for node in tree["graph_module"]["graph"]["nodes"]:
            for each in node["inputs"]:
                if each["name"] in ("train", "training"):
                    each["arg"] = {"as_bool": True}

    with pytest.raises(InputError, match="training mode"):
        read_exported(in_graph(file, train))


# ---------------------------------------------------------------------------------------------------------------------
# hostile files


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_sample_inputs_are_never_unpickled(file: Path, tmp_path: Path) -> None:
    proof = tmp_path / "ran"
    changed(file, "data/sample_inputs/model.pt", lambda _: pickle.dumps(Hostile(proof)))
    read_exported(file)
    assert not proof.exists()
    with suppress(Exception):
        torch.export.load(file)
    assert proof.exists()  # PyTorch's loader does run it


@pytest.mark.parametrize("kind", ["weights", "constants"])
def test_pickled_weights_and_objects_are_refused(kind: str, file: Path, tmp_path: Path) -> None:
    proof = tmp_path / "ran"
    part = "weight_0" if kind == "weights" else "custom_obj_0"
    changed(file, f"data/{kind}/{part}", lambda _: pickle.dumps(Hostile(proof)))
    changed(
        file,
        f"data/{kind}/model_{kind}_config.json",
        lambda content: content.replace(b'"use_pickle": false', b'"use_pickle": true', 1),
    )
    with pytest.raises(InputError, match="pickled object" if kind == "weights" else "neither a graph nor weights"):
        read_exported(file)
    assert not proof.exists()


def test_expressions_are_never_evaluated(file: Path, tmp_path: Path) -> None:
    proof = tmp_path / "ran"
    code = f"__import__('pathlib').Path({str(proof)!r}).touch()"

    def poison(tree: Any) -> None:
        tree["guards_code"] = [code]
        for meta in tree["graph_module"]["graph"]["tensor_values"].values():
            for size in meta["sizes"]:
                if "as_expr" in size:
                    size["as_expr"]["expr_str"] = code
        for value in tree["graph_module"]["graph"]["sym_int_values"].values():
            if "as_expr" in value:
                value["as_expr"]["expr_str"] = code

    read_exported(in_graph(file, poison))
    assert not proof.exists()


@pytest.mark.parametrize(
    "target",
    [
        "torch.ops.aten.from_file.default",  # opens and creates files
        "torch.ops.aten.set_data.default",
        "torch.ops.aten.relu.out",
        "torch.ops.mylib.run.default",
        "torch.ops.higher_order.cond",
        "torch.ops.aten.__class__.default",
        "torch.ops.aten.rand_like.default",
        "os.system",
        "_operator.pow",
        "builtins.eval",
        "",
        "relu",
    ],
)
def test_other_calls_are_refused(target: str, file: Path) -> None:
    def call(tree: Any) -> None:
        tree["graph_module"]["graph"]["nodes"][0]["target"] = target

    with pytest.raises(InputError):
        read_exported(in_graph(file, call))


def test_an_operator_writes_no_file_because_none_is_allowed_to() -> None:
    for name in OPERATORS:
        packet = getattr(torch.ops.aten, name)
        schemas = [str(getattr(packet, overload)._schema) for overload in packet.overloads()]
        assert any("Tensor" in schema for schema in schemas), name
        assert not any(word in schema for schema in schemas for word in ("Storage", "Stream", "filename")), name


@pytest.mark.parametrize("decomposed", [False, True])
def test_statistics_of_a_wrong_size_are_not_read_beyond_their_end(decomposed: bool, tmp_path: Path) -> None:
    file = exported(NETWORKS["cnn"](), tmp_path / "network.pt2", decomposed=decomposed)

    def shrink(content: bytes) -> bytes:
        tree = json.loads(content)
        tree["config"]["1.running_mean"]["tensor_meta"]["sizes"] = [{"as_int": 2}]
        return json.dumps(tree).encode()

    changed(file, "data/weights/model_weights_config.json", shrink)
    with pytest.raises(InputError, match="running_mean should contain 6 elements"):
        read_exported(file)


def test_compiled_code_is_refused(file: Path) -> None:
    changed(file, "data/aotinductor/model/model.so", lambda _: b"\x7fELF")
    with pytest.raises(InputError, match="compiled code"):
        read_exported(file)


@pytest.mark.parametrize("name", ["../../outside", "models/other.json", "data/constants/opaque_obj_0", "code.py"])
def test_unknown_parts_are_refused(name: str, file: Path) -> None:
    changed(file, name, lambda _: b"{}")
    with pytest.raises(InputError):
        read_exported(file)
    assert not (file.parent.parent / "outside").exists()


def test_a_bomb_is_refused(file: Path) -> None:
    changed(file, "data/weights/weight_0", lambda _: bytes(100 * 2**20), zipfile.ZIP_DEFLATED)
    assert file.stat().st_size < 2**20
    with pytest.raises(InputError, match="compressed zip archive"):
        read_exported(file)


@pytest.mark.parametrize("field", ["sizes", "strides", "storage_offset"])
def test_claimed_sizes_take_no_memory(field: str, file: Path) -> None:
    def claim(content: bytes) -> bytes:
        tree = json.loads(content)
        meta = tree["config"]["0.weight"]["tensor_meta"]
        meta[field] = {"as_int": 10**10} if field == "storage_offset" else [{"as_int": 10**9}] * 4
        return json.dumps(tree).encode()

    changed(file, "data/weights/model_weights_config.json", claim)
    with pytest.raises(InputError, match="more than the file has"):
        read_exported(file)


def test_huge_intermediate_values_take_no_memory(file: Path) -> None:
    def grow(tree: Any) -> None:
        graph = tree["graph_module"]["graph"]
        pool = next(node for node in graph["nodes"] if "adaptive_avg_pool2d" in node["target"])
        pool["inputs"][1]["arg"] = {"as_ints": [10**5, 10**5]}

    with pytest.raises(InputError, match="larger than 2,048 MiB"):
        read_exported(in_graph(file, grow))


@pytest.mark.parametrize("content", [b"", b"just a text file", b"PK\x03\x04 cut off", b"\x08\x07\x12\x04test", b"{}"])
def test_other_files_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "file.pt2").write_bytes(content)
    with pytest.raises(InputError):
        read_exported(tmp_path / "file.pt2")


def test_truncated_and_state_dicts_are_refused(file: Path, tmp_path: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="damaged or truncated"):
        read_exported(file)
    torch.save({"weight": torch.zeros(2)}, tmp_path / "weights.pt2")
    with pytest.raises(InputError, match="neither a graph nor weights"):
        read_exported(tmp_path / "weights.pt2")
    with pytest.raises(InputError, match="There is no file"):
        read_exported(tmp_path / "absent.pt2")


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b"null", b"[" * 100_000, b'{"graph_module": 3}'])
def test_graphs_that_are_none_are_refused(text: bytes, file: Path) -> None:
    changed(file, "models/model.json", lambda _: text)
    with pytest.raises(InputError):
        read_exported(file)


@pytest.mark.parametrize("place", range(12))
def test_damaged_nodes_are_refused_or_give_the_same(place: int, file: Path) -> None:
    """Any one value of a node replaced by something else never gives another exception."""
    replacements: list[Any] = [None, -1, 2**70, "x" * 5000, [], {}, {"as_tensor": {"name": "none"}}, {"as_int": "1"}]
    content = file.read_bytes()
    for replacement in replacements:
        file.write_bytes(content)

        def damage(tree: Any, value: Any = replacement) -> None:
            node = tree["graph_module"]["graph"]["nodes"][place % 7]
            if place < 7:
                node["inputs"][0]["arg"] = value
            else:
                node[("target", "inputs", "outputs", "name", "metadata")[place - 7]] = value

        in_graph(file, damage)
        with suppress(InputError):
            read_exported(file)


def test_what_comes_from_a_store_is_checked_again(file: Path) -> None:
    state = dict(read_exported(file).state_dict())
    text = as_bytes(state["program"])
    state["program"] = as_buffer(text.replace(b"aten.conv2d.default", b"aten.from_file.default"))
    with pytest.raises(InputError, match="from_file"):
        ExportedNetwork.from_arrays(state)
    state["program"] = as_buffer(text.replace(b'["l",[["c",1],["c",1]]]', b'["l",[["c",99999],["c",99999]]]'))
    with pytest.raises(InputError, match="larger than"):
        ExportedNetwork.from_arrays(state)
    for damaged in (text[:-9], b"[]", b'[2,"x",[3,1,1],null,[],[],"x"]', text.replace(b'["v","', b'["z","', 1)):
        with pytest.raises(InputError):
            Program.parse(damaged)
    with pytest.raises(InputError, match="missing"):
        ExportedNetwork.from_arrays({})
