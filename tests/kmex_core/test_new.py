"""A model of one's own on images of one's own, from every source, in one command; mistakes are noticed and said."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from kmex_core.base import jobs
from kmex_core.base.errors import InputError
from kmex_core.base.jsontext import write_json
from kmex_core.base.specs import DatasetSpec
from kmex_core.base.store import Store
from kmex_core.data import registry
from kmex_core.data.network_input import normalise
from kmex_core.models import catalogue
from kmex_core.networks import architectures, trust
from kmex_core.networks.output_names import joined, separated
from kmex_core.prototypes.source import KMeans
from kmex_core.stages.new_model import NewModel, NewRequest, Step, decided, keep, names_of_outputs
from kmex_core.stages.new_report import described
from kmex_core.stages.subject import subject_of
from tests.helpers.huggingface import hugging_face
from tests.helpers.paths import ROOT

COLOURS = {"Blue sky": (20, 40, 220), "green": (30, 200, 40), "red": (220, 30, 30)}
NETWORKS = '''
import torch
from torch import nn


class Scaled(nn.Module):
    """Knows shades by values from 0 to 255."""

    def __init__(self):
        super().__init__()
        self.pool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(3, 3)
        with torch.no_grad():  # dark, middle, bright: the parabola that is highest at 40, 128, 215
            self.fc.weight.copy_(torch.tensor([[40.0], [128.0], [215.0]]).expand(3, 3) / 3)
            self.fc.bias.copy_(-torch.tensor([40.0, 128.0, 215.0]) ** 2 / 2)

    def forward(self, x):
        return self.fc(self.pool(x).flatten(1))


def shades():
    return Scaled()


def colours(num_classes=3):
    """Class i is channel i: red, green, blue, and others that never come."""
    net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, num_classes))
    with torch.no_grad():
        net[2].weight.zero_()
        net[2].bias.fill_(-50)
        net[2].weight[:3] = torch.eye(3)
        net[2].bias[:3] = 0
    return net.eval()


def nothing():
    return "no network"


def fails():
    raise ValueError("my own mistake")
'''


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("KMEX_CACHE", str(tmp_path / "store"))
    return Store()


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 pictures of each of three colours, in folders of classes."""
    root, random = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (root / name).mkdir()
        for number in range(30):
            noise = random.integers(-20, 21, (40, 30 + number % 3, 3))
            Image.fromarray(np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)).save(
                root / name / f"{number}.png"
            )
    return root


@pytest.fixture
def networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a module of the user's own."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "my_networks.py").write_text(NETWORKS)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path / "mine"
    sys.modules.pop("my_networks", None)


def asked(photos: Path, model: str, **options: Any) -> NewRequest:
    return NewRequest("mine", model, DatasetSpec(str(photos)), **options)


def step(found: NewModel, title: str) -> Step:
    return next(one for one in found.steps if one.title == title)


def kmex_accuracy(store: Store) -> float:
    return float(subject_of(store, "mine").conversion(KMeans(2)).get().summary.accuracy_kmex)


def allowed(store: Store, networks: Path, photos: Path, function: str, **options: Any) -> NewModel:
    trust.allow(f"my_networks:{function}", networks)
    return decided(store, asked(photos, f"my_networks:{function}", **options))


# ---- functions of one's own ------------------------------------------------------------------------------------------


def test_a_function_runs_only_once_it_is_allowed_here(
    store: Store, photos: Path, networks: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="allow it once: `python -m kmex_core trust my_networks:colours`"):
        decided(store, asked(photos, "my_networks:colours"))
    assert "my_networks" not in sys.modules
    found = allowed(store, networks, photos, "colours", classes="red,green,Blue sky")
    keep(store, found)
    assert kmex_accuracy(store) == 1
    # the list stays here: in another store the same file asks again
    sys.modules.pop("my_networks", None)
    (tmp_path / "store" / trust.FILE).unlink()
    with pytest.raises(InputError, match="allow it once"):
        catalogue.load(store, "mine")
    (tmp_path / "store" / trust.FILE).write_text('{"os:system; evil": "/", "my_networks:colours": 3}')
    with pytest.raises(InputError, match="allow it once"):
        catalogue.load(store, "mine")
    with pytest.raises(InputError, match="Expected the name of a function"):
        trust.allow("not a function", tmp_path)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("nothing", "returned a str; expected a torch.nn.Module"),
        ("fails", r"fails\(\) failed \(ValueError: my own mistake\)"),
        ("absent", "has no function 'absent'"),
    ],
)
def test_what_a_function_does_wrong_is_said(
    store: Store, photos: Path, networks: Path, function: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        allowed(store, networks, photos, function)


# ---- classes ---------------------------------------------------------------------------------------------------------


def test_another_order_of_the_classes_is_found_and_offered(store: Store, photos: Path, networks: Path) -> None:
    found = allowed(store, networks, photos, "colours")
    assert found.check is not None
    assert found.check.accuracy == pytest.approx(1 / 3)
    assert found.check.at_chance
    assert "Guessing is as good as what 'mine' itself predicts" in found.info.caveat
    assert found.check.outputs == (2, 1, 0)  # Blue sky, green, red
    said = step(found, "Check")
    assert said.warning
    assert "--classes 'red,green,Blue sky'" in said.text
    again = allowed(store, networks, photos, "colours", classes="red,green,Blue sky")
    assert again.check is not None
    assert again.check.accuracy == 1
    assert "Guessing" not in again.info.caveat
    keep(store, again)
    black_box = catalogue.load(store, "mine")
    data = registry.load(DatasetSpec(str(photos)))
    images = normalise(data.pixels("test", range(10), again.info.preprocessing), again.info.preprocessing)
    with torch.no_grad():
        predicted = black_box.head(black_box.encoder(images)).argmax(1)
    np.testing.assert_array_equal(predicted, data.split("test").labels[:10])


def test_names_of_classes_may_hold_commas_and_quotes() -> None:
    names = ["zebra, standing", 'a "good" one', "café <crème>", "plain", "it's, too"]
    assert separated(joined(names)) == names
    assert separated("red, green,blue") == ["red", "green", "blue"]


@pytest.mark.parametrize("names", ["file", "list"])
def test_some_outputs_of_many_are_the_classes_by_their_names(
    store: Store, photos: Path, networks: Path, tmp_path: Path, names: str
) -> None:
    given = ["RED", "Green", "blue_sky", "a", "b", "c", "d"]
    (tmp_path / "names.txt").write_text("\n".join(given))
    # the function is asked for seven classes, because seven are named
    found = allowed(
        store, networks, photos, "colours", classes=str(tmp_path / "names.txt") if names == "file" else ",".join(given)
    )
    assert (found.info.outputs, found.info.class_outputs) == (7, (2, 1, 0))
    assert found.info.predicts
    keep(store, found)
    assert kmex_accuracy(store) == 1
    with pytest.raises(InputError, match="lack classes of the images: green"):
        allowed(store, networks, photos, "colours", classes="RED,teal,Blue sky")


def test_a_network_of_other_classes_gives_its_encoder(store: Store, photos: Path) -> None:
    found = decided(store, asked(photos, "torchvision:squeezenet1_1"))
    assert found.info.outputs == 1000
    assert not found.info.predicts
    assert found.check is None
    assert "1000 other classes" in step(found, "Classes").text
    assert found.info.head_path == "classifier.1"
    keep(store, found)
    embedded = subject_of(store, "mine").embedding("test").get()
    assert embedded.z.shape[1] == 512
    assert (embedded.black_box == -1).all()


def test_random_weights_are_said_wherever_results_are(
    store: Store, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.models._api import WeightsEnum

    def unreachable(self: object, *_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(WeightsEnum, "get_state_dict", unreachable)
    found = decided(store, asked(photos, "torchvision:squeezenet1_1"))
    assert step(found, "Network").warning
    assert "random weights" in step(found, "Network").text
    keep(store, found)
    subject = subject_of(store, "mine")
    assert "was never trained" in subject.info.caveat
    assert subject.info.caveat in subject.warnings()
    assert "trained on" not in subject.info.role


def test_classes_that_are_not_wanted(store: Store, photos: Path, networks: Path) -> None:
    found = allowed(store, networks, photos, "colours", classes="none")
    assert not found.info.predicts
    assert found.info.outputs == 3
    keep(store, found)
    assert kmex_accuracy(store) == 1


# ---- preprocessing ---------------------------------------------------------------------------------------------------


def test_values_on_another_scale_are_noticed(store: Store, tmp_path: Path, networks: Path) -> None:
    random = np.random.default_rng(1)
    for name, shade in {"a dark": 40, "b middle": 128, "c bright": 215}.items():
        (tmp_path / "shades" / name).mkdir(parents=True)
        for number in range(30):
            noise = random.integers(-25, 26, (20, 20, 3))
            Image.fromarray((shade + noise).astype(np.uint8)).save(tmp_path / "shades" / name / f"{number}.png")
    found = allowed(store, networks, tmp_path / "shades", "shades")
    assert found.check is not None
    assert found.check.at_chance
    assert found.check.better[0][0] == "values from 0 to 255"
    assert found.check.better[0][2] == 1
    assert "With values from 0 to 255, 100.0% are" in step(found, "Check").text
    # a file of it makes it right, and travels with the model
    right = {"height": 32, "width": 32, "channels": 3, "mean": [0, 0, 0], "std": [1, 1, 1], "white": 255}
    (tmp_path / "right.json").write_text(json.dumps(right))
    again = allowed(store, networks, tmp_path / "shades", "shades", preprocess=str(tmp_path / "right.json"))
    assert again.check is not None
    assert again.check.accuracy == 1
    keep(store, again)
    assert catalogue.describe(store, "mine").preprocessing.white == 255


def test_preprocessing_is_read_from_transformers_files(
    store: Store, photos: Path, networks: Path, tmp_path: Path
) -> None:
    path = tmp_path / "preprocessor_config.json"
    path.write_text(
        json.dumps(
            {
                "do_resize": True, "size": {"shortest_edge": 36}, "do_center_crop": True, "resample": 3,
                "crop_size": {"height": 32, "width": 32}, "image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 0.6, 0.7],
            }
        )
    )  # fmt: skip
    found = allowed(store, networks, photos, "colours", preprocess=str(path)).info.preprocessing
    assert (found.size, found.resize, found.shorter, found.interpolation) == ((32, 32), "shorter", 36, "bicubic")
    assert (found.mean, found.std, found.white) == ((0.1, 0.2, 0.3), (0.5, 0.6, 0.7), 1)
    for text, message in (("[]", "describes no"), ("{", "not valid JSON"), ('{"height": 3}', "no description")):
        path.write_text(text)
        with pytest.raises(InputError, match=message):
            allowed(store, networks, photos, "colours", preprocess=str(path))
    with pytest.raises(InputError, match="cannot be read"):
        allowed(store, networks, photos, "colours", preprocess="no such file")
    usual = allowed(store, networks, photos, "colours", preprocess="imagenet").info.preprocessing
    assert (usual.size, usual.shorter, usual.mean[0]) == ((224, 224), 256, 0.485)


# ---- sources ---------------------------------------------------------------------------------------------------------


def original(images: Tensor, module: nn.Module) -> Tensor:
    with torch.no_grad():
        output = module.eval()(images)
    return output if isinstance(output, Tensor) else output.logits


def same_predictions(store: Store, found: NewModel, module: nn.Module) -> None:
    """Whether what is loaded from the store computes what the library's own network computes."""
    torch.manual_seed(3)
    images = torch.randn(6, found.info.preprocessing.inputs, *found.info.preprocessing.size)
    keep(store, found)
    black_box = catalogue.load(store, "mine")
    with torch.no_grad():
        z = black_box.encoder(images)
        if found.info.predicts:
            torch.testing.assert_close(black_box.head(z), original(images, module), rtol=1e-3, atol=1e-4)
        assert z.shape == (6, black_box.head.in_features)


def test_torchvision_with_weights_of_ones_own(store: Store, photos: Path, tmp_path: Path) -> None:
    import torchvision

    torch.manual_seed(0)
    module = torchvision.models.resnet18(num_classes=3)
    torch.save(
        {"state_dict": {f"model.{name}": value for name, value in module.state_dict().items()}}, tmp_path / "w.ckpt"
    )
    found = decided(store, asked(photos, "resnet18", weights=tmp_path / "w.ckpt"))
    assert found.info.backbone == "torchvision:resnet18"
    assert (found.info.preprocessing.size, found.info.preprocessing.shorter) == ((224, 224), 256)
    same_predictions(store, found, module)
    # weights of another number of classes are their own network's
    torch.save(torchvision.models.resnet18(num_classes=7).state_dict(), tmp_path / "seven.pt")
    seven = decided(store, asked(photos, "torchvision:resnet18", weights=tmp_path / "seven.pt"))
    assert (seven.info.outputs, seven.info.predicts) == (7, False)


@pytest.mark.parametrize("name", ["test_vit", "test_resnet", "test_efficientnet", "test_convnext"])
def test_timm(store: Store, photos: Path, tmp_path: Path, name: str) -> None:
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    module = timm.create_model(name, pretrained=False, num_classes=3)
    torch.save(module.state_dict(), tmp_path / "w.pt")
    found = decided(store, asked(photos, f"timm:{name}", weights=tmp_path / "w.pt"))
    given = timm.data.resolve_data_config({}, model=module)
    assert found.info.preprocessing.size == given["input_size"][1:]
    assert found.info.preprocessing.mean == given["mean"]
    same_predictions(store, found, module)


@pytest.mark.parametrize(("kind", "predicts"), [("vit", True), ("resnet", True), ("dinov2", False), ("clip", False)])
def test_hugging_face(store: Store, photos: Path, tmp_path: Path, kind: str, predicts: bool) -> None:
    module = hugging_face(tmp_path / "hf", kind)
    found = decided(store, asked(photos, f"hf:{tmp_path / 'hf'}"))
    assert found.info.predicts == predicts
    if kind == "vit":
        assert found.info.class_outputs == (2, 1, 0)  # by their names
        found = decided(store, asked(photos, f"hf:{tmp_path / 'hf'}", classes="Blue sky,green,red"))
    same_predictions(store, found, module)
    if kind == "dinov2":
        (tmp_path / "hf").rename(tmp_path / "elsewhere")  # the store has all that is needed
        black_box = catalogue.load(store, "mine")
        images = torch.randn(2, 3, 32, 32)
        with torch.no_grad():
            torch.testing.assert_close(black_box.encoder(images), module(images).pooler_output, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda config: config | {"auto_map": {"AutoModel": "evil.Model"}},
            "Python code that its repository brings along",
        ),
        (lambda config: config | {"quantization_config": {"bits": 4}}, "is quantised"),
        (lambda config: config | {"model_type": "no_such_type"}, "cannot build this network"),
        (lambda config: [config], "not the description of a network"),
    ],
    ids=["code", "quantised", "unknown", "a list"],
)
def test_what_transformers_folders_may_not_have(
    store: Store, photos: Path, tmp_path: Path, change: Callable[[Any], Any], message: str
) -> None:
    hugging_face(tmp_path / "hf", "resnet")
    path = tmp_path / "hf" / "config.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(InputError, match=message):
        decided(store, asked(photos, f"hf:{tmp_path / 'hf'}"))


def test_a_pickle_is_never_read_as_weights_of_transformers(store: Store, photos: Path, tmp_path: Path) -> None:
    hugging_face(tmp_path / "hf", "resnet")
    (tmp_path / "hf" / "model.safetensors").unlink()
    (tmp_path / "hf" / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    found = decided(store, asked(photos, f"hf:{tmp_path / 'hf'}"))
    assert step(found, "Network").warning
    assert "never trained" in step(found, "Network").text


def test_exported_files(store: Store, photos: Path, tmp_path: Path, networks: Path) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)
    ).eval()
    example, batch = torch.randn(2, 3, 32, 32), {0: torch.export.Dim("batch")}
    torch.export.save(torch.export.export(module, (example,), dynamic_shapes=(batch,)), tmp_path / "n.pt2")
    torch.onnx.export(
        module, (example,), tmp_path / "n.onnx", dynamic_shapes=(batch,), verbose=False, external_data=False
    )
    for model in (f"export:{tmp_path / 'n.pt2'}", f"onnx:{tmp_path / 'n.onnx'}"):
        found = decided(store, asked(photos, model))
        assert found.info.predicts
        assert found.info.preprocessing.size == (32, 32)
        same_predictions(store, found, module)
        catalogue.delete(store, "mine")


def test_names_of_no_source_are_refused_with_the_sources(store: Store, photos: Path) -> None:
    with pytest.raises(InputError) as caught:
        decided(store, asked(photos, "elsewhere:resnet 18"))
    for source in ("torchvision:resnet50", "timm:vit_tiny", "hf:", "onnx:", "export:", "my_networks:make"):
        assert source in str(caught.value)
    assert set(trust.PREFIXES) == {name for name in architectures.outside() if name}
    with pytest.raises(InputError, match="resnet18"):
        decided(store, asked(photos, "torchvision:resnet81"))


def kmex(*arguments: str, root: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """The command line in a folder of the user's."""
    env = {**os.environ, "KMEX_CACHE": str(root), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "kmex_core", *arguments]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=300)


# ---- the command -----------------------------------------------------------------------------------------------------


def test_the_command_decides_shows_and_converts(photos: Path, networks: Path, tmp_path: Path) -> None:
    place: Any = {"root": tmp_path / "cli", "folder": networks}
    common = ["new", "--images", str(photos), "--model", "my_networks:colours", "--name", "mine", "--k", "2"]
    dry = kmex(*common, "--dry-run", **place)
    assert dry.returncode == 0, dry.stderr
    for title in (
        "Images: ",
        "Network: ",
        "Preprocessing: ",
        "Head: ",
        "Classes: ",
        "Check: Warning: ",
        "Nothing was kept",
    ):
        assert title in dry.stdout
    # the function ran this once, and what was measured is not kept
    assert not (tmp_path / "cli" / trust.FILE).exists()
    assert not (tmp_path / "cli" / "statistics").exists()
    assert not (tmp_path / "cli" / "models").exists()
    refused = kmex(*common, "--check", **place)
    assert refused.returncode == 2
    assert "hardly more than by chance" in refused.stderr
    done = kmex(*common, "--classes", "red,green,Blue sky", "--json", **place)
    answer = json.loads(done.stdout)
    assert (answer["accuracy"], answer["accuracy_kmex"], answer["kept"]) == (1, 1, True)
    assert answer["address"].endswith("&model=mine&k=2")
    taken = kmex(*common, **place)
    assert taken.returncode == 2
    assert "already exists" in taken.stderr


# ---- what the page New reads -----------------------------------------------------------------------------------------


def test_the_answer_has_what_a_page_shows(store: Store, photos: Path, networks: Path) -> None:
    found = allowed(store, networks, photos, "colours")
    answer = json.loads(write_json(described(found)))
    assert answer["head"] == {"path": "2", "dimensions": 3, "outputs": 3}
    assert answer["layers"] == ["2"]
    check, labels = answer["check"], found.data.split("test").labels
    assert check["images"] == len(labels) == 18
    # the network's class of a picture is its channel (red, green, blue), and the classes are in another order
    counts = np.zeros((3, 3), dtype=int)
    for label, predicted, images in check["confusion"]:
        counts[label, predicted] = images
    np.testing.assert_array_equal(counts, [[0, 0, 6], [0, 6, 0], [6, 0, 0]])
    assert check["reordered"]["class_outputs"] == [2, 1, 0]
    # pictures of every class, as many as there is room for
    rows = answer["examples"]["rows"]
    assert len(set(rows)) == 8
    assert np.bincount(labels[rows]).tolist() == [3, 3, 2]
    named = allowed(store, networks, photos, "colours", classes="red,green,Blue sky,x")
    again = described(named)
    assert again["class_outputs"] == [2, 1, 0]
    assert again["check"]["accuracy"] == 1
    assert names_of_outputs(again["class_names"], [2, 1, 0], 4) == ["red", "green", "Blue sky", "(output 3)"]


def test_names_that_differ_in_punctuation_alone_are_matched_as_they_are(
    store: Store, photos: Path, networks: Path, tmp_path: Path
) -> None:
    for name, folder in {"C": "red", "C#": "green", "C++": "Blue sky"}.items():
        shutil.copytree(photos / folder, tmp_path / "languages" / name)
    found = allowed(store, networks, tmp_path / "languages", "colours", classes="C,C#,C++")
    assert found.info.class_outputs == (0, 1, 2)
    assert found.check is not None
    assert found.check.accuracy == 1


def test_a_job_never_allows_a_function(store: Store, photos: Path, networks: Path) -> None:
    command = [sys.executable, "-m", "kmex_core", "new", "--images", str(photos), "--model", "my_networks:colours"]
    environment = {**os.environ, "KMEX_CACHE": str(store.root), "PYTHONPATH": str(ROOT), jobs.VARIABLE: "decide-x"}
    done = subprocess.run([*command, "--dry-run"], cwd=networks, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert "allow it once" in done.stderr
    assert not (store.root / trust.FILE).exists()
