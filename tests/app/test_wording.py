"""What pages say of paths."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.wording import message, short
from kmex_core.base.store import Store


def test_a_path_is_told_from_a_place_that_the_reader_knows(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KMEX_DATA", str(tmp_path / "cache" / "pictures"))
    monkeypatch.setenv("HOME", str(tmp_path / "home" / "ann"))
    assert short(f"{store.root}/models/mine.safetensors is damaged.") == "models/mine.safetensors is damaged."
    assert short(f"{tmp_path}/cache/pictures/birds has no train folder.") == "birds has no train folder."
    assert short(f"'{tmp_path}/home/ann/my photos/a.png' is broken.") == "'~/my photos/a.png' is broken."
    assert short("/media/disk/birds has no train folder.") == "/media/disk/birds has no train folder."
    assert message(f"{store.root}/models/*a*.safetensors") == r"models/\*a\*.safetensors"


def test_a_place_is_told_wherever_it_ends_and_only_where_it_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KMEX_DATA", "/data")
    monkeypatch.setenv("KMEX_CACHE", "/srv/kmex/store")
    monkeypatch.setenv("HOME", "/root")
    for text in (
        "'/srv/data/photos/x'",
        "'/mnt/root/pics'",
        "/srv/kmex/store-2/x",
        "/data.old/x",
        "./data/x",
        "a/data",
    ):
        assert short(text) == text
    assert short("Cannot write to the store at /srv/kmex/store: full.") == "Cannot write to the store: full."
    assert short("Cannot write to '/srv/kmex/store'.") == "Cannot write to 'the store'."
    assert short("MNIST is not under /data.") == "MNIST is not under the data folder."
    assert short("/data and /data/x, /root and '/root/x'") == "the data folder and x, ~ and '~/x'"


def test_the_root_of_the_file_system_hides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KMEX_CACHE", "/")
    monkeypatch.setenv("KMEX_DATA", "/")
    monkeypatch.setenv("HOME", "/")
    assert short("/media/disk/birds") == "/media/disk/birds"
