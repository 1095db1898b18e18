"""Parts of a page in Markdown: tables, lists, code and numbers, with every text of a report as text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from kmex_core.base.plain_text import document, document_message, writable
from kmex_core.reproduction.types import Report


def made_by(report: Report) -> str:
    """The command as code: in more backticks than follow one another in it."""
    command = writable(report.command).strip() or "kmex reproduce"
    fence = "`"
    while fence in command:
        fence += "`"
    gap = " " if "`" in command else ""
    return f"Made by {fence}{gap}{command}{gap}{fence}"


def sentence(phrase: str) -> str:
    """A phrase of the report as a sentence, as text."""
    whole = phrase.strip()
    if not whole:
        return ""
    return document_message(whole[0].upper() + whole[1:] + ("" if whole.endswith((".", "!", "?")) else "."))


def number(value: float) -> str:
    """In at most four digits; "–" for what is not finite."""
    return f"{value:.4g}".replace("-", "−") if math.isfinite(value) else "–"


def signed(value: float, digits: int) -> str:
    """A difference with its sign; what rounds to 0 has none."""
    rounded = round(value, digits)
    return f"{rounded:+.{digits}f}".replace("-", "−") if rounded else f"{0:.{digits}f}"


def duration(seconds: float) -> str:
    """In seconds or minutes; "–" for none."""
    if not math.isfinite(seconds) or seconds <= 0:
        return "–"
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:,.1f} min"


def bullets(lines: Iterable[str]) -> str:
    """Lines, escaped already, as a list."""
    return "\n".join(f"- {line}" for line in lines)


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Cells, escaped already, as a table."""
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *rows))


def by_data(pairs: Iterable[tuple[str, str]]) -> str:
    """Data sets as text, and what is said of each, escaped already: "MNIST (a, b); SVHN (c)"."""
    found: dict[str, list[str]] = {}
    for dataset, words in pairs:
        found.setdefault(dataset, []).append(words)
    return "; ".join(f"{document(dataset)} ({', '.join(words)})" for dataset, words in found.items())
