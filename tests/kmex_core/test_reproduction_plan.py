"""The paper's recipe, and what of it fits into a budget."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kmex_core.base.errors import InputError
from kmex_core.base.specs import DatasetSpec
from kmex_core.base.store import checked_name
from kmex_core.data import registry
from kmex_core.data.sources import official
from kmex_core.reproduction import recipes
from kmex_core.reproduction.plan import (
    LEAST_SEEN,
    Costs,
    Part,
    Plan,
    Training,
    Wanted,
    growing,
    title_of,
    whole,
    within,
)
from kmex_core.reproduction.recipes import PAPER_DATA, opened, paper_data, paper_epochs
from tests.helpers.datasets import write_parquet
from tests.helpers.official import quickdraw_files, write_idx
from tests.helpers.pictures import encoded, striped

KINDS = ("blackbox", "protopnet", "flint", "protovae")
# Table 10 of the paper, transcribed: epochs, those of ProtoPNet warm and joint
TABLE_10 = {
    "mnist": (10, 20, 10, 20),
    "fashion-mnist": (10, 20, 10, 20),
    "svhn": (10, 20, 10, 20),
    "cifar10": (30, 20, 30, 60),
    "stl10": (30, 20, 30, 60),
    "quickdraw10": (30, 20, 30, 60),
    "celeba": (10, 20, 10, 20),
}
LITTLE = Wanted(("mnist", "quickdraw10"), runs=3)


@pytest.fixture
def mnist(tmp_path: Path) -> registry.ImageDataset:
    write_idx(tmp_path, "MNIST")
    return registry.load(DatasetSpec("mnist", str(tmp_path)))


# ---- recipes --------------------------------------------------------------------------------------------------------


def test_the_recipe_is_that_of_table_10(mnist: registry.ImageDataset) -> None:
    assert list(PAPER_DATA) == list(TABLE_10)
    for name, epochs in TABLE_10.items():
        data = dataclasses.replace(mnist, name=name)
        assert tuple(paper_epochs(kind, name) for kind in KINDS) == epochs
        of = {kind: recipes.recipe(data, name, kind, paper_epochs(kind, name), 3, True) for kind in KINDS}
        assert {recipe.k for kind, recipe in of.items() if kind != "blackbox"} == {20 if name == "celeba" else 5}
        assert PAPER_DATA[name].k == (20 if name == "celeba" else 5)
        assert {(recipe.batch_size, recipe.seed, recipe.imagenet) for recipe in of.values()} == {(128, 3, True)}
        black_box = of["blackbox"]
        assert (black_box.optimiser, black_box.learning_rate, black_box.weight_decay) == ("sgd", 0.001, 0.0)
        assert black_box.momentum == (0.9 if name == "celeba" else 0.5)
        assert of["protopnet"].learning_rate == 0.001
        protopnet = {"cross_entropy": 1, "clustering": 0.8, "separation": -0.08, "l1": 0.004, "warm": 5, "push": 5}
        assert protopnet.items() <= of["protopnet"].options.items()
        flint = {"cross_entropy": 0.8, "input_fidelity": 0.8, "output_fidelity": 1.0, "conciseness": 0.1}
        assert (flint | {"entropy": 0.2, "diversity": 0.2}).items() <= of["flint"].options.items()
        protovae = {
            "cross_entropy": 1,
            "reconstruction": 0.1,
            "orthogonality": 0.1,
            "kl": 1 if name == "mnist" else 100,
        }
        assert protovae.items() <= of["protovae"].options.items()


def test_fewer_epochs_keep_protopnets_proportions(mnist: registry.ImageDataset) -> None:
    options = {
        epochs: recipes.recipe(mnist, "mnist", "protopnet", epochs, 0, False).options for epochs in (2, 4, 8, 12, 20)
    }
    assert {epochs: (of["warm"], of["push"]) for epochs, of in options.items()} == {
        2: (1, 1),
        4: (1, 1),
        8: (2, 2),
        12: (3, 3),
        20: (5, 5),
    }


def test_data_sets_are_known_by_every_name_of_theirs() -> None:
    for written, name in {"fMNIST": "fashion-mnist", "MNIST": "mnist", "QuickDraw": "quickdraw10"}.items():
        assert paper_data(written).name == name
    with pytest.raises(InputError, match="did you mean 'mnist'"):
        paper_data("mnits")
    with pytest.raises(InputError, match="no data set of the paper named 'digits'"):
        paper_data("digits")


def test_what_is_missing_is_named_with_what_to_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(official, "_download", lambda *_: pytest.fail("nothing is downloaded"))
    (tmp_path / "quickdraw").mkdir()  # empty, and no data set in another layout
    texts = {name: opened(name, str(tmp_path)) for name in PAPER_DATA}
    wanted = {
        "svhn": "`kmex datasets --check svhn` downloads it; or put train_32x32.mat, test_32x32.mat there",
        "quickdraw10": "missing: ant.npy, apple.npy",
        "celeba": "img_align_celeba.zip",
    }
    for name, text in texts.items():
        assert isinstance(text, str)
        assert wanted.get(name, f"datasets --check {name}") in text
        assert "data root" in text
        assert str(tmp_path) not in text, "reports are passed on"


def test_parquet_files_take_the_place_of_the_registered_ones_and_it_is_said(tmp_path: Path) -> None:
    pictures = [(label, image) for label in range(3) for image in striped(label, 4, 32, 3)]
    labels = [label for label, _ in pictures]
    for split in ("train", "test"):
        files = [encoded(image, "JPEG") for _, image in pictures]
        write_parquet(tmp_path / "cifar10" / f"{split}.parquet", files, labels, ["a", "b", "c"])
    data = opened("cifar10", str(tmp_path))
    assert isinstance(data, registry.ImageDataset)
    *_, few, jpeg = recipes.notes_on_data(data, "cifar10")
    assert few == "CIFAR-10 has 12 training and 12 test images here; the paper's has 50,000 and 10,000."
    assert "JPEG re-encodes" in jpeg
    quickdraw_files(tmp_path, 5)
    drawn = opened("quickdraw10", str(tmp_path))
    assert isinstance(drawn, registry.ImageDataset)
    assert not recipes.is_jpeg(drawn)


# ---- plans ----------------------------------------------------------------------------------------------------------


def test_models_are_named_by_what_they_are() -> None:
    assert Training("mnist", "blackbox", 0, "resnet34", 10).name == "reproduce-mnist-blackbox-0"
    assert Training("mnist", "protovae", 2, "resnet18", 3).name == "reproduce-mnist-protovae-2-resnet18-epochs3"
    for name in PAPER_DATA:
        for kind in KINDS:
            checked_name(Training(name, kind, 99, "resnet18", 19).name)


def test_the_whole_programme_begins_with_what_fills_most_cells() -> None:
    plan = whole(LITTLE, LITTLE.datasets)
    assert [(part.kind, part.dataset) for part in plan.parts] == [
        (kind, name) for kind in ("blackbox", "protopnet", "protovae", "flint") for name in LITTLE.datasets
    ]
    trainings = plan.trainings()
    assert len(trainings) == len(set(trainings)) == 4 * 2 * 3
    assert [each.run for each in trainings] == [0] * 8 + [1] * 8 + [2] * 8
    assert {each.epochs for each in trainings if each.kind == "protovae"} == {20, 60}
    assert [part.kind for part in whole(Wanted(("mnist",), (8,)), ["mnist"]).parts] == [
        "protopnet",
        "flint",
        "protovae",
    ]
    # the others' maps are compared with the black box's, though they fill more cells
    assert whole(Wanted(("mnist",), (6, 7, 8)), ["mnist"]).parts[0].kind == "blackbox"


def costs(speed: float = 150.0, done: frozenset[str] = frozenset()) -> Costs:
    images = {"mnist": (60_000, 10_000), "quickdraw10": (3_200, 800)}
    return Costs(images, dict.fromkeys(images, speed), done)


def seconds_of(plan: Plan, by: Costs) -> float:
    """What a plan takes, added up training by training."""
    total = 0.0
    for each in plan.trainings():
        maps = each.kind != "flint"  # the paper has no maps of FLINT
        total += by.training(each) + by.measuring(each, plan.images, plan.second, maps)
    return total


def contains(larger: Plan, smaller: Plan) -> bool:
    parts = {(part.kind, part.dataset): part for part in larger.parts}
    return (
        larger.images >= smaller.images
        and larger.second >= smaller.second
        and all(
            (of := parts.get((part.kind, part.dataset))) is not None
            and of.epochs >= part.epochs
            and of.runs >= part.runs
            for part in smaller.parts
        )
    )


def test_plans_grow_step_by_step_to_the_papers_programme() -> None:
    steps = list(growing(LITTLE, LITTLE.datasets, costs(), "resnet34"))
    for smaller, larger in itertools.pairwise(steps):
        assert contains(larger, smaller)
        assert larger.seconds > smaller.seconds
    assert (steps[-1].parts, steps[-1].images, steps[-1].second) == (whole(LITTLE, LITTLE.datasets).parts, 1000, True)
    for plan in steps:
        assert plan.seconds == pytest.approx(seconds_of(plan, costs()))
        for part in plan.parts:
            black_box = plan.part("blackbox", part.dataset)
            assert black_box is not None, "maps are compared with its maps"
            assert part.runs <= black_box.runs
            assert part.kind != "protopnet" or part.epochs > 1, "its first epoch trains no backbone"


@settings(deadline=None, max_examples=60)
@given(st.floats(0.1, 5000), st.floats(0.1, 5000), st.floats(5, 20_000))
def test_a_budget_is_kept_and_more_of_it_gives_more(minutes: float, more: float, speed: float) -> None:
    def by(backbone: str) -> Costs:
        return costs(speed if backbone == "resnet34" else 2 * speed)

    small, large = sorted((minutes, more))
    smaller, larger = (within(LITTLE, LITTLE.datasets, by, budget * 60) for budget in (small, large))
    for plan, budget in ((smaller, small), (larger, large)):
        backbones = {part.backbone for part in plan.parts}
        assert len(backbones) <= 1
        assert seconds_of(plan, by(*backbones) if backbones else by("resnet34")) <= budget * 60
        less = (plan.parts, plan.images, plan.second) != (whole(LITTLE, LITTLE.datasets).parts, 1000, True)
        assert bool(plan.cut) == less, "what is less is said, and nothing else"
    if smaller.parts and smaller.parts[0].backbone == "resnet34":
        assert contains(larger, smaller)
    elif smaller.parts and larger.parts[0].backbone != "resnet34":  # which is nearer the paper's
        short = all(part.epochs * costs().images[part.dataset][0] < LEAST_SEEN for part in smaller.parts[:1])
        assert contains(larger, smaller) or short


def test_a_smaller_network_is_better_than_nothing() -> None:
    def by(backbone: str) -> Costs:
        return costs({"resnet34": 30.0, "resnet18": 300.0}[backbone])

    plan = within(LITTLE, LITTLE.datasets, by, 10 * 60)
    assert {part.backbone for part in plan.parts} == {"resnet18"}
    assert plan.cut[0] == "resnet18 in place of resnet34, of which not one training fits."
    assert any("1 of 3 trainings" in sentence for sentence in plan.cut)
    assert "Not trained: black box on MNIST." in plan.cut
    nothing = within(dataclasses.replace(LITTLE, budget=0.5), LITTLE.datasets, by, 30)
    assert nothing.parts == ()
    assert nothing.cut == ("Not one training fits into 0.5 minutes.",)


def test_what_is_trained_already_costs_nothing() -> None:
    done = frozenset({"reproduce-mnist-blackbox-0"})
    plans = growing(LITTLE, LITTLE.datasets, costs(done=done), "resnet34")
    first = next(part for plan in plans if (part := plan.part("blackbox", "mnist")))
    assert first == Part("mnist", "blackbox", "resnet34", 10, 1)


def test_one_data_set_out_of_reach_does_not_hold_up_the_others() -> None:
    wanted = Wanted(("celeba", "mnist"), runs=1)
    images = {"celeba": (162_770, 19_962), "mnist": (60_000, 10_000)}
    by = Costs(images, {"celeba": 3.0, "mnist": 150.0})
    plan = within(wanted, wanted.datasets, lambda _: by, 3 * 3600)
    assert {part.dataset for part in plan.parts} == {"mnist"}
    assert len(plan.parts) == 4
    assert title_of("blackbox", "celeba") == "Black box on CelebA"
