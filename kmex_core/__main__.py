"""The command line: `python -m kmex_core`."""

from __future__ import annotations

import logging
import sys


def main() -> None:
    """Run the command line."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    try:
        from kmex_core.commands import app  # takes long enough to be interrupted
    except KeyboardInterrupt:
        sys.exit(130)
    app()


if __name__ == "__main__":
    main()
