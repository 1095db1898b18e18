"""150 kills (SIGKILL) in the middle of everything that writes: nothing is lost, and what was begun can be ended."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from pathlib import Path

import pytest

from kmex_core.base.files import digest, read_file
from kmex_core.base.store import Store
from kmex_core.models import catalogue as models
from tests.helpers.datasets import write_folder
from tests.helpers.processes import Processes

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("KMEX_KILLS", "160"))
EPOCHS = "12"


def weights(store: Store, name: str) -> str:
    return digest(read_file(models.path_of(store, name))[0])


def test_nothing_is_lost_by_kills(tmp_path: Path) -> None:
    root, data = tmp_path / "store", write_folder(tmp_path / "data", ("left", "right"), 24, 6, size=16)
    run, store = Processes(root), Store(root)
    train = ["train", "--dataset", str(data), "--backbone", "resnet20", "--batch-size", "8", "--image-size", "16"]
    run.finish([*train, "--epochs", "1", "--name", "precious"])
    precious = weights(store, "precious")
    export = tmp_path / "exported.safetensors"
    run.finish(["export", "--model", "precious", "--out", str(export)])
    # what a run that was never killed ends with
    run.finish([*train, "--epochs", EPOCHS, "--name", "whole"])
    draw = random.Random(137)
    done: Counter[str] = Counter()
    killed: Counter[str] = Counter()
    usual = {"train": 6.0, "convert": 1.5, "sweep": 2.0, "import": 1.0, "rename": 0.3, "clean": 0.4, "train anew": 3.0}
    began = time.monotonic()
    while sum(killed.values()) < KILLS:
        # what has been killed least is likelier, since some things end before they can be
        what = min(draw.sample(list(usual), 2), key=lambda kind: killed[kind])
        seed = str(draw.randrange(99))
        held = "precious" if store.path("models", "precious").is_file() else "renamed"
        begun = bool(list((root / "runs").glob("run*.safetensors"))) if (root / "runs").is_dir() else False
        arguments = {
            "train": [*train, "--epochs", EPOCHS, "--name", "run", *(["--resume"] if begun else ["--overwrite"])],
            "train anew": [*train, "--epochs", "3", "--name", "other", "--overwrite", "--seed", seed],
            "convert": ["convert", "--model", held, "--k", str(draw.randrange(1, 9)), "--seed", seed],
            "sweep": ["sweep", "--model", held, "--k", "1:6", "--seed", seed],
            "import": [
                "import",
                "--checkpoint",
                str(export),
                "--name",
                "imported",
                "--overwrite",
                "--dataset",
                str(data),
            ],
            "rename": ["rename", "--model", held, "--to", "renamed" if held == "precious" else "precious"],
            "clean": ["store", "clean", "--yes"],
        }[what]
        process, started = run.start(arguments), time.monotonic()
        process.join(draw.uniform(0.02, usual[what]))
        if process.is_alive():
            process.kill()
            process.join()
            killed[what] += 1
        else:
            errors = Path(f"{tmp_path / 'output'}.err").read_text(errors="replace")
            assert process.exitcode == 0, f"{arguments}: {process.exitcode}\n{errors[-3000:]}"
            done[what] += 1
            usual[what] = (2 * usual[what] + time.monotonic() - started) / 3  # seconds, on this machine
        # all of a file or nothing of it, whoever was killed
        for path in root.rglob("*.safetensors"):
            read_file(path)
        kept_under = [name for name in ("precious", "renamed") if store.path("models", name).is_file()]
        assert kept_under, f"the model was lost by a kill of {arguments}"
        assert {weights(store, name) for name in kept_under} == {precious}
        for name in held[1:]:  # a rename was killed between its two steps
            run.finish(["delete", "--model", name, "--yes"])
    if list((root / "runs").glob("run*.safetensors")):
        run.finish([*train, "--epochs", EPOCHS, "--name", "run", "--resume"])
    elif not store.path("models", "run").is_file():
        run.finish([*train, "--epochs", EPOCHS, "--name", "run"])
    assert weights(store, "run") == weights(store, "whole"), "a resumed training ended with other weights"
    run.finish(["store", "clean", "--yes"])
    parts = list(root.rglob("*.part"))
    print(f"{sum(killed.values())} kills in {time.monotonic() - began:.0f} s {dict(killed)}; ended {dict(done)}")
    assert not parts
    run.finish(["store", "verify"])
    assert min(killed[what] for what in ("train", "convert", "sweep", "import")) >= KILLS // 20
