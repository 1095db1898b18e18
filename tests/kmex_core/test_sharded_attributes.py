"""The audit of attributes from counts of parts, against that in one piece; and the files that attributes are in."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from kmex_core import metrics
from kmex_core.analysis.coverage import SplitAttributes, coverage_of
from kmex_core.analysis.tables.attributes import LEAST_IMAGES
from kmex_core.base.errors import InputError
from kmex_core.base.store import Store
from kmex_core.commands import app
from kmex_core.data.registry import ArraySplit
from kmex_core.networks.types import Embeddings
from kmex_core.prototypes.fit import activated, fit_prototypes
from kmex_core.prototypes.metric import EmbeddingMetric
from kmex_core.scale.attribute_rows import AttributeRows, written
from kmex_core.scale.attributes import GroupFigures, ShardedAttributes, group_figures
from kmex_core.scale.engine import Local
from kmex_core.scale.sharded import ShardedEmbedding, ShardWriter

CLASSES, NAMES = ("a", "b", "c"), tuple(f"has {number}" for number in range(9))


def data(count: int, seed: int) -> tuple[Embeddings, np.ndarray, np.ndarray]:
    """Rows of three classes whose attributes depend on the class and on the place in the embedding; some unknown."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, count)
    z = random.normal(size=(count, 4)) + labels[:, None]
    chance = 1 / (1 + np.exp(-(z @ np.random.default_rng(5).normal(size=(4, len(NAMES))))))
    known = random.random((count, len(NAMES))) < 0.95
    black_box = np.where(random.random(count) < 0.2, 0, labels)
    return Embeddings(z.astype(np.float32), labels, black_box), (random.random(chance.shape) < chance) & known, known


def split(rows: Embeddings, has: np.ndarray, known: np.ndarray | None) -> ArraySplit:
    found = ArraySplit(np.zeros((len(rows), 2, 2), np.uint8), rows.labels)
    found.attribute_names, found.attributes, found.known = NAMES, has, known
    return found


def shards(folder: Path, rows: Embeddings) -> ShardedEmbedding:
    writer = ShardWriter(folder, rows.z.shape[1], CLASSES, part_rows=500)
    writer.add(rows.z, rows.labels, rows.black_box)
    return writer.finish()


@pytest.mark.parametrize("complete", [True, False])
def test_what_prototypes_cover_is_counted_by_part(complete: bool, tmp_path: Path) -> None:
    rows, has, some = data(2345, 0)
    known = None if complete else some
    prototypes = fit_prototypes(rows, CLASSES, 4)
    train = written(shards(tmp_path, rows), NAMES, has, known)
    expected = coverage_of(SplitAttributes(split(rows, has, known)), prototypes)
    found = coverage_of(ShardedAttributes(train, EmbeddingMetric(), Local()), prototypes)
    for name in ("images", "frequency", "has", "share", "told_apart", "correlation", "correlation_prototypes", "error"):
        assert np.array_equal(getattr(found, name), getattr(expected, name)), name
    for name in ("pairs", "images", "frequency", "prototypes"):
        assert np.array_equal(getattr(found.subgroups, name), getattr(expected.subgroups, name)), name
    # the same random rows were drawn
    for name in ("captured_by", "error"):
        assert np.array_equal(getattr(found.chance, name), getattr(expected.chance, name)), name
    for name in ("expected", "expected_pairs", "deviation", "deviation_pairs", "deviation_correlation"):
        np.testing.assert_allclose(getattr(found.chance, name), getattr(expected.chance, name), rtol=1e-6, atol=1e-9)


def test_for_which_rows_predictions_fail_is_counted_by_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, has, known = data(4321, 1)
    prototypes = fit_prototypes(rows, CLASSES, 3)
    test = written(shards(tmp_path, rows), NAMES, has, known)
    right = prototypes.classes[activated(rows.z, prototypes.centers)] == rows.labels

    def figures() -> GroupFigures:
        return group_figures(test, EmbeddingMetric(), prototypes, Local(), LEAST_IMAGES)

    found = figures()
    accuracy = metrics.group_accuracy(right, has, LEAST_IMAGES)
    beside = metrics.group_accuracy(rows.black_box == rows.labels, has, LEAST_IMAGES)
    assert found.beside is not None
    for one, other in ((found.accuracy, accuracy), (found.beside, beside)):
        assert all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ("groups", "images", "right"))
    assert found.of_all == pytest.approx(right.mean(), rel=1e-12)
    chance = metrics.group_chance(right, rows.labels, has, accuracy.groups)
    for name in ("expected", "deviation", "farthest"):
        np.testing.assert_allclose(getattr(found.chance, name), getattr(chance, name), rtol=1e-6)
    # other draws of the same distribution, where the rows are too many to be drawn at once
    monkeypatch.setattr("kmex_core.scale.attributes.DRAWN", 100)
    parts = figures().chance
    assert np.array_equal(parts.expected, found.chance.expected)
    assert not np.array_equal(parts.farthest, chance.farthest)
    many = metrics.group_chance(right, rows.labels, has, accuracy.groups, draws=2000, seed=9).farthest
    assert parts.farthest.mean() == pytest.approx(many.mean(), abs=4 * many.std() / np.sqrt(300))
    assert parts.limit == pytest.approx(np.quantile(many, 0.95), rel=0.1)


def test_attributes_are_written_once_and_again_when_they_change(tmp_path: Path) -> None:
    rows, has, known = data(1200, 2)
    embedding = shards(tmp_path, rows)
    with pytest.raises(InputError, match="have no attributes"):
        AttributeRows.open(embedding)
    first = written(embedding, NAMES, has, known)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "attributes").iterdir()}
    assert len(before) == len(embedding.parts) + 1
    assert written(embedding, NAMES, has, known).digest == first.digest
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "attributes").iterdir()}
    changed = written(embedding, NAMES, ~has & known, known)
    assert np.array_equal(np.concatenate([changed.part(part)[0] for part in range(3)]), ~has & known)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "damaged"),
        ('{"kmex": "x"}', "damaged"),
        ({"names": []}, "expected 1 to 10,000 names"),
        ({"names": ["a", "a"]}, "not different texts"),
        ({"names": [1]}, "not different texts"),
        ({"rows": 7}, "another number of rows"),
        ({"version": 9}, "version 1"),
    ],
)
def test_damaged_descriptions_are_refused(content: str | dict[str, object], message: str, tmp_path: Path) -> None:
    rows, has, known = data(600, 3)
    embedding = shards(tmp_path, rows)
    written(embedding, NAMES, has, known)
    path = tmp_path / "attributes" / "attributes.json"
    path.write_text(content if isinstance(content, str) else json.dumps(json.loads(path.read_text()) | content))
    with pytest.raises(InputError, match=message):
        AttributeRows.open(embedding)


def test_damaged_parts_are_refused(tmp_path: Path) -> None:
    rows, has, known = data(600, 3)
    embedding = shards(tmp_path, rows)
    attributes = written(embedding, NAMES, has, known)
    first, second = (tmp_path / "attributes" / f"part-{number:06d}.safetensors" for number in range(2))
    first.write_bytes(second.read_bytes())  # of another number of rows
    second.unlink()
    for number in range(2):
        with pytest.raises(InputError, match="missing or damaged"):
            attributes.part(number)


def table(count: int, seed: int, names: tuple[str, ...] = NAMES) -> pa.Table:
    rows, has, known = data(count, seed)
    flags = {name: pa.array(has[:, at], mask=~known[:, at]) for at, name in enumerate(names)}
    return pa.table({"embedding": list(rows.z), "label": rows.labels, "predicted": rows.black_box, **flags})


def test_boolean_columns_of_other_programs_are_attributes(store: Store, tmp_path: Path) -> None:
    folders = {"train": 30_000, "test": 900, "other": 300}
    for name, count in folders.items():
        (tmp_path / name).mkdir()
        names = NAMES if name != "other" else tuple(name.upper() for name in NAMES)
        pq.write_table(table(count, count, names), tmp_path / name / "rows.parquet")
    arguments = ["attributes", "--embeddings", str(tmp_path / "train"), "--k", "1:2", "--metric", "euclidean"]
    result = CliRunner().invoke(app, [*arguments, "--held-out", str(tmp_path / "test"), "--json"])
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    rows, has, known = data(30_000, 30_000)
    assert [row["k"] for row in answer["rows"]] == [1, 2]
    by_name = {row["attribute"]: row for row in answer["attributes"]}
    assert [by_name[name]["images"] for name in NAMES] == has.sum(0).tolist()
    assert by_name[NAMES[0]]["frequency"] == pytest.approx(has[:, 0].sum() / known[:, 0].sum())
    prototypes = fit_prototypes(rows, ("0", "1", "2"), 2)
    test, tested, _ = data(900, 900)
    right = prototypes.classes[activated(test.z, prototypes.centers)] == test.labels
    groups = {row["group"]: row for row in answer["accuracy"]}
    assert groups[NAMES[3]]["images"] == tested[:, 3].sum()
    assert groups[NAMES[3]]["accuracy"] == pytest.approx(right[tested[:, 3]].mean())
    shown = CliRunner().invoke(app, [*arguments, "--held-out", str(tmp_path / "test")])
    assert "Worst predicted groups of test images" in shown.output
    other = CliRunner().invoke(app, [*arguments, "--held-out", str(tmp_path / "other")])
    assert (other.exit_code, "has other attributes than" in other.stderr) == (2, True)
    model = CliRunner().invoke(app, [*arguments, "--own"])
    assert (model.exit_code, "are of a model" in model.stderr) == (2, True)
