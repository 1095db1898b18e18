"""Tables of measured and published numbers, which are shown beside each other and never mixed."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re

import numpy as np
import pytest

from kmex_core.analysis import comparison, published
from kmex_core.metrics.catalogue import METRICS
from kmex_core.metrics.types import AgainstChance, Evaluation, Measured


def evaluation(name: str = "a_b", dataset: str = "mnist", kind: str = "blackbox", **more: Measured) -> Evaluation:
    metrics = {
        "accuracy": Measured("accuracy", (0.9, 0.92), interval=(0.9, 0.93)),
        "accuracy_black_box": Measured("accuracy_black_box", (0.95, 0.95)),
        "effective": Measured("effective", (1.25,)),
        "average_drop": Measured("average_drop", (0.2,), std_images=0.1),
        "average_drop_black_box": Measured("average_drop_black_box", (0.1,), std_images=0.05),
        "relative_distance": Measured("relative_distance", (), reason="One & only_prototype."),
        **more,
    }
    return Evaluation((name,), kind, dataset, "resnet18", 5, (0, 1), 100, 10_000, "similarity", "prp", metrics)


def by_label(table: list[comparison.Row]) -> dict[str, comparison.Row]:
    return {row.label: row for row in table}


def test_measured_rows_come_first_and_published_ones_are_marked() -> None:
    table = comparison.rows([evaluation()])
    assert [(row.label, row.source) for row in table] == [
        ("a_b", "measured"),
        ("a_b + KMEx", "measured"),
        ("ResNet34 (paper)", "paper"),
        ("R34+KMEx (paper)", "paper"),
    ]
    rows = by_label(table)
    assert rows["a_b"].cells["accuracy"].mean == pytest.approx(0.95)
    assert rows["a_b + KMEx"].cells["accuracy"].mean == pytest.approx(0.91)
    assert rows["a_b + KMEx"].cells["accuracy"].spreads == {"k-means seeds": pytest.approx(0.02 / 2**0.5)}
    assert rows["a_b"].cells["accuracy"].spreads == {}, "a black box does not depend on the seed of k-means"
    assert rows["a_b + KMEx"].cells["average_drop"] == comparison.Cell(0.2, {"images": 0.1})
    assert "effective" not in rows["a_b"].cells  # a black box has no prototypes
    # Tables 3 and 4 of the paper
    assert rows["ResNet34 (paper)"].cells["accuracy"].mean == 0.994
    published_drop = rows["R34+KMEx (paper)"].cells["average_drop_reference"]
    assert (published_drop.mean, published_drop.spreads) == (0.121, {"paper": 0.234})
    assert published_drop.note.startswith("Table 4: ")
    assert "average_drop" not in rows["R34+KMEx (paper)"].cells, "beside the published form only"
    assert "effective" not in rows["R34+KMEx (paper)"].cells


def test_without_the_paper_only_what_was_measured_remains() -> None:
    assert {row.source for row in comparison.rows([evaluation()], False)} == {"measured"}
    assert {row.source for row in comparison.rows([evaluation(dataset="digits")])} == {"measured"}  # not in the paper


def test_the_papers_celeba_is_of_one_class_only() -> None:
    plain = evaluation(dataset="celeba")
    male, smiling = (dataclasses.replace(plain, class_column=column) for column in ("Male", "Smiling"))
    assert {row.source for row in comparison.rows([male])} == {"measured", "paper"}
    assert {row.source for row in comparison.rows([smiling])} == {"measured"}
    assert comparison.rows([smiling])[0].dataset == "CelebA (Smiling)"


def test_data_sets_are_published_once_each() -> None:
    table = comparison.rows([evaluation("a"), evaluation("b"), evaluation("c", "cifar10")])
    assert [row.dataset for row in table if row.source == "paper"] == ["MNIST"] * 2 + ["CIFAR-10"] * 2


def test_baselines_stand_beside_their_own_rows_of_the_paper() -> None:
    alone = dataclasses.replace(evaluation("net", kind="protovae"), built_in=True)
    rows = by_label(comparison.rows([alone, evaluation("net", kind="protovae")]))
    assert list(rows) == ["net", "net + KMEx", "ProtoVAE (paper)", "ProtoVAE+KMEx (paper)"]
    assert rows["ProtoVAE (paper)"].cells["diversity_reference"].mean == 0.367
    assert rows["ProtoVAE+KMEx (paper)"].cells["diversity_reference"].mean == 0.331
    both = comparison.rows([evaluation("one"), evaluation("other", kind="protovae")])
    assert len([row for row in both if row.source == "paper"]) == 4


def test_text_says_units_directions_and_reasons() -> None:
    text = comparison.as_text(comparison.rows([evaluation()]))
    lines = text.splitlines()
    assert len({line.index("R34+KMEx") for line in lines[:1]}) == 1
    accuracy = next(line for line in lines if line.startswith("Accuracy ↑"))
    assert re.findall(r"[\d.]+ ± [\d.]+%", accuracy) == [
        "91.0 ± 1.4%",
        "99.4 ± 0.0%",
        "99.4 ± 0.0%",
    ]
    assert "91.0 ± 1.4% (k-means seeds)" in accuracy
    drop = next(line for line in lines if line.startswith("Average drop ↓"))
    assert "20.0 ± 10.0% (images)" in drop
    effective = next(line for line in lines if line.startswith("Effective number"))
    assert effective.split("↑")[1].split() == ["–", "1.250", "–", "–"]
    assert "not computed" in next(line for line in lines if line.startswith("Distance between prototypes (SD) ↑"))
    assert "not computed: One & only_prototype." in lines
    assert any(line.startswith("(paper): ResNet34 with ImageNet weights") for line in lines)
    assert any(line.startswith("(paper) Table 4: 1,000 test images") for line in lines)
    assert "(paper)" not in comparison.as_text(comparison.rows([evaluation()], False))


def test_csv_is_a_line_per_number_that_reads_back() -> None:
    found = list(csv.DictReader(io.StringIO(comparison.as_csv(comparison.rows([evaluation()])))))
    assert tuple(found[0]) == comparison.COLUMNS
    kept = {(one["model"], one["metric"]): one for one in found}
    one = kept["a_b + KMEx", "average_drop"]
    assert (float(one["mean"]), float(one["std_images"]), one["std_seeds"], one["better"]) == (0.2, 0.1, "", "lower")
    assert float(kept["a_b + KMEx", "accuracy"]["std_seeds"]) == pytest.approx(0.02 / 2**0.5)
    assert float(kept["R34+KMEx (paper)", "average_drop_reference"]["std_paper"]) == 0.234
    assert kept["a_b + KMEx", "relative_distance"]["mean"] == ""
    assert kept["a_b + KMEx", "relative_distance"]["note"] == "One & only_prototype."
    assert kept["R34+KMEx (paper)", "faithfulness"]["source"] == "paper"


def test_latex_is_escaped_and_rectangular() -> None:
    found = comparison.as_latex(comparison.rows([evaluation("50%_{x}")]))
    assert r"50\%\_\{x\} + KMEx" in found
    assert r"91.0 $\pm$ 1.4\%" in found
    assert r"Accuracy $\uparrow$" in found
    body = [line for line in found.splitlines() if line.endswith(r"\\")]
    assert len({len(re.findall(r"(?<!\\)&", line)) for line in body}) == 1
    assert not re.search(r"[±↑↓–]", found)


def test_json_names_its_metrics_directions_and_runs() -> None:
    found = json.loads(json.dumps(comparison.evaluation_values(evaluation()), allow_nan=False))
    assert found["metrics"]["accuracy"] == {
        "mean": 0.91,
        "std_seeds": pytest.approx(0.0141421, rel=1e-5),
        "std_trainings": None,
        "runs": [0.9, 0.92],
        "std_images": None,
        "interval": [0.9, 0.93],
        "better": "higher",
        "better_than_chance": None,
        "chance": {},
        "not_computed": None,
    }
    assert found["metrics"]["average_drop_black_box"]["better"] == "lower"
    assert found["metrics"]["relative_distance"]["mean"] is None
    assert found["metrics"]["relative_distance"]["not_computed"] == "One & only_prototype."
    assert found["seeds"] == [0, 1]
    json.dumps(comparison.as_values(comparison.rows([evaluation()])), allow_nan=False)


def beside_chance() -> Evaluation:
    worse, better = AgainstChance("average_drop_random", 0.01, 0.02), AgainstChance("average_drop_random", 0.1, 0.02)
    black_box = dataclasses.replace(worse, name="average_drop_random_black_box")
    return evaluation(
        average_drop=Measured("average_drop", (0.2,), std_images=0.1, against=(better,)),
        average_drop_random=Measured("average_drop_random", (0.3,)),
        average_drop_black_box=Measured("average_drop_black_box", (0.1,), against=(black_box,)),
        average_drop_random_black_box=Measured("average_drop_random_black_box", (0.11,)),
        faithfulness=Measured(
            "faithfulness",
            (0.5,),
            against=(
                AgainstChance("faithfulness_uniform", 0.4, 0.01),
                AgainstChance("faithfulness_other_image", 0.2, 0.01),
                AgainstChance("faithfulness_runner_up", -0.1, 0.01),
            ),
        ),
        faithfulness_uniform=Measured("faithfulness_uniform", (0.9,)),
        faithfulness_other_image=Measured("faithfulness_other_image", (0.7,)),
        faithfulness_runner_up=Measured("faithfulness_runner_up", (0.4,)),
    )


def test_a_figure_within_chance_is_said_to_be_so() -> None:
    found = beside_chance()
    assert comparison.chance_sentences(found) == [
        "Divergence of relevance maps (0.500 nats) is better than a uniform map (0.900) and another image's map "
        "(0.700), and no better than the runner-up class's map (0.400).",
        "Average drop (20.0%) is better than a random order of pixels (30.0%).",
        "The black box: average drop (10.0%) is no better than a random order of pixels (11.0%).",
    ]
    assert comparison.chance_sentences(found, METRICS["accuracy"].group) == []
    rows = by_label(comparison.rows([found], False))
    assert rows["a_b + KMEx"].cells["average_drop"].better_than_chance is True
    assert rows["a_b"].cells["average_drop"].better_than_chance is False
    assert rows["a_b + KMEx"].cells["faithfulness"].not_better_than == ("faithfulness_runner_up",)
    assert rows["a_b + KMEx"].cells["accuracy"].better_than_chance is None
    assert comparison.measured_notes(list(rows.values())) == [
        "Average drop of a_b is no better than chance: Average drop, random order",
        "Divergence of relevance maps of a_b + KMEx is no better than chance: Divergence of the runner-up's map",
    ]
    values = comparison.evaluation_values(found)["metrics"]
    assert values["faithfulness"]["better_than_chance"] is False
    assert values["average_drop"]["better_than_chance"] is True
    assert values["faithfulness"]["chance"]["faithfulness_uniform"]["mean"] == 0.9
    csv_rows = list(csv.DictReader(io.StringIO(comparison.as_csv(list(rows.values())))))
    kept = {(one["model"], one["metric"]): one["better_than_chance"] for one in csv_rows}
    assert (kept["a_b + KMEx", "average_drop"], kept["a_b", "average_drop"]) == ("true", "false")
    assert kept["a_b + KMEx", "accuracy"] == ""


def test_accuracies_are_compared_on_the_same_images() -> None:
    random = np.random.default_rng(0)
    labels, right = random.integers(0, 3, 200), random.random((3, 200)) < 0.8
    one = dataclasses.replace(evaluation("one"), labels=labels, right=right[0], right_black_box=right[1])
    other = dataclasses.replace(evaluation("other", kind="protovae"), labels=labels, right=right[2], built_in=True)
    elsewhere = dataclasses.replace(other, models=("elsewhere",), labels=1 - labels)
    found = comparison.differences([one, other, elsewhere, evaluation("unmeasured")])
    assert [(each.model, each.other) for each in found] == [("one + KMEx", "one"), ("other", "one")]
    assert [each.mean for each in found] == pytest.approx(
        [right[0].mean() - right[1].mean(), right[2].mean() - right[1].mean()]
    )
    assert found[0].low < found[0].mean < found[0].high
    points = f"{found[0].mean * 100:+.1f}".replace("-", "\N{MINUS SIGN}")
    assert found[0].text.startswith(f"Accuracy of one + KMEx minus that of one: {points} points on the same 200 ")
    none = dataclasses.replace(found[0], mean=-0.0001, low=-0.02, high=0.01)
    assert "one: 0.0 points" in none.text
    assert "(95% interval \N{MINUS SIGN}2.0 to +1.0," in none.text


@pytest.mark.parametrize(
    ("table", "metric", "model", "dataset", "mean", "std"),
    [
        (3, "accuracy", "ProtoVAE", "CelebA", 0.986, 0.0),
        (4, "average_increase_reference", "ProtoPNet", "SVHN", 0.834, 0.367),
        (5, "ghosting", "ProtoVAE", "STL-10", 0.76, 0.037),
        (6, "faithfulness", "R34+KMEx", "CIFAR-10", 0.159, 0.163),
        (7, "diversity_reference", "R34+KMEx", "QuickDraw", 0.374, 0.085),
        (8, "diversity_reference", "FLINT+KMEx", "fMNIST", 0.161, 0.014),
    ],
)
def test_published_numbers_are_the_papers(
    table: int, metric: str, model: str, dataset: str, mean: float, std: float
) -> None:
    found = [
        one
        for one in published.figures()
        if (one.table, one.metric, one.model, one.dataset) == (table, metric, model, dataset)
    ]
    assert [(one.mean, one.std) for one in found] == [(mean, std)]
    assert found[0].variant


def test_every_published_number_is_of_a_known_metric_and_there_once() -> None:
    found = published.figures()
    assert {one.metric for one in found} <= set(METRICS)
    assert {one.table for one in found} == {3, 4, 5, 6, 7, 8}
    assert len({(one.table, one.metric, one.model, one.dataset) for one in found}) == len(found) == 189
    for one in found:
        assert one.std >= 0
        assert 0 <= one.mean <= (1.2 if METRICS[one.metric].unit == "nats" else 1)
    assert METRICS["average_drop_reference"].table == 4
    for one in found:  # where there are two forms, only the published one
        assert not any(kind.reference_of == one.metric for kind in METRICS.values())
        assert not METRICS[one.metric].chance_of
    assert "2024" in published.source()[0]


def test_data_sets_are_found_by_their_titles() -> None:
    assert published.papers_name("Fashion-MNIST") == "fMNIST"
    assert published.papers_name("QuickDraw-10") == "QuickDraw"
    assert published.papers_name("CIFAR-10") == "CIFAR-10"
    assert published.papers_name("Digits") == ""
