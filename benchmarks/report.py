"""docs/benchmarks.md and docs/scale.md with their figures, from what benchmarks have measured.

Every sentence about who is faster is computed from the quartiles of the ratios, which must be on one side of 1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import figures, growth
from benchmarks.figures import Bar, number, times
from benchmarks.parts import BENCH, GPU, MORE, MOST, Part
from benchmarks.results import on_gpus, read
from benchmarks.timing import FEWEST
from kmex_core.base.files import write_bytes

DOCS = Path(__file__).resolve().parent.parent / "docs"
IMAGES = "images/benchmarks"
Rows = Sequence[Mapping[str, Any]]
# of units whose direction is always the same; "%" is above the best of a run, "of 20" how many of 20 were found
LOWER = ("s", "ms", "s CPU", "s of a core", "MB", "MiB", "GB", "%")
HIGHER = ("images/s", "maps/s", "×", "frames/s", "of [0-9]+")
SHOWN = dict.fromkeys(("s CPU", "s of a core"), "s of processor time")
NAMES = ("kmex", "streamlit")  # as they are where a sentence begins
QUALITY = ("baselines", "metrics")  # docs/results.md has these
INTRODUCTION = f"""# Benchmarks

The steps of KMEx Explorer, beside what people would use instead. `make bench` measures them in at most {MOST} minutes
on two quiet cores, keeps the results in `benchmarks/results/`, and writes this page from them: do not edit it.
`python -m benchmarks NAME report` measures one part anew. How costs grow with the data is in [Scale](scale.md).

How to read the tables:

- ↓ means that lower is better, ↑ that higher is.
- Where there are alternatives, they run in turn, each in a process of its own, one after the other in every round. The
  first round warms up and is not counted, unless it takes ten seconds. Each number is the median over the rounds, with
  its quartiles in brackets. KMEx Explorer is in bold.
- *Time beside ours* is an alternative's time over ours in the same round: 2× takes twice as long. Where both quartiles
  are above 1, we are called faster than the alternative; where both are below 1, slower; otherwise, and with fewer than
  {FEWEST} rounds, the two are not told apart.
- *Processor time* is what all cores together were busy. *Memory* is the most that the first round took beyond the
  program and the data, in MB (10⁶ bytes). *Inertia*, where k-means is compared, is the sum of the squared distances to
  the nearest centre.
- Where there is no alternative, a number is the median of its runs; in brackets are its quartiles, what 95% of the runs
  stayed within, or the worst run. *Target* is what we want to reach.
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
    machines = [found["machine"] for found in [*(found for _, found in measured), *gpus]]
    text = [INTRODUCTION, _machines(machines)]
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
    kinds: dict[str, list[str]] = {"slower": [], "faster": [], "same": [], "few": []}
    for row in rows:
        if "ratio" in row:
            kinds[judged(row)].append(f"{row['who']} ({_ratio(row)})")
    says = {
        "slower": "KMEx Explorer is faster than {}.",
        "faster": "KMEx Explorer is slower than {}.",
        "same": "Not told apart from KMEx Explorer: {}.",
        "few": "Too few rounds to tell who is faster: {}.",
    }
    return [says[kind].format("; ".join(names)) for kind, names in kinds.items() if names]


def judged(row: Mapping[str, Any]) -> str:
    """What the quartiles of a ratio, as they are printed, say of an alternative: "slower", "faster" or "same"; "few"
    where there are fewer than `FEWEST` rounds, whose quartiles say nothing."""
    low, high = row["ratio quartiles"]
    if row["ratio rounds"] < FEWEST:
        return "few"
    return "slower" if round(low, 2) > 1 else "faster" if round(high, 2) < 1 else "same"


def _machines(machines: Sequence[Mapping[str, Any]]) -> str:
    """One line for each machine that results are of, the latest first, with all versions; two where these differ."""
    seen: list[tuple[str, str, dict[str, str]]] = []
    for machine in sorted(machines, key=lambda each: str(each.get("date")), reverse=True):
        hardware, versions = _hardware(machine), dict(machine.get("versions", {}))
        for _, other, known in seen:
            if other == hardware and all(known.get(name, found) == found for name, found in versions.items()):
                known |= versions
                break
        else:
            seen.append((str(machine.get("date")), hardware, versions))
    lines = []
    for date, hardware, versions in seen:
        packages = ", ".join(f"{name} {found}" for name, found in versions.items())
        lines.append(f"- {date}: {'; '.join(filter(None, [hardware, packages]))}")
    return "\n".join(["Machines and versions:\n", *lines]) + "\n"


def _hardware(machine: Mapping[str, Any]) -> str:
    cores = f"{machine.get('cores')} cores"
    parts = [machine.get("device"), f"{cores} ({machine['processor']})" if "processor" in machine else cores]
    return ", ".join(filter(None, [*parts, f"memory {machine.get('memory', 'unknown')}", machine.get("system")]))


def _section(part: Part, title: str, found: Mapping[str, Any], pictures: dict[str, str], name: str = "") -> str:
    rows, machine = [row for row in found["rows"] if "median" in row], found["machine"]
    took = f", in {machine['seconds'] / 60:.1f} minutes" if "seconds" in machine else ""
    took += f"; beware: {machine['note']}" if "note" in machine else ""
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
    """Words as the beginning of a sentence; names of programs and networks stay as they are."""
    first = re.match(r"[\w-]*", words)
    is_word = first is not None and first[0].isalpha() and first[0] not in NAMES
    return words[:1].upper() + words[1:] if is_word else words


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
    kind, (low, high) = judged(row), row["ratio quartiles"]
    return Bar(row["who"], row["ratio"], low, high, kind="same" if kind == "few" else kind)


def _time(row: Mapping[str, Any]) -> Bar:
    low, high = row.get("quartiles", (row["median"], row.get("p95", row.get("worst", row["median"]))))
    return Bar(row["what"], row["median"], low, high, row.get("target"))


def _ratio(row: Mapping[str, Any]) -> str:
    low, high = row["ratio quartiles"]
    return f"{times(row['ratio'])}×, {times(low)} to {times(high)}"


def _better(row: Mapping[str, Any]) -> str:
    """Which direction is better: "lower", "higher", or "" where that is not known."""
    if "better" in row:
        return str(row["better"])
    fits = {"lower": LOWER, "higher": HIGHER}
    return next((way for way, units in fits.items() if any(re.fullmatch(unit, row["unit"]) for unit in units)), "")


def _unit(row: Mapping[str, Any]) -> str:
    """The unit with its direction."""
    unit, arrow = SHOWN.get(row["unit"], row["unit"]), {"lower": "↓", "higher": "↑"}.get(_better(row), "")
    return " ".join(filter(None, [unit, arrow]))


def _spread(row: Mapping[str, Any]) -> str:
    """What is beside a median, in brackets; "" for a single run."""
    if "quartiles" in row:
        low, high = row["quartiles"]
        return f" ({number(low)} to {number(high)})"
    ends = [f"{name} {number(row[key])}" for key, name in _ENDS.items() if key in row]
    return f" ({', '.join(ends)})" if ends and row.get("runs") != 1 else ""


_ENDS = {"p95": "95%:", "worst": "worst:"}


def _optional(rows: Rows, head: str, key: str) -> list[str]:
    """A column's head, if any of the rows has a value for it."""
    return [head] if any(key in row for row in rows) else []


def _table(heads: Sequence[str], lines: Sequence[Mapping[str, str]]) -> str:
    """Lines by the heads of their cells, "–" where one is missing."""
    rows = [[line.get(head, "–") for head in heads] for line in lines]
    cells = [list(heads), ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells) + "\n"


def _step_table(rows: Rows) -> str:
    also = list(dict.fromkeys(name for row in rows for name in row.get("also", {})))
    value = f"{'time, ' * (rows[0]['unit'] == 's')}{_unit(rows[0])}"
    value += " (quartiles)" * any("quartiles" in row for row in rows)
    heads = ["", value, "rounds", *_optional(rows, PROCESSOR, "processor"), *_optional(rows, MEMORY, "memory")]
    heads += [*_optional(rows, BESIDE, "ratio"), *also, *_optional(rows, "target", "target")]
    lines = []
    for row in rows:
        line = {
            "": f"**{row['who']}**" if row.get("ours") else row["who"],
            value: number(row["median"]) + _spread(row),
            "rounds": str(row.get("runs", 1)),
            **{name: number(found) for name, found in row.get("also", {}).items()},
            **_measured(row),
        }
        if row.get("ours") or "ratio" in row:
            line[BESIDE] = "1" if row.get("ours") else _ratio(row).replace(", ", " (") + ")"
        lines.append(line)
    return _table(heads, lines)


def _plain_table(rows: Rows) -> str:
    heads = ["", "median (spread)", *_optional(rows, "runs", "runs"), *_optional(rows, "target", "target")]
    heads += _optional(rows, MEMORY, "memory")
    lines = []
    for row in rows:
        value = "–" if row["median"] is None else f"{number(row['median'])} {_unit(row)}".strip().replace(" %", "%")
        line = {"": _capital(row["what"]), "median (spread)": value + _spread(row), **_measured(row)}
        lines.append(line | ({"runs": str(row["runs"])} if "runs" in row else {}))
    return _table(heads, lines)


PROCESSOR, MEMORY, BESIDE = "processor time, s ↓", "memory, MB ↓", "time beside ours ↓"


def _measured(row: Mapping[str, Any]) -> dict[str, str]:
    """The cells that both kinds of tables have."""
    cells = {PROCESSOR: "processor", MEMORY: "memory"}
    found = {head: number(row[key]) for head, key in cells.items() if key in row}
    return found | ({"target": _target(row)} if "target" in row else {})


def _target(row: Mapping[str, Any]) -> str:
    higher, unit = _better(row) == "higher", f" {SHOWN.get(row['unit'], row['unit'])}" if row["unit"] else ""
    met = row["median"] >= row["target"] if higher else row["median"] <= row["target"]
    return f"{'≥' if higher else '≤'} {number(row['target'])}{unit}: {'met' if met else 'missed'}"
