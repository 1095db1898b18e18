"""Options of commands that compute embeddings: the precision, and compilation."""

from __future__ import annotations

from typing import Annotated

import typer

from kmex_core.base.errors import InputError
from kmex_core.networks.arithmetic import FLOAT32, MIXED, PRECISIONS, Arithmetic

Precision = Annotated[
    str,
    typer.Option(
        "--precision",
        metavar="NAME",
        help=f"Floats to compute embeddings with: {', '.join(PRECISIONS[:3])}. 16 bits are faster where the hardware "
        "has them (float16 is slow on CPUs). They change embeddings; by how much is measured and reported. Each is a "
        "separate result.",
    ),
]
Compiled = Annotated[
    bool,
    typer.Option(
        "--compile",
        help="Compile the network with torch.compile, which takes a minute first and rounds differently; by how much "
        "is measured and reported. A separate result.",
    ),
]
MixedPrecision = Annotated[
    bool,
    typer.Option(
        "--mixed-precision",
        help="As --precision with the device's usual 16 bits: float16 on GPUs, bfloat16 on CPUs.",
    ),
]


def arithmetic_of(precision: str, compiled: bool, mixed: bool) -> Arithmetic:
    """The arithmetic that the options choose.

    Raises:
        InputError: for an unknown precision, or two of them.
    """
    if mixed and precision != FLOAT32:
        raise InputError(f"--mixed-precision and --precision {precision} exclude each other: give one of them.")
    return Arithmetic(MIXED if mixed else precision, compiled)
