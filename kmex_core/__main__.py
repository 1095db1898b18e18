"""The command line: `kmex`, or `python -m kmex_core`."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from typing import NoReturn


def main() -> None:
    """Run the command line."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    try:
        from kmex_core.commands import app  # takes long enough to be interrupted

        app()
    except KeyboardInterrupt:
        _leave(130)
    except SystemExit as end:
        if end.code:
            _leave(int(end.code))
        raise


def _leave(code: int) -> NoReturn:
    """End at once: native threads that were stopped in the middle of work can abort an orderly end (exit status −6)."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # a full disk, a closed stream: said already, as far as can be
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
