"""Patch KMEx: a network whose patches are known, the vote by hand, real networks, and CUB-200's layout."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from kmex_core.analysis import export as report
from kmex_core.base.errors import InputError
from kmex_core.base.specs import DatasetSpec
from kmex_core.base.store import Store
from kmex_core.data import registry as datasets
from kmex_core.models import catalogue as models
from kmex_core.models import training
from kmex_core.models.catalogue import network_input
from kmex_core.models.info import ModelInfo
from kmex_core.prototypes.patches import PatchKMEx, fit_patches
from kmex_core.prototypes.source import KMeans
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
    """(3, 8, 8): four blocks, row by row."""
    blocks = torch.tensor(colours).view(2, 2, 3).permute(2, 0, 1)
    return blocks.repeat_interleave(4, 1).repeat_interleave(4, 2)


RED, GREEN, BLUE, GREY = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (0.5, 0.5, 0.5)


def fitted() -> PatchKMEx:
    model = PatchKMEx(Blocks(), 8)
    model.prototypes = torch.tensor([RED, GREEN, BLUE])
    model.prototype_class = torch.tensor([0, 0, 1])
    model.classes = 2
    return model


def test_patches_are_the_places_of_the_last_map_row_by_row() -> None:
    model = PatchKMEx(Blocks(), 8)
    assert model.grid == (2, 2)
    z = model.encode(picture(RED, GREEN, BLUE, GREY)[None])
    torch.testing.assert_close(z, torch.tensor([[RED, GREEN, BLUE, GREY]]))


def test_the_majority_of_patches_decides_and_the_distance_a_tie() -> None:
    model = fitted()
    images = torch.stack(
        [
            picture(RED, GREEN, BLUE, RED),
            picture(BLUE, BLUE, BLUE, RED),
            picture(BLUE, BLUE, (0.8, 0.0, 0.0), (0.0, 0.8, 0.0)),  # 2 : 2, blue at distance 0
            picture((0.0, 0.0, 0.7), (0.0, 0.0, 0.7), RED, RED),  # 2 : 2, red at distance 0
        ]
    )
    vote = model.vote(model.encode(images))
    assert vote.votes.tolist() == [[3, 1], [1, 3], [2, 2], [2, 2]]
    assert vote.predicted.tolist() == [0, 1, 1, 0]
    assert vote.nearest[0].tolist() == [0, 1, 2, 0]
    assert vote.distance[3].tolist() == pytest.approx([0.3, 0.3, 0, 0], abs=1e-6)
    assert model(images).tolist() == vote.votes.tolist()
    assert model.similarity(model.encode(images)).shape == (4, 4, 3)


def test_what_prototypes_of_patches_stand_for() -> None:
    model = PatchKMEx(Blocks(), 8)
    images = torch.stack([picture(RED, GREEN, RED, RED), picture(BLUE, BLUE, GREY, BLUE), picture(*[GREEN] * 4)])
    labels = np.array([0, 1, 0])

    def batches(split: str, rows: np.ndarray | None) -> list[tuple[np.ndarray, Tensor, Tensor]]:
        assert split == "train"
        rows = np.arange(3) if rows is None else rows
        return [(rows, images[rows], torch.from_numpy(labels[rows]))]

    found = fit_patches(model, batches, labels, 2, 2)
    by_colour = {tuple(np.round(center, 2)): p for p, center in enumerate(found.centers.tolist())}
    red, green, blue, grey = (by_colour[colour] for colour in (RED, GREEN, BLUE, GREY))
    assert found.classes[[red, green, blue, grey]].tolist() == [0, 0, 1, 1]
    assert found.count[[red, green, blue, grey]].tolist() == [3, 5, 3, 1]
    assert found.importance[[red, green, blue, grey]].tolist() == [3 / 8, 5 / 8, 3 / 4, 1 / 4]
    assert (found.image[grey], found.place[grey]) == (1, 2)
    assert found.box(grey) == (0, 0.5, 0.5, 1)
    assert found.image[red] == 0
    few = fit_patches(PatchKMEx(Blocks(), 8), batches, labels, 2, 5)  # each class has two different patches
    assert few.classes.tolist() == [0, 0, 1, 1]
    assert few.count.sum() == 12


def test_networks_without_patches_say_so() -> None:
    with pytest.raises(InputError, match="single position"):
        PatchKMEx(Blocks(), 4)
    with pytest.raises(InputError, match="global average pooling"):
        PatchKMEx(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten()), 8)


def test_a_model_of_the_store_by_its_patches(demo: Store, digits: ModelInfo) -> None:
    data = dataset_of(digits)
    made = Subject(demo, digits, data).patches(KMeans(3)).get()
    assert made.prototypes.grid.tolist() == [8, 8]
    assert len(made.prototypes) == 30
    assert made.accuracy_black_box == pytest.approx(digits.accuracy)
    assert 0.7 < made.accuracy <= 1
    again = Subject(demo, digits, data).patches(KMeans(3)).get()
    np.testing.assert_array_equal(again.prototypes.centers, made.prototypes.centers)
    # by hand: the patch that shows a prototype is nearer to it than any other of its class that it is nearest to
    metric = Subject(demo, digits, data).geometry().get().metric("auto")
    model = PatchKMEx(models.load(demo, "digits").encoder, digits.image_size, metric)
    p = int(np.argmax(made.prototypes.count))
    shown = network_input(digits, data.split("train").image(int(made.prototypes.image[p])))
    with torch.no_grad():
        z = model.encode(shown)[0]
    center = torch.from_numpy(made.prototypes.centers[p])
    assert int((z - center).norm(dim=1).argmin()) == made.prototypes.place[p]
    sheet = np.asarray(Image.open(io.BytesIO(report.patch_sheet(made.prototypes, digits.class_names, data))))
    assert ((sheet[..., 0] == 230) & (sheet[..., 1] == 30)).sum() > 1000  # red rectangles


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
    made = Subject(store, info, dataset_of(info)).patches(KMeans(2)).get()
    assert made.prototypes.grid.tolist() == [2, 2]
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
