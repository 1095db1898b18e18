"""Run benchmarks, keep what they measured, and write it up: `python -m benchmarks [NAME …]`.

Without names all of `parts.BENCH` (`make bench`), and `gpu` where there is a GPU. `report` writes `docs/benchmarks.md` and
`docs/scale.md` from what is kept; each part can be measured on another day.
"""

from __future__ import annotations

import datetime
import sys
import time
import traceback

from benchmarks.parts import ALL, BENCH, GPU, Part
from benchmarks.results import machine, write

REPORT = "report"


def main(names: list[str]) -> int:
    """Measure the named parts, or all, and write the report. 1 when a part failed, after the others have run."""
    unknown = [name for name in names if name not in ALL and name != REPORT]
    if unknown:
        print(f"Unknown: {', '.join(unknown)}. There are: {', '.join([*ALL, REPORT])}.", file=sys.stderr)
        return 2
    parts = [ALL[name] for name in names if name != REPORT] if names else [*BENCH, *([GPU] if has_gpu() else [])]
    failed = [part.name for part in parts if not _measured(part)]
    if not names or REPORT in names:
        from benchmarks import report

        report.write_docs()
    if failed:
        print(f"Failed, and kept as they were before: {', '.join(failed)}.", file=sys.stderr)
    return int(bool(failed))


def has_gpu() -> bool:
    """Whether PyTorch finds a CUDA device."""
    import torch

    return torch.cuda.is_available()


def _measured(part: Part) -> bool:
    started = time.perf_counter()
    print(f"\n{part.name} (about {part.minutes:g} minutes)", flush=True)
    try:
        rows = part.measure()
    except Exception:  # the others are measured all the same; the status tells
        traceback.print_exc()
        return False
    for row in rows:
        print("  " + _line(row), flush=True)
    about = machine() | {"date": datetime.date.today().isoformat(), "seconds": round(time.perf_counter() - started)}
    if part is not GPU:  # which keeps its own, by the card's name
        write(part.name, about, rows)
    return True


def _line(row: dict[str, object]) -> str:
    if "median" not in row:
        return str(row["what"])
    more = [f"  {name} {row[name]}" for name in ("ratio", "p95", "memory", "target") if name in row]
    return f"{row['what']:100} {row['median']:>10} {row['unit']}{''.join(more)}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
