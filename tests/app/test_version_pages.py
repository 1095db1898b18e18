"""Pages by a version: chosen by the address, named and told of, also where a class has no prototypes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kmex_core.base.store import Store
from kmex_core.prototypes.operations import Hide, Name
from kmex_core.prototypes.source import KMeans
from kmex_core.stages import versions
from kmex_core.stages.subject import subject_of
from tests.helpers.pages import address, healthy, open_link, said

NAME = "no *nines*"


@pytest.fixture
def version(demo: Store) -> Iterator[str]:
    operations = [*(Hide(p) for p in range(45, 50)), Name(3, "thin")]
    versions.save(subject_of(demo, "digits"), NAME, KMeans(5), operations)
    yield NAME
    versions.delete(demo, "digits", NAME)


@pytest.mark.parametrize("view", ["explore", "prototypes", "audit", "compare"])
def test_a_page_shows_the_version_that_the_address_names(version: str, view: str) -> None:
    test = healthy(open_link(view, model="digits", version=version))
    assert test.sidebar.selectbox(key="version").value == version
    assert address(test)["version"] == version
    texts = [each.value for each in (*test.caption, *test.markdown, *test.sidebar.caption)]
    assert any("5 prototypes hidden" in text for text in texts)


def test_without_versions_nothing_offers_them_and_an_unknown_one_is_told(demo: Store) -> None:
    test = healthy(open_link("models", model="digits"))
    assert "version" not in [box.key for box in test.sidebar.selectbox]
    test = healthy(open_link("models", model="digits", version="lost"))
    assert "lost" in said(test)
