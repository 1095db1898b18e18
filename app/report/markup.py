"""HTML in which every text is escaped, unless it is `Markup` already."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from kmex_core.base.plain_text import JOINER, plain

VOID = ("img", "input", "meta")
_TOKEN = re.compile(r"\\(?P<literal>[^\w\s]|_)|(?P<strong>\*\*)|(?P<em>\*)|`(?P<code>[^`]+)`|(?P<text>[^\\*`]+|.)")


class Markup(str):
    """HTML, not text."""


Child: TypeAlias = "str | Iterable[Child] | None"  # a text, `Markup`, nothing, or several of these


def tag(name: str, /, *children: Child, **attributes: str | int | bool | None) -> Markup:
    """An element. Texts among its children and the values of its attributes are escaped.

    Args:
        name: of the element.
        children: its content.
        attributes: `_` stands for `-` in their names, and one at the end is left out (`class_`); None and False leave
            an attribute out, True has no value.
    """
    inside = "".join(
        f" {_named(key)}{_value(value)}" for key, value in attributes.items() if value not in (None, False)
    )
    return Markup(f"<{name}{inside}>" + ("" if name in VOID else f"{joined(*children)}</{name}>"))


def _named(key: str) -> str:
    return key.rstrip("_").replace("_", "-")


def _value(value: str | int | bool | None) -> str:
    return "" if value is True else f'="{escaped(str(value))}"'


def joined(*children: Child) -> Markup:
    """Texts and elements, one after another."""
    parts: list[str] = []
    for child in children:
        if child is None:
            continue
        if isinstance(child, str):
            parts.append(child if isinstance(child, Markup) else escaped(child))
        else:
            parts.append(joined(*child))
    return Markup("".join(parts))


def escaped(text: str) -> Markup:
    """A text in an element or an attribute, on one line; it is shown as it is."""
    return Markup(html.escape(plain(text)))


def sentences(text: str) -> Markup:
    """Sentences of the pages, which are Markdown with escaped names: bold, emphasis and code are all that they use."""
    parts, opened = [], set[str]()
    for token in _TOKEN.finditer(" ".join(text.replace(JOINER, "").splitlines())):
        kind = str(token.lastgroup)
        if kind in ("strong", "em"):
            parts.append(Markup(f"</{kind}>" if kind in opened else f"<{kind}>"))
            opened ^= {kind}
        elif kind == "code":
            parts.append(tag("code", token[kind]))
        else:
            parts.append(escaped(token[kind]))
    return Markup("".join([*parts, *(f"</{kind}>" for kind in opened)]))


def table(head: Iterable[Child], rows: Iterable[Sequence[Child]], caption: Child = None) -> Markup:
    """A table whose rows begin with their names."""
    return tag(
        "div",
        tag(
            "table",
            None if caption is None else tag("caption", caption, class_="kx-unseen"),
            tag("thead", tag("tr", [tag("th", cell, scope="col") for cell in head])),
            tag(
                "tbody",
                [
                    tag(
                        "tr",
                        [tag("td", cell) if place else tag("th", cell, scope="row") for place, cell in enumerate(row)],
                    )
                    for row in rows
                ],
            ),
        ),
        class_="wide",
        tabindex="0",
        role="group",
        aria_label="Table",
    )
