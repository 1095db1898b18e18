"""The command line: `python -m kmex_core`."""

from __future__ import annotations

import logging

from kmex_core.commands import app


def main() -> None:
    """Run the command line."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    app()


if __name__ == "__main__":
    main()
