"""A store that version 0.1 has written opens without computing anything again."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from kmex_core.base.artifact import Artifact
from kmex_core.base.store import Store
from kmex_core.prototypes.source import BuiltIn, KMeans
from kmex_core.stages.subject import Subject, subject_of
from kmex_core.stages.upkeep import verify

OLDER = Path(__file__).parent / "store-0.1"
# what 0.1 called the embeddings of the demos' training images
EMBEDDINGS = {
    "digits": "e6e7e4d3668888dde16c",
    "faces": "1555bcb0fa3efdb2f5c5",
    "digits-flint": "4f38df811964acd3f494",
    "digits-protopnet": "04316151fd029d38a448",
    "digits-protovae": "268d474e271b93f2d734",
}


@pytest.fixture
def digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Subject:
    root = shutil.copytree(OLDER, tmp_path / "cache")
    for kind in (each for each in Artifact.__subclasses__() if each.__module__.startswith("kmex_core.")):
        monkeypatch.setattr(kind, "make", lambda _: pytest.fail("it was computed again"))
    return subject_of(Store(root), "digits")


@pytest.mark.parametrize(("name", "key"), EMBEDDINGS.items())
def test_embeddings_have_the_names_they_had(name: str, key: str, tmp_path: Path) -> None:
    assert subject_of(Store(tmp_path), name).key == key


def test_prototypes_are_read(digits: Subject) -> None:
    converted = digits.conversion(KMeans(1)).get()
    assert converted.prototypes.classes.tolist() == list(range(10))
    assert converted.summary == digits.conversion(KMeans(1)).summary()
    assert converted.summary.images == len(converted.test_predicted) == 500


def test_patches_are_read(digits: Subject) -> None:
    found = digits.patches(2).get()
    assert np.bincount(found.prototypes.classes).tolist() == [2] * 10
    assert 0.5 < found.accuracy <= 1


def test_scores_of_maps_are_read(digits: Subject) -> None:
    scores = digits.relevance_scores(KMeans(5), 40).get()
    assert len(scores) == 40
    assert 0 <= scores.conserving <= 1


def test_built_in_prototypes_are_read(digits: Subject) -> None:
    own = subject_of(digits.store, "digits-protovae")
    assert own.conversion(BuiltIn()).get().summary.agreement == 1


def test_the_whole_store_is_sound(digits: Subject) -> None:
    found = verify(digits.store)
    assert not found.damaged
    assert not found.unknown
