"""Models from elsewhere: real files that torch and safetensors write, fitting, misnamed, hostile and broken."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import random
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from kmex_core.base.errors import InputError, StoreError
from kmex_core.base.files import read_file, write_file
from kmex_core.base.specs import DatasetSpec
from kmex_core.base.store import Store
from kmex_core.models import catalogue as models
from kmex_core.models.info import ModelInfo
from kmex_core.networks.checkpoints import read_checkpoint
from kmex_core.networks.matching import match
from kmex_core.prototypes.source import KMeans
from kmex_core.stages import importing
from kmex_core.stages.importing import ImportRequest, import_model
from kmex_core.stages.subject import Subject, dataset_of


@pytest.fixture
def weights(store: Store) -> dict[str, Tensor]:
    return dict(models.load(store, "digits").model.state_dict())


def request(path: Path, name: str = "mine", kind: str = "blackbox", dataset: str = "digits", **more: Any) -> Any:
    return ImportRequest(name, kind, path, DatasetSpec(dataset), more.pop("backbone", "resnet20"), **more)


@pytest.mark.parametrize("how", ["plain", "wrapped", "prefixed", "renamed", "safetensors"])
def test_a_state_dict_is_the_model_it_came_from(
    how: str, store: Store, weights: dict[str, Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "weights.pt"
    if how == "safetensors":
        save_file(weights, path)
    else:
        given = {
            "plain": weights,
            "wrapped": {"epoch": 3, "state_dict": weights, "optimizer": {"lr": 0.1}},
            "prefixed": {"model": {f"module.net.{name}": value for name, value in weights.items()}},
            "renamed": {name.replace("fc.", "classifier."): value for name, value in weights.items()},
        }[how]
        torch.save(given, path)
    info, report = import_model(store, request(path))
    demo = models.describe(store, "digits")
    assert info.accuracy == pytest.approx(demo.accuracy)
    assert models.weights_key(store, "mine") == models.weights_key(store, "digits")
    assert report["matched"] == len(weights)
    assert len(report["renamed"]) == {"prefixed": len(weights), "renamed": 2}.get(how, 0)
    assert info.made_by["imported"]["file"] == "weights.pt"
    agreement = Subject(store, info, dataset_of(info)).conversion(KMeans(1)).get().summary.agreement
    assert agreement is not None
    assert agreement > 0.9


def test_a_protopnet_by_its_original_names(store: Store, tmp_path: Path) -> None:
    given: dict[str, Tensor] = {"ones": torch.ones(50, 64, 1, 1)}
    for name, value in models.load(store, "digits-protopnet").model.state_dict().items():
        if name == "head.prototypes":
            given["prototype_vectors"] = value[:, :, None, None]
        elif name == "head.weight":
            given["last_layer.weight"] = value
        elif not name.startswith("head.") and name != "picture":
            there = name.replace("encoder.model.avgpool.0.", "add_on_layers.")
            given[there.replace("encoder.model.", "features.")] = value
    torch.save(given, tmp_path / "weights.pth")
    info, report = import_model(store, request(tmp_path / "weights.pth", kind="protopnet"))
    assert info.accuracy == pytest.approx(models.describe(store, "digits-protopnet").accuracy)
    assert report["ignored"] == ["ones"]
    assert report["kept"] == ["picture", "head.prototype_class"]
    assert report["renamed"]["head.prototypes"] == "prototype_vectors"


class Marks:
    """Makes a file when it is unpickled."""

    def __init__(self, at: Path) -> None:
        self.at = at

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.at),)


def test_no_code_of_a_file_is_run(store: Store, weights: dict[str, Tensor], tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    torch.save({"state_dict": weights, "extra": Marks(mark)}, tmp_path / "hostile.pt")
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps(Marks(mark)))
    torch.save(models.load(store, "digits").model, tmp_path / "whole.pt")
    for name in ("hostile.pt", "plain.pkl", "whole.pt"):
        with pytest.raises(InputError, match=r"more than weights.*could run arbitrary code.*state_dict\(\)"):
            import_model(store, request(tmp_path / name))
    assert not mark.exists()
    assert "mine" not in models.known_names(store)


def test_an_export_with_one_bit_changed_is_refused_and_so_is_the_export_of_a_damaged_model(
    store: Store, tmp_path: Path
) -> None:
    export = tmp_path / "digits.safetensors"
    export.write_bytes(models.exported(store, "digits"))
    content = export.read_bytes()
    draw = random.Random(7)
    for at in (*draw.sample(range(8, len(content)), 12), len(content) - 1):
        flipped = bytearray(content)
        flipped[at] ^= 1 << draw.randrange(8)
        export.write_bytes(flipped)
        with pytest.raises((InputError, StoreError)):
            import_model(store, request(export), overwrite=True)
    assert "mine" not in models.known_names(store)
    export.write_bytes(content)
    import_model(store, request(export))
    kept = models.path_of(store, "mine")
    flipped = bytearray(kept.read_bytes())
    flipped[-5] ^= 4
    kept.write_bytes(flipped)
    with pytest.raises(StoreError, match="damaged"):
        models.exported(store, "mine")


def test_broken_files_are_refused_and_lose_nothing(store: Store, weights: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(weights, tmp_path / "good.pt")
    save_file(weights, tmp_path / "good.safetensors")
    info, _ = import_model(store, request(tmp_path / "good.pt"))
    for good in ("good.pt", "good.safetensors"):
        content = (tmp_path / good).read_bytes()
        for at in (0, 7, 100, len(content) // 2, len(content) - 10):
            (tmp_path / "cut").write_bytes(content[:at])
            with pytest.raises(InputError, match=r"damaged|interrupted|truncated|not a checkpoint|not a safetensors"):
                import_model(store, request(tmp_path / "cut"), overwrite=True)
    (tmp_path / "text").write_text("these are no weights, but long enough to be looked at")
    (tmp_path / "huge").write_bytes(struct.pack("<Q", 2**60) + b"{" + b" " * 100)
    torch.save({"epoch": 3}, tmp_path / "empty")
    torch.save([1, 2], tmp_path / "list")
    for name in ("text", "huge", "empty", "list", "missing"):
        with pytest.raises(InputError):
            import_model(store, request(tmp_path / name), overwrite=True)
    assert models.describe(store, "mine").accuracy == info.accuracy
    assert models.weights_key(store, "mine") == models.weights_key(store, "digits")


def test_too_large_a_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kmex_core.networks.checkpoints.MOST_BYTES", 10)
    (tmp_path / "large").write_bytes(b"x" * 20)
    with pytest.raises(InputError, match="the limit is"):
        read_checkpoint(tmp_path / "large")


def test_what_does_not_fit_is_said(store: Store, weights: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save(weights, path)
    with pytest.raises(InputError, match="10 classes, but data set 'faces' has 3"):
        import_model(store, request(path, dataset="faces"))
    with pytest.raises(InputError, match="belong to another architecture"):
        import_model(store, request(path, backbone="resnet18"))
    with pytest.raises(InputError, match="belong to another architecture"):
        import_model(store, request(path, kind="protovae"))
    with pytest.raises(InputError, match="no model kind named 'senn'"):
        import_model(store, request(path, kind="senn"))
    with pytest.raises(InputError, match="new --images digits --model timm:resnet18 --weights weights.pt"):
        import_model(store, request(path, backbone="timm:resnet18"))
    with pytest.raises(InputError, match="Name the data set"):
        import_model(store, request(path, dataset=""))
    with pytest.raises(InputError, match="Expected 1 value"):
        import_model(store, request(path, mean=(0.5, 0.5, 0.5)))
    with pytest.raises(InputError, match="above 0"):
        import_model(store, request(path, std=(0.0,)))
    torch.save({**weights, "extra.weight": torch.ones(3)}, path)
    with pytest.raises(InputError, match=r"1 not known \(extra.weight"):
        import_model(store, request(path))
    torch.save({**weights, "fc.weight": torch.full_like(weights["fc.weight"], torch.nan)}, path)
    with pytest.raises(InputError, match="not finite"):
        import_model(store, request(path))
    huge = torch.sparse_coo_tensor(torch.zeros(2, 1, dtype=torch.long), torch.ones(1), (2**30, 2**30))
    for tensor in (huge, torch.zeros(1).expand(2**42), torch.ones(3, dtype=torch.complex64)):
        torch.save({**weights, "fc.weight": tensor}, path)
        with pytest.raises(InputError, match=r"1 of another shape \(fc.weight"):
            import_model(store, request(path))
    narrow = next(name for name in weights if name.endswith("running_var"))  # finite weights, and outputs that are not
    torch.save({**weights, narrow: torch.full_like(weights[narrow], -1.0)}, path)
    with pytest.raises(InputError, match="not finite"):
        import_model(store, request(path))
    torch.save(weights, path)
    with pytest.raises(InputError, match="model named 'digits' already exists"):
        import_model(store, request(path, name="digits"))
    with pytest.raises(InputError, match="letters"):
        import_model(store, request(path, name="../out"))


def test_another_image_size_is_refused_where_weights_depend_on_it(store: Store, tmp_path: Path) -> None:
    torch.save(models.load(store, "digits-protovae").model.state_dict(), tmp_path / "weights.pt")
    larger = ImportRequest("mine", "protovae", tmp_path / "weights.pt", DatasetSpec("digits", "", 64), "resnet20")
    with pytest.raises(InputError, match="belong to another architecture"):
        import_model(store, larger)


def test_two_at_once_do_not_write_the_same_model(store: Store, weights: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(weights, tmp_path / "weights.pt")
    with (
        store.locked("runs", "mine"),
        pytest.raises(InputError, match="being trained or imported right now"),
    ):
        import_model(store, request(tmp_path / "weights.pt"))


def test_names_that_could_mean_two_places_are_not_guessed() -> None:
    network = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    given = {"first.weight": torch.zeros(3, 3), "second.weight": torch.ones(3, 3)}
    found = match(given, network)
    assert found.matched == 0
    assert set(found.state) == set(given)
    one = match({"net.0.weight": torch.zeros(3, 3), "net.1.weight": torch.ones(3, 3)}, network)
    assert one.renamed == {"0.weight": "net.0.weight", "1.weight": "net.1.weight"}
    other = match({"0.weight": torch.zeros(3, 3), "last.weight": torch.ones(3, 3)}, network)
    assert other.renamed == {"1.weight": "last.weight"}


def test_what_was_exported_needs_no_description(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "copy.safetensors"
    path.write_bytes(models.path_of(store, "digits-flint").read_bytes())
    info, report = import_model(store, ImportRequest("back", "blackbox", path, DatasetSpec(""), "resnet34"))
    demo = models.describe(store, "digits-flint")
    assert (info.kind, info.backbone, info.k, info.options) == ("flint", "resnet20", demo.k, demo.options)
    assert info.accuracy == pytest.approx(demo.accuracy)
    assert not report["renamed"]
    assert info.made_by["recipe"] == json.loads(json.dumps(demo.made_by["recipe"]))


@pytest.mark.parametrize(
    "change",
    [{"image_size": 10**6}, {"image_size": "32"}, {"k": 10**9}, {"kind": "../x"}, {"std": [0.0]}, {"mean": ["a"]},
     {"mean": [0.1, 0.2]}, {"channels": 7}, {"options": [1]}, {"class_names": [1, 2]}, {"made_by": "me"}],
)  # fmt: skip
def test_an_exported_file_that_was_tampered_with_is_refused(
    change: dict[str, Any], store: Store, digits_file: Path
) -> None:
    arrays, described = read_file(digits_file)
    write_file(digits_file, arrays, {**described, "model": {**described["model"], **change}})
    with pytest.raises(InputError, match="an invalid description"):
        import_model(store, ImportRequest("back", "blackbox", digits_file, DatasetSpec(""), "resnet20"))


def test_an_exported_file_cannot_name_a_folder(
    store: Store, digits_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def elsewhere(path: Path) -> ModelInfo | None:
        found = models.describe(store, "digits")
        return dataclasses.replace(found, dataset="/etc")

    monkeypatch.setattr(importing, "_exported", elsewhere)
    with pytest.raises(InputError, match="pass its location"):
        import_model(store, ImportRequest("back", "blackbox", digits_file, DatasetSpec(""), "resnet20"))


@pytest.fixture
def digits_file(store: Store, tmp_path: Path) -> Path:
    path = tmp_path / "digits.safetensors"
    path.write_bytes(models.path_of(store, "digits").read_bytes())
    return path


def test_models_are_renamed_and_deleted_but_not_those_of_the_product(store: Store, digits_file: Path) -> None:
    info, _ = import_model(store, ImportRequest("one", "blackbox", digits_file, DatasetSpec(""), "resnet20"))
    Subject(store, info, dataset_of(info)).conversion(KMeans(2)).get()
    models.rename(store, "one", "two")
    assert "one" not in models.known_names(store)
    renamed = models.describe(store, "two")
    assert Subject(store, renamed, dataset_of(renamed)).is_embedded
    with pytest.raises(InputError, match="named 'faces' already"):
        models.rename(store, "two", "faces")
    with pytest.raises(InputError, match="letters"):
        models.rename(store, "two", "a/b")
    for act in (lambda: models.rename(store, "digits", "mine"), lambda: models.delete(store, "digits")):
        with pytest.raises(InputError, match="comes with KMEx Explorer"):
            act()
    models.delete(store, "two")
    assert "two" not in models.known_names(store)
    with pytest.raises(InputError, match="no model named 'two'"):
        models.delete(store, "two")


def test_a_folder_that_cannot_be_written_loses_nothing(
    store: Store, digits_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_model(store, ImportRequest("one", "blackbox", digits_file, DatasetSpec(""), "resnet20"))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match=r"No space left.*Existing files are unchanged"):
        import_model(store, ImportRequest("one", "blackbox", digits_file, DatasetSpec(""), "resnet20"), overwrite=True)
    monkeypatch.undo()
    assert models.weights_key(store, "one") == models.weights_key(store, "digits")
