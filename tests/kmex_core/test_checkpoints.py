"""Weights from elsewhere: every container and type, nothing before its size is known, other frameworks by name."""

from __future__ import annotations

import argparse
import json
import os
import pickletools
import struct
import time
import tracemalloc
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from kmex_core.base.errors import InputError
from kmex_core.networks import checkpoints, matching
from kmex_core.networks.checkpoints import read_checkpoint
from kmex_core.networks.matching import converted, match
from tests.helpers.checkpoints import FOREIGN


class Small(nn.Module):
    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 5, 3)
        self.bn1 = nn.BatchNorm2d(5)
        self.fc = nn.Linear(5, classes)


@pytest.fixture
def weights() -> dict[str, Tensor]:
    torch.manual_seed(0)
    network = Small()
    for value in network.state_dict().values():
        if value.is_floating_point():
            value.uniform_(0.5, 1)
    return dict(network.state_dict())


def fitted(path: Path, ignore: tuple[str, ...] = ()) -> matching.Match:
    return match(read_checkpoint(path), Small(), ignore)


def is_placed(found: matching.Match, weights: dict[str, Tensor]) -> bool:
    network = Small()
    state = converted(found.state, network, "The weights")
    return set(state) == set(weights) and all(torch.allclose(state[name], weights[name]) for name in weights)


HOLDERS: dict[str, Callable[[dict[str, Tensor]], Any]] = {
    "alone": lambda w: w,
    "torchvision": lambda w: {"epoch": 90, "arch": "resnet18", "state_dict": w, "best_acc1": torch.tensor(70.5),
                              "optimizer": {"state": {0: {"momentum_buffer": torch.ones(5)}}, "param_groups": []}},
    "timm": lambda w: {"epoch": 1, "arch": "x", "state_dict": w, "args": argparse.Namespace(lr=0.1, data="x")},
    "deit": lambda w: {"model": w, "scaler": {"scale": 1.0}, "epoch": 3},
    "network": lambda w: {"network": w},
    "net": lambda w: {"net": w, "acc": 93.1, "epoch": 7},
    "model_state_dict": lambda w: {"model_state_dict": w, "loss": torch.tensor(0.3)},
    "ema": lambda w: {"ema": w, "step": 3},
    "params": lambda w: {"params": w},
    "nested": lambda w: {"state_dict": {"model": w}},
    "any name": lambda w: {"my_own_name": w, "epoch": torch.tensor(3)},
    "in parts": lambda w: {"encoder": {n: v for n, v in w.items() if n[:2] != "fc"},
                           "classifier": {n[3:]: v for n, v in w.items() if n[:2] == "fc"}},
    "DataParallel": lambda w: {f"module.{n}": v for n, v in w.items()},
    "compiled": lambda w: {f"_orig_mod.{n}": v for n, v in w.items()},
    "compiled within": lambda w: {f"module._orig_mod.backbone.{n}": v for n, v in w.items()},
    "Lightning": lambda w: {"pytorch-lightning_version": "2.4", "state_dict":
                            {f"model.{n}": v for n, v in w.items()} | {"crit.weight": torch.ones(4)},
                            "hyper_parameters": {"lr": 0.1}, "callbacks": {}, "loops": {"epoch": 1}},
    "metrics": lambda w: {f"net.{n}": v for n, v in w.items()} | {"val_acc.tp": torch.ones(4)},
    "averaged": lambda w: {f"module.{n}": v for n, v in w.items()} | {"n_averaged": torch.tensor(3)},
    "profiled": lambda w: w | {"total_ops": torch.zeros(1), "conv1.total_params": torch.zeros(1)},
    "GoogLeNet": lambda w: w | {"aux1.fc1.weight": torch.ones(2, 2), "aux2.conv.conv.weight": torch.ones(1, 1, 1, 1)},
    "Inception": lambda w: {f"module.{n}": v for n, v in (w | {"AuxLogits.fc.weight": torch.ones(3, 2)}).items()},
    "ordered": lambda w: OrderedDict(w),
    "numpy score": lambda w: {"state_dict": w, "best": np.float64(0.5)},
}  # fmt: skip


@pytest.mark.parametrize("kind", HOLDERS)
def test_weights_are_taken_from_what_holds_them(kind: str, weights: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(HOLDERS[kind](weights), tmp_path / "w.pt")
    found = fitted(tmp_path / "w.pt")
    assert is_placed(found, weights), (sorted(found.state), found)
    left = {
        "Lightning": ("crit.weight",),
        "averaged": ("n_averaged",),
        "metrics": ("val_acc.tp",),
        "profiled": ("total_ops", "conv1.total_params"),
        "Inception": ("module.AuxLogits.fc.weight",),
        "GoogLeNet": ("aux1.fc1.weight", "aux2.conv.conv.weight"),
    }
    assert found.ignored == left.get(kind, ())


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    "kind",
    ["float16", "bfloat16", "float64", "float8_e4m3fn", "float8_e5m2", "expanded", "transposed", "sparse", "csr",
     "parameter", "quantised"],
)  # fmt: skip
def test_every_float_type_becomes_float32(kind: str, legacy: bool, weights: dict[str, Tensor], tmp_path: Path) -> None:
    def turned(value: Tensor) -> Tensor:
        if not value.is_floating_point():
            return value
        if kind == "expanded":
            return value.flatten()[:1].expand(value.shape)
        if kind == "transposed":
            return value.T.contiguous().T if value.ndim == 2 else value
        if kind == "sparse":
            return value.to_sparse()
        if kind == "csr":
            return value.to_sparse_csr() if value.ndim == 2 else value
        if kind == "parameter":
            return nn.Parameter(value)
        if kind == "quantised":
            return torch.quantize_per_tensor(value, 0.01, 0, torch.qint8)
        return value.to(getattr(torch, kind))

    if legacy and kind.startswith("float8"):
        pytest.skip("torch.save never wrote these in its old format.")
    given = {name: turned(value) for name, value in weights.items()}
    torch.save(given, tmp_path / "w.pt", _use_new_zipfile_serialization=not legacy)
    network = Small()
    state = converted(fitted(tmp_path / "w.pt").state, network, "The weights")
    network.load_state_dict(state)
    loose = {"quantised": 0.01, "float8_e4m3fn": 0.1, "float8_e5m2": 0.2, "bfloat16": 0.01, "float16": 0.001}
    for name, value in state.items():
        assert value.dtype == network.state_dict()[name].dtype
        assert value.is_contiguous()
        if kind != "expanded":
            assert torch.allclose(value.float(), weights[name].float(), atol=loose.get(kind, 0)), name


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn])
def test_safetensors_of_every_float_type(kind: torch.dtype, weights: dict[str, Tensor], tmp_path: Path) -> None:
    save_file({n: v.to(kind) if v.is_floating_point() else v for n, v in weights.items()}, tmp_path / "w.safetensors")
    state = converted(fitted(tmp_path / "w.safetensors").state, Small(), "The weights")
    assert all(torch.allclose(state[name].float(), weights[name].float(), atol=0.1) for name in weights)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (torch.ones(4, 5, dtype=torch.complex64), r"complex numbers \('fc.weight' is complex64\)"),
        (torch.ones(4, 5, dtype=torch.int8), r"integers \('fc.weight' is int8\)"),
        (torch.ones(4, 5, dtype=torch.bool), r"integers \('fc.weight' is bool\)"),
        (torch.ones(4, 5, device="meta"), "have no values"),
    ],
)
def test_values_without_a_float_are_refused(
    value: Tensor, words: str, weights: dict[str, Tensor], tmp_path: Path
) -> None:
    torch.save(weights | {"fc.weight": value}, tmp_path / "w.pt")
    with pytest.raises(InputError, match=words):
        converted(fitted(tmp_path / "w.pt").state, Small(), "The weights")


def test_patterns_leave_out_what_they_name(weights: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(weights | {"teacher.fc.bias": torch.ones(3), "norm.mean": torch.ones(3)}, tmp_path / "w.pt")
    assert set(fitted(tmp_path / "w.pt").state) - set(weights) == {"teacher.fc.bias", "norm.mean"}
    found = fitted(tmp_path / "w.pt", ("teacher.*", "norm.[ms]*"))
    assert is_placed(found, weights)
    assert set(found.ignored) == {"teacher.fc.bias", "norm.mean"}
    with pytest.raises(InputError, match=r"--ignore 'nothing\*' matches no tensor"):
        fitted(tmp_path / "w.pt", ("nothing*",))


def test_two_copies_of_the_weights_are_not_guessed(weights: dict[str, Tensor], tmp_path: Path) -> None:
    both = {f"{part}.{name}": value for part in ("student", "teacher") for name, value in weights.items()}
    torch.save(both, tmp_path / "w.pt")
    assert fitted(tmp_path / "w.pt").rivals == ("student", "teacher")
    assert is_placed(fitted(tmp_path / "w.pt", ("teacher.*",)), weights)


# ---- sizes before memory --------------------------------------------------------------------------------------------


def rezipped(source: Path, target: Path, compression: int, pickled: bytes = b"") -> None:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", compression) as new:
        for name in old.namelist():
            new.writestr(name, pickled if pickled and name.endswith("data.pkl") else old.read(name))


def test_a_compressed_checkpoint_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    torch.save({"fc.weight": torch.zeros(2**22)}, tmp_path / "w.pt")
    rezipped(tmp_path / "w.pt", tmp_path / "small.pt", zipfile.ZIP_DEFLATED)
    assert (tmp_path / "small.pt").stat().st_size < 2**17
    with pytest.raises(InputError, match=r"compressed zip archive \(16 MiB unpacked\)"):
        read_checkpoint(tmp_path / "small.pt")


def test_a_tensor_without_memory_takes_none(weights: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(weights | {"huge": torch.zeros(1).expand(2**40)}, tmp_path / "w.pt")
    found = fitted(tmp_path / "w.pt")
    assert found.state["huge"].shape == (2**40,)
    state = converted(found.state, Small(), "The weights")
    assert state["huge"].untyped_storage().nbytes() < 2**20  # it has no place: nothing is made of it


@pytest.mark.parametrize("name", ["." * 20_000, "a" * 5_000, ".".join("abc" * 40)])
def test_names_have_limits(name: str, tmp_path: Path) -> None:
    torch.save({name: torch.zeros(1)}, tmp_path / "w.pt")
    save_file({name: torch.zeros(1)}, tmp_path / "w.safetensors")
    started = time.perf_counter()
    for file in ("w.pt", "w.safetensors"):
        with pytest.raises(InputError, match="no network has such names"):
            read_checkpoint(tmp_path / file)
    assert time.perf_counter() - started < 2


def test_many_alike_tensors_are_matched_in_time(weights: dict[str, Tensor]) -> None:
    many = {f"part{number}.weight": torch.zeros(5) for number in range(5_000)}
    started = time.perf_counter()
    assert match(weights | many, Small()).matched == len(weights)
    without = {name: value for name, value in weights.items() if name != "bn1.weight"}
    assert "bn1.weight" not in match(without | many, Small()).state
    assert time.perf_counter() - started < 10


def test_counts_and_headers_have_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({f"a{number}": torch.zeros(1) for number in range(50)}, tmp_path / "w.pt")
    save_file({f"a{number}": torch.zeros(1) for number in range(50)}, tmp_path / "w.safetensors")
    torch.save({"a": torch.zeros(1), "text": "x" * 200_000}, tmp_path / "long.pt")
    monkeypatch.setattr(checkpoints, "MOST_TENSORS", 20)
    for name in ("w.pt", "w.safetensors"):
        with pytest.raises(InputError, match="50 tensors; the limit is 20|too much"):
            read_checkpoint(tmp_path / name)
    monkeypatch.setattr(checkpoints, "MOST_HEADER", 2**16)
    with pytest.raises(InputError, match="besides its tensors"):
        read_checkpoint(tmp_path / "long.pt")
    (tmp_path / "header").write_bytes(struct.pack("<Q", 2**20) + b"{" + b" " * 2**20)
    with pytest.raises(InputError, match="header cannot be read"):
        read_checkpoint(tmp_path / "header")


def test_shapes_beyond_the_file_are_refused(weights: dict[str, Tensor], tmp_path: Path) -> None:
    header = {"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}
    text = json.dumps(header).encode()
    (tmp_path / "w.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(16))
    with pytest.raises(InputError, match="damaged"):
        read_checkpoint(tmp_path / "w.safetensors")
    torch.save({"a": torch.zeros(1000)}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    content = (tmp_path / "old.pt").read_bytes()
    assert content.count(b"M\xe8\x03") >= 1  # 1000, as the pickle has it
    (tmp_path / "old.pt").write_bytes(content.replace(b"M\xe8\x03", b"J\xff\xff\xff\x7f"))
    with pytest.raises(InputError, match="larger than the file|damaged"):
        read_checkpoint(tmp_path / "old.pt")


def test_a_number_makes_no_bytes(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1)}, tmp_path / "w.pt")
    bomb = b"\x80\x02cbuiltins\nbytearray\n\x8a\x05\x00\x00\x00\x00\x10\x85R."
    rezipped(tmp_path / "w.pt", tmp_path / "b.pt", zipfile.ZIP_STORED, bomb)
    with pytest.raises(InputError, match="more than weights"):
        read_checkpoint(tmp_path / "b.pt")


@pytest.mark.parametrize("part", ["alone", *range(5)])
def test_a_number_makes_no_bytes_in_any_part_of_an_old_file(tmp_path: Path, part: str | int) -> None:
    bomb = b"\x80\x02cbuiltins\nbytearray\nJ\x00\x00\x00\x20\x85R."  # 512 MiB
    if part == "alone":
        content = bomb
    else:
        torch.save({"a": torch.zeros(1)}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
        content, at, ends = (tmp_path / "old.pt").read_bytes(), 0, []
        for _ in range(5):
            at += len(pickletools_read(content[at:]))
            ends.append(at)
        assert isinstance(part, int)
        start = ends[part - 1] if part else 0
        content = content[:start] + bomb + content[ends[part] :]
    (tmp_path / "b.pt").write_bytes(content)
    tracemalloc.start()
    with pytest.raises(InputError, match=r"more than weights|not a checkpoint"):
        read_checkpoint(tmp_path / "b.pt")
    assert tracemalloc.get_traced_memory()[1] < 2**26
    tracemalloc.stop()


def pickletools_read(content: bytes) -> bytes:
    """The first pickle in `content`."""
    return content[: max(at for _, _, at in pickletools.genops(content) if at is not None) + 1]


@pytest.mark.parametrize("content", [b"\x80\x02J\x01", b"\x80\x02X\xff\xff\xff\x7f.", b"\x80\x02M"])
def test_a_pickle_that_is_cut_off_is_told_in_a_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w.pt").write_bytes(content)
    with pytest.raises(InputError, match="damaged|not a checkpoint"):
        read_checkpoint(tmp_path / "w.pt")


# ---- other frameworks' files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_file_of_another_kind_is_named_for_what_it_is(kind: str, tmp_path: Path) -> None:
    make, words = FOREIGN[kind]
    (tmp_path / "file").write_bytes(make())
    with pytest.raises(InputError, match=words) as refused:
        read_checkpoint(tmp_path / "file")
    assert "damaged" not in str(refused.value)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "nothing", tmp_path / "pipe", Path("/dev/null")):
        with pytest.raises(InputError, match="not a file|no file"):
            read_checkpoint(path)
