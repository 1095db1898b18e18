"""Every table that a page offers is what the command line writes, byte for byte."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest
from typer.testing import CliRunner

from app.components.attributes import curves as attribute_curves
from app.components.shared import relevance_scores
from kmex_core.base import jobs
from kmex_core.base.files import write_file
from kmex_core.base.plain_text import table_csv
from kmex_core.base.store import Store
from kmex_core.commands import app
from kmex_core.metrics import map_checks as measured_map_checks
from kmex_core.metrics import randomisation
from kmex_core.models import catalogue
from kmex_core.models.info import ModelInfo
from kmex_core.relevance.catalogue import DEFAULT_MAPS, PUBLISHED
from kmex_core.stages import map_checks, tables
from kmex_core.stages.subject import dataset_of
from kmex_core.stages.tables import TABLES
from tests.helpers.pages import healthy
from tests.helpers.pictures import encoded

Page = Callable[..., AppTest]
IMAGES = 4
DIGITS, FACES = ["--model", "digits"], ["--model", "faces"]
ALL_DIGITS = [part for kind in ("", "-flint", "-protopnet", "-protovae") for part in ("--model", f"digits{kind}")]
BY_GRADIENTS = ["--method", "gradient-input"]
# the pages to open, and the tables that they offer: by their files' names, or by their widgets' keys
PAGES: dict[tuple[str, tuple[tuple[str, str], ...]], dict[str, list[str]]] = {
    ("models", (("chosen", "digits"),)): {
        "models-table": ["models"],
        "digits-training.csv": ["training", *DIGITS],
    },
    ("audit", (("images", "4"),)): {
        "digits-confusion-predicted.csv": ["confusion", *DIGITS],
        "digits-prototypes-5.csv": ["prototype-shares", *DIGITS],
        "digits-stability-5.csv": ["stability", *DIGITS],
        "digits-metrics.csv": ["metrics", *DIGITS, "--images", "4"],
        "digits-ordering.csv": ["relevance-ordering", *DIGITS, "--images", "4"],
        "digits-map-scores.csv": ["relevance-scores", *DIGITS, "--images", "4"],
        "digits-map-checks.csv": ["map-checks", *DIGITS, "--images", "4"],
    },
    ("audit", (("images", "4"), ("k", "2"), ("method", "Gradient × input"))): {
        "digits-confusion-predicted.csv": ["confusion", *DIGITS, "--k", "2"],
        "digits-prototypes-2.csv": ["prototype-shares", *DIGITS, "--k", "2"],
        "digits-stability-2.csv": ["stability", *DIGITS, "--k", "2", "--runs", "3"],
        "digits-metrics.csv": ["metrics", *DIGITS, "--k", "2", "--images", "4", *BY_GRADIENTS],
        "digits-ordering.csv": ["relevance-ordering", *DIGITS, "--k", "2", "--images", "4", *BY_GRADIENTS],
        "digits-map-scores.csv": ["relevance-scores", *DIGITS, "--k", "2", "--images", "4", *BY_GRADIENTS],
    },
    ("audit", (("images", "100"), ("k", "4"), ("by", "Black box"))): {
        "digits-confusion-black_box.csv": ["confusion-black-box", *DIGITS],
        "digits-prototypes-4.csv": ["prototype-shares", *DIGITS, "--k", "4"],
        "digits-stability-4.csv": ["stability", *DIGITS, "--k", "4"],
        "digits-metrics.csv": ["metrics", *DIGITS, "--k", "4", "--images", "0"],
    },
    ("audit", (("images", "100"), ("model", "digits-protopnet"), ("kmex", "false"))): {
        "digits-protopnet-confusion-predicted.csv": ["confusion", "--model", "digits-protopnet", "--own"],
        "digits-protopnet-prototypes-own.csv": ["prototype-shares", "--model", "digits-protopnet", "--own"],
        "digits-protopnet-metrics.csv": ["metrics", "--model", "digits-protopnet", "--own", "--images", "0"],
    },
    ("compare", (("images", "100"),)): {
        "comparison.csv": ["comparison", *ALL_DIGITS, "--images", "0", "--no-published"],
        "radar.csv": ["radar", *ALL_DIGITS, "--images", "0"],
    },
    ("compare", (("images", "100"), ("published", "true"), ("k", "4"))): {
        "comparison.csv": ["comparison", *ALL_DIGITS, "--images", "0", "--k", "4"],
        "radar.csv": ["radar", *ALL_DIGITS, "--images", "0", "--k", "4"],
    },
    ("compare", (("part", "Two models, image by image"), ("k", "4"))): {
        "changes.csv": ["changes", *DIGITS, "--model", "digits-flint", "--k", "4"],
    },
    ("numbers", ()): {
        "digits-sweep.csv": ["sweep", *DIGITS, "--k", "1:20", "--runs", "5"],
        "digits-suggestion.csv": ["suggestion", *DIGITS],
    },
    ("explore", ()): {
        "digits-map.csv": ["embedding-map", *DIGITS],
        "digits-map-prototypes.csv": ["embedding-map-prototypes", *DIGITS],
    },
    ("prototypes", ()): {"digits-5-prototypes.csv": ["prototypes", *DIGITS]},
    ("explain", (("image", "100"),)): {"predictions.csv": ["predictions", *DIGITS, "--image", "test-100.png"]},
    ("attributes", (("model", "faces"),)): {
        "faces-attribute-curves.csv": ["attribute-curves", *FACES, "--k", "4:5"],  # stores what the next reads
        "faces-5-attributes.csv": ["attributes", *FACES],
        "faces-5-coverage.csv": ["attribute-coverage", *FACES],
        "faces-5-subgroups.csv": ["attribute-subgroups", *FACES],
    },
    ("attributes", (("model", "faces"), ("tab", "Errors"))): {"faces-5-accuracy.csv": ["attribute-accuracy", *FACES]},
    ("attributes", (("model", "faces"), ("tab", "Correlations"))): {
        "faces-5-correlations.csv": ["attribute-correlations", *FACES],
    },
}  # fmt: skip


@pytest.fixture
def downloads(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """The CSV files that pages offer, by name, as they are made while the page runs."""
    offered: dict[str, bytes] = {}
    show = st.download_button

    def shown(label: str, content: Callable[[], str | bytes], name: str, *rest: Any, **more: Any) -> bool:
        if name.endswith(".csv"):
            data = content()
            offered[name] = data.encode() if isinstance(data, str) else data
        return show(label, content, name, *rest, **more)

    monkeypatch.setattr(st, "download_button", shown)
    return offered


@pytest.fixture
def picture(digits: ModelInfo, tmp_path: Path) -> Path:
    """Test image 100 of the digits as a file."""
    path = tmp_path / "test-100.png"
    path.write_bytes(encoded(dataset_of(digits).split("test").image(100)))
    return path


@pytest.fixture
def quick(faces_cache: Path, demo: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages over few numbers of prototypes and few images, which start no job."""
    monkeypatch.setattr(relevance_scores, "IMAGES", (IMAGES, 100))
    monkeypatch.setattr(attribute_curves, "KS", range(4, 6))
    monkeypatch.setattr(map_checks, "KINDS", (DEFAULT_MAPS, PUBLISHED))
    monkeypatch.setattr(measured_map_checks, "DRAWS", 1)
    monkeypatch.setattr(randomisation, "STAGES", 2)
    monkeypatch.setattr(tables, "RANGE", range(4, 6))  # the store may have other numbers, of other tests
    monkeypatch.setattr(jobs, "start", lambda *_: pytest.fail("a result is missing that the command has made"))


def written(arguments: list[str], picture: Path) -> bytes:
    """What the command writes to stdout."""
    result = CliRunner().invoke(app, ["table", *(str(picture) if part == picture.name else part for part in arguments)])
    assert result.exit_code == 0, result.output
    return result.stdout_bytes


@pytest.mark.parametrize("opened", PAGES, ids=lambda opened: "-".join([opened[0], *(value for _, value in opened[1])]))
def test_a_page_offers_what_the_command_writes(
    opened: tuple[str, tuple[tuple[str, str], ...]], quick: None, page: Page, downloads: dict[str, bytes], picture: Path
) -> None:
    view, query = opened
    expected = {name: written(arguments, picture) for name, arguments in PAGES[opened].items()}
    test = healthy(page(view, **dict(query)))
    shown = {widget.key: table_csv(widget.value).encode() for widget in test.dataframe if widget.key in expected}
    assert downloads | shown == expected


def test_every_table_is_tried_here() -> None:
    assert {arguments[0] for tables in PAGES.values() for arguments in tables.values()} == set(TABLES)


def test_the_loss_of_a_running_training_is_the_same_on_its_page(
    page: Page, store: Store, downloads: dict[str, bytes], picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = [{"accuracy": 0.5, "loss": 1.25, "terms": {"cluster": 0.25}}]
    write_file(store.path("runs", "half"), {"nothing": np.zeros(1)}, {"history": history})
    running = jobs.Job("running", part=2, parts=3, values={"loss": 0.75})
    monkeypatch.setattr(jobs, "look", lambda _, name: running if name == "train-half" else None)
    monkeypatch.setattr(jobs, "names", lambda _, beginning: ["train-half"] if beginning == "train-" else [])
    assert catalogue.has_run(store, "half")
    healthy(page("models"))
    content = written(["training", "--model", "half"], picture)
    assert downloads == {"half-training.csv": content}
    assert content.decode().splitlines() == ["epoch,stage,accuracy,loss,cluster", "1,,0.5,1.25,0.25", "2,now,,0.75,"]


def test_a_table_goes_to_a_file_or_into_json(demo: Store, tmp_path: Path, picture: Path) -> None:
    content = written(["confusion", *DIGITS], picture)
    out = tmp_path / "confusion.csv"
    arguments = ["table", "confusion", *DIGITS, "--out", str(out)]
    assert CliRunner().invoke(app, arguments).stdout == f"Wrote {out}.\n"
    assert out.read_bytes() == content
    again = CliRunner().invoke(app, arguments)
    assert (again.exit_code, "--overwrite" in again.stderr) == (2, True)
    answer = json.loads(CliRunner().invoke(app, ["table", "confusion", *DIGITS, "--json"]).stdout)
    assert answer == {"table": "confusion", "out": None, "csv": content.decode()}


def test_all_tables_are_listed() -> None:
    lines = CliRunner().invoke(app, ["table"]).stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(TABLES)
    assert [entry["name"] for entry in json.loads(CliRunner().invoke(app, ["table", "--json"]).stdout)["tables"]] == [
        *TABLES
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["confusionn", *DIGITS], "did you mean 'confusion'"),
        (["confusion"], "needs --model NAME"),
        (["models", "--k", "3"], "'models' does not take --k"),
        (["sweep", *DIGITS, "--own"], "'sweep' does not take --own"),
        (["confusion", *DIGITS, "--images", "3"], "does not take --images"),
        (["confusion", *DIGITS, "--k", "3:4"], "one number of prototypes per class"),
        (["sweep", *DIGITS, "--k", "3:x"], "Invalid --k '3:x': expected FIRST:LAST, for example 1:20."),
        (["confusion", *DIGITS, *FACES], "Expected one model for this table, got 2."),
        (["predictions", *DIGITS], "pass --image FILE"),
        (["stability", *DIGITS, "--runs", "2"], "at least 3 runs, got 2"),
        (["changes", *DIGITS], "Expected two models for this table, got 1."),
        (["changes", *DIGITS, *FACES], "are not models of the same images"),
        (["attributes", *DIGITS], "has no attributes"),
    ],
)
def test_what_a_table_cannot_be_made_of(demo: Store, arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(app, ["table", *arguments])
    assert result.exit_code == 2, result.output
    assert message in result.stderr
