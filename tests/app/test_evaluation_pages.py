"""The pages Audit and Compare, and their figures."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from app import read
from app.components.compare.choices import PAIR, PARTS
from app.components.shared import relevance_scores as shown_maps
from app.figures.evaluation import (
    confusion_figure,
    distribution_figure,
    ordering_figure,
    radar_figure,
    shares_figure,
)
from app.old_addresses import new_address
from kmex_core.analysis.tables.evaluation import (
    AXES,
    confusion_table,
    on_axis,
    ordering_table,
    radar_table,
    scores_table,
    shares_table,
)
from kmex_core.base import jobs
from kmex_core.base.location import SHIPPED
from kmex_core.base.store import Store
from kmex_core.metrics.catalogue import MAP_METRICS, METRICS
from kmex_core.metrics.types import MapScores
from kmex_core.models import catalogue as models
from kmex_core.models.info import ModelInfo
from kmex_core.prototypes.source import BuiltIn, KMeans
from kmex_core.prototypes.types import Prototypes
from kmex_core.relevance.catalogue import METHODS, PUBLISHED
from kmex_core.stages.evaluation import evaluate
from kmex_core.stages.stability import stability
from kmex_core.stages.subject import Subject, dataset_of
from tests.helpers.pages import Page, board, button, clear_caches, data_of, figures, header, healthy, links, text_of

IMAGES = 12


@pytest.fixture
def measured(demo: Store, digits: ModelInfo, monkeypatch: pytest.MonkeyPatch) -> MapScores:
    """Maps measured on a few images, which the pages offer as a choice."""
    monkeypatch.setattr(shown_maps, "IMAGES", (IMAGES, 100))
    found = Subject(demo, digits, dataset_of(digits)).relevance_scores(KMeans(5), images=IMAGES).get_or_why_not()
    assert isinstance(found, MapScores)
    return found


@pytest.fixture
def published(demo: Store, digits: ModelInfo, measured: MapScores) -> MapScores:
    """The same of the published maps."""
    scores = Subject(demo, digits, dataset_of(digits)).relevance_scores(KMeans(5), images=IMAGES, maps=PUBLISHED)
    found = scores.get_or_why_not()
    assert isinstance(found, MapScores)
    return found


@pytest.fixture
def second(demo: Store) -> Iterator[str]:
    """Another model of the digits: the same weights by another name, so that all its results are there."""
    path = demo.path("models", "second")
    path.parent.mkdir(exist_ok=True)
    shutil.copy(SHIPPED / "digits.safetensors", path)
    yield "second"
    path.unlink()


def numbers(test: AppTest) -> dict[str, str]:
    """The values behind the headlines of Audit, with what stands beside each, by metric."""
    found = {}
    for body in (one.proto.body for one in test.get("html") if 'class="kx-numbers"' in one.proto.body):
        for row in (row for row in ElementTree.fromstring(body).iter("tr") if row.find("td") is not None):
            name, value, about = row
            found[str(name.text)] = " ".join(value.itertext())
            assert about.text
    return found


def verdicts(test: AppTest) -> list[str]:
    """What the headlines say of chance."""
    return re.findall(
        r":(?:green|grey|gray|orange)-badge\[:material/\w+: ([^\]]*)\]", "\n".join(one.value for one in test.markdown)
    )


def matrix(test: AppTest) -> list[list[tuple[str, list[str]]]]:
    """The cells of the confusion matrix with what each selects on Explore, row by row."""
    (section,) = data_of(test, "matrix")["sections"]
    return [
        [(row["title"], row["conditions"]), *((cell["text"], cell["conditions"]) for cell in row["cells"])]
        for row in section["rows"]
    ]


def test_all_metrics_without_maps_are_there_at_once(
    page: Page, demo: Store, digits: ModelInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "start", lambda *_: pytest.fail("a job was started that nobody asked for"))
    test = healthy(page("audit"))
    cheap = {name: kind for name, kind in METRICS.items() if not (kind.maps or kind.chance_of)}
    found = evaluate([Subject(demo, digits, dataset_of(digits))], KMeans(5), [0], images=0, names=list(cheap))
    shown = numbers(test)
    assert set(shown) == {f"{kind.title} {kind.arrow}" for kind in cheap.values()}
    for name, kind in cheap.items():
        assert shown[f"{kind.title} {kind.arrow}"].startswith(kind.with_unit(found.metrics[name].mean or 0))
    assert "Black box: 96" in shown["Accuracy ↑"]
    assert "95 % Wilson interval" in shown["Agreement ↑"]
    assert f"random images: {found.metrics['effective_random'].mean:.3f}" in shown["Effective number ↑"]
    assert [button.label for button in test.button if "Measure" in button.label] == ["Measure relevance maps of digits"]


def test_every_predicate_has_a_headline_that_is_computed(page: Page, demo: Store, digits: ModelInfo) -> None:
    test = healthy(page("audit"))
    assert [one.value for one in test.header] == [
        "Trustworthiness: predictions",
        "Trustworthiness: relevance maps",
        "Transparency",
        "Diversity",
        "Stability",
    ]
    data = dataset_of(digits)
    made = Subject(demo, digits, data).conversion(KMeans(5)).get()
    differ = int((made.test_predicted != made.test_black_box).sum())
    assert any(f"decides as the black box in all but **{differ} of 500** test" in one.value for one in test.markdown)
    assert any(f"Effective number ↑ **{made.summary.effective:.2f} of 5**" in one.value for one in test.markdown)
    assert "no ghosts" in verdicts(test)
    assert "less diverse than random images" in verdicts(test)
    assert len(test.get("plotly_chart")) == 2  # one of diversity, one of shares


def test_a_count_leads_to_its_images(page: Page, demo: Store, digits: ModelInfo) -> None:
    test = healthy(page("audit", k="5"))
    labels = dataset_of(digits).split("test").labels
    made = Subject(demo, digits, dataset_of(digits)).conversion(KMeans(5)).get()
    counts = np.zeros((10, 10), int)
    np.add.at(counts, (labels, made.test_predicted), 1)
    rows = matrix(test)
    for row in range(10):
        (name, of_class), *cells, (share, mistakes) = rows[row]
        assert (name, of_class) == (str(row), [f"class:{row}", "split:test"])
        for column, (text, selected) in enumerate(cells):
            assert text == (str(counts[row, column]) if counts[row, column] else "")
            there = [f"class:{row}", f"predicted:{column}", "split:test"] if counts[row, column] else []
            assert selected == there
        right = counts[row, row] / counts[row].sum()
        assert share == f"{right:.1%}"
        assert mistakes == ([f"class:{row}", "wrong", "split:test"] if right < 1 else [])
    wrong = np.where(np.eye(10, dtype=bool), 0, counts)
    listed = {label: query["select"] for label, query in links(test).items() if " as " in label}
    assert len(listed) == min(5, np.count_nonzero(wrong))
    for label, conditions in listed.items():
        row, column, count = map(int, re.findall(r"\d+", label))
        assert (count, conditions) == (wrong[row, column], [f"class:{row}", f"predicted:{column}", "split:test"])
    assert next(iter(listed)).endswith(f" · {wrong.max()} images")
    other = matrix(healthy(test.segmented_control(key="by").set_value("black_box").run()))
    assert other[0][1][1] == ["class:0", "blackbox:0", "split:test"]
    assert all(row[-1][1] == [] for row in other)  # Explore knows the mistakes of the model alone


def test_the_old_address_leads_here_with_all_that_it_selected() -> None:
    query = "model=digits&k=3&images=300&target=Class&method=Occlusion&by=Black+box&extreme=Average+drop"
    assert new_address("evaluate", query) == f"audit?{query}"


def test_stability_is_offered_and_then_shown(
    page: Page, demo: Store, digits: ModelInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[tuple[str, ...]] = []
    monkeypatch.setattr(jobs, "start", lambda _store, _name, arguments: started.append(arguments))
    test = healthy(page("audit", k="3"))
    healthy(button(test, "Find prototypes with 3 seeds").click().run())
    options = ["--model", "digits", "--metrics", "ghosting", "--k", "3", "--metric", "auto", "--runs", "3"]
    assert started == [("evaluate", *options)]
    found = stability(Subject(demo, digits, dataset_of(digits)), KMeans(3))
    clear_caches()
    test = healthy(page("audit", k="3"))
    (table,) = (one.value for one in test.dataframe if "rand_index" in one.value)
    np.testing.assert_allclose(table["distance"], found.distance)
    np.testing.assert_allclose(table["rand_index"], found.rand_index)
    assert any(
        f"Over 3 seeds, matched prototypes are {found.distance.mean():.2f}" in text.value for text in test.markdown
    )


def test_one_prototype_per_class_says_what_is_not_computed(page: Page) -> None:
    test = healthy(page("audit", k="1"))
    assert numbers(test)["D_dvs within classes ↓"].startswith("not computed With one prototype per class")
    assert "not measured" in verdicts(test)


def test_measured_maps_are_shown_with_their_best_and_worst_images(page: Page, measured: MapScores) -> None:
    closed = healthy(page("audit"))
    assert not figures(closed)  # maps take seconds
    test = healthy(page("audit", extremes="true"))
    shown, kind = numbers(test), METRICS["average_drop"]
    assert shown["Average drop ↓"].startswith(kind.shown(measured.drop.mean()))
    assert f"Black box: {kind.shown(measured.drop_black_box.mean())}" in shown["Average drop ↓"]
    assert "standard deviation over images" in shown["Average drop ↓"]
    divergence = shown["Divergence of relevance maps ↓"]
    assert divergence.startswith(f"{measured.divergence.mean():.3f} nats")
    assert f"uniform map: {measured.divergence_uniform.mean():.3f}" in divergence
    levels = {f"{metric.title} {metric.arrow}".strip() for metric in METRICS.values() if metric.chance_of}
    assert not levels & shown.keys(), "beside, not on their own"
    sentences = next(one.value for one in test.markdown if one.value.startswith("- Divergence of relevance maps ("))
    assert f"a uniform map ({measured.divergence_uniform.mean():.3f})" in sentences
    assert f"a random order of pixels ({measured.drop_random.mean():.1%})" in sentences
    assert any("beat a random order of pixels in **" in one.value for one in test.markdown)
    charts = {chart.key for chart in test.get("plotly_chart")}
    assert charts >= {"shares", "effective", "ordering", "spread-drop", "spread-increase", "spread-divergence"}
    images = image_links(test)
    order = np.argsort(measured.divergence, kind="stable")
    expected = [*order[:3], *order[::-1][:3]]
    for at, label in zip(expected, images, strict=True):
        assert label.startswith(f"Test image {measured.images[at]},")
        assert f"{measured.divergence[at]:.3f} nats" in label
    assert len(figures(test)) == 6 * 3
    healthy(test.segmented_control(key="extreme").set_value("drop").run())
    linked = healthy(page("audit", extreme=METRICS["average_drop"].title))  # as links were before there was a fold
    assert linked.segmented_control(key="extreme").value == "drop"
    drops = measured.drop.mean(1)
    images = image_links(test)
    assert f": {drops.min():.1%}" in images[0]
    assert f": {drops.max():.1%}" in images[3]


def test_a_network_without_rules_says_why_there_are_no_maps(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read, "why_no_maps", lambda *_: "LRP has no rules for Transformers.")
    test = healthy(page("audit"))
    assert "no rules for Transformers" in test.info[0].value
    assert not [button for button in test.button if "Measure" in button.label]


def test_measuring_starts_a_job_and_finds_it_again(page: Page, demo: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[str, ...]] = []
    known: dict[str, jobs.Job] = {}

    def start(store: Store, name: str, arguments: tuple[str, ...]) -> None:
        started.append(arguments)
        known[name] = jobs.Job("running", "Measuring relevance maps", 16, 100, started=1, stage_started=1, changed=3)

    monkeypatch.setattr(jobs, "start", start)
    monkeypatch.setattr(jobs, "look", lambda store, name: known.get(name))
    test = page("audit", k="4")
    healthy(next(button for button in test.button if "Measure" in button.label).click().run())
    assert started == [
        (
            "evaluate",
            "--model",
            "digits",
            "--metrics",
            ",".join(MAP_METRICS),
            "--k",
            "4",
            "--metric",
            "auto",
            "--images",
            "100",
            "--target",
            "margin",
            "--runs",
            "1",
        )
    ]
    again = healthy(page("audit", k="4"))  # another visit
    assert len(started) == 1
    assert any("Measuring relevance maps of digits on 100 test images" in one.value for one in again.markdown)
    assert "Stop" in [button.label for button in again.button]
    many = page("audit", k="4", images="1000")
    healthy(next(button for button in many.button if "Measure" in button.label).click().run())
    assert any(
        "Measuring relevance maps of digits on 500 test images" in one.value for one in many.markdown
    )  # there are no more


def only(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Let the pages see these models alone."""
    real = read.models
    monkeypatch.setattr(read, "models", lambda: [info for info in real() if info.name in names])


def image_links(test: AppTest) -> list[str]:
    """What the page's links to test images say."""
    return [link.proto.label for link in test.get("page_link") if "Test image" in link.proto.label]


def compared(test: AppTest) -> pd.DataFrame:
    """The tables of the page Compare as one: models by metrics, with the value of each cell."""
    parts = []
    for html in (one.proto.body for one in test.get("html") if 'class="kx-compare"' in one.proto.body):
        body = html.replace("\u00a0", " ")
        head, *lines = ElementTree.fromstring(body).iter("tr")
        first, *columns = [cell.text for cell in head]
        assert first == "Model"
        names = ["".join(line[0].itertext()) for line in lines]
        cells = [["".join(cell.itertext()) for cell in line[1:]] for line in lines]
        width = len(columns)
        parts.append(pd.DataFrame([(row * width)[:width] for row in cells], names, columns))
    return pd.concat(parts, axis=1)


def test_compare_with_one_model_says_how_to_get_another(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "digits")
    test = healthy(page("compare"))
    assert "is the only model of Digits" in test.info[0].value
    assert "python -m kmex_core train --dataset digits" in test.code[0].value
    table = compared(test)
    assert table.index.tolist() == ["digits", "digits + KMEx", "Best"]
    assert table["Ghost prototypes ↓"].tolist() == ["–", "0.0%", "one value"]
    pair = healthy(page("compare", part=PARTS[PAIR]))
    assert any("Choose a second model" in one.value for one in pair.info)


def test_compare_shows_models_side_by_side(
    page: Page, published: MapScores, second: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(monkeypatch, "digits", second)
    test = healthy(page("compare"))
    assert not test.info
    table = compared(test)
    assert table.index[:4].tolist() == ["digits", "digits + KMEx", "second", "second + KMEx"]
    assert re.search("± .* images", str(table.loc["digits + KMEx", "Average drop ↓"]))
    assert table.loc["Best", "Accuracy ↑"] == "not separable"  # equal weights
    assert not [button for button in test.button if button.label == "Measure all"]
    healthy(test.selectbox(key="runs").set_value(3).run())
    table = compared(test)
    assert "k-means seeds" in str(table.loc["digits + KMEx", "Accuracy ↑"])
    assert "Average drop ↓" not in table.columns  # measured for one seed only
    assert len([button for button in test.button if button.label == "Measure all"]) == 1
    healthy(test.multiselect(key="models").set_value([]).run())
    assert "Choose at least one model" in test.info[0].value


def test_models_that_were_never_trained_are_compared_only_when_asked_for(page: Page, demo: Store, second: str) -> None:
    info = models.describe(demo, second)
    models.save(demo, replace(info, made_by={**info.made_by, "random": True}), models.load(demo, second).model)
    test = healthy(page("compare"))
    assert second not in test.multiselect(key="models").value
    assert any("Not added: second (was never trained)" in one.value for one in test.caption)
    healthy(test.multiselect(key="models").set_value(["digits", second]).run())
    assert any("second" in name for name in compared(test).index)
    assert not any("Not added: second" in one.value for one in test.caption)


def test_the_demo_has_baselines_to_compare_with(page: Page) -> None:
    test = healthy(page("compare"))
    table = compared(test)
    assert set(table.index) >= {"digits", "digits-flint", "digits-flint + KMEx"}
    ghosts = table["Ghost prototypes ↓"]
    assert ghosts["digits"] == "–"  # a black box has no prototypes
    assert ghosts["digits-flint"].endswith("%")
    assert all(ghosts[name] == "0.0%" for name in table.index if "+ KMEx" in name)
    assert "random images" in str(table.loc["digits + KMEx", "Effective number ↑"])
    assert table.loc["Best", "Effective number ↑"] == "digits-protovae"
    assert "best" in str(table.loc["digits-protovae", "Effective number ↑"])
    assert [one.label for one in test.button if "Measure" in one.label] == ["Measure all"]
    assert [
        one.value for one in test.caption if "No relevance maps of digits-flint and digits-flint + KMEx" in one.value
    ]
    # KMEx in FLINT's embedding has the best effective number and the worst D_dvs: the page says why
    assert any("digits-flint + KMEx** has the highest effective number" in one.value for one in test.info)
    (body,) = [one.proto.body for one in test.get("html") if "digits-flint</a>" in one.proto.body][:1]
    address = next(link.get("href") for link in ElementTree.fromstring(body).iter("a") if link.text == "digits-flint")
    query = parse_qs(urlsplit(str(address)).query)
    assert query == {"dataset": ["Digits"], "model": ["digits-flint"], "kmex": ["false"]}


def test_two_models_are_compared_image_by_image(page: Page, demo: Store) -> None:
    test = healthy(page("compare", part=PARTS[PAIR], b="digits-protovae + KMEx", of="8"))
    one, other = (
        Subject(demo, info, dataset_of(info)).conversion(KMeans(5)).get()
        for info in (models.describe(demo, name) for name in ("digits", "digits-protovae"))
    )
    changed = int((one.test_predicted != other.test_predicted).sum())
    assert any(f"**{changed} of 500 test images**" in said.value for said in test.markdown)
    assert [box.value for box in (test.selectbox(key="a"), test.selectbox(key="b"))] == [
        "digits + KMEx", "digits-protovae + KMEx"
    ]  # fmt: skip
    counts = np.array(data_of(test, "changes")["counts"])
    labels = dataset_of(models.describe(demo, "digits")).split("train").labels
    assert counts.shape == (6, 6)
    assert counts.sum() == (labels == 8).sum()
    shared = (one.prototypes.activated == 40) & (other.prototypes.activated == 41) & (labels == 8)
    assert counts[0, 1] == shared.sum()
    cell = healthy(page("compare", part=PARTS[PAIR], b="digits-protovae + KMEx", of="8", cell="8.0.1"))
    assert any(
        "Prototype 1 of 8 by digits + KMEx: all its images in Explore" in each.proto.body for each in cell.get("html")
    )
    healthy(page("compare", part=PARTS[PAIR], cell="9999.x.1"))
    same = healthy(page("compare", part=PARTS[PAIR], a="digits + KMEx", b="digits + KMEx"))
    assert any("Choose two different rows" in each.value for each in same.info)


def test_every_page_works_for_every_kind_of_model(page: Page, demo: Store) -> None:
    for kind, title in (("flint", "FLINT"), ("protopnet", "ProtoPNet"), ("protovae", "ProtoVAE")):
        for view in ("explore", "prototypes", "numbers", "audit", "explain"):
            # Audit and Explain of prototypes of its own are seen below
            for kmex in ("true", "false") if view in ("explore", "prototypes") else ("true",):
                test = healthy(page(view, model=f"digits-{kind}", kmex=kmex))
                assert not test.error
                assert title in test.sidebar.caption[0].value
                assert test.sidebar.slider(key="k").disabled == (kmex == "false")
        # the published maps, where there are rules for them
        test = healthy(page("explain", model=f"digits-{kind}", method=METHODS[PUBLISHED.method].title))
        maps = board(test, demo, "maps")
        assert ("LRP has no rules for FLINT" in maps["note"]) == (kind == "flint")
        assert maps["title"].startswith("Masked gradients of the margin") == (kind == "flint")


def test_a_model_on_its_own_is_shown_by_its_own_prototypes(page: Page, demo: Store) -> None:
    info = models.describe(demo, "digits-protovae")
    made = Subject(demo, info, dataset_of(info)).conversion(BuiltIn()).get()
    test = healthy(page("explore", model="digits-protovae", kmex="false"))
    shown = header(test)
    assert any(re.fullmatch(r"ProtoVAE [\d.]+%", text) for text in shown)
    count = int(made.prototypes.ghost.sum())
    assert count > 0
    assert f"{count} of {len(made.prototypes)} prototypes are ghosts" in shown
    test = healthy(page("prototypes", model="digits-protovae", kmex="false", prototype="3.1"))
    assert test.title[0].value == "Prototype 2 of 3"
    assert any("One of 5 prototypes of **3**" in one.value for one in test.markdown)
    assert test.expander[0].label == "Class weights"
    wrong = int(np.flatnonzero(made.test_predicted != dataset_of(info).split("test").labels)[0])
    test = healthy(page("explain", model="digits-protovae", kmex="false", image=str(wrong)))
    found = board(test, demo)
    assert f"ProtoVAE predicts {info.class_names[made.test_predicted[wrong]]}" in text_of(found["headline"])
    assert (found["correct"], found["beside"], found["blackBox"]) == (False, None, None)
    assert "ProtoVAE weighs the similarities" in text_of(found["decides"])
    assert data_of(test, "explain")["model"]["by"] == "ProtoVAE"


def test_maps_of_a_model_on_its_own_are_measured(page: Page, demo: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shown_maps, "IMAGES", (IMAGES, 100))
    info = models.describe(demo, "digits-protopnet")
    Subject(demo, info, dataset_of(info)).relevance_scores(BuiltIn(), images=IMAGES).get_or_why_not()
    test = healthy(page("audit", model="digits-protopnet", kmex="false", images=str(IMAGES)))
    shown = numbers(test)
    assert " nats ± " in shown["Divergence of relevance maps ↓"]
    assert any("Reference for its relevance maps: **digits**" in one.value for one in test.caption)
    assert "% ± " in shown["Average drop ↓"]
    assert not any("Black box" in value for value in shown.values())
    published = METHODS[PUBLISHED.method].title
    flint = healthy(page("audit", model="digits-flint", kmex="false", method=published))
    assert any("LRP has no rules" in one.value for one in flint.info)


# ---- figures --------------------------------------------------------------------------------------------------------


def prototypes(count: list[int], classes: list[int], size: list[int]) -> Prototypes:
    counts, of = np.array(count), np.array(classes)
    many = len(counts)
    return Prototypes(
        np.zeros((many, 2), np.float32),
        of,
        counts,
        counts / np.array(size)[of],
        counts + 1,
        np.zeros((many, 1), np.int64),
        np.zeros((many, 1), np.float32),
        np.zeros(many, np.int64),
        np.zeros(101, np.float32),
        np.array(size),
        np.zeros(4, np.int32),
    )


def test_shares_are_pieces_of_a_bar_and_ghosts_are_diamonds() -> None:
    table = shares_table(prototypes([2, 6, 0, 0, 5, 4], [0, 0, 0, 1, 1, 1], [10, 10]), ["ant", "bee"])
    assert table["prototype"].tolist() == [1, 0, 2, 4, 5, 3]
    assert table["ghost"].tolist() == [False, False, True, False, False, True]
    figure = shares_figure(table)
    bars = [trace for trace in figure.data if trace.type == "bar"]
    assert [list(bar.x) for bar in bars if len(bar.x)] == [[60, 50], [20, 40]]
    (ghosts,) = [trace for trace in figure.data if trace.type == "scatter"]
    assert ghosts.marker.symbol == "diamond"
    assert list(ghosts.customdata) == [2, 3]
    assert min(ghosts.x) > 80  # behind the bars
    assert "%" in figure.layout.xaxis.title.text
    none = shares_figure(shares_table(prototypes([2, 6], [0, 1], [10, 10]), ["ant", "bee"]))
    assert {trace.type for trace in none.data} == {"bar"}


def some_scores() -> MapScores:
    curve = np.linspace(0.1, 0.9, 5)[None].repeat(2, 0)
    drop, increase = np.array([[0.2, 0.4], [np.nan, 0.5]]), np.array([[0.0, 1.0], [np.nan, 1.0]])
    return MapScores(
        images=np.array([3, 8]),
        divergence=np.array([0.25, 0.5]),
        divergence_uniform=np.array([0.5, 0.75]),
        divergence_other_image=np.array([0.3, 0.4]),
        divergence_runner_up=np.array([0.2, 0.6]),
        drop=drop,
        increase=increase,
        drop_random=drop * 1.5,
        increase_random=increase * 0,
        drop_reference=drop / 2,
        increase_reference=increase,
        drop_black_box=np.array([0.1, 0.3]),
        increase_black_box=np.array([0.0, 1.0]),
        drop_black_box_random=np.array([0.2, 0.4]),
        increase_black_box_random=np.array([0.0, 0.0]),
        curve=curve,
        curve_random=curve / 2,
        curve_reference=curve / 3,
        curve_black_box=curve * 0.9,
        curve_black_box_random=curve / 3,
        conserving=1.0,
        seconds=2.0,
    )


def test_scores_of_images_are_means_over_prototypes() -> None:
    table = scores_table(some_scores(), np.array([1, 0]), ["ant", "bee"])
    assert table["image"].tolist() == [3, 8]
    assert table["class"].tolist() == ["bee", "ant"]
    assert table["drop"].tolist() == pytest.approx([0.3, 0.5])  # a similarity of 0 has no drop
    assert table["increase"].tolist() == pytest.approx([0.5, 1])
    assert table["drop_random"].tolist() == pytest.approx([0.45, 0.75])
    assert table["drop_reference"].tolist() == pytest.approx([0.15, 0.25])
    nothing = MapScores(**{**some_scores().__dict__, "drop": np.full((2, 2), np.nan)})
    assert scores_table(nothing, np.array([1, 0]), ["ant", "bee"])["drop"].isna().all()


def test_ordering_has_random_order_dashed() -> None:
    table = ordering_table(some_scores())
    assert table["pixels"].tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert table["black_box"].tolist() == pytest.approx((np.linspace(0.1, 0.9, 5) * 0.9).tolist())
    figure = ordering_figure(table)
    assert [(trace.name, trace.line.dash) for trace in figure.data] == [
        ("most relevant first", "solid"),
        ("random order", "dash"),
    ] * 2
    assert list(figure.data[0].x) == [0, 25, 50, 75, 100]


def test_distributions_count_every_image_once() -> None:
    values = {"KMEx": np.array([0, 0.04, 0.5, 1.0, np.nan]), "Black box": np.array([0.3, 0.3])}
    figure = distribution_figure(values, "Average drop", 1.0)
    assert [sum(trace.y) for trace in figure.data] == pytest.approx([100, 100])
    assert figure.data[0].y[0] == 50
    assert figure.data[1].marker.pattern.shape == "/"
    zero = distribution_figure({"KMEx": np.zeros(3)}, "Divergence", None)
    assert sum(zero.data[0].y) == pytest.approx(100)
    empty = distribution_figure({"KMEx": np.array([np.nan])}, "Drop", 1.0)
    assert sum(empty.data[0].y) == 0


def test_confusion_colours_mistakes_only() -> None:
    table = confusion_table(np.array([[8, 2], [0, 5]]), ["ant", "bee"])
    assert table.loc["ant", "bee"] == 2
    heat = confusion_figure(table).data[0]
    assert np.isnan(heat.z[0][0])
    assert heat.z[0][1] == 20
    assert confusion_figure(confusion_table(np.eye(100, dtype=int), [str(i) for i in range(100)])).layout.height <= 900


def test_farther_out_is_better_on_every_axis() -> None:
    for axis in AXES:
        better = METRICS[axis.metric].better
        low, high = on_axis(axis, 0.2), on_axis(axis, 0.7)
        assert (high > low) == (better == "higher"), axis
        assert min(low, high) >= 0
        assert max(low, high) <= 1
    assert on_axis(next(axis for axis in AXES if axis.metric == "faithfulness"), 0) == 1
    table = radar_table({"a": {"accuracy": 0.9, "ghosting": 0.25}, "b": {"accuracy": 0.5}})
    assert table["place"].tolist() == [0.9, 0.75, 0.5]
    figure = radar_figure(table)
    assert figure.layout.polar.radialaxis.range == (0, 1)
    assert len({trace.line.dash for trace in figure.data}) == 2
    assert len({trace.marker.symbol for trace in figure.data}) == 2
    assert pd.isna(figure.data[1].r[1])
