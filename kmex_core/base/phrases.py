"""Lists of names as sentences contain them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def first_few(names: Sequence[str], most: int = 4) -> str:
    """The first few names, and the number of the others: "a, b and 7 more"."""
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")


def joined(word: str, names: Iterable[str]) -> str:
    """All names, at least one, with a word before the last: "a, b or c"."""
    *others, last = names
    return f"{', '.join(others)} {word} {last}" if others else last


def ranges(numbers: Iterable[int]) -> list[str]:
    """Ascending numbers, those that follow one another together: "1 to 3", "7"."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return [str(part[0]) if len(part) == 1 else f"{part[0]} to {part[-1]}" for part in parts]
