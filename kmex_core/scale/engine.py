"""Where work is done: in this process, or on the processes of a Ray cluster. Functions are mapped over items.

Both engines give results in the order of the items, so that what is merged from them is the same, bit for bit where the
machines are. Tasks write what is large to files themselves and return what is small.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar

from kmex_core.base.errors import InputError, KMExError, StoreError, unknown_name
from kmex_core.base.files import Arrays, parts_of, read_file, write_file
from kmex_core.base.location import default_root
from kmex_core.base.progress import Event, Progress, silent
from kmex_core.data.registry import data_root

LOCAL, RAY = ENGINES = ("local", "ray")
PATIENCE = 10.0  # seconds until an address does not answer
RETRIES = 4  # of a task whose worker died
AHEAD = 2  # tasks in flight for each processor, so that none waits
SHARE = 2  # of the free memory that tasks leave to others
OBJECT_STORE = 256 * 2**20  # bytes, of a Ray that this process starts: what passes through it is small
ROOT = Path(__file__).resolve().parents[2]

Shared = TypeVar("Shared")
Item = TypeVar("Item")
Result = TypeVar("Result")


class Engine(Protocol):
    """Maps functions over items."""

    def map(
        self,
        function: Callable[[Shared, Item], Result],
        shared: Shared,
        items: Iterable[Item],
        accelerated: bool = False,
    ) -> Iterator[Result]:
        """`function(shared, item)` of each item, in their order.

        Args:
            function: of a module that workers can import; it may run more than once for an item.
            shared: what all tasks need; sent once.
            items: small.
            accelerated: whether a task uses a GPU where there are any.

        Raises:
            InputError, KMExError: those of the function; when a task's worker dies again and again.
        """
        ...

    @property
    def memory(self) -> int:
        """Bytes that a task may use: a power of two, so that it seldom differs from one run to the next."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Local:
    """One item after the other, in this process."""

    def map(
        self,
        function: Callable[[Shared, Item], Result],
        shared: Shared,
        items: Iterable[Item],
        accelerated: bool = False,
    ) -> Iterator[Result]:
        return (function(shared, item) for item in items)

    @property
    def memory(self) -> int:
        from kmex_core.networks.memory import available

        return _rounded(available() / SHARE)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Ray:
    """The workers of a Ray cluster: of one that runs (`address`), or of one on this machine, for as long as this lives.

    A task whose worker dies is done again by another one. A context manager: it connects, and disconnects.

    Args:
        address: "HOST:PORT" of a running cluster, or "auto" for that of this machine; "" starts one.
        processors: of one that is started; all when None.

    Raises:
        InputError: when Ray is not installed, or there is no cluster at the address.
    """

    def __init__(self, address: str = "", processors: int | None = None) -> None:
        self._address, self._processors = address, processors
        self._ours = False

    def __enter__(self) -> Self:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would report to its makers
        os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")  # one error of a task is raised here: enough
        ray = _ray()
        if ray.is_initialized():  # whoever connected disconnects
            return self
        options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
        # workers use the same store and data, and on this machine this package, installed or not
        found = {"KMEX_CACHE": str(default_root()), "KMEX_DATA": str(data_root())}
        if not self._address:
            found["PYTHONPATH"] = str(ROOT)
        options |= {"runtime_env": {"env_vars": found}}
        try:
            if self._address:
                _reach(self._address)
                ray.init(address=self._address, **options)
            else:
                size = {} if self._processors is None else {"num_cpus": self._processors}
                ray.init("local", include_dashboard=False, object_store_memory=OBJECT_STORE, **size, **options)
        except (ImportError, ValueError, OSError, OverflowError, RuntimeError, AssertionError) as error:
            where = f"There is no Ray cluster at '{self._address}'" if self._address else "Ray could not be started"
            raise InputError(
                f"{where} ({str(error).splitlines()[0] if str(error) else type(error).__name__}). Start one with "
                "`ray start --head` and pass the address that it prints, or omit --address to use this machine alone."
            ) from error
        self._ours = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._ours:
            _ray().shutdown()
            self._ours = False

    @property
    def memory(self) -> int:
        resources = _ray().cluster_resources()
        return _rounded(resources.get("memory", 0) / max(1, resources.get("CPU", 1)) / SHARE)

    def map(
        self,
        function: Callable[[Shared, Item], Result],
        shared: Shared,
        items: Iterable[Item],
        accelerated: bool = False,
    ) -> Iterator[Result]:
        ray = _ray()
        resources = ray.cluster_resources()
        graphics = accelerated and resources.get("GPU", 0) >= 1
        task = ray.remote(max_retries=RETRIES, num_cpus=1, num_gpus=int(graphics))(_call)
        held = ray.put(shared)
        most = AHEAD * max(1, int(resources.get("GPU" if graphics else "CPU", 1)))
        waiting: deque[Any] = deque()
        try:
            for item in items:
                waiting.append(task.remote(function, held, item))
                if len(waiting) >= most:
                    yield _result(ray, waiting.popleft())
            while waiting:
                yield _result(ray, waiting.popleft())
        finally:  # an error, or whoever asked has enough
            for reference in waiting:
                with contextlib.suppress(Exception):
                    ray.cancel(reference, force=True)


def _rounded(size: float) -> int:
    return 1 << max(0, int(size).bit_length() - 1)


def _call(function: Callable[[Shared, Item], Result], shared: Shared, item: Item) -> Result:
    return function(shared, item)


def _reach(address: str) -> None:
    """Connect to "HOST:PORT" once: Ray itself tries for minutes where nobody listens.

    Raises:
        OSError: when nobody listens there.
        ValueError: for a port that is no number.
    """
    host, _, port = address.rpartition(":")
    if host and "://" not in address:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=PATIENCE):
            pass


def _ray() -> Any:
    try:
        import ray
    except ImportError:
        raise InputError(
            "The engine ray needs the package Ray, which is not installed: pip install 'kmex-explorer[ray]'"
        ) from None
    return ray


def _result(ray: Any, reference: Any) -> Any:
    """The result of a task, or its error as this program raises it."""
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        if isinstance(cause, KMExError | MemoryError | OSError):
            raise cause from error
        if isinstance(cause, ImportError):
            raise KMExError(
                f"A worker lacks a package ({cause}). Install the same version of KMEx Explorer on every machine."
            ) from error
        raise
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError) as error:
        raise KMExError(
            f"A worker died {RETRIES + 1} times at the same task, most likely for lack of memory. What is done is "
            "kept: give workers more memory, or run fewer of them on each machine, and run the command again."
        ) from error
    except ray.exceptions.RayError as error:
        raise KMExError(
            f"The Ray cluster failed ({type(error).__name__}). What is done is kept: run the command again."
        ) from error


def engine_of(name: str, address: str = "") -> Engine:
    """An engine by name, not yet connected.

    Raises:
        InputError: for an unknown name, or an address where none is needed.
    """
    if name not in ENGINES:
        raise unknown_name("engine", name, ENGINES)
    if name == LOCAL and address:
        raise InputError("--address is of a Ray cluster: pass --engine ray with it.")
    return Ray(address) if name == RAY else Local()


class Named(Protocol):
    """An item of `kept`."""

    @property
    def file(self) -> str:
        """Names the item's result; a valid file name without ending."""
        ...


NamedItem = TypeVar("NamedItem", bound=Named)


@dataclass(frozen=True)
class _Keeping(Generic[Shared, NamedItem]):
    """Writes a function's result to a file, and returns nothing."""

    function: Callable[[Shared, NamedItem], Arrays]
    folder: Path

    def __call__(self, shared: Shared, item: NamedItem) -> None:
        write_file(_path(self.folder, item), self.function(shared, item), {})


def _path(folder: Path, item: Named) -> Path:
    return folder / f"{item.file}.safetensors"


def kept(
    engine: Engine,
    folder: Path,
    function: Callable[[Shared, NamedItem], Arrays],
    shared: Shared,
    items: Sequence[NamedItem],
    stage: str,
    progress: Progress = silent,
) -> Iterator[Arrays]:
    """As `Engine.map`, for arrays that each task writes to a file in a folder that all machines see.

    What an earlier run has done is not done again: whole files are read. Only one result is in memory at a time.

    Args:
        engine: does the rest.
        folder: named by all that the results depend on.
        function, shared, items: as in `Engine.map`.
        stage, progress: what is reported after each item.
    """
    parts_of(folder, remove=True)  # of workers that were killed
    there = {item.file for item in items if _whole(_path(folder, item))}
    missing = [item for item in items if item.file not in there]
    running, done = engine.map(_Keeping(function, folder), shared, missing), 0
    progress(Event(stage, done, len(items)))
    for item in items:
        if item.file not in there:
            next(running)
        done += 1
        progress(Event(stage, done, len(items)))
        yield read_file(_path(folder, item))[0]


def _whole(path: Path) -> bool:
    try:
        read_file(path)
    except (FileNotFoundError, StoreError):
        return False
    return True
