"""Pages of a model that has no gradients: its maps are made by occlusion and labelled."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmex_core.base.store import Store
from kmex_core.networks.onnx_network import open_onnx
from kmex_core.prototypes.source import KMeans
from kmex_core.stages.subject import subject_of
from tests.helpers.foreign_models import onnx_file, put_foreign
from tests.helpers.pages import board, data_of, healthy, open_link, said
from tests.helpers.stores import embed

LABEL = "Relevance maps by occlusion: this network gives no gradients."


@pytest.fixture
def onnx(store: Store, tmp_path: Path) -> Store:
    put_foreign(store, "onnx:net.onnx", open_onnx(onnx_file(tmp_path / "net.onnx")), "onnx")
    embed(store, "onnx")
    return store


def labels(test: object) -> list[str]:
    return [info.value.replace("\u2060", "") for info in test.info]  # type: ignore[attr-defined]


def test_explain_takes_occlusion_and_labels_it(onnx: Store) -> None:
    test = healthy(open_link("explain", dataset="digits", model="onnx", k="5"))
    assert LABEL in labels(test)
    assert [name for name, *_ in data_of(test, "explain")["options"]["methods"]] == ["occlusion"]
    maps = board(test, onnx, "maps")
    assert maps["title"] == "Occlusion of the margin."
    assert len(maps["rows"]) == 3


def test_a_link_to_a_gradient_method_is_refused_by_naming_occlusion(onnx: Store) -> None:
    test = healthy(open_link("explain", dataset="digits", model="onnx", k="5", method="Gradient × input"))
    assert "Choose one of Occlusion." in said(test)
    assert data_of(test, "explain")["address"]["method"] == ""


def test_audit_measures_occlusion(onnx: Store) -> None:
    test = healthy(open_link("audit", dataset="digits", model="onnx", k="5"))
    assert LABEL in labels(test)
    assert any(button.label == "Measure relevance maps of onnx" for button in test.button)
    subject = subject_of(onnx, "onnx")
    subject.relevance_scores(KMeans(5), images=100).get()
    test = healthy(open_link("audit", dataset="digits", model="onnx", k="5"))
    assert any(caption.value.startswith("Occlusion of the margin on 100 test images") for caption in test.caption)


@pytest.mark.parametrize("view", ["prototypes", "explore", "compare", "models"])
def test_other_pages_open(onnx: Store, view: str) -> None:
    healthy(open_link(view, dataset="digits", model="onnx", k="5"))


def test_a_prototypes_own_page_opens(onnx: Store) -> None:
    healthy(open_link("prototypes", dataset="digits", model="onnx", k="5", prototype="0.0"))
