"""Pictures that browsers send: kept in memory within limits, refused with a sentence."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.workspace import pictures
from app.workspace.answer import Gone
from app.workspace.bounded import Bounded
from kmex_core.base.errors import InputError
from kmex_core.base.specs import DatasetSpec
from kmex_core.data import registry as datasets
from tests.helpers.pictures import bomb, encoded


@pytest.fixture(autouse=True)
def _empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "_kept", Bounded(3, 1000, lambda shown: shown.pixels.nbytes))


def grey(value: int, side: int = 5) -> bytes:
    return encoded(np.full((side, side), value, np.uint8))


DATA = datasets.load(DatasetSpec("digits"))


def test_a_picture_that_was_sent_is_there_by_its_digest() -> None:
    shown = pictures.keep_picture(grey(7), "a/<b>\x1b[31m.png")
    again = pictures.picture_of(DATA, shown.picture)
    assert again is shown
    assert again.title == "a/<b>␛[31m.png"  # text, whatever it is
    np.testing.assert_array_equal(again.pixels, np.full((5, 5), 7))
    assert pictures.keep_picture(grey(7), "a/<b>\x1b[31m.png") is shown  # not decoded again
    renamed = pictures.keep_picture(grey(7), "")
    assert (renamed.title, renamed.picture) == ("Your picture", shown.picture)
    assert len(pictures.keep_picture(grey(7), "x" * 10_000).title) == pictures.NAME


def test_the_oldest_picture_goes_and_is_missed_with_a_sentence() -> None:
    first, *_ = [pictures.keep_picture(grey(value), "a.png").picture for value in range(4)]
    with pytest.raises(Gone, match="The server no longer has this picture; drop it again"):
        pictures.picture_of(DATA, first)
    large = pictures.keep_picture(grey(9, 31), "large.png").picture  # 961 of 1,000 bytes
    pictures.picture_of(DATA, large)
    assert (len(pictures._kept), pictures._kept.bytes) == (2, 986)


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "empty"), (b"hello", "not a readable picture"), (bomb(20_000, 20_000), "the limit is 40 million"),
     (grey(3, 90)[:70], "damaged or truncated")],
)  # fmt: skip
def test_what_is_no_picture_gets_a_sentence_and_is_not_kept(content: bytes, words: str) -> None:
    with pytest.raises(InputError, match=words):
        pictures.keep_picture(content, "x.png")
    assert len(pictures._kept) == 0


def test_images_of_the_data_set_have_names() -> None:
    shown = pictures.picture_of(DATA, "test-3")
    assert (shown.title, shown.label) == ("Test image 3", int(DATA.split("test").labels[3]))
    np.testing.assert_array_equal(shown.pixels, DATA.split("test").image(3))
    assert pictures.picture_of(DATA, "train-0").title == "Training image 0"
    with pytest.raises(Gone, match="Test images are numbered 0 to 499"):
        pictures.picture_of(DATA, "test-500")


@pytest.mark.parametrize("text", ["", "validation-3", "test--1", "test-1.5", "../../etc", "test-٣", "A" * 32, "0" * 33])
def test_other_texts_name_no_picture(text: str) -> None:
    with pytest.raises(InputError, match="Unknown picture"):
        pictures.picture_of(DATA, text)


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 60)), max_size=40))
def test_what_is_kept_stays_within_its_bounds(puts: list[tuple[int, int]]) -> None:
    """Against a list that is searched: what was used last, as much as fits."""
    bounded: Bounded[int] = Bounded(4, 100, lambda size: size)
    used: list[tuple[int, int]] = []
    for key, size in puts:
        bounded.put(key, size)
        used = [(other, bytes_) for other, bytes_ in used if other != key] + [(key, size)]
        while len(used) > 4 or sum(bytes_ for _, bytes_ in used) > 100:
            used.pop(0)
        assert (len(bounded), bounded.bytes) == (len(used), sum(bytes_ for _, bytes_ in used))
    assert [bounded.get(key) for key, _ in used] == [size for _, size in used]


def test_what_is_asked_for_at_once_is_made_once_and_failures_are_not_kept() -> None:
    bounded: Bounded[int] = Bounded(4, 100, lambda _: 1)
    made: list[int] = []
    begun = threading.Event()

    def slow() -> int:
        begun.wait(5)
        made.append(1)
        return 42

    results: list[int] = []
    threads = [threading.Thread(target=lambda: results.append(bounded.made("a", slow))) for _ in range(5)]
    for thread in threads:
        thread.start()
    begun.set()
    for thread in threads:
        thread.join()
    assert (results, made) == ([42] * 5, [1])
    with pytest.raises(ZeroDivisionError):
        bounded.made("b", lambda: 1 // 0)
    assert bounded.made("b", lambda: 7) == 7
