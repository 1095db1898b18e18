"""Reports in the store: one for each set of options, with the plan that it goes on by."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from kmex_core.base.errors import StoreError
from kmex_core.base.location import REPRODUCTIONS
from kmex_core.base.provenance import versions
from kmex_core.base.specs import ReproductionSpec
from kmex_core.base.store import Store
from kmex_core.reproduction.plan import Plan, Wanted
from kmex_core.reproduction.types import Report

T = TypeVar("T")


def spec_of(wanted: Wanted) -> ReproductionSpec:
    """What names the report in the store."""
    return ReproductionSpec(wanted.datasets, wanted.tables, wanted.runs, wanted.budget)


def save(store: Store, wanted: Wanted, report: Report, plan: Plan) -> None:
    """Write a report with its plan, in place of what was there.

    Raises:
        InputError: when the store is read-only.
        StoreError: when it cannot be written.
    """
    spec = spec_of(wanted)
    described = {"report": dataclasses.asdict(report), "plan": dataclasses.asdict(plan)}
    store.put(REPRODUCTIONS, spec.key, {}, {"spec": spec.described(), "versions": versions(), **described})


def load(store: Store, wanted: Wanted) -> tuple[Report, Plan] | None:
    """The report with these options and its plan; None where there is none that can be read."""
    try:
        description = store.description(REPRODUCTIONS, spec_of(wanted).key)
        return built(Report, description["report"]), built(Plan, description["plan"])
    except (FileNotFoundError, StoreError, AttributeError, KeyError, TypeError, ValueError):
        return None  # of another version, or damaged: `store verify` tells of it


def built(kind: type[T], values: Mapping[str, Any]) -> T:
    """A frozen dataclass from its JSON-like values, with the dataclasses and tuples in it.

    Raises:
        AttributeError, KeyError, TypeError, ValueError: when the values are of something else.
    """
    hints = get_type_hints(kind)
    return kind(**{name: _value(hints[name], value) for name, value in values.items()})


def _value(kind: Any, value: Any) -> Any:
    if get_origin(kind) in (types.UnionType, Union):
        return None if value is None else _value(next(each for each in get_args(kind) if each is not type(None)), value)
    if get_origin(kind) is tuple:
        kinds = get_args(kind)
        each = [kinds[0]] * len(value) if kinds[-1] is Ellipsis else kinds
        return tuple(_value(of, item) for of, item in zip(each, value, strict=True))
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return built(kind, value)
    if kind is float:
        return float(value)
    if not isinstance(value, kind):
        raise TypeError(f"expected {kind.__name__}, got {type(value).__name__}")
    return value
