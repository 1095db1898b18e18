"""What commands that compute embeddings share: the options for precision and compilation, and what these changed."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kmex_core.base.errors import InputError
from kmex_core.networks.arithmetic import FLOAT32, MIXED, PRECISIONS, Arithmetic

if TYPE_CHECKING:
    from kmex_core.stages.arithmetic_change import ArithmeticChange

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


def change_field(change: ArithmeticChange | None) -> dict[str, Any]:
    """The field `arithmetic` of an answer: what other arithmetic changed; no field where the usual one computed."""
    return {} if change is None else {"arithmetic": dataclasses.asdict(change)}
