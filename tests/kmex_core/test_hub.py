"""Data sets of the Hugging Face hub: with a library that pretends, and with the real one where it is installed."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from kmex_core.base.errors import InputError
from kmex_core.base.specs import DatasetSpec
from kmex_core.base.store import READ_ONLY
from kmex_core.data import registry
from kmex_core.data.hub import folder_of
from tests.helpers.layouts import classes, picture

pytestmark = pytest.mark.usefixtures("store")
LABELS = [at % 3 for at in range(30)]


class DatasetDict(dict[str, Any]):
    """As the library's: splits that can be saved."""

    def save_to_disk(self, folder: str) -> None:
        for split, table in self.items():
            here = Path(folder) / split
            here.mkdir(parents=True)
            with pa.OSFile(str(here / "data.arrow"), "wb") as file, pa.ipc.new_stream(file, table.schema) as out:
                out.write_table(table)
            (here / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data.arrow"}]}))
        (Path(folder) / "dataset_dict.json").write_text(json.dumps({"splits": list(self)}))


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """A library that has one data set; the calls of `load_dataset`."""
    calls: list[tuple[Any, ...]] = []

    def load_dataset(name: str, configuration: str | None = None) -> Any:
        calls.append((name, configuration))
        if name == "me/single":
            return pa.table({"img": [picture(at) for at in range(30)], "label": LABELS})
        if name == "me/tests":
            return DatasetDict(test=pa.table({"img": [b""]}))
        if name != "me/pets":
            raise ConnectionError("Couldn't reach the hub")
        images = [picture(at) for at in range(30)]
        return DatasetDict(
            train=pa.table({"img": images[:20], "label": LABELS[:20]}),
            test=pa.table({"img": images[20:], "label": LABELS[20:]}),
        )

    fake = types.ModuleType("datasets")
    fake.__spec__ = types.SimpleNamespace()  # type: ignore[assignment]
    fake.__version__ = "4.0.0"  # type: ignore[attr-defined]
    fake.load_dataset, fake.DatasetDict = load_dataset, DatasetDict  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", fake)
    return calls


def test_a_data_set_is_downloaded_once(library: list[tuple[Any, ...]], tmp_path: Path) -> None:
    spec = DatasetSpec("hf:me/pets", str(tmp_path))
    data = registry.load(spec)
    assert classes(data) == {at: str(LABELS[at]) for at in range(30)}
    assert (data.name, data.test_from) == ("hf:me/pets", "test")
    assert registry.load(spec).fingerprint == data.fingerprint
    assert library == [("me/pets", None)]
    assert [path.name for path in (tmp_path / "huggingface").iterdir() if path.suffix != ".lock"] == ["me--pets"]
    assert registry.available("hf:me/pets", str(tmp_path))


def test_a_configuration_is_another_data_set(library: list[tuple[Any, ...]], tmp_path: Path) -> None:
    registry.load(DatasetSpec("hf:me/pets:small", str(tmp_path)))
    assert library == [("me/pets", "small")]
    assert (tmp_path / "huggingface" / "me--pets--small").is_dir()


def test_one_split_alone_is_the_training_split(library: list[tuple[Any, ...]], tmp_path: Path) -> None:
    assert registry.load(DatasetSpec("hf:me/single", str(tmp_path))).test_from == "held out"


def test_what_the_hub_does_not_give_is_a_sentence(
    library: list[tuple[Any, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="cannot be loaded from the Hugging Face hub .ConnectionError: Couldn't reach"):
        registry.load(DatasetSpec("hf:me/none", str(tmp_path)))
    with pytest.raises(InputError, match="no training split, only: test"):
        registry.load(DatasetSpec("hf:me/tests", str(tmp_path)))
    monkeypatch.setenv(READ_ONLY, "1")
    with pytest.raises(InputError, match="downloads nothing"):
        registry.load(DatasetSpec("hf:me/pets", str(tmp_path)))
    assert [path for path in (tmp_path / "huggingface").iterdir() if path.is_dir()] == []


def test_a_version_that_may_run_code_is_refused(
    library: list[tuple[Any, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["datasets"], "__version__", "3.6.0")
    with pytest.raises(InputError, match="may run code from the hub"):
        registry.load(DatasetSpec("hf:me/pets", str(tmp_path)))
    assert library == []


def test_a_folder_of_that_name_is_not_taken_for_it(
    library: list[tuple[Any, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "me" / "pets").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"Pass it as \./me/pets"):
        registry.load(DatasetSpec("hf:me/pets", str(tmp_path)))
    assert library == []


def test_without_the_library_a_sentence_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install datasets"):
        registry.load(DatasetSpec("hf:me/pets", str(tmp_path)))


@pytest.mark.parametrize(
    "name", ["hf:", "hf:../x", "hf:a/../b", "hf:a/b/c", "hf:/etc", "hf:a b", "hf:a:b:c", "hf:a\n", "hf:-x"]
)
def test_a_name_that_leads_elsewhere_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no name of a data set"):
        folder_of(name, tmp_path)


def test_the_real_library_reads_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    import pyarrow.parquet as pq

    images = pa.array(
        [{"bytes": picture(at), "path": None} for at in range(30)],
        pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
    )
    (tmp_path / "repository" / "data").mkdir(parents=True)
    for split, rows in (("train", slice(0, 20)), ("test", slice(20, 30))):
        features = {"image": {"_type": "Image"}, "label": {"names": ["a", "b", "c"], "_type": "ClassLabel"}}
        table = pa.table({"image": images[rows], "label": LABELS[rows]}).replace_schema_metadata(
            {"huggingface": json.dumps({"info": {"features": features}})}
        )
        pq.write_table(table, tmp_path / "repository" / "data" / f"{split}-00000-of-00001.parquet")
    original, repository, cache = datasets.load_dataset, str(tmp_path / "repository"), str(tmp_path / "cached")
    monkeypatch.setattr(datasets, "load_dataset", lambda _, of=None: original(repository, of, cache_dir=cache))
    data = registry.load(DatasetSpec("hf:me/pets", str(tmp_path / "root")))
    assert classes(data) == {at: "abc"[LABELS[at]] for at in range(30)}
