"""Models that jobs make: by training, by import, and on the page New."""

from __future__ import annotations

import contextlib

from app import read
from kmex_core.base import jobs
from kmex_core.base.errors import InputError
from kmex_core.base.jobs import Job
from kmex_core.commands.importing import IMPORT
from kmex_core.commands.new import NEW
from kmex_core.commands.training import TRAINING
from kmex_core.models import catalogue

# by the beginning of the jobs' names: what is being done to a model, and what has been done
KINDS = {TRAINING: ("Training", "trained"), IMPORT: ("Importing", "imported"), NEW: ("Converting", "in the store")}


def making() -> list[str]:
    """The jobs that make models, newest first by kind."""
    return [name for kind in KINDS for name in jobs.names(read.store(), kind)]


def parts_of(job: str) -> tuple[str, str]:
    """The kind of a job that makes a model, a key of `KINDS`, and the model's name."""
    kind = next(kind for kind in KINDS if job.startswith(kind))
    return kind, job.removeprefix(kind)


def is_made(name: str, job: Job) -> bool:
    """Whether a job has made its model: the page Explore continues a conversion that ended after that."""
    kind, model = parts_of(name)
    if kind != NEW or job.state not in ("failed", "stopped"):
        return job.state == "done"
    with contextlib.suppress(InputError, OSError):  # there is none
        return catalogue.path_of(read.store(), model).stat().st_mtime >= job.started
    return False


def is_being_made(name: str) -> bool:
    """Whether a job is making a model of this name."""
    states = (jobs.look(read.store(), f"{kind}{name}") for kind in KINDS)
    return any(job is not None and job.state == "running" for job in states)
