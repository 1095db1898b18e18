"""Heads of all kinds: what follows the embedding is found by what it gives, and makes the classifier's decisions."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional

from kmex_core import KMEx
from kmex_core.base.errors import InputError
from kmex_core.networks import splitting
from kmex_core.networks.encoders import MEAN, NONE, embedding_in, kept_path
from kmex_core.networks.heads import NoHead, has_scores
from kmex_core.networks.splitting import split, split_at, whole
from kmex_core.relevance.lrp import class_relevance

CLASSES, SIDE = 3, 12


class Stem(nn.Module):
    """(N, 3, H, W) images to (N, 8, H', W') feature maps."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).relu()


def stem(*rest: nn.Module) -> nn.Sequential:
    return nn.Sequential(Stem(), *rest)


def pool() -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())


class Cosine(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(CLASSES, 8))

    def forward(self, z: Tensor) -> Tensor:
        return 12 * functional.linear(functional.normalize(z), functional.normalize(self.weight))


class Distilled(nn.Module):
    """Averages two heads on two tokens in evaluation mode, as DeiT does."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head, self.head_dist = Stem(), nn.Linear(8, CLASSES), nn.Linear(8, CLASSES, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.stem(x)
        return (self.head(maps.mean((2, 3))) + self.head_dist(maps.amax((2, 3)))) / 2


class Wrapped(nn.Module):
    def __init__(self, module: nn.Module, give: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.module, self.give = module, give

    def forward(self, x: Tensor) -> Any:
        return self.give(self.module(x))


def linear(outputs: int = CLASSES, bias: bool = True) -> nn.Module:
    return stem(pool(), nn.Linear(8, outputs, bias))


def images(count: int = 40) -> Tensor:
    return torch.randn(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


def loader(classes: int = CLASSES) -> list[tuple[Tensor, Tensor]]:
    return [(images(), torch.arange(40) % classes)]


def decisions(output: Tensor) -> Tensor:
    return output.argmax(1) if output.ndim == 2 and output.shape[1] > 1 else (output.flatten() > 0).long()


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


HEADS: dict[str, tuple[Callable[[], nn.Module], str, int]] = {
    "linear": (linear, "2", 8),
    "no bias": (lambda: linear(bias=False), "2", 8),
    "several layers": (lambda: stem(pool(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, CLASSES)), "4", 6),
    "cosine": (lambda: stem(pool(), Cosine()), "2", 8),
    "averaged": (Distilled, "head+head_dist", 16),
    "convolution, then pooled": (lambda: stem(nn.Conv2d(8, CLASSES, 1), pool()), "1", 8),
    "one score": (lambda: linear(1), "2", 8),
    "one score without a dimension": (lambda: Wrapped(linear(1), lambda scores: scores[:, 0]), "module.2", 8),
}


@pytest.mark.parametrize("name", HEADS)
def test_every_kind_of_head_is_found_and_decides_as_the_classifier(name: str) -> None:
    make, path, dimensions = HEADS[name]
    model = make().eval()
    parts = split(model, images())
    assert (parts.head_path, parts.head.in_features) == (path, dimensions)
    with torch.no_grad():
        z = parts.encoder(images())
        assert z.shape == (40, dimensions)
        assert torch.equal(parts.head(z).argmax(1), decisions(model(images())))
        again = split_at(model, path)  # as a model of the store is split when it is loaded
        assert torch.equal(again.encoder(images()), z)
        assert torch.equal(again.head(z), parts.head(z))
    kmex = KMEx.convert(model, loader(parts.head.out_features), k=2)
    beside = kmex.explain(images()[:1]).black_box
    assert beside is not None
    assert beside.shape == (parts.head.out_features,)


def test_torchvisions_squeezenet_is_split_before_its_convolution() -> None:
    model = torchvision.models.squeezenet1_1(num_classes=5).eval()
    given = torch.randn(6, 3, 64, 64)
    parts = split(model, given)
    assert (parts.head_path, parts.head.in_features) == ("classifier.1", 512)
    with torch.no_grad():
        maps = model.features(given)
        torch.testing.assert_close(parts.encoder(given), maps.mean((2, 3)))
        weight, bias = model.classifier[1].weight[:, :, 0, 0], model.classifier[1].bias
        torch.testing.assert_close(parts.head(parts.encoder(given)), maps.mean((2, 3)) @ weight.T + bias)


@pytest.mark.parametrize("after", [torch.sigmoid, lambda scores: scores], ids=["a sigmoid", "nothing"])
def test_one_score_stands_for_two_classes(after: Callable[[Tensor], Tensor]) -> None:
    body = linear(1)
    parts = split(Wrapped(body, after), images())
    with torch.no_grad():
        given = parts.head(parts.encoder(images()))
        torch.testing.assert_close(given.softmax(1)[:, 1], torch.sigmoid(body(images()))[:, 0])


@pytest.mark.parametrize(
    "give",
    [
        lambda scores: SimpleNamespace(logits=scores),
        lambda scores: {"logits": scores},
        lambda scores: (scores, scores.mean()),
    ],
    ids=["an object", "a dict", "a tuple"],
)
def test_scores_may_come_inside_something(give: Callable[[Tensor], Any]) -> None:
    assert split(Wrapped(linear(), give), images()).head_path == "module.2"


def test_a_part_of_several_layers_can_be_named() -> None:
    model = stem(pool(), nn.Sequential(nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, CLASSES))).eval()
    assert split(model, images()).head_path == "2.2"
    parts = split(model, images(), "2")
    assert (parts.head_path, parts.head.in_features, parts.head.out_features) == ("2", 8, CLASSES)
    with torch.no_grad():
        z = parts.encoder(images())
        torch.testing.assert_close(parts.head(z), model(images()))
    # the relevance of its dimensions sums to what the embedding changes
    target = torch.arange(40) % CLASSES
    relevance = class_relevance(parts.head, z, target)
    change = (parts.head(z) - parts.head(torch.zeros_like(z))).gather(1, target[:, None])[:, 0]
    torch.testing.assert_close(relevance.sum(1), change.detach(), rtol=1e-3, atol=1e-5)
    assert KMEx.convert(model, loader(), k=2, head="2").explain(images()[:1], target="margin").predicted in range(3)


def test_what_takes_no_embedding_cannot_be_the_head() -> None:
    with pytest.raises(InputError, match=r"'0.conv' of Sequential \(a Conv2d\) does not make class scores"):
        split(linear(), images(), "0.conv")


def test_some_classes_of_many_are_a_head_of_their_own() -> None:
    model = linear(7).eval()
    parts = split(model, images())
    some = parts.predicting([5, 2], 2)
    with torch.no_grad():
        z = parts.encoder(images())
        torch.testing.assert_close(some.head(z), model(images())[:, [5, 2]])
    with pytest.raises(InputError, match="has 7 outputs"):
        parts.predicting([7], 1)
    cosine = split(stem(pool(), Cosine()).eval(), images())
    with torch.no_grad():
        z = cosine.encoder(images())
        torch.testing.assert_close(cosine.predicting([2, 0], 2).head(z), cosine.head(z)[:, [2, 0]])
    none = parts.predicting(None, 4)
    assert isinstance(none.head, NoHead)
    assert (none.head.in_features, none.head.out_features) == (8, 4)
    assert not has_scores(none.head)
    with pytest.raises(RuntimeError, match="predicts none"):
        none.head(z)


@pytest.mark.parametrize(
    ("give", "expected"),
    [
        (lambda maps: maps.mean((2, 3)), lambda maps: maps.mean((2, 3))),
        (lambda maps: maps, lambda maps: maps.mean((2, 3))),
        (lambda maps: maps.flatten(2).mT, lambda maps: maps.mean((2, 3))),
        (lambda maps: maps.flatten(2).mT[:, 1:], lambda maps: maps.flatten(2)[..., 1]),
        (
            lambda maps: SimpleNamespace(last_hidden_state=maps.flatten(2).mT, pooler_output=maps.amax((2, 3))),
            lambda maps: maps.amax((2, 3)),
        ),
        (
            lambda maps: {"last_hidden_state": torch.cat([maps.amax((2, 3))[:, None], maps.flatten(2).mT], 1)},
            lambda maps: maps.amax((2, 3)),
        ),
        (lambda maps: (maps.amax((2, 3)), maps), lambda maps: maps.amax((2, 3))),
    ],
    ids=["embeddings", "feature maps", "tokens in a square", "a class token", "pooled and tokens", "a dict", "a tuple"],
)
def test_an_encoder_without_a_head_gives_the_embedding(
    give: Callable[[Tensor], Any], expected: Callable[[Tensor], Tensor]
) -> None:
    body = Stem().eval()
    parts = whole(Wrapped(body, give), images(), 4)
    assert (parts.head_path, parts.head.in_features, parts.head.out_features) == ("", 8, 4)
    with torch.no_grad():
        torch.testing.assert_close(parts.encoder(images()), expected(body(images())))
    assert split(Wrapped(body, give), images(), NONE).head_path == ""


def test_tokens_are_pooled_as_it_was_kept_with_the_model() -> None:
    body = Stem().eval()
    tokens = Wrapped(body, lambda maps: maps.flatten(2).mT)
    maps = body(images())
    found = whole(tokens, images(), 4)
    assert kept_path(found.encoder, found.head_path) == MEAN
    assert kept_path(whole(tokens, images(), 4, NONE).encoder, "") == NONE
    for path, expected in ((NONE, maps.flatten(2)[..., 0]), (MEAN, maps.mean((2, 3)))):
        # the first is what models were that earlier versions kept
        for encoder in (whole(tokens, images(), 4, path).encoder, splitting.whole_again(tokens, 8, 4, path).encoder):
            torch.testing.assert_close(encoder(images()), expected)


def test_what_gives_no_embedding_is_no_encoder() -> None:
    with pytest.raises(InputError, match="expected one embedding per image"):
        whole(Wrapped(Stem(), lambda maps: maps.sum()), images())
    assert embedding_in("nothing", mean=False) is None
    with pytest.raises(InputError, match='head="none"'):
        splitting.split(Stem(), images())


def test_an_encoder_converts_saves_and_loads(tmp_path: Path) -> None:
    encoder = stem(pool()).eval()
    with pytest.raises(InputError, match="name those of the labels with class_names"):
        KMEx.convert(encoder, loader(), k=2, head=NONE)
    kmex = KMEx.convert(encoder, loader(), k=2, head=NONE, class_names=["a", "b", "c"])
    assert not has_scores(kmex.head)
    explained = kmex.explain(images()[:1])
    assert explained.black_box is None
    assert explained.maps.values.shape == (3, SIDE, SIDE)
    kmex.save(tmp_path / "x.safetensors")
    again = KMEx.load(tmp_path / "x.safetensors", encoder)
    assert torch.equal(again(images()), kmex(images()))
    torch.manual_seed(9)
    with pytest.raises(InputError, match="made with other weights"):
        KMEx.load(tmp_path / "x.safetensors", stem(pool()))
