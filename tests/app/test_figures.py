from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from app.figures.concepts import attribution_figure, concept_figure
from app.figures.curves import CURVES
from app.figures.lineage import Node, lineage_figure
from app.figures.suggestion import evidence_figure
from app.figures.sweep import sweep_figure
from kmex_core.analysis.tables.embedding_map import projection_table
from kmex_core.analysis.tables.prototypes import prediction_table, suggestion_table, sweep_table
from kmex_core.analysis.types import Projection
from kmex_core.data.colours import class_colours
from kmex_core.data.preprocessing import WHOLE
from kmex_core.data.seen import SeenPicture
from kmex_core.prototypes.types import ConceptMap
from tests.helpers.results import evidence_of, sweep_of

NAMES = ("ant", "bee", "cat")
BLACK_BOX, KMEX = np.array([0.7, 0.1, 0.2]), np.array([0.3, 0.3, 0.4])
SIMILARITY, CLASSES = np.array([0.1, 0.5, 0.2, 0.3, 0.9, 0.05]), np.array([0, 0, 1, 1, 2, 2])


def test_the_table_has_each_class_with_its_most_similar_prototype() -> None:
    table = prediction_table(NAMES, BLACK_BOX, KMEX, SIMILARITY, CLASSES)
    assert table["class"].tolist() == ["cat", "ant", "bee"]
    assert table["similarity"].tolist() == [0.9, 0.5, 0.3]
    assert table["black_box_probability"].tolist() == [0.2, 0.7, 0.1]
    assert table["probability"].tolist() == [0.4, 0.3, 0.3]


def test_curves_mark_the_chosen_number_and_do_not_blow_up_noise() -> None:
    found = sweep_of(3, accuracy=[0.89, 0.89, 0.902])
    for name, curve in CURVES.items():
        figure = sweep_figure([found], 3, None, name)
        traces = {trace.name: trace for trace in figure.data}
        assert list(traces["KMEx"].x) == [1, 2, 3]
        assert list(traces["Chosen number"].x) == [3]
        assert "Chosen number" not in {trace.name for trace in sweep_figure([found], 0, None, name).data}
        assert not figure.layout.shapes
        (line,) = sweep_figure([found], 3, 2, name).layout.shapes
        assert (line.x0, line.x1) == (2, 2)
        low, high = figure.layout.yaxis.range
        assert high - low >= curve.least
        assert "(" in figure.layout.yaxis.title.text
        assert figure.layout.xaxis.title.text
    accuracy = {trace.name: trace for trace in sweep_figure([found], 3, None, "accuracy_kmex").data}
    assert list(accuracy["Black box"].y) == [90, 90]
    assert list(accuracy["KMEx"].y) == pytest.approx([89, 89, 90.2])
    assert list(accuracy["Random images (95% of draws)"].y) == pytest.approx([80, 80, 80, 60, 60, 60])
    effective = {trace.name: trace for trace in sweep_figure([found], 3, None, "effective").data}
    band, groups = effective["Random images (95% of draws)"], effective["Equidistant groups"]
    assert list(band.x) == [1, 2, 3, 3, 2, 1]
    assert list(band.y) == [1.35, 1.35, 1.35, 1.25, 1.25, 1.25]
    assert list(groups.y) == [2, 2, 2]


def test_curves_show_the_mean_over_seeds_between_its_ends() -> None:
    sweeps = [sweep_of(2, agreement=[0.9, 0.5], ghosting=[0.0, 0.1]), sweep_of(2, agreement=[0.9, 0.7], ghosting=0.2)]
    ghosts = {trace.name: trace for trace in sweep_figure(sweeps, 0, None, "ghosting").data}
    assert list(ghosts["KMEx"].y) == pytest.approx([10, 15])
    assert list(ghosts["KMEx, interval"].y) == pytest.approx([20, 20, 10, 0])  # highest, then lowest from the right
    shares = {trace.name: trace for trace in sweep_figure(sweeps, 0, None, "agreement").data}
    assert list(shares["KMEx"].y) == pytest.approx([90, 60])
    high, low = np.split(np.asarray(shares["KMEx, interval"].y, dtype=float), 2)
    theirs = [binomtest(count, 100).proportion_ci(method="wilson") for count in (90, 60)]
    np.testing.assert_allclose(low[::-1], 100 * np.minimum([one.low for one in theirs], [0.9, 0.5]), rtol=1e-6)
    np.testing.assert_allclose(high, 100 * np.maximum([one.high for one in theirs], [0.9, 0.7]), rtol=1e-6)


def test_the_table_of_curves_has_a_line_for_each_number_and_seed() -> None:
    table = sweep_table({0: sweep_of(3), 4: sweep_of(3, effective=[1, 1.5, 2])})
    assert list(zip(table["seed"], table["k"], strict=True)) == [(0, 1), (0, 2), (0, 3), (4, 1), (4, 2), (4, 3)]
    assert table["effective"].tolist() == [1.2, 1.2, 1.2, 1, 1.5, 2]
    assert table["inertia"].tolist() == pytest.approx([200, 100, 200 / 3] * 2)
    assert table["random_agreement_high"].unique().tolist() == [0.8]
    some = sweep_table({0: sweep_of(3), 4: sweep_of(3)}, [1, 3])
    assert some["k"].tolist() == [1, 3, 1, 3]
    assert some.index.tolist() == [0, 1, 2, 3]


def test_the_table_of_suggestions_has_a_line_for_each_class_and_number() -> None:
    table = suggestion_table(evidence_of(np.array([[0, 0.5], [0, 0]]), [[1, 0.9], [1, 0.3]]), ("ant", "bee"))
    assert table["class"].tolist() == ["ant", "ant", "bee", "bee"]
    assert table["k"].tolist() == [1, 2, 1, 2]
    assert table["suggested"].tolist() == [False, True, True, False]
    assert table["gap"].tolist() == [0, 0.5, 0, 0]
    assert table["prediction_strength"].tolist() == [1, 0.9, 1, 0.3]
    assert table["gap_error"].tolist() == [0.01] * 4


@pytest.mark.parametrize(("name", "needed"), [("prediction_strength", 0.8), ("gap", 0.06)])
def test_the_evidence_is_shown_beside_what_is_needed(name: str, needed: float) -> None:
    found = evidence_of(np.array([[0, 0, 0], [0, 0.5, 0.4]]), [[1, 0.1, 0.2], [1, 0.9, 0.6]], 0.02)
    figure = evidence_figure(found, 1, name)
    assert list(figure.data[0].x) == [1, 2, 3]
    assert list(figure.data[0].y) == getattr(found, name)[1].tolist()
    level, mark = figure.layout.shapes
    assert (level.y0, level.y1) == pytest.approx((needed, needed))
    assert (mark.x0, mark.x1) == (2, 2)
    low, high = figure.layout.yaxis.range
    assert low <= min(*figure.data[0].y, needed) <= max(*figure.data[0].y, needed) <= high


def test_evidence_without_an_error_needs_no_gap() -> None:
    figure = evidence_figure(evidence_of([[0, 0]], [[1, 0]], np.inf), 0, "gap")
    assert [shape.x0 for shape in figure.layout.shapes] == [1]  # the suggested number only
    assert np.isfinite(figure.layout.yaxis.range).all()


def test_prototypes_are_joined_to_those_that_they_come_from() -> None:
    of = [(1, 0, -1), (2, 0, 0), (2, 1, 0), (3, 0, 1), (3, 1, 0), (3, 2, 1)]
    nodes = [
        Node(step, number, parent, 1 / step, f"{step}.{number}.png", f"{step}.{number}") for step, number, parent in of
    ]
    figure = lineage_figure(nodes, 2)
    *lines, points = figure.data
    place = dict(zip(points.text, zip(points.x, points.y, strict=True), strict=True))
    ends = {((line.x[0], line.y[0]), (line.x[1], line.y[1])) for line in lines}
    joined = {(f"{step - 1}.{parent}", f"{step}.{number}") for step, number, parent in of if parent >= 0}
    assert ends == {(place[one], place[other]) for one, other in joined}
    assert len(lines) == len(joined)
    assert [line.line.width for line in lines[:2]] == pytest.approx([6, 6])
    assert all(place[name][1] == int(name[0]) for name in place)
    # lines do not cross: the children of 2.0 are left of those of 2.1
    assert place["3.1"][0] < place["3.0"][0] < place["3.2"][0]
    assert {(image.source, image.x, image.y) for image in figure.layout.images} == {
        (f"{name}.png", *at) for name, at in place.items()
    }
    assert [(shape.y0, shape.y1) for shape in figure.layout.shapes] == [(1.5, 2.5)]
    assert not lineage_figure(nodes, 0).layout.shapes
    assert not lineage_figure(nodes, 7).layout.shapes


def test_the_map_as_a_table_has_the_images_asked_for() -> None:
    drawn = Projection(
        train=np.arange(12, dtype=np.float32).reshape(6, 2),
        test=np.ones((2, 2), np.float32),
        sample=np.arange(6),
        mean=np.zeros(3),
        axes=np.eye(2, 3),
        anchors=np.zeros((6, 2)),
        labels=np.array([0, 1, 2, 0, 1, 2, 0, 1]),
        black_box=np.array([0, 1, 2, 0, 1, 1, 0, 1]),
        far=np.zeros(8, dtype=bool),
        limit=1,
        trustworthiness=1,
        placed_trustworthiness=None,
        seconds=0,
    )
    predicted = np.array([0, 1, 0, 0, 1, 2, 0, 0])
    table = projection_table(drawn, NAMES, np.array([2, 7]), predicted)
    assert table.to_dict("records") == [
        {"split": "train", "index": 2, "class": "cat", "predicted": "ant", "black_box": "cat", "x": 4, "y": 5},
        {"split": "test", "index": 1, "class": "bee", "predicted": "ant", "black_box": "bee", "x": 1, "y": 1},
    ]


@pytest.mark.parametrize("side", [7, 28])
def test_a_concept_map_names_each_patch_s_prototype_beside_its_colour(side: int) -> None:
    nearest = np.zeros((side, side), int)
    nearest[0, :3], nearest[1, 0] = 8, 5
    drawn = ConceptMap(nearest, nearest // 4, -np.ones((side, side)), np.zeros(3), np.zeros(3, int), 0, 0)
    seen = SeenPicture(np.zeros((side, side, 3), np.uint8), WHOLE, 1.0, bars=False)
    figure = concept_figure(drawn, ("<b>ant</b>", "bee", "cat"), "data:image/png;base64,", seen)
    heatmap = figure.data[0]
    # the most frequent prototype has the first colour and is on top of the legend; steps have no transitions
    assert np.array(heatmap.z)[:2, :4].tolist() == [[1, 1, 1, 2], [0, 2, 2, 2]]
    assert [heatmap.zmin, heatmap.zmax] == [-0.5, 2.5]
    edges = [(round(edge * 3), colour) for edge, colour in heatmap.colorscale]
    assert [edge for edge, _ in edges] == [0, 1, 1, 2, 2, 3]
    assert [colour for _, colour in edges[::2]] == list(class_colours(3)[::-1])
    assert np.array(heatmap.customdata)[:2, :2].tolist() == [["8 cat", "8 cat"], ["5 bee", "0 &lt;b&gt;ant&lt;/b&gt;"]]
    assert "Prototype %{customdata}" in heatmap.hovertemplate
    assert (heatmap.texttemplate is not None) == (side == 7)  # numbers where they fit
    assert list(heatmap.colorbar.ticktext) == ["5 bee", "8 cat", "0 &lt;b&gt;ant&lt;/b&gt;"]
    # the image lies under the whole map, its first row on top
    under = figure.layout.images[0]
    assert (under.x, under.y, under.sizex, under.sizey) == (-0.5, -0.5, side, side)
    assert list(figure.layout.yaxis.range) == [side - 0.5, -0.5]
    attribution = attribution_figure(drawn, "data:image/png;base64,", seen).data[0]
    assert np.array(attribution.z).shape == (side, side)
    assert attribution.colorbar.title.text == "Similarity"
