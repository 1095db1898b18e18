"""How many images go through a network at once follows the memory that is free, and changes no result."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kmex_core.base.errors import KMExError
from kmex_core.base.specs import DatasetSpec
from kmex_core.base.store import Store
from kmex_core.data.registry import ArraySplit, EncodedSplit, ImageDataset, load
from kmex_core.networks import architectures, memory
from kmex_core.networks.extraction import extract
from kmex_core.networks.memory import Portions, available, bytes_per_row, in_portions, out_of_memory
from kmex_core.relevance.methods.integrated_gradients import IntegratedGradients
from kmex_core.relevance.protocol import Explainable
from kmex_core.relevance.target import targets
from kmex_core.relevance.targets.score import Score
from kmex_core.stages import importing
from kmex_core.stages.statistics import PixelStatistics
from tests.helpers.datasets import write_folder
from tests.helpers.pictures import encoded

GIB = 2**30


def machine(root: Path, free: int, group: str = "", files: dict[str, str] | None = None) -> Path:
    """A `proc` and a `sys` that say what they are told."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/meminfo").write_text(f"MemTotal: {64 * GIB // 1024} kB\nMemAvailable: {free // 1024} kB\n")
    if group:
        (root / "proc/self/cgroup").write_text(group)
    for name, text in (files or {}).items():
        (root / "sys/fs/cgroup" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "sys/fs/cgroup" / name).write_text(text)
    return root


def second(folder: str, limit: str, used: int, droppable: int = 0) -> dict[str, str]:
    return {
        f"{folder}memory.max": limit,
        f"{folder}memory.current": str(used),
        f"{folder}memory.stat": f"anon 5\ninactive_file {droppable}\n",
    }


@pytest.mark.parametrize(
    ("group", "files", "expected"),
    [
        ("", {}, 20 * GIB),
        ("0::/\n", second("", str(4 * GIB), GIB), 3 * GIB),
        ("0::/\n", second("", str(4 * GIB), 3 * GIB, 2 * GIB), 3 * GIB),
        ("0::/\n", second("", "max", GIB), 20 * GIB),
        ("0::/user/app\n", second("user/app/", "max", GIB) | second("user/", str(2 * GIB), GIB), GIB),
        ("0::/docker/abc\n", second("", str(2 * GIB), GIB), GIB),
        ("0::/\n", second("", str(2 * GIB), 3 * GIB), 0),
        (
            "5:devices:/\n4:memory:/box\n0::/\n",
            {
                "memory/box/memory.limit_in_bytes": str(6 * GIB),
                "memory/box/memory.usage_in_bytes": str(2 * GIB),
                "memory/box/memory.stat": f"cache 3\ntotal_inactive_file {GIB}\n",
            },
            5 * GIB,
        ),
    ],
    ids=["no group", "limit", "files can be dropped", "no limit", "parent", "container", "over", "version 1"],
)
def test_free_memory_is_the_smallest_of_machine_and_groups(
    tmp_path: Path, group: str, files: dict[str, str], expected: int
) -> None:
    assert available(machine(tmp_path, 20 * GIB, group, files)) == expected


def test_this_machine_says_what_is_free() -> None:
    assert 0 < available() < 2**50
    assert available(Path("/nowhere")) > 0  # not Linux


def test_a_row_is_measured_by_what_operations_make() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(100, 1000), nn.ReLU(), nn.Linear(1000, 10))
    images = torch.zeros(5, 1, 10, 10)
    assert bytes_per_row(network, images) == memory.LIVE * 4000
    assert bytes_per_row(network, images, backward=True) == memory.LIVE * 4000 + 4000 + 4000 + 40
    seen: list[int] = []
    network.register_forward_hook(lambda _module, inputs, _output: seen.append(len(inputs[0])))
    bytes_per_row(network, images)
    assert seen == []  # remembered
    bytes_per_row(lambda rows: network(rows), images)
    assert seen == [2, 3]


def test_what_does_not_grow_with_the_rows_is_not_counted() -> None:
    weights = torch.zeros(1000, 1000)
    assert bytes_per_row(lambda rows: rows @ (weights * 2), torch.zeros(3, 1000)) == memory.LIVE * 4000


@pytest.mark.parametrize(("free", "rows"), [(2**40, 60), (40_000 * 4 * 7, 7), (1, 1)])
def test_as_many_rows_as_fit(monkeypatch: pytest.MonkeyPatch, free: int, rows: int) -> None:
    monkeypatch.setattr(memory, "available", lambda: free * memory.SHARE)
    layer = nn.Linear(100, 10_000)
    portions = Portions.fitting(layer, torch.zeros(60, 100))
    assert portions.rows == rows
    parts = list(portions.over(60, lambda part: (part.start, part.stop)))
    assert [stop - start for start, stop in parts[:-1]] == [rows] * (len(parts) - 1)
    assert [start for start, _ in parts] == [0, *(stop for _, stop in parts[:-1])]
    assert parts[-1][1] == 60


def test_a_cpu_gets_no_more_than_is_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available", lambda: 2**40)
    assert memory.budget("cpu") == memory.MOST


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:75] DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 3211264000 bytes."),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        MemoryError(),
    ],
)
def test_an_error_halves_what_goes_through_at_once(error: Exception) -> None:
    tried: list[int] = []

    def work(part: slice) -> int:
        tried.append(part.stop - part.start)
        if tried[-1] > 5:
            raise error
        return tried[-1]

    assert out_of_memory(error)
    assert sum(Portions(32).over(40, work)) == 40
    assert tried[:4] == [32, 16, 8, 4]
    with pytest.raises(KMExError, match="Not enough memory on .* for one image"):
        list(Portions(4).over(4, lambda part: (_ for _ in ()).throw(error)))


def test_a_real_refusal_of_the_allocator_is_known() -> None:
    with pytest.raises(RuntimeError) as refused:
        torch.empty(2**62, dtype=torch.uint8)
    assert out_of_memory(refused.value)


class Counting(nn.Module):
    """A small network that notes how many rows it is given."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 3), nn.SiLU(), nn.Flatten(), nn.Linear(8 * 36, 6))
        self.rows: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        self.rows.append(len(images))
        out: Tensor = self.layers(images)
        return out


class Model:
    """As much of an explained model as a score needs."""

    def __init__(self, encode: Callable[[Tensor], Tensor]) -> None:
        self.encode = self.encoder = encode
        self.head, self.pixel_range, self.pixel_mean = nn.Identity(), ((0.0,) * 3, (1.0,) * 3), None


def gradients(encode: Callable[[Tensor], Tensor], images: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    wanted = targets(Score(), torch.arange(len(images)), classes)
    made = IntegratedGradients().maps(cast("Explainable", Model(encode)), images, torch.empty(0), wanted)
    return made.values, made.expected


@pytest.mark.parametrize("rows", [1, 3, 5, 64])
def test_results_do_not_depend_on_the_rows(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    network, head = Counting().eval(), nn.Linear(6, 4)
    images = torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    classes = torch.tensor([0, 1, 2, 3, 0])
    whole = [network(images), *gradients(network, images, classes)]
    whole.append(torch.from_numpy(extract(network, head, [(images, classes)]).z))

    def fixed(*_: object, **__: object) -> Portions:
        return Portions(rows)

    monkeypatch.setattr(Portions, "fitting", fixed)
    network.rows.clear()
    parts = [in_portions(network, images), *gradients(network, images, classes)]
    parts.append(torch.from_numpy(extract(network, head, [(images, classes)]).z))
    for expected, got in zip(whole, parts, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
    assert max(network.rows) <= rows


def test_integrated_gradients_recover_from_an_error() -> None:
    network, images = Counting().eval(), torch.rand(2, 3, 8, 8)

    def tight(batch: Tensor) -> Tensor:
        if len(batch) > 10:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return network(batch)

    maps, expected = gradients(tight, images, torch.tensor([0, 1]))
    torch.testing.assert_close(maps.sum((1, 2, 3)), expected, rtol=0.02, atol=1e-3)


def test_photos_are_never_held_together(monkeypatch: pytest.MonkeyPatch) -> None:
    alive, most = 0, 0
    content = [encoded(np.full((600, 800, 3), value, np.uint8), "JPEG") for value in (10, 200)]

    class Watched(np.ndarray):
        def __array_finalize__(self, obj: object) -> None:
            nonlocal alive, most
            if self.base is None or self.shape[:2] == (600, 800):
                alive += 1
                most = max(most, alive)

        def __del__(self) -> None:
            nonlocal alive
            if self.base is None or self.shape[:2] == (600, 800):
                alive -= 1

    class Photos(EncodedSplit):
        def image(self, index: int) -> np.ndarray:
            return super().image(index).copy().view(Watched)

    split = Photos([content[at % 2] for at in range(40)], np.arange(40) % 2, np.arange(40).astype("S16"), 3, "here")
    data = ImageDataset("photos", {"train": split, "test": split}, ("a", "b"), 3, 32, "none", "")
    assert sum(len(pixels) for pixels, _ in data.batches("train", 20)) == 40
    assert 1 <= most <= 8  # two threads, a picture and its copy each; all 40 without


@pytest.mark.parametrize("channels", [1, 3])
def test_statistics_are_exact(channels: int) -> None:
    shape = (150, 12, 12) if channels == 1 else (150, 12, 12, 3)
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    split = ArraySplit(pixels, np.zeros(150))
    data = ImageDataset("random", {"train": split}, ("a",), channels, 12, "none", "")
    mean, std = data.statistics()
    values = pixels.reshape(-1, channels).astype(np.float64) / 255
    np.testing.assert_allclose(mean, values.mean(0), rtol=1e-12)
    np.testing.assert_allclose(std, values.std(0), rtol=1e-12)


def test_given_statistics_are_not_measured(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_folder(tmp_path / "data", ("a", "b"), 6, 3)
    torch.save(architectures.build("resnet20", 2, 32).state_dict(), tmp_path / "weights.pt")
    monkeypatch.setattr(PixelStatistics, "make", lambda *_: pytest.fail("the statistics were measured"))
    request = importing.ImportRequest(
        "given",
        "blackbox",
        tmp_path / "weights.pt",
        DatasetSpec(str(folder)),
        "resnet20",
        mean=(0.5, 0.4, 0.3),
        std=(0.2, 0.2, 0.1),
    )
    info, _ = importing.import_model(store, request)
    assert (info.preprocessing.mean, info.preprocessing.std) == ((0.5, 0.4, 0.3), (0.2, 0.2, 0.1))
    assert load(DatasetSpec(str(folder))).channels == 3
