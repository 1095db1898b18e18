"""`store verify` and `store clean` on sharded embeddings: what is damaged, what nobody needs, what is left alone."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from typer.testing import CliRunner

from kmex_core.base.files import write_bytes, write_file
from kmex_core.base.progress import Event
from kmex_core.base.store import Store
from kmex_core.commands import app
from kmex_core.prototypes.metric import EmbeddingMetric
from kmex_core.scale import attribute_rows, parts, upkeep
from kmex_core.scale.density import DensityMap
from kmex_core.scale.engine import Local
from kmex_core.scale.figures import Measurement
from kmex_core.scale.sharded import MANIFEST, ROOM, ShardedEmbedding
from kmex_core.scale.sweep import stored_sweeps
from kmex_core.scale.tiles import MAP
from kmex_core.stages.drafts import KEPT
from tests.helpers.sharded import small, whole

NAME = "many"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An embedding with all results; tests copy it."""
    return whole(tmp_path_factory.mktemp("sharded") / NAME).folder


@pytest.fixture
def folder(made: Path, store: Store) -> Path:
    """It in the store of a test."""
    return Path(shutil.copytree(made, store.root / ROOM / NAME))


def cli(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["store", *arguments, "--json"])
    return done.exit_code, done.stdout


def damaged(store: Store) -> dict[str, str]:
    return {finding.path.removeprefix(f"{ROOM}/{NAME}/"): finding.why for finding in upkeep.verify(store).damaged}


def needless(store: Store) -> dict[str, str]:
    return {finding.path.removeprefix(f"{ROOM}/"): finding.why for finding in upkeep.needless(store)}


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def one(folder: Path, pattern: str) -> Path:
    return min(folder.glob(pattern))


# ---- verify ---------------------------------------------------------------------------------------------------------


def test_a_sound_embedding_is_read_in_full_and_nothing_of_it_is_needless(store: Store, folder: Path) -> None:
    seen: list[Event] = []
    found = upkeep.verify(store, lambda event: seen.append(event))
    assert (found.damaged, found.unknown, found.rests) == ([], [], [])
    content = files(folder)
    assert (found.files, found.bytes) == (len(content), sum(map(len, content.values())))
    assert [event.done for event in seen] == list(range(len(content) + 1))
    assert needless(store) == {}
    code, out = cli("verify")
    assert (code, json.loads(out)["files"]) == (0, len(content))


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 4
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def linked(path: Path) -> None:
    path.rename(path.with_suffix(".away"))
    path.symlink_to(path.with_suffix(".away"))


DAMAGE: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "a bit of a part": ("part-000001.parquet", flipped, "damaged"),
    "a part's footer": ("part-000001.parquet", cut, "damaged or not a parquet file"),
    "no part": ("part-000001.parquet", Path.unlink, "is missing"),
    "a link for a part": ("part-000001.parquet", linked, "is missing"),
    "the manifest": (MANIFEST, cut, "damaged or was not written by this program"),
    "a sweep": ("results/sweep-*.safetensors", flipped, "damaged"),
    "a suggestion": ("results/suggestion-*.safetensors", cut, "damaged"),
    "the clusters of a class": ("results/clusters-*/class-000001.safetensors", flipped, "damaged"),
    "the map's fit": ("results/tiles-*/fit.safetensors", flipped, "damaged"),
    "the map": (f"results/tiles-*/{MAP}", cut, "damaged or was not written by this program"),
    "a bit of a tile": ("results/tiles-*/0/0-0.gz", flipped, "damaged or missing"),
    "a tile's end": ("results/tiles-*/1/*.gz", cut, "damaged or missing"),
    "no tile": ("results/tiles-*/2/*.gz", Path.unlink, "it is missing"),
}


@pytest.mark.parametrize(("pattern", "damage", "said"), DAMAGE.values(), ids=DAMAGE)
def test_every_damage_is_reported(
    store: Store, folder: Path, pattern: str, damage: Callable[[Path], object], said: str
) -> None:
    path = one(folder, pattern)
    damage(path)
    found = damaged(store)
    assert list(found) == [str(path.relative_to(folder))]
    assert said in found[str(path.relative_to(folder))]


def test_rows_are_read_only_where_the_footer_is_right(
    store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part of another embedding, with as many rows of each class, and one with other rows than the manifest says."""
    embedding = ShardedEmbedding.open(folder)
    first, second = (folder / part.file for part in embedding.parts[:2])
    block = embedding.block(0)
    other = parts.Block(block.index, block.z + 1, block.labels, block.black_box)
    parts.write_part(folder, 0, other, len(embedding.class_names), "another")
    shutil.copy(folder / embedding.parts[2].file, second)
    read: list[str] = []
    real = parts.read_block

    def watched(folder: Path, part: parts.Part, dimensions: int) -> parts.Block:
        read.append(part.file)
        return real(folder, part, dimensions)

    monkeypatch.setattr(parts, "read_block", watched)
    found = damaged(store)
    assert set(found) == {first.name, second.name}
    assert "says other things of itself" in found[first.name]
    assert "row groups of other sizes" in found[second.name]
    assert read == [part.file for part in embedding.parts[2:]]


def test_rows_that_differ_from_their_digest_are_reported(
    store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every page is whole, and the footer says what the manifest does: only the rows tell."""
    embedding = ShardedEmbedding.open(folder)
    part, block = embedding.parts[0], embedding.block(0)
    other = parts.Block(block.index, block.z * 2, block.labels, block.black_box)
    with monkeypatch.context() as patch:
        patch.setattr(parts, "content_digest", lambda _: part.digest)
        parts.write_part(folder, 0, other, len(embedding.class_names), "x")
    assert "its rows do not match their digest" in damaged(store)[part.file]


def test_the_manifest_s_files_are_those_of_its_folder(store: Store, folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "part-000000.parquet"
    (folder / "part-000000.parquet").rename(outside)
    manifest = json.loads((folder / MANIFEST).read_text())
    for name in (str(outside), f"../../../{outside.name}", "results/../part-000001.parquet"):
        manifest["parts"][0]["file"] = name
        (folder / MANIFEST).write_text(json.dumps(manifest))
        assert "is not the name of a part" in damaged(store)[MANIFEST]
        assert needless(store) == {}, "what cannot be judged stays"
    assert cli("verify")[0] == 1
    assert outside.exists()


def test_attributes_and_figures_are_ours(store: Store, folder: Path) -> None:
    embedding = ShardedEmbedding.open(folder)
    attribute_rows.written(embedding, ["round"], np.random.default_rng(0).random((embedding.rows, 1)) < 0.5, None)
    of = Measurement(embedding, EmbeddingMetric(), [2] * 3, 0, Local(), 2**30)
    figures = of.figures()
    found = upkeep.verify(store)
    assert (found.damaged, found.unknown, found.rests, needless(store)) == ([], [], [], {})
    assert found.files == len(files(folder))
    work = embedding.results / f"work-{of.key}"
    work.mkdir()
    assert needless(store) == {f"{NAME}/results/{work.name}": "made for a result that is stored"}
    work.rmdir()
    figures.write(of.path, "of other rows")
    assert needless(store) == {f"{NAME}/results/{of.path.name}": upkeep.CHANGED}
    part = attribute_rows.part_path(folder, 1)
    part.write_bytes(part.read_bytes()[:-3])
    assert damaged(store).keys() == {f"attributes/{part.name}"}
    (folder / attribute_rows.FOLDER / attribute_rows.ABOUT).write_text("{}")
    assert damaged(store).keys() == {f"attributes/{attribute_rows.ABOUT}"}


def test_what_is_not_ours_is_named_and_neither_opened_nor_removed(store: Store, folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "tiles-00000000000000000000").mkdir(parents=True)
    (outside / "tiles-00000000000000000000" / "mine").write_text("mine")
    (outside / MANIFEST).write_text("{}")
    shutil.copy(one(folder, "results/sweep-*"), outside)
    room = store.root / ROOM
    (room / "linked").symlink_to(outside)
    (room / "bare").mkdir()
    (room / "bare" / "results").symlink_to(outside)
    (folder / "results" / "tiles-11111111111111111111").symlink_to(outside)
    (folder / "notes.txt").write_text("mine")
    (folder / "results" / "mine").mkdir()
    (folder / "results" / "mine" / "a.npy").write_text("mine")
    (room / "a file").write_text("mine")
    os.mkfifo(folder / "results" / "pipe.safetensors")  # a reader would wait for ever
    before = {path for path in [*store.root.rglob("*"), *outside.rglob("*")] if path.suffix != ".lock"}
    found = upkeep.verify(store)
    assert found.damaged == []
    assert {finding.path.removeprefix(f"{ROOM}/") for finding in found.unknown} == {
        "linked", "a file", "bare/results", f"{NAME}/notes.txt", f"{NAME}/results/mine/a.npy",
        f"{NAME}/results/pipe.safetensors", f"{NAME}/results/tiles-11111111111111111111",
    }  # fmt: skip
    assert needless(store) == {}
    assert upkeep.remove(store, upkeep.needless(store)) == (0, 0)
    assert {path for path in [*store.root.rglob("*"), *outside.rglob("*")] if path.suffix != ".lock"} == before


# ---- clean ----------------------------------------------------------------------------------------------------------


def grown_old(folder: Path) -> None:
    then = time.time() - KEPT - 60
    for path in [*folder.rglob("*"), folder]:
        os.utime(path, (then, then))


def test_orphans_go_and_what_is_needed_stays(store: Store, folder: Path) -> None:
    embedding = ShardedEmbedding.open(folder)
    kept, results = files(folder), embedding.results
    density_map, (stored, sweep) = DensityMap(embedding), stored_sweeps(embedding)[0]
    gone = {
        "part-000099.parquet": "a part that its manifest does not have",
        "results/sweep-00000000000000000000.safetensors": "made of rows that are no longer there",
        "results/tiles-00000000000000000000": "a density map that is no longer shown",
        f"results/{density_map.folder.name}/counts/000000.npy": "counts of tiles that are written",
        f"results/{density_map.folder.name}/prototypes-{0:020}.safetensors": "places of prototypes that are gone",
        f"results/work-{stored.stem.removeprefix('sweep-')}": "made for a result that is stored",
        "results/work-11111111111111111111": "of an interrupted computation",
        ".x.parquet.0123456789ab.part": "the rest of a write that was killed",
    }
    clusters = one(results, "clusters-*")
    gone[f"results/{clusters.name}/class-000001-round0-000003.safetensors"] = "made for a result that is stored"
    shutil.copy(folder / "part-000000.parquet", folder / "part-000099.parquet")
    description = sweep.to_description() | {"embedding": "0" * 20}
    write_file(results / "sweep-00000000000000000000.safetensors", sweep.to_arrays(), description)
    for name in gone:
        path = folder / name
        if not path.suffix:
            write_file(path / "rows" / "rows-000000-000001.safetensors", {"a": np.arange(3)}, {})
        elif not path.exists():
            write_bytes(path, b"x")
    grown_old(results / "work-11111111111111111111")
    write_file(results / "work-22222222222222222222" / "rows.safetensors", {"a": np.arange(3)}, {})  # going on
    (store.root / ROOM / ".nothing.lock").touch()
    (store.root / ROOM / f".{NAME}.lock").touch()
    found = needless(store)
    assert set(found) == {*(f"{NAME}/{name}" for name in gone), ".nothing.lock"}
    for name, why in gone.items():
        assert found[f"{NAME}/{name}"].startswith(why), name
    code, out = cli("clean", "--yes")
    assert (code, json.loads(out)["removed"]) == (0, len(gone) + 1)
    assert needless(store) == {}
    assert {path: content for path, content in files(folder).items() if "work-2" not in str(path)} == kept
    assert upkeep.verify(store).damaged == []


def test_an_unfinished_embedding_stays_for_a_month(store: Store) -> None:
    embedding = small(store.root / ROOM / "begun", 900)
    (embedding.folder / MANIFEST).unlink()
    names = {f"begun/{part.file}" for part in embedding.parts}
    assert len(names) == 2
    assert upkeep.verify(store).damaged == []
    assert needless(store) == {}
    grown_old(embedding.folder)
    assert set(needless(store)) == names
    findings = upkeep.needless(store)
    os.utime(embedding.folder / "part-000001.parquet")  # somebody has gone on meanwhile
    assert upkeep.remove(store, findings) == (0, 0)
    grown_old(embedding.folder)
    assert upkeep.remove(store, findings)[0] == 2


def test_results_without_an_embedding_go(store: Store, folder: Path) -> None:
    for path in [folder / MANIFEST, *folder.glob("*.parquet")]:
        path.unlink()
    assert needless(store) == {f"{NAME}/results": "results of an embedding that is gone"}
    held = store.root / ROOM / ".writing.lock"
    with FileLock(held):
        assert needless(store) == {f"{NAME}/results": "results of an embedding that is gone"}, "a lock in use stays"
        assert upkeep.remove(store, upkeep.needless(store))[0] == 1
    assert list(folder.iterdir()) == []


def test_a_read_only_store_is_looked_at_and_not_changed(
    store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KMEX_READ_ONLY", "1")
    (folder / "part-000099.parquet").write_bytes(b"x")
    assert cli("clean", "--dry-run")[0] == 0
    assert cli("clean", "--yes")[0] == 2
    assert (folder / "part-000099.parquet").exists()
