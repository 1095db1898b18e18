from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from kmex_core.base.store import Store
from kmex_core.models import catalogue as models
from kmex_core.stages.subject import Subject, dataset_of

FRAME = Path(__file__).resolve().parents[2] / "app" / "frame.py"


@pytest.fixture(autouse=True)
def _fresh_caches() -> Iterator[None]:
    yield
    st.cache_data.clear()
    st.cache_resource.clear()


def embed(store: Store, name: str) -> None:
    """Do what a page would start a job for."""
    info = models.describe(store, name)
    data = dataset_of(info)
    for split in ("train", "test"):
        Subject(store, info, data).embedding(split).get()


@pytest.fixture
def page(demo: Store) -> Callable[..., AppTest]:
    """Opens a page of the dashboard on the converted demo: `page("explain", k="3")`."""

    def opened(view: str = "overview", **query: str) -> AppTest:
        names = {query.get("model", "digits")}
        if view == "compare":  # it shows all models of a data set
            names = {name for name in models.known_names(demo) if name.startswith("digits")}
        for name in names.intersection(models.known_names(demo)):
            embed(demo, name)
        test = AppTest.from_file(str(FRAME), default_timeout=60)
        for name, value in query.items():
            test.query_params[name] = value
        test.run()
        if view != "overview":
            test.switch_page(f"views/{view}.py").run()
        return test

    return opened
