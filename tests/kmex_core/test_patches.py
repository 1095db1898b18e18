"""Patch KMEx: networks whose patches are known, both rules by hand, real networks, and CUB-200's layout."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from sklearn.cluster import KMeans as KMeansOfSklearn
from torch import Tensor, nn
from typer.testing import CliRunner

from kmex_core.analysis import export as report
from kmex_core.analysis.concept_picture import concept_picture
from kmex_core.base.errors import InputError
from kmex_core.base.specs import DatasetSpec
from kmex_core.base.store import Store
from kmex_core.commands import app
from kmex_core.data import registry as datasets
from kmex_core.data.preprocessing import Preprocessing
from kmex_core.data.seen import SeenPicture, seen_picture
from kmex_core.models import training
from kmex_core.models.catalogue import network_input
from kmex_core.models.info import ModelInfo
from kmex_core.networks.splitting import split
from kmex_core.prototypes import patches
from kmex_core.prototypes.kmeans import Clusters, kmeans
from kmex_core.prototypes.metric import OPTIONS
from kmex_core.prototypes.patches import Batches, PatchKMEx, fit_patches
from kmex_core.prototypes.source import KMeans
from kmex_core.prototypes.types import BLOCKS, LAST, SEVERAL, ConceptMap
from kmex_core.stages import training_runs
from kmex_core.stages.subject import Subject, dataset_of
from tests.helpers.official import write_cub


class Blocks(nn.Module):
    """The mean colour of each 4×4 block as a map, then the mean of all."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Conv2d(3, 3, 4, 4, groups=3, bias=False)
        nn.init.constant_(self.blocks.weight, 1 / 16)
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = self.pool(self.blocks(images)).flatten(1)
        return found


def picture(*colours: tuple[float, float, float]) -> Tensor:
    """(3, 16, 16): four quarters, row by row, of 2×2 positions each."""
    quarters = torch.tensor(colours).view(2, 2, 3).permute(2, 0, 1)
    return quarters.repeat_interleave(8, 1).repeat_interleave(8, 2)


RED, GREEN, BLUE, GREY = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (0.5, 0.5, 0.5)


def fitted() -> PatchKMEx:
    model = PatchKMEx(Blocks(), 16)
    model.prototypes = torch.tensor([RED, GREEN, BLUE])
    model.prototype_class = torch.tensor([0, 0, 1])
    model.classes = 2
    return model


def test_patches_are_the_places_of_the_last_map_row_by_row() -> None:
    model = PatchKMEx(Blocks(), 16)
    assert model.grid == (4, 4)
    z = model.encode(picture(RED, GREEN, BLUE, GREY)[None])
    rows = [[RED, RED, GREEN, GREEN]] * 2 + [[BLUE, BLUE, GREY, GREY]] * 2
    torch.testing.assert_close(z, torch.tensor(rows).view(1, 16, 3))


def test_the_majority_of_patches_decides_and_the_distance_a_tie() -> None:
    model = fitted()
    images = torch.stack(
        [
            picture(RED, GREEN, BLUE, RED),
            picture(BLUE, BLUE, BLUE, RED),
            picture(BLUE, BLUE, (0.8, 0.0, 0.0), (0.0, 0.8, 0.0)),  # 8 : 8, blue at distance 0
            picture((0.0, 0.0, 0.7), (0.0, 0.0, 0.7), RED, RED),  # 8 : 8, red at distance 0
        ]
    )
    decision = model.decide(model.encode(images))
    assert decision.votes.tolist() == [[12, 4], [4, 12], [8, 8], [8, 8]]
    assert decision.voted.tolist() == [0, 1, 1, 0]
    assert decision.nearest[0].tolist() == [0, 0, 1, 1] * 2 + [2, 2, 0, 0] * 2
    assert decision.distance[3].tolist() == pytest.approx([0.3] * 8 + [0] * 8, abs=1e-6)


def test_the_mean_similarity_is_that_of_a_loop_over_positions() -> None:
    rng = np.random.default_rng(0)
    model = PatchKMEx(Blocks(), 20)
    prototypes, classes = rng.normal(size=(7, 3)).astype(np.float32), np.array([0, 0, 1, 1, 1, 2, 2])
    model.prototypes, model.prototype_class = torch.from_numpy(prototypes), torch.from_numpy(classes)
    model.classes = 3
    z = rng.normal(size=(5, 25, 3)).astype(np.float32)
    expected = np.zeros((5, 3))
    for image in range(5):
        for label in range(3):
            best = [
                max(-float(((position - center) ** 2).sum()) for center in prototypes[classes == label])
                for position in z[image]
            ]
            expected[image, label] = np.mean(best)
    decision = model.decide(torch.from_numpy(z))
    np.testing.assert_allclose(decision.scores.numpy(), expected, rtol=1e-4)
    assert decision.predicted.tolist() == expected.argmax(1).tolist()
    images = torch.from_numpy(rng.normal(size=(2, 3, 20, 20)).astype(np.float32))
    torch.testing.assert_close(model(images), model.decide(model.encode(images)).scores)


def test_many_images_are_decided_as_one_is(monkeypatch: pytest.MonkeyPatch) -> None:
    model = fitted()
    z = torch.rand(9, 16, 3)
    whole = model.decide(z)
    monkeypatch.setattr(patches, "ROWS", 40)  # two images at a time
    for name, value in vars(model.decide(z)).items():
        torch.testing.assert_close(value, getattr(whole, name))


def test_with_one_prototype_per_class_the_mean_similarity_decides_as_the_pooled_embedding() -> None:
    model = fitted()
    model.prototype_class, model.classes = torch.arange(3), 3
    images = torch.rand(40, 3, 16, 16)
    pooled = model.encoder(images).detach().numpy()
    distance = ((pooled[:, None] - np.array([RED, GREEN, BLUE])) ** 2).sum(-1)
    with torch.no_grad():
        assert model(images).argmax(1).tolist() == distance.argmin(1).tolist()


def test_a_concept_map_by_hand() -> None:
    drawn = fitted().concept_map(picture(RED, GREEN, BLUE, GREY)[None])
    assert drawn.nearest[:2].tolist() == [[0, 0, 1, 1]] * 2
    assert drawn.nearest[2:, :2].tolist() == [[2, 2]] * 2
    assert drawn.classes[0].tolist() == [0, 0, 0, 0]
    assert (drawn.predicted, drawn.voted) == (0, 0)
    # class 0 has red and green: blue is √2 away from both, grey √0.75
    np.testing.assert_allclose(drawn.attribution, [[0, 0, 0, 0]] * 2 + [[-2, -2, -0.75, -0.75]] * 2, atol=1e-6)
    assert drawn.scores[0] == pytest.approx(drawn.attribution.mean())
    assert drawn.scores[1] == pytest.approx(-(2 + 2 + 0 + 0.75) / 4)
    assert drawn.votes.sum() == 16
    assert drawn.shares == {0: 0.5, 1: 0.25, 2: 0.25} or sum(drawn.shares.values()) == 1
    with pytest.raises(ValueError, match="one image"):
        fitted().concept_map(torch.zeros(2, 3, 16, 16))


def test_what_prototypes_of_patches_stand_for() -> None:
    model = PatchKMEx(Blocks(), 16)
    images = torch.stack([picture(RED, GREEN, RED, RED), picture(BLUE, BLUE, GREY, BLUE), picture(*[GREEN] * 4)])
    labels = np.array([0, 1, 0])
    found = fit_patches(model, of_images(images, labels), labels, 2, 2)
    by_colour = {tuple(np.round(center, 2)): p for p, center in enumerate(found.centers.tolist())}
    red, green, blue, grey = (by_colour[colour] for colour in (RED, GREEN, BLUE, GREY))
    assert found.classes[[red, green, blue, grey]].tolist() == [0, 0, 1, 1]
    assert found.count[[red, green, blue, grey]].tolist() == [12, 20, 12, 4]
    assert found.importance[[red, green, blue, grey]].tolist() == [3 / 8, 5 / 8, 3 / 4, 1 / 4]
    assert (found.image[grey], found.place[grey]) == (1, 8)
    assert found.box(grey) == (0, 0.5, 0.25, 0.75)
    assert found.image[red] == 0
    assert found.scales.tolist() == [1]
    assert found.channels.tolist() == [3]
    few = fit_patches(PatchKMEx(Blocks(), 16), of_images(images, labels), labels, 2, 5)  # two different patches each
    assert few.classes.tolist() == [0, 0, 1, 1]
    assert few.count.sum() == 48


def of_images(images: Tensor, labels: np.ndarray) -> Batches:
    """Batches of a training split in memory, two images at a time."""

    def batches(split: str, rows: np.ndarray | None) -> Iterator[tuple[np.ndarray, Tensor, Tensor]]:
        assert split == "train"
        rows = np.arange(len(images)) if rows is None else rows
        for start in range(0, len(rows), 2):
            some = rows[start : start + 2]
            yield some, images[some], torch.from_numpy(labels[some])

    return batches


# ---- several blocks -------------------------------------------------------------------------------------------------


class Stages(nn.Module):
    """Three stages of 4, 6 and 8 channels at 1, 1/2 and 1/4 of the image's side; functions halve the size."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList(nn.Conv2d(*size, 3, padding=1) for size in ((3, 4), (4, 6), (6, 8)))
        self.relu = nn.ReLU()  # shared by all stages
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, images: Tensor) -> Tensor:
        return torch.flatten(self.pool(self.blocks(images)[-1]), 1)

    def blocks(self, images: Tensor) -> list[Tensor]:
        found = [self.relu(self.stages[0](images))]
        for stage in self.stages[1:]:
            found.append(self.relu(stage(nn.functional.max_pool2d(found[-1], 2))))
        return found


def bilinear(values: np.ndarray, side: int) -> np.ndarray:
    """(h, h) to (side, side): linear between the centres of the pixels, constant beyond the outermost."""
    centres = (np.arange(len(values)) + 0.5) / len(values)
    wanted = (np.arange(side) + 0.5) / side
    across = np.array([np.interp(wanted, centres, row) for row in values])
    return np.array([np.interp(wanted, centres, column) for column in across.T]).T


def test_several_blocks_are_scaled_resized_and_concatenated() -> None:
    torch.manual_seed(3)
    network, images, labels = Stages(), torch.randn(7, 3, 16, 16), np.array([0, 1, 0, 1, 0, 1, 0])
    model = PatchKMEx(network, 16, blocks=SEVERAL)
    assert model.grid == (16, 16)
    assert model.channels == (4, 6, 8)
    found = fit_patches(model, of_images(images, labels), labels, 2, 2)
    with torch.no_grad():
        blocks = [block.numpy() for block in network.blocks(images)]
    scales = [np.sqrt(np.mean([block[:, c].var() for c in range(block.shape[1])])) for block in blocks]
    np.testing.assert_allclose(found.scales, scales, rtol=1e-5)
    assert found.channels.tolist() == [4, 6, 8]
    with torch.no_grad():
        z = model.encode(images).numpy().reshape(7, 16, 16, 18)
    for block, scale, first in zip(blocks, scales, (0, 4, 10), strict=True):
        for image, channel in ((0, 0), (3, block.shape[1] - 1)):
            expected = bilinear(block[image, channel], 16) / scale
            np.testing.assert_allclose(z[image, :, :, first + channel], expected, atol=1e-5)
    # scikit-learn's k-means on the same positions finds no better clusters
    points = z[labels == 0].reshape(-1, 18)
    own = found.centers[found.classes == 0]
    inertia = ((points[:, None] - own) ** 2).sum(-1).min(1).sum()
    assert inertia <= KMeansOfSklearn(2, n_init=5, random_state=0).fit(points).inertia_ * 1.01


def test_a_block_that_never_changes_keeps_its_scale() -> None:
    network = Stages()
    nn.init.zeros_(network.get_parameter("stages.2.weight"))
    nn.init.ones_(network.get_parameter("stages.2.bias"))
    labels = np.array([0, 1])
    found = fit_patches(
        PatchKMEx(network, 16, blocks=SEVERAL), of_images(torch.randn(2, 3, 16, 16), labels), labels, 2, 1
    )
    assert found.scales[2] == 1
    assert np.isfinite(found.centers).all()


def test_scale_has_no_part_in_which_patch_is_nearest_in_the_last_block() -> None:
    model = fitted()
    z = torch.rand(3, 16, 3)
    before = model.decide(z)
    model.prototypes = model.prototypes * 7
    after = model.decide(z * 7)
    for name in ("nearest", "votes", "voted", "predicted"):
        assert torch.equal(getattr(before, name), getattr(after, name))


@pytest.mark.parametrize(
    ("name", "side", "channels"),
    [
        ("resnet34", 224, (128, 256, 512)),  # 896 channels
        ("resnet50", 64, (512, 1024, 2048)),  # not the wide layers at the beginning of a bottleneck
        ("efficientnet_b0", 64, (40, 112, 1280)),  # not the gates of squeeze and excitation
        ("densenet121", 64, (512, 1024, 1024)),  # pooled by a function
        ("vgg11", 64, (512, 512, 512)),  # not pooled to one position
    ],
)
def test_the_blocks_of_networks_are_their_last_three_stages(name: str, side: int, channels: tuple[int, ...]) -> None:
    encoder = split(torchvision.models.get_model(name, weights=None)).encoder
    model = PatchKMEx(encoder, side, blocks=SEVERAL)
    assert model.channels == channels
    assert model.grid == (side // 8, side // 8)
    with torch.no_grad():
        assert model.encode(torch.zeros(1, 3, side, side)).shape == (1, (side // 8) ** 2, sum(channels))


def test_positions_are_a_seeded_sample_of_all_images_of_a_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patches, "SAMPLE", 30)
    seen: list[np.ndarray] = []

    def watched(points: Tensor, k: int, seed: int) -> Clusters:
        seen.append(points.numpy().copy())
        return kmeans(points, k, seed)

    monkeypatch.setattr(patches, "kmeans", watched)
    # the red of each pixel names its image, the green its position
    images = torch.zeros(8, 3, 16, 16)
    images[:, 0] = torch.arange(8.0).view(8, 1, 1)
    images[:, 1] = torch.arange(16.0).view(4, 4).repeat_interleave(4, 0).repeat_interleave(4, 1)
    labels = np.array([0, 0, 0, 0, 0, 1, 0, 0])
    for seed in (0, 0, 1):
        fit_patches(PatchKMEx(Blocks(), 16), of_images(images, labels), labels, 2, 2, seed)
    first, one, again, _, other, _ = seen
    assert len(first) == 28  # 30 / 7 images: four positions each
    assert np.unique(first[:, 0].round(), return_counts=True)[1].tolist() == [4] * 7
    assert all(len(np.unique(of[:, 1].round())) == 4 for of in np.split(first, 7))
    assert len(one) == 16  # all positions of the only image of a class
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_of_very_many_images_a_seeded_sample_gives_one_position_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patches, "SAMPLE", 3)
    labels = np.repeat([0, 1], 5)
    asked: list[int] = []
    batches = of_images(torch.rand(10, 3, 16, 16), labels)

    def counted(name: str, rows: np.ndarray | None) -> Iterable[tuple[np.ndarray, Tensor, Tensor]]:
        asked.append(10 if rows is None else len(rows))
        return batches(name, rows)

    fit_patches(PatchKMEx(Blocks(), 16), counted, labels, 2, 1)
    assert asked == [3, 3, 10]


def test_a_class_without_images_is_an_error() -> None:
    labels = np.array([0, 0])
    with pytest.raises(InputError, match="Class 1 has no training images"):
        fit_patches(PatchKMEx(Blocks(), 16), of_images(torch.rand(2, 3, 16, 16), labels), labels, 2, 1)


def test_networks_without_patches_say_so() -> None:
    with pytest.raises(
        InputError, match=r"At 12×12 pixels, the last feature map has 3×3 positions; .* 4×4\. Use several"
    ):
        PatchKMEx(Blocks(), 12)
    with pytest.raises(InputError, match="global average pooling"):
        PatchKMEx(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten()), 8)
    with pytest.raises(InputError, match="has 1 at 16×16 pixels"):
        PatchKMEx(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten()), 16, blocks=SEVERAL)
    coarse = nn.Sequential(nn.Conv2d(3, 4, 8, 8), nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(InputError, match="the finest of the last three feature maps has 3×3 positions"):
        PatchKMEx(coarse, 24, blocks=SEVERAL)
    with pytest.raises(InputError, match="no choice of blocks named 'all': known: last, several"):
        PatchKMEx(Blocks(), 16, blocks="all")
    resnet = split(torchvision.models.resnet18(weights=None)).encoder  # 4×4, 2×2 and 1×1 positions
    with pytest.raises(InputError, match="1×1 positions"):
        PatchKMEx(resnet, 32)
    assert PatchKMEx(resnet, 32, blocks=SEVERAL).grid == (4, 4)


@pytest.mark.parametrize("blocks", BLOCKS)
def test_a_model_of_the_store_by_its_patches(demo: Store, digits: ModelInfo, blocks: str) -> None:
    data, k = dataset_of(digits), {LAST: 3, SEVERAL: 1}[blocks]
    made = Subject(demo, digits, data).patches(KMeans(k), blocks).get()
    prototypes, labels = made.prototypes, data.split("test").labels
    assert prototypes.grid.tolist() == {LAST: [8, 8], SEVERAL: [32, 32]}[blocks]
    assert prototypes.channels.tolist() == {LAST: [64], SEVERAL: [16, 32, 64]}[blocks]
    assert len(prototypes) == 10 * k
    assert made.accuracy_black_box == pytest.approx(digits.accuracy)
    assert made.accuracy_similarity == pytest.approx((made.by_similarity == labels).mean())
    assert made.accuracy_vote == pytest.approx((made.by_vote == labels).mean())
    assert 0.7 < made.accuracy_vote <= 1
    assert 0.7 < made.accuracy_similarity <= 1
    artifact = Subject(demo, digits, data).patches(KMeans(k), blocks)
    again = artifact.get()
    np.testing.assert_array_equal(again.prototypes.centers, prototypes.centers)
    np.testing.assert_array_equal(again.metric.matrix, made.metric.matrix)
    assert made.metric.name == {LAST: "whitened", SEVERAL: "euclidean"}[blocks]
    # by hand: the patch that shows a prototype is nearer to it than any other of its class that it is nearest to
    model = artifact.module(again)
    p = int(np.argmax(prototypes.count))
    shown = network_input(digits, data.split("train").image(int(prototypes.image[p])))
    with torch.no_grad():
        z = model.encode(shown)[0]
    center = torch.from_numpy(prototypes.centers[p])
    assert int((z - center).norm(dim=1).argmin()) == prototypes.place[p]
    sheet = np.asarray(Image.open(io.BytesIO(report.patch_sheet(prototypes, digits, data))))
    assert ((sheet[..., 0] == 230) & (sheet[..., 1] == 30)).sum() > 20 * len(prototypes)  # red rectangles
    # the concept map of a test image agrees with its stored predictions
    drawn = model.concept_map(network_input(digits, data.split("test").image(5)))
    assert (drawn.predicted, drawn.voted) == (made.by_similarity[5], made.by_vote[5])


def test_only_patches_of_the_last_block_have_the_metric_of_the_embedding(demo: Store, digits: ModelInfo) -> None:
    subject = Subject(demo, digits, dataset_of(digits))
    keys = {subject.patches(KMeans(3, metric=metric), blocks).key for metric in OPTIONS for blocks in BLOCKS}
    assert len(keys) == len(OPTIONS) + 1
    assert subject.patches(KMeans(3)).why_not() == ""


def answer(*arguments: str) -> dict[str, Any]:
    result = CliRunner().invoke(app, ["patches", "--model", "digits", *arguments, "--json"])
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_the_command_reports_both_rules_and_draws_a_concept_map(demo: Store, digits: ModelInfo, tmp_path: Path) -> None:
    subject = Subject(demo, digits, dataset_of(digits))
    test = subject.data.split("test")
    Image.fromarray(test.image(5)).save(tmp_path / "image.png")
    picture, drawn = ("--image", str(tmp_path / "image.png")), ("--concept-map", str(tmp_path / "map.png"))
    found = answer("--k", "3", "--out", str(tmp_path / "sheet.png"), *picture, *drawn)
    made, kmex = subject.patches(KMeans(3)).get(), subject.conversion(KMeans(3)).get().summary
    assert (found["blocks"], found["metric"], found["grid"], found["channels"]) == ("last", "whitened", [8, 8], [64])
    for name in ("black_box", "similarity", "vote"):
        assert found[f"accuracy_{name}"] == getattr(made, f"accuracy_{name}")
    assert (found["accuracy_kmex"], found["agreement_kmex"]) == (kmex.accuracy_kmex, kmex.agreement)
    assert found["agreement_vote"] == pytest.approx((made.by_vote == subject.embedding("test").get().black_box).mean())
    assert found["accuracy_chance"] == max(np.bincount(test.labels)) / len(test)
    concepts = found["concept_map"]
    assert concepts["similarity"] == digits.class_names[made.by_similarity[5]]
    assert concepts["vote"] == digits.class_names[made.by_vote[5]]
    assert sum(concepts["votes"].values()) == 64
    assert np.array(concepts["attribution"]).mean() == pytest.approx(
        concepts["scores"][concepts["similarity"]], rel=1e-4
    )
    assert sum(prototype["share"] for prototype in concepts["prototypes"]) == pytest.approx(1)
    assert np.unique(concepts["nearest"]).tolist() == sorted(prototype["id"] for prototype in concepts["prototypes"])
    assert all(Image.open(tmp_path / name).format == "PNG" for name in ("sheet.png", "map.png"))
    text = CliRunner().invoke(app, ["patches", "--model", "digits", "--k", "3"]).output
    for title in ("black box", "KMEx", "patches, mean similarity", "patches, majority vote", "chance"):
        assert f"\n  {title} " in text
    several = answer("--k", "1", "--blocks", "several")
    assert (several["metric"], several["grid"], several["channels"]) == ("euclidean", [32, 32], [16, 32, 64])
    assert several["concept_map"] is None


def test_the_command_refuses_options_that_do_not_go_together(demo: Store, tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "image.png")
    image = str(tmp_path / "image.png")
    for words, arguments in (
        ("both --image FILE and --concept-map FILE", ["--image", image]),
        ("both --image FILE and --concept-map FILE", ["--concept-map", image]),
        ("Choose another --concept-map", ["--image", image, "--concept-map", image]),
        ("Leave out --metric", ["--blocks", "several", "--metric", "whitened"]),
        ("no choice of blocks named 'all'", ["--blocks", "all"]),
    ):
        result = CliRunner().invoke(app, ["patches", "--model", "digits", *arguments])
        assert result.exit_code == 2
        assert words in " ".join(result.stderr.split())


def whole(pixels: np.ndarray) -> SeenPicture:
    return seen_picture(pixels, Preprocessing.plain(28, 3))


def test_a_concept_map_as_a_picture() -> None:
    rng = np.random.default_rng(0)
    nearest = rng.integers(0, 40, (14, 14))
    nearest[:7, :7] = 3
    drawn = ConceptMap(
        nearest, nearest // 20, -rng.random((14, 14)).astype(np.float32), np.zeros(2), np.array([100, 96]), 0, 1
    )
    for pixels in (np.zeros((28, 28), np.uint8), np.zeros((300, 900, 3), np.uint8)):
        sheet = Image.open(io.BytesIO(concept_picture(whole(pixels), drawn, ("ant", "日本 & <b>"))))
        values = np.asarray(sheet)
        assert values.shape[1] == 1200
        assert (values[:, :4] == 255).all()  # a margin
    flat = ConceptMap(nearest * 0, nearest * 0, np.zeros((14, 14)), np.zeros(2), np.array([196, 0]), 0, 0)
    assert concept_picture(whole(np.zeros((28, 28), np.uint8)), flat, ("ant", "bee")).startswith(b"\x89PNG")


def test_cub_in_its_official_layout_from_training_to_patches(store: Store, tmp_path: Path) -> None:
    write_cub(tmp_path)
    assert datasets.available("cub200", str(tmp_path))
    spec = DatasetSpec("cub200", str(tmp_path), 64)
    data = datasets.load(spec)
    assert datasets.load(DatasetSpec("cub200", str(tmp_path))).image_size == 224
    assert data.class_names[0] == "Black footed Albatross0"
    assert (len(data.split("train")), len(data.split("test"))) == (12, 6)
    assert data.split("test").labels.tolist() == [0, 0, 1, 1, 2, 2]
    recipe = training.default_recipe(data, False, epochs=2, batch_size=6)
    info = training_runs.train(store, training_runs.TrainRequest("birds", spec, "resnet18", recipe, "cpu", ""))
    artifact = Subject(store, info, dataset_of(info)).patches(KMeans(2))
    assert "2×2 positions" in artifact.why_not()
    with pytest.raises(InputError, match="2×2 positions"):
        artifact.get()
    made = Subject(store, info, dataset_of(info)).patches(KMeans(2), SEVERAL).get()
    assert made.prototypes.grid.tolist() == [8, 8]
    assert set(made.prototypes.image[made.prototypes.image >= 0]) <= set(range(12))


def test_what_is_missing_of_cub_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"missing: images.txt.*Get CUB_200_2011.tgz"):
        datasets.load(DatasetSpec("cub200", str(tmp_path)))
    assert not datasets.available("cub200", str(tmp_path))
    here = write_cub(tmp_path)
    for name, line, why in (
        ("image_class_labels.txt", "19 1", "do not list the same images"),
        ("images.txt", "nonsense", "a number and a word"),
        ("images.txt", "1 ../../secret.jpg", "outside its folder"),
        ("images.txt", "1 001.Black_footed_Albatross0/lost.jpg", "1 pictures are missing"),
        ("image_class_labels.txt", "1 77", "has class 77"),
    ):
        before = (here / name).read_text()
        (here / name).write_text(f"{before}{line}\n")
        with pytest.raises(InputError, match=why):
            datasets.load(DatasetSpec("cub200", str(tmp_path)))
        (here / name).write_text(before)
