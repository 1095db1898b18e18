"""Names, and who may write under them: renaming, deleting, importing and training at the same time."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kmex_core.base import jobs
from kmex_core.base.errors import InputError, StoreError
from kmex_core.base.specs import DatasetSpec
from kmex_core.base.store import Store
from kmex_core.models import catalogue as models
from kmex_core.stages.importing import ImportRequest, import_model
from tests.helpers.stores import put, put_run


def value_of(store: Store, name: str) -> float:
    stored = store.get(models.ROOM, name)
    assert stored is not None, name
    return float(stored[0]["w"][0])


@contextmanager
def claimed_elsewhere(store: Store, name: str) -> Iterator[None]:
    """Another process holds a name, as a training or an import does while it works."""
    program = (
        "import sys; from kmex_core.models import catalogue as models; from kmex_core.base.store import Store\n"
        "with models.claimed(Store(sys.argv[1]), sys.argv[2]): print('held', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(store.root), name],
        cwd=jobs.ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield
    finally:
        process.communicate()


@pytest.mark.parametrize("name", ["run", "RUN"])
def test_nothing_is_written_under_a_name_that_another_process_holds(store: Store, tmp_path: Path, name: str) -> None:
    put(store, "precious", 1)
    put(store, "run", 2)
    (tmp_path / "weights.pt").write_bytes(b"")
    asked = ImportRequest(name, "blackbox", tmp_path / "weights.pt", DatasetSpec("digits"), "resnet20")
    with claimed_elsewhere(store, "run"):
        for write in (
            lambda: models.rename(store, "precious", name),  # onto it
            lambda: models.rename(store, "run", "free"),  # away from it
            lambda: models.delete(store, "run"),
            lambda: put(store, name, 3),
            lambda: import_model(store, asked, overwrite=True),
        ):
            with pytest.raises(InputError, match="trained or imported right now"):
                write()
    assert (value_of(store, "precious"), value_of(store, "run")) == (1, 2)
    assert store.names(models.ROOM) == ["precious", "run"]
    models.rename(store, "run", "free")  # the lock went with its process
    assert value_of(store, "free") == 2


def test_a_name_that_an_unfinished_training_will_take_is_taken(store: Store, tmp_path: Path) -> None:
    put(store, "precious", 1)
    put_run(store, "bb", 2)
    for name in ("bb", "BB"):
        with pytest.raises(InputError, match="unfinished training is named 'bb'"):
            models.rename(store, "precious", name)
        with pytest.raises(InputError, match="unfinished training is named 'bb'"):
            import_model(store, ImportRequest(name, "blackbox", tmp_path / "no", DatasetSpec("digits"), "resnet20"))
    assert models.delete(store, "bb") == "training"
    models.rename(store, "precious", "bb")
    assert value_of(store, "bb") == 1


def test_a_model_goes_before_the_training_of_its_name(store: Store) -> None:
    put(store, "both")
    put_run(store, "both", 1)
    put_run(store, "both", 2)
    assert models.delete(store, "both") == "model"
    assert models.delete(store, "both") == "training"
    assert not models.has_run(store, "both")
    with pytest.raises(InputError, match="no model named 'both'"):
        models.delete(store, "both")


def test_names_that_differ_in_capitals_only_are_one(store: Store) -> None:
    put(store, "net", 1)
    put(store, "other", 2)
    with pytest.raises(InputError, match="'net' already exists .names differ only in case"):
        models.rename(store, "other", "NET")
    with pytest.raises(InputError, match="'digits' already exists .names differ only in case"):
        models.rename(store, "other", "Digits")
    models.rename(store, "net", "Net")  # its own
    assert store.names(models.ROOM) == ["Net", "other"]
    assert value_of(store, "Net") == 1


def test_the_names_of_the_demos(store: Store) -> None:
    put(store, "mine", 1)
    for write in (lambda: models.rename(store, "digits", "x"), lambda: models.delete(store, "digits")):
        with pytest.raises(InputError, match="comes with KMEx Explorer"):
            write()
    with pytest.raises(InputError, match="'digits' already exists"):
        models.rename(store, "mine", "digits")
    put(store, "digits", 5)  # trained again by the command in the README
    models.rename(store, "digits", "digits-2")
    assert value_of(store, "digits-2") == 5
    assert models.describe(store, "digits").embedded


def test_a_model_that_goes_while_models_are_listed_is_left_out(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store, "here")
    monkeypatch.setattr(models, "known_names", lambda _: ["gone", "here"])
    infos, broken = models.list_models(store)
    assert [info.name for info in infos] == ["here"]
    assert broken == []


def test_a_claim_is_held_by_a_thread_and_can_be_taken_again_by_it(store: Store) -> None:
    refused: list[str] = []

    def other() -> None:
        try:
            put(store, "a")
        except InputError as error:
            refused.append(str(error))

    with models.claimed(store, "b", "a"), models.claimed(store, "a"):
        put(store, "a", 1)
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert len(refused) == 1
    put(store, "a", 2)
    assert value_of(store, "a") == 2


def test_renames_against_each_other_do_not_wait_for_ever(store: Store) -> None:
    put(store, "a", 1)
    put(store, "b", 2)
    ready = threading.Barrier(2)
    answers: list[str] = []

    def work(name: str, new: str) -> None:
        ready.wait()
        for _ in range(5):
            try:
                models.rename(store, name, new)
            except InputError as error:
                answers.append(str(error))

    threads = [threading.Thread(target=work, args=names) for names in (("a", "b"), ("b", "a"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert len(answers) == 10  # both names are taken
    assert (value_of(store, "a"), value_of(store, "b")) == (1, 2)


def test_a_rename_that_the_disk_refuses_changes_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store, "a", 1)

    def broken(*_: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", broken)
        with pytest.raises(StoreError, match="Input/output error"):
            models.rename(store, "a", "b")
    assert store.names(models.ROOM) == ["a"]
    models.rename(store, "a", "b")


NAMES = ("a", "b", "A", "digits", "c")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("rename"), st.sampled_from(NAMES), st.sampled_from(NAMES)),
        st.tuples(st.just("delete"), st.sampled_from(NAMES)),
        st.tuples(st.just("make"), st.sampled_from(NAMES)),
        st.tuples(st.just("begin"), st.sampled_from(NAMES)),
        st.tuples(st.just("finish"), st.sampled_from(NAMES)),
    ),
    max_size=14,
)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_no_order_of_steps_loses_a_model(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, ...]]
) -> None:
    """Whatever is asked for in whatever order: a model goes only when it is deleted, and is nowhere twice."""
    store = Store(tmp_path_factory.mktemp("steps"))
    there: dict[str, int] = {}
    running: dict[str, AbstractContextManager[None]] = {}
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setattr("kmex_core.base.store.PATIENCE", 0)

    def refused(step: Callable[[], object]) -> bool:
        try:
            step()
        except InputError:
            return True
        return False

    def free(name: str) -> bool:
        taken = {*there, *running, "digits", *(run for room in models.RUNS for run in store.names(room))}
        return all(other.lower() != name.lower() for other in taken)

    def held(name: str) -> bool:
        return any(other.lower() == name.lower() for other in running)

    for count, (step, name, *rest) in enumerate(steps):
        if step == "make":
            if free(name) and not refused(lambda: put(store, name, count)):  # noqa: B023 (called at once)
                there[name] = count
        elif step == "rename":
            possible = name in there and not held(name) and not held(rest[0])
            same = rest[0].lower() == name.lower() and rest[0] != name
            possible = possible and (free(rest[0]) or same)
            assert refused(lambda: models.rename(store, name, rest[0])) is not possible  # noqa: B023
            if possible:
                there[rest[0]] = there.pop(name)
        elif step == "delete":
            trains = models.has_run(store, name)
            possible = (name in there or trains) and not held(name)
            assert refused(lambda: models.delete(store, name)) is not possible  # noqa: B023
            if possible and name in there:
                del there[name]
        elif step == "begin" and free(name):
            claim = store.locked(models.RUNS[0], name, "busy")  # what another process has
            claim.__enter__()
            running[name] = claim
            put_run(store, name, 1 + count % 2)
        elif step == "finish" and name in running:
            store.put(models.ROOM, name, {"w": np.array([float(count)])}, {"model": {}, "weights": ""})
            models.remove_run(store, name)
            running.pop(name).__exit__(None, None, None)
            there[name] = count
    for lock in running.values():
        lock.__exit__(None, None, None)
    monkeypatch.undo()
    assert {name: value_of(store, name) for name in store.names(models.ROOM)} == there
