"""Figure 5 on made data: its points counted by hand, and what a budget leaves of it."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kmex_core.base.errors import InputError
from kmex_core.base.progress import Event
from kmex_core.base.specs import DatasetSpec
from kmex_core.base.store import Store
from kmex_core.data.opened import dataset
from kmex_core.models import catalogue as models
from kmex_core.prototypes.source import BuiltIn, KMeans, PrototypeSource
from kmex_core.reproduction import figure5 as module
from kmex_core.reproduction.figure5 import Figure, faces_or_sprites, figure5
from kmex_core.stages import training_runs
from kmex_core.stages.subject import Subject, dataset_of
from tests.helpers.pictures import encoded, striped

KS = (1, 2)
NAMES = ("Hat", "Left", "Rare")
ONCE = {"blackbox": 1, "protopnet": 1, "flint": 1, "protovae": 1}


def written(root: Path) -> DatasetSpec:
    """Parquet files of pictures with boolean columns, one of which is the class."""
    root.mkdir()
    for split, count in (("train", 40), ("test", 12)):
        armour = np.arange(count) % 2 == 0
        random = np.random.default_rng(count)
        pixels = [striped(int(has), 1, 32, 3, seed=i)[0] for i, has in enumerate(armour)]
        images = [{"bytes": encoded(image), "path": f"{i}.png"} for i, image in enumerate(pixels)]
        columns = {
            "image": pa.array(images, pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
            "Any_Armour": armour,
            "Hat": random.random(count) < 0.5,
            "Left": random.random(count) < 0.3,
            "Rare": np.arange(count) % 10 == 3,
        }
        pq.write_table(pa.table(columns), root / f"{split}.parquet")
    return DatasetSpec(str(root), class_column="Any_Armour")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, DatasetSpec, Figure]:
    root = tmp_path_factory.mktemp("figure")
    spec, store = written(root / "sprites"), Store(root / "store")
    return store, spec, figure5(store, spec, backbone="resnet20", ks=KS, epochs=ONCE, device="cpu")


def nearest_of_class(subject: Subject, source: PrototypeSource) -> np.ndarray:
    """(K,) the training image of its class that each prototype is most similar to, counted by hand."""
    train, prototypes = subject.embedding("train").get(), subject.conversion(source).get().prototypes
    z, centers = train.z.astype(np.float64), prototypes.centers.astype(np.float64)
    found = []
    for center, label in zip(centers, prototypes.classes, strict=True):
        rows = np.flatnonzero(train.labels == label)
        dot = source.built_in and subject.info.kind == "flint"
        far = -z[rows] @ center if dot else np.linalg.norm(z[rows] - center, axis=1)
        found.append(rows[far.argmin()])
    return np.array(found)


def test_points_are_what_the_prototypes_pictures_have(made: tuple[Store, DatasetSpec, Figure]) -> None:
    store, spec, figure = made
    titles = ("ProtoPNet", "FLINT", "ProtoVAE")
    models_of = ["R34+KMEx", *(name for title in titles for name in (title, f"{title}+KMEx"))]
    assert [(row.model, row.k) for row in figure.rows] == [(model, k) for model in models_of for k in KS]
    assert figure.left == ()
    points = {(row.model, row.k): row for row in figure.rows}
    attributes = dataset(spec).split("train").attributes
    names = models.known_names(store)
    for (model, k), row in points.items():
        kind = "blackbox" if model.startswith("R34") else model.removesuffix("+KMEx").lower()
        end = "-blackbox-e1" if kind == "blackbox" else f"-{kind}-k{k}-e1"
        (name,) = [name for name in names if name.startswith("reproduce-sprites-") and name.endswith(end)]
        info = models.describe(store, name)
        source = KMeans(k, metric="euclidean") if "KMEx" in model else BuiltIn()
        pictures = nearest_of_class(Subject(store, info, dataset_of(info)), source)
        assert row.captured == attributes[pictures].any(0).sum(), (model, k)
        assert row.of == len(NAMES)
        assert row.low <= row.high <= row.of


def test_the_band_is_that_of_random_images(made: tuple[Store, DatasetSpec, Figure]) -> None:
    _, spec, figure = made
    train, random = dataset(spec).split("train"), np.random.default_rng(5)
    for k in KS:
        counts = [
            train.attributes[
                np.concatenate([random.choice(np.flatnonzero(train.labels == c), k, replace=False) for c in (0, 1)])
            ]
            .any(0)
            .sum()
            for _ in range(4000)
        ]
        row = next(row for row in figure.rows if row.model == "R34+KMEx" and row.k == k)
        assert abs(row.low - np.quantile(counts, 0.025)) <= 1
        assert abs(row.high - np.quantile(counts, 0.975)) <= 1


def test_it_says_how_it_was_made(made: tuple[Store, DatasetSpec, Figure]) -> None:
    about = made[2].about
    assert "class Any_Armour, 3 attributes besides it, 40 training images of 32 × 32 pixels" in about
    assert "stands in for the paper's CelebA" in about
    assert "resnet20 from random weights" in about
    assert "black box 1 of the paper's 30" in about
    assert "ProtoVAE 1 of the paper's 60" in about
    assert "; by guessing 50.0%." in about
    assert "ProtoVAE with 1 and 2 prototypes per class is not trained: its prototypes moved at most 0." in about


def test_what_was_trained_is_not_trained_again(
    made: tuple[Store, DatasetSpec, Figure], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, spec, figure = made
    monkeypatch.setattr(training_runs, "train", lambda *_, **__: pytest.fail("trained again"))
    assert figure5(store, spec, backbone="resnet20", ks=KS, epochs=ONCE, device="cpu") == figure
    # within a budget, earlier trainings decide the epochs, and nothing has to be measured
    monkeypatch.setattr(module._Trainings, "_measured", lambda *_: pytest.fail("measured"))
    assert figure5(store, spec, backbone="resnet20", ks=KS, minutes=10, device="cpu") == figure


class Clock:
    """A clock for budgets that is set by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        clock = SimpleNamespace(monotonic=lambda: self.now, perf_counter=time.perf_counter)
        monkeypatch.setattr(module, "time", clock)


def test_a_training_stops_at_the_end_of_the_budget_and_goes_on(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, clock, epochs = written(tmp_path / "sprites"), Clock(monkeypatch), ONCE | {"protopnet": 3}

    def until_protopnets_second_epoch(event: Event) -> None:
        if event.part == 2 and event.group == "ProtoPNet with 1 prototype per class":
            clock.now = 700.0

    first = figure5(
        store,
        spec,
        backbone="resnet20",
        ks=(1,),
        minutes=10,
        epochs=epochs,
        device="cpu",
        progress=until_protopnets_second_epoch,
    )
    assert [row.model for row in first.rows] == ["R34+KMEx"]
    assert first.left[0].startswith("The training of ProtoPNet with 1 prototype per class was stopped after 1 of 3 ")
    assert first.left[1:] == (
        "There was no time for FLINT with 1 prototype per class, nor for KMEx on it.",
        "There was no time for ProtoVAE with 1 prototype per class, nor for KMEx on it.",
    )
    clock.now, parts = 0.0, set()

    def until_protopnet_is_trained(event: Event) -> None:
        if event.parts:
            parts.add(event.part)
        if event.stage == "Measuring test accuracy":
            clock.now = 700.0

    second = figure5(
        store,
        spec,
        backbone="resnet20",
        ks=(1,),
        minutes=10,
        epochs=epochs,
        device="cpu",
        progress=until_protopnet_is_trained,
    )
    assert [row.model for row in second.rows] == ["R34+KMEx", "ProtoPNet", "ProtoPNet+KMEx"]
    assert second.rows[0] == first.rows[0]
    assert parts == {2, 3}, "the first epoch is not repeated, nor the black box"


def test_the_budget_decides_epochs_and_numbers(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, clock = written(tmp_path / "sprites"), Clock(monkeypatch)
    # an epoch of the black box takes a second, one of a baseline four
    monkeypatch.setattr(module._Trainings, "_measured", lambda self, kind, k: 1.0 if kind == "blackbox" else 4.0)
    begun: list[tuple[str, int, int]] = []

    def trained(_: Store, request: training_runs.TrainRequest, *__: object, **___: object) -> None:
        begun.append((request.recipe.kind, request.recipe.k, request.recipe.epochs))
        clock.now += request.recipe.epochs * (1.0 if request.recipe.kind == "blackbox" else 4.0)
        raise module._OutOfTime  # without a model: only the plan is of interest

    monkeypatch.setattr(training_runs, "train", trained)
    nothing = figure5(store, spec, backbone="resnet20", minutes=1, device="cpu")
    assert begun == [("blackbox", 0, 3)], "30 + 5 × 4 × (20 + 30 + 60) seconds do not fit into 51"
    assert nothing.rows == ()
    assert nothing.left[-1] == "There was no time for the black box, without which Figure 5 has no points."

    plan = module._Trainings(
        store=store,
        spec=spec,
        data=dataset(spec),
        backbone="resnet20",
        imagenet=False,
        seed=1,
        device="cpu",
        command="",
        minutes=2230 / 60 / 2,
        progress=lambda event: None,
        epochs={"flint": 7},
    )
    plan.plan(module.KS)
    # flint's epochs are given; the others take the share of the paper's that fits into 85% of the time
    share = 0.85 * 2230 / 2 / (30 + 5 * 4 * (20 + 7 + 60))
    assert plan.epochs == {
        "blackbox": int(share * 30),
        "protopnet": int(share * 20),
        "flint": 7,
        "protovae": int(share * 60),
    }
    short = plan.recipe("protopnet", 5, 8)
    assert (short.epochs, short.k, short.options["warm"], short.options["push"]) == (8, 5, 2, 2), "of 20, 5 and 5"
    assert plan.recipe("protopnet", 5).options["warm"] == 5
    clock.now += plan.remaining - 4
    assert plan.trained("flint", 5) is None
    assert begun == [("blackbox", 0, 3)], "not one epoch fits"
    clock.now -= 1
    assert plan.trained("flint", 5) is None
    assert begun[1:] == [("flint", 5, 7)], "its checkpoints are kept for the next call"


def test_the_speed_of_a_training_is_measured(store: Store, tmp_path: Path) -> None:
    spec = written(tmp_path / "sprites")
    seen: list[str] = []
    plan = module._Trainings(
        store=store,
        spec=spec,
        data=dataset(spec),
        backbone="resnet20",
        imagenet=False,
        seed=0,
        device="cpu",
        command="",
        minutes=1,
        progress=lambda event: seen.append(event.text),
        epochs={},
    )
    assert 0 < plan._measured("protopnet", 2) < 60
    assert seen == ["ProtoPNet: measuring the speed of training"]
    assert models.known_names(store) == models.known_names(Store(tmp_path / "empty")), "it leaves nothing behind"


def test_celeba_comes_before_the_sprites(tmp_path: Path) -> None:
    assert faces_or_sprites(str(tmp_path)) is None
    assert faces_or_sprites(str(tmp_path), "sprites") == DatasetSpec("sprites", class_column="Any_Armour")
    (tmp_path / "celeba" / "img_align_celeba").mkdir(parents=True)
    for name in ("list_attr_celeba.txt", "list_eval_partition.txt"):
        (tmp_path / "celeba" / name).touch()
    assert faces_or_sprites(str(tmp_path), "sprites") == DatasetSpec("celeba", str(tmp_path))


def test_a_data_set_without_attributes_is_refused(store: Store) -> None:
    with pytest.raises(InputError, match="has no attributes"):
        figure5(store, DatasetSpec("digits"))
