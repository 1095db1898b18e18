"""The audit of attributes: what is covered over numbers of prototypes, in words and tables, from the command line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from kmex_core import metrics
from kmex_core.analysis import coverage as attributes
from kmex_core.analysis import export as report
from kmex_core.analysis.tables import attributes as tables
from kmex_core.base.errors import InputError
from kmex_core.base.store import Store
from kmex_core.commands import app
from kmex_core.data.registry import ImageDataset
from kmex_core.models import catalogue as models
from kmex_core.models.info import ModelInfo, trained_alike
from kmex_core.prototypes.source import BuiltIn, KMeans
from kmex_core.prototypes.types import NO_IMAGE, Conversion
from kmex_core.stages.curves import attribute_curves, built_in_attribute_curves
from kmex_core.stages.subject import Subject, dataset_of
from tests.helpers.datasets import ATTRIBUTES, with_attributes


@pytest.fixture
def data(digits: ModelInfo) -> ImageDataset:
    return with_attributes(dataset_of(digits))


@pytest.fixture
def made(demo: Store, digits: ModelInfo, data: ImageDataset) -> Conversion:
    return Subject(demo, digits, data).conversion(KMeans(5)).get()


def test_what_is_covered_is_what_the_pictures_have(data: ImageDataset, made: Conversion) -> None:
    train = data.split("train")
    found = attributes.coverage(train, made.prototypes)
    for p, image in enumerate(made.prototypes.exemplar):
        assert found.has[p].tolist() == train.attributes[image].tolist()
    assert found.names == ATTRIBUTES
    np.testing.assert_allclose(found.frequency, train.attributes.mean(0))
    np.testing.assert_allclose(found.share, found.has.mean(0))
    assert found.ghosts == 0
    assert found.captured[:4].all(), "what follows from the digit, and what half of all images have"


def test_a_prototype_without_a_picture_has_nothing(data: ImageDataset, made: Conversion) -> None:
    nearest = made.prototypes.nearest.copy()
    nearest[:] = NO_IMAGE
    found = attributes.coverage(data.split("train"), replace(made.prototypes, nearest=nearest))
    assert not found.has.any()
    assert found.missed[0] == "Rare"
    assert len(found.missed) == 5


def test_what_the_network_cannot_see_and_what_is_rare_are_told(data: ImageDataset, made: Conversion) -> None:
    found = attributes.coverage(data.split("train"), made.prototypes)
    told = dict(zip(found.names, found.told_apart, strict=True))
    assert min(told[name] for name in ("Even", "Below_Five", "Round")) > 0.8
    assert abs(told["Coin"]) < 0.06
    assert found.frequency[-1] == pytest.approx(0.01, abs=0.002)


def test_findings_in_words(data: ImageDataset, made: Conversion) -> None:
    found = attributes.coverage(data.split("train"), made.prototypes)
    # 50 random digits have the four frequent attributes, and the rare one in 0.91% of images with 1 - (1 - 0.0091)^50
    assert found.chance.capture_rate[:4].tolist() == [1, 1, 1, 1]
    assert found.chance.capture_rate[4] == pytest.approx(1 - (1 - found.frequency[4]) ** 50, abs=0.09)
    beside = (
        f"as many random training images of each class capture {4 + found.chance.capture_rate[4]:.1f} (4 to 5 in 95% "
        "of 300 draws)."
    )
    error = (
        f"The error of the attributes' correlations is 0.001, better than chance: {found.chance.error.mean():.3f} for "
        f"random images ({np.sort(found.chance.error)[7]:.3f} to {np.sort(found.chance.error)[292]:.3f})."
    )
    none = replace(found, has=np.zeros_like(found.has), told_apart=np.ones(5), error=0.001)
    assert attributes.finding(none, 5) == [
        f"With 5 prototypes per class, 0 of 5 attributes are captured, fewer than by chance: {beside}",
        "The rarest missed is Rare (0.9% of training images), the most frequent missed Below Five (50.0% of training "
        "images).",
        error,
    ]
    one = np.ones_like(found.has)
    one[:, 4] = False
    assert attributes.finding(replace(none, has=one), 1) == [
        f"With 1 prototype per class, 4 of 5 attributes are captured, no more than by chance: {beside}",
        "Missed is Rare (0.9% of training images).",
        error,
    ]
    few = replace(found.chance, captured_by=np.tile([True, True, False, False, False], (300, 1)))
    every = replace(none, has=np.ones_like(found.has), told_apart=np.array([1, 1, 1, 0.004, -0.01]), chance=few)
    first, _, last = attributes.finding(replace(every, error=9.0), 3)
    assert first == (
        "With 3 prototypes per class, all 5 attributes are captured, more than by chance: as many random training "
        "images of each class capture 2.0 (2 to 2 in 95% of 300 draws)."
    )
    assert last.startswith("The prototypes hardly distinguish images with Coin or Rare from those without")
    assert "is 9.000, worse than chance: " in attributes.finding(replace(every, error=9.0), 3)[1]


def test_curves_are_what_each_conversion_covers(demo: Store, digits: ModelInfo, data: ImageDataset) -> None:
    curves = attribute_curves(Subject(demo, digits, data), [3, 1], [0, 1])
    assert (curves.ks, curves.seeds) == ((1, 3), (0, 1))
    assert curves.prototypes.tolist() == [10, 30]
    for s, seed in enumerate(curves.seeds):
        for j, k in enumerate(curves.ks):
            made = Subject(demo, digits, data).conversion(KMeans(k, seed)).get()
            found = attributes.coverage(data.split("train"), made.prototypes)
            assert curves.captured_by[s, j].tolist() == found.captured.tolist()
            assert curves.error[s, j] == pytest.approx(found.error)
            assert curves.ghosted[s, j] == found.ghosts
            assert (curves.chance_captured[j], curves.chance_error[j]) == (found.captured_chance, found.error_chance)
    first = curves.first
    assert ((first == 1) == curves.captured_by[:, 0]).all()
    assert ((first == 0) == ~curves.captured_by.any(1)).all()


def test_own_prototypes_have_a_point_for_each_training(two_trainings: list[ModelInfo], store: Store) -> None:
    data = with_attributes(dataset_of(two_trainings[0]))
    ks = tuple(info.k for info in two_trainings)
    curves = built_in_attribute_curves([Subject(store, each, data) for each in two_trainings])
    assert curves.ks == ks
    assert curves.prototypes.tolist() == [10 * k for k in ks]
    for j, info in enumerate(two_trainings):
        made = Subject(store, info, data).conversion(BuiltIn()).get()
        assert (
            curves.captured_by[0, j].tolist()
            == attributes.coverage(data.split("train"), made.prototypes).captured.tolist()
        )
    seeded = [
        replace(info, made_by={**info.made_by, "recipe": {**info.made_by["recipe"], "seed": 7}})
        for info in two_trainings
    ]
    both = built_in_attribute_curves([Subject(store, each, data) for each in [*two_trainings, *seeded]])
    assert both.seeds == (0, 7)
    assert (both.captured_by == curves.captured_by).all(), "the same weights under another seed"
    answer = run("attributes", "--model", "fewer", "--own")
    assert answer["models"] == ["fewer", "digits-protopnet"]
    assert [row["k"] for row in answer["rows"]] == list(ks)
    assert answer["k"] == 2
    assert (
        "One training per number of prototypes: fewer, digits-protopnet"
        in CliRunner().invoke(app, ["attributes", "--model", "fewer", "--own"]).stdout
    )


def test_models_are_trained_alike_when_only_the_number_of_prototypes_differs(demo: Store) -> None:
    info = models.describe(demo, "digits-protopnet")

    def other(recipe: dict[str, object] | None = None, **changed: Any) -> ModelInfo:
        made_by = {**info.made_by, "recipe": {**info.made_by["recipe"], "k": info.k + 1, **(recipe or {})}}
        values: dict[str, Any] = {"name": "other", "k": info.k + 1, "made_by": made_by}
        return replace(info, **values | changed)

    fewer, longer = other(k=info.k - 1), other({"epochs": 99})
    imported = other(made_by={"imported": {}})
    black_box = models.describe(demo, "digits")
    assert trained_alike(info, [black_box, other(), info, fewer]) == [fewer, info, other()]
    seed = other({"seed": 7})
    assert trained_alike(info, [seed]) == [info], "the other seed lacks this number"
    both = other({"seed": 7, "k": info.k}, k=info.k)
    assert trained_alike(info, [seed, both]) == [info, both]
    assert trained_alike(info, [both, other(), seed]) == [info, other(), both, seed]
    for different in (
        longer,
        imported,
        other(backbone="resnet18"),
        other(class_column="Even"),
        other(k=info.k),
        other(made_by={**other().made_by, "data": "another"}),
    ):
        assert trained_alike(info, [different]) == [info]
    assert trained_alike(imported, [info, other()]) == [imported]


def test_classes_below_a_number_have_as_many_prototypes_as_images(
    demo: Store, digits: ModelInfo, data: ImageDataset
) -> None:
    curves = attribute_curves(Subject(demo, digits, data), [2, 500])
    assert curves.ks == (2, 500)
    assert curves.prototypes.tolist() == [20, len(data.split("train"))]
    assert curves.captured[0, 1] == len(data.split("train").attribute_names)


def test_data_without_attributes_says_how_to_get_some(demo: Store, digits: ModelInfo) -> None:
    with pytest.raises(InputError, match=r"'digits' has no attributes.*attributes.csv"):
        attribute_curves(Subject(demo, digits, dataset_of(digits)), [2])


def test_a_subgroup_on_which_the_model_fails_comes_first(data: ImageDataset, made: Conversion) -> None:
    test = data.split("test")
    failed = test.attributes[:, 0] & test.attributes[:, 2]  # even and round
    predicted = np.where(failed, (test.labels + 1) % 10, test.labels)
    table = tables.accuracy_table(test, replace(made, test_predicted=predicted))
    assert table["group"][0] == "Even + Round"
    assert table["accuracy"][0] == 0
    assert table["images"][0] == failed.sum()
    assert table["difference"][0] == pytest.approx(-(predicted == test.labels).mean())
    black_box = (made.test_black_box == test.labels)[failed].mean()
    assert table["accuracy_black_box"][0] == pytest.approx(black_box)
    assert "accuracy_black_box" not in tables.accuracy_table(test, made, black_box=False)
    assert (table["images"] >= tables.LEAST_IMAGES).all()


def test_tables_have_a_row_for_each_attribute_and_pair(data: ImageDataset, made: Conversion) -> None:
    found = attributes.coverage(data.split("train"), made.prototypes)
    table = tables.attribute_table(found)
    assert table["attribute"].tolist() == list(ATTRIBUTES)
    assert "first_k" not in table
    groups = tables.subgroup_table(found)
    assert (np.diff(groups["surplus"]) >= 0).all()
    assert (groups["images"] > 0).all()
    train = data.split("train")
    for row in groups.itertuples():
        one, other = (train.attributes[:, ATTRIBUTES.index(name)] for name in str(row.subgroup).split(" + "))
        both = one & other
        assert row.frequency == pytest.approx(both.mean())
        assert row.expected == pytest.approx(sum(5 * both[train.labels == digit].mean() for digit in range(10)))
        assert row.beyond_chance == (abs(float(str(row.surplus))) > np.quantile(found.chance.deviation_pairs, 0.95))
    assert (table["beyond_chance"] == (np.abs(table["prototypes"] - table["expected"]) > 2)).any()
    pairs = tables.correlation_table(found)
    far = np.abs(pairs["prototypes"] - pairs["images"]) > np.quantile(found.chance.deviation_correlation, 0.95)
    assert (pairs["beyond_chance"] == far).all()


def test_the_median_of_first_captures_is_missing_when_half_never_do(data: ImageDataset, made: Conversion) -> None:
    found = attributes.coverage(data.split("train"), made.prototypes)
    by = np.zeros((3, 2, 5), dtype=bool)
    by[0, 1, 0] = by[1, 0, 0] = by[2, 0, 0] = True  # 5, 1, 1
    by[0, 0, 1] = True  # once only
    curves = attributes.Curves(
        ATTRIBUTES,
        found.frequency,
        (1, 5),
        (0, 1, 2),
        np.array([10, 50]),
        np.zeros((3, 2), int),
        by,
        np.full((3, 2), 0.25),
        (metrics.Band(2, 2, 3), metrics.Band(0.5, 0.2, 0.9)),
        (metrics.Band(0.2, 0.1, 0.3), metrics.Band(0.4, 0.3, 0.5)),
    )
    first = tables.attribute_table(found, curves)["first_k"]
    assert first[0] == 1
    assert first[1:].isna().all()
    rows = attributes.as_rows(curves)
    assert rows[0]["captured"] == pytest.approx(1)
    assert rows[0]["captured_std"] == pytest.approx(np.std([1, 1, 1], ddof=1))
    share = dict(zip(ATTRIBUTES, found.frequency.tolist(), strict=True))
    assert rows[0]["missed"] == ["Rare", *sorted(("Coin", "Round"), key=share.__getitem__)]
    assert rows[1]["missed"][0] == "Rare"
    assert rows[0]["captured_chance"] == {"mean": 2, "low": 2, "high": 3}
    verdicts = [(row["captured_verdict"], row["correlation_mae_verdict"]) for row in rows]
    assert verdicts == [("worse than chance", "within chance"), ("within chance", "better than chance")]
    drawn = tables.curves_table({"m": curves})
    assert drawn[["captured_verdict", "error_verdict"]].to_numpy().tolist() == [
        ["worse", "within"],
        ["within", "better"],
    ]
    assert drawn["error_chance_high"].tolist() == [0.3, 0.5]


def test_grouping_by_another_column_uses_the_same_embedding(faces_cache: Path) -> None:
    store = Store(faces_cache)
    info = models.describe(store, "faces")
    data = dataset_of(info)
    grouped = Subject(store, info, data).grouped_by("Glasses")
    found = grouped.embedding("train").get()
    np.testing.assert_array_equal(found.z, Subject(store, info, data).embedding("train").get().z)
    np.testing.assert_array_equal(found.labels, grouped.data.split("train").labels)
    assert (found.black_box == -1).all()
    made = grouped.conversion(KMeans(2)).get()
    assert grouped.info.class_names == ("not Glasses", "Glasses")
    assert made.prototypes.classes.tolist() == [0, 0, 1, 1]
    glasses = data.split("train").attribute_names.index("Glasses")
    pictures = data.split("train").attributes[made.prototypes.exemplar, glasses]
    assert pictures.tolist() == [False, False, True, True]
    assert made.summary.accuracy_kmex > 0.6
    assert Subject(store, info, data).conversion(KMeans(2)).get().prototypes.classes.tolist() == [0, 0, 1, 1, 2, 2]


def test_planted_truth_on_the_faces(faces_cache: Path) -> None:
    store = Store(faces_cache)
    info = models.describe(store, "faces")
    data = dataset_of(info)
    train, random = data.split("train"), np.random.default_rng(7)
    unseen = random.random(len(train)) < 0.4  # nothing in the picture tells it
    rare = random.permutation(len(train)) < len(train) // 100
    train.attribute_names = (*train.attribute_names, "Unseen", "One_Percent")
    train.attributes = np.column_stack([train.attributes, unseen, rare])
    made = Subject(store, info, data).conversion(KMeans(5)).get()
    found = attributes.coverage(train, made.prototypes)
    told = dict(zip(found.names, found.told_apart, strict=True))
    assert told["Unseen"] < attributes.HARDLY
    assert told["Grey_Hair"] > 0.3, "the network sees grey hair, which hints at age"
    assert found.captured[found.names.index("Unseen")], "and yet it is captured, by chance"
    first, missed, error, last = attributes.finding(found, 5)
    assert "Unseen" in last.partition("from those without")[0]
    assert "by chance" in last
    assert first.startswith("With 5 prototypes per class, ")
    assert missed.startswith("The rarest missed is One Percent (1.0% of training images)")
    assert error.startswith(f"The error of the attributes' correlations is {found.error:.3f}, ")
    table = tables.attribute_table(found).set_index("attribute")
    assert table.loc["One_Percent", "images"] == 60
    assert not table.loc["One_Percent", "captured"]
    assert table.loc["One_Percent", "lift"] == 0
    groups = tables.subgroup_table(found).set_index("subgroup")
    expected = 5 * sum(float((unseen & rare)[train.labels == label].mean()) for label in range(3))
    assert groups.loc["Unseen + One_Percent", "expected"] == pytest.approx(expected)


def run(*arguments: str) -> dict[str, Any]:
    answer = CliRunner().invoke(app, [*arguments, "--json"])
    assert answer.exit_code == 0, answer.output
    return dict(json.loads(answer.stdout))


def test_the_command_on_the_faces(faces_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KMEX_CACHE", str(faces_cache))
    answer = run("attributes", "--model", "faces", "--k", "4:5")
    rows = answer["rows"]
    assert isinstance(rows, list)
    assert [row["k"] for row in rows] == [4, 5]
    for row in rows:
        chance = {f"{name}_{end}" for name in ("captured", "correlation_mae") for end in ("chance", "verdict")}
        assert set(row) == {"k", "prototypes", "ghosted", "captured", "correlation_mae", "missed"} | chance
        assert row["captured"] + len(row["missed"]) == 30
    assert answer["k"] == 5
    several = run("attributes", "--model", "faces", "--k", "4:5", "--runs", "2")["rows"]
    assert isinstance(several, list)
    assert "captured_std" in several[0]
    text = CliRunner().invoke(app, ["attributes", "--model", "faces", "--k", "5"]).stdout
    assert "With 5 prototypes per class" in text
    assert "Worst predicted groups of test images" in text
    by = run("attributes", "--model", "faces", "--k", "2", "--class", "Glasses")
    assert by["class"] == "Glasses"
    first = by["accuracy"]
    assert isinstance(first, list)
    assert "accuracy_black_box" not in first[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--model", "digits"), "has no attributes"),
        (("--model", "faces", "--own"), "--own needs a ProtoPNet"),
        (("--model", "faces", "--class", "Hatt"), "no column named 'Hatt'"),
        (("--model", "faces", "--k", "5:2"), "Invalid --k '5:2'"),
    ],
)
def test_wrong_use_of_the_command_is_said(
    faces_cache: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], message: str
) -> None:
    monkeypatch.setenv("KMEX_CACHE", str(faces_cache))
    answer = CliRunner().invoke(app, ["attributes", *arguments])
    assert answer.exit_code == 2
    assert message in answer.stderr


def test_a_report_has_no_number_that_json_lacks(
    demo: Store, digits: ModelInfo, data: ImageDataset, made: Conversion
) -> None:
    curves = attribute_curves(Subject(demo, digits, data), [5])
    answer = report.attributes(digits, data, curves, made, KMeans(5), 0, True)
    json.dumps(answer, allow_nan=False)
    assert answer["finding"][0].startswith("With 5 prototypes per class")
