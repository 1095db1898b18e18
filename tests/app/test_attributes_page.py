"""The page Attributes and its figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from app import read
from app.components.attributes import covered as shown_covered
from app.components.attributes import curves as shown_curves
from app.figures.attributes import CURVES, curves_figure
from app.selection import Selection
from kmex_core import metrics
from kmex_core.analysis import coverage as attributes
from kmex_core.analysis.tables.attributes import accuracy_table, correlation_table, curves_table
from kmex_core.base import jobs
from kmex_core.base.store import Store
from kmex_core.data.registry import ImageDataset
from kmex_core.models import catalogue as models
from kmex_core.models.info import ModelInfo
from kmex_core.prototypes.source import KMeans
from kmex_core.prototypes.types import Conversion
from kmex_core.stages.curves import attribute_curves, built_in_attribute_curves
from kmex_core.stages.subject import Subject, dataset_of
from tests.helpers.datasets import with_attributes
from tests.helpers.pages import Page, healthy, sent_to

KS = range(4, 6)


@pytest.fixture
def data(demo: Store, digits: ModelInfo, monkeypatch: pytest.MonkeyPatch) -> ImageDataset:
    """The digits with attributes, and curves over few numbers."""
    monkeypatch.setattr(shown_curves, "KS", KS)
    monkeypatch.setattr(shown_curves, "SEEDS", range(2))
    return with_attributes(dataset_of(digits))


@pytest.fixture
def swept(demo: Store, digits: ModelInfo, data: ImageDataset, monkeypatch: pytest.MonkeyPatch) -> attributes.Curves:
    monkeypatch.setattr(jobs, "start", lambda *_: pytest.fail("a job was started that nobody asked for"))
    return attribute_curves(Subject(demo, digits, data), KS, [0, 1])


def matrix(test: AppTest, corner: str) -> dict[str, Any]:
    """What the page sends to the matrix whose first column has this head."""
    sent = [sent_to(one.proto) for one in test.get("bidi_component") if one.proto.component_name == "kmex_matrix"]
    return next(one for one in sent if one["corner"] == corner)


def rows_of(data: dict[str, Any]) -> list[dict[str, Any]]:
    return [row for section in data["sections"] for row in section["rows"]]


@pytest.mark.usefixtures("swept")
def test_the_page_says_first_what_there_is_to_know(
    page: Page, demo: Store, digits: ModelInfo, data: ImageDataset
) -> None:
    test = healthy(page("attributes"))
    found = attributes.coverage(data.split("train"), Subject(demo, digits, data).conversion(KMeans(5)).get().prototypes)
    assert test.markdown[1].value.startswith(f"**{attributes.finding(found, 5)[0]}**")
    chance = metrics.chance_band(found.chance.captured)
    captured = next(metric for metric in test.metric if metric.label == "Captured ↑")
    assert captured.delta == f"chance {chance.low:g} to {chance.high:g}"
    captions = " ".join(caption.value for caption in test.caption)
    assert f"a surplus beyond ±{metrics.simultaneous_limit(found.chance.deviation_pairs):.1f}" in captions
    shown = {metric.label: metric.value for metric in test.metric}
    assert shown["Captured ↑"] == f"{int(found.captured.sum())} of 5"
    assert shown["Error of correlations ↓"] == f"{found.error:.3f}"
    assert shown["Ghosts ↓"] == "0 of 50"


@pytest.mark.usefixtures("swept")
def test_prototypes_are_columns_with_their_pictures_and_every_mark_opens_its_images(
    page: Page, demo: Store, digits: ModelInfo, data: ImageDataset
) -> None:
    sent = matrix(healthy(page("attributes", attribute="Round")), "Attribute")
    prototypes = Subject(demo, digits, data).conversion(KMeans(5)).get().prototypes
    train = data.split("train")
    pictures = [head["picture"] for head in sent["heads"] if head["picture"]]
    assert pictures == [f"train/{image}" for image in prototypes.exemplar]
    assert [head["group"] for head in sent["heads"][:50:5]] == list(digits.class_names)
    assert sent["heads"][7]["conditions"] == ["prototype:1.2", "split:train"]
    assert {row["title"] for row in rows_of(sent)} == {"Even", "Below Five", "Round", "Coin", "Rare"}
    assert [row["title"] for row in rows_of(sent) if row["picked"]] == ["Round"]
    for row in rows_of(sent):
        column = train.attribute_names.index(row["title"].replace(" ", "_"))
        assert row["conditions"] == [f"attribute:{train.attribute_names[column]}", "split:train"]
        assert len(row["cells"]) == len(sent["heads"])
        for p, cell in enumerate(row["cells"][:50]):
            assert cell["mark"] == train.attributes[prototypes.exemplar[p], column]
            images = train.attributes[prototypes.activated == p, column]
            assert cell["tint"] == pytest.approx(images.mean())
            opened = ["prototype:" + f"{p // 5}.{p % 5}", *row["conditions"]] if images.any() else []
            assert cell["conditions"] == opened, "a mark with no images opens none"


@pytest.mark.usefixtures("swept")
def test_many_prototypes_are_counted_by_class(
    page: Page, demo: Store, digits: ModelInfo, data: ImageDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shown_covered, "MOST_CELLS", 40)
    test = healthy(page("attributes"))
    sent = matrix(test, "Attribute")
    assert [head["note"] for head in sent["heads"][:8]] == list(digits.class_names[:8])
    assert any("The first 8 of 10 classes" in caption.value for caption in test.caption)
    prototypes = Subject(demo, digits, data).conversion(KMeans(5)).get().prototypes
    even = next(row for row in rows_of(sent) if row["title"] == "Even")
    for label, cell in enumerate(even["cells"][:8]):
        having = int(data.split("train").attributes[prototypes.exemplar[prototypes.classes == label], 0].sum())
        assert cell["text"] == (f"{having} of 5" if having else "")


@pytest.mark.usefixtures("swept")
def test_the_slider_moves_all_of_it(page: Page) -> None:
    test = healthy(page("attributes", k="4"))
    assert "With 4 prototypes per class" in test.markdown[1].value
    assert {metric.label: metric.value for metric in test.metric}["Ghosts ↓"] == "0 of 40"
    test.slider(key="k").set_value(5).run()
    assert "With 5 prototypes per class" in healthy(test).markdown[1].value


@pytest.mark.usefixtures("swept")
def test_a_chosen_attribute_is_in_the_link_and_shows_its_prototypes(page: Page) -> None:
    test = healthy(page("attributes"))
    test.selectbox(key="attribute-choice").select("Round").run()
    assert healthy(test).query_params["attribute"] in ("Round", ["Round"])
    words = next(words.value for words in test.markdown if words.value.startswith("**Round** occurs in "))
    assert "random training images of each class give" in words
    again = healthy(page("attributes", attribute="Round"))
    assert again.selectbox(key="attribute-choice").value == "Round"
    assert healthy(page("attributes", attribute="Nothing")).selectbox(key="attribute-choice").value is None


@pytest.mark.usefixtures("swept")
def test_a_planted_subgroup_is_named_first_and_is_one_entry(
    page: Page, data: ImageDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = read.conversion
    test = data.split("test")
    failed = test.attributes[:, 3] & test.attributes[:, 2]

    def planted(chosen: Selection) -> Conversion:
        return replace(whole(chosen), test_predicted=np.where(failed, (test.labels + 1) % 10, test.labels))

    monkeypatch.setattr(read, "conversion", planted)
    shown = healthy(page("attributes", tab="Errors"))
    words = next(one.value for one in shown.markdown if one.value.startswith("Least accurate:"))
    assert words.startswith(
        f"Least accurate: **Round + Coin**. KMEx is correct on 0.0% of its {failed.sum()} test images (95% interval "
    )
    assert f"against {1 - failed.mean():.1%} of all test images; less accurate than by chance." in words
    sections = matrix(shown, "Group")["sections"]
    assert sections[0]["title"] == "Less accurate than by chance"
    first = sections[0]["rows"][0]
    assert first["fold"].startswith("with another attribute: ")
    assert first["rows"][0]["title"] in ("+ Coin", "+ Round")
    assert first["rows"][0]["conditions"] == ["attribute:Round", "attribute:Coin", "split:test"]
    wrong = next(cell for cell in first["rows"][0]["cells"] if "wrong" in cell["conditions"])
    assert wrong["conditions"] == ["attribute:Round", "attribute:Coin", "wrong", "split:test"]
    assert wrong["text"] == f"{failed.sum()} of {failed.sum()}"
    folded = [row for section in sections for one in section["rows"] for row in (one, *one["rows"])]
    assert len(folded) == len(accuracy_table(test, whole(Selection(models.describe(Store(), "digits"), KMeans(5)))))


@pytest.mark.usefixtures("swept")
def test_the_bars_are_the_intervals_in_the_table(
    page: Page, demo: Store, digits: ModelInfo, data: ImageDataset
) -> None:
    sent = matrix(healthy(page("attributes", tab="Errors")), "Group")
    table = accuracy_table(data.split("test"), Subject(demo, digits, data).conversion(KMeans(5)).get())
    axis = int(sent["heads"][1]["note"].partition("%")[0]) / 100
    for row in rows_of(sent):
        expected = table[table["group"].str.replace("_", " ") == row["title"]].iloc[0]
        bar = row["cells"][1]["bar"]
        for name, column in (("value", "accuracy"), ("low", "low"), ("high", "high"), ("bandHigh", "chance_high")):
            assert axis + bar[name] * (1 - axis) == pytest.approx(expected[column])
        assert 0 <= bar["low"] <= bar["value"] <= bar["high"] <= 1
        assert f"{expected['accuracy']:.1%}" == row["cells"][0]["text"]


@pytest.mark.usefixtures("swept")
def test_correlations_of_images_and_prototypes_are_one_matrix(
    page: Page, demo: Store, digits: ModelInfo, data: ImageDataset
) -> None:
    test = healthy(page("attributes", tab="Correlations"))
    found = attributes.coverage(data.split("train"), Subject(demo, digits, data).conversion(KMeans(5)).get().prototypes)
    limit = metrics.simultaneous_limit(found.chance.deviation_correlation)
    assert any(f"by more than {limit:.2f}, which the largest" in words.value for words in test.markdown)
    sent = matrix(test, "Attribute")
    order = [found.names.index(row["title"].replace(" ", "_")) for row in rows_of(sent)]
    assert sorted(order) == list(range(5))
    for i, row in enumerate(rows_of(sent)):
        for j, cell in enumerate(row["cells"]):
            among = found.correlation if j < i else found.correlation_prototypes
            if i != j and abs(among[order[i], order[j]]) >= 0.1:
                assert cell["tint"] == pytest.approx(among[order[i], order[j]])
                assert float(cell["text"].replace("−", "-")) == pytest.approx(cell["tint"], abs=0.051)
    largest = rows_of(matrix(test, "Pair"))[0]
    table = correlation_table(found)
    most = (table["prototypes"] - table["images"]).abs().max()
    assert abs(float(largest["cells"][2]["text"].replace("−", "-"))) == pytest.approx(most, abs=0.006)


@pytest.mark.usefixtures("swept")
def test_links_of_before_still_lead_where_they_did(page: Page) -> None:
    test = healthy(page("attributes", subgroups="Over-represented"))
    assert test.segmented_control(key="subgroups").value == "over"
    assert matrix(test, "Pair")["about"] == "Over-represented pairs of attributes"
    refused = healthy(page("attributes", tab="Elsewhere"))
    assert "Choose one of Covered, Errors, Correlations." in refused.warning[0].value
    assert any("attributes are captured" in words.value for words in refused.markdown)


def test_missing_curves_are_computed_in_the_background(
    page: Page, data: ImageDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shown_curves, "KS", range(12, 14))
    started: list[list[str]] = []
    monkeypatch.setattr(jobs, "start", lambda store, name, arguments: started.append(list(arguments)))
    healthy(page("attributes"))
    assert started == [
        ["attributes", "--model", "digits", "--k", "12:13", "--runs", "2", "--first", "5", "--metric", "auto"]
    ]


def test_own_prototypes_are_audited_and_marked(
    page: Page, demo: Store, data: ImageDataset, swept: attributes.Curves
) -> None:
    info = models.describe(demo, "digits-protopnet")
    attribute_curves(Subject(demo, info, data), KS, [0, 1])
    test = healthy(page("attributes", model="digits-protopnet", kmex="false"))
    assert f"With {info.k} prototype" in test.markdown[1].value
    found = built_in_attribute_curves([Subject(demo, each, data) for each in [info]])
    assert {metric.label: metric.value for metric in test.metric}["Captured ↑"] == f"{found.captured[0, 0]} of 5"
    errors = healthy(page("attributes", model="digits-protopnet", kmex="false", tab="Errors"))
    assert not any("black box" in words.value for words in errors.markdown if words.value.startswith("Least accurate:"))


def test_trainings_with_other_numbers_are_joined(
    page: Page,
    store: Store,
    two_trainings: list[ModelInfo],
    data: ImageDataset,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(jobs, "start", lambda store, name, arguments: started.append(list(arguments)))
    fewer = two_trainings[0]
    for info in two_trainings:
        attribute_curves(Subject(store, info, data), KS, [0, 1])

    drawn: list[pd.DataFrame] = []

    def noted(lines: Mapping[str, attributes.Curves]) -> pd.DataFrame:
        drawn.append(curves_table(lines))
        return drawn[-1]

    monkeypatch.setattr(shown_curves, "curves_table", noted)
    test = healthy(page("attributes", model="fewer", kmex="false"))
    assert set(drawn[-1]["model"]) == {"fewer + KMEx", "digits-protopnet + KMEx", "fewer (ProtoPNet alone)"}
    add = next(button for button in test.button if button.label == "Add fewer alone")
    add.click().run()
    assert started == [["attributes", "--model", "fewer", "--own"]]
    built_in_attribute_curves([Subject(store, each, data) for each in two_trainings])
    test = healthy(page("attributes", model="fewer", kmex="false"))
    own = drawn[-1].query("model == 'fewer and 1 alike (ProtoPNet alone)'")
    assert own["k"].tolist() == [fewer.k, two_trainings[1].k]
    assert "Add fewer alone" not in [button.label for button in test.button]


def test_data_without_attributes_says_how_to_get_some(page: Page) -> None:
    test = healthy(page("attributes"))
    assert "has no attributes" in test.info[0].value
    assert not test.metric


def test_the_faces_have_attributes_from_the_start(
    page: Page, faces_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "start", lambda *_: None)
    test = healthy(page("attributes", model="faces"))
    assert test.sidebar.selectbox(key="dataset").value == "Faces", "a link that names no data set means the model's"
    assert "of 30 attributes are captured" in test.markdown[1].value


# ---- figures --------------------------------------------------------------------------------------------------------


def test_curves_have_bands_over_seeds_and_a_mark_at_the_chosen_number(swept: attributes.Curves) -> None:
    one = attributes.Curves(
        swept.names,
        swept.frequency,
        (5,),
        (0,),
        np.array([50]),
        np.array([[3]]),
        np.ones((1, 1, 5), bool),
        np.array([[0.25]]),
        (metrics.Band(4.0, 3.0, 5.0),),
        (metrics.Band(0.2, 0.1, 0.3),),
    )
    table = curves_table({"m + KMEx": swept, "m alone": one})
    assert table["k"].tolist() == [4, 5, 5]
    assert table["captured_std"].isna().tolist() == [False, False, True]
    assert table["error"].to_numpy() == pytest.approx([*swept.error.mean(0), 0.25])
    assert table["ghosted"].tolist()[-1] == 3
    for name in CURVES:
        figure = curves_figure(table, name, 5, KS, 5)
        grey = ["Random training images"] if name != "ghosted" else []
        assert [trace.name for trace in figure.data if trace.name] == [*grey, "m + KMEx", "m alone"]
        assert figure.layout.xaxis.title.text
        assert figure.layout.yaxis.title.text
        assert any(shape.x0 == shape.x1 == 5 for shape in figure.layout.shapes)
    chance, mean, band = curves_figure(table, "error", 5, KS, 5).data[:3]
    assert list(chance.y[:2]) == pytest.approx([band.high for band in swept.chance_error])
    assert list(mean.y) == pytest.approx([band.mean for band in swept.chance_error])
    alone = curves_figure(table.tail(1), "error", 5, KS, 5).data[0]
    assert (alone.error_y.array[0], alone.error_y.arrayminus[0]) == pytest.approx((0.1, 0.1))
    assert max(band.y) == pytest.approx((swept.error.mean(0) + swept.error.std(0, ddof=1)).max())
