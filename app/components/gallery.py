"""Prototypes as pictures, class by class."""

from __future__ import annotations

from html import escape

import streamlit as st

from app import pictures
from kmex_core.results import Prototypes

_STYLE = """<style>
.kx-gallery{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,29rem),1fr));column-gap:2rem}
.kx-class{display:flex;gap:.75rem;align-items:flex-start;padding:.5rem 0;border-top:1px solid rgba(128,128,128,.25);
content-visibility:auto;contain-intrinsic-size:auto 120px}
.kx-name{flex:0 0 6rem;font-weight:600;overflow-wrap:anywhere;padding-top:.25rem}
.kx-name small{display:block;font-weight:400;opacity:.75}
.kx-cards{display:flex;flex-wrap:wrap;gap:.6rem}
.kx-card{margin:0;width:72px;font-size:.75rem;line-height:1.25}
.kx-card img{width:72px;height:72px;object-fit:contain;image-rendering:pixelated;border-radius:4px;
background:rgba(128,128,128,.15);display:block}
.kx-card figcaption{padding-top:9px;background:linear-gradient(90deg,#3f8fcf var(--s),rgba(128,128,128,.25) var(--s))
0 3px/100% 4px no-repeat}
.kx-ghost img{outline:2px dashed #c2570c;outline-offset:-2px;opacity:.6}
@media(max-width:640px){.kx-class{flex-direction:column;gap:.25rem}.kx-name{flex-basis:auto}}
</style>"""


def show_gallery(model: str, state: str, class_names: tuple[str, ...], prototypes: Prototypes) -> None:
    """Show every prototype as its nearest training image, with its importance; ghosts are marked.

    Args:
        model, state: name of the model and fingerprint of its data set, for the pictures' addresses.
        class_names: C names.
        prototypes: what to show.
    """
    rows = [_row(model, state, name, label, prototypes) for label, name in enumerate(class_names)]
    st.html(f'{_STYLE}<div class="kx-gallery">{"".join(rows)}</div>')


def _row(model: str, state: str, name: str, label: int, prototypes: Prototypes) -> str:
    members = [p for p in range(len(prototypes)) if prototypes.classes[p] == label]
    cards = "".join(_card(model, state, name, p, prototypes) for p in members)
    size = f"{prototypes.class_size[label]:,} images"
    return (
        f'<div class="kx-class"><div class="kx-name">{escape(name)}<small>{size}</small></div>'
        f'<div class="kx-cards">{cards}</div></div>'
    )


def _card(model: str, state: str, name: str, p: int, prototypes: Prototypes) -> str:
    share, count = prototypes.importance[p], int(prototypes.count[p])
    image = int(prototypes.picture[p])
    if prototypes.ghost[p]:
        kind, text = "kx-card kx-ghost", "ghost"
        about = f"Prototype {p} of {name}: a ghost, no training image of its class is nearest to it"
    else:
        kind, text = "kx-card", f"<b>{share:.0%}</b> · {count:,}"
        about = f"Prototype {p} of {name}: nearest to {count:,} of its class's training images ({share:.1%})"
    source = escape(pictures.url(model, state, "train", image))
    return (
        f'<figure class="{kind}" title="{escape(about)}; picture: training image {image}" style="--s:{share:.1%}">'
        f'<img src="{source}" alt="{escape(about)}" loading="lazy"><figcaption>{text}</figcaption></figure>'
    )
