"""Links with anything in them: no page breaks, and none shows something else without a word."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kmex_core.base.store import Store
from kmex_core.models import catalogue as models
from tests.helpers.pages import address, clear_caches, open_link, said

pytestmark = pytest.mark.slow

TEXTS = st.one_of(
    st.sampled_from(["", "-1", "0", "5", "20", "21", "1e400", "inf", "nan", "4.5", "٣", "true", "digits", "../../etc",
                     "<script>", "**b**", ":red[x]", "prototype-3.1", "train-5", "a" * 3000, "9" * 5000, "0.0"]),
    st.text(max_size=12),
)  # fmt: skip
KEYS = {
    "explore": ["dataset", "model", "k", "kmex"],
    "explain": ["source", "image", "training", "model"],
    "prototypes": ["prototype", "order", "classes", "own", "others", "view"],
    "embedding": ["point", "show", "test", "classes", "table", "view"],
    "compare": ["models", "images", "runs", "published", "kmex"],
    "models": ["chosen", "dataset", "model"],
}


@pytest.fixture(autouse=True)
def _fresh_caches() -> Iterator[None]:
    yield
    clear_caches()


@pytest.mark.parametrize("view", KEYS)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_link_breaks_a_page(demo: Store, view: str, data: st.DataObject) -> None:
    query = {key: data.draw(TEXTS) for key in data.draw(st.sets(st.sampled_from(KEYS[view]), min_size=1, max_size=3))}
    test = open_link(view, **query)
    assert not test.exception, (query, test.exception)
    assert not test.error, (query, test.error)
    test.run()
    assert not test.exception, (query, test.exception)
    known = models.known_names(demo)
    shown = address(test)
    if view != "models":  # which works whatever is selected
        assert shown["model"] in known or re.search("The store has no model named|No model in the store", said(test)), (
            query
        )
