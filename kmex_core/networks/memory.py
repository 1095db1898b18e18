"""Free memory, a network's memory per image, and the number of images that fit into one pass."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from kmex_core.base.errors import KMExError

T = TypeVar("T")

SHARE = 4
MOST = 256 * 2**20
LIVE = 4
UNKNOWN = 2 * 2**30
CGROUP_FILES = (("memory.max", "memory.current", "inactive_file"),
                ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"))  # fmt: skip


def available(system: Path = Path("/")) -> int:
    """Bytes that this process can use before the machine or its container runs out of memory.

    On Linux: MemAvailable in /proc/meminfo, and the limits of the process's cgroup (v2 or v1) and of those above it,
    less the memory in use there; reclaimable file caches count as free. Elsewhere: a quarter of the machine's memory.

    Args:
        system: the folder of `proc` and `sys`.
    """
    free = [_machine(system)]
    try:
        lines = (system / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return free[0]
    for line in lines:
        _, controllers, place = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        root = system / "sys/fs/cgroup" / ("memory" if controllers else "")
        # inside a container the path may be the host's: the container's group is then at the root
        own_group = root / place.strip("/")
        groups = [own_group, *own_group.parents]
        free += [left for group in groups if group.is_relative_to(root) and (left := _group(group)) is not None]
    return max(0, min(free))


def _machine(system: Path) -> int:
    try:
        for line in (system / "proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass  # another system than Linux
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4
    except (AttributeError, ValueError, OSError):
        return UNKNOWN


def _group(folder: Path) -> int | None:
    """The free memory of a cgroup; None without a limit."""
    for most, used, droppable in CGROUP_FILES:
        try:
            limit, taken = (folder / most).read_text().strip(), int((folder / used).read_text())
            kinds = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        except OSError:
            continue
        return None if limit == "max" else int(limit) - taken + int(kinds.get(droppable, 0))
    return None


def budget(device: str | torch.device, passes: int = 1) -> int:
    """The most bytes that one pass through a network should use, when so many run at once.

    On a GPU, half of its free memory. Otherwise a quarter of free memory, at most `MOST`: larger batches are no faster
    on a CPU. Checked in advance, because Linux kills a process that uses too much without raising an error.
    """
    place = torch.device(device)
    if place.type == "cuda":
        return torch.cuda.mem_get_info(place)[0] // (2 * passes)
    return min(MOST, available() // (SHARE * passes))


class _Sizes(TorchDispatchMode):
    """Records the bytes of every new tensor, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {_place(value) for value in _tensors([args, kwargs])}
        outputs = func(*args, **(kwargs or {}))
        self.sizes += [
            value.nbytes for value in _tensors(outputs) if _place(value) not in given
        ]  # a view takes no memory
        return outputs


def _tensors(values: Any) -> Iterator[Tensor]:
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, list | tuple):
        for value in values:
            yield from _tensors(value)
    elif isinstance(values, dict):
        yield from _tensors(list(values.values()))


def _place(value: Tensor) -> int:
    return value.untyped_storage().data_ptr() if value.layout == torch.strided and value.device.type != "meta" else -1


def bytes_per_row(function: Callable[[Tensor], Any], example: Tensor, backward: bool = False) -> int:
    """The memory of a pass per row, measured with two and with three rows; cached for modules.

    Args:
        function: any function of a batch.
        example: 3 rows or more, of which 3 are used.
        backward: gradients are computed, so all intermediate tensors are kept; otherwise only a few live at a time
            (`LIVE` of the largest).
    """
    # memory depends on size, type, device and precision of a row
    place = (*example.shape[1:], example.dtype, example.device, torch.is_autocast_enabled(example.device.type))
    known = _known.setdefault(function, {}) if isinstance(function, nn.Module) else {}
    if place not in known:
        known[place] = _measured(function, example)
    largest, together = known[place]
    return LIVE * largest + (together if backward else 0)


_known: weakref.WeakKeyDictionary[nn.Module, dict[tuple[Any, ...], tuple[int, int]]] = weakref.WeakKeyDictionary()


def _measured(function: Callable[[Tensor], Any], example: Tensor) -> tuple[int, int]:
    """The bytes per row in the largest intermediate tensor, and in all of them."""
    runs = []
    with torch.no_grad():
        for rows in (2, 3):
            with _Sizes() as noted:
                function(example[:rows])
            runs.append(noted.sizes)
    two, three = runs
    # what does not grow with the rows (for example, weights in another precision) cancels out
    grown = [more - less for less, more in zip(two, three, strict=True)] if len(two) == len(three) else three
    return max([example[:1].nbytes, *grown]), sum(grown)


@dataclass
class Portions:
    """The number of rows per pass through a network: as many as fit, halved whenever memory runs out anyway.

    Attributes:
        rows: at least 1.
        device: for the message.
    """

    rows: int
    device: str | torch.device = "cpu"

    @classmethod
    def fitting(
        cls,
        function: Callable[[Tensor], Any],
        batch: Tensor,
        most: int | None = None,
        *,
        backward: bool = False,
        copies: int = 1,
        passes: int = 1,
    ) -> Portions:
        """Portions that fit into free memory.

        Args:
            function: the computation on the rows.
            batch: (N, …) rows, or some like them, on the device.
            most: an upper limit; N when None.
            backward: see `bytes_per_row`.
            copies: a factor on the memory.
            passes: how many run at once.
        """
        most = len(batch) if most is None else most
        if len(batch) == 0 or most <= 1:
            return cls(1, batch.device)
        # the measurement needs three rows; one row repeated takes the same memory
        example = batch if len(batch) >= 3 else batch[:1].expand(3, *batch.shape[1:])
        try:
            needed = copies * bytes_per_row(function, example, backward)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            return cls(1, batch.device)
        return cls(max(1, min(most, budget(batch.device, passes) // max(1, needed))), batch.device)

    def over(self, total: int, work: Callable[[slice], T]) -> Iterator[T]:
        """`work` of all rows, in slices of at most `rows`.

        Raises:
            KMExError: when not even one row fits into memory.
        """
        start = 0
        while start < total:
            part = slice(start, min(total, start + self.rows))
            try:
                result = work(part)
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
                if self.rows == 1:
                    raise KMExError(
                        f"Not enough memory on '{self.device}' for one image of this size. Use --device "
                        "cpu, a smaller backbone or smaller images, or close other programs."
                    ) from error
                self.rows //= 2  # other processes may have taken memory since the measurement: retry with half
                continue
            yield result
            start = part.stop


def in_portions(function: Callable[[Tensor], Tensor], batch: Tensor) -> Tensor:
    """`function` of a batch, in portions that fit into free memory."""
    portions = Portions.fitting(function, batch)
    return torch.cat(list(portions.over(len(batch), lambda part: function(batch[part]))))


def out_of_memory(error: Exception) -> bool:
    """Whether an error of torch or Python means that a device or the machine is out of memory."""
    text = str(error)
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(
        words in text for words in ("out of memory", "can't allocate memory", "not enough memory", "ALLOC_FAILED")
    )
