"""ProtoPNet, FLINT and ProtoVAE: each loss by hand, gradients where they belong, training that resumes."""

from __future__ import annotations

import dataclasses
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kmex_core.base.errors import InputError, StoreError, TrainingError
from kmex_core.base.progress import Event, Progress, silent
from kmex_core.base.specs import DatasetSpec
from kmex_core.base.store import Store
from kmex_core.data import registry as datasets
from kmex_core.models import catalogue as models
from kmex_core.models import training
from kmex_core.models.baseline import Baseline
from kmex_core.models.baselines.flint import FLINT
from kmex_core.models.baselines.protopnet import ProtoPNet
from kmex_core.models.baselines.protovae import ProtoVAE
from kmex_core.models.catalogue import network_input
from kmex_core.models.info import ModelInfo
from kmex_core.models.kinds import BASELINES
from kmex_core.prototypes.source import KMeans
from kmex_core.stages import training_runs
from kmex_core.stages.explainer import explainer
from kmex_core.stages.subject import Subject
from tests.helpers.datasets import write_folder

SIDE, CLASSES, K = 32, 3, 2


def made(kind: str, backbone: str = "resnet20", size: int = SIDE, **options: float) -> Any:
    torch.manual_seed(0)
    return BASELINES[kind].build(backbone, CLASSES, size, K, options)


def batch(count: int = 6, size: int = SIDE) -> tuple[Tensor, Tensor, Tensor]:
    pixels = torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(1))
    return (pixels - 0.5) / 0.25, pixels, torch.arange(count) % CLASSES


def distances(z: Tensor, prototypes: Tensor) -> np.ndarray:
    a, b = z.detach().double().numpy(), prototypes.detach().double().numpy()
    return np.array([[np.sqrt(((x - p) ** 2).sum()) for p in b] for x in a])


def cross_entropy(scores: np.ndarray, labels: Tensor) -> float:
    return float(
        np.mean([math.log(np.exp(row).sum()) - row[y] for row, y in zip(scores, labels.tolist(), strict=True)])
    )


# ---- ProtoPNet


def test_losses_of_protopnet_by_hand() -> None:
    model: ProtoPNet = made("protopnet").eval()
    images, pixels, labels = batch()
    found, scores = model.losses(images, pixels, labels, model.stage(9, 20))
    z = model.encode(images)
    assert ((z > 0) & (z < 1)).all()  # averages of sigmoids
    d = distances(z, model.prototypes) ** 2
    s = np.log((d + 1) / (d + 1e-4))
    weights = np.array([[1.0 if p // K == c else -0.5 for p in range(CLASSES * K)] for c in range(CLASSES)])
    expected = s @ weights.T
    assert scores.detach().numpy() == pytest.approx(expected, rel=1e-4)
    assert found["cross-entropy"].item() == pytest.approx(cross_entropy(expected, labels), rel=1e-4)
    own = [min(d[i, K * y + j] for j in range(K)) for i, y in enumerate(labels.tolist())]
    others = [min(d[i, p] for p in range(CLASSES * K) if p // K != y) for i, y in enumerate(labels.tolist())]
    assert found["clustering"].item() == pytest.approx(0.8 * np.mean(own), rel=1e-4)
    assert found["separation"].item() == pytest.approx(-0.08 * np.mean(others), rel=1e-4)
    assert found["l1"].item() == pytest.approx(0.004 * 0.5 * CLASSES * K * (CLASSES - 1))


def stepped(model: Baseline, epoch: int, epochs: int = 20) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The state before and after one step of a stage."""
    before = {name: value.clone() for name, value in model.state_dict().items()}
    stage = training._begin(model, epoch, epochs)
    optimiser = torch.optim.Adam(model.parameters(), 0.01)
    assert stage is not None
    terms, _ = model.losses(*batch(), stage)
    torch.stack([*terms.values()]).sum().backward()
    optimiser.step()
    return before, model.state_dict()


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {name for name, value in before.items() if not torch.equal(value, after[name])}


def test_the_warm_stage_leaves_the_backbone_alone() -> None:
    model = made("protopnet")
    moved = changed(*stepped(model, 0))
    assert "head.prototypes" in moved
    assert all(name == "head.prototypes" or name.startswith(model._add_on) for name in moved)
    assert len(moved) == 1 + 4  # and two convolutions with biases; no batch statistics
    moved = changed(*stepped(model, 5))
    assert any("conv1" in name for name in moved)
    assert any("running_mean" in name for name in moved)
    assert "head.weight" not in moved


@pytest.mark.parametrize("distinct", [0, 1])
def test_push_moves_prototypes_onto_training_images_and_nothing_else(distinct: int) -> None:
    model = ProtoPNet("resnet20", CLASSES, SIDE, K, {"distinct": distinct})
    z, labels = torch.rand(30, 64), torch.arange(30) % CLASSES
    wanted = distances(model.prototypes, z)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.push(z, labels)
    assert changed(before, model.state_dict()) == {"head.prototypes", "picture"}
    assert torch.equal(model.prototypes, z[model.picture])
    assert torch.equal(labels[model.picture], model.prototype_class)
    if distinct:
        assert len(set(model.picture.tolist())) == CLASSES * K
    for label in range(CLASSES):
        own = [label * K + j for j in range(K)]
        nearest = {p: min((wanted[p, i], i) for i in range(30) if labels[i] == label) for p in own}
        if not distinct:  # as published: each prototype goes to its nearest image, which two may share
            assert all(model.picture[p] == nearest[p][1] for p in own)
        first = min(own, key=lambda p: nearest[p][0])
        assert model.picture[first] == nearest[first][1]
    few = ProtoPNet("resnet20", 2, SIDE, 3, {})
    few.push(torch.rand(4, 64), torch.tensor([0, 0, 1, 1]))  # fewer images than prototypes
    assert (few.picture >= 0).all()


def test_after_a_push_the_last_layer_learns() -> None:
    model: ProtoPNet = made("protopnet", head_epochs=30)
    z, labels = model.prototypes.detach().clone() + 0.01, model.prototype_class.clone()
    labels = labels.roll(K)  # the images near a prototype are of another class

    def wrong() -> float:
        return nn.functional.cross_entropy(model.head(z), labels).item()

    before = wrong()
    model.train_head(z, labels)
    assert wrong() < before
    calls: list[int] = []

    def embedded() -> tuple[Tensor, Tensor]:
        calls.append(1)
        return torch.rand(12, 64), torch.arange(12) % CLASSES

    for epoch in range(20):
        model.after_epoch(epoch, 20, embedded)
    assert len(calls) == 3  # after epochs 10, 15 and 20


# ---- ProtoVAE


def test_losses_of_protovae_by_hand() -> None:
    model: ProtoVAE = made("protovae", kl=2.0).eval()
    images, pixels, labels = batch()
    found, scores = model.losses(images, pixels, labels, model.stage(0, 1))
    mean, log_variance = (part.detach().double().numpy() for part in model.posterior(images))
    assert torch.from_numpy(mean).float().allclose(model.encode(images))
    prototypes = model.prototypes.detach().double().numpy()
    d = distances(model.encode(images), model.prototypes)
    s = np.log((d + 1) / (d + 1e-4))  # unsquared
    weights = np.array([[1.0 if p // K == c else -0.5 for p in range(CLASSES * K)] for c in range(CLASSES)])
    assert scores.detach().numpy() == pytest.approx(s @ weights.T, rel=1e-4)
    assert found["cross-entropy"].item() == pytest.approx(cross_entropy(s @ weights.T, labels), rel=1e-4)
    decoded = model.decode(model.encode(images)).numpy()
    assert decoded.min() >= 0
    assert decoded.max() <= 1
    assert found["reconstruction"].item() == pytest.approx(0.1 * np.mean((decoded - pixels.numpy()) ** 2), rel=1e-4)
    divergence = 0.0
    for i, y in enumerate(labels.tolist()):
        own = [K * y + j for j in range(K)]
        for p in own:
            normal = torch.distributions.Normal(
                torch.from_numpy(mean[i]), torch.from_numpy(np.exp(log_variance[i] / 2))
            )
            other = torch.distributions.Normal(torch.from_numpy(prototypes[p]), torch.ones(64, dtype=torch.float64))
            kl = torch.distributions.kl_divergence(normal, other).mean().item()
            divergence += s[i, p] / s[i, own].sum() * kl / len(labels)
    assert found["kl"].item() == pytest.approx(2 * divergence, rel=1e-3)
    orthogonality = 0.0
    for c in range(CLASSES):
        own_rows = prototypes[K * c : K * (c + 1)]
        centred = own_rows - own_rows.mean(0)
        orthogonality += float(np.linalg.norm(centred @ centred.T - np.eye(K))) / CLASSES
    assert found["orthogonality"].item() == pytest.approx(0.1 * orthogonality, rel=1e-4)


def test_protovae_samples_in_training_only() -> None:
    model: ProtoVAE = made("protovae")
    images, pixels, labels = batch()
    stage = model.stage(0, 1)
    model.eval()
    one, other = (model.losses(images, pixels, labels, stage)[1] for _ in range(2))
    assert torch.equal(one, other)
    model.train()
    one, other = (model.losses(images, pixels, labels, stage)[1] for _ in range(2))
    assert not torch.allclose(one, other)
    assert torch.equal(model.eval()(images), model(images))


# ---- FLINT


def test_losses_of_flint_by_hand() -> None:
    model: FLINT = made("flint").eval()
    images, pixels, labels = batch()
    found, scores = model.losses(images, pixels, labels, model.stage(9, 10))
    z, features = (part.detach() for part in model.encoder.both(images))
    assert torch.equal(z, model.encode(images))
    predicted = model.predictor(features).detach().double().numpy()
    assert found["cross-entropy"].item() == pytest.approx(0.8 * cross_entropy(predicted, labels), rel=1e-4)
    similarity = z.double().numpy() @ model.prototypes.detach().double().numpy().T
    phi = np.maximum(similarity, 0)
    last = model.get_submodule("head.interpreter.1")
    assert isinstance(last, nn.Linear)
    said = phi @ last.weight.detach().double().numpy().T + last.bias.detach().double().numpy()
    assert scores.detach().numpy() == pytest.approx(said, rel=1e-3, abs=1e-5)
    p = np.exp(predicted) / np.exp(predicted).sum(1, keepdims=True)
    q = np.exp(said) / np.exp(said).sum(1, keepdims=True)
    assert found["output"].item() == pytest.approx(-(p * np.log(q)).sum(1).mean(), rel=1e-4)
    decoded = model.decoder(torch.from_numpy(phi).float()).detach().numpy()
    assert found["input"].item() == pytest.approx(0.8 * np.mean((decoded - pixels.numpy()) ** 2), rel=1e-3)
    assert found["conciseness"].item() == pytest.approx(0.1 * phi.mean(), rel=1e-4)

    def entropy(values: np.ndarray) -> float:
        share = np.exp(values) / np.exp(values).sum()
        return float(-(share * np.log(share)).sum())

    assert found["entropy"].item() == pytest.approx(0.2 * np.mean([entropy(row) for row in phi]), rel=1e-4)
    assert found["diversity"].item() == pytest.approx(-0.2 * entropy(phi.mean(0)), rel=1e-4)


def test_flint_rewards_few_attributes_for_an_image_and_all_for_some() -> None:
    model: FLINT = made("flint")
    one_each, the_same, all_of_them = 9 * torch.eye(6), 9 * torch.eye(6)[:1].expand(6, -1), torch.full((6, 6), 9.0)
    few, same, many = (model.of_attributes(phi) for phi in (one_each, the_same, all_of_them))
    assert few["entropy"] < many["entropy"]
    assert few["diversity"] < same["diversity"]
    assert few["conciseness"] < many["conciseness"]


def test_flint_learns_in_stages() -> None:
    model: FLINT = made("flint")
    assert [model.stage(epoch, 10).name for epoch in range(10)] == ["predictor"] * 2 + ["fidelity"] * 2 + ["all"] * 6
    moved = changed(*stepped(model, 0, 10))
    assert moved
    assert all(name.startswith(("encoder.trunk", "predictor")) for name in moved)
    moved = changed(*stepped(model, 9, 10))
    assert {"head.attributes.weight", "predictor.weight", "decoder.first.weight"} <= moved


def test_an_attribute_belongs_to_the_class_it_speaks_for_most() -> None:
    model: FLINT = made("flint")
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.weight[2, 4] = 1
        model.head.weight[1, 0] = 3
    assert model.prototype_class[[4, 0]].tolist() == [2, 1]


# ---- all of them


@pytest.mark.parametrize("kind", list(BASELINES))
@pytest.mark.parametrize(("size", "backbone"), [(28, "resnet20"), (64, "resnet18"), (96, "resnet18"), (224, "resnet18"),
                                                pytest.param(32, "vgg11_bn", marks=pytest.mark.slow),
                                                (32, "mobilenet_v3_small")])  # fmt: skip
def test_sizes_and_backbones(kind: str, size: int, backbone: str) -> None:
    model = made(kind, backbone, size)
    images, pixels, labels = batch(3, size)
    terms, scores = model.losses(images, pixels, labels, model.stage(99, 100))
    assert scores.shape == (3, CLASSES)
    sum(terms.values()).backward()
    model.eval()
    z = model.encode(images)
    assert z.shape == (3, model.prototypes.shape[1])
    assert torch.equal(model(images), model.classify(model.similarity(z)))
    assert torch.equal(model.head(z), model(images))
    if hasattr(model, "decoder"):
        assert model.decoder(torch.rand(2, model.decoder.first.in_features)).shape == (2, 3, size, size)


@pytest.fixture
def striped_data(tmp_path: Path) -> datasets.ImageDataset:
    folder = write_folder(tmp_path / "data", ("ant", "bee"), 20, 6, size=32)
    return datasets.load(DatasetSpec(str(folder)))


def recipe_for(data: datasets.ImageDataset, kind: str, epochs: int, **options: float) -> training.Recipe:
    return training.default_recipe(data, False, kind, epochs=epochs, batch_size=10, k=2, options=options)


@pytest.mark.parametrize("kind", list(BASELINES))
def test_a_resumed_run_is_bit_for_bit_the_one_that_never_stopped(
    kind: str, store: Store, striped_data: datasets.ImageDataset
) -> None:
    options = {"warm": 1.0, "push": 1.0} if kind == "protopnet" else {}
    recipe = recipe_for(striped_data, kind, 4, **options)

    def train(name: str, resume: bool = False, progress: Progress = silent) -> ModelInfo:
        request = training_runs.TrainRequest(name, DatasetSpec(striped_data.name), "resnet20", recipe, "cpu", "")
        return training_runs.train(store, request, resume, progress=progress)

    def stop(event: Event) -> None:
        if event.part == 3 and event.done == event.total * 3 // 4:
            raise KeyboardInterrupt

    whole = train("whole")
    with pytest.raises(KeyboardInterrupt):
        train("parts", progress=stop)
    torch.manual_seed(99)
    parts = train("parts", resume=True)
    assert models.weights_key(store, "whole") == models.weights_key(store, "parts")
    for one, other in zip(whole.made_by["history"], parts.made_by["history"], strict=True):
        assert {**one, "seconds": 0} == {**other, "seconds": 0}
        assert one["loss"] == pytest.approx(sum(one["terms"].values()))


@pytest.mark.parametrize("kind", list(BASELINES))
def test_trained_kept_converted_and_explained(kind: str, store: Store, striped_data: datasets.ImageDataset) -> None:
    recipe = recipe_for(striped_data, kind, 3, **({"warm": 1.0} if kind == "protopnet" else {}))
    request = training_runs.TrainRequest(
        "other", DatasetSpec(striped_data.name), "resnet20", recipe, "cpu", "a command"
    )
    info = training_runs.train(store, request)
    assert (info.kind, info.k) == (kind, 2)
    assert info.options == recipe.options
    assert models.describe(store, "other") == dataclasses.replace(info, made_by=models.describe(store, "other").made_by)
    loaded = models.load(store, "other")
    image = network_input(info, striped_data.split("test").image(0))
    with torch.no_grad():
        assert torch.equal(loaded.model(image), loaded.head(loaded.encoder(image)))
    made = Subject(store, info, striped_data).conversion(KMeans(2)).get()
    assert made.summary.accuracy_black_box == pytest.approx(info.accuracy)
    assert made.summary.ghosting == 0
    kmex = explainer(loaded, KMeans(2), made, Subject(store, info, striped_data).conversion(KMeans(2)).spec)
    assert kmex.explain(image, top=2, method="integrated-gradients").maps.exact.all()
    if kind != "flint":
        assert kmex.explain(image, top=2, method="prp", target="similarity").maps.error.max() < 2e-2
        scores = loaded.model(image)[0]
        head: Any = loaded.head  # of a kind that has relevance
        mine = head.relevance(loaded.encoder(image), scores.argmax()[None])
        assert mine.sum().item() == pytest.approx(scores.max().item(), rel=1e-4)


def test_a_rate_that_diverges_names_the_term_and_keeps_what_was(
    store: Store, striped_data: datasets.ImageDataset
) -> None:
    recipe = dataclasses.replace(recipe_for(striped_data, "protovae", 3), learning_rate=1e30)
    request = training_runs.TrainRequest("wild", DatasetSpec(striped_data.name), "resnet20", recipe, "cpu", "")
    with pytest.raises(TrainingError, match=r"The [a-z-]+ became (nan|inf).* lower learning rate"):
        training_runs.train(store, request)
    assert "wild" not in models.known_names(store)


def test_two_runs_do_not_write_the_same_model(store: Store, striped_data: datasets.ImageDataset) -> None:
    request = training_runs.TrainRequest(
        "one", DatasetSpec(striped_data.name), "resnet20", recipe_for(striped_data, "flint", 2), "cpu", ""
    )
    with store.locked("runs", "one"), pytest.raises(InputError, match="'one' is being trained or imported right now"):
        training_runs.train(store, request)
    assert training_runs.train(store, request).accuracy is not None


def test_a_full_disk_stops_a_run_and_keeps_its_checkpoint(
    store: Store, striped_data: datasets.ImageDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_for(striped_data, "protovae", 3)
    request = training_runs.TrainRequest("one", DatasetSpec(striped_data.name), "resnet20", recipe, "cpu", "")
    real, written = os.replace, []

    def full(part: Path, path: Path) -> None:
        written.append(path)
        if len(written) > 2:  # statistics of the data set, and the first checkpoint
            raise OSError(28, "No space left on device")
        real(part, path)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(StoreError, match="No space left"):
        training_runs.train(store, request)
    monkeypatch.undo()
    monkeypatch.setenv("KMEX_CACHE", str(store.root))
    assert len(training_runs.unfinished(store, "one") or []) == 1
    assert [path.name for path in store.root.rglob(".*.part")] == []
    info = training_runs.train(store, request, resume=True)
    assert len(info.made_by["history"]) == 3


def test_options_come_from_table_10_and_can_be_changed(striped_data: datasets.ImageDataset) -> None:
    protopnet = training.default_recipe(striped_data, False, "protopnet")
    assert (protopnet.epochs, protopnet.k, protopnet.learning_rate, protopnet.optimiser) == (20, 5, 0.001, "adam")
    assert {name: protopnet.options[name] for name in ("clustering", "separation", "l1", "warm", "push")} == {
        "clustering": 0.8,
        "separation": -0.08,
        "l1": 0.004,
        "warm": 5,
        "push": 5,
    }
    assert training.default_recipe(striped_data, False, "protovae").options["kl"] == 100
    assert training.default_recipe(datasets.load(DatasetSpec("digits")), False, "protovae").options["kl"] == 1
    changed = training.default_recipe(striped_data, False, "flint", options={"entropy": 0.5})
    assert changed.options["entropy"] == 0.5
    assert changed.options["output_fidelity"] == 1.0
    with pytest.raises(InputError, match="ProtoPNet has no option 'warmth'; known: cross_entropy"):
        training.default_recipe(striped_data, False, "protopnet", options={"warmth": 1})
    with pytest.raises(InputError, match="black box has no options"):
        training.default_recipe(striped_data, False, options={"warm": 1})
