"""Reports in the store: one for each set of options, with the plan that it goes on by."""

from __future__ import annotations

import dataclasses

from kmex_core.base.errors import InputError, StoreError
from kmex_core.base.location import REPRODUCTIONS
from kmex_core.base.provenance import versions
from kmex_core.base.specs import ReproductionSpec
from kmex_core.base.store import Store
from kmex_core.reproduction.plan import Plan, Wanted
from kmex_core.reproduction.report_json import from_values, read
from kmex_core.reproduction.types import Report


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
        return from_values(description["report"]), read(Plan, description["plan"], "plan")
    except (FileNotFoundError, StoreError, InputError, KeyError):
        return None  # of another version, or damaged: `store verify` tells of it
