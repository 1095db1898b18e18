"""Versions: what edits do to predictions, what is saved, and how a version is used like any other source."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from typer.testing import CliRunner

from kmex_core.analysis.edit_scores import HALF, VALIDATION, Part, edit_scores, scored_rows
from kmex_core.base.errors import InputError, StoreError
from kmex_core.base.store import READ_ONLY, Store
from kmex_core.commands import app
from kmex_core.data.dataset import ArraySplit
from kmex_core.models import catalogue
from kmex_core.models.portable import _compare
from kmex_core.networks.types import NO_CLASS
from kmex_core.prototypes.operations import Add, Hide, Merge, Move, Name, Note, Operation, Split
from kmex_core.prototypes.source import BuiltIn, KMeans, PrototypeSource, Version
from kmex_core.stages import edits, upkeep, versions
from kmex_core.stages.edits import EditSession, edits_of
from kmex_core.stages.subject import Subject, subject_of

NAMES = ("cat", "dog")
BASE = KMeans(5)
EVERY = (Hide(0), Split(10), Merge((20, 21)), Add(17), Move(5, 3), Name(7, "a *b*"), Note(7, "why"), Add(30, 1))


@pytest.fixture
def subject(demo: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Subject:
    """The demo in a store of its own, in which the digits are converted."""
    root = tmp_path / "store"
    for room in ("embeddings", "prototypes", "sweeps", "geometry"):
        if (demo.root / room).is_dir():
            shutil.copytree(demo.root / room, root / room)
    monkeypatch.setenv("KMEX_CACHE", str(root))
    return subject_of(Store(root), "digits")


# ---- scores ----------------------------------------------------------------------------------------------------------


def split_of(labels: np.ndarray, attributes: np.ndarray) -> ArraySplit:
    split = ArraySplit(np.zeros((len(labels), 2, 2), np.uint8), labels)
    split.attributes, split.attribute_names = attributes, tuple(["hat", "glasses"][: attributes.shape[1]])
    return split


def test_the_worst_subgroup_is_the_least_accurate_of_those_that_are_large_enough() -> None:
    random = np.random.default_rng(1)
    labels, attributes = random.integers(0, 2, 400), random.random((400, 2)) < [0.5, 0.04]
    attributes[(labels == 0) & (np.cumsum(attributes[:, 1]) > 15), 1] = False  # a class with few glasses
    predicted = np.where(random.random(400) < 0.8, labels, 1 - labels)
    rows = np.arange(400)
    part = Part(split_of(labels, attributes), rows, np.full(400, NO_CLASS), NAMES)
    found = part.scores(predicted, (1, 0), None)
    groups = {}
    for label in (0, 1):
        for number, name in enumerate(("hat", "glasses")):
            right = (predicted == labels)[(labels == label) & attributes[:, number]]
            if len(right) >= 20:
                groups[f"{NAMES[label]} with {name}"] = (right.mean(), len(right), right.sum())
    name = min(groups, key=lambda group: groups[group][0])
    assert found.worst is not None
    assert (found.worst.name, found.worst.accuracy, found.worst.images) == (name, *groups[name][:2])
    low, high = binomtest(int(groups[name][2]), groups[name][1]).proportion_ci(method="wilson")
    assert [found.worst.low, found.worst.high] == pytest.approx([low, high], abs=1e-6)
    assert found.worst.conditions == (f"class:{NAMES.index(name[:3])}", f"attribute:{name[9:]}")
    assert (found.accuracy, found.agreement) == (np.mean(predicted == labels), None)
    assert found.chosen is not None
    assert found.chosen.name == "dog with hat"


@pytest.mark.parametrize(("images", "name"), [(60, "cat"), (30, None)])
def test_classes_are_the_subgroups_where_there_are_no_attributes(images: int, name: str | None) -> None:
    labels = np.arange(images) % 2
    part = Part(split_of(labels, np.empty((images, 0), bool)), np.arange(images), labels, NAMES)
    worst = part.scores(np.ones(images, np.int64), None, None).worst
    assert (worst.name if worst else None) == name


def test_the_subgroup_that_was_chosen_on_the_scored_part_is_measured_on_the_untouched_one() -> None:
    labels, attributes = np.repeat([0, 1], 50), np.ones((100, 1), bool)
    split = split_of(labels, attributes)
    scored, untouched = (Part(split, np.arange(start, 100, 2), labels[start::2], NAMES) for start in (0, 1))
    dogs_wrong, cats_wrong = np.zeros(50, np.int64), np.ones(50, np.int64)
    found = edit_scores(scored, untouched, [dogs_wrong, cats_wrong], [cats_wrong, dogs_wrong], HALF)
    blocks = (found.scored, found.untouched, found.before_scored, found.before_untouched)
    told = [[group.name[:3] if group else None for group in (b.worst, b.chosen, b.first)] for b in blocks]
    assert told == [["dog", "dog", "cat"], ["cat", "dog", "cat"], ["cat", "cat", "cat"], ["dog", "cat", "cat"]]
    assert json.loads(json.dumps(found.described()))["before"]["scored"]["worst"]["accuracy"] == 0


def test_the_parts_of_the_test_split_share_no_image_and_have_half_of_each_class() -> None:
    labels = np.random.default_rng(0).integers(0, 5, 333)
    scored, untouched = scored_rows(labels)
    assert sorted([*scored, *untouched]) == list(range(333))
    difference = np.bincount(labels[scored], minlength=5) - np.bincount(labels[untouched], minlength=5)
    assert np.abs(difference).max() <= 1
    assert np.array_equal(scored_rows(labels)[0], scored)


# ---- the session -----------------------------------------------------------------------------------------------------


def test_a_session_has_what_the_conversion_of_the_version_has(subject: Subject) -> None:
    found = edits_of(subject, BASE, EVERY)
    assert found.session is edits_of(subject, BASE, ()).session
    quick, version = found.session.prototypes(found.after), Version("v", found.base, found.operations)
    conversion = subject.conversion(version).get()
    for field in dataclasses.fields(quick):
        mine, full = (getattr(each, field.name) for each in (quick, conversion.prototypes))
        if field.name in ("nearest_distance", "distance_quantiles"):
            np.testing.assert_allclose(mine, full, rtol=1e-5)
        else:
            assert np.array_equal(mine, full), field.name
    assert quick.names.count("a *b*") == quick.notes.count("why") == 1
    predicted = np.concatenate([conversion.train_predicted, conversion.test_predicted])
    assert np.array_equal(found.session.predicted(found.after), predicted)
    activated = np.concatenate([conversion.prototypes.activated, conversion.test_activated])
    assert np.array_equal(found.session.activated(found.after), activated)
    summary = conversion.summary
    assert found.session.accuracy(found.after) == (summary.accuracy_kmex, summary.agreement)
    scores = found.scores()
    assert (scores.origin, scores.scored.images + scores.untouched.images) == (HALF, summary.images)
    mean = (scores.scored.accuracy * scores.scored.images + scores.untouched.accuracy * scores.untouched.images) / 500
    assert mean == pytest.approx(summary.accuracy_kmex)
    assert found.session.bytes < 200 * 2**20


def test_edits_are_scored_on_the_validation_split_where_there_is_one(subject: Subject) -> None:
    splits = {**subject.data.splits, "validation": subject.data.split("train")}
    data = dataclasses.replace(subject.data, splits=splits)
    with_validation = dataclasses.replace(subject, data=data)
    session = EditSession(with_validation, BASE)
    scores = session.scores(session.edited((Hide(0),)))
    assert (scores.origin, scores.scored.images, scores.untouched.images) == (VALIDATION, 1297, 500)


def test_sessions_are_dropped_before_they_take_the_machine_s_memory(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edits, "HELD", 1)
    first = edits.session_of(subject, KMeans(1))
    edits.session_of(subject, KMeans(2))
    assert list(edits._sessions) == [subject.conversion(KMeans(2)).key]
    assert edits.session_of(subject, KMeans(1)) is not first


@pytest.mark.parametrize(
    ("source", "operations", "why"),
    [
        (BuiltIn(), (Hide(0),), "part of their network"),
        (BASE, (Hide(50),), "no prototype 50"),
        (Version("v", BASE, (Hide(0),) * 1), (Name(0, "x"),) * 500, "At most 500"),
    ],
)
def test_what_cannot_be_edited_is_refused(
    subject: Subject, source: PrototypeSource, operations: tuple[Operation, ...], why: str
) -> None:
    with pytest.raises(InputError, match=why):
        edits_of(subject, source, operations)


# ---- what is saved ---------------------------------------------------------------------------------------------------


def test_a_version_comes_back_as_it_was_saved_whatever_its_name(subject: Subject) -> None:
    for name in ("no ghosts", "../../x", "CON", "<b>ä</b> `x`", "No Ghosts"):
        saved = versions.save(subject, name, BASE, EVERY, "a note")
        assert versions.read(subject.store, "digits", name) == saved
        assert versions.version_of(subject, name).operations == EVERY
    found, damaged = versions.versions_of(subject.store, "digits")
    assert [each.version.name for each in found][:2] == ["no ghosts", "../../x"]
    assert (len(found), damaged, versions.versions_of(subject.store, "faces")) == (5, [], ([], []))
    room = subject.store.root / versions.ROOM
    assert all(versions.FILES.fullmatch(path.name) for path in room.iterdir() if path.suffix == ".json")
    assert not upkeep.verify(subject.store).damaged
    assert found[0].scores["from"] == HALF


def test_a_version_never_overwrites_another(subject: Subject) -> None:
    first = versions.save(subject, "one", BASE, (Hide(1),))
    other = versions.save(subject, "other", BASE, (Hide(2),))
    for change in (
        lambda: versions.save(subject, " one ", BASE, (Hide(3),)),
        lambda: versions.rename(subject.store, "digits", "other", "one"),
    ):
        with pytest.raises(InputError, match="already"):
            change()
    assert versions.versions_of(subject.store, "digits")[0] == [first, other]
    assert versions.rename(subject.store, "digits", "other", "third").version.name == "third"
    versions.delete(subject.store, "digits", "one")
    assert [each.version.name for each in versions.versions_of(subject.store, "digits")[0]] == ["third"]
    with pytest.raises(InputError, match="did you mean 'third'"):
        versions.delete(subject.store, "digits", "thirt")


def test_a_version_of_a_version_is_one_of_its_base(subject: Subject) -> None:
    versions.save(subject, "one", BASE, (Hide(0), Add(17, 2)))
    version = versions.version_of(subject, "one")
    again = versions.save(subject, "two", version, (Hide(0), Name(1, "x"))).version
    assert (again.base, again.operations) == (BASE, (Hide(0), Add(17, 2), Hide(1), Name(2, "x")))


@pytest.mark.parametrize("name", ["", "  ", "x" * 81, "None", "a\0b", "\ud800"])
def test_a_name_that_cannot_be_used_is_refused(subject: Subject, name: str) -> None:
    with pytest.raises(InputError, match="Name the version"):
        versions.save(subject, name, BASE, (Hide(0),))
    with pytest.raises(InputError, match="Nothing was edited"):
        versions.save(subject, "x", BASE, ())


def test_nothing_is_saved_in_a_read_only_store(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    versions.save(subject, "one", BASE, (Hide(0),))
    monkeypatch.setenv(READ_ONLY, "1")
    for change in (
        lambda: versions.save(subject, "two", BASE, (Hide(0),)),
        lambda: versions.rename(subject.store, "digits", "one", "two"),
        lambda: versions.delete(subject.store, "digits", "one"),
    ):
        with pytest.raises(InputError, match="read-only"):
            change()
    assert versions.version_of(subject, "one").operations == (Hide(0),)


def damage(**values: Any) -> Any:
    return lambda saved: json.dumps({**saved, **values})


@pytest.mark.parametrize(
    "damaged",
    [
        lambda saved: "", lambda saved: "[]", lambda saved: "[" * 100_000, lambda saved: "\0",
        lambda saved: json.dumps(saved)[:-9], lambda saved: " " * (versions.MOST + 1),
        damage(name="another"), damage(name=3), damage(weights=None), damage(operations={}), damage(base=None),
        damage(base={"k": 0, "seed": 0, "metric": "auto"}), damage(base={"k": 5, "seed": 0, "metric": "x"}),
        damage(base={"k": 10**9, "seed": 0, "metric": "auto"}), damage(created="now"), damage(created=1e300),
        damage(scores=[]), damage(operations=[{"op": "hide", "p": -1}]), damage(note="x" * 3000),
    ],
)  # fmt: skip
def test_a_damaged_version_is_told_of_and_breaks_nothing(subject: Subject, damaged: Any) -> None:
    saved = versions.save(subject, "one", BASE, (Hide(0),))
    versions.save(subject, "two", BASE, (Hide(0),))
    path = versions._path(subject.store, saved.weights, "one")
    path.write_text(damaged(json.loads(path.read_text())))
    found, messages = versions.versions_of(subject.store, "digits")
    assert [each.version.name for each in found] == ["two"]
    assert len(messages) == 1
    assert "cannot be read" in messages[0]
    assert [finding.path for finding in upkeep.verify(subject.store).damaged] == [f"versions/{path.name}"]
    assert not [finding for finding in upkeep.needless(subject.store) if finding.path.endswith(".json")]
    with pytest.raises(StoreError, match="cannot be read"):
        versions.read(subject.store, "digits", "one")
    versions.delete(subject.store, "digits", "one")
    assert not path.exists()


def test_edits_of_other_prototypes_are_not_applied(subject: Subject) -> None:
    saved = versions.save(subject, "one", BASE, (Hide(0),))
    path = versions._path(subject.store, saved.weights, "one")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"base_key": "of other data"}))
    with pytest.raises(InputError, match="made of other prototypes"):
        versions.version_of(subject, "one")
    stale = versions.read(subject.store, "digits", "one").version
    with pytest.raises(InputError, match="made of other prototypes"):
        subject.conversion(stale).get()
    assert versions.usable_versions(subject) == []


def test_a_version_goes_with_its_model_and_not_before(subject: Subject) -> None:
    store = subject.store
    catalogue.save(store, dataclasses.replace(subject.info, name="mine"), subject.network.model)
    mine = subject_of(store, "mine")
    versions.save(mine, "one", BASE, (Hide(0),))
    catalogue.rename(store, "mine", "yours")
    assert [each.version.name for each in versions.versions_of(store, "yours")[0]] == ["one"]
    versions.save(subject, "two", BASE, (Hide(0),))  # of equal weights
    gone = dict(versions.of_gone_models(store, set()))
    assert set(gone.values()) == {"of a model that is gone"}
    assert not [each for each in upkeep.needless(store) if each.path.startswith("versions/") and "json" in each.path]


# ---- used like any other source --------------------------------------------------------------------------------------


def answer(*arguments: str) -> dict[str, Any]:
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_commands_use_a_version_and_tell_its_history(subject: Subject, tmp_path: Path) -> None:
    # a class without prototypes, the last one
    of_nine = [Hide(p) for p in range(45, 50)]
    versions.save(subject, "no <9>", BASE, [*of_nine, Name(3, "thin zero")], "only for a test")
    listed = answer("versions", "--model", "digits", "--version", "no <9>")["versions"][0]
    assert listed["edited"] == "5 prototypes hidden, 1 named"
    assert listed["history"][-1] == "Named prototype 3 'thin zero'."
    text = CliRunner().invoke(app, ["versions", "--model", "digits", "--version", "no <9>"]).output
    assert "6. Named prototype 3" in text
    assert "Accuracy ↑ on 250 scored images" in text
    found = answer("evaluate", "--model", "digits", "--version", "no <9>", "--metrics", "accuracy,ghosting,effective")
    assert any("No image is predicted as '9'" in note for note in found["notes"])
    assert found["version"] == "no <9>"
    assert answer("table", "prototypes", "--model", "digits", "--version", "no <9>")["csv"].count("\n") == 46
    files = {f"--{kind}": str(tmp_path / f"x.{kind}") for kind in ("kmex", "card", "html")}
    answer("export", "--model", "digits", "--version", "no <9>", *(word for pair in files.items() for word in pair))
    card = (tmp_path / "x.card").read_text()
    assert "6. Named prototype 3 'thin zero'" in card
    assert "no \\<9>" in card
    assert "thin zero" in (tmp_path / "x.html").read_text()
    assert answer("versions", "--model", "digits", "--version", "no <9>", "--rename", "9 gone")["to"] == "9 gone"
    assert (
        "was not deleted"
        in CliRunner().invoke(app, ["versions", "--model", "digits", "--version", "9 gone", "--delete"]).stderr
    )
    answer("versions", "--model", "digits", "--version", "9 gone", "--delete", "--yes")
    assert answer("versions")["versions"] == []


def test_a_file_of_a_version_is_loaded_with_names_and_a_class_without_prototypes(
    subject: Subject, tmp_path: Path
) -> None:
    from kmex_core import KMEx
    from kmex_core.stages.taken_away import write_kmex

    version = Version("v", KMeans(1), (Hide(9), Name(0, "round"), Note(0, "a\nb")))
    write_kmex(subject, version, tmp_path / "v.kmex", weights=True)
    kmex = KMEx.load(tmp_path / "v.kmex")
    assert (kmex.details.names[0], kmex.details.notes[0], len(kmex.details)) == ("round", "a\nb", 9)
    assert kmex.made_by["version"] == "v"
    image = subject.data.split("test").image(0)
    explained = kmex.explain(image)
    assert explained.kmex[9] == 0
    with pytest.raises(InputError, match="without prototypes"):
        kmex.class_maps(kmex.origin.input(image), [9])
    assert "has no prototypes" in getattr(subject.relevance_scores(version, 10).get_or_why_not(), "reason", "")
    assert explained.kmex.sum() == pytest.approx(1, abs=1e-5)


def test_options_that_exclude_a_version_are_refused(subject: Subject) -> None:
    versions.save(subject, "one", BASE, (Hide(0),))
    for arguments, why in (
        (["explain", "--own", "--image", "x.png", "--out", "x"], "x.png"),
        (["check", "--own"], "exclude each other"),
        (["table", "prototypes", "--own"], "KMEx's prototypes"),
        (["table", "training"], "does not take --version"),
    ):
        result = CliRunner().invoke(app, [*arguments, "--model", "digits", "--version", "one"])
        assert (result.exit_code, why in result.stderr) == (2, True), result.stderr
    result = CliRunner().invoke(app, ["check", "--model", "digits", "--version", "on"])
    assert "did you mean 'one'" in result.stderr


def test_a_graph_may_say_that_a_class_cannot_be_predicted_but_nothing_else_that_differs() -> None:
    class Fixed:
        names = ("class_scores",)

        def __call__(self, pixels: torch.Tensor) -> tuple[torch.Tensor]:
            return (torch.tensor([[1.0, -torch.inf]]),)

    pixels = torch.zeros(1)
    _compare(Fixed(), pixels, [np.array([[1.0, -np.inf]], np.float32)])  # type: ignore[arg-type]
    for other in ([[1.5, -np.inf]], [[1.0, 2.0]], [[1.0, np.inf]], [[np.nan, -np.inf]]):
        with pytest.raises(InputError, match="something else"):
            _compare(Fixed(), pixels, [np.array(other, np.float32)])  # type: ignore[arg-type]
