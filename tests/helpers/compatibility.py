"""Networks and layouts of images as other people have them, one for each mechanism: for `make compat` and its test."""

from __future__ import annotations

import importlib
import json
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from tests.helpers.pictures import encoded

CLASSES = ("ant", "bee", "cat")
IMAGES = 12  # of each class
MODULE = "networks_of_others"
FUNCTIONS = '''
"""Networks as people write them."""

import torch
from torch import nn
from torch.nn import functional


def body(channels=3):
    return nn.Sequential(
        nn.Conv2d(channels, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )


class Cosine(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 8))

    def forward(self, z):
        return 10 * functional.linear(functional.normalize(z), functional.normalize(self.weight))


class Wrapper(nn.Module):
    """A module around the network, as of a training framework, that also normalises."""

    def __init__(self):
        super().__init__()
        self.model, self.loss = nn.Sequential(body(), nn.Linear(8, 3)), nn.CrossEntropyLoss()

    def forward(self, x):
        return {"logits": self.model(x * 2 - 1)}


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 8, stride=8)
        self.mix = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.fc = nn.Linear(16, 3)

    def forward(self, x):
        return self.fc(self.mix(self.stem(x).flatten(2).mT).mean(1))


def plain(): return nn.Sequential(body(), nn.Linear(8, 3))
def no_bias(): return nn.Sequential(body(), nn.Linear(8, 3, bias=False))
def perceptron(): return nn.Sequential(body(), nn.Linear(8, 6), nn.GELU(), nn.Linear(6, 3))
def cosine(): return nn.Sequential(body(), Cosine())
def convolution():
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 3, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
def softmax(): return nn.Sequential(body(), nn.Linear(8, 3), nn.Softmax(1))
def double(): return plain().double()
def half(): return plain().bfloat16()
def encoder(): return body()
def hidden():
    net = plain()
    net.forward = lambda x: functional.linear(body()(x), net[1].weight)
    return net
'''


@dataclass(frozen=True)
class ModelCase:
    """A network.

    Attributes:
        family: where it comes from.
        name: what is particular.
        make: writes files into a folder; the options of `NewRequest`.
        refused: part of the sentence with which it is refused; "" if it works.
        quick: whether it is tried in each run of the tests.
    """

    family: str
    name: str
    make: Callable[[Path], dict[str, Any]]
    refused: str = ""
    quick: bool = False


@dataclass(frozen=True)
class LayoutCase:
    """A layout of images, with the same attributes as `ModelCase`; `make` writes it and gives the path to open."""

    name: str
    make: Callable[[Path, dict[str, bytes]], Path]
    refused: str = ""
    quick: bool = False


def pictures() -> dict[str, bytes]:
    """PNG files by class and number: "ant/3"."""
    random, made = np.random.default_rng(0), {}
    for label, name in enumerate(CLASSES):
        for number in range(IMAGES):
            pixels = random.integers(0, 120, (36, 40, 3), dtype=np.uint8)
            pixels[..., label] += 120
            made[f"{name}/{number}"] = encoded(pixels)
    return made


# ---- networks --------------------------------------------------------------------------------------------------------


def _torchvision(name: str) -> Callable[[Path], dict[str, Any]]:
    def make(folder: Path) -> dict[str, Any]:
        from torchvision import models

        more = {"init_weights": False} if name.startswith(("googlenet", "inception")) else {}
        network = models.get_model(name, weights=None, num_classes=3, **more)
        torch.save(network.state_dict(), folder / "weights.pt")
        side = 224 if name.startswith("vit") else 64  # the others take any size; small pictures are explained sooner
        given = {"height": side, "width": side, "channels": 3, "mean": [0.5] * 3, "std": [0.5] * 3}
        (folder / "preprocessing.json").write_text(json.dumps(given))
        return {
            "model": f"torchvision:{name}",
            "weights": folder / "weights.pt",
            "preprocess": str(folder / "preprocessing.json"),
        }

    return make


def _timm(name: str, classes: int = 3) -> Callable[[Path], dict[str, Any]]:
    def make(folder: Path) -> dict[str, Any]:
        timm: Any = importlib.import_module("timm")
        network = timm.create_model(name, pretrained=False, num_classes=classes)
        torch.save(network.state_dict(), folder / "weights.pt")
        return {"model": f"timm:{name}", "weights": folder / "weights.pt"}

    return make


def _transformers(kind: str, change: Callable[[dict[str, Any]], object] = dict) -> Callable[[Path], dict[str, Any]]:
    def make(folder: Path) -> dict[str, Any]:
        transformers: Any = importlib.import_module("transformers")
        small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
        sizes = {"image_size": 32, "patch_size": 8}
        if kind == "vit":
            network = transformers.ViTForImageClassification(transformers.ViTConfig(**small, **sizes, num_labels=3))
        elif kind == "resnet":
            config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], num_labels=3)
            network = transformers.ResNetForImageClassification(config)
        elif kind == "convnext":
            config = transformers.ConvNextConfig(hidden_sizes=[8, 16, 16, 16], depths=[1, 1, 1, 1], num_labels=3)
            network = transformers.ConvNextForImageClassification(config)
        elif kind == "dinov2":
            network = transformers.Dinov2Model(transformers.Dinov2Config(**small, image_size=28, patch_size=14))
        else:
            vision = {**small, **sizes}
            network = transformers.CLIPModel(transformers.CLIPConfig(vision_config=vision, text_config=small))
        network.save_pretrained(folder / "hf")
        side = {"height": 32, "width": 32} if kind != "dinov2" else {"height": 28, "width": 28}
        (folder / "hf" / "preprocessor_config.json").write_text(json.dumps({"size": side}))
        path = folder / "hf" / "config.json"
        path.write_text(json.dumps(dict(json.loads(path.read_text())) | dict(change({}))))  # type: ignore[call-overload]
        return {"model": f"hf:{folder / 'hf'}"}

    return make


def _function(name: str, **options: Any) -> Callable[[Path], dict[str, Any]]:
    def make(folder: Path) -> dict[str, Any]:
        (folder / f"{MODULE}.py").write_text(FUNCTIONS)
        return {"model": f"{MODULE}:{name}", **options}

    return make


def _container(write: Callable[[dict[str, Any], Path], object]) -> Callable[[Path], dict[str, Any]]:
    def make(folder: Path) -> dict[str, Any]:
        timm: Any = importlib.import_module("timm")
        write(dict(timm.create_model("test_resnet", pretrained=False, num_classes=3).state_dict()), folder / "w.pt")
        return {"model": "timm:test_resnet", "weights": folder / "w.pt"}

    return make


def _file(kind: str) -> Callable[[Path], dict[str, Any]]:
    def make(folder: Path) -> dict[str, Any]:
        network = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)
        ).eval()
        example, shapes = (torch.zeros(2, 3, 32, 32),), ({0: torch.export.Dim("batch")},)
        path = folder / f"network.{kind}"
        if kind == "onnx":
            torch.onnx.export(network, example, path, dynamic_shapes=shapes, verbose=False, external_data=False)
        else:
            torch.export.save(torch.export.export(network, example, dynamic_shapes=shapes), path)
        return {"model": f"{'onnx' if kind == 'onnx' else 'export'}:{path}"}

    return make


def _prefixed(prefix: str) -> Callable[[dict[str, Any], Path], object]:
    return lambda state, path: torch.save({"state_dict": {prefix + name: value for name, value in state.items()}}, path)


MODELS: tuple[ModelCase, ...] = (
    *(
        ModelCase("torchvision", name, _torchvision(name))
        for name in (
            "resnet18",
            "vgg11_bn",
            "densenet121",
            "mobilenet_v3_small",
            "efficientnet_b0",
            "convnext_tiny",
            "regnet_y_400mf",
            "squeezenet1_1",
            "googlenet",
            "swin_t",
            "vit_b_32",
        )
    ),
    ModelCase("timm", "ResNet", _timm("test_resnet"), quick=True),
    ModelCase("timm", "ViT", _timm("test_vit"), quick=True),
    ModelCase("timm", "EfficientNet", _timm("test_efficientnet")),
    ModelCase("timm", "two averaged heads (DeiT, distilled)", _timm("deit_tiny_distilled_patch16_224")),
    ModelCase("timm", "of 7 classes, on 3", _timm("test_convnext", 7)),
    ModelCase("transformers", "ViT", _transformers("vit"), quick=True),
    ModelCase("transformers", "ResNet", _transformers("resnet")),
    ModelCase("transformers", "ConvNeXt", _transformers("convnext")),
    ModelCase("transformers", "DINOv2, no head", _transformers("dinov2"), quick=True),
    ModelCase("transformers", "CLIP, its tower for images", _transformers("clip")),
    ModelCase("transformers", "with code of its own", _transformers("resnet", lambda _: {"auto_map": {}}), "never run"),
    ModelCase(
        "transformers", "quantised", _transformers("resnet", lambda _: {"quantization_config": {}}), "is quantised"
    ),
    ModelCase("function", "Linear", _function("plain"), quick=True),
    ModelCase("function", "no bias", _function("no_bias")),
    ModelCase("function", "several layers at the end", _function("perceptron")),
    ModelCase("function", "cosine layer", _function("cosine"), quick=True),
    ModelCase("function", "1×1 convolution, then pooled", _function("convolution")),
    ModelCase("function", "softmax at the end", _function("softmax")),
    ModelCase("function", "module around it, scores in a dict", _function("Wrapper")),
    ModelCase("function", "tokens and attention", _function("Attention")),
    ModelCase("function", "float64", _function("double")),
    ModelCase("function", "bfloat16", _function("half")),
    ModelCase("function", "encoder", _function("encoder", head="none")),
    ModelCase("function", "layers that are not registered", _function("hidden"), "not registered"),
    ModelCase("checkpoint", "Lightning", _container(_prefixed("model."))),
    ModelCase("checkpoint", "DataParallel", _container(_prefixed("module."))),
    ModelCase(
        "checkpoint",
        "bfloat16",
        _container(
            lambda state, path: torch.save(
                {name: value.bfloat16() if value.is_floating_point() else value for name, value in state.items()}, path
            )
        ),
    ),
    ModelCase(
        "checkpoint",
        "a pickle that is no checkpoint",
        _container(lambda state, path: path.write_bytes(pickle.dumps(Path("x")))),
        "more than weights",
        quick=True,
    ),
    ModelCase("file", "torch.export", _file("pt2"), quick=True),
    ModelCase("file", "ONNX", _file("onnx")),
)


# ---- layouts ---------------------------------------------------------------------------------------------------------


def _written(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def _renamed(change: Callable[[str, int], str]) -> Callable[[Path, dict[str, bytes]], Path]:
    """`change` gives a file's path from its class and number."""

    def make(root: Path, files: dict[str, bytes]) -> Path:
        return _written(
            root, {change(name.split("/")[0], int(name.split("/")[1])): content for name, content in files.items()}
        )

    return make


def _split(number: int) -> str:
    return "test" if number % 4 == 0 else "train"


def _with_table(write: Callable[[pd.DataFrame, Path], object], column: str) -> Callable[[Path, dict[str, bytes]], Path]:
    def make(root: Path, files: dict[str, bytes]) -> Path:
        named = {f"{number}.png": (name.split("/")[0], content) for number, (name, content) in enumerate(files.items())}
        write(pd.DataFrame([{column: name, "label": label} for name, (label, _) in named.items()]), root)
        return _written(root, {name: content for name, (_, content) in named.items()})

    return make


def _parquet(image: str, label: str) -> Callable[[Path, dict[str, bytes]], Path]:
    def make(root: Path, files: dict[str, bytes]) -> Path:
        rows = [{image: {"bytes": content, "path": None}, label: name.split("/")[0]} for name, content in files.items()]
        pd.DataFrame(rows).to_parquet(root / "0000.parquet")
        return root

    return make


def _arrays(root: Path, files: dict[str, bytes]) -> Path:
    import io

    from PIL import Image

    pixels = np.stack([np.asarray(Image.open(io.BytesIO(content))) for content in files.values()])
    labels = np.array([CLASSES.index(name.split("/")[0]) for name in files])[:, None]
    path = root / "arrays.npz"
    np.savez(
        path, train_images=pixels[::2], train_labels=labels[::2], test_images=pixels[1::2], test_labels=labels[1::2]
    )
    return path


def _shards(root: Path, files: dict[str, bytes]) -> Path:
    import io

    with tarfile.open(root / "train-000000.tar", "w") as shard:
        for number, (name, content) in enumerate(files.items()):
            for suffix, part in (("png", content), ("cls", str(CLASSES.index(name.split("/")[0])).encode())):
                member = tarfile.TarInfo(f"{number:06}.{suffix}")
                member.size = len(part)
                shard.addfile(member, io.BytesIO(part))
    return root


def _zip(root: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(root / "photos.zip", "w") as archive:
        for name, content in files.items():
            archive.writestr(f"photos/{name}.png", content)
    return root / "photos.zip"


def _outside(root: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(root / "photos.zip", "w") as archive:
        for name, content in files.items():
            archive.writestr(f"../{name}.png", content)
    return root / "photos.zip"


def _tar(root: Path, files: dict[str, bytes]) -> Path:
    inner = _written(root / "inner", {f"{name}.png": content for name, content in files.items()})
    with tarfile.open(root / "photos.tar.gz", "w:gz") as archive:
        archive.add(inner, "photos")
    return root / "photos.tar.gz"


def _arrow(root: Path, files: dict[str, bytes]) -> Path:
    import pyarrow as pa

    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table(
        {
            "img": pa.array([{"bytes": content, "path": None} for content in files.values()], image),
            "label": [name.split("/")[0] for name in files],
        }
    )
    folder = root / "saved"
    folder.mkdir()
    with (
        pa.OSFile(str(folder / "data-00000-of-00001.arrow"), "wb") as file,
        pa.ipc.new_stream(file, table.schema) as out,
    ):
        out.write_table(table)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}))
    (folder / "dataset_info.json").write_text("{}")
    return folder


def _text(root: Path, files: dict[str, bytes]) -> Path:
    (root / "train.parquet").write_text("label,image\n" * 1000)
    return root


LAYOUTS: tuple[LayoutCase, ...] = (
    LayoutCase(
        "`train/` and `test/` with class folders", _renamed(lambda c, n: f"{_split(n)}/{c}/{n}.png"), quick=True
    ),
    LayoutCase("class folders alone", _renamed(lambda c, n: f"{c}/{n}.png"), quick=True),
    LayoutCase(
        "one folder deeper, in capitals", _renamed(lambda c, n: f"My data/{_split(n).upper()}/{c}/{n}.png"), quick=True
    ),
    LayoutCase("sessions inside classes", _renamed(lambda c, n: f"{c}/session {n % 3}/{n}.png")),
    LayoutCase("sessions outside classes", _renamed(lambda c, n: f"2024-05-0{n % 3 + 1}/{c}/{n}.png")),
    LayoutCase(
        "flat folder with a CSV",
        _with_table(lambda t, root: t.to_csv(root / "labels.csv", index=False), "file"),
        quick=True,
    ),
    LayoutCase(
        "`metadata.jsonl` of Hugging Face",
        _with_table(lambda t, root: t.to_json(root / "metadata.jsonl", orient="records", lines=True), "file_name"),
    ),
    LayoutCase("parquet, columns `image` and `label`", _parquet("image", "label"), quick=True),
    LayoutCase("parquet, columns `img` and `fine_label`", _parquet("img", "fine_label")),
    LayoutCase("Arrow, as `save_to_disk` writes it", _arrow),
    LayoutCase("`.npz`, as of MedMNIST", _arrays, quick=True),
    LayoutCase("WebDataset", _shards),
    LayoutCase("zip", _zip, quick=True),
    LayoutCase("tar.gz", _tar),
    LayoutCase("zip with paths outside", _outside, "outside", quick=True),
    LayoutCase("text named `.parquet`", _text, "parquet"),
)
