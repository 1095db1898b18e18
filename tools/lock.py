"""Write the lock files anew: `make lock`, after a change in requirements*.txt.

uv finds versions that hold on every platform and Python from 3.11 on, and their hashes. Four files come of it, each
installable by pip with `--require-hashes --no-deps`: what the product needs, the build of PyTorch apart (a CPU build
can take its place), what tests need besides, and what `make bench` needs besides. Versions that are locked stay where they can; remove the lock files
to have the newest of everything.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TORCH = re.compile(r"(torch|torchvision|triton|nvidia-.*|cuda-.*)==")
HEADER = "# Made by `make lock`; do not edit. {about}\n"


def resolve(requirements: Path, *options: str) -> dict[str, str]:
    """The entries of a complete lock of `requirements`, by what they pin ("torch==2.15.0 ; …")."""
    with tempfile.TemporaryDirectory() as folder:
        lock = Path(folder, "lock")
        lock.write_text("".join(path.read_text() for path in sorted(ROOT.glob("*.lock"))))
        command = [sys.executable, "-m", "uv", "pip", "compile", str(requirements), "--output-file", str(lock)]
        command += ["--universal", "--python-version", "3.11", "--generate-hashes", "--only-binary", ":all:"]
        command += ["--no-annotate", "--no-header", "--no-emit-index-url", "--quiet", *options]
        subprocess.run(command, check=True)
        entries = re.split(r"\n(?=\S)", lock.read_text().strip())
    return {entry.partition("\\")[0].strip(): entry for entry in entries}


def write(name: str, about: str, entries: dict[str, str]) -> None:
    """Write a lock file."""
    (ROOT / name).write_text(HEADER.format(about=about) + "".join(f"{entry}\n" for entry in entries.values()))


def part(requirements: str, wider: dict[str, str]) -> dict[str, str]:
    """The entries of `wider` that a complete lock of a requirements file has, in the same versions."""
    with tempfile.TemporaryDirectory() as folder:
        versions = Path(folder, "versions")
        versions.write_text("\n".join(wider))
        needed = resolve(ROOT / requirements, "--constraint", str(versions))
    # what the wider lock needs on more platforms (for tests watchdog, on macOS too) is locked once, with the narrower
    everywhere = {pinned.partition(" ;")[0]: pinned for pinned in wider}
    return {pinned: wider[pinned] for pinned in (everywhere[each.partition(" ;")[0]] for each in needed)}


def main() -> None:
    """Write the four lock files."""
    everything = resolve(ROOT / "requirements-bench.txt")
    tests = part("requirements-dev.txt", everything)
    product = part("requirements.txt", tests)
    torch = {pinned: entry for pinned, entry in product.items() if TORCH.match(pinned)}
    write(
        "requirements.lock",
        "What the product needs, without PyTorch.",
        {pinned: entry for pinned, entry in product.items() if pinned not in torch},
    )
    write("requirements-torch.lock", "PyTorch as PyPI has it: with CUDA on Linux.", torch)
    write(
        "requirements-dev.lock",
        "What tests need besides.",
        {pinned: entry for pinned, entry in tests.items() if pinned not in product},
    )
    write(
        "requirements-bench.lock",
        "What `make bench` needs besides: what the product is measured beside.",
        {pinned: entry for pinned, entry in everything.items() if pinned not in tests},
    )


if __name__ == "__main__":
    main()
