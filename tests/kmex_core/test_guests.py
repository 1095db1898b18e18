"""A KMEx is a guest of the user's classifier: it takes it as it is, and leaves it as it was."""

from __future__ import annotations

import copy
import signal
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, relu
from torch.nn.utils import spectral_norm as old_spectral_norm
from torch.nn.utils.parametrizations import spectral_norm, weight_norm
from torch.utils.data import DataLoader, TensorDataset
from torchvision.models import resnet18
from torchvision.models.feature_extraction import create_feature_extractor

from kmex_core import KMEx
from kmex_core.base.errors import InputError
from kmex_core.networks import splitting

LABELS = torch.arange(18) % 3


def images(channels: int = 3, side: int = 12) -> Tensor:
    return torch.randn(18, channels, side, side, generator=torch.Generator().manual_seed(5))


def loader(given: Tensor | None = None) -> DataLoader[Any]:
    return DataLoader(TensorDataset(images() if given is None else given, LABELS), 6)


class Block(nn.Module):
    """A residual block of a user's own, with functions for its activation and sum."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        return relu(self.bn(self.conv(x)) + x, inplace=True)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.bn = nn.BatchNorm2d(6)
        self.block = Block(6)
        self.fc = nn.Linear(6, 3)
        for part in self.modules():
            if isinstance(part, nn.BatchNorm2d):
                assert part.running_mean is not None
                assert part.running_var is not None
                nn.init.uniform_(part.running_mean, -0.3, 0.3)
                nn.init.uniform_(part.running_var, 0.5, 1.5)

    def features(self, x: Tensor) -> Tensor:
        return self.block(relu(self.bn(self.stem(x)))).mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.features(x))


def net(seed: int = 0) -> Net:
    torch.manual_seed(seed)
    return Net().eval()


def state_of(model: nn.Module) -> list[Any]:
    """Everything of a module that must not change: bits of weights and buffers, gradients, modes, hooks, attributes."""
    found: list[Any] = [torch.get_rng_state().numpy().tobytes()]
    for name, part in model.named_modules():
        hooks = [len(value) for key, value in vars(part).items() if key.endswith("hooks") and isinstance(value, dict)]
        found.append((name, type(part), part.training, hooks, sorted(vars(part)), id(part.forward.__func__)))
    for name, value in [*model.named_parameters(), *model.named_buffers()]:
        bits = value.detach().numpy().tobytes()
        gradient = None if value.grad is None else value.grad.clone().numpy().tobytes()
        found.append((name, id(value), value.data_ptr(), value.dtype, value.requires_grad, gradient, bits))
    return found


# ---- wrappers


class Lightning(nn.Module):
    """As a LightningModule is written: the network, a loss and a metric in it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.criterion = model, nn.CrossEntropyLoss()

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class Normalising(nn.Module):
    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, side: int | None = None) -> None:
        super().__init__()
        self.model, self.side = model, side
        self.register_buffer("mean", torch.tensor([0.4, 0.5, 0.6]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.2, 0.3, 0.4]).view(1, 3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        if self.side:
            x = nn.functional.interpolate(x, (self.side, self.side), mode="bilinear", antialias=True)
        return self.model((x - self.mean) / self.std)


class Grey(nn.Module):
    """It makes three channels of one."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x.expand(-1, 3, -1, -1))


def compiled(model: nn.Module) -> nn.Module:
    return cast(nn.Module, torch.compile(model, backend="eager"))  # what its annotation does not say


def compiled_and_run(model: nn.Module) -> nn.Module:
    wrapped = compiled(model)
    wrapped(images())
    return wrapped


def compiled_inside(model: Net) -> nn.Module:
    model.__setattr__("block", compiled(model.block))
    return model


def compiled_in_place(model: Net) -> nn.Module:
    model.block.compile(backend="eager")
    model(images()[:2])
    return model


WRAPPERS: dict[str, Callable[[Net], nn.Module]] = {
    "compiled": compiled,
    "compiled and run before": compiled_and_run,
    "a compiled part": compiled_inside,
    "a part compiled in place": compiled_in_place,
    "DataParallel": nn.DataParallel,
    "compiled DataParallel": lambda model: compiled(nn.DataParallel(model)),
    "a LightningModule": Lightning,
    "a sequence": nn.Sequential,
    "closures and lists of registered layers": lambda model: Closures(model),
    "channels last": lambda model: model.to(memory_format=torch.channels_last),
}


class Closures(nn.Module):
    """It runs registered layers from a list and a closure."""

    def __init__(self, model: Net) -> None:
        super().__init__()
        self.stem, self.bn, self.block, self.fc = model.stem, model.bn, model.block, model.fc
        self.steps: list[Callable[[Tensor], Tensor]] = [
            self.stem,
            self.bn,
            lambda x: relu(x),
            self.block,
            lambda x: x.mean((2, 3)),
        ]
        self.last = lambda x: self.fc(x)

    def forward(self, x: Tensor) -> Tensor:
        for step in self.steps:
            x = step(x)
        return self.last(x)


@pytest.mark.parametrize("how", WRAPPERS)
def test_wrappers_are_looked_through_and_keep_their_method(how: str) -> None:
    plain = KMEx.convert(net(), loader(), k=2)
    model = WRAPPERS[how](net())
    found = KMEx.convert(model, loader(), k=2)
    given = images()
    torch.testing.assert_close(found.encode(given), net().features(given), rtol=1e-5, atol=1e-6)
    explained, expected = (kmex.explain(given[0], method="prp", target="similarity") for kmex in (found, plain))
    assert explained.maps.exact.all()
    np.testing.assert_allclose(explained.maps.values, expected.maps.values, rtol=1e-3, atol=1e-5)
    with torch.no_grad():
        assert torch.isfinite(model(given)).all()


@pytest.mark.parametrize(
    ("make", "channels"),
    [(Normalising, 3), (lambda model: Normalising(model, 8), 3), (lambda model: Normalising(model, 20), 3), (Grey, 1)],
    ids=["normalised", "made smaller", "made larger", "grey"],
)
def test_what_prepares_images_keeps_the_relevance(make: Callable[[Net], nn.Module], channels: int) -> None:
    given = images(channels) * 0.2 + 0.5
    kmex = KMEx.convert(make(net()), loader(given), k=2)
    explained = kmex.explain(given[0], top=6, method="prp", target="similarity")
    assert explained.maps.exact.all()
    assert explained.maps.values.shape == (6, 12, 12)


def test_maps_behind_a_change_of_scale_are_those_of_the_scaled_image() -> None:
    given = images() * 0.2 + 0.5
    front = Normalising(net())
    scaled = (given - front.mean) / front.std
    behind, plain = (
        KMEx.convert(model, loader(values), k=2).explain(values[3], method="prp", target="similarity")
        for model, values in ((front, given), (net(), scaled))
    )
    np.testing.assert_allclose(behind.maps.values, plain.maps.values, rtol=1e-3, atol=1e-5)


# ---- which layer is the head


class Outputs(nn.Module):
    """A classifier with an auxiliary head that runs last."""

    def __init__(self, wrap: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.body, self.wrap = net(), wrap
        self.auxiliary = nn.Linear(6, 3)
        self.trick = nn.Linear(3, 6)

    def forward(self, x: Tensor) -> Any:
        z = self.body.features(x)
        scores = self.body.fc(z)
        return self.wrap(scores, self.auxiliary(z))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda scores, _: scores,
        lambda scores, _: {"logits": scores},
        lambda scores, other: SimpleNamespace(logits=scores, hidden=other),
        lambda scores, other: (scores, other.mean()),
    ],
    ids=["the first", "a dict", "an object with logits", "a pair with one of them"],
)
def test_the_layer_that_gives_the_output_is_the_head(wrap: Callable[[Tensor, Tensor], Any]) -> None:
    parts = splitting.split(Outputs(wrap), images())
    assert parts.head_path == "body.fc"


def test_the_head_can_be_named() -> None:
    model = Outputs(lambda scores, other: (scores, other))
    with pytest.raises(InputError, match=r"head=; .*'body.fc' \(6 to 3\), 'auxiliary' \(6 to 3\)"):
        KMEx.convert(model, loader(), k=2)
    for head in ("body.fc", model.body.fc, "module.body.fc"):
        assert KMEx.convert(model, loader(), k=2, head=head).made_by["head_path"] == "body.fc"
    with pytest.raises(InputError, match="'body.stem' of Outputs .a Conv2d. does not make class scores"):
        KMEx.convert(model, loader(), k=2, head="body.stem")
    with pytest.raises(InputError, match="'trick' does not run"):
        KMEx.convert(model, loader(), k=2, head="trick")
    with pytest.raises(InputError, match="given as head is not a part of this"):
        KMEx.convert(model, loader(), k=2, head=nn.Linear(6, 3))
    with pytest.raises(InputError, match="computes more after"):
        KMEx.convert(Outputs(lambda scores, _: scores), loader(), k=2, head="auxiliary")


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 4))
        self.fc = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return -nn.functional.linear(self.body(x), self.fc.weight, self.fc.bias)


class Hidden(nn.Module):
    """It keeps a layer in a plain list."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = [nn.Conv2d(3, 6, 3), nn.ReLU()]
        self.fc = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return self.fc(x.mean((2, 3)))


class Random(Net):
    """It drops out in evaluation mode, too."""

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(nn.functional.dropout(self.features(x)))


def lazy() -> nn.Module:
    return nn.Sequential(nn.LazyConv2d(4, 3), nn.Flatten(), nn.LazyLinear(3))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (Functional, "F.linear"),
        (Hidden, "not registered.*nn.ModuleList"),
        (Random, "different embeddings in every pass"),
        (lazy, "belongs to a lazy layer"),
        (lambda: net().to("meta"), "on the device 'meta'"),
        (lambda: torch.jit.trace(net(), images()), "TorchScript"),
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(7, 3)), r"cannot take images .*12, 12\) of float32"),
        (lambda: "resnet18", "torch.nn.Module.*got a str"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_classifier_is_told_in_a_sentence(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        KMEx.convert(make(), loader(), k=2)


# ---- numbers


def mixed() -> nn.Module:
    model = net()
    model.fc.half()
    model.forward = lambda x: model.fc(model.features(x).half())  # type: ignore[method-assign]
    return model


class Autocast(Net):
    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return super().forward(x)


@pytest.mark.parametrize(
    ("make", "method"),
    [
        (lambda: net().half(), "prp"),
        (lambda: net().bfloat16(), "prp"),
        (lambda: net().double(), "prp"),
        (mixed, "prp"),
        (lambda: Autocast().eval(), "prp"),
        (lambda: nn.Sequential(net(), nn.GELU(), nn.Linear(3, 3)).bfloat16(), "integrated-gradients"),
        (lambda: nn.Sequential(net(), nn.GELU(), nn.Linear(3, 3)).double(), "integrated-gradients"),
    ],
    ids=["half", "bfloat16", "double", "mixed", "autocast", "bfloat16 without rules", "double without rules"],
)
def test_every_type_of_float_explains(make: Callable[[], nn.Module], method: str) -> None:
    torch.manual_seed(0)
    kmex = KMEx.convert(make(), loader(), k=2)
    explained = kmex.explain(images()[0], method=method, target="similarity")
    assert explained.maps.values.dtype == np.float32
    assert explained.maps.error.max() < 0.1
    assert kmex(images()).shape == (18, 3)


def normed(norm: Callable[[nn.Module], nn.Module]) -> nn.Module:
    model = net()
    norm(model.stem)
    norm(model.fc)
    return model


@pytest.mark.parametrize("norm", [weight_norm, spectral_norm, old_spectral_norm])
def test_weights_that_are_computed_anew_explain(norm: Callable[[nn.Module], nn.Module]) -> None:
    model = normed(norm)
    with torch.no_grad():
        model.eval()(images())
    kmex = KMEx.convert(model, loader(), k=2)
    torch.testing.assert_close(kmex.head(kmex.encode(images())), model(images()))
    explained = kmex.explain(images()[0], method="prp", target="similarity")
    assert explained.maps.exact.all()


# ---- as it was


def counted(model: nn.Module, fail_at: int, error: type[BaseException]) -> None:
    """Let the n-th call of any part fail."""
    calls = [0]

    def fail(*_: Any) -> None:
        calls[0] += 1
        if calls[0] == fail_at:
            raise error("here")

    for part in model.modules():
        part.register_forward_pre_hook(fail)


@pytest.mark.parametrize("mode", ["train", "eval", "mixed"])
@pytest.mark.parametrize("fail_at", [None, 1, 3, 5, 8, 14, 23])
@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_a_module_is_bit_for_bit_left_as_it_was(mode: str, fail_at: int | None, error: type[BaseException]) -> None:
    inner = net()
    model = Lightning(inner).train(mode != "eval")
    if mode == "mixed":
        inner.bn.eval()
        inner.stem.weight.requires_grad_(False)
    cross_entropy(model(images()), LABELS).backward()
    counted(model, fail_at or -1, error)
    before = state_of(model)
    try:
        KMEx.convert(model, loader(), k=2).explain(images()[0])
    except (KeyboardInterrupt, InputError, RuntimeError):
        assert fail_at is not None
    assert state_of(model) == before


def test_ctrl_c_at_any_moment_leaves_it_as_it_was() -> None:
    model = Lightning(net()).train()
    encoder = splitting.split(model, images()).encoder
    before, interrupted = state_of(model), 0
    random = np.random.default_rng(0)

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    handler = signal.signal(signal.SIGALRM, interrupt)
    try:
        for _ in range(100):
            try:
                signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-5, 3e-3))
                for _ in range(50):
                    encoder(images()[:2])
            except KeyboardInterrupt:
                interrupted += 1
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            assert state_of(model) == before
    finally:
        signal.signal(signal.SIGALRM, handler)
    assert interrupted > 90


def test_a_classifier_goes_on_training_beside_its_kmex() -> None:
    model = net().train()
    kmex = KMEx.convert(model, loader(), k=2)
    given = images()
    before = kmex(given).detach()
    assert model.bn.running_mean is not None
    statistics = model.bn.running_mean.clone()
    assert torch.equal(kmex(given), before)
    assert torch.equal(model.bn.running_mean, statistics)
    assert all(part.training for part in model.modules())
    optimiser = torch.optim.SGD(model.parameters(), 0.1)
    cross_entropy(model(given), LABELS).backward()
    optimiser.step()
    assert not torch.equal(model.bn.running_mean, statistics)
    with torch.no_grad():
        torch.testing.assert_close(kmex.encode(given), copy.deepcopy(model).eval().features(given))
    assert all(part.training for part in model.modules())
    kmex.train()
    kmex.eval()
    assert all(part.training for part in model.modules())


def test_threads_share_a_classifier_and_leave_it_as_it_was() -> None:
    model = net().train()
    kmex = KMEx.convert(model, loader(), k=2)
    given = images()
    expected, before = kmex.encode(given).detach(), state_of(model)
    wrong: list[object] = []

    def work() -> None:
        for _ in range(40):
            with torch.no_grad():
                if not torch.equal(kmex.encode(given), expected):
                    wrong.append("another embedding")

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert state_of(model) == before


def test_names_in_a_state_dict_are_those_of_the_network_without_its_head() -> None:
    model = net()
    kmex = KMEx.convert(compiled(model), loader(), k=2)
    names = [f"encoder.model.{name}" for name in model.state_dict() if not name.startswith("fc.")]
    own = ["prototypes", "prototype_class", "metric_matrix"]
    assert list(kmex.state_dict()) == [*own, *names, "head.weight", "head.bias"]
    state = copy.deepcopy(kmex.state_dict())
    with torch.no_grad():
        model.stem.weight.zero_()
        model.fc.weight.zero_()
    kmex.load_state_dict(state)
    assert torch.equal(model.fc.weight, state["head.weight"])
    assert torch.equal(model.stem.weight, state["encoder.model.stem.weight"])


def test_saved_from_a_wrapped_model_it_is_loaded_with_the_plain_one(tmp_path: Any) -> None:
    kmex = KMEx.convert(compiled(nn.DataParallel(net())), loader(), k=2)
    kmex.save(tmp_path / "x.safetensors")
    for model in (net(), nn.DataParallel(net()), compiled(net())):
        again = KMEx.load(tmp_path / "x.safetensors", model)
        assert again.made_by["head_path"] == "fc"
        assert torch.equal(again(images()), kmex(images()))
    assert torch.equal(KMEx.load(tmp_path / "x.safetensors", net(), head="fc")(images()), kmex(images()))
    with pytest.raises(InputError, match="made with other weights than the Net"):
        KMEx.load(tmp_path / "x.safetensors", net(1))
    with pytest.raises(InputError, match="no part 'head'"):
        KMEx.load(tmp_path / "x.safetensors", net(), head="head")


def test_the_embedding_is_torchvisions_own_feature() -> None:
    torch.manual_seed(0)
    model = resnet18(num_classes=3).eval()
    given = torch.randn(4, 3, 40, 40)
    with torch.no_grad():
        expected = create_feature_extractor(model, ["flatten"])(given)["flatten"]
        assert torch.equal(splitting.split(model, given).encoder(given), expected)
