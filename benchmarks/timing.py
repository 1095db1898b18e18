"""How long alternatives take side by side: in turn, each in a process of its own, with the most memory each takes."""

from __future__ import annotations

import importlib.util
import multiprocessing
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

ROUNDS, FEWEST = 5, 3
PATIENCE = 60.0  # seconds for the rounds of one alternative, which has `FEWEST` at least
WARM = 10.0  # seconds after which a first round counts: what takes so long has nothing to warm up
Work = Callable[[], Any]


@dataclass
class Taken:
    """What an alternative took.

    Attributes:
        seconds: of each counted round.
        processor: the same in seconds of all cores together.
        memory: the most that a round took beyond what its process had before, in MB (10⁶ bytes); None where several
            alternatives shared a process.
        result: what the last round returned.
    """

    seconds: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    memory: float | None = None
    result: Any = None


@dataclass(frozen=True)
class Ratio:
    """How many times as long a rival takes, over the rounds that both ran.

    Attributes:
        median, low, high: of the rounds' ratios, low and high are the quartiles; above 1 where the rival is slower.
        rounds: how many.
    """

    median: float
    low: float
    high: float
    rounds: int


def ratio(ours: Sequence[float], rival: Sequence[float]) -> Ratio:
    """The ratio of a rival's seconds to ours, round by round.

    Args:
        ours, rival: of each round, at least one; the rounds that only one of them has are left out.
    """
    each = np.array([theirs / own for own, theirs in zip(ours, rival, strict=False)])
    low, median, high = np.quantile(each, [0.25, 0.5, 0.75])
    return Ratio(float(median), float(low), float(high), len(each))


def alternated(
    prepared: Mapping[str, Callable[[], Work]],
    rounds: int = ROUNDS,
    patience: float = PATIENCE,
    apart: bool = True,
) -> dict[str, Taken]:
    """Run alternatives in turn, each once in every round.

    A first round is not counted, unless it takes `WARM` seconds. Every second round goes backwards, so nobody always
    runs after the same neighbour. Whoever has used up `patience` seconds after `FEWEST` rounds leaves out the others.

    Args:
        prepared: for each name a function that loads what is needed and returns the work that is measured; where
            alternatives run apart, one that can be pickled.
        rounds: to count, at least one.
        patience: seconds.
        apart: whether each has a process of its own, whose memory is measured.
    """
    taken = {name: Taken() for name in prepared}
    with ExitStack() as stack:
        run = {name: _runner(stack, prepare, apart) for name, prepare in prepared.items()}
        for number in range(rounds + 1):
            for name in list(prepared)[:: -1 if number % 2 else 1]:
                of = taken[name]
                enough = min(rounds, FEWEST) if sum(of.seconds) > patience else rounds
                if len(of.seconds) < enough:
                    seconds, processor, memory, of.result = run[name](number == 0)
                    if number or seconds >= WARM:
                        of.seconds.append(seconds)
                        of.processor.append(processor)
                    of.memory = of.memory if memory is None else memory
    return taken


def compared(
    what: str, taken: Mapping[str, Taken], ours: str, items: int = 0, unit: str = "items/s"
) -> list[dict[str, Any]]:
    """The rows of alternatives: seconds with quartiles, memory, and the ratio to ours.

    Args:
        what: was done.
        taken: of each alternative.
        ours: which of them is ours.
        items: how many things a round works on, to give a rate per second instead of seconds.
        unit: of the rate.
    """
    rows = []
    for who, of in taken.items():
        values = items / np.array(of.seconds) if items else np.array(of.seconds)
        low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
        row: dict[str, Any] = {
            "what": f"{what}: {who}",
            "step": what,
            "who": who,
            "median": _rounded(median),
            "quartiles": [_rounded(low), _rounded(high)],
            "runs": len(values),
            "unit": unit if items else "s",
            "better": "higher" if items else "lower",
            "processor": _rounded(float(np.median(of.processor))),
        }
        if of.memory is not None:
            row["memory"] = round(of.memory, 1)
        if who == ours:
            row["ours"] = True
        else:
            to = ratio(taken[ours].seconds, of.seconds)
            row |= {"ratio": _rounded(to.median), "ratio quartiles": [_rounded(to.low), _rounded(to.high)]}
            row["ratio rounds"] = to.rounds
        rows.append(row)
    return rows


def pair(what: str, ours: Work, plain: Work, rounds: int = ROUNDS) -> list[dict[str, Any]]:
    """The rows of ours and of a straightforward way, in this process."""
    prepared = {"ours": lambda: ours, "straightforward": lambda: plain}
    return compared(what, alternated(prepared, rounds, apart=False), "ours")


def single(what: str, work: Work, rounds: int = ROUNDS, **more: Any) -> dict[str, Any]:
    """The row of something without a rival, in this process; `more` is added."""
    of = alternated({what: lambda: work}, rounds, apart=False)[what]
    low, median, high = np.quantile(of.seconds, [0.25, 0.5, 0.75])
    row = {"what": what, "median": _rounded(median), "quartiles": [_rounded(low), _rounded(high)]}
    return row | {"runs": len(of.seconds), "unit": "s", "better": "lower"} | more


def missing(needs: Mapping[str, str]) -> dict[str, Any]:
    """A row that names the rivals that are left out because a package is not installed; empty without any.

    Args:
        needs: for the name of each rival the module that it imports.
    """
    absent = [name for name, module in needs.items() if importlib.util.find_spec(module) is None]
    return {"left out": absent, "what": "not installed, so not measured: " + ", ".join(absent)} if absent else {}


def alone(work: Callable[..., Any], *values: Any) -> Any:
    """The result of a function in a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *values).result()


def peak() -> float:
    """The most memory that this process has had since `reset_peak` or its start, in MB."""
    return _status("VmHWM")


def resident() -> float:
    """The memory that this process has now, in MB."""
    return _status("VmRSS")


def reset_peak() -> None:
    """Let `peak` count from now on, where the system allows it."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def _status(name: str) -> float:
    # (`getrusage` of a new process begins with its parent's)
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:  # not Linux
        return float("nan")
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(name))


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def _runner(stack: ExitStack, prepare: Callable[[], Work], apart: bool) -> Callable[[bool], tuple[Any, ...]]:
    """Runs an alternative once: seconds, processor seconds, memory if it is to be measured, and the result."""
    if not apart:
        work = prepare()
        return lambda first: _timed(work, False)
    pool = stack.enter_context(ProcessPoolExecutor(1, multiprocessing.get_context("spawn")))
    pool.submit(_prepare, prepare).result()
    return lambda first: pool.submit(_run_prepared, first).result()


_prepared: list[Work] = []  # of this process


def _prepare(prepare: Callable[[], Work]) -> None:
    _prepared.append(prepare())


def _run_prepared(first: bool) -> tuple[float, float, float | None, Any]:
    return _timed(_prepared[-1], first)


def _timed(work: Work, watch_memory: bool) -> tuple[float, float, float | None, Any]:
    """Memory is that of the first round: later ones use again what an allocator has kept."""
    if watch_memory:
        reset_peak()
    before = resident() if watch_memory else 0.0
    started, busy = time.perf_counter(), time.process_time()
    result = work()
    seconds, processor = time.perf_counter() - started, time.process_time() - busy
    return seconds, processor, peak() - before if watch_memory else None, result
