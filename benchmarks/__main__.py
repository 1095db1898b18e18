"""Run benchmarks and keep what they measured: `python -m benchmarks [NAME …]`, one of `ALL` or everything."""

from __future__ import annotations

import datetime
import os
import platform
import sys
from pathlib import Path

from benchmarks import (
    attributes,
    baselines,
    board,
    edits,
    engine,
    evaluation,
    explain,
    load,
    map,
    memory,
    metrics,
    pages,
    start,
    sweep,
)
from kmex_core.base.files import write_bytes
from kmex_core.base.jsontext import write_json
from kmex_core.base.provenance import versions

RESULTS = Path(__file__).resolve().parent / "results"
ALL = {
    "start": start.measure,
    "pages": pages.measure,
    "load": load.measure,
    "map": map.measure,
    "engine": engine.measure,
    "sweep": sweep.measure,
    "edits": edits.measure,
    "evaluation": evaluation.measure,
    "baselines": baselines.measure,
    "attributes": attributes.measure,
    "metrics": metrics.measure,
    "memory": memory.measure,
    "explain": explain.measure,
    "board": board.measure,
}


def main() -> None:
    """Measure what is named on the command line, or everything."""
    for name in sys.argv[1:] or ALL:
        found = ALL[name]()
        print(f"\n{name}")
        for row in found:
            limit = f"  (target ≤ {row['target']})" if "target" in row else ""
            high = f"  p95 {row['p95']:.3f}" if "p95" in row else ""
            print(f"  {row['what']:88} {row['median']:9.3f} {row['unit']}{high}{limit}")
        machine = {
            "cores": os.cpu_count(),
            "processor": platform.machine(),
            "system": platform.system(),
            "versions": versions(),
            "date": datetime.date.today().isoformat(),
        }
        write_bytes(
            RESULTS / f"{name}.json", write_json({"machine": machine, "rows": found}, indent=2).encode() + b"\n"
        )


if __name__ == "__main__":
    main()
