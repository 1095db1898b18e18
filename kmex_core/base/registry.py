"""Entries by name, in the order in which they were added."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import pkgutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from kmex_core.base.errors import unknown_name

EntryT = TypeVar("EntryT")


class Registry(Mapping[str, EntryT]):
    """A mapping of names to entries.

    Args:
        what: the kind of entry, for messages ("metric").
        entries: names with entries, registered in this order.
    """

    def __init__(self, what: str, entries: Iterable[tuple[str, EntryT]] = ()) -> None:
        self._what = what
        self._entries: dict[str, EntryT] = {}
        for name, entry in entries:
            self.register(name, entry)

    def register(self, name: str, entry: EntryT) -> None:
        """Add an entry.

        Raises:
            ValueError: when the name is taken.
        """
        if name in self._entries:
            raise ValueError(f"There are two {self._what}s named '{name}'.")
        self._entries[name] = entry

    def named(self, name: str) -> EntryT:
        """The entry for a name given by a person.

        Raises:
            InputError: for an unknown name; the message suggests the nearest names.
        """
        if name not in self._entries:
            raise unknown_name(self._what, name, self._entries)
        return self._entries[name]

    def __getitem__(self, name: str) -> EntryT:
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


BaseT = TypeVar("BaseT")


def subclasses(package: str, base: type[BaseT]) -> list[type[BaseT]]:
    """The subclasses of `base` with a name that the files of a package define, in the order of the files.

    Args:
        package: dotted name; its modules are imported.
        base: the base class.
    """
    folders = importlib.import_module(package).__path__
    modules = [importlib.import_module(f"{package}.{file.name}") for file in pkgutil.iter_modules(folders)]
    return [
        entry
        for module in modules
        for entry in vars(module).values()
        if isinstance(entry, type) and issubclass(entry, base) and entry.__module__ == module.__name__
        if "name" in vars(entry)
    ]


@dataclass(frozen=True, kw_only=True)
class Description:
    """A class described without importing its module.

    Attributes:
        name: of the entry.
        place: its position in lists, from 0.
        module, class_name: the location of the class.
    """

    name: str
    place: int
    module: str
    class_name: str

    def load(self) -> Any:
        """The class; imports its module."""
        return getattr(importlib.import_module(self.module), self.class_name)


DescriptionT = TypeVar("DescriptionT", bound=Description)


def descriptions(package: str, bases: Sequence[str], description: type[DescriptionT]) -> list[DescriptionT]:
    """Every class with one of `bases` in the files of a package, described by its class attributes, by place.

    The attributes are read from the source, as setuptools reads a version: a page must not wait for PyTorch to list
    the entries, and each class remains the only place that describes its entry.

    Args:
        package: dotted name; its `__init__` is imported, its modules are not.
        bases: names of base classes, as the files write them.
        description: has a field for each class attribute that is read.

    Raises:
        ValueError: when such an attribute is not a literal.
        TypeError: when one is missing.
    """
    fields = {field.name for field in dataclasses.fields(description)}
    described = []
    for folder in importlib.import_module(package).__path__:
        for path in sorted(Path(folder).glob("*.py")):
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.ClassDef) and any(ast.unparse(parent) in bases for parent in node.bases):
                    attributes = {
                        name: _literal(value, f"{path.name}: {node.name}.{name}")
                        for name, value in _assigned(node)
                        if name in fields
                    }
                    described.append(description(module=f"{package}.{path.stem}", class_name=node.name, **attributes))
    return sorted(described, key=lambda entry: entry.place)


def _assigned(node: ast.ClassDef) -> Iterator[tuple[str, ast.expr]]:
    """The assignments in a class's body: names and values."""
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value:
            yield statement.target.id, statement.value
        if isinstance(statement, ast.Assign):
            for target in statement.targets:
                if isinstance(target, ast.Name):
                    yield target.id, statement.value


def _literal(value: ast.expr, where: str) -> Any:
    try:
        return ast.literal_eval(value)
    except ValueError as error:
        raise ValueError(f"{where} must be a literal: it is read without importing the module.") from error
