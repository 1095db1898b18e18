"""Pictures as cards, in rows by group."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from app.components.shared.web import component
from app.prototype_names import prototype_title
from app.routes import pictures
from kmex_core.data.colours import class_colours
from kmex_core.models.info import ModelInfo
from kmex_core.prototypes.types import Prototypes

TINY = 32

_gallery = component("gallery")


@dataclass(frozen=True)
class Card:
    """One picture.

    Attributes:
        id: what a click on it gives; "" where the browser follows `href`, to another model.
        picture: its address below the data set's pictures, without ".png"; "" for none.
        about: what it is, in words, for those who cannot see it and as a tool tip.
        text: below the picture.
        href: where it leads; "" when it cannot be clicked.
        share: drawn as a bar, 0…1; None for no bar.
        ghost, wrong: marked so.
    """

    id: str
    picture: str
    about: str
    text: str
    href: str = ""
    share: float | None = None
    ghost: bool = False
    wrong: bool = False


@dataclass(frozen=True)
class Group:
    """Cards in a row, with a title, a line below it and the colour of a class, each of which may be empty."""

    cards: Sequence[Card]
    title: str = ""
    note: str = ""
    colour: str = ""


def show_cards(key: str, info: ModelInfo, state: str, groups: Sequence[Group]) -> str:
    """Show cards; the id of the one that was just clicked, else "".

    Args:
        key: what names this gallery on its page.
        info, state: the model and the fingerprint of its data set, for the pictures' addresses.
        groups: what to show.
    """
    return show_groups(key, pictures.folder(info.name, state), info.image_size, groups)


def show_groups(key: str, folder: str, side: int, groups: Sequence[Group]) -> str:
    """`show_cards` with the folder of the pictures' addresses, and the side of the network's input in pixels."""
    shown = _gallery(
        key=key,
        data={
            "pictures": folder,
            "pixelated": side <= TINY,
            "groups": [asdict(group) for group in groups],
        },
        on_picked_change=lambda: None,
    )
    return str(shown.picked or "")


def prototype_card(info: ModelInfo, prototypes: Prototypes, p: int, href: str = "") -> Card:
    """The card of a prototype: its nearest training image, its importance as share and count."""
    title = prototype_title(p, prototypes.classes, info.class_names)
    share, count, image = float(prototypes.importance[p]), int(prototypes.count[p]), int(prototypes.exemplar[p])
    ghost = bool(prototypes.ghost[p])
    about = (
        f"{title}: a ghost, no training image of its class is nearest to it"
        if ghost
        else f"{title}: nearest to {count:,} of its class's training images ({share:.1%})"
    )
    return Card(
        id=str(p),
        picture=f"train/{image}" if image >= 0 else "",
        about=f"{about}; picture: training image {image}",
        text="ghost" if ghost else f"{share:.0%} · {count:,}",
        href=href,
        share=share,
        ghost=ghost,
    )


def class_groups(
    info: ModelInfo,
    prototypes: Prototypes,
    order: Sequence[int],
    href: Callable[[int], str],
    classes: Sequence[int] | None = None,
) -> list[Group]:
    """Prototypes in `order`, in one group per class (all classes when None)."""
    colours = class_colours(len(info.class_names))
    return [
        Group(
            [prototype_card(info, prototypes, p, href(p)) for p in order if prototypes.classes[p] == label],
            info.class_names[label],
            f"{prototypes.class_size[label]:,} images",
            colours[label],
        )
        for label in (range(len(info.class_names)) if classes is None else classes)
    ]
