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
        values = {_JSON_NAMES.get(name, name): value for name, value in dataclasses.asdict(self).items()}
        plain = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in values.items()
            if value is not None
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
        if entry.get(name) is None and field.default is not dataclasses.MISSING:
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


# ---- in words --------------------------------------------------------------------------------------------------------


def words(operation: Operation, class_names: Sequence[str]) -> str:
    """An edit as a sentence, with names of classes as they are: "Moved prototype 3 to class 'cat'.".

    Args:
        operation: the edit.
        class_names: C names; a class beyond them is named by its number.
    """

    def of(label: int) -> str:
        return f"'{class_names[label]}'" if label < len(class_names) else str(label)

    match operation:
        case Hide(p):
            return f"Hid prototype {p}."
        case Show(p):
            return f"Showed prototype {p} again."
        case Move(p, label):
            return f"Moved prototype {p} to class {of(label)}."
        case Merge((first, second)):
            return f"Merged prototypes {first} and {second}."
        case Split(p):
            return f"Split prototype {p}."
        case Add(image, label):
            where = "its own class" if label is None else f"class {of(label)}"
            return f"Added training image {image} as a prototype of {where}."
        case Name(p, name):
            return f"Named prototype {p} '{name}'." if name else f"Took the name of prototype {p} away."
        case Note(p, note):
            return f"Wrote a note on prototype {p}." if note else f"Took the note on prototype {p} away."
    raise ValueError(f"Unknown edit {operation}.")


def summary(operations: Sequence[Operation]) -> str:
    """Edits in a few words: "3 prototypes hidden, 1 merged pair"; "nothing" for none that is left."""
    hidden: set[int] = set()
    counts = dict.fromkeys(("moved", "merged pair", "split", "added", "named", "annotated"), 0)
    for operation in operations:
        match operation:
            case Hide(p):
                hidden.add(p)
            case Show(p):
                hidden.discard(p)
            case _:
                counts[_COUNTED[operation.op]] += 1
    parts = [(len(hidden), "hidden"), *((count, what) for what, count in counts.items())]
    told = [f"{count} {what}{'s' * (what == 'merged pair' and count != 1)}" for count, what in parts if count]
    if not told:
        return "nothing"
    number, rest = told[0].split(" ", 1)
    first = told[0] if "pair" in rest else f"{number} prototype{'s' * (number != '1')} {rest}"
    return ", ".join([first, *told[1:]])


_COUNTED = {
    "move": "moved",
    "merge": "merged pair",
    "split": "split",
    "add": "added",
    "name": "named",
    "note": "annotated",
}
