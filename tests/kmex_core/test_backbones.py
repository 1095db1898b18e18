from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kmex_core.base.errors import InputError
from kmex_core.networks import architectures, splitting

# one small member of every torchvision family, its smallest sensible input, and its embedding's size
FAMILIES = {
    "resnet20": (32, 64),
    "resnet18": (32, 512),
    "resnet50": (32, 2048),
    "resnext50_32x4d": (32, 2048),
    "wide_resnet50_2": (32, 2048),
    "densenet121": (32, 1024),
    "vgg11": (32, 4096),
    "vgg11_bn": (32, 4096),
    "alexnet": (64, 4096),
    "efficientnet_b0": (32, 1280),
    "efficientnet_v2_s": (32, 1280),
    "convnext_tiny": (32, 768),
    "mobilenet_v2": (32, 1280),
    "mobilenet_v3_small": (32, 1024),
    "mnasnet0_5": (32, 1280),
    "regnet_x_400mf": (32, 400),
    "regnet_y_400mf": (32, 440),
    "shufflenet_v2_x0_5": (32, 1024),
    "squeezenet1_1": (32, 512),
    "googlenet": (32, 1024),
    "inception_v3": (96, 2048),
    "vit_b_32": (32, 768),
    "swin_t": (32, 768),
    "swin_v2_t": (32, 768),
    "maxvit_t": (224, 512),
}


LARGE = ("maxvit_t", "vgg11")  # vgg11_bn is a VGG, too


def family(name: str) -> str:
    return name.split("_")[0].rstrip("0123456789").removesuffix("mf")


def test_every_registered_family_is_tested() -> None:
    tested = {family(name) for name in FAMILIES}
    assert {family(name) for name in architectures.names()} <= tested


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in LARGE else []) for name in FAMILIES]
)
def test_encoder_and_head_make_the_whole(name: str) -> None:
    size, dimensions = FAMILIES[name]
    torch.manual_seed(0)
    model = architectures.build(name, 7, size)
    before = splitting.fingerprint(model)
    images = torch.randn(2, 3, size, size)
    parts = splitting.split(model, images)
    assert splitting.split(model).head_path == parts.head_path
    model.eval()
    parts.encoder.eval()
    with torch.no_grad():
        z = parts.encoder(images)
        assert z.shape == (2, dimensions)
        torch.testing.assert_close(parts.head(z), model(images))
    assert splitting.fingerprint(model) == before


def test_parts_share_the_models_parameters() -> None:
    model = architectures.build("resnet20", 10, 32)
    parts = splitting.split(model)
    ours = {id(p) for part in (parts.encoder, parts.head) for p in (*part.parameters(), *part.buffers())}
    assert ours == {id(p) for p in (*model.parameters(), *model.buffers())}
    parts.encoder.eval()
    assert all(module.training for module in model.modules())
    assert isinstance(model.get_submodule("fc"), nn.Linear)


class Late(nn.Module):
    """Its last Linear layer to run is not the last one registered."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(6, 3)
        self.first = nn.Linear(12, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x.flatten(1)).relu())


def test_the_last_layer_to_run_counts() -> None:
    assert splitting.split(Late(), torch.randn(4, 3, 2, 2)).head_path == "last"
    assert splitting.split_at(Late(), "last").head.in_features == 6
    with pytest.raises(InputError, match="no part 'middle'"):
        splitting.split_at(Late(), "middle")


def test_a_softmax_after_the_head_is_no_obstacle() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 3), nn.Softmax(1))
    images = torch.randn(5, 3, 2, 2)
    parts = splitting.split(model, images)
    assert parts.head_path == "3"
    torch.testing.assert_close(parts.encoder(images), model[:3](images))
    torch.testing.assert_close(parts.head(parts.encoder(images)).softmax(1), model(images))


class Detour(nn.Module):
    """It has a Linear layer that some inputs never reach."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.flatten(1)) if x.mean() > 0 else x.mean((2, 3))


def test_a_pass_that_misses_the_head_is_an_error() -> None:
    encoder = splitting.split(Detour()).encoder
    assert encoder(torch.ones(2, 3, 2, 2)).shape == (2, 12)
    with pytest.raises(RuntimeError, match="did not come to its head"):
        encoder(-torch.ones(2, 3, 2, 2))


class Negated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        return -self.head(x.flatten(1))


class Spatial(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(2, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x).mean((1, 2))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten()), "no Linear layer"),
        (Negated(), "computes more after its last Linear"),
        (Spatial(), "one embedding per image"),
        (nn.Sequential(nn.Linear(2, 3)), "expected a tensor \\(images, classes\\)"),
    ],
)
def test_what_cannot_be_split_is_refused(model: nn.Module, message: str) -> None:
    torch.manual_seed(0)
    with pytest.raises(InputError, match=message):
        splitting.split(model, torch.randn(5, 3, 2, 2))


def test_splitting_leaves_the_mode_alone() -> None:
    model = architectures.build("resnet20", 10, 32).train()
    statistics = copy.deepcopy(model.state_dict())
    splitting.split(model, torch.randn(2, 3, 32, 32))
    assert all(module.training for module in model.modules())
    assert all(torch.equal(value, statistics[name]) for name, value in model.state_dict().items())


def test_the_fingerprint_sees_every_weight() -> None:
    model = architectures.build("resnet20", 10, 32)
    before = splitting.fingerprint(model)
    with torch.no_grad():
        model.get_parameter("layer2.0.conv1.weight")[0, 0, 0, 0] += 1e-3
    assert splitting.fingerprint(model) != before


def test_unknown_names_and_sizes_are_refused() -> None:
    with pytest.raises(InputError, match="'resnet18'"):
        architectures.build("resnet-18", 10, 32)
    with pytest.raises(InputError, match="cannot take 32×32"):
        architectures.build("inception_v3", 10, 32)
    with pytest.raises(InputError, match="cannot be built for 30×30"):
        architectures.build("vit_b_16", 10, 30)
    with pytest.raises(InputError, match="at least 2 classes"):
        architectures.build("resnet20", 1, 32)


def test_imagenet_weights_that_cannot_be_had_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise OSError("no network here")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    with pytest.raises(InputError, match="could not be downloaded"):
        architectures.build("resnet18", 10, 32, imagenet=True)
    with pytest.raises(InputError, match="no ImageNet weights for 'resnet20'"):
        architectures.build("resnet20", 10, 32, imagenet=True)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "vit_b_32", "squeezenet1_1", "googlenet"])
def test_imagenet_weights_get_a_new_head(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import torchvision.models as zoo

    torch.manual_seed(0)
    options = {"aux_logits": True, "init_weights": False} if name == "googlenet" else {}
    published = zoo.get_model(name, weights=None, **options).state_dict()
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", lambda *_, **__: copy.deepcopy(published))
    model = architectures.build(name, 7, 64, imagenet=True)
    assert splitting.split(model).head.out_features == 7
    state = model.state_dict()
    first = next(iter(key for key in published if key.endswith("weight")))
    assert torch.equal(state[first], published[first])
    assert model.train()(torch.randn(2, 3, 64, 64)).shape == (2, 7)


def test_resnet20_is_made_of_torchvision_s_blocks() -> None:
    from torchvision.models.resnet import BasicBlock

    torch.manual_seed(0)
    network = architectures.build("resnet20", 4, 32).eval()
    images = torch.randn(2, 3, 32, 32)
    scores = network(images)
    for name in ("layer1", "layer2", "layer3"):
        stage: Any = network.get_submodule(name)
        for place, block in enumerate(stage):
            out, inside = block.conv1.weight.shape[:2]
            theirs = BasicBlock(inside, out, block.conv1.stride[0], block.downsample).eval()
            theirs.load_state_dict(block.state_dict())  # the same names
            stage[place] = theirs
    assert torch.equal(network(images), scores)
