"""Errors for people: what was expected, what came, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class KMExError(Exception):
    """Something failed that the message explains; the command line exits with `exit_code`."""

    exit_code = 1


class InputError(KMExError, ValueError):
    """What the user gave (a file, a name, a number) cannot be used."""

    exit_code = 2


class StoreError(KMExError, OSError):
    """The store could not be read or written."""


class TrainingError(KMExError):
    """Training cannot go on (a loss that is not finite, say)."""


def unknown_name(what: str, name: str, known: Iterable[str], hint: str = "") -> InputError:
    """An error for a name that is not in `known`, with the nearest known names.

    Args:
        what: what kind of thing was asked for, in words ("data set", "model").
        name: what was asked for.
        known: the names that exist.
        hint: a sentence on what else can be done.
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
