"""Links to the page Explore with images selected there.

A condition is a text: `class:2`, `predicted:5`, `blackbox:1`, `attribute:Hat`, `without:Hat`, `wrong`, `right`,
`differ`, `prototype:2.0`, `split:test`. Images for which all hold are selected. The browser reads them
(app/assets/web/explore/selection.js).
"""

from __future__ import annotations

from urllib.parse import urlencode

from app.addresses import link
from app.state import query

PAGE, SELECT = "explore", "select"


def explore_query(*conditions: str, **more: str | int) -> list[tuple[str, str]]:
    """The query parameters of Explore with the selected model and prototypes, and the images of some conditions.

    Args:
        conditions: all of them hold.
        more: further parameters: `point`, `colour`, `picture`, …
    """
    return [*query(**more).items(), *((SELECT, condition) for condition in conditions)]


def explore_address(*conditions: str, **more: str | int) -> str:
    """The address of Explore, relative to any page; see `explore_query`."""
    return f"{link(PAGE)}?{urlencode(explore_query(*conditions, **more))}"
