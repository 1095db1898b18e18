"""1,000 damages to files of every kind that the product writes: each is noticed, or changes nothing that is read."""

from __future__ import annotations

import os
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from kmex_core.base import jobs
from kmex_core.base.errors import InputError, StoreError
from kmex_core.base.files import digest, read_description, read_file
from kmex_core.base.specs import DatasetSpec
from kmex_core.base.store import Store
from kmex_core.models import catalogue as models
from kmex_core.stages.importing import ImportRequest, import_model
from tests.helpers.datasets import write_folder
from tests.helpers.processes import Processes

pytestmark = pytest.mark.slow

DAMAGES = int(os.environ.get("KMEX_DAMAGES", "1200"))
MOST_BYTES = 4 * 2**20  # larger files only make it slow


def flip(content: bytearray, draw: random.Random) -> None:
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)


def flip_in_header(content: bytearray, draw: random.Random) -> None:
    content[draw.randrange(min(len(content), 2000))] ^= 1 << draw.randrange(8)


def cut(content: bytearray, draw: random.Random) -> None:
    del content[draw.randrange(len(content)) :]


def grow(content: bytearray, draw: random.Random) -> None:
    content += draw.randbytes(draw.randrange(1, 5000))


def zero(content: bytearray, draw: random.Random) -> None:
    first = draw.randrange(len(content))
    last = min(len(content), first + draw.choice([1, 512, 4096]))
    content[first:last] = bytes(last - first)


def scramble(content: bytearray, draw: random.Random) -> None:
    first = draw.randrange(len(content))
    last = min(len(content), first + 64)
    content[first:last] = draw.randbytes(last - first)


def swap(content: bytearray, draw: random.Random) -> None:
    middle = draw.randrange(len(content))
    content[:] = content[middle:] + content[:middle]


def empty(content: bytearray, draw: random.Random) -> None:
    content.clear()


DAMAGE: tuple[Callable[[bytearray, random.Random], None], ...] = (
    flip, flip, flip_in_header, flip_in_header, cut, grow, zero, scramble, swap, empty,
)  # fmt: skip


@pytest.fixture(scope="module")
def full_store(demo_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a file of every kind: results of the demo, a model, an unfinished run, a job, an export."""
    root = tmp_path_factory.mktemp("full") / "store"
    shutil.copytree(demo_cache, root)
    data = write_folder(root.parent / "data", ("left", "right"), 12, 4, size=16)
    run = Processes(root)
    train = ["train", "--dataset", str(data), "--backbone", "resnet20", "--batch-size", "8", "--image-size", "16"]
    run.finish([*train, "--epochs", "1", "--name", "stripes"])
    unfinished = run.start([*train, "--epochs", "500", "--name", "unfinished"])
    while not list((root / "runs").glob("unfinished*.safetensors")):
        assert unfinished.is_alive()
        time.sleep(0.1)
    unfinished.kill()
    run.finish(["convert", "--model", "stripes", "--k", "2"])
    run.finish(["export", "--model", "stripes", "--out", str(root.parent / "exported.safetensors")])
    jobs.start(Store(root), "damaged", ["convert", "--model", "stripes", "--k", "3"])
    while (job := jobs.look(Store(root), "damaged")) is not None and job.state == "running":
        time.sleep(0.2)
    assert job is not None
    assert job.state == "done", job
    return root


def test_every_damage_is_noticed(full_store: Path) -> None:
    store, exported = Store(full_store), full_store.parent / "exported.safetensors"
    files = [path for path in full_store.rglob("*.safetensors") if path.stat().st_size <= MOST_BYTES]
    reports = list((full_store / "jobs").glob("*.json"))
    by_room = {path.parent.name: path for path in files}
    assert {"embeddings", "prototypes", "projections", "models", "runs", "statistics"} <= set(by_room), by_room.keys()
    draw = random.Random(12)
    outcome: Counter[str] = Counter()
    wrong: list[str] = []
    for number in range(DAMAGES):
        kind = draw.choice(["result", "result", "result", "export", "job"])
        # every room equally often, however many files it has
        room = draw.choice(sorted(by_room))
        path = {"export": exported, "job": draw.choice(reports)}.get(kind) or draw.choice(
            [file for file in files if file.parent.name == room]
        )
        before = path.read_bytes()
        content = bytearray(before)
        damage = draw.choice(DAMAGE)
        damage(content, draw)
        if content == before:
            continue
        if kind == "job":
            path.write_bytes(content)
            jobs.look(store, path.stem)  # must not raise
            jobs.names(store, "")
            outcome["job report read or ignored"] += 1
        elif kind == "export":
            path.write_bytes(content)
            request = ImportRequest("again", "blackbox", path, DatasetSpec(""), "resnet20")
            try:
                import_model(store, request, overwrite=True)
                wrong.append(f"{number}: import took an export after {damage.__name__}")
            except (InputError, StoreError):
                outcome["export refused"] += 1
        else:
            arrays, description = read_file(path)
            path.write_bytes(content)
            try:
                again, described = read_file(path)
                if described != description or digest(again) != digest(arrays):
                    wrong.append(f"{number}: {path} read as something else after {damage.__name__}")
                outcome["result read as before"] += 1
            except StoreError:
                outcome["result refused"] += 1
            try:
                if read_description(path) != description:
                    wrong.append(f"{number}: the header of {path} read as something else after {damage.__name__}")
                outcome["header read as before"] += 1
            except StoreError:
                outcome["header refused"] += 1
            if path.parent.name == "models":
                models.list_models(store)  # a damaged model is named, the others are listed
        path.write_bytes(before)
    print(f"{DAMAGES} damages: {dict(outcome)}")
    assert outcome["result refused"] > DAMAGES / 3, outcome
    assert outcome["export refused"] > DAMAGES / 10, outcome
    assert not wrong, "\n".join(wrong[:30])


def test_a_damaged_result_is_computed_again_to_the_same_numbers(full_store: Path) -> None:
    run, draw = Processes(full_store), random.Random(3)
    before = run.finish(["convert", "--model", "stripes", "--k", "2", "--json"])
    for room in ("embeddings", "prototypes", "statistics"):
        for path in (full_store / room).glob("*.safetensors"):
            content = bytearray(path.read_bytes())
            flip(content, draw)
            path.write_bytes(content)
    after = run.finish(["convert", "--model", "stripes", "--k", "2", "--json"])
    assert {k: v for k, v in after.items() if k != "seconds"} == {k: v for k, v in before.items() if k != "seconds"}
