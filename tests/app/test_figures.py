from __future__ import annotations

import numpy as np

from app.figures.predictions import prediction_table, probability_figure, shown_rows, similarity_figure

NAMES = ("ant", "bee", "cat")
BLACK_BOX, KMEX = np.array([0.7, 0.1, 0.2]), np.array([0.3, 0.3, 0.4])
SIMILARITY, CLASSES = np.array([0.1, 0.5, 0.2, 0.3, 0.9, 0.05]), np.array([0, 0, 1, 1, 2, 2])


def test_the_table_has_each_class_with_its_most_similar_prototype() -> None:
    table = prediction_table(NAMES, BLACK_BOX, KMEX, SIMILARITY, CLASSES)
    assert table["class"].tolist() == ["cat", "ant", "bee"]
    assert table["kmex_similarity"].tolist() == [0.9, 0.5, 0.3]
    assert table["black_box_probability"].tolist() == [0.2, 0.7, 0.1]
    assert table["kmex_probability"].tolist() == [0.4, 0.3, 0.3]


def test_predicted_and_true_classes_are_always_shown() -> None:
    table = prediction_table(NAMES, BLACK_BOX, KMEX, SIMILARITY, CLASSES)
    assert shown_rows(table, 1, [])["class"].tolist() == ["cat"]
    assert shown_rows(table, 1, ["bee"])["class"].tolist() == ["cat", "bee"]


def test_the_figure_has_titles_units_and_a_mark_for_the_true_class() -> None:
    table = prediction_table(NAMES, BLACK_BOX, KMEX, SIMILARITY, CLASSES)
    black_box, kmex = probability_figure(table, "ant"), similarity_figure(table, None)
    assert list(black_box.data[0].y) == ["cat", "ant ✓", "bee"]
    assert list(black_box.data[0].x) == [20, 70, 10]
    assert list(kmex.data[0].x) == [0.9, 0.5, 0.3]
    assert list(kmex.data[0].text) == ["0.900 (40.0%)", "0.500 (30.0%)", "0.300 (30.0%)"]
    assert black_box.layout.xaxis.title.text == "Probability (%)"
    assert black_box.layout.yaxis.title.text == "Class (✓ true)"
    assert "Similarity" in kmex.layout.xaxis.title.text
    assert kmex.layout.yaxis.title.text == "Class"


def test_two_hundred_classes_make_a_figure_of_sensible_size() -> None:
    names = [f"class {i}" for i in range(200)]
    table = prediction_table(names, np.full(200, 0.005), np.full(200, 0.005), np.arange(200) / 200, np.arange(200))
    assert similarity_figure(shown_rows(table, 10, ["class 3"]), None).layout.height < 500
