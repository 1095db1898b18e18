"""The paper's models, trained on a graphics card of another machine in so many minutes, and brought home in shards.

    python -m benchmarks.trainings --data DATA --store STORE --out OUT

DATA has `MNIST/raw` (its four files, plain or as .gz) and `cifar10` (parquet files). The black box is trained three
times on each, then each baseline once; what the store has is not trained again, and an interrupted training goes on
after its last epoch. OUT gets `trainings.json` after each training, and at the end the models and checkpoints, as
`checkpoints.json` with shards of at most 15 MiB. Where few files can leave a machine at a time, `--first` and `--count`
choose shards, and with `--minutes 0` nothing is trained. `--resume FOLDER` puts the files of such shards into the store
first, so that another machine goes on.

The models have the names that `kmex reproduce` gives them, which then measures them, with `KMEX_CACHE=STORE` and
`KMEX_DATA=DATA`. Besides this repository it needs torch, torchvision, numpy, scipy, pandas, pyarrow, pillow, pi-heif,
platformdirs, filelock and safetensors; no network. Without a card it runs on the CPU, for tests.
"""

from __future__ import annotations

import argparse
import datetime
import gzip
import hashlib
import json
import re
import sys
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.results import machine, write
from kmex_core.base.errors import InputError, KMExError
from kmex_core.base.files import read_description, write_bytes
from kmex_core.base.jsontext import write_json
from kmex_core.base.progress import Event
from kmex_core.base.specs import DatasetSpec
from kmex_core.base.store import Store
from kmex_core.data.opened import dataset
from kmex_core.data.sources.official import MNIST
from kmex_core.models import catalogue, precision, training
from kmex_core.models.kinds import BASELINES, MODEL_KINDS
from kmex_core.reproduction.parallel import Trained, run_all
from kmex_core.stages.training_runs import TrainRequest

RUNS = 3  # of the black box
SPARE = 30.0  # seconds at the end, for the files
SHARD = 15 * 2**20
MOST_UNPACKED = 64 * 2**20  # bytes of a file of MNIST
MANIFEST, RESULTS = "checkpoints.json", "trainings"
_STORED = re.compile(r"(models|runs|runs-even)/([A-Za-z0-9][A-Za-z0-9._-]{0,63})\.safetensors")


@dataclass(frozen=True)
class Wanted:
    """A model of the list.

    Attributes:
        data: the name of its data set.
        kind: a key of `MODEL_KINDS`.
        run: its number, which is its seed.
    """

    data: str
    kind: str
    run: int

    @property
    def name(self) -> str:
        """The model's name in the store."""
        return f"reproduce-{self.data}-{self.kind}-{self.run}"


def wanted() -> list[Wanted]:
    """In the order in which they are trained."""
    names = ("mnist", "cifar10")
    black_boxes = [Wanted(name, "blackbox", run) for run in range(RUNS) for name in names]
    return [*black_boxes, *(Wanted(name, kind, 0) for name in names for kind in BASELINES)]


def data_sets(data: Path) -> dict[str, DatasetSpec]:
    """Where each data set is, as far as it is in a folder. Files of MNIST are unpacked there if they are compressed."""
    found = {}
    if _has_mnist(data):
        found["mnist"] = DatasetSpec("mnist", str(data.resolve()))
    if any((data / "cifar10").glob("*.parquet")):
        found["cifar10"] = DatasetSpec(str((data / "cifar10").resolve()))
    return found


def _has_mnist(data: Path) -> bool:
    plain = [data / name for name in MNIST.files]
    if all(path.is_file() for path in plain):
        return True
    packed = [path.with_name(f"{path.name}.gz") for path in plain]
    if not all(path.is_file() for path in packed):
        return False
    for path, unpacked in zip(packed, plain, strict=True):
        try:
            with gzip.open(path) as file:
                content = file.read(MOST_UNPACKED + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise InputError(f"{path} cannot be unpacked ({error}). Copy it again.") from error
        if len(content) > MOST_UNPACKED:
            raise InputError(f"{path} is larger than a file of MNIST, which has less than {MOST_UNPACKED:,} bytes.")
        write_bytes(unpacked, content)
    return True


# ---- training -------------------------------------------------------------------------------------------------------


class _TimeIsUp(Exception):
    """No more steps are taken; finished epochs are kept."""


@dataclass(frozen=True)
class Way:
    """How the models are trained.

    Attributes:
        device: a torch device.
        precision: see `Recipe`.
        at_once: see `run_all`.
        backbone: the name of the network.
        epochs: of each; None for the paper's.
    """

    device: str
    precision: str
    at_once: int = 0
    backbone: str = "resnet34"
    epochs: int | None = None


def train(specs: dict[str, DatasetSpec], store: Store, out: Path, way: Way, seconds: float) -> None:
    """Train what the store lacks until the time is up, and keep what is known after each training.

    Args:
        specs: the data sets.
        store: receives the models.
        out: receives the results.
        way: how they are trained.
        seconds: for all.
    """
    until = time.monotonic() + seconds
    told = 0.0

    def tell(event: Event) -> None:
        nonlocal told
        if time.monotonic() >= until:
            raise _TimeIsUp
        if time.monotonic() >= told + 10:
            told = time.monotonic()
            print(f"  {event.text}, {100 * event.done / max(event.total, 1):.0f}%", file=sys.stderr, flush=True)

    def ended(trained: Trained) -> None:
        print(f"{trained.name}: {trained.failure or _line(trained)}", flush=True)
        keep(store, out, way)

    requests = [_request(each, specs[each.data], way) for each in wanted() if each.data in specs]
    missing = [request for request in requests if request.name not in store.names(catalogue.ROOM)]
    try:
        done = run_all(missing, way.device, store, way.at_once, tell, ended)
        print(f"{done.images_per_second:,.0f} images/s in all, at most {done.at_once} trainings at once", flush=True)
    except _TimeIsUp:
        print("The time is up.", flush=True)


def _request(each: Wanted, spec: DatasetSpec, way: Way) -> TrainRequest:
    recipe = training.default_recipe(
        dataset(spec), False, each.kind, seed=each.run, precision=way.precision, epochs=way.epochs
    )
    return TrainRequest(each.name, spec, way.backbone, recipe, way.device, "python -m benchmarks.trainings")


def _line(trained: Trained) -> str:
    accuracy = trained.info.accuracy if trained.info is not None else None
    return f"{100 * (accuracy or 0):.2f}%, {trained.seconds:.0f} s, {trained.images_per_second:,.0f} images/s"


def keep(store: Store, out: Path, way: Way) -> None:
    """Write what is known of each model of the list."""
    rows, left = [], []
    for each in wanted():
        if each.name not in store.names(catalogue.ROOM):
            left.append(each.name)
            continue
        info = catalogue.describe(store, each.name)
        done = info.made_by
        rows.append(
            {
                "model": each.name,
                "what": f"{MODEL_KINDS[each.kind].title} ({info.backbone}) on {each.data}, seed {each.run}",
                "accuracy": info.accuracy,
                "epochs": done["recipe"]["epochs"],
                "precision": done["recipe"].get("precision", precision.FLOAT32),
                "seconds": done["seconds"],
                "images_per_second": done["images_per_second"],
                "device": done["device"],
            }
        )
    cuda = torch.device(way.device).type == "cuda"
    card = torch.cuda.get_device_name(way.device) if cuda else "CPU"
    about = machine() | {"device": card, "date": datetime.date.today().isoformat(), "left": left}
    write(RESULTS, about, rows, out)


# ---- shards ---------------------------------------------------------------------------------------------------------


def files(store: Store) -> Iterator[Path]:
    """The model of each entry of the list, or the newest checkpoint of its training."""
    for each in wanted():
        path = store.path(catalogue.ROOM, each.name)
        if path.is_file():
            yield path
            continue
        runs = [run for room in catalogue.RUNS if (run := store.path(room, each.name)).is_file()]
        if runs:
            yield max(runs, key=lambda run: int(read_description(run)["epoch"]))


def pack(store: Store, out: Path, first: int = 0, count: int | None = None) -> list[str]:
    """Write models and checkpoints as shards, and what is in them.

    Args:
        store: has them.
        out: receives them.
        first, count: which shards are written; all when None.

    Returns:
        The names of the shards that were written.
    """
    paths = list(files(store))
    listed: list[dict[str, Any]] = [
        {"path": path.relative_to(store.root).as_posix(), "bytes": path.stat().st_size, "digest": _digest(path)}
        for path in paths
    ]
    total = -(-sum(entry["bytes"] for entry in listed) // SHARD)
    chosen = range(first, total if count is None else min(total, first + count))
    for number, content in enumerate(_shards(paths)):
        if number in chosen:
            write_bytes(out / _shard_name(number), content)
    write_bytes(out / MANIFEST, write_json({"files": listed, "shard": SHARD, "shards": total}, indent=2).encode())
    return [_shard_name(number) for number in chosen]


def _shard_name(number: int) -> str:
    return f"checkpoints-{number:03}.bin"


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _shards(paths: Sequence[Path]) -> Iterator[bytes]:
    """The files one after the other, cut into pieces of `SHARD` bytes."""
    rest = b""
    for path in paths:
        with path.open("rb") as file:
            while content := file.read(SHARD - len(rest)):
                rest += content
                if len(rest) == SHARD:
                    yield rest
                    rest = b""
    if rest:
        yield rest


def restore(folder: Path, store: Store) -> list[str]:
    """Put files from shards into a store, those whose shards are all there.

    Args:
        folder: has the shards, and the list of what is in them.
        store: receives the files.

    Returns:
        The paths of those that lack a shard.

    Raises:
        InputError: when the list or a shard is damaged, or names something else than models and checkpoints.
    """
    try:
        listed = json.loads((folder / MANIFEST).read_text())
        entries = [(str(entry["path"]), int(entry["bytes"]), str(entry["digest"])) for entry in listed["files"]]
        size = int(listed["shard"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"{folder / MANIFEST} cannot be read as a list of shards ({error}).") from error
    lacking, start = [], 0
    for path, length, digest in entries:
        match = _STORED.fullmatch(path)
        if match is None or not length >= 0 or not 1 <= size <= SHARD:
            raise InputError(f"{folder / MANIFEST} names '{path[:80]}', which is neither a model nor a checkpoint.")
        numbers = range(start // size, -(-(start + length) // size))
        if all((folder / _shard_name(number)).is_file() for number in numbers):
            content = b"".join((folder / _shard_name(number)).read_bytes() for number in numbers)
            content = content[start - numbers.start * size :][:length]
            if hashlib.blake2b(content, digest_size=16).hexdigest() != digest:
                raise InputError(f"{path} in {folder} is damaged: one of its shards has changed. Copy them again.")
            write_bytes(store.path(match[1], match[2]), content)
        else:
            lacking.append(path)
        start += length
    return lacking


# ---- the command ----------------------------------------------------------------------------------------------------


def main(arguments: Sequence[str]) -> int:
    """Restore, train, pack. 2 for what cannot be used."""
    began = time.monotonic()
    parser = argparse.ArgumentParser("python -m benchmarks.trainings", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="Folder of the data sets.")
    parser.add_argument("--store", type=Path, required=True, help="Folder of the store.")
    parser.add_argument("--out", type=Path, required=True, help="Folder for results and shards.")
    parser.add_argument("--minutes", type=float, default=11, help="For all. 0 trains nothing.")
    parser.add_argument("--resume", type=Path, help="Folder with the shards of an earlier call.")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", choices=precision.PRECISIONS, help="Default: the fastest of the device.")
    parser.add_argument("--at-once", type=int, default=0, help="Trainings at the same time. Default: by memory.")
    parser.add_argument("--backbone", default="resnet34")
    parser.add_argument("--epochs", type=int, help="Default: the paper's.")
    parser.add_argument("--first", type=int, default=0, help="The first shard to write.")
    parser.add_argument("--count", type=int, help="How many shards to write. Default: all.")
    given = parser.parse_args(arguments)
    store = Store(given.store)
    way = Way(
        given.device, given.precision or precision.fastest(given.device), given.at_once, given.backbone, given.epochs
    )
    try:
        if given.resume is not None:
            for path in restore(given.resume, store):
                print(f"{path} lacks a shard, and is not restored.", flush=True)
        if given.minutes:
            specs = data_sets(given.data)
            for name in sorted({each.data for each in wanted()} - set(specs)):
                print(f"{name} is not in {given.data}: its models are left out.", flush=True)
            train(specs, store, given.out, way, given.minutes * 60 - SPARE - (time.monotonic() - began))
        keep(store, given.out, way)
        shards = pack(store, given.out, given.first, given.count)
    except KMExError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    print(f"{time.monotonic() - began:.0f} s. Shards written: {', '.join(shards) or 'none'}.", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
