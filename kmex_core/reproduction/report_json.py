"""Reports as JSON, and those of a store, read strictly: nothing of a damaged or strange file reaches a page."""

from __future__ import annotations

import dataclasses
import math
import types
from functools import lru_cache
from typing import Any, Union, get_args, get_origin, get_type_hints

from kmex_core.base.errors import InputError
from kmex_core.base.jsontext import read_json, write_json
from kmex_core.base.location import REPRODUCTIONS
from kmex_core.base.store import Store
from kmex_core.metrics.catalogue import METRICS
from kmex_core.models.kinds import MODEL_KINDS
from kmex_core.reproduction.types import Measured, Report

FORMAT = "kmex-reproduction-1"
MOST, LONGEST = 32 * 2**20, 20_000  # characters of a file, and of a text in it
AGAIN = "Make it again with `kmex reproduce`."


# ---- JSON -----------------------------------------------------------------------------------------------------------


def to_json(report: Report) -> str:
    """A report as JSON text; numbers that are not finite become null."""
    return write_json({"format": FORMAT, "report": dataclasses.asdict(report)}, indent=1)


def from_json(text: str | bytes) -> Report:
    """The report of a JSON text.

    Raises:
        InputError: for anything that `to_json` does not write.
    """
    if len(text) > MOST:
        raise InputError(f"A report has at most {MOST:,} characters, this file has {len(text):,}.")
    try:
        values = read_json(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"Expected a report of `kmex reproduce`, got a file that is not JSON ({error}).") from error
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise InputError(f"Expected a report of `kmex reproduce` in the format {FORMAT}. {AGAIN}")
    return from_values(values.get("report"))


def from_values(values: Any) -> Report:
    """The report of JSON-like values, see `dataclasses.asdict`.

    Raises:
        InputError: for anything else, and for metrics and kinds of models that there are not.
    """
    report: Report = read(Report, values, "report")
    for number, setting in enumerate(report.settings):
        if setting.kind not in MODEL_KINDS:
            raise _wrong(f"settings[{number}].kind", "a kind of model", setting.kind)
    for number, cell in enumerate(report.cells):
        names = [cell.metric, *(each.metric for each in (cell.published, cell.second) if isinstance(each, Measured))]
        if unknown := [name for name in names if name not in METRICS]:
            raise _wrong(f"cells[{number}]", "a metric", unknown[0])
        if not math.isfinite(cell.mean) or not (math.isfinite(cell.std) and cell.std >= 0):
            raise _wrong(f"cells[{number}]", "the paper's figure", f"{cell.mean} ± {cell.std}")
    return report


def _wrong(place: str, expected: str, value: Any) -> InputError:
    return InputError(f"Damaged report: expected {expected} at {place[:80]}, got {str(value)[:40]!r}. {AGAIN}")


@lru_cache(maxsize=32)
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def read(kind: Any, value: Any, place: str) -> Any:
    """A value as a type of `reproduction.types` says: dataclasses, tuples, texts and numbers, nothing else."""
    origin, arguments = get_origin(kind), get_args(kind)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _read_fields(kind, value, place)
    if origin in (Union, types.UnionType):  # of a type and None
        (inner,) = (each for each in arguments if each is not type(None))
        return None if value is None else read(inner, value, place)
    if origin is tuple:
        return _read_tuple(arguments, value, place)
    if kind is float:
        return _read_float(value, place)
    allowed = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
    if not allowed or (kind is str and len(value) > LONGEST):
        raise _wrong(place, "a text" if kind is str else "yes or no" if kind is bool else "a whole number", value)
    return value


def _read_fields(kind: type, value: Any, place: str) -> Any:
    if not isinstance(value, dict):
        raise _wrong(place, f"a {kind.__name__}", value)
    hints = _hints(kind)
    if unknown := [name for name in value if name not in hints]:
        raise _wrong(place, f"the fields of a {kind.__name__}", unknown[0])
    required = {each.name for each in dataclasses.fields(kind) if each.default is dataclasses.MISSING}
    if lacking := sorted(required - value.keys()):
        raise _wrong(place, f"a {kind.__name__} with {lacking[0]}", ", ".join(map(str, value)))
    return kind(**{name: read(hints[name], each, f"{place}.{name}") for name, each in value.items()})


def _read_tuple(arguments: tuple[Any, ...], value: Any, place: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise _wrong(place, "a list", value)
    each = arguments[:1] * len(value) if arguments[-1] is Ellipsis else arguments
    if len(each) != len(value):
        raise _wrong(place, f"{len(each)} values", f"{len(value)}")
    return tuple(read(kind, item, f"{place}[{at}]") for at, (kind, item) in enumerate(zip(each, value, strict=True)))


def _read_float(value: Any, place: str) -> float:
    if value is None:
        return math.nan  # not finite when it was written
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise _wrong(place, "a number", value)
    try:
        return float(value)
    except OverflowError:
        raise _wrong(place, "a number", value) from None


# ---- in a store -----------------------------------------------------------------------------------------------------


def reports(store: Store) -> list[Report]:
    """The reports of a store, the newest first; those that cannot be read are left out.

    Raises:
        InputError: when there are some, and none of them can be read.
    """
    found, refused = [], ""
    for name in store.names(REPRODUCTIONS):
        stored = store.get(REPRODUCTIONS, name)
        if stored is None:
            refused = f"The store's report on a reproduction is damaged. {AGAIN}"
            continue
        try:
            found.append(from_values(stored[1].get("report")))
        except InputError as error:
            refused = str(error)
    if refused and not found:
        raise InputError(refused)
    return sorted(found, key=lambda report: report.date, reverse=True)
