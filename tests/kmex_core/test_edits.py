"""Edited prototypes: each operation, what is refused, and the same predictions whichever way they are computed."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from sklearn.cluster import KMeans as ReferenceKMeans

from kmex_core.base.errors import InputError
from kmex_core.prototypes.edits import (
    GONE,
    HIDDEN,
    EditedPrototypes,
    Images,
    Workbench,
    apply,
    assigned,
    in_order,
    reassigned,
    rebased,
    untouched,
)
from kmex_core.prototypes.operations import (
    Add,
    Hide,
    Merge,
    Move,
    Name,
    Note,
    Operation,
    Show,
    Split,
    described,
    operations_from,
    summary,
    words,
)
from kmex_core.prototypes.source import KMeans, Version

NAMES = ("cat", "dog", "owl")
RANDOM = np.random.default_rng(0)
# on whole numbers, so that many images are equally near to two prototypes
LABELS = RANDOM.integers(0, 3, 90)
Z = (RANDOM.integers(0, 3, (90, 3)) + 2 * LABELS[:, None]).astype(np.float32)
CENTERS = np.stack([Z[np.flatnonzero(label == LABELS)[number]] for label in range(3) for number in range(3)])
BASE = untouched(CENTERS, np.repeat(np.arange(3), 3))
BENCH = Workbench(Z, LABELS, NAMES)


def edited(*operations: Operation) -> EditedPrototypes:
    return apply(BASE, operations, BENCH)


def plainly(state: EditedPrototypes) -> tuple[np.ndarray, np.ndarray]:
    """The nearest shown prototype of each image and how far it is, without any of the engine's short cuts."""
    far = cdist(Z.astype(np.float64), state.shown_centers().astype(np.float64))
    return far.argmin(1), far.min(1)


# ---- operations ------------------------------------------------------------------------------------------------------


def test_hidden_prototypes_take_no_part_until_they_are_shown() -> None:
    hidden = edited(Hide(4))
    assert hidden.shown.tolist() == [0, 1, 2, 3, 5, 6, 7, 8]
    assert edited(Hide(4), Show(4)).members == BASE.members
    assert edited(Hide(3), Hide(4), Hide(5)).empty_classes(3) == [1]


def test_a_moved_prototype_is_one_of_its_new_class_where_it_was() -> None:
    moved = edited(Move(0, 2))
    assert moved.shown.tolist() == [1, 2, 3, 4, 5, 0, 6, 7, 8]
    assert moved.shown_classes().tolist() == [0, 0, 1, 1, 1, 2, 2, 2, 2]
    assert np.array_equal(moved.shown_centers()[5], CENTERS[0])


def test_merged_prototypes_are_their_mean_weighted_by_their_images() -> None:
    nearest, _ = plainly(BASE)
    weight = [int(((nearest == p) & (LABELS == 1)).sum()) for p in (3, 5)]
    merged = edited(Name(5, "spots"), Merge((3, 5)))
    assert merged.states[3] == merged.states[5] == GONE
    assert (merged.classes[9], merged.names[9]) == (1, "spots")
    np.testing.assert_allclose(
        merged.centers[9], (weight[0] * CENTERS[3] + weight[1] * CENTERS[5]) / sum(weight), rtol=1e-6
    )


def test_two_ghosts_merge_in_the_middle() -> None:
    far = untouched(np.array([[0, 0, 0], [90, 0, 0], [0, 90, 0]], dtype=np.float32), np.zeros(3, np.int64))
    assert apply(far, [Merge((1, 2))], BENCH).centers[3].tolist() == [45, 45, 0]


def test_a_split_is_2_means_of_the_images_of_its_class() -> None:
    nearest, _ = plainly(BASE)
    rows = Z[(nearest == 6) & (LABELS == 2)]
    split = edited(Split(6))
    assert split.states[6] == GONE
    assert split.classes[9:] == (2, 2)
    found = (cdist(rows, np.stack(split.centers[9:])) ** 2).min(1).sum()
    reference = min(ReferenceKMeans(2, n_init=1, random_state=seed).fit(rows).inertia_ for seed in range(20))
    assert found == pytest.approx(reference, rel=1e-5)
    again = edited(Hide(0), Name(1, "x"), Split(6))  # what else was edited does not change it
    assert np.array_equal(np.stack(again.centers[9:]), np.stack(split.centers[9:]))


def test_an_added_image_is_a_prototype_of_its_own_class_or_of_another() -> None:
    added = edited(Add(17), Add(18, 2))
    assert added.classes[9:] == (LABELS[17], 2)
    assert np.array_equal(np.stack(added.centers[9:]), Z[17:19])


def test_names_and_notes_are_text_and_can_go_again() -> None:
    named = edited(Name(1, "<b>ears</b>"), Note(1, "a\nb"), Hide(1), Name(2, "x"), Name(2, ""))
    assert (named.names[1], named.notes[1], named.names[2]) == ("<b>ears</b>", "a\nb", "")


@pytest.mark.parametrize(
    ("operations", "why"),
    [
        ([Hide(9)], "no prototype 9"),
        ([Hide(1), Hide(1)], "is hidden"),
        ([Show(1)], "is shown, so it cannot be shown again"),
        ([Hide(p) for p in range(9)], "last one that is shown"),
        ([Merge((0, 3))], "Only prototypes of one class"),
        ([Merge((0, 1)), Split(0)], "is gone"),
        ([Merge((0, 1)), Show(0)], "is gone"),
        ([Move(0, 3)], "no class 3"),
        ([Move(0, 0)], "already"),
        ([Add(90)], "no training image 90"),
        ([Add(0, 7)], "no class 7"),
        ([Add(5), Hide(1), Name(11, "x")], "Edit 3"),
    ],
)
def test_what_is_not_possible_is_refused_with_a_sentence(operations: list[Operation], why: str) -> None:
    with pytest.raises(InputError, match=why):
        edited(*operations)


@pytest.mark.parametrize("same", [True, False])
def test_a_prototype_without_different_images_cannot_be_split(same: bool) -> None:
    z = np.zeros((3, 2), np.float32) if same else np.array([[0, 0], [9, 9], [9, 9]], np.float32)
    bench = Workbench(z, np.array([0, 1, 1]) if not same else np.zeros(3, np.int64), NAMES)
    with pytest.raises(InputError, match="same embedding" if same else "1 training image of its class"):
        apply(untouched(np.zeros((1, 2), np.float32), np.zeros(1)), [Split(0)], bench)


# ---- predictions -----------------------------------------------------------------------------------------------------

numbers = st.integers(0, 14)
any_operation = st.one_of(
    st.builds(Hide, numbers),
    st.builds(Show, numbers),
    st.builds(Move, numbers, st.integers(0, 2)),
    st.builds(Merge, st.tuples(numbers, numbers).filter(lambda pair: pair[0] != pair[1])),
    st.builds(Split, numbers),
    st.builds(Add, st.integers(0, 89), st.one_of(st.none(), st.integers(0, 2))),
)


def possible(operations: list[Operation]) -> list[tuple[Operation, EditedPrototypes]]:
    """The operations that are possible after one another, each with its outcome."""
    state, done = BASE, []
    for operation in operations:
        try:
            state = apply(state, [operation], BENCH)
        except InputError:
            continue
        done.append((operation, state))
    return done


@settings(max_examples=60, deadline=None)
@given(st.lists(any_operation, max_size=14), st.data())
def test_predictions_are_those_of_a_plain_computation_whatever_was_known_before(
    operations: list[Operation], data: st.DataObject
) -> None:
    images, known = Images(Z), [assigned(BASE, Images(Z))]
    for _, state in possible(operations):
        found = reassigned(data.draw(st.sampled_from(known)), state, images)
        nearest, low = plainly(state)
        assert np.array_equal(found.nearest, nearest)
        np.testing.assert_allclose(found.low, low, rtol=1e-6, atol=0)
        assert np.array_equal(found.predicted, state.shown_classes()[nearest])
        known.append(found)


@given(st.lists(st.integers(-1, 5), max_size=8))
def test_as_many_prototypes_as_possible_stayin_order(places: list[int]) -> None:
    def rises(chosen: tuple[int, ...]) -> bool:
        return min(chosen, default=0) >= 0 and list(chosen) == sorted(chosen)

    kept = in_order(np.array(places, dtype=np.int32))
    assert rises(tuple(place for place, stays in zip(places, kept, strict=True) if stays))
    subsets = (chosen for size in range(len(places) + 1) for chosen in itertools.combinations(places, size))
    assert kept.sum() == max(len(chosen) for chosen in subsets if rises(chosen))


@settings(max_examples=60, deadline=None)
@given(st.lists(any_operation, max_size=10))
def test_undo_is_a_prefix_and_json_says_the_same(operations: list[Operation]) -> None:
    done = possible(operations)
    kept = tuple(operation for operation, _ in done)
    assert operations_from(json.loads(json.dumps(described(kept)))) == kept
    for length, (_, state) in enumerate(done, 1):
        again = apply(BASE, kept[:length], BENCH)
        assert (again.members, again.states) == (state.members, state.states)
    assert words(kept[-1], NAMES).endswith(".") if kept else summary(kept) == "nothing"


@given(st.permutations([Hide(0), Hide(4), Move(7, 0), Name(2, "x")]))
@settings(max_examples=24, deadline=None)
def test_the_order_of_independent_edits_does_not_matter(operations: list[Operation]) -> None:
    one, other = edited(*operations), edited(Hide(0), Hide(4), Move(7, 0), Name(2, "x"))
    assert (one.members, one.names) == (other.members, other.names)


def test_edits_of_a_version_go_on_where_it_ended() -> None:
    earlier = (Hide(1), Add(17, 0), Split(6))
    state = edited(*earlier)
    # as the version shows them: 0, 2, then the added one, 3 …; its first new one comes after those
    more = (Hide(2), Add(5), Move(len(state.shown), 1), Merge((0, 1)))
    every = (*earlier, *rebased(state, more))
    again = apply(untouched(state.shown_centers(), state.shown_classes()), more, BENCH)
    assert np.array_equal(edited(*every).shown_centers(), again.shown_centers())
    assert every[3:6] == (Hide(9), Add(5), Move(12, 1))


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_no_image_is_nearer_than_its_bound(seed: int) -> None:
    random = np.random.default_rng(seed)
    scale = 10.0 ** random.integers(-3, 4)
    z = ((random.standard_normal((50, 64)) + random.integers(0, 50)) * scale).astype(np.float32)
    bounds = Images(z).lower_bounds(z[:5])
    assert (bounds <= cdist(z[:5].astype(float), z.astype(float)) ** 2).all()
    rows, far = Images(z).nearest(z[0], bounds[0], np.arange(1, 50), 7)
    exact = np.linalg.norm(z.astype(float) - z[0], axis=1)
    assert np.array_equal(rows, 1 + np.argsort(exact[1:].astype(np.float32), kind="stable")[:7])
    np.testing.assert_allclose(far, exact[rows], rtol=1e-6)


# ---- JSON ------------------------------------------------------------------------------------------------------------

DEEP: Any = []
for _ in range(50):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    "said",
    [
        None, 3, "hide", {}, {"op": "hide", "p": 3}, [3], [None], [[]], [{}], [{"op": 3}], [{"op": "eval", "p": 0}],
        [{"op": "hide"}], [{"op": "hide", "p": -1}], [{"op": "hide", "p": 1.5}], [{"op": "hide", "p": "1"}],
        [{"op": "hide", "p": True}], [{"op": "hide", "p": 10**30}], [{"op": "hide", "p": 1, "class": 2}],
        [{"op": "merge", "p": 3}], [{"op": "merge", "p": [1]}], [{"op": "merge", "p": [1, 1]}],
        [{"op": "merge", "p": [1, 2, 3]}], [{"op": "merge", "p": [1, None]}], [{"op": "move", "p": 1}],
        [{"op": "add"}], [{"op": "add", "image": 1, "class": "cat"}], [{"op": "name", "p": 1}],
        [{"op": "name", "p": 1, "name": 7}], [{"op": "name", "p": 1, "name": "x" * 81}],
        [{"op": "name", "p": 1, "name": "\ud800"}], [{"op": "note", "p": 1, "note": "a\0"}],
        [{"op": "note", "p": 1, "note": "x" * 2001}], [{"op": "hide", "p": 0}] * 501, [{"op": "hide", "p": DEEP}],
        [{"op": "hide", "p": 0, "__class__": "x"}],
    ],
)  # fmt: skip
def test_json_that_is_no_list_of_edits_is_refused_with_a_sentence(said: Any) -> None:
    with pytest.raises(InputError, match=r"[.:] ?"):
        operations_from(said)


def test_texts_are_tidied_and_none_is_no_class() -> None:
    said = [{"op": "name", "p": 1, "name": "  a\n b "}, {"op": "add", "image": 3}]
    assert operations_from(said) == (Name(1, "a b"), Add(3))


# ---- words and keys --------------------------------------------------------------------------------------------------


def test_edits_in_words() -> None:
    every = (
        Hide(1),
        Hide(2),
        Show(2),
        Move(3, 1),
        Merge((4, 5)),
        Split(6),
        Add(7, 2),
        Add(8),
        Name(0, "x"),
        Note(0, "y"),
    )
    assert summary(every) == "1 prototype hidden, 1 moved, 1 merged pair, 1 split, 2 added, 1 named, 1 annotated"
    assert summary((Split(1), Split(2))) == "2 prototypes split"
    assert summary((Merge((1, 2)),)) == "1 merged pair"
    assert [words(each, NAMES) for each in every[3:7]] == [
        "Moved prototype 3 to class 'dog'.",
        "Merged prototypes 4 and 5.",
        "Split prototype 6.",
        "Added training image 7 as a prototype of class 'owl'.",
    ]


def test_a_version_has_a_key_of_its_own_and_leaves_that_of_its_base() -> None:
    base = KMeans(5)
    key = base.spec("embedding").key
    one, other = (Version("v", base, (Hide(p),)) for p in (1, 2))
    assert len({key, one.spec("embedding").key, other.spec("embedding").key}) == 3
    assert Version("another name", base, (Hide(1),)).spec("embedding").key == one.spec("embedding").key
    assert "edits" not in base.spec("embedding").described()


def test_hidden_prototypes_can_be_named_but_not_split() -> None:
    assert edited(Hide(1), Name(1, "x")).states[1] == HIDDEN
    with pytest.raises(InputError, match="hidden"):
        edited(Hide(1), Split(1))
