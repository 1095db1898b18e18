"""Any network on any images in Python, their explanations, and the way to the pages, where results are the same."""

from __future__ import annotations

import copy
import importlib
import json
import re
import sys
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset
from torchvision import models
from torchvision import transforms as first
from torchvision.transforms import v2

from kmex_core import KMEx
from kmex_core.base.errors import InputError
from kmex_core.base.store import READ_ONLY, Store
from kmex_core.data import written
from kmex_core.data.network_input import normalise, pictures_of, to_pixels
from kmex_core.data.preprocessing import Preprocessing
from kmex_core.models import catalogue
from kmex_core.networks.given_preprocessing import prepared
from kmex_core.prototypes.source import KMeans
from kmex_core.stages.subject import subject_of
from tests.helpers.paths import ROOT
from tests.helpers.pictures import encoded

NAMES = ("blue", "green", "red")
SIDE = 12
LABELS = np.arange(90) % 3
TRAIN, TEST = slice(0, 60), slice(60, 90)
PLAIN = Preprocessing(SIDE, SIDE, 3, (0.5, 0.4, 0.6), (0.25, 0.2, 0.3))


class Colours(nn.Module):
    """Knows the strongest channel: output i is channel `order[i]`, so blue, green, red, and others that never come."""

    def __init__(self, outputs: int = 3, order: tuple[int, ...] = (2, 1, 0)) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.norm = nn.BatchNorm2d(3)
        self.fc = nn.Linear(3, outputs)
        with torch.no_grad():
            self.conv.weight.copy_(torch.eye(3)[..., None, None])
            self.conv.bias.fill_(3)  # type: ignore[union-attr]
            self.fc.weight.copy_(torch.zeros(outputs, 3))
            self.fc.bias.fill_(-50)
            for output, channel in enumerate(order):
                self.fc.weight[output, channel] = 1
                self.fc.bias[output] = 0

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"logits": self.fc(self.norm(self.conv(x)).relu().mean((2, 3)))}


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    """(90, 12, 12, 3) uint8: blue, green and red pictures in turns, all different."""
    colours = np.array([(40, 60, 200), (60, 190, 50), (210, 40, 30)])
    shift = np.random.default_rng(0).integers(-35, 36, (90, 1, 1, 3))
    noise = np.random.default_rng(1).integers(-5, 6, (90, SIDE, SIDE, 3))
    return np.clip(colours[LABELS][:, None, None] + shift + noise, 0, 255).astype(np.uint8)


@pytest.fixture
def net() -> Colours:
    return Colours().train()


def as_input(pixels: np.ndarray) -> Tensor:
    """By hand what `PLAIN` says."""
    scaled = (pixels / 255 - np.array(PLAIN.mean)) / np.array(PLAIN.std)
    return torch.from_numpy(scaled.transpose(0, 3, 1, 2).astype(np.float32))


def loader(pixels: np.ndarray, rows: slice, **options: Any) -> DataLoader[Any]:
    return DataLoader(TensorDataset(as_input(pixels[rows]), torch.from_numpy(LABELS[rows])), 16, **options)


def convert(net: nn.Module, pixels: np.ndarray, **options: Any) -> KMEx:
    """The oracle: what is converted from batches that are made by hand."""
    return KMEx.convert(net, loader(pixels, TRAIN), 4, held_out=loader(pixels, TEST), **options)


# ---- kinds of images ------------------------------------------------------------------------------------------------


class Items(Dataset[Any]):
    """Pictures as torchvision's data sets give them without a transform."""

    def __init__(self, pixels: np.ndarray, rows: slice, of: Callable[[Image.Image, int], Any]) -> None:
        self.pixels, self.labels, self.of = pixels[rows], LABELS[rows], of
        self.classes = list(NAMES)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Any:
        return self.of(Image.fromarray(self.pixels[index]), int(self.labels[index]))


def _folder(pixels: np.ndarray, tmp_path: Path) -> Any:
    for split, rows in (("train", TRAIN), ("test", TEST)):
        for number, (picture, label) in enumerate(zip(pixels[rows], LABELS[rows], strict=True)):
            path = tmp_path / "photos" / split / NAMES[label] / f"{number:03}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encoded(picture))
    return tmp_path / "photos", None


def _hugging_face(pixels: np.ndarray, tmp_path: Path) -> Any:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"img": datasets.Image(), "kind": datasets.ClassLabel(names=list(NAMES))})

    def part(rows: slice) -> Any:
        images = [Image.fromarray(picture) for picture in pixels[rows]]
        return datasets.Dataset.from_dict({"img": images, "kind": LABELS[rows].tolist()}, features=features)

    return datasets.DatasetDict(train=part(TRAIN), test=part(TEST)), None


def _both(make: Callable[[slice], Any]) -> Any:
    return make(TRAIN), make(TEST)


KINDS: dict[str, Callable[[np.ndarray, Path], Any]] = {
    "arrays": lambda pixels, _: _both(lambda rows: (pixels[rows], LABELS[rows])),
    "channels first": lambda pixels, _: _both(lambda rows: (torch.tensor(pixels[rows]).movedim(3, 1), LABELS[rows])),
    "dict of splits": lambda pixels, _: (
        {"Training": (pixels[TRAIN], LABELS[TRAIN]), "testing": (pixels[TEST], LABELS[TEST])},
        None,
    ),
    "PIL": lambda pixels, _: _both(lambda rows: ([Image.fromarray(p) for p in pixels[rows]], LABELS[rows].tolist())),
    "items": lambda pixels, _: _both(lambda rows: Items(pixels, rows, lambda image, label: (image, label, "more"))),
    "items as dicts": lambda pixels, _: _both(
        lambda rows: Items(pixels, rows, lambda image, label: {"image": np.asarray(image), "label": label})
    ),
    "folder": _folder,
    "datasets": _hugging_face,
    "loader": lambda pixels, _: _both(lambda rows: loader(pixels, rows)),
    "shuffled": lambda pixels, _: _both(lambda rows: loader(pixels, rows, shuffle=True, drop_last=True)),
    "tensors": lambda pixels, _: _both(lambda rows: loader(pixels, rows).dataset),
    "more in a batch": lambda pixels, _: _both(lambda rows: [(*batch, "more") for batch in loader(pixels, rows)]),
    "dicts": lambda pixels, _: _both(
        lambda rows: [{"pixel_values": x, "labels": y, "id": 3} for x, y in loader(pixels, rows)]
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_images_of_every_kind_give_the_same(kind: str, net: Colours, pixels: np.ndarray, tmp_path: Path) -> None:
    images, test = KINDS[kind](pixels, tmp_path)
    named = kind not in ("folder", "datasets", "items", "items as dicts")
    made = KMEx.from_model(net, images, PLAIN, k=4, test=test)
    expected = convert(net, pixels)
    np.testing.assert_allclose(made.details.centers, expected.details.centers, rtol=1e-3, atol=1e-3)
    assert made.metric.name == expected.metric.name
    assert made.temperature is not None
    assert expected.temperature is not None
    assert made.temperature.value == pytest.approx(expected.temperature.value, rel=1e-2)
    assert made.class_names == (("0", "1", "2") if named else NAMES)
    again = torch.cat([made(batch) for batch in as_input(pixels[TEST]).split(10)]).argmax(1)
    assert again.tolist() == expected(as_input(pixels[TEST])).argmax(1).tolist()


# ---- preprocessing --------------------------------------------------------------------------------------------------


def photo(width: int = 75, height: int = 51) -> Image.Image:
    """A smooth picture, on which the kinds of resizing differ little."""
    y, x = np.mgrid[:height, :width]
    channels = [128 + 100 * np.sin(x / 9 + y / 13), 128 + 90 * np.cos(y / 7), 60 + x]
    return Image.fromarray(np.clip(np.stack(channels, -1), 0, 255).astype(np.uint8))


def _torchvision(_: Path) -> Any:
    weights = models.ResNet18_Weights.DEFAULT
    return weights, lambda image: weights.transforms()(image), 0.05


def _preset(_: Path) -> Any:
    given = models.Swin_T_Weights.DEFAULT.transforms()
    return given, given, 0.05


def _transformers(_: Path) -> Any:
    processor = pytest.importorskip("transformers").ViTImageProcessor(size={"height": 40, "width": 48})
    return processor, lambda image: torch.as_tensor(processor(image, return_tensors="pt")["pixel_values"])[0], 0.03


def _transformers_file(folder: Path) -> Any:
    processor, oracle, tolerance = _transformers(folder)
    processor.save_pretrained(folder)
    return folder / "preprocessor_config.json", oracle, tolerance


def _timm(_: Path) -> Any:
    timm = pytest.importorskip("timm")
    config = timm.data.resolve_data_config({}, model=timm.create_model("test_resnet"))
    return config, timm.data.create_transform(**config), 0.05


def _imagenet(_: Path) -> Any:
    steps = [v2.Resize(256), v2.CenterCrop(224), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
    return "imagenet", v2.Compose([*steps, v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]), 0.05


def _own(_: Path) -> Any:
    own = v2.Compose([v2.Resize((9, 9)), v2.Grayscale(), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
    return lambda image: own(image), own, 0.0


def _json(folder: Path) -> Any:
    described = {"height": 20, "width": 30, "channels": 3, "mean": [0.5] * 3, "std": [0.5] * 3, "order": "BGR"}
    (folder / "mine.json").write_text(json.dumps(described))

    def by_hand(image: Image.Image) -> Tensor:
        small = np.asarray(image.resize((30, 20), Image.Resampling.BILINEAR))[..., ::-1].astype(np.float32)
        return torch.from_numpy((small / 255 - 0.5) / 0.5).permute(2, 0, 1)

    return str(folder / "mine.json"), by_hand, 0.03


@pytest.mark.parametrize(
    "way", [_torchvision, _preset, _transformers, _transformers_file, _timm, _imagenet, _own, _json]
)
def test_a_preprocessing_does_what_its_library_does(way: Callable[[Path], Any], tmp_path: Path) -> None:
    given, oracle, tolerance = way(tmp_path)
    made = prepared(given, nn.Identity())
    found, expected = made.input([np.asarray(photo())])[0], oracle(photo())
    assert found.shape == expected.shape
    assert float((found - expected).abs().max()) <= tolerance


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "How pictures become the input of this Identity is not known. Say it with preprocess="),
        ("nowhere.json", "nowhere.json cannot be read"),
        ({"mean": 3}, "describes no preprocessing; it has: mean"),
        ({"input_size": 3}, "no data configuration of timm"),
        ({"size": {"height": "x", "width": 3}}, "no preprocessor_config.json"),
        ({"height": 3}, "no description of a preprocessing"),
        (7, "preprocess cannot be a int; expected"),
    ],
)
def test_what_is_no_preprocessing_is_refused(given: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        prepared(given, nn.Identity())


UNIT = (v2.ToImage(), v2.ToDtype(torch.float32, scale=True))
NORMAL = v2.Normalize((0.4, 0.5, 0.6), (0.2, 0.3, 0.25))


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ((v2.Resize(40), v2.CenterCrop(32), *UNIT, NORMAL), ((32, 32), "shorter", 40, 3, 3)),
        ((first.Resize((24, 30), first.InterpolationMode.BICUBIC), first.ToTensor()), ((24, 30), "squeeze", 0, 3, 3)),
        ((v2.Compose([v2.Resize([20]), v2.CenterCrop((16, 18))]), *UNIT), ((16, 18), "shorter", 20, 3, 3)),
        ((v2.Grayscale(), v2.Resize((16, 16)), *UNIT, v2.Normalize([0.5], [0.5])), ((16, 16), "squeeze", 0, 1, 1)),
        (
            (v2.Grayscale(3), v2.Resize((16, 16)), *UNIT, v2.Normalize([0.5] * 3, [0.5] * 3)),
            ((16, 16), "squeeze", 0, 1, 3),
        ),
        ((v2.Resize(40), *UNIT), None),  # another size for each picture
        ((v2.Resize((40, 40)), v2.RandomHorizontalFlip(1.0), *UNIT), None),
        ((v2.Resize((40, 40)), *UNIT, v2.Lambda(lambda x: x * 2)), None),
        ((v2.CenterCrop(32), v2.Resize((16, 16)), *UNIT), None),
        ((v2.Resize((16, 16)), v2.PILToTensor(), v2.ToDtype(torch.float32)), None),  # 0 to 255
    ],
)
def test_a_chain_of_transforms_is_data_where_it_does_the_same(steps: tuple[Any, ...], expected: Any) -> None:
    function = v2.Compose(list(steps))
    made = prepared(function, nn.Identity())
    if expected is None:
        assert made.preprocessing is None
        return
    found = made.preprocessing
    assert found is not None
    assert (found.size, found.resize, found.shorter, found.channels, found.inputs) == expected
    difference = made.input([np.asarray(photo())])[0] - function(photo())
    assert float(difference.abs().max()) <= 3 / 255 / min(found.std)


def test_what_a_function_gives_is_checked(net: Colours, pixels: np.ndarray) -> None:
    images = (pixels, LABELS)
    with pytest.raises(InputError, match=r"preprocess gave a ndarray for a picture; expected a tensor"):
        KMEx.from_model(net, images, np.asarray)
    made = KMEx.from_model(net, images, lambda image: as_input(np.asarray(image)[None])[0], k=2)
    expected = KMEx.from_model(net, images, PLAIN, k=2)
    np.testing.assert_allclose(made.details.centers, expected.details.centers, rtol=1e-4, atol=1e-4)
    with pytest.raises(InputError, match="a function of your own, which the store does not keep. Describe it"):
        made.add_to_store("mine")


def test_pictures_of_a_networks_input_give_it_again() -> None:
    random = np.random.default_rng(0)
    for more in ({}, {"resize": "pad"}, {"resize": "shorter", "shorter": 25}, {"order": "BGR", "white": 255.0}):
        way = Preprocessing(16, 20, 3, (0.1, 0.2, 0.3), (0.5, 0.6, 0.7), **more)
        given = normalise(torch.from_numpy(random.integers(0, 256, (4, 3, 16, 20), dtype=np.uint8)), way)
        found, away = pictures_of(given, way)
        assert away < 1e-3
        torch.testing.assert_close(normalise(to_pixels(found, way), way), given)
    grey = Preprocessing(16, 20, 1, (0.1,), (0.5,))
    given = normalise(torch.from_numpy(random.integers(0, 256, (4, 1, 16, 20), dtype=np.uint8)), grey)
    found, _ = pictures_of(given, grey)
    assert found.shape == (4, 16, 20)
    torch.testing.assert_close(normalise(to_pixels(found, grey), grey), given)
    with pytest.raises(InputError, match="cannot be undone"):
        pictures_of(given.expand(-1, 3, -1, -1), Preprocessing(16, 20, 3, (0.0,) * 3, (1.0,) * 3, "shorter", 12))


def test_the_preprocessing_of_a_loader_has_to_fit(net: Colours, pixels: np.ndarray) -> None:
    train = loader(pixels, TRAIN)
    with pytest.raises(InputError, match="A loader's images are preprocessed already. Say with preprocess= how"):
        KMEx.from_model(net, train)
    with pytest.raises(InputError, match=r"gives images \(3, 12, 12\), but those of preprocess are \(3, 8, 12\)"):
        KMEx.from_model(net, train, Preprocessing(8, SIDE, 3, PLAIN.mean, PLAIN.std))
    with pytest.raises(InputError, match=r"values from .* but a preprocessing with .* gives 0 to 1"):
        KMEx.from_model(net, train, Preprocessing(SIDE, SIDE, 3, (0.0,) * 3, (1.0,) * 3))
    made = KMEx.from_model(net, train, "imagenet", k=1)
    assert made.origin.preprocessing is not None
    assert made.origin.preprocessing.size == (SIDE, SIDE)
    once = KMEx.from_model(net, iter(train), "imagenet", k=1)  # each batch is read once
    np.testing.assert_allclose(once.details.centers, made.details.centers, rtol=1e-4)
    assert made.temperature is None


# ---- the network ----------------------------------------------------------------------------------------------------


def state_of(model: nn.Module) -> list[Any]:
    hooks = [len(value) for part in model.modules() for key, value in vars(part).items() if key.endswith("hooks")]
    arrays = [(name, value.detach().numpy().tobytes()) for name, value in model.state_dict().items()]
    flags = [(value.requires_grad, value.grad is None) for value in model.parameters()]
    return [hooks, arrays, flags, [part.training for part in model.modules()], torch.get_rng_state().numpy().tobytes()]


@pytest.mark.usefixtures("store")
def test_the_network_is_left_as_it_was(pixels: np.ndarray) -> None:
    torch.manual_seed(0)
    net = Colours().train()
    net.norm.eval()
    net.conv.weight.requires_grad_(False)
    before = state_of(net)
    made = KMEx.from_model(net, (pixels, LABELS), PLAIN, k=2)
    made.explain(pixels[0])
    made.add_to_store("mine")
    assert state_of(net) == before
    assert copy.deepcopy(made).origin is made.origin


@pytest.mark.parametrize(
    ("order", "classes", "expected"),
    [
        ((0, 1, 2), ["red", "Green", "blue"], (2, 1, 0)),
        ((2, 0, 1), {0: "blue", 1: "red", 2: "green"}, (0, 2, 1)),
        ((2, 1, 0), None, (0, 1, 2)),
        ((2, 1, 0), "none", ()),
    ],
)
def test_classes_are_matched_by_their_names(
    pixels: np.ndarray, order: tuple[int, ...], classes: Any, expected: tuple[int, ...]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = KMEx.from_model(
            Colours(order=order), Items(pixels, slice(0, 90), lambda *item: item), PLAIN, None, classes
        )
    assert (made.class_names, made.origin.class_outputs) == (NAMES, expected)
    found = made.explain(pixels[2])
    assert found.predicted == 2
    assert found.predicted_black_box == (2 if expected else None)


def test_some_outputs_of_many_and_none_of_them(pixels: np.ndarray) -> None:
    images = Items(pixels, slice(0, 90), lambda *item: item)
    many = Colours(7, order=(1, 0, 2))
    made = KMEx.from_model(many, images, PLAIN, classes={2: "blue", 0: "green", 1: "red", 5: "sky"}, k=2)
    assert made.origin.class_outputs == (2, 0, 1)
    assert made.origin.accuracy == 1
    with pytest.warns(UserWarning, match="has 7 outputs and the images have 3 classes, so only its encoder is used"):
        made = KMEx.from_model(many, images, PLAIN, k=2)
    assert made.explain(pixels[0]).black_box is None
    by_number = KMEx.from_model(many, loader(pixels, TRAIN), PLAIN, classes={0: "a", 1: "b", 2: "c"}, k=2)
    assert (by_number.class_names, by_number.origin.class_outputs) == (("a", "b", "c"), (0, 1, 2))
    for classes, message in (
        (["blue", "green", "red"], "3 names of classes are given, but the network has 7 outputs"),
        ({0: "blue", 1: "red"}, "The given classes lack some of the images: green"),
        ({9: "blue"}, "outputs 0 to 6, so classes cannot name 9"),
        ("all", "Expected a list of class names, a mapping, or"),
    ):
        with pytest.raises(InputError, match=message):
            KMEx.from_model(many, images, PLAIN, classes=classes)


@pytest.mark.usefixtures("store")
def test_a_network_that_guesses_is_warned_of(pixels: np.ndarray) -> None:
    with pytest.warns(UserWarning, match=r"itself classifies 0.0% of 18 held-out images correctly, hardly more"):
        made = KMEx.from_model(Colours(order=(0, 2, 1)), (pixels, LABELS), PLAIN, k=1)
    info = made.add_to_store("mine")
    assert info.made_by["at_chance"] is True
    assert "Guessing is as good as what 'mine' itself predicts" in info.caveat


# ---- explanations ---------------------------------------------------------------------------------------------------


def test_a_picture_is_explained_however_it_is_given(net: Colours, pixels: np.ndarray, tmp_path: Path) -> None:
    made = KMEx.from_model(net, Items(pixels, slice(0, 90), lambda *item: item), PLAIN, k=2)
    (tmp_path / "a.png").write_bytes(encoded(pixels[0]))
    expected = made.explain(as_input(pixels[:1]), judged=False)
    image = Image.fromarray(pixels[0])
    for given in (
        tmp_path / "a.png",
        str(tmp_path / "a.png"),
        encoded(pixels[0]),
        image,
        image.convert("RGBA"),
        pixels[0],
    ):
        found = made.explain(given, judged=False)
        np.testing.assert_allclose(found.similarity, expected.similarity, rtol=1e-4)
        np.testing.assert_allclose(found.maps.values, expected.maps.values, rtol=1e-3, atol=1e-5)
    text = str(made.explain(pixels[0], method="occlusion", target="similarity", top=2)).splitlines()
    assert text[0].startswith("KMEx: blue (")
    assert text[1].startswith("Black box: blue (")
    assert text[2] == "Relevance maps: occlusion of the similarity"
    nearest = int(expected.similarity.argmax())
    exemplar = made.details.exemplar[nearest]
    assert text[3].startswith(
        f"  prototype {nearest} of blue: similarity {expected.similarity[nearest]:.3f}, exemplar image "
    )
    assert f"exemplar image {exemplar}" in text[3] or made.origin.titles(np.array([exemplar]))[0] in text[3]
    assert text[3].endswith("of 3 replacements")
    assert len(text) == 5
    for wrong, message in (
        (3, "The image is a int; expected the path of a picture"),
        (np.zeros((4, 4)), "an array of float64"),
        (tmp_path / "none.png", "none.png cannot be read"),
        (np.zeros((2, 2, 2, 3), np.uint8), "expected one picture"),
    ):
        with pytest.raises(InputError, match=message):
            made.explain(wrong)


def test_names_in_an_explanation_control_no_terminal(net: Colours, pixels: np.ndarray) -> None:
    names = ["blue\x1b[31m", "green\nKMEx: red", "red"]
    made = KMEx.from_model(net, (pixels, LABELS), PLAIN, classes=names, k=1)
    text = str(made.explain(pixels[1], judged=False))
    assert "\x1b" not in text
    assert len(text.splitlines()) == 6
    with pytest.raises(InputError, match="How a picture becomes this network's input is not known"):
        convert(net, pixels).explain(pixels[0])


# ---- to the pages ---------------------------------------------------------------------------------------------------


def _vit(_: Path) -> nn.Module:
    transformers = pytest.importorskip("transformers")
    size = {"image_size": SIDE, "patch_size": 4, "hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 8}
    config = transformers.ViTConfig(**size, num_hidden_layers=1, id2label=dict(enumerate(NAMES)))
    return transformers.ViTForImageClassification(config).eval()


def _tiny(_: Path) -> nn.Module:
    return pytest.importorskip("timm").create_model("test_resnet", num_classes=3)


@pytest.mark.parametrize(
    ("make", "backbone", "predicts"),
    [
        (lambda _: Colours(), "export:Colours.pt2", True),
        (lambda _: nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten()), "export:Sequential.pt2", False),
        (lambda _: models.shufflenet_v2_x0_5(num_classes=5), "torchvision:shufflenet_v2_x0_5", False),
        (_tiny, "timm:test_resnet", True),
        (_vit, "hf:ViTForImageClassification", True),
    ],
    ids=["export", "encoder", "torchvision", "timm", "transformers"],
)
@pytest.mark.filterwarnings("ignore:The network:UserWarning")
def test_the_pages_have_the_results_of_python(
    make: Callable[[Path], nn.Module], backbone: str, predicts: bool, store: Store, pixels: np.ndarray, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    net = make(tmp_path)
    side = 32 if backbone.startswith(("torchvision", "timm")) else SIDE
    way = Preprocessing(side, side, 3, PLAIN.mean, PLAIN.std)
    head = "none" if isinstance(net, nn.Sequential) else None
    made = KMEx.from_model(net, (pixels, LABELS), way, head, NAMES if side == SIDE or predicts else None, k=3)
    info = made.add_to_store("mine")
    assert (info.backbone, info.predicts) == (backbone, predicts)
    subject = subject_of(store, "mine")
    conversion = subject.conversion(KMeans(3)).get()
    assert conversion.metric.name == made.metric.name
    np.testing.assert_array_equal(conversion.prototypes.exemplar, made.details.exemplar)
    np.testing.assert_allclose(conversion.prototypes.centers, made.details.centers, rtol=1e-3, atol=1e-3)
    assert made.temperature is not None
    assert conversion.temperature.value == pytest.approx(made.temperature.value, rel=1e-2)
    assert made.origin.data is not None
    held = made.origin.data.split("test")
    with torch.no_grad():
        z = made.encode(torch.cat([made.origin.input(held.image(row)) for row in range(len(held))]))
    assert conversion.test_predicted.tolist() == made.predict(z).tolist()
    here, there = (
        made.explain(pixels[0], judged=False),
        subject.explainer(KMeans(3)).explain(normalise(to_pixels([pixels[0]], way), way), judged=False),
    )
    np.testing.assert_allclose(here.kmex, there.kmex, atol=1e-2)
    scale = np.abs(here.maps.values).max() or 1.0
    np.testing.assert_allclose(here.maps.values / scale, there.maps.values / scale, atol=2e-2)
    if predicts:
        assert here.predicted_black_box == there.predicted_black_box
        assert info.accuracy == pytest.approx(conversion.summary.accuracy_black_box)
        assert "may be too optimistic" in info.caveat


def test_a_loader_goes_to_the_pages_with_its_crop(net: Colours, store: Store, pixels: np.ndarray) -> None:
    way = Preprocessing(SIDE, SIDE, 3, PLAIN.mean, PLAIN.std, "shorter", 15)
    train, test = loader(pixels, TRAIN, shuffle=True), loader(pixels, TEST, shuffle=True)
    made = KMEx.from_model(net, train, way, classes=NAMES, test=test, k=3)
    info = made.add_to_store("mine")
    assert info.preprocessing == way
    assert not info.caveat
    subject = subject_of(store, "mine")
    assert (len(subject.data.split("train")), len(subject.data.split("test"))) == (60, 30)
    conversion = subject.conversion(KMeans(3)).get()
    np.testing.assert_array_equal(conversion.prototypes.exemplar, made.details.exemplar)
    np.testing.assert_allclose(conversion.prototypes.centers, made.details.centers, rtol=1e-4, atol=1e-4)


def test_a_folder_stays_where_it_is(net: Colours, store: Store, pixels: np.ndarray, tmp_path: Path) -> None:
    root, _ = _folder(pixels, tmp_path)
    info = KMEx.from_model(net, root, PLAIN).add_to_store("mine")
    assert info.dataset == str(root.resolve())
    assert not written.place_of(store.root, "mine").exists()
    assert info.class_outputs == (0, 1, 2)


def test_the_lines_of_the_guide(
    net: Colours, store: Store, pixels: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    _folder(pixels, tmp_path)
    (tmp_path / "photo.jpg").write_bytes(encoded(pixels[1], "JPEG"))
    monkeypatch.chdir(tmp_path)
    guide = (ROOT / "docs" / "how-to" / "bring-your-model.md").read_text()
    (lines,) = re.findall(r"^```python\n(.*?)^```$", guide, re.MULTILINE | re.DOTALL)
    exec(lines, {"model": net})
    assert capsys.readouterr().out.startswith("KMEx: green (")
    assert subject_of(store, "mine").data.name == str(tmp_path / "photos")


def test_encoded_pictures_are_kept_as_they_are(net: Colours, store: Store, pixels: np.ndarray) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list(NAMES))})
    images = [{"bytes": encoded(picture, "JPEG"), "path": None} for picture in pixels]
    rows = datasets.Dataset.from_dict({"image": images, "label": LABELS.tolist()}, features=features)
    KMEx.from_model(net, rows, PLAIN).add_to_store("mine")
    kept = datasets.load_dataset("parquet", data_dir=str(written.place_of(store.root, "mine")))
    kept = kept.cast_column("image", datasets.Image(decode=False))
    again = {row["image"]["bytes"] for split in kept.values() for row in split}
    assert again == {one["bytes"] for one in images}
    assert kept["train"].features["label"].names == list(NAMES)


MINE = """
from torch import nn


def make(num_classes=3):
    return nn.Sequential(nn.Flatten(), nn.Linear(432, 6), nn.Sequential(nn.ReLU(), nn.Linear(6, num_classes)))
"""


@pytest.mark.filterwarnings("ignore:The network:UserWarning")
def test_a_function_of_ones_own_is_named(
    store: Store, pixels: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_colours.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    torch.manual_seed(0)
    net = importlib.import_module("my_colours").make()
    made = KMEx.from_model(net, loader(pixels, TRAIN), PLAIN, "2", k=2, test=loader(pixels, TEST))
    with pytest.raises(InputError, match="The network would be kept as its graph.*source="):
        made.add_to_store("mine")
    with pytest.raises(InputError, match="torchvision:resnet18 does not build this Sequential"):
        made.add_to_store("mine", source="torchvision:resnet18")
    assert catalogue.known_names(store) == [name for name in catalogue.known_names(store) if name != "mine"]
    assert not written.place_of(store.root, "mine").exists()
    info = made.add_to_store("mine", source="my_colours:make")
    assert info.backbone == "my_colours:make"
    conversion = subject_of(store, "mine").conversion(KMeans(2)).get()
    np.testing.assert_array_equal(conversion.prototypes.exemplar, made.details.exemplar)
    sys.modules.pop("my_colours")


class Noisy(Dataset[Any]):
    """Another picture each time."""

    def __len__(self) -> int:
        return 30

    def __getitem__(self, index: int) -> Any:
        return torch.rand(3, 1, 1).expand(3, SIDE, SIDE) * 3, index % 3


@pytest.mark.usefixtures("store")
def test_what_cannot_be_the_same_on_the_pages_is_refused(
    net: Colours, pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(made: KMEx, message: str, **options: Any) -> None:
        with pytest.raises(InputError, match=message):
            made.add_to_store("mine", **options)

    refused(convert(net, pixels), "The pages need to know how pictures become this network's input")
    refused(
        KMEx.from_model(net, loader(pixels, TRAIN), PLAIN), r"made without. Pass some: KMEx.from_model\(…, test=…\)"
    )
    once = KMEx.from_model(net, iter(loader(pixels, TRAIN)), PLAIN, test=loader(pixels, TEST))
    refused(once, "an iterator, which can be read once")
    wide = Preprocessing(SIDE, SIDE, 3, (0.0,) * 3, (0.25,) * 3)
    random = KMEx.from_model(net, DataLoader(Noisy(), 10), wide, test=DataLoader(Noisy(), 10))
    with pytest.warns(UserWarning, match="not of 8 bits per channel"):
        refused(
            random, "first train images would have other embeddings than here. Either the loader gives other images"
        )
    good = KMEx.from_model(net, (pixels, LABELS), PLAIN)
    with pytest.raises(InputError, match="Invalid model name"):
        good.add_to_store("../mine")
    with monkeypatch.context() as small:
        small.setattr(written, "MOST_BYTES", 2000)
        refused(good, "images take about .* Save them as files in class folders")
    with monkeypatch.context() as full:
        full.setattr(written, "SPARE", 2**60)
        refused(good, "not enough space")
    with monkeypatch.context() as served:
        served.setenv(READ_ONLY, "1")
        refused(good, "read-only")
    place = written.place_of(Store().root, "mine")
    assert not place.parent.exists() or not list(place.parent.iterdir())
    good.add_to_store("mine")
    refused(good, "A model named 'mine' already exists. Choose another name, or pass overwrite=True")
    before = sorted(path.name for path in place.iterdir())
    fewer = KMEx.from_model(net, (pixels[:60], LABELS[:60]), PLAIN)
    fewer.add_to_store("mine", overwrite=True)
    assert sorted(path.name for path in place.iterdir()) == before
    assert len(subject_of(Store(), "mine").data.split("train")) == 48
    assert [path.name for path in place.parent.iterdir()] == ["mine"]
    catalogue.rename(Store(), "mine", "older")
    good.add_to_store("mine")
    assert sorted(path.name for path in place.parent.iterdir()) == ["mine", "mine-2"]
    assert len(subject_of(Store(), "older").data.split("train")) == 48
    assert len(subject_of(Store(), "mine").data.split("train")) == 72


class Feature:
    """As of `datasets`: `Image`, `ClassLabel`, `Value`; their class's name says what a column is."""

    def __init__(self, decode: bool = True, names: list[str] | None = None) -> None:
        self.decode = decode
        if names is not None:
            self.names = names


FEATURES = {name: type(name, (Feature,), {}) for name in ("Image", "ClassLabel", "Value")}


class Rows:
    """As `datasets.Dataset`, as far as it is used."""

    def __init__(self, features: dict[str, Feature], columns: dict[str, list[Any]]) -> None:
        self.features, self.columns = features, columns

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def cast_column(self, name: str, feature: Feature) -> Rows:
        return Rows({**self.features, name: feature}, self.columns)

    def with_format(self, _: None) -> Rows:
        return self

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            return self.columns[key]
        return {name: value[key] for name, value in self.columns.items()}


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    """A `datasets` that pretends; the real one is in other tests, where it is installed."""
    fake = types.ModuleType("datasets")
    fake.__dict__.update(FEATURES)
    monkeypatch.setitem(sys.modules, "datasets", fake)
    monkeypatch.setattr(Rows, "__module__", "datasets.arrow_dataset")


@pytest.mark.usefixtures("library", "store")
def test_columns_are_found_by_their_features(net: Colours, pixels: np.ndarray) -> None:
    image, label, value = FEATURES["Image"](), FEATURES["ClassLabel"](names=list(NAMES)), FEATURES["Value"]()
    images = [{"bytes": encoded(picture), "path": None} for picture in pixels]
    labels = LABELS.tolist()
    kinds = {"id": value, "img": image, "fine": label}
    made = KMEx.from_model(net, Rows(kinds, {"id": labels, "img": images, "fine": labels}), PLAIN, k=3)
    assert made.class_names == NAMES
    expected = KMEx.from_model(net, (pixels, LABELS), PLAIN, classes=NAMES, k=3)
    np.testing.assert_allclose(made.details.centers, expected.details.centers, rtol=1e-4, atol=1e-4)
    made.add_to_store("mine")
    cases: list[tuple[Any, Any, str]] = [
        ({"img": image}, {"img": images}, "no column of classes: img .Image."),
        ({"fine": label}, {"fine": labels}, "no column of images: fine .ClassLabel."),
        (
            {"a": image, "b": image, "fine": label},
            {"a": images, "b": images, "fine": labels},
            "several columns of images",
        ),
        (
            {"img": image, "fine": label},
            {"img": images, "fine": [-1, *labels[1:]]},
            "1 images of the train split have no",
        ),
        (
            {"img": image, "fine": label},
            {"img": [None, *images[1:]], "fine": labels},
            "Row 0 of the data set has no image",
        ),
        (
            {"img": image, "fine": label},
            {"img": [{"bytes": b"x", "path": None}] * 90, "fine": labels},
            "not a readable",
        ),
    ]
    for features, columns, message in cases:
        with pytest.raises(InputError, match=message):
            KMEx.from_model(net, Rows(features, columns), PLAIN)


# ---- what is no data set --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ((np.random.default_rng(0).normal(size=(6, 4, 4, 3)), [0, 1] * 3), "values from .*If they are preprocessed"),
        ((np.zeros((6, 4, 4, 3), np.uint8), [0, 1]), "2 labels"),
        ((np.zeros((6, 4, 4, 3), np.uint8), [0.5] * 6), "Regression is not supported"),
        ({"training": (np.zeros((6, 4, 4), np.uint8), [0, 1] * 3), "train": 3}, "batches|Expected splits|got a"),
        ({"test": (np.zeros((6, 4, 4), np.uint8), [0, 1] * 3)}, "no training split"),
        ("nowhere", "nowhere"),
        (None, "got a NoneType"),
    ],
)
def test_what_is_no_data_set_is_refused_in_a_sentence(net: Colours, images: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        KMEx.from_model(net, images, PLAIN)
