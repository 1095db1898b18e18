from __future__ import annotations

import dataclasses
import subprocess
import sys
from typing import Any

from kmex_core.base.specs import EmbeddingSpec, PrototypeSpec, stable_key

SPEC = EmbeddingSpec("resnet18", "w", "d", "train", 32, (0.5,), (0.2,))


def test_every_field_changes_the_key() -> None:
    changed: dict[str, Any] = {
        "backbone": "x",
        "weights": "x",
        "data": "x",
        "split": "x",
        "image_size": 1,
        "mean": (0.4,),
        "std": (0.1,),
        "mixed_precision": True,
        "geometry": "x",
        "head": "x",
        "arithmetic": "x",
    }
    keys = {dataclasses.replace(SPEC, **{name: value}).key for name, value in changed.items()}
    assert set(changed) == {field.name for field in dataclasses.fields(SPEC)}
    assert len(keys | {SPEC.key}) == len(changed) + 1


def test_specs_of_two_kinds_never_share_a_key() -> None:
    assert stable_key(["EmbeddingSpec", {}]) != stable_key(["PrototypeSpec", {}])
    assert PrototypeSpec("e", 5).key != PrototypeSpec("e", 5, seed=1).key


def test_another_process_gives_the_same_key() -> None:
    code = (
        "from kmex_core.base.specs import EmbeddingSpec;"
        "print(EmbeddingSpec('resnet18', 'w', 'd', 'train', 32, (0.5,), (0.2,)).key)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == SPEC.key
