"""The file of a KMEx: in any process what it was in the store, with what is in it read by other libraries, and hostile
files refused."""

from __future__ import annotations

import copy
import dataclasses
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from torch import Tensor, nn
from typer.testing import CliRunner

from kmex_core import KMEx
from kmex_core.base.errors import InputError, StoreError
from kmex_core.base.files import read_file, write_file
from kmex_core.base.specs import DatasetSpec
from kmex_core.base.store import Store
from kmex_core.commands import app
from kmex_core.data.preprocessing import Preprocessing
from kmex_core.models import catalogue
from kmex_core.models.enclosed import without_places
from kmex_core.networks import trust
from kmex_core.networks.bounded import built_within
from kmex_core.prototypes.source import KMeans
from kmex_core.stages.new_model import NewRequest, decided, keep
from kmex_core.stages.subject import Subject, subject_of
from kmex_core.stages.taken_away import taken_away, write_kmex
from tests.helpers.encoders import encoder
from tests.helpers.hostile import NAMES, hostile_model
from tests.helpers.paths import ROOT

FRESH = """
import json, os, sys
import numpy as np, torch
from kmex_core import KMEx

for name in sys.argv[1:]:
    kmex = KMEx.load(f"../{name}.kmex")
    z = kmex.encode(torch.from_numpy(np.load(f"../{name}.npy")))
    values = {"predicted": kmex.predict(z), "posterior": kmex.posterior(z), "similarity": kmex.similarity(z)}
    np.savez(f"../{name}.npz", **{key: value.detach() for key, value in values.items()})
    explained = kmex.explain(kmex.enclosed.thumbnail(0), top=1, judged=False)
    print(json.dumps([kmex.enclosed.card[:4], explained.predicted, os.listdir(".")]))
"""
MODELS = ("digits", "digits-protovae")


def computed(kmex: KMEx, images: Tensor) -> dict[str, np.ndarray]:
    with torch.no_grad():
        z = kmex.encode(images)
        values = {"predicted": kmex.predict(z), "posterior": kmex.posterior(z), "similarity": kmex.similarity(z)}
    return {name: value.numpy() for name, value in values.items()}


def same(a: KMEx, b: KMEx, images: Tensor) -> None:
    for name, values in computed(b, images).items():
        np.testing.assert_array_equal(computed(a, images)[name], values)


def some(subject: Subject, count: int = 6) -> Tensor:
    images: Tensor = next(subject.inputs("test", count))[1]
    return images.contiguous()


# ---- from the store to a fresh process -------------------------------------------------------------------------------


def test_a_fresh_process_computes_the_same(demo: Store, tmp_path: Path) -> None:
    source, empty = KMeans(5), tmp_path / "empty"
    empty.mkdir()
    subjects = {name: subject_of(demo, name) for name in MODELS}
    for name, subject in subjects.items():
        path = tmp_path / f"{name}.kmex"
        arguments = ["export", "--model", name, "--kmex", str(path), "--weights", "--json"]
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)["files"][0]["bytes"] == path.stat().st_size
        np.save(tmp_path / f"{name}.npy", some(subject).numpy())
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KMEX_")}
    run = subprocess.run(
        [sys.executable, "-c", FRESH, *MODELS],
        cwd=empty,
        env=environment | {"PYTHONPATH": str(ROOT), "HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    for (name, subject), line in zip(subjects.items(), run.stdout.splitlines(), strict=True):
        kmex, values = subject.explainer(source), np.load(tmp_path / f"{name}.npz")
        for key, expected in computed(kmex, some(subject)).items():
            np.testing.assert_array_equal(values[key], expected)
        exemplar = subject.data.split("train").image(int(kmex.details.exemplar[0]))
        with torch.no_grad():
            there = int(kmex(catalogue.network_input(subject.info, exemplar)).argmax())
        assert json.loads(line) == ["---\n", there, []]
    assert not (tmp_path / "home").exists()


def test_the_file_is_read_by_safetensors_alone(demo: Store, tmp_path: Path) -> None:
    subject, path = subject_of(demo, "digits"), tmp_path / "x"
    write_kmex(subject, KMeans(5), path, weights=False)
    conversion = subject.conversion(KMeans(5)).get()
    with safe_open(path, "numpy") as file:
        described = json.loads(file.metadata()["kmex"])
        names = set(file.keys())
        assert {f"thumbnail.{number}" for number in range(50)} <= names
        assert not any(name.startswith("network.") for name in names)
        np.testing.assert_array_equal(file.get_tensor("centers"), conversion.prototypes.centers)
        np.testing.assert_array_equal(file.get_tensor("matrix"), conversion.metric.matrix)
        for number in (0, 49):
            picture = Image.open(io.BytesIO(file.get_tensor(f"thumbnail.{number}").tobytes()))
            expected = subject.data.split("train").image(int(conversion.prototypes.exemplar[number]))
            np.testing.assert_array_equal(np.asarray(picture)[..., 0], expected)
    assert (described["format"], described["temperature"]["value"]) == ("kmex-4", conversion.temperature.value)
    assert Preprocessing.from_description(described["preprocessing"]) == subject.info.preprocessing
    assert described["class_names"] == list(subject.info.class_names)
    assert described["card"].startswith("---\nlibrary_name")
    assert described["made_by"]["weights"] == subject.weights
    with pytest.raises(InputError, match="without their network's weights.*needs resnet20"):
        KMEx.load(path)
    again = KMEx.load(path, subject.network.model)
    same(again, subject.explainer(KMeans(5)), some(subject))


def test_no_path_of_this_machine_leaves_it(store: Store, tmp_path: Path) -> None:
    info = encoder(store, tmp_path / "pets", whole=True)
    subject = subject_of(store, info.name)
    subject.conversion(KMeans(2)).get()
    write_kmex(subject, KMeans(2), tmp_path / "x", weights=True)
    content = (tmp_path / "x").read_bytes()
    assert str(tmp_path).encode() not in content
    assert b"train/ant/" in content  # the names of files in the data set are kept
    again = KMEx.load(tmp_path / "x")
    same(again, subject.explainer(KMeans(2)), some(subject))
    assert again.explain(next((tmp_path / "pets").rglob("*.png")), top=1, judged=False).black_box is None
    details = {"config": {"_name_or_path": "/home/me/net", "vision_config": {"_name_or_path": "/x", "size": [1]}}}
    private = dataclasses.replace(info, root="/home", backbone="hf:/home/me/net", details=details)
    assert "/home" not in repr(without_places(private))


def test_hostile_names_stay_text(store: Store, tmp_path: Path) -> None:
    info = hostile_model(store, tmp_path)
    subject = subject_of(store, info.name)
    subject.conversion(KMeans(2)).get()
    write_kmex(subject, KMeans(2), tmp_path / "x", weights=True)
    assert KMEx.load(tmp_path / "x").class_names == info.class_names
    assert set(info.class_names) == set(NAMES)


# ---- networks that the user passes -----------------------------------------------------------------------------------


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.fc = nn.Linear(6, 3)

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.fc(self.body(images))
        return scores


@pytest.fixture
def model() -> Net:
    torch.manual_seed(0)
    return Net().eval()


@pytest.fixture
def images() -> Tensor:
    return torch.randn(24, 3, 12, 12, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def kmex(model: Net, images: Tensor) -> KMEx:
    data = [(images, torch.arange(24) % 3)]
    return KMEx.convert(model, data, k=[1, 3, 2], metric="whitened", held_out=data)


def test_a_network_of_the_users_own(kmex: KMEx, model: Net, images: Tensor, tmp_path: Path) -> None:
    plain, whole = tmp_path / "plain", tmp_path / "whole"
    kmex.save(plain)
    kmex.save(whole, weights=True)
    with pytest.raises(InputError, match=r'not its code. Build it, and pass it: KMEx.load\("whole", encoder=network'):
        KMEx.load(whole)
    same(KMEx.load(plain, encoder=model), kmex, images)
    # the encoder alone: no black box
    alone = copy.deepcopy(model)
    alone.fc = nn.Identity()  # type: ignore[assignment]
    encoder_only = KMEx.load(plain, encoder=alone)
    same(encoder_only, kmex, images)
    assert encoder_only.explain(images[0], top=1, judged=False).black_box is None
    # new weights: those of the file are used, and the user's network stays as it is
    torch.manual_seed(1)
    fresh = Net()
    before = copy.deepcopy(fresh.state_dict())
    same(KMEx.load(whole, encoder=fresh), kmex, images)
    assert all(torch.equal(value, before[name]) for name, value in fresh.state_dict().items())
    fresh.fc = nn.Identity()  # type: ignore[assignment]
    same(KMEx.load(whole, encoder=fresh), kmex, images)
    with pytest.raises(InputError, match="other weights"):
        KMEx.load(plain, encoder=Net())
    with pytest.raises(InputError, match="another architecture"):
        KMEx.load(whole, encoder=nn.Sequential(nn.Flatten(), nn.Linear(12, 3)))


def test_a_function_runs_only_where_the_user_calls_it(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "my_nets.py").write_text(
        "from torch import nn\ndef make():\n    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), "
        "nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3))\n"
    )
    encoder(store, tmp_path / "pets")
    trust.allow("my_nets:make", tmp_path)
    request = NewRequest("mine", images=DatasetSpec(str(tmp_path / "pets")), model="my_nets:make")
    keep(store, decided(store, request), overwrite=False)
    subject = subject_of(store, "mine")
    subject.conversion(KMeans(2)).get()
    notes = write_kmex(subject, KMeans(2), tmp_path / "x", weights=True)
    assert "not the code of my_nets:make" in notes[0]
    with pytest.raises(InputError, match="my_nets:make.* never run because a file names it"):
        KMEx.load(tmp_path / "x")
    same(KMEx.load(tmp_path / "x", encoder=sys.modules["my_nets"].make()), subject.explainer(KMeans(2)), some(subject))
    sys.modules.pop("my_nets")


def test_a_network_of_a_library_from_python_needs_nothing_else(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    network = timm.create_model("test_resnet", num_classes=3)
    random = np.random.default_rng(0)
    pictures = random.integers(0, 256, (18, 40, 40, 3), dtype=np.uint8)
    kmex = KMEx.from_model(network, (pictures, np.arange(18) % 3), k=1, metric="cosine")
    kmex.save(tmp_path / "x", weights=True)
    again = KMEx.load(tmp_path / "x")
    same(again, kmex, torch.randn(2, 3, 160, 160))
    a, b = (one.explain(pictures[0], top=1, judged=False) for one in (again, kmex))
    np.testing.assert_array_equal(a.similarity, b.similarity)
    np.testing.assert_array_equal(a.black_box, b.black_box)


def test_files_of_earlier_versions_are_read(kmex: KMEx, model: Net, images: Tensor, tmp_path: Path) -> None:
    kmex.save(tmp_path / "x")
    arrays, described = read_file(tmp_path / "x")
    fields = (
        *("metric", "temperature", "class_names", "epsilon", "squared", "pixel_range", "pixel_mean", "made_by"),
        "weights",
    )
    write_file(tmp_path / "x", arrays, {"format": "kmex-3", **{name: described[name] for name in fields}})
    again = KMEx.load(tmp_path / "x", model)
    same(again, kmex, images)
    assert again.enclosed.card == ""
    with pytest.raises(InputError, match="no picture"):
        again.enclosed.thumbnail(0)


# ---- files that are damaged, or made to harm -------------------------------------------------------------------------

Change = Callable[[dict[str, Any], dict[str, Any]], object]


def _network(**changes: object) -> Change:
    return lambda _, described: described["network"].update(changes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a, d: a.update(centers=a["centers"][:, :3]), "matrix"),
        (lambda a, d: a.update(centers=a["centers"] * np.float32(np.nan)), "not finite"),
        (lambda a, d: a.update(classes=a["classes"] + 1), "not of the 10 classes"),
        (lambda a, d: a.update(classes=a["classes"].astype(np.float32)), "classes is float32"),
        (lambda a, d: a.update(nearest=a["nearest"][:, :0]), "does not fit"),
        (lambda a, d: a.update(matrix=a["matrix"] * np.float32(np.inf)), "not finite"),
        (lambda a, d: d.update(temperature=d["temperature"] | {"value": -1.0}), "not above 0"),
        (lambda a, d: d.update(metric={"name": "mine"}), "metric"),
        (lambda a, d: d.update(class_names=[["a"]] * 10), "not texts"),
        (lambda a, d: d.update(card=7), "not texts"),
        (lambda a, d: a.pop("thumbnail.3"), "49 thumbnails"),
        (lambda a, d: d["preprocessing"].update(width=10**9), "preprocessing"),
        (lambda a, d: d["preprocessing"].update(code="x"), "preprocessing"),
        (_network(kind="mine"), "no kind of model"),
        (_network(options={"a": []}), "not numbers"),
        (_network(backbone="unknown"), "cannot be built: "),
        (_network(backbone="torchvision:vit_h_14"), "far larger"),
        (_network(backbone="hf:x", details={"config": {"model_type": "vit", "hidden_size": 2**20}, "classifier": True}),
         "far larger|cannot be built"),
        (_network(backbone="onnx:x"), "cannot be built: "),
        (_network(outputs=2**40), "cannot be built"),
        (lambda a, d: a.update({"network.fc.bias": a["network.fc.bias"] * np.float32(np.nan)}), "not finite"),
        (lambda a, d: a.pop("network.fc.bias"), "1 missing"),
    ],
)  # fmt: skip
def test_what_was_made_up_is_refused(demo: Store, tmp_path: Path, change: Change, message: str) -> None:
    subject = subject_of(demo, "digits")
    kmex = taken_away(subject, KMeans(5))
    kmex.save(tmp_path / "x", weights=True)
    arrays, described = read_file(tmp_path / "x")
    change(arrays, described)
    write_file(tmp_path / "x", arrays, described)
    with pytest.raises(StoreError, match=message):
        KMEx.load(tmp_path / "x")


def test_a_thumbnail_is_decoded_as_any_picture_from_outside(demo: Store, tmp_path: Path) -> None:
    kmex = taken_away(subject_of(demo, "digits"), KMeans(5))
    kmex.save(tmp_path / "x", weights=True)
    arrays, described = read_file(tmp_path / "x")
    arrays["thumbnail.0"] = np.frombuffer(b"<script>alert(1)</script>", np.uint8)
    write_file(tmp_path / "x", arrays, described)
    with pytest.raises(InputError):
        KMEx.load(tmp_path / "x").enclosed.thumbnail(0)


def test_memory_is_not_taken_for_what_is_declared() -> None:
    made: list[nn.Module] = []

    def build() -> nn.Module:
        made.append(nn.Linear(2**15, 2**15))  # 4 GiB
        return made[-1]

    with pytest.raises(InputError, match="far larger than the 0.0 MiB"):
        built_within(build, {"weight": np.zeros(3)})
    assert not made
    assert built_within(lambda: nn.Linear(3, 3), {"weight": np.zeros(9, np.float32)}).weight.device.type == "cpu"


def test_built_in_prototypes_stay_with_their_model(demo: Store, tmp_path: Path) -> None:
    for arguments, message in (
        (["--kmex", "x", "--own"], "leave out --own"),
        (["--weights", "--card", "x"], "pass --kmex FILE"),
    ):
        result = CliRunner().invoke(app, ["export", "--model", "digits-protopnet", *arguments, "--json"])
        assert result.exit_code == 2
        assert message in json.loads(result.stdout)["error"]
