"""How every command ends: one answer or one error, the right exit code, and text that any terminal can show."""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from kmex_core.base.errors import KMExError
from kmex_core.base.jsontext import write_json

SCRIPT, MODULE = "kmex", "python -m kmex_core"
FAILED, WRONG_USE, INTERRUPTED = 1, 2, 130

# What a terminal that knows only part of Unicode shows instead; anything else becomes its escape (\u2026).
_PLAIN = str.maketrans(
    {"↑": "^", "↓": "v", "±": "+/-", "×": "x", "…": "...", "–": "-", "—": "-", "−": "-", "≤": "<=", "≥": ">=", "²": "2"}
)


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    part = error.object[error.start : error.end]
    text = "".join(
        plain
        if (plain := character.translate(_PLAIN)) != character
        else character.encode("ascii", "backslashreplace").decode("ascii")
        for character in part
    )
    return text, error.end


codecs.register_error("kmex-plain", _plain)


def _make_output_safe() -> None:
    """Give the process streams that accept any text: closed ones lead nowhere, narrow encodings get substitutes."""
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            try:
                os.fstat(descriptor)
            except OSError:  # a later file must not get the number of a standard stream
                os.dup2(os.open(os.devnull, os.O_RDWR), descriptor)
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 (it lives as long as the process)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="kmex-plain")


def called() -> str:
    """How this program was started, for texts that name a command."""
    return SCRIPT if Path(sys.argv[0]).stem == SCRIPT else MODULE


def _use_name(command: Any, name: str) -> None:  # Typer has no public name for the type of all commands
    """Have the help of a command, and of those below it, name the program as it was started."""
    command.help = (command.help or "").replace(MODULE, name)
    for inner in command.commands.values() if isinstance(command, TyperGroup) else ():
        _use_name(inner, name)


class Program(TyperGroup):
    """The group of all commands. Whatever happens, it exits with 0, 1, 2 or 130 and prints no traceback.

    Under `--json`, stdout gets exactly one JSON object, which is `{"error": …}` unless the command succeeded.
    """

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the command line `args` (`sys.argv` when None) and exit."""
        _make_output_safe()
        _use_name(self, called())
        arguments = list(sys.argv[1:] if args is None else args)
        message = ""
        try:
            code = super().main(arguments, prog_name, complete_var, False, windows_expand_args, **extra) or 0
        except TyperException as error:
            error.show()  # type: ignore[attr-defined]  # usage and message, which every error of click's has
            self._answer(arguments, error.format_message())
            sys.exit(WRONG_USE)
        except (KeyboardInterrupt, typer.Abort):
            code = INTERRUPTED
        except KMExError as error:
            code, message = error.exit_code, str(error)
        except MemoryError:
            code, message = FAILED, "Not enough memory. Free some, or use smaller inputs."
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            code, message = FAILED, f"{where}{error.strerror or error}."
        except Exception as error:
            code, message = FAILED, _unexpected(error)
        if code == INTERRUPTED:
            message = "Stopped."
        if message:
            print(message if code == INTERRUPTED else f"Error: {message}", file=sys.stderr)
            self._answer(arguments, message)
        sys.exit(code)

    @staticmethod
    def _answer(arguments: list[str], error: str) -> None:
        if "--json" in arguments:
            with contextlib.suppress(OSError):  # nobody can be answered: a full disk, a reader that is gone
                print(write_json({"error": error}), flush=True)


def _unexpected(error: Exception) -> str:
    """A sentence for an error that nobody foresaw; it names the file with the traceback."""
    descriptor, path = tempfile.mkstemp(prefix="kmex-error-", suffix=".log")
    with open(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
        traceback.print_exception(error, file=file)
    return (
        f"Unexpected error ({type(error).__name__}). The store is intact. Please report it with the details in {path}"
    )
