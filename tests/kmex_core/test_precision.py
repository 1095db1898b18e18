"""Training in 16 bits: which parts compute in them, what it changes, and that it is another model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kmex_core.base.errors import InputError
from kmex_core.base.specs import DatasetSpec
from kmex_core.base.store import Store
from kmex_core.data import opened
from kmex_core.data.preprocessing import Preprocessing
from kmex_core.models import catalogue as models
from kmex_core.models import precision, training
from kmex_core.models.baseline import Baseline
from kmex_core.models.kinds import BASELINES
from kmex_core.models.steps import Images, Steps
from kmex_core.networks import architectures
from kmex_core.stages import training_runs
from tests.helpers.datasets import write_folder

SIDE, CLASSES, K = 32, 3, 2
PIXELS = torch.randint(0, 256, (6, 3, SIDE, SIDE), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
LABELS = torch.arange(6) % CLASSES
PREPROCESSING = Preprocessing.plain(SIDE, 3, (0.5,) * 3, (0.25,) * 3)


class Stopped(Exception):
    pass


def made(kind: str) -> nn.Module:
    torch.manual_seed(0)
    if kind == "blackbox":
        return architectures.build("resnet20", CLASSES, SIDE)
    return BASELINES[kind].build("resnet20", CLASSES, SIDE, K, {})


@contextmanager
def outputs(model: nn.Module) -> Iterator[dict[str, torch.dtype]]:
    """The types that the modules of a model give, by name."""
    types: dict[str, torch.dtype] = {}

    def note(name: str) -> Any:
        return lambda module, inputs, output: types.__setitem__(name, output.dtype)

    handles = [module.register_forward_hook(note(name)) for name, module in model.named_modules()]
    yield types
    for handle in handles:
        handle.remove()


def step(model: nn.Module, name: str) -> tuple[Tensor, dict[str, torch.dtype]]:
    """The loss terms of a step of the last epoch in a precision, and the types of what modules gave."""
    stage = training._begin(model, 9, 10)
    layout = precision.memory_layout(name, "cpu")
    take = Steps(model, stage, torch.optim.SGD(model.parameters(), 0.1), Images(PREPROCESSING, "cpu", layout))
    # hooks registered first are called first, so that these see what the modules themselves give
    with outputs(model) as types, precision.computing(model, name):
        torch.manual_seed(3)
        terms, right = take(PIXELS, LABELS)
    assert 0 <= right <= len(LABELS)
    return terms, types


@pytest.mark.parametrize("kind", ["blackbox", *BASELINES])
def test_networks_compute_in_16_bits_and_losses_in_32(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = made(kind)
    exact, plain = step(model, "float32")
    assert set(plain.values()) == {torch.float32}
    model = made(kind)
    seen: list[torch.dtype] = []
    cross_entropy = nn.functional.cross_entropy

    def noted(scores: Tensor, labels: Tensor) -> Tensor:
        seen.append(scores.dtype)
        return cross_entropy(scores, labels)

    monkeypatch.setattr(nn.functional, "cross_entropy", noted)
    mixed, types = step(model, "bfloat16")
    assert seen == [torch.float32]
    assert mixed.dtype == torch.float32
    convolutions = {
        types[name] for name, module in model.named_modules() if isinstance(module, nn.Conv2d) and name in types
    }
    assert convolutions == {torch.bfloat16}
    if isinstance(model, Baseline):
        assert {kind for name, kind in types.items() if name.startswith("head.")} <= {torch.float32}
    assert {value.dtype for value in model.parameters()} == {torch.float32}
    assert {value.grad.dtype for value in model.parameters() if value.grad is not None} == {torch.float32}
    # 8 bits of a number: the same to a percent or so, and not the same
    torch.testing.assert_close(mixed, exact, rtol=0.05, atol=0.02)
    assert not torch.equal(mixed, exact)


def test_a_baselines_distances_have_all_digits() -> None:
    """Of a prototype that is an image's embedding, the distance is 0 if the embedding is taken as it was given."""
    model: Any = made("protopnet")
    images = Images(PREPROCESSING, "cpu").normalised(PIXELS)
    model.train()
    with precision.computing(model, "bfloat16"):
        z = model.encode(images)
        assert z.dtype == torch.float32
        with torch.no_grad():
            model.head.prototypes[: len(z)] = z
        similarity = model.similarity(z)
    assert similarity.dtype == torch.float32
    assert similarity.diagonal().tolist() == pytest.approx([float(torch.log1p(torch.tensor((1 - 1e-4) / 1e-4)))] * 6)


def test_a_failing_pass_leaves_no_autocast_behind() -> None:
    class Broken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            raise ValueError(str(self.layer(x).dtype))

    model = nn.Sequential(Broken())
    with precision.computing(model, "bfloat16"):
        for _ in range(2):
            with pytest.raises(ValueError, match="bfloat16"):
                model(torch.ones(1, 2))
            assert not torch.is_autocast_enabled("cpu")
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_pixels_become_the_same_input_in_any_layout() -> None:
    grey = Preprocessing.plain(SIDE, 1, (0.3,), (0.2,))
    for preprocessing, pixels in ((PREPROCESSING, PIXELS), (grey, PIXELS[:, :1])):
        plain, last = Images(preprocessing, "cpu"), Images(preprocessing, "cpu", torch.channels_last)
        assert torch.equal(plain.normalised(pixels), last.normalised(pixels))
        assert torch.equal(plain.unit(pixels), last.unit(pixels))
        assert last.normalised(pixels).is_contiguous(memory_format=torch.channels_last)
        assert plain.unit(pixels).amax() <= 1


def test_the_fastest_precision_of_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    assert precision.fastest("cpu") == "float32"
    for able, expected in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, able=able: able)
        assert precision.fastest("cuda:1") == expected


def request(folder: Path, name: str, **changes: Any) -> training_runs.TrainRequest:
    spec = DatasetSpec(str(folder))
    settings: dict[str, Any] = {
        "epochs": 12,
        "batch_size": 12,
        "learning_rate": 0.02,
        "precision": "bfloat16",
    } | changes
    recipe = training.default_recipe(opened.dataset(spec), False, **settings)
    return training_runs.TrainRequest(name, spec, "resnet20", recipe, "cpu", "test")


def test_a_model_of_16_bits_is_another_one_that_says_so_and_resumes(store: Store, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "data", ("a", "b", "c"), 16, 6, size=32, channels=3)
    whole = training_runs.train(store, request(folder, "whole"))
    assert whole.made_by["recipe"]["precision"] == "bfloat16"
    assert whole.accuracy is not None
    assert whole.accuracy > 0.6

    def stop(event: Any) -> None:
        if event.part == 3:
            raise Stopped

    with pytest.raises(Stopped):
        training_runs.train(store, request(folder, "parts"), progress=stop)
    with pytest.raises(InputError, match="precision was bfloat16, now float32"):
        training_runs.train(store, request(folder, "parts", precision="float32"), resume=True)
    training_runs.train(store, request(folder, "parts"), resume=True)
    assert models.weights_key(store, "whole") == models.weights_key(store, "parts")
    exact = training_runs.train(store, request(folder, "exact", precision="float32", epochs=1))
    assert "precision" not in exact.made_by["recipe"]
    for value in models.load(store, "whole").model.state_dict().values():
        assert value.is_contiguous()
        assert value.dtype in (torch.float32, torch.int64)
