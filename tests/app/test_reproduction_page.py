"""The page Compare beside the last reproduction of the paper."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from streamlit.testing.v1 import AppTest

from app.claims import reproduction as claims
from kmex_core.base import jobs
from kmex_core.base.location import REPRODUCTIONS
from kmex_core.base.specs import DatasetSpec
from kmex_core.base.store import Store
from kmex_core.prototypes.source import KMeans
from kmex_core.reproduction.report import judged
from kmex_core.stages.subject import Subject, dataset_of
from tests.helpers.official import WRITERS
from tests.helpers.pages import healthy, open_link
from tests.helpers.reproductions import COMMAND, cell, keep, report, setting
from tests.helpers.stores import net


def beside(dataset: str = "MNIST") -> AppTest:
    """What the page shows below the paper's figures of a data set."""

    def script(dataset: str) -> None:
        from app.components.compare.reproduction import show_reproduction
        from kmex_core.analysis.comparison import Row

        show_reproduction([Row("x", "measured", "Digits", 0, 0, {}), Row("y (paper)", "paper", dataset, 0, 0, {})])

    return healthy(AppTest.from_function(script, kwargs={"dataset": dataset}).run())


def table(test: AppTest) -> dict[str, dict[str, list[str]]]:
    """The parts of each cell by model and metric."""
    (body,) = (one.proto.body for one in test.get("html"))
    head, *lines = ElementTree.fromstring(body).iter("tr")
    columns = ["".join(each.itertext()) for each in head][1:]
    return {
        "".join(line[0].itertext()): {
            column: ["".join(part.itertext()).replace("\u00a0", " ") for part in each] or [each.text or ""]
            for column, each in zip(columns, line[1:], strict=True)
        }
        for line in lines
    }


def test_without_a_report_the_command_is_named(store: Store) -> None:
    test = beside()
    assert "python -m kmex_core reproduce" in test.caption[0].value
    assert not test.get("html")


def test_published_figures_stand_beside_their_verdicts(store: Store) -> None:
    whole = report()
    keep(store, whole)
    test = beside()
    shown = table(test)
    assert list(shown["ResNet34"]) == [
        "Accuracy ↑Table 3", "Average drop as published ↓Table 4", "D_dvs as published ↓Table 7"
    ]  # fmt: skip
    assert shown["ResNet34"]["Accuracy ↑Table 3"] == [
        "✓ reproduced", "paper 90.0 ± 1.0%", "ours 90.10 ± 0.20%", "+0.2 SE"
    ]  # fmt: skip
    assert shown["R34+KMEx"]["Accuracy ↑Table 3"][0] == "≠ differs"
    assert shown["R34+KMEx"]["Average drop as published ↓Table 4"][:2] == [
        "✓ reproduced", "weakly and as chance would"
    ]  # fmt: skip
    assert shown["FLINT"]["Accuracy ↑Table 3"] == ["– cannot be had", "paper 90.0 ± 1.0%"]
    assert shown["FLINT"]["D_dvs as published ↓Table 7"] == ["–"]
    keep(store, report(*whole.cells, replace(whole.cells[-1], table=8, model="FLINT+KMEx")))
    assert table(beside())["FLINT+KMEx"]["D_dvs as published ↓Tables 7 and 8"][0] == "≠ differs"
    said = test.caption[0].value
    for words in ("2026-11-28", "on a processor", "3 trainings of ResNet34 (paper: 5), 3 of 10 epochs, from random"):
        assert words in said
    assert test.expander[0].label == "Why: the verdicts in words (5)"
    reasons = test.expander[0].markdown[0].value.splitlines()
    assert len(reasons) == 5
    assert "any of which can be the cause: (1) 3 of 10 epochs; (2) Other initial weights;" in reasons[1]
    assert "no reproduction of the paper's figures of SVHN" in beside("SVHN").caption[0].value


def test_the_newest_reproduction_with_measured_figures_is_shown(store: Store) -> None:
    for number, (date, cells) in enumerate(
        {"2026-11-01": cell(0.9), "2026-11-03": cell(), "2026-11-02": cell(0.5)}.items()
    ):
        keep(store, report(cells, date=date), f"report-{number}")
    test = beside()
    assert "2026-11-02" in test.caption[0].value
    assert table(test)["ResNet34"]["Accuracy ↑Table 3"][0] == "≠ differs"


def test_a_damaged_report_is_said_to_be_one(store: Store) -> None:
    keep(store, report())
    path = store.path(REPRODUCTIONS, "report")
    path.write_bytes(path.read_bytes()[:-20])
    test = beside()
    assert "damaged" in test.warning[0].value
    store.put(REPRODUCTIONS, "report", {}, {"report": {}})
    assert "Damaged report" in beside().warning[0].value


def test_hostile_names_of_a_report_are_text(store: Store) -> None:
    name = "<img src=x onerror=alert(1)> **b** :red[x]"
    cells = (cell(0.9, model=name, short=(name,)), cell(model="FLINT", missing=name))
    keep(store, report(*cells, settings=(setting(kind="flint", device=name),), date=name))
    test = beside()
    assert "✓ reproduced" in table(test)[name]["Accuracy ↑Table 3"]
    texts = [test.caption[0].value, test.expander[0].markdown[0].value]
    for text in texts:
        assert "<img" not in text.replace("\\<", "")
        assert "\\*\\*b\\*\\*" in text
        assert not re.search(r"(?<!\\):red", text)


def test_what_was_not_trained_is_said() -> None:
    whole = report(cell(), settings=())
    said = claims.about(whole, judged(whole))
    assert "None of the paper's 1 figures could be measured." in said
    assert "Nothing was trained for it." in said


def test_the_page_shows_them_with_the_papers_figures(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "start", lambda *_: None)
    (tmp_path / "data").mkdir()
    WRITERS["mnist"](tmp_path / "data")
    monkeypatch.setenv("KMEX_DATA", str(tmp_path / "data"))
    info = net(store, DatasetSpec("mnist"))
    Subject(store, info, dataset_of(info)).conversion(KMeans(2)).get()
    keep(store, report())
    test = healthy(open_link("compare", model="net", dataset="MNIST", k="2"))
    assert not any("Reproduced?" in one.value for one in test.markdown)
    healthy(test.toggle(key="published").set_value(True).run())
    assert any("Reproduced?" in one.value for one in test.markdown)
    assert COMMAND not in "".join(one.value for one in test.caption)  # it may name folders of the server
