"""Errors for people: what was expected, what was given, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class KMExError(Exception):
    """A failure explained by its message; the command line exits with `exit_code`."""

    exit_code = 1


class InputError(KMExError, ValueError):
    """Invalid input from the user: a file, a name or a number."""

    exit_code = 2


class UndecidedError(InputError):
    """Several things could be meant: one of them has to be named.

    Attributes:
        option: of the command line that names it, without dashes.
        choices: what can be named.
    """

    def __init__(self, message: str, option: str, choices: Iterable[str]) -> None:
        super().__init__(message)
        self.option, self.choices = option, tuple(choices)


class StoreError(KMExError, OSError):
    """The store could not be read or written."""


class TrainingError(KMExError):
    """Training cannot continue (for example, the loss is not finite)."""


def unknown_name(what: str, name: str, known: Iterable[str], hint: str = "") -> InputError:
    """An error for a name that is not in `known`, with the nearest known names.

        Args:
            what: the kind of thing, in words ("data set", "model").
            name: the name that was given.
            known: the names that exist.
    hint: a sentence with an alternative.
    """
    known = sorted(known)
    near = difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.5)
    if near:
        rest = f"did you mean {' or '.join(repr(n) for n in near)}?"
    elif not known:
        rest = "there is none yet."
    else:
        shown = ", ".join(known[:12]) + (f" … ({len(known)} in all)" if len(known) > 12 else "")
        rest = f"known: {shown}."
    return InputError(f"There is no {what} named '{name}': {rest}{' ' + hint if hint else ''}")
