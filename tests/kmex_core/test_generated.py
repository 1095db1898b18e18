"""Generated embeddings: rows and pictures are functions of their numbers, whatever was made before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kmex_core.base.errors import InputError
from kmex_core.scale import generated
from kmex_core.scale.generated import drawn, identity, picture, rows_of, world
from kmex_core.scale.parts import PART_ROWS
from kmex_core.scale.sharded import ShardWriter

PLACE = world(3, 4, 6)


def test_fewer_rows_are_the_first_of_more() -> None:
    whole, first = rows_of(2, 500, 3, PLACE), rows_of(2, 120, 3, PLACE)
    for many, few in zip(whole, first, strict=True):
        np.testing.assert_array_equal(many[:120], few)
    assert not np.array_equal(whole[0], rows_of(1, 500, 3, PLACE)[0])


def test_an_interrupted_run_continues_to_the_same_rows(tmp_path: Path) -> None:
    rows = PART_ROWS + 50
    made = generated.generated(tmp_path / "a", rows, 6, 4, 3)
    writer = ShardWriter(  # one part of it, and no more
        tmp_path / "b", 6, generated.class_names(4), {}, name="b", spec={"kind": generated.KIND, "seed": 3}
    )
    writer.add(*rows_of(0, PART_ROWS, 3, PLACE))
    before = (tmp_path / "b" / "part-000000.parquet").stat().st_mtime_ns
    again = generated.generated(tmp_path / "b", rows, 6, 4, 3)
    assert (tmp_path / "b" / "part-000000.parquet").stat().st_mtime_ns == before
    assert [part.digest for part in again.parts] == [part.digest for part in made.parts]
    assert again.rows == rows
    np.testing.assert_array_equal(again.block(1).z, rows_of(1, 50, 3, PLACE)[0])
    with pytest.raises(InputError, match="more than 10"):
        generated.generated(tmp_path / "b", 10, 6, 4, 3)


def test_rows_are_what_they_are_said_to_be() -> None:
    numbers = np.arange(200_000)
    each = identity(numbers, 3, PLACE)
    shares = np.bincount(each.group, minlength=len(PLACE.share)) / len(numbers)
    np.testing.assert_allclose(shares, PLACE.share, atol=0.005)
    own = PLACE.label[each.group]
    expected = generated.MISLABELLED + (PLACE.share * PLACE.confused).sum()
    assert abs((each.label != own).mean() - expected) < 0.001
    assert abs((each.towards > 0).mean() - generated.BETWEEN) < 0.002
    assert ((each.black_box != own) == (each.towards > 0.5)).all()
    z, _, _ = rows_of(0, PART_ROWS, 3, PLACE)
    part = identity(np.arange(PART_ROWS), 3, PLACE)
    for group in range(len(PLACE.label)):  # rows lie around their group
        members = (part.group == group) & (part.towards == 0)
        np.testing.assert_allclose(z[members].mean(0), PLACE.centre[group], atol=0.25)


def test_a_picture_shows_class_and_group() -> None:
    images = {"kind": generated.KIND, "seed": 3, "side": 24}
    each = identity(np.arange(40), 3, PLACE)
    for number in range(40):
        label = int(PLACE.label[each.group[number]])
        within = int(each.group[number] - np.searchsorted(PLACE.label, label))
        shown = picture(images, 4, number)
        np.testing.assert_array_equal(shown, drawn(3, label, within, number, 24, 4))
        assert shown.shape == (24, 24, 3)
        assert shown.dtype == np.uint8
    # the dots below are as many as the group's number, from 1
    for group in range(5):
        dark = drawn(0, 1, group, 7, 96, 4)[84].sum(1) < 3 * 90
        assert np.diff(dark.astype(int), prepend=0).clip(0).sum() == group + 1
    assert not np.array_equal(drawn(0, 1, 0, 7, 24, 4), drawn(0, 2, 0, 7, 24, 4))
    assert not np.array_equal(drawn(0, 1, 0, 7, 24, 4), drawn(0, 1, 0, 8, 24, 4))


@pytest.mark.parametrize(
    "images",
    [None, {}, {"kind": "dataset"}, {"kind": "generated", "seed": -1, "side": 32}, {"kind": "generated", "seed": True,
     "side": 32}, {"kind": "generated", "seed": 0, "side": 10**9}, {"kind": "generated", "seed": "0", "side": 32}],
)  # fmt: skip
def test_what_a_manifest_says_of_pictures_may_be_anything(images: dict[str, object] | None) -> None:
    assert not generated.is_generated(images)


@pytest.mark.parametrize("sizes", [(0, 6, 4, 0), (2**32, 6, 4, 0), (10, 1, 4, 0), (10, 6, 1, 0), (10, 6, 4, -1)])
def test_sizes_out_of_range_are_refused(sizes: tuple[int, int, int, int], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="A generated embedding has"):
        generated.generated(tmp_path / "e", *sizes)
    assert not (tmp_path / "e").exists()
