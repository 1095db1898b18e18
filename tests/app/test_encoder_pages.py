"""Every page for a network that predicts none of the classes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from kmex_core.base.store import Store
from kmex_core.models.info import ModelInfo
from kmex_core.prototypes.source import KMeans
from kmex_core.stages.subject import Subject, dataset_of
from tests.helpers.encoders import encoder
from tests.helpers.pages import board, data_of, header, healthy, open_link

SILENT = ("black box", "nan", "-1 ", "−1 ", "-100", "disagree")
K = 2


@pytest.fixture
def info(store: Store, tmp_path: Path) -> ModelInfo:
    """The network with all that pages show."""
    info = encoder(store, tmp_path / "pictures", whole=False)
    subject = Subject(store, info, dataset_of(info), "cpu")
    subject.conversion(KMeans(K)).get()
    subject.geometry().get()
    subject.sweep(KMeans(K)).get()
    subject.suggestion().get()
    subject.embedding_map().get()
    subject.relevance_scores(KMeans(K), 18).get()
    subject.patches(KMeans(K)).get()
    return info


def shown(test: AppTest) -> str:
    """All that a page says, but not what the help of the metrics' catalogue says of any model."""
    kinds = ("markdown", "caption", "info", "warning", "success", "error", "title", "header", "subheader", "metric")
    texts = []
    for kind in kinds:
        for one in getattr(test, kind):
            texts.append(str(one.value))
            texts += [str(getattr(one, name)) for name in ("label", "delta") if getattr(one, name, None)]
    texts += [str(one.label) for kind in ("button", "radio", "selectbox", "expander") for one in getattr(test, kind)]
    texts += [str(option) for kind in ("radio", "selectbox") for one in getattr(test, kind) for option in one.options]
    texts += [str(list(one.value.columns)) + one.value.to_csv() for one in test.dataframe]
    return "\n".join(texts)


def test_no_page_speaks_of_a_black_box(store: Store, info: ModelInfo) -> None:
    found = []
    for view in ("explore", "prototypes", "numbers", "explain", "audit", "attributes", "compare"):
        test = healthy(open_link(view, model=info.name, k=str(K), images="18", source="Test image", image="3"))
        figures = [str(one.proto.spec) for one in test.get("plotly_chart")]
        lines = [*shown(test).splitlines(), *(name for figure in figures for name in re.findall("lack box", figure))]
        found += [f"{view}: {line}" for line in lines for words in (*SILENT, "lack box") if words in line.lower()]
        if view == "explain":
            answered = board(test, store)
            assert (answered["beside"], answered["blackBox"]) == (None, None)
            assert not re.search("lack box|nan|disagree", str(answered))
        if view == "explore":
            numbers = header(test)
            assert any("only KMEx classifies" in about for about in numbers.values())
            assert [name.split()[0] for name in numbers][:3] == ["model", "KMEx", "no"]
    assert not found, found
    models = healthy(open_link("models", chosen=info.name)).dataframe[0].value  # which lists others, too
    assert models.set_index("Name").loc[info.name, "Kind"] == "Encoder"
    # nothing to compare on the map, whatever the address asks for
    test = healthy(open_link("explore", model=info.name, k=str(K), show="disagree"))
    assert data_of(test, "explore")["model"]["beside"] is False
    assert data_of(test, "explore")["address"]["show"] == "all"
