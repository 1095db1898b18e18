"""The how-to guides' examples: each is applied to a copy of the two packages, and what it adds is used there."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from kmex_core.base.specs import DatasetSpec
from kmex_core.data.opened import dataset
from tests.helpers.paths import ROOT

GUIDES = ROOT / "docs" / "how-to"
EXAMPLES = GUIDES / "examples"


def with_example(name: str, folder: Path) -> Path:
    """A copy of the two packages in which an example's files are and its diffs are applied."""
    for package in ("app", "kmex_core", ".streamlit"):
        ignored = shutil.ignore_patterns("__pycache__", "secrets.toml")
        shutil.copytree(ROOT / package, folder / package, symlinks=True, ignore=ignored)
    for diff in EXAMPLES.joinpath(name).glob("*.diff"):
        subprocess.run(["git", "apply", diff], cwd=folder, check=True)
    for path in EXAMPLES.joinpath(name).rglob("*.py"):
        target = folder / path.relative_to(EXAMPLES / name)
        assert not target.exists(), f"{target} is there without the example"
        shutil.copy(path, target)
    return folder


def run(folder: Path, cache: Path, *command: str) -> str:
    """What Python prints in a child process that imports the packages from `folder`."""
    environment = os.environ | {"KMEX_CACHE": str(cache)}
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def kmex(folder: Path, cache: Path, *command: str) -> Any:
    """The answer of a command."""
    return json.loads(run(folder, cache, "-m", "kmex_core", *command, "--json"))


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.iterdir()))
def test_every_file_of_an_example_is_on_its_page(name: str) -> None:
    page = (ROOT / "docs" / "how-to" / f"add-a-{name}.md").read_text()
    for path in EXAMPLES.joinpath(name).rglob("*"):
        assert path.is_dir() or f'--8<-- "{path.relative_to(ROOT)}"' in page


def test_the_metric_is_evaluated(tmp_path: Path, demo_cache: Path) -> None:
    answer = kmex(
        with_example("metric", tmp_path), demo_cache, "evaluate", "--model", "digits", "--metrics", "silhouette"
    )
    assert 0 < answer["metrics"]["silhouette"]["mean"] <= 1


@pytest.mark.slow  # half a minute of training
def test_the_baseline_is_trained_and_evaluated(tmp_path: Path) -> None:
    folder, cache = with_example("baseline", tmp_path / "copy"), tmp_path / "store"
    train = (
        "train",
        "compact",
        "--dataset",
        "digits",
        "--backbone",
        "resnet20",
        "--image-size",
        "16",
        "--epochs",
        "2",
        "--name",
        "mine",
    )
    kmex(folder, cache, *train)
    answer = kmex(folder, cache, "evaluate", "--model", "mine", "--own", "--metrics", "accuracy,ghosting")
    assert answer["kind"] == "compact"
    assert answer["metrics"]["accuracy"]["mean"] > 0.4  # chance: a tenth
    assert answer["metrics"]["ghosting"]["mean"] is not None


def test_the_data_set_is_listed_trained_on_and_converted(tmp_path: Path) -> None:
    folder, cache = with_example("data-set", tmp_path / "copy"), tmp_path / "store"
    assert "shapes" in {entry["name"] for entry in kmex(folder, cache, "datasets")["datasets"]}
    kmex(
        folder,
        cache,
        "train",
        "--dataset",
        "shapes",
        "--backbone",
        "resnet20",
        "--image-size",
        "16",
        "--epochs",
        "2",
        "--name",
        "mine",
    )
    answer = kmex(folder, cache, "convert", "--model", "mine", "--k", "3")
    assert answer["test_images"] == 150
    assert answer["accuracy_kmex"] > 0.45  # chance: a third


@pytest.mark.slow  # half a minute; each registered method is tried in test_registry
def test_the_relevance_method_is_shown_and_evaluated(tmp_path: Path, demo_cache: Path) -> None:
    folder, name = with_example("relevance-method", tmp_path / "copy"), "saliency"
    picture, out = tmp_path / "seven.png", tmp_path / "out"
    Image.fromarray(dataset(DatasetSpec("digits")).split("test").image(7)).save(picture)
    explain = ("explain", "--model", "digits", "--image", str(picture), "--out", str(out), "--method", name)
    assert kmex(folder, demo_cache, *explain)["method"] == name
    maps = load_file(out / "maps.safetensors")
    assert all(np.isfinite(values).all() and values.any() for values in maps.values())
    evaluate = re.findall(
        r"^python -m kmex_core (evaluate .*)$", (GUIDES / "add-a-relevance-method.md").read_text(), re.M
    )
    answer = kmex(folder, demo_cache, *shlex.split(evaluate[0].replace("--images 100", "--images 8")))
    assert answer["method"] == name
    assert {measured["mean"] is not None for measured in answer["metrics"].values()} == {True}


def test_the_page_opens(tmp_path: Path, demo_cache: Path) -> None:
    script = (
        "import json\nfrom streamlit.testing.v1 import AppTest\n"
        "page = AppTest.from_file('app/frame.py', default_timeout=60).run().switch_page('views/confusions.py').run()\n"
        "assert not page.exception and not page.error, (page.exception, page.error)\n"
        "print(json.dumps([page.title[0].value, page.dataframe[0].value['images'].tolist()]))"
    )
    title, images = json.loads(run(with_example("page", tmp_path), demo_cache, "-c", script).splitlines()[-1])
    assert title == "Confusions"
    answer = kmex(ROOT, demo_cache, "convert", "--model", "faces", "--k", "5")
    assert sum(images) == answer["test_images"] - round(answer["accuracy_kmex"] * answer["test_images"])
    assert images == sorted(images, reverse=True)
