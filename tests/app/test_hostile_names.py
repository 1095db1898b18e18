"""Every page on a data set with hostile names: what Streamlit reads as Markdown has none of theirs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from kmex_core.base.store import Store
from kmex_core.prototypes.source import KMeans
from kmex_core.stages.subject import Subject, dataset_of
from tests.helpers.hostile import ATTRIBUTES, NAMES, hostile_model
from tests.helpers.pages import open_link

# what a name must not leave bare: an image or link, bold of theirs, a colour, a formula, HTML, an icon, code of theirs
ACTIVE = re.compile(
    r"(?<!\\)!?\[[^\]\\]*\]\(|(?<![\\*])\*\*bold|(?<!\\):(?:red|blue)\[|(?<!\\)\$x\^2|(?<!\\)<(?:img|b>)"
    r"|:material_home:|:smile:|(?<!\\)`code`|(?<!\\)\*a\*"
)
MARKDOWN = ("markdown", "caption", "info", "warning", "error", "success", "title", "subheader", "button", "toggle",
            "expander", "metric", "segmented_control", "button_group")  # fmt: skip


def texts(test: AppTest) -> Iterator[str]:
    for kind in MARKDOWN:
        for element in test.get(kind):
            for field in ("value", "label", "body", "help"):
                text = getattr(element, field, None)
                if isinstance(text, str):
                    yield text
            proto = getattr(element, "proto", None)
            for field in ("label", "help", "body", "caption"):
                text = getattr(proto, field, None)
                if isinstance(text, str):
                    yield text
    for kind in ("imgs", "page_link"):
        for element in test.get(kind):
            proto = element.proto
            yield str(getattr(proto, "label", ""))
            yield from (str(image.caption) for image in getattr(proto, "imgs", ()))


@pytest.fixture
def hostile(store: Store, tmp_path: Path) -> Store:
    info = hostile_model(store, tmp_path)
    data = dataset_of(info)
    assert set(data.class_names) == set(NAMES)
    assert data.split("train").attribute_names == ATTRIBUTES
    Subject(store, info, data).conversion(KMeans(2)).get()
    Subject(store, info, data).sweep(KMeans(2)).get()
    Subject(store, info, data).suggestion().get()
    Subject(store, info, data).embedding_map().get()
    return store


def test_names_are_text_on_every_page(hostile: Store) -> None:
    seen = ""
    for view in (
        "home",
        "explore",
        "prototypes",
        "explain",
        "numbers",
        "audit",
        "attributes",
        "compare",
        "models",
    ):
        test = open_link(view, model="hostile", k="2")
        assert not test.exception, (view, [one.value for one in test.exception])
        for text in texts(test):
            assert not ACTIVE.search(text), (view, text)
            seen += text
    assert r"\*\*data\*\* \:blue\[set\] \<b>" in seen  # the data set's name is shown, as it is
    assert any(name.split()[0] in seen.replace("\\", "") for name in NAMES[1:])
