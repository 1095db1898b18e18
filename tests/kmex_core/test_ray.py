"""The engine on a real Ray with two workers: the same results, workers that are killed, and a driver that is."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from kmex_core.analysis.coverage import coverage_of
from kmex_core.base.errors import InputError
from kmex_core.base.store import Store
from kmex_core.models import catalogue as models
from kmex_core.networks.arithmetic import Arithmetic
from kmex_core.prototypes.metric import EmbeddingMetric
from kmex_core.prototypes.source import KMeans
from kmex_core.scale.attribute_rows import written
from kmex_core.scale.attributes import ShardedAttributes, group_figures
from kmex_core.scale.density import FIT
from kmex_core.scale.engine import Local, Ray, engine_of, kept
from kmex_core.scale.extraction import sharded_split
from kmex_core.scale.figures import Measurement
from kmex_core.scale.sharded import ShardWriter
from kmex_core.scale.subject import ShardedSubject
from kmex_core.scale.suggestion import sharded_suggestion
from kmex_core.scale.sweep import sharded_sweep
from kmex_core.stages.subject import Subject, dataset_of
from tests.helpers.paths import ROOT
from tests.helpers.sharded import fitted, small
from tests.helpers.tasks import Number, doubled, killed_part, notes, refused, squared

ray = pytest.importorskip("ray")
MUCH = 10**12


def test_what_cannot_be_reached_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="no engine named 'dask'"):
        engine_of("dask")
    with pytest.raises(InputError, match="pass --engine ray with it"):
        engine_of("local", "auto")
    monkeypatch.setattr(ray, "is_initialized", lambda: False)  # not by a test before
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with (
            pytest.raises(InputError, match="no Ray cluster at '127.0.0.1:.*ray start --head"),
            Ray(f"127.0.0.1:{closed.getsockname()[1]}"),
        ):
            pass
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"pip install 'kmex-explorer\[ray\]'"), Ray():
        pass


@pytest.fixture(scope="module")
def engine() -> Iterator[Ray]:
    with Ray(processors=2) as engine:
        yield engine


def test_results_come_in_the_order_of_the_items(engine: Ray) -> None:
    assert list(engine.map(doubled, 5, range(20))) == list(Local().map(doubled, 5, range(20)))


def test_errors_are_those_of_the_program(engine: Ray) -> None:
    with pytest.raises(InputError, match=r"^No 3\.$"):
        list(engine.map(refused, 0, [3, 4]))
    assert engine.memory > 2**20


def test_a_killed_worker_s_task_is_done_again_and_nothing_else(engine: Ray, tmp_path: Path) -> None:
    items = [Number(value) for value in range(8)]
    results = list(kept(engine, tmp_path / "kept", squared, tmp_path, items, "Squaring"))
    assert [int(each["square"][0]) for each in results] == [value**2 for value in range(8)]
    ran = [line[0] for line in notes(tmp_path)]
    assert ran.count("3") == 2
    assert len({pid for value, pid in notes(tmp_path) if value == "3"}) == 2
    # only the item that lost its file is done again
    (tmp_path / "kept" / "number-5.safetensors").unlink()
    again = list(kept(engine, tmp_path / "kept", squared, tmp_path, items, "Squaring"))
    assert [int(each["square"][0]) for each in again] == [value**2 for value in range(8)]
    assert len(notes(tmp_path)) == len(ran) + 1
    assert notes(tmp_path)[-1][0] == "5"


def test_a_sweep_by_several_workers_is_that_of_one_process(engine: Ray, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 3000)
    z = (random.normal(size=(12, 8)) * 4)[labels * 4 + random.integers(0, 4, 3000)] + random.normal(size=(3000, 8))
    found = {}
    for name, used in (("local", Local()), ("ray", engine)):
        writer = ShardWriter(tmp_path / name, 8, ["a", "b", "c"], name="same", part_rows=700)
        writer.add(z.astype(np.float32), labels, labels)
        found[name] = sharded_sweep(writer.finish(), EmbeddingMetric(), range(1, 6), 0, used, MUCH)
    for field, array in found["local"].to_arrays().items():
        # the machines are the same: so is every bit
        assert np.array_equal(array, getattr(found["ray"], field), equal_nan=True), field


def test_suggestions_and_density_maps_by_several_workers_are_those_of_one_process(engine: Ray, tmp_path: Path) -> None:
    found, files = {}, {}
    for name, used in (("local", Local()), ("ray", engine)):
        embedding = small(tmp_path / name)
        density_map = fitted(embedding)
        found[name] = density_map.make(used), sharded_suggestion(embedding, EmbeddingMetric(), used)
        files[name] = {
            path.relative_to(density_map.folder): path.read_bytes()
            for path in density_map.folder.rglob("*")
            if path.is_file() and path.name != FIT
        }
    assert found["local"][0] == found["ray"][0]
    assert len(files["local"]) > 10
    assert files["local"] == files["ray"]
    for field, array in found["local"][1].to_arrays().items():
        assert np.array_equal(array, getattr(found["ray"][1], field), equal_nan=True), field


def test_figures_and_attributes_by_several_workers_are_those_of_one_process(engine: Ray, tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    labels = random.integers(0, 3, 3000)
    z = (random.normal(size=(12, 8)) * 2)[labels * 4 + random.integers(0, 4, 3000)] + random.normal(size=(3000, 8))
    has, black_box = random.random((3000, 5)) < 0.3, np.where(random.random(3000) < 0.1, 0, labels)
    figures, covered, groups = {}, {}, {}
    for name, used in (("local", Local()), ("ray", engine)):
        writer = ShardWriter(tmp_path / name, 8, ["a", "b", "c"], name="same", part_rows=700)
        writer.add(z.astype(np.float32), labels, black_box)
        embedding = writer.finish()
        figures[name] = Measurement(embedding, EmbeddingMetric(), [3] * 3, 0, used, MUCH).figures()
        rows = written(embedding, [f"a {number}" for number in range(5)], has, None)
        prototypes = figures[name].prototypes
        covered[name] = coverage_of(ShardedAttributes(rows, EmbeddingMetric(), used), prototypes)
        groups[name] = group_figures(rows, EmbeddingMetric(), prototypes, used, 5)
    one, other = figures["local"], figures["ray"]
    assert (one.summary, one.temperature) == (other.summary, other.temperature)
    for counted in ("train", "held_out", "prototypes"):
        for field, array in getattr(one, counted).to_arrays().items():
            assert np.array_equal(array, getattr(getattr(other, counted), field)), field
    assert np.array_equal(covered["local"].chance.error, covered["ray"].chance.error)
    assert np.array_equal(covered["local"].told_apart, covered["ray"].told_apart)
    assert np.array_equal(groups["local"].chance.farthest, groups["ray"].chance.farthest)
    assert np.array_equal(groups["local"].accuracy.right, groups["ray"].accuracy.right)


def test_images_are_embedded_by_workers_one_of_which_is_killed(
    engine: Ray, demo: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The digits: two parts, three workers, and the same embedding, prototypes and figures as in one piece."""
    store = Store(tmp_path / "store")
    info = models.describe(demo, "digits")
    subject = Subject(store, info, dataset_of(info))
    monkeypatch.setattr("kmex_core.scale.extraction._part", killed_part)
    sharded = sharded_split(subject, "train", engine)
    whole = Subject(demo, info, dataset_of(info))
    expected = whole.embedding("train").get()
    assert sorted(line[0] for line in notes(store.root)) == ["0", "1", "1"]
    assert np.array_equal(np.concatenate([block.labels for block in sharded.blocks()]), expected.labels)
    assert np.allclose(np.concatenate([block.z for block in sharded.blocks()]), expected.z, rtol=1e-5, atol=1e-5)
    used = ShardedSubject(store, info, dataset_of(info), engine=engine, memory=MUCH)
    conversion = used.conversion(KMeans(5)).get()
    reference = whole.conversion(KMeans(5)).get()
    assert used.conversion(KMeans(5)).key == whole.conversion(KMeans(5)).key
    assert np.allclose(conversion.prototypes.centers, reference.prototypes.centers, rtol=1e-3, atol=1e-3)
    assert conversion.summary.accuracy_kmex == reference.summary.accuracy_kmex
    assert conversion.prototypes.count.tolist() == reference.prototypes.count.tolist()
    assert conversion.prototypes.nearest[:, 0].tolist() == reference.prototypes.nearest[:, 0].tolist()


DRIVER = """
import sys
from pathlib import Path
from kmex_core.scale.engine import Ray, kept
from tests.helpers.tasks import Number, slow
folder = Path(sys.argv[1])
with Ray(sys.argv[2]) as engine:
    for each in kept(engine, folder / "kept", slow, folder, [Number(value) for value in range(12)], "Squaring"):
        print(int(each["square"][0]), flush=True)
"""


def test_a_killed_driver_goes_on_where_it_stopped(engine: Ray, tmp_path: Path) -> None:
    address = ray.get_runtime_context().gcs_address
    arguments = [sys.executable, "-c", DRIVER, str(tmp_path), address]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    driver = subprocess.Popen(arguments, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    assert driver.stdout is not None
    assert driver.stdout.readline() == "0\n"
    driver.stdout.readline()
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    driver.stdout.close()
    settled = -1
    while settled != (settled := len(notes(tmp_path))):  # Ray stops the tasks of a driver that is gone
        time.sleep(0.6)
    done = {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in (tmp_path / "kept").glob("*.safetensors")}
    assert 2 <= len(done) < 12
    again = subprocess.run(arguments, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert again.stdout.split() == [str(value**2) for value in range(12)]
    assert all((path.stat().st_mtime_ns, path.stat().st_ino) == before for path, before in done.items())
    ran = [line[0] for line in notes(tmp_path)[settled:]]
    assert sorted(f"number-{value}.safetensors" for value in ran) == sorted(
        path.name for path in (tmp_path / "kept").glob("*") if path not in done
    )


def test_workers_compute_with_the_precision_that_was_asked_for(engine: Ray, demo: Store, tmp_path: Path) -> None:
    store, half = Store(tmp_path / "store"), Arithmetic("bfloat16")
    info = models.describe(demo, "digits")
    subject = Subject(store, info, dataset_of(info))
    found = sharded_split(subject, "test", engine, arithmetic=half)
    assert found.name == subject.embedding("test", half).key != subject.embedding("test").key
    z = np.concatenate([block.z for block in found.blocks()])
    assert np.array_equal(z, subject.embedding("test", half).get().z)  # in this process
    assert not np.allclose(z, Subject(demo, info, subject.data).embedding("test").get().z, rtol=1e-5, atol=1e-5)
