"""What a report has beside its tables: what the defects of the released code amount to, and Figure 5."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from kmex_core.base.errors import KMExError, StoreError
from kmex_core.data import registry
from kmex_core.prototypes.source import KMeans
from kmex_core.reproduction.defects import Defects, defects
from kmex_core.reproduction.figure5 import Figure, faces_or_sprites, figure5
from kmex_core.reproduction.trainings import Workshop
from kmex_core.reproduction.types import CurveRow, DefectRow
from kmex_core.stages.subject import Subject

T = TypeVar("T")
SPRITES = "lpc_sprites"  # the folder under the data root that takes CelebA's place
NO_FACES = (
    "Figure 5: CelebA is not in the data root, nor are parquet files with attributes in its folder lpc_sprites/, which "
    "would take its place."
)


@dataclass(frozen=True)
class Beside:
    """What there is beside the tables.

    Attributes:
        defects, curve, curve_about: see `Report`.
        left: what could not be had, a sentence each.
    """

    defects: tuple[DefectRow, ...] = ()
    curve: tuple[CurveRow, ...] = ()
    curve_about: str = ""
    left: tuple[str, ...] = ()


def beside(workshop: Workshop, subject: Subject | None, source: KMeans, backbone: str, images: int) -> Beside:
    """Measure the defects on a black box, and make Figure 5, in what is left of the time.

    Args:
        workshop: store, data root, device, and until when.
        subject: the black box; None where none was trained.
        source: of its prototypes, as published.
        backbone: of the networks of Figure 5.
        images: for the defects of relevance maps.

    Raises:
        StoreError: when the store cannot be written.
    """
    left: list[str] = []
    found, figure = Defects((), ()), Figure((), "", ())
    if subject is None:
        left.append("The defects of the released code: no black box was trained.")
    else:
        tried = _tried(lambda: defects(subject, source, images, minutes=minutes_left(workshop)))
        found = Defects((), (tried,)) if isinstance(tried, str) else tried
    sprites = registry.data_root(workshop.root) / SPRITES
    spec = faces_or_sprites(workshop.root, str(sprites) if sprites.is_dir() else "")
    if spec is None:
        left.append(NO_FACES)
    else:
        drawn = _tried(
            lambda: figure5(
                workshop.store,
                spec,
                backbone=backbone,
                imagenet=workshop.imagenet,
                minutes=minutes_left(workshop),
                device=workshop.device,
                command=workshop.command,
                progress=workshop.progress,
            )
        )
        figure = Figure((), "", (f"Figure 5: {drawn}",)) if isinstance(drawn, str) else drawn
    return Beside(found.rows, figure.rows, figure.about, (*found.left, *figure.left, *left))


def minutes_left(workshop: Workshop) -> float:
    """Until the time is over, 0 or more."""
    return max(0.0, (workshop.until - time.monotonic()) / 60)


def _tried(make: Callable[[], T]) -> T | str:
    """What a function gives, or why it cannot."""
    try:
        return make()
    except StoreError:
        raise
    except KMExError as error:
        return str(error)
