"""docs/benchmarks.md and docs/scale.md with their figures, from what benchmarks have measured.

Every sentence about who is faster is computed: from the quartiles of the ratios, both of which must be on one side of 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import figures, growth
from benchmarks.figures import Bar, number, times
from benchmarks.parts import BENCH, GPU, MORE, MOST, Part
from benchmarks.results import on_gpus, read
from kmex_core.base.files import write_bytes

DOCS = Path(__file__).resolve().parent.parent / "docs"
IMAGES = "images/benchmarks"
Rows = Sequence[Mapping[str, Any]]
LOWER, HIGHER = ("s", "ms", "s CPU", "s of a core", "MB", "MiB", "GB"), ("images/s", "1/s", "maps/s", "×", "frames/s")
QUALITY = ("baselines", "metrics")  # docs/results.md has these
INTRODUCTION = f"""# Benchmarks

`make bench` writes this page from its results, in `benchmarks/results/`; do not edit it. It measures each step beside what people
would use instead, in at most {MOST} minutes on two quiet cores, and `python -m benchmarks NAME report` measures one part anew.

How it measures: alternatives run in turn, each in a process of its own, one after the other in every round; the first round warms up and
is not counted, unless it takes ten seconds. Each number is the median over the rounds, with its quartiles in brackets. *Time beside ours*
is an alternative's time over ours in the same round, the median over the rounds with its quartiles in brackets: 2× takes twice as long.
Where both quartiles are above 1 the alternative is called slower, where both are below 1 faster, and otherwise it is not told apart.
Memory is the most that the first round took beyond the program and the data, in MB (10⁶ bytes). ↓: lower is better, ↑: higher is better.
"""


def write_docs(docs: Path = DOCS) -> None:
    """Write both pages and their figures from the kept results."""
    pages: dict[str, str] = {}
    pages["benchmarks.md"], pictures = page({part.name: read(part.name) for part in (*BENCH, *MORE)}, on_gpus())
    if measured := read("scale"):
        pages["scale.md"], more = growth.page(measured)
        pictures |= more
    for name, text in (pages | pictures).items():
        (docs / name).parent.mkdir(parents=True, exist_ok=True)
        write_bytes(docs / name, text.encode())


def page(results: Mapping[str, dict[str, Any] | None], gpus: Sequence[dict[str, Any]]) -> tuple[str, dict[str, str]]:
    """The text of docs/benchmarks.md, and its figures by their paths in docs/.

    Args:
        results: of each part what `results.read` gives.
        gpus: what was measured on graphics cards.
    """
    pictures: dict[str, str] = {}
    parts = [part for part in (*BENCH, *MORE) if part.name not in (*QUALITY, "scale")]
    measured = [(part, found) for part in parts if (found := results.get(part.name))]
    text = [INTRODUCTION, _machines([found["machine"] for _, found in measured])]
    for part, found in measured:
        text.append(_section(part, part.title, found, pictures))
    for at, found in enumerate(gpus):
        card = str(found["machine"].get("device", "a graphics card"))
        text.append(_section(GPU, f"On a GPU: {card}", found, pictures, f"gpu-{at}"))
    absent = [part.title for part in parts if not results.get(part.name)]
    if absent:
        text.append(f"Not measured yet: {', '.join(absent)}.\n")
    return "\n".join(text), pictures


def claims(rows: Rows) -> list[str]:
    """What the ratios of one step say, as sentences: who is slower, faster, or not told apart."""
    kinds: dict[str, list[str]] = {"slower": [], "faster": [], "same": []}
    for row in rows:
        if "ratio" in row:
            kinds[figures.judged(*row["ratio quartiles"])].append(f"{row['who']} ({_ratio(row)})")
    says = {
        "slower": "KMEx Explorer is faster than {}.",
        "faster": "KMEx Explorer is slower than {}.",
        "same": "Not told apart from KMEx Explorer: {}.",
    }
    return [says[kind].format("; ".join(names)) for kind, names in kinds.items() if names]


def _machines(machines: Sequence[Mapping[str, Any]]) -> str:
    """One line for each machine and set of versions that results are of, the latest first."""
    seen: dict[str, str] = {}
    for machine in sorted(machines, key=lambda each: str(each.get("date")), reverse=True):
        seen.setdefault(_machine(machine), str(machine.get("date")))
    lines = "\n".join(f"- {date}: {words}" for words, date in seen.items())
    return f"Machines and versions:\n\n{lines}\n"


def _machine(machine: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {number_}" for name, number_ in machine.get("versions", {}).items())
    hardware = f"{machine.get('cores')} cores ({machine.get('processor')}), memory {machine.get('memory', 'unknown')}"
    return f"{hardware}, {machine.get('system')}; {versions}"


def _section(part: Part, title: str, found: Mapping[str, Any], pictures: dict[str, str], name: str = "") -> str:
    rows, machine = [row for row in found["rows"] if "median" in row], found["machine"]
    took = f", in {machine['seconds'] / 60:.1f} minutes" if "seconds" in machine else ""
    text = [
        f"## {title}\n",
        f"{part.about} Measured on {machine.get('date')}{took} (`python -m benchmarks {part.name}`).\n",
    ]
    text += [f"{row['what']}.\n" for row in found["rows"] if "median" not in row]
    name = name or part.name
    if chart := _chart(title, rows):
        path = f"{IMAGES}/{name}.svg"
        pictures[path] = chart
        text.append(f"![{_alt(title, rows)}]({path})\n")
    steps = list(dict.fromkeys(row["step"] for row in rows if "step" in row))
    for step in steps:
        of_step = [row for row in rows if row.get("step") == step]
        text += [f"**{_capital(step)}**\n", *(f"{claim}\n" for claim in claims(of_step)), _step_table(of_step)]
    rest = [row for row in rows if "step" not in row]
    return "\n".join([*text, *([_plain_table(rest)] if rest else [])])


def _capital(words: str) -> str:
    return words if words.startswith("k-means") else words[:1].upper() + words[1:]


def _alt(title: str, rows: Rows) -> str:
    if any("ratio" in row for row in rows):
        return f"{title}: the time of each alternative beside ours, as in the tables"
    return f"{title}: each time with its spread, as in the table"


def _chart(title: str, rows: Rows) -> str:
    """Ratios where there are rivals, else times where all have one unit; "" for nothing to draw."""
    compared = [row for row in rows if "ratio" in row]
    if compared:
        steps = list(dict.fromkeys(row["step"] for row in compared))
        bars = {step: [_bar(row) for row in compared if row["step"] == step] for step in steps}
        return figures.ratios(f"{title}: time beside ours", [(_capital(step), bars[step]) for step in steps])
    timed = [row for row in rows if row["unit"] == "s" and row["median"] > 0]
    if not timed:
        return ""
    return figures.values(f"{title}: seconds", [_time(row) for row in timed], "s")


def _bar(row: Mapping[str, Any]) -> Bar:
    return Bar(row["who"], row["ratio"], *row["ratio quartiles"])


def _time(row: Mapping[str, Any]) -> Bar:
    low, high = row.get("quartiles", (row["median"], row.get("p95", row.get("worst", row["median"]))))
    return Bar(row["what"], row["median"], low, high, row.get("target"))


def _ratio(row: Mapping[str, Any]) -> str:
    low, high = row["ratio quartiles"]
    return f"{times(row['ratio'])}×, {times(low)} to {times(high)}"


def _arrow(row: Mapping[str, Any]) -> str:
    better = row.get("better", "lower" if row["unit"] in LOWER else "higher" if row["unit"] in HIGHER else "")
    return {"lower": " ↓", "higher": " ↑"}.get(better, "")


def _value(row: Mapping[str, Any]) -> str:
    if row["median"] is None:
        return "–"
    spread = ""
    if "quartiles" in row:
        low, high = row["quartiles"]
        spread = f" ({number(low)} to {number(high)})"
    else:
        spread = "".join(f" ({name} {number(row[key])})" for key, name in _ENDS.items() if key in row)
    return number(row["median"]) + spread


_ENDS = {"p95": "95%:", "worst": "worst:"}


def _step_table(rows: Rows) -> str:
    unit = f"{rows[0]['unit']}{_arrow(rows[0])}"
    also = list(dict.fromkeys(name for row in rows for name in row.get("also", {})))
    heads = ["", f"{unit} (quartiles)", "rounds", "seconds of all cores ↓", "memory, MB ↓", "time beside ours", *also]
    lines = [f"| {' | '.join(heads)} |", "| --- |" + " --- |" * (len(heads) - 1)]
    for row in rows:
        beside = "1" if row.get("ours") else _ratio(row).replace(", ", " (") + ")" if "ratio" in row else "–"
        cells = [
            f"**{row['who']}**" if row.get("ours") else row["who"],
            _value(row),
            str(row.get("runs", 1)),
            number(row["processor"]) if "processor" in row else "–",
            number(row["memory"]) if "memory" in row else "–",
            beside,
            *(number(row["also"][name]) if name in row.get("also", {}) else "–" for name in also),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _plain_table(rows: Rows) -> str:
    lines = ["| | median (spread) | runs | target |", "| --- | --- | --- | --- |"]
    for row in rows:
        unit = f" {row['unit']}" if row["unit"] else ""
        cells = [
            _capital(row["what"]),
            f"{_value(row)}{unit}{_arrow(row)}",
            str(row.get("runs", "–")),
            _target(row, unit),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _target(row: Mapping[str, Any], unit: str) -> str:
    if "target" not in row:
        return "–"
    higher = row.get("better") == "higher" or row["unit"] in HIGHER
    met = row["median"] >= row["target"] if higher else row["median"] <= row["target"]
    return f"{'≥' if higher else '≤'} {number(row['target'])}{unit}: {'met' if met else 'missed'}"
