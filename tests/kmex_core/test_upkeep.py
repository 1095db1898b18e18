"""`store verify`, `store clean` and `store size`: what they tell, what they remove, and what they leave alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from typer.testing import CliRunner

from kmex_core.base import jobs
from kmex_core.base.specs import DivergenceSpec, EmbeddingSpec, MapScoresSpec, PrototypeSpec
from kmex_core.base.store import Store
from kmex_core.commands import app
from kmex_core.data import uploads
from kmex_core.data.content import FILE
from kmex_core.models import catalogue as models
from kmex_core.models.info import ModelInfo
from kmex_core.stages import shards, upkeep
from kmex_core.stages.subject import dataset_of
from tests.helpers.paths import ROOT
from tests.helpers.stores import converted, put, put_run


def cli(store: Store, *arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["store", *arguments], env={"KMEX_CACHE": str(store.root)})
    return done.exit_code, done.stdout, done.stderr


def result(store: Store, spec: EmbeddingSpec | PrototypeSpec | MapScoresSpec | DivergenceSpec, room: str) -> Path:
    """A result as the pipeline writes it, of a few numbers."""
    store.put(room, spec.key, {"a": np.arange(50)}, {"spec": spec.described(), "model": "mine"})
    return store.path(room, spec.key)


def spec_of(store: Store, name: str, data: str = "digits-1") -> EmbeddingSpec:
    weights = models.weights_key(store, name)
    return EmbeddingSpec("resnet20", weights, data, "train", 32, (0.5,), (0.5,))


def filled(store: Store) -> dict[str, list[Path]]:
    """A store with what belongs there; the files by what they are of."""
    put(store, "mine", 1)
    put(store, "lost", 2)
    put_run(store, "begun", 1)
    put_run(store, "begun", 2)
    files: dict[str, list[Path]] = {}
    for name in ("digits", "lost"):
        embedding = spec_of(store, name)
        prototypes = PrototypeSpec(embedding.key, 5)
        scores = MapScoresSpec(prototypes.key, 100)
        files[name] = [
            result(store, embedding, "embeddings"),
            result(store, prototypes, "prototypes"),
            result(store, scores, "evaluations"),
            result(store, DivergenceSpec(scores.key, models.weights_key(store, "digits")), "evaluations"),
        ]
    files["old data"] = [result(store, spec_of(store, "digits", "digits-0"), "embeddings")]
    return files


def needless(store: Store) -> dict[str, str]:
    return {finding.path: finding.why for finding in upkeep.needless(store)}


def test_a_sound_store_is_verified_in_full(store: Store) -> None:
    filled(store)
    found = upkeep.verify(store)
    assert (found.damaged, found.unknown, found.rests) == ([], [], [])
    files = list(store.root.rglob("*.safetensors"))
    assert (found.files, found.bytes) == (len(files), sum(path.stat().st_size for path in files))
    assert cli(store, "verify")[0] == 0


def test_a_real_store_is_sound_and_nothing_in_it_is_needless(tmp_path_factory: pytest.TempPathFactory) -> None:
    demo = Store(converted(tmp_path_factory, "digits"))
    found = upkeep.verify(demo)
    assert found.damaged == []
    assert found.files >= 4
    results = [path for path in needless(demo) if path.endswith(".safetensors")]
    assert results == []


@pytest.mark.parametrize("at", [0.02, 0.3, 0.6, 0.999])
@pytest.mark.parametrize("room", ["models", "runs", "embeddings", "evaluations"])
def test_a_flipped_bit_anywhere_is_reported(store: Store, room: str, at: float) -> None:
    filled(store)
    path = next((store.root / room).glob("*.safetensors"))
    content = bytearray(path.read_bytes())
    content[int(at * len(content))] ^= 4
    path.write_bytes(content)
    assert [finding.path for finding in upkeep.verify(store).damaged] == [f"{room}/{path.name}"]


def test_what_a_digest_alone_does_not_show_is_reported(store: Store) -> None:
    files = filled(store)
    one, other = files["digits"][0], files["lost"][0]
    one.write_bytes(other.read_bytes())  # whole, and another's
    model = store.path(models.ROOM, "mine")
    arrays, description = store.get(models.ROOM, "mine") or ({}, {})
    store.put(models.ROOM, "mine", {"w": arrays["w"] + 1}, description)  # whole, and not the weights that are named
    (store.root / jobs.ROOM).mkdir(exist_ok=True)
    (store.root / jobs.ROOM / "odd.json").write_text("[]")
    damaged = {finding.path: finding.why for finding in upkeep.verify(store).damaged}
    assert set(damaged) == {f"embeddings/{one.name}", f"models/{model.name}", "jobs/odd.json"}
    assert "does not match its name" in damaged[f"embeddings/{one.name}"]
    assert "do not match its header" in damaged[f"models/{model.name}"]


def test_verify_tells_by_its_exit_code_and_as_one_json_object(store: Store) -> None:
    files = filled(store)
    path = files["digits"][1]
    path.write_bytes(path.read_bytes()[:-9])
    code, out, _ = cli(store, "verify", "--json")
    answer = json.loads(out)
    assert code == 1
    assert answer["sound"] is False
    assert [finding["path"] for finding in answer["damaged"]] == [f"prototypes/{path.name}"]
    code, out, _ = cli(store, "verify")
    assert code == 1
    assert ": 1 damaged." in out


def test_what_is_not_ours_is_named_and_neither_opened_nor_removed(store: Store, tmp_path: Path) -> None:
    filled(store)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / ".x.safetensors.0123456789ab.part").write_bytes(b"mine")
    (outside / "x.safetensors").write_bytes(b"mine")
    (outside / ".x.lock").write_bytes(b"")
    (store.root / "elsewhere").symlink_to(outside)
    (store.root / "patches").symlink_to(outside)
    (store.root / "embeddings" / "link.safetensors").symlink_to(outside / "x.safetensors")
    (store.root / "embeddings" / ".y.safetensors.0123456789ab.part").symlink_to(outside / "x.safetensors")
    (store.root / "embeddings" / "notes.txt").write_text("mine")
    (store.root / "embeddings" / "deep").mkdir()
    (store.root / "mine").mkdir()
    (store.root / "mine" / "keep.part").write_text("mine")
    os.mkfifo(store.root / "prototypes" / "pipe.safetensors")  # a reader would wait for ever
    before = {path for path in [*store.root.rglob("*"), *outside.rglob("*")] if ".lock" not in path.name}
    found = upkeep.verify(store)
    assert found.damaged == []
    assert {finding.path for finding in found.unknown} == {
        "elsewhere",
        "mine",
        "patches",
        "embeddings/link.safetensors",
        "embeddings/.y.safetensors.0123456789ab.part",
        "embeddings/notes.txt",
        "embeddings/deep",
        "prototypes/pipe.safetensors",
    }
    put(store, "other")
    models.delete(store, "other")
    upkeep.remove(store, [finding for finding in upkeep.needless(store) if finding.path.endswith((".part", ".lock"))])
    assert {path for path in [*store.root.rglob("*"), *outside.rglob("*")] if ".lock" not in path.name} == before
    assert (outside / ".x.lock").exists()


def test_results_of_a_model_that_is_gone_go_and_models_never_do(store: Store) -> None:
    files = filled(store)
    put(store, "copy", 2)  # a model of equal weights, which uses the same results
    models.delete(store, "lost")
    kinds = set(needless(store).values()) - {"a lock of nothing"}
    assert kinds == {"of data that have changed since"}
    models.delete(store, "copy")
    found = upkeep.needless(store)
    results = {finding.path for finding in found if finding.path.endswith(".safetensors")}
    gone = [*files["lost"], *files["old data"]]
    assert results == {str(path.relative_to(store.root)) for path in gone}
    code, out, err = cli(store, "clean", "--json")
    assert code == 2
    assert "--yes" in json.loads(out)["error"]
    assert all(path.exists() for path in gone)
    assert cli(store, "clean", "--dry-run")[0] == 0
    assert all(path.exists() for path in gone)
    code, out, err = cli(store, "clean", "--yes", "--json")
    assert code == 0, err
    assert json.loads(out)["removed"] == len(found)
    assert not any(path.exists() for path in gone)
    assert all(path.exists() for path in files["digits"])
    assert store.names(models.ROOM) == ["mine"]
    assert models.has_run(store, "begun")
    assert needless(store) == {}


def test_nothing_is_judged_by_a_model_that_cannot_be_read(store: Store) -> None:
    filled(store)
    models.delete(store, "lost")
    store.path(models.ROOM, "mine").write_bytes(b"damaged")
    assert not any(path.endswith(".safetensors") for path in needless(store))


def test_results_of_a_data_set_that_is_not_there_now_stay(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    files = filled(store)
    real = dataset_of

    def unplugged(info: ModelInfo, root: str = "") -> object:
        if info.name == "digits":
            raise OSError("the disk with the data is not there")
        return real(info, root)

    monkeypatch.setattr(upkeep, "dataset_of", unplugged)
    assert str(files["old data"][0].relative_to(store.root)) not in needless(store)


def test_rests_and_locks_without_a_user_go_and_those_in_use_stay(store: Store, tmp_path: Path) -> None:
    filled(store)
    folder = store.root / "embeddings"
    rest = folder / ".x.safetensors.0123456789ab.part"
    rest.write_bytes(b"cut o")
    program = (
        "import os, sys, time; from pathlib import Path; from kmex_core.base import files\n"
        "os.fsync = lambda _: (print('writing', flush=True), time.sleep(60))\n"
        "files.write_bytes(Path(sys.argv[1]), b'abc')"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", program, str(folder / "y.safetensors")], stdout=subprocess.PIPE, cwd=jobs.ROOT
    )
    assert writer.stdout is not None
    writer.stdout.readline()
    idle, held = folder / ".gone.lock", folder / ".working.lock"
    idle.touch()
    with FileLock(held):
        assert set(needless(store)) - {f"embeddings/{name}" for name in (rest.name, idle.name)} == {
            f"embeddings/{path.name}" for path in filled(store)["old data"]
        }
        assert len(list(folder.glob(".y.*.part"))) == 1
        writer.kill()
        writer.wait()
        code, _, err = cli(store, "clean", "--yes")
        assert code == 0, err
        assert held.exists()
    assert not idle.exists()
    assert list(folder.glob(".*.part")) == []


def test_killed_writers_leave_nothing_for_good(store: Store) -> None:
    """The next process that writes to the room takes the rest away."""
    rest = store.root / "embeddings" / ".x.safetensors.0123456789ab.part"
    rest.parent.mkdir(parents=True)
    rest.write_bytes(b"cut o")
    store.put("embeddings", "new", {"a": np.ones(2)}, {})
    assert not rest.exists()


def test_an_upload_that_no_import_waits_for_goes_after_an_hour(store: Store) -> None:
    filled(store)
    folder = store.root / uploads.ROOM
    folder.mkdir()
    old = time.time() - 2 * upkeep.HOUR
    for name in ("waited-for", "old", "new"):
        (folder / f"{name}.weights").write_bytes(b"w" * 100)
        if name != "new":
            os.utime(folder / f"{name}.weights", (old, old))
    report = store.root / jobs.ROOM / "import-x.json"
    report.parent.mkdir(exist_ok=True)
    report.write_text(json.dumps({"state": "failed", "arguments": ["import", str(folder / "waited-for.weights")]}))
    assert [path for path in needless(store) if path.startswith("uploads/")] == ["uploads/old.weights"]


def test_size_adds_up_by_room(store: Store, tmp_path: Path) -> None:
    filled(store)
    (tmp_path / "big").write_bytes(b"x" * 10_000_000)
    (store.root / "embeddings" / "link").symlink_to(tmp_path / "big")
    code, out, _ = cli(store, "size", "--json")
    answer = json.loads(out)
    sizes = {room["name"]: room["bytes"] for room in answer["rooms"]}
    for name, size in sizes.items():
        files = [path for path in (store.root / name).rglob("*") if path.is_file() and not path.is_symlink()]
        assert size == sum(path.stat().st_size for path in files)
    assert code == 0
    assert answer["bytes"] == sum(sizes.values()) < 1_000_000
    assert cli(Store(tmp_path / "none"), "size")[0] == 2


def test_shards_stay_until_their_embedding_is_whole_or_cannot_be(store: Store) -> None:
    going, done, changed = (spec_of(store, "digits", data) for data in ("digits-1", "digits-2", "digits-0"))
    part = {"z": np.zeros((2, 3), np.float32)}
    for spec in (going, done, changed):
        store.put(shards.ROOM, f"{spec.key}-{0:012d}", part, {"spec": spec.described()})
    result(store, done, "embeddings")
    assert upkeep.verify(store).damaged == []
    found = needless(store)
    assert f"shards/{going.key}-{0:012d}.safetensors" not in found
    assert found[f"shards/{done.key}-{0:012d}.safetensors"] == "of an embedding that was computed to its end"
    assert found[f"shards/{changed.key}-{0:012d}.safetensors"] == "of data that have changed since"


def test_all_files_of_a_stopped_job_belong_to_the_store(store: Store) -> None:
    assert jobs.start(store, "stopped", ["models"])
    jobs.stop(store, "stopped")
    assert {path.suffix for path in (store.root / jobs.ROOM).iterdir()} == {".json", ".log", ".lock", ".stopped"}
    assert upkeep.verify(store).unknown == []


def test_the_readme_of_the_store_names_every_room() -> None:
    text = (ROOT / "data_cache" / "README.md").read_text()
    rooms = (*upkeep.ROOMS, jobs.ROOM, uploads.ROOM, *upkeep.ELSEWHERE)
    assert [room for room in rooms if f"`{room}/`" not in text] == []
    assert f"`{FILE}`" in text
