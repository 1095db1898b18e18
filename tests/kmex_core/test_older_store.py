"""A store that version 0.1 has written is sound, and nothing in it is mistaken for a result of today."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from kmex_core.base.store import Store
from kmex_core.prototypes.source import BuiltIn, KMeans
from kmex_core.stages.subject import Subject, subject_of
from kmex_core.stages.upkeep import verify

OLDER = Path(__file__).parent / "store-0.1"
# what 0.1 called the embeddings of the demos' training images, whose networks are the same
EMBEDDINGS = {
    "digits": "e6e7e4d3668888dde16c",
    "faces": "1555bcb0fa3efdb2f5c5",
}


@pytest.fixture
def digits(tmp_path: Path) -> Subject:
    return subject_of(Store(shutil.copytree(OLDER, tmp_path / "cache")), "digits")


@pytest.mark.parametrize(("name", "key"), EMBEDDINGS.items())
def test_embeddings_have_the_names_they_had(name: str, key: str, tmp_path: Path) -> None:
    assert subject_of(Store(tmp_path), name).key == key


def test_results_of_earlier_definitions_are_not_taken_for_new_ones(digits: Subject) -> None:
    built_in = subject_of(digits.store, "digits-protovae").conversion(BuiltIn())
    assert not digits.conversion(KMeans(1)).exists()
    assert not digits.patches(KMeans(2)).exists()
    assert not digits.relevance_scores(KMeans(5), 40).exists()
    assert not built_in.exists()


def test_the_whole_store_is_sound(digits: Subject) -> None:
    found = verify(digits.store)
    assert not found.damaged
    assert not found.unknown
