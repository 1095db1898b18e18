from __future__ import annotations

import numpy as np
import pytest

from kmex_core.base.specs import DatasetSpec
from kmex_core.data import registry as datasets
from kmex_core.data.sources.face_painter import HAIR
from kmex_core.data.sources.faces import ATTRIBUTES, CLASSES, EYEWEAR, HEADWEAR, NECKWEAR, FaceSplit, cells, frequencies

MANY = 60_000


@pytest.fixture(scope="module")
def many() -> FaceSplit:
    return FaceSplit(MANY, [7])


def share(split: FaceSplit, name: str) -> float:
    return float(split.attributes[:, ATTRIBUTES.index(name)].mean())


def test_the_data_set_is_registered_with_its_attributes() -> None:
    data = datasets.load(DatasetSpec("faces"))
    assert data.class_names == CLASSES
    assert len(data.split("train")) == 6000
    assert len(data.split("test")) == 2000
    assert data.split("train").attribute_names == ATTRIBUTES
    assert data.split("train").attributes.shape == (6000, 30)
    assert data.pixels("test", [0, 5]).shape == (2, 3, 64, 64)


def test_every_attribute_is_as_frequent_as_promised(many: FaceSplit) -> None:
    for name, expected in frequencies().items():
        wide = 4.5 * np.sqrt(expected * (1 - expected) / MANY)
        assert abs(share(many, name) - expected) < wide, name


def test_frequencies_by_hand() -> None:
    found = frequencies()
    assert found["Dark_Skin"] == pytest.approx(0.3)
    assert found["Smile"] == pytest.approx(0.3 * 0.65 + 0.4 * 0.5 + 0.3 * 0.45)
    assert found["Bald"] == pytest.approx(0.5 * (0.4 * 0.08 + 0.3 * 0.35))
    assert found["Grey_Hair"] == pytest.approx(0.4 * 0.06 * (0.5 + 0.5 * 0.92) + 0.3 * 0.75 * (0.5 + 0.5 * 0.65))
    assert sum(found[name] for name in HAIR) == pytest.approx(1 - found["Bald"])
    assert sum(0.01 <= value <= 0.05 for value in found.values()) >= 5  # rare ones
    assert sum(cell.share for cell in cells()) == pytest.approx(1)


def test_attributes_go_together(many: FaceSplit) -> None:
    column = dict(zip(ATTRIBUTES, many.attributes.T, strict=True))
    for group in (HAIR, EYEWEAR, HEADWEAR, NECKWEAR):
        assert many.attributes[:, [ATTRIBUTES.index(name) for name in group]].sum(1).max() == 1
    assert not column["Beard"][many.labels == 0].any()
    assert not (column["Bald"] & (column["Long_Hair"] | column["Grey_Hair"] | column["Hair_Bow"])).any()
    assert np.corrcoef(column["Lipstick"], column["Earrings"])[0, 1] > 0.2
    assert np.corrcoef(column["Grey_Hair"], many.labels == 2)[0, 1] > 0.6


def test_equal_seeds_give_equal_faces_and_others_others() -> None:
    one, same, other = FaceSplit(20, [1]), FaceSplit(20, [1]), FaceSplit(20, [2])
    np.testing.assert_array_equal(list(one.images(range(20))), list(same.images(range(20))))
    assert (np.stack(list(one.images(range(20)))) != np.stack(list(other.images(range(20))))).any(axis=(1, 2, 3)).all()
    np.testing.assert_array_equal(one.image(7), next(iter(one.images([7]))))


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_every_attribute_can_be_seen(name: str) -> None:
    split = FaceSplit(12, [3])
    plain = "Black_Hair" if name == "Blond_Hair" else "Blond_Hair"
    split.attributes[:] = [other == plain for other in ATTRIBUTES]
    without = np.stack(list(split.images(range(12)))).astype(int)
    split.attributes[:, ATTRIBUTES.index(plain)] = name not in HAIR
    split.attributes[:, ATTRIBUTES.index(name)] = True
    changed = np.abs(np.stack(list(split.images(range(12)))).astype(int) - without).max(-1) > 24
    assert (changed.sum((1, 2)) >= 6).all()
