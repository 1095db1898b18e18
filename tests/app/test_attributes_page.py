"""The page Attributes and its figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from app import read
from app.components.attributes import curves as shown_curves
from app.figures.attributes import (
    CURVES,
    accuracy_figure,
    attribute_label,
    correlation_figure,
    coverage_figure,
    curves_figure,
)
from app.selection import Selection
from kmex_core import metrics
from kmex_core.analysis import coverage as attributes
from kmex_core.analysis.tables.attributes import accuracy_table, curves_table
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
from tests.helpers.pages import Page, healthy

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


def tables(test: AppTest) -> list[pd.DataFrame]:
    return [one.value for one in test.dataframe]


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
    assert f"differ by more than {metrics.simultaneous_limit(found.chance.deviation_correlation):.2f}" in captions
    shown = {metric.label: metric.value for metric in test.metric}
    assert shown["Captured ↑"] == f"{int(found.captured.sum())} of 5"
    assert shown["Error of correlations ↓"] == f"{found.error:.3f}"
    assert shown["Ghosts ↓"] == "0 of 50"
    by_attribute = tables(test)[0]
    assert by_attribute["captured"].is_monotonic_increasing, "what is missed comes first"
    assert set(by_attribute["attribute"]) == {"Even", "Below Five", "Round", "Coin", "Rare"}


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
    assert any(words.value.startswith("**Round** occurs in ") for words in test.markdown)
    again = healthy(page("attributes", attribute="Round"))
    assert again.selectbox(key="attribute-choice").value == "Round"
    assert healthy(page("attributes", attribute="Nothing")).selectbox(key="attribute-choice").value is None


@pytest.mark.usefixtures("swept")
def test_a_planted_subgroup_is_named_first(page: Page, data: ImageDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = read.conversion
    test = data.split("test")
    failed = test.attributes[:, 0] & test.attributes[:, 2]

    def planted(chosen: Selection) -> Conversion:
        return replace(whole(chosen), test_predicted=np.where(failed, (test.labels + 1) % 10, test.labels))

    monkeypatch.setattr(read, "conversion", planted)
    shown = healthy(page("attributes"))
    words = next(one.value for one in shown.markdown if one.value.startswith("Least accurate:"))
    assert words.startswith(
        f"Least accurate: **Even + Round**. KMEx is correct on 0.0% of its {failed.sum()} test images (95 % interval "
    )
    assert f"against {1 - failed.mean():.1%} of all test images" in words


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
    assert not any("black box" in words.value for words in test.markdown if words.value.startswith("Least accurate:"))


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


@pytest.fixture
def found(demo: Store, digits: ModelInfo, data: ImageDataset) -> attributes.Coverage:
    return attributes.coverage(data.split("train"), Subject(demo, digits, data).conversion(KMeans(5)).get().prototypes)


def test_the_matrix_has_a_mark_for_every_attribute_and_prototype(found: attributes.Coverage) -> None:
    order = np.argsort(-found.frequency)
    classes = [str(at // 5) for at in range(50)]
    figure = coverage_figure(found, order, classes, "Round")
    without, having = figure.data
    assert len(having.x) == found.has.sum()
    assert len(having.x) + len(without.x) == found.has.size
    for x, y, told in zip(having.x, having.y, having.customdata, strict=True):
        assert found.has[x, order[y]]
        assert told[0] == found.names[order[y]]
        assert told[2] == classes[x]
    assert having.marker.symbol != without.marker.symbol, "not by colour alone"
    assert figure.layout.yaxis.ticktext[0] == attribute_label(found, int(order[0]))
    missed = replace(found, has=np.zeros_like(found.has))
    assert attribute_label(missed, 0).startswith("✕ Even (")


def test_many_prototypes_are_counted_by_class(found: attributes.Coverage) -> None:
    many = replace(found, has=np.tile(found.has, (3, 1)))
    classes = [str(at // 15) for at in range(150)]
    shown = coverage_figure(many, np.arange(5), classes, "").data[0]
    assert list(shown.x) == [str(label) for label in range(10)]
    for label in range(10):
        for at in range(5):
            count = many.has[15 * label : 15 * label + 15, at].sum()
            assert (np.isnan(shown.z[at][label]) and count == 0) or shown.z[at][label] == count


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


def test_a_matrix_of_correlations_is_centred_on_no_correlation(found: attributes.Coverage) -> None:
    shown = correlation_figure(found.correlation, found.names, "Correlation").data[0]
    assert (shown.zmin, shown.zmax) == (-1, 1)
    assert list(shown.x) == ["Even", "Below Five", "Round", "Coin", "Rare"]


def test_groups_have_intervals_around_their_accuracy(demo: Store, digits: ModelInfo, data: ImageDataset) -> None:
    table = accuracy_table(data.split("test"), Subject(demo, digits, data).conversion(KMeans(5)).get()).head(4)
    figure = accuracy_figure(table, "KMEx", 0.9)
    ours, black_box = figure.data
    assert list(ours.x) == pytest.approx(table["accuracy"] * 100)
    assert list(ours.x + ours.error_x.array) == pytest.approx(table["high"] * 100)
    assert list(black_box.x - black_box.error_x.arrayminus) == pytest.approx(table["low_black_box"] * 100)
    assert ours.marker.symbol != black_box.marker.symbol
    alone = accuracy_figure(table.drop(columns=["accuracy_black_box"]), "ProtoPNet", 0.9)
    assert len(alone.data) == 1
