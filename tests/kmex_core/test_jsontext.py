from __future__ import annotations

import ast
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kmex_core.base.files import read_description, write_file
from kmex_core.base.jsontext import read_json, write_json
from kmex_core.base.store import Store
from kmex_core.models import catalogue as models
from kmex_core.models.info import ModelInfo
from tests.helpers.paths import ROOT


def strict(text: str) -> Any:
    """What a reader makes of a text that knows no NaN."""
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (math.nan, None),
        ([math.inf, -math.inf, 1.5], [None, None, 1.5]),
        ({"accuracy": np.float64("nan"), "share": np.float32(0.5)}, {"accuracy": None, "share": 0.5}),
        (np.array([[1.0, np.nan], [np.inf, 2.0]]), [[1.0, None], [None, 2.0]]),
        ({"deep": [{"of": (np.nan, {"k": np.int64(3)})}]}, {"deep": [{"of": [None, {"k": 3}]}]}),
        ({1: True, "x": {2, 1}, "flag": np.bool_(False)}, {"1": True, "x": [1, 2], "flag": False}),
        (Path("a") / "b", "a/b"),
        ("naïve ☂ NaN", "naïve ☂ NaN"),
    ],
)
def test_what_is_not_finite_becomes_null_wherever_it_is(value: object, expected: object) -> None:
    text = write_json(value)
    assert strict(text) == expected
    assert text.isascii()


def test_texts_of_older_versions_are_read() -> None:
    assert read_json('{"accuracy": NaN, "range": [-Infinity, Infinity], "k": 5}') == {
        "accuracy": None,
        "range": [None, None],
        "k": 5,
    }
    with pytest.raises(ValueError, match="Expecting"):
        read_json("{accuracy")


def test_a_description_with_nan_is_written_as_null(tmp_path: Path) -> None:
    write_file(tmp_path / "x.safetensors", {}, {"summary": {"accuracy": math.nan}})
    assert read_description(tmp_path / "x.safetensors") == {"summary": {"accuracy": None}}


def test_a_model_without_an_accuracy_is_listed(store: Store, digits: ModelInfo) -> None:
    models.save(store, replace(digits, name="unmeasured", accuracy=math.nan), models.load(store, "digits").model)
    assert models.describe(store, "unmeasured").accuracy is None
    assert not models.list_models(store)[1]


def test_nothing_else_writes_json() -> None:
    for path in [*ROOT.glob("kmex_core/**/*.py"), *ROOT.glob("app/**/*.py"), *ROOT.glob("benchmarks/*.py")]:
        # specs.py makes names, which nobody reads back; the numbers of a graph may be infinite
        if path.name in ("jsontext.py", "specs.py", "exported_program.py"):
            continue
        calls = {ast.unparse(node.func) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)}
        written = calls & {"json.dumps", "json.dump"}
        assert not written or path == ROOT / "benchmarks" / "map.py", f"{path} has a writer of its own: {written}"
