"""Commands on an engine against the same without one, and on embeddings of a folder, some made elsewhere."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from typer.testing import CliRunner

from kmex_core.base.errors import InputError
from kmex_core.base.store import Store
from kmex_core.commands import app
from kmex_core.commands.evaluation import NO_STABILITY
from kmex_core.metrics.catalogue import METRICS
from kmex_core.models import catalogue as models
from kmex_core.prototypes.source import KMeans
from kmex_core.scale.engine import Local
from kmex_core.scale.sharded import ROOM, sharded
from kmex_core.scale.subject import ShardedSubject
from kmex_core.stages.subject import Subject, dataset_of
from tests.helpers.hostile import hostile_model
from tests.helpers.sharded import fitted, small, swept


def answer(*arguments: str) -> dict[str, Any]:
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def fails(message: str, *arguments: str) -> None:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 2, result.output
    assert message in result.stderr


def close(one: Any, other: Any) -> bool:
    """Whether two answers are equal up to the rounding of their numbers."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(close(one[name], other[name]) for name in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(close, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return one == pytest.approx(other, rel=1e-4, abs=1e-6)
    return bool(one == other)


def test_every_command_answers_the_same_on_an_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network with attributes and names that mean something to Markdown and shells, in two stores."""
    commands = (
        ("convert", "--k", "3"),
        ("attributes", "--k", "1:3"),
        ("evaluate", "--k", "2", "--metrics", ",".join(name for name, metric in METRICS.items() if not metric.maps)),
    )
    torch.manual_seed(0)
    model = hostile_model(Store(tmp_path / "plain"), tmp_path)
    shutil.copytree(tmp_path / "plain", tmp_path / "engine")
    for options in commands:
        monkeypatch.setenv("KMEX_CACHE", str(tmp_path / "plain"))
        command = (*options, "--model", "hostile", "--metric", "euclidean")
        plain = answer(*command)
        monkeypatch.setenv("KMEX_CACHE", str(tmp_path / "engine"))
        found = answer(*command, "--engine", "local")
        for each in (plain, found):
            each.pop("seconds", None)
        of_training = [name for name in found if name.endswith("_train")]  # parts are counted in passing
        assert all(0 <= found.pop(name) <= 1 for name in of_training)
        assert bool(of_training) == (options[0] == "convert")
        assert close(found, plain), command
    store = Store(tmp_path / "engine")
    assert {each.model for each in sharded(store)} == {model.name}
    # what pages and `explain` ask for is there, with the keys that it has without an engine
    plain_subject = Subject(store, models.describe(store, "hostile"), dataset_of(model))
    assert plain_subject.conversion(KMeans(3, metric="euclidean")).exists()
    assert plain_subject.is_embedded
    # what needs each image's prediction is left out where these do not fit, and the answer says so
    three = (
        "evaluate",
        "--model",
        "hostile",
        "--metric",
        "euclidean",
        "--k",
        "2",
        "--metrics",
        "accuracy",
        "--runs",
        "3",
    )
    assert len(answer(*three, "--engine", "local")["stability"]) == 1
    monkeypatch.setattr("kmex_core.scale.subject.ROW_BYTES", 10**12)
    found = answer(*three, "--engine", "local")
    assert (found["stability"], found["notes"].count(NO_STABILITY)) == ([], 1)


def test_a_sweep_on_an_engine_is_that_without(demo: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = answer("sweep", "--model", "digits", "--k", "1:6")
    shutil.copytree(demo.root, tmp_path / "engine")
    monkeypatch.setenv("KMEX_CACHE", str(tmp_path / "engine"))
    extracted = answer("extract", "--model", "digits")  # the stored embedding is cut
    assert (extracted["images"], extracted["parts"]) == (1297, 2)
    found = answer("sweep", "--model", "digits", "--k", "1:6", "--engine", "local")
    assert (found["test_images"], found["held_out"], found["notes"]) == (500, True, plain["notes"])
    for one, other in zip(found["rows"], plain["rows"], strict=True):
        shared = ["k", "accuracy_kmex", "agreement", "ghosting", "diversity", "effective", "effective_random"]
        assert close({name: one[name] for name in shared}, {name: other[name] for name in shared})
    numbers = [[each["k"] for each in one["suggested"]["classes"]] for one in (found, plain)]
    assert numbers[0] == numbers[1]
    assert found["suggested"]["reason"] == plain["suggested"]["reason"]
    # the shards as embeddings of a folder, measured on themselves
    own = answer("convert", "--embeddings", extracted["folder"], "--k", "4", "--metric", "euclidean")
    assert (own["images"], own["test_images"], own["held_out"], len(own["rows"])) == (1297, 1297, False, 1)
    assert any("--held-out" in note for note in own["notes"])
    shown = CliRunner().invoke(
        app, ["convert", "--embeddings", extracted["folder"], "--k", "4", "--metric", "euclidean"]
    )
    assert f"{own['rows'][0]['accuracy_kmex']:.2%}" in shown.output
    # every word, and every digit of the evidence on the same rows
    euclidean = ("--k", "1:2", "--metric", "euclidean")
    of_folder = answer("sweep", "--embeddings", extracted["folder"], *euclidean)
    assert of_folder["suggested"] == answer("sweep", "--model", "digits", *euclidean)["suggested"]
    shown = CliRunner().invoke(app, ["sweep", "--embeddings", extracted["folder"], *euclidean])
    each = of_folder["suggested"]["classes"][3]
    assert f"  {each['class']}: {each['k']}. {each['reason']}" in shown.output.splitlines()
    assert f"Suggested: {of_folder['suggested']['overall']} per class. " in shown.output
    fails("has no split 'dev'", "extract", "--model", "digits", "--split", "dev")
    fails("Invalid model name '../x'", "extract", "--model", "digits", "--name", "../x")
    answer("extract", "--model", "digits", "--name", "mine")
    fails("taken by another embedding", "extract", "--model", "digits", "--split", "test", "--name", "mine")


def test_other_arithmetic_is_another_sharded_embedding(
    demo: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(demo.root, tmp_path / "engine")
    monkeypatch.setenv("KMEX_CACHE", str(tmp_path / "engine"))
    monkeypatch.setattr("kmex_core.scale.extraction.LEAST_ROWS", 128)  # four parts
    test = ("extract", "--model", "digits", "--split", "test")
    plain, half = answer(*test), answer(*test, "--precision", "bfloat16", "--name", "half")
    assert "arithmetic" not in plain
    found = {each.name: each for each in sharded(Store(tmp_path / "engine"))}
    assert [found[name].spec.get("arithmetic") for name in (plain["name"], "half")] == [None, "bfloat16"]  # type: ignore[union-attr]
    exact, rounded = ([*found[name].blocks()] for name in (plain["name"], "half"))
    assert [len(block) for block in exact] == [len(block) for block in rounded] == [128, 128, 128, 116]
    # what is said is what the two embeddings say at 64 rows of each part, from its first to its last
    rows = np.concatenate([block.index[np.linspace(0, len(block) - 1, 64).astype(int)] for block in exact])
    z, other = (np.concatenate([block.z for block in blocks])[rows] for blocks in (exact, rounded))
    change = half["arithmetic"]
    assert (change["precision"], change["split"], change["images"]) == ("bfloat16", "test", 256)
    assert change["largest_difference"] == pytest.approx(np.abs(z - other).max() / np.abs(z).max(), rel=1e-3)
    assert change["largest_difference"] > 1e-4
    said, black_box = (np.concatenate([block.black_box for block in blocks])[rows] for blocks in (exact, rounded))
    assert change["changed_predictions"] == pytest.approx((said != black_box).mean())
    assert "bfloat16 precision: on 256 test images" in half["notes"][0]
    # the name is that of one embedding, and an unfinished one is not finished with other numbers
    fails("taken by another embedding", *test, "--precision", "bfloat16", "--name", plain["name"])
    fails("taken by another embedding", *test, "--name", "half")
    fails("Unknown precision 'int8'", *test, "--precision", "int8")
    fails("exclude each other", *test, "--precision", "bfloat16", "--mixed-precision")
    assert answer(*test, "--precision", "bfloat16")["name"] != plain["name"]


def test_more_than_fits_into_memory_gets_other_keys_and_says_so(
    demo: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "store")
    info = models.describe(demo, "digits")
    shutil.copytree(demo.root / "embeddings", store.root / "embeddings")
    with Local() as engine:
        rows = 400  # of the largest class, and of a sample
        subject = ShardedSubject(store, info, dataset_of(info), engine=engine, memory=rows * 64 * 4 * 4)
        plain = Subject(store, info, dataset_of(info))
        assert subject.embedding("train").key != plain.embedding("train").key
        assert len(subject.embedding("train").get()) == rows
        assert f"a sample of {rows} of its 1,297 rows" in subject.notes()[0]
        assert subject.conversion(KMeans(3)).key != plain.conversion(KMeans(3)).key
        with pytest.raises(InputError, match="in one piece, and the train split .* does not fit into memory"):
            subject.grouped_by("x")
        # the predictions for each image do, and are those of one piece
        prototypes, found = KMeans(3, metric="euclidean"), subject.figures(KMeans(3, metric="euclidean"))
        stored = subject.conversion(prototypes).get()
        assert found.summary == stored.summary
        assert (stored.test_predicted == dataset_of(info).split("test").labels).mean() == found.summary.accuracy_kmex
        assert not subject.is_embedded
        monkeypatch.setattr("kmex_core.scale.subject.ROW_BYTES", 10**6)
        assert subject.figures(prototypes).summary == found.summary
        with pytest.raises(InputError, match="predictions for 1,797 images do not fit into memory"):
            subject.conversion(KMeans(2, metric="euclidean")).get()


def table(count: int, seed: int, **columns: Any) -> pa.Table:
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, count)
    z = random.normal(size=(count, 6)) + labels[:, None] * 3
    names = np.array(["cat", "dog"])[labels]
    return pa.table({"id": np.arange(count), "embedding": list(z), "label": names, "note": ["x"] * count, **columns})


def test_embeddings_of_other_programs_are_used(store: Store, tmp_path: Path) -> None:
    folder, other = tmp_path / "my embeddings", tmp_path / "held"
    for path, count in ((folder, 900), (other, 300)):
        path.mkdir()
        pq.write_table(table(count, count), path / "b.parquet", row_group_size=100)
        pq.write_table(table(50, 1), path / "a.parquet")
    found = answer("evaluate", "--embeddings", str(folder), "--held-out", str(other), "--k", "2", "--runs", "2")
    (copy,) = [each for each in sharded(store) if each.rows == 950]
    assert copy.class_names == ("cat", "dog")
    written = np.concatenate([block.z for block in copy.blocks()])
    assert np.array_equal(written[:50], np.stack(table(50, 1)["embedding"].to_numpy()).astype(np.float32))
    assert (found["images"], found["test_images"], found["held_out"], found["seeds"]) == (950, 350, True, [0, 1])
    assert all(row["accuracy_kmex"] > 0.95 for row in found["rows"])
    assert found["rows"][0]["agreement"] is None
    text = CliRunner().invoke(app, ["sweep", "--embeddings", str(folder), "--k", "1:2"]).output
    assert "950 rows of 6 dimensions, 2 classes" in text


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("embedding", [[1.0, 2.0]] * 29 + [[1.0]], "different lengths"),
        ("embedding", [[1.0, 2.0]] * 29 + [None], "rows without one"),
        ("embedding", [[1.0, float("nan")]] * 30, "not finite"),
        ("embedding", [["a"]] * 30, "not numbers"),
        ("embedding", [1.0] * 30, "expected lists of numbers"),
        ("embedding", [[]] * 30, "has 0 numbers; expected 1 to 65,536"),
        ("label", [0.5] * 30, "expected whole numbers or texts"),
        ("label", [-3] * 30, "as numbers from 0"),
        ("label", [10**12] * 30, "as numbers from 0"),
        ("label", ["a"] * 29 + [None], "without a class"),
    ],
)
def test_files_that_are_not_embeddings_are_refused_in_words(
    column: str, values: list[Any], message: str, store: Store, tmp_path: Path
) -> None:
    folder = tmp_path / "e"
    folder.mkdir()
    good = table(30, 0)
    pq.write_table(good.set_column(good.schema.get_field_index(column), column, pa.array(values)), folder / "x.parquet")
    fails(message, "convert", "--embeddings", str(folder))


def test_embeddings_of_a_folder_take_the_numbers_that_are_suggested_for_them(store: Store) -> None:
    small(store.root / ROOM / "many")
    suggested = answer("sweep", "--embeddings", "many", "--k", "1:3")["suggested"]
    (row,) = answer("convert", "--embeddings", "many", "--k", "auto")["rows"]
    assert row["k"] == "auto"
    assert row["prototypes"] == sum(each["k"] for each in suggested["classes"])


def test_what_does_not_go_together_is_refused(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "e"
    folder.mkdir()
    fails("Pass --model or --embeddings, and not both", "convert")
    fails("Pass --model or --embeddings, and not both", "sweep", "--model", "digits", "--embeddings", "x")
    fails("--held-out is for --embeddings", "evaluate", "--model", "digits", "--held-out", "x")
    fails("pass --engine ray with it", "convert", "--model", "digits", "--address", "auto")
    fails("no engine named 'spark'", "convert", "--model", "digits", "--engine", "spark")
    fails("is not a sharded embedding", "convert", "--embeddings", str(folder))
    (folder / "x.parquet").write_text("no")
    fails("damaged or not a parquet file", "convert", "--embeddings", str(folder))
    pq.write_table(table(30, 0).drop_columns(["label"]), folder / "x.parquet")
    fails(
        "has no column label, labels, class or target: it has id, embedding, note",
        "convert",
        "--embeddings",
        str(folder),
    )
    pq.write_table(table(30, 0), folder / "x.parquet")
    fails("are of a model", "evaluate", "--embeddings", str(folder), "--metrics", "accuracy")
    for command in ("--engine", "local"), ("--address", "auto"):
        fails("a model's embedding map is drawn in memory", "project", "--model", "digits", *command)
    fails("pass --engine ray with it", "project", "--embeddings", str(folder), "--address", "auto")


def test_a_density_map_is_drawn_by_an_engine(store: Store, tmp_path: Path) -> None:
    embedding = small(store.root / ROOM / "many")
    fitted(embedding)
    swept(embedding, 2)
    found = answer("project", "--embeddings", "many", "--engine", "local")
    assert (found["rows"], found["sample"], found["prototypes"]) == (3000, 200, 9)
    again = answer("project", "--embeddings", "many")
    assert {**again, "seconds": 0} == {**found, "seconds": 0}
