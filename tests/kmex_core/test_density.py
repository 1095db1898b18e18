"""Density tiles, held against plain histograms of the places of all images."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kmex_core.analysis.projection import place
from kmex_core.base.errors import InputError
from kmex_core.prototypes.metric import fit_metric
from kmex_core.scale import density, tiles
from kmex_core.scale.density import DensityMap, rows_at
from kmex_core.scale.engine import Local
from kmex_core.scale.parts import Block
from kmex_core.scale.sharded import ShardedEmbedding
from kmex_core.scale.sweep import sharded_sweep
from kmex_core.scale.tiles import BINS, ENTRY, Square
from tests.helpers.sharded import CLASSES, fitted, small, swept


@pytest.fixture
def made(tmp_path: Path) -> DensityMap:
    density_map = fitted(small(tmp_path / "e"))
    density_map.make(Local())
    return density_map


def joined(embedding: ShardedEmbedding) -> Block:
    return Block.joined(list(embedding.blocks()), embedding.dimensions)


def level_of(density_map: DensityMap, level: int) -> dict[str, np.ndarray]:
    """The whole of a level, (C, rows, columns) of each column of its tiles, put together from the files."""
    across = BINS * 2**level
    found = {name: np.zeros((CLASSES, across, across), np.int64) for name in ("count", "wrong", "example")}
    found["example"] -= 1
    for path in (density_map.folder / str(level)).glob("*.gz"):
        column, row = map(int, path.stem.split("-"))
        tile = tiles.read_tile(path.read_bytes())
        at = tile["label"], row * BINS + tile["place"] // BINS, column * BINS + tile["place"] % BINS
        for name, whole in found.items():
            assert (whole[at] <= 0).all(), "two entries of one bin and class"
            whole[at] = tile[name]
    return found


def test_every_level_is_the_histogram_of_the_places(made: DensityMap) -> None:
    block = joined(made.embedding)
    places = place(made.fitted, block.z)
    square, found = made.square, made.peek()
    assert found is not None
    wrong = block.black_box != block.labels
    for level in range(made.finest + 1):
        edges = [np.linspace(start, start + square.side, BINS * 2**level + 1) for start in (square.x, square.y)]
        stored = level_of(made, level)
        for label in range(CLASSES):
            own = block.labels == label
            for name, rows in (("count", own), ("wrong", own & wrong)):
                expected, _, _ = np.histogram2d(places[rows, 0], places[rows, 1], bins=edges)
                np.testing.assert_array_equal(stored[name][label], expected.T)
        assert stored["count"].sum(0).max() == found.most[level]
        assert len(found.present[level]) == len(list((made.folder / str(level)).iterdir()))
    assert found.rows == len(block)
    assert found.counts == tuple(np.bincount(block.labels, minlength=CLASSES))
    assert found.wrong == tuple(np.bincount(block.labels, wrong, CLASSES).astype(int))


def test_a_bin_names_the_first_of_its_images(made: DensityMap) -> None:
    block = joined(made.embedding)
    places, square = place(made.fitted, block.z).astype(float), made.square
    stored = level_of(made, 1)["example"]
    across = 2 * BINS
    bins = ((places - [square.x, square.y]) / square.side * across).astype(int)
    for label, row, column in np.argwhere(stored >= 0)[::17]:
        members = (bins == [column, row]).all(1) & (block.labels == label)
        assert stored[label, row, column] == block.index[members].min()


def test_counts_add_up_in_any_order_and_grouping() -> None:
    random = np.random.default_rng(0)
    several = []
    for _ in range(4):
        entries = np.zeros(50, ENTRY)
        entries["code"], entries["count"] = random.integers(0, 40, 50), random.integers(1, 9, 50)
        entries["wrong"], entries["example"] = random.integers(0, 2, 50), random.integers(0, 2**32 - 1, 50)
        several.append(entries)
    a, b, c, d = several
    whole = tiles.merged(several)
    assert (np.diff(whole["code"].astype(int)) > 0).all()
    for other in (
        tiles.merged([d, c, b, a]),
        tiles.merged([tiles.merged([a, b]), tiles.merged([c, d])]),
        tiles.merged([a, tiles.merged([b, tiles.merged([c, tiles.merged([d])])])]),
        tiles.merged([whole, np.empty(0, ENTRY)]),
    ):
        np.testing.assert_array_equal(whole, other)
    assert whole["count"].sum() == sum(entries["count"].sum() for entries in several)


def test_places_on_the_curve_lead_back() -> None:
    random = np.random.default_rng(1)
    column, row = random.integers(0, 2**31, (2, 1000)).astype(np.uint64)
    for back, given in zip(tiles.on_curve(tiles.curve(column, row)), (column, row), strict=True):
        np.testing.assert_array_equal(back, given)
    quarter = tiles.curve(np.arange(4) % 2, np.arange(4) // 2)
    assert quarter.tolist() == [0, 1, 2, 3], "the four bins of a coarser one follow each other"


def test_what_was_counted_is_not_counted_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    embedding = small(tmp_path / "e")
    other = fitted(small(tmp_path / "other"))
    other.make(Local())
    interrupted = fitted(embedding)
    for number in (3, 1):  # by a worker, in any order
        interrupted.count(number)
    (interrupted.folder / "counts" / "000001.npy").write_bytes(b"half a file")
    real = ShardedEmbedding.block
    counted: list[int] = []

    def noted(self: ShardedEmbedding, number: int) -> Block:
        counted.append(number)
        return real(self, number)

    monkeypatch.setattr(ShardedEmbedding, "block", noted)
    interrupted.make(Local())
    assert counted == [0, 1, 2, 4]
    names = sorted(path.relative_to(other.folder) for path in other.folder.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(interrupted.folder) for path in interrupted.folder.rglob("*.*"))
    for name in {*names} - {Path(density.FIT)}:
        assert (interrupted.folder / name).read_bytes() == (other.folder / name).read_bytes(), name
    interrupted.make(Local())
    assert len(counted) == 4, "all is there"


def test_prototypes_are_placed_where_their_centers_are(made: DensityMap) -> None:
    sweep = swept(made.embedding, 3)
    assert made.peek_prototypes(sweep) is None
    found = made.place_prototypes(sweep)
    np.testing.assert_array_equal(found.places, place(made.fitted, sweep.centers))
    assert not found.far.any()
    again = made.peek_prototypes(sweep)
    assert again is not None
    np.testing.assert_array_equal(again.places, found.places)
    rows = np.array([2999, 0, 701, 700])
    np.testing.assert_array_equal(rows_at(made.embedding, rows), joined(made.embedding).z[rows])


@pytest.mark.parametrize("name", ["whitened", "cosine"])
def test_prototypes_of_other_metrics_are_placed_where_their_centers_are(made: DensityMap, name: str) -> None:
    """Mapped back to the embedding; only where an earlier version kept the metric's name alone, by their exemplars."""
    block = joined(made.embedding)
    metric = fit_metric(name, block.z, block.labels)
    sweep = sharded_sweep(made.embedding, metric, [2], 0, Local(), 2**30)
    found = made.place_prototypes(sweep)
    np.testing.assert_array_equal(found.places, place(made.fitted, metric.back(sweep.centers)))
    before = dataclasses.replace(sweep, matrix=None, shrinkage=None, length=None)
    assert made.peek_prototypes(before) is None, "one is not taken for the other"
    by_exemplars = made.place_prototypes(before)
    np.testing.assert_array_equal(by_exemplars.places, place(made.fitted, block.z[sweep.exemplars[:, 0]]))
    assert not np.array_equal(by_exemplars.places, found.places)
    again = made.peek_prototypes(sweep)
    assert again is not None
    np.testing.assert_array_equal(again.places, found.places)


def test_one_place_for_all_images_is_a_map(tmp_path: Path) -> None:
    """Every image in one bin: the square has a side, and the bin all images."""
    assert Square(0.0, 0.0, 1e-6).bins(np.zeros((2, 2)), 6)[0].tolist() == [0, 0]
    column, row = Square(0.0, 0.0, 1.0).bins(np.array([[1.0, -5.0]]), 0)
    assert (column.tolist(), row.tolist()) == ([BINS - 1], [0]), "what is beside it is at its edge"


BROKEN: dict[str, Callable[[dict[str, Any]], object]] = {
    "another kind": lambda given: given | {"kmex": "other"},
    "a list": lambda given: [given],
    "no levels": lambda given: given | {"finest": -1},
    "many levels": lambda given: given | {"finest": 40},
    "a tile that cannot be": lambda given: given | {"present": [[1], *given["present"][1:]]},
    "classes": lambda given: given | {"counts": given["counts"][1:]},
    "a name of no class": lambda given: given | {"names": [[99, 0.0, 0.0]]},
    "a text for a number": lambda given: given | {"rows": "9"},
    "no size": lambda given: given | {"square": {"x": 0, "y": 0, "side": 0}},
    "infinity": lambda given: given | {"trustworthiness": float("inf")},
}


@pytest.mark.parametrize("change", BROKEN.values(), ids=BROKEN.keys())
def test_a_damaged_description_is_refused_and_made_again(
    made: DensityMap, change: Callable[[dict[str, Any]], object]
) -> None:
    path = made.folder / tiles.MAP
    before = made.peek()
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(InputError, match="is damaged or was not written by this program"):
        made.peek()
    assert made.make(Local()) == before
