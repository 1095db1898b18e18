"""The operations by which people edit prototypes, and their JSON. Needs no torch.

Prototypes are numbered: those of the base first, then each new one in the order in which it came to be. A number never
changes its meaning, so an operation means the same whichever operations follow it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from kmex_core.base.errors import InputError

MOST_OPERATIONS, MOST_NAME, MOST_NOTE = 500, 80, 2000
MOST_NUMBER = 10_000_000  # of a prototype, a class or an image; anything above is no number of these


@dataclass(frozen=True)
class Operation:
    """One edit. `op` names its kind, in JSON and in words; the fields are those of the JSON object.

    `p` is the number of a prototype, `label` (JSON: "class") that of a class, `image` the index of a training image.
    """

    op: ClassVar[str]

    def described(self) -> dict[str, Any]:
        """The operation as a JSON object, see `operations_from`."""
        values = dataclasses.asdict(self)
        plain = {
            _JSON_NAMES.get(name, name): list(value) if isinstance(value, tuple) else value
            for name, value in values.items()
        }
        return {"op": self.op} | plain


@dataclass(frozen=True)
class Hide(Operation):
    """The prototype no longer takes part, until it is shown again."""

    p: int
    op: ClassVar[str] = "hide"


@dataclass(frozen=True)
class Show(Operation):
    """A hidden prototype takes part again."""

    p: int
    op: ClassVar[str] = "show"


@dataclass(frozen=True)
class Move(Operation):
    """The prototype becomes one of another class, where it is."""

    p: int
    label: int
    op: ClassVar[str] = "move"


@dataclass(frozen=True)
class Merge(Operation):
    """Two prototypes of a class become one: their mean, weighted by their images."""

    p: tuple[int, int]
    op: ClassVar[str] = "merge"


@dataclass(frozen=True)
class Split(Operation):
    """A prototype becomes two, by 2-means on its images."""

    p: int
    op: ClassVar[str] = "split"


@dataclass(frozen=True)
class Add(Operation):
    """A training image becomes a prototype, of its own class where `label` is None."""

    image: int
    label: int | None = None
    op: ClassVar[str] = "add"


@dataclass(frozen=True)
class Name(Operation):
    """Give the prototype a name; "" takes it away."""

    p: int
    name: str
    op: ClassVar[str] = "name"


@dataclass(frozen=True)
class Note(Operation):
    """Write a note on the prototype; "" takes it away."""

    p: int
    note: str
    op: ClassVar[str] = "note"


KINDS: dict[str, type[Operation]] = {kind.op: kind for kind in (Hide, Show, Move, Merge, Split, Add, Name, Note)}
_JSON_NAMES = {"label": "class"}


def described(operations: Sequence[Operation]) -> list[dict[str, Any]]:
    """Operations as JSON objects, the inverse of `operations_from`."""
    return [operation.described() for operation in operations]


def operations_from(described: Any) -> tuple[Operation, ...]:
    """Operations from their JSON: a list of objects such as {"op": "hide", "p": 3}.

    Args:
        described: anything that JSON can say.

    Raises:
        InputError: for anything but such a list, more than `MOST_OPERATIONS`, or texts that are too long; whether the
            prototypes exist shows when they are applied.
    """
    if not isinstance(described, list):
        raise InputError('Expected a list of edits, each an object such as {"op": "hide", "p": 3}.')
    if len(described) > MOST_OPERATIONS:
        raise InputError(f"At most {MOST_OPERATIONS} edits fit into one version, got {len(described):,}.")
    return tuple(_operation(number, entry) for number, entry in enumerate(described, 1))


def _operation(number: int, entry: Any) -> Operation:
    where = f"Edit {number}"
    if not isinstance(entry, Mapping) or not isinstance(entry.get("op"), str):
        raise InputError(f'{where}: expected an object with "op", such as {{"op": "hide", "p": 3}}.')
    kind = KINDS.get(entry["op"])
    if kind is None:
        raise InputError(f"{where}: there is no edit '{entry['op'][:40]}'; known: {', '.join(KINDS)}.")
    names = {_JSON_NAMES.get(field.name, field.name): field for field in dataclasses.fields(kind)}
    if unknown := sorted(str(name)[:40] for name in entry.keys() - names.keys() - {"op"}):
        raise InputError(f"{where}: '{kind.op}' has no entry '{unknown[0]}'; it takes {' and '.join(names)}.")
    values = {}
    for name, field in names.items():
        if name not in entry and field.default is not dataclasses.MISSING:
            continue
        values[field.name] = _value(f"{where} ({kind.op})", name, entry.get(name), kind is Merge)
    return kind(**values)


def _value(where: str, name: str, value: Any, pair: bool) -> Any:
    if name in ("name", "note"):
        return _text(where, name, value, MOST_NAME if name == "name" else MOST_NOTE)
    if not pair:
        return _number(where, name, value)
    if not isinstance(value, list) or len(value) != 2:
        raise InputError(f'{where}: expected "p" to be two numbers of prototypes, such as [3, 5].')
    first, second = (_number(where, name, each) for each in value)
    if first == second:
        raise InputError(f"{where}: a prototype cannot be merged with itself (both are {first}).")
    return first, second


def _number(where: str, name: str, value: Any) -> int:
    if type(value) is not int or not 0 <= value <= MOST_NUMBER:  # True is an int to Python
        raise InputError(f'{where}: expected "{name}" to be a whole number, 0 or more.')
    return value


def _text(where: str, name: str, value: Any, most: int) -> str:
    if not isinstance(value, str):
        raise InputError(f'{where}: expected "{name}" to be a text.')
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InputError(f'{where}: "{name}" has characters that are no text.') from None
    text = " ".join(value.split()) if name == "name" else value.strip()
    if len(text) > most:
        raise InputError(f"{where}: a {name} has at most {most:,} characters, got {len(text):,}.")
    if "\0" in text:
        raise InputError(f'{where}: "{name}" has characters that are no text.')
    return text
