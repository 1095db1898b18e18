"""What `export` writes, read with the libraries that people read it with."""

from __future__ import annotations

import html
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from PIL import Image
from typer.testing import CliRunner

from kmex_core.analysis.model_card import model_card
from kmex_core.base import plain_text
from kmex_core.base.errors import InputError
from kmex_core.base.specs import DatasetSpec
from kmex_core.base.store import Store
from kmex_core.commands import app
from kmex_core.data import registry as datasets
from kmex_core.prototypes.source import BuiltIn, KMeans
from kmex_core.stages import image_table
from kmex_core.stages.image_table import KEY, write_image_table
from kmex_core.stages.stored import stored_conversion, stored_evaluation
from kmex_core.stages.subject import Subject, dataset_of, subject_of
from tests.helpers.datasets import write_folder
from tests.helpers.hostile import NAMES, hostile_model
from tests.helpers.stores import net


def invoke(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, ["export", "--model", "digits", *map(str, arguments), "--json"])


def header(text: str) -> dict[str, Any]:
    """The YAML header of a card."""
    _, head, _ = text.split("---\n", 2)
    loaded: dict[str, Any] = yaml.safe_load(head)
    return loaded


@pytest.fixture
def subject(demo: Store) -> Subject:
    return subject_of(demo, "digits")


# ---- the table ------------------------------------------------------------------------------------------------------


def test_the_table_has_what_the_store_has(subject: Subject, tmp_path: Path) -> None:
    count, notes = write_image_table(subject, KMeans(5), tmp_path / "a.parquet")
    table = pd.read_parquet(tmp_path / "a.parquet")
    conversion, projection = subject.conversion(KMeans(5)).get(), subject.embedding_map().get()
    assert (len(table), notes) == (count, [])
    names = np.array(subject.info.class_names)
    for split, predicted, places in (
        ("train", conversion.train_predicted, projection.train),
        ("test", conversion.test_predicted, projection.test),
    ):
        rows, embedded = table[table["split"] == split], subject.embedding(split).get()
        assert rows["index"].tolist() == list(range(len(embedded)))
        assert rows["label"].tolist() == subject.data.split(split).labels.tolist()
        assert rows["class"].tolist() == names[embedded.labels].tolist()
        assert rows["predicted"].tolist() == names[predicted].tolist()
        assert rows["black_box"].tolist() == names[embedded.black_box].tolist()
        np.testing.assert_array_equal(np.stack(rows["embedding"].tolist()), embedded.z)
        np.testing.assert_array_equal(rows[["x", "y"]], places)
        # distances by an independent formula, in the space of the prototypes
        space, prototypes = conversion.metric(embedded.z).astype(np.float64), conversion.prototypes
        distance = np.sqrt(((space[:, None] - prototypes.centers[None].astype(np.float64)) ** 2).sum(2))
        nearest = rows["prototype"].to_numpy()
        np.testing.assert_allclose(rows["distance"], distance.min(1), rtol=1e-4)
        np.testing.assert_allclose(distance[np.arange(len(rows)), nearest], distance.min(1), rtol=1e-5)
        other = np.where(prototypes.classes == prototypes.classes[nearest][:, None], np.inf, distance).min(1)
        np.testing.assert_allclose(rows["distance_other"], other, rtol=1e-4)
        # the posterior: the mean over each class's prototypes of exp(−d²/T), as a share of all classes'
        temperature = conversion.temperature
        assert temperature is not None
        value = temperature.of_test(embedded.labels)[:, None] if split == "test" else temperature.value
        shares = np.exp(-(distance**2 - distance.min(1, keepdims=True) ** 2) / value)
        by_class = np.stack([shares[:, prototypes.classes == label].mean(1) for label in range(10)], 1)
        posterior = (by_class / by_class.sum(1, keepdims=True))[np.arange(len(rows)), predicted]
        np.testing.assert_allclose(rows["posterior"], posterior, atol=1e-4)
    assert table["file_name"].isna().all()


def test_the_table_says_what_made_it_and_is_in_row_groups(
    subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_table, "ROWS", 500)
    write_image_table(subject, KMeans(5), tmp_path / "a.parquet", thumbnails=True)
    file = pq.ParquetFile(tmp_path / "a.parquet")
    assert [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)] == [500, 500, 297, 500]
    made = json.loads(file.schema_arrow.metadata[KEY])
    assert (made["model"], made["weights"], made["metric"]) == ("digits", subject.weights, "whitened")
    assert made["prototypes"]["spec"]["k"] == 5
    assert file.schema_arrow.field("embedding").type.list_size == 64
    whole = file.read().to_pandas()
    picture = tmp_path / "a.png"
    picture.write_bytes(whole["image"][3]["bytes"])
    with Image.open(picture) as image:
        np.testing.assert_array_equal(np.asarray(image)[..., 0], subject.data.split("train").image(3))


def test_without_a_map_and_a_black_box_there_are_nulls(store: Store, tmp_path: Path) -> None:
    subject = subject_of(store, "digits-protopnet")
    for split in ("train", "test"):
        subject.embedding(split).get()
    _, notes = write_image_table(subject, BuiltIn(), tmp_path / "a.parquet")
    table = pd.read_parquet(tmp_path / "a.parquet")
    assert table[["x", "y", "black_box"]].isna().all(axis=None)
    assert "project --model digits-protopnet" in notes[0]
    test = table[table["split"] == "test"]
    assert test["predicted"].astype(int).tolist() == subject.embedding("test").get().black_box.tolist()


def test_file_names_are_those_in_the_data_set(store: Store, tmp_path: Path) -> None:
    write_folder(tmp_path / "pets", ("cat", "dog"), 10, 4)
    info = net(store, DatasetSpec(str(tmp_path / "pets")), "pets")
    subject = Subject(store, info, dataset_of(info))
    subject.conversion(KMeans(1)).get()
    write_image_table(subject, KMeans(1), tmp_path / "a.parquet")
    table = pd.read_parquet(tmp_path / "a.parquet")
    there = {str(path.relative_to(tmp_path / "pets")) for path in (tmp_path / "pets").rglob("*.png")}
    assert set(table["file_name"]) == there
    assert len(table) == len(there)
    for name, label in zip(table["file_name"], table["class"], strict=True):
        assert name.split("/")[1] == label
    assert datasets.load(DatasetSpec("digits")).split("train").file_name(0) is None


def test_hostile_names_are_text_in_the_table_and_in_the_card(store: Store, tmp_path: Path) -> None:
    info = hostile_model(store, tmp_path)
    subject = Subject(store, info, dataset_of(info))
    subject.conversion(KMeans(2)).get()
    write_image_table(subject, KMeans(2), tmp_path / "a.parquet")
    assert set(pd.read_parquet(tmp_path / "a.parquet")["class"]) == set(NAMES)
    conversion, evaluation = stored_conversion(subject, KMeans(2)), stored_evaluation(subject, KMeans(2))
    card = model_card(info, subject.data, KMeans(2), conversion, evaluation, subject.notes())
    assert header(card)["model-index"][0]["results"][0]["dataset"]["name"] == "**data** :blue[set] <b>"
    body = MarkdownIt().render(card.split("---\n", 2)[2])
    assert "<img" not in body
    assert "<strong>" not in body
    text = html.unescape(re.sub("<[^>]*>", "", body)).replace(plain_text.JOINER, "")
    assert all(name in text for name in NAMES)


# ---- the card -------------------------------------------------------------------------------------------------------


def test_the_card_has_the_hubs_header_and_the_measured_values(subject: Subject) -> None:
    source = KMeans(5)
    conversion, evaluation = stored_conversion(subject, source), stored_evaluation(subject, source)
    card = model_card(subject.info, subject.data, source, conversion, evaluation, ["A *note*."])
    head = header(card)
    assert head["library_name"] == "kmex-explorer"
    assert head["pipeline_tag"] == "image-classification"
    assert {"kmex", "image-classification"} <= set(head["tags"])
    assert head["datasets"] == ["digits"]
    (model,) = head["model-index"]
    (result,) = model["results"]
    assert result["task"] == {"type": "image-classification"}
    assert result["dataset"]["type"] == "digits"
    values = {metric["name"]: metric["value"] for metric in result["metrics"]}
    assert values["Accuracy, KMEx"] == pytest.approx(conversion.summary.accuracy_kmex)
    assert values["Accuracy, black box"] == pytest.approx(conversion.summary.accuracy_black_box)
    assert all(isinstance(value, int | float) for value in values.values())
    assert "- A \\*note\\*." in card
    differ = int((conversion.test_predicted != conversion.test_black_box).sum())
    assert f"differ on {differ} of 500 test images" in card
    assert card.endswith("```\n")


def test_the_card_of_a_name_that_yaml_would_misread(subject: Subject) -> None:
    source = KMeans(5)
    conversion, evaluation = stored_conversion(subject, source), stored_evaluation(subject, source)
    for name in ('no: "yes"', "- a\n---\nb", "2026-01-01", "!!python/object:os.system", "\ud800", "\U0001f600"):
        card = model_card(replace(subject.info, name=name), subject.data, source, conversion, evaluation, [])
        assert header(card)["model-index"][0]["name"] == plain_text.plain(plain_text.utf8(name))


@given(st.text())
def test_yaml_reads_any_text_as_it_is_shown(text: str) -> None:
    loaded = yaml.safe_load(f"a: {plain_text.yaml(text)}")["a"]
    shown = plain_text.plain(text)
    assert [a for a in loaded if a != "�"] == [a for a in shown if a in loaded and a != "�"]
    assert len(loaded) == len(shown)


# ---- the command ----------------------------------------------------------------------------------------------------


def test_several_files_at_once(demo: Store, tmp_path: Path) -> None:
    kinds = {"out": "d.safetensors", "html": "d.html", "parquet": "d.parquet", "card": "README.md"}
    result = invoke(*(part for kind, name in kinds.items() for part in (f"--{kind}", tmp_path / name)))
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert [file["kind"] for file in found["files"]] == list(kinds)
    for file in found["files"]:
        assert file["bytes"] == Path(file["path"]).stat().st_size > 1000
    assert (found["out"], found["bytes"]) == (str(tmp_path / "d.safetensors"), found["files"][0]["bytes"])
    again = invoke("--card", tmp_path / "README.md")
    assert again.exit_code == 2
    assert "--overwrite" in json.loads(again.stdout)["error"]
    assert invoke("--card", tmp_path / "README.md", "--overwrite").exit_code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kinds.values())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Nothing to write"),
        (["--thumbnails", "--card", "a.md"], "--thumbnails"),
        (["--card", "a", "--html", "./a"], "the same"),
        (["--own", "--card", "a.md"], "built-in"),
        (["--card", "."], "folder"),
    ],
)
def test_what_cannot_be_written_is_refused_before_anything_is(
    demo: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = invoke(*arguments)
    assert result.exit_code == 2, result.output
    assert message in json.loads(result.stdout)["error"]
    assert not list(tmp_path.glob("a*"))


def test_images_that_are_not_embedded_are_refused_and_nothing_is_left(store: Store, tmp_path: Path) -> None:
    result = invoke("--parquet", tmp_path / "a.parquet")
    assert result.exit_code == 2
    assert "kmex_core convert --model digits" in json.loads(result.stdout)["error"]
    assert not list(tmp_path.glob("*a.parquet*"))
    with pytest.raises(InputError):
        stored_evaluation(subject_of(store, "digits"), KMeans(5))
