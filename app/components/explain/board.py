"""The component on the page Explain: the board of Explore at full width."""

from __future__ import annotations

from collections.abc import Mapping

from app import read
from app.components.shared.relevance import refuse_looks, usable_targets
from app.components.shared.told import told_address, told_page, told_turn
from app.components.shared.web import component
from app.figures.overlay import SCALES
from app.links import leave_for, pick, picked, refuse
from app.routes import pictures, workspace
from app.selection import Selection
from app.workspace.given import addresses, model_given
from app.workspace.sources import source_text
from kmex_core.base.errors import InputError
from kmex_core.base.plain_text import markdown
from kmex_core.data.framing import read_framing
from kmex_core.data.pictures import FORMATS_TEXT, MAX_BYTES
from kmex_core.models.info import ModelInfo
from kmex_core.relevance.catalogue import usable_methods

_explain = component("explain", "explore", "relevance")
KEY = "explain"
MOST = 2000  # characters of a parameter
OPENED = ("explore",)  # the pages that it leads to
FORMATS = (
    f"{FORMATS_TEXT}, up to {MAX_BYTES // 2**20} MB, of any size and colour mode. The server keeps it in memory only."
)


def show_board(chosen: Selection, picture: str, upload: bool) -> None:
    """Show what an image is taken for, the prototypes that it looks like, and where.

    Args:
        chosen: the model, which must be embedded.
        picture: what names the image, see `app.workspace.pictures.picture_of`; "" for none yet.
        upload: whether it is to come from outside.
    """
    refuse_looks()
    info, data = chosen.model, read.dataset(chosen.model)
    shown = _explain(
        key=KEY,
        data={
            "model": model_given(read.subject(info), chosen),
            "pictures": pictures.folder(info.name, data.fingerprint),
            "can": {"pictures": True, "edits": False, "open": True},
            "base": workspace.base(info.name),
            "source": source_text(chosen.source),
            "key": addresses(read.subject(info), chosen.source)["key"],
            "address": {"picture": picture, **address_now(info)},
            "upload": upload,
            "formats": FORMATS,
            "options": {"targets": _targets(info), "methods": _methods(info), "scales": SCALES},
            "turn": told_turn(KEY),
        },
        on_address_change=lambda: remember_address(info, picture),
        on_open_change=lambda: None,
    )
    if target := told_page(shown.open, OPENED):
        leave_for(*target)


def address_now(info: ModelInfo) -> dict[str, str]:
    """What the address says of the image's explanation, without what cannot be: framing, rival, target and method."""
    framing = picked("framing")
    try:
        read_framing(framing)
    except InputError as error:
        refuse("framing", framing, str(error))
        framing = ""
    classes = {name: name for name in info.class_names}
    return {
        "framing": framing,
        "rival": _named("rival", classes),
        "target": _named("target", {title: name for name, title, _ in _targets(info)}),
        "method": _named("method", {title: name for name, title, _ in _methods(info)}),
    }


def _named(key: str, names: Mapping[str, str]) -> str:
    """The name of what the address chooses by its title; "" for nothing, or nothing that can be chosen."""
    title = picked(key)
    if title and title not in names:
        refuse(key, title, f"Choose one of {', '.join(map(markdown, names))}.")
    return names.get(title, "")


def remember_address(info: ModelInfo, picture: str) -> None:
    """Put into the address what the component tells: for its callback.

    Args:
        info: the model.
        picture: what named the image when the component was shown; that of the data set is named by its number.
    """
    told = {name: str(text)[:MOST] for name, text in told_address(KEY).items()}
    if (new := told.get("picture", "")) != picture:
        pick("picture", new)
    pick("framing", told.get("framing", ""))
    pick("rival", told.get("rival", ""))
    for key, offered in (("target", _targets(info)), ("method", _methods(info))):
        titles = {name: title for name, title, _ in offered[1:]}  # the first is the usual one
        pick(key, titles.get(told.get(key, ""), ""))


def _targets(info: ModelInfo) -> list[tuple[str, str, str]]:
    """What relevance maps can explain: names, titles and what they are, the usual one first."""
    described = usable_targets(info)
    return _usual_first(info.default_maps.target, [(name, one.title, one.about) for name, one in described.items()])


def _methods(info: ModelInfo) -> list[tuple[str, str, str]]:
    """The same of the methods."""
    described = usable_methods(info.differentiable)
    return _usual_first(info.default_maps.method, [(name, one.title, one.about) for name, one in described.items()])


def _usual_first(usual: str, offered: list[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    return sorted(offered, key=lambda one: one[0] != usual)
