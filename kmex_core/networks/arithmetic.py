"""How a network computes embeddings: the type of its floats, and whether it is compiled. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass

from kmex_core.base.errors import InputError

FLOAT32 = "float32"
MIXED = "mixed"  # 16 bits of the device's usual kind: float16 on GPUs, bfloat16 on CPUs
PRECISIONS = (FLOAT32, "bfloat16", "float16", MIXED)


@dataclass(frozen=True)
class Arithmetic:
    """How a network computes. Embeddings of different arithmetics are different results.

    Attributes:
        precision: one of `PRECISIONS`. Other than float32, layers that torch considers safe (convolutions, products)
            compute with 16 bits; embeddings are float32 always.
        compiled: whether torch.compile fuses the network's layers, which rounds differently.
    """

    precision: str = FLOAT32
    compiled: bool = False

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise InputError(f"Unknown precision '{self.precision}': use {', '.join(PRECISIONS[:3])}.")

    @property
    def mixed(self) -> bool:
        """The field `mixed_precision` of `EmbeddingSpec`."""
        return self.precision == MIXED

    @property
    def key(self) -> str:
        """The field `arithmetic` of `EmbeddingSpec`."""
        precision = "" if self.precision in (FLOAT32, MIXED) else self.precision
        return "+".join(filter(None, [precision, "compiled" if self.compiled else ""]))


EXACT = Arithmetic()
