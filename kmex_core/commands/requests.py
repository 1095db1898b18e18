"""Commands as jobs: what a page starts or shows is made from the options of the command that does the work."""

from __future__ import annotations

import functools
import inspect
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ParamSpec

from typer.core import TyperGroup
from typer.main import get_command

from kmex_core.commands._program import MODULE
from kmex_core.commands._shared import app
from kmex_core.prototypes.metric import AUTO
from kmex_core.prototypes.source import SUGGESTED

P = ParamSpec("P")


@dataclass(frozen=True)
class JobRequest:
    """A command to run in the background.

    Attributes:
        name: of the job, see `base.jobs`; the same for the same result.
        arguments: of `python -m kmex_core`.
    """

    name: str
    arguments: tuple[str, ...]

    @property
    def command(self) -> str:
        """The command line for a terminal."""
        return shlex.join([*MODULE.split(), *self.arguments])


def job_of(job_name: str, command: Callable[P, None], *values: P.args, **options: P.kwargs) -> JobRequest:
    """The job that calls a command's function with these values; "" and None are left to the command's defaults."""
    call = inspect.signature(command).bind(*values, **options)
    name, parameters = _parameters()[command]
    arguments = [name]
    for parameter in parameters:
        arguments += _arguments(parameter, call.arguments.get(parameter.name))
    return JobRequest(job_name, tuple(arguments))


def _arguments(parameter: Any, value: Any) -> Iterator[str]:
    """How the command line passes a value to a parameter (of click's)."""
    if value is None or value == "":
        return
    if parameter.name == "k" and value == SUGGESTED:
        value = AUTO
    if parameter.param_type_name == "argument":
        yield str(value)
    elif parameter.is_flag:
        if value != parameter.default:
            yield (parameter.opts if value else parameter.secondary_opts)[0]
    else:
        for item in value if isinstance(value, Sequence) and not isinstance(value, str) else [value]:
            yield from (parameter.opts[0], str(item))


@functools.cache
def _parameters() -> dict[Callable[..., Any], tuple[str, list[Any]]]:
    """The name and the parameters of each command, by its function."""
    group = get_command(app)
    assert isinstance(group, TyperGroup)
    return {
        inspect.unwrap(command.callback): (name, command.params)
        for name, command in group.commands.items()
        if command.callback is not None
    }
