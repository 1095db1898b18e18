"""Bad checkpoints, pictures and tables: each is refused in words, in time, in little memory, and runs no code."""

from __future__ import annotations

import io
import json
import os
import pickle
import random
import struct
import subprocess
import sys
import textwrap
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import save as save_safetensors

from tests.helpers.checkpoints import FOREIGN
from tests.helpers.datasets import write_folder
from tests.helpers.paths import ROOT
from tests.helpers.pictures import encoded

pytestmark = pytest.mark.slow

SECONDS = 20
MIB = 1024
# a child reads every file of a folder; its memory is measured above what it has after its imports
CHILD = """
import json, resource, sys, time
from pathlib import Path
import torch
from kmex_core.data import registry as datasets
from kmex_core.stages import importing
from kmex_core.base.errors import KMExError
from kmex_core.data.pictures import read_picture
from kmex_core.base.specs import DatasetSpec
from kmex_core.base.store import Store

def checkpoint(path):
    asked = importing.ImportRequest("theirs", "blackbox", path, DatasetSpec(sys.argv[2], image_size=16), "resnet20")
    importing.import_model(Store(), asked, overwrite=True)

def table(path):
    data = datasets.load(DatasetSpec(str(path)))
    for split in data.splits:
        for _ in data.batches(split, 64):
            pass

def before(*_):
    pages = int(open("/proc/self/statm").read().split()[0])
    return pages * resource.getpagesize()

limit = before() + MIB * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
for path in sorted(Path(sys.argv[1]).iterdir()):
    kind = path.name.split("-")[0]
    started = time.perf_counter()
    try:
        {"checkpoint": checkpoint, "picture": read_picture, "table": table}[kind](path)
        said = None
    except KMExError as error:
        said = str(error)
    except MemoryError:
        said = "MEMORY"
    print(json.dumps([path.name, said, time.perf_counter() - started]), flush=True)
"""


class Run:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> Any:
        return os.system, (self.command,)


def saved(value: Any, legacy: bool = False) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


def rezipped(content: bytes, change: Callable[[str, bytes], bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(buffer, "w", method) as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return buffer.getvalue()


def header(value: Any, rest: bytes = b"") -> bytes:
    text = json.dumps(value).encode()
    return struct.pack("<Q", len(text)) + text + rest


def with_pickle(content: bytes) -> bytes:
    one = saved({"a": torch.ones(1)})
    return rezipped(one, lambda name, old: content if name.endswith("data.pkl") else old)


def many_entries() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number in range(120_000):
            archive.writestr(f"archive/data/{number:060}", b"")
    return buffer.getvalue()


def checkpoints(mark: Path) -> dict[str, bytes]:
    command = f"touch {mark}"
    draw = random.Random(0)
    good = saved({"fc.weight": torch.ones(3, 64)})
    legacy = saved({"fc.weight": torch.ones(3, 1000)}, True)
    flat = save_safetensors({"fc.weight": torch.ones(3, 64)})
    files = {f"foreign {kind}": make() for kind, (make, _) in FOREIGN.items()}
    files |= {
        "deflated": rezipped(saved({"a": torch.zeros(2**26)}), lambda _, old: old, zipfile.ZIP_DEFLATED),
        "stride 0": saved({"fc.weight": torch.zeros(1).expand(2**42)}),
        "stride 0 in place": saved({"conv1.weight": torch.zeros(1).expand(2**21, 2**21)}),
        "dots": saved({"." * 20_000: torch.zeros(1)}),
        "dots in safetensors": save_safetensors({"." * 20_000: torch.zeros(1)}),
        "long names": saved({"x" * 10**6: torch.zeros(1)}),
        "many tensors": saved({f"layer{number}.weight": torch.zeros(64) for number in range(15_000)}),
        "alike": saved({f"a.{number}.b.c.d.e.weight": torch.zeros(64) for number in range(8_000)}),
        "runs a command": pickle.dumps(Run(command)),
        "runs a command in a zip": with_pickle(pickle.dumps(Run(command), 2)),
        "whole model": saved(torch.nn.Sequential(torch.nn.Linear(2, 2))),
        "bytearray": with_pickle(b"\x80\x02cbuiltins\nbytearray\n\x8a\x05\x00\x00\x00\x00\x10\x85R."),
        "long number": with_pickle(b"\x80\x02\x8b\xff\xff\xff\x7f."),
        "long text": with_pickle(b"\x80\x02X\xff\xff\xff\x7f."),
        "deep": with_pickle(b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b"."),
        "laughs": with_pickle(
            b"\x80\x02]q\x00"
            + b"".join(b"]q" + bytes([n]) + b"(" + (b"h" + bytes([n - 1])) * 10 + b"e" for n in range(1, 60))
            + b"."
        ),
        "sparse": saved(
            {"fc.weight": torch.sparse_coo_tensor(torch.zeros(2, 1, dtype=torch.long), torch.ones(1), (2**30, 2**30))}
        ),
        "complex": saved({"fc.weight": torch.ones(3, 64, dtype=torch.complex64)}),
        "whole numbers": saved({"fc.weight": torch.ones(3, 64, dtype=torch.int8)}),
        "nan": saved({"fc.weight": torch.full((3, 64), torch.nan)}),
        "meta": saved({"fc.weight": torch.ones(3, 64, device="meta")}),
        "a list": saved([torch.ones(3)]),
        "nothing": saved({}),
        "numbers": saved({"epoch": 3}),
        "legacy with a lie": legacy.replace(b"M\xb8\x0b", b"J\xff\xff\xff\x7f"),
        "legacy cut": legacy[:-2000],
        "header too long": struct.pack("<Q", 2**40) + b"{" + b" " * 50,
        "header of spaces": struct.pack("<Q", 2**25) + b"{" + b" " * 2**25,
        "shape beyond the file": header({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}, b"x"),
        "shape that wraps": header({"a": {"dtype": "F32", "shape": [2**32, 2**32], "data_offsets": [0, 0]}}),
        "negative shape": header({"a": {"dtype": "F32", "shape": [-4], "data_offsets": [0, 16]}}, bytes(16)),
        "overlap": header({n: {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]} for n in "ab"}, bytes(16)),
        "odd type": header({"a": {"dtype": "F3", "shape": [4], "data_offsets": [0, 16]}}, bytes(16)),
        "deep header": struct.pack("<Q", 10**6) + b'{"a":' + b"[" * (10**6 - 5),
        "many entries": many_entries(),
        "no end": good[:-30],
        "half": good[: len(good) // 2],
        "half of safetensors": flat[: len(flat) // 2],
        "text": b"these are no weights\n" * 100,
    }
    for number in range(8):
        damaged = bytearray(draw.choice([good, flat, legacy]))
        for _ in range(20):
            damaged[draw.randrange(len(damaged) // 2)] = draw.randrange(256)
        files[f"damaged {number}"] = bytes(damaged)
    return files


def bomb_png(side: int) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = zlib.compress(bytes((min(side, 60_000) + 7) // 8 + 1) * min(side, 20_000), 9)
    size = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def pictures() -> dict[str, bytes]:
    good = encoded(np.zeros((32, 32, 3), np.uint8))
    jpeg = encoded(np.zeros((32, 32, 3), np.uint8), "JPEG")
    return {
        "empty": b"",
        "text": b"no picture",
        "page": b"<html><body>",
        "half": good[: len(good) // 2],
        "start": good[:20],
        "jpeg start": jpeg[:60],
        "bomb": bomb_png(60_000),
        "side": bomb_png(2**31 - 1),
        "svg": b"<svg/>",
        "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n",
        "pdf": b"%PDF-1.7",
        "zip": b"PK\x03\x04" + bytes(99),
        "ico": b"\x00\x00\x01\x00\xff\xff" + bytes(99),
        "no data": good.replace(b"IDAT", b"IDAX"),
    }


def tables(root: Path) -> None:
    def parquet(name: str, table: pa.Table) -> None:
        (root / name).mkdir()
        pq.write_table(table, root / name / "train-0.parquet")
        pq.write_table(table, root / name / "test-0.parquet")

    good = encoded(np.zeros((8, 8, 3), np.uint8))
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    rows = pa.array([{"bytes": b"no picture", "path": "a.png"}] * 6, kind)
    parquet("table-no pictures", pa.table({"image": rows, "label": [0, 1] * 3}))
    parquet("table-no label", pa.table({"image": pa.array([{"bytes": good, "path": "a"}] * 4, kind)}))
    parquet("table-no image", pa.table({"label": [0, 1]}))
    parquet("table-empty", pa.table({"image": pa.array([], kind), "label": pa.array([], pa.int64())}))
    parquet("table-null pictures", pa.table({"image": pa.array([None] * 4, kind), "label": [0, 1] * 2}))
    parquet("table-numbers for pictures", pa.table({"image": [1, 2], "label": [0, 1]}))
    parquet(
        "table-path outside",
        pa.table({"image": pa.array([{"bytes": None, "path": "/etc/passwd"}] * 4, kind), "label": [0, 1] * 2}),
    )
    for name, content in (("damaged", b"PAR1" + bytes(500) + b"PAR1"), ("cut", b"PAR1"), ("text", b"a,b\n1,2\n")):
        (root / f"table-{name}").mkdir()
        (root / f"table-{name}" / "train.parquet").write_bytes(content)
    for name, content in (
        ("csv without names", b"a,b\n1,0\n"),
        ("csv of zeros", bytes(5000)),
        ("csv of one line", b"file_name," * 10**5),
        ("csv that climbs", b"file_name,x\n../../../etc/passwd,1\n"),
    ):
        folder = write_folder(root / f"table-{name}", ("a", "b"), 4, 2)
        (folder / "attributes.csv").write_bytes(content)
    (write_folder(root / "table-bad pictures", ("a", "b"), 4, 2) / "train" / "a" / "000.png").write_bytes(b"x")
    Image.new("1", (30_000, 30_000)).save(
        write_folder(root / "table-bomb", ("a", "b"), 4, 2) / "train" / "a" / "000.png", "PNG"
    )


def test_bad_files_are_refused_in_words(tmp_path: Path) -> None:
    mark, root = tmp_path / "run", tmp_path / "files"
    root.mkdir()
    for kind, files in (("checkpoint", checkpoints(mark)), ("picture", pictures())):
        for name, content in files.items():
            (root / f"{kind}-{name}").write_bytes(content)
    tables(root)
    data = write_folder(tmp_path / "data", ("a", "b", "c"), 4, 2)
    names = sorted(path.name for path in root.iterdir())
    assert len(names) >= 60
    answer = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", f"MIB = {MIB}\n{textwrap.dedent(CHILD)}", str(root), str(data)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=1500,
        env=os.environ | {"KMEX_CACHE": str(tmp_path / "store"), "PYTHONPATH": str(ROOT)},
    )
    results = {name: (said, seconds) for name, said, seconds in map(json.loads, answer.stdout.splitlines())}
    assert set(results) == set(names), f"crashed at {names[len(results)]}: {answer.stderr[-2000:]}"
    assert not mark.exists(), "code was run"
    # a table of attributes that names no image of the data set is no reason to refuse its pictures
    accepted = {name for name, (said, _) in results.items() if said is None}
    assert {name for name in accepted if not name.startswith("table-csv")} == set()
    assert [name for name, (said, _) in results.items() if said == "MEMORY"] == []
    slow = {name: round(seconds, 1) for name, (_, seconds) in results.items() if seconds > SECONDS}
    assert slow == {}
    print(
        f"{len(names)} files, {len(accepted)} of them read, the slowest in {max(s for _, s in results.values()):.1f} s"
    )
