"""What commands say of data beside every number: notes, where the test split is from, what is left out."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from kmex_core.base.store import Store
from kmex_core.commands import app
from kmex_core.data import content as _content
from kmex_core.data import opened
from tests.helpers.datasets import write_folder


def run(*arguments: object, code: int = 0) -> Any:
    answer = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    assert answer.exit_code == code, answer.output
    return json.loads(answer.stdout, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def test_from_training_to_comparing_every_number_comes_with_what_is_known_of_its_data(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_content, "FRESH_NS", 0)
    monkeypatch.setattr(opened, "LOOK_EVERY", 0.0)  # a command has a process of its own, which looks at once
    monkeypatch.setattr(opened, "LOOK_SHARE", 0.0)
    root = write_folder(tmp_path / "pets", ("a", "b"), 10, 0)
    for at in range(4):
        (root / "train" / "b" / f"{at:03}.png").unlink()
    (root / "train" / "a" / "broken.png").write_bytes(b"no picture")
    (root / "train" / "notes.txt").write_text("x")
    train = ("train", "--dataset", root, "--backbone", "resnet20", "--epochs", 1, "--name", "pets")
    assert "--skip-broken" in run(*train, code=2)["error"]
    trained = run(*train, "--skip-broken")
    assert trained["test_from"] == "held out"
    assert {item["reason"]: item["count"] for item in trained["left_out"]} == {
        "files that cannot be read as pictures": 1,
        "files with a suffix that no picture has": 1,
    }
    assert any("train/a/broken.png" in note for note in trained["notes"])
    converted = run("convert", "--model", "pets", "--k", 7)  # which leaves the same files out without being told
    assert converted["prototypes"] == 7 + 5
    assert converted["notes"][0].startswith("Fewer than 7 prototypes for 'b' (5)")
    assert converted["left_out"] == trained["left_out"]
    assert [row["k"] for row in run("sweep", "--model", "pets", "--k", "4:7")["rows"]] == [4, 5, 6, 7]
    state = run("datasets", "--verify", root, "--skip-broken")
    assert (state["models"], state["changed_files"]) == ({"pets": "same"}, [])

    run("export", "--model", "pets", "--out", tmp_path / "pets.safetensors")
    (root / "train" / "a" / "broken.png").unlink()
    assert len(run("convert", "--model", "pets", "--k", 2)["left_out"]) == 1
    weights = ("import", "--checkpoint", tmp_path / "pets.safetensors", "--dataset", root)
    assert "may be too optimistic" not in " ".join(
        run(*weights, "--name", "own")["notes"]
    )  # it has not seen what is held out
    (root / "train" / "a" / "000.png").write_bytes((root / "train" / "a" / "001.png").read_bytes())
    assert run("datasets", "--verify", root)["models"]["own"] == "changed"
    assert "has changed since 'own' was imported" in run("convert", "--model", "own", "--k", 2)["notes"][0]
    imported = run(*weights, "--name", "seen")
    assert "may be too optimistic" in imported["notes"][0]
    said = {model["name"]: model["caveat"] for model in run("models")["models"]}
    assert not said["pets"]
    assert "may be too optimistic" in said["seen"]
    assert "(!)" in CliRunner().invoke(app, ["models"]).stdout
    compared = run("compare", "--models", "seen", "pets", "--metrics", "accuracy,agreement")
    assert [row["label"] for row in compared["rows"] if row["caveat"]] == ["seen (!)", "seen + KMEx (!)"]
    latex = CliRunner().invoke(app, ["compare", "--models", "seen", "--metrics", "accuracy", "--format", "latex"])
    assert "may be too optimistic" in latex.stdout
    evaluated = run("evaluate", "--model", "seen", "--metrics", "accuracy")
    assert "may be too optimistic" in evaluated["caveat"]

    shutil.copytree(root, tmp_path / "copy" / "pets")
    os.remove(root / "train" / "b" / "009.png")
    there = run("convert", "--model", "seen", "--k", 2, "--data-root", tmp_path / "copy")
    assert not any("has changed" in note for note in there["notes"])
    assert any("has changed" in note for note in run("convert", "--model", "seen", "--k", 2)["notes"])
