from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from kmex_core.base.errors import InputError, StoreError, TrainingError
from kmex_core.base.location import SHIPPED
from kmex_core.base.progress import Event
from kmex_core.base.specs import DatasetSpec
from kmex_core.base.store import Store
from kmex_core.data import opened
from kmex_core.data import registry as datasets
from kmex_core.data.preprocessing import Preprocessing
from kmex_core.models import catalogue as models
from kmex_core.models import training, training_images
from kmex_core.models.training_images import TrainingImages, cropped, crops_of
from kmex_core.networks import architectures, splitting
from kmex_core.stages import training_runs
from tests.helpers.datasets import write_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "data", ("a", "b", "c"), 16, 6, size=32, channels=3)


def request(folder: Path, name: str = "net", **changes: Any) -> training_runs.TrainRequest:
    spec = DatasetSpec(str(folder))
    settings = {"epochs": 3, "batch_size": 12, "learning_rate": 0.02} | changes
    recipe = training.default_recipe(opened.dataset(spec), False, **settings)
    return training_runs.TrainRequest(name, spec, "resnet20", recipe, "cpu", "test")


class Stopped(Exception):
    pass


def test_a_resumed_run_is_the_same_to_the_last_bit(store: Store, folder: Path) -> None:
    whole = training_runs.train(store, request(folder, "whole"))

    def stop(event: Event) -> None:
        if event.part == 3 and event.done == event.total - 1:
            raise Stopped

    with pytest.raises(Stopped):
        training_runs.train(store, request(folder, "parts"), progress=stop)
    assert "parts" not in models.known_names(store)
    torch.manual_seed(123)
    parts = training_runs.train(store, request(folder, "parts"), resume=True)
    assert models.weights_key(store, "whole") == models.weights_key(store, "parts")
    strip = [{k: v for k, v in epoch.items() if k != "seconds"} for epoch in whole.made_by["history"]]
    assert strip == [{k: v for k, v in epoch.items() if k != "seconds"} for epoch in parts.made_by["history"]]
    assert not store.path("runs", "parts").exists()


def test_training_learns_and_keeps_what_made_it(store: Store, folder: Path) -> None:
    info = training_runs.train(store, request(folder, epochs=12))
    assert info.accuracy is not None
    assert info.accuracy > 0.8
    kept = models.describe(store, "net")
    assert kept == dataclasses.replace(info, made_by=kept.made_by)
    assert kept.made_by["recipe"]["seed"] == 0
    assert kept.made_by["versions"]["torch"] == torch.__version__.split("+")[0]
    assert len(kept.made_by["history"]) == 12
    black_box = models.load(store, "net")
    assert splitting.fingerprint(black_box.model) == splitting.fingerprint(models.load(store, "net").model)
    assert not black_box.model.training


def test_the_seed_decides(store: Store, folder: Path) -> None:
    keys = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        training_runs.train(store, request(folder, name, epochs=1, seed=seed))
        keys.append(models.weights_key(store, name))
    assert keys[0] == keys[1] != keys[2]


def test_training_leaves_the_global_random_state_alone(folder: Path) -> None:
    data = datasets.load(DatasetSpec(str(folder)))
    run = training.Run(architectures.build("resnet20", 3, 32))
    torch.manual_seed(5)
    before = torch.get_rng_state()
    preprocessing = Preprocessing.plain(data.image_size, 3, (0.5,) * 3, (0.2,) * 3)
    training.fit(run, data, request(folder, epochs=1).recipe, preprocessing)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_diverging_run_says_so_and_keeps_its_checkpoints(store: Store, folder: Path) -> None:
    epochs: list[str] = []

    def poison(event: Event) -> None:
        if event.part == 2:
            epochs.append(event.text)
            for value in network[0].parameters():
                value.data.fill_(float("nan"))

    network: list[nn.Module] = []
    build = architectures.build

    def watched(*arguments: Any) -> nn.Module:
        network.append(build(*arguments))
        return network[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(architectures, "build", watched)
        with pytest.raises(TrainingError, match=r"cross-entropy became nan in epoch 2 of 3.*lower learning rate"):
            training_runs.train(store, request(folder), progress=poison)
    kept = store.get("runs", "net")
    assert kept is not None
    assert kept[1]["epoch"] == 1
    assert all(np.isfinite(array).all() for array in kept[0].values())


def test_a_huge_learning_rate_diverges_with_a_message(store: Store, folder: Path) -> None:
    with pytest.raises(TrainingError, match="lower learning rate than 1e\\+20"):
        training_runs.train(store, request(folder, learning_rate=1e20))


def test_nothing_is_overwritten_by_accident(store: Store, folder: Path) -> None:
    training_runs.train(store, request(folder, epochs=1))
    key = models.weights_key(store, "net")
    with pytest.raises(InputError, match="model named 'net' already exists"):
        training_runs.train(store, request(folder, epochs=1))
    with pytest.raises(InputError, match="model named 'digits' already exists"):
        training_runs.train(store, request(folder, "digits"))
    with pytest.raises(InputError, match="no unfinished training run"):
        training_runs.train(store, request(folder, "other"), resume=True)
    assert models.weights_key(store, "net") == key
    training_runs.train(store, request(folder, epochs=1, seed=9), overwrite=True)
    assert models.weights_key(store, "net") != key


def test_a_run_is_resumed_with_its_own_settings_only(store: Store, folder: Path) -> None:
    def stop(event: Event) -> None:
        if event.part == 2:
            raise Stopped

    with pytest.raises(Stopped):
        training_runs.train(store, request(folder), progress=stop)
    with pytest.raises(InputError, match="has not finished"):
        training_runs.train(store, request(folder))
    with pytest.raises(InputError, match="epochs was 3, now 5"):
        training_runs.train(store, request(folder, epochs=5), resume=True)
    training_runs.train(store, request(folder), resume=True)


@pytest.mark.parametrize("name", ["../up", "a/b", ""])
def test_a_name_cannot_leave_the_store(store: Store, folder: Path, name: str) -> None:
    with pytest.raises(InputError, match="Invalid model name"):
        training_runs.train(store, request(folder, name))


@pytest.mark.parametrize(
    "changes",
    [{"epochs": 0}, {"learning_rate": 0.0}, {"learning_rate": float("nan")}, {"momentum": 1.0}, {"batch_size": 1},
     {"weight_decay": -1.0}, {"augmentation": "flip"}, {"precision": "float16"}],
)  # fmt: skip
def test_impossible_hyper_parameters_are_refused(folder: Path, changes: dict[str, Any]) -> None:
    name = next(iter(changes)).replace("_", " ")
    with pytest.raises(InputError, match=f"The {name} must be"):
        request(folder, **changes)


def test_defaults_are_the_papers() -> None:
    data = datasets.load(DatasetSpec("digits"))
    for name, epochs in {"mnist": 10, "fashion-mnist": 10, "svhn": 10, "cifar10": 30, "stl10": 30}.items():
        recipe = training.default_recipe(dataclasses.replace(data, name=name), imagenet=True)
        assert (recipe.epochs, recipe.learning_rate, recipe.momentum, recipe.batch_size) == (epochs, 0.001, 0.5, 128)


def test_crops_agree_with_a_slow_loop() -> None:
    pixels = torch.randint(0, 256, (40, 3, 6, 6), dtype=torch.uint8)
    out = cropped(pixels, crops_of(len(pixels), torch.Generator().manual_seed(0)))
    assert out.shape == pixels.shape
    seen = set()
    for image, got in zip(pixels, out, strict=True):
        padded = nn.functional.pad(image, [2] * 4)
        options = {
            (top, left, flip): (
                padded[:, top : top + 6, left : left + 6].flip(2) if flip else padded[:, top : top + 6, left : left + 6]
            )
            for top in range(5)
            for left in range(5)
            for flip in (False, True)
        }
        found = [place for place, crop in options.items() if torch.equal(crop, got)]
        assert len(found) == 1
        seen.add(found[0])
    assert len({flip for _, _, flip in seen}) == 2
    assert len({top for top, _, _ in seen}) == len({left for _, left, _ in seen}) == 5


def test_large_data_sets_are_decoded_as_they_go(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = datasets.load(DatasetSpec(str(folder)))

    def batches() -> list[tuple[torch.Tensor, torch.Tensor]]:
        source = TrainingImages(data, "cpu", data.preprocessing)
        held.append(source.pixels is not None)
        return [batch for epoch in (0, 1) for batch in source.epoch(epoch, 7, 11, True)]  # the last one has 4 images

    held: list[bool] = []
    in_memory = batches()
    monkeypatch.setattr(training_images, "IN_MEMORY", 10)
    streamed = batches()
    assert held == [True, False]
    assert len(in_memory) == len(streamed) == 10
    for (one, a), (other, b) in zip(in_memory, streamed, strict=True):
        assert torch.equal(one, other)
        assert torch.equal(a, b)


def test_each_batch_draws_its_crops_in_turn(folder: Path) -> None:
    """As they were drawn before all of an epoch were drawn at once: earlier runs can be resumed."""
    data = datasets.load(DatasetSpec(str(folder)))
    source = TrainingImages(data, "cpu", data.preprocessing)
    generator = torch.Generator().manual_seed(training_images.epoch_seed(7, 1))
    plain = source.epoch(1, 7, 11, False)
    for (pixels, labels), (unchanged, same) in zip(source.epoch(1, 7, 11, True), plain, strict=True):
        n = len(labels)
        top, left = (torch.randint(0, 5, (n, 1), generator=generator) for _ in range(2))
        flip = torch.rand((n, 1), generator=generator) < 0.5
        assert torch.equal(labels, same)
        assert torch.equal(pixels, cropped(unchanged, torch.cat([top, left, flip.long()], 1)))


def test_a_card_holds_what_a_share_of_its_free_memory_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda place: (4000, 9000))
    assert training_images.room("cuda") == 4000 // training_images.CARD_SHARE
    assert training_images.room("cpu") == training_images.IN_MEMORY


def test_weights_of_another_architecture_or_not_finite_are_refused(store: Store, folder: Path) -> None:
    info = training_runs.train(store, request(folder, epochs=1))
    network = models.load(store, "net").model
    models.save(store, dataclasses.replace(info, name="wrong", backbone="resnet18"), network)
    with pytest.raises(InputError, match="belong to another architecture.*missing"):
        models.load(store, "wrong")
    models.save(store, dataclasses.replace(info, name="fewer", class_names=("a", "b")), network)
    with pytest.raises(InputError, match=r"of another shape \(fc.weight is \(3, 64\), \(2, 64\) expected"):
        models.load(store, "fewer")
    with torch.no_grad():
        network.get_parameter("fc.weight")[0, 0] = float("nan")
    models.save(store, dataclasses.replace(info, name="broken"), network)
    with pytest.raises(InputError, match="not finite.*fc.weight"):
        models.load(store, "broken")
    assert models.load(store, "net")


def test_unknown_and_damaged_models(store: Store, folder: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'digits'"):
        models.describe(store, "digit")
    training_runs.train(store, request(folder, epochs=1))
    path = store.path("models", "net")
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(StoreError, match=r"net\.safetensors"):
        models.load(store, "net")
    found, broken = models.list_models(store)
    assert {info.name for info in found} == {path.stem for path in SHIPPED.glob("*.safetensors")}
    assert len(broken) == 1


def interrupted(store: Store, folder: Path, epoch: int) -> None:
    """A run that was stopped in an epoch."""

    def stop(event: Event) -> None:
        if event.part == epoch:
            raise Stopped

    with pytest.raises(Stopped):
        training_runs.train(store, request(folder), progress=stop)


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


def test_a_damaged_checkpoint_costs_one_epoch(store: Store, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    never_stopped = training_runs.train(store, request(folder, "whole"))
    interrupted(store, folder, 3)
    assert [run[1]["epoch"] for room in models.RUNS if (run := store.get(room, "net")) is not None] == [1, 2]
    damage(store.path(models.RUNS[1], "net"))
    stages: list[str] = []
    info = training_runs.train(store, request(folder), resume=True, progress=lambda event: stages.append(event.text))
    assert any(stage.startswith("Epoch 2/") for stage in stages)
    assert not any(stage.startswith("Epoch 1/") for stage in stages)
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == [
        "A checkpoint of the run 'net' is damaged: resuming from the other one, after epoch 1."
    ]
    assert info.accuracy == never_stopped.accuracy
    assert models.weights_key(store, "net") == models.weights_key(store, "whole")
    assert not models.has_run(store, "net")


def test_checkpoints_that_are_all_damaged_get_one_message_with_a_way_out(store: Store, folder: Path) -> None:
    interrupted(store, folder, 3)
    for room in models.RUNS:
        damage(store.path(room, "net"))
    with pytest.raises(StoreError, match="cannot be resumed. Restart with --overwrite"):
        training_runs.train(store, request(folder), resume=True)
    training_runs.train(store, request(folder, epochs=1), overwrite=True)
    assert not models.has_run(store, "net")


def test_a_new_run_is_not_resumed_from_the_checkpoint_of_an_old_one(store: Store, folder: Path) -> None:
    interrupted(store, folder, 3)  # leaves those after epochs 1 and 2

    def stop(event: Event) -> None:
        if event.part == 2:
            raise Stopped

    with pytest.raises(Stopped):
        training_runs.train(store, request(folder, seed=9), overwrite=True, progress=stop)
    assert len(training_runs.unfinished(store, "net") or []) == 1
    assert training_runs.train(store, request(folder, seed=9), resume=True).made_by["recipe"]["seed"] == 9


def test_a_single_checkpoint_of_an_older_version_is_resumed(store: Store, folder: Path) -> None:
    interrupted(store, folder, 3)
    store.path(models.RUNS[0], "net").unlink()
    store.path(models.RUNS[1], "net").rename(store.path(models.RUNS[0], "net"))  # there was one room, for all epochs
    assert len(training_runs.train(store, request(folder), resume=True).made_by["history"]) == 3


def test_weights_are_those_of_earlier_versions(store: Store, folder: Path) -> None:
    """Written by a loop that knows nothing of the product's: what a run gives in 32 bits on a CPU does not change."""
    asked = request(folder, epochs=2, augmentation="none")
    training_runs.train(store, asked)
    data, recipe = datasets.load(DatasetSpec(str(folder))), asked.recipe
    preprocessing = models.describe(store, "net").preprocessing
    pixels = data.pixels("train", np.arange(48)).float().div(255)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (preprocessing.mean, preprocessing.std))
    images, labels = (pixels - mean) / std, torch.from_numpy(data.split("train").labels)
    torch.manual_seed(recipe.seed)
    network = architectures.build("resnet20", 3, 32).train()
    optimiser = torch.optim.SGD(network.parameters(), momentum=recipe.momentum, weight_decay=recipe.weight_decay)
    for epoch in range(2):
        for at, rows in enumerate(np.random.default_rng([0, epoch]).permutation(48).reshape(4, 12)):
            optimiser.param_groups[0]["lr"] = 0.02 * 0.5 * (1 + np.cos(np.pi * (4 * epoch + at) / 8))
            optimiser.zero_grad()
            nn.functional.cross_entropy(network(images[rows]), labels[rows]).backward()
            optimiser.step()
    for name, value in models.load(store, "net").model.state_dict().items():
        torch.testing.assert_close(value, network.state_dict()[name], rtol=1e-4, atol=1e-5, msg=name)


def test_the_throughput_is_kept_with_a_model(store: Store, folder: Path) -> None:
    made_by = training_runs.train(store, request(folder)).made_by
    seconds = [epoch["seconds"] for epoch in made_by["history"]]
    assert made_by["images_per_second"] == pytest.approx(48 / np.median(seconds), rel=1e-3)
    history = [{"seconds": 2.0}, {"seconds": 4.0}, {"seconds": 1.0}]
    assert training_runs.images_per_second(history, 100) == 50
    assert training_runs.images_per_second([], 100) == 0
