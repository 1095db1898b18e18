"""The benchmark of extraction runs on a small scale, on CPUs as on GPUs."""

from __future__ import annotations

from benchmarks import extraction


def test_the_gpu_part_runs_on_a_cpu() -> None:
    rows = extraction.on_gpu(12, "cpu", "resnet20", 32)
    assert all(row["median"] > 0 for row in rows)
    names = " ".join(row["what"] for row in rows)
    assert all(
        part in names
        for part in ("KMEx Explorer", "the bare loop", "DataLoader with workers", "decoded by torchvision on cpu")
    )
