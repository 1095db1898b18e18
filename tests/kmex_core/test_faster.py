"""Prepared networks: the same embeddings within a tolerance, and the encoder itself wherever that is not sure."""

from __future__ import annotations

import logging
import threading
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, fx, nn

from kmex_core.base import cores
from kmex_core.base.errors import InputError
from kmex_core.networks import architectures, faster, splitting
from kmex_core.networks.extraction import extract, stream
from kmex_core.networks.types import Embeddings
from tests.helpers.noise import batches


def settled(network: nn.Module) -> nn.Module:
    """With running statistics that are not 0 and 1, as after training."""
    generator = torch.Generator().manual_seed(3)
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d) and part.running_mean is not None and part.running_var is not None:
            part.running_mean.normal_(0, 0.2, generator=generator)
            part.running_var.uniform_(0.5, 2, generator=generator)
    return network.eval()


def images(side: int, count: int = 5) -> Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("backbone", "side"), [("resnet20", 16), ("resnet18", 32), ("mobilenet_v3_small", 32)])
def test_a_prepared_network_gives_the_same_embeddings(backbone: str, side: int) -> None:
    torch.manual_seed(0)
    encoder = splitting.split(settled(architectures.build(backbone, 10, side))).encoder
    before, given = splitting.fingerprint(encoder), images(side)
    fast = faster.prepared(encoder, given[:3])
    assert isinstance(fast, faster.Prepared)
    with torch.no_grad():
        exact = encoder.double()(given.double())  # an oracle for both
        encoder.float()
        theirs, ours = faster.difference(encoder(given), exact), faster.difference(fast(given), exact)
    assert ours < 2 * theirs + 1e-6
    assert not any(isinstance(part, nn.BatchNorm2d) for part in fast.network.modules())
    assert splitting.fingerprint(encoder) == before


@pytest.mark.parametrize("side", [2, 3])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("bias", [True, False])
def test_small_convolutions_are_products(side: int, stride: int, bias: bool) -> None:
    layer = nn.Conv2d(3, 7, (5, 4), stride, padding=(4, 2), dilation=(2, 1), bias=bias).eval()
    network = nn.Sequential(layer, nn.ReLU(), nn.Flatten())
    fast = faster.prepared(network, images(side))
    assert isinstance(fast, faster.Prepared)
    assert not any(isinstance(part, nn.Conv2d) for part in fast.network.modules())
    with torch.no_grad():
        torch.testing.assert_close(fast(images(side)), network(images(side)), rtol=1e-5, atol=1e-6)


def test_other_sizes_go_through_the_encoder() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    fast = faster.prepared(network, images(2))
    assert isinstance(fast, faster.Prepared)
    assert torch.equal(fast(images(9)), network(images(9)))


class Plain(nn.Module):
    """A user's network; subclasses do what cannot be copied."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.layer(images).mean((2, 3))


class Branching(Plain):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) * (2 if float(images.max()) > 1 else 1)


class Counting(Plain):
    seen = 0

    def forward(self, images: Tensor) -> Tensor:
        self.seen = self.seen + len(images)
        return super().forward(images)


class Fixed(Plain):
    """The size of its batches becomes part of a graph."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) / torch.full((1,), 1.0 + _length(images))


def _length(images: Any) -> float:
    return 0.0 if isinstance(images, Tensor) else 1.0  # otherwise while it is traced


class Uncopied(Plain):
    def __deepcopy__(self, memo: Any) -> Any:
        raise RuntimeError("cannot be copied")


def with_hook() -> nn.Module:
    network = Plain()
    network.layer.register_forward_hook(lambda *_: None)
    return network


def compiled() -> nn.Module:
    network = Plain()
    network.layer._compiled_call_impl = network.layer._call_impl  # as compile() does, without its import
    return network


@pytest.mark.parametrize(
    "make",
    [Branching, Counting, Fixed, Uncopied, with_hook, compiled, lambda: Plain().double()],
)
def test_what_is_not_understood_runs_as_it_is(make: Any, caplog: pytest.LogCaptureFixture) -> None:
    network = make().eval()
    given = images(8).to(next(network.parameters()).dtype)
    with caplog.at_level(logging.DEBUG):
        assert faster.prepared(network, given) is network
    assert not any(isinstance(value, fx.Proxy) for value in network.__dict__.values())
    assert "runs as it is" in caplog.text


def test_an_encoder_is_compiled_once_until_it_or_its_images_change(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[nn.Module] = []

    def compile_module(module: nn.Module) -> nn.Module:
        asked.append(module)
        return module

    monkeypatch.setattr(torch, "compile", compile_module)
    monkeypatch.setattr(faster, "_latest", {})
    encoder = splitting.split(architectures.build("resnet20", 10, 16)).encoder.eval()
    first = faster.compiled(encoder, images(16))
    assert faster.compiled(encoder, images(16, 2)) is first
    assert len(asked) == 1
    with torch.no_grad():
        next(encoder.parameters()).data.mul_(2)  # which torch itself does not count
    second = faster.compiled(encoder, images(16))
    assert second is not first
    assert faster.compiled(encoder, images(32)) is not second
    with torch.autocast("cpu", torch.bfloat16):
        faster.compiled(encoder, images(32))
    assert len(asked) == 4
    faster.compiled(splitting.split(architectures.build("resnet20", 10, 16)).encoder.eval(), images(16))
    assert (len(asked), len(faster._latest)) == (5, 1)


def test_modules_of_other_threads_run_as_ever_while_one_is_traced() -> None:
    network, given, failed, stop = Plain().eval(), images(8), [], threading.Event()

    def work() -> None:
        while not stop.is_set():
            try:
                assert type(network(given)) is Tensor
            except Exception as error:
                failed.append(error)
                return

    other = threading.Thread(target=work)
    other.start()
    try:
        for _ in range(5):
            encoder = splitting.split(architectures.build("resnet20", 10, 16).eval()).encoder
            assert isinstance(faster.prepared(encoder, images(16)), faster.Prepared)
    finally:
        stop.set()
        other.join()
    assert not failed


def test_several_threads_give_what_one_gives_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    parts = splitting.split(settled(architectures.build("resnet20", 10, 16)))
    given = batches(300, 16)
    alone = extract(parts.encoder, parts.head, given, 300)
    threads = torch.get_num_threads()
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    together = extract(parts.encoder, parts.head, given, 300)
    assert all(np.array_equal(one, other) for one, other in zip(
        alone.to_arrays().values(), together.to_arrays().values(), strict=True
    ))  # fmt: skip
    monkeypatch.undo()
    torch.set_num_threads(threads)


class Broken(Exception):
    pass


def test_errors_and_cancelling_pass_through_and_end_all_threads() -> None:
    parts = splitting.split(architectures.build("resnet20", 10, 16).eval())
    before = threading.active_count()

    def failing() -> Any:
        yield from batches(48, 16)
        raise Broken

    seen = list[Embeddings]()
    with pytest.raises(Broken):
        seen.extend(stream(parts.encoder, parts.head, failing()))
    running = stream(parts.encoder, parts.head, batches(320, 16))
    next(running)
    running.close()
    with pytest.raises(InputError, match="8 of the first 8 images are not finite"):
        extract(parts.encoder, parts.head, [(images(16, 8) * torch.nan, torch.zeros(8))] * 40)
    assert threading.active_count() == before
    assert not any(part.training for part in parts.encoder.model.modules())


def test_results_are_in_order_bounded_and_errors_are_in_their_place() -> None:
    taken: list[int] = []

    def items() -> Any:
        for number in range(20):
            taken.append(number)
            yield number

    def work(number: int) -> int:
        if number == 12:
            raise Broken
        return number * number

    given: list[int] = []
    with cores.workers(3) as pool, pytest.raises(Broken):  # noqa: PT012
        for value in cores.in_order(pool, work, items(), 4):
            given.append(value)
            assert len(taken) - len(given) < 4
    assert given == [number * number for number in range(12)]
