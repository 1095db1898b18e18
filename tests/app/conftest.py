from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from kmex_core.base.store import Store
from kmex_core.models import catalogue as models
from tests.helpers.pages import Page, clear_caches, open_link
from tests.helpers.stores import embed


@pytest.fixture(autouse=True)
def _fresh_caches() -> Iterator[None]:
    yield
    clear_caches()


@pytest.fixture
def page(demo: Store) -> Page:
    """Opens a page of the dashboard on the converted digits: `page("explain", k="3")`."""

    def opened(view: str = "prototypes", **query: Any) -> AppTest:
        names = {query.get("model", "digits")}
        if view == "compare":  # it shows all models of a data set
            names = {name for name in models.known_names(demo) if name.startswith("digits")}
        for name in names.intersection(models.known_names(demo)):
            embed(demo, name)
        return open_link(view, **query)

    return opened
